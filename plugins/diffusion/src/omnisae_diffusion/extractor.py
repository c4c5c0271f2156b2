"""The extractors over diffusion models: read along generation, or on noised pictures, step by step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnisae.errors import ConfigError, HookError, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extraction
from omnisae.extract.module import ModuleExtractor
from omnisae.hooks.point import HookPoint, Told, View
from omnisae.hooks.taps import tap, watch
from omnisae.hooks.told import placed, telling
from omnisae.tokens.arrange import flatten
from omnisae.tokens.batch import TokenBatch
from omnisae_diffusion import places
from omnisae_diffusion.album import Album
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.inputs import Inputs, collated, prepared
from omnisae_diffusion.plan import Plan
from omnisae_diffusion.process import Noising, Pictures, Process, noise_of

if TYPE_CHECKING:
    from omnisae.config import HookConfig
    from omnisae_diffusion.plugin import ProcessConfig

AXIS, BRANCH = "timestep", "branch"


class DiffusionExtractor(ModuleExtractor):
    """A diffusion model, read step by step. `model` are its `Components`; `process` makes pictures with it, also under
    edits.

    Hook points within the denoiser have the axis `timestep`: steps of the plan, whose ticks are the scheduler times
    that the denoiser is told. Those of text encoders have none: prompts are read once a generation.
    """

    in_parts = True

    def __init__(self, config: "ProcessConfig", process: Process, dataset: Dataset) -> None:
        self.config, self.process, self.dataset = config, process, dataset
        super().__init__(process.components, batch_size=config.batch_size, device=str(process.device))
        self.plan: Plan = process.plan()
        self.branch = self.plan.branch(config.branch, config.guidance)
        if config.branch is None and self.plan.branches:
            self.branch = self.plan.branch("conditional", config.guidance)
        self._at = self._steps(config.at)
        self._album = Album()

    # -- inputs -----------------------------------------------------------------------------------------------------

    def prepare(self, example: Example) -> Inputs:
        return prepared(example, noising=self.config.gather == "noising", size=self.process.size)

    def collate(self, prepared: Sequence[Any]) -> Inputs:
        return collated(prepared)

    def probe(self) -> Inputs:
        return Inputs((self.process.any_ask(),), None)

    def forward(self, inputs: Inputs) -> None:
        """One generation in which the denoiser is run once: what shapes are found by."""
        self.process.look(inputs.asks)

    def describe(self) -> Mapping[str, Any]:
        gathered = {"gather": self.config.gather, "branch": self.branch, "at": self._at}
        return self.process.describe() | gathered

    # -- hook points ------------------------------------------------------------------------------------------------

    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        found = [places.translated(hook, self.process, self.plan) for hook in hooks]
        for hook in found:
            if not isinstance(hook.at, str):
                places.in_denoiser(hook.at, self.process)
        return super().resolve(found)

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        return places.layout(path, shape, self.process, self.plan)

    def complete(self, point: HookPoint, config: "HookConfig") -> HookPoint:
        inside = places.in_denoiser(point.at, self.process)
        if not inside:
            return super().complete(point.model_copy(update={"within": self.process.denoiser}), config)
        module, argument = self.process.denoiser, self.process.time
        told = {AXIS: Told(module=module, argument=argument, ticks=self.plan.ticks)}
        for name in config.columns:
            if name not in told:
                raise HookError(
                    f"hook point {point.name!r} has no axis {name!r} for a column", did_you_mean(name, told)
                )
        if self.plan.by == "call":  # the branches are told the same time, one after the other
            numbers = tuple(float(number) for number in range(len(self.plan.branches)))
            told[BRANCH] = Told(module=module, argument=argument, ticks=numbers, counts=True)
        return point.model_copy(
            update={
                "told": told,
                "within": self.process.denoiser,
                "columns": tuple(config.columns),
                "width": point.width + len(config.columns),
            }
        )

    # -- reading ----------------------------------------------------------------------------------------------------

    def extract(self, rows: Sequence[int], inputs: Inputs, hooks: Sequence[HookPoint]) -> Extraction:
        parts: dict[str, list[TokenBatch]] = {hook.name: [] for hook in hooks}

        def keep(part: Extraction) -> None:
            for name, batch in part.tokens.items():
                parts[name].append(batch)

        self.extract_parts(rows, inputs, hooks, keep)
        return Extraction(tuple(rows), {name: _joined(found) for name, found in parts.items()})

    def extract_parts(
        self, rows: Sequence[int], inputs: Inputs, hooks: Sequence[HookPoint], emit: Callable[[Extraction], None]
    ) -> None:
        steps = [hook for hook in hooks if hook.told]
        once = [hook for hook in hooks if not hook.told]
        if once:
            with torch.inference_mode(), tap(self.model, once, stop=not steps) as seen, ExitStack() as stack:
                if steps:
                    self._watched(stack, rows, steps, emit)
                self._run(inputs)
            emit(Extraction(tuple(rows), {hook.name: self._read(rows, hook, seen[hook.name], {}) for hook in once}))
            return
        with torch.inference_mode(), ExitStack() as stack:
            self._watched(stack, rows, steps, emit)
            self._run(inputs)

    def _watched(
        self, stack: ExitStack, rows: Sequence[int], hooks: Sequence[HookPoint], emit: Callable[[Extraction], None]
    ) -> None:
        """Until the stack closes, every step's tokens go to `emit`."""
        told = stack.enter_context(telling(self.model, hooks))

        def tell(tensors: dict[str, Tensor]) -> None:
            time = float(told[AXIS].reshape(-1)[0])
            if BRANCH in told and self.branch is not None and int(told[BRANCH]) != self.branch:
                return
            if self._at is not None and not any(abs(time - one) < 1e-4 for one in self._at):
                return
            emit(Extraction(tuple(rows), {h.name: self._read(rows, h, tensors[h.name], told) for h in hooks}))

        stack.enter_context(watch(self.model, hooks, tell, within=self.process.denoiser))

    def _read(self, rows: Sequence[int], hook: HookPoint, tensor: Tensor, told: Mapping[str, Tensor]) -> TokenBatch:
        """The tokens of one raw tensor; of what is read once a generation, nothing is told."""
        tokens, _ = placed(flatten(tensor, hook.layout), hook, told)
        places.check_batch(hook, tokens.sizes["example"], len(rows), tensor)
        example = torch.as_tensor(rows, dtype=torch.int64, device=tensor.device)[tokens.example]
        batch = TokenBatch(tokens.values, example, tokens.coords, tokens.role)
        if self.branch is not None and BRANCH in hook.axes:
            batch = batch.take(batch.coords[:, hook.axes.index(BRANCH)] == self.branch)
        return _on_cpu(batch)

    def _run(self, inputs: Inputs) -> None:
        if self.config.gather == "generation":
            self._album.keep(inputs.asks, self.process.generate(inputs.asks))
            return
        self.process.denoise(inputs.asks, self._noising(inputs))

    def _noising(self, inputs: Inputs) -> Noising:
        if inputs.pictures is None:
            raise ConfigError(
                "extractor.gather is noising, and the dataset gives prompts, not pictures",
                "use a dataset of pictures (vision.image_folder), or gather: generation",
            )
        clean = self.process.latents(inputs.pictures.to(self.device))
        return Noising(clean, noise_of(inputs.asks, clean.shape[1:]), self._at)

    def _steps(self, at: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if at is None:
            return None
        for time in at:
            if not any(abs(time - tick) < 1e-4 for tick in self.plan.ticks):
                raise ConfigError(
                    f"extractor.at names the time {time:g}, which is none of the schedule's",
                    f"with {self.config.steps} steps these are {', '.join(f'{t:g}' for t in self.plan.ticks)}",
                )
        return at

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        return self.process.size

    @property
    def read_times(self) -> tuple[float, ...] | None:
        """The scheduler times that are read; None: all of them. At the others a latent is unknown, not silent."""
        return self._at

    # -- pictures ---------------------------------------------------------------------------------------------------

    def loss(self, rows: Sequence[int], inputs: Inputs) -> Float[Tensor, " example"] | None:
        """The mean squared error of the noise found in the dataset's pictures; None along generation, or where a
        pipeline keeps what it asks of its denoiser to itself."""
        if self.config.gather == "generation" or not self.process.tells_error:
            return None
        with torch.no_grad():
            return self.process.noise_error(inputs.asks, self._noising(inputs))

    def picture(self, example: Example) -> UInt8[np.ndarray, "y x 3"] | None:
        """The picture that the model makes for this example, unedited, or the one that is noised."""
        if self.config.gather == "noising":
            return places.as_seen(example, self.process.size)
        return self.pictures([self.prepare(example).asks[0]])[0]

    def pictures(self, asks: Sequence[Ask]) -> Pictures:
        """What the model makes of these, unedited: made once, then remembered."""
        return self._album.pictures(asks, self.process, self.batch_size())

    def frames(self, example: Example) -> list[UInt8[np.ndarray, "y x 3"]] | None:
        """The picture as it stands after every step: the model's guess at the finished one where the scheduler tells
        it. None where there is no generation to look into."""
        if self.config.gather == "noising":
            return None
        found: list[Pictures] = []
        try:
            self.process.generate(self.prepare(example).asks, frames=found.append)
        except HookError:
            return None
        return [one[0] for one in found]


def _joined(parts: Sequence[TokenBatch]) -> TokenBatch:
    """Parts as one batch in the order of the examples."""
    names = ("values", "example", "coords", "role")
    whole = TokenBatch(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    return whole.take(whole.example.argsort(stable=True))


def _on_cpu(batch: TokenBatch) -> TokenBatch:
    return TokenBatch(batch.values.cpu(), batch.example.cpu(), batch.coords.cpu(), batch.role.cpu())
