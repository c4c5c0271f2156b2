"""The world's denoisers, a U-Net with attention and a DiT of diffusers' own classes: made, drawn with, read again.

Both predict the noise in a 16 × 16 colour picture of a digit (Ho et al. 2020, cosine schedule of 1,000 times), told the
time and a class label: one of forty (a digit in an ink), or the number after them, which stands for no label.
"""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae_datasets.digits.pictures import LABELS, NULL, SIDE

KEY = "omnisae_diffusers"
"""Of a file's metadata: JSON with `class`, `config`, `scheduler` (`class`, `config`), `labels`, `null_label`, `steps`,
`guidance`."""
UNET: dict[str, Any] = {
    "sample_size": SIDE,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": [24, 48, 64],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 16,
    "norm_num_groups": 8,
    "num_class_embeds": NULL + 1,
}
DIT: dict[str, Any] = {
    "sample_size": SIDE,
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": 2,
    "num_layers": 4,
    "num_attention_heads": 6,
    "attention_head_dim": 16,
    "num_embeds_ada_norm": NULL,
    "norm_num_groups": 1,
}
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}
"""Drawing begins at time 999, which is noise alone (Lin et al. 2024): from 950, where a little of a picture shows
already, dark papers come out too light."""
STEPS, GUIDANCE = 10, 2.0
"""How pictures are drawn unless something else is asked for. Of 10, 20 and 50 steps ten draw best (docs/worlds.md)."""


def untrained(kind: str) -> nn.Module:
    """The denoiser `unet` or `dit`, as diffusers makes it."""
    from diffusers import DiTTransformer2DModel, UNet2DModel

    model: nn.Module = UNet2DModel(**UNET) if kind == "unet" else DiTTransformer2DModel(**DIT)
    return model


def scheduler() -> Any:
    """diffusers' DDIM (Song et al. 2021)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULER)


def noise_told(model: nn.Module, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
    """The model's answer: the noise in the pictures."""
    answer: Tensor = model(x, times, class_labels=labels).sample
    return answer


@torch.inference_mode()
def samples(
    model: nn.Module, labels: Int[Tensor, " picture"], seed: int, steps: int = STEPS, guidance: float = GUIDANCE
) -> Float[Tensor, "picture 3 y x"]:
    """Pictures of these class labels by DDIM with classifier-free guidance (Ho and Salimans 2022), −1 to 1."""
    plan = scheduler()
    plan.set_timesteps(steps)
    x = torch.randn((len(labels), 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    both = torch.cat([torch.full_like(labels, NULL), labels])
    for time in plan.timesteps:
        without, told = noise_told(model, torch.cat([x, x]), time.expand(2 * len(x)), both).chunk(2)
        x = plan.step(without + guidance * (told - without), time, x).prev_sample
    return x.clamp(-1, 1)


def described(model: nn.Module) -> dict[str, Any]:
    """What a file's metadata tells: all that diffusers needs to make the model and its scheduler anew, and how to draw
    with them. Every setting is told, so that other versions' defaults change nothing."""
    plan = scheduler()
    return {
        "class": type(model).__name__,
        "config": _settings(model.config),
        "scheduler": {"class": type(plan).__name__, "config": _settings(plan.config)},
        "labels": list(LABELS),
        "null_label": NULL,
        "steps": STEPS,
        "guidance": GUIDANCE,
    }


def load(path: Path) -> nn.Module:
    """The denoiser of a file, by its metadata alone, in eval mode and fp32."""
    import diffusers
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()[KEY])
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  no mapping
    model: nn.Module = getattr(diffusers, about["class"]).from_config(about["config"])
    model.load_state_dict(weights)
    return model.eval()


def _settings(config: Any) -> dict[str, Any]:
    """A diffusers object's settings, without what it notes for itself."""
    found: dict[str, Any] = json.loads(json.dumps({k: v for k, v in config.items() if not k.startswith("_")}))
    return found
