"""What the recipes of the worlds' models share: a short training by two losses, measured quality, files and a card."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def learn(
    modules: Sequence[nn.Module],
    losses: Callable[[Int[Tensor, " row"], torch.Generator], tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    *,
    count: int,
    epochs: int,
    batch: int,
    seed: int,
    second: float,
    what: tuple[str, str],
    say: Callable[[str], Any],
) -> None:
    """Train on `count` examples by `losses(rows, generator)`, two numbers of which the second counts `second` times.
    One cycle of the optimiser's own rate, gradients clipped at norm 1. `what` names the losses in what is said.
    """
    weights = [weight for module in modules for weight in module.parameters()]
    steps, rate = epochs * (count // batch), optimiser.param_groups[0]["lr"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    draw = torch.Generator().manual_seed(seed)
    started = time.time()
    for epoch in range(epochs):
        totals = torch.zeros(2)
        for rows in torch.randperm(count, generator=draw)[: count // batch * batch].split(batch):
            found = torch.stack(losses(rows, draw))
            optimiser.zero_grad()
            (found[0] + second * found[1]).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            totals += found.detach() / (count // batch)
        told = ", ".join(f"{name} {total:.4f}" for name, total in zip(what, totals, strict=True))
        say(f"epoch {epoch + 1}/{epochs}: {told}, {time.time() - started:.0f} s")


def auroc(scores: Float[np.ndarray, " example"], labels: Float[np.ndarray, " example"]) -> float:
    """The chance that a positive scores above a negative, ties counting half."""
    _, back, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[back]
    positive = labels > 0.5
    n = int(positive.sum())
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def quality(
    logits: Float[np.ndarray, "example c"], labels: Float[np.ndarray, "example c"], names: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """AUROC, accuracy at logit 0 and base rate of every output, and the means of the first two; rounded."""
    each = {
        name: {
            "auroc": round(auroc(logits[:, i], labels[:, i]), 4),
            "accuracy": round(float(((logits[:, i] > 0) == (labels[:, i] > 0.5)).mean()), 4),
            "base_rate": round(float(labels[:, i].mean()), 4),
        }
        for i, name in enumerate(names)
    }
    return each, {key: round(float(np.mean([e[key] for e in each.values()])), 4) for key in ("auroc", "accuracy")}


def halved(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors with real numbers in fp16, as they are shipped; the model itself is rounded to these."""
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    model.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in halves.items()})
    return halves


def save(
    out: Path,
    about: dict[str, Any],
    tensors: dict[str, Tensor],
    recipe: dict[str, Any],
    measured: dict[str, Any],
    *,
    intro: str,
    noun: str,
    each: str,
) -> None:
    """`<name>.safetensors` with the architecture in its metadata, and its card as `.json` and `.md`. `intro` is what
    the card says first; `each` the key of `measured` that holds a row a `noun`.
    """
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    name = about["name"]
    save_file(tensors, out / f"{name}.safetensors", metadata={"omnisae_timm": json.dumps(about, sort_keys=True)})
    card = {**about, "recipe": recipe, "quality": measured}
    (out / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
    (out / f"{name}.md").write_text(_card(name, intro, recipe, measured, noun, each))


def _card(name: str, intro: str, recipe: dict[str, Any], measured: dict[str, Any], noun: str, each: str) -> str:
    rows = [
        f"| {one} | {q['auroc']:.3f} | {q['accuracy']:.3f} | {q['base_rate']:.3f} |"
        for one, q in measured[each].items()
    ]
    steps = "\n".join(f"- {key}: {value}" for key, value in recipe.items())
    return (
        f"""# {name}

{intro}

## Recipe
{steps}

## Quality
On {measured["pictures"]} pictures of the world (seed {measured["seed"]}), none of them trained on:
mean AUROC {measured["mean"]["auroc"]:.3f}, mean accuracy at logit 0 {measured["mean"]["accuracy"]:.3f}.

| {noun} | AUROC | accuracy | base rate |
|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


def arguments(about: str, *, pictures: int, epochs: int, batch: int, lr: float) -> argparse.Namespace:
    """What a recipe's command was given."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=pictures)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    return asked
