"""Starting: Lightning Fabric on one device, or DDP over several processes. No torch until training starts."""

import os
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

from omnisae.config import TrainConfig
from omnisae.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor


def start(config: TrainConfig) -> "Fabric":
    """Fabric, launched: under `torchrun` over its processes, else over `devices` devices of this machine.

    More than one device without `torchrun` starts the same command again once a device, by Fabric's own launcher.
    Raises ConfigError where the accelerator is not there or the batch cannot be shared out evenly.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    from omnisae.training.precision import precision

    devices, nodes = _world(config)
    alone = devices * nodes == 1
    ddp = DDPStrategy(gradient_as_bucket_view=True, **_buffers_stay())
    plugin = precision(config.precision)
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if alone else ddp,
            plugins=[plugin],
        )
    except Exception as error:  # Fabric has several kinds of its own for "not on this machine"
        raise ConfigError(
            f"train.accelerator {config.accelerator!r} with {devices} device(s) is not to be had here: {error}",
            "set train.accelerator to auto or cpu, or train.devices to what the machine has",
        ) from error
    plugin.device = fabric.device.type
    if config.batch % fabric.world_size:
        raise ConfigError(
            f"train.batch {config.batch} does not divide among {fabric.world_size} processes",
            f"make it a multiple of {fabric.world_size}",
        )
    fabric.launch()
    return fabric


def _buffers_stay() -> dict[str, Any]:
    """DDP's option to leave buffers alone: the trainer gives all processes the same counts, so they stay equal."""
    from torch.nn.parallel import DistributedDataParallel

    known = signature(DistributedDataParallel.__init__).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


def total(tensor: "Tensor", fabric: "Fabric") -> "Tensor":
    """The sum of a tensor over all processes."""
    return cast("Tensor", fabric.all_reduce(tensor, reduce_op="sum"))


def mean(tensor: "Tensor", fabric: "Fabric") -> "Tensor":
    """The mean of a tensor over all processes."""
    return cast("Tensor", fabric.all_reduce(tensor, reduce_op="mean"))


def _world(config: TrainConfig) -> tuple[int, int]:
    """Devices on this machine and number of machines."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    return config.devices, 1
