"""The report in a real browser, opened from disk."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
pytest.importorskip("selenium", reason="selenium is not installed (requirements-dev.txt)")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

# Counts lit pixels on a copy, since reading a canvas back changes how the browser keeps it.
LIT = """
    const c = arguments[0], copy = document.createElement('canvas');
    copy.width = c.width; copy.height = c.height;
    const context = copy.getContext('2d', {willReadFrequently: true});
    context.drawImage(c, 0, 0);
    const data = context.getImageData(0, 0, c.width, c.height).data;
    let lit = 0;
    for (let i = 3; i < data.length; i += 4) lit += data[i] > 0;
    return [lit, c.width];"""
LATENTS = "#table[data-complete] tr[data-at]"


def texts(browser, selector):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def column(browser, number):
    rows = browser.find_elements(By.CSS_SELECTOR, "#table tr[data-at]")
    return [row.find_elements(By.TAG_NAME, "td")[number].text for row in rows]


def wait(browser, condition):
    return WebDriverWait(browser, 30).until(condition)


def floats(cells):
    return [float(cell.replace("−", "-")) for cell in cells if cell != "–"]


def test_overview_answers_without_scripts_having_to_build_it(small, visit):
    browser = visit(small, "index.html", ".dot .mark.sure")
    assert "have a latent that beats every control" in browser.find_element(By.TAG_NAME, "h1").text
    margins = floats(texts(browser, ".dot:not(.head) .num:nth-of-type(2)"))
    assert margins == sorted(margins, reverse=True)
    assert len(margins) == 13
    link = browser.find_element(By.CSS_SELECTOR, ".dot .name")
    link.click()
    wait(browser, lambda b: texts(b, "#latent h1"))
    assert browser.find_element(By.CSS_SELECTOR, "#latent h1").text.startswith("Latent ")


def test_concept_table_sorts_both_ways_and_filters(small, visit):
    browser = visit(small, "concepts.html", "#table tr[data-at]")
    heads = texts(browser, "#table th")
    f1 = next(i for i, head in enumerate(heads) if head.startswith("F1"))
    button = browser.find_elements(By.CSS_SELECTOR, "#table th button")[f1]
    button.click()
    assert floats(column(browser, f1)) == sorted(floats(column(browser, f1)), reverse=True)
    assert browser.find_elements(By.CSS_SELECTOR, "#table th")[f1].get_attribute("aria-sort") == "descending"
    button.click()
    assert floats(column(browser, f1)) == sorted(floats(column(browser, f1)))
    assert column(browser, f1)[-1] == "–"
    browser.find_element(By.ID, "search").send_keys("yellow")
    assert set(column(browser, 0)) == {"yellow disc", "yellow edge", "yellow shade"}
    browser.find_element(By.ID, "search").clear()
    browser.find_element(By.ID, "search").send_keys(Keys.SPACE, Keys.BACKSPACE)
    before = len(column(browser, 0))
    browser.find_element(By.ID, "sure").click()
    assert 0 < len(column(browser, 0)) < before
    assert all(margin > 0 for margin in floats(column(browser, heads.index(next(h for h in heads if "Margin" in h)))))


def test_a_heatmap_shows_and_can_be_read_token_by_token(small, visit):
    browser = visit(small, "latent.html#5", ".hot canvas")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#top ~ .cards .hot")) == 16
    canvas = browser.find_element(By.CSS_SELECTOR, ".hot canvas")
    smooth, wide = browser.execute_script(LIT, canvas)
    browser.find_elements(By.CSS_SELECTOR, ".modes button")[1].click()
    patches, narrow = browser.execute_script(LIT, canvas)
    assert smooth > patches > 0
    assert (narrow, wide) == (8, 8 * 16)
    assert "patches" in canvas.get_attribute("class")
    picture = browser.find_element(By.CSS_SELECTOR, ".pair .frame:not(.hot) img")
    wait(
        browser, lambda b: b.execute_script("return arguments[0].complete && arguments[0].naturalWidth === 48", picture)
    )
    assert picture.get_attribute("alt").endswith(", plain")
    frame = browser.find_element(By.CSS_SELECTOR, ".hot")
    browser.execute_script("arguments[0].focus()", frame)
    first = frame.find_element(By.CSS_SELECTOR, ".tip").text
    assert "100 % of max" in first
    frame.send_keys(Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert frame.find_element(By.CSS_SELECTOR, ".tip").text != first
    frame.send_keys(Keys.HOME)
    assert frame.find_element(By.CSS_SELECTOR, ".tip").text == first


def test_one_scale_for_all_examples_of_a_latent(small, visit):
    browser = visit(small, "latent.html#5", ".hot canvas")
    browser.find_elements(By.CSS_SELECTOR, ".modes button")[1].click()
    colours = browser.execute_script("""
        const seen = [];
        for (const frame of document.querySelectorAll('.hot')) {
          const c = frame.querySelector('canvas'), copy = document.createElement('canvas');
          const context = copy.getContext('2d', {willReadFrequently: true});
          context.drawImage(c, 0, 0);
          const d = context.getImageData(0, 0, c.width, c.height).data;
          let best = 0;
          for (let i = 0; i < d.length; i += 4) if (d[i + 3]) best = Math.max(best, d[i + 1]);
          const text = frame.closest('.card').querySelector('.value').textContent;
          seen.push([Number(text), best]);
        }
        return seen;""")
    by_value = sorted(colours, reverse=True)
    assert by_value[0][1] > by_value[-1][1] + 20
    greens = [green for _, green in by_value]
    assert all(a >= b - 3 for a, b in pairwise(greens))


def test_previous_next_and_missing_latents(small, visit):
    browser = visit(small, "latent.html#1", "#latent[data-latent='1']")
    browser.find_element(By.CSS_SELECTOR, "a[rel=next]").click()
    wait(browser, lambda b: texts(b, "#latent h1") == ["Latent 2"])
    assert browser.title.startswith("Latent 2 ")
    visit(small, "latent.html#49", "#latent[data-latent='49']")
    assert "Dead" in browser.find_element(By.CSS_SELECTOR, ".lede").text
    visit(small, "latent.html#600", "#latent h1")
    assert texts(browser, "#latent h1") == ["No such latent"]


def test_poles_can_be_told_apart_and_reached(world, visit, tmp_path):
    from omnisae.report.build import build

    made = world.make(tmp_path, n=120, side=48, latents=60, grid=8, per_latent=30, signed=True)
    folder = Path(build(*made.parts())).parent
    browser = visit(folder, "latent.html#5-", "#latent[data-latent='5-'] .hot canvas")
    assert texts(browser, "#latent h1") == ["Latent 5, negative pole"]
    assert browser.title.startswith("Latent 5, negative pole · ")
    assert "numbers and colours are their magnitudes" in browser.find_element(By.ID, "latent").text
    other = browser.find_element(By.CSS_SELECTOR, ".lede + .sub a")
    assert other.text == "5+"
    other.click()
    wait(browser, lambda b: texts(b, "#latent h1") == ["Latent 5, positive pole"])
    for rel, heading in (("prev", "Latent 4, negative pole"), ("next", "Latent 5, positive pole")):
        browser.find_element(By.CSS_SELECTOR, f"a[rel={rel}]").click()
        wait(browser, lambda b, heading=heading: texts(b, "#latent h1") == [heading])
    visit(folder, "latent.html#29-", "#latent[data-latent='29-']")
    assert not browser.find_elements(By.CSS_SELECTOR, "a[rel=next]")
    visit(folder, "latent.html#5", "#latent[data-latent='5+']")
    visit(folder, "latent.html#30+", "#latent h1")
    assert texts(browser, "#latent h1") == ["No such latent"]
    visit(folder, "latent.html#0-", "section[aria-labelledby=effect] tbody tr")
    effect = browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=effect]")
    assert "this pole +0.0741" in effect.text
    assert effect.find_element(By.LINK_TEXT, "latent 2+").get_attribute("href").endswith("latent.html#2+")
    visit(folder, "latents.html", LATENTS)
    assert browser.find_element(By.ID, "count").text == "60 of 60 poles"
    browser.find_element(By.CSS_SELECTOR, "#table th button").click()
    assert column(browser, 0)[:4] == ["0+", "0−", "1+", "1−"]
    browser.find_element(By.ID, "search").send_keys("17-")
    wait(browser, lambda b: column(b, 0) == ["17−"])
    browser.find_element(By.CSS_SELECTOR, "#table tr[data-at] a").click()
    wait(browser, lambda b: texts(b, "#latent h1") == ["Latent 17, negative pole"])


def test_a_latents_page_has_its_drawings_its_controls_and_its_effect(small, visit):
    browser = visit(small, "latent.html#0", "canvas.plate[data-drawn]")
    page = browser.find_element(By.ID, "latent").text
    for part in (
        "Top examples",
        "Random examples",
        "Its concepts, on test examples",
        "How strongly it fires",
        "Switching it off",
    ):
        assert part in page
    heads = texts(browser, ".data.plain th")
    assert {"Margin", "F1", "Prec.", "Recall", "AUROC", "Neuron", "PCA", "Random", "q"} <= set(heads)
    effect = browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=effect]").text
    assert "+0.0741 +0.051 to +0.098 32" in effect
    assert "those that fire as often, together +0.004" in effect
    assert {"test", "select"} == set(texts(browser, ".card .side"))


def test_theme_follows_the_switch_and_stays(small, visit):
    browser = visit(small, "index.html", "#theme")
    paper = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(paper)
    browser.find_element(By.ID, "theme").click()
    after = browser.execute_script(paper)
    assert before != after
    visit(small, "concepts.html", "#theme")
    assert browser.execute_script(paper) == after
    browser.execute_script("localStorage.clear()")


def test_everything_can_be_reached_by_keyboard(small, visit):
    browser = visit(small, "concepts.html", "#table tr[data-at]")
    reached = []
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        reached.append(active.get_attribute("id") or active.text.strip() or active.tag_name)
        outline = browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", active)
        assert outline != "none", reached[-1]
    assert reached[0] == "Skip to the content"
    wanted = {"Overview", "Concepts", "Latents", "theme", "search", "sure", "all", "table", "Concept", "F1"}
    assert wanted <= set(reached), wanted - set(reached)
    assert any(text.isdigit() for text in reached)


def test_every_picture_and_control_has_a_name(small, visit):
    browser = visit(small, "latent.html#0", "canvas.plate[data-drawn]")
    nameless = browser.execute_script("""
        return [...document.querySelectorAll('img, svg[role=img], canvas[role=img], [role=group], [role=region], nav')]
          .filter(e => !e.hasAttribute('alt') && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby'))
          .map(e => e.outerHTML.slice(0, 120))""")
    assert nameless == []
    assert browser.execute_script("return document.documentElement.lang") == "en"
    assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1


@pytest.mark.parametrize("page", ["index.html", "concepts.html", "latents.html", "latent.html#0"])
def test_hostile_names_run_no_script(world, visit, tmp_path, page):
    from omnisae.report.build import build

    made = world.make(tmp_path, n=60, side=16, latents=12, grid=4, per_latent=10, hostile=True, name="<b>x</b>")
    folder = Path(build(*made.parts())).parent
    ready = {"index.html": ".dot", "latent.html#0": ".hot"}.get(page, "#table tr[data-at]")
    browser = visit(folder, page, ready)
    assert (
        browser.execute_script("return document.querySelectorAll('img[src=x], main script, b b, .brand b').length") == 0
    )
    assert "<script>alert(1)</script>" in browser.find_element(By.TAG_NAME, "body").text or page == "latents.html"


def test_a_bare_run_can_be_read(world, visit, tmp_path):
    from omnisae.report.build import build

    made = world.make(tmp_path, n=60, side=16, latents=12, grid=4, per_latent=10, bare=True, maps=False, pictures=False)
    folder = Path(build(*made.parts())).parent
    browser = visit(folder, "latents.html", LATENTS)
    assert not browser.find_element(By.ID, "sure").is_displayed()
    visit(folder, "concepts.html", "#count")
    visit(folder, "latent.html#0", ".hot canvas")
    assert not browser.find_elements(By.CSS_SELECTOR, ".pair .frame:not(.hot)")
    assert "No concept has it" in browser.find_element(By.CSS_SELECTOR, ".lede").text


@pytest.mark.slow
def test_sixteen_thousand_latents_stay_usable(world, visit, tmp_path):
    from omnisae.report.build import build

    made = world.make(tmp_path, n=60, side=16, latents=16_384, grid=4, per_latent=3)
    made.config = world.config(latents=20)
    folder = Path(build(*made.parts())).parent
    start = time.monotonic()
    browser = visit(folder, "latents.html", LATENTS)
    assert time.monotonic() - start < 15
    assert browser.find_element(By.ID, "count").text == "16\u202f384 of 16\u202f384 latents"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#table tr[data-at]")) < 100
    slowest = browser.execute_async_script("""
        const done = arguments[0], box = document.getElementById('table'), times = [];
        let step = 0;
        const go = () => {
          const start = performance.now();
          box.scrollTop = (step * 7919 * 36) % (box.scrollHeight - box.clientHeight);
          requestAnimationFrame(() => requestAnimationFrame(() => {
            times.push(performance.now() - start);
            if ((step += 1) < 40) go(); else done(times.sort((a, b) => a - b)[Math.floor(times.length / 2)]);
          }));
        };
        go();""")
    assert slowest < 250
    browser.execute_script("document.getElementById('table').scrollTop = 1e9")
    wait(
        browser,
        lambda b: b.execute_script("return document.querySelectorAll('tr[aria-rowindex=\"16385\"]').length") == 1,
    )
    search = browser.find_element(By.ID, "search")
    search.send_keys("12345")
    wait(browser, lambda b: column(b, 0) == ["12345"])
    browser.find_element(By.CSS_SELECTOR, "#table tr[data-at] a").click()
    wait(browser, lambda b: texts(b, "#latent h1") == ["Latent 12345"])
    assert "no drawings" in browser.find_element(By.CSS_SELECTOR, ".notice").text
