"""A learner: one autoencoder with its optimiser, taken through one step at a time."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.autoencoder import Autoencoder, Batch
from omnisae.autoencoders.shard import WHOLE
from omnisae.config import TrainConfig
from omnisae.errors import TrainingError
from omnisae.training.gather import gather
from omnisae.training.jobs import Job
from omnisae.training.mesh import Mesh
from omnisae.training.randomness import own_randomness
from omnisae.training.schedule import adam

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Learner:
    """One job at work: its autoencoder, or the part of it that this process holds.

    Depends on its job's seed and the data alone, never on the jobs beside it; what several jobs would compute alike is
    computed once. `like` is another learner that has just started from the same sample and `shares` its batches.
    """

    def __init__(
        self,
        job: Job,
        sample: Float[Tensor, "token width"],
        mesh: Mesh,
        config: TrainConfig,
        like: "Learner | None" = None,
    ) -> None:
        self.job = job
        self._mesh, self._config = mesh, config
        with own_randomness(job.seed, -1, mesh.device):
            self.autoencoder = Autoencoder(job.config, sample.shape[1], job.seed, mesh.shard).to(mesh.device)
            self.autoencoder.initialise(sample, like.autoencoder if like else None)
        mesh.level(self.autoencoder)
        self.autoencoder.precision = config.precision
        self.autoencoder.train()
        self._optimiser = adam(self.autoencoder, config)

    @property
    def shares(self) -> str:
        """Learners of one hook point for which this is the same learn from the same prepared batch."""
        return shares(self.job)

    def prepare(self, x: Float[Tensor, "token width"]) -> Batch:
        """A batch of raw activations, ready for this learner and all that share it."""
        return self.autoencoder.prepare(x)

    def step(self, x: Float[Tensor, "token width"] | Batch, number: int, rate: float) -> dict[str, Tensor]:
        """One optimiser step on this process's tokens. Returns the step's scalars, still on the device."""
        with own_randomness(self.job.seed, number, self._mesh.device):
            out = self.autoencoder(x)
            out.loss.backward()
        with torch.no_grad():
            self._mesh.average(self.autoencoder)
            self.autoencoder.before_step()
            if self._config.clip is not None:
                self._mesh.clip(self.autoencoder, self._config.clip)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
            over_tokens = self._mesh.shard.over_tokens
            self.autoencoder.after_step(over_tokens.summed(out.fired), len(x) * over_tokens.size)
        terms = {f"term/{name}": term for name, term in out.terms.items()}
        return {"loss": out.loss, "l0": out.l0, "sse": out.sse, "sst": out.sst, **terms}

    def dead(self) -> Tensor:
        """The number of dead latents, held here or by other processes, still on the device."""
        return self._mesh.shard.over_latents.summed(self.autoencoder.dead().sum())

    def finished(self) -> Autoencoder | None:
        """The whole autoencoder on the host, ready for use. Where latents are divided, on the first process only: None
        on the others.
        """
        if not self._mesh.shard.divided:
            return self.autoencoder.cpu().eval()
        state = self._gathered(self._model())
        if not state:
            return None
        whole = Autoencoder(self.job.config, self.autoencoder.width, self.job.seed, WHOLE)
        whole.load_state_dict({name.removeprefix("model."): tensor for name, tensor in state.items()})
        return whole.eval()

    def whole(self) -> dict[str, Tensor]:
        """All of the state on the first process, where latents are divided; on others, nothing. All must call this."""
        return self._gathered(self.tensors())

    def rows(self, name: str) -> slice | None:
        """Which rows of a whole tensor of the state are this process's. None: the tensor is not divided."""
        return self.autoencoder.held if self._mesh.shard.divided and self._divided(name) else None

    def tensors(self) -> dict[str, Tensor]:
        """All of the state held here: weights and buffers as `model.<name>`, Adam's as `adam.<parameter>.<moment>`."""
        adam = {
            f"adam.{name}.{moment}": self._optimiser.state[parameter][moment]
            for name, parameter in self.autoencoder.named_parameters()
            if parameter in self._optimiser.state
            for moment in MOMENTS
        }
        return self._model() | adam

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a saved state, of divided tensors its `rows`. Raises TrainingError where it is of another shape."""
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

    def _model(self) -> dict[str, Tensor]:
        return {f"model.{name}": tensor.detach() for name, tensor in self.autoencoder.state_dict().items()}

    def _gathered(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return gather(tensors, self._divided, self.autoencoder.latents, self._mesh.shard)

    def _divided(self, name: str) -> bool:
        """Whether a tensor of the state has one row a latent."""
        kind, _, rest = name.partition(".")
        owner, _, moment = rest.rpartition(".")
        return (
            rest in self.autoencoder.divided
            if kind == "model"
            else (owner in self.autoencoder.divided and moment != MOMENTS[0])
        )


def shares(job: Job) -> str:
    """What decides how a batch is prepared for a job, beside its hook point."""
    return job.config.normaliser.model_dump_json()


def _like(saved: Tensor, parameter: nn.Parameter) -> Tensor:
    """A moment on the parameter's device and in its memory order, on which the last bit of a sum may depend."""
    if saved.shape != parameter.shape:
        return saved.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False, memory_format=torch.preserve_format).copy_(saved)
