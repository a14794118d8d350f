"""BERTs from Hugging Face's hub, named `ORG/NAME` or `ORG/NAME@REVISION`.

The commit of the first download is kept, so that a model does not change during a course. Files
that were downloaded once are used without the network.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .files import exclusive_lock, writing
from .weights import ADAPTER, WEIGHTS, missing_shards, unreadable

_TEXT_FILES = [
    *("config.json", "bert_config.json", ADAPTER),
    *("vocab.txt", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"),
    "special_tokens_map.json",
]
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")


def hugging_face_folder(name: str, data_dir: Path) -> Path:
    """Return the folder of a checkpoint; it is downloaded below `data_dir` the first time."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"hf:{name} is not a name: write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    cache = data_dir / "huggingface"
    with writing(f"hf:{name}", cache, in_data_folder=True):
        return _find(name, cache) or _fetch(name, cache)


def _find(name: str, cache: Path) -> Path | None:
    """Return the folder of a checkpoint that was downloaded completely, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    options: dict[str, Any] = dict(allow_patterns=_TEXT_FILES, local_files_only=True)
    try:
        with _download_errors(name, but=LocalEntryNotFoundError):
            folder = Path(
                snapshot_download(repository, revision=revision or None, cache_dir=cache, **options)
            )
    except LocalEntryNotFoundError:
        return None
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    with suppress(ValueError):  # an index that is damaged; another commit may have a better one
        return folder if weights and not missing_shards(weights) else None
    return None


def _fetch(name: str, cache: Path) -> Path:
    """Download the text files, then the weights; a folder with weights is therefore complete."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    repository, _, revision = name.partition("@")
    options: dict[str, Any] = dict(cache_dir=cache, revision=revision or None)
    with exclusive_lock(cache / f"models--{repository.replace('/', '--')}"):
        with _download_errors(name):
            folder = Path(snapshot_download(repository, allow_patterns=_TEXT_FILES, **options))
            options["revision"] = folder.name  # the commit, should the hub change meanwhile
            files = sorted(HfApi().list_repo_files(repository, revision=folder.name))
        weights = next(filter(files.__contains__, WEIGHTS), None)
        if not weights or ADAPTER in files:
            raise unreadable(f"hf:{name}", files)
        with _download_errors(name):
            hf_hub_download(repository, weights, **options)
        for shard in missing_shards(folder / weights):
            with _download_errors(name):
                hf_hub_download(repository, shard, **options)
    return folder


@contextmanager
def _download_errors(name: str, but: type[Exception] | None = None) -> Iterator[None]:
    """Turn the many errors of huggingface_hub, `but` one, into an OSError that says what to do."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk
            raise
        if but and isinstance(error, but):
            raise
        cause = error.__cause__ or error if isinstance(error, FileNotFoundError) else error
        reason = str(cause).strip().partition("\n")[0]
        raise OSError(
            f"hf:{name}: cannot be downloaded ({type(cause).__name__}: {reason}). Check the "
            "name and the network, or put its files into a folder and give the folder"
        ) from error
