"""A headless Chromium, and reports made of arrays for it to open from disk."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)
WORLD = Path(__file__).parents[1] / "core" / "report" / "world.py"


@pytest.fixture(scope="session")
def world() -> ModuleType:
    if "report_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("report_world", WORLD)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["report_world"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["report_world"])
    return sys.modules["report_world"]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.set_page_load_timeout(60)
    yield opened
    opened.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """The browser, which at the end must have nothing on its console and must have asked the network for nothing."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    yield chromium
    complaints = [f"{entry['level']}: {entry['message']}" for entry in chromium.get_log("browser")]
    assert not complaints, complaints


@pytest.fixture(scope="session")
def small(world: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 60 latents with pictures, concepts, maps and effects."""
    from omnisae.report.build import build

    made = world.make(tmp_path_factory.mktemp("small"), n=120, side=48, latents=60, grid=8, per_latent=30)
    return Path(build(*made.parts())).parent


@pytest.fixture
def visit(browser: Any) -> Callable[..., Any]:
    """Open a page of a report and wait until something is there."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def open_page(folder: Path, page: str, until: str) -> Any:
        browser.get("about:blank")  # so that a change of the fragment alone loads the page anew
        browser.get(f"file://{folder}/{page}")
        WebDriverWait(browser, 30).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, until))
        return browser

    return open_page
