"""The recipe of `convnext_galaxies`: a thin timm ConvNeXt, of zoobot's kind, that learns to predict the votes.

    python -m omnisae_datasets.galaxies.train --out DIR [--epochs 16] [--galaxies 8000] [--threads 1]

The loss is the binary cross-entropy with the fraction of votes for every answer; a question that was not asked does not
count. Pictures are turned by quarters and mirrored (clockwise and anticlockwise then change places). Trained on
galaxies of a seed of its own, measured on the world's. Writes `convnext_galaxies.safetensors` (fp16, the architecture
in its metadata), `.json` (recipe and measured quality) and `.md` (the same as a card).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from omnisae_datasets.galaxies.morphology import SIDE, galaxy
from omnisae_datasets.galaxies.render import render, shown
from omnisae_datasets.galaxies.tree import ANSWERS
from omnisae_datasets.galaxies.votes import fractions, votes

NAME, BASE = "convnext_galaxies", "convnext_atto"
ARGUMENTS: dict[str, Any] = {
    "patch_size": 2,
    "depths": [1, 1, 3, 1],
    "dims": [24, 48, 64, 40],
    "output_stride": 8,
    "num_classes": len(ANSWERS),
}
"""Replaces those of the timm architecture; strides end at 8, so that the last map has 8 × 8 cells."""
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


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = print) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    x, known = pictures(TRAIN_SEED, count)
    say(f"{count} galaxies drawn")
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.15)
    draw = torch.Generator().manual_seed(seed)
    started = time.time()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(count, generator=draw)[: count // batch * batch].split(batch):
            seen, wanted = turned(normalised(x[rows]), known[rows], draw)
            asked = ~wanted.isnan()
            loss = bce(model(seen)[asked], wanted[asked])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) / (count // batch)
        say(f"epoch {epoch + 1}/{epochs}: {total:.4f}, {time.time() - started:.0f} s", flush=True)
    return model.eval()


def measure(model: nn.Module, count: int = 1600) -> dict[str, Any]:
    """Spearman's correlation with every fraction on galaxies of the world, which took no part in training."""
    x, known = pictures(WORLD_SEED, count)
    with torch.inference_mode():
        logits = torch.cat([model(normalised(part)) for part in x.split(100)]).numpy()
    each = {}
    for i, answer in enumerate(ANSWERS):
        asked = ~known[:, i].isnan().numpy()
        rho = spearmanr(logits[asked, i], known[asked, i].numpy()).statistic
        each[answer] = {"spearman": round(float(rho), 4), "n": int(asked.sum())}
    return {
        "galaxies": count,
        "seed": WORLD_SEED,
        "mean": {"spearman": round(float(np.mean([e["spearman"] for e in each.values()])), 4)},
        "answers": each,
    }


def write(model: nn.Module, recipe: dict[str, Any], quality: dict[str, Any], out: Path) -> None:
    """Weights in fp16, their card as JSON and as Markdown."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    about = {
        "name": NAME,
        "architecture": BASE,
        "model_args": ARGUMENTS,
        "pretrained_cfg": {**PREPARE, "input_size": [3, SIDE, SIDE], "num_classes": len(ANSWERS)},
        "label_names": list(ANSWERS),
    }
    halves = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(halves, out / f"{NAME}.safetensors", metadata={"omnisae_timm": json.dumps(about, sort_keys=True)})
    card = {**about, "recipe": recipe, "quality": quality}
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n")
    (out / f"{NAME}.md").write_text(_card(card, sum(value.numel() for value in halves.values())))


def _card(card: dict[str, Any], weights: int) -> str:
    rows = "\n".join(f"| {a} | {q['spearman']:.3f} | {q['n']} |" for a, q in card["quality"]["answers"].items())
    recipe = "\n".join(f"- {key}: {value}" for key, value in card["recipe"].items())
    return f"""# {card["name"]}

A thin timm `ConvNeXt` ({weights:,} weights, stored in fp16), of the kind of zoobot's encoders, which predicts the votes
for a galaxy of the world `galaxies`. `{card["recipe"]["command"]} --out DIR` makes it anew. It learnt on drawn
galaxies: it knows nothing of the sky.

## Recipe
{recipe}

## Quality
On {card["quality"]["galaxies"]} galaxies of the world (seed {card["quality"]["seed"]}), none of them trained on: mean
Spearman correlation with the fractions of votes {card["quality"]["mean"]["spearman"]:.3f}.

| answer | Spearman | galaxies asked |
|---|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train convnext_galaxies on the world `galaxies`.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--galaxies", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    started = time.time()
    model = train(asked.galaxies, asked.epochs, asked.batch, asked.lr, asked.seed)
    recipe = {
        "command": f"python -m omnisae_datasets.galaxies.train --galaxies {asked.galaxies} --epochs {asked.epochs}",
        "galaxies": asked.galaxies,
        "galaxy_seed": TRAIN_SEED,
        "epochs": asked.epochs,
        "batch": asked.batch,
        "peak_lr": asked.lr,
        "optimiser": "AdamW, weight decay 0.05, one cycle",
        "seed": asked.seed,
        "loss": f"BCE with the fraction of votes for each answer of the questions that {LEAST} or more were asked",
        "torch": torch.__version__,
        "minutes": round((time.time() - started) / 60, 1),
    }
    model.load_state_dict({name: value.half().float() for name, value in model.state_dict().items()})
    quality = measure(model)
    write(model, recipe, quality, asked.out)
    print(json.dumps(quality["mean"]))


if __name__ == "__main__":
    main()
