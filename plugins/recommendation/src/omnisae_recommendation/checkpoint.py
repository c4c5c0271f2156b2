"""SASRec checkpoints in the layout of the common PyTorch implementation, read as numbers alone."""

import re
from pathlib import Path

import torch
from torch import Tensor

from omnisae.errors import ArtifactError
from omnisae_recommendation.blocks import Order
from omnisae_recommendation.sasrec import SasRec

RENAMED = (
    (r"attention_layernorms\.(\d+)\.", r"blocks.\1.attention_norm."),
    (r"attention_layers\.(\d+)\.", r"blocks.\1.attention."),
    (r"forward_layernorms\.(\d+)\.", r"blocks.\1.forward_norm."),
    (r"forward_layers\.(\d+)\.conv1\.", r"blocks.\1.widen."),
    (r"forward_layers\.(\d+)\.conv2\.", r"blocks.\1.narrow."),
    (r"last_layernorm\.", "final."),
)
"""Names of weights there, and here."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights of a `.pth` file by our names. Raises ArtifactError where it is missing, holds anything but numbers,
    or is no SASRec."""
    if not path.is_file():
        raise ArtifactError(f"there is no checkpoint {path}", "name the .pth file in extractor.checkpoint")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtifactError(
            f"{path} cannot be read as weights alone: {str(error).splitlines()[0]}",
            "save the model's state_dict with torch.save(model.state_dict(), path)",
        ) from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ArtifactError(
            f"{path} holds a {type(found).__name__} that is no state_dict: names and tensors are expected",
            "save the model's state_dict with torch.save(model.state_dict(), path)",
        )
    weights = {}
    for name, value in found.items():
        for old, new in RENAMED:
            name = re.sub(rf"^{old}", new, name)
        # The two maps of the feed-forward are convolutions of one step there, linear here.
        weights[name] = value[..., 0] if value.ndim == 3 else value
    for needed in ("item_emb.weight", "pos_emb.weight", "final.weight"):
        if needed not in weights:
            raise ArtifactError(
                f"{path} has no {needed.replace('final', 'last_layernorm')!r}: it is no SASRec in the common layout",
                "its weights are item_emb, pos_emb, attention_layers, forward_layers, last_layernorm",
            )
    return weights


def load_sasrec(path: Path, *, items: int, length: int, heads: int, order: Order) -> SasRec:
    """The model of a checkpoint. Raises ArtifactError where it has another number of items or places, or lacks weights
    (naming them)."""
    weights = read_checkpoint(path)
    rows, width = weights["item_emb.weight"].shape
    if rows != items + 1:
        raise ArtifactError(
            f"{path}: item_emb has {rows} rows, which is {rows - 1} items and one for none; the dataset has "
            f"{items} items",
            "give the events that the model was trained on, filtered as then (dataset.user_events, item_events, "
            "rating); items' rows follow dataset.numbering",
        )
    places = len(weights["pos_emb.weight"])
    if places not in (length, length + 1):
        raise ArtifactError(
            f"{path}: pos_emb has {places} rows, and histories have {length} events",
            f"set dataset.history to {places - 1} (or {places}, in the first versions of the layout)",
        )
    if width % heads:
        raise ArtifactError(
            f"{path}: its width {width} is no multiple of extractor.heads = {heads}", "set extractor.heads"
        )
    layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    model = SasRec(items, length, width, layers, heads, 0.0, order, places)
    wrong = model.load_state_dict(weights, strict=False)
    if wrong.missing_keys or wrong.unexpected_keys:
        raise ArtifactError(
            f"{path}: lacks {wrong.missing_keys[:3]} and has {wrong.unexpected_keys[:3]} which SASRec does not have",
            "name a checkpoint of SASRec itself",
        )
    return model
