"""Content keys of what lies on disk."""

from omnisae.store.key import digest


def test_a_digest_changes_with_what_is_held_and_with_nothing_else(tmp_path):
    file = tmp_path / "table.csv"
    assert digest(file) == "absent"
    file.write_text("word")
    first = digest(file)
    file.touch()
    assert digest(file) == first
    file.write_text("ward")
    assert digest(file) != first


def test_a_folder_is_what_its_files_are_called_and_hold(tmp_path):
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "deep" / "a").write_text("1")
    first = digest(tmp_path / "one")
    (tmp_path / "one" / "deep" / "a").rename(tmp_path / "one" / "deep" / "b")
    renamed = digest(tmp_path / "one")
    (tmp_path / "one" / "deep" / "b").write_text("2")
    assert len({first, renamed, digest(tmp_path / "one")}) == 3
