"""The page of a chapter's surfaces, as verify knows it."""

from dataclasses import replace
from pathlib import Path

import pytest

from perturb.figures import landscape_page
from perturb.landscape.files import read_plane
from perturb.landscape.parts import page_of, planes_of
from perturb.verify import made_again
from perturb.verify.found import Verification


@pytest.fixture
def page(chapter, results):
    path = results / page_of(chapter.name)
    planes = [read_plane(results / plane) for plane in planes_of(chapter)]
    landscape_page.write(planes, path)
    yield path
    path.unlink(missing_ok=True)


def kinds(results, chapter):
    found = Verification(results)
    made_again.compare_landscape_page(found, chapter)
    return [(finding.kind, finding.file.name) for finding in found.findings]


def test_a_page_is_made_again_and_compared(page, chapter, results):
    assert planes_of(chapter) == ("landscapes/digits/cnn/sgd_30/seed0/plane0.npz",)
    assert kinds(results, chapter) == []
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("Loss landscape", "Lost landscape"), encoding="utf-8")
    assert kinds(results, chapter) == [("differs", "digits.html")]
    page.unlink()
    assert kinds(results, chapter) == [("missing", "digits.html")]


def test_the_page_of_a_smoke_chapter_says_so(page, chapter, results):
    smoke = replace(chapter, scale="smoke")
    assert kinds(results, smoke) == [("differs", "digits.html")]
    planes = [read_plane(results / plane) for plane in planes_of(chapter)]
    landscape_page.write(planes, page, "smoke")
    assert kinds(results, smoke) == []
    assert '<p class="mark">Smoke run' in page.read_text(encoding="utf-8")


def test_a_page_of_no_chapter_is_unknown(page, chapter, results):
    stray = Path(page).with_name("other.html")
    stray.write_text("made by hand")

    class Nothing:
        values = {}  # noqa: RUF012

    found = Verification(results)
    made_again.find_unknown(found, Nothing(), [chapter])
    stray.unlink()
    pages = [finding.file.name for finding in found.findings if finding.part == "landscapes"]
    assert pages == ["other.html"]
