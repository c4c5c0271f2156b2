"""The recipes of the world's denoisers, a U-Net with attention and a DiT (`denoisers`).

    python -m omnisae_datasets.digits.train --model unet --out DIR [--epochs 65] [--threads 1]
    python -m omnisae_datasets.digits.train --model dit --out DIR [--epochs 70] [--again 30]

They learn the noise that was added to a digit at a time drawn at random, from four fifths of scikit-learn's digits; a
tenth of the time the label is withheld, which is what classifier-free guidance needs. The DiT then learns for `again`
epochs more, twice, with the label told to its first block alone (`told_once`). What is shipped is the running
mean of the weights, in fp16: `<model>.safetensors` (diffusers' class and configuration in its metadata), `.json` and
`.md` (recipe and quality). Quality: the share of drawn pictures in which the world's classifier, which learnt from real
pictures, sees the digit and the ink that were asked for.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from omnisae_datasets import recipe
from omnisae_datasets.digits.card import Seen, save
from omnisae_datasets.digits.classifier import NAME as CLASSIFIER
from omnisae_datasets.digits.classifier import judged
from omnisae_datasets.digits.classifier import load as load_classifier
from omnisae_datasets.digits.denoisers import (
    GUIDANCE,
    KEY,
    STEPS,
    described,
    noise_told,
    samples,
    scheduler,
    untrained,
)
from omnisae_datasets.digits.pictures import LABELS, NULL, in_all_inks
from omnisae_datasets.digits.told_once import settled, told_once

EPOCHS = {"unet": 65, "dit": 70}
AGAIN, ROUNDS = {"unet": 0, "dit": 30}, 2
"""Epochs in which the label is told once, after the others, and how often they are run."""
Ready = Callable[[nn.Module], AbstractContextManager[None]]
WITHHELD, DECAY = 0.1, 0.998
EACH, SAMPLE_SEED = 25, 101
"""Quality is measured on so many pictures of every label, from this seed."""


def trained(kind: str, epochs: int, again: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The denoiser, in eval mode: `epochs` of the usual kind, then rounds of `again` with the label told once."""
    torch.manual_seed(seed)
    model = train(untrained(kind), epochs, batch, lr, seed, say=say)
    for round_ in range(ROUNDS if again else 0):
        model = told_again(model, again, batch, lr / 2, seed + 1 + round_, say)
    return model


def told_again(model: nn.Module, epochs: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The DiT after epochs in which its first block alone is told the label."""
    torch.manual_seed(seed)
    return settled(train(model, epochs, batch, lr, seed, told_once, say))


def train(
    model: nn.Module,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    ready: Ready = lambda model: nullcontext(),
    say: Any = recipe.say,
) -> nn.Module:
    """The running mean of the denoiser's weights, in eval mode; `ready` is about the model while it learns."""
    model, plan = model.train().requires_grad_(True), scheduler()
    mean = copy.deepcopy(model).eval().requires_grad_(False)
    pictures, labels = (torch.from_numpy(one) for one in in_all_inks(held_out=False))
    seen = 0

    def losses(rows: Int[Tensor, " row"], draw: torch.Generator) -> dict[str, Tensor]:
        nonlocal seen
        seen += 1
        keep = min(DECAY, seen / (seen + 10))
        with torch.no_grad():
            for slow, quick in zip(mean.parameters(), model.parameters(), strict=True):
                slow.lerp_(quick, 1 - keep)
        x = pictures[rows]
        noise = torch.randn(x.shape, generator=draw)
        times = torch.randint(plan.config.num_train_timesteps, (len(x),), generator=draw)
        withheld = torch.rand(len(x), generator=draw) < WITHHELD
        told = torch.where(withheld, NULL, labels[rows])
        return {"noise": mse_loss(noise_told(model, plan.add_noise(x, noise, times), times, told), noise)}

    with ready(model):
        recipe.learn(
            (model,),
            losses,
            torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01),
            count=len(pictures),
            epochs=epochs,
            batch=batch,
            seed=seed,
            shares={"noise": 1.0},
            say=say,
        )
    return mean


def measure(
    model: nn.Module, classifier: nn.Module, each: int = EACH, steps: int = STEPS, guidance: float = GUIDANCE
) -> Seen:
    """What the classifier sees in `each` pictures of every label, drawn by DDIM."""
    labels = torch.arange(len(LABELS)).repeat(each)
    drawn = [
        samples(model, part, SAMPLE_SEED + number, steps, guidance) for number, part in enumerate(labels.split(200))
    ]
    return judged(classifier, torch.cat(drawn), labels)


def steps_of(kind: str, epochs: int, again: int, batch: int, lr: float, seed: int, minutes: float) -> dict[str, Any]:
    """The recipe, as the card tells it."""
    # While it learns, each block of diffusers' DiT withholds labels by itself, too (`LabelEmbedding.token_drop`).
    withheld = f"{WITHHELD}" + ("" if kind == "unet" else ", and by every block on its own once more 0.1")
    more = f" --again {again}" if again else ""
    once = f"{ROUNDS} rounds of {again} epochs at half the peak rate, label told to the first block alone"
    return {
        "command": f"python -m omnisae_datasets.digits.train --model {kind} --epochs {epochs}{more} --seed {seed}",
        "pictures": "four fifths of scikit-learn's load_digits, each in four inks",
        "epochs": epochs,
        **({"then": once} if again else {}),
        "batch": batch,
        "peak_lr": lr,
        "optimiser": "AdamW, weight decay 0.01, one cycle",
        "seed": seed,
        "loss": "squared error of the noise, at times drawn evenly from 1,000",
        "label_withheld": withheld,
        "running_mean": f"of the weights, {DECAY} kept at every step",
        "torch": torch.__version__,
        "minutes": round(minutes, 1),
    }


TEXT = """# {kind}

diffusers' `{name}` ({count:,} weights, stored in fp16), which draws a digit in an ink as the world `digits` holds
them, 16 × 16 pixels. `{command} --out DIR` makes it anew.

## Recipe
RECIPE

## Quality
On {pictures} pictures, {each} of every label, drawn by DDIM in {steps} steps at guidance {guidance:g} (seed {seed}):
the shares in which `digits_classifier` sees what was asked for. It names the digit of {real:.1%} of the real pictures
that it never saw. Before the weights were rounded to fp16, both were right in {before:.3f}.

{table}"""


def finish(kind: str, model: nn.Module, out: Path, steps: dict[str, Any], each: int = EACH) -> Seen:
    """Measure the denoiser, round it to fp16, measure it again, and write it with its card."""
    path = Path(__file__).parent / f"{CLASSIFIER}.safetensors"
    classifier = load_classifier(path)
    before = measure(model, classifier, each)
    tensors = recipe.halved(model)
    seen = measure(model, classifier, each)
    quality = {
        "each": each,
        "seed": SAMPLE_SEED,
        "steps": STEPS,
        "guidance": GUIDANCE,
        **seen.card(),
        "before_rounding": before.shares(),
    }
    text = TEXT.format(
        kind=kind,
        name=type(model).__name__,
        count=sum(value.numel() for value in tensors.values()),
        command=steps["command"],
        pictures=len(seen.label),
        each=each,
        steps=STEPS,
        guidance=GUIDANCE,
        seed=SAMPLE_SEED,
        real=json.loads(path.with_suffix(".json").read_text())["quality"]["right"]["digit"],
        before=before.shares()["both"],
        table=seen.told(),
    )
    save(out, kind, KEY, described(model), tensors, steps, quality, text)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a denoiser on the world `digits`.")
    parser.add_argument("--model", choices=tuple(EPOCHS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, help=f"(default: {EPOCHS})")
    parser.add_argument("--again", type=int, help=f"epochs in which the label is told once (default: {AGAIN})")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    epochs = asked.epochs or EPOCHS[asked.model]
    again = AGAIN[asked.model] if asked.again is None else asked.again
    started = time.time()
    model = trained(asked.model, epochs, again, asked.batch, asked.lr, asked.seed)
    minutes = (time.time() - started) / 60
    steps = steps_of(asked.model, epochs, again, asked.batch, asked.lr, asked.seed, minutes)
    print(json.dumps(finish(asked.model, model, asked.out, steps).shares()))


if __name__ == "__main__":
    main()
