"""Hugging Face's hub: a BERT by its name there, `ORG/NAME` or `ORG/NAME@REVISION`.

The first download of a name without a revision notes the commit that it got, and every later call
takes that commit, so that a course does not change below its students. Nothing is asked of the
network again; without one, what is there is used.
"""

import re
from pathlib import Path

_FILES = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def hugging_face_folder(name: str, data_dir: Path) -> Path:
    """Return the folder of a checkpoint of the hub, downloaded below `data_dir` the first time."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"hf:{name} is not of the form hf:ORG/NAME or hf:ORG/NAME@REVISION")
    repository, _, revision = name.partition("@")
    cache = data_dir / "huggingface"
    pin = cache / (re.sub(r"[/@]", "--", name) + ".commit")
    if pin.is_file():
        commit = pin.read_text(encoding="utf-8").strip()
        folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
        if folder.is_dir():
            return folder
        revision = commit
    folder = _download(repository, revision or None, cache)
    pin.write_text(folder.name + "\n", encoding="utf-8")
    return folder


def _download(repository: str, revision: str | None, cache: Path) -> Path:
    """Fetch what `load_pretrained_model` reads; all of it from the commit of the first file."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise OSError(
            f"hf:{repository} takes the package huggingface_hub ({error}): "
            "python -m pip install 'huggingface_hub>=0.26'"
        ) from error

    def fetch(file: str, revision: str | None) -> Path:
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=cache))

    def found(file: str, commit: str) -> bool:
        try:
            fetch(file, commit)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return False
        return True

    try:
        folder = fetch(_FILES[0], revision).parent
        for file in _FILES[1:]:
            found(file, folder.name)
        if not any(found(file, folder.name) for file in _WEIGHTS):
            raise ValueError(
                f"hf:{repository} has neither {' nor '.join(_WEIGHTS)}: choose another checkpoint"
            )
    except (OSError, RuntimeError, EntryNotFoundError) as error:
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
        reason = str(cause or error).strip().partition("\n")[0]
        raise OSError(
            f"hf:{repository}: cannot be fetched ({type(cause or error).__name__}: {reason}). Look "
            "at the name and the network, or put its files into a folder and give the folder"
        ) from error
    return folder
