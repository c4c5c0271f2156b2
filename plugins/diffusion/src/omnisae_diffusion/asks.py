"""What a model is asked to make: a prompt or a class label, with the seed of its noise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture to be made. `text` is for models with a text encoder, `label` the number of a class for others;
    `seed` decides the noise it starts from."""

    text: str = ""
    label: int | None = None
    seed: int = 0
    negative: str | None = None
