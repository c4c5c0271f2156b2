"""A bare denoiser with a scheduler: told a class label or nothing, sampled by classifier-free guidance."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.errors import ConfigError
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.components import Components
from omnisae_diffusion.plan import CONDITIONAL, UNCONDITIONAL, Plan, from_calls
from omnisae_diffusion.process import Frames, Noising, Pictures, Process, noise_of, shown
from omnisae_diffusion.schedule import Schedule

Call = Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]
"""How a denoiser is run on noisy pictures, times and class labels (None: it knows none): its answer."""


@dataclass(frozen=True)
class Classes:
    """The class labels that a denoiser knows: how many, the number that stands for none, and their names if known."""

    count: int
    null: int | None = None
    names: tuple[str, ...] = ()


class BareProcess(Process):
    """A denoiser of pixels, sampled by the scheduler's own steps."""

    tells_error = True

    def __init__(
        self,
        name: str,
        denoiser: nn.Module,
        scheduler: Any,
        call: Call,
        *,
        shape: tuple[int, int, int],
        time: str,
        picture: str,
        steps: int,
        guidance: float,
        classes: Classes | None = None,
        expects_text: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        """`expects_text`: the denoiser is made for what text encoders say, and is told an empty condition. `schedule`:
        how the scheduler is asked; None: for so many steps, no more."""
        if guidance > 1 and (classes is None or classes.null is None):
            raise ConfigError(
                f"extractor.guidance is {guidance:g}, and the model knows no label that stands for none",
                "guide a model that was trained with labels withheld, or set guidance: 1",
            )
        self.components, self.denoiser, self.time, self.picture = Components({name: denoiser}), name, time, picture
        self.scheduler, self._call, self.shape = scheduler, call, shape
        self.steps, self.guidance, self.classes, self.labelled = steps, guidance, classes, classes is not None
        self.size = shape[1], shape[2]
        self._expects_text, self._schedule = expects_text, schedule or Schedule(scheduler)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.shape

    def plan(self) -> Plan:
        self._schedule.start(self.steps)
        order = (UNCONDITIONAL, CONDITIONAL)
        times = [self._schedule.told(time) for time in self._schedule.times()]
        passes = int(getattr(self.scheduler, "order", 1))
        return from_calls(times, 2 if self.guidance > 1 else 1, order, type(self.scheduler).__name__, passes)

    @torch.inference_mode()
    def generate(
        self,
        asks: Sequence[Ask],
        *,
        frames: Frames | None = None,
        steps: int | None = None,
        noise: Float[Tensor, "picture ..."] | None = None,
    ) -> Pictures:
        labels = self._labels(asks)
        self._schedule.start(steps or self.steps)
        start = noise_of(asks, self.shape) if noise is None else noise
        x = start.to(self.device) * float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        for time in self._schedule.times():
            answer = self._guided(self._schedule.seen(x, time), time, labels)
            step = self.scheduler.step(answer, time, x)
            x = step.prev_sample
            if frames is not None:
                guess = getattr(step, "pred_original_sample", None)
                frames(shown(x if guess is None else guess))
        return shown(x)

    def latents(self, pictures: Float[Tensor, "picture 3 y x"]) -> Float[Tensor, "picture ..."]:
        sized = nn.functional.interpolate(pictures, self.size, mode="bilinear", antialias=True, align_corners=False)
        return sized if self.shape[0] == 3 else sized.mean(dim=1, keepdim=True).expand(-1, self.shape[0], -1, -1)

    @torch.inference_mode()
    def denoise(self, asks: Sequence[Ask], noising: Noising) -> None:
        for _ in self._answers(asks, noising):
            pass

    @torch.inference_mode()
    def noise_error(self, asks: Sequence[Ask], noising: Noising) -> Float[Tensor, " picture"] | None:
        errors = []
        for answer, time in self._answers(asks, noising):
            wanted = self._schedule.wanted(noising.clean.to(answer), noising.noise.to(answer), time)
            if wanted is None:
                return None
            errors.append((answer.float() - wanted.float()).square().flatten(1).mean(1))
        return torch.stack(errors).mean(0)

    def grid(self) -> tuple[int, int]:
        return self.size

    def describe(self) -> dict[str, Any]:
        scheduler = {"class": type(self.scheduler).__name__, **dict(self.scheduler.config)}
        return super().describe() | {"scheduler": {key: str(value) for key, value in sorted(scheduler.items())}}

    def _answers(self, asks: Sequence[Ask], noising: Noising) -> Iterator[tuple[Tensor, Tensor]]:
        """The denoiser's answer to the noised pictures, time by time, with the scheduler's time."""
        labels = self._labels(asks)
        self._schedule.start(self.steps)
        clean, noise = noising.clean.to(self.device), noising.noise.to(self.device)
        for time in self._schedule.times():
            told = self._schedule.told(time)
            if noising.times is None or any(abs(told - one) < 1e-4 for one in noising.times):
                yield self._guided(self._schedule.noised(clean, noise, time), time, labels), time

    def _guided(self, x: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        """The answer at one time, with guidance where it is on: without + g · (with − without)."""
        if self.guidance <= 1 or labels is None or self.classes is None or self.classes.null is None:
            return self._call(self.model, x, time.expand(len(x)).to(x.device), labels)
        both = torch.cat([torch.full_like(labels, self.classes.null), labels])
        times = time.expand(2 * len(x)).to(x.device)
        without, told = self._call(self.model, torch.cat([x, x]), times, both).chunk(2)
        return without + self.guidance * (told - without)

    def _labels(self, asks: Sequence[Ask]) -> Tensor | None:
        unheard = next((ask.text for ask in asks if ask.text), "") if self._expects_text else ""
        if unheard:
            raise ConfigError(
                f"the prompt {unheard!r} would not be heard: the model is a bare {type(self.model).__name__}, without "
                "the text encoders that it listens to",
                "name the whole pipeline (a folder with model_index.json, or on the hub), or leave prompts empty",
            )
        if self.classes is None:
            return None
        return torch.tensor([self._label(ask) for ask in asks], device=self.device)

    def _label(self, ask: Ask) -> int:
        """The number of the class that is asked for: by its number, by its name, or none at all."""
        classes = self.classes or Classes(0)
        if ask.label is not None:
            if not 0 <= ask.label < classes.count:
                raise ConfigError(
                    f"class label {ask.label} is asked for", f"the model knows labels 0 to {classes.count - 1}"
                )
            return ask.label
        if ask.text and ask.text in classes.names:
            return classes.names.index(ask.text)
        if ask.text:
            known = f"; the model knows {', '.join(classes.names[:8])}" + (" …" if len(classes.names) > 8 else "")
            raise ConfigError(
                f"the prompt {ask.text!r} names no class of the model",
                "give the number of the class in the dataset's label column" + (known if classes.names else ""),
            )
        if classes.null is None:
            raise ConfigError("no class is asked for, and the model knows no label that stands for none", "give one")
        return classes.null
