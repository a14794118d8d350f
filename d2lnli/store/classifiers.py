"""Fine-tuned classifiers on disk: `config.json`, `vocab.json` and `model.safetensors`."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
from torch import nn

from ..bert import BERTClassifier, BERTModel, label_names_of, unwrapped
from ..history import History
from ..layouts.book import read_vocab
from ..vocab import Vocab, WordPieceVocab
from .files import exclusive_lock, read_json

_FILES = ("config.json", "vocab.json", "model.safetensors")
Value = TypeVar("Value")
_MOST_READINGS = 1000
_HALF, _WHOLE = ".half", ".whole"  # where new files are written, and wait to replace the old ones


def save_classifier(
    folder: str | os.PathLike, net: nn.Module, vocab: Vocab, history: History | None = None
) -> Path:
    """Write a classifier and its vocabulary and return their folder, which replaces an old one.

    `net` is a `BERTClassifier`, or a class of the reader's own with the same three parts; one that
    `load_classifier` could not read back is refused. The `history` of its training is written
    beside them, and what it was trained on. If the history was interrupted, the folder is
    `<folder>-interrupted`, so that an unfinished classifier replaces nothing; a line says so.
    """
    folder, net = Path(folder).resolve(), unwrapped(net)
    config = classifier_config(net)
    _check_parts(net, config)
    if isinstance(vocab, WordPieceVocab):
        config["wordpiece"] = vocab.settings
    if history is not None:
        told = {"interrupted": history.interrupted, "made": time.strftime("%Y-%m-%d %H:%M")}
        config["made_of"] = {**history.made_of, **told}
        if history.interrupted:
            folder = _interrupted(folder)
            print(f"the training was interrupted: the classifier so far is in {folder}")
    try:
        with exclusive_lock(folder / "model.safetensors"):
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
    return {**unwrapped(net).encoder.config, "num_classes": len(names), "label_names": list(names)}


def read_made_of(folder: str | os.PathLike) -> dict:
    """Return what a classifier was trained on, how and when; earlier versions did not write it.

    Raises FileNotFoundError if there is no classifier.
    """
    return _steadily(_read_config, Path(folder)).get("made_of", {})


def _read_config(folder: Path) -> dict:
    return read_json(_current(folder, "config.json"), dict)


def _interrupted(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-interrupted")


def describe(folder: str | os.PathLike) -> str:
    """Say in a line which classifier a folder holds, and when it was made."""
    kept = read_made_of(folder)
    name = Path(folder).resolve().name
    if "pairs" not in kept:
        return f"the classifier {name}, whose training data are not recorded"
    end = " (interrupted)" if kept["interrupted"] else ""
    return f"the classifier {name}, fine-tuned on {kept['pairs']:,} pairs, {kept['made']}{end}"


def built(config: dict) -> BERTClassifier:
    """Build the network of a configuration, with random weights."""
    sizes = dict(config)
    labels = sizes.pop("num_classes"), sizes.pop("label_names", None)
    return BERTClassifier(BERTModel(**sizes), *labels)


def _check_parts(net: nn.Module, config: dict) -> None:
    """Raise ValueError if a network is another than the one that is built from its sizes."""
    with torch.device("meta"):
        plain = built(config)
    for parts in (_parameters, _layers):
        theirs, ours = parts(net), parts(plain)
        if differing := [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]:
            break
    else:
        own_forward = type(net).forward is not BERTClassifier.forward
        if not own_forward or _answers_alike(net, config):
            return
        differing = ["what its forward computes"]
    raise ValueError(
        f"load_classifier could not read this {type(net).__name__} back: it differs from a "
        f"BERTClassifier in {', '.join(differing)}. Keep its weights with "
        "torch.save(net.state_dict(), file), and build the network yourself to load them"
    )


def _answers_alike(net: nn.Module, config: dict) -> bool:
    """Tell whether a network computes from its parameters what a BERTClassifier does."""
    plain = built(config).eval()
    plain.load_state_dict(net.state_dict())
    training, device = net.training, next(net.parameters()).device
    ids = torch.arange(min(5, config["vocab_size"], config["max_len"]))[None]
    inputs = [ids, torch.zeros_like(ids), torch.tensor([ids.shape[1]])]
    with torch.inference_mode():
        theirs, ours = net.eval()([x.to(device) for x in inputs]).cpu(), plain(inputs)
    net.train(training)
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, atol=1e-3, equal_nan=True)


def _parameters(net: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def _layers(net: nn.Module) -> dict[str, str]:
    """Tell the layers by what they are; dropout does nothing in what is read back."""
    return {
        f"{name}.{inside}".rstrip("."): repr(layer)
        for name in ("encoder", "hidden", "output")
        for inside, layer in getattr(net, name).named_modules()
        if not ([*layer.children()] or isinstance(layer, nn.Dropout))
    }


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
    return _steadily(_read, Path(folder))


def _steadily(read: Callable[[Path], Value], folder: Path) -> Value:
    """Read a classifier's folder again and again, until nobody has written to it meanwhile."""
    for _ in range(_MOST_READINGS):
        before = _stamp(folder)
        try:
            loaded = read(folder)
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
        beside = _interrupted(folder.resolve())
        found = f"; one that was interrupted is in {beside}" if beside.is_dir() else ""
        raise FileNotFoundError(
            f"{folder} does not hold a fine-tuned classifier ({', '.join(_FILES)}): "
            f"make one with `python -m d2lnli finetune` or save_classifier{found}"
        )
    config = read_json(config_path, dict)
    try:
        vocab = _read_vocab(vocab_path, config.pop("wordpiece", None))
        config.pop("made_of", None)
        net = built(config)
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
