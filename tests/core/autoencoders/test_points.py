"""Points that stand for a sample: clusters that were planted are found, by the iteration that it says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from omnisae.autoencoders import points
from omnisae.autoencoders.points import centroids, points_of


def clusters(count: int = 5, each: int = 60, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    centres = 3 * torch.randn(count, 6, generator=generator)
    rows = centres.repeat_interleave(each, 0) + spread * torch.randn(count * each, 6, generator=generator)
    return rows[torch.randperm(len(rows), generator=generator)], centres


def lloyd(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One round after the other, written out; no cluster may be lost."""
    for _ in range(points.ROUNDS):
        nearest = ((rows[:, None] - first[None]) ** 2).sum(2).argmin(1)
        assert len(set(nearest)) == len(first)
        first = np.stack([rows[nearest == k].mean(0) for k in range(len(first))])
    return first


@pytest.mark.parametrize("chunk", [1, 2**22])
def test_rounds_are_lloyds(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "CHUNK", chunk)
    rows = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = lloyd(rows.numpy(), rows[:7].numpy())
    np.testing.assert_allclose(centroids(rows, rows[:7]).numpy(), expected, rtol=1e-10)


def test_planted_clusters_are_found() -> None:
    rows, centres = clusters()
    found = centroids(rows, centres + 0.5)
    assert (torch.cdist(centres, found).min(1).values < 0.05).all()


def test_a_lost_cluster_goes_on_from_the_furthest_row() -> None:
    """One of five starts so far away that it wins no row."""
    rows, centres = clusters()
    first = centres.clone()
    first[3] = 1000.0
    found = centroids(rows, first)
    assert (torch.cdist(centres, found).min(1).values < 0.05).all()


def test_rows_are_rows_and_no_two_the_same() -> None:
    rows, _ = clusters()
    found = points_of(rows, 40, "rows")
    assert all((rows == row).all(1).any() for row in found)
    assert len(torch.unique(found, dim=0)) == 40


@pytest.mark.parametrize("choose", ["kmeans", "rows"])
def test_the_same_sample_gives_the_same_points(choose: points.Choice) -> None:
    rows, _ = clusters()
    torch.manual_seed(4)
    first = points_of(rows, 20, choose)
    torch.manual_seed(5)
    assert torch.equal(first, points_of(rows, 20, choose))


def test_as_many_points_as_rows() -> None:
    rows, _ = clusters(each=3)
    found = points_of(rows, 15, "kmeans")
    torch.testing.assert_close(torch.cdist(rows, found).min(1).values, torch.zeros(15), atol=1e-3, rtol=0)
