"""Fine-tuned classifiers on disk: `config.json`, `vocab.json` and `model.safetensors`."""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from .bert import BERTClassifier, BERTModel, label_names_of, unwrapped
from .files import alone
from .history import History
from .layouts.book import read_vocab
from .layouts.files import read_json
from .text import Vocab
from .wordpiece import WordPieceVocab

_FILES = ("config.json", "vocab.json", "model.safetensors")
_MOST_READINGS = 1000
_HALF, _WHOLE = ".half", ".whole"  # where new files are written, and wait to replace the old ones


def save_classifier(
    folder: str | os.PathLike, net: nn.Module, vocab: Vocab, history: History | None = None
) -> Path:
    """Write a classifier and its vocabulary, and return where; an old one goes once it is whole.

    `net` is a `BERTClassifier`, or a class of the reader's own with the same three parts; one with
    other parts, which `load_classifier` could not read back, is refused. The `history` of its
    training is written beside them, and what it was trained on with them. If the history was
    interrupted, the folder is `<folder>-interrupted`: what is not finished replaces nothing.
    """
    folder, net = Path(folder), unwrapped(net)
    config = classifier_config(net)
    _check_parts(net, config)
    if isinstance(vocab, WordPieceVocab):
        config["wordpiece"] = vocab.settings
    if history is not None:
        told = {"interrupted": history.interrupted, "made": time.strftime("%Y-%m-%d %H:%M")}
        config["made_of"] = {**history.made_of, **told}
        if history.interrupted:
            folder = folder.with_name(f"{folder.name}-interrupted")
    try:
        with alone(folder / "model.safetensors"):
            _take_over(folder)
            new = folder / _HALF
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            _write(new, config, vocab, net, history)
            new.rename(folder / _WHOLE)
            _take_over(folder)
    except (OSError, safetensors.SafetensorError) as error:
        raise OSError(
            f"cannot write the classifier to {folder} ({error}): free some space, give another "
            "folder, or set D2LNLI_DATA_DIR to one that you may write to"
        ) from error
    return folder


def classifier_config(net: nn.Module) -> dict:
    """Return the sizes and the label names from which a classifier is built again."""
    names = label_names_of(net)
    return {**net.encoder.config, "num_classes": len(names), "label_names": list(names)}


def read_made_of(folder: str | os.PathLike) -> dict:
    """Return what a classifier was trained on, how and when; earlier versions did not write it.

    Raises FileNotFoundError if there is no classifier.
    """
    return read_json(_current(Path(folder), "config.json"), dict).get("made_of", {})


def describe(folder: str | os.PathLike) -> str:
    """Say in a line which classifier a folder holds, and when it was made."""
    kept = read_made_of(folder)
    if "pairs" not in kept:
        return f"the classifier {Path(folder).name}, which does not tell what it was trained on"
    end = " (interrupted)" if kept["interrupted"] else ""
    pairs = f"{kept['pairs']:,} pairs"
    return f"the classifier {Path(folder).name}, fine-tuned on {pairs}, {kept['made']}{end}"


def _built(config: dict) -> BERTClassifier:
    """Build the network of a configuration, with random weights."""
    config = {name: value for name, value in config.items() if name not in ("made_of", "wordpiece")}
    labels = config.pop("num_classes"), config.pop("label_names", None)
    return BERTClassifier(BERTModel(**config), *labels)


def _check_parts(net: nn.Module, config: dict) -> None:
    """Raise ValueError if a network is another than the one that is built from its sizes."""
    with torch.device("meta"):
        plain = _built(config)
    for parts in (_parameters, _layers):
        theirs, ours = parts(net), parts(plain)
        if differing := [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]:
            raise ValueError(
                f"load_classifier could not read this {type(net).__name__} back, which differs "
                f"from a BERTClassifier in {', '.join(differing)}: keep its weights with "
                "torch.save(net.state_dict(), file), and build it yourself to load them"
            )


def _parameters(net: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def _layers(net: nn.Module) -> dict[str, str]:
    """Tell the layers by what they are; dropout does nothing in what is read back."""
    leaves = ((name, part) for name, part in net.named_modules() if not [*part.children()])
    return {name: repr(part) for name, part in leaves if not isinstance(part, nn.Dropout)}


def _write(
    folder: Path, config: dict, vocab: Vocab, net: nn.Module, history: History | None
) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    text = json.dumps(config, indent=2, default=lambda number: number.item())
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocab.idx_to_token), encoding="utf-8")
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    # safetensors keeps its files to their owner; a class reads what its teacher made
    (folder / "model.safetensors").chmod((folder / "vocab.json").stat().st_mode)
    if history is not None:
        history.save(folder / "history.csv")


def _take_over(folder: Path) -> None:
    """Put files that are whole, perhaps those of a process that was killed, in place of the old."""
    whole, history = folder / _WHOLE, folder / "history.csv"
    if not whole.is_dir():
        return
    if (whole / history.name).is_file():
        shutil.copyfile(whole / history.name, whole / "copy")  # so that all can be done again
        (whole / "copy").replace(history)
    else:
        history.unlink(missing_ok=True)
    for name in _FILES:
        if (whole / name).is_file():
            (whole / name).replace(folder / name)
    whole.rename(folder / _HALF)
    shutil.rmtree(folder / _HALF)


def _current(folder: Path, name: str) -> Path:
    """Return where a file is: a process may have been killed before it was in its place."""
    return folder / _WHOLE / name if (folder / _WHOLE / name).is_file() else folder / name


def load_classifier(folder: str | os.PathLike) -> tuple[BERTClassifier, Vocab]:
    """Read a classifier and its vocabulary as `save_classifier` wrote them; in evaluation mode.

    What another process replaces meanwhile is read again, so that no two classifiers are mixed.
    """
    folder = Path(folder)
    for _ in range(_MOST_READINGS):
        before = _stamp(folder)
        try:
            loaded = _read(folder)
        except (OSError, ValueError):
            if _stamp(folder) == before:
                raise
        else:
            if _stamp(folder) == before:
                return loaded
        time.sleep(0.01)
    raise OSError(f"{folder} is being written to all the time: try again later")


def _stamp(folder: Path) -> list[tuple[int, int]]:
    """Return what is another as soon as one of the files was replaced."""
    found = []
    for path in (*(folder / name for name in _FILES), *(folder / _WHOLE / name for name in _FILES)):
        with contextlib.suppress(OSError):
            found.append((path.stat().st_ino, path.stat().st_mtime_ns))
    return found


def _read(folder: Path) -> tuple[BERTClassifier, Vocab]:
    config_path, vocab_path, path = (_current(folder, name) for name in _FILES)
    if not (config_path.is_file() and vocab_path.is_file() and path.is_file()):
        raise FileNotFoundError(
            f"{folder} does not hold a fine-tuned classifier ({', '.join(_FILES)}): "
            "make one with `python -m d2lnli finetune` or save_classifier"
        )
    config = read_json(config_path, dict)
    try:
        vocab = _read_vocab(vocab_path, config.pop("wordpiece", None))
        net = _built(config)
        net.load_state_dict(safetensors.torch.load_file(path))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): fine-tune again"
        ) from error
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} does not fit {config_path}: {error}") from error
    if len(vocab) != config["vocab_size"]:
        raise ValueError(
            f"{vocab_path} has {len(vocab)} words, but the model has "
            f"{config['vocab_size']}: the files belong to different classifiers"
        )
    return net.eval(), vocab


def _read_vocab(path: Path, wordpiece: dict | None) -> Vocab:
    """Read the words, or the pieces if there are settings for WordPiece."""
    if wordpiece is None:
        return read_vocab(path)
    return WordPieceVocab(read_json(path, list), **wordpiece)
