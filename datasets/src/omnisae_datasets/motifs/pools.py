"""What residues stand where: weighted pools in the manner of real segments, each letter as often as it is written."""

import numpy as np

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"

POOLS = {
    "loop": "GGGNNPPSSSDDTTKKEEQQRAAHYFVLI",
    "disordered": "SSSSPPPPGGGGEEEEQQQTTKKDDNAR",
    "helix_in": "LLLLLAAAIIVVMMFFWYC",
    "helix_out": "EEEEKKKKQQRRAAADDSTN",
    "strand_in": "VVVVIIITTYYFFLWC",
    "strand_out": "TTTTSSRRKKEEQQVYN",
    "membrane": "LLLLLLIIIIVVVVAAAFFFGGMMTSWY",
    "membrane_end": "WWYYFLI",
    "inside": "KKKRRRGNSQ",
    "outside": "DDEEGNSTQP",
    "signal_h": "LLLLLLAAVVIFFW",
    "signal_c": "SSGGTTQPAV",
    "heptad_core": "LLLLLIIVVMA",
    "heptad_rim": "EEEEKKKKQQRRAANDS",
    "finger": "KKRRSSTTEEQQGGNDAHL",
    "nucleotide": "GGAAPPSSQQEEVV",
    "stroma": "AALLVVIISSTTGG",
}
"""Cysteine stands in hydrophobic cores now and then, so that not every cysteine is a bond's or a metal's."""


def draw(pool: str, rng: np.random.Generator) -> str:
    """One residue of a named pool, or of the letters given, e.g. `ST`."""
    letters = POOLS.get(pool, pool)
    return letters[int(rng.integers(len(letters)))]
