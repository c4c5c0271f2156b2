"""The recipe of `vit_shapes_tiny`: a timm ViT that learns to name what is in a picture of the world.

    python -m omnisae_datasets.shapes.train --out DIR [--epochs 6] [--pictures 24000] [--threads 1]

Two losses: the class token names the concepts of the picture (kept: the model's head), and, while it learns, a second
head names the concepts in every patch (dropped afterwards), so that patch tokens learn in minutes. Trained on pictures
of a seed of its own, measured on the world's. Writes `vit_shapes_tiny.safetensors` (fp16, the architecture in its
metadata), `.json` (recipe and measured quality) and `.md` (the same as a card).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

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


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = print) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    helper = nn.Linear(ARGUMENTS["embed_dim"], len(CONCEPTS))
    x, whole, local = pictures(TRAIN_SEED, count)
    say(f"{count} pictures drawn")
    steps = epochs * (count // batch)
    weights = [*model.parameters(), *helper.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.15)
    draw = torch.Generator().manual_seed(seed)
    started = time.time()
    for epoch in range(epochs):
        totals = torch.zeros(2)
        for rows in torch.randperm(count, generator=draw)[: count // batch * batch].split(batch):
            seen, shares = mirrored(normalised(x[rows]), local[rows], draw)
            tokens = model.forward_features(seen)
            losses = torch.stack([bce(model.forward_head(tokens), whole[rows]), bce(helper(tokens[:, 1:]), shares)])
            optimiser.zero_grad()
            (losses[0] + 2 * losses[1]).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            totals += losses.detach() / (count // batch)
        seconds = time.time() - started
        say(f"epoch {epoch + 1}/{epochs}: pictures {totals[0]:.4f}, patches {totals[1]:.4f}, {seconds:.0f} s")
    return model.eval()


def auroc(scores: Float[np.ndarray, " example"], labels: Float[np.ndarray, " example"]) -> float:
    """The chance that a positive scores above a negative, ties counting half."""
    _, back, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[back]
    positive = labels > 0.5
    n = int(positive.sum())
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def measure(model: nn.Module, count: int = 2000) -> dict[str, Any]:
    """AUROC and accuracy of every concept on pictures of the world, which took no part in training."""
    x, whole, _ = pictures(WORLD_SEED, count)
    with torch.inference_mode():
        logits = torch.cat([model(normalised(part)) for part in x.split(250)]).numpy()
    labels = whole.numpy()
    each = {
        concept: {
            "auroc": round(auroc(logits[:, i], labels[:, i]), 4),
            "accuracy": round(float(((logits[:, i] > 0) == (labels[:, i] > 0.5)).mean()), 4),
            "base_rate": round(float(labels[:, i].mean()), 4),
        }
        for i, concept in enumerate(CONCEPTS)
    }
    mean = {key: round(float(np.mean([e[key] for e in each.values()])), 4) for key in ("auroc", "accuracy")}
    return {"pictures": count, "seed": WORLD_SEED, "mean": mean, "concepts": each}


def write(model: nn.Module, recipe: dict[str, Any], quality: dict[str, Any], out: Path) -> None:
    """Weights in fp16, their card as JSON and as Markdown."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    about = {
        "name": NAME,
        "architecture": BASE,
        "model_args": ARGUMENTS,
        "pretrained_cfg": {**PREPARE, "input_size": [3, SIZE, SIZE], "num_classes": len(CONCEPTS)},
        "label_names": [f"has_{concept}" for concept in CONCEPTS],
    }
    halves = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(halves, out / f"{NAME}.safetensors", metadata={"omnisae_timm": json.dumps(about, sort_keys=True)})
    card = {**about, "recipe": recipe, "quality": quality}
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n")
    (out / f"{NAME}.md").write_text(_card(card, sum(value.numel() for value in halves.values())))


def _card(card: dict[str, Any], weights: int) -> str:
    rows = [
        f"| {c} | {q['auroc']:.3f} | {q['accuracy']:.3f} | {q['base_rate']:.3f} |"
        for c, q in card["quality"]["concepts"].items()
    ]
    recipe = "\n".join(f"- {key}: {value}" for key, value in card["recipe"].items())
    return (
        f"""# {card["name"]}

A timm `VisionTransformer` ({weights:,} weights, stored in fp16) which names the colours, shapes and textures in a
picture of the world `shapes`. `{card["recipe"]["command"]} --out DIR` makes it anew.

## Recipe
{recipe}

## Quality
On {card["quality"]["pictures"]} pictures of the world (seed {card["quality"]["seed"]}), none of them trained on:
mean AUROC {card["quality"]["mean"]["auroc"]:.3f}, mean accuracy at logit 0 {card["quality"]["mean"]["accuracy"]:.3f}.

| concept | AUROC | accuracy | base rate |
|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train vit_shapes_tiny on the world `shapes`.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=24_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    started = time.time()
    model = train(asked.pictures, asked.epochs, asked.batch, asked.lr, asked.seed)
    recipe = {
        "command": f"python -m omnisae_datasets.shapes.train --pictures {asked.pictures} --epochs {asked.epochs}",
        "pictures": asked.pictures,
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
    rounded = {name: value.half().float() for name, value in model.state_dict().items()}
    model.load_state_dict(rounded)
    quality = measure(model)
    write(model, recipe, quality, asked.out)
    print(json.dumps(quality["mean"]))


if __name__ == "__main__":
    main()
