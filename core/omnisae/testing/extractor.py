"""Checks of an extractor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from omnisae.config import HookConfig
from omnisae.errors import HookError
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extraction, Extractor
from omnisae.extract.live import join
from omnisae.extract.module import ModuleExtractor, to_device
from omnisae.hooks.point import HookPoint
from omnisae.hooks.taps import tap
from omnisae.plugins.kinds import ExtractorConfig
from omnisae.testing.same import same
from omnisae.tokens.arrange import flatten, restore
from omnisae.tokens.batch import TokenBatch


class ExtractorTests:
    """Give the fixtures `config`, `dataset` (a small one) and `hooks`."""

    tolerance = 1e-4
    """How far batched and unbatched activations may differ, over the largest activation."""

    @pytest.fixture
    def config(self) -> ExtractorConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture
    def dataset(self) -> Dataset:
        raise NotImplementedError("give the fixture `dataset`")

    @pytest.fixture
    def hooks(self) -> Sequence[HookConfig]:
        raise NotImplementedError("give the fixture `hooks`")

    @pytest.fixture
    def extractor(self, config: ExtractorConfig, dataset: Dataset) -> Extractor:
        return config.build(dataset)

    @pytest.fixture
    def points(self, extractor: Extractor, hooks: Sequence[HookConfig]) -> list[HookPoint]:
        return extractor.resolve(hooks)

    @pytest.fixture
    def rows(self, dataset: Dataset) -> list[int]:
        """The examples that go through the model together."""
        return list(range(min(3, len(dataset))))

    def extract(
        self, extractor: Extractor, dataset: Dataset, rows: Sequence[int], points: list[HookPoint]
    ) -> Extraction:
        """The tokens of these examples in one batch."""
        return extractor.extract(rows, self.inputs(extractor, dataset, rows), points)

    def inputs(self, extractor: Extractor, dataset: Dataset, rows: Sequence[int]) -> Any:
        return extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])

    def test_hook_points_are_found(self, points: list[HookPoint], hooks: Sequence[HookConfig]) -> None:
        assert len(points) >= len(hooks)
        names = [point.name for point in points]
        assert len(set(names)) == len(names), f"hook points share a name: {names}"

    def test_resolving_what_was_resolved_gives_the_same(self, extractor: Extractor, points: list[HookPoint]) -> None:
        kept = ("view", "select", "call", "sizes", "name")
        again = [
            HookConfig.model_validate(
                {key: getattr(point, key) for key in kept}
                | {"at": point.at[0] if len(point.at) == 1 else point.at, "layout": point.pattern}
                | {"columns": point.columns}
            )
            for point in points
        ]
        assert extractor.resolve(again) == points

    def test_an_unknown_path_is_refused(self, extractor: Extractor) -> None:
        with pytest.raises(HookError, match="no_such_module"):
            extractor.resolve([HookConfig.model_validate({"at": "no_such_module"})])

    def test_widths_match(
        self, extractor: Extractor, dataset: Dataset, rows: list[int], points: list[HookPoint]
    ) -> None:
        extraction = self.extract(extractor, dataset, rows, points)
        assert extraction.rows == tuple(rows)
        assert set(extraction.tokens) == {point.name for point in points}
        for point in points:
            batch = extraction.tokens[point.name]
            assert batch.values.shape[1] == point.width
            assert batch.coords.shape == (len(batch), len(point.axes))
            assert len(batch.example) == len(batch.role) == len(batch) > 0
            assert not batch.values.requires_grad
            assert torch.isfinite(batch.values).all()

    def test_tokens_lie_inside_the_axes_each_once(
        self, extractor: Extractor, dataset: Dataset, rows: list[int], points: list[HookPoint]
    ) -> None:
        extraction = self.extract(extractor, dataset, rows, points)
        for point in points:
            batch = extraction.tokens[point.name]
            example = batch.example.tolist()
            assert set(example) <= set(rows)
            assert example == sorted(example), f"{point.name}: tokens do not come in the order of the examples"
            assert int(batch.role.max()) < len(point.roles)
            content = batch.take(batch.role == 0)
            assert (content.coords >= 0).all(), f"{point.name}: a content token without coordinates"
            for i, axis in enumerate(point.axes):
                size = point.known_sizes[axis]
                if size is not None:
                    assert (content.coords[:, i] < size).all(), f"{point.name}: a token beyond {axis}"
            special = batch.take(batch.role != 0).coords[:, len(point.told) :]
            assert (special == -1).all(), f"{point.name}: a special token with coordinates"
            places = torch.cat([content.example[:, None], content.coords], dim=1)
            assert len(set(map(tuple, places.tolist()))) == len(places), (
                f"{point.name}: two tokens of one example share a place"
            )

    def test_twice_gives_the_same(
        self, extractor: Extractor, dataset: Dataset, rows: list[int], points: list[HookPoint]
    ) -> None:
        one = self.extract(extractor, dataset, rows, points)
        two = self.extract(extractor, dataset, rows, points)
        assert same(dict(one.tokens), dict(two.tokens)), "the model is not deterministic: dropout, or another mode?"

    def test_parts_are_the_whole(
        self, extractor: Extractor, dataset: Dataset, rows: list[int], points: list[HookPoint]
    ) -> None:
        whole = self.extract(extractor, dataset, rows, points)
        parts: list[Extraction] = []
        extractor.extract_parts(rows, self.inputs(extractor, dataset, rows), points, parts.append)
        assert extractor.in_parts or len(parts) == 1, "several parts, and `in_parts` is not set"
        for point in points:
            own = [part.tokens[point.name] for part in parts if point.name in part.tokens]
            assert own, f"{point.name}: no part has its tokens"
            for i, part in enumerate(own):
                assert part.example.tolist() == sorted(part.example.tolist()), (
                    f"{point.name}: the tokens of part {i} do not come in the order of the examples"
                )
            joined = join(own)
            order = joined.example.argsort(stable=True)
            self.assert_close(joined.take(order), whole.tokens[point.name], point)

    def test_batched_equals_unbatched(
        self, extractor: Extractor, dataset: Dataset, rows: list[int], points: list[HookPoint]
    ) -> None:
        together = self.extract(extractor, dataset, rows, points)
        for row in rows:
            alone = self.extract(extractor, dataset, [row], points)
            for point in points:
                batch = together.tokens[point.name]
                self.assert_close(batch.take(batch.example == row), alone.tokens[point.name], point)

    def assert_close(self, a: TokenBatch, b: TokenBatch, point: HookPoint) -> None:
        assert same((a.example, a.coords, a.role), (b.example, b.coords, b.role)), f"{point.name}: other tokens"
        scale = float(b.values.abs().max()) or 1.0
        worst = float((a.values - b.values).abs().max()) / scale
        assert worst <= self.tolerance, f"{point.name}: alone and in a batch differ by {worst:.2g} of the largest value"

    def test_the_layout_gives_the_tensor_back(
        self, extractor: Extractor, dataset: Dataset, rows: list[int], points: list[HookPoint]
    ) -> None:
        if not isinstance(extractor, ModuleExtractor):
            pytest.skip("no model is hooked")
        if any(point.told for point in points):
            pytest.skip("one forward is one step of many")
        inputs = to_device(self.inputs(extractor, dataset, rows), extractor.device)
        with torch.inference_mode(), tap(extractor.model, points) as seen:
            extractor.forward(inputs)
        for point in points:
            tokens = flatten(seen[point.name], point.layout)
            assert torch.equal(restore(tokens.values, point.layout, tokens.sizes), seen[point.name]), point.name

    def test_the_fingerprint_stays(self, extractor: Extractor, config: ExtractorConfig, dataset: Dataset) -> None:
        found = extractor.fingerprint()
        assert isinstance(found, str)
        assert found
        assert found == extractor.fingerprint() == config.build(dataset).fingerprint()

    def test_the_loss_is_one_number_an_example(self, extractor: Extractor, dataset: Dataset, rows: list[int]) -> None:
        with torch.no_grad():
            loss = extractor.loss(rows, self.inputs(extractor, dataset, rows))
        if loss is not None:
            assert loss.shape == (len(rows),)
            assert torch.isfinite(loss).all()

    def test_pictures_are_pictures(self, extractor: Extractor, dataset: Dataset, rows: list[int]) -> None:
        for row in rows:
            picture = extractor.picture(dataset.load(row))
            if picture is not None:
                assert picture.dtype == np.uint8
                assert picture.ndim == 3
                assert picture.shape[2] == 3
