"""What the vision models of transformers say of their own tokens, in their configurations and parameters."""

from collections.abc import Sequence
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
BACK = (("detection", ("detection_tokens",)),)
"""The same behind the patches."""

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
        "qwen2_vl_vision",
        "qwen3_vl_vision",
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
    staged = any(isinstance(getattr(own, name, None), (list, tuple)) for name in ("depths", "hidden_sizes"))
    grid = None if patch is None or staged else (picture[0] // patch[0], picture[1] // patch[1])
    merges = packed(own)
    return Tower(
        picture=picture,
        grid=grid,
        front=_special(model, FRONT),
        back=_special(model, BACK),
        queries=_queries(model),
        stages=tuple(_stages(own, picture)),
        widths=frozenset(w for w in (getattr(own, name, None) for name in WIDTHS) if isinstance(w, int)),
        raster=own.model_type in RASTER,
        packed=merges,
        merge=int(own.spatial_merge_size) if merges else 1,
    )


def _special(model: nn.Module, kinds: Sequence[tuple[str, Sequence[str]]]) -> Roles:
    held = dict(model.named_parameters())
    found = []
    for role, names in kinds:
        tensor = next((t for path, t in held.items() if path.rpartition(".")[2] in names), None)
        count = 0 if tensor is None else int(tensor.shape[-2]) if tensor.ndim > 1 else 1
        found += [(role, count)] if count else []
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
