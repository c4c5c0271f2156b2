"""Files are the old one or the new one whole."""

import errno
import os
from pathlib import Path

import pytest

from omnisae.atomic import replacing, write_bytes, write_json, write_text
from omnisae.errors import OmnisaeError, StoreError


def test_files_are_written_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b", b"\x00\x01")
    write_text(tmp_path / "t", "größer")
    write_json(tmp_path / "j", {"x": [1, None]})
    assert (tmp_path / "a" / "b").read_bytes() == b"\x00\x01"
    assert (tmp_path / "t").read_text(encoding="utf-8") == "größer"
    assert (tmp_path / "j").read_text() == '{\n "x": [\n  1,\n  null\n ]\n}\n'
    assert sorted(os.listdir(tmp_path)) == ["a", "j", "t"]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_text(tmp_path / "f", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "f") as temporary:
        temporary.with_name("elsewhere").write_text("half")  # the file that was promised never comes
    os.unlink(tmp_path / "elsewhere")
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OmnisaeError, match=r"f.json: cannot be written as JSON"):
        write_json(tmp_path / "f.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota is used up")])
def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=words) as refused:
        write_text(tmp_path / "f", "new")
    assert str(tmp_path / "f") in refused.value.problem
    assert "what is already done stays usable" in refused.value.remedy
    assert os.listdir(tmp_path) == []


def test_other_errors_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((NotADirectoryError, FileExistsError)):
        write_text(tmp_path / "file" / "below", "x")
