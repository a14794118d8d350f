"""What lies in the data folder, how large it is, and how to remove it."""

import shutil
from pathlib import Path

from tqdm import tqdm

from .files import exclusive_lock
from .hub import data_dir

_SHELVES = ("classifiers", "datasets", "huggingface")  # their entries count one by one
_NO_ENTRIES = (*_SHELVES, ".locks", "CACHEDIR.TAG")  # the last is of Hugging Face's library
_REPOSITORY = "models--"  # so the folder of hf:ORG/NAME begins: models--ORG--NAME


def entries() -> dict[str, Path]:
    """Return everything in the data folder, by the name to remove it with."""
    shelves = [data_dir(), *(data_dir() / shelf for shelf in _SHELVES)]
    paths = [path for shelf in shelves if shelf.is_dir() for path in sorted(shelf.iterdir())]
    return {_name(path): path for path in paths if path.name not in _NO_ENTRIES}


def _name(path: Path) -> str:
    if path.name.startswith(_REPOSITORY):
        return "hf:" + path.name.removeprefix(_REPOSITORY).replace("--", "/")
    return path.relative_to(data_dir()).as_posix()


def listing() -> list[str]:
    """Return a line for each entry, with its size, and one for the total."""
    sizes = {name: _size(path) for name, path in entries().items()}
    total = {f"in all, in {data_dir()}": sum(sizes.values())}
    return [f"{tqdm.format_sizeof(size, 'B'):>7} {name}" for name, size in (sizes | total).items()]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def clear(name: str) -> None:
    """Remove an entry, unless another process is at work on it."""
    known = entries()
    if name not in known:
        names = ", ".join(known) or "nothing"
        raise ValueError(f"{name!r} is not in {data_dir()}, which has {names}")
    path = known[name]
    hidden = path.name.startswith(".")  # such as .NAME.part, for which NAME is locked
    with exclusive_lock(path.with_name(Path(path.name[1:]).stem) if hidden else path, wait=False):
        for lock in path.glob(".locks/*.lock"):  # a classifier has its own
            with exclusive_lock(path / lock.stem, wait=False):
                pass
        gone = path.with_name(f".{path.name.lstrip('.')}.removed")
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)  # if this is killed, nobody takes what is left for the whole
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone)
        else:
            gone.unlink()
