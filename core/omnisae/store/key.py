"""Content keys: hashes that say whether two stages' inputs are the same. No torch here."""

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel


def content_key(obj: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of an object: keys sorted, no spaces, numbers as Python writes them.

    Knows pydantic models, mappings, sequences, sets, paths, numpy numbers and whatever JSON knows. Raises TypeError for
    anything else: a key that depends on an object's address would never match.
    """
    text = json.dumps(_plain(obj), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of what a file holds. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """SHA-256 (hex) of what a file holds, or of the names and contents of all files in a folder; "absent" where there
    is neither.
    """
    if path.is_file():
        return file_digest(path)
    if path.is_dir():
        held = sorted(one for one in path.rglob("*") if one.is_file())
        return content_key([[one.relative_to(path).as_posix(), digest(one)] for one in held])
    return "absent"


def _plain(obj: Any) -> Any:
    if obj is None or isinstance(obj, str | bool | int | float):
        return obj
    if isinstance(obj, BaseModel):
        return _plain(obj.model_dump(mode="json"))
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, bytes):
        return obj.hex()
    if isinstance(obj, Set):
        return sorted((_plain(item) for item in obj), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(obj, Sequence):
        return [_plain(item) for item in obj]
    if isinstance(obj, PurePath):
        return str(obj)
    if hasattr(obj, "tolist"):
        return _plain(obj.tolist())
    raise TypeError(f"a content key cannot be made of {type(obj).__name__}: give it plain values")
