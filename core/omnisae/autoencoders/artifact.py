"""Artifacts: a trained autoencoder on disk, with all that is needed to use it rightly."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnisae.atomic import replacing, write_json
from omnisae.autoencoders.about import (
    ABOUT,
    WEIGHTS,
    About,
    ArtifactInfo,
    Built,
    Golden,
    Weights,
    describe,
    folder_of,
    read,
    schema_of,
)
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.golden import TOLERANCE, choose, deviation
from omnisae.config import AutoencoderConfig
from omnisae.errors import ArtifactError
from omnisae.plugins.kinds import ActivationConfig, DecoderConfig, NestingConfig, NormaliserConfig, PenaltyConfig
from omnisae.plugins.registry import registry
from omnisae.store.key import file_digest

__all__ = ["Artifact", "ArtifactInfo", "annotate", "describe", "save"]

STRAY = 10.0
"""How many times the squared norms seen in training a batch's median may exceed or fall short of."""
ENOUGH = 16
"""Tokens a batch needs before its norms are judged: one odd token proves nothing."""


def save(
    path: Path,
    autoencoder: Autoencoder,
    about: ArtifactInfo,
    *,
    sample: Float[Tensor, "token width"] | None = None,
    statistics: Mapping[str, Float[Tensor, " latent"]] | None = None,
) -> None:
    """Write `sae.safetensors` and `sae.json` into the folder `path`.

    `sample` are raw activations from which the golden tokens are chosen (None: the specimens kept since `initialise`);
    `statistics` are numbers per latent such as `max`, `mean`, `frequency`. `sae.json` is written last: without it
    there is no artifact.
    """
    folder = folder_of(path)
    golden = choose(autoencoder, autoencoder.specimen if sample is None else sample)
    tensors = {f"model.{name}": tensor for name, tensor in autoencoder.fused_state().items()}
    tensors |= {f"golden.{name}": tensor for name, tensor in golden.items()}
    tensors |= {
        f"statistics.{name}": _per_latent(name, t, autoencoder.latents) for name, t in (statistics or {}).items()
    }
    span = [float(end) for end in autoencoder.span]
    written = About(
        version=schema_of(about.hook),
        weights=_write(folder / WEIGHTS, tensors),
        autoencoder=Built(
            width=autoencoder.width,
            latents=autoencoder.latents,
            seed=autoencoder.seed,
            config=autoencoder.config.model_dump(mode="json", serialize_as_any=True),
        ),
        rule=autoencoder.activation.rule(),
        squared_norm=(span[0], span[1]) if span[1] < float("inf") else None,
        golden=Golden(tokens=len(golden["input"]), tolerance=TOLERANCE),
        statistics=tuple(sorted(statistics or {})),
        info=about,
        written_by={"omnisae": _version(), "torch": torch.__version__},
    )
    write_json(folder / ABOUT, written.model_dump(mode="json", by_alias=True))


def annotate(path: Path, statistics: Mapping[str, Float[Tensor, " latent"]]) -> None:
    """Add numbers per latent to an artifact on disk, in place of those of the same name."""
    folder, about = folder_of(path), read(path)
    tensors = _read(folder, about, verify=True)
    tensors |= {f"statistics.{n}": _per_latent(n, t, about.autoencoder.latents) for n, t in statistics.items()}
    names = tuple(sorted(name.removeprefix("statistics.") for name in tensors if name.startswith("statistics.")))
    changed = about.model_copy(update={"weights": _write(folder / WEIGHTS, tensors), "statistics": names})
    write_json(folder / ABOUT, changed.model_dump(mode="json", by_alias=True))


class Artifact:
    """A trained autoencoder that knows where it belongs: `info` names hook point, filters, model and data;
    `statistics` are numbers per latent, by name."""

    def __init__(
        self, autoencoder: Autoencoder, info: ArtifactInfo, statistics: Mapping[str, Tensor], path: Path
    ) -> None:
        self.autoencoder, self.info, self.statistics, self.path = autoencoder, info, dict(statistics), path

    @classmethod
    def load(cls, path: Path | str, verify: bool = True) -> Self:
        """Read an artifact. `verify` compares the weights' checksum and runs the golden pair.

        Raises ArtifactError where it is missing, damaged, of a newer schema, or computes other codes than when it was
        saved; PluginError where a part of it belongs to a plug-in that is not installed.
        """
        folder, about = folder_of(path), read(path)
        tensors = _read(folder, about, verify)
        autoencoder = Autoencoder(_config(about, folder), about.autoencoder.width, about.autoencoder.seed, fused=True)
        try:
            autoencoder.load_state_dict(_named(tensors, "model."))
        except RuntimeError as error:
            raise ArtifactError(
                f"{folder / WEIGHTS} does not hold the tensors of its config: {error}", "save the artifact again"
            ) from None
        autoencoder.eval().requires_grad_(False)
        if verify:
            _check_golden(autoencoder, _named(tensors, "golden."), about.golden.tolerance, folder)
        return cls(autoencoder, about.info, _named(tensors, "statistics."), folder)

    @property
    def signed(self) -> bool:
        """Whether its codes may be negative."""
        return self.autoencoder.activation.signed

    def encode(self, x: Float[Tensor, "token width"], check: bool = True) -> Codes:
        """The codes of raw activations of this artifact's hook point, as the model gives them (not normalised).

        Raises ArtifactError on another width, and, unless `check` is off, where the median squared norm of at least
        sixteen normalised tokens lies ten times outside what training saw: then the input was normalised elsewhere,
        or comes from another layer.
        """
        if x.ndim != 2 or x.shape[1] != self.autoencoder.width:
            raise ArtifactError(
                f"activations of shape {tuple(x.shape)} given; this artifact encodes rows of width "
                f"{self.autoencoder.width}, from hook point {self.info.hook.name!r} ({self._place()})",
                "give token rows (token, width) read at that hook point of the model it was trained on",
            )
        if check and len(x) >= ENOUGH:
            self._check_scale(x)
        return self.autoencoder.encode(x)

    def decode(self, codes: Codes) -> Float[Tensor, "token width"]:
        """Raw activations from codes. Raises ArtifactError where the codes are of another number of latents."""
        return self.autoencoder.decode(codes)

    @torch.no_grad()
    def _check_scale(self, x: Tensor) -> None:
        normal, _ = self.autoencoder.normaliser(x.to(self.autoencoder.decoder))
        median = float(normal.square().sum(1).median())
        low, high = (float(end) for end in self.autoencoder.span)
        if not low / STRAY <= median <= high * STRAY:
            raise ArtifactError(
                f"after normalising, the median squared norm of {len(x)} tokens is {median:.4g}; in training it lay "
                f"between {low:.4g} and {high:.4g} (hook point {self.info.hook.name!r}, {self._place()})",
                "give raw activations of that hook point: the artifact normalises them itself; encode(x, check=False) "
                "encodes them all the same",
            )

    def _place(self) -> str:
        return f"{self.info.hook.view} of {', '.join(self.info.hook.at) or 'the model'}"


def _config(about: About, folder: Path) -> AutoencoderConfig:
    raw = about.autoencoder.config
    # Looked up one by one first, so that a missing plug-in is told as such and not as a field that does not validate.
    parts: list[tuple[type[Any], Any]] = [
        (ActivationConfig, raw.get("activation")),
        (DecoderConfig, raw.get("decoder")),
        (NestingConfig, raw.get("nesting")),
        (NormaliserConfig, raw.get("normaliser")),
        *((PenaltyConfig, penalty) for penalty in raw.get("penalties", ())),
    ]
    for base, part in parts:
        if part is not None:
            registry().find(base, part)
    try:
        return AutoencoderConfig.model_validate(raw)
    except ValidationError as error:
        raise ArtifactError(
            f"{folder / ABOUT}: its autoencoder does not fit the installed parts: {error}",
            "install the versions named under written_by",
        ) from None


def _write(file: Path, tensors: Mapping[str, Tensor]) -> Weights:
    # safetensors wants each tensor whole and on its own memory.
    own = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    with replacing(file) as temporary:
        save_file(own, temporary)
        return Weights(sha256=file_digest(temporary), bytes=temporary.stat().st_size)


def _read(folder: Path, about: About, verify: bool) -> dict[str, Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        raise ArtifactError(f"{file} is missing", "copy the artifact again: both of its files are needed")
    size = file.stat().st_size
    if size != about.weights.bytes:
        how = "truncated" if size < about.weights.bytes else "altered"
        raise ArtifactError(
            f"{file} is {how}: it has {size:,} bytes, and {ABOUT} says {about.weights.bytes:,}",
            "copy the artifact again",
        )
    if verify and (digest := file_digest(file)) != about.weights.sha256:
        raise ArtifactError(
            f"{file} is altered: its sha256 is {digest[:16]}…, and {ABOUT} says {about.weights.sha256[:16]}…",
            "copy the artifact again, or train it again",
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ArtifactError(f"{file} cannot be read: {error}", "copy the artifact again") from None


def _check_golden(autoencoder: Autoencoder, golden: dict[str, Tensor], tolerance: float, folder: Path) -> None:
    found = deviation(autoencoder, golden)
    if not found <= tolerance:
        raise ArtifactError(
            f"{folder}: its golden tokens now get other codes than when it was saved (largest deviation {found:.3g} of "
            f"the largest value, allowed {tolerance:g})",
            "the installed parts compute something else: install the versions named under written_by in sae.json",
        )


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _per_latent(name: str, tensor: Tensor, latents: int) -> Tensor:
    if tensor.shape != (latents,):
        raise ArtifactError(
            f"statistic {name!r} has shape {tuple(tensor.shape)}; the autoencoder has {latents} latents",
            "give one number for each latent",
        )
    return tensor


def _version() -> str:
    try:
        return version("omnisae")
    except PackageNotFoundError:
        return "unknown"
