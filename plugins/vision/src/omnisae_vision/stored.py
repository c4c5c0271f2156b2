"""Pictures are taken as they are stored: what asks for others is refused with the reason."""

from typing import Any

from pydantic import model_validator

from omnisae.plugins.component import Component

AUGMENTING = ("augment", "transform", "flip", "crop", "jitter", "mixup", "cutmix", "erasing", "randaug", "is_training")
"""Words by which libraries ask for pictures other than the stored ones."""


class AsStored(Component):
    """A component that takes pictures as they are stored; a base of this plug-in's datasets and extractors.

    Random changes of pictures are refused: what is known of places in a picture would no longer lie where it lies, and
    a drawing would show what the model did not see.
    """

    @model_validator(mode="before")
    @classmethod
    def _as_stored(cls, given: Any) -> Any:
        asked = [key for key in given if key not in cls.model_fields] if isinstance(given, dict) else []
        wrong = [key for key in asked if any(word in str(key).lower() for word in AUGMENTING)]
        if wrong:
            raise ValueError(
                f"{cls.kind}.{wrong[0]} asks for pictures other than the stored ones; nothing is augmented while "
                "activations are extracted, for masks and boxes would no longer fit. Leave it out: the model's own "
                "evaluation transforms resize, crop and normalise"
            )
        return given
