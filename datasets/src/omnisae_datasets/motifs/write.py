"""Writing the world as a user would keep such data: FASTA, a table of UniProt's, GFF, mmCIF, an assay."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from omnisae_datasets.motifs.assay import assay
from omnisae_datasets.motifs.backbone import mmcif, trace
from omnisae_datasets.motifs.families import FAMILIES
from omnisae_datasets.motifs.proteins import DESCENDANTS, Protein, protein
from omnisae_datasets.motifs.segments import Feature

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""
EVERY = 6
"""Of every so many rounds of the families, one round has structures."""
COLUMNS = {
    "ACT_SITE": "Active site",
    "BINDING": "Binding site",
    "CARBOHYD": "Glycosylation",
    "COILED": "Coiled coil",
    "DISULFID": "Disulfide bond",
    "DOMAIN": "Domain [FT]",
    "HELIX": "Helix",
    "MOD_RES": "Modified residue",
    "MOTIF": "Motif",
    "REGION": "Region",
    "SIGNAL": "Signal peptide",
    "STRAND": "Beta strand",
    "TOPO_DOM": "Topological domain",
    "TRANSMEM": "Transmembrane",
    "ZN_FING": "Zinc finger",
}
"""UniProt's column for every key."""
README = """# The world `motifs`

{n} proteins (seed {seed}) of eight families, from {ancestors} ancestors. Every motif in them was planted.

- `proteins.fasta`: the sequences, in UniProt's FASTA.
- `uniprot.tsv`: a table as UniProt lets one download it: entry, family, features by column.
- `features.gff`: the same features as GFF3.
- `structures/<entry>.cif`: C-alpha traces of some, with that secondary structure (drawings, not predictions).
- `ancestors.csv`: id, ancestor: who descends from whom.
- `assay.csv`: mutants of one protein with a made-up fitness, as ProteinGym has them.
"""


def write(out: Path, n: int, seed: int) -> None:
    """Write `n` proteins and all that is known of them below `out`, which must not hold them already."""
    ancestors = max(1, n // DESCENDANTS)
    proteins = [protein(seed, number, ancestors) for number in range(n)]
    (out / "proteins.fasta").write_text("".join(_fasta(one) for one in proteins))
    rows = [_row(one) for one in proteins]
    # UniProt's own tables quote nothing.
    lines = [rows[0].keys(), *(row.values() for row in rows)]
    (out / "uniprot.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    (out / "features.gff").write_text("##gff-version 3\n" + "".join(_gff(one) for one in proteins))
    _table(out / "ancestors.csv", [{"id": one.id, "ancestor": f"ancestor-{one.ancestor}"} for one in proteins])
    _table(out / "assay.csv", assay(seed))
    (out / "structures").mkdir()
    for number, one in enumerate(proteins):
        if number // len(FAMILIES) % EVERY:
            continue
        path = out / "structures" / f"{one.id}.cif"
        path.write_text(mmcif(one, trace(one, np.random.default_rng([seed, 17, number]))))
    (out / "README.md").write_text(README.format(n=n, seed=seed, ancestors=ancestors))
    (out / "world.json").write_text(json.dumps({"world": "motifs", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def _fasta(one: Protein) -> str:
    about = f">tr|{one.id}|{one.id}_MOTIF {one.family.removesuffix(' family')} OS=World of motifs PE=4 SV=1\n"
    return about + "".join(one.sequence[i : i + 60] + "\n" for i in range(0, len(one.sequence), 60))


def _row(one: Protein) -> dict[str, str]:
    row = {
        "Entry": one.id,
        "Entry Name": f"{one.id}_MOTIF",
        "Protein names": one.family.removesuffix(" family"),
        "Length": str(len(one.sequence)),
        "Protein families": one.family,
        "Sequence": one.sequence,
    }
    return row | {title: "; ".join(_told(f) for f in one.features if f.key == key) for key, title in COLUMNS.items()}


def _told(feature: Feature) -> str:
    parts = [f"{feature.key} {feature.first + 1}" + (f"..{feature.last + 1}" if feature.last > feature.first else "")]
    parts += [f'/{name}="{value}"' for name, value in (("note", feature.note), ("ligand", feature.ligand)) if value]
    return "; ".join([*parts, '/evidence="ECO:0000250"'])


def _gff(one: Protein) -> str:
    lines = [f"##sequence-region {one.id} 1 {len(one.sequence)}\n"]
    for feature in one.features:
        about = [
            f"{name}={quote(value, safe=' (+)')}"
            for name, value in (("Note", feature.note), ("ligand", feature.ligand))
            if value
        ]
        where = f"{feature.first + 1}\t{feature.last + 1}\t.\t.\t."
        title = COLUMNS[feature.key].removesuffix(" [FT]")
        lines.append(f"{one.id}\tUniProtKB\t{title}\t{where}\t{';'.join(about) or '.'}\n")
    return "".join(lines)


def _table(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
