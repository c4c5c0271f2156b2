"""Components: configs that the registry finds by `type`, and that build the thing they describe. No torch here."""

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, SerializeAsAny, WrapValidator
from pydantic_core import PydanticCustomError

from omnisae.errors import OmnisaeError


class Component(BaseModel):
    """A config of one kind of part. A subclass declares `type: Literal["entry.name"] = "entry.name"` and `build`.

    `kind` is the noun that messages use; `hook` the plug-in hook that offers this kind.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str] = "component"
    hook: ClassVar[str] = ""

    type: str


ComponentT = TypeVar("ComponentT", bound=Component)


def _resolver(base: type[Component]) -> WrapValidator:
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


def resolved(base: type[ComponentT]) -> Any:
    """The annotation of a config field that holds a component of this kind, looked up by its `type`.

    It is written out with all the fields of the component it holds, so that a dump validates to the same config again.
    """
    return Annotated[base, SerializeAsAny(), _resolver(base)]  # type: ignore[type-arg]
