"""A C-alpha trace for a protein of known secondary structure, written as mmCIF.

Consecutive C-alphas lie 3.8 Å apart. Angles and dihedrals are those of helices (91°, 50°) and strands (123°, -170°);
between them, of some random ones the turn is taken that keeps the chain compact without touching itself. A drawing of a
protein, then, and no prediction of its fold.
"""

import numpy as np
from jaxtyping import Float

from omnisae_datasets.motifs.proteins import Protein

STEP = 3.8
FIXED = {"HELIX": (91.0, 50.0), "TRANSMEM": (91.0, 50.0), "COILED": (91.0, 50.0), "STRAND": (123.0, -170.0)}
TRIED = 24
THREE = {
    **{"A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE", "G": "GLY", "H": "HIS", "I": "ILE", "K": "LYS"},
    **{"L": "LEU", "M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN", "R": "ARG", "S": "SER", "T": "THR", "V": "VAL"},
    **{"W": "TRP", "Y": "TYR"},
}
FIELDS = (
    *("group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id"),
    *("label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy"),
    *("B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num"),
)


def trace(protein: Protein, rng: np.random.Generator) -> Float[np.ndarray, "residue 3"]:
    """The coordinates of the C-alphas in Å."""
    length = len(protein.sequence)
    kind = [""] * length
    for feature in protein.features:
        if feature.key in FIXED:
            kind[feature.first : feature.last + 1] = [feature.key] * (feature.last + 1 - feature.first)
    at = np.zeros((length, 3))
    at[1:3] = [[STEP, 0, 0], [STEP * 1.3, STEP * 0.95, 0]][: max(0, min(2, length - 1))]
    for i in range(3, length):
        last = at[i - 3 : i]
        if kind[i] and kind[i] == kind[i - 2]:
            at[i] = _placed(last, *(np.deg2rad([value]) for value in FIXED[kind[i]]))[0]
            continue
        angle, turn = rng.uniform(95, 140, TRIED), rng.uniform(-180, 180, TRIED)
        tried = _placed(last, np.deg2rad(angle), np.deg2rad(turn))
        gap = np.linalg.norm(tried[:, None] - at[: i - 2][None], axis=-1).min(axis=1)
        middle = np.linalg.norm(tried - at[:i].mean(axis=0), axis=1)
        at[i] = tried[np.argmin(middle + 50 * np.maximum(0, 5.0 - gap))]
    return at - at.mean(axis=0)


def _placed(
    last: Float[np.ndarray, "3 3"], angle: Float[np.ndarray, " n"], turn: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """The next atom by its angle and its dihedral with the last three."""
    along = last[2] - last[1]
    along = along / np.linalg.norm(along)
    normal = np.cross(last[1] - last[0], along)
    normal = normal / np.linalg.norm(normal)
    side = np.cross(normal, along)
    flat = np.stack([-np.cos(angle), np.cos(turn) * np.sin(angle), np.sin(turn) * np.sin(angle)], axis=1)
    return last[2] + STEP * flat @ np.stack([along, side, normal])


def mmcif(protein: Protein, at: Float[np.ndarray, "residue 3"]) -> str:
    """The trace as mmCIF with one atom a residue, in the manner of AlphaFold's files."""
    lines = [f"data_{protein.id}", "#", "loop_", *(f"_atom_site.{field}" for field in FIELDS)]
    for i, (residue, (x, y, z)) in enumerate(zip(protein.sequence, at, strict=True), 1):
        name = THREE[residue]
        lines.append(f"ATOM {i} C CA . {name} A 1 {i} ? {x:.3f} {y:.3f} {z:.3f} 1.00 90.00 {i} {name} A CA 1")
    return "\n".join([*lines, "#", ""])
