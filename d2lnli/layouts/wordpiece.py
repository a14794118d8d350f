"""The vocabulary in Hugging Face's layout: `vocab.txt` or `tokenizer.json`, and added tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..store.files import read_json
from ..vocab import SPECIAL_TOKENS, WordPieceVocab, spare_piece
from .checkpoint import warn_of_capitals

ADDED_TOKENS, SPECIAL_TOKENS_MAP = "added_tokens.json", "special_tokens_map.json"
_BERTS, _GENERIC = ("Bert", "DistilBert"), ("PreTrained", "Tokenizers")  # beginnings of classes
_SETTINGS = (
    ("do_lower_case", "lowercase", True),
    ("strip_accents", "strip_accents", None),
    ("tokenize_chinese_chars", "handle_chinese_chars", True),
)
_ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
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
    vocab_txt, tokenizer_json, config_path = (
        folder / name for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
    )
    config = read_json(config_path, dict) if config_path.is_file() else {}
    kind = str(config.get("tokenizer_class") or "BertTokenizer")
    if not kind.startswith((*_BERTS, *_GENERIC)) or "Japanese" in kind:
        raise ValueError(f"{config_path}: tokenizer_class {kind!r} is not BERT's WordPiece")
    tokenizer = read_json(tokenizer_json, dict) if tokenizer_json.is_file() else {}
    is_generic = bool(tokenizer) and kind.startswith(_GENERIC)  # and does as tokenizer.json says
    normalizer = _checked_normalizer(tokenizer, tokenizer_json, is_generic) if tokenizer else {}
    path = vocab_txt if vocab_txt.is_file() or not tokenizer else tokenizer_json
    ids, notes = _read_lines(path) if path == vocab_txt else ({}, [])
    _check_rows(ids, num_rows, path)
    if tokenizer:
        _add_model(ids, tokenizer, tokenizer_json)
        _check_rows(ids, num_rows, tokenizer_json)
    added = _add_tokens(ids, folder, tokenizer, config, num_rows)
    told = {} if is_generic else config
    (lowercase, strip_accents, split_chinese), unlike = _settings(
        told, config_path, normalizer, tokenizer_json
    )
    pieces = [spare_piece(i) for i in range(num_rows)]
    for piece, i in ids.items():
        pieces[i] = piece
    try:
        vocab = WordPieceVocab(pieces, lowercase, strip_accents, split_chinese, added)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if "do_lower_case" not in told and "lowercase" not in normalizer:
        advice = f"if the model is cased, write a {config_path.name} with "
        warn_of_capitals(ids, path, advice + '{"do_lower_case": false}')
    notes += [] if is_generic else unlike
    return vocab, path, [*notes, *_spare_rows(pieces, ids, path)]


def _settings(
    config: dict, path: Path, normalizer: dict, other_path: Path
) -> tuple[list[Any], list[str]]:
    """Return a tokenizer's settings, and lines about those that transformers' BertTokenizer lacks.

    It does not read them from `tokenizer.json`. ValueError names one that is not true or false.
    """
    values, unlike = [], []
    for name, of_normalizer, default in _SETTINGS:
        where, value = f"{path}: {name}", config.get(name)
        if name not in config:
            where, value = f"{other_path}: {of_normalizer}", normalizer.get(of_normalizer, default)
            if value != default:
                unlike.append(
                    f"{other_path.name} says {of_normalizer}={value}, which is used here, but "
                    f"transformers reads only {name} in {path.name}: write it there, too"
                )
        if value is not default and type(value) is not bool:
            raise ValueError(f"{where} is {value!r}, not true or false: correct it")
        values.append(value)
    return values, unlike


def _check_rows(ids: dict[str, int], num_rows: int, path: Path) -> None:
    """Raise ValueError if a piece, which the last file read has added, has no row."""
    if (most := max(ids.values(), default=-1)) >= num_rows:
        raise ValueError(
            f"{path}: its pieces have ids up to {most}, but the word embedding has {num_rows} "
            "rows: the two files belong to different checkpoints"
        )


def _spare_rows(pieces: list[str], ids: dict[str, int], path: Path) -> Iterator[str]:
    """Yield a line if some rows of the embedding have no piece."""
    if spare := [piece for piece in pieces if piece not in ids]:
        names = f"{spare[0]} to {spare[-1]}" if len(spare) > 1 else spare[0]
        doubt = f". Check that {path.name} belongs to these weights" if len(spare) > _MANY else ""
        rows = "spare rows" if len(spare) > 1 else "spare row"
        yield f"{len(spare)} {rows} of the word embedding, here called {names}{doubt}"


def _read_lines(path: Path) -> tuple[dict[str, int], list[str]]:
    """Return the ids of the pieces in a text file, and a line about those that are repeated."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} and tokenizer.json are missing: a checkpoint's folder must contain one of them"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): fetch it again") from error
    lines = [line.rstrip() for line in text.rstrip("\r\n").split("\n")]  # as transformers does
    ids = {piece: i for i, piece in enumerate(lines)}  # the last place counts, also there
    repeated = [piece for i, piece in enumerate(lines) if ids[piece] != i]
    note = f"{path.name} repeats {', '.join(map(repr, repeated[:5]))}: the last place counts"
    return ids, [note] if repeated else []


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


def _add_model(ids: dict[str, int], tokenizer: dict, path: Path) -> None:
    """Add the pieces of a `tokenizer.json`, which must not contradict those of `vocab.txt`."""
    pieces = tokenizer["model"].get("vocab")
    if not isinstance(pieces, dict):
        raise ValueError(f"{path}: its vocabulary is a {type(pieces).__name__}: fetch it again")
    _add(ids, pieces.items(), path)


def _add_tokens(
    ids: dict[str, int], folder: Path, tokenizer: dict, config: dict, num_rows: int
) -> list[dict[str, Any]]:
    """Add to the ids those of the added tokens; return these tokens.

    BERT's own special tokens, which every tokenizer adds, are left out: no sentence contains them.
    """
    in_file, in_map = (
        read_json(path, dict) if (path := folder / name).is_file() else {}
        for name in (ADDED_TOKENS, SPECIAL_TOKENS_MAP)
    )
    added: dict[str, dict[str, Any]] = {}
    for file, tokens in (
        ("tokenizer.json", tokenizer.get("added_tokens")),
        ("tokenizer_config.json", config.get("added_tokens_decoder")),
        (ADDED_TOKENS, [{"content": text, "id": i} for text, i in in_file.items()]),
    ):
        listed = _listed(tokens, folder / file)
        _add(ids, ((token.get("content"), token.get("id")) for token in listed), folder / file)
        _check_rows(ids, num_rows, folder / file)
        for token in listed:
            added.setdefault(token["content"], _options(token, folder / file))
    for file, content in (("tokenizer_config.json", config), (SPECIAL_TOKENS_MAP, in_map)):
        _check_special(content, folder / file)
        for token in _special(content, folder / file):
            ids.setdefault(token["content"], max(ids.values(), default=-1) + 1)
            _check_rows(ids, num_rows, folder / file)
            added.setdefault(token["content"], _options(token, folder / file))
    if books := sorted(added.keys() & SPECIAL_TOKENS.keys()):
        raise ValueError(
            f"{folder}: the added token {books[0]} has the book's name of "
            f"{SPECIAL_TOKENS[books[0]]}: choose another checkpoint"
        )
    return [token for text, token in added.items() if text not in SPECIAL_TOKENS.values()]


def _options(token: dict, path: Path) -> dict[str, Any]:
    """Return an added token as the arguments of `tokenizers.AddedToken`."""
    options = {option: token.get(option, _ADDED[option]) for option in _ADDED}
    if any(type(value) is not bool for value in options.values()):
        raise ValueError(f"{path}: the added token {token} is not valid: fetch it again")
    return {"content": token["content"], **options}


def _check_special(config: dict, path: Path) -> None:
    """Raise ValueError if BERT's own special tokens have other names."""
    for book, own in SPECIAL_TOKENS.items():
        name = f"{book.strip('<>')}_token"
        token = config.get(name) or own
        if (token.get("content") if isinstance(token, dict) else token) != own:
            raise ValueError(
                f"{path}: {name} is {token!r}, but a BERT has {own}: choose another checkpoint"
            )


def _special(config: dict, path: Path) -> Iterator[dict]:
    """Yield further special tokens; they are pieces, or get the next id, as in transformers."""
    for name in ("additional_special_tokens", "extra_special_tokens"):
        tokens = config.get(name) or []
        if not isinstance(tokens, (list, dict)):
            raise ValueError(f"{path}: {name} is {tokens!r}, not a list: fetch it again")
        for token in tokens.values() if isinstance(tokens, dict) else tokens:
            token = token if isinstance(token, dict) else {"content": token}
            if not isinstance(token.get("content"), str):
                raise ValueError(f"{path}: {name} contains {token}: fetch it again")
            yield {**_ADDED, "normalized": False, **token}


def _listed(tokens: Any, path: Path) -> list[dict]:
    """Return added tokens as a list; `tokenizer_config.json` has them by their ids."""
    listed = list(tokens.values()) if isinstance(tokens, dict) else tokens or []
    if not isinstance(listed, list) or not all(isinstance(token, dict) for token in listed):
        raise ValueError(f"{path}: its added tokens are not valid: fetch it again")
    if isinstance(tokens, dict):
        ids = [int(i) if i.isdecimal() and len(i) < 10 else i for i in tokens]
        return [{**token, "id": i} for i, token in zip(ids, listed, strict=True)]
    return listed


def _add(ids: dict[str, int], more: Any, path: Path) -> None:
    """Add pieces with their ids; ValueError if that gives a piece two ids, or an id two pieces."""
    taken = {i: piece for piece, i in ids.items()}
    for piece, i in more:
        if piece == "":  # of an empty line
            continue
        if not isinstance(piece, str) or type(i) is not int or i < 0:
            raise ValueError(f"{path}: the piece {piece!r} has the id {i!r}: fetch it again")
        if ids.setdefault(piece, i) != i or taken.setdefault(i, piece) != piece:
            other = f"{ids[piece]} elsewhere" if ids[piece] != i else f"that is {taken[i]!r}"
            raise ValueError(
                f"{path}: the piece {piece!r} has the id {i}, but {other}: fetch all files of the "
                "tokenizer again"
            )
