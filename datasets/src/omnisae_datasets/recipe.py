"""What the recipes of the worlds' models share: a short training, measured quality, files and a card."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def say(line: str) -> None:
    """Progress, told at once also where the output is a file."""
    print(line, flush=True)


def learn(
    modules: Sequence[nn.Module],
    losses: Callable[[Int[Tensor, " row"], torch.Generator], Mapping[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    *,
    count: int,
    epochs: int,
    batch: int,
    seed: int,
    shares: Mapping[str, float],
    say: Callable[[str], Any],
) -> None:
    """Train on `count` examples by the sum of what `losses(rows, generator)` names, each times its share. One cycle of
    the optimiser's own rate, gradients clipped at norm 1.
    """
    weights = [weight for module in modules for weight in module.parameters()]
    steps, rate = epochs * (count // batch), optimiser.param_groups[0]["lr"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    draw = torch.Generator().manual_seed(seed)
    started = time.time()
    for epoch in range(epochs):
        totals = dict.fromkeys(shares, 0.0)
        for rows in torch.randperm(count, generator=draw)[: count // batch * batch].split(batch):
            found = losses(rows, draw)
            optimiser.zero_grad()
            torch.stack([share * found[name] for name, share in shares.items()]).sum().backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            for name in totals:
                totals[name] += float(found[name].detach()) / (count // batch)
        told = ", ".join(f"{name} {total:.4f}" for name, total in totals.items())
        say(f"epoch {epoch + 1}/{epochs}: {told}, {time.time() - started:.0f} s")


def auroc(scores: Float[np.ndarray, " example"], labels: Float[np.ndarray, " example"]) -> float:
    """The chance that a positive scores above a negative, ties counting half."""
    _, back, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[back]
    positive = labels > 0.5
    n = int(positive.sum())
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


@dataclass(frozen=True)
class Quality:
    """What a model was measured to do on `count` examples (`noun`: pictures) of the world, none of them trained on:
    measures of every `each` (a concept), and the means of some of them. `words` is what each measure is called.
    """

    noun: str
    count: int
    seed: int
    each: str
    rows: Mapping[str, Mapping[str, float]]
    means: tuple[str, ...]
    words: Mapping[str, str]

    @property
    def mean(self) -> dict[str, float]:
        return {key: round(float(np.mean([row[key] for row in self.rows.values()])), 4) for key in self.means}

    def card(self) -> dict[str, Any]:
        """As the card in JSON holds it."""
        return {self.noun: self.count, "seed": self.seed, "mean": self.mean, f"{self.each}s": self.rows}

    def told(self) -> str:
        """As the card in Markdown tells it."""
        means = ", ".join(f"mean {self.words[key]} {value:.3f}" for key, value in self.mean.items())
        rows = "\n".join(
            f"| {name} | "
            + " | ".join(f"{row[key]:.3f}" if isinstance(row[key], float) else f"{row[key]}" for key in self.words)
            + " |"
            for name, row in self.rows.items()
        )
        return (
            f"On {self.count} {self.noun} of the world (seed {self.seed}), none of them trained on:\n{means}.\n\n"
            f"| {self.each} | {' | '.join(self.words.values())} |\n|{'---|' * (1 + len(self.words))}\n{rows}\n"
        )


def named(
    logits: Float[np.ndarray, "example c"], labels: Float[np.ndarray, "example c"], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """AUROC, accuracy at logit 0 and base rate of every output; rounded."""
    return {
        name: {
            "auroc": round(auroc(logits[:, i], labels[:, i]), 4),
            "accuracy": round(float(((logits[:, i] > 0) == (labels[:, i] > 0.5)).mean()), 4),
            "base_rate": round(float(labels[:, i].mean()), 4),
        }
        for i, name in enumerate(names)
    }


NAMED = {"auroc": "AUROC", "accuracy": "accuracy at logit 0", "base_rate": "base rate"}


def halved(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors with real numbers in fp16, as they are shipped; the model itself is rounded to these."""
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    model.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in halves.items()})
    return halves


def described(
    name: str,
    base: str,
    arguments: dict[str, Any],
    prepare: dict[str, Any],
    size: tuple[int, int],
    labels: Sequence[str],
) -> dict[str, Any]:
    """What the metadata tells of a timm model: its architecture and arguments, how pictures are prepared at their size
    (height, width), and the names of its outputs."""
    return {
        "name": name,
        "architecture": base,
        "model_args": arguments,
        "pretrained_cfg": {**prepare, "input_size": [3, *size], "num_classes": len(labels)},
        "label_names": list(labels),
    }


def save(
    out: Path, about: dict[str, Any], tensors: dict[str, Tensor], recipe: dict[str, Any], quality: Quality, intro: str
) -> None:
    """`<name>.safetensors` with the architecture in its metadata, and its card as `.json` and `.md`, which `intro`
    opens."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    name = about["name"]
    save_file(tensors, out / f"{name}.safetensors", metadata={"omnisae_timm": json.dumps(about, sort_keys=True)})
    card = {**about, "recipe": recipe, "quality": quality.card()}
    (out / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
    steps = "\n".join(f"- {key}: {value}" for key, value in recipe.items())
    (out / f"{name}.md").write_text(f"# {name}\n\n{intro}\n\n## Recipe\n{steps}\n\n## Quality\n{quality.told()}")


def arguments(about: str, noun: str, *, count: int, epochs: int, batch: int, lr: float) -> argparse.Namespace:
    """What a recipe's command was given; `noun` is what it is trained on."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(f"--{noun}", dest="count", type=int, default=count)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    return asked
