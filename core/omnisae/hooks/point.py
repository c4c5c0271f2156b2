"""Hook points: where a model is read or edited. No torch here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from omnisae.tokens.layout import Layout

View = Literal["input", "output", "update"]

_LATER = ("within", "told", "columns")
"""Fields that the first versions do not know."""


class Told(BaseModel):
    """An axis that does not lie in the hooked tensor: every forward of the module at path `module` is one step along
    it, and is told which by its argument of this name: a number, or one for each example. `ticks` are the values that
    stand for the steps 0, 1, … of the axis; another value is counted to the nearest of them.

    With `counts` the argument tells by being told again: of forwards in a row that are told the same, the first is step
    0, the next step 1, and so on, beginning anew after as many as there are ticks. So calls that come one after the
    other in every step are told apart, such as the two branches of guidance. Such steps are numbers, not values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: str = ""
    argument: str
    ticks: tuple[float, ...] = Field(min_length=1)
    counts: bool = False

    @model_serializer(mode="wrap")
    def _without_later(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `counts` where it says nothing, as HookPoint's."""
        said: dict[str, Any] = whole(self)
        return {name: value for name, value in said.items() if value or name != "counts"}


class HookPoint(BaseModel):
    """Target × view × selector, with the layout of its tensor.

    `at` holds module paths (several are concatenated along the width); the empty path is the model itself. `view` is
    the module's input, its output, or output − input. `select` is a path into tuples and dicts (of the input: the
    argument's position or name comes first). `call` is the call of the module within one forward (None: it must fire
    exactly once). `within` is the path of the module whose forward that is: calls are counted anew when it begins; the
    empty path is the model itself. `told` are axes along which whole forwards lie, before those of the layout, and
    `columns` names those of them whose value stands at the end of every token's vector, as a condition. `width` is the
    number of values of one token, columns among them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    at: tuple[str, ...]
    view: View = "output"
    select: tuple[int | str, ...] = ()
    call: int | None = None
    within: str = ""
    told: dict[str, Told] = {}
    columns: tuple[str, ...] = ()
    pattern: str
    sizes: dict[str, int] = {}
    width: int

    @model_serializer(mode="wrap")
    def _without_later(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the fields that the first versions do not know, where they say nothing: what is written then is what
        was written before, and so are content keys."""
        said: dict[str, Any] = whole(self)
        return {name: value for name, value in said.items() if value or name not in _LATER}

    @property
    def later(self) -> bool:
        """Whether it says what the first versions do not know: files that hold it are then of a later schema."""
        return any(getattr(self, name) for name in _LATER)

    @property
    def layout(self) -> Layout:
        """The layout of the hooked tensor."""
        return Layout(self.pattern, dict(self.sizes))

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes on which tokens have coordinates: those of whole forwards, then the layout's."""
        return (*self.told, *(axis.name for axis in self.layout.axes))

    @property
    def ticks(self) -> dict[str, tuple[float, ...]]:
        """The values at the steps of the axes along which whole forwards are told a value."""
        return {name: axis.ticks for name, axis in self.told.items() if not axis.counts}

    @property
    def known_sizes(self) -> dict[str, int | None]:
        """The number of steps along each axis; None where examples differ."""
        told: dict[str, int | None] = {name: len(axis.ticks) for name, axis in self.told.items()}
        return told | {axis.name: axis.size for axis in self.layout.axes}

    @property
    def own_width(self) -> int:
        """The number of a token's values that are the model's own: those before the columns."""
        return self.width - len(self.columns)

    @property
    def roles(self) -> tuple[str, ...]:
        """`content`, then the roles of special tokens."""
        return self.layout.roles
