"""A real JupyterLab in a real browser.

They are a pytest process of their own: after Playwright's, a test that calls `asyncio.run` fails.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import d2lnli as d2l

from .lab import Lab
from .servers import Server, jupyter_lab

BROWSERS = "chromium", "chromium-browser", "google-chrome"
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args) -> dict:
    """Take the browser that is installed: Playwright's own would have to be downloaded."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no browser: apt-get install chromium")
    return {**browser_type_launch_args, "executable_path": found, "args": OPTIONS.split()}


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where the pictures that people should look at are kept."""
    folder = Path(os.environ.get("D2LNLI_ARTIFACTS", Path(__file__).parent / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lab_server(browser) -> Iterator[Server]:
    """One JupyterLab for all tests; it asks for the browser so that it is not started in vain."""
    with jupyter_lab() as server:
        yield server


@pytest.fixture(scope="session")
def classifier():
    """The fine-tuned classifier that the notebooks use too, made here if need be."""
    return d2l.load_or_finetune()


@pytest.fixture(autouse=True)
def complaints(page) -> Iterator[None]:
    """Let a test fail if the page reports an error."""
    heard = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda said: heard.append(said.text) if said.type == "error" else None)
    yield
    assert not heard


@pytest.fixture
def lab(page, complaints, lab_server) -> Iterator[Lab]:
    lab = Lab(page, lab_server)
    yield lab
    lab.close()
