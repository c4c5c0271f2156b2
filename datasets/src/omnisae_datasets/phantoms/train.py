"""The recipe of `efficientnet_phantoms`: a small timm EfficientNet that learns to name the lesions in a phantom.

    python -m omnisae_datasets.phantoms.train --out DIR [--epochs 10] [--pictures 4800] [--threads 1]

Two losses: the model's own head names the lesions of the picture, and, while it learns, a second head names the lesions
in every cell of the last map (dropped afterwards), so that the map learns in minutes. Every picture is turned so that
the chest wall lies on the left, as the loader turns it. Trained on patients of a seed of its own, measured on the
world's. The lead letter goes with masses in training too: the model is free to use it.
Writes `efficientnet_phantoms.safetensors` (fp16, the architecture in its metadata), `.json` and `.md` (its card).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from omnisae_datasets.phantoms.anatomy import HEIGHT, KINDS, ORDER, WIDTH, patient
from omnisae_datasets.phantoms.render import render
from omnisae_datasets.shapes.train import auroc

NAME, BASE = "efficientnet_phantoms", "test_efficientnet"
STRIDE = 16
ARGUMENTS: dict[str, Any] = {"num_classes": len(KINDS), "output_stride": STRIDE}
MEAN, STD = 0.3089279, 0.25053555
"""Mammo-CLIP's normalisation of grey values in [0, 1] (Ghosh et al. 2024)."""
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


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = print) -> nn.Module:
    """The trained model, in eval mode."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(BASE, **ARGUMENTS)
    helper = nn.Conv2d(model.num_features, len(KINDS), 1)
    x, whole, local = pictures(TRAIN_SEED, count)
    say(f"{count} pictures drawn")
    weights = [*model.parameters(), *helper.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=0.02)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.15)
    draw = torch.Generator().manual_seed(seed)
    started = time.time()
    for epoch in range(epochs):
        totals = torch.zeros(2)
        for rows in torch.randperm(count, generator=draw)[: count // batch * batch].split(batch):
            maps = model.forward_features(normalised(x[rows]))
            losses = torch.stack([bce(model.forward_head(maps), whole[rows]), bce(helper(maps), local[rows])])
            optimiser.zero_grad()
            (losses[0] + 4 * losses[1]).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            totals += losses.detach() / (count // batch)
        seconds = time.time() - started
        say(f"epoch {epoch + 1}/{epochs}: pictures {totals[0]:.4f}, cells {totals[1]:.4f}, {seconds:.0f} s")
    return model.eval()


def measure(model: nn.Module, count: int = 1200) -> dict[str, Any]:
    """AUROC and accuracy of every lesion on pictures of the world, which took no part in training."""
    x, whole, _ = pictures(WORLD_SEED, count)
    with torch.inference_mode():
        logits = torch.cat([model(normalised(part)) for part in x.split(50)]).numpy()
    labels = whole.numpy()
    each = {
        kind: {
            "auroc": round(auroc(logits[:, i], labels[:, i]), 4),
            "accuracy": round(float(((logits[:, i] > 0) == (labels[:, i] > 0.5)).mean()), 4),
            "base_rate": round(float(labels[:, i].mean()), 4),
        }
        for i, kind in enumerate(KINDS)
    }
    mean = {key: round(float(np.mean([e[key] for e in each.values()])), 4) for key in ("auroc", "accuracy")}
    return {"pictures": count, "seed": WORLD_SEED, "mean": mean, "lesions": each}


def write(model: nn.Module, recipe: dict[str, Any], quality: dict[str, Any], out: Path) -> None:
    """Weights in fp16, their card as JSON and as Markdown."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    about = {
        "name": NAME,
        "architecture": BASE,
        "model_args": ARGUMENTS,
        "pretrained_cfg": {
            "input_size": [3, HEIGHT, WIDTH],
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "num_classes": len(KINDS),
        },
        "label_names": [f"has_{kind}" for kind in KINDS],
    }
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(halves, out / f"{NAME}.safetensors", metadata={"omnisae_timm": json.dumps(about, sort_keys=True)})
    card = {**about, "recipe": recipe, "quality": quality}
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n")
    (out / f"{NAME}.md").write_text(_card(card, sum(p.numel() for p in model.parameters())))


def _card(card: dict[str, Any], weights: int) -> str:
    rows = [
        f"| {c} | {q['auroc']:.3f} | {q['accuracy']:.3f} | {q['base_rate']:.3f} |"
        for c, q in card["quality"]["lesions"].items()
    ]
    recipe = "\n".join(f"- {key}: {value}" for key, value in card["recipe"].items())
    return (
        f"""# {card["name"]}

A timm `EfficientNet` ({card["architecture"]}, output stride {STRIDE}; {weights:,} weights, stored in fp16) which names
the lesions in a picture of the world `phantoms`. `{card["recipe"]["command"]} --out DIR` makes it anew. It learnt on
phantoms: it knows nothing of patients.

## Recipe
{recipe}

## Quality
On {card["quality"]["pictures"]} pictures of the world (seed {card["quality"]["seed"]}), none of them trained on:
mean AUROC {card["quality"]["mean"]["auroc"]:.3f}, mean accuracy at logit 0 {card["quality"]["mean"]["accuracy"]:.3f}.

| lesion | AUROC | accuracy | base rate |
|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train efficientnet_phantoms on the world `phantoms`.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=4800)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    started = time.time()
    model = train(asked.pictures, asked.epochs, asked.batch, asked.lr, asked.seed)
    recipe = {
        "command": f"python -m omnisae_datasets.phantoms.train --pictures {asked.pictures} --epochs {asked.epochs}",
        "pictures": asked.pictures,
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
    rounded = {k: v.half().float() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.load_state_dict(rounded)
    quality = measure(model)
    write(model, recipe, quality, asked.out)
    print(json.dumps(quality["mean"]))


if __name__ == "__main__":
    main()
