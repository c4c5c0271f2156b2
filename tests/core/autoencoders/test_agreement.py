"""Agreement between dictionaries, of latents whose codes are signed or not."""

import pytest
import torch

from omnisae.autoencoders.agreement import mean_max_cosine


def test_a_direction_and_its_opposite_agree_only_where_codes_are_signed() -> None:
    mine = torch.nn.functional.normalize(torch.randn(5, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    other = mine * torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0])[:, None]
    assert mean_max_cosine(mine, other, signed=True, chunk=2) == pytest.approx(1.0)
    assert mean_max_cosine(mine, other, chunk=2) < 0.8
    assert mean_max_cosine(mine, mine) == pytest.approx(1.0)
