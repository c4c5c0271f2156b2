"""The world's masked language model: fair-esm's own ESM2 class, small; made, given sequences, read again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

KEY = "omnisae_esm"
"""Of a file's metadata: JSON with `class` (of `esm`) and its arguments `config`."""
CONFIG: dict[str, Any] = {
    "num_layers": 4,
    "embed_dim": 128,
    "attention_heads": 4,
    "alphabet": "ESM-1b",
    "token_dropout": True,
}


def untrained() -> nn.Module:
    """The model as fair-esm makes it."""
    from esm import ESM2

    model: nn.Module = ESM2(**CONFIG)
    return model


def tokens(model: Any, sequences: Sequence[str]) -> Int[Tensor, "example position"]:
    """Sequences between BOS and EOS, padded to the longest."""
    numbers = model.alphabet.tok_to_idx
    longest = max(map(len, sequences)) + 2
    out = torch.full((len(sequences), longest), model.padding_idx)
    for row, sequence in enumerate(sequences):
        inner = [numbers[letter] for letter in sequence]
        out[row, : len(inner) + 2] = torch.tensor([model.cls_idx, *inner, model.eos_idx])
    return out


def load(path: Path) -> nn.Module:
    """The shipped model, in eval mode."""
    from esm import ESM2
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[KEY])
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    tensors["lm_head.weight"] = tensors["embed_tokens.weight"]
    model: nn.Module = ESM2(**about["config"])
    model.load_state_dict(tensors)
    return model.eval()
