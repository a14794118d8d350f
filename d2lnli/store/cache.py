"""List what is in the data folder and how large it is, and remove entries."""

import shutil
from pathlib import Path

from tqdm import tqdm

from .files import exclusive_lock
from .hub import data_dir

_PARENTS = ("classifiers", "datasets", "huggingface")  # each entry in these folders is listed
_NOT_ENTRIES = (*_PARENTS, ".locks", "CACHEDIR.TAG")  # the last comes from huggingface_hub
_HUGGING_FACE = "models--"  # hf:ORG/NAME is in the folder models--ORG--NAME


def entries() -> dict[str, Path]:
    """Return the paths in the data folder, by the name that `clear` takes."""
    folders = [data_dir(), *(data_dir() / folder for folder in _PARENTS)]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return {_name(path): path for path in paths if path.name not in _NOT_ENTRIES}


def _name(path: Path) -> str:
    if path.name.startswith(_HUGGING_FACE):
        return "hf:" + path.name.removeprefix(_HUGGING_FACE).replace("--", "/")
    return path.relative_to(data_dir()).as_posix()


def listing() -> list[str]:
    """Return one line for each entry, with its size, and one for the total."""
    sizes = {name: _size(path) for name, path in entries().items()}
    total = {f"total in {data_dir()}": sum(sizes.values())}
    return [f"{tqdm.format_sizeof(size, 'B'):>7} {name}" for name, size in (sizes | total).items()]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def clear(name: str) -> None:
    """Remove an entry, unless another process is using it."""
    known = entries()
    if name not in known:
        names = ", ".join(known) or "nothing"
        raise ValueError(f"{name!r} is not in {data_dir()}, which contains {names}")
    path = known[name]
    is_temporary = path.name.startswith(".")  # such as .NAME.part, which the lock of NAME protects
    locked = path.with_name(Path(path.name[1:]).stem) if is_temporary else path
    with exclusive_lock(locked, wait=False):
        for lock in path.glob(".locks/*.lock"):  # a classifier has locks of its own
            with exclusive_lock(path / lock.stem, wait=False):
                pass
        removed = path.with_name(f".{path.name.lstrip('.')}.removed")
        shutil.rmtree(removed, ignore_errors=True)
        path.rename(removed)  # what a killed process leaves is not mistaken for a complete entry
        if removed.is_dir() and not removed.is_symlink():
            shutil.rmtree(removed)
        else:
            removed.unlink()
