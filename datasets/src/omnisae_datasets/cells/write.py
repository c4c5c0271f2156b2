"""Writing the world: an h5ad file of raw counts, and the gene sets as GMT."""

import json
import os
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from omnisae_datasets.cells.biology import BATCHES, BIOLOGY, PROGRAMS
from omnisae_datasets.cells.simulate import Cell, cell, counts

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""

README = """# The world `cells`

{n} made-up cells (seed {seed}) with raw counts of {genes} made-up genes.

- `cells.h5ad`: X holds counts. `obs`: cell_type (seven; three are stages of one lineage), pseudotime (0 to 1 along that
  lineage, empty elsewhere), a column of True and False for each gene program ({programs}), batch, donor, n_counts. A
  gene's name tells its set (HYP03 is the third of hypoxia); `var` holds `ensembl_id`, another name of it, and `set`.
- `sets.gmt`: the planted sets, and {decoys} decoys of genes drawn at random.

A batch moves 60 genes of all sets and the depth of counting; which program is on does not depend on a cell's type or
batch.
"""


def write(out: Path, n: int, seed: int) -> None:
    """Write `n` cells below `out`, which must not hold them already."""
    out.mkdir(parents=True, exist_ok=True)
    cells = [cell(seed, number) for number in range(n)]
    table = anndata.AnnData(
        csr_matrix(np.stack([counts(seed, number) for number in range(n)]).astype(np.float32)),
        obs=_obs(cells),
        var=_var(),
    )
    table.obs["n_counts"] = np.asarray(table.X.sum(axis=1)).ravel().astype(np.int32)
    table.write_h5ad(out / "cells.h5ad", compression="gzip")
    sets = BIOLOGY.gene_sets
    (out / "sets.gmt").write_text(
        "".join(
            "\t".join((name, "planted" if "decoy" not in name else "random", *genes)) + "\n"
            for name, genes in sets.items()
        )
    )
    told = {
        "genes": len(BIOLOGY.names),
        "programs": ", ".join(PROGRAMS),
        "decoys": sum("decoy" in name for name in sets),
    }
    (out / "README.md").write_text(README.format(n=n, seed=seed, **told))
    (out / "world.json").write_text(json.dumps({"world": "cells", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def _obs(cells: list[Cell]) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "cell_type": pd.Categorical([one.kind for one in cells]),
        "pseudotime": [one.pseudotime for one in cells],
    }
    columns |= {name: [one.active[name] for one in cells] for name in PROGRAMS}
    columns["batch"] = pd.Categorical([BATCHES[one.batch] for one in cells])
    columns["donor"] = pd.Categorical([f"{BATCHES[one.batch]}-{one.donor + 1}" for one in cells])
    return pd.DataFrame(columns, index=[f"cell-{number:06d}" for number in range(len(cells))])


def _var() -> pd.DataFrame:
    home = {row: name for name, rows in BIOLOGY.sets.items() for row in rows}
    return pd.DataFrame(
        {
            "ensembl_id": [f"ENSW{row + 1:011d}" for row in range(len(BIOLOGY.names))],
            "set": pd.Categorical([home[row] for row in range(len(BIOLOGY.names))]),
        },
        index=list(BIOLOGY.names),
    )
