"""What is read of a DICOM header: how its pixels are stored and shown, and which breast they show. Nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnisae.errors import DatasetError, UnreadableExample
from omnisae_mammography.quiet import quiet

TAGS = (
    "SpecificCharacterSet", "Rows", "Columns", "PhotometricInterpretation", "NumberOfFrames", "SamplesPerPixel",
    "ImageLaterality", "Laterality", "ViewPosition", "PatientOrientation", "Manufacturer", "ManufacturerModelName",
    "BurnedInAnnotation", "BreastImplantPresent", "PatientID", "StudyInstanceUID",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """Facts of one file. `patient`, `exam` and `maker` are the file's own words: they never leave the dataset."""

    shape: tuple[int, int]
    laterality: str = ""
    view: str = ""
    chest: str = ""
    """The side on which the chest wall lies as stored: left, right, or unknown."""
    patient: str = ""
    exam: str = ""
    maker: str = ""
    burned_in: str = ""
    implant: str = ""


def read(path: Path, name: str) -> Header:
    """The header of a file, without its pixels; `name` is what errors call the picture.

    Raises UnreadableExample where it is no mammogram that can be read, DatasetError where its pixels need a decoder
    that is not installed (naming the package).
    """
    import pydicom

    try:
        with quiet():
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS), force=False)
            syntax = ds.file_meta.TransferSyntaxUID
            found = _facts(ds)
            frames, samples = int(ds.get("NumberOfFrames") or 1), int(ds.get("SamplesPerPixel") or 1)
    except UnreadableExample:
        raise
    except Exception as error:
        raise unreadable(name, error) from None
    if frames != 1 or samples != 1:
        kind = f"{frames} frames" if frames != 1 else f"{samples} samples a pixel"
        raise UnreadableExample(f"{name} has {kind}; a mammogram has one frame of grey", "leave out tomosynthesis")
    _check_decoder(syntax, name)
    return found


def unreadable(name: str, error: Exception) -> UnreadableExample:
    """An error that says what kind of thing went wrong and quotes nothing of the file."""
    why = {
        "InvalidDicomError": "it is no DICOM file",
        "EOFError": "it is cut off",
        "BytesLengthException": "it is cut off or damaged",
        "FileNotFoundError": "it is gone",
        "PermissionError": "it may not be read",
    }.get(type(error).__name__, f"its data is damaged or cut off ({type(error).__name__})")
    return UnreadableExample(
        f"{name} cannot be read: {why}",
        "mend or remove the file; `python -m omnisae_mammography ROOT NAME` tells which it is",
    )


def _facts(ds: Any) -> Header:
    laterality = _word(ds, "ImageLaterality") or _word(ds, "Laterality")
    laterality = laterality if laterality in ("L", "R") else ""
    return Header(
        shape=(int(ds.Rows), int(ds.Columns)),
        laterality=laterality,
        view=_word(ds, "ViewPosition"),
        chest=_chest(ds),
        patient=str(ds.get("PatientID") or ""),
        exam=str(ds.get("StudyInstanceUID") or ""),
        maker=f"{ds.get('Manufacturer') or ''}\n{ds.get('ManufacturerModelName') or ''}".strip().lower(),
        burned_in=_answer(ds, "BurnedInAnnotation"),
        implant=_answer(ds, "BreastImplantPresent"),
    )


def _word(ds: Any, name: str) -> str:
    return str(ds.get(name) or "").strip().upper()


def _answer(ds: Any, name: str) -> str:
    return {"YES": "yes", "NO": "no"}.get(_word(ds, name), "")


def _chest(ds: Any) -> str:
    """Rows that run towards the front begin at the chest wall (DICOM PS3.3, C.7.6.1.1.1).

    The side of the breast does not tell: many collections store right breasts already turned.
    """
    orientation = ds.get("PatientOrientation")
    first = str(orientation[0]).strip().upper() if orientation and len(orientation) else ""
    if first.startswith(("A", "P")):
        return "left" if first.startswith("A") else "right"
    return ""


def _check_decoder(syntax: Any, name: str) -> None:
    from pydicom.pixels import get_decoder

    if not syntax.is_compressed:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableExample(
            f"{name} has pixels in {syntax.name}, which pydicom cannot decode", "convert the file"
        ) from None
    if not decoder.is_available:
        wants = "; or ".join(decoder.missing_dependencies)
        package = "pylibjpeg pylibjpeg-libjpeg" if "JPEG" in syntax.name else "pylibjpeg"
        raise DatasetError(
            f"{name} has pixels in {syntax.name}, and no decoder for it is installed ({wants})",
            f"pip install {package}",
        )
