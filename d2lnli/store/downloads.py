"""Downloads: resumed where they broke off, and verified before the file gets its name."""

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

_ATTEMPTS = 5  # in a row that add nothing to the file
_FIRST_WAIT = 1.0  # seconds; each further wait is about twice as long
_TIMEOUT = (10, 30)  # seconds: to connect, and between two chunks
_TEMPORARY_FAILURES = (408, 425, 429, *range(500, 600))  # status codes


def has_sha1(path: Path, sha1: str) -> bool:
    """Return whether a file exists and has this SHA-1."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest() == sha1


def fetch(name: str, url: str, sha1: str, path: Path) -> None:
    """Download `url` to `path`, which gets its name once its SHA-1 is correct.

    Only one process at a time may do this. A broken download is resumed if the server supports it.
    Proxies come from the environment. Raises ValueError if the SHA-1 differs, and OSError if the
    network or the disk fails.
    """
    by_hand = f"download {url} by hand, save it as {path} and try again"
    part = path.with_name(f".{path.name}.part")
    for _ in range(2):
        try:
            in_one_response = _fetch_rest(url, part)
        except (OSError, HTTPError, ValueError) as error:  # requests does not wrap all of these
            if isinstance(error, OSError) and error.errno is not None:  # an error of the disk
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
        if in_one_response:  # otherwise it may mix two versions, or be truncated
            break
    raise ValueError(
        f"{name}: the file from {url} was deleted, because it does not have the SHA-1 {sha1}. "
        f"A proxy may have answered instead of the server: try again, or {by_hand}"
    )


def _fetch_rest(url: str, part: Path) -> bool:
    """Fetch the rest of a file; return whether all of it came in a single response."""
    longest, failures = 0, 0
    with Session() as session:
        session.headers["Accept-Encoding"] = "identity"
        while True:
            start = part.stat().st_size if part.exists() else 0
            failures, longest = (1, start) if start > longest else (failures + 1, longest)
            headers = {"Range": f"bytes={start}-"} if start else {}
            try:
                with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
                    if response.status_code == 416:  # nothing is missing
                        return False
                    response.raise_for_status()
                    _write(response, part)
                    return response.status_code == 200 and _length(response) > 0
            except requests.RequestException as error:
                if failures == _ATTEMPTS or not _is_temporary(error):
                    raise
                wait = _FIRST_WAIT * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
                print(f"{url}: {error}; trying again in {wait:.0f} s")
                time.sleep(wait)


def _is_temporary(error: requests.RequestException) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _TEMPORARY_FAILURES
    temporary = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)
    return isinstance(error, temporary) and not isinstance(error, SSLError)


def _write(response: Response, part: Path) -> None:
    """Append a response to a file, or start a new file if the server sends all of it."""
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise requests.RequestException(
            f"got a web page from {response.url} instead of the file: if this network has a login "
            "page, open it in a browser and log in"
        )
    size = _length(response)
    if size > (free := shutil.disk_usage(part.parent).free):
        raise OSError(errno.ENOSPC, f"{size:,} bytes needed, {free:,} free")
    with part.open("ab" if response.status_code == 206 else "wb") as file:
        start = file.tell()
        with tqdm(total=start + size, initial=start, unit="B", unit_scale=True) as bar:
            for chunk in response.iter_content(1024):  # small, because an unfinished chunk is lost
                bar.update(file.write(chunk))


def _length(response: Response) -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else 0
