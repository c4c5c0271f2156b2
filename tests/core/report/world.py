"""A small run with known truth, made of arrays: pictures of coloured discs, latents that see a colour."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnisae.config import RunConfig
from omnisae.errors import UnreadableExample
from omnisae.extract.dataset import Dataset, Example, FeatureTable
from omnisae.extract.extractor import Extractor
from omnisae.hooks.point import HookPoint
from omnisae.plugins.component import Component
from omnisae.postings.poles import Poles
from omnisae.report.facts import COLUMNS

COLOURS = {"red": (200, 50, 40), "green": (60, 150, 70), "blue": (50, 80, 190), "yellow": (220, 190, 60)}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"quoted\" & 'quoted'",
    "</script><img src=x onerror=alert(2)>",
    "line\u2028end\u2029",
    "{{ 7*7 }}",
)


@dataclass
class Lists:
    """Posting lists held in memory; where codes are signed, two a latent."""

    latents: int
    n_tokens: int
    hook: HookPoint
    example: np.ndarray
    coords: np.ndarray
    role: np.ndarray
    split: np.ndarray
    offsets: np.ndarray
    token: np.ndarray
    value: np.ndarray
    steps: Mapping[str, int] | Sequence[Mapping[str, int]]
    signed: bool = False

    @property
    def poles(self) -> Poles:
        return Poles(self.latents, self.signed)

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)

    @cached_property
    def maxima(self) -> np.ndarray:
        return np.array([self.entries(i)[1].max(initial=0.0) for i in range(len(self.poles))], dtype=np.float32)

    def entries(self, latent: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(int(self.offsets[latent]), int(self.offsets[latent + 1]))
        return self.token[part], self.value[part]

    def sizes(self, row: int) -> dict[str, int]:
        return dict(self.steps if isinstance(self.steps, Mapping) else self.steps[row])


class Discs(Dataset):
    """Pictures of one coloured disc each."""

    def __init__(
        self, n: int, side: int, *, hostile: bool = False, maps: bool = True, unreadable: Sequence[int] = ()
    ) -> None:
        random = np.random.default_rng(7)
        self.n, self.side, self.maps, self.unreadable = n, side, maps, set(unreadable)
        self.colour = random.integers(0, len(COLOURS), n)
        self.centre = random.uniform(0.25, 0.75, (n, 2))
        self.loads: list[int] = []
        self.grain = random.normal(0, 14, (8, side, side, 1))
        names = list(COLOURS)
        self._labels = [names[c] for c in self.colour]
        self._ids = [f"disc-{i:05d}" for i in range(n)]
        if hostile:
            self._ids = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(n)]
            self._labels = [HOSTILE[c % len(HOSTILE)] for c in self.colour]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        if row in self.unreadable:
            raise UnreadableExample(f"/secret/place/{row}.png is truncated", "restore it")
        self.loads.append(row)
        return Example(row, self._ids[row], row)

    def fingerprint(self) -> str:
        return "discs"

    def labels(self) -> Mapping[str, Sequence[str]]:
        return {"colour": self._labels}

    def embeddings(self) -> Mapping[str, np.ndarray]:
        if not self.maps:
            return {}
        angle = self.colour * np.pi / 2
        around = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 3
        return {"UMAP": (around + np.random.default_rng(1).normal(size=(self.n, 2))).astype(np.float32)}

    @cached_property
    def _table(self) -> FeatureTable:
        values = np.random.default_rng(2).normal(size=(self.n, 40)).astype(np.float32)
        for c in range(len(COLOURS)):
            values[:, c] += 2.0 * (self.colour == c)
        return FeatureTable([*(f"hue {name}" for name in COLOURS), *(f"noise {i}" for i in range(36))], values)

    def features(self) -> FeatureTable | None:
        return self._table if self.maps else None

    def picture(self, row: int) -> np.ndarray:
        y, x = np.mgrid[0 : self.side, 0 : self.side] / self.side
        away = np.hypot(y - self.centre[row, 0], x - self.centre[row, 1])
        grain = self.grain[row % len(self.grain)]
        back = np.stack([150 + 60 * y, 160 + 40 * x, 175 - 30 * y], axis=2)
        disc = np.array(list(COLOURS.values())[self.colour[row]], dtype=float)
        return np.clip(np.where((away < 0.2)[..., None], disc, back) + grain, 0, 255).astype(np.uint8)


class Viewer(Extractor):
    """Shows the pictures of a Discs dataset."""

    def __init__(self, dataset: Discs, pictures: bool = True) -> None:
        self.dataset, self.pictures = dataset, pictures

    def resolve(self, hooks: Any) -> list[HookPoint]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return "viewer"

    def prepare(self, example: Example) -> Any:
        raise NotImplementedError

    def extract(self, rows: Any, inputs: Any, hooks: Any) -> Any:
        raise NotImplementedError

    def picture(self, example: Example) -> np.ndarray | None:
        return self.dataset.picture(example.input) if self.pictures else None


@dataclass
class World:
    """A run's folder and everything `build` wants."""

    run: Path
    config: RunConfig
    dataset: Discs
    extractor: Viewer
    postings: Lists
    hook: HookPoint
    facts: dict[str, Any] = field(default_factory=dict)

    def parts(self) -> tuple[Any, ...]:
        return self.run, self.config, self.dataset, self.extractor, self.postings, self.hook


def config(**report: Any) -> RunConfig:
    """A config whose components are never built; pydantic's checks are passed by."""
    from types import SimpleNamespace

    from omnisae.config import ControlsConfig, ReportConfig, StoreConfig
    from omnisae.report import configs
    from omnisae.tokens.filter import TokenFilters

    report.setdefault("visualizers", tuple(component() for component in configs.COMPONENTS))
    name = report.pop("name", "discs")
    return SimpleNamespace(  # type: ignore[return-value]
        name=name,
        report=ReportConfig.model_construct(**(ReportConfig().model_dump() | report)),
        store=StoreConfig(workers=report.get("workers", 0)),
        tokens=TokenFilters(),
        score=SimpleNamespace(controls=ControlsConfig(), split=SimpleNamespace(by="example")),
        dataset=SimpleNamespace(type="test.discs"),
        extractor=Component(type="test.viewer"),
        autoencoder=SimpleNamespace(latents=0, activation=Component(type="core.topk"), model_fields_set=set()),
    )


def grid_lists(
    dataset: Discs, latents: int, grid: int, per_latent: int, split: np.ndarray, signed: bool = False
) -> Lists:
    """List l sees colour l % 4, in a random part of the pictures; every 50th is dead, every 7th is noise."""
    hook = HookPoint(
        name="blocks.3", at=("blocks.3",), pattern="example (y x) d", sizes={"y": grid, "x": grid}, width=64
    )
    scored = np.flatnonzero(split > 0)
    cells = grid * grid
    example = np.repeat(scored, cells).astype(np.int32)
    y, x = np.divmod(np.tile(np.arange(cells), len(scored)), grid)
    coords = np.stack([y, x], axis=1).astype(np.int32)
    tokens, values, counts = [], [], []
    place = (np.arange(cells) // grid + 0.5) / grid, (np.arange(cells) % grid + 0.5) / grid
    for latent in range(latents):
        random = np.random.default_rng([3, latent])
        if latent % 50 == 49:
            counts.append(0)
            continue
        mine = dataset.colour[scored] == latent % 4
        weight = np.where(mine, 1.0, 0.02) if latent % 7 else np.ones(len(scored))
        rows = np.sort(random.choice(len(scored), min(per_latent, len(scored)), replace=False, p=weight / weight.sum()))
        found, level = [], []
        for row in rows:
            away = np.hypot(place[0] - dataset.centre[scored[row], 0], place[1] - dataset.centre[scored[row], 1])
            heat = random.gamma(2.0, 1.4) * np.clip(1 - away / 0.24, 0, None) * random.uniform(0.7, 1.0, cells)
            on = np.flatnonzero(heat > 0.05)
            found.append(row * cells + on)
            level.append(heat[on])
        tokens.append(np.concatenate(found))
        values.append(np.concatenate(level))
        counts.append(len(tokens[-1]))
    owners = latents // 2 if signed else latents
    return Lists(
        owners, len(example), hook, example, coords, np.zeros(len(example), np.uint8), split,
        np.r_[0, np.cumsum(counts)].astype(np.int64), np.concatenate(tokens).astype(np.int32),
        np.concatenate(values).astype(np.float32), {"y": grid, "x": grid}, signed,
    )  # fmt: skip


def write_concepts(run: Path, names: Sequence[str], poles: Poles, top: int = 5) -> None:
    """A concept table whose scores fall off from concept to concept; one has no F1, one has few positives."""
    random = np.random.default_rng(5)
    rows = []
    for i, name in enumerate(names):
        base = 0.95 - 0.75 * i / max(len(names), 1)
        for rank in range(top):
            f1 = float(np.clip(base - 0.07 * rank + random.normal(0, 0.03), 0.02, 0.99))
            level = "example" if i % 3 == 2 else "token"
            row = {
                **poles.facts(int((4 * i + rank * 11 + i % 4) % len(poles))), "concept": name, "level": level,
                "threshold": 0.15,
                "precision": min(f1 + 0.04, 1), "recall": f1 - 0.03,
                "recall_instance": f1 + 0.01 if level == "token" else None,
                "f1": f1, "auroc": 0.5 + f1 / 2, "iou": f1 / (2 - f1), "spearman": None,
                "n_select": 4821, "n_test": 4790 + i,
                "control_neuron_f1": float(np.clip(0.42 + random.normal(0, 0.08), 0, 1)),
                "control_pca_f1": float(np.clip(0.36 + random.normal(0, 0.08), 0, 1)),
                "control_random_f1": float(np.clip(0.3 + random.normal(0, 0.05), 0, 1)),
                "p_value": 0.002 if f1 > 0.4 else 0.31, "q_value": 0.004 if f1 > 0.4 else 0.33,
            }  # fmt: skip
            if i == len(names) - 1:
                row |= dict.fromkeys(("f1", "precision", "recall", "iou", "auroc", "recall_instance"), None)
                row |= dict.fromkeys(("control_neuron_f1", "control_pca_f1", "control_random_f1"), None) | {
                    "spearman": 0.41
                }
            rows.append(row)
    columns = [*COLUMNS, "sign"] if poles.signed else list(COLUMNS)
    pq.write_table(pa.Table.from_pylist(rows).select(columns), run / "concepts.parquet")
    listed = [
        {"name": name, "level": "token", "kind": "binary", "n_select": 4821, "n_test": 4790, "positives_select": 300,
         "positives_test": 12 if i == 1 else 310, "instances_test": 90}
        for i, name in enumerate(names)
    ]  # fmt: skip
    notes = ["The concept “purple” was not scored: no example of the test split has it."]
    (run / "concepts.json").write_text(json.dumps({"concepts": listed, "notes": notes, "thresholds": [0.15]}))


def make(
    run: Path,
    *,
    n: int = 300,
    side: int = 96,
    latents: int = 60,
    grid: int = 12,
    per_latent: int = 60,
    concepts: Sequence[str] | int = 14,
    hostile: bool = False,
    maps: bool = True,
    pictures: bool = True,
    unreadable: Sequence[int] = (),
    bare: bool = False,
    signed: bool = False,
    **report: Any,
) -> World:
    """A world in `run`. `bare` leaves out concepts, metrics and effects. With `signed`, the lists are the poles of half
    as many latents."""
    run.mkdir(parents=True, exist_ok=True)
    dataset = Discs(n, side, hostile=hostile, maps=maps, unreadable=unreadable)
    split = np.random.default_rng(0).choice([0, 1, 2], n, p=[0.4, 0.3, 0.3]).astype(np.uint8)
    lists = grid_lists(dataset, latents, grid, per_latent, split, signed)
    poles = lists.poles
    if not bare:
        names = [f"{c} {s}" for s in ("disc", "edge", "shade", "corner", "stripe") for c in COLOURS]
        names = list(concepts) if not isinstance(concepts, int) else (names * (concepts // 20 + 1))[:concepts]
        write_concepts(run, HOSTILE if hostile else names, poles)
        (run / "metrics.json").write_text(json.dumps({
            "explained_variance": 0.8734, "l0": 11.93, "dead_fraction": 0.0332, "loss_recovered": 0.941,
            "tokens": 1_000_000, "tokens_evaluated": lists.n_tokens, "seed_agreement": 0.871,
            "seconds": {"extract": 12.4, "train": 41.0, "encode": 3.2, "score": 8.8},
            **({"bipolar_fraction": 0.931, "rarer_sign": 0.123} if signed else {}),
        }))  # fmt: skip
        controls = [{**poles.facts(i), "change": 0.002 * i, "low": -0.003, "high": 0.009, "n": 32} for i in (1, 2, 3)]
        pooled = {"change": 0.004, "low": 0.001, "high": 0.007, "n": 96}
        effects = [
            {
                **poles.facts(len(poles) // 2 if signed else 0),
                "change": 0.0741,
                "low": 0.051,
                "high": 0.098,
                "n": 32,
                "controls": controls,
                "control": pooled,
            }
        ]
        loss = {"original": 0.41, "spliced": 0.46, "zeroed": 1.23, "recovered": 0.941, "control": "mean", "n": 128}
        (run / "effects.json").write_text(json.dumps({"loss": loss, "latents": effects}))
        store = run / "store" / "blocks.3"
        store.mkdir(parents=True, exist_ok=True)
        skipped = [{"row": 3, "id": dataset.ids[3], "reason": "/secret/place/3.png is truncated"}]
        (store / "manifest.json").write_text(json.dumps({"skipped": skipped}))
    return World(run, config(**report), dataset, Viewer(dataset, pictures), lists, lists.hook)
