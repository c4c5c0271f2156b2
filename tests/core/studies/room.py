"""Materials made of arrays: codes, activations and labels with a planted truth."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.artifact import save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.concepts.annotations import Annotations
from omnisae.config import AutoencoderConfig
from omnisae.extract.dataset import Dataset, Example, FeatureTable
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.store.source import TokenSource
from omnisae.studies.study import Material
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter


class Known(Dataset):
    """Examples of which columns, concepts and features are known."""

    def __init__(
        self,
        n: int,
        labels: Mapping[str, Sequence[str]],
        concepts: Mapping[str, np.ndarray],
        features: Mapping[str, np.ndarray],
    ) -> None:
        self._ids = [f"e{i}" for i in range(n)]
        self._labels, self._concepts, self._features = labels, concepts, features

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], None)

    def fingerprint(self) -> str:
        return "known"

    def annotations(self) -> Annotations:
        return Annotations(self._ids, dict(self._concepts))

    def labels(self) -> Mapping[str, Sequence[str]]:
        return self._labels

    def features(self) -> FeatureTable | None:
        if not self._features:
            return None
        return FeatureTable(list(self._features), np.stack(list(self._features.values()), axis=1))


class Rows(TokenSource):
    """One token, or several, an example, out of an array."""

    def __init__(self, hook: HookPoint, values: np.ndarray, example: np.ndarray) -> None:
        self.hook, self.values, self.example = hook, values.astype(np.float32), example

    def fingerprint(self) -> str:
        return "rows"

    def sequential(
        self, keep: TokenFilter, examples: np.ndarray | None = None, batch: int = 4096
    ) -> Iterator[TokenBatch]:
        mine = np.arange(len(self.example)) if examples is None else np.flatnonzero(examples[self.example])
        for start in range(0, len(mine), batch):
            part = mine[start : start + batch]
            yield TokenBatch(
                torch.from_numpy(self.values[part]),
                torch.from_numpy(self.example[part].astype(np.int64)),
                torch.zeros((len(part), 0), dtype=torch.int32),
                torch.zeros(len(part), dtype=torch.uint8),
            )

    def stream(self, keep: TokenFilter, examples: Any = None, **rest: Any) -> Any:
        raise NotImplementedError


def halves(n: int) -> np.ndarray:
    """SELECT and TEST by turns."""
    return np.where(np.arange(n) % 2 == 0, SELECT, TEST).astype(np.uint8)


def material(
    folder: Path,
    codes: np.ndarray,
    *,
    activations: np.ndarray | None = None,
    example: np.ndarray | None = None,
    split: np.ndarray | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    concepts: Mapping[str, np.ndarray] | None = None,
    features: Mapping[str, np.ndarray] | None = None,
    best: Mapping[str, int] | None = None,
    groups: np.ndarray | None = None,
    signed: bool = False,
    artifact: Path | None = None,
    siblings: Sequence[Path] = (),
    seed: int = 0,
) -> Material:
    """`codes` are dense (token, latent); a token an example unless `example` says otherwise. `best` names each
    concept's list that ranked first on SELECT."""
    example = np.arange(len(codes)) if example is None else example
    n = int(example.max()) + 1
    split = halves(n) if split is None else split
    activations = codes if activations is None else activations
    hook = HookPoint(name="rows", at=("rows",), pattern="example d", width=activations.shape[1])
    folder.mkdir(parents=True, exist_ok=True)
    best = best or {}
    return Material(
        postings=write(folder / "codes", codes, example, split, hook, signed),
        source=Rows(hook, activations, example),
        dataset=Known(n, labels or {}, concepts or {}, features or {}),
        extractor=None,  # type: ignore[arg-type]
        artifact=artifact or folder / "sae",
        levels=[],
        table={"concept": np.array(list(best)), "list": np.array(list(best.values()), dtype=np.int64)},
        siblings=siblings,
        seed=seed,
        folder=folder,
        groups=groups,
    )


def write(
    out: Path, codes: np.ndarray, example: np.ndarray, split: np.ndarray, hook: HookPoint, signed: bool
) -> Postings:
    with PostingsWriter(out, hook, TokenFilter(), codes.shape[1], split, signed=signed) as writer:
        held = np.flatnonzero(split[example] != 0)
        kept = codes[held]
        rows, latents = kept.nonzero()
        writer.append(
            example[held].astype(np.int32),
            np.zeros((len(held), 0), dtype=np.int32),
            np.zeros(len(held), dtype=np.uint8),
            np.r_[0, np.cumsum((kept != 0).sum(axis=1))],
            latents,
            kept[rows, latents].astype(np.float32),
        )
        return writer.finish(health(Reconstruction(), writer.counts, len(held), writer.poles))


def autoencoder(rows: np.ndarray, seed: int = 0, rule: str = "core.topk", k: int = 2) -> Autoencoder:
    """An autoencoder whose dictionary is given, tied, without biases or normaliser."""
    config = {"latents": len(rows), "activation": {"type": rule, "k": k}, "normaliser": "core.none"}
    found = Autoencoder(AutoencoderConfig.model_validate(config), rows.shape[1], seed=seed)
    with torch.no_grad():
        direction = torch.from_numpy(rows).float()
        found.decoder.copy_(direction)
        found.encoder.copy_(direction)
        found.encoder_bias.zero_()
        found.decoder_bias.zero_()
    return found.eval().requires_grad_(False)


def artifact(folder: Path, rows: np.ndarray, sample: np.ndarray, rule: str = "core.topk", k: int = 2) -> Path:
    """An artifact of it."""
    made = autoencoder(rows, rule=rule, k=k)
    hook = HookPoint(name="rows", at=("rows",), pattern="example d", width=rows.shape[1])
    info = ArtifactInfo(hook=hook, dataset="known", source="rows")
    save(folder, made, info, sample=torch.from_numpy(sample).float())
    return folder
