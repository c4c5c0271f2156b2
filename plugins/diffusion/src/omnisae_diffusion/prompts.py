"""The dataset `diffusion.prompts`: a table of what is to be made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from omnisae.concepts.annotations import Annotations
from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.store.key import file_digest
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.plugin import PromptsConfig
from omnisae_vision import world

FILE = "prompts.csv"


class Prompts(Dataset):
    """Examples are `Ask`s. Concepts are `column=word` of the columns that the config names; groups are every column."""

    def __init__(self, config: PromptsConfig) -> None:
        self._config = config
        self.path = world.folder(config.table)
        if self.path.is_dir():
            self.path = self.path / FILE
        self.table = _read(self.path)
        for column, words in config.without.items():
            self._leave_out(column, words)
        if config.first is not None:
            self.table = self.table.iloc[: config.first]
        if not len(self.table):
            left = f" beside those that dataset.without leaves out ({config.without})" if config.without else ""
            raise DatasetError(f"{self.path} has no prompt{left}", "give at least one")
        for field in ("label", "seed", "negative", "id"):
            self._check(field, getattr(config, field))
        for name in config.concepts:
            self._check("concepts", name)
        self._label = config.label or ("label" if "label" in self.table else None)
        self._seed = config.seed or ("seed" if "seed" in self.table else None)
        if config.prompt not in self.table and self._label is None:
            self._check("prompt", config.prompt)
        self._asks = [self._ask(row, again) for row in range(len(self.table)) for again in range(config.repeats)]
        self._ids = self._named()

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    @property
    def asks(self) -> Sequence[Ask]:
        """What is asked for, in order."""
        return self._asks

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], self._asks[row])

    def fingerprint(self) -> str:
        told = self._config.model_dump(mode="json", include=set(PromptsConfig.model_fields) - {"table"})
        return hashlib.sha256(json.dumps([told, file_digest(self.path)], sort_keys=True).encode()).hexdigest()

    def words(self, column: str) -> list[str]:
        """A column's word of every example; empty where there is none. Raises DatasetError for an unknown column."""
        self._check("column", column)
        held = self.table[column].fillna("").astype(str)
        return [word for word in held for _ in range(self._config.repeats)]

    def annotations(self) -> Annotations:
        labels = {}
        for column in self._config.concepts:
            words = np.array(self.words(column))
            known = words != ""
            # Of a word that was left out it is known that no example has it.
            for word in sorted({*words[known], *self._config.without.get(column, ())}):
                labels[f"{column}={word}"] = np.where(known, (words == word).astype(np.float64), np.nan)
        return Annotations(self._ids, labels)

    def groups(self, column: str) -> Sequence[str]:
        if column == "prompt" and self._config.prompt in self.table:
            column = self._config.prompt
        if column not in self.table:
            return super().groups(column)
        return self.words(column)

    def group_columns(self) -> Sequence[str]:
        return [str(column) for column in self.table.columns]

    def labels(self) -> Mapping[str, Sequence[str]]:
        shown = {column: self.words(column) for column in self._config.concepts}
        if self._config.prompt in self.table:
            shown.setdefault("prompt", self.words(self._config.prompt))
        return shown

    def _ask(self, row: int, again: int) -> Ask:
        held, config = self.table.iloc[row], self._config
        text = held.get(config.prompt)
        negative = held.get(config.negative) if config.negative else None
        seed = self._whole(row, self._seed) if self._seed else int(self.table.index[row])
        return Ask(
            text="" if text is None or pd.isna(text) else str(text),
            label=self._whole(row, self._label) if self._label else None,
            seed=(0 if seed is None else seed) + again * 1_000_003,
            negative=None if negative is None or pd.isna(negative) else str(negative),
        )

    def _whole(self, row: int, column: str) -> int | None:
        value = self.table.iloc[row][column]
        if pd.isna(value):
            return None
        where = f"{self.path}, row {self.table.index[row] + 1}, column {column!r}"
        try:
            # Not by way of a float where it can be helped: seeds may be long.
            whole = int(value) if value.isdecimal() else int(float(value))
            exact = value.isdecimal() or whole == float(value)
        except (OverflowError, ValueError):
            whole, exact = -1, False
        if whole < 0 or not exact:
            raise DatasetError(f"{where}: {value!r} is no whole number from 0 on", "mend the table")
        return whole

    def _named(self) -> list[str]:
        column = self._config.id or ("id" if "id" in self.table else None)
        if column and self.table[column].isna().any():
            row = int(self.table[column].isna().idxmax()) + 1
            raise DatasetError(f"{self.path}, row {row}: the column {column!r} is empty", "give every prompt an id")
        names = [str(one) for one in (self.table[column] if column else self.table.index)]
        repeats = self._config.repeats
        found = [name if repeats == 1 else f"{name}-{again}" for name in names for again in range(repeats)]
        twice = sorted({name for name in found if found.count(name) > 1}) if len(set(found)) < len(found) else []
        if twice:
            raise DatasetError(f"{self.path}: the id {twice[0]!r} stands in several rows", "give every prompt its own")
        return found

    def _leave_out(self, column: str, words: Sequence[str]) -> None:
        """Rows keep their numbers, from which seeds and ids may be made."""
        self._check("without", column)
        held = self.table[column].fillna("").astype(str)
        for word in words:
            if not (held == word).any():
                raise DatasetError(
                    f"dataset.without: no row of {self.path} has {word!r} in its column {column!r}",
                    did_you_mean(word, sorted(set(held) - {""})),
                )
        self.table = self.table[~held.isin(words)]

    def _check(self, field: str, column: str | None) -> None:
        if column is not None and column not in self.table:
            raise DatasetError(
                f"dataset.{field}: {self.path} has no column {column!r}",
                did_you_mean(column, map(str, self.table.columns)),
            )


def _read(path: Path) -> pd.DataFrame:
    """The table, every cell a text as it stands (so that ids keep their zeros and "NA" is a word), NaN where empty."""
    if not path.is_file():
        raise DatasetError(f"dataset.table: there is no file {path}", "name a .csv, .tsv, .jsonl or .txt of prompts")
    try:
        if path.suffix == ".txt":
            lines = [line.strip() for line in path.read_text().splitlines()]
            return pd.DataFrame({"prompt": [line for line in lines if line]})
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is no object with columns")
            table = pd.DataFrame(rows, dtype=object)
            return table.where(table.isna(), table.map(str)).replace("", np.nan)
        separator = "\t" if path.suffix == ".tsv" else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, na_values=[""])
    except (ValueError, pd.errors.ParserError) as error:
        raise DatasetError(f"dataset.table: {path} cannot be read: {error}", "check its form and ending") from error
