"""A step of an autoencoder whose latents two processes share against that of the whole."""

import torch
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.shard import WHOLE, Shard
from omnisae.config import AutoencoderConfig
from omnisae.testing.processes import together


def learns_the_same_divided(config: AutoencoderConfig, x: Tensor) -> None:
    """Fails where state or gradients after the start and one step differ. The processes are played by threads."""
    width = x.shape[1]

    def learn(shard: Shard, world: Group) -> dict[str, Tensor]:
        part = Autoencoder(config, width, 0, shard).double()
        part.initialise(x.double())
        part(x.double()).loss.backward()
        part.after_step(torch.ones(part.held.stop - part.held.start), len(x))
        found = part.state_dict() | {f"gradient of {name}": p.grad for name, p in part.named_parameters()}
        for name in found:
            if name.removeprefix("gradient of ") not in part.divided and found[name].is_floating_point():
                world.average(found[name])
        return found

    whole, parts = learn(WHOLE, ALONE), together(1, 2, learn)
    divided = Autoencoder(config, width, 0).divided
    for name, tensor in whole.items():
        rows = [part[name] for part in parts]
        found = torch.cat(rows) if name.removeprefix("gradient of ") in divided else rows[0]
        torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12, msg=f"{name} differs")
