"""The networks of a pipeline under one roof: what the paths of hook points begin at."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from omnisae.errors import HookError

DENOISERS = ("unet", "transformer", "denoiser", "prior")
"""What pipelines call the network that is run at every step, the first that they have."""


class Components(nn.Module):
    """A pipeline's networks by their names in it: `unet.mid_block`, `text_encoder.encoder.layers.8`. It is never called
    itself."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    @property
    def denoiser_name(self) -> str:
        """The name of the network that is run at every step, which may be `denoiser` itself. Raises HookError where
        there is none."""
        for name in DENOISERS:
            if name in self._modules:
                return name
        raise HookError(
            f"the pipeline has {', '.join(self._modules) or 'no network'}, and none that is known to remove noise",
            f"omnisae looks for {', '.join(DENOISERS)}",
        )


def of_pipeline(pipe: Any) -> Components:
    """The networks of a diffusers pipeline. A safety checker, which looks at finished pictures alone, stays outside."""
    modules = {
        name: part
        for name, part in pipe.components.items()
        if isinstance(part, nn.Module) and name not in ("safety_checker", "image_encoder")
    }
    refuse_bypassed(modules)
    return Components(modules)


def refuse_bypassed(modules: Mapping[str, nn.Module]) -> None:
    """Raises HookError where hooks on a network, or in it, would be bypassed: compiled, offloaded, or wrapped."""
    for name, network in modules.items():
        if type(network).__name__ == "OptimizedModule":
            raise _bypassed(name, "is compiled by torch.compile", "give the pipeline before compilation")
        for path, module in network.named_modules():
            where = f"{name}.{path}" if path else name
            replaced = vars(module).get("forward")
            if getattr(module, "_compiled_call_impl", None) is not None or hasattr(
                replaced, "_torchdynamo_orig_callable"
            ):
                raise _bypassed(where, "is compiled by torch.compile", "give the pipeline before compilation")
            if getattr(module, "_hf_hook", None) is not None:
                raise _bypassed(
                    where,
                    f"is offloaded by accelerate ({type(module._hf_hook).__name__})",
                    "call pipe.remove_all_hooks() and pipe.to(device), or load the pipeline without offloading",
                )
            if getattr(getattr(module, "_diffusers_hook", None), "hooks", None):
                held = ", ".join(module._diffusers_hook.hooks)  # type: ignore[union-attr]
                raise _bypassed(
                    where,
                    f"is wrapped by diffusers' own hooks ({held})",
                    "switch off group offloading, layer-wise casting and caching of this pipeline",
                )


def _bypassed(where: str, how: str, remedy: str) -> HookError:
    return HookError(f"{where!r} {how}: hooks on it would be bypassed, or see weights that are not there", remedy)
