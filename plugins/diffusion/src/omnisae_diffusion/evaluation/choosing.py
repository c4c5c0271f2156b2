"""Tables of a column's concepts by each paper's formula, chosen on select prompts; their numbers on test prompts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from omnisae.errors import ConfigError, DatasetError, did_you_mean
from omnisae.extract.split import SELECT, TEST
from omnisae.interventions.sae import SAE
from omnisae.studies.study import Material
from omnisae_diffusion.generated import Concept
from omnisae_diffusion.plugin_studies import Method, SelectionConfig
from omnisae_diffusion.prompts import Prompts
from omnisae_diffusion.selection import content, itd, pairing, pairs, quality, saeuron, steerers
from omnisae_diffusion.selection.means import TIME
from omnisae_diffusion.selection.quality import Separation
from omnisae_diffusion.selection.table import LatentTable

NEEDS: Mapping[str, str | None] = {"saeuron": TIME, "itd": None, "saedit": None, "steerers": steerers.POSITION}
OTHERS = 39
"""Prompts of other concepts whose directions are compared with a concept's, at most."""
Rows = Int64[np.ndarray, " row"]


@dataclass(frozen=True)
class Found:
    """A concept's table (None: no latent was left), a line of numbers, and what a reader should know."""

    table: LatentTable | None
    line: dict[str, Any]
    note: str = ""


class Choosing:
    """Selections at one hook point. Raises DatasetError where the run's examples are no prompts, or a concept lacks
    prompts on one side of the split; ConfigError for a method that the hook point does not allow, or an unknown word.
    """

    def __init__(self, material: Material, config: SelectionConfig) -> None:
        if not isinstance(material.dataset, Prompts):
            raise DatasetError(
                f"concepts are chosen from prompts, and this run reads {type(material.dataset).__name__}",
                "ask this study in a run with diffusion.prompts",
            )
        self.material, self.config, self.prompts = material, config, material.dataset
        self.postings, self.sae = material.postings, SAE.load(material.artifact)
        self.hook = material.postings.hook
        self.methods = self._methods()
        words = np.asarray(self.prompts.words(config.column))
        known = words != ""
        self.labels = {
            str(Concept(config.column, word)): np.where(known, (words == word).astype(np.float64), np.nan)
            for word in sorted(set(words[known]))
        }
        self.concepts = self._concepts()
        self.fit, self.test = (material.mask(material.rows(side)) for side in (SELECT, TEST))
        self.rows = {one: self._sides(one) for one in self.concepts}

    def found(self, method: Method) -> dict[str, Found]:
        """Of every concept, in order."""
        each = {"saeuron": self._saeuron, "itd": self._itd, "saedit": self._saedit, "steerers": self._steerers}
        return dict(each[method]())

    # -- by method --------------------------------------------------------------------------------------------------

    def _saeuron(self) -> Iterator[tuple[str, Found]]:
        percentile, times = self.config.percentile, tuple(self.hook.told[TIME].ticks)
        tables = saeuron.tables(
            self.postings, self.labels, percentile=percentile, identity=self.sae.identity, only=self.concepts
        )
        values = quality.activations(self.postings)
        for concept, table in tables.items():
            units = quality.units(table, times, self.postings.latents)
            told = self._separated(values, units, concept)
            yield concept, Found(table, {"latents": len(table.latents), **_line(told)})

    def _itd(self) -> Iterator[tuple[str, Found]]:
        config, chosen = self.config, {}
        for concept in self.concepts:
            own, others = self.rows[concept][SELECT]
            k, retained = (
                min(k, self.postings.latents)
                for k in (config.k, config.k if not config.k_retained else config.k_retained)
            )
            chosen[concept] = itd.select(self.maxima[own], self.maxima[others], k, retained)
        gates = {
            one: itd.Gate(tuple(latents.tolist()), config.factor, config.pool)
            for one, latents in chosen.items()
            if len(latents)
        }
        own = {one: self._some(self.rows[one][SELECT][0], config.own, one) for one in gates}
        fitted = {one: gates[one].fitted(error) for one, error in self._errors(gates, own, SELECT).items()}
        mine = {one: self._some(self.rows[one][TEST][0], config.own, one) for one in gates}
        other = {one: self._some(self.rows[one][TEST][1], config.others, one) for one in gates}
        targets, rest = self._errors(fitted, mine, TEST), self._errors(fitted, other, TEST)
        for concept, latents in chosen.items():
            if not len(latents):
                yield concept, Found(None, {"latents": 0}, _nothing_left(concept, config))
                continue
            gate, (select, others) = fitted[concept], self.rows[concept][SELECT]
            facts = {"k": config.k, "examples with the concept": len(select), "examples without it": len(others)}
            table = itd.table(
                concept, gate, identity=self.sae.identity, hook=self.hook.name,
                strengths=self.maxima[select], facts=facts,
            )  # fmt: skip
            told = self._separated(self.columns, latents, concept)
            rates = gate.rates(targets[concept], rest[concept])
            yield concept, Found(table, {"latents": len(latents), **_line(told), **rates})

    def _saedit(self) -> Iterator[tuple[str, Found]]:
        columns, percentile = self._matched(), self.config.ratio_percentile
        seed = self.material.seed
        for concept in self.concepts:
            sides = {}
            for side in (SELECT, TEST):
                own, others = self.rows[concept][side]
                salt = [seed, side, *concept.encode()]
                sides[side] = pairing.paired(own, others, columns, self.config.pairs, salt)
            a, b = (self.maxima[rows] for rows in sides[SELECT])
            along = pairs.direction(a, b, percentile)
            table = pairs.table(
                concept, along, identity=self.sae.identity, hook=self.hook.name, facts={"pairs": a.shape[0]}
            )
            source, target = (self.maxima[rows] for rows in sides[TEST])
            held = pairing.agreement(along, source, target, percentile, seed=seed)
            told = quality.projection(
                self.columns, along, self.labels[concept], fit=self.fit, test=self.test,
                draws=self.config.draws, seed=seed,
            )  # fmt: skip
            beside = {"cosine": held.cosine, "cosine by chance": held.control, "p of cosine": held.p}
            line = {
                "latents": len(table.latents),
                **_line(told),
                **beside,
                "pairs": a.shape[0],
                "test pairs": held.pairs,
            }
            yield concept, Found(table, line)

    def _steerers(self) -> Iterator[tuple[str, Found]]:
        for concept in self.concepts:
            own, others = self.rows[concept][SELECT]
            asks = self.prompts.asks
            # The shortest prompt says the least beside the concept; of equals the first.
            row = min((int(row) for row in own), key=lambda row: (len(asks[row].text or ""), row))
            codes = self._unruled(row)
            table = steerers.table(
                concept, codes, identity=self.sae.identity, hook=self.hook.name, facts={"prompt": asks[row].text or ""}
            )
            beside = self._some(others, min(OTHERS, self.config.draws), concept)
            along = np.stack(
                [_largest(codes.dense())] + [_largest(self._unruled(int(one)).dense()) for one in beside], axis=1
            )
            told = quality.against(self.columns, along, self.labels[concept], fit=self.fit, test=self.test)
            line = {"latents": len(table.latents), **_line(told), "prompt": asks[row].text or ""}
            yield concept, Found(table, line)

    # -- shared -----------------------------------------------------------------------------------------------------

    @cached_property
    def maxima(self) -> csr_array:
        """Largest values over content tokens, example × latent."""
        return content.maxima(self.postings)

    @cached_property
    def columns(self) -> csc_array:
        """The same by latent."""
        return csc_array(self.maxima)

    def _separated(self, values: csc_array, units: Int64[np.ndarray, " unit"], concept: str) -> Separation:
        return quality.separation(
            values, units, self.labels[concept], fit=self.fit, test=self.test,
            latents=self.postings.latents, draws=self.config.draws, seed=self.material.seed,
        )  # fmt: skip

    @torch.no_grad()
    def _errors(self, gates: Mapping[str, itd.Gate], rows: Mapping[str, Rows], side: int) -> dict[str, Tensor]:
        """Each gate's error on its prompts, at every call of the hooked module."""
        tokens = self.sae.info.tokens
        keep = tokens.select if side == SELECT else tokens.evaluate
        wanted: dict[int, list[str]] = {}
        for one, its in rows.items():
            for row in its:
                wanted.setdefault(int(row), []).append(one)
        out: dict[str, list[Tensor]] = {one: [] for one in gates}
        mask = self.material.mask(np.asarray(sorted(wanted), dtype=np.int64))
        for x, call, count, row in content.calls(self.material.source, keep, mask):
            codes = self.sae.encode(x, check=False)
            for one in wanted[row]:
                out[one].append(gates[one].error(x, codes, self.sae.decode, call, count))
        return {one: torch.cat(found) for one, found in out.items()}

    def _unruled(self, row: int) -> Any:
        """A prompt's codes without the sparsity rule, position by position."""
        keep, hook = self.sae.info.tokens.select, self.hook
        at, found = hook.axes.index(steerers.POSITION), dict[int, Tensor]()
        for batch in self.material.source.sequential(keep, self.material.mask(np.asarray([row]))):
            for place, role, x in zip(batch.coords[:, at].tolist(), batch.role.tolist(), batch.values, strict=True):
                if role == 0:
                    found.setdefault(int(place), x.float())  # along time the first step's
        if sorted(found) != list(range(len(found))) or not found:
            raise DatasetError(
                f"of the prompt in row {row + 1} positions {sorted(found)[:8]} were kept, and Concept Steerers take "
                "all from the first on",
                "let every position through (tokens.select), or leave the method steerers out",
            )
        return steerers.unruled(self.sae.autoencoder, torch.stack([found[place] for place in range(len(found))]))

    def _some(self, rows: Rows, most: int, salt: str) -> Rows:
        random = np.random.default_rng([self.material.seed, *salt.encode()])
        return np.sort(random.permutation(rows)[:most])

    def _methods(self) -> tuple[Method, ...]:
        axes, given = self.hook.axes, self.config.methods
        for method in given or ():
            if (axis := NEEDS[method]) is not None and axis not in axes:
                raise ConfigError(
                    f"methods: {method} selects along {axis!r}, and hook point {self.hook.name!r} lies along "
                    f"{', '.join(axes) or 'no axis'}",
                    "leave it out of `methods`, or ask at "
                    + ("a hook point inside the denoiser" if axis == TIME else "a text encoder's hook point"),
                )
        if given is not None:
            return given
        fits = (method for method, axis in NEEDS.items() if axis is None or axis in axes)
        return tuple(fits)  # type: ignore[arg-type]

    def _concepts(self) -> list[str]:
        column, known = self.config.column, list(self.labels)
        for word in self.config.concepts or ():
            if str(Concept(column, word)) not in known:
                raise ConfigError(
                    f"concepts: column {column!r} has no {word!r}",
                    did_you_mean(word, (Concept.parse(one).name for one in known)),
                )
        return known if self.config.concepts is None else [str(Concept(column, one)) for one in self.config.concepts]

    def _sides(self, concept: str) -> dict[int, tuple[Rows, Rows]]:
        """By side of the split, rows with the concept and rows without it."""
        out, column = {}, self.labels[concept]
        for side, mask in ((SELECT, self.fit), (TEST, self.test)):
            mask = mask & self.postings.shown
            own, others = np.flatnonzero(mask & (column == 1)), np.flatnonzero(mask & (column == 0))
            if not len(own) or not len(others):
                name = "select" if side == SELECT else "test"
                raise DatasetError(
                    f"the {name} side has {len(own)} prompts of {concept!r} and {len(others)} of others",
                    "both are needed: leave the concept out, add prompts, or split otherwise (score.split)",
                )
            out[side] = (own, others)
        return out

    def _matched(self) -> list[list[str]]:
        column, names = self.config.column, self.config.match
        if names is None:
            names = tuple(name for name in self.prompts.labels() if name not in (column, "prompt"))
        if column in names:
            raise ConfigError(
                f"match: {column!r} is the column of concepts, in which pairs differ", "name other columns, or none"
            )
        return [self.prompts.words(name) for name in names]


def _largest(codes: Tensor) -> Float64[np.ndarray, " latent"]:
    return codes.amax(dim=0).double().cpu().numpy()


def _line(told: Separation) -> dict[str, Any]:
    return {
        "AUROC": told.auroc, "AUROC by chance": told.control, "97.5 % of chance": told.high, "p": told.p,
        "n own": told.positives, "n others": told.negatives,
    }  # fmt: skip


def _nothing_left(concept: str, config: SelectionConfig) -> str:
    k = config.k_retained or config.k
    return (
        f"itd left no latent of {concept}, and wrote no table: each of its {config.k} strongest is among the {k} "
        "strongest of some other select prompt. Set k_retained lower, or train more latents."
    )
