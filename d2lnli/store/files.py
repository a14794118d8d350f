"""Files and folders that are written whole or not at all, by one process at a time; and read."""

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError

Kind = TypeVar("Kind", list, dict)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What an OSError says of a disk that takes no more."""

_WAITS = (0.01, 0.1, 1.0)  # seconds, for a reader to close a file that is to be replaced


@contextmanager
def writing(what: str, folder: Path, in_data_folder: bool = False) -> Iterator[None]:
    """Say what to do if `what` cannot be written to a folder: everywhere in the same words."""
    try:
        yield
    # torch and safetensors raise errors of their own when they cannot write
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is None:  # it says what to do already
            raise
        variable = " with D2LNLI_DATA_DIR" if in_data_folder else ""
        raise OSError(
            f"cannot write {what} to {folder} ({error}): free some space, or choose{variable} a "
            "folder that you may write to"
        ) from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file beside `path` and give it that name once it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        for wait in _WAITS:
            try:
                temporary.replace(path)
                return
            except PermissionError:  # Windows replaces no file that somebody reads
                time.sleep(wait)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Tell whether another process holds the `exclusive_lock` of a path."""
    try:
        if path.exists():
            with exclusive_lock(path, wait=False):
                pass
    except BlockingIOError:
        return True
    return False


@contextmanager
def exclusive_lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Let one process at a time, of all that share a folder, work on `path` in it.

    The others wait; without `wait`, BlockingIOError says that they cannot have it. The lock falls
    when its process ends, however it ends; its file, in the folder `.locks`, stays.
    """
    locks = path.parent / ".locks"
    if not locks.is_dir():
        locks.mkdir(parents=True, exist_ok=True)
        locks.chmod(stat.S_IMODE(path.parent.stat().st_mode))  # for all who may write beside it
    lock = FileLock(locks / f"{path.name}.lock", mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise BlockingIOError(
                f"another process is at work on {path}: wait for its end, or take another folder"
            ) from None
        print(f"waiting for another process that is at work on {path.name}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def existing(path: Path) -> Path:
    """Return the path of a file that must be there."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a checkpoint's folder must hold it")
    return path


def read_json(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file that holds a list or a dict, as `kind` says."""
    try:
        content = json.loads(existing(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON in UTF-8 ({error}): fetch it again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a {kind.__name__}")
    return content


def read_torch(path: Path, way_out: str) -> Any:
    """Read what torch saved, in either serialization, without running code from the file."""
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes torch raise almost anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(
                f"{path} is not a whole file of torch's ({reason}): {way_out}"
            ) from error
