"""A reader at a browser: opens a notebook, runs it, moves things, looks whether a picture changed.

Every wait is for something that the page shows; what does not come in time is an error that says
what was waited for.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image
from servers import Server

SECOND = 1000  # Playwright counts milliseconds
OPENING = 120 * SECOND  # a page, with a kernel for it
RUNNING = 240 * SECOND  # a whole notebook, on a machine that is busy with other things
CHANGING = 60 * SECOND  # a picture after a move
QUIET = 500  # a picture that has not changed for so long, and nothing being busy, has settled

# What a cell shows when it failed or warned, or a widget that the browser cannot draw.
ERROR = (
    '[data-mime-type="application/vnd.jupyter.error"], '
    '[data-mime-type="application/vnd.jupyter.stderr"], '
    ".jupyter-widgets-error-widget"
)

# JupyterLab shows "Idle" before a kernel is there, and then runs nothing and says nothing.
_READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel
    return kernel?.connectionStatus === "connected" && kernel.status === "idle"
}"""

_RAN = """error => {
    const failed = document.querySelector(error)
    if (failed) return failed.innerText
    const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
    return prompts.length && prompts.every(p => /^\\[\\d+\\]:?$/.test(p.innerText.trim())) && "ran"
}"""

# The address of an <img>, or of the <image> of an SVG.
_SOURCE = "image => image.href?.baseVal ?? image.src"

_SETTLED = f"""([image, before, quiet]) => {{
    const [now, source] = [performance.now(), ({_SOURCE})(image)]
    const busy = document.querySelector('[data-busy="true"]')
    if (source !== image.seen || busy) [image.seen, image.since] = [source, now]
    return source !== before && now - image.since > quiet
}}"""

_BYTES = f"""async image => {{
    const answer = await fetch(({_SOURCE})(image))
    const bytes = new Uint8Array(await answer.arrayBuffer())
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""))
}}"""


class Reader:
    """A page of a browser, and what a reader does there.

    Args:
        page: Playwright's; every request that leaves this machine is refused and remembered.
        screenshots: folder that `look` writes into.
    """

    def __init__(self, page, screenshots: Path):
        self.page = page
        page.set_default_timeout(CHANGING)
        self.screenshots = screenshots
        self.strayed: list[str] = []  # addresses elsewhere that the page asked for
        self.complaints: list[str] = []  # what the page's console was told as an error
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        page.route(lambda url: not url.startswith(_HERE), self._refuse)

    def _listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _refuse(self, route) -> None:
        self.strayed.append(route.request.url)
        route.abort()

    def run_notebook(self, lab: Server, notebook: Path) -> None:
        """Open a copy without outputs in JupyterLab, choose Run > Run All Cells, wait for the end.

        Raises:
            AssertionError: a cell failed; the message is what it shows.
        """
        nbformat.write(unrun(notebook), lab.folder / notebook.name)
        page = self.page
        page.goto(f"{lab.url}/lab/tree/{notebook.name}?reset&token={lab.token}", timeout=OPENING)
        page.wait_for_function(_READY, timeout=OPENING)
        page.locator(".lm-MenuBar-item", has_text="Run").click()
        page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        outcome = page.wait_for_function(_RAN, arg=ERROR, timeout=RUNNING).json_value()
        assert outcome == "ran", outcome
        page.wait_for_function(_READY, timeout=OPENING)

    def open_page(self, voila: Server) -> None:
        """Open what Voilà serves, and wait until the notebook ran.

        Raises:
            AssertionError: a cell failed; the message is what it shows.
        """
        self.page.goto(voila.url, timeout=RUNNING)
        failed = self.page.locator(ERROR)
        assert failed.count() == 0, failed.first.inner_text()

    def expect_no_complaint(self, tolerated: str = "") -> None:
        """Expect that nothing failed in the browser and nothing was asked of other machines.

        Args:
            tolerated: addresses with this word may have been asked for.
        """
        failed = self.page.locator(ERROR)
        assert failed.count() == 0, failed.first.inner_text()
        found = [*self.strayed, *self.complaints]
        told = [text for text in found if not tolerated or tolerated not in text]
        assert not told, told

    def picture(self, image) -> np.ndarray:
        """Give the pixels of an image on the page, (H, W, 3) in 0..255."""
        image.wait_for(timeout=OPENING)
        with Image.open(io.BytesIO(base64.b64decode(image.evaluate(_BYTES)))) as opened:
            return np.asarray(opened.convert("RGB"))

    def settled(self, image, after) -> np.ndarray:
        """Do something, wait until the image has another picture and keeps it, give its pixels.

        Args:
            image: locator of the one `<img>`, or `<image>` of an SVG.
            after: called without arguments: the move of a reader.
        """
        image.wait_for(timeout=OPENING)
        before = image.evaluate(_SOURCE)
        after()
        arguments = [image.element_handle(), before, QUIET]
        self.page.wait_for_function(_SETTLED, arg=arguments, timeout=CHANGING)
        return self.picture(image)

    def drag(self, what, right: float, down: float) -> None:
        """Take something by its middle and let it go elsewhere, screen pixels away."""
        what.scroll_into_view_if_needed()
        box, mouse = what.bounding_box(), self.page.mouse
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + right, y + down, steps=8)
        mouse.up()

    def look(self, name: str) -> Path:
        """Take a screenshot."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        path = self.screenshots / f"{name}.png"
        self.page.screenshot(path=path)
        return path


_HERE = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")


def unrun(notebook: Path) -> nbformat.NotebookNode:
    """Read a notebook as it would be before anybody ran it."""
    cells = nbformat.read(notebook, as_version=4)
    for cell in cells.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    return cells
