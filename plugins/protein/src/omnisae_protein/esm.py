"""The extractor `protein.esm`: one token a residue, whatever way the model lays its tensors out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from omnisae.errors import ConfigError, HookError
from omnisae.extract.dataset import Example
from omnisae.extract.extractor import Extraction
from omnisae.extract.module import ModuleExtractor, to_device
from omnisae.hooks.point import HookPoint, View
from omnisae.hooks.taps import tap
from omnisae.tokens.arrange import flatten
from omnisae.tokens.batch import TokenBatch
from omnisae_protein.language_models import LanguageModel, load, sizes_of
from omnisae_protein.plugin import EsmConfig
from omnisae_protein.windows import groups, windows

AXIS = "residue"
PROBED = (2, 5)
"""Sequences and residues of the probe: sizes that no model confuses with its width."""
STANDARD = "ACDEFGHIKLMNPQRSTVWY"

Batch = Mapping[str, Tensor]
"""Windows of a batch of proteins: `tokens` (window × position, padded), `length` (residues), `protein` (place within
the batch), `start` (first residue), `first` and `last` (residues that are read: first ≤ i < last), `size` (residues of
the whole protein)."""


def build(config: EsmConfig) -> "Esm":
    """The extractor of a config."""
    return Esm(config, load(config))


class Esm(ModuleExtractor):
    """A protein language model. Proteins of a batch go through it sorted by length, long ones in overlapping windows.

    Its loss is that of the masked residues. Where an artifact edits, sequences of one length go together: then padding
    is not taken for residues.
    """

    def __init__(self, config: EsmConfig, built: LanguageModel) -> None:
        if config.overlap >= config.window:
            raise ConfigError(
                f"extractor.overlap: {config.overlap} residues of windows of {config.window}",
                "let windows overlap by less than their size",
            )
        super().__init__(built.model, batch_size=config.batch_size, device=config.device)
        self.config, self.built = config, built
        self.before = int(built.begin is not None)

    def describe(self) -> Mapping[str, Any]:
        return {"window": self.config.window, "overlap": self.config.overlap, "dtype": self.config.dtype}

    def prepare(self, example: Example) -> Batch:
        """The windows of one protein. Letters that the alphabet lacks become its unknown token."""
        sequence = example.input.sequence
        found = windows(len(sequence), self.config.window, self.config.overlap)
        built = self.built
        longest = max(one.stop - one.start for one in found)
        tokens = torch.full((len(found), longest + self.before + int(built.end is not None)), built.pad)
        for row, one in enumerate(found):
            inner = [built.numbers.get(letter, built.unknown) for letter in sequence[one.start : one.stop]]
            whole = [built.begin] * self.before + inner + ([built.end] if built.end is not None else [])
            tokens[row, : len(whole)] = torch.tensor(whole)
        return {
            "tokens": tokens,
            "length": torch.tensor([one.stop - one.start for one in found]),
            "protein": torch.zeros(len(found), dtype=torch.int64),
            "start": torch.tensor([one.start for one in found]),
            "first": torch.tensor([one.first for one in found]),
            "last": torch.tensor([one.last for one in found]),
            "size": torch.full((len(found),), len(sequence)),
        }

    def collate(self, prepared: Sequence[Batch]) -> Batch:
        longest = max(one["tokens"].shape[1] for one in prepared)
        pad = self.built.pad
        out = {name: torch.cat([one[name] for one in prepared]) for name in prepared[0] if name != "tokens"}
        out["tokens"] = torch.cat(
            [
                torch.nn.functional.pad(one["tokens"], (0, longest - one["tokens"].shape[1]), value=pad)
                for one in prepared
            ]
        )
        out["protein"] = torch.cat([one["protein"] + i for i, one in enumerate(prepared)])
        return out

    def probe(self) -> Batch:
        count, length = PROBED
        letters = [self.built.numbers.get(a, self.built.unknown) for a in STANDARD[:length]]
        end = [self.built.end] if self.built.end is not None else []
        whole = torch.tensor([self.built.begin] * self.before + letters + end)
        numbers = torch.arange(count)
        same = {"length": numbers * 0 + length, "protein": numbers, "start": numbers * 0, "first": numbers * 0}
        return {"tokens": whole.repeat(count, 1), **same, "last": same["length"], "size": same["length"]}

    def forward(self, inputs: Batch) -> Any:
        tokens = inputs["tokens"]
        return self.built.run(self.model, tokens, tokens != self.built.pad)

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        special = self.before + int(self.built.end is not None)
        pattern = sizes_of(shape, PROBED[0], PROBED[1] + special, f"{path!r} ({view})")
        parts = ["[bos]"] * self.before + [AXIS] + (["[eos]"] if self.built.end is not None else [])
        inner = " + ".join(parts)
        return pattern.format(residues=f"({inner})" if len(parts) > 1 else inner), {}

    def extract(self, rows: Sequence[int], inputs: Batch, hooks: Sequence[HookPoint]) -> Extraction:
        for hook in hooks:
            if AXIS not in hook.axes or len(hook.axes) > 1:
                raise HookError(
                    f"hook point {hook.name!r} has the axes {list(hook.axes)}; protein.esm gives tokens along {AXIS!r}",
                    "leave out `layout`: the extractor declares it",
                )
        parts: dict[str, list[tuple[TokenBatch, Tensor]]] = {hook.name: [] for hook in hooks}
        for group in self.split(inputs):
            moved = to_device(group, self.device)
            with torch.inference_mode(), tap(self.model, hooks) as seen:
                self.forward(moved)
            for hook in hooks:
                parts[hook.name].append(self._residues(group, hook, seen[hook.name]))
        known = torch.as_tensor(rows, dtype=torch.int64)
        return Extraction(tuple(rows), {name: _in_order(found, known) for name, found in parts.items()})

    def split(self, inputs: Batch, *, equal: bool = False) -> list[Batch]:
        """The windows of a batch in groups of like (or equal) length, cut to their longest."""
        special = self.before + int(self.built.end is not None)
        lengths = (inputs["length"] + special).tolist()
        out: list[Batch] = []
        for group in groups(lengths, self.config.batch_tokens, equal=equal):
            numbers = torch.tensor(group, device=inputs["tokens"].device)
            part = {name: values[numbers] for name, values in inputs.items()}
            part["tokens"] = part["tokens"][:, : max(lengths[i] for i in group)]
            out.append(part)
        return out

    def _residues(self, group: Batch, hook: HookPoint, tensor: Tensor) -> tuple[TokenBatch, Int[Tensor, " token"]]:
        """The tokens that are read of a group, and their places in the protein, BOS before and EOS behind. The layout
        knows the longest sequence alone; here each one's own length decides what is its end.
        """
        tokens = flatten(tensor, hook.layout)
        if tokens.values.shape[1] != hook.width:
            raise HookError(
                f"hook point {hook.name!r} gave vectors of {tokens.values.shape[1]} values, and {hook.width} when it "
                "was found: its width depends on the length of the sequences",
                "hook a layer, its attention's output or its MLP; attention maps have no width of their own",
            )
        count, longest = group["tokens"].shape
        window = tokens.example.cpu().long()
        position = torch.arange(longest).repeat(count)
        inner = position - self.before
        length, start = group["length"].cpu()[window], group["start"].cpu()[window]
        first, last = group["first"].cpu()[window], group["last"].cpu()[window]
        place = start + inner
        residue = (inner >= 0) & (inner < length) & (place >= first) & (place < last)
        begin = (inner < 0) & (first == 0)
        end = (inner == length) & (last == group["size"].cpu()[window])
        role = torch.zeros(len(window), dtype=torch.uint8)
        if self.before:
            role[begin] = hook.roles.index("bos")
        if self.built.end is not None:
            role[end] = hook.roles.index("eos")
        kept = (residue | begin | end).nonzero()[:, 0]
        coords = torch.where(residue, place, -1).to(torch.int32)[kept, None]
        values = tokens.values[kept.to(tokens.values.device)].cpu().float()
        batch = TokenBatch(values, group["protein"].cpu()[window][kept], coords, role[kept])
        return batch, place[kept]

    def loss(self, rows: Sequence[int], inputs: Batch) -> Float[Tensor, " example"] | None:
        """The mean cross entropy of the masked residues of every protein, in nats; which are masked depends on the
        protein's row alone. None where the model has no head that names them."""
        if self.built.logits is None or self.built.mask is None:
            return None
        total = torch.zeros(len(rows), dtype=torch.float64)
        asked_of = torch.zeros(len(rows), dtype=torch.float64)
        for group in self.split(inputs, equal=True):
            asked = self._asked(rows, group)
            shown = torch.where(asked, self.built.mask, group["tokens"].cpu())
            moved = to_device({**group, "tokens": shown}, self.device)
            logits = self.built.logits(self.forward(moved)).float().cpu()
            losses = cross_entropy(logits.transpose(1, 2), group["tokens"].cpu(), reduction="none") * asked
            protein = group["protein"].cpu()
            total.index_add_(0, protein, losses.sum(dim=1).double())
            asked_of.index_add_(0, protein, asked.sum(dim=1).double())
        return (total / asked_of.clamp(min=1)).float()

    def _asked(self, rows: Sequence[int], group: Batch) -> Tensor:
        """Residues to be masked: of each window those that are read there, at least one."""
        count, longest = group["tokens"].shape
        out = torch.zeros(count, longest, dtype=torch.bool)
        for i in range(count):
            row, start = int(group["protein"][i]), int(group["start"][i])
            first, last = int(group["first"][i]) - start, int(group["last"][i]) - start
            draw = np.random.default_rng([rows[row], start])
            chosen = draw.random(last - first) < self.config.masked
            chosen[int(draw.integers(last - first))] = True
            out[i, self.before + first : self.before + last] = torch.from_numpy(chosen)
        return out

    def logits(self, inputs: Batch) -> list[Float[Tensor, "position letter"]]:
        """The logits at every residue of proteins that fit one window, each protein alone, in order."""
        if self.built.logits is None:
            raise ConfigError(
                f"extractor.checkpoint: {self.config.checkpoint!r} has no head that names residues", "use an ESM model"
            )
        found: dict[int, Tensor] = {}
        for group in self.split(inputs, equal=True):
            logits = self.built.logits(self.forward(to_device(group, self.device))).float().cpu()
            for i, protein in enumerate(group["protein"].tolist()):
                length = int(group["length"][i])
                found[protein] = logits[i, self.before : self.before + length]
        return [found[i] for i in sorted(found)]


def _in_order(parts: Sequence[tuple[TokenBatch, Int[Tensor, " token"]]], rows: Int[Tensor, " example"]) -> TokenBatch:
    """All tokens by protein, those of one protein by their place; `example` becomes the dataset's row."""
    names = ("values", "example", "coords", "role")
    whole = TokenBatch(*(torch.cat([getattr(part, name) for part, _ in parts]) for name in names))
    place = torch.cat([place for _, place in parts])
    whole = whole.take(torch.from_numpy(np.lexsort((place.numpy(), whole.example.numpy()))))
    return TokenBatch(whole.values, rows[whole.example], whole.coords, whole.role)
