"""The tokens that files of Hugging Face's layout add to the pieces of a vocabulary."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..store.files import read_json
from ..vocab import SPECIAL_TOKENS
from .piece_ids import PieceIds

CONFIG, TOKENIZER = "tokenizer_config.json", "tokenizer.json"
ADDED_TOKENS, SPECIAL_TOKENS_MAP = "added_tokens.json", "special_tokens_map.json"
_ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}


def read_if_there(path: Path) -> dict:
    """Return the content of a JSON file; without the file, an empty one."""
    return read_json(path, dict) if path.is_file() else {}


def add_tokens(pieces: PieceIds, folder: Path, config: dict, tokenizer: dict) -> list[dict]:
    """Add the tokens of all files to the pieces; return those that are found in sentences.

    `config` is the content of `tokenizer_config.json`, `tokenizer` that of `tokenizer.json`. The
    tokens are arguments of `tokenizers.AddedToken`. BERT's own special tokens, which every
    tokenizer adds, are left out: no sentence contains them.
    """
    in_file, in_map = (read_if_there(folder / name) for name in (ADDED_TOKENS, SPECIAL_TOKENS_MAP))
    added: dict[str, dict[str, Any]] = {}
    for name, tokens in (
        (TOKENIZER, tokenizer.get("added_tokens")),
        (CONFIG, config.get("added_tokens_decoder")),
        (ADDED_TOKENS, [{"content": text, "id": i} for text, i in in_file.items()]),
    ):
        path, listed = folder / name, _listed(tokens, folder / name)
        pieces.add([(token.get("content"), token.get("id")) for token in listed], path)
        for token in listed:
            added.setdefault(token["content"], _options(token, path))
    for name, content in ((CONFIG, config), (SPECIAL_TOKENS_MAP, in_map)):
        path = folder / name
        _check_special(content, path)
        for token in _special(content, path):
            pieces.add([(token["content"], pieces.id_of(token["content"]))], path)
            added.setdefault(token["content"], _options(token, path))
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
    """Yield further special tokens; they are pieces, or get the next id."""
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
