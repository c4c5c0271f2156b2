"""Training a small ESM-2 on one's own sequences, where no checkpoint can be had: minutes on a CPU.

    python -m omnisae_protein.pretrain --sequences proteins.jsonl --out small.safetensors [--epochs 6]

The model is fair-esm's ESM2, of the size of the world's (4 layers, width 128), and so is the objective: 15 % of the
residues are asked for. Proteins longer than 254 residues are seen in a piece of that length, another one every epoch.
No label is seen. The file holds its architecture under `omnisae_esm`, and `extractor.checkpoint` takes its path.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

PIECE = 254
CONFIG: dict[str, Any] = {
    "num_layers": 4,
    "embed_dim": 128,
    "attention_heads": 4,
    "alphabet": "ESM-1b",
    "token_dropout": True,
}


def masked(model: Any, whole: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """What the model is shown, and a mask of the residues that it is asked for (Devlin et al. 2019)."""
    amino = torch.tensor([model.alphabet.tok_to_idx[letter] for letter in "ACDEFGHIKLMNPQRSTVWY"])
    asked = torch.isin(whole, amino) & (torch.rand(whole.shape, generator=draw) < 0.15)
    kind = torch.rand(whole.shape, generator=draw)
    other = amino[torch.randint(len(amino), whole.shape, generator=draw)]
    shown = torch.where(asked & (kind < 0.8), model.mask_idx, whole)
    return torch.where(asked & (kind >= 0.9), other, shown), asked


def train(sequences: list[str], epochs: int, batch: int, lr: float, seed: int) -> nn.Module:
    """The trained model, in eval mode."""
    import esm

    torch.manual_seed(seed)
    model: Any = esm.ESM2(**CONFIG)
    nn.init.normal_(model.embed_tokens.weight, std=CONFIG["embed_dim"] ** -0.5)
    weights = [value for name, value in model.named_parameters() if not name.startswith("contact_head")]
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
    steps = epochs * -(-len(sequences) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.15)
    draw = torch.Generator().manual_seed(seed)
    numbers, started = model.alphabet.tok_to_idx, time.time()
    for epoch in range(epochs):
        pieces = [_piece(sequence, draw) for sequence in sequences]
        groups = sorted(pieces, key=len)
        total = 0.0
        for at in (torch.randperm(-(-len(groups) // batch), generator=draw) * batch).tolist():
            group = groups[at : at + batch]
            whole = torch.full((len(group), max(map(len, group)) + 2), model.padding_idx)
            for row, piece in enumerate(group):
                inner = [numbers.get(letter, model.alphabet.unk_idx) for letter in piece]
                whole[row, : len(inner) + 2] = torch.tensor([model.cls_idx, *inner, model.eos_idx])
            shown, asked = masked(model, whole, draw)
            loss = cross_entropy(model(shown)["logits"][asked], whole[asked])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * batch / len(groups)
        print(f"epoch {epoch + 1}/{epochs}: loss {total:.4f}, {time.time() - started:.0f} s", flush=True)
    trained: nn.Module = model.eval()
    return trained


def save(model: nn.Module, path: Path) -> None:
    """The model's tensors in fp16, its architecture in the metadata."""
    from safetensors.torch import save_file

    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # is the embedding
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"omnisae_esm": json.dumps({"class": "ESM2", "config": CONFIG}, sort_keys=True)})


def _piece(sequence: str, draw: torch.Generator) -> str:
    spare = len(sequence) - PIECE
    start = int(torch.randint(spare + 1, (1,), generator=draw)) if spare > 0 else 0
    return sequence[start : start + PIECE]


def main() -> None:
    from omnisae_protein.records import read

    parser = argparse.ArgumentParser(description="Train a small ESM-2 on your own sequences.")
    parser.add_argument("--sequences", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    sequences = list(dict.fromkeys(one.sequence for one in read(asked.sequences, {}, "")))
    save(train(sequences, asked.epochs, asked.batch, asked.lr, asked.seed), asked.out)


if __name__ == "__main__":
    main()
