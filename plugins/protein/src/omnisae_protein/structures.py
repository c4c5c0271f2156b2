"""Structures: where a protein's file lies, and its C-alphas, read through biotite."""

import gzip
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnisae.errors import PluginError, UnreadableExample

NAMES = ("{id}", "AF-{id}-F1-model_v4", "AF-{id}-F1-model_v6", "AF-{id}-F1")
ENDINGS = (".cif", ".pdb", ".bcif", ".cif.gz", ".pdb.gz")


def find(folder: Path, id: str) -> Path | None:
    """A protein's file; None where there is none."""
    if "/" in id or "\\" in id or id.startswith("."):
        return None
    tried = (folder / (name.format(id=id) + ending) for name in NAMES for ending in ENDINGS)
    return next((path for path in tried if path.is_file()), None)


def trace(path: Path, length: int) -> Float[np.ndarray, "residue 3"]:
    """The C-alphas of the first chain in Å by residue number, NaN where one is missing.

    Raises PluginError without biotite, UnreadableExample where the file is broken or of a longer protein.
    """
    try:
        import biotite.structure.io.pdb as pdb
        import biotite.structure.io.pdbx as pdbx
    except ImportError as error:
        raise PluginError(
            f"reading {path.name} needs biotite ({error})", "pip install 'omnisae-protein[structures]'"
        ) from error
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".bcif"):
            atoms = pdbx.get_structure(pdbx.BinaryCIFFile.read(path), model=1)
        else:
            with gzip.open(path, "rt") if path.name.endswith(".gz") else path.open() as text:
                atoms = (
                    pdb.PDBFile.read(text).get_structure(model=1)
                    if name.endswith(".pdb")
                    else pdbx.get_structure(pdbx.CIFFile.read(text), model=1)
                )
    except Exception as error:  # broken files make the parsers raise anything
        raise UnreadableExample(f"{path} cannot be read: {error}", "mend or remove the file") from error
    chain = atoms[(atoms.atom_name == "CA") & (atoms.chain_id == atoms.chain_id[0])]
    out = np.full((length, 3), np.nan)
    for number, at in zip(chain.res_id, chain.coord, strict=True):
        if number > length:
            raise UnreadableExample(
                f"{path} has a residue {number} and the sequence {length}", "give the structure of this very protein"
            )
        if number >= 1:
            out[number - 1] = at
    return out
