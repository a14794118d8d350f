"""Fine-tuned classifiers on disk: one file each, `classifier.safetensors`, which runs no code.

Its metadata hold, as JSON, what is not a weight: the sizes and label names (`config`), the
vocabulary (`vocab`, and for WordPiece its settings), what it was trained on and how (`made_of`),
and the `history` of its training.
"""

import json
import os
import shutil
import tempfile
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
from .files import exclusive_lock, read_json, replace_file, writing
from .hub import DATA_HUB, data_dir, is_writable, user_cache_dir

CLASSIFIER = "classifier.safetensors"
_FORMERLY = ("config.json", "vocab.json", "model.safetensors")  # what earlier versions wrote
_CHECKSUMS = {
    "checksum of the pairs": "other pairs",
    "checksum of the pretrained encoder": "other pretrained weights",
}


def classifier_dir(model: str | os.PathLike, corpus: str | os.PathLike) -> Path:
    """Return where the classifier fine-tuned from `model` on `corpus` is kept by default.

    Each is a name or a folder; a folder's last part is used, with a mark of its path. In a data
    folder that may only be read, as a class's, nobody's classifier can be kept: it goes to the
    user's cache folder.
    """
    return classifier_dirs(model, corpus)[0]


def classifier_dirs(model: str | os.PathLike, corpus: str | os.PathLike) -> list[Path]:
    """Return where that classifier may be: one's own place, and the data folder's after it."""
    inside = Path("classifiers", f"{_short_name(str(model))}-{_short_name(str(corpus))}")
    shared = data_dir() / inside
    return [shared] if is_writable(shared) else [user_cache_dir() / inside, shared]


def find_classifier(model: str | os.PathLike, corpus: str | os.PathLike) -> Path | None:
    """Return where that classifier is: one's own, else the data folder's, else None."""
    return next(filter(holds_classifier, classifier_dirs(model, corpus)), None)


def _short_name(name: str) -> str:
    """Return what tells a name, or a folder, from any other; it can be part of a file's name."""
    if name in DATA_HUB or name.startswith("hf:"):
        return name.removeprefix("hf:").replace("/", "--")
    path = Path(name).resolve()
    return f"{path.name}-{zlib.crc32(os.fsencode(path)):08x}"


def save_classifier(
    folder: str | os.PathLike, net: nn.Module, vocab: Vocab, history: History | None = None
) -> Path:
    """Write a classifier and its vocabulary and return their folder, which replaces an old one.

    `net` is a `BERTClassifier`, or a class of the reader's own with the same three parts; one that
    `load_classifier` could not read back is refused. The `history` of its training is kept with
    them, and what it was trained on. If the history was interrupted, the folder is
    `<folder>-interrupted`, so that an unfinished classifier replaces nothing; a line says so.
    """
    if not (history is None or isinstance(history, History)):
        raise ValueError(f"a {type(history).__name__} is no History: of a launched run give wait()")
    folder, net = Path(folder).resolve(), unwrapped(net)
    _check_reads_back(net)
    if history is not None and history.interrupted:
        folder = _interrupted(folder)
        print(f"the training was interrupted: the classifier so far is in {folder}")
    with (
        writing("the classifier", folder, in_data_folder=True),
        exclusive_lock(folder / CLASSIFIER),
    ):
        for left in folder.glob(f".{CLASSIFIER}.*"):  # by a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        write_classifier(folder / CLASSIFIER, net, vocab, history)
        if "num_classes" in _former_config(folder):
            for name in (*_FORMERLY, "history.csv"):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / ".whole", ignore_errors=True)
    return folder


def write_classifier(
    path: Path, net: nn.Module, vocab: Vocab, history: History | None = None
) -> None:
    """Write one file, whole or not at all."""
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
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    # safetensors first writes a file under a name of its own: in this folder we can clean it up
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as half:
        new = Path(half, path.name)
        new.touch()
        mode = new.stat().st_mode
        safetensors.torch.save_file(tensors, new, metadata)
        new.chmod(mode)  # it would be its owner's; a class reads what its teacher made
        replace_file(path, new.replace)


def load_classifier(folder: str | os.PathLike) -> tuple[BERTClassifier, Vocab]:
    """Read a classifier and its vocabulary as `save_classifier` wrote them; in evaluation mode."""
    path, content, tensors = _read(Path(folder), with_tensors=True)
    try:
        config, pieces = content["config"], content.get("wordpiece")
        words = content["vocab"]
        vocab = Vocab.of_words(words) if pieces is None else WordPieceVocab(words, **pieces)
        net = built(config)
        net.load_state_dict(tensors)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold what a classifier is made of ({error}): fine-tune again"
        ) from error
    if len(vocab) != config["vocab_size"]:
        raise ValueError(
            f"{path}: the vocabulary has {len(vocab)} words, but the model has "
            f"{config['vocab_size']}: they belong to different classifiers"
        )
    return net.eval(), vocab


def _read(folder: Path, with_tensors: bool = False) -> tuple[Path, dict, dict[str, Tensor]]:
    """Return a classifier's file, its content but the tensors, and these: all of one version."""
    path = folder / CLASSIFIER
    if not path.is_file():
        return _read_former(folder, with_tensors)
    try:
        if with_tensors:  # read at once: safe_open opens a file twice, and might mix two versions
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
        raise ValueError(f"{path} is not a whole classifier ({error}): fine-tune again") from error


def _read_former(folder: Path, with_tensors: bool) -> tuple[Path, dict, dict[str, Tensor]]:
    """Read the files of earlier versions."""
    waiting = folder / ".whole"  # new files, if they had not all been moved to their place
    config_path, vocab_path, path = (
        waiting / name if (waiting / name).is_file() else folder / name for name in _FORMERLY
    )
    if not (config_path.is_file() and vocab_path.is_file() and path.is_file()):
        beside = _interrupted(folder.resolve())
        found = f"; one that was interrupted is in {beside}" if beside.is_dir() else ""
        raise FileNotFoundError(
            f"{folder} does not hold a fine-tuned classifier ({CLASSIFIER}): "
            f"make one with `python -m d2lnli finetune` or save_classifier{found}"
        )
    config = read_json(config_path, dict)
    content = {name: config.pop(name) for name in ("wordpiece", "made_of") if name in config}
    content |= {"config": config, "vocab": read_json(vocab_path, list)}
    if (folder / "history.csv").is_file():
        content["history"] = asdict(History.load(folder / "history.csv"))
    try:
        return path, content, safetensors.torch.load_file(path) if with_tensors else {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): fine-tune again"
        ) from error


def _former_config(folder: Path) -> dict:
    try:
        return read_json(folder / _FORMERLY[0], dict)
    except (OSError, ValueError):  # whatever it is, it is not ours
        return {}


def _interrupted(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-interrupted")


def holds_classifier(folder: Path) -> bool:
    """Tell whether a folder holds a classifier, of this version or an earlier one."""
    return any((folder / name).is_file() for name in (CLASSIFIER, _FORMERLY[-1]))


def read_made_of(folder: str | os.PathLike) -> dict:
    """Return what a classifier was trained on, how and when; not every one of them tells.

    Raises FileNotFoundError if there is no classifier.
    """
    return _read(Path(folder))[1].get("made_of", {})


def read_history(folder: str | os.PathLike) -> History | None:
    """Return the history of a classifier's training, if it was kept."""
    if not holds_classifier(Path(folder)):
        return None
    path, content, _ = _read(Path(folder))
    try:
        return History.of_dict(content["history"]) if "history" in content else None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: its history cannot be read ({error!r})") from error


def describe(folder: str | os.PathLike) -> str:
    """Say in a line which classifier a folder holds, and when it was made."""
    kept = read_made_of(folder)
    name = Path(folder).resolve().name
    if "pairs" not in kept:
        return f"the classifier {name}, whose training data are not recorded"
    end = " (interrupted)" if kept["interrupted"] else ""
    return f"the classifier {name}, fine-tuned on {kept['pairs']:,} pairs, {kept['made']}{end}"


def find_made_of(folders: Iterable[Path], wanted: dict) -> Path | None:
    """Return the first folder that holds what is wanted, of each folder and the one beside it."""
    places = [place for folder in folders for place in (folder, _beside(folder, wanted))]
    found = (place for place in places if holds_classifier(place) and not why_not(place, wanted))
    return next(found, None)


def why_not(folder: Path, wanted: dict) -> str:
    """Say in what the classifier in a folder, if there is one, is not the one that is wanted."""
    if not holds_classifier(folder):
        return ""
    kept = read_made_of(folder)
    if not kept.keys() >= wanted.keys():
        return "its training data are not recorded"
    asked = {name: value for name, value in wanted.items() if name not in _CHECKSUMS}
    reasons = [differences(kept, {**asked, "interrupted": False})]
    reasons += [what for name, what in _CHECKSUMS.items() if kept[name] != wanted[name]]
    return "; ".join(filter(None, reasons))


def place_for(folder: Path, wanted: dict) -> Path:
    """Return where to keep a new classifier: `folder`, or one beside it.

    It replaces one of as many pairs or fewer, and no other, which is not to be lost.
    """
    if not holds_classifier(folder):
        return folder
    kept = read_made_of(folder)
    data = {"pairs", "checksum of the pairs"}
    alike = all(kept.get(name) == wanted[name] for name in wanted.keys() - data)
    return folder if alike and kept["pairs"] <= wanted["pairs"] else _beside(folder, wanted)


def _beside(folder: Path, wanted: dict) -> Path:
    settings = {name: value for name, value in wanted.items() if "checksum" not in name}
    return folder.with_name(f"{folder.name}-{zlib.crc32(json.dumps(settings).encode()):08x}")


def classifier_config(net: nn.Module) -> dict:
    """Return the sizes and the label names from which a classifier is built again."""
    names = label_names_of(net)
    sizes = unwrapped(net).encoder.config.of_encoder()
    return {**sizes, "num_classes": len(names), "label_names": list(names)}


def built(config: dict) -> BERTClassifier:
    """Build the network of a configuration, with random weights."""
    sizes = dict(config)
    labels = sizes.pop("num_classes"), sizes.pop("label_names", None)
    return BERTClassifier(BERTModel(**sizes), *labels)


def _check_reads_back(net: nn.Module) -> None:
    """Raise ValueError if a network is another than the one that is built from its sizes."""
    config = classifier_config(net)
    with torch.device("meta"):
        theirs, ours = _anatomy(net), _anatomy(built(config))
    differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    own_forward = type(net).forward is not BERTClassifier.forward
    if not differing and own_forward and not _answers_alike(net, config):
        differing = ["what its forward computes"]
    if differing:
        raise ValueError(
            f"load_classifier could not read this {type(net).__name__} back: it differs from a "
            f"BERTClassifier in {', '.join(differing)}. Keep its weights with "
            "torch.save(net.state_dict(), file), and build the network yourself to load them"
        )


def _anatomy(net: nn.Module) -> dict[str, object]:
    """Return the shape of every tensor, and what each layer is.

    Dropout is left out: it does nothing in a classifier that is read back.
    """
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    layers = {
        f"the layer {part}.{name}".rstrip("."): repr(layer)
        for part in ("encoder", "hidden", "output")
        for name, layer in getattr(net, part).named_modules()
        if not ([*layer.children()] or isinstance(layer, nn.Dropout))
    }
    return {**shapes, **layers}


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
