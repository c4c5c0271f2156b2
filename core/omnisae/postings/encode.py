"""Encoding: the tokens of the SELECT and TEST examples through an artifact, into posting lists."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from omnisae.errors import DatasetError
from omnisae.extract.split import NAMES, SELECT, TEST
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.store.source import TokenSource
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.autoencoders.artifact import Artifact


def encode(
    artifact: "Artifact",
    source: TokenSource,
    split: UInt8[np.ndarray, " example"],
    out: Path,
    *,
    batch: int = 4096,
) -> Postings:
    """Encode the tokens of SELECT examples that the artifact's `select` filter keeps, and those of TEST examples that
    its `evaluate` filter keeps.

    Examples that trained the artifact are left out: they never choose nor judge. The inference rule of the artifact is
    used throughout; where its codes are signed, so are the posting lists. Writes these and health.json to the folder
    `out`, or leaves what was there.
    Raises DatasetError where a side gave no token.
    """
    keep, keep_select = artifact.info.tokens.evaluate, artifact.info.tokens.select
    either = TokenFilter(roles=tuple(dict.fromkeys(keep.roles + keep_select.roles)))
    device = _device(artifact)
    test = Reconstruction()
    about = {"source": source.fingerprint(), "parent": artifact.info.parent, "dataset": artifact.info.dataset}
    latents, signed = artifact.autoencoder.latents, artifact.signed
    seen = np.zeros(len(NAMES), dtype=np.int64)
    writer = PostingsWriter(out, source.hook, keep, latents, split, about, keep_select, signed=signed)
    with writer, torch.inference_mode():
        for found in source.sequential(either, np.isin(split, (SELECT, TEST)), batch):
            tokens = _kept(found, split, source.hook.roles, {SELECT: keep_select, TEST: keep})
            if len(tokens) == 0:
                continue
            x = tokens.values.to(device)
            codes = artifact.encode(x)
            example = _numpy(tokens.example)
            offsets = _numpy(codes.offsets)
            writer.append(
                example,
                _numpy(tokens.coords),
                _numpy(tokens.role),
                offsets,
                _numpy(codes.latents),
                _numpy(codes.values),
            )
            seen += np.bincount(split[example], minlength=len(NAMES))
            judged = split[example] == TEST
            if judged.any():
                # Columns were told, not explained: their spread would drown that of the activations.
                own = slice(source.hook.own_width)
                given, decoded = _numpy(tokens.values)[judged, own], _numpy(artifact.decode(codes))[judged, own]
                test.add(given, decoded, int(np.diff(offsets)[judged].sum()))
        for side in (SELECT, TEST):
            if seen[side] == 0:
                raise DatasetError(
                    f"the {NAMES[side]} examples gave no token",
                    "add examples, or let more tokens through (tokens.evaluate in the config)",
                )
        return writer.finish(health(test, writer.counts, int(seen.sum()), writer.poles))


def _kept(
    tokens: TokenBatch, split: UInt8[np.ndarray, " example"], roles: tuple[str, ...], keep: dict[int, TokenFilter]
) -> TokenBatch:
    """The tokens that their side's filter keeps."""
    side = torch.from_numpy(split[_numpy(tokens.example)])
    masks = {s: one.keep(tokens.example, tokens.coords, tokens.role, roles) for s, one in keep.items()}
    return tokens.take(torch.stack([(side == s) & mask for s, mask in masks.items()]).any(dim=0))


def _device(artifact: "Artifact") -> torch.device:
    return next((parameter.device for parameter in artifact.autoencoder.parameters()), torch.device("cpu"))


def _numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().to("cpu").numpy()
    return array
