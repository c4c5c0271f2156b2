"""EfficientNet-B0 to B7 as efficientnet_pytorch writes it, made small: the slow reference for Mammo-CLIP's checkpoints.

One `_swish` serves stem and head, padding is fixed once for pictures of a given side, and names are that library's.
"""

import math

import torch
from torch import nn
from torch.nn.functional import conv2d, pad


class Same(nn.Conv2d):
    """`SAME` padding, fixed for pictures of one side."""

    def __init__(self, side, *arguments, **options):
        super().__init__(*arguments, **options)
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        self.fixed = (total // 2, total - total // 2) * 2

    def forward(self, x):
        return conv2d(pad(x, self.fixed), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Block(nn.Module):
    """An inverted residual with squeeze-and-excitation."""

    def __init__(self, side, given, taken, expand, kernel, stride):
        super().__init__()
        wide = given * expand
        self.expands, self.skips = expand != 1, stride == 1 and given == taken
        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(given, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = Same(side, wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        squeezed = max(1, int(given * 0.25))
        self._se_reduce, self._se_expand = nn.Conv2d(wide, squeezed, 1), nn.Conv2d(squeezed, wide, 1)
        self._project_conv, self._bn2 = nn.Conv2d(wide, taken, 1, bias=False), nn.BatchNorm2d(taken, eps=1e-3)
        self._swish = nn.SiLU()

    def forward(self, x):
        y = self._swish(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._swish(self._bn1(self._depthwise_conv(y)))
        squeezed = self._se_expand(self._swish(self._se_reduce(y.mean((2, 3), keepdim=True))))
        y = self._bn2(self._project_conv(torch.sigmoid(squeezed) * y))
        return x + y if self.skips else y


STAGES = ((1, 16, 1, 3, 1), (2, 24, 6, 3, 2), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2), (3, 112, 6, 5, 1), (4, 192, 6, 5, 2),
          (1, 320, 6, 3, 1))  # fmt: skip
"""Repeats, channels, expansion, kernel and stride of EfficientNet-B0's stages (Tan & Le 2019)."""


class Encoder(nn.Module):
    """Mammo-CLIP's image encoder; `wide` and `deep` are EfficientNet's coefficients, `side` fixes the padding."""

    def __init__(self, wide, deep, side):
        super().__init__()

        def channels(count):
            scaled = count * wide
            rounded = max(8, int(scaled + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * scaled else rounded

        self._conv_stem = Same(side, 3, channels(32), 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(channels(32), eps=1e-3)
        side, given, blocks = math.ceil(side / 2), channels(32), []
        for repeats, taken, expand, kernel, stride in STAGES:
            for number in range(math.ceil(deep * repeats)):
                step = stride if number == 0 else 1
                blocks.append(Block(side, given, channels(taken), expand, kernel, step))
                side, given = math.ceil(side / step), channels(taken)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(given, channels(1280), 1, bias=False)
        self._bn1 = nn.BatchNorm2d(channels(1280), eps=1e-3)
        self._swish = nn.SiLU()

    def forward(self, x):
        x = self._swish(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._swish(self._bn1(self._conv_head(x))).mean((2, 3))


def randomised(model, seed=0):
    """Weights and running statistics that are not their defaults."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=draw) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=draw) + 0.5)
    return model.eval()
