"""The recipe of `efficientnet_phantoms`: a small timm EfficientNet that learns to name the lesions in a phantom.

    python -m omnisae_datasets.phantoms.train --out DIR [--epochs 10] [--pictures 4800] [--threads 1]

Two losses: the model's own head names the lesions of the picture, and, while it learns, a second head names the lesions
in every cell of the last map (dropped afterwards), so that the map learns in minutes. Every picture is turned so that
the chest wall lies on the left, as the loader turns it. Trained on patients of a seed of its own, measured on the
world's. The lead letter goes with masses in training too: the model is free to use it.
Writes `efficientnet_phantoms.safetensors` (fp16, the architecture in its metadata), `.json` and `.md` (its card).
"""

import json
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from omnisae_datasets import recipe
from omnisae_datasets.phantoms.anatomy import HEIGHT, KINDS, ORDER, WIDTH, patient
from omnisae_datasets.phantoms.render import render

NAME, BASE = "efficientnet_phantoms", "test_efficientnet"
STRIDE = 16
ARGUMENTS: dict[str, Any] = {"num_classes": len(KINDS), "output_stride": STRIDE}
MEAN, STD = 0.3089279, 0.25053555
"""Mammo-CLIP's normalisation of grey values in [0, 1] (Ghosh et al. 2024)."""
PREPARE: dict[str, Any] = {"mean": [MEAN] * 3, "std": [STD] * 3, "crop_pct": 1.0, "interpolation": "bilinear"}
WORLD_SEED, TRAIN_SEED = 0, 1001


def pictures(
    seed: int, n: int
) -> tuple[Float[Tensor, "example 1 y x"], Float[Tensor, "example c"], Float[Tensor, "example c cy cx"]]:
    """Turned pictures in [0, 1] (fp16), the lesions in each, and the share of each cell that their boxes cover."""
    x, whole, local = [], [], []
    for number in range(n):
        side, view = ORDER[number % 4]
        picture, boxes = render(patient(seed, number // 4), side, view, seed)
        cover = np.zeros((len(KINDS), HEIGHT, WIDTH), dtype=np.float32)
        for box in boxes:
            cover[KINDS.index(box.kind), box.top : box.bottom, box.left : box.right] = 1
        if side == "R":
            picture, cover = picture[:, ::-1], cover[:, :, ::-1]
        x.append(np.ascontiguousarray(picture, dtype=np.float16)[None])
        whole.append([float(any(box.kind == kind for box in boxes)) for kind in KINDS])
        cells = cover.reshape(len(KINDS), HEIGHT // STRIDE, STRIDE, WIDTH // STRIDE, STRIDE)
        local.append(cells.mean(axis=(2, 4)).astype(np.float16))
    return torch.from_numpy(np.stack(x)), torch.tensor(whole), torch.from_numpy(np.stack(local)).float()


def normalised(x: Float[Tensor, "example 1 y x"]) -> Float[Tensor, "example 3 y x"]:
    """What the model sees: grey values normalised, three times."""
    return ((x.float() - MEAN) / STD).expand(-1, 3, -1, -1)


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    helper = nn.Conv2d(model.num_features, len(KINDS), 1)
    x, whole, local = pictures(TRAIN_SEED, count)
    say(f"{count} pictures drawn")
    weights = [*model.parameters(), *helper.parameters()]

    def losses(rows: Int[Tensor, " row"], _: torch.Generator) -> dict[str, Tensor]:
        maps = model.forward_features(normalised(x[rows]))
        return {"pictures": bce(model.forward_head(maps), whole[rows]), "cells": bce(helper(maps), local[rows])}

    recipe.learn(
        (model, helper),
        losses,
        torch.optim.AdamW(weights, lr=lr, weight_decay=0.02),
        count=count,
        epochs=epochs,
        batch=batch,
        seed=seed,
        shares={"pictures": 1.0, "cells": 4.0},
        say=say,
    )
    return model.eval()


def measure(model: nn.Module, count: int = 1200) -> recipe.Quality:
    """AUROC and accuracy of every lesion on pictures of the world, which took no part in training."""
    x, whole, _ = pictures(WORLD_SEED, count)
    with torch.inference_mode():
        logits = torch.cat([model(normalised(part)) for part in x.split(50)]).numpy()
    rows = recipe.named(logits, whole.numpy(), KINDS)
    return recipe.Quality("pictures", count, WORLD_SEED, "lesion", rows, ("auroc", "accuracy"), recipe.NAMED)


def main() -> None:
    asked = recipe.arguments(
        "Train efficientnet_phantoms on the world `phantoms`.", "pictures", count=4800, epochs=10, batch=32, lr=3e-3
    )
    started = time.time()
    model = train(asked.count, asked.epochs, asked.batch, asked.lr, asked.seed)
    command = f"python -m omnisae_datasets.phantoms.train --pictures {asked.count} --epochs {asked.epochs}"
    steps = {
        "command": command,
        "pictures": asked.count,
        "patient_seed": TRAIN_SEED,
        "epochs": asked.epochs,
        "batch": asked.batch,
        "peak_lr": asked.lr,
        "optimiser": "AdamW, weight decay 0.02, one cycle",
        "seed": asked.seed,
        "loss": "BCE of the picture's lesions + 4 × BCE of each cell's lesions (its head is dropped)",
        "torch": torch.__version__,
        "minutes": round((time.time() - started) / 60, 1),
    }
    tensors = recipe.halved(model)
    measured = measure(model)
    labels = [f"has_{kind}" for kind in KINDS]
    about = recipe.described(NAME, BASE, ARGUMENTS, PREPARE, (HEIGHT, WIDTH), labels)
    count = sum(weight.numel() for weight in model.parameters())
    intro = f"""A timm `EfficientNet` ({BASE}, output stride {STRIDE}; {count:,} weights, stored in fp16) which names
the lesions in a picture of the world `phantoms`. `{command} --out DIR` makes it anew. It learnt on
phantoms: it knows nothing of patients."""
    recipe.save(asked.out, about, tensors, steps, measured, intro)
    print(json.dumps(measured.mean))


if __name__ == "__main__":
    main()
