"""Hugging Face's hub: a BERT by its name there, `ORG/NAME` or `ORG/NAME@REVISION`.

The first download of a name notes the commit that it got, and every later call takes that commit,
so that a course does not change below its students. Nothing is asked of the network again; without
one, what is there is used.
"""

import re
from pathlib import Path

_CONFIG = "config.json"
_TOKENIZER = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hugging_face_folder(name: str, data_dir: Path) -> Path:
    """Return the folder of a checkpoint of the hub, downloaded below `data_dir` the first time."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"hf:{name} is not of the form hf:ORG/NAME or hf:ORG/NAME@REVISION")
    repository, _, revision = name.partition("@")
    cache = data_dir / "huggingface"
    pin = cache / f"{name.replace('/', '--')}.commit"
    commit = pin.read_text(encoding="utf-8", errors="replace").strip() if pin.is_file() else ""
    if _COMMIT.fullmatch(commit):
        snapshot = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
        if snapshot.is_dir():
            return snapshot
        revision = commit
    try:
        folder = _download(repository, revision or None, cache)
    except Exception as error:  # the library and its network raise many kinds
        cause = error.__cause__ if type(error).__name__ == "LocalEntryNotFoundError" else None
        reason = str(cause or error).strip().partition("\n")[0]
        raise OSError(
            f"hf:{name}: cannot be fetched ({type(cause or error).__name__}: {reason}). Look at "
            "the name and the network, or put its files into a folder and give the folder"
        ) from error
    if folder is None:
        raise ValueError(
            f"hf:{name} has neither {' nor '.join(_WEIGHTS)}: choose another checkpoint"
        )
    new = pin.with_suffix(".new")
    new.write_text(folder.name + "\n", encoding="utf-8")
    new.replace(pin)
    return folder


def _download(repository: str, revision: str | None, cache: Path) -> Path | None:
    """Fetch what `load_pretrained_model` reads; all of it from the commit of the first file.

    None if there are no weights.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise OSError(f"{error}: python -m pip install 'huggingface_hub>=0.26'") from error

    config = hf_hub_download(repository, _CONFIG, revision=revision, cache_dir=cache)
    folder = Path(config).parent

    def is_there(file: str) -> bool:
        try:
            hf_hub_download(repository, file, revision=folder.name, cache_dir=cache)
            return True
        except LocalEntryNotFoundError:  # the network, not the hub, says no
            raise
        except EntryNotFoundError:
            return False

    for file in _TOKENIZER:
        is_there(file)
    return folder if any(map(is_there, _WEIGHTS)) else None
