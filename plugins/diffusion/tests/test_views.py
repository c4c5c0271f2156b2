"""Drawings of steps and grids of pictures: what stands in them, read back from their marks and pixels."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from omnisae.errors import UnreadableExample
from omnisae.extract.dataset import Example
from omnisae.hooks.point import HookPoint, Told
from omnisae.report.scale import colour
from omnisae.report.shelf import place
from omnisae.report.visualizer import Firing, LatentView
from omnisae.testing import VisualizerTests
from omnisae_diffusion.plugin_views import VIEWS, StripsConfig, TrajectoryConfig
from omnisae_diffusion.views import steps
from omnisae_diffusion.views.cells import FINEST, cells, coarse
from omnisae_diffusion.views.pictures import Courses, embedded

TICKS = tuple(float(time) for time in range(950, -1, -50))
HOSTILE = "<script>alert(1)</script>\"&'"
GRID, ROWS = 8, 40
PANEL = re.compile(r'<svg x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</svg>', re.DOTALL)


class Pictures:
    """A dataset of rows only."""

    ids = tuple(f"picture {row}" for row in range(ROWS))

    def load(self, row):
        if row == ROWS - 1:
            raise UnreadableExample("picture 39 is truncated", "restore it")
        return Example(row, self.ids[row], row)


class Model:
    """Makes flat pictures; counts what it is asked for."""

    def __init__(self, frames=None, picture=True, **more):
        self.asked, self.made = [], []
        self._frames, self._picture = frames, picture
        for name, value in more.items():
            setattr(self, name, value)

    def picture(self, example):
        self.asked.append(example.row)
        return np.full((16, 16, 3), 10 * example.row % 250, dtype=np.uint8) if self._picture else None

    def frames(self, example):
        if self._frames is None:
            return None
        self.made.append(example.row)
        return [np.full((16, 16, 3), step, dtype=np.uint8) for step in range(self._frames)]


def hook(pattern="example d y x", ticks=TICKS, **sizes):
    told = {"timestep": Told(module="unet", argument="timestep", ticks=ticks)}
    return HookPoint(
        name="mid",
        at=("mid",),
        pattern=pattern,
        sizes=sizes or ({"y": GRID, "x": GRID} if "y" in pattern else {}),
        width=4,
        told=told,
    )


def firing(entries, row=0, axes=("timestep", "y", "x"), **sizes):
    """Where a latent fires: coordinates → value."""
    known = {"timestep": len(TICKS), "branch": 2, "y": GRID, "x": GRID} | sizes
    coords = np.array(list(entries), dtype=np.int64).reshape(-1, len(axes))
    return Firing(row, coords, np.array(list(entries.values()), dtype=np.float32), {axis: known[axis] for axis in axes})


def view_of(firings=None, model=None, point=None, ceiling=4.0, **changes):
    """A view of examples of which those given fire."""
    firings = firings or {}
    strength = np.zeros(ROWS, dtype=np.float32)
    for row, one in firings.items():
        strength[row] = one.values.max(initial=0.0)
    silent = firing({})
    kept = {"firing_in": lambda row: firings.get(row, silent)} | changes
    return LatentView(3, point or hook(), ceiling, strength, Pictures(), model or Model(), **kept)


def panels(figure):
    """What stands in every panel of a strip, by its place (x, y)."""
    return {(float(x), float(y)): inside for x, y, inside in PANEL.findall(figure.data.decode())}


def strip(view, one, **options):
    (figure,) = StripsConfig(**options).build().draw_example(view, one)
    return figure


class Conformance(VisualizerTests):
    @pytest.fixture
    def firing(self):
        return firing({(7, 2, 5): 2.0, (8, 2, 5): 1.0, (3, 0, 0): 0.5})

    @pytest.fixture
    def view(self, firing):
        return view_of({0: firing, 4: firing})


class TestStrips(Conformance):
    @pytest.fixture
    def config(self):
        return StripsConfig()


class TestStripsWithFrames(TestStrips):
    @pytest.fixture
    def view(self, firing):
        return view_of({0: firing}, Model(frames=len(TICKS)))


class TestStripsWithoutPictures(TestStrips):
    @pytest.fixture
    def view(self, firing):
        return view_of({0: firing}, Model(picture=False))


class TestTrajectory(Conformance):
    @pytest.fixture
    def config(self):
        return TrajectoryConfig()


class TestTrajectoryOfStepsAlone(TestTrajectory):
    @pytest.fixture
    def firing(self):
        return firing({(7,): 2.0}, axes=("timestep",))

    @pytest.fixture
    def view(self, firing):
        silent = Firing(0, firing.coords[:0], firing.values[:0], firing.sizes)
        point = hook("example d")
        return view_of({0: firing}, point=point, firing_in=lambda row: firing if row == 0 else silent)


# -- strips ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 4, 9, 13, 19])
def test_a_latent_shows_at_its_step_and_place_and_nowhere_else(step):
    figure = strip(view_of(), firing({(step, 2, 5): 2.0}))
    lit = {at: inside for at, inside in panels(figure).items() if "<path" in inside}
    assert len(lit) == 1, "it fires at one step"
    ((_, inside),) = lit.items()
    assert re.findall(r' d="([^"]*)"', inside) == ["M5 2h1v1h-1z"]
    assert f"fill:{colour(0.5)}" in inside
    assert f"<title>scheduler time {TICKS[step]:g}: 1 of 64 tokens, strongest 2 at row 3, column 6</title>" in inside


def test_the_plain_picture_stands_beside_the_maps_and_grey_beneath_them():
    shown = list(panels(strip(view_of(), firing({(7, 2, 5): 2.0}))).values())
    assert len(shown) == 7
    src = f'href="{place(0, 16, 16).src}"'
    assert all(src in inside for inside in shown)
    assert ["grayscale" in inside for inside in shown] == [False] + [True] * 6


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 8.0), st.floats(0.5, 8.0))
def test_the_scale_is_the_latents_not_the_examples(value, ceiling):
    figure = strip(view_of(ceiling=ceiling), firing({(0, 1, 1): value}))
    share = round(min(np.float32(value) / ceiling, 1.0) * 24) / 24
    assert f"fill:{colour(float(share))};fill-opacity" in figure.data.decode()


def test_along_branches_the_largest_is_shown_and_said():
    axes = ("timestep", "branch", "y", "x")
    point = hook("(branch example) d y x", branch=2, y=GRID, x=GRID)
    one = firing({(5, 0, 1, 1): 1.0, (5, 1, 1, 1): 3.0, (5, 0, 2, 2): 2.0}, axes=axes)
    assert steps.maps(one)[5, 1, 1] == 3.0
    assert steps.maps(one)[5, 2, 2] == 2.0
    figure = strip(view_of(point=point), one)
    assert "the largest over the branches" in figure.caption
    assert "branches" not in strip(view_of(), firing({(5, 1, 1): 1.0})).caption
    (drawn,) = TrajectoryConfig().build().draw_example(view_of(point=point), one)
    assert "the largest over the branches" in drawn.caption


def test_special_tokens_are_left_out_and_said():
    one = firing({(5, 1, 1): 1.0, (-1, -1, -1): 9.0})
    assert steps.maps(one).max() == 1.0
    assert "special tokens" in strip(view_of(), one).caption


def test_pictures_on_the_way_stand_beneath_their_steps():
    figure = strip(view_of(model=Model(frames=len(TICKS))), firing({(7, 2, 5): 2.0}), steps=4)
    rows = sorted({y for (x, y) in panels(figure) if x > 0})
    below = [inside for (x, y), inside in sorted(panels(figure).items()) if y == rows[1] and x > 0]
    for step, inside in zip((0, 7, 13, 19), below, strict=True):
        assert embedded(np.full((16, 16, 3), step, dtype=np.uint8)).src in inside
    assert "above the picture at these steps" in figure.alt


def test_frames_of_another_number_than_steps_are_not_shown():
    assert "data:image" not in strip(view_of(model=Model(frames=3)), firing({(7, 2, 5): 2.0})).data.decode()


def test_frames_are_made_once_an_example_and_for_no_more_than_asked():
    model = Model(frames=2)
    courses, view = Courses(3), view_of(model=model)
    found = [courses.of(view, row).frames is not None for row in (0, 1, 0, 2, 3, 4, 1)]
    assert found == [True, True, True, True, False, False, True]
    assert model.made == [0, 1, 2]
    assert courses.of(view, ROWS - 1) == courses.of(view, ROWS - 1)
    assert courses.of(view, ROWS - 1).plain is None, "it cannot be read"


def test_a_model_that_knows_its_pictures_size_makes_none():
    model = Model(picture_size=(512, 384))
    plain = Courses(3).of(view_of(model=model), 5).plain
    assert not model.asked
    assert plain.src == place(5, 512, 384).src


def test_steps_that_were_not_read_are_left_out_not_silent():
    model = Model(read_times=(950.0, 500.0, 0.0), frames=len(TICKS))
    figure = strip(view_of(model=model), firing({(9, 2, 5): 2.0}))
    said = re.findall(r"<title>scheduler time (\d+): (\w+)", figure.data.decode())
    assert dict(said) == {"950": "silent", "500": "2", "0": "silent"}
    assert figure.caption.startswith("by scheduler time, 3 of 3 steps; strongest at 500")
    (drawn,) = TrajectoryConfig().build().draw_example(view_of(model=model), firing({(9, 2, 5): 2.0}))
    assert "Strength at 3 steps" in drawn.alt


def test_a_strip_says_in_numbers_what_is_seen():
    alt = strip(view_of(), firing({(7, 2, 5): 2.0, (8, 2, 5): 1.0})).alt
    assert alt == (
        "Heat maps of 6 of 20 steps, beside the plain picture, at scheduler time 950, 750, 600, 400, 200, 0: fires at "
        "2 of them all; strongest 2, 50 % of the latent's largest value, at scheduler time 600, row 3 of 8, column 6 "
        "of 8"
    )
    assert "silent at every step" in strip(view_of(), firing({})).alt


def test_every_step_has_its_bar_shown_or_not():
    values = {(step, 0, 0): 1.0 + step / 10 for step in range(20)}
    drawn = strip(view_of(), firing(values)).data.decode()
    assert len(re.findall(r'<rect class="level"', drawn)) == 20
    assert "<title>scheduler time 900: 1.1</title>" in drawn


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(2, 16), st.data())
def test_chosen_steps_ascend_fit_and_hold_the_strongest(count, most, data):
    strongest = data.draw(st.none() | st.integers(0, count - 1))
    found = steps.chosen(count, most, strongest)
    assert found == sorted(set(found))
    assert len(found) == min(most, count)
    assert strongest is None or strongest in found
    assert strongest is not None or (found[0] == 0 and found[-1] == count - 1)


def test_places_follow_times_that_run_one_way_else_steps():
    assert steps.Clock((900.0, 300.0, 0.0)).places() == pytest.approx([0, 2 / 3, 1])
    assert steps.Clock((0.0, 0.25, 1.0)).places() == pytest.approx([0, 0.25, 1])
    assert steps.Clock((900.0, 300.0, 300.0, 0.0)).places() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert steps.Clock((999.0,)).places() == pytest.approx([0.5])
    assert steps.Clock((1000.0, -0.5)).name(0) == "1000"


def test_steps_without_times_are_counted():
    point = HookPoint(name="mid", at=("mid",), pattern="example timestep d y x", width=4)
    figure = strip(view_of(point=point), firing({(2, 1, 1): 1.0}, timestep=3))
    assert figure.caption.startswith("by step, 3 of 3 steps; strongest at 3")


@settings(deadline=None)
@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 4, width=32)))
def test_cells_cover_each_lit_token_once_in_its_colour(values):
    got = {}
    for path, fill in re.findall(r'd="([^"]*)" style="fill:(#\w+)', cells(values, 4.0)):
        for x, y, wide in re.findall(r"M(\d+) (\d+)h(\d+)v1", path):
            for k in range(int(wide)):
                assert (int(y), int(x) + k) not in got
                got[int(y), int(x) + k] = fill
    wanted = {(y, x): colour(round(v / 4 * 24) / 24) for (y, x), v in np.ndenumerate(values.astype(float)) if v > 0}
    assert got == wanted


def test_fine_grids_are_drawn_in_blocks_that_lose_no_peak():
    values = np.zeros((64, 50), dtype=np.float32)
    values[63, 49] = 2.0
    small, block = coarse(values)
    assert (small.shape, block) == ((32, 25), 2)
    assert small[31, 24] == 2.0
    assert small.sum() == 2.0
    assert max(small.shape) <= FINEST
    point = hook(y=64, x=50)
    assert "2 × 2 tokens" in strip(view_of(point=point), firing({(3, 63, 49): 1.0}, y=64, x=50)).caption


# -- trajectories ----------------------------------------------------------------------------------------------------


def test_a_course_is_mean_and_quantiles_over_examples_the_silent_ones_with_zero():
    random = np.random.default_rng(1)
    firings = {
        row: firing({(t, 0, p): float(random.uniform(0.1, 4)) for t in range(20) for p in range(2)}, row)
        for row in range(0, 30, 2)
    }
    scored = np.arange(ROWS) < 35
    view = view_of(firings, scored=scored)
    courses = TrajectoryConfig(top=3).build()._courses(view)
    every = np.zeros((35, 20))
    for row, one in firings.items():
        for (step, _, _), value in zip(one.coords.tolist(), one.values.tolist(), strict=True):
            every[row, step] = max(every[row, step], value)
    assert courses.all.n == courses.scored == 35
    assert courses.all.mean == pytest.approx(every.mean(axis=0), rel=1e-5)
    assert courses.all.low == pytest.approx(np.quantile(every, 0.1, axis=0), rel=1e-5)
    strongest = np.argsort(-every.max(axis=1))[:3]
    assert courses.top.mean == pytest.approx(every[strongest].mean(axis=0), rel=1e-5)
    assert courses.top.high == pytest.approx(np.quantile(every[strongest], 0.9, axis=0), rel=1e-5)


def heights(drawn, dashed):
    """The y coordinates of the solid or of the dashed line."""
    found = re.findall(r'<polyline points="([^"]*)" fill="none" style="([^"]*)"', drawn)
    (points,) = [points for points, style in found if ("dasharray" in style) == dashed]
    return [float(point.split(",")[1]) for point in points.split()]


def test_lines_rise_where_the_latent_is_strong():
    firings = {row: firing({(7, 1, 1): 4.0}, row) for row in range(20)}
    view = view_of(firings)
    visualizer = TrajectoryConfig(top=5).build()
    (whole,) = visualizer.draw_latent(view)
    solid, dashed = (heights(whole.data.decode(), kind) for kind in (False, True))
    assert int(np.argmin(solid)) == int(np.argmin(dashed)) == 7
    base = solid[0]
    assert (base - dashed[7]) / (base - solid[7]) == pytest.approx(0.5, abs=0.01), "half of the examples fire"
    assert "Strongest 5 examples: mean 0 at 950, largest 4 at 600" in whole.alt
    assert "All 40 scored: mean 0 at 950, largest 2 at 600" in whole.alt
    (own,) = visualizer.draw_example(view, firings[3])
    assert int(np.argmin(heights(own.data.decode(), False))) == 7
    assert own.alt.endswith("strongest 4 at scheduler time 600; the mean of 40 examples there is 2, the largest 4")


def test_noise_is_left_and_picture_right():
    firings = {0: firing({(0, 0, 0): 1.0})}
    (whole,) = TrajectoryConfig().build().draw_latent(view_of(firings))
    drawn = whole.data.decode()
    at = {words: float(x) for x, words in re.findall(r'<text class="tick" x="([\d.]+)"[^>]*>(\w+)</text>', drawn)}
    assert at["950"] < at["500"] < at["0"]
    assert at["noise"] == at["950"]
    assert at["picture"] > at["noise"]


def test_many_examples_are_picked_evenly_and_said():
    firings = {row: firing({(7, 1, 1): 2.0}, row) for row in range(ROWS)}
    (whole,) = TrajectoryConfig(examples=10).build().draw_latent(view_of(firings))
    assert "of all n = 10 scored ones (of 40, evenly picked)" in whole.caption


def test_nothing_is_drawn_over_the_dataset_where_only_strengths_are_known():
    one = firing({(7, 1, 1): 2.0})
    view = view_of({0: one}, firing_in=None)
    visualizer = TrajectoryConfig().build()
    assert not visualizer.draw_latent(view)
    assert not TrajectoryConfig().build().draw_latent(view_of())
    (own,) = visualizer.draw_example(view, one)
    assert "mean of" not in own.data.decode()


def test_one_step_is_a_dot():
    point = hook(ticks=(999.0,))
    one = firing({(0, 1, 1): 2.0}, timestep=1)
    view = view_of({0: one}, point=point, firing_in=lambda row: one)
    (whole,) = TrajectoryConfig().build().draw_latent(view)
    assert whole.data.decode().count("<circle") == 2
    assert "999" in whole.data.decode()


def test_configs_refuse_what_makes_no_sense():
    assert [config.model_fields["type"].default for config in VIEWS] == ["diffusion.strips", "diffusion.trajectory"]
    with pytest.raises(ValidationError):
        StripsConfig(steps=1)
    with pytest.raises(ValidationError):
        TrajectoryConfig(bands=3)
