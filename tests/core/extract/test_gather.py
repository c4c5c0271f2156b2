import pytest
import torch

from omnisae.errors import DatasetError, HookError, StoreError
from omnisae.extract.gather import batches, gather, needed_roles
from omnisae.tokens.filter import TokenFilter, TokenFilters


def run(numbers, maps, memory, hooks, paths=("0", "2"), writers=None, dataset=None, size=4, **more):
    dataset = dataset or numbers()
    extractor = maps(size)
    points = hooks(extractor, *paths)
    writers = writers or {point.name: memory() for point in points}
    return gather(dataset, extractor, points, writers, **more), writers


def test_many_hook_points_in_one_pass(numbers, maps, memory, hooks):
    summary, writers = run(numbers, maps, memory, hooks)
    assert (summary.examples, summary.tokens, dict(summary.skipped)) == (20, 2 * 20 * 16, {})
    assert writers["0.output"].values.shape == (320, 5)
    assert writers["2.output"].values.shape == (320, 6)
    assert all(writer.finished and writer.next_row == 20 for writer in writers.values())


def test_batched_equals_unbatched(numbers, maps, memory, hooks):
    _, one = run(numbers, maps, memory, hooks, size=1)
    _, all_at_once = run(numbers, maps, memory, hooks, size=20)
    for name in one:
        torch.testing.assert_close(one[name].values, all_at_once[name].values, rtol=1e-5, atol=1e-6)
        assert (one[name].examples == all_at_once[name].examples).all()


def test_worker_processes_give_the_same(numbers, maps, memory, hooks):
    _, here = run(numbers, maps, memory, hooks, workers=0)
    _, there = run(numbers, maps, memory, hooks, workers=2)
    assert torch.equal(here["0.output"].values, there["0.output"].values)


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_examples_are_skipped_counted_and_named(numbers, maps, memory, hooks, workers):
    dataset = numbers(unreadable=(0, 4, 5, 6, 7, 19))
    summary, writers = run(numbers, maps, memory, hooks, dataset=dataset, workers=workers)
    assert summary.examples == 14
    assert list(summary.skipped) == ["e0", "e4", "e5", "e6", "e7", "e19"]
    assert summary.skipped["e4"] == "e4.png is truncated"
    writer = writers["2.output"]
    assert [row for row, *_ in writer.skips] == [0, 4, 5, 6, 7, 19]
    assert sorted(set(writer.examples)) == [1, 2, 3, *range(8, 19)]


def test_nothing_readable_is_an_error(numbers, maps, memory, hooks):
    with pytest.raises(DatasetError, match=r"none of the 3 examples could be read; the first, 'e0': e0.png is"):
        run(numbers, maps, memory, hooks, dataset=numbers(3, unreadable=range(3)))


def test_activations_that_are_not_finite_name_the_example(numbers, maps, memory, hooks):
    with pytest.raises(StoreError, match=r"NaN or infinite activations in 2 example\(s\): 'e5', 'e6' \(rows 5, 6\)"):
        run(numbers, maps, memory, hooks, dataset=numbers(nan=(5, 6)))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_fails_in_another_way_names_the_example_and_keeps_the_traceback(numbers, maps, memory, hooks, workers):
    with pytest.raises(DatasetError, match=r"example 'e9' \(row 9\) could not be prepared: KeyError") as caught:
        run(numbers, maps, memory, hooks, dataset=numbers(broken=(9,)), workers=workers)
    assert "raise KeyError" in caught.value.__notes__[0]


def test_a_broken_extraction_goes_on_exactly(numbers, maps, memory, hooks):
    _, whole = run(numbers, maps, memory, hooks)
    broken = {"0.output": memory(), "2.output": memory(fails_at=12)}
    with pytest.raises(OSError, match="No space left"):
        run(numbers, maps, memory, hooks, writers=broken)
    assert (broken["0.output"].next_row, broken["2.output"].next_row) == (16, 12)
    assert all(writer.closed for writer in broken.values())
    broken["2.output"].fails_at = None
    summary, _ = run(numbers, maps, memory, hooks, writers=broken)
    assert summary.start == 12
    for name, writer in broken.items():
        assert torch.equal(writer.values, whole[name].values)
        assert (writer.examples == whole[name].examples).all()


def test_progress_is_told(numbers, maps, memory, hooks):
    events = []
    run(numbers, maps, memory, hooks, observe=events.append)
    assert [event["examples"] for event in events] == [4, 8, 12, 16, 20]
    assert {event["of"] for event in events} == {20}


def test_only_needed_roles_are_written(numbers, maps, memory, hooks):
    filters = TokenFilters(
        train=TokenFilter(roles=("cls",), fraction=0.1), select=TokenFilter(), evaluate=TokenFilter()
    )
    assert needed_roles(filters) == ("cls", "content")
    with pytest.raises(HookError, match="no hook point has tokens of role 'clss'"):
        run(numbers, maps, memory, hooks, roles=["clss", "content"])


def test_batches_keep_the_order_asked_for(numbers, maps):
    dataset, skipped = numbers(unreadable=(3,)), []
    found = list(batches(dataset, maps(2), [9, 3, 1, 0, 7], workers=0, on_skip=skipped.append))
    assert [rows for rows, _ in found] == [(9,), (1, 0), (7,)]
    assert torch.equal(found[1][1], dataset.values[[1, 0]])
    assert [one.id for one in skipped] == ["e3"]


def test_a_store_written_with_an_interruption_is_the_same(numbers, maps, hooks, tmp_path):
    from omnisae.store.writer import StoreWriter

    def write(folder, dataset):
        extractor = maps(3)
        points = hooks(extractor, "0", "2")
        writers = {
            point.name: StoreWriter.open(folder / point.name, point, key="k", dtype="float32", shard_mb=0.002, about={})
            for point in points
        }
        return gather(dataset, extractor, points, writers, workers=0)

    class Interrupted(numbers):
        def load(self, row):
            if row == 13:
                raise KeyboardInterrupt
            return super().load(row)

    write(tmp_path / "whole", numbers(unreadable=(4,)))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken", Interrupted(unreadable=(4,)))
    summary = write(tmp_path / "broken", numbers(unreadable=(4,)))
    assert 0 < summary.start < 13
    for file in sorted((tmp_path / "whole").rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "broken" / file.relative_to(tmp_path / "whole")).read_bytes()


def test_special_tokens_are_written_only_where_asked_for(memory):
    import torch as t

    from omnisae.config import HookConfig
    from omnisae.extract.dataset import Dataset, Example
    from omnisae.extract.module import ModuleExtractor

    class Rows(Dataset):
        ids = [str(row) for row in range(5)]  # noqa: RUF012

        def load(self, row):
            return Example(row, str(row), t.randn(4, 3, generator=t.Generator().manual_seed(row)))

        def fingerprint(self):
            return "rows"

    class Tokens(ModuleExtractor):
        def probe(self):
            return t.zeros(2, 4, 3)

    extractor = Tokens(t.nn.Linear(3, 6), device="cpu")
    points = extractor.resolve([HookConfig(at="", layout="example ([cls] + position) d")])
    for roles, count in {("content",): 15, ("cls",): 5, ("cls", "content"): 20}.items():
        writer = memory()
        gather(Rows(), extractor, points, {points[0].name: writer}, roles=roles)
        assert len(writer.values) == count
