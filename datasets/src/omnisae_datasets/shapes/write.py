"""Writing the world as a user would keep such data: an image folder, instance masks, tables."""

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from omnisae_datasets.shapes.render import render
from omnisae_datasets.shapes.scene import Scene, scene
from omnisae_datasets.shapes.truth import Truth, truth

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""

README = """# The world `shapes`

{n} pictures (seed {seed}) of one to four objects on a noisy gradient. Every property of every object is known.

- `images/<class>/<number>.png`: the pictures, 64 × 64 RGB. The class is the shape of the object of which most is seen.
- `masks/<class>/<number>.png`: one 8-bit picture an example. 0 is background, k is the example's k-th object.
- `masks.csv`: id, instance, concept: what each object is, a row for its colour, one for its shape, one for its texture.
- `attributes.csv`: id, then `has_<concept>` (0 or 1), `covered` and `<colour>_share` (shares of the picture's pixels),
  `light` (`dim` or `bright`: the background).
- `objects.csv`: id, instance, colour, shape, texture, x, y, radius (pixels), angle (radians), pixels (seen).

An id is the picture's path below `images/` without its ending.
"""


def write(out: Path, n: int, seed: int) -> None:
    """Write `n` pictures and all that is known of them below `out`, which must not hold them already."""
    attributes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number in range(n):
        made = scene(seed, number)
        picture, mask = render(made, seed, number)
        known = truth(made, mask)
        name = f"{known.class_name}/{number:06d}"
        for folder, pixels in (("images", picture), ("masks", mask)):
            path = out / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
        attributes.append({"id": name, **_numbers(known), "light": _light(made)})
        masks += _concepts(name, known)
        objects += _objects(name, known)
    _table(out / "attributes.csv", attributes)
    _table(out / "masks.csv", masks)
    _table(out / "objects.csv", objects)
    (out / "README.md").write_text(README.format(n=n, seed=seed))
    (out / "world.json").write_text(json.dumps({"world": "shapes", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def _numbers(known: Truth) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in known.attributes.items()}


def _light(made: Scene) -> str:
    return "bright" if sum(sum(end) for end in made.ends) / 6 > 125 else "dim"


def _concepts(name: str, known: Truth) -> Iterable[dict[str, Any]]:
    for instance, thing in known.seen.items():
        for concept in (thing.colour, thing.shape, thing.texture):
            yield {"id": name, "instance": instance, "concept": concept}


def _objects(name: str, known: Truth) -> Iterable[dict[str, Any]]:
    for instance, thing in known.seen.items():
        place = {key: f"{getattr(thing, key):.3f}" for key in ("x", "y", "radius", "angle")}
        kind = {"colour": thing.colour, "shape": thing.shape, "texture": thing.texture}
        yield {"id": name, "instance": instance, **kind, **place, "pixels": known.pixels[instance]}


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
