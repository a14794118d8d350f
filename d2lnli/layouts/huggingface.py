"""Hugging Face's BERTs: `config.json`, weights, and a vocabulary (`wordpiece`).

The weights are in `model.safetensors`, `pytorch_model.bin` or shards of either. The tensors' names
may have a prefix, such as `bert.` or `module.bert.`; the pretraining heads (`cls.`) may be missing.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..store.files import read_json
from ..store.weights import UNQUANTIZED, WEIGHTS, find_weights, is_unreadable
from .checkpoint import Checkpoint, check_sizes
from .weights import read_weights
from .wordpiece import read_vocab

SIZES = {
    "vocab_size": "vocab_size",
    "num_hiddens": "hidden_size",
    "ffn_num_hiddens": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_blks": "num_hidden_layers",
    "max_len": "max_position_embeddings",
}
NAMES = (
    ("encoder.token_embedding.", "bert.embeddings.word_embeddings."),
    ("encoder.segment_embedding.", "bert.embeddings.token_type_embeddings."),
    ("encoder.pos_embedding", "bert.embeddings.position_embeddings.weight"),
    ("encoder.embedding_norm.0.", "bert.embeddings.LayerNorm."),
    ("encoder.blks.", "bert.encoder.layer."),
    ("attention.W_q.", "attention.self.query."),
    ("attention.W_k.", "attention.self.key."),
    ("attention.W_v.", "attention.self.value."),
    ("attention.W_o.", "attention.output.dense."),
    ("addnorm1.ln.", "attention.output.LayerNorm."),
    ("ffn.dense1.", "intermediate.dense."),
    ("ffn.dense2.", "output.dense."),
    ("addnorm2.ln.", "output.LayerNorm."),
    ("hidden.0.", "bert.pooler.dense."),
    ("mlm.mlp.0.", "cls.predictions.transform.dense."),
    ("mlm.mlp.2.", "cls.predictions.transform.LayerNorm."),
    ("mlm.mlp.3.weight", "cls.predictions.decoder.weight"),
    ("mlm.mlp.3.bias", "cls.predictions.bias"),
    ("nsp.output.", "cls.seq_relationship."),
)
"""Replacements, in order, that turn our parameter names into those of transformers."""

HEAD = ("classifier.weight", "classifier.bias")
"""The layer that BertForSequenceClassification has on top of the pooler."""

EXPORTED = "exported_by_d2lnli"
"""An entry of `config.json` that marks our exports; other people's models are not replaced."""

OF_CLASSIFIER = "the encoder and the pooler of a fine-tuned classifier"
"""What is said of such a checkpoint."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}
"""Our name of each activation that a config may have."""

_NEW_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_BODY = ("embeddings.", "encoder.", "pooler.")
_WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "bert.embeddings.position_embeddings.weight"
_OTHERS = ("roberta", "distilbert", "electra", "deberta", "albert", "mpnet")
_BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")
_OTHER_FILES = ("bert_config.json", "tokenizer.json")


def is_hugging_face(folder: Path) -> bool:
    """Return whether a folder has this layout, from its `config.json` or its file names."""
    path = folder / "config.json"
    config = read_json(path, dict) if path.is_file() else {}
    if "model_type" in config or "hidden_size" in config or (folder / "vocab.txt").is_file():
        return True
    names = {path.name for path in folder.iterdir()}
    known = names.intersection((*WEIGHTS, *_OTHER_FILES)) or is_unreadable(names)
    return bool(known) and "pretrained.params" not in names


def read_hugging_face(folder: Path) -> Checkpoint:
    """Read a folder in this layout; raise ValueError if it is not a BERT."""
    path, (config, config_path) = find_weights(folder), read_config(folder)
    tensors = _with_standard_names(read_weights(path), path)
    left_out = {name: tensors[name] for name in tensors if not name.startswith(("bert.", "cls."))}
    for name in (*left_out, *_BUFFERS):
        tensors.pop(name, None)
    tied = config.get("tie_word_embeddings", True)
    _unify_decoder(tensors, tied, path)
    if POSITIONS in tensors and tensors[POSITIONS].dim() == 2:
        tensors[POSITIONS] = tensors[POSITIONS].unsqueeze(0)
    vocab, vocab_path, notes = read_vocab(folder, len(tensors[f"bert.{_WORDS}"]))
    if {*HEAD} <= left_out.keys() and "bert.pooler.dense.weight" in tensors:
        notes.append(OF_CLASSIFIER)
    return Checkpoint(
        path,
        tensors,
        NAMES,
        {ours: config[theirs] for ours, theirs in SIZES.items() if theirs in config},
        {
            "activation": ACTIVATIONS[config.get("hidden_act", "gelu")],
            "embedding_norm": True,
            "norm_eps": config.get("layer_norm_eps", 1e-12),
            "tied_decoder": tied,
            "is_next": 0,
        },
        vocab,
        vocab_path,
        config_path.name,
        left_out,
        tuple(notes),
    )


def read_config(folder: Path) -> tuple[dict, Path]:
    """Return the configuration of a BERT, and its path; ValueError if it is not a BERT's."""
    path = folder / "config.json"
    if not path.is_file() and (folder / "bert_config.json").is_file():
        path = folder / "bert_config.json"
    config = read_json(path, dict)
    if method := config.get("quantization_config"):
        kind = method.get("quant_method", "unknown") if isinstance(method, dict) else method
        raise ValueError(
            f"{path}: the weights are quantized (quantization_config, {kind}): {UNQUANTIZED}"
        )
    _check_config(config, path)
    if "num_attention_heads" not in config:
        raise ValueError(f"{path} lacks num_attention_heads: fetch it again")
    check_sizes({name: config[name] for name in SIZES.values() if name in config}, path)
    return config, path


def _check_config(config: dict, path: Path) -> None:
    """Raise ValueError if an entry of a config does not fit a BERT encoder with two segments."""
    for name, default, supported in (
        ("model_type", "bert", ("bert",)),
        ("position_embedding_type", "absolute", ("absolute",)),
        ("hidden_act", "gelu", tuple(ACTIVATIONS)),
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


def _with_standard_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors with the names that transformers gives: `bert.…`, `cls.…`, other heads.

    Programs that wrap a model put prefixes before all names (`module.`, `_orig_mod.`, `model.`),
    and a BERT that is saved alone has no `bert.`.
    """
    _check_architecture(tensors, path)
    given = list(tensors)
    while (
        _WORDS not in tensors
        and len({name.partition(".")[0] for name in tensors}) == 1
        and all("." in n for n in tensors)
    ):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    bodies = [name.removesuffix(_WORDS) for name in tensors if name.endswith(_WORDS)]
    if len(bodies) != 1 or tensors[bodies[0] + _WORDS].dim() != 2:
        several = f"it has {len(bodies)} encoders ({', '.join(body + _WORDS for body in bodies)})"
        missing = f"bert.{_WORDS} is missing or has another shape"
        raise ValueError(
            f"{path} is not a BERT checkpoint: {several if len(bodies) > 1 else missing}; "
            f"it begins with {', '.join(given[:3]) or 'nothing'}"
        )
    body, outer = bodies[0], bodies[0].removesuffix("bert.")
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        inside = name.removeprefix(outer)
        of_body = name.startswith(body) and (body != outer or inside.startswith(_BODY))
        standard = f"bert.{name.removeprefix(body)}" if of_body else inside
        standard = re.sub(r"LayerNorm\.(gamma|beta)$", lambda old: _NEW_NAMES[old[0]], standard)
        if standard in renamed:
            raise ValueError(f"{path}: two tensors are {standard}: remove one of them")
        renamed[standard] = tensor
    return renamed


def _check_architecture(tensors: Iterable[str], path: Path) -> None:
    """Raise ValueError if a prefix of the word embedding is the name of another architecture."""
    for body in (name.removesuffix(_WORDS) for name in tensors if name.endswith(_WORDS)):
        if body.rstrip(".").endswith(_OTHERS):
            raise ValueError(
                f"{path} is not a BERT checkpoint: bert.{_WORDS} is missing, and the tensors begin "
                f"with {body}, as those of another architecture do: choose a checkpoint of a BERT"
            )


def _unify_decoder(tensors: dict[str, Tensor], tied: bool, path: Path) -> None:
    """Give the decoder's bias one name, and remove the decoder's weight if it is tied."""
    bias, weight = "cls.predictions.decoder.bias", "cls.predictions.decoder.weight"
    if bias in tensors:  # if the two differ, transformers uses this one
        tensors["cls.predictions.bias"] = tensors.pop(bias)
    words = tensors[f"bert.{_WORDS}"]
    if tied and weight in tensors and not torch.equal(tensors.pop(weight), words):
        raise ValueError(
            f"{path}: config.json ties {weight} to the word embedding, but they differ: set "
            "tie_word_embeddings to false in config.json if the decoder has its own weight"
        )
