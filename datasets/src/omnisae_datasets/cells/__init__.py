"""The world `cells`: single cells with planted gene programs, types, a lineage and a batch effect, as h5ad and GMT."""

from pathlib import Path

from omnisae.errors import PluginError
from omnisae_datasets.world import World


def _write(out: Path, n: int, seed: int) -> None:
    try:
        from omnisae_datasets.cells.write import write
    except ImportError as error:
        raise PluginError(
            f"the world 'cells' is written with anndata, and it or what it needs is missing ({error})",
            "pip install omnisae-datasets[cells]",
        ) from error
    write(out, n, seed)


WORLD = World(
    name="cells",
    about="single cells with planted gene programs, types, a lineage and a batch effect: counts as h5ad, sets as GMT",
    n=6000,
    seed=0,
    noun="cells",
    write=_write,
    home=Path(__file__).parent,
    recipe=("biology.py", "simulate.py", "write.py"),
)
