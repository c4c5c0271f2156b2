"""The world `sessions`: users with planted interests who watch films that do not exist, as RecBole atomic files."""

from pathlib import Path

from omnisae_datasets.sessions.write import write
from omnisae_datasets.world import World

WORLD = World(
    name="sessions",
    about="what users with planted interests watched, film after film: RecBole atomic files with titles",
    n=1600,
    seed=0,
    noun="users",
    write=write,
    home=Path(__file__).parent,
    recipe=("catalogue.py", "viewers.py", "write.py"),
)
