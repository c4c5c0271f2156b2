"""The page of studies in a real browser, opened from disk, light and dark."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
pytest.importorskip("selenium", reason="selenium is not installed (requirements-dev.txt)")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PAGE = Path(__file__).parents[1] / "core" / "report" / "test_studies_page.py"


@pytest.fixture(scope="module")
def report(world, tmp_path_factory):
    spec = importlib.util.spec_from_file_location("studies_page", PAGE)
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    return pages.reported(world, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("width", [1280, 480])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_sticks_out_and_everything_is_drawn(report, visit, theme, width):
    found = visit(report, "studies.html", ".studies section table")
    found.set_window_size(width, 900)
    found.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    assert found.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    drawn = found.find_element(By.CSS_SELECTOR, ".panel svg.chart")
    assert drawn.size["width"] > 200
    curves = found.find_elements(By.CSS_SELECTOR, ".panel polyline")
    colours = {curve.value_of_css_property("stroke") for curve in curves}
    assert len(curves) == len(colours) == 3
    image = found.find_element(By.CSS_SELECTOR, ".panel img")
    assert found.execute_script("return arguments[0].complete && arguments[0].naturalWidth === 1", image)
    box = found.find_element(By.CSS_SELECTOR, ".scroller.boxed")
    assert box.size["height"] < 500  # 210 rows scroll beneath their heads
    found.set_window_size(1280, 900)


def test_a_latent_in_a_table_leads_to_its_page(report, visit):
    found = visit(report, "studies.html", ".boxed td a")
    found.find_element(By.CSS_SELECTOR, ".boxed td a[href='latent.html#4']").click()
    heading = WebDriverWait(found, 30).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#latent h1"))
    assert heading[0].text == "Latent 4"
    assert "word 4" in found.find_element(By.CSS_SELECTOR, "main").text
