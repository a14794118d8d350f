"""Files and folders that are written whole or not at all, by one process at a time."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What an OSError says of a disk that takes no more."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file beside `path` and give it that name once it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_taken(path: Path) -> bool:
    """Tell whether another process is `alone` with a path."""
    try:
        if path.exists():
            with alone(path, wait=False):
                pass
    except BlockingIOError:
        return True
    return False


@contextmanager
def alone(path: Path, wait: bool = True) -> Iterator[None]:
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
