"""A page in headless Chromium, driven by Playwright; skipped where either is absent."""

import shutil
import subprocess
import tarfile

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
OPTIONS += ["--enable-unsafe-swiftshader", "--proxy-server=127.0.0.1:9"]
INSIDE = ("file:", "data:", "blob:")


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests of a file."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser here: " + ", ".join(BROWSERS))
    with driver.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(chromium):
    """Open a file; what it asked of others and what went wrong in it is empty at the end."""
    contexts, wrong = [], []

    def note(request):
        if not request.url.startswith(INSIDE):
            wrong.append(f"asked for {request.url}")

    def open_file(path, **settings):
        context = chromium.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.goto(path.resolve().as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The script of axe-core, from npm."""
    if not shutil.which("npm"):
        pytest.skip("no npm here, which brings axe-core")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", "--silent", "axe-core@4"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not bring axe-core within two minutes")
    if done.returncode:
        pytest.skip(f"npm does not bring axe-core: {done.stderr[-200:]}")
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        return archive.extractfile("package/axe.min.js").read().decode("utf-8")


def faults(page, axe):
    """Return what axe-core finds serious in a page: nobody is to be kept out of it."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run()")["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:160] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
