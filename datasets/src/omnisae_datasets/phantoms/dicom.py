"""A phantom as a DICOM file, the way its scanner stores pictures: each scanner has its own encoding."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnisae.errors import PluginError
from omnisae_datasets.phantoms.anatomy import HEIGHT, SCANNERS, WIDTH, Laterality, Patient, View

ROOT_UID = "1.2.826.0.1.3680043.8.498."
"""The prefix that pydicom gives to UIDs of its users."""


def save(
    path: Path, picture: Float[np.ndarray, "y x"], who: Patient, side: Laterality, view: View, names: tuple[str, ...]
) -> None:
    """Write a picture (0 to 1). `names` are what the UIDs of study, series and instance are made of.

    Northlight: 12 bit, MONOCHROME2, a linear window. Meridian: 14 bit, MONOCHROME1 (air is white), a rescale and a
    window. Aster: 12 bit, MONOCHROME2, a VOI lookup table, RLE lossless. All three show the same breast alike.
    Raises PluginError where pydicom is not installed.
    """
    try:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation as Kind
        from pydicom.uid import ExplicitVRLittleEndian, RLELossless
    except ImportError as error:
        raise PluginError(
            "the world 'phantoms' is written as DICOM, and pydicom is not installed", "pip install 'pydicom>=3'"
        ) from error
    study, series, instance = (uid(name) for name in names)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = Kind, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = Kind, instance
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.PatientID, ds.PatientName = f"PHANTOM-{who.number:05d}", f"Phantom^Number {who.number}"
    ds.PatientBirthDate, ds.PatientSex, ds.StudyDate, ds.StudyTime = "19600101", "F", "20200101", "120000"
    ds.Modality, ds.Manufacturer = "MG", SCANNERS[who.scanner]
    ds.ImageLaterality, ds.ViewPosition = side, view
    ds.PatientOrientation = [{"L": "A", "R": "P"}[side], {"CC": {"L": "R", "R": "L"}[side], "MLO": "FR"}[view]]
    ds.BurnedInAnnotation = "YES" if who.marker[side, view] else "NO"
    ds.BreastImplantPresent = "YES" if who.breasts[side].implant else "NO"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PixelRepresentation = HEIGHT, WIDTH, 1, 0
    _pixels(ds, picture, who.scanner)
    if who.scanner == 2:
        ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def uid(name: str) -> str:
    """A UID made of a name."""
    return ROOT_UID + str(int.from_bytes(hashlib.sha256(name.encode()).digest()[:11], "big"))


def _pixels(ds: object, picture: Float[np.ndarray, "y x"], scanner: int) -> None:
    """The pixels and how they are to be shown, after the scanner's manner."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    assert isinstance(ds, Dataset)
    bits = 14 if scanner == 1 else 12
    most = 2**bits - 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PhotometricInterpretation = "MONOCHROME1" if scanner == 1 else "MONOCHROME2"
    if scanner == 0:
        stored = np.round(200 + picture * 3600)
        ds.WindowCenter, ds.WindowWidth = 2000.5, 3601
    elif scanner == 1:
        stored = np.round(most - 500 - picture * 15000)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "0.5", "10", "US"
        ds.WindowCenter, ds.WindowWidth = f"{(most - 500 - 7500) * 0.5 + 10.5:g}", 7501
    else:
        # Stored by the square root, shown through a table that squares it again.
        stored = np.round(np.sqrt(np.clip(picture, 0, 1)) * most)
        table = Dataset()
        levels = np.round((np.arange(most + 1) / most) ** 2 * 65535).astype("<u2")
        table.add_new(0x00283002, "US", [most + 1, 0, 16])
        table.add_new(0x00283006, "OW", levels.tobytes())
        ds.VOILUTSequence = Sequence([table])
    ds.PixelData = np.clip(stored, 0, most).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
