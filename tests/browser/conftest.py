"""A browser and the servers it looks at. Everything started here ends with the tests.

Where Playwright or a browser is missing, the tests that need one are skipped and say what to
install. GFLA_BROWSER names another browser than the one found, GFLA_SCREENSHOTS a folder to keep
the screenshots in; a test that fails leaves one there too.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
import servers
from reader import Reader

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIETLY = [
    "--no-sandbox",  # its sandbox refuses to run as root, as in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREEN = {"width": 1400, "height": 1000}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let the fixtures know how their test went."""
    report = yield
    if call.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install -e '.[browser]'"
    )
    found = os.environ.get("GFLA_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser (looked for {', '.join(BROWSERS)}): apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=QUIETLY)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    """One JupyterLab for all tests; each runs a copy of its notebook there."""
    with servers.jupyterlab(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def reader(browser, request, tmp_path):
    """A reader with a fresh page."""
    screenshots = Path(os.environ.get("GFLA_SCREENSHOTS", tmp_path / "screenshots"))
    context = browser.new_context(viewport=SCREEN)
    reader = Reader(context.new_page(), screenshots)
    yield reader
    if getattr(request.node, "failed", False):
        reader.look("failed-" + re.sub(r"\W+", "-", request.node.name))
    context.close()
