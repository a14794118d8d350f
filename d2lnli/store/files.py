"""Write files completely or not at all, by one process at a time; read files safely."""

import errno
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor

Kind = TypeVar("Kind", list, dict)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The `errno` of an OSError when the disk is full."""

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # torch colours its messages
_ADVICE = re.compile(r"\s*In PyTorch 2\.6, .*", re.DOTALL)  # to load it with weights_only=False
_REPLACE_WAITS = (0.01, 0.1, 1.0)  # seconds, so that a reader can close the file that is replaced


@contextmanager
def writing(what: str, folder: Path, in_data_folder: bool = False) -> Iterator[None]:
    """Raise an OSError that says what to do if `what` cannot be written to a folder."""
    try:
        yield
    # torch and safetensors have errors of their own for a failed write
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is None:  # already says what to do
            raise
        choose = "set D2LNLI_DATA_DIR to" if in_data_folder else "choose"
        raise OSError(
            f"cannot write {what} to {folder} ({error}): free some space, or {choose} a "
            "folder that you may write to"
        ) from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file, then rename the file to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        for wait in _REPLACE_WAITS:
            try:
                temporary.replace(path)
                return
            except PermissionError:  # Windows replaces no file that is open
                time.sleep(wait)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all."""
    replace_file(path, lambda new: new.write_text(text, encoding="utf-8"))


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors from any device to a file, completely or not at all."""
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    # safetensors writes a temporary file with its own name; in a folder of ours we can delete it
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
        new = Path(temporary, path.name)
        new.touch()
        mode = new.stat().st_mode
        safetensors.torch.save_file(plain, new, metadata)
        new.chmod(mode)  # safetensors lets only the owner read it, but a class shares it
        replace_file(path, new.replace)


def is_locked(path: Path) -> bool:
    """Return whether another process holds the `exclusive_lock` of a path."""
    try:
        if path.exists():
            with exclusive_lock(path, wait=False):
                pass
    except BlockingIOError:
        return True
    return False


@contextmanager
def exclusive_lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Let one process at a time use `path`, among all processes that share its folder.

    The others wait; without `wait`, they get a BlockingIOError. The lock is released when its
    process ends, even if it is killed; the lock file stays in the folder `.locks`.
    """
    locks = path.parent / ".locks"
    if not locks.is_dir():
        locks.mkdir(parents=True, exist_ok=True)
        locks.chmod(stat.S_IMODE(path.parent.stat().st_mode))  # for all who may write to the folder
    lock = FileLock(locks / f"{path.name}.lock", mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise BlockingIOError(
                f"another process is using {path}: wait until it ends, or choose another folder"
            ) from None
        print(f"waiting for another process that is using {path.name}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def existing(path: Path) -> Path:
    """Return the path of a file; raise FileNotFoundError if it is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a checkpoint's folder must contain it")
    return path


def read_json(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file that contains a `kind`: a list or a dict."""
    try:
        content = json.loads(existing(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON in UTF-8 ({error}): fetch it again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} contains a {type(content).__name__}, not a {kind.__name__}")
    return content


def read_torch(path: Path, advice: str, if_unsafe: str = "") -> Any:
    """Read a file that torch saved, in either format, without running code from it.

    The ValueError for a damaged file ends in an advice, and so does the one for a file that holds
    more than data, which may have another (`if_unsafe`).
    """
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes torch raise almost any error
            if found := re.search(r"GLOBAL ([\w.]+)|TorchScript", str(error)):
                what = found[1] or found[0]
                raise ValueError(
                    f"{path} is a PyTorch file with Python objects in it ({what}), and loading "
                    f"them could run their code: {if_unsafe or advice}"
                ) from error
            reason = _ADVICE.sub("", _ESCAPES.sub("", str(error))).partition("\n")[0]
            reason = reason or type(error).__name__
            raise ValueError(
                f"{path} is not a complete PyTorch file ({reason}): {advice}"
            ) from error
