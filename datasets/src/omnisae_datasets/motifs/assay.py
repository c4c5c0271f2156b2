"""An assay in ProteinGym's form: mutants of one protein, and a fitness that falls where residues leave their pools."""

import numpy as np

from omnisae_datasets.motifs.pools import AMINO_ACIDS, POOLS
from omnisae_datasets.motifs.proteins import ancestor

MUTANTS, MOST = 1000, 4
NOISE, RARE = 0.5, 0.01


def assay(seed: int) -> list[dict[str, str]]:
    """Rows of `mutant`, `mutated_sequence`, `DMS_score`, `DMS_score_bin`, of the first NTPase's founder.

    The score is the sum over mutated residues of log p(new) - log p(old) by the site's pool (a letter that the pool
    lacks has p = RARE), plus noise.
    """
    founder = ancestor(seed, 1)
    rng = np.random.default_rng([seed, 23])
    rows = []
    seen = set()
    while len(rows) < MUTANTS:
        places = sorted(rng.choice(np.arange(1, len(founder.residues)), int(rng.integers(1, MOST + 1)), replace=False))
        residues, names, score = list(founder.residues), [], 0.0
        for at in places:
            old = residues[at]
            new = str(rng.choice([letter for letter in AMINO_ACIDS if letter != old]))
            score += _log(founder.sites[at].pool, new) - _log(founder.sites[at].pool, old)
            residues[at] = new
            names.append(f"{old}{at + 1}{new}")
        mutant = ":".join(names)
        if mutant not in seen:
            seen.add(mutant)
            rows.append((mutant, "".join(residues), score + NOISE * rng.normal()))
    middle = float(np.median([score for _, _, score in rows]))
    return [
        {
            "mutant": mutant,
            "mutated_sequence": sequence,
            "DMS_score": f"{score:.4f}",
            "DMS_score_bin": str(int(score > middle)),
        }
        for mutant, sequence, score in rows
    ]


def _log(pool: str, letter: str) -> float:
    letters = POOLS.get(pool, pool)
    return float(np.log(max(letters.count(letter) / len(letters), RARE)))
