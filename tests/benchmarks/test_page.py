"""The page of the documentation, made of stored runs."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks.bench import page, results


def stored(folder: Path, run: dict[str, Any]) -> Path:
    results.write(results.path(run["kind"], run["date"], folder), run)
    return folder


def test_the_page_and_its_pictures_are_made_of_stored_runs(tmp_path: Path, run: dict[str, Any]) -> None:
    text = page.write(stored(tmp_path / "results", run), tmp_path / "docs").read_text()
    assert "| `topk_mixed_over_fastest_peer` | `>=4.5` | met: 10 (5 to 11; 3) |" in text
    assert "| omnisae mixed | 40,960 | 20,480 to 40,960 | 3 | 10.00 | 0.50 | 300 MiB |" in text
    assert "## Scaling" in text
    for name in ("tokens", "quality", "scaling"):
        assert f"pictures/speed-{name}.svg" in text
        ElementTree.parse(tmp_path / "docs" / "pictures" / f"speed-{name}.svg")


def test_the_same_runs_give_the_same_files(tmp_path: Path, run: dict[str, Any]) -> None:
    stored(tmp_path / "results", run)
    made = [page.write(tmp_path / "results", tmp_path / name).parent for name in ("a", "b")]
    for file in made[0].rglob("*.*"):
        assert file.read_bytes() == (made[1] / file.relative_to(made[0])).read_bytes()


def test_targets_stand_beside_each_other_run_by_run(run: dict[str, Any]) -> None:
    earlier = run | {"date": "2030-01-01T00:00:00+00:00", "races": {}}
    text = page.page([run, earlier])
    assert "| target | wanted | 2030-01-02 03:04 | 2030-01-01 00:00 |" in text
    assert "| met: 10 (5 to 11; 3) | not measured |" in text


def test_a_run_of_few_races_gives_a_page_without_the_others(run: dict[str, Any]) -> None:
    run["races"] = {"topk": run["races"]["topk"]}
    text = page.page([run])
    assert "## Scaling" not in text
    assert "BatchTopK, 8192 latents" not in text


def test_who_could_not_take_part_is_named(run: dict[str, Any]) -> None:
    run["races"]["topk"]["absent"] = {"sae-lens": "a long story"}
    assert "sae-lens could not take part." in page.page([run])


def test_autoencoders_in_one_pass_stand_beside_as_many_passes_of_one(run: dict[str, Any]) -> None:
    run["races"]["passes"] = run["races"]["engine"] | {
        "contestants": {name: one for name, one in run["races"]["engine"]["contestants"].items() if "pass" in name}
    }
    text = page.page([run])
    assert "| 1 | 100 | 1.00 | 100 MiB | 1.00 |" in text
    assert "| 8 | 600 | 0.75 | 700 MiB | 0.88 |" in text


@pytest.mark.skipif(not page.runs(), reason="no run is stored")
def test_the_documentation_is_made_of_the_stored_runs() -> None:
    assert (page.DOCS / "speed.md").read_text() == page.page(page.runs()), "run: make bench-docs"


def test_without_runs_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run `make bench`"):
        page.write(tmp_path, tmp_path)


def test_two_finished_runs_of_a_kind_are_kept(tmp_path: Path, run: dict[str, Any]) -> None:
    for day in ("1", "3", "2", "4"):
        stored(tmp_path, run | {"date": f"2030-01-0{day}T00:00:00", "finished": day != "4"})
    results.prune("full", tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert [one["date"][:10] for one in results.runs("full", tmp_path)] == ["2030-01-03", "2030-01-02"]
