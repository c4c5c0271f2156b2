"""The world `motifs`: families of proteins with real motifs, every feature of which is known."""

from pathlib import Path

from omnisae_datasets.world import World


def _write(out: Path, n: int, seed: int) -> None:
    from omnisae_datasets.motifs.write import write

    write(out, n, seed)


WORLD = World(
    name="motifs",
    about="proteins with planted motifs: FASTA, UniProt tables of features, structures, an assay",
    n=1200,
    seed=0,
    noun="proteins",
    write=_write,
    home=Path(__file__).parent,
    recipe=("pools.py", "segments.py", "families.py", "proteins.py", "backbone.py", "assay.py", "write.py"),
    models=("esm2_motifs",),
)
