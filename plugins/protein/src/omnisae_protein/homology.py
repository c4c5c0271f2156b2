"""Clusters of homologous proteins: by MMseqs2 where it is installed, else by the k-mers that proteins share."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnisae.errors import DatasetError, PluginError
from omnisae_protein.plugin import Homology

FEW = 20
"""Proteins that may share a k-mer however few there are in all."""
PART = 512
"""Proteins compared with all others at a time."""


def clusters(ids: Sequence[str], sequences: Sequence[str], config: Homology) -> tuple[list[str], str]:
    """The name of every protein's cluster, and how they were found. Raises PluginError where mmseqs is asked for and
    not installed, DatasetError where it fails."""
    found = shutil.which("mmseqs")
    if config.method == "mmseqs" and found is None:
        raise PluginError("dataset.homology.method: mmseqs is not on the PATH", "install MMseqs2, or set method: kmers")
    if found is not None and config.method != "kmers":
        return _mmseqs(found, ids, sequences, config), f"MMseqs2, identity {config.identity:g}"
    return _kmers(sequences, config), f"shared {config.k}-mers"


def _mmseqs(program: str, ids: Sequence[str], sequences: Sequence[str], config: Homology) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        fasta, out = Path(folder) / "in.fasta", Path(folder) / "out"
        # Numbers for names: what MMseqs2 makes of an id depends on its form.
        fasta.write_text("".join(f">{number}\n{sequence}\n" for number, sequence in enumerate(sequences)))
        words = [program, "easy-cluster", str(fasta), str(out), str(Path(folder) / "tmp"), "-v", "1"]
        words += ["--min-seq-id", f"{config.identity:g}", "-c", f"{config.coverage:g}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        table = Path(f"{out}_cluster.tsv")
        if done.returncode or not table.is_file():
            raise DatasetError(
                f"mmseqs easy-cluster failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-300:]}",
                "set dataset.homology.method: kmers, or mend the installation",
            )
        home = {}
        for line in table.read_text().splitlines():
            head, member = line.split("\t")
            home[int(member)] = int(head)
    return [f"cluster of {ids[home.get(number, number)]}" for number in range(len(ids))]


def _kmers(sequences: Sequence[str], config: Homology) -> list[str]:
    """Single linkage: two proteins are kin where they share enough of the shorter one's k-mers."""
    import scipy.sparse as sp
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import CountVectorizer

    if all(len(sequence) < config.k for sequence in sequences):
        return [f"cluster {number}" for number in range(len(sequences))]
    counter = CountVectorizer(analyzer="char", ngram_range=(config.k, config.k), binary=True, lowercase=False)
    held = counter.fit_transform(sequences).astype(np.int32).tocsr()
    sizes = np.maximum(np.asarray(held.sum(axis=1)).ravel(), 1)
    often = np.asarray(held.sum(axis=0)).ravel()
    held = held[:, (often > 1) & (often <= max(FEW, config.common * len(sequences)))]
    links = []
    for start in range(0, len(sequences), PART):
        part = (held[start : start + PART] @ held.T).tocoo()
        rows = part.row + start
        # Two proteins share some by chance: of n and m k-mers out of 20^k, about n·m / 20^k, more of common residues.
        chance = 4.0 * sizes[rows].astype(float) * sizes[part.col] / 20.0**config.k
        kin = part.data >= np.maximum(config.shared * np.minimum(sizes[rows], sizes[part.col]), chance + 3)
        links.append(np.stack([rows[kin], part.col[kin]]))
    rows, columns = np.concatenate(links, axis=1)
    graph = sp.coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(sequences),) * 2)
    _, label = connected_components(graph, directed=False)
    return [f"cluster {number}" for number in label]
