"""Jupyter's servers as processes of their own, on a copy of what a student has."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OWN_FOLDERS = (  # so that nobody's settings, and no signature of a trusted notebook, come in
    "JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR IPYTHONDIR "
    "JUPYTERLAB_SETTINGS_DIR JUPYTERLAB_WORKSPACES_DIR"
).split()
NO_NEWS = (  # or a question whether news are wanted covers a corner of every picture
    "JUPYTERLAB_SETTINGS_DIR/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
)


class Server(NamedTuple):
    """One that answers at `url`, knows `token`, serves `folder`, and was started at a time."""

    url: str
    token: str
    folder: Path
    started: float


def copy_project(folder: Path) -> Path:
    """Copy what the notebooks need into `folder`: themselves and the table that 04 reads."""
    leave_out = shutil.ignore_patterns(".*", "__pycache__")
    for name in ("notebooks", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
    return folder


@contextlib.contextmanager
def jupyter_lab() -> Iterator[Server]:
    """JupyterLab on a new copy of the project, in the state in which it is first started."""
    token, port = secrets.token_hex(8), _free_port()
    options = (
        f"--no-browser --allow-root --expose-app-in-browser --ServerApp.ip=127.0.0.1 "
        f"--ServerApp.port={port} --IdentityProvider.token={token} --ServerApp.root_dir=. "
        "--LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
    )
    with _serving(["jupyter", "lab", *options.split()], port, token) as server:
        yield server


@contextlib.contextmanager
def voila(notebook: str, *options: str) -> Iterator[Server]:
    """Voila showing one notebook of a new copy of the project."""
    port = _free_port()
    command = ["voila", notebook, "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}"]
    with _serving([*command, *options], port) as server:
        yield server


@contextlib.contextmanager
def _serving(command: list[str], port: int, token: str = "") -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="d2lnli-browser-", ignore_cleanup_errors=True) as base:
        folder = copy_project(Path(base, "project"))
        settings = Path(base, NO_NEWS)
        settings.parent.mkdir(parents=True)
        settings.write_text('{"fetchNews": "false"}')
        env = {**os.environ, **{name: str(Path(base, name)) for name in OWN_FOLDERS}}
        server = Server(f"http://127.0.0.1:{port}", token, folder, time.time())
        with Path(base, "log").open("w+") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
            )
            try:
                _wait_until_it_answers(server.url, process, Path(log.name))
                yield server
            finally:
                _end(process)


def _wait_until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    last = time.time() + 60
    while process.poll() is None and time.time() < last:
        with contextlib.suppress(OSError):
            with contextlib.suppress(urllib.error.HTTPError):  # a refusal is an answer
                urllib.request.urlopen(f"{url}/api", timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args[0]} does not answer:\n{log.read_text()}")


def _end(process: subprocess.Popen) -> None:
    """Let the server end its kernels; what is left of its process group is killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
