"""BERTs from Hugging Face's hub, named `ORG/NAME` or `ORG/NAME@REVISION`.

The commit of the first download is kept, so that a model does not change during a course. Files
that were downloaded once are used without the network.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from .files import exclusive_lock, writing

_TEXT_FILES = ["config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"]
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")


def hugging_face_folder(name: str, data_dir: Path) -> Path:
    """Return the folder of a checkpoint; it is downloaded below `data_dir` the first time."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"hf:{name} is not a name: write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    repository, _, revision = name.partition("@")
    cache = data_dir / "huggingface"
    with writing(f"hf:{name}", cache, in_data_folder=True):
        try:
            folder = _fetch(repository, revision or None, cache)
        except Exception as error:  # huggingface_hub raises many kinds of errors
            if isinstance(error, OSError) and error.errno is not None:  # an error of the disk
                raise
            cause = error.__cause__ or error if isinstance(error, FileNotFoundError) else error
            reason = str(cause).strip().partition("\n")[0]
            raise OSError(
                f"hf:{name}: cannot be downloaded ({type(cause).__name__}: {reason}). Check the "
                "name and the network, or put its files into a folder and give the folder"
            ) from error
    if not _has_weights(folder):
        raise ValueError(
            f"hf:{name} has neither {' nor '.join(_WEIGHTS)}: choose another checkpoint"
        )
    return folder


def _fetch(repository: str, revision: str | None, cache: Path) -> Path:
    """Download the text files, then the weights; a folder with weights is therefore complete."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    options: dict[str, Any] = dict(revision=revision, cache_dir=cache, allow_patterns=_TEXT_FILES)
    with suppress(LocalEntryNotFoundError):
        folder = Path(snapshot_download(repository, local_files_only=True, **options))
        if _has_weights(folder):
            return folder
    with exclusive_lock(cache / f"models--{repository.replace('/', '--')}"):
        folder = Path(snapshot_download(repository, **options))
        for file in _WEIGHTS:
            try:
                hf_hub_download(repository, file, revision=folder.name, cache_dir=cache)
                break
            except LocalEntryNotFoundError:  # the network failed; the hub may have the file
                raise
            except EntryNotFoundError:
                continue
    return folder


def _has_weights(folder: Path) -> bool:
    return any((folder / file).is_file() for file in _WEIGHTS)
