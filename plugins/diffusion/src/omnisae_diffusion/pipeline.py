"""A pipeline of diffusers at work: called as its users call it, watched from outside."""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.errors import ConfigError, HookError, did_you_mean
from omnisae_diffusion import families
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.components import of_pipeline
from omnisae_diffusion.plan import Plan, from_calls
from omnisae_diffusion.process import Frames, Noising, Pictures, Process, replaced_call, replaced_forward


class PipelineProcess(Process):
    """Any diffusers pipeline. `call` are further arguments of its call, as its documentation names them."""

    def __init__(
        self, pipe: Any, *, steps: int, guidance: float, size: tuple[int, int] | None, call: dict[str, Any]
    ) -> None:
        self._takes = inspect.signature(type(pipe).__call__).parameters
        _check(call, type(pipe).__name__, self._takes)
        self.labelled = "class_labels" in self._takes
        pipe.set_progress_bar_config(disable=True)
        self.pipe, self.steps, self.guidance, self.call = pipe, steps, guidance, call
        self._asked_size = size
        self.components = of_pipeline(pipe)
        self.denoiser, self.time = self.components.denoiser_name, families.TIME
        self.picture = families.picture_argument(self.model)

    @cached_property
    def _rehearsed(self) -> tuple[Plan, tuple[int, ...], tuple[int, int]]:
        """The plan, the shape of one noisy picture, and the size of the finished ones: found by one generation in which
        the denoiser is run once and then answers nothing."""
        times: list[float] = []
        batch: list[tuple[int, ...]] = []
        told = inspect.signature(self.model.forward)
        blank: list[Any] = []
        run = self.model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            given = told.bind(*args, **kwargs).arguments
            times.append(float(torch.as_tensor(given[self.time]).reshape(-1)[0]))
            batch.append(tuple(given[self.picture].shape))
            if not blank:
                blank.append(_zeros(run(*args, **kwargs)))
            return blank[0]

        with replaced_forward(self.model, forward):
            pictures = self.generate([self.any_ask()])
        name, passes = type(self.pipe.scheduler).__name__, int(getattr(self.pipe.scheduler, "order", 1))
        plan = from_calls(times, batch[0][0], families.order(self.pipe), name, passes)
        return plan, batch[0][1:], (pictures.shape[1], pictures.shape[2])

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]
        """Height and width of its pictures in pixels."""
        return self._asked_size or self._rehearsed[2]

    def plan(self) -> Plan:
        return self._rehearsed[0]

    @torch.inference_mode()
    def generate(
        self,
        asks: Sequence[Ask],
        *,
        frames: Frames | None = None,
        steps: int | None = None,
        noise: Float[Tensor, "picture ..."] | None = None,
    ) -> Pictures:
        asked = self._arguments(asks, steps or self.steps)
        if noise is not None:
            if "latents" not in self._takes:
                raise HookError(f"{type(self.pipe).__name__} takes no noise of its caller's", "vary seeds instead")
            asked["latents"] = noise.to(self.device, self.model.dtype)
        if frames is not None:
            asked["callback_on_step_end"] = self._showing(frames)
        try:
            made = self.pipe(**asked)
        except IndexError as error:
            if asked["num_inference_steps"] != 1 or type(self.pipe).__name__ not in families.BY_ONE_GUESS:
                raise
            raise ConfigError(
                f"extractor.steps is 1, and of one step {type(self.pipe).__name__} takes the scheduler's guess at the "
                f"clean picture, which {type(self.pipe.scheduler).__name__} does not tell",
                "name one that does, extractor.scheduler: {class: DDIMScheduler} or LCMScheduler, or set steps: 2",
            ) from error
        return np.stack([np.asarray(one.convert("RGB"), dtype=np.uint8) for one in made.images])

    def look(self, asks: Sequence[Ask]) -> None:
        blank: list[Any] = []

        def call(*args: Any, **kwargs: Any) -> Any:
            if blank:
                return blank[0]
            found = self.model._call_impl(*args, **kwargs)
            blank.append(_zeros(found))
            return found

        # Two steps, for some pipelines treat one apart.
        with replaced_call(self.model, call):
            self.generate(asks, steps=2)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self._rehearsed[1]

    @torch.inference_mode()
    def latents(self, pictures: Float[Tensor, "picture 3 y x"]) -> Float[Tensor, "picture ..."]:
        sized = nn.functional.interpolate(pictures, self.size, mode="bilinear", antialias=True, align_corners=False)
        vae = getattr(self.pipe, "vae", None)
        if vae is None:
            return sized
        coded = vae.encode(sized.to(self.device, vae.dtype))
        clean = coded.latent_dist.mode() if hasattr(coded, "latent_dist") else coded.latent
        clean = (clean - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor
        pack = getattr(self.pipe, "_pack_latents", None)
        return clean if pack is None else pack(clean, *clean.shape)

    def denoise(self, asks: Sequence[Ask], noising: Noising) -> None:
        self._noised(asks, noising, lambda answer: None)

    def grid(self) -> tuple[int, int]:
        shape = self._rehearsed[1]
        if len(shape) == 3:
            return shape[1], shape[2]
        height, width = self.size
        tall = round((shape[0] * height / width) ** 0.5)
        return tall, shape[0] // max(tall, 1)

    def describe(self) -> dict[str, Any]:
        scheduler = {"class": type(self.pipe.scheduler).__name__, **dict(self.pipe.scheduler.config)}
        told = {key: str(value) for key, value in sorted(scheduler.items())}
        return super().describe() | {"pipeline": type(self.pipe).__name__, "scheduler": told, "call": self.call}

    def _noised(self, asks: Sequence[Ask], noising: Noising, answered: Callable[[Any], None]) -> None:
        """One generation in which the denoiser is given noised pictures in place of the pipeline's own, and answers
        nothing at times that are not wanted. Hooks see what it is given."""
        told, scheduler = inspect.signature(self.model.forward), self.pipe.scheduler
        blank: list[Any] = [None]

        def call(*args: Any, **kwargs: Any) -> Any:
            bound = told.bind(*args, **kwargs)
            time = torch.as_tensor(bound.arguments[self.time]).reshape(-1)[0]
            unwanted = noising.times is not None and not any(abs(float(time) - one) < 1e-4 for one in noising.times)
            if unwanted and blank[0] is not None:
                return blank[0]
            given = bound.arguments[self.picture]
            noised = _add_noise(scheduler, noising, time, given)
            bound.arguments[self.picture] = noised.repeat(len(given) // len(noised), *([1] * (given.ndim - 1)))
            # By name where it was by name, as hooks expect it.
            given_args = tuple(bound.arguments[name] for name in list(told.parameters)[: len(args)])
            found = self.model._call_impl(*given_args, **{name: bound.arguments[name] for name in kwargs})
            blank[0] = _zeros(found)
            answered(found)
            return found

        with replaced_call(self.model, call):
            self.generate(asks)

    def _arguments(self, asks: Sequence[Ask], steps: int) -> dict[str, Any]:
        asked: dict[str, Any] = {"num_inference_steps": steps, "output_type": "pil", **self.call}
        if "guidance_scale" in self._takes:
            asked.setdefault("guidance_scale", self.guidance)
        asked["generator"] = [torch.Generator().manual_seed(ask.seed) for ask in asks]
        if self.labelled:
            asked["class_labels"] = [self._label(ask) for ask in asks]
        elif "prompt" in self._takes:
            asked["prompt"] = [ask.text for ask in asks]
            if any(ask.negative is not None for ask in asks):
                asked["negative_prompt"] = [ask.negative or "" for ask in asks]
        else:
            asked["batch_size"] = len(asks)
        if self._asked_size is not None and "height" in self._takes:
            asked["height"], asked["width"] = self._asked_size
        return asked

    def _label(self, ask: Ask) -> int:
        """The number of the class that is asked for. Where nothing is, that of no class, which diffusers put last."""
        count = int(getattr(self.model.config, "num_embeds_ada_norm", None) or 0)
        if ask.label is not None:
            if count and not 0 <= ask.label < count:
                raise ConfigError(f"class label {ask.label} is asked for", f"the model knows labels 0 to {count - 1}")
            return ask.label
        if not ask.text and count:
            return count
        known = getattr(self.pipe, "labels", {})
        if ask.text not in known:
            raise ConfigError(
                f"the prompt {ask.text!r} names no class of {type(self.pipe).__name__}",
                "give the number of the class in the dataset's label column",
            )
        return int(known[ask.text])

    def _showing(self, frames: Frames) -> Callable[..., dict[str, Any]]:
        if "callback_on_step_end" not in self._takes:
            raise HookError(f"{type(self.pipe).__name__} does not tell its steps", "look at finished pictures alone")

        def tell(pipe: Any, step: int, time: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            frames(self._decoded(kwargs["latents"]))
            return {}

        return tell

    def _decoded(self, latents: Tensor) -> Pictures:
        vae, height_width = self.pipe.vae, self.size
        unpack = getattr(self.pipe, "_unpack_latents", None)
        if unpack is not None:
            latents = unpack(latents, *height_width, self.pipe.vae_scale_factor)
        latents = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
        decoded = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
        made = self.pipe.image_processor.postprocess(decoded, output_type="pil")
        return np.stack([np.asarray(one.convert("RGB"), dtype=np.uint8) for one in made])


_OURS = (
    *("prompt", "class_labels", "generator", "latents", "num_inference_steps", "num_images_per_prompt"),
    *("output_type", "return_dict", "callback_on_step_end"),
)


def _check(call: dict[str, Any], pipeline: str, takes: Any) -> None:
    """Raises ConfigError where a call names what a pipeline does not take (some swallow it), or what the config says
    elsewhere."""
    for name in call:
        if name in _OURS:
            raise ConfigError(
                f"extractor.call names {name!r}, which follows from the dataset and the other fields",
                "use extractor.steps, extractor.size, or the dataset's columns",
            )
        if name not in takes or name == "self":
            known = [one for one in takes if one not in (*_OURS, "self", "kwargs")]
            raise ConfigError(
                f"extractor.call names {name!r}, which {pipeline} does not take", did_you_mean(name, known)
            )


def _zeros(answer: Any) -> Any:
    """An answer of the same form in which nothing is said."""
    if isinstance(answer, Tensor):
        return torch.zeros_like(answer)
    if isinstance(answer, tuple):
        return tuple(_zeros(one) for one in answer)
    if hasattr(answer, "keys"):
        return type(answer)(**{key: _zeros(answer[key]) for key in answer.keys()})  # noqa: SIM118
    return answer


def _add_noise(scheduler: Any, noising: Noising, time: Tensor, given: Tensor) -> Tensor:
    """Noise as the scheduler adds it at the time that the denoiser is told, in the denoiser's scale."""
    clean, noise = noising.clean.to(given), noising.noise.to(given)
    known = scheduler.timesteps.to(given.device).float()
    at = known[(known - time.to(given.device).float()).abs().argmin()]
    if abs(float(at - time)) > 0.5:  # told in thousandths
        at = known[(known / 1000 - time.to(given.device).float()).abs().argmin()]
    times = at.to(scheduler.timesteps.dtype).reshape(1).expand(len(clean))
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(clean, times, noise).to(given.dtype)
    noised = scheduler.add_noise(clean, noise, times)
    if getattr(scheduler, "_step_index", None) is None:
        return scheduler.scale_model_input(noised, at).to(given.dtype)
    held = scheduler._step_index
    noised = scheduler.scale_model_input(noised, at)
    scheduler._step_index = held
    return noised.to(given.dtype)
