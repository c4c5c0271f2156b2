"""Edits: replacing a hooked tensor while a model runs. Nothing is changed in place; hooks go on every way out."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.errors import HookError
from omnisae.hooks.paths import check_within, module_at
from omnisae.hooks.point import HookPoint
from omnisae.hooks.structure import argument, pick, put
from omnisae.hooks.taps import difference


@contextmanager
def edit(model: nn.Module, point: HookPoint, fn: Callable[[Tensor], Tensor], *, delta: bool = False) -> Iterator[None]:
    """Replace the hooked tensor by `fn(tensor)` in every forward within the block.

    View `output` replaces within the module's output, `input` within its arguments; `update` makes the output
    input + fn(output − input). With `delta`, `fn` gives what is added instead of the new tensor; it may be of higher
    precision, and elements to which zero is added keep their bits. So do, in the view `update`, elements that `fn`
    leaves as they are.

    Raises HookError where the module is missing or contains the one within whose forwards calls are counted, where
    hooks on it would be bypassed, where it fires several times in one forward and the hook point names no call, where
    `fn` changes the shape, and at the end of the block where the edit never took place.
    """
    if len(point.at) != 1:
        raise HookError(
            f"hook point {point.name!r} concatenates {list(point.at)}: it can be read, not edited",
            "edit one module at a time",
        )
    check_within(point.at, point.within, f"hook point {point.name!r}")
    editing = _Editing(model, point, fn, delta)
    with editing.hooked():
        yield
    if not editing.edited:
        raise HookError(
            f"hook point {point.name!r}: no forward reached {point.at[0]!r} within the block, so nothing was edited",
            "run the model that was given to the edit within the block",
        )


class _Editing:
    """The hooks of one edit. Calls are counted within each forward of the model, or of the module that the hook point
    says (`within`); of a module outside it, from the beginning of its last forward."""

    def __init__(self, model: nn.Module, point: HookPoint, fn: Callable[[Tensor], Tensor], delta: bool) -> None:
        self.model, self.point, self.fn, self.delta = model, point, fn, delta
        self.what = f"hook point {point.name!r}: the {point.view} of {point.at[0]!r}"
        self.within, self.calls = False, 0
        self.running: list[int] = []
        self.inputs: dict[int, Tensor] = {}
        self.edited = 0
        at, whole = point.at[0], point.within
        self.inside = not whole or at == whole or at.startswith(f"{whole}.")

    @contextmanager
    def hooked(self) -> Iterator[None]:
        whole, module = module_at(self.model, self.point.within), module_at(self.model, self.point.at[0])
        with ExitStack() as stack:
            for handle in (
                whole.register_forward_pre_hook(self._enter),
                module.register_forward_pre_hook(self._before, with_kwargs=True),
                module.register_forward_hook(self._after, with_kwargs=True),
                whole.register_forward_hook(self._leave),
            ):
                stack.callback(handle.remove)
            _recorders_last(module)
            yield

    def _enter(self, model: nn.Module, args: Any) -> None:
        # Also after a forward that an exception broke off: nothing of it is left over.
        self.within, self.calls = self.inside, 0
        self.running.clear()
        self.inputs.clear()

    def _leave(self, model: nn.Module, args: Any, output: Any) -> None:
        if not self.inside:
            return
        self.within = False
        wanted = self.point.call
        if self.calls <= (wanted or 0):
            raise HookError(
                f"{self.what} was not edited: the module fired {self.calls} time(s) in this forward"
                + (f", and there is no call {wanted}" if wanted is not None else ""),
                "hook a module and a call that the forward uses",
            )

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._count()
        self.running.append(call)
        if not self._due(call) or self.point.view == "output":
            return None
        where = argument(module, args, kwargs, self.point.select if self.point.view == "input" else ())
        given = pick((args, kwargs), where, self.what)
        if self.point.view == "update":
            self.inputs[call] = given.clone()
            return None
        return put((args, kwargs), where, self._new(given))

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        call = self.running.pop()
        if not self._due(call) or self.point.view == "input":
            return None
        old = pick(output, self.point.select, self.what)
        if self.point.view == "output":
            return put(output, self.point.select, self._new(old))
        given = self.inputs.pop(call)
        update = difference(old, given, self.what)
        return put(output, self.point.select, self._new(update, old, given))

    def _count(self) -> int:
        """The number of this call. Outside a forward of the whole model every call stands for itself."""
        if not self.within and self.inside:
            if self.point.call:
                raise HookError(
                    f"{self.what}: call {self.point.call} can only be counted within a forward of the whole model",
                    f"call the {type(self.model).__name__} itself, not one of its methods or parts",
                )
            return 0
        self.calls += 1
        if self.point.call is None and self.calls > 1 and self.inside:
            raise HookError(
                f"{self.what} fires more than once in one forward",
                "choose a call in the hook point, e.g. `call: 0`",
            )
        return self.calls - 1

    def _due(self, call: int) -> bool:
        return self.point.call is None or self.point.call == call

    def _new(self, seen: Tensor, old: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        """The new tensor: in place of what was seen, or, in the view `update`, of the old output."""
        changed = self.fn(seen)
        if changed.shape != seen.shape:
            raise HookError(
                f"{self.what} has shape {list(seen.shape)}, and the edit gave shape {list(changed.shape)}",
                "an edit keeps the shape",
            )
        self.edited += 1
        before = seen if old is None else old
        if self.delta:
            # Adding zero would turn −0.0 into 0.0: untouched elements are taken as they are.
            changed = torch.where(changed == 0, before, (before + changed).to(before.dtype))
        elif given is not None:
            changed = torch.where(changed == seen, before, (given + changed).to(before.dtype))
        return _laid_out_as(before, changed.to(before.dtype))


def _recorders_last(module: nn.Module) -> None:
    """Let hooks by which transformers records `hidden_states` run after all others, so that they record what was
    edited: pipelines that take a text encoder's last but one layer read it from that record."""
    hooks: Any = module._forward_hooks  # an OrderedDict
    for key in [key for key, hook in hooks.items() if str(getattr(hook, "__module__", "")).startswith("transformers.")]:
        hooks.move_to_end(key)


def _laid_out_as(before: Tensor, new: Tensor) -> Tensor:
    """The new tensor with the strides of the old: kernels are chosen by them, and round differently."""
    return new if new.stride() == before.stride() else torch.empty_like(before).copy_(new)
