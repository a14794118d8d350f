"""Fine-tuned classifiers on disk: `config.json`, `vocab.json` and `model.safetensors`."""

import json
import os
import shutil
from pathlib import Path

import safetensors
import safetensors.torch
from torch import nn

from .bert import BERTClassifier, BERTModel
from .files import alone
from .history import History
from .layouts.book import read_vocab
from .layouts.files import read_json
from .text import Vocab
from .wordpiece import WordPieceVocab

_FILES = ("config.json", "vocab.json", "model.safetensors")


def save_classifier(
    folder: str | os.PathLike, net: nn.Module, vocab: Vocab, history: History | None = None
) -> None:
    """Write a classifier and its vocabulary; an old one goes once the new is whole.

    `net` is a `BERTClassifier`, or a class of the reader's own with the same three parts. The
    `history` of its training is written beside them.
    """
    folder = Path(folder)
    config = {**net.encoder.config, "num_classes": net.output.out_features}
    if isinstance(vocab, WordPieceVocab):
        config["wordpiece"] = vocab.settings
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    try:
        with alone(folder / _FILES[-1]):
            _replace_files(folder, config, vocab, tensors)
            if history is not None:
                history.save(folder / "history.csv")
    except OSError as error:
        raise OSError(
            f"cannot write the classifier to {folder} ({error}): free some space, give another "
            "folder, or set D2LNLI_DATA_DIR to one that you may write to"
        ) from error


def _replace_files(folder: Path, config: dict, vocab: Vocab, tensors: dict) -> None:
    """Put new files in the place of old ones.

    Without the model a folder holds no classifier, so it goes first and comes last: whatever
    happens in between, files of two classifiers are never taken for one.
    """
    new = folder / ".saving"
    shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
    new.mkdir()
    try:
        (new / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (new / "vocab.json").write_text(json.dumps(vocab.idx_to_token), encoding="utf-8")
        safetensors.torch.save_file(tensors, new / "model.safetensors")
        # safetensors keeps its files to their owner; a class reads what its teacher made
        (new / "model.safetensors").chmod((new / "vocab.json").stat().st_mode)
        for name in ("history.csv", "model.safetensors"):
            (folder / name).unlink(missing_ok=True)
        for name in _FILES:
            (new / name).replace(folder / name)
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def load_classifier(folder: str | os.PathLike) -> tuple[BERTClassifier, Vocab]:
    """Read a classifier and its vocabulary as `save_classifier` wrote them; in evaluation mode."""
    folder = Path(folder)
    if not all((folder / name).is_file() for name in _FILES):
        raise FileNotFoundError(
            f"{folder} does not hold a fine-tuned classifier ({', '.join(_FILES)}): "
            "make one with `python -m d2lnli finetune` or save_classifier"
        )
    config, path = read_json(folder / "config.json", dict), folder / "model.safetensors"
    try:
        vocab = _read_vocab(folder / "vocab.json", config.pop("wordpiece", None))
        num_classes = config.pop("num_classes")
        net = BERTClassifier(BERTModel(**config), num_classes)
        net.load_state_dict(safetensors.torch.load_file(path))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): fine-tune again"
        ) from error
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} does not fit {folder / 'config.json'}: {error}") from error
    if len(vocab) != config["vocab_size"]:
        raise ValueError(
            f"{folder / 'vocab.json'} has {len(vocab)} words, but the model has "
            f"{config['vocab_size']}: the files belong to different classifiers"
        )
    return net.eval(), vocab


def _read_vocab(path: Path, wordpiece: dict | None) -> Vocab:
    """Read the words, or the pieces if there are settings for WordPiece."""
    if wordpiece is None:
        return read_vocab(path)
    return WordPieceVocab(read_json(path, list), **wordpiece)
