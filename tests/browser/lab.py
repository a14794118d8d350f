"""JupyterLab in a browser's page: open notebooks, run them, and look at what they show."""

from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, expect

from .servers import Server

# Not an async function with `await context.ready` in it: wait_for_function takes the promise that
# it returns for a yes, and a Run All before the kernel is connected is lost without a word.
READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    const session = panel?.sessionContext, kernel = session?.session?.kernel;
    return panel?.context?.isReady && session?.isReady
        && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
RUN_ALL = """() => {
    window.allHaveRun = false;
    jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.allHaveRun = true; });
}"""
CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map(cell => ({
    ...cell.model.toJSON(),
    trusted: cell.model.trusted,
    drawn: cell.outputArea?.node.querySelectorAll('.jp-OutputArea-output').length,
}))"""
DRAWN = "() => [...document.querySelectorAll('.jp-Notebook img')].every(image => image.complete)"
UNROLLED = """() => {
    document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0;
    const cells = [...document.querySelectorAll('.jp-Notebook-cell')];
    const before = window.bottom;
    window.bottom = Math.ceil(cells.at(-1).getBoundingClientRect().bottom);
    const drawn = cells.every(cell => cell.checkVisibility({contentVisibilityAuto: true}));
    return drawn && window.bottom === before;
}"""
WIDTH = 1280
TALLEST = 16_000  # Chromium draws pictures of up to 16,384 pixels


class Lab:
    """A page that shows the JupyterLab of `server`."""

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server
        page.set_viewport_size({"width": WIDTH, "height": 900})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=30_000)

    def open(self, path: str) -> None:
        """Open a notebook of the served folder and wait until its kernel can be used."""
        self.page.goto(f"{self.server.url}/doc/tree/{path}?token={self.server.token}&reset")
        self.page.wait_for_function(READY)

    def open_new(self, *sources: str) -> None:
        """Write a notebook of these code cells, open it and run it."""
        self.write_new(*sources)
        self.open("new.ipynb")
        self.run_all()

    def write_new(self, *sources: str) -> None:
        """Write a notebook of these code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in sources],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.server.folder / "new.ipynb")

    def execute(self, command: str, **arguments: str) -> None:
        """Execute one of JupyterLab's commands and wait until it is done."""
        self.page.evaluate(
            "([command, given]) => jupyterapp.commands.execute(command, given).then(() => null)",
            [command, arguments],
        )

    def start_all(self) -> None:
        """Give the command Run All Cells."""
        self.page.evaluate(RUN_ALL)

    def run_all(self) -> None:
        """Run all cells and wait until the last one is done.

        The command itself does not wait for the cells after an exercise that is still to be done.
        """
        self.start_all()
        self.wait_for_all()
        self.wait_for_kernel()

    def wait_for_all(self) -> None:
        """Wait until the last cell is done."""
        self.page.wait_for_function("() => window.allHaveRun", timeout=600_000)

    def wait_for_kernel(self) -> None:
        """Wait until the kernel has done what it was asked before now."""
        self.page.evaluate("""() => jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({code: ''}).done.then(() => null)""")

    def cells(self) -> list[dict]:
        """Return the cells as a saved notebook holds them, and what is drawn of them."""
        return self.page.evaluate(CELLS)

    def code_cells(self) -> list[dict]:
        return [cell for cell in self.cells() if cell["cell_type"] == "code"]

    @property
    def widget(self) -> Locator:
        """The only widget of the notebook."""
        return self.page.locator(".jp-OutputArea-output > .widget-vbox")

    def unroll(self) -> None:
        """Make the window taller than the notebook: only what is in view is laid out."""
        self.page.set_viewport_size({"width": WIDTH, "height": TALLEST})
        self.page.wait_for_function(DRAWN)
        self.page.wait_for_function(UNROLLED, polling=300)

    def images(self) -> list[dict]:
        """Return the notebook's images: what describes each, and how wide it is if it is drawn."""
        self.page.wait_for_function(DRAWN)
        return self.page.locator(".jp-Notebook img").evaluate_all(
            "images => images.map(image => ({alt: image.alt, width: image.naturalWidth}))"
        )

    def use_theme(self, name: str) -> None:
        """Change the theme and wait until the veil that covers the change is gone."""
        self.execute("apputils:change-theme", theme=name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def picture_themes(self, artifact: Path) -> None:
        """Keep a picture of the unrolled notebook in both themes, and leave the light one."""
        for name in ("JupyterLab Dark", "JupyterLab Light"):
            self.use_theme(name)
            last = self.page.locator(".jp-Notebook-cell").last.bounding_box()
            height = min(round(last["y"] + last["height"]) + 50, TALLEST)
            self.page.screenshot(
                path=artifact.with_name(f"{artifact.name}-{name.split()[-1].lower()}.png"),
                clip={"x": 0, "y": 0, "width": WIDTH, "height": height},
            )

    def close(self) -> None:
        """End the kernels that were used."""
        self.page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")
