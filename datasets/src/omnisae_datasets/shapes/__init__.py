"""The world `shapes`: pictures of coloured, textured shapes whose every property is known."""

from pathlib import Path

from omnisae_datasets.world import World


def _write(out: Path, n: int, seed: int) -> None:
    from omnisae_datasets.shapes.write import write

    write(out, n, seed)


WORLD = World(
    name="shapes",
    about="pictures of coloured, textured shapes: image folder, instance masks, attribute tables",
    n=1600,
    seed=0,
    noun="pictures",
    write=_write,
    home=Path(__file__).parent,
    recipe=("scene.py", "render.py", "truth.py", "write.py"),
    models=("vit_shapes_tiny",),
)
