"""The U-Net of github.com/BrianPulfer/PapersReimplementations (MIT), written anew after the tensors of its checkpoint.

It takes pictures of 28×28 pixels in one channel, from −1 to 1, and times, and predicts the noise.
"""

from itertools import pairwise

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, shape, before, after):
        super().__init__()
        self.ln = nn.LayerNorm(shape)
        self.normalised = True
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x):
        out = nn.functional.silu(self.conv1(self.ln(x) if self.normalised else x))
        return nn.functional.silu(self.conv2(out))


def stage(size, *channels):
    return nn.Sequential(*(Block((a, size, size), a, b) for a, b in pairwise(channels)))


def told(width):
    return nn.Sequential(nn.Linear(100, width), nn.SiLU(), nn.Linear(width, width))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.time_embed = nn.Embedding(1000, 100)
        self.te1, self.b1 = told(1), stage(28, 1, 10, 10, 10)
        self.down1 = nn.Conv2d(10, 10, 4, 2, 1)
        self.te2, self.b2 = told(10), stage(14, 10, 20, 20, 20)
        self.down2 = nn.Conv2d(20, 20, 4, 2, 1)
        self.te3, self.b3 = told(20), stage(7, 20, 40, 40, 40)
        self.down3 = nn.Sequential(nn.Conv2d(40, 40, 2), nn.SiLU(), nn.Conv2d(40, 40, 4, 2, 1))
        self.te_mid, self.b_mid = told(40), stage(3, 40, 20, 20, 40)
        self.up1 = nn.Sequential(nn.ConvTranspose2d(40, 40, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(40, 40, 2))
        self.te4, self.b4 = told(80), stage(7, 80, 40, 20, 20)
        self.up2 = nn.ConvTranspose2d(20, 20, 4, 2, 1)
        self.te5, self.b5 = told(40), stage(14, 40, 20, 10, 10)
        self.up3 = nn.ConvTranspose2d(10, 10, 4, 2, 1)
        self.te_out, self.b_out = told(20), stage(28, 20, 10, 10, 10)
        self.b_out[2].normalised = False  # the checkpoint holds a LayerNorm there that is not used
        self.conv_out = nn.Conv2d(10, 1, 3, padding=1)

    def forward(self, x, t):
        time = self.time_embed(t)

        def at(mlp):
            return mlp(time)[:, :, None, None]

        one = self.b1(x + at(self.te1))
        two = self.b2(self.down1(one) + at(self.te2))
        three = self.b3(self.down2(two) + at(self.te3))
        middle = self.b_mid(self.down3(three) + at(self.te_mid))
        up = self.b4(torch.cat([three, self.up1(middle)], dim=1) + at(self.te4))
        up = self.b5(torch.cat([two, self.up2(up)], dim=1) + at(self.te5))
        return self.conv_out(self.b_out(torch.cat([one, self.up3(up)], dim=1) + at(self.te_out)))
