"""Classifiers for transformers: a folder that its Auto classes and pipelines load."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..bert import BERTConfig, label_names_of, unwrapped
from ..history import History
from ..store.classifiers import check_history, check_reads_back
from ..store.files import read_json, write_safetensors, write_text, writing
from ..store.weights import SAFETENSORS
from ..vocab import SPECIAL_TOKENS, Vocab, WordPieceVocab
from .checkpoint import renamed
from .classifier import CLASS
from .huggingface import ACTIVATIONS, EXPORTED, HEAD, NAMES, POSITIONS, SIZES
from .model_card import model_card

_FILES = (SAFETENSORS, "tokenizer.json", "tokenizer_config.json", "README.md", "config.json")


def export_classifier(
    folder: str | os.PathLike,
    net: nn.Module,
    vocab: Vocab,
    history: History | None = None,
    evaluations: Mapping[str, Any] | None = None,
) -> Path:
    """Write a classifier for transformers, replacing an earlier export; return the folder.

    `AutoModelForSequenceClassification`, `AutoTokenizer` and `pipeline("text-classification")` load
    it. Its model card says how it was trained (`history`, else `net.history`) and how often it was
    right (`evaluations`: what was measured -> its `Evaluation`). Raises ValueError if transformers
    has no such architecture or tokenizer, as for the book's own BERT.
    """
    check_history(history)
    folder, plain = Path(folder).resolve(), unwrapped(net)
    check_reads_back(plain)
    config, names = plain.encoder.config, label_names_of(plain)
    pieces = _expressible(config, vocab)
    _check_replaceable(folder)
    history = history or getattr(plain, "history", None)
    texts = {
        "tokenizer.json": _tokenizer(pieces).to_str(),
        "tokenizer_config.json": json.dumps(_tokenizer_config(pieces, config), indent=2),
        "README.md": model_card(folder.name, names, history, evaluations or {}),
        "config.json": json.dumps(_config(config, vocab, names), indent=2),
    }
    with writing("the classifier", folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.json", json.dumps({EXPORTED: True}))  # nobody loads a mixture
        write_safetensors(folder / SAFETENSORS, _tensors(plain), {"format": "pt"})
        for name, text in texts.items():
            write_text(folder / name, text)
    return folder


def _check_replaceable(folder: Path) -> None:
    """Raise ValueError if a folder has files that an earlier export did not write."""
    path = folder / "config.json"
    ours = _FILES if path.is_file() and read_json(path, dict).get(EXPORTED) else ()
    if others := sorted(path.name for path in folder.glob("[!.]*") if path.name not in ours):
        raise ValueError(f"{folder} has other files, such as {others[0]}: choose a new folder")


def _expressible(config: BERTConfig, vocab: Vocab) -> WordPieceVocab:
    """Return the vocabulary; ValueError names the piece that transformers lacks."""
    if len(vocab) != config.vocab_size:
        raise ValueError(
            f"the vocabulary has {len(vocab)} words, but the model's embedding has "
            f"{config.vocab_size}: give the vocabulary that came with the model"
        )
    if not config.embedding_norm:
        lacks = "BERT without a norm on its embeddings, as the book builds it"
    elif not isinstance(vocab, WordPieceVocab):
        lacks = "tokenizer that separates words and punctuation like SNLI's parses"
    else:
        return vocab
    raise ValueError(
        f"this classifier cannot be exported, because transformers has no {lacks}. Fine-tune a "
        "BERT in Hugging Face's layout, such as 'minilm', or share this one with save_classifier"
    )


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    """Return the parameters, in single precision, by the names of transformers."""
    names = (*NAMES, ("output.weight", HEAD[0]), ("output.bias", HEAD[1]))
    tensors = {renamed(name, names): x.float() for name, x in net.state_dict().items()}
    return {**tensors, POSITIONS: tensors[POSITIONS][0]}


def _config(config: BERTConfig, vocab: Vocab, names: tuple[str, ...]) -> dict[str, Any]:
    activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "architectures": [CLASS],
        "model_type": "bert",
        **{theirs: getattr(config, ours) for ours, theirs in SIZES.items()},
        "hidden_act": activations[config.activation],
        "layer_norm_eps": float(config.norm_eps),
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "type_vocab_size": 2,
        "pad_token_id": vocab["<pad>"],
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "problem_type": "single_label_classification",
        EXPORTED: True,
    }


def _tokenizer(vocab: WordPieceVocab) -> Any:
    """Return the vocabulary's tokenizer, made to put special tokens around a pair."""
    from tokenizers import Tokenizer, decoders, processors

    tokenizer = Tokenizer.from_str(vocab.tokenizer.to_str())
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS.values()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocab[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _tokenizer_config(vocab: WordPieceVocab, config: BERTConfig) -> dict[str, Any]:
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": vocab.settings["lowercase"],
        "strip_accents": vocab.settings["strip_accents"],
        "tokenize_chinese_chars": vocab.settings["split_chinese"],
        "model_max_length": config.max_len,
        **{f"{book.strip('<>')}_token": own for book, own in SPECIAL_TOKENS.items()},
    }
