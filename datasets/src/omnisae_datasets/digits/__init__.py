"""The world `digits`: handwritten digits in four inks, prompts for the models that draw them, and the models."""

from pathlib import Path

from omnisae.errors import PluginError
from omnisae_datasets.world import World


def _write(out: Path, n: int, seed: int) -> None:
    try:
        import sklearn.datasets  # noqa: F401  the real digits are in it
    except ImportError as error:
        raise PluginError(
            f"the world 'digits' takes its handwritten digits from scikit-learn, which is missing ({error})",
            "pip install omnisae-datasets[digits]",
        ) from error
    from omnisae_datasets.digits.write import write

    write(out, n, seed)


WORLD = World(
    name="digits",
    about="handwritten digits in four inks: prompts for two diffusion models, and real pictures that they never saw",
    n=800,
    seed=0,
    noun="prompts",
    write=_write,
    home=Path(__file__).parent,
    recipe=("inks.py", "pictures.py", "write.py"),
    models=("unet", "dit", "digits_classifier"),
)
