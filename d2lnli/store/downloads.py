"""Downloads: resumed where they broke off, and verified before they take their name."""

import errno
import hashlib
import random
import shutil
import time
from pathlib import Path

import requests
from requests import Response, Session
from requests.exceptions import ChunkedEncodingError, SSLError
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from .files import FULL

_ATTEMPTS = 5  # in a row that bring nothing new
_FIRST_WAIT = 1.0  # seconds; then about twice as long each time
_TIMEOUT = (10, 30)  # seconds to connect, and between two pieces
_PASSING = (408, 425, 429, *range(500, 600))  # what a server may answer otherwise soon


def has_sha1(path: Path, sha1: str) -> bool:
    """Tell whether a file is there and has that SHA-1."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest() == sha1


def fetch(name: str, url: str, sha1: str, path: Path) -> None:
    """Download `url` to `path`, which takes its name once its SHA-1 is right.

    Only one process may do so at a time. A broken download is resumed, if the server sends parts.
    Proxies are those of the environment. Raises ValueError for other content and OSError if the
    network or the disk fails.
    """
    by_hand = f"fetch {url} by hand, put it into {path.parent} as {path.name} and call again"
    part = path.with_name(f".{path.name}.part")
    for _ in range(2):
        try:
            in_one_piece = _fetch_rest(url, part)
        except (OSError, HTTPError, ValueError) as error:  # requests lets some of the latter pass
            if isinstance(error, OSError) and error.errno is not None:  # the disk's
                if error.errno in FULL:
                    part.unlink(missing_ok=True)
                raise
            raise OSError(
                f"{name}: cannot download {url} ({error}). Try again, or {by_hand}"
            ) from error
        if has_sha1(part, sha1):
            part.replace(path)
            return
        part.unlink()
        if in_one_piece:  # else it may have been of two versions, or cut
            break
    raise ValueError(
        f"{name}: what came from {url} does not have the SHA-1 {sha1}, so it was not kept. "
        f"A proxy may have answered instead: try again, or {by_hand}"
    )


def _fetch_rest(url: str, part: Path) -> bool:
    """Fetch what is missing of a file, as long as more comes; tell if it is all of one answer."""
    furthest, failures = 0, 0
    with Session() as session:
        session.headers["Accept-Encoding"] = "identity"
        while True:
            start = part.stat().st_size if part.exists() else 0
            failures, furthest = (1, start) if start > furthest else (failures + 1, furthest)
            rest = {"Range": f"bytes={start}-"} if start else {}
            try:
                with session.get(url, headers=rest, stream=True, timeout=_TIMEOUT) as response:
                    if response.status_code == 416:  # nothing is missing: the SHA-1 will tell
                        return False
                    response.raise_for_status()
                    _write(response, part)
                    return response.status_code == 200 and _length(response) > 0
            except requests.RequestException as error:
                if failures == _ATTEMPTS or not _may_pass(error):
                    raise
                wait = _FIRST_WAIT * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
                print(f"{url}: {error}; trying again in {wait:.0f} s")
                time.sleep(wait)


def _may_pass(error: requests.RequestException) -> bool:
    """Tell whether it makes sense to try again."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _PASSING
    passing = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, SSLError)


def _write(response: Response, part: Path) -> None:
    """Write what comes to the end of a file, or to a new one if the server sends all of it."""
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise requests.RequestException(
            f"a web page came, from {response.url}: if this network has a login page, open it "
            "in a browser and log in"
        )
    size = _length(response)
    if size > (free := shutil.disk_usage(part.parent).free):
        raise OSError(errno.ENOSPC, f"{size:,} bytes are needed, {free:,} are free")
    with part.open("ab" if response.status_code == 206 else "wb") as file:
        start = file.tell()
        with tqdm(total=start + size, initial=start, unit="B", unit_scale=True) as bar:
            for piece in response.iter_content(1024):  # a piece that breaks off is lost
                bar.update(file.write(piece))


def _length(response: Response) -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else 0
