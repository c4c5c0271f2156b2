"""A learner: one autoencoder with its optimiser, taken through one step at a time."""

from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import TrainConfig
from omnisae.errors import TrainingError
from omnisae.training import launch
from omnisae.training.jobs import Job
from omnisae.training.randomness import own_randomness
from omnisae.training.schedule import adam

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Learner:
    """One job at work. Depends on its job's seed and the data alone, never on the jobs beside it."""

    def __init__(self, job: Job, sample: Float[Tensor, "token width"], fabric: "Fabric", config: TrainConfig) -> None:
        self.job = job
        self._fabric, self._config = fabric, config
        with own_randomness(job.seed, -1, fabric.device):
            self.autoencoder = Autoencoder(job.config, sample.shape[1], job.seed).to(fabric.device)
            self.autoencoder.initialise(sample)
        self.autoencoder.train()
        self._optimiser = adam(self.autoencoder, config)
        self._module = fabric.setup_module(_Training(self.autoencoder))

    def step(self, x: Float[Tensor, "token width"], number: int, rate: float) -> dict[str, Tensor]:
        """One optimiser step on this process's tokens. Returns the step's scalars, still on the device."""
        with own_randomness(self.job.seed, number, x.device):
            out = self._forward(x)
            self._fabric.backward(out["loss"])
        with torch.no_grad():
            self.autoencoder.before_step()
            if self._config.clip is not None:
                # not Fabric's clipping: that one waits for the device in every step, to raise on NaN
                nn.utils.clip_grad_norm_(self.autoencoder.parameters(), self._config.clip)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
            fired = launch.total(out["fired"], self._fabric)
            self.autoencoder.after_step(fired, x.shape[0] * self._fabric.world_size)
        terms = {f"term/{name}": term for name, term in out["terms"].items()}
        return {"loss": out["loss"], "l0": out["l0"], "sse": out["sse"], "sst": out["sst"], **terms}

    def _forward(self, x: Tensor) -> dict[str, Any]:
        try:
            return cast(dict[str, Any], self._module(x))
        except RuntimeError as error:
            if "finished reduction" not in str(error):
                raise
            raise TrainingError(
                f"a parameter of autoencoder {self.job.name!r} got no gradient in the last step, which processes that "
                f"train together cannot average: {error}",
                "let every parameter of a part enter the loss in every step, weighted by zero where it has no effect",
            ) from error

    def dead(self) -> Tensor:
        """The number of dead latents, still on the device."""
        return self.autoencoder.dead().sum()

    def tensors(self) -> dict[str, Tensor]:
        """All of the state: weights and buffers as `model.<name>`, Adam's as `adam.<parameter>.<moment>`."""
        model = {f"model.{name}": tensor.detach() for name, tensor in self.autoencoder.state_dict().items()}
        adam = {
            f"adam.{name}.{moment}": self._optimiser.state[parameter][moment]
            for name, parameter in self.autoencoder.named_parameters()
            if parameter in self._optimiser.state
            for moment in MOMENTS
        }
        return model | adam

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a saved state. Raises TrainingError where it is of another shape."""
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        try:
            self.autoencoder.load_state_dict(model)
        except RuntimeError as error:
            raise TrainingError(
                f"the checkpoint of autoencoder {self.job.name!r} does not fit it: {error}",
                "remove the checkpoint folder to start this training anew",
            ) from error
        for name, parameter in self.autoencoder.named_parameters():
            if f"adam.{name}.step" in tensors:
                self._optimiser.state[parameter] = {
                    moment: _like(tensors[f"adam.{name}.{moment}"], parameter) for moment in MOMENTS
                }


class _Training(nn.Module):
    """The training step as a module of plain tensors, which DDP and Fabric know how to take apart."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, x: Tensor) -> dict[str, Any]:
        step = self.autoencoder(x)
        return {
            "loss": step.loss,
            "terms": step.terms,
            "fired": step.fired,
            "l0": step.l0,
            "sse": step.sse,
            "sst": step.sst,
        }


def _like(saved: Tensor, parameter: nn.Parameter) -> Tensor:
    """A moment on the parameter's device and in its memory order, on which the last bit of a sum may depend."""
    if saved.shape != parameter.shape:
        return saved.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False, memory_format=torch.preserve_format).copy_(saved)
