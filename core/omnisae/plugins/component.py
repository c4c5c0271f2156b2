"""Components: configs that the registry finds by `type`, and that build the thing they describe. No torch here."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, WrapValidator
from pydantic_core import PydanticCustomError

from omnisae.errors import OmnisaeError


class Component(BaseModel):
    """A config of one kind of part. A subclass declares `type: Literal["entry.name"] = "entry.name"` and `build`.

    `kind` is the noun that messages use; `hook` the plug-in hook that offers this kind.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    kind: ClassVar[str] = "component"
    hook: ClassVar[str] = ""

    type: str


def by_type(base: type[Component]) -> WrapValidator:
    """What makes a config field hold a component of this kind, looked up by its `type`.

    Write `Annotated[Base, SerializeAsAny(), by_type(Base)]`; the aliases for core's kinds stand in `kinds`. The field
    is written out with all the fields of the component it holds, so that a dump validates to the same config again.
    """

    def resolve(value: Any, handler: Any) -> Any:
        from omnisae.plugins.registry import registry

        if isinstance(value, Component):
            return handler(value)
        try:
            component, fields = registry().find(base, value)
        except OmnisaeError as error:
            told = {"problem": error.problem, "remedy": error.remedy}
            raise PydanticCustomError("omnisae", "{problem}; {remedy}", told) from None
        return component.model_validate(fields)

    return WrapValidator(resolve)
