"""Hook points: where a model is read or edited. No torch here."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from omnisae.tokens.layout import Layout

View = Literal["input", "output", "update"]


class HookPoint(BaseModel):
    """Target × view × selector, with the layout of its tensor.

    `at` holds module paths (several are concatenated along the width); the empty path is the model itself. `view` is
    the module's input, its output, or output − input. `select` is a path into tuples and dicts (of the input: the
    argument's position or name comes first). `call` is the call of the module within one forward (None: it must fire
    exactly once). `width` is the number of values of one token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    at: tuple[str, ...]
    view: View = "output"
    select: tuple[int | str, ...] = ()
    call: int | None = None
    pattern: str
    sizes: dict[str, int] = {}
    width: int

    @property
    def layout(self) -> Layout:
        """The layout of the hooked tensor."""
        return Layout(self.pattern, dict(self.sizes))

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes on which tokens have coordinates."""
        return tuple(axis.name for axis in self.layout.axes)

    @property
    def roles(self) -> tuple[str, ...]:
        """`content`, then the roles of special tokens."""
        return self.layout.roles
