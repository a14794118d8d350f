"""The vocabulary in Hugging Face's layout: `vocab.txt` or `tokenizer.json`, and their settings."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..vocab import WordPieceVocab
from .added_tokens import CONFIG, TOKENIZER, add_tokens, read_if_there
from .checkpoint import warn_of_capitals
from .piece_ids import PieceIds

_BERTS, _GENERIC = ("Bert", "DistilBert"), ("PreTrained", "Tokenizers")  # beginnings of classes
_SETTINGS = (  # our name, those in the two files, and the default
    ("lowercase", "do_lower_case", "lowercase", True),
    ("strip_accents", "strip_accents", "strip_accents", None),
    ("split_chinese", "tokenize_chinese_chars", "handle_chinese_chars", True),
)
_WORDPIECE = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}
_MANY = 128  # rows that are added so that their number is a multiple of something are fewer


def read_vocab(folder: Path, num_rows: int) -> tuple[WordPieceVocab, Path, list[str]]:
    """Return the vocabulary for an embedding with so many rows, its path, and what is odd about it.

    The pieces come from `vocab.txt`, else from `tokenizer.json`; the settings from
    `tokenizer_config.json`, else from `tokenizer.json`, else from bert-base-uncased. A row that has
    no piece is named `[spare…]`. Raises ValueError if a piece has no row.
    """
    config, tokenizer = (read_if_there(folder / name) for name in (CONFIG, TOKENIZER))
    kind = str(config.get("tokenizer_class") or "BertTokenizer")
    if not kind.startswith((*_BERTS, *_GENERIC)) or "Japanese" in kind:
        raise ValueError(f"{folder / CONFIG}: tokenizer_class {kind!r} is not BERT's WordPiece")
    is_generic = bool(tokenizer) and kind.startswith(_GENERIC)  # and does as tokenizer.json says
    normalizer = _checked_normalizer(tokenizer, folder / TOKENIZER, is_generic) if tokenizer else {}
    pieces, notes = PieceIds(num_rows), []
    path = folder / "vocab.txt"
    if path.is_file() or not tokenizer:
        notes += _add_lines(pieces, path)
    else:
        path = folder / TOKENIZER
    if tokenizer:  # which must not contradict vocab.txt
        pieces.add(_pieces_in(tokenizer, folder / TOKENIZER), folder / TOKENIZER)
    added = add_tokens(pieces, folder, config, tokenizer)
    told = {} if is_generic else config
    settings, unlike = _settings(told, normalizer, folder)
    try:
        vocab = WordPieceVocab(pieces.in_order(), **settings, added_tokens=added)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if "do_lower_case" not in told and "lowercase" not in normalizer:
        advice = f"if the model is cased, write a {CONFIG} with "
        texts = {token["content"] for token in added}
        words = [piece for piece in pieces.ids if piece not in texts]
        warn_of_capitals(words, path, advice + '{"do_lower_case": false}')
    notes += [] if is_generic else unlike
    return vocab, path, [*notes, *_spare_rows(pieces, path)]


def _settings(config: dict, normalizer: dict, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return a tokenizer's settings, and lines about those that transformers' BertTokenizer lacks.

    It does not read them from `tokenizer.json`. ValueError names one that is not true or false.
    """
    settings: dict[str, Any] = {}
    unlike = []
    for ours, name, of_normalizer, default in _SETTINGS:
        where, value = f"{folder / CONFIG}: {name}", config.get(name)
        if name not in config:
            where = f"{folder / TOKENIZER}: {of_normalizer}"
            value = normalizer.get(of_normalizer, default)
            if value != default:
                unlike.append(
                    f"{TOKENIZER} says {of_normalizer}={value}, which is used here, but "
                    f"transformers reads only {name} in {CONFIG}: write it there, too"
                )
        if value is not default and type(value) is not bool:
            raise ValueError(f"{where} is {value!r}, not true or false: correct it")
        settings[ours] = value
    return settings, unlike


def _spare_rows(pieces: PieceIds, path: Path) -> Iterator[str]:
    """Yield a line if some rows of the embedding have no piece."""
    if spare := [piece for piece in pieces.in_order() if piece not in pieces.ids]:
        names = f"{spare[0]} to {spare[-1]}" if len(spare) > 1 else spare[0]
        doubt = f". Check that {path.name} belongs to these weights" if len(spare) > _MANY else ""
        rows = "spare rows" if len(spare) > 1 else "spare row"
        yield f"{len(spare)} {rows} of the word embedding, here called {names}{doubt}"


def _add_lines(pieces: PieceIds, path: Path) -> list[str]:
    """Add the pieces in a text file; return a line about those that are repeated."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} and {TOKENIZER} are missing: a checkpoint's folder must contain one of them"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): fetch it again") from error
    lines = [line.rstrip() for line in text.rstrip("\r\n").split("\n")]  # as transformers does
    ids = {piece: i for i, piece in enumerate(lines)}  # the last place counts, also there
    pieces.add(ids.items(), path)
    repeated = [piece for i, piece in enumerate(lines) if ids[piece] != i and piece]
    note = f"{path.name} repeats {', '.join(map(repr, repeated[:5]))}: the last place counts"
    return [note] if repeated else []


def _checked_normalizer(tokenizer: dict, path: Path, whole: bool) -> dict:
    """Return the normalizer of a `tokenizer.json`; ValueError if it is not BERT's WordPiece.

    All parts must be there if it is to be a `whole` tokenizer.
    """
    model, normalizer = tokenizer.get("model"), tokenizer.get("normalizer") or {}
    splitter = tokenizer.get("pre_tokenizer") or {}
    if whole and not (normalizer and splitter):
        raise ValueError(
            f"{path} lacks a normalizer or a pre_tokenizer, but a BERT has both: choose a "
            "checkpoint of a BERT"
        )
    for where, part, required in (
        ("model", model, _WORDPIECE),
        ("normalizer", normalizer, {"type": "BertNormalizer", "clean_text": True}),
        ("pre_tokenizer", splitter, {"type": "BertPreTokenizer"}),
    ):
        for name, value in required.items():
            found = part.get(name, value) if isinstance(part, dict) else part
            if found != value:
                raise ValueError(
                    f"{path}: the {name} of its {where} is {found!r}, but a BERT has {value!r}: "
                    "choose a checkpoint of a BERT"
                )
    return normalizer


def _pieces_in(tokenizer: dict, path: Path) -> Iterable[tuple[Any, Any]]:
    """Return the pieces of a `tokenizer.json` with their ids."""
    pieces = tokenizer["model"].get("vocab")
    if not isinstance(pieces, dict):
        raise ValueError(f"{path}: its vocabulary is a {type(pieces).__name__}: fetch it again")
    return pieces.items()
