"""What a gene model calls its genes: token numbers and typical expression, from JSON files, matched to a table."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnisae.errors import ArtifactError, DatasetError
from omnisae_single_cell.h5ad import H5adDataset

PAD, MASK, CLS, EOS = "<pad>", "<mask>", "<cls>", "<eos>"
SPECIAL = (PAD, MASK, CLS, EOS)


@dataclass(frozen=True)
class Vocabulary:
    """`token` of every column of a table, −1 where the model does not know the gene, and `median`, what its expression
    is divided by. Special tokens are None where the model has none. `matched` of `of` measured genes are known."""

    token: Int[np.ndarray, " gene"]
    median: Float[np.ndarray, " gene"]
    pad: int
    mask: int
    cls: int | None
    eos: int | None
    size: int
    matched: int
    of: int

    def told(self) -> str:
        """The share of genes that the model knows, as a sentence."""
        return f"The model knows {self.matched} of the {self.of} measured genes ({self.matched / self.of:.0%})."


def match(cells: H5adDataset, file: str, medians: str | None, names: list[str], least: float) -> Vocabulary:
    """The vocabulary of a JSON file (gene: number; `dataset`: a number for every measured gene) and the medians of
    another, by the genes' names in the table.

    Raises DatasetError where the model knows fewer than `least` of the genes, or two columns share a known name,
    ArtifactError where a file is no such table.
    """
    tokens = _of_dataset(names) if file == "dataset" else _numbers(Path(file).expanduser(), "extractor.vocabulary")
    token = np.array([int(tokens.get(name, -1)) if name not in SPECIAL else -1 for name in names], dtype=np.int64)
    known = token >= 0
    matched = int(known.sum())
    if matched < least * len(names):
        stranger = next((name for name in names if name not in tokens), names[0])
        theirs = next((name for name in tokens if name not in SPECIAL), "")
        raise DatasetError(
            f"{cells.path}: the model knows {matched} of {len(names)} genes ({matched / len(names):.0%}), and "
            f"extractor.least_match asks for {least:.0%}; the table has {stranger!r}, the vocabulary {theirs!r}",
            "name the column of var that holds the vocabulary's kind of name in extractor.gene_ids, e.g. ensembl_id",
        )
    if len(np.unique(token[known])) < matched:
        values, counts = np.unique(token[known], return_counts=True)
        twice = names[int(np.flatnonzero(token == values[counts > 1][0])[0])]
        raise DatasetError(
            f"{cells.path}: {int((counts > 1).sum())} genes stand in several columns, e.g. {twice!r}",
            "add up columns of one gene before (adata.var_names_make_unique does not)",
        )
    scale = {} if medians is None else _numbers(Path(medians).expanduser(), "extractor.medians")
    median = np.array([float(scale.get(name, 1.0)) for name in names])
    if (median <= 0).any():
        raise ArtifactError(
            f"{medians}: the median of {names[int(np.argmax(median <= 0))]!r} is {median.min():g}; it must be above 0",
            "give medians of expression where it is not zero",
        )
    size = int(max(tokens.values())) + 1
    needed = {name: tokens.get(name) for name in SPECIAL}
    if needed[PAD] is None or needed[MASK] is None:
        raise ArtifactError(f"{file}: the vocabulary has no {PAD} or no {MASK}", f"add both to the file: {PAD}: 0")
    one = {name: None if value is None else int(value) for name, value in needed.items()}
    return Vocabulary(
        token, median, int(one[PAD] or 0), int(one[MASK] or 0), one[CLS], one[EOS], size, matched, len(names)
    )


def _of_dataset(names: list[str]) -> dict[str, float]:
    return {name: number for number, name in enumerate([*SPECIAL, *names])}


def _numbers(path: Path, field: str) -> dict[str, float]:
    if path.suffix in (".pkl", ".pickle"):
        raise ArtifactError(
            f"{field}: {path} is a pickle, which may run code when it is read",
            'turn it into JSON where you trust it: python -c "import json, pickle, sys; json.dump({k: float(v) for k, '
            "v in pickle.load(open(sys.argv[1], 'rb')).items()}, open(sys.argv[2], 'w'))\" FILE.pkl FILE.json",
        )
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{field}: {path} cannot be read as JSON: {error}", "write {gene: number, …}") from None
    right = (
        isinstance(found, dict)
        and found
        and all(isinstance(value, int | float) and math.isfinite(value) for value in found.values())
    )
    if not right:
        raise ArtifactError(f"{field}: {path} is no table of genes and numbers", "write {gene: number, …}")
    return {str(name): float(value) for name, value in found.items()}
