"""A bare denoiser's schedule: diffusers' scheduler, asked as the pipeline of the denoiser's class would ask it."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

Latents = Float[Tensor, "picture ..."]


@dataclass(frozen=True)
class Schedule:
    """The times of a generation and what noise they stand for, of schedulers that add noise and of those along which it
    flows (rectified flow).

    `per`: the denoiser is told times divided by this. `tokens`: patches of a picture, by which some schedulers shift
    their times. `even`: noise levels begin at 1 and are evenly spaced before such a shift, as Flux's pipelines ask for.
    """

    scheduler: Any
    per: float = 1.0
    tokens: int | None = None
    even: bool = False

    def start(self, steps: int) -> None:
        """Begin a generation of so many steps."""
        takes, config = inspect.signature(self.scheduler.set_timesteps).parameters, self.scheduler.config
        asked: dict[str, Any] = {}
        if self.even and "sigmas" in takes and not config.get("use_flow_sigmas"):
            asked["sigmas"] = np.linspace(1.0, 1 / steps, steps)
        if self.tokens is not None and "mu" in takes and config.get("use_dynamic_shifting"):
            asked["mu"] = self._shift(self.tokens)
        self.scheduler.set_timesteps(steps, **asked)

    def times(self) -> Iterator[Tensor]:
        """The scheduler's times, from noise to picture."""
        yield from self.scheduler.timesteps

    def told(self, time: Tensor) -> float:
        """What the denoiser is told of a time."""
        return float(time) / self.per

    def seen(self, x: Latents, time: Tensor) -> Latents:
        """Noisy pictures in the scale in which the denoiser sees them."""
        scale = getattr(self.scheduler, "scale_model_input", None)
        return x if scale is None else scale(x, time)

    def noised(self, clean: Latents, noise: Latents, time: Tensor) -> Latents:
        """Pictures with the noise of a time, as the denoiser sees them."""
        times = time.reshape(1).expand(len(clean))
        if self.flows:
            flown: Tensor = self.scheduler.scale_noise(clean, times, noise)
            return flown
        return self.seen(self.scheduler.add_noise(clean, noise, times), time)

    def wanted(self, clean: Latents, noise: Latents, time: Tensor) -> Latents | None:
        """What the denoiser is asked for of noised pictures: the noise, the velocity (Salimans & Ho 2022; of a flow
        noise − picture, Liu et al. 2022), or the clean picture. None where the scheduler does not say."""
        kind = "flow" if self.flows else self.scheduler.config.get("prediction_type", "epsilon")
        if kind == "v_prediction" and hasattr(self.scheduler, "get_velocity"):
            velocity: Tensor = self.scheduler.get_velocity(clean, noise, time.reshape(1).expand(len(clean)))
            return velocity
        return {"flow": noise - clean, "epsilon": noise, "sample": clean}.get(kind)

    @property
    def flows(self) -> bool:
        """Whether noise flows along straight lines, x = (1 − σ) · picture + σ · noise."""
        return hasattr(self.scheduler, "scale_noise")

    def _shift(self, tokens: int) -> float:
        """The shift of times by the picture's size: linear in its tokens (diffusers' `calculate_shift`)."""
        get = self.scheduler.config.get
        first, last = get("base_image_seq_len", 256), get("max_image_seq_len", 4096)
        low, high = get("base_shift", 0.5), get("max_shift", 1.15)
        return float(low + (tokens - first) * (high - low) / (last - first))
