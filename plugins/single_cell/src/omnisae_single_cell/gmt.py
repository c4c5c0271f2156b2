"""Gene sets from a local GMT file, over an explicit universe: the genes that were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omnisae.errors import DatasetError


def read_gmt(path: Path) -> dict[str, tuple[str, ...]]:
    """Sets by name: a line each, tab-separated: name, description, genes.

    Raises DatasetError where the file cannot be read, a line has no gene, or a name stands twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", "name a GMT file, tab-separated, in UTF-8") from None
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = line.split("\t")
        genes = tuple(dict.fromkeys(gene.strip() for gene in rest[1:] if gene.strip()))
        if not genes:
            raise DatasetError(
                f"{path}, line {number}: the set {name!r} names no gene",
                "write name, description and genes, separated by tabs",
            )
        if name in sets:
            raise DatasetError(f"{path}, line {number}: the set {name!r} stands there a second time", "keep one")
        sets[name] = genes
    if not sets:
        raise DatasetError(f"{path} holds no gene set", "write name, description and genes, separated by tabs")
    return sets


def within(
    sets: Mapping[str, Sequence[str]], genes: Sequence[str], least: int, most: int, path: Path
) -> tuple[dict[str, list[int]], str]:
    """Each set as columns of the universe, those of a fit size, and a sentence on what was left out.

    Raises DatasetError where none is left, which is so where gene names are of another kind.
    """
    place = {gene: i for i, gene in enumerate(genes)}
    named = {gene for members in sets.values() for gene in members}
    known = sum(gene in place for gene in named)
    found = {name: [place[gene] for gene in members if gene in place] for name, members in sets.items()}
    kept = {name: rows for name, rows in found.items() if least <= len(rows) <= most}
    if not kept:
        raise DatasetError(
            f"{path}: none of its {len(sets)} sets has {least} to {most} genes of the table; {known} of the "
            f"{len(named)} genes it names are measured (such as {next(iter(named))!r}; the table has {genes[0]!r})",
            "name the column of gene names (dataset.var_names), or other bounds (least, most)",
        )
    return kept, (
        f"{len(kept)} of {len(sets)} sets of {path.name} have {least} to {most} of the {len(genes)} measured genes, "
        f"which are the universe; {known} of the {len(named)} genes that the sets name are measured."
    )
