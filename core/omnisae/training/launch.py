"""Starting: one process, or several that train together, each with its device. No torch until training starts."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

from omnisae.config import TrainConfig
from omnisae.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from omnisae.training.mesh import Mesh


def start(config: TrainConfig) -> "Mesh":
    """The processes of `torchrun`, else one for each of `devices` devices of this machine, and the place of this one.

    More than one device without `torchrun` starts the same command again once a device, by Lightning Fabric's launcher.
    Raises ConfigError where the accelerator is not there, or processes, latents or the batch do not divide.
    """
    from omnisae.training.memory import keep_freed_memory

    keep_freed_memory()
    fabric = _fabric(config)
    _check(config, fabric.world_size)
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(_leave)
    return _mesh(fabric, config.latent_shards)


def _leave() -> None:
    """Part from the other processes before the interpreter is taken down: groups that are still open then may abort the
    process, because their threads run on.
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def _version_only(name: str) -> Iterator[None]:
    """Within, importing an installed package that is not yet imported gives a module of its version alone.

    Fabric imports torchmetrics to look at its version. That takes torchvision and transformers along, where they are
    installed: two seconds of processor time in every process that trains.
    """
    try:
        stand_in = ModuleType(name)
        stand_in.__version__ = version(name)  # type: ignore[attr-defined]
    except PackageNotFoundError:
        yield
        return
    found = sys.modules.setdefault(name, stand_in)
    try:
        yield
    finally:
        if found is stand_in:
            del sys.modules[name]


def _fabric(config: TrainConfig) -> "Fabric":
    with _version_only("torchmetrics"):
        from lightning_fabric import Fabric

    devices, nodes = _world(config)
    strategy = "auto" if devices * nodes == 1 else "ddp"  # for starting alone: the mesh averages gradients itself
    try:
        return Fabric(accelerator=config.accelerator, devices=devices, num_nodes=nodes, strategy=strategy)
    except Exception as error:  # Fabric has several kinds of its own for "not on this machine"
        raise ConfigError(
            f"train.accelerator {config.accelerator!r} with {devices} device(s) is not to be had here: {error}",
            "set train.accelerator to auto or cpu, or train.devices to what the machine has",
        ) from error


def _check(config: TrainConfig, world: int) -> None:
    shards = config.latent_shards
    if world % shards:
        raise ConfigError(
            f"train.latent_shards {shards}: {world} process{'es' if world > 1 else ''} cannot be arranged in groups of "
            f"{shards}",
            f"start a multiple of {shards} processes (train.devices, or torchrun --nproc-per-node), or lower "
            f"train.latent_shards",
        )
    data = world // shards
    if config.batch % data:
        raise ConfigError(
            f"train.batch {config.batch} does not divide among {data} processes"
            + (f" ({world} / train.latent_shards {shards})" if shards > 1 else ""),
            f"make it a multiple of {data}",
        )


def _mesh(fabric: "Fabric", shards: int) -> "Mesh":
    """Neighbouring processes hold the latents of one autoencoder: they talk most, and are likely on one machine."""
    from torch.distributed.device_mesh import init_device_mesh

    from omnisae.autoencoders.group import Group
    from omnisae.autoencoders.shard import Shard
    from omnisae.training.mesh import Mesh

    world = fabric.world_size
    if world == 1:
        return Mesh(fabric.device)
    mesh = init_device_mesh(fabric.device.type, (world // shards, shards), mesh_dim_names=("data", "latents"))
    over_tokens, over_latents = (
        Group(mesh.size(dimension), mesh.get_local_rank(dimension), mesh.get_group(dimension)) for dimension in (0, 1)
    )
    return Mesh(fabric.device, Group(world, fabric.global_rank), Shard(over_latents, over_tokens))


def _world(config: TrainConfig) -> tuple[int, int]:
    """Devices on this machine and number of machines."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    return config.devices, 1
