"""A normaliser that follows a condition: mean and scale are functions of columns that the token brings along."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.normaliser import Normaliser

ROWS = 16
"""Rows of the sample that a knot stands on, at least: of fewer, the uncertainty would itself be a guess."""
FLOOR = 1e-6
"""Smallest variance at a knot, over that of the whole sample: one that saw next to none would blow up later tokens."""
RESOLUTION = 1e-7
"""What numbers in single precision are rounded to, over their size."""
ROUNDS = 10
"""Passes over several columns, each fitted to what the others leave."""


class Modulated(Normaliser):
    """x' = ((x − μ(t)) / σ(t), 0): a token's last `columns` entries are its condition t, the others its activation.

    Where activations move and grow with a known quantity (a time, a depth, a dose), an autoencoder that does not know
    it spends latents on it. TIDE, temporal-aware sparse autoencoders (Huang et al. 2025), modulates activations around
    the sparse bottleneck by the time at which the model runs. The paper's equations were not at hand; by its abstract
    the modulation is learnt with the autoencoder. Here shift and scale are fitted once, to the training sample: the
    loss cannot be lowered by making its target small, the map is reversible, and every rule, decoder and nesting takes
    what comes out as it takes any other normaliser's.

    μ and log σ are linear in t between at most `knots` knots and constant outside them: one knot for each value of t
    in the sample or, where there are more values, for each of equally many rows. σ is one number, which keeps the
    geometry at each t, or one `per_dimension`; the mean squared norm of x' is the number of the activation's entries.
    With several columns, μ and log σ are sums of one such curve a column. What a knot's rows tell is drawn towards
    what all rows tell, by as much as chance alone would let knots differ (empirical Bayes; Efron & Morris 1973), so
    that a condition that says nothing gives `Standard`.

    The condition's entries of x' are zero: no latent is spent on them or credited for them. They travel in the context.
    """

    knots: Tensor
    means: Tensor
    logs: Tensor

    def __init__(self, width: int, columns: int, knots: int, per_dimension: bool) -> None:
        super().__init__()
        self.columns, self.inner = columns, width - columns
        self.register_buffer("knots", torch.zeros(columns, knots))
        self.register_buffer("means", torch.zeros(columns, knots, self.inner))
        self.register_buffer("logs", torch.zeros(columns, knots, self.inner if per_dimension else 1))

    @torch.no_grad()
    def fit(self, sample: Float[Tensor, "token width"]) -> None:
        x, told = sample[:, : self.inner].double(), sample[:, self.inner :].double()
        bins = [_bins(column, self.knots.shape[1]) for column in told.T]
        knots = [its.at for its in bins]
        means = _backfit(bins, told, lambda others, bins: _means(x - others, bins), self.inner)
        squares, sizes = (x - _total(means, knots, told)).square(), x.square()
        if self.logs.shape[2] == 1:
            squares, sizes = squares.mean(1, keepdim=True), sizes.mean(1, keepdim=True)
        # What varies no more than numbers of its size are rounded is constant, and is left at its scale.
        constant = squares.mean(0) <= RESOLUTION**2 * sizes.mean(0)
        squares = torch.where(constant, 1.0, squares)
        overall = squares.mean(0)
        logs = _backfit(
            bins, told, lambda others, bins: _logs(squares / overall / (2 * others).exp(), bins), len(overall)
        )
        logs[0] = logs[0] + (squares / (2 * _total(logs, knots, told)).exp()).mean(0).log() / 2
        for place, its in enumerate(bins):
            self.knots[place], self.means[place], self.logs[place] = (
                torch.cat([table, table[-1:].expand(self.knots.shape[1] - len(table), *table.shape[1:])])
                for table in (its.at, means[place], logs[place])
            )

    def forward(self, x: Float[Tensor, "token width"]) -> tuple[Float[Tensor, "token width"], Tensor | None]:
        told = x[:, self.inner :]
        mean, deviation = self._at(told)
        return torch.cat([(x[:, : self.inner] - mean) / deviation, torch.zeros_like(told)], dim=1), told

    def undo(self, x: Float[Tensor, "token width"], context: Tensor | None) -> Float[Tensor, "token width"]:
        if context is None:
            raise ValueError("codes of a modulated autoencoder carry each token's condition; these do not")
        mean, deviation = self._at(context)
        return torch.cat([x[:, : self.inner] * deviation + mean, context], dim=1)

    def _at(self, told: Float[Tensor, "token column"]) -> tuple[Tensor, Tensor]:
        means, logs = (_total(curves, self.knots, told) for curves in (self.means, self.logs))
        return means, logs.exp()


@dataclass(frozen=True, slots=True)
class _Bins:
    """The sample's rows by one column: the bin `of` every row, where each bin's knot lies, how many rows it has."""

    of: Int[Tensor, " token"]
    at: Float[Tensor, " knot"]
    rows: Float[Tensor, " knot"]


def _bins(t: Float[Tensor, " token"], most: int) -> _Bins:
    """One bin a value, or `most` of about equally many rows; a value is never in two, and none has under ROWS rows."""
    values, value_of, rows = torch.unique(t, return_inverse=True, return_counts=True)
    group = torch.arange(len(values), device=t.device)
    if len(values) > most:
        group = (((rows.cumsum(0) - rows / 2) * most) / len(t)).long()
    of = torch.tensor(_enough(rows.tolist(), group.tolist()), device=t.device)[value_of]
    count = torch.bincount(of).double()
    return _Bins(of, torch.zeros_like(count).index_add_(0, of, t) / count, count)


def _enough(rows: list[int], groups: list[int]) -> list[int]:
    """The bin of every value: its group, joined to the one before until that has ROWS rows; the last likewise."""
    bins: list[int] = []
    filled, bin, group = 0, 0, 0
    for count, its in zip(rows, groups, strict=True):
        if its != group and filled >= ROWS:
            filled, bin = 0, bin + 1
        filled, group = filled + count, its
        bins.append(bin)
    return bins if filled >= ROWS else [min(its, max(bin - 1, 0)) for its in bins]


def _between(
    table: Float[Tensor, "knot p"], at: Float[Tensor, " knot"], t: Float[Tensor, " token"]
) -> Float[Tensor, "token p"]:
    """The table's values at t: linear between knots, constant outside; NaN where t is NaN."""
    after = torch.searchsorted(at, t.contiguous(), right=True)
    low, high = (after - 1).clamp(min=0), after.clamp(max=len(at) - 1)
    gap = (at[high] - at[low]).clamp(min=torch.finfo(at.dtype).tiny)
    share = (t.clamp(at[0], at[-1]) - at[low]) / gap
    return torch.lerp(table[low], table[high], share[:, None])


def _total(curves: Tensor | list[Tensor], knots: Tensor | list[Tensor], told: Tensor) -> Float[Tensor, "token p"]:
    """The sum of one curve a column."""
    total = _between(curves[0], knots[0], told[:, 0])
    for place in range(1, len(curves)):
        total = total + _between(curves[place], knots[place], told[:, place])
    return total


def _backfit(
    bins: list[_Bins], told: Tensor, fitted: Callable[[Tensor, _Bins], Tensor], p: int
) -> list[Float[Tensor, "knot p"]]:
    """One curve a column, each fitted to what the others leave (Friedman & Stuetzle 1981); `fitted` gets their sum."""
    knots, curves = [its.at for its in bins], [told.new_zeros(len(its.at), p) for its in bins]
    for _ in range(ROUNDS if len(bins) > 1 else 1):
        for place, its in enumerate(bins):
            curves[place] = torch.zeros_like(curves[place])
            curves[place] = fitted(_total(curves, knots, told), its)
    return curves


def _means(values: Float[Tensor, "token p"], bins: _Bins) -> Float[Tensor, "knot p"]:
    return _shrunk(*_averages(values, bins), bins.rows)


def _logs(squares: Float[Tensor, "token p"], bins: _Bins) -> Float[Tensor, "knot p"]:
    """log σ at the knots. The logarithm of a mean is as uncertain as the mean is relative to itself."""
    variance = _averages(squares, bins)[0].clamp(min=FLOOR)
    return _shrunk(variance.log() / 2, _averages(squares / variance[bins.of], bins)[1] / 4, bins.rows)


def _averages(values: Float[Tensor, "token p"], bins: _Bins) -> tuple[Float[Tensor, "knot p"], Float[Tensor, " knot"]]:
    """Means by bin, and how far each lies from the truth by chance: the expected squared distance."""
    knots = len(bins.rows)
    mean = values.new_zeros(knots, values.shape[1]).index_add_(0, bins.of, values) / bins.rows[:, None]
    apart = (values - mean[bins.of]).square().sum(1)
    spread = values.new_zeros(knots).index_add_(0, bins.of, apart) / (bins.rows - 1).clamp(min=1)
    return mean, spread / bins.rows


def _shrunk(
    values: Float[Tensor, "knot p"], noise: Float[Tensor, " knot"], rows: Float[Tensor, " knot"]
) -> Float[Tensor, "knot p"]:
    """Values drawn towards their mean: a knot keeps signal / (signal + its noise) of its distance from it."""
    weights = rows / rows.sum()
    centre = weights @ values
    apart = values - centre
    chance = (weights * (1 - weights) * noise).sum()
    signal = ((weights * apart.square().sum(1)).sum() - chance).clamp(min=0)
    kept = signal / (signal + noise).clamp(min=torch.finfo(values.dtype).tiny)
    return centre + kept[:, None] * apart
