"""Reading DICOM without letting its values out: into warnings, logs or error texts."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block pydicom checks no values, and what it or a decoder warns of or logs goes nowhere.

    Such messages quote the file's values, which may name a person.
    """
    from pydicom import config

    log = logging.getLogger("pydicom")
    before, level, spread = config.settings.reading_validation_mode, log.level, log.propagate
    config.settings.reading_validation_mode = config.IGNORE
    log.setLevel(logging.CRITICAL + 1)
    log.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = before
        log.setLevel(level)
        log.propagate = spread
