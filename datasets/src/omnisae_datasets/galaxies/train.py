"""The recipe of `convnext_galaxies`: a thin timm ConvNeXt, of zoobot's kind, that learns to predict the votes.

    python -m omnisae_datasets.galaxies.train --out DIR [--epochs 8] [--galaxies 16000] [--threads 1]

The loss is the binary cross-entropy with the fraction of votes, the mean over those who were asked and then over
answers, so that questions that few are asked count as much. Pictures are turned by quarters and mirrored (clockwise and
anticlockwise then change places). Trained on galaxies of a seed of its own, measured on the world's. Writes
`convnext_galaxies.safetensors` (fp16, the architecture in its metadata), `.json` (recipe and measured quality) and
`.md` (the same as a card).
"""

import json
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from omnisae_datasets import recipe
from omnisae_datasets.galaxies.morphology import SIDE, galaxy
from omnisae_datasets.galaxies.render import render, shown
from omnisae_datasets.galaxies.tree import ANSWERS
from omnisae_datasets.galaxies.votes import fractions, votes

NAME, BASE = "convnext_galaxies", "convnext_atto"
ARGUMENTS: dict[str, Any] = {
    "patch_size": 2,
    "depths": [1, 1, 3, 1],
    "dims": [24, 48, 64, 32],
    "output_stride": 8,
    "kernel_sizes": [7, 7, 7, 3],
    "num_classes": len(ANSWERS),
}
"""Replaces those of the timm architecture; strides end at 8, so that the last map has 8 × 8 cells, and the last kernel
is small, so that a cell tells of its own surroundings though it is dilated."""
MEAN, STD = 0.15, 0.2
PREPARE: dict[str, Any] = {"mean": [MEAN] * 3, "std": [STD] * 3, "crop_pct": 1.0, "interpolation": "bilinear"}
WORLD_SEED, TRAIN_SEED = 0, 1001
LEAST = 5
"""Volunteers who must have been asked a question for its fractions to count."""


def pictures(seed: int, n: int) -> tuple[UInt8[Tensor, "example 3 y x"], Float[Tensor, "example answer"]]:
    """Pictures as they are shown, and the fraction of votes for every answer (NaN: not asked)."""
    x = np.empty((n, 3, SIDE, SIDE), dtype=np.uint8)
    known = np.empty((n, len(ANSWERS)))
    for number in range(n):
        one = galaxy(seed, number)
        x[number] = shown(render(one, seed)).transpose(2, 0, 1)
        known[number] = fractions(votes(one, seed), LEAST)
    return torch.from_numpy(x), torch.from_numpy(known).float()


def normalised(x: UInt8[Tensor, "example 3 y x"]) -> Float[Tensor, "example 3 y x"]:
    """What the model sees."""
    return (x.float() / 255 - MEAN) / STD


def turned(
    x: Float[Tensor, "example 3 y x"], known: Float[Tensor, "example answer"], draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The batch turned by quarters, and half of the time mirrored."""
    x = torch.rot90(x, int(torch.randint(4, (1,), generator=draw)), (2, 3))
    if torch.randint(2, (1,), generator=draw).item() == 0:
        return x, known
    one, other = (ANSWERS.index(f"spiral-direction_{way}") for way in ("clockwise", "anticlockwise"))
    swapped = known.clone()
    swapped[:, one], swapped[:, other] = known[:, other], known[:, one]
    return x.flip(3), swapped


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    x, known = pictures(TRAIN_SEED, count)
    say(f"{count} galaxies drawn")

    def losses(rows: Int[Tensor, " row"], draw: torch.Generator) -> dict[str, Tensor]:
        seen, wanted = turned(normalised(x[rows]), known[rows], draw)
        asked = ~wanted.isnan()
        each = bce(model(seen), wanted.nan_to_num(), reduction="none") * asked
        return {"votes": (each.sum(dim=0) / asked.sum(dim=0).clamp(min=1)).mean()}

    recipe.learn(
        (model,),
        losses,
        torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05),
        count=count,
        epochs=epochs,
        batch=batch,
        seed=seed,
        shares={"votes": 1.0},
        say=say,
    )
    return model.eval()


def measure(model: nn.Module, count: int = 1600) -> recipe.Quality:
    """Spearman's correlation with every fraction on galaxies of the world, which took no part in training."""
    x, known = pictures(WORLD_SEED, count)
    with torch.inference_mode():
        logits = torch.cat([model(normalised(part)) for part in x.split(100)]).numpy()
    rows = {}
    for i, answer in enumerate(ANSWERS):
        asked = ~known[:, i].isnan().numpy()
        rho = spearmanr(logits[asked, i], known[asked, i].numpy()).statistic
        rows[answer] = {"spearman": round(float(rho), 4), "n": int(asked.sum())}
    words = {"spearman": "Spearman correlation with the fraction of votes", "n": "galaxies asked"}
    return recipe.Quality("galaxies", count, WORLD_SEED, "answer", rows, ("spearman",), words)


def main() -> None:
    asked = recipe.arguments(
        "Train convnext_galaxies on the world `galaxies`.", "galaxies", count=16_000, epochs=8, batch=64, lr=4e-3
    )
    started = time.time()
    model = train(asked.count, asked.epochs, asked.batch, asked.lr, asked.seed)
    command = f"python -m omnisae_datasets.galaxies.train --galaxies {asked.count} --epochs {asked.epochs}"
    steps = {
        "command": command,
        "galaxies": asked.count,
        "galaxy_seed": TRAIN_SEED,
        "epochs": asked.epochs,
        "batch": asked.batch,
        "peak_lr": asked.lr,
        "optimiser": "AdamW, weight decay 0.05, one cycle",
        "seed": asked.seed,
        "loss": f"mean over answers of the BCE with their fraction of votes, where {LEAST} or more were asked",
        "torch": torch.__version__,
        "minutes": round((time.time() - started) / 60, 1),
    }
    tensors = recipe.halved(model)
    measured = measure(model)
    about = recipe.described(NAME, BASE, ARGUMENTS, PREPARE, (SIDE, SIDE), ANSWERS)
    count = sum(value.numel() for value in tensors.values())
    intro = (
        f"A thin timm `ConvNeXt` ({count:,} weights, stored in fp16), of the kind of zoobot's encoders, which predicts "
        f"the\nvotes for a galaxy of the world `galaxies`. `{command} --out DIR` makes it anew.\n"
        "It learnt on drawn galaxies: it knows nothing of the sky."
    )
    recipe.save(asked.out, about, tensors, steps, measured, intro)
    print(json.dumps(measured.mean))


if __name__ == "__main__":
    main()
