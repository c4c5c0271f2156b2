"""Fingerprints: a hash by which an artifact knows the model it was trained on."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn


def fingerprint(model: nn.Module, extra: Any = None) -> str:
    """The sha256 (hex) of a model's state: names, shapes, dtypes and bytes, in the order of the names.

    The device does not count, nor do buffers that are not saved. `extra` is JSON that counts as well, such as how the
    input is prepared.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            head = [name, list(value.shape), str(value.dtype)]
            digest.update(json.dumps(head).encode())
            flat = value.detach().to("cpu").contiguous().reshape(-1)
            if flat.numel():
                digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(json.dumps([name, type(value).__name__, repr(value)]).encode())
    if extra is not None:
        digest.update(json.dumps(extra, sort_keys=True, default=str).encode())
    return digest.hexdigest()
