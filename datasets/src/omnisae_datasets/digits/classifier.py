"""The recipe of `digits_classifier`: a thin timm ConvNeXt that names the digit and the ink of a picture.

    python -m omnisae_datasets.digits.classifier --out DIR [--epochs 24] [--threads 1]

Fourteen outputs, two groups, each learnt by cross-entropy within the group. So that it also judges drawn pictures,
which are a little blurred, noisy or off the middle, it learns from pictures that are turned, scaled, moved, blurred,
made fainter and noisy. Trained on four fifths of scikit-learn's digits, measured on the fifth (`pictures.HELD_OUT`).
Writes `digits_classifier.safetensors` (fp16, the architecture in its metadata), `.json` and `.md` (recipe and quality).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample, pad

from omnisae_datasets import recipe
from omnisae_datasets.digits.card import NAMES, Seen, save
from omnisae_datasets.digits.inks import INKS, PAPER
from omnisae_datasets.digits.pictures import SIDE, in_all_inks

NAME, BASE = "digits_classifier", "convnext_atto"
ARGUMENTS: dict[str, Any] = {
    "patch_size": 1,
    "depths": [1, 1, 1, 1],
    "dims": [16, 32, 64, 64],
    "kernel_sizes": [5, 5, 3, 3],
    "num_classes": len(NAMES),
}
"""Replaces those of the timm architecture: at a stride of 1 it starts from all 16 × 16 pixels, and ends with 2 × 2."""
PREPARE: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "interpolation": "bilinear"}
TURN, SCALE, SHIFT, NOISE, FAINT = 0.17, 0.1, 0.1, 0.2, 0.25
"""The most that a picture is turned (radians), scaled, moved (shares of half a side), noisy (−1 to 1), and fainter."""

Pictures = Float[Tensor, "picture 3 y x"]


def changed(x: Pictures, draw: torch.Generator) -> Pictures:
    """The pictures, −1 to 1, as a model that draws might have drawn them."""

    def uniform(most: float, *shape: int) -> Tensor:
        return (torch.rand(len(x), *shape, generator=draw) * 2 - 1) * most

    angle, scale = uniform(TURN), 1 + uniform(SCALE)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).reshape(-1, 2, 2)
    place = torch.cat([turn * scale[:, None, None], uniform(SHIFT, 2, 1)], dim=2)
    grid = affine_grid(place, list(x.shape), align_corners=False)
    x = grid_sample(x, grid, padding_mode="border", align_corners=False)
    blurred = avg_pool2d(pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(x, blurred, uniform(0.7, 1, 1, 1).clamp(min=0))
    paper = x[:, :, :1, :1]
    x = torch.lerp(x, paper, uniform(FAINT, 1, 1, 1).clamp(min=0))
    return (x + torch.randn(x.shape, generator=draw) * uniform(NOISE, 1, 1, 1).abs()).clamp(-1, 1)


def train(epochs: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    pictures, labels = (torch.from_numpy(one) for one in in_all_inks(held_out=False))

    def losses(rows: Int[Tensor, " row"], draw: torch.Generator) -> dict[str, Tensor]:
        digit, ink = model(changed(pictures[rows], draw)).split([10, len(INKS)], dim=1)
        known = labels[rows]
        return {
            "digit": cross_entropy(digit, known // len(INKS), label_smoothing=0.02),
            "ink": cross_entropy(ink, known % len(INKS), label_smoothing=0.02),
        }

    recipe.learn(
        (model,),
        losses,
        torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05),
        count=len(pictures),
        epochs=epochs,
        batch=batch,
        seed=seed,
        shares={"digit": 1.0, "ink": 1.0},
        say=say,
    )
    return model.eval()


def load(path: Path) -> nn.Module:
    """The classifier of a file, by its metadata alone, in eval mode."""
    import timm
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["omnisae_timm"])
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  no mapping
    model: nn.Module = timm.create_model(about["architecture"], **about["model_args"])
    model.load_state_dict(weights)
    return model.eval()


@torch.inference_mode()
def chances(model: nn.Module, x: Pictures) -> tuple[Float[Tensor, "picture digit"], Float[Tensor, "picture ink"]]:
    """What the classifier makes of pictures, −1 to 1: the chance of every digit, and of every ink."""
    digit, ink = torch.cat([model(part) for part in x.split(256)]).split([10, len(INKS)], dim=1)
    return digit.softmax(dim=1), ink.softmax(dim=1)


def judged(model: nn.Module, x: Pictures, labels: Int[Tensor, " picture"]) -> Seen:
    """The likeliest digit and ink of pictures, −1 to 1, beside what was asked for."""
    digit, ink = chances(model, x)
    return Seen(labels.numpy(), digit.argmax(dim=1).numpy(), ink.argmax(dim=1).numpy())


def measure(model: nn.Module, as_drawn: bool = False) -> Seen:
    """On the digits that were held out, in all inks; `as_drawn`: changed as those were that it learnt from."""
    pictures, labels = (torch.from_numpy(one) for one in in_all_inks(held_out=True))
    draw = torch.Generator().manual_seed(0)
    return judged(model, changed(pictures, draw) if as_drawn else pictures, labels)


def not_digits(model: nn.Module, count: int = 1000) -> dict[str, dict[str, Any]]:
    """What it makes of noise and of blank paper, where no answer is right: it must name something."""
    papers = torch.tensor([PAPER[ink] for ink in INKS]) * 2 - 1
    x = {
        "noise": torch.randn((count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).clamp(-1, 1),
        **{f"blank {ink}": papers[i][None, :, None, None].expand(1, 3, SIDE, SIDE) for i, ink in enumerate(INKS)},
    }
    found: dict[str, dict[str, Any]] = {}
    for name, pictures in x.items():
        digit, ink = chances(model, pictures)
        most = np.bincount(digit.argmax(dim=1).numpy(), minlength=10)
        inks = np.bincount(ink.argmax(dim=1).numpy(), minlength=len(INKS))
        found[name] = {
            "digit": int(most.argmax()),
            "digit_share": round(float(most.max() / most.sum()), 3),
            "digit_chance": round(float(digit.amax(dim=1).mean()), 3),
            "ink": INKS[int(inks.argmax())],
            "ink_share": round(float(inks.max() / inks.sum()), 3),
            "ink_chance": round(float(ink.amax(dim=1).mean()), 3),
        }
    return found


TEXT = """# digits_classifier

A thin timm `ConvNeXt` ({count:,} weights, stored in fp16) that names the digit and the ink of a picture of the world
`digits`, real or drawn. `{command} --out DIR` makes it anew.

## Recipe
RECIPE

## Quality
On {pictures} pictures of the digits that were held out (every fifth), the shares in which it is right:

{table}
The same pictures turned, moved, blurred, made fainter and noisy as in training: digit {moved:.3f}, ink {moved_ink:.3f}.

It has no answer for what is no digit, and may be sure of a wrong one. What it says most often of such pictures, how
often, and its mean chance for the likeliest:

| picture | digit | share | chance | ink | share | chance |
|---|---|---|---|---|---|---|
{others}
"""


def finish(model: nn.Module, out: Path, steps: dict[str, Any]) -> Seen:
    """Round the classifier to fp16, measure it, and write it with its card."""
    tensors = recipe.halved(model)
    seen, moved, others = measure(model), measure(model, as_drawn=True).shares(), not_digits(model)
    text = TEXT.format(
        count=sum(value.numel() for value in tensors.values()),
        command=steps["command"],
        pictures=len(seen.label),
        table=seen.told(),
        moved=moved["digit"],
        moved_ink=moved["ink"],
        others="\n".join(f"| {name} | {' | '.join(map(str, row.values()))} |" for name, row in others.items()),
    )
    about = recipe.described(NAME, BASE, ARGUMENTS, PREPARE, (SIDE, SIDE), NAMES)
    quality = {**seen.card(), "changed_as_in_training": moved, "not_digits": others}
    save(out, NAME, "omnisae_timm", about, tensors, steps, quality, text)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description="Train digits_classifier on the world `digits`.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    started = time.time()
    model = train(asked.epochs, asked.batch, asked.lr, asked.seed)
    command = f"python -m omnisae_datasets.digits.classifier --epochs {asked.epochs} --seed {asked.seed}"
    steps = {
        "command": command,
        "digits": "four fifths of scikit-learn's load_digits, each in four inks",
        "epochs": asked.epochs,
        "batch": asked.batch,
        "peak_lr": asked.lr,
        "optimiser": "AdamW, weight decay 0.05, one cycle",
        "seed": asked.seed,
        "loss": "cross-entropy over the ten digits plus cross-entropy over the four inks, labels smoothed by 0.02",
        "pictures": "turned, scaled, moved, blurred, made fainter and noisy at random",
        "torch": torch.__version__,
        "minutes": round((time.time() - started) / 60, 1),
    }
    print(json.dumps(finish(model, asked.out, steps).shares()))


if __name__ == "__main__":
    main()
