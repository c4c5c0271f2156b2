"""What the vision models of transformers say of their own tokens, in their configurations and parameters."""

from typing import Any

from torch import nn

from omnisae_vision.probing import Grid
from omnisae_vision.towers import Roles, Stage, Tower, stage
from omnisae_vision.transformers_packing import packed, sides

FRONT = (
    ("cls", ("cls_token", "class_embedding", "class_token")),
    ("dist", ("distillation_token",)),
    ("register", ("register_tokens",)),
)
"""Special tokens before the patches, in their order, and what models call the parameter that holds them."""

WIDTHS = ("hidden_size", "embed_dim")

RASTER = frozenset(
    {
        "aimv2_vision_model",
        "beit",
        "clip_vision_model",
        "data2vec-vision",
        "deit",
        "dinov2",
        "dinov2_with_registers",
        "dinov3_vit",
        "ijepa",
        "internvl_vision",
        "metaclip_2_vision_model",
        "mlcd_vision_model",
        "siglip2_vision_model",
        "siglip_vision_model",
        "vit",
        "vit_mae",
        "vit_msn",
    }
)
"""Types of models whose patches are known to stand row by row, behind their special tokens: tested type by type."""


def tower(model: nn.Module, own: Any, picture: Grid) -> Tower:
    """Facts of a model with the configuration `own`."""
    patch = sides(getattr(own, "patch_size", None))
    grid = (picture[0] // patch[0], picture[1] // patch[1]) if patch is not None and not _stages(own, picture) else None
    merges = packed(own)
    return Tower(
        picture=picture,
        grid=grid,
        front=_front(model),
        queries=_queries(model),
        stages=tuple(_stages(own, picture)),
        widths=frozenset(w for w in (getattr(own, name, None) for name in WIDTHS) if isinstance(w, int)),
        raster=own.model_type in RASTER,
        packed=merges,
        merge=int(own.spatial_merge_size) if merges else 1,
    )


def _front(model: nn.Module) -> Roles:
    held = dict(model.named_parameters())
    found = []
    for role, names in FRONT:
        tensor = next((t for path, t in held.items() if path.rpartition(".")[2] in names), None)
        if tensor is not None:
            found.append((role, int(tensor.shape[-2]) if tensor.ndim > 1 else 1))
    return tuple(found)


def _queries(model: nn.Module) -> frozenset[int]:
    """How many queries pool by attention, as in SigLIP."""
    held = ((path.rpartition(".")[2], t) for path, t in model.named_parameters())
    return frozenset(int(t.shape[-2]) for name, t in held if name == "probe" and t.ndim > 1)


def _stages(own: Any, picture: Grid) -> list[Stage]:
    """Stages of doubled width and halved size, as Swin's and its like."""
    depths, width, patch = (getattr(own, name, None) for name in ("depths", "embed_dim", "patch_size"))
    if not isinstance(depths, (list, tuple)) or not isinstance(width, int) or sides(patch) is None:
        return []
    return [stage(picture, width * 2**i, sides(patch)[0] * 2**i) for i in range(len(depths))]
