"""Mammo-CLIP's checkpoints (Ghosh et al. 2024): efficientnet_pytorch's names, behind `image_encoder.`, in timm's.

The file is a dict of torch with the key `model`: the image encoder, for CLIP also text encoder and projections, for a
fine-tuned classifier `classifier.classification_head`. Its EfficientNet-B5 is timm's `tf_efficientnet_b5` but for the
padding of its strided convolutions, which efficientnet_pytorch fixes once for pictures of 456 × 456 (`static_padding`).
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from omnisae.errors import ConfigError

ENCODER, HEAD = "image_encoder.", "classifier.classification_head."
SIDES = {0: 224, 1: 240, 2: 260, 3: 300, 4: 380, 5: 456, 6: 528, 7: 600}
"""The picture's side by which efficientnet_pytorch fixes the padding, for each of its sizes."""
INPUT = (1520, 912)
MEAN, STD = 0.3089279, 0.25053555408335154
"""What Mammo-CLIP's pictures are resized to, and normalised with."""
_TOP = {
    "_conv_stem.weight": "conv_stem.weight",
    "_conv_head.weight": "conv_head.weight",
    "_fc.weight": "classifier.weight",
    "_fc.bias": "classifier.bias",
}


def is_one(names: Mapping[str, object]) -> bool:
    """Whether a checkpoint's tensors have Mammo-CLIP's names."""
    return f"{ENCODER}_conv_stem.weight" in names


def to_timm(found: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The image encoder's tensors under the names of a timm EfficientNet. Raises ConfigError where blocks differ."""
    own = {name.removeprefix(ENCODER): value for name, value in found.items() if name.startswith(ENCODER)}
    blocks = [f"blocks.{i}.{j}" for i, stage in enumerate(model.blocks) for j in range(len(stage))]  # type: ignore[arg-type, union-attr]
    count = 1 + max((int(name.split(".")[1]) for name in own if name.startswith("_blocks.")), default=-1)
    if count != len(blocks):
        raise ConfigError(
            f"the checkpoint's image encoder has {count} blocks, and the model {len(blocks)}",
            "name the EfficientNet of its size in extractor.model: tf_efficientnet_b5 or tf_efficientnet_b2",
        )
    out = {}
    for name, value in own.items():
        out[_renamed(name, blocks, own)] = value
    out |= {"classifier." + name.removeprefix(HEAD): v for name, v in found.items() if name.startswith(HEAD)}
    return out


def _renamed(name: str, blocks: list[str], own: Mapping[str, Tensor]) -> str:
    if name in _TOP:
        return _TOP[name]
    first, _, rest = name.partition(".")
    if first in ("_bn0", "_bn1"):
        return f"{ {'_bn0': 'bn1', '_bn1': 'bn2'}[first] }.{rest}"
    if first != "_blocks":
        return name
    number, _, within = rest.partition(".")
    part, _, what = within.partition(".")
    wide = f"_blocks.{number}._expand_conv.weight" in own
    names = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2" if wide else "bn1",
        "_se_reduce": "se.conv_reduce",
        "_se_expand": "se.conv_expand",
        "_project_conv": "conv_pwl" if wide else "conv_pw",
        "_bn2": "bn3" if wide else "bn2",
    }
    return f"{blocks[int(number)]}.{names.get(part, part)}.{what}"


class FixedPadding(nn.Conv2d):
    """A convolution whose padding (left, right, top, bottom) does not depend on the picture's size."""

    around: tuple[int, int, int, int]

    def forward(self, input: Float[Tensor, "example c y x"]) -> Float[Tensor, "example d y x"]:
        return conv2d(pad(input, self.around), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def static_padding(model: nn.Module, side: int) -> None:
    """Give every strided convolution the padding that keeps `SAME` for pictures of `side` × `side`."""
    from timm.layers import Conv2dSame

    for module in model.modules():
        if isinstance(module, Conv2dSame):
            stride, kernel = module.stride[0], module.kernel_size[0]
            after = -(-side // stride)
            total = max((after - 1) * stride + kernel - side, 0)
            module.__class__ = FixedPadding
            module.around = (total // 2, total - total // 2, total // 2, total - total // 2)  # type: ignore[assignment]
            side = after


def side_of(name: str) -> int:
    """The side by which the padding of a model of this name is fixed. Raises ConfigError for another model."""
    base = name.partition(".")[0]
    for number, side in SIDES.items():
        if base.startswith(f"tf_efficientnet_b{number}"):
            return side
    raise ConfigError(
        f"extractor.model is {name!r}, and the checkpoint holds Mammo-CLIP's EfficientNet",
        "extractor.model: tf_efficientnet_b5 (or tf_efficientnet_b2)",
    )
