"""Which order of layer norms a SASRec checkpoint was trained with, since its weights do not tell.

    python benchmarks/recommendation_order.py SASRec.ml-1m….pth --items 3416 --history 200

A history is 20 of an item and its 20 nearest items by the checkpoint's own embeddings (cosine), in an order at random;
the one left out should be recommended next. Told is its median rank, and how often it is among the ten best.
"""

import argparse
from pathlib import Path

import torch

from omnisae_recommendation.blocks import Order
from omnisae_recommendation.checkpoint import load_sasrec

NEAR, HISTORIES = 20, 200
ORDERS: tuple[Order, ...] = ("query", "first", "last")


def ranks(path: Path, items: int, history: int, heads: int, order: Order) -> torch.Tensor:
    """The rank (from 0) of the item that was left out of each history, among the items not in it."""
    model = load_sasrec(path, items=items, length=history, heads=heads, order=order).eval()
    unit = torch.nn.functional.normalize(model.item_emb.weight[1:], dim=1)
    random = torch.Generator().manual_seed(0)
    out = []
    for item in torch.randperm(items, generator=random)[:HISTORIES].tolist():
        near = (unit @ unit[item]).topk(NEAR + 1).indices[torch.randperm(NEAR + 1, generator=random)]
        given = torch.zeros(1, history, dtype=torch.int64)
        given[0, -NEAR:] = near[:NEAR] + 1
        with torch.no_grad():
            scores = model.scores(model(given))[0]
        scores[near[:NEAR]] = -torch.inf
        out.append((scores > scores[near[NEAR]]).sum())
    return torch.stack(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--history", type=int, required=True)
    parser.add_argument("--heads", type=int, default=1)
    asked = parser.parse_args()
    for order in ORDERS:
        found = ranks(asked.checkpoint, asked.items, asked.history, asked.heads, order)
        print(
            f"{order}: median rank {int(found.median())}, among the ten best {float((found < 10).float().mean()):.3f}"
        )


if __name__ == "__main__":
    main()
