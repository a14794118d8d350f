"""Downloads: verified before they take their name, gone on with where they broke off."""

import errno
import random
import shutil
import time
from pathlib import Path

import pooch
import requests
from requests import Response
from urllib3.exceptions import HTTPError

from .files import FULL

_ATTEMPTS = 5  # in a row that bring nothing new
_FIRST_WAIT = 1.0  # seconds; then twice as long each time
_TIMEOUT = (10, 30)  # seconds to connect, and between two pieces


def has_sha1(path: Path, sha1: str) -> bool:
    """Tell whether a file is there and has that SHA-1."""
    return path.is_file() and pooch.file_hash(path, "sha1") == sha1


def fetch(name: str, url: str, sha1: str, path: Path) -> None:
    """Download `url` to `path`, which takes its name once its SHA-1 is right.

    Only one process may do so at a time. What a broken download left is gone on with, if the server
    sends parts. Proxies are those of the environment. Raises ValueError for other content and
    OSError if the network or the disk fails; each names the hub entry and says what to do.
    """
    by_hand = f"fetch {url} by hand, put it into {path.parent} as {path.name} and call again"
    download = _Download(url, path.with_name(f".{path.name}.part"))
    try:
        download.run()
        if download.doubtful and not has_sha1(download.part, sha1):
            download.part.unlink()
            download.run()
        if not has_sha1(download.part, sha1):
            download.part.unlink()
            raise ValueError(
                f"{name}: what came from {url} does not have the SHA-1 {sha1}, so it was not kept. "
                f"A proxy may have answered instead: try again, or {by_hand}"
            )
        download.part.replace(path)
    except requests.RequestException as error:
        if not download.size:
            download.part.unlink(missing_ok=True)
        raise OSError(
            f"{name}: cannot download {url} ({error}). Try again, or {by_hand}"
        ) from error
    except OSError as error:
        if error.errno in FULL:
            download.part.unlink(missing_ok=True)
            raise OSError(
                f"{name}: the disk is full, {path.parent} cannot take {path.name} ({error}): "
                "free some space, or set D2LNLI_DATA_DIR to a folder on another disk"
            ) from error
        raise


class _WebPage(requests.RequestException):
    """A page for people where a file was asked for."""


class _Download:
    """A download in the making: the file with what has come of it so far.

    It is `doubtful` if it may be of two versions, or if nobody said where it ends.
    """

    def __init__(self, url: str, part: Path):
        self.url, self.part, self.doubtful = url, part, False

    @property
    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self) -> None:
        """Fetch what is missing; try again after a fault that may pass, as long as more comes."""
        failures, furthest = 0, self.size
        while True:
            try:
                return self.fetch_rest()
            except requests.RequestException as error:
                failures = failures + 1 if self.size <= furthest else 1
                furthest = max(furthest, self.size)
                if failures == _ATTEMPTS or not _may_pass(error):
                    raise
                wait = _FIRST_WAIT * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
                print(f"{self.url}: {error}; trying again in {wait:.0f} s")
                time.sleep(wait)

    def fetch_rest(self) -> None:
        """Ask for what is missing, or for all of it, and write it as it comes."""
        headers = {"Accept-Encoding": "identity"}
        if self.size:
            headers["Range"] = f"bytes={self.size}-"
        with self.part.open("ab") as file:

            def begin(response: Response, **_) -> None:
                if response.status_code == 200:
                    file.truncate(0)
                if response.status_code in (200, 206):
                    self.check(response)

            downloader = pooch.HTTPDownloader(
                progressbar=True, timeout=_TIMEOUT, headers=headers, hooks={"response": begin}
            )
            try:
                downloader(self.url, file, None)
            except requests.HTTPError as error:
                if _status(error) != 416:  # nothing is missing: the SHA-1 will tell
                    raise
                self.doubtful = True
            except requests.RequestException:
                raise
            except (ValueError, HTTPError) as error:  # an answer that the library cannot read
                raise requests.RequestException(str(error)) from error
            except OSError as error:
                if error.errno is None:  # such as certificates that are not where they should be
                    raise requests.RequestException(str(error)) from error
                raise

    def check(self, response: Response) -> None:
        """Look at an answer before its content is read."""
        kind, size = (response.headers.get(f"Content-{what}", "") for what in ("Type", "Length"))
        self.doubtful = response.status_code == 206 or not size
        if kind.startswith("text/html"):
            raise _WebPage(
                f"a web page came, from {response.url}: if this network has a login page, open it "
                "in a browser and log in"
            )
        if size.isdigit() and int(size) > (free := shutil.disk_usage(self.part.parent).free):
            raise OSError(errno.ENOSPC, f"{int(size):,} bytes are needed, {free:,} are free")


def _status(error: requests.HTTPError) -> int:
    """Return the number with which the server refused; 0 if there was no answer."""
    return 0 if error.response is None else error.response.status_code


def _may_pass(error: requests.RequestException) -> bool:
    """Tell whether it makes sense to try again."""
    if isinstance(error, requests.HTTPError):
        return _status(error) in (408, 425, 429) or _status(error) >= 500
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, requests.exceptions.SSLError)
