"""Pretrained checkpoints: from a name or a folder to a BERTModel and its vocabulary."""

import json
import os
from pathlib import Path

import torch
from torch import Tensor

from .bert import BERTModel
from .hub import ARCHITECTURES, find_folder
from .text import Vocab

_SPECIAL_TOKENS = ("<pad>", "<cls>", "<sep>", "<unk>")


def load_pretrained_model(
    name_or_dir: str | os.PathLike,
    num_hiddens: int | None = None,
    ffn_num_hiddens: int | None = None,
    num_heads: int | None = None,
    num_blks: int | None = None,
    dropout: float = 0.1,
    max_len: int | None = None,
    devices: list[torch.device] | None = None,
) -> tuple[BERTModel, Vocab]:
    """Load a BERT and its vocabulary from a name in `DATA_HUB` or a folder of the same layout.

    The folder holds `vocab.json` and `pretrained.params` and may hold `config.json`. What is left
    out of the architecture is read from the checkpoint; what contradicts it is a ValueError. The
    model is in evaluation mode, on the first of `devices` if given, else on the CPU.
    """
    folder = find_folder(name_or_dir)
    path = folder / "pretrained.params"
    vocab = load_vocab(folder / "vocab.json")
    params = _read_params(path)
    given = {
        "num_hiddens": num_hiddens,
        "ffn_num_hiddens": ffn_num_hiddens,
        "num_heads": num_heads,
        "num_blks": num_blks,
        "max_len": max_len,
    }
    known = {
        "config.json": _read_config(folder / "config.json"),
        "DATA_HUB": ARCHITECTURES.get(str(name_or_dir), {}),
        "your argument": {key: value for key, value in given.items() if value is not None},
    }
    architecture = _architecture(params, known, path)
    vocab_size = architecture["vocab_size"]
    if len(vocab) != vocab_size:
        raise ValueError(
            f"{folder / 'vocab.json'} has {len(vocab)} words, but the embedding in {path.name} has "
            f"{vocab_size} rows: the two files belong to different checkpoints"
        )
    bert = _build(architecture, dropout, params, path).eval()
    return (bert.to(devices[0]) if devices else bert), vocab


def load_vocab(path: Path) -> Vocab:
    """Read a `vocab.json`: a list of words, of which the index is the id."""
    words = read_json(path, list)
    if not all(isinstance(word, str) for word in words) or len(set(words)) != len(words):
        raise ValueError(f"{path} is not a list of different words: restore the published file")
    missing = [token for token in _SPECIAL_TOKENS if token not in words]
    if missing:
        raise ValueError(f"{path} lacks the special token(s) {', '.join(missing)}: add them")
    vocab = Vocab()
    vocab.idx_to_token = words
    vocab.token_to_idx = {word: i for i, word in enumerate(words)}
    return vocab


def read_json(path: Path, kind: type) -> list | dict:
    """Read a JSON file that holds a list or a dict, as `kind` says."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a checkpoint's folder must hold it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON in UTF-8 ({error})") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a {kind.__name__}")
    return content


def _read_config(path: Path) -> dict[str, int]:
    return read_json(path, dict) if path.is_file() else {}


def _read_params(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a checkpoint's folder must hold it")
    params = read_torch(path, "fetch it again")
    if not isinstance(params, dict) or not all(isinstance(t, Tensor) for t in params.values()):
        raise ValueError(f"{path} is not a state dict (names with tensors): save net.state_dict()")
    return params


def read_torch(path: Path, way_out: str) -> object:
    """Read what torch saved, in either serialization, without running code from the file."""
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes torch raise almost anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(
                f"{path} is not a whole file of torch's ({reason}): {way_out}"
            ) from error


def _architecture(params: dict, known: dict[str, dict], path: Path) -> dict[str, int]:
    """Read the sizes off the tensors' shapes and hold what else is known against them."""
    shapes = {name: tensor.shape for name, tensor in params.items()}
    try:
        (vocab_size, num_hiddens) = shapes["encoder.token_embedding.weight"]
        (_, max_len, _) = shapes["encoder.pos_embedding"]
        (ffn_num_hiddens, _) = shapes["encoder.blks.0.ffn.dense1.weight"]
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a BERT checkpoint: {error} is missing or has another shape"
        ) from error
    blocks = {int(name.split(".")[2]) for name in shapes if name.startswith("encoder.blks.")}
    found = {
        "vocab_size": vocab_size,
        "num_hiddens": num_hiddens,
        "ffn_num_hiddens": ffn_num_hiddens,
        "num_blks": len(blocks),
        "max_len": max_len,
    }
    source = dict.fromkeys(found, path)
    for where, sizes in known.items():
        for key, value in sizes.items():
            if found.setdefault(key, value) != value:
                raise ValueError(
                    f"{key}={value} ({where}) contradicts {key}={found[key]} ({source[key]}): "
                    "leave it out to take the checkpoint's"
                )
            source.setdefault(key, where)
    if "num_heads" not in found:
        raise ValueError(
            f"the number of heads cannot be read from {path}: give num_heads=…, or put a "
            "config.json with num_heads beside it"
        )
    return found


def _build(architecture: dict, dropout: float, params: dict, path: Path) -> BERTModel:
    """Make the model without allocating it and give it the checkpoint's tensors."""
    with torch.device("meta"):
        bert = BERTModel(dropout=dropout, **architecture)
    expected = bert.state_dict()
    missing, unexpected = expected.keys() - params.keys(), params.keys() - expected.keys()
    reshaped = [
        f"{name} is {tuple(params[name].shape)}, not {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & params.keys())
        if params[name].shape != expected[name].shape
    ]
    faults = [
        *(f"{name} is missing" for name in sorted(missing)),
        *(f"{name} is unexpected" for name in sorted(unexpected)),
        *reshaped,
    ]
    if faults:
        more = f" and {len(faults) - 5} more faults" if len(faults) > 5 else ""
        raise ValueError(f"{path} does not fit this BERT: {'; '.join(faults[:5])}{more}")
    bert.load_state_dict({name: t.float() for name, t in params.items()}, assign=True)
    return bert
