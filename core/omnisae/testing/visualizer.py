"""Checks of a visualizer."""

from collections.abc import Sequence

import numpy as np
import pytest

from omnisae.plugins.kinds import VisualizerConfig
from omnisae.report.visualizer import Drawing, Figure, Firing, Heat, LatentView, Scatter, Visualizer
from omnisae.testing.same import same

_MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff"}


class VisualizerTests:
    """Give the fixtures `config`, `view` and, where it draws examples, `firing`."""

    @pytest.fixture
    def config(self) -> VisualizerConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture
    def view(self) -> LatentView:
        raise NotImplementedError("give the fixture `view`")

    @pytest.fixture
    def firing(self) -> Firing | None:
        return None

    @pytest.fixture
    def visualizer(self, config: VisualizerConfig) -> Visualizer:
        return config.build()

    def draw(self, visualizer: Visualizer, view: LatentView, firing: Firing | None) -> Sequence[Drawing]:
        example = visualizer.draw_example(view, firing) if firing is not None else ()
        return [*example, *visualizer.draw_latent(view)]

    def test_it_has_a_title(self, visualizer: Visualizer) -> None:
        assert visualizer.title().strip()

    def test_it_applies_where_its_axes_are(self, visualizer: Visualizer, view: LatentView) -> None:
        assert visualizer.applies(view), f"it needs {set(visualizer.axes)}, and the view has {view.hook.axes}"

    def test_it_draws(self, visualizer: Visualizer, view: LatentView, firing: Firing | None) -> None:
        drawings = self.draw(visualizer, view, firing)
        assert drawings, "nothing was drawn"
        for drawing in drawings:
            assert drawing.alt.strip() or drawing.caption.strip(), "say in words what is shown"
            self.check(drawing)

    def check(self, drawing: Drawing) -> None:
        if isinstance(drawing, Heat):
            assert drawing.values.ndim == 2
            assert np.isfinite(drawing.values).all()
        elif isinstance(drawing, Scatter):
            assert drawing.points.shape == (len(drawing.values), 2)
        else:
            assert isinstance(drawing, Figure)
            assert drawing.data.startswith(_MAGIC.get(drawing.media, b""))
            if drawing.media in ("text/html", "image/svg+xml"):
                text = drawing.data.decode("utf-8").lower()
                assert "<script" not in text
                assert "http://" not in text.replace("http://www.w3.org/", "")
                assert "https://" not in text, "a report opens without a network"

    def test_twice_gives_the_same(self, visualizer: Visualizer, view: LatentView, firing: Firing | None) -> None:
        assert same(self.draw(visualizer, view, firing), self.draw(visualizer, view, firing))

    def test_it_draws_a_silent_example(self, visualizer: Visualizer, view: LatentView, firing: Firing | None) -> None:
        if firing is None:
            pytest.skip("it draws no examples")
        silent = Firing(firing.row, firing.coords[:0], firing.values[:0], firing.sizes)
        for drawing in visualizer.draw_example(view, silent):
            self.check(drawing)
