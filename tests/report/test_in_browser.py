"""What a reader does with the report, done in Chromium without network."""

import json
import re
import zipfile

import pytest

from perturb.report import html
from tests.browser import faults

MAIN = "#table-digits"
METHODS = f"{MAIN} tbody tr:not(.section):not([hidden]) td.code > code"


@pytest.fixture(scope="module")
def report(chapter, plan, results):
    html.write([chapter], results / "report.html", title=plan.title)
    return results / "report.html"


@pytest.fixture
def page(report, open_page):
    return open_page(report, viewport={"width": 1400, "height": 900})


def sort_by(page, head):
    page.locator(f"{MAIN} tr.heads").get_by_role("button", name=head).click()


def values(page, column):
    """Return a column of the main table from top to bottom, None where there is no number."""
    rows = page.locator(f"{MAIN} tbody tr:not(.section):not([hidden])")
    return rows.evaluate_all(
        """(rows, column) => rows.map(row => {
            let at = 0;
            for (const cell of row.cells) {
                if (at === column && cell.colSpan === 1) return cell.dataset.value ?? null;
                at += cell.colSpan;
            }
            return null;
        })""",
        column,
    )


def test_a_column_is_sorted_by_its_numbers_and_back(page):
    before = page.locator(METHODS).all_inner_texts()
    heads = page.locator(f"{MAIN} tr.heads th")
    column = next(i for i, text in enumerate(heads.all_inner_texts()) if "Difference" in text)
    assert heads.nth(column).get_attribute("aria-sort") is None
    sort_by(page, "Difference to pugd_30")
    assert heads.nth(column).get_attribute("aria-sort") == "ascending"
    rising = values(page, column)
    numbers = [float(value) for value in rising if value is not None]
    assert len(numbers) > 5 and numbers[0] < 0 < numbers[-1]
    assert numbers == sorted(numbers)
    assert rising[len(numbers) :] == [None] * (len(rising) - len(numbers)), "without a value: last"
    # As texts they would stand otherwise: the test can fail.
    assert rising[: len(numbers)] != sorted(rising[: len(numbers)])
    assert not page.locator(f"{MAIN} tr.section").first.is_visible()
    sort_by(page, "Difference to pugd_30")
    falling = [float(value) for value in values(page, column) if value is not None]
    assert falling == sorted(numbers, reverse=True)
    sort_by(page, "Difference to pugd_30")
    assert heads.nth(column).get_attribute("aria-sort") is None
    assert page.locator(METHODS).all_inner_texts() == before
    sort_by(page, "Method")
    names = page.locator(METHODS).all_inner_texts()
    assert set(names) == set(before) and names[0].startswith("aesam")


def test_rows_are_filtered_and_a_claim_shows_its_row_again(page):
    everything = page.locator(METHODS).count()
    page.locator(MAIN).get_by_role("searchbox").fill("pugdt nosuchword")
    assert page.locator(METHODS).count() == 0
    page.locator(MAIN).get_by_role("searchbox").fill("PUGDT_")
    shown = page.locator(METHODS).all_inner_texts()
    assert 0 < len(shown) < everything and all("pugdt_" in name for name in shown)
    assert (
        page.locator(f"{MAIN} [role=status]").inner_text() == f"{len(shown)} of {everything} rows"
    )
    # One of them is a late start among the baselines; no other heading stands without rows.
    headings = page.locator(f"{MAIN} tr.section:not([hidden])").all_inner_texts()
    assert [heading.strip() for heading in headings] == ["Baselines", "Timing"]
    assert not page.locator("#digits-pugd_30").is_visible()
    page.locator(".glance").get_by_role("link", name="pugd_30", exact=True).first.click()
    page.wait_for_function("() => document.querySelector('#digits-pugd_30').checkVisibility()")
    assert page.locator(METHODS).count() == everything


def test_a_name_is_explained_where_it_stands(page):
    row = page.locator(r"#digits-pugdr_isin_2_0\.01_30")
    assert row.locator("svg.schedule title").text_content() == "Radius from 100 to 0.501 (isin)"
    about = row.locator("details.about")
    assert not about.locator("p").first.is_visible()
    about.locator("summary").press("Enter")
    assert "PUGD with radius r and scale s" in about.locator("p").first.inner_text()


def test_a_figure_is_enlarged_and_leads_to_its_files(page, report):
    page.get_by_role("button", name=re.compile("^Enlarge: Schedules")).click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").inner_text() == "Schedules of radius and scale"
    assert dialog.locator("img").evaluate("image => image.complete && image.naturalWidth > 1000")
    for kind in ("PDF", "PNG"):
        link = dialog.get_by_role("link", name=kind).get_attribute("href")
        assert (report.parent / link).stat().st_size > 1000
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def drawn(page):
    """Return the names of the curves that are drawn, bands left out."""
    page.wait_for_function("() => document.querySelector('.plot')?.data")
    return page.evaluate(
        "() => document.querySelector('.plot').data.filter(t => t.hovertemplate).map(t => t.name)"
    )


def test_curves_are_chosen(page):
    page.locator("#curves-digits").scroll_into_view_if_needed()
    curves = page.locator("#curves-digits")
    assert drawn(page)[0] and "pugd_30" in drawn(page) and len(drawn(page)) == 6
    curves.get_by_label("pugd_30", exact=True).uncheck()
    assert "pugd_30" not in drawn(page) and len(drawn(page)) == 5
    curves.get_by_role("button", name="None").click()
    curves.get_by_label("sgd_30", exact=True).check()
    assert drawn(page) == ["sgd_30"]
    curves.get_by_label("every seed").check()
    assert drawn(page) == ["sgd_30"] * 3
    layout = "() => document.querySelector('.plot').layout"
    assert page.evaluate(layout)["xaxis"]["title"]["text"] == "Epochs completed"
    curves.get_by_label("gradient evaluations").check()
    curves.get_by_role("combobox").select_option("test loss")
    curves.get_by_label("logarithmic").check()
    after = page.evaluate(layout)
    assert after["xaxis"]["title"]["text"] == "Batch gradients computed"
    assert (after["yaxis"]["type"], after["yaxis"]["title"]["text"]) == ("log", "Test loss (nats)")


def test_the_band_is_the_mean_and_the_spread_of_the_seeds(page):
    page.locator("#curves-digits").scroll_into_view_if_needed()
    drawn(page)
    data = json.loads(page.locator("#curves-digits script").text_content())
    method = next(one for one in data["methods"] if one["name"] == "sgd_30")
    ends = [run["values"]["test_accuracy"][-1] for run in method["runs"]]
    mean = sum(ends) / 3
    sd = (sum((end - mean) ** 2 for end in ends) / 2) ** 0.5
    curve = page.evaluate("data => band(data, 'test_accuracy', 'epochs').at(-1)", method["runs"])
    assert len(ends) == 3 and sd > 0
    assert (curve["x"], curve["mean"], curve["sd"]) == (
        30,
        pytest.approx(mean),
        pytest.approx(sd),
    )


@pytest.fixture
def two_sets(report, open_page):
    """A page whose curves are of two data sets: seed 2 of every run called that of the second."""
    text = report.read_text(encoding="utf-8")
    begin = '<script type="application/json">'
    before, rest = text.split(begin, 1)
    inside, after = rest.split("</script>", 1)
    data = json.loads(inside)
    data["sets"] = ["digits", "noisy digits"]
    for method in data["methods"]:
        for run in method["runs"]:
            run["set"] = int(run["seed"] == 2)
    path = report.with_name("two_sets.html")
    path.write_text(f"{before}{begin}{json.dumps(data)}</script>{after}", encoding="utf-8")
    yield open_page(path, viewport={"width": 1400, "height": 900}), data
    path.unlink()


def test_curves_of_two_data_sets_are_never_averaged(two_sets):
    page, data = two_sets
    curves = page.locator("#curves-digits")
    curves.scroll_into_view_if_needed()
    drawn(page)
    curves.get_by_role("button", name="None").click()
    curves.get_by_label("sgd_30", exact=True).check()
    runs = next(one for one in data["methods"] if one["name"] == "sgd_30")["runs"]
    ends = [run["values"]["test_accuracy"][-1] for run in runs]
    last = "() => document.querySelector('.plot').data.at(-1).y.at(-1)"
    assert page.evaluate(last) == pytest.approx((ends[0] + ends[1]) / 2)
    curves.get_by_label("noisy digits").check()
    assert page.evaluate(last) == ends[2]
    assert drawn(page) == ["sgd_30, one seed"]
    assert page.evaluate("() => document.querySelector('.plot').data.length") == 1, "no band"
    assert "on noisy digits" in page.locator(".plot").get_attribute("aria-label")


def test_a_few_epochs_are_marked_by_whole_numbers(page):
    page.locator("#curves-digits").scroll_into_view_if_needed()
    drawn(page)
    step = """last => layout({series: [{name: "a", words: "a", unit: ""}],
        methods: [{runs: [{epochs: [1, last]}]}]}, {series: "a", axis: "epochs"}).xaxis.dtick"""
    assert page.evaluate(step, 5) == 1
    assert page.evaluate(step, 200) is None


def test_a_table_that_goes_on_to_the_right_says_so(report, open_page):
    narrow = open_page(report, viewport={"width": 700, "height": 900})
    assert narrow.locator(f"{MAIN} .more").is_visible()
    wide = open_page(report, viewport={"width": 2400, "height": 900})
    assert not wide.locator(f"{MAIN} .more").is_visible()


def test_a_long_name_of_a_file_is_broken(report, open_page):
    page = open_page(report, viewport={"width": 400, "height": 900})
    link = page.locator("#provenance a").first
    link.evaluate("link => { link.textContent = `${'long_name_'.repeat(9)}.provenance.csv`; }")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400


def test_the_first_picture_is_readable_on_a_small_screen(report, open_page):
    page = open_page(report, viewport={"width": 400, "height": 900})
    image = page.locator(".glance .enlarge img").first
    assert image.bounding_box()["width"] >= 600, "it scrolls in its own box"
    says = page.locator(".glance figure .more").first
    assert says.is_visible() and "picture goes on to the right" in says.inner_text()
    wide = open_page(report, viewport={"width": 1400, "height": 900})
    assert not wide.locator(".glance figure .more").first.is_visible()


def test_a_figure_that_is_left_over_takes_the_whole_row(page):
    shares = page.evaluate(
        """() => [1, 2, 3].map(count => {
            const box = document.querySelector('#figures-digits');
            const figure = box.querySelector('figure');
            box.replaceChildren(...Array.from({length: count}, () => figure.cloneNode(true)));
            return box.lastElementChild.getBoundingClientRect().width / box.clientWidth;
        })"""
    )
    assert shares[0] > 0.95 and shares[1] < 0.55 and shares[2] > 0.95


def test_light_and_dark_follow_the_system_until_a_reader_chooses(report, open_page):
    page = open_page(report, color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    switch = page.get_by_role("button", name="Theme")
    switch.click()
    light = page.evaluate(paper)
    assert switch.inner_text() == "Theme: light" and light != dark
    switch.click()
    assert page.evaluate(paper) == dark


@pytest.mark.parametrize("width", [1400, 800, 400])
def test_no_page_is_wider_than_its_window(report, open_page, width):
    page = open_page(report, viewport={"width": width, "height": 900})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    used = page.evaluate("() => document.querySelector('main').getBoundingClientRect().right")
    assert used > 0.95 * width


def test_links_work_where_the_folder_is_moved(report, tmp_path):
    with zipfile.ZipFile(tmp_path / "moved.zip", "w") as archive:
        for path in report.parent.rglob("*"):
            archive.write(path, path.relative_to(report.parent))
    with zipfile.ZipFile(tmp_path / "moved.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    text = (tmp_path / "elsewhere" / "report.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#:]+)"', text)
    links = [link for link in links if not link.startswith("landscapes/")]
    assert len(links) > 50
    assert not [link for link in links if not (tmp_path / "elsewhere" / link).is_file()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_no_serious_fault(report, open_page, axe, scheme, width):
    page = open_page(report, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.locator("#curves-digits").scroll_into_view_if_needed()
    drawn(page)
    page.locator("details.about summary").first.click()
    assert faults(page, axe) == []
    page.evaluate("() => document.querySelector('.enlarge img').removeAttribute('alt')")
    page.evaluate("() => document.querySelector('.enlarge').removeAttribute('aria-label')")
    assert faults(page, axe), "the check can fail"
