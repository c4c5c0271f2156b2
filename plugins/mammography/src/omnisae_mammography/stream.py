"""EfficientNet's blocks in bands: the same result in less memory.

A block first widens its map sixfold and then thins it. Only the widened map is large, and all that is computed of it is
local but for the mean that squeeze-and-excitation takes over the whole map. So a block is computed band by band up to
and including its depthwise convolution, with the halo of rows that the convolution needs (which makes it exact, `SAME`
padding included), the mean is taken over all bands, and the rest follows whole. Nothing depends on a receptive field's
border.
"""

from collections.abc import Iterator
from types import MethodType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from omnisae.errors import ConfigError

Map = Float[Tensor, "example d y x"]


def in_bands(model: nn.Module, rows: int) -> list[str]:
    """Let every inverted-residual block of a timm model work in bands of so many rows; the blocks' paths.

    Raises ConfigError where the model has no such block.
    """
    from timm.models._efficientnet_blocks import InvertedResidual

    found = []
    for path, module in model.named_modules():
        if type(module) is InvertedResidual and module.conv_s2d is None and isinstance(module.aa, nn.Identity):
            module.bands = rows  # type: ignore[assignment]
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
            found.append(path)
    if not found:
        raise ConfigError(
            f"extractor.tile is {rows}, and {type(model).__name__} has no inverted-residual block to work in bands",
            "leave out extractor.tile, or choose an EfficientNet or a MobileNet",
        )
    return found


def _forward(block: nn.Module, x: Map) -> Map:
    """timm's InvertedResidual.forward, band by band up to its depthwise convolution."""
    wide = torch.cat(list(_widened(block, x)), dim=2)
    thin = block.bn3(block.conv_pwl(block.se(wide)))  # type: ignore[operator]
    return block.drop_path(thin) + x if block.has_skip else thin  # type: ignore[operator]


def _widened(block: nn.Module, x: Map) -> Iterator[Map]:
    """The widened map after its depthwise convolution, in bands from top to bottom."""
    conv: nn.Conv2d = block.conv_dw  # type: ignore[assignment]
    left, right, top, bottom = padding(conv, (x.shape[2], x.shape[3]))
    stride, reach = int(conv.stride[0]), (conv.kernel_size[0] - 1) * conv.dilation[0] + 1
    height = (x.shape[2] + top + bottom - reach) // stride + 1
    rows: int = block.bands  # type: ignore[assignment]
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        first, last = start * stride - top, (stop - 1) * stride + reach - top
        band = x[:, :, max(first, 0) : min(last, x.shape[2])]
        band = block.bn1(block.conv_pw(band))  # type: ignore[operator]
        band = pad(band, (left, right, max(-first, 0), max(last - x.shape[2], 0)))
        band = conv2d(band, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
        yield block.bn2(band)  # type: ignore[operator]


def padding(conv: nn.Conv2d, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """What a convolution pads a map of this size with: left, right, top, bottom."""
    around = getattr(conv, "around", None)
    if around is not None:
        return tuple(around)  # type: ignore[return-value]
    from timm.layers import Conv2dSame, get_same_padding

    if isinstance(conv, Conv2dSame):
        tall, wide = (
            get_same_padding(size[i], conv.kernel_size[i], conv.stride[i], conv.dilation[i]) for i in range(2)
        )
        return wide // 2, wide - wide // 2, tall // 2, tall - tall // 2
    tall, wide = (int(side) for side in conv.padding)
    return wide, wide, tall, tall
