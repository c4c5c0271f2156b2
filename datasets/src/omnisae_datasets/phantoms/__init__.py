"""The world `phantoms`: breast-like pictures with planted lesions and confounders, as DICOM files and a table."""

from pathlib import Path

from omnisae_datasets.world import World


def _write(out: Path, n: int, seed: int) -> None:
    from omnisae_datasets.phantoms.write import write

    write(out, n, seed)


WORLD = World(
    name="phantoms",
    about="breast-like pictures with planted lesions and confounders: DICOM exams, boxes in VinDr's columns",
    n=1200,
    seed=0,
    noun="pictures",
    write=_write,
    home=Path(__file__).parent,
    recipe=("anatomy.py", "render.py", "dicom.py", "write.py"),
    models=("efficientnet_phantoms",),
)
