"""Running figures: scalars stay on the device until they are asked for, and are summed in fp64 on the host."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

Reduce = Callable[[Tensor], Tensor]
"""The mean, or another fold, of a tensor over all processes."""


@dataclass(slots=True)
class Reading:
    """The scalars of one owner (an autoencoder, or a hook point) at one step, as host numbers."""

    step: int
    owner: str
    values: dict[str, float]


@dataclass(slots=True)
class Pending:
    """Scalars that wait on the device, so that no step has to wait for it."""

    owners: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    scalars: list[Tensor] = field(default_factory=list)

    def add(self, step: int, owner: str, scalars: Mapping[str, Tensor]) -> None:
        """Keep the scalars of one step. They are detached, and must not be changed in place afterwards."""
        self.owners.append((step, owner, tuple(scalars)))
        self.scalars.extend(scalar.detach() for scalar in scalars.values())

    def read(self, mean: Reduce) -> list[Reading]:
        """Bring all over in one transfer, averaged over the processes, in the order in which they came."""
        if not self.scalars:
            return []
        # fp32 on a device that has no fp64: what is averaged there are single steps, the sums are the host's
        wide = torch.float32 if self.scalars[0].device.type == "mps" else torch.float64
        values = iter(mean(torch.stack([scalar.reshape(()).to(wide) for scalar in self.scalars])).tolist())
        readings = [Reading(step, owner, {name: next(values) for name in names}) for step, owner, names in self.owners]
        self.owners, self.scalars = [], []
        return readings


@dataclass(slots=True)
class Window:
    """What one autoencoder did since the last line of the log: sums, and of how many steps."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        return self.sums[name] / self.counts[name] if self.counts.get(name) else None

    def explained_variance(self) -> float | None:
        """1 − Σ‖x − x̂‖² / Σ‖x − x̄‖² over the window's tokens; None where they do not vary."""
        total = self.sums.get("sst", 0.0)
        return 1.0 - self.sums["sse"] / total if total > 0 else None

    def figures(self) -> dict[str, Any]:
        """The window as a line of metrics.jsonl shows it."""
        terms = {name.removeprefix("term/"): self.mean(name) for name in self.sums if name.startswith("term/")}
        return {
            "loss": self.mean("loss"),
            "terms": terms,
            "explained_variance": self.explained_variance(),
            "l0": self.mean("l0"),
        }

    def state(self) -> dict[str, Any]:
        return asdict(self)
