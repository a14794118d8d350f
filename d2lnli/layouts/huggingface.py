"""Hugging Face's BERTs: `config.json`, `model.safetensors` or `pytorch_model.bin`, `vocab.txt`.

The tensors' names may begin with `bert.`; the pretraining heads (`cls.`) may be missing.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..store.files import read_json
from ..vocab import WordPieceVocab
from .checkpoint import (
    Checkpoint,
    check_sizes,
    read_safetensors,
    read_torch_tensors,
    warn_of_capitals,
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
_ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu"}
_BODY = ("embeddings.", "encoder.", "pooler.")
_TOKENIZERS = ("Bert", "DistilBert", "PreTrained", "Tokenizers")


def is_hugging_face(folder: Path) -> bool:
    """Return whether a folder has this layout, from its `config.json` or its file names."""
    path = folder / "config.json"
    config = read_json(path, dict) if path.is_file() else {}
    others = any((folder / name).is_file() for name in ("vocab.txt", "pytorch_model.bin"))
    return "model_type" in config or "hidden_size" in config or others


def read_hugging_face(folder: Path) -> Checkpoint:
    """Read a folder in this layout; raise ValueError if it is not a BERT."""
    config_path = folder / "config.json"
    config = read_json(config_path, dict)
    _check_config(config, config_path)
    if "num_attention_heads" not in config:
        raise ValueError(f"{config_path} lacks num_attention_heads: fetch it again")
    check_sizes({name: config[name] for name in _SIZES.values() if name in config}, config_path)
    sizes = {ours: config[theirs] for ours, theirs in _SIZES.items() if theirs in config}
    options = {
        "activation": _ACTIVATIONS[config.get("hidden_act", "gelu")],
        "embedding_norm": True,
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "tied_decoder": config.get("tie_word_embeddings", True),
        "is_next": 0,
    }
    path = folder / "model.safetensors"
    if not path.is_file() and (folder / "pytorch_model.bin").is_file():
        path = folder / "pytorch_model.bin"
    tensors = (read_safetensors if path.suffix == ".safetensors" else read_torch_tensors)(path)
    prefix = "bert." if any(name.startswith("bert.") for name in tensors) else ""
    left_out = _leave_out(tensors, prefix)
    _unify_decoder(tensors, prefix, options["tied_decoder"], path)
    positions = f"{prefix}embeddings.position_embeddings.weight"
    if positions in tensors:
        tensors[positions] = tensors[positions].unsqueeze(0)
    names, (vocab, vocab_path) = _names(tensors, prefix), _read_vocab(folder)
    return Checkpoint(path, tensors, names, sizes, options, vocab, vocab_path, left_out)


def _check_config(config: dict, path: Path) -> None:
    """Raise ValueError if an entry of a config does not fit a BERT encoder with two segments."""
    for name, default, supported in (
        ("model_type", "bert", ("bert",)),
        ("position_embedding_type", "absolute", ("absolute",)),
        ("hidden_act", "gelu", tuple(_ACTIVATIONS)),
        ("type_vocab_size", 2, (2,)),
        ("is_decoder", False, (False,)),
        ("add_cross_attention", False, (False,)),
        ("tie_word_embeddings", True, (True, False)),
    ):
        value = config.get(name, default)
        if value not in supported:
            allowed = " or ".join(json.dumps(choice) for choice in supported)
            raise ValueError(
                f"{path}: {name} is {json.dumps(value)}, but must be {allowed}: choose "
                "a checkpoint of a BERT, such as 'hf:google-bert/bert-base-uncased'"
            )
    eps = config.get("layer_norm_eps", 1e-12)
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise ValueError(f"{path}: layer_norm_eps is {eps!r}, not a small number: correct it")


def _names(tensors: dict[str, Tensor], prefix: str) -> tuple[tuple[str, str], ...]:
    """Return the replacements that turn our names into this file's."""
    body = (
        (ours, prefix + theirs if theirs.startswith(_BODY) else theirs)
        for ours, theirs in _BODY_NAMES
    )
    old = any(name.endswith("LayerNorm.gamma") for name in tensors)
    return *body, *_HEAD_NAMES, *(_OLD_NORM_NAMES if old else ())


def _leave_out(tensors: dict[str, Tensor], prefix: str) -> tuple[str, ...]:
    """Remove the position ids and the heads of other tasks; return the heads' names."""
    body = (prefix,) if prefix else _BODY
    heads = [name for name in tensors if not name.startswith((*body, "cls."))]
    for name in [*heads, f"{prefix}embeddings.position_ids"]:
        tensors.pop(name, None)
    return tuple(dict.fromkeys(name.partition(".")[0] for name in heads))


def _unify_decoder(tensors: dict[str, Tensor], prefix: str, tied: bool, path: Path) -> None:
    """Give the decoder's bias one name, and remove the decoder's weight if it is tied."""
    bias, weight = "cls.predictions.decoder.bias", "cls.predictions.decoder.weight"
    words = tensors.get(f"{prefix}embeddings.word_embeddings.weight", torch.empty(0))
    if bias in tensors:  # if the two differ, transformers uses this one
        tensors["cls.predictions.bias"] = tensors.pop(bias)
    if tied and weight in tensors and not torch.equal(tensors.pop(weight), words):
        raise ValueError(
            f"{path}: config.json ties {weight} to the word embedding, but they differ: set "
            "tie_word_embeddings to false in config.json if the decoder has its own weight"
        )


def _read_vocab(folder: Path) -> tuple[WordPieceVocab, Path]:
    """Read the pieces from `vocab.txt`, else `tokenizer.json`; also return the path.

    The settings come from `tokenizer_config.json`, else from `tokenizer.json`, else from
    bert-base-uncased.
    """
    vocab_txt, tokenizer_json, config_path = (
        folder / name for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
    )
    config = read_json(config_path, dict) if config_path.is_file() else {}
    kind = config.get("tokenizer_class") or "BertTokenizer"
    if not str(kind).startswith(_TOKENIZERS) or "Japanese" in str(kind):
        raise ValueError(f"{config_path}: tokenizer_class {kind!r} is not BERT's WordPiece")
    pieces, normalizer = _read_tokenizer(tokenizer_json) if tokenizer_json.is_file() else ([], {})
    path = vocab_txt if vocab_txt.is_file() or not tokenizer_json.is_file() else tokenizer_json
    try:
        vocab = WordPieceVocab(
            pieces if path == tokenizer_json else _read_lines(path),
            config.get("do_lower_case", normalizer.get("lowercase", True)),
            config.get("strip_accents", normalizer.get("strip_accents")),
            config.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True)),
        )
        if "do_lower_case" not in config and "lowercase" not in normalizer:
            advice = f"if the model is cased, write a {config_path.name} with "
            warn_of_capitals(vocab.idx_to_token, path, advice + '{"do_lower_case": false}')
        return vocab, path
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} and tokenizer.json are missing: a checkpoint's folder must contain one of them"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error}): fetch it again") from error
    return text.removesuffix("\n").split("\n")  # splitlines would also split inside some pieces


def _read_tokenizer(path: Path) -> tuple[list[str], dict]:
    """Return the pieces, in the order of their ids, and the normalizer of a `tokenizer.json`."""
    tokenizer = read_json(path, dict)
    model: Any = tokenizer.get("model")
    normalizer = tokenizer.get("normalizer") or {}
    wordpiece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    for part, required in ((model, wordpiece), (normalizer, {"type": "BertNormalizer"})):
        for name, value in required.items():
            found = part.get(name, value) if isinstance(part, dict) else part
            if found != value:
                raise ValueError(f"{path}: {name} is {found!r}, but a BERT has {value!r}")
    try:
        ids: dict[str, int] = {**model["vocab"]}
        is_complete = set(ids.values()) == set(range(len(ids)))
        added = {token["content"] for token in tokenizer.get("added_tokens") or ()} - ids.keys()
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: its vocabulary is not valid: fetch it again") from error
    if not is_complete:
        raise ValueError(f"{path}: the ids of its {len(ids)} pieces are not 0 to {len(ids) - 1}")
    if added:
        raise ValueError(f"{path}: the added tokens {sorted(added)} are not pieces: unsupported")
    return sorted(ids, key=ids.__getitem__), normalizer
