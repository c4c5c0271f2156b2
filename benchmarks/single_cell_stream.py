"""Streaming a large file of cells from disk: how much memory it takes, and how fast it goes.

    python benchmarks/single_cell_stream.py --cells 1000000 [--genes 2000] [--format h5ad|zarr]

A made-up file of sparse counts (a hundred genes a cell) is written a piece at a time. Another process opens it with
`backed: true`, reads the logarithm of all cells' counts through the extractor `single_cell.table`, as training from a
live stream does, and tells its largest resident memory. The file is removed afterwards.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PIECE = 20_000
PER_CELL = 100


def write(path: Path, cells: int, genes: int) -> None:
    """The file, never whole in memory: counts as CSR, one obs column."""
    import anndata
    import h5py
    import pandas as pd
    import zarr

    frame = pd.DataFrame({"kind": pd.Categorical.from_codes(np.arange(cells) % 8, list("abcdefgh"))})
    frame.index = np.char.add("c", np.arange(cells).astype(str))
    var = pd.DataFrame(index=np.char.add("g", np.arange(genes).astype(str)))
    group = zarr.open_group(path, mode="w", zarr_format=2) if path.suffix == ".zarr" else h5py.File(path, "w")
    anndata.io.write_elem(group, "obs", frame)
    anndata.io.write_elem(group, "var", var)
    x = group.create_group("X")
    x.attrs["encoding-type"], x.attrs["encoding-version"] = "csr_matrix", "0.1.0"
    x.attrs["shape"] = [cells, genes]
    total = cells * PER_CELL
    kinds = {"data": "float32", "indices": "int32", "indptr": "int64"}
    made = {}
    for name, kind in kinds.items():
        size = cells + 1 if name == "indptr" else total
        create = x.create_dataset if path.suffix != ".zarr" else x.create_array
        made[name] = create(name, shape=(size,), dtype=kind, chunks=(min(1 << 20, size),))
    random = np.random.default_rng(0)
    for start in range(0, cells, PIECE):
        n = min(PIECE, cells - start)
        step = genes // PER_CELL
        columns = np.arange(PER_CELL) * step + random.integers(0, step, (n, PER_CELL))
        part = slice(start * PER_CELL, (start + n) * PER_CELL)
        made["indices"][part] = columns.ravel().astype(np.int32)
        made["data"][part] = (1 + random.poisson(1.0, n * PER_CELL)).astype(np.float32)
    for start in range(0, cells + 1, 1 << 20):
        stop = min(start + (1 << 20), cells + 1)
        made["indptr"][start:stop] = np.arange(start, stop, dtype=np.int64) * PER_CELL
    if path.suffix != ".zarr":
        group.close()


def read(path: Path) -> None:
    """Every cell through the extractor once; prints cells, seconds and the largest resident memory."""
    from omnisae.config import HookConfig
    from omnisae.extract.live import LiveSource
    from omnisae.tokens.filter import TokenFilter
    from omnisae_single_cell.plugin import H5adConfig, TableConfig

    dataset = H5adConfig(path=str(path), backed=True).build()
    extractor = TableConfig().build(dataset)
    (point,) = extractor.resolve([HookConfig(at="log/X")])
    dataset.fingerprint(), dataset.annotations()
    started, seen = time.time(), 0
    for batch in LiveSource(dataset, extractor, point, workers=0).sequential(TokenFilter()):
        seen += len(batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = time.time() - started
    print(f"{seen:,} cells × {point.width:,} genes: {took:.0f} s, {seen / took:,.0f} cells/s, peak {peak:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--format", choices=("h5ad", "zarr"), default="h5ad")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read:
        read(asked.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"cells.{asked.format}"
        write(path, asked.cells, asked.genes)
        subprocess.run([sys.executable, __file__, "--read", str(path)], check=True)


if __name__ == "__main__":
    main()
