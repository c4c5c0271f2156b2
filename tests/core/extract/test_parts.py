"""Extractors that give their tokens in parts, step by step: the store is the one of all at once."""

import weakref

import numpy as np
import pytest
import torch

from omnisae.config import HookConfig
from omnisae.errors import HookError, StoreError
from omnisae.extract.extractor import Extraction, Extractor
from omnisae.extract.gather import gather
from omnisae.extract.table import TableExtractor
from omnisae.hooks.point import HookPoint, Told
from omnisae.store.manifest import Manifest
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

STEPS = 5
TICKS = tuple(float(900 - 200 * i) for i in range(STEPS))


class Steps(Extractor):
    """A made-up sampler: at every step each example has tokens at some of its sixteen places. Example 2 has none at
    step 0, example 5 at step 3 alone, example 7 and the last one nowhere."""

    def __init__(self, in_parts, batch_size=4, nan=()):
        self.in_parts, self._size, self.nan = in_parts, batch_size, set(nan)
        self.alive, self.most = [], 0

    def batch_size(self):
        return self._size

    def resolve(self, hooks):
        told = {"timestep": Told(argument="t", ticks=TICKS)}
        return [
            HookPoint(name="a", at=("a",), pattern="example y x d", width=3, told=told),
            HookPoint(name="b", at=("b",), pattern="example d", width=4, told=told, columns=("timestep",)),
        ]

    def fingerprint(self):
        return "steps"

    def prepare(self, example):
        return example.input

    def at(self, rows, inputs, hook, step):
        """The tokens of one step."""
        parts = []
        for row, picture in zip(rows, inputs, strict=True):
            absent = row in (7, 19) or (row == 2 and step == 0) or (row == 5 and step != 3)
            if hook.name == "a":
                values = (picture * (1 + step)).permute(1, 2, 0).reshape(16, 3)
                grid = torch.cartesian_prod(torch.arange(4), torch.arange(4))
                coords = torch.cat([torch.full((16, 1), step), grid], dim=1)
            else:
                values = torch.cat([picture.mean(dim=(1, 2)), torch.tensor([TICKS[step]])])[None]
                coords = torch.tensor([[step]])
            values = values * (float("nan") if row in self.nan and step == 2 else 1.0)
            n = 0 if absent else len(values)
            batch = TokenBatch(
                values, torch.full((len(values),), row), coords.to(torch.int32), torch.zeros(len(values)).byte()
            )
            parts.append(batch.take(torch.arange(n)))
        names = ("values", "example", "coords", "role")
        return TokenBatch(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def extract(self, rows, inputs, hooks):
        """Example by example, each example's tokens step by step."""
        found = {}
        for hook in hooks:
            steps = [self.at(rows, inputs, hook, step) for step in range(STEPS)]
            names = ("values", "example", "coords", "role")
            joined = TokenBatch(*(torch.cat([getattr(step, name) for step in steps]) for name in names))
            found[hook.name] = joined.take(joined.example.argsort(stable=True))
        return Extraction(tuple(rows), found)

    def extract_parts(self, rows, inputs, hooks, emit):
        for step in range(STEPS):
            tokens = {hook.name: self.at(rows, inputs, hook, step) for hook in hooks}
            held = [weakref.ref(one.values) for one in tokens.values()]
            emit(Extraction(tuple(rows), tokens))
            self.alive += held
            del tokens
            self.most = max(self.most, sum(ref() is not None for ref in self.alive))


def write(folder, dataset, extractor, shard_mb=0.0004, dtype="float32", **more):
    points = extractor.resolve([])
    writers = {
        point.name: StoreWriter.open(folder / point.name, point, key="k", dtype=dtype, shard_mb=shard_mb, about={})
        for point in points
    }
    return gather(dataset, extractor, points, writers, workers=0, **more)


def same(one, two):
    files = sorted(file.relative_to(one) for file in one.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(two) for file in two.rglob("*") if file.is_file())
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)
    return [file.name for file in files]


@pytest.mark.parametrize("unreadable", [(), (0, 4, 13, 18)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_store_is_the_very_same(numbers, tmp_path, unreadable, dtype):
    summaries = [
        write(tmp_path / str(in_parts), numbers(unreadable=unreadable), Steps(in_parts), dtype=dtype)
        for in_parts in (False, True)
    ]
    assert summaries[0] == summaries[1]
    assert len(same(tmp_path / "False", tmp_path / "True")) > 6, "several shards"


@pytest.mark.parametrize("shard_mb", [0.0002, 0.0011, 0.004, 1])
@pytest.mark.parametrize("size", [1, 3, 20])
def test_whatever_the_sizes_of_batches_and_shards(numbers, tmp_path, shard_mb, size):
    for in_parts in (False, True):
        write(tmp_path / str(in_parts), numbers(), Steps(in_parts, size), shard_mb=shard_mb)
    same(tmp_path / "False", tmp_path / "True")


def test_an_interrupted_one_goes_on_to_the_same(numbers, tmp_path):
    class Interrupted(Steps):
        def at(self, rows, inputs, hook, step):
            if 13 in rows and step == 3:
                raise KeyboardInterrupt
            return super().at(rows, inputs, hook, step)

    write(tmp_path / "whole", numbers(unreadable=(4,)), Steps(in_parts=False))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken", numbers(unreadable=(4,)), Interrupted(in_parts=True))
    assert not list((tmp_path / "broken").rglob(".spool*"))
    summary = write(tmp_path / "broken", numbers(unreadable=(4,)), Steps(in_parts=True))
    assert 0 < summary.start < 13
    same(tmp_path / "whole", tmp_path / "broken")
    assert write(tmp_path / "broken", numbers(unreadable=(4,)), Steps(in_parts=True)).tokens == 0


def test_tokens_lie_example_by_example_each_step_by_step(numbers, tmp_path):
    summary = write(tmp_path, numbers(), Steps(in_parts=True))
    store = Store.open(tmp_path / "a")
    example = torch.cat([batch.example for batch in store.sequential(TokenFilter())])
    steps = torch.cat([batch.coords[:, 0] for batch in store.sequential(TokenFilter())])
    present = {
        row: [s for s in range(STEPS) if not ((row == 2 and s == 0) or (row == 5 and s != 3))] for row in range(19)
    }
    wanted = [(row, s) for row in present if row != 7 for s in present[row] for _ in range(16)]
    assert list(zip(example.tolist(), steps.tolist(), strict=True)) == wanted
    assert summary.tokens == len(wanted) + len(wanted) // 16
    assert store.manifest.examples == 20, "the last example has no tokens, and is done"
    columns = torch.cat([batch.values[:, 3] for batch in Store.open(tmp_path / "b").sequential(TokenFilter())])
    assert columns.tolist() == [TICKS[s] for row in present if row != 7 for s in present[row]]


def test_one_part_is_in_memory(numbers, tmp_path):
    extractor = Steps(in_parts=True, batch_size=10)
    write(tmp_path, numbers(), extractor)
    assert len(extractor.alive) == 2 * 2 * STEPS
    assert extractor.most == 0, "a part that was given is not held on to"


def test_parts_may_lack_a_hook_point(numbers, tmp_path):
    class Sparse(Steps):
        def extract_parts(self, rows, inputs, hooks, emit):
            for step in range(STEPS):
                for hook in hooks:
                    emit(Extraction(tuple(rows), {hook.name: self.at(rows, inputs, hook, step)}))

    write(tmp_path / "one", numbers(), Steps(in_parts=False))
    write(tmp_path / "two", numbers(), Sparse(in_parts=True))
    same(tmp_path / "one", tmp_path / "two")


def test_parts_out_of_order_are_refused(numbers, tmp_path):
    class Turned(Steps):
        def at(self, rows, inputs, hook, step):
            batch = super().at(rows, inputs, hook, step)
            return batch.take(torch.arange(len(batch) - 1, -1, -1))

    with pytest.raises(StoreError, match="out of order"):
        write(tmp_path, numbers(), Turned(in_parts=True))


def test_activations_that_are_not_finite_name_the_example(numbers, tmp_path):
    with pytest.raises(StoreError, match=r"hook point 'a': NaN or infinite activations in 1 example\(s\): 'e6' \(rows"):
        write(tmp_path, numbers(), Steps(in_parts=True, nan=(6,)))


def test_the_default_gives_everything_as_one_part(numbers):
    class Plain(Steps):
        extract_parts = Extractor.extract_parts

    extractor, emitted = Plain(in_parts=False), []
    points, inputs = extractor.resolve([]), numbers().values[:3]
    extractor.extract_parts([0, 1, 2], inputs, points, emitted.append)
    (only,) = emitted
    assert torch.equal(only.tokens["a"].values, extractor.extract([0, 1, 2], inputs, points).tokens["a"].values)


def test_only_stores_that_need_it_are_of_the_newest_schema(numbers, tmp_path, maps, hooks):
    write(tmp_path, numbers(), Steps(in_parts=True))
    raw = (tmp_path / "b" / "manifest.json").read_text()
    manifest = Manifest.read(tmp_path / "b")
    assert manifest.schema_version == 3
    assert manifest.hook.columns == ("timestep",)
    assert Manifest.read(tmp_path / "b").hook.told["timestep"].ticks == TICKS
    (tmp_path / "b" / "manifest.json").write_text(raw.replace('"schema_version": 3', '"schema_version": 1'))
    with pytest.raises(StoreError, match="its rows, examples, width or schema contradict"):
        Manifest.read(tmp_path / "b")
    (plain,) = hooks(maps(), "0")
    StoreWriter.open(tmp_path / "plain", plain, key="k", dtype="float32", shard_mb=1, about={})
    text = (tmp_path / "plain" / "manifest.json").read_text()
    assert '"schema_version": 1' in text
    assert not any(name in text for name in ("told", "columns", "within")), "older versions read it"


def test_columns_do_not_go_with_one_step_for_all_values_of_a_token(numbers, tmp_path):
    with pytest.raises(
        StoreError, match=r"hook 'b' has columns \['timestep'\], and store.dtype is 'int8'(?s:.*)float16"
    ):
        write(tmp_path, numbers(), Steps(in_parts=True), dtype="int8")


def test_columns_are_refused_where_no_forward_is_told_anything(maps):
    with pytest.raises(HookError, match=r"hook point '0.output': columns \['timestep'\] are asked for(?s:.*)leave out"):
        maps().resolve([HookConfig(at="0", columns=("timestep",))])


def test_an_extractor_completes_its_hook_points(maps):
    class Told_(maps):
        def complete(self, point, config):
            told = {"timestep": Told(argument="t", ticks=TICKS)}
            width = point.width + len(config.columns)
            return point.model_copy(update={"told": told, "columns": config.columns, "width": width})

    (point,) = Told_().resolve([HookConfig(at="0", columns=("timestep",))])
    assert point.axes == ("timestep", "y", "x")
    assert (point.width, point.columns) == (6, ("timestep",))


def test_columns_of_a_table_are_refused():
    extractor = TableExtractor({"vectors": np.zeros((3, 4), dtype=np.float32)}, fingerprint="t")
    with pytest.raises(HookError, match="is a table, and told nothing(?s:.*)leave out `columns`"):
        extractor.resolve([HookConfig(at="vectors", columns=("timestep",))])
