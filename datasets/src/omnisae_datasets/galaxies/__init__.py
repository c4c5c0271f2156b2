"""The world `galaxies`: galaxies with planted morphology, as FITS cut-outs and a catalogue of simulated votes."""

from pathlib import Path

from omnisae.errors import PluginError
from omnisae_datasets.world import World


def _write(out: Path, n: int, seed: int) -> None:
    try:
        from omnisae_datasets.galaxies.write import write
    except ImportError as error:
        raise PluginError(
            f"the world 'galaxies' is drawn with astropy and scipy, and one of them is missing ({error})",
            "pip install omnisae-datasets[galaxies]",
        ) from error
    write(out, n, seed)


WORLD = World(
    name="galaxies",
    about="galaxies with planted morphology: FITS cut-outs in three bands, a catalogue of votes down a decision tree",
    n=2400,
    seed=0,
    noun="galaxies",
    write=_write,
    home=Path(__file__).parent,
    recipe=("tree.py", "morphology.py", "render.py", "votes.py", "write.py"),
    models=("convnext_galaxies",),
)
