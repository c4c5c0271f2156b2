"""How a model of transformers is given its pictures, where it does not take them as pictures."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Pack = Callable[[Any, Float[Tensor, "example 3 y x"]], Mapping[str, Any]]


def arguments(own: Any, parameters: Mapping[str, Any], pictures: Float[Tensor, "example 3 y x"]) -> Mapping[str, Any]:
    """The arguments of a model's forward for pictures of one size. `own` is its configuration, `parameters` those of
    its forward."""
    pack = PACKED.get(own.model_type)
    if pack is not None:
        return pack(own, pictures)
    found: dict[str, Any] = {"pixel_values": pictures}
    height, width = sides(getattr(own, "image_size", None)) or pictures.shape[-2:]
    if "interpolate_pos_encoding" in parameters and (height, width) != tuple(pictures.shape[-2:]):
        found["interpolate_pos_encoding"] = True
    if "noise" in parameters and hasattr(own, "mask_ratio"):
        # A masked autoencoder shuffles its patches by this noise, even where it hides none: keep them in their order.
        p = sides(own.patch_size) or (1, 1)
        patches = (pictures.shape[-2] // p[0]) * (pictures.shape[-1] // p[1])
        order = torch.arange(patches, device=pictures.device, dtype=torch.float32)
        found["noise"] = order.expand(len(pictures), -1)
    return found


def packed(own: Any) -> bool:
    """Whether all pictures of a batch stand one after another in one sequence, by squares of patches to be merged."""
    return PACKED.get(own.model_type) is _by_squares


def sides(value: Any) -> tuple[int, int] | None:
    """Height and width of a size as configurations write it: a number, a pair, a mapping. None where there is none."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, Mapping) and {"height", "width"} <= value.keys():
        return int(value["height"]), int(value["width"])
    if isinstance(value, (tuple, list)) and len(value) in (1, 2) and all(isinstance(v, int) for v in value):
        return int(value[0]), int(value[-1])
    return None


def _by_squares(own: Any, pictures: Float[Tensor, "example 3 y x"]) -> Mapping[str, Any]:
    """Qwen-VL's packing: patches in squares of merge × merge, squares row by row, each patch repeated in time."""
    p, m, frames = own.patch_size, own.spatial_merge_size, own.temporal_patch_size
    example, channel, height, width = pictures.shape
    rows, columns = height // p, width // p
    cut = pictures.view(example, channel, rows // m, m, p, columns // m, m, p)
    squares = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)  # example, y, x, row, column, channel, then the patch's own pixels
    patches = squares.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, frames, -1, -1)
    grid = torch.tensor([[1, rows, columns]], device=pictures.device).expand(example, -1)
    return {"hidden_states": patches.reshape(example * rows * columns, -1), "grid_thw": grid}


def _by_rows(own: Any, pictures: Float[Tensor, "example 3 y x"]) -> Mapping[str, Any]:
    """SigLIP 2's packing (NaFlex): patches row by row, the pixels of a patch with the channel last."""
    p = own.patch_size
    example, channel, height, width = pictures.shape
    rows, columns = height // p, width // p
    cut = pictures.view(example, channel, rows, p, columns, p).permute(0, 2, 4, 3, 5, 1)
    patches = cut.reshape(example, rows * columns, p * p * channel)
    mask = torch.ones(example, rows * columns, dtype=torch.int64, device=pictures.device)
    grid = torch.tensor([[rows, columns]], device=pictures.device).expand(example, -1)
    return {"pixel_values": patches, "pixel_attention_mask": mask, "spatial_shapes": grid}


PACKED: Mapping[str, Pack] = {
    "siglip2_vision_model": _by_rows,
    **dict.fromkeys(("qwen2_vl", "qwen2_vl_vision", "qwen2_5_vl", "qwen2_5_vl_vision", "qwen3_vl_vision"), _by_squares),
}
"""Types of models that take patches, and how these are cut."""
