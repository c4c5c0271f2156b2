"""The recipe of `vit_shapes_tiny`: a timm ViT that learns to name what is in a picture of the world.

    python -m omnisae_datasets.shapes.train --out DIR [--epochs 6] [--pictures 24000] [--threads 1]

Two losses: the class token names the concepts of the picture (kept: the model's head), and, while it learns, a second
head names the concepts in every patch (dropped afterwards), so that patch tokens learn in minutes. Trained on pictures
of a seed of its own, measured on the world's. Writes `vit_shapes_tiny.safetensors` (fp16, the architecture in its
metadata), `.json` (recipe and measured quality) and `.md` (the same as a card).
"""

import json
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from omnisae_datasets import recipe
from omnisae_datasets.shapes.render import render
from omnisae_datasets.shapes.scene import CONCEPTS, SIZE, scene
from omnisae_datasets.shapes.truth import truth

NAME = "vit_shapes_tiny"
PATCH = 8
BASE = "vit_tiny_patch16_224"
"""The timm architecture whose arguments these replace."""
ARGUMENTS: dict[str, Any] = {
    "img_size": SIZE,
    "patch_size": PATCH,
    "embed_dim": 128,
    "depth": 4,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "num_classes": len(CONCEPTS),
}
PREPARE: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "interpolation": "bilinear"}
WORLD_SEED, TRAIN_SEED = 0, 1001


def pictures(
    seed: int, n: int
) -> tuple[UInt8[Tensor, "example 3 y x"], Float[Tensor, "example c"], Float[Tensor, "example token c"]]:
    """Pictures, the concepts in each, and the share of each patch that each concept covers."""
    x, whole, local = [], [], []
    for number in range(n):
        made = scene(seed, number)
        picture, mask = render(made, seed, number)
        known = truth(made, mask)
        x.append(picture.transpose(2, 0, 1))
        whole.append([known.attributes[f"has_{concept}"] for concept in CONCEPTS])
        share = np.zeros((len(CONCEPTS), SIZE // PATCH, SIZE // PATCH))
        for instance, thing in known.seen.items():
            cells = (mask == instance).reshape(SIZE // PATCH, PATCH, SIZE // PATCH, PATCH).mean((1, 3))
            for word in (thing.colour, thing.shape, thing.texture):
                share[CONCEPTS.index(word)] += cells
        local.append(share.reshape(len(CONCEPTS), -1).T)
    return torch.from_numpy(np.stack(x)), torch.tensor(whole), torch.from_numpy(np.stack(local)).float()


def normalised(x: UInt8[Tensor, "example 3 y x"]) -> Float[Tensor, "example 3 y x"]:
    """Pixels in [-1, 1]."""
    return x.float() / 127.5 - 1


def mirrored(x: Tensor, local: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the batches mirrored; the world looks the same so."""
    if torch.randint(2, (1,), generator=draw).item() == 0:
        return x, local
    grid = local.unflatten(1, (SIZE // PATCH, SIZE // PATCH))
    return x.flip(3), grid.flip(2).flatten(1, 2)


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    helper = nn.Linear(ARGUMENTS["embed_dim"], len(CONCEPTS))
    x, whole, local = pictures(TRAIN_SEED, count)
    say(f"{count} pictures drawn")
    weights = [*model.parameters(), *helper.parameters()]

    def losses(rows: Int[Tensor, " row"], draw: torch.Generator) -> dict[str, Tensor]:
        seen, shares = mirrored(normalised(x[rows]), local[rows], draw)
        tokens = model.forward_features(seen)
        return {"pictures": bce(model.forward_head(tokens), whole[rows]), "patches": bce(helper(tokens[:, 1:]), shares)}

    recipe.learn(
        (model, helper),
        losses,
        torch.optim.AdamW(weights, lr=lr, weight_decay=0.05, betas=(0.9, 0.98)),
        count=count,
        epochs=epochs,
        batch=batch,
        seed=seed,
        shares={"pictures": 1.0, "patches": 2.0},
        say=say,
    )
    return model.eval()


def measure(model: nn.Module, count: int = 2000) -> recipe.Quality:
    """AUROC and accuracy of every concept on pictures of the world, which took no part in training."""
    x, whole, _ = pictures(WORLD_SEED, count)
    with torch.inference_mode():
        logits = torch.cat([model(normalised(part)) for part in x.split(250)]).numpy()
    rows = recipe.named(logits, whole.numpy(), CONCEPTS)
    return recipe.Quality("pictures", count, WORLD_SEED, "concept", rows, ("auroc", "accuracy"), recipe.NAMED)


def main() -> None:
    asked = recipe.arguments(
        "Train vit_shapes_tiny on the world `shapes`.", "pictures", count=24_000, epochs=6, batch=64, lr=1.5e-3
    )
    started = time.time()
    model = train(asked.count, asked.epochs, asked.batch, asked.lr, asked.seed)
    command = f"python -m omnisae_datasets.shapes.train --pictures {asked.count} --epochs {asked.epochs}"
    steps = {
        "command": command,
        "pictures": asked.count,
        "picture_seed": TRAIN_SEED,
        "epochs": asked.epochs,
        "batch": asked.batch,
        "peak_lr": asked.lr,
        "optimiser": "AdamW, weight decay 0.05, betas 0.9 and 0.98, one cycle",
        "seed": asked.seed,
        "loss": "BCE of the class token's concepts + 2 × BCE of each patch's concepts (its head is dropped)",
        "torch": torch.__version__,
        "minutes": round((time.time() - started) / 60, 1),
    }
    tensors = recipe.halved(model)
    measured = measure(model)
    labels = [f"has_{concept}" for concept in CONCEPTS]
    about = recipe.described(NAME, BASE, ARGUMENTS, PREPARE, (SIZE, SIZE), labels)
    count = sum(value.numel() for value in tensors.values())
    intro = (
        f"A timm `VisionTransformer` ({count:,} weights, stored in fp16) which names the colours, shapes and "
        f"textures in a\npicture of the world `shapes`. `{command} --out DIR` makes it anew."
    )
    recipe.save(asked.out, about, tensors, steps, measured, intro)
    print(json.dumps(measured.mean))


if __name__ == "__main__":
    main()
