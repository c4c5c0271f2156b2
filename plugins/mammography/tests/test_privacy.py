"""Nothing that names a person leaves the files: not into stores, reports, logs or errors, also where a run fails."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

PLANTED = {
    "PatientName": "Quixelby^Zorana^M",
    "PatientBirthDate": "19470213",
    "OtherPatientIDs": "MRN-OTHER-5512",
    "PatientAddress": "17 Wobblethorpe Lane",
    "PatientTelephoneNumbers": "+49-555-7712",
    "PatientAge": "073Y",
    "PatientComments": "sister of Gladiola Quixelby",
    "ReferringPhysicianName": "Fennimore^Dr",
    "InstitutionName": "Saint Oddvar Hospital",
    "InstitutionAddress": "Oddvar Square 9",
    "OperatorsName": "Tweddle^Ann",
    "PhysiciansOfRecord": "Gribblethwaite^B",
    "StudyDate": "20170319",
    "SeriesDate": "20170320",
    "AcquisitionDate": "20170321",
    "ContentDate": "20170322",
    "StudyTime": "081733",
    "AccessionNumber": "ACC-90431",
    "StudyID": "STID-4417",
    "StudyDescription": "lump found by Mrs Quixelby",
    "SeriesDescription": "left side after fall",
    "ImageComments": "call daughter Philomela",
    "StationName": "STATION-MAMMO-3",
    "DeviceSerialNumber": "SN-884213",
    "Manufacturer": "Kronkelwerke",
    "ManufacturerModelName": "Kronkel 3000",
    "RequestedProcedureDescription": "recall Quixelby",
}
IDS = [f"MRN{70_000 + number}" for number in range(12)]
"""Of which paths are made, too, as hospitals do."""
WORDS = [
    *(part for value in PLANTED.values() for part in re.split(r"\^", value) if len(part) > 3),
    "Quixelby", "Gladiola", "Philomela", "Wobblethorpe", "Oddvar", "Kronkel", "1.2.826.0.1.777", *IDS,
]  # fmt: skip


@pytest.fixture
def hospital(tmp_path, dicom, table):
    """Twelve patients with both breasts, named all over; the file of one is cut off, a value of another is no date."""
    random = np.random.default_rng(0)
    root, rows = tmp_path / "export", []
    for number, who in enumerate(IDS):
        for side in "LR":
            stored = random.integers(0, 200, (64, 48))
            stored[:, :30] += 1500
            stored[20:32, 10:20] += 1800
            stored = stored if side == "L" else stored[:, ::-1]
            path = dicom(
                root / "images" / f"{who}-Quixelby" / f"{who}_{side}_20170319.dcm", stored.astype(np.uint16),
                **{**PLANTED, "PatientID": who, "ImageLaterality": side, "ViewPosition": "CC"},
                StudyInstanceUID=f"1.2.826.0.1.777.{number}.1",
            )  # fmt: skip
            box = (10, 20, 20, 32) if side == "L" else (28, 20, 38, 32)
            rows.append((who, f"{who}_{side}_20170319", side, "CC", "['Mass']", *box, "BI-RADS 4", "DENSITY A"))
            if number == 3 and side == "R":
                path.write_bytes(path.read_bytes()[:1500])
    header = ("study_id", "image_id", "laterality", "view_position", "finding_categories", "xmin", "ymin", "xmax",
              "ymax", "breast_birads", "breast_density")  # fmt: skip
    table(root / "boxes.csv", header, rows)
    return root


def config(root, **changes):
    made = {
        "name": "quiet",
        "dataset": {"type": "mammography.exams", "root": str(root), "table": "boxes.csv"},
        "extractor": {
            "type": "mammography.timm", "model": "test_efficientnet", "image_size": [64, 48], "device": "cpu",
            "arguments": {"num_classes": 1}, "loss": "outputs", "outputs": "sigmoid", "targets": ["has_Mass"],
        },
        "hooks": [{"at": "blocks.2"}],
        "autoencoder": {"latents": 16, "activation": {"type": "core.topk", "k": 2}},
        "train": {"tokens": 2000, "batch": 128},
        "score": {
            "split": {"by": "patient"}, "min_positives": 1, "effects": 1,
            "studies": [{"type": "mammography.ranking"}, {"type": "mammography.localisation", "draws": 50},
                        {"type": "mammography.curves", "draws": 50}],
        },
        "report": {"examples": 3, "random_examples": 2},
    }  # fmt: skip
    return made | changes


def command(made, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(made))
    return ["run", str(path), "--out", str(tmp_path / "run")]


COMMANDS = """
import atexit, json, os, sys
import omnisae.cli, omnisae.pipeline, omnisae.training.trainer, omnisae_mammography.extractor, pydicom.pixels, timm
for line in sys.stdin:
    words, told = json.loads(line)
    child = os.fork()
    if child == 0:
        file = os.open(told, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, 1), os.dup2(file, 2)
        try:
            omnisae.cli.main(words, prog_name="omnisae")
        except SystemExit as end:
            status = end.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
            status = 1
        atexit._run_exitfuncs()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)  # taking the interpreter down takes longer than most of these commands
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Gives each command in a process of its own, forked from one that has imported what takes seconds to import."""


@pytest.fixture(scope="module")
def commands():
    with subprocess.Popen([sys.executable, "-c", COMMANDS], stdin=-1, stdout=-1, text=True) as server:
        yield server
        server.stdin.close()


def leaks(folder: Path, printed: str) -> list[str]:
    """Planted words that stand in what was printed, in a file, or in a file's name."""
    found = [f"printed: {word}" for word in WORDS if word.lower() in printed.lower()]
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        told = path.relative_to(folder).as_posix().encode() + (b"\n" + path.read_bytes() if path.is_file() else b"")
        low = told.lower()
        found += [f"{path}: {word}" for word in WORDS if word.lower().encode() in low]
        found += [f"{path}: {word} (UTF-16)" for word in WORDS if word.lower().encode("utf-16-le") in low]
    return found


def test_a_run_tells_nobody_who_was_examined(hospital, tmp_path):
    words = [sys.executable, "-m", "omnisae", *command(config(hospital), tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "1 unreadable" in printed
    assert (tmp_path / "run" / "report" / "index.html").exists()
    assert leaks(tmp_path / "run", printed) == []


def test_the_planted_words_would_be_found(hospital, tmp_path):
    """The search itself: the files are full of them."""
    found = leaks(hospital, "")
    assert {word for word in WORDS if any(line.endswith(word) for line in found)} >= {"Quixelby", IDS[0], "Kronkel"}


FAILURES = {
    "a leaking split": lambda root, made: made["score"]["split"].update(by="example"),
    "a box that is none": lambda root, made: edit(root, lambda text: text.replace(",10,20,20,32,", ",10,x,20,32,", 1)),
    "a box outside": lambda root, made: edit(root, lambda text: text.replace(",10,20,20,32,", ",900,20,990,32,", 1)),
    "a table of others": lambda root, made: edit(root, lambda text: text.replace("_20170319", "_else")),
    "every file cut off": lambda root, made: [p.write_bytes(p.read_bytes()[:1400]) for p in root.rglob("*.dcm")],
    "no pixels": lambda root, made: [p.write_bytes(p.read_bytes()[:-5000]) for p in root.rglob("*.dcm")],
    "names as attributes": lambda root, made: made["dataset"].update(
        columns={"image": "image_id", "attributes": ["study_id"]}, patient="picture"
    ),
    "an unknown output": lambda root, made: made["extractor"].update(loss="multilabel", targets=["has_Quake"]),
    "debugging": lambda root, made: [p.write_bytes(p.read_bytes()[:900]) for p in root.rglob("*.dcm")],
}


def edit(root, change):
    path = root / "boxes.csv"
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_run_tells_nobody_either(hospital, tmp_path, commands, failure):
    made = config(hospital)
    FAILURES[failure](hospital, made)
    words = [*command(made, tmp_path), *(["--debug"] if failure == "debugging" else [])]
    commands.stdin.write(json.dumps([words, str(tmp_path / "told.txt")]) + "\n")
    commands.stdin.flush()
    code = int(commands.stdout.readline())
    printed = (tmp_path / "told.txt").read_text()
    assert leaks(tmp_path / "run", printed) == [], printed
    assert code != 0, printed
    assert "error" in printed.lower()
    assert "Traceback" not in printed or failure == "debugging"
