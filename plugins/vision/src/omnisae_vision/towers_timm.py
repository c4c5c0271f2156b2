"""What a timm model says of its own tokens."""

from collections.abc import Mapping

from torch import Tensor, nn

from omnisae_vision.probing import Grid
from omnisae_vision.towers import Roles, Stage, Tower, stage

FRONT = (("cls", "cls_token"), ("dist", "dist_token"), ("register", "reg_token"))
"""Special tokens in their order, and the parameters that hold them."""
WIDTHS = ("embed_dim", "num_features")
"""Attributes that hold the width of tokens."""


def tower(model: nn.Module, picture: Grid) -> Tower:
    """Facts of a timm model, or of a trunk that another library took from timm."""
    return Tower(
        picture=picture,
        grid=_grid(model),
        front=_front(model),
        queries=_queries(model),
        stages=tuple(_stages(model, picture)),
        widths=frozenset(w for name in WIDTHS if isinstance(w := getattr(model, name, None), int)),
        raster=hasattr(model, "num_prefix_tokens"),  # Hiera, whose tokens stand by mask unit, counts none
    )


def _grid(model: nn.Module) -> Grid | None:
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return (int(grid[0]), int(grid[1])) if isinstance(grid, (tuple, list)) and len(grid) == 2 else None


def _front(model: nn.Module) -> Roles:
    """The special tokens in front of the patches, in their order. One role, prefix, where they are of unknown kinds."""
    total = int(getattr(model, "num_prefix_tokens", 0) or 0)
    within = getattr(model, "embeds", model)  # NaFlex models keep them there
    tensors = [(role, getattr(within, name, None)) for role, name in FRONT]
    held = [(role, int(t.shape[1])) for role, t in tensors if isinstance(t, Tensor)]
    known = tuple((role, count) for role, count in held if count)
    if sum(count for _, count in known) == total:
        return known
    return (("prefix", total),) if total else ()


def _queries(model: nn.Module) -> frozenset[int]:
    """How many queries pool by attention, as in SigLIP."""
    held = (getattr(module, "latent", None) for module in model.modules())
    return frozenset(int(t.shape[1]) for t in held if isinstance(t, Tensor) and t.ndim == 3)


def _stages(model: nn.Module, picture: Grid) -> list[Stage]:
    info = getattr(model, "feature_info", None) or ()
    entries = info if isinstance(info, list) else getattr(info, "info", ())
    return [
        stage(picture, int(entry["num_chs"]), entry["reduction"])
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("reduction"), int) and "num_chs" in entry
    ]
