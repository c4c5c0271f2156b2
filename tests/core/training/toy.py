"""A toy training: arrays as streams, small autoencoders, and a command that trains, or dies where it is told to.

python toy.py OUT [--die step:N | write:N] [--all | --only JOB,JOB]
python toy.py --serve    trains as each line of stdin says, in processes forked from this one: they need import nothing
"""

import atexit
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from omnisae.config import AutoencoderConfig, TrainConfig
from omnisae.store.source import TokenStream
from omnisae.training.jobs import Job

WIDTH, LATENTS, BATCH, STEPS = 16, 48, 32, 60
HOOKS = ("first", "second")


def activations(seed: int = 0, tokens: int = 2000) -> torch.Tensor:
    """Sparse sums of 32 fixed directions, off centre."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(32, WIDTH, generator=generator)
    strength = torch.rand(tokens, 32, generator=generator)
    return strength * (torch.rand(tokens, 32, generator=generator) < 0.1) @ directions + 0.5


class ArrayStream(TokenStream):
    """Random rows of an array; the position is the number of batches read."""

    def __init__(self, rows: torch.Tensor, batch: int = BATCH, seed: int = 0, name: str = "array") -> None:
        self.rows, self.batch, self.seed, self.name, self.read = rows, batch, seed, name, 0

    def next(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1000 * self.seed + self.read)
        self.read += 1
        return self.rows[torch.randint(len(self.rows), (self.batch,), generator=generator)]

    def state(self) -> dict[str, Any]:
        return {"read": self.read}

    def restore(self, state: dict[str, Any]) -> None:
        self.read = state["read"]

    def where(self) -> str:
        return f"{self.name}, batch {self.read - 1}"


def parts(type: str = "core.topk", **fields: Any) -> AutoencoderConfig:
    """A small autoencoder; dead-latent care starts within the toy training."""
    rule = {"type": type} | ({"k": 3} if "topk" in type else {"l0": 3.0} if "jump" in type else {})
    auxk = {"k": 8, "dead_after": 10 * BATCH} if "topk" in type else None
    return AutoencoderConfig.model_validate({"latents": LATENTS, "activation": rule, "auxk": auxk} | fields)


def toy_jobs() -> list[Job]:
    matryoshka = {"type": "core.matryoshka", "prefixes": [8, 24, 48]}
    return [
        Job("topk", "first", parts(), 0),
        Job("batchtopk", "first", parts("core.batchtopk", nesting=matryoshka), 1),
        Job("jumprelu", "second", parts("core.jumprelu"), 2),
    ]


def shared_jobs() -> list[Job]:
    """Jobs of which shares of a batch average to the whole: all but BatchTopK, which picks per share."""
    still = {"auxk": {"k": 0}}
    matryoshka = {"type": "core.matryoshka", "prefixes": [8, 24, 48]}
    return [
        Job("still", "first", parts(**still), 0),
        Job("nested", "first", parts(nesting=matryoshka, **still), 1),
        Job("relu", "second", parts("core.relu", penalties=[{"type": "core.l1", "weight": 0.01}]), 2),
        Job("revived", "second", parts(), 3),
        Job("jump", "second", parts("core.jumprelu"), 4),
    ]


def toy_config(**fields: Any) -> TrainConfig:
    made = {"tokens": BATCH * STEPS, "batch": BATCH, "log_every": 7, "checkpoint_every": 10, "accelerator": "cpu"}
    return TrainConfig.model_validate(made | fields)


def toy_streams() -> dict[str, TokenStream]:
    return {name: ArrayStream(activations(seed), seed=seed, name=name) for seed, name in enumerate(HOOKS)}


def toy_samples() -> dict[str, torch.Tensor]:
    return {name: activations(seed)[:500] for seed, name in enumerate(HOOKS)}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at_step(streams: dict[str, TokenStream], number: int) -> None:
    """Die when the second hook point's batch of this step is asked for: the first one's jobs have stepped already."""
    stream = streams["second"]
    read = stream.next
    stream.next = lambda: _die() if stream.read == number else read()  # type: ignore[method-assign]


def _die_at_write(number: int) -> None:
    """Die when so many files have been given their names: in the midst of a checkpoint."""
    replace, count = os.replace, 0

    def counted(*args: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            _die()
        replace(*args)

    os.replace = counted


def main() -> None:
    from omnisae.training.trainer import train

    torch.set_num_threads(1)
    out, streams = Path(sys.argv[1]), toy_streams()
    if "--die" in sys.argv:
        kind, _, number = sys.argv[sys.argv.index("--die") + 1].partition(":")
        _die_at_step(streams, int(number)) if kind == "step" else _die_at_write(int(number))
    jobs = shared_jobs() + toy_jobs() if {"--all", "--only"} & set(sys.argv) else toy_jobs()
    if "--only" in sys.argv:
        only = sys.argv[sys.argv.index("--only") + 1].split(",")
        jobs = [job for job in jobs if job.name in only]
    fields = {"devices": "TOY_DEVICES", "latent_shards": "TOY_LATENT_SHARDS"}
    config = toy_config(**{name: int(os.environ.get(variable, "1")) for name, variable in fields.items()})
    trained = train(jobs, streams, toy_samples(), config, out, key="toy", progress=False)
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":
        for name, autoencoder in trained.items():
            save_file({k: v.contiguous() for k, v in autoencoder.state_dict().items()}, out / f"{name}.safetensors")
        (out / "done.json").write_text(json.dumps(list(trained)))


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _forked(arguments: list[str], env: dict[str, str], said: str) -> int:
    """A process that trains, and writes to the file `said` what else goes to the terminal; its id."""
    child = os.fork()
    if child:
        return child
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ |= env
    sys.argv[1:] = arguments
    main()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking the interpreter down takes longer than the training


def _together(children: list[int]) -> int:
    """The exit status of processes that end together: where one fails, the others are killed, as torchrun does."""
    status, left = 0, set(children)
    while left:
        ended, told = os.wait()
        left.discard(ended)
        if told and not status:
            status = os.waitstatus_to_exitcode(told)
            for other in left:
                os.kill(other, signal.SIGKILL)
    return status


def serve() -> None:
    import omnisae.training.trainer  # noqa: F401 - half of what every training imports
    from omnisae.training import launch

    with launch._version_only("torchmetrics"):
        import lightning_fabric  # noqa: F401 - the other half
    for line in sys.stdin:
        arguments, env, said, processes = json.loads(line)
        shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "TORCHELASTIC_RUN_ID": "none"}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        ranks = [{"RANK": str(i), "LOCAL_RANK": str(i), "GROUP_RANK": "0"} | shared for i in range(processes)]
        envs = [env] if processes == 1 else [env | rank for rank in ranks]
        print(_together([_forked(arguments, each, said) for each in envs]), flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
