"""Precision: Fabric's, except that activations enter the autoencoder as they are."""

from typing import Any, Literal

from lightning_fabric.plugins.precision import MixedPrecision, Precision


class InputsKept(MixedPrecision):
    """bf16 autocast whose inputs and outputs stay in their own precision.

    Fabric's own plug-in rounds a module's inputs to bf16. Activations are also what is reconstructed, so the target and
    the explained variance would be those of rounded activations: 8 bits of mantissa, less than outlier dimensions need.
    """

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cpu")

    def convert_input(self, data: Any) -> Any:
        return data

    def convert_output(self, data: Any) -> Any:
        return data


def precision(name: Literal["32-true", "bf16-mixed"]) -> Any:
    """The plug-in of a TrainConfig's precision. Its `device` is set once Fabric has chosen one."""
    if name == "bf16-mixed":
        return InputsKept()
    return Precision()
