"""Opening text files, gzipped or not, with an error that names them."""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from omnisae.errors import DatasetError, did_you_mean


@contextmanager
def opened(path: Path, field: str) -> Iterator[TextIO]:
    """The file's text. Raises DatasetError where it is missing, no gzip, truncated, or no UTF-8."""
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise DatasetError(f"{field}: there is no file {path}", near)
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8") as text:
                yield text
        else:
            with path.open(encoding="utf-8") as text:
                yield text
    except (EOFError, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path} is no whole gzip file: {error}", "fetch it again") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error}", "save it as UTF-8") from error


def ending(path: Path) -> str:
    """The ending without `.gz`: `.fasta`, `.tsv`, …"""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix
