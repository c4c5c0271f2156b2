"""The extractor over any `nn.Module`: finds hook points, runs the forward, flattens what the taps read."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from omnisae.errors import HookError, LayoutError
from omnisae.extract.dataset import Example
from omnisae.extract.extractor import Extraction, Extractor
from omnisae.hooks.fingerprint import fingerprint
from omnisae.hooks.paths import expand, is_glob
from omnisae.hooks.point import HookPoint, View
from omnisae.hooks.taps import tap
from omnisae.tokens.arrange import Arranged, flatten
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.layout import Layout

if TYPE_CHECKING:
    from omnisae.config import HookConfig


class ModuleExtractor(Extractor):
    """A frozen `nn.Module`.

    A subclass says how an example becomes the model's input (`prepare`), gives a tiny batch (`probe`) and, where it
    can, the layout of its tensors (`declare`). The model is put into eval mode and its weights take no gradient.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, *, batch_size: int = 32, device: str = "auto") -> None:
        self.device = torch.device(pick_device(device))
        self.model = model.eval().requires_grad_(False).to(self.device)
        self._batch_size = batch_size
        self._parent: str | None = None

    def batch_size(self) -> int:
        return self._batch_size

    def prepare(self, example: Example) -> Any:
        """The model's input for one example. Default: `example.input` as a tensor."""
        return torch.as_tensor(example.input)

    @abstractmethod
    def probe(self) -> Any:
        """A tiny collated batch of inputs, as `collate` makes them, by which the shapes are found."""

    def forward(self, inputs: Any) -> Any:
        """One forward of the hooked model. Default: `self.model(inputs)`."""
        return self.model(inputs)

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        """Pattern and sizes of a module's tensor, where the config gives none. Default: raises HookError."""
        raise HookError(
            f"hook point {path!r}: no layout is known for its {view}, a tensor of shape {list(shape)}",
            "declare it under `hooks:` in the config, e.g. layout: 'example (y x) d' with sizes: {y: 14, x: 14}",
        )

    def complete(self, point: HookPoint, config: "HookConfig") -> HookPoint:
        """The hook point with what this extractor knows beyond its tensor, such as axes of whole forwards, and with the
        columns that the config asks for. Default: as it is; raises HookError for columns, since no forward is told
        anything.
        """
        if config.columns:
            raise HookError(
                f"hook point {point.name!r}: columns {list(config.columns)} are asked for, and this extractor's "
                "forwards are told nothing",
                "leave out `columns`",
            )
        return point

    def describe(self) -> Mapping[str, Any]:
        """Facts of the preprocessing that count for the fingerprint, as JSON. Default: none."""
        return {}

    def present(self, inputs: Any, point: HookPoint, tokens: Arranged) -> Bool[Tensor, " token"] | None:
        """Which tokens are real where examples of different length are padded to one tensor. Default: all (None)."""
        return None

    def parent(self) -> str:
        """The hash of the hooked module alone, by which an artifact knows its model."""
        if self._parent is None:
            self._parent = fingerprint(self.model)
        return self._parent

    def fingerprint(self) -> str:
        return fingerprint(nn.Module(), [self.parent(), type(self).__qualname__, dict(self.describe())])

    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        wanted = [(config, at) for config in hooks for at in self._targets(config)]
        parts = [
            HookPoint(
                name=f"{i}:{path}", at=(path,), view=config.view, select=config.select, call=config.call,
                pattern="example d", width=0,
            )
            for i, (config, at) in enumerate(wanted)
            for path in at
        ]  # fmt: skip
        with torch.inference_mode(), tap(self.model, parts, stop=False) as seen:
            self.forward(to_device(self.probe(), self.device))
        points: dict[str, HookPoint] = {}
        for i, (config, at) in enumerate(wanted):
            point = self.complete(self._point(config, at, [tuple(seen[f"{i}:{path}"].shape) for path in at]), config)
            if points.setdefault(point.name, point) != point:
                raise HookError(f"two hook points are called {point.name!r}", "give each a `name` of its own")
        return list(points.values())

    def extract(self, rows: Sequence[int], inputs: Any, hooks: Sequence[HookPoint]) -> Extraction:
        inputs = to_device(inputs, self.device)
        with torch.inference_mode(), tap(self.model, hooks) as seen:
            self.forward(inputs)
        found = {hook.name: self._tokens(rows, inputs, hook, seen[hook.name]) for hook in hooks}
        return Extraction(tuple(rows), found)

    def _targets(self, config: "HookConfig") -> list[tuple[str, ...]]:
        """What one entry of the config stands for: a glob for several hook points, a list for one concatenation."""
        if not isinstance(config.at, str):
            for path in config.at:
                if is_glob(path):
                    raise HookError(
                        f"`at` concatenates {list(config.at)}: {path!r} is a glob", "name each module exactly"
                    )
                expand(self.model, path)
            return [tuple(config.at)]
        paths = expand(self.model, config.at)
        if config.name is not None and len(paths) > 1:
            raise HookError(
                f"`at: {config.at}` matches {len(paths)} modules, and they cannot all be called {config.name!r}",
                "leave out `name`: each is then named after its path",
            )
        return [(path,) for path in paths]

    def _point(self, config: "HookConfig", at: tuple[str, ...], shapes: list[tuple[int, ...]]) -> HookPoint:
        name = config.name or _name(config, at)
        pattern, sizes = config.layout, dict(config.sizes)
        if pattern is None:
            pattern, declared = self.declare(at[0], config.view, shapes[0])
            sizes = {**declared, **sizes}
        try:
            layout = Layout(pattern, sizes)
            width = sum(layout.fit(shape)["d"] for shape in shapes)
        except LayoutError as error:
            raise LayoutError(f"hook point {name!r}: {error.problem}", error.remedy) from None
        return HookPoint(
            name=name, at=at, view=config.view, select=config.select, call=config.call,
            pattern=pattern, sizes=sizes, width=width,
        )  # fmt: skip

    def _tokens(self, rows: Sequence[int], inputs: Any, hook: HookPoint, tensor: Tensor) -> TokenBatch:
        try:
            tokens = flatten(tensor, hook.layout)
        except LayoutError as error:
            raise LayoutError(f"hook point {hook.name!r}: {error.problem}", error.remedy) from None
        found, width = tokens.sizes["example"], tokens.values.shape[1]
        if found != len(rows) or width != hook.width:
            raise HookError(
                f"hook point {hook.name!r} gave {found} examples of width {width} for a batch of {len(rows)} examples "
                f"and a width of {hook.width}; its tensor has shape {list(tensor.shape)}",
                "declare every part of the batch in the layout, e.g. '(branch example) d y x' with sizes: {branch: 2}",
            )
        example = torch.as_tensor(rows, dtype=torch.int64, device=tensor.device)[tokens.example]
        batch = TokenBatch(tokens.values, example, tokens.coords, tokens.role)
        real = self.present(inputs, hook, tokens)
        batch = batch if real is None else batch.take(real)
        return TokenBatch(batch.values.cpu(), batch.example.cpu(), batch.coords.cpu(), batch.role.cpu())


def pick_device(device: str) -> str:
    """`auto`: an accelerator where there is one, else the CPU."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def to_device(inputs: Any, device: torch.device) -> Any:
    """Inputs with every tensor in tuples, lists and mappings moved to a device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {key: to_device(item, device) for key, item in inputs.items()}
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return type(inputs)(*(to_device(item, device) for item in inputs))
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(to_device(item, device) for item in inputs)
    return inputs


def _name(config: "HookConfig", at: tuple[str, ...]) -> str:
    """A name that is fit for files: path, view, and what else tells two hook points of one module apart."""
    words = ["+".join(path or "model" for path in at), config.view, *map(str, config.select)]
    words += [f"call{config.call}"] if config.call is not None else []
    return re.sub(r"[^A-Za-z0-9._+-]", "_", ".".join(words))
