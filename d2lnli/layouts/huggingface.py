"""Hugging Face's BERTs: `config.json`, `model.safetensors` or `pytorch_model.bin`, `vocab.txt`.

The tensors may stand below `bert.` or not, with the pretraining heads (`cls.`) or without.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from ..bert import ACTIVATIONS
from ..wordpiece import WordPieceVocab
from .files import (
    Checkpoint,
    check_config,
    read_json,
    read_safetensors,
    read_torch_tensors,
)

_SIZES = {
    "vocab_size": "vocab_size",
    "num_hiddens": "hidden_size",
    "ffn_num_hiddens": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_blks": "num_hidden_layers",
    "max_len": "max_position_embeddings",
}
_BODY_NAMES = (
    ("encoder.token_embedding.", "embeddings.word_embeddings."),
    ("encoder.segment_embedding.", "embeddings.token_type_embeddings."),
    ("encoder.pos_embedding", "embeddings.position_embeddings.weight"),
    ("encoder.embedding_norm.0.", "embeddings.LayerNorm."),
    ("encoder.blks.", "encoder.layer."),
    ("attention.W_q.", "attention.self.query."),
    ("attention.W_k.", "attention.self.key."),
    ("attention.W_v.", "attention.self.value."),
    ("attention.W_o.", "attention.output.dense."),
    ("addnorm1.ln.", "attention.output.LayerNorm."),
    ("ffn.dense1.", "intermediate.dense."),
    ("ffn.dense2.", "output.dense."),
    ("addnorm2.ln.", "output.LayerNorm."),
    ("hidden.0.", "pooler.dense."),
)
_HEAD_NAMES = (
    ("mlm.mlp.0.", "cls.predictions.transform.dense."),
    ("mlm.mlp.2.", "cls.predictions.transform.LayerNorm."),
    ("mlm.mlp.3.weight", "cls.predictions.decoder.weight"),
    ("mlm.mlp.3.bias", "cls.predictions.bias"),
    ("nsp.output.", "cls.seq_relationship."),
)
_OLD_NORM_NAMES = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
_BODY = ("embeddings.", "encoder.", "pooler.")
_TOKENIZERS = ("Bert", "DistilBert", "PreTrained", "Tokenizers")


def is_hugging_face(folder: Path) -> bool:
    """Tell by its `config.json` whether a folder is of this layout."""
    path = folder / "config.json"
    config = read_json(path, dict) if path.is_file() else {}
    return "model_type" in config or "hidden_size" in config


def read_hugging_face(folder: Path) -> Checkpoint:
    """Read a folder of this layout; what is not a BERT is refused by its name."""
    config_path, vocab_path = folder / "config.json", folder / "vocab.txt"
    raw = read_json(config_path, dict)
    _refuse_what_differs(raw, config_path)
    tied = raw.get("tie_word_embeddings", True)
    config = {ours: raw[theirs] for ours, theirs in _SIZES.items() if theirs in raw}
    config |= {
        "activation": raw.get("hidden_act", "gelu"),
        "embedding_norm": True,
        "norm_eps": raw.get("layer_norm_eps", 1e-12),
        "tied_decoder": tied,
        "is_next": 0,
    }
    check_config(config, config_path)
    path = folder / "model.safetensors"
    if not path.is_file() and (folder / "pytorch_model.bin").is_file():
        path = folder / "pytorch_model.bin"
    tensors = (read_safetensors if path.suffix == ".safetensors" else read_torch_tensors)(path)
    prefix = "bert." if any(name.startswith("bert.") for name in tensors) else ""
    left_out = _leave_out(tensors, prefix)
    _unify_decoder(tensors, prefix, tied, path)
    positions = f"{prefix}embeddings.position_embeddings.weight"
    if positions in tensors:
        tensors[positions] = tensors[positions].unsqueeze(0)
    return Checkpoint(
        path=path,
        tensors=tensors,
        names=_names(tensors, prefix),
        config=config,
        vocab=_read_vocab(folder),
        vocab_path=vocab_path if vocab_path.is_file() else folder / "tokenizer.json",
        left_out=left_out,
    )


def _refuse_what_differs(config: dict, path: Path) -> None:
    """Raise ValueError, by name, for a network that is not a BERT encoder with two segments."""
    for name, default, right in (
        ("model_type", "bert", ("bert",)),
        ("position_embedding_type", "absolute", ("absolute",)),
        ("hidden_act", "gelu", tuple(ACTIVATIONS)),
        ("type_vocab_size", 2, (2,)),
        ("is_decoder", False, (False,)),
        ("add_cross_attention", False, (False,)),
        ("tie_word_embeddings", True, (True, False)),
    ):
        value = config.get(name, default)
        if value not in right:
            wanted = " or ".join(json.dumps(choice) for choice in right)
            raise ValueError(
                f"{path}: {name} is {json.dumps(value)}, and this BERT's must be {wanted}: choose "
                "a checkpoint of a BERT, such as 'hf:google-bert/bert-base-uncased'"
            )


def _names(tensors: dict[str, Tensor], prefix: str) -> tuple[tuple[str, str], ...]:
    """Return the replacements from our names to those of this file."""
    body = (
        (ours, prefix + theirs if theirs.startswith(_BODY) else theirs)
        for ours, theirs in _BODY_NAMES
    )
    old = any(name.endswith("LayerNorm.gamma") for name in tensors)
    return *body, *_HEAD_NAMES, *(_OLD_NORM_NAMES if old else ())


def _leave_out(tensors: dict[str, Tensor], prefix: str) -> tuple[str, ...]:
    """Remove the heads of other tasks, and position numbers; return the names of those heads."""
    body = (prefix,) if prefix else _BODY
    heads = [name for name in tensors if not name.startswith((*body, "cls."))]
    for name in [*heads, f"{prefix}embeddings.position_ids"]:
        tensors.pop(name, None)
    return tuple(dict.fromkeys(name.partition(".")[0] for name in heads))


def _unify_decoder(tensors: dict[str, Tensor], prefix: str, tied: bool, path: Path) -> None:
    """Leave one of the decoder's biases, and of a tied decoder's weights, that are one tensor."""
    bias, weight = "cls.predictions.decoder.bias", "cls.predictions.decoder.weight"
    same = {bias: "cls.predictions.bias"}
    if tied:
        same[weight] = f"{prefix}embeddings.word_embeddings.weight"
    for name, other in same.items():
        if name in tensors and not torch.equal(
            tensors[name], tensors.setdefault(other, tensors[name])
        ):
            raise ValueError(
                f"{path}: {name} and {other} should be one tensor, but differ: if the decoder is "
                "one of its own, config.json must say tie_word_embeddings: false"
            )
        tensors.pop(name, None)


def _read_vocab(folder: Path) -> WordPieceVocab:
    """Read the pieces from `vocab.txt`, else `tokenizer.json`, and how to lower-case from either.

    What `tokenizer_config.json` says counts most; with nothing said, it is as in bert-base-uncased.
    """
    texts, whole, settings = (
        folder / name for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
    )
    told = read_json(settings, dict) if settings.is_file() else {}
    kind = told.get("tokenizer_class") or "BertTokenizer"
    if not str(kind).startswith(_TOKENIZERS) or "Japanese" in str(kind):
        raise ValueError(f"{settings}: tokenizer_class {kind!r} is not WordPiece, BERT's own")
    tokenizer = read_json(whole, dict) if whole.is_file() else {}
    normalizer = tokenizer.get("normalizer") or {}
    chosen = {
        "lowercase": told.get("do_lower_case", normalizer.get("lowercase", True)),
        "strip_accents": told.get("strip_accents", normalizer.get("strip_accents")),
        "split_chinese": told.get(
            "tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True)
        ),
    }
    if texts.is_file() or not whole.is_file():
        path, pieces = texts, _read_lines(texts)
    else:
        path, pieces = whole, _pieces_by_id(tokenizer, whole)
    try:
        return WordPieceVocab(pieces, **chosen)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; only a line feed ends one, for pieces hold other separators."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, and so is tokenizer.json: a checkpoint's folder must hold one"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): fetch it again") from error
    return text.removesuffix("\n").split("\n")


def _pieces_by_id(tokenizer: dict, path: Path) -> list[str]:
    model = tokenizer.get("model") or {}
    kind, ids = model.get("type", "WordPiece"), model.get("vocab")
    if kind != "WordPiece" or not isinstance(ids, dict):
        raise ValueError(f"{path}: a {kind} model, not WordPiece, BERT's own")
    pieces = {i: piece for piece, i in ids.items() if isinstance(i, int)}
    if sorted(pieces) != list(range(len(ids))):
        raise ValueError(f"{path}: the ids of its {len(ids)} pieces are not 0 to {len(ids) - 1}")
    return [pieces[i] for i in range(len(ids))]
