"""Fine-tuned classifiers on disk: one file each, `classifier.safetensors`, which runs no code.

Its metadata contain, as JSON, everything but the weights: the sizes and label names (`config`), the
vocabulary (`vocab`, and `wordpiece` for its settings), the training data and settings (`made_of`),
and the `history` of the training.
"""

import contextlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..bert import BERTClassifier, BERTModel, label_names_of, unwrapped
from ..history import History, differences
from ..vocab import Vocab, WordPieceVocab
from .files import exclusive_lock, read_json, write_safetensors, writing
from .hub import DATA_HUB, data_dir, is_writable, present_name, user_cache_dir

CLASSIFIER = "classifier.safetensors"
_FORMER_FILES = ("config.json", "vocab.json", "model.safetensors")  # files of earlier versions
_UNMOVED = ".whole"  # has the new files, if a crash came before all were moved
_CHECKSUMS = {
    "checksum of the pairs": "other pairs",
    "checksum of the pretrained encoder": "other pretrained weights",
}


def classifier_dir(model: str | os.PathLike, corpus: str | os.PathLike) -> Path:
    """Return the default folder of the classifier fine-tuned from `model` on `corpus`.

    Each is a name or a folder; a folder gives its last part and a checksum of its path. If the data
    folder is read-only, such as a shared one, the classifier is saved in the user's cache folder.
    """
    return classifier_dirs(model, corpus)[0]


def classifier_dirs(model: str | os.PathLike, corpus: str | os.PathLike) -> list[Path]:
    """Return the folders where that classifier may be: the writable one first."""
    name = Path("classifiers", f"{_short_name(str(model))}-{_short_name(str(corpus))}")
    shared = data_dir() / name
    return [shared] if is_writable(shared) else [user_cache_dir() / name, shared]


def find_classifier(model: str | os.PathLike, corpus: str | os.PathLike) -> Path | None:
    """Return the first folder that has that classifier, or None."""
    return next(filter(holds_classifier, classifier_dirs(model, corpus)), None)


def _short_name(name: str) -> str:
    """Return a unique name for a model or corpus, which can be part of a file name."""
    name = present_name(name)
    if name in DATA_HUB or name.startswith("hf:"):
        return name.removeprefix("hf:").replace("/", "--")
    path = Path(name).resolve()
    return f"{path.name}-{zlib.crc32(os.fsencode(path)):08x}"


def save_classifier(
    folder: str | os.PathLike, net: nn.Module, vocab: Vocab, history: History | None = None
) -> Path:
    """Write a classifier and its vocabulary, replacing an older one; return their folder.

    `net` is a `BERTClassifier`, or your own class with the same three parts. Raises ValueError if
    `load_classifier` could not read it back. `history` is saved too, with the training data and
    settings that it records. If the training was interrupted, the folder is
    `<folder>-interrupted`, so that an unfinished classifier replaces nothing; a line says so.
    """
    check_history(history)
    folder, net = Path(folder).resolve(), unwrapped(net)
    check_reads_back(net)
    if history is not None and history.interrupted:
        folder = _interrupted(folder)
        print(f"the training was interrupted: the classifier so far is in {folder}")
    with (
        writing("the classifier", folder, in_data_folder=True),
        exclusive_lock(folder / CLASSIFIER),
    ):
        for leftover in folder.glob(f".{CLASSIFIER}.*"):  # by a killed process
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        write_classifier(folder / CLASSIFIER, net, vocab, history)
        if "num_classes" in _former_config(folder):
            for name in (*_FORMER_FILES, "history.csv"):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / _UNMOVED, ignore_errors=True)
    return folder


def write_classifier(
    path: Path, net: nn.Module, vocab: Vocab, history: History | None = None
) -> None:
    """Write one file, completely or not at all."""
    content: dict[str, Any] = {"config": classifier_config(net), "vocab": vocab.idx_to_token}
    if isinstance(vocab, WordPieceVocab):
        content["wordpiece"] = vocab.settings
    if history is not None:
        end = {"interrupted": history.interrupted, "made": time.strftime("%Y-%m-%d %H:%M")}
        content |= {"made_of": {**history.made_of, **end}, "history": asdict(history)}
    metadata = {
        name: json.dumps(value, default=lambda number: number.item())
        for name, value in content.items()
    }
    write_safetensors(path, net.state_dict(), metadata)


def read_classifier(folder: str | os.PathLike) -> tuple[Path, BERTClassifier, Vocab]:
    """Read what `save_classifier` wrote: the file, the classifier (eval mode), the vocabulary."""
    path, content, tensors = _read(Path(folder), with_tensors=True)
    try:
        config, pieces = content["config"], content.get("wordpiece")
        words = content["vocab"]
        vocab = Vocab.of_words(words) if pieces is None else WordPieceVocab(words, **pieces)
        net = built(config)
        net.load_state_dict(tensors)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} does not contain a classifier ({error}): fine-tune again"
        ) from error
    if len(vocab) != config["vocab_size"]:
        raise ValueError(
            f"{path}: the vocabulary has {len(vocab)} words, but the model has "
            f"{config['vocab_size']}: they belong to different classifiers"
        )
    with contextlib.suppress(ValueError):  # an unreadable history does not spoil the weights
        net.history = _history(path, content)
    return path, net.eval(), vocab


def _read(folder: Path, with_tensors: bool = False) -> tuple[Path, dict, dict[str, Tensor]]:
    """Return a classifier's file, its metadata and its tensors, all from the same version."""
    path = folder / CLASSIFIER
    if not path.is_file():
        return _read_former(folder, with_tensors)
    try:
        if with_tensors:  # safe_open opens the file twice, and could mix two versions
            data = path.read_bytes()
            tensors = safetensors.torch.load(data)
            metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        else:
            with safetensors.safe_open(path, "pt") as file:
                tensors, metadata = {}, file.metadata() or {}
        return path, {name: json.loads(text) for name, text in metadata.items()}, tensors
    except KeyError:
        raise ValueError(f"{path} has no metadata: it was not written by save_classifier") from None
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}): fine-tune again") from error


def _read_former(folder: Path, with_tensors: bool) -> tuple[Path, dict, dict[str, Tensor]]:
    """Read the files of earlier versions."""
    unmoved = folder / _UNMOVED
    config_path, vocab_path, path = (
        unmoved / name if (unmoved / name).is_file() else folder / name for name in _FORMER_FILES
    )
    if not (config_path.is_file() and vocab_path.is_file() and path.is_file()):
        unfinished = _interrupted(folder.resolve())
        hint = f"; an interrupted one is in {unfinished}" if unfinished.is_dir() else ""
        raise FileNotFoundError(
            f"{folder} has no fine-tuned classifier ({CLASSIFIER}): "
            f"make one with `python -m d2lnli finetune` or save_classifier{hint}"
        )
    config = read_json(config_path, dict)
    content = {name: config.pop(name) for name in ("wordpiece", "made_of") if name in config}
    content |= {"config": config, "vocab": read_json(vocab_path, list)}
    if (folder / "history.csv").is_file():
        content["history"] = asdict(History.load(folder / "history.csv"))
    try:
        return path, content, safetensors.torch.load_file(path) if with_tensors else {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}): fine-tune again") from error


def _former_config(folder: Path) -> dict:
    try:
        return read_json(folder / _FORMER_FILES[0], dict)
    except (OSError, ValueError):  # not a file of ours
        return {}


def _interrupted(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-interrupted")


def holds_classifier(folder: Path) -> bool:
    """Return whether a folder of ours has a classifier, of this version or an earlier one."""
    return any((folder / name).is_file() for name in (CLASSIFIER, _FORMER_FILES[-1]))


def is_classifier_of_ours(folder: Path) -> bool:
    """Return whether a folder of any origin has a classifier of ours."""
    former = (_former_config(path) for path in (folder, folder / _UNMOVED))
    return (folder / CLASSIFIER).is_file() or any("num_classes" in config for config in former)


def read_made_of(folder: str | os.PathLike) -> dict:
    """Return the training data, settings and date of a classifier, if they were recorded.

    Raises FileNotFoundError if there is no classifier.
    """
    return _read(Path(folder))[1].get("made_of", {})


def read_history(folder: str | os.PathLike) -> History | None:
    """Return the history of a classifier's training, if it was saved."""
    if not holds_classifier(Path(folder)):
        return None
    return _history(*_read(Path(folder))[:2])


def _history(path: Path, content: dict) -> History | None:
    try:
        return History.of_dict(content["history"]) if "history" in content else None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: its history cannot be read ({error!r})") from error


def describe(folder: str | os.PathLike) -> str:
    """Return a line that says which classifier a folder has, and when it was made."""
    if not is_classifier_of_ours(Path(folder)):
        return f"the classifier {folder}, which was fine-tuned elsewhere"
    saved = read_made_of(folder)
    name = Path(folder).resolve().name
    if "pairs" not in saved:
        return f"the classifier {name}, whose training data are not recorded"
    end = " (interrupted)" if saved["interrupted"] else ""
    return f"the classifier {name}, fine-tuned on {saved['pairs']:,} pairs, {saved['made']}{end}"


def find_made_of(folders: Iterable[Path], wanted: dict) -> Path | None:
    """Return the first of the folders, and of their alternatives, with the wanted classifier."""
    candidates = [path for folder in folders for path in (folder, _alternative(folder, wanted))]
    matching = (path for path in candidates if holds_classifier(path) and not why_not(path, wanted))
    return next(matching, None)


def why_not(folder: Path, wanted: dict) -> str:
    """Return how the classifier in a folder differs from the wanted one; empty without one."""
    if not holds_classifier(folder):
        return ""
    saved = read_made_of(folder)
    if not saved.keys() >= wanted.keys():
        return "its training data are not recorded"
    settings = {name: value for name, value in wanted.items() if name not in _CHECKSUMS}
    reasons = [differences(saved, {**settings, "interrupted": False})]
    reasons += [what for name, what in _CHECKSUMS.items() if saved[name] != wanted[name]]
    return "; ".join(filter(None, reasons))


def place_for(folder: Path, wanted: dict) -> Path:
    """Return the folder for a new classifier: `folder`, or an alternative beside it.

    The new one replaces a classifier only if that has the same settings and no more pairs.
    """
    if not holds_classifier(folder):
        return folder
    saved = read_made_of(folder)
    data = {"pairs", "checksum of the pairs"}
    same = all(saved.get(name) == wanted[name] for name in wanted.keys() - data)
    return folder if same and saved["pairs"] <= wanted["pairs"] else _alternative(folder, wanted)


def _alternative(folder: Path, wanted: dict) -> Path:
    settings = {name: value for name, value in wanted.items() if "checksum" not in name}
    return folder.with_name(f"{folder.name}-{zlib.crc32(json.dumps(settings).encode()):08x}")


def classifier_config(net: nn.Module) -> dict:
    """Return the sizes and the label names, from which `built` builds the classifier again."""
    names = label_names_of(net)
    sizes = unwrapped(net).encoder.config.of_encoder()
    return {**sizes, "num_classes": len(names), "label_names": list(names)}


def built(config: dict) -> BERTClassifier:
    """Build the network of a configuration, with random weights."""
    sizes = dict(config)
    labels = sizes.pop("num_classes"), sizes.pop("label_names", None)
    return BERTClassifier(BERTModel(**sizes), *labels)


def check_history(history: object) -> None:
    """Raise ValueError if something that is to be saved as a history is none."""
    if not (history is None or isinstance(history, History)):
        raise ValueError(
            f"history is a {type(history).__name__}, not a History: for a launched run pass wait()"
        )


def check_reads_back(net: nn.Module) -> None:
    """Raise ValueError if a network differs from the one that is built from its sizes."""
    config = classifier_config(net)
    with torch.device("meta"):
        theirs, ours = _structure(net), _structure(built(config))
    differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    has_own_forward = type(net).forward is not BERTClassifier.forward
    if not differing and has_own_forward and not _same_outputs(net, config):
        differing = ["what its forward computes"]
    if differing:
        raise ValueError(
            f"load_classifier could not read this {type(net).__name__} back: it differs from a "
            f"BERTClassifier in {', '.join(differing)}. Save its weights with "
            "torch.save(net.state_dict(), file), and build the network yourself to load them"
        )


def _structure(net: nn.Module) -> dict[str, object]:
    """Return the shape of every tensor, and a description of each layer.

    Dropout is left out, because it has no effect in evaluation mode.
    """
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    layers = {
        f"the layer {part}.{name}".rstrip("."): repr(layer)
        for part in ("encoder", "hidden", "output")
        for name, layer in getattr(net, part).named_modules()
        if not ([*layer.children()] or isinstance(layer, nn.Dropout))
    }
    return {**shapes, **layers}


def _same_outputs(net: nn.Module, config: dict) -> bool:
    """Return whether a network gives the same outputs as a BERTClassifier with its weights."""
    plain = built(config).eval()
    plain.load_state_dict(net.state_dict())
    training, device = net.training, next(net.parameters()).device
    ids = torch.arange(min(5, config["vocab_size"], config["max_len"]))[None]
    inputs = [ids, torch.zeros_like(ids), torch.tensor([ids.shape[1]])]
    with torch.inference_mode():
        theirs, ours = net.eval()([x.to(device) for x in inputs]).cpu(), plain(inputs)
    net.train(training)
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, atol=1e-3, equal_nan=True)
