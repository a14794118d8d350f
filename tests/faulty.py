"""A web server on loopback that misbehaves as asked, and processes that can be killed."""

import http.server
import json
import multiprocessing
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import d2lnli as d2l
from conftest import SPECIALS, zip_folder

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["faulty", "torch._dynamo", "test_runs"])
NAME = "my bert"


class FaultyServer(http.server.ThreadingHTTPServer):
    """Answers every request with `content`, unless a fault waits for it.

    `faults` are taken one for each request; `requests` are the paths and ranges asked for.
    """

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.faults, self.requests = content, [], []
        self.ranges, self.seconds = True, 0.0
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        """Whoever asked was killed."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append((self.path, asked))
        assert self.headers["Accept-Encoding"] == "identity"  # or lengths and parts mean nothing
        fault = server.faults.pop(0) if server.faults and self.path != "/login" else None
        content, status = server.content, 200
        if asked and server.ranges:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            content, status = content[first:], 206 if first < len(content) else 416
        kind, declared = "application/zip", len(content)
        if isinstance(fault, int):
            status, content, declared = fault, b"", 0
        elif fault == "login":
            return self.answer(302, b"", {"Location": "/login"})
        elif fault == "another version":
            content = bytes(byte ^ 1 for byte in content)
        elif fault == "cut":
            content = content[: len(content) // 2]
        elif fault in ("odd length", "no length, cut"):
            self.send_response(200)
            if fault == "odd length":
                self.send_header("Content-Length", "abc")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return None
        elif fault == "odd redirect":
            return self.answer(302, b"", {"Location": "http://[::1"})
        elif fault == "reset":
            return self.connection.close()
        elif fault == "stalled":
            return time.sleep(1)
        if self.path == "/login" or fault == "error page":
            content, kind = b"<html>Please log in</html>", "text/html; charset=utf-8"
            declared = len(content)
        headers = {"Content-Type": kind, "Content-Length": str(declared)}
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{len(server.content) - 1}/*"
        self.answer(status, content, headers)
        self.close_connection = declared != len(content)

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        step = max(1, len(content) // 50)
        try:
            for i in range(0, len(content), step):
                self.wfile.write(content[i : i + step])
                time.sleep(self.server.seconds / 50)
        except OSError:  # whoever asked was killed
            self.close_connection = True


@contextmanager
def faulty_server(folder: Path, size: int = 300_000) -> Iterator[FaultyServer]:
    """Serve an archive of a checkpoint-like folder, made below `folder`, under the name `NAME`."""
    inside = folder / NAME
    inside.mkdir(parents=True)
    (inside / "vocab.json").write_text(json.dumps(SPECIALS))
    for part in range(5):
        random_bytes = np.random.default_rng(part).bytes(size // 5)
        (inside / f"part{part}.params").write_bytes(random_bytes)
    archive = folder / f"{NAME}.zip"
    sha1 = zip_folder(inside, archive, "__MACOSX/x", "Icon\r")
    with FaultyServer(archive.read_bytes()) as server:
        server.folder, server.sha1 = inside, sha1
        server.address = (server.url + "my%20bert.zip", sha1)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def is_whole(folder: Path, original: Path) -> bool:
    """Tell whether a folder holds what the original does, and its origin."""
    names = {path.name for path in folder.iterdir()} - {".sha1"}
    return names == {path.name for path in original.iterdir()} and all(
        (folder / name).read_bytes() == (original / name).read_bytes() for name in names
    )


def get(address: tuple[str, str], data_dir: Path, seconds: float = 0.0) -> None:
    """What the processes do: fetch and extract, waiting after each member that is extracted."""
    extract = zipfile.ZipFile.extract

    def extract_slowly(*arguments):
        time.sleep(seconds)
        return extract(*arguments)

    zipfile.ZipFile.extract = extract_slowly
    os.environ["D2LNLI_DATA_DIR"] = str(data_dir)
    d2l.DATA_HUB[NAME] = address
    d2l.download_extract(NAME)
