"""What a race is about, and who takes part. No torch here: the parent process measures, it does not compute."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

Rule = Literal["topk", "batchtopk"]

OWN = ("ours", "whole", "reading", "postings", "floor")
"""Modules of `contestants/` that run in the project's environment; the others are peers."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One training: the same for all contestants of a race."""

    rule: Rule = "topk"
    latents: int = 8192
    width: int = 768
    k: int = 32
    batch: int = 4096
    lr: float = 1e-3
    device: str = "cpu"

    def but(self, **changes: Any) -> Self:
        """The same setting with some fields changed."""
        return replace(self, **changes)

    def toy(self) -> Self:
        """A setting of the same kind, small enough to be over at once: the rehearsal's."""
        return replace(self, latents=512, width=64, k=8, batch=256)


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant of a race: its name in tables, its module in `contestants/`, the steps of one turn, and what it is
    asked before each turn and after the last.
    """

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 1
    before: str | None = None
    after: tuple[str, ...] = ()

    @property
    def peer(self) -> bool:
        """Whether it is another library, which runs in the benchmark's own environment."""
        return self.module not in OWN

    @property
    def judged(self) -> bool:
        """Whether it learns something that can be evaluated."""
        return self.peer or self.module == "ours"

    def spec(self, setting: Setting, data: str) -> dict[str, Any]:
        """What its process is told, as JSON."""
        return {"module": self.module, "options": self.options, "setting": asdict(setting), "data": data}


def ours(precision: str, steps: int = 1, after: tuple[str, ...] = ()) -> Entry:
    """omnisae, by its `train.precision`: exact, mixed or bf16."""
    return Entry(f"omnisae {precision}", "ours", {"precision": precision}, steps, after=after)


def product(kind: str, steps: int = 2) -> Entry:
    """The encoder product alone: 'bf16', 'fp32 MKL' or 'fp32 oneDNN'."""
    return Entry(f"product {kind}", "floor", {"kind": kind}, steps)


def in_one_pass(jobs: int, precision: str, steps: int = 1) -> Entry:
    """omnisae, so many autoencoders in one pass over a store on a cold disk."""
    options = {"precision": precision, "jobs": jobs}
    return Entry(f"{jobs} in one pass", "reading", options, steps, before="forget")


def from_store(precision: str, steps: int) -> Entry:
    """omnisae, a whole training from a store on a cold disk."""
    return Entry("from a cold store", "reading", {"precision": precision}, steps, before="forget")


def to_postings(batches: int = 16) -> Entry:
    """omnisae, encoding a store of so many batches to posting lists, once a turn."""
    return Entry("to posting lists", "postings", {"batches": batches}, batches)


def sparsify(steps: int = 1) -> Entry:
    return Entry("eai-sparsify", "sparsify", steps=steps)


def dictionary_learning(steps: int = 1) -> Entry:
    return Entry("dictionary-learning", "dictionary_learning", steps=steps)


def sae_lens(steps: int = 1) -> Entry:
    return Entry("sae-lens", "sae_lens", steps=steps)


def sae_lens_fast(steps: int = 1) -> Entry:
    """With its bf16 autocast and without its rescaling by the decoder's norm: the fastest that it can be set to."""
    return Entry("sae-lens bf16", "sae_lens", {"autocast": True, "rescale": False}, steps)


def overcomplete(steps: int = 1) -> Entry:
    return Entry("overcomplete", "overcomplete", steps=steps)
