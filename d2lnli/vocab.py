"""Words and pieces of words: from sentences to tokens, and from tokens to ids."""

import operator
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any


def tokenize(lines: Iterable[str], token: str = "word") -> list[list[str]]:
    """Split each line into words (at white space) or, with `token='char'`, into characters."""
    if token not in ("word", "char"):
        raise ValueError(f"unknown token type {token!r}: use 'word' or 'char'")
    return [line.split() if token == "word" else list(line) for line in lines]


def get_tokens_and_segments(
    tokens_a: list[str], tokens_b: list[str] | None = None
) -> tuple[list[str], list[int]]:
    """Return `<cls> a <sep>` or `<cls> a <sep> b <sep>`, and the segment (0 or 1) of each token."""
    tokens = ["<cls>", *tokens_a, "<sep>"]
    segments = [0] * len(tokens)
    if tokens_b is not None:
        tokens += [*tokens_b, "<sep>"]
        segments += [1] * (len(tokens_b) + 1)
    return tokens, segments


class Vocab:
    """A word vocabulary; `vocab[word]` is an id, `vocab[[word, …]]` a list of ids.

    You may fill an empty `Vocab()` by assigning `idx_to_token` and `token_to_idx`: nothing that is
    derived from them is cached.
    """

    def __init__(
        self,
        tokens: Sequence[str] | Sequence[list[str]] | None = None,
        min_freq: int = 0,
        reserved_tokens: Iterable[str] = (),
    ):
        if tokens and isinstance(tokens[0], list):
            tokens = [token for line in tokens for token in line]
        counts: Counter[Any] = Counter(tokens or ())
        self.token_freqs = counts.most_common()
        frequent = {token for token, count in self.token_freqs if count >= min_freq}
        try:
            self.idx_to_token: list[str] = sorted({"<unk>", *reserved_tokens, *frequent})
        except TypeError as error:
            raise ValueError(f"the tokens are not all strings ({error}): convert them") from error
        self.token_to_idx = {token: i for i, token in enumerate(self.idx_to_token)}

    @staticmethod
    def of_words(words: list[str]) -> "Vocab":
        """Return the vocabulary in which the id of a word is its index in the list.

        Raises ValueError; the caller puts the name of the file before its message.
        """
        if not all(isinstance(word, str) for word in words) or len(set(words)) != len(words):
            raise ValueError("is not a list of different words: restore the published file")
        missing = [token for token in ("<pad>", "<cls>", "<sep>", "<unk>") if token not in words]
        if missing:
            raise ValueError(f"lacks the special token(s) {', '.join(missing)}: add them")
        vocab = Vocab()
        vocab.idx_to_token = words
        vocab.token_to_idx = {word: i for i, word in enumerate(words)}
        return vocab

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def __getitem__(self, tokens: str | list[str] | tuple[str, ...]) -> Any:
        """Return the id of a token, or a list of ids; an unknown word has the id of `<unk>`."""
        if isinstance(tokens, (list, tuple)):
            return list(self.ids_of(tokens))
        return self.token_to_idx.get(tokens, self.unk)

    def ids_of(self, tokens: Iterable[str]) -> Iterator[int]:
        """Yield the ids of many tokens, without a list in memory."""
        return map(self.token_to_idx.get, tokens, repeat(self.unk))

    def to_tokens(self, indices: Any) -> Any:
        """Return the token of an id, or the list of tokens for a sequence of ids."""
        if hasattr(indices, "__len__") and getattr(indices, "ndim", True):
            return [self._token(index) for index in indices]
        return self._token(indices)

    def _token(self, given: Any) -> str:
        try:
            index = operator.index(given)
        except TypeError:
            index = -1
        if not 0 <= index < len(self):
            raise ValueError(f"there is no id {given!r}: take one from 0 to {len(self) - 1}")
        return self.idx_to_token[index]

    @property
    def unk(self) -> int:
        """The id of `<unk>`."""
        if "<unk>" not in self.token_to_idx:
            raise ValueError("the vocabulary has no '<unk>' token: add it to its word list")
        return self.token_to_idx["<unk>"]

    def tokenize(self, sentence: str) -> list[str]:
        """Return the words of a sentence in lower case, split as in SNLI's parses."""
        return _lower_words(sentence)

    def split(self, words: list[str]) -> list[str]:
        """Return the tokens of some words: here each word is a token."""
        return words

    def identity(self) -> list:
        """Return what distinguishes this vocabulary from others, for JSON."""
        return [type(self).__name__, self.idx_to_token]


_ABBREVIATION = r"(?<!\w)(?:(?:[a-z]\.){2,}|(?:dr|ft|jr|mr|mrs|ms|mt|prof|rt|sr|st|vs)\.)(?!\w)"
_CLITIC = r"(?<=\w)(?:n't|'(?:s|re|ve|ll|d|m))(?![\w-])"
_SIGN = r"[;!?()\"“”…%]|\$(?=\d)|(?<!\d)[,:]|[,:](?!\d)|\.+(?=\W*$)"
_APART = re.compile(f"(?i)({_ABBREVIATION})|{_CLITIC}|{_SIGN}")
_PLURAL_GENITIVE = re.compile(r"(?i)^(\w.*s)'(?=\W*$)")
_OPENING_QUOTE = re.compile(r'^(\W*?)"(?=\W*\w)')
_IN_PARSES = {'"': "''", "“": "``", "”": "''", "(": "-LRB-", ")": "-RRB-", "…": "..."}
_TWO_WORDS = {"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"}  # in parses: can not, …


def space_words(sentence: str) -> str:
    """Put spaces where SNLI's parses have them: `"It's a dog."` becomes `"It 's a dog ."`.

    A sentence that has them already does not change.
    """
    return " ".join(part for word in sentence.split() for part in _parts(word))


_JOINED = re.compile(r"(?i)\w n't\b|\b(?:can not|gim me|gon na|got ta|lem me|wan na)\b")
_TYPED = {"``": '"', "''": '"', "-LRB-": "(", "-RRB-": ")"}
_TYPED_DIFFERENTLY = re.compile("|".join(_TYPED))


def join_words(sentence: str) -> str:
    """Undo what `space_words` does where WordPiece needs it: `"is n't"` becomes `"isn't"`."""
    sentence = _JOINED.sub(lambda found: found[0].replace(" ", ""), sentence)
    return _TYPED_DIFFERENTLY.sub(lambda found: _TYPED[found[0]], sentence)


_CACHE_SIZE = 2**16
_WHOLE_WORDS: set[str] = set()  # words found to have one part, as most words of a corpus have


@lru_cache(maxsize=_CACHE_SIZE)
def _parts(word: str) -> tuple[str, ...]:
    """Return the parts of a text without white space, as the Penn Treebank writes them."""
    if word == '"':  # it may open or close
        return (word,)
    word = word.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    word = _PLURAL_GENITIVE.sub(r"\1 '", _OPENING_QUOTE.sub(r"\1 `` ", word))
    parts = _APART.sub(lambda m: m[0] if m[1] else f" {_IN_PARSES.get(m[0], m[0])} ", word).split()
    halves = ((p[:3], p[3:]) if p.lower() in _TWO_WORDS else (p,) for p in parts)
    return tuple(chain.from_iterable(halves))


def _lower_words(sentence: str) -> list[str]:
    """Return the words of `space_words(sentence)` in lower case."""
    words = sentence.lower().split()
    if _WHOLE_WORDS.issuperset(words):  # saves a quarter of the time
        return words
    words = [part.lower() for word in words for part in _parts(word)]
    if len(_WHOLE_WORDS) < _CACHE_SIZE:
        _WHOLE_WORDS.update(word for word in words if _parts(word) == (word,))
    return words


def tokens_of(vocab: Vocab, texts: Iterable[str | list[str]]) -> list[list[str]]:
    """Return the tokens of each sentence; a list of tokens is taken as it is.

    Training, evaluation, prediction and drawings all get their tokens here. Raises ValueError for
    anything else, and for white space in a token.
    """
    return [
        vocab.tokenize(text) if isinstance(text, str) else vocab.split(_checked_tokens(text))
        for text in texts
    ]


def _checked_tokens(tokens: Any) -> list[str]:
    if not isinstance(tokens, (list, tuple)):
        raise ValueError(f"{tokens!r} is neither a sentence nor a list of tokens: convert it")
    for token in tokens:
        if not isinstance(token, str):
            raise ValueError(f"{token!r} in a list of tokens is not a string: convert it")
        if token.split() != [token]:
            raise ValueError(
                f"{token!r} is not one token: a list holds tokens without white space. Give a "
                "sentence as a string, and several pairs to predict_proba or SNLIBERTDataset"
            )
    return list(tokens)


SPECIAL_TOKENS = {
    "<pad>": "[PAD]",
    "<mask>": "[MASK]",
    "<cls>": "[CLS]",
    "<sep>": "[SEP]",
    "<unk>": "[UNK]",
}
"""The book's name for each special token, and the original BERT's name."""


def spare_piece(index: int) -> str:
    """Return the name of a row of the embedding that stands for no piece."""
    return f"[spare{index}]"


class WordPieceVocab(Vocab):
    """A vocabulary of pieces of words: `guitarist` may become `guitar`, `##ist`.

    WordPiece splits off the longest piece with which a word begins, again and again; `##` marks a
    piece that continues a word. Special tokens have the book's names and their own, such as
    `[CLS]`. The settings are the checkpoint's: `lowercase`; `strip_accents` (None: only if
    `lowercase`); `split_chinese`, which makes every Chinese character a word; `added_tokens`,
    arguments of `tokenizers.AddedToken` for the pieces that are found before a sentence is cut.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        added_tokens: Sequence[dict[str, Any]] = (),
    ):
        super().__init__()
        self.idx_to_token = list(pieces)
        self.token_to_idx = {piece: i for i, piece in enumerate(self.idx_to_token)}
        if len(self.token_to_idx) != len(self.idx_to_token):
            repeated = Counter(self.idx_to_token).most_common(1)[0][0]
            raise ValueError(f"the pieces are not all different: remove the second {repeated!r}")
        added = {token["content"]: token for token in added_tokens}
        missing = [
            own for own in (*SPECIAL_TOKENS.values(), *added) if own not in self.token_to_idx
        ]
        if missing:
            names = ", ".join(missing)
            raise ValueError(f"the pieces lack the special or added token(s) {names}: add them")
        self.settings: dict[str, Any] = {
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "split_chinese": split_chinese,
        }
        known = _pieces_of_words(self.idx_to_token, added)
        self.tokenizer = _tokenizer(known, lowercase, strip_accents, split_chinese)
        if added_tokens:
            self.settings["added_tokens"] = list(added_tokens)
            _add_tokens(self.tokenizer, [added[p] for p in self.idx_to_token if p in added])
        self.token_to_idx |= {book: self.token_to_idx[own] for book, own in SPECIAL_TOKENS.items()}

    def tokenize(self, sentence: str) -> list[str]:
        """Return the pieces of a sentence, the same as transformers gives for the raw text.

        Words that SNLI's parses split are joined first, so `is n't` has the pieces of `isn't`.
        `<mask>` stays whole.
        """
        return self._pieces(join_words(sentence))

    def _pieces(self, sentence: str) -> list[str]:
        sentence = sentence.encode("utf-8", "replace").decode("utf-8")  # no half surrogate pairs
        masked = sentence.replace("<mask>", "[MASK]")
        ids = self.tokenizer.encode(masked, add_special_tokens=False).ids
        return [self.idx_to_token[i] for i in ids]

    def split(self, words: list[str]) -> list[str]:
        """Return the pieces of some words; a word that is a piece stays whole."""
        pieces = ([word] if word in self.token_to_idx else self._pieces(word) for word in words)
        return list(chain.from_iterable(pieces))

    def identity(self) -> list:
        """Return what distinguishes this vocabulary from others, for JSON."""
        return [self.settings, self.idx_to_token]


def _pieces_of_words(pieces: list[str], added: Container[str]) -> list[str]:
    """Return the pieces into which words are cut: all but the added tokens at the end.

    An added token is found only as its options say: `word` may be one, and no piece of `words`.
    The library numbers them in their order, from the number of pieces. Where a spare row comes
    before one of them, that would be wrong, and they stay.
    """
    end = len(pieces)
    while end and (pieces[end - 1] in added or pieces[end - 1] == spare_piece(end - 1)):
        end -= 1
    number = sum(piece in added for piece in pieces[end:])
    return pieces[:end] if all(p in added for p in pieces[end : end + number]) else pieces


def _tokenizer(
    pieces: list[str], lowercase: bool, strip_accents: bool | None, chinese: bool
) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    ids = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[MASK]"])
    return tokenizer


def _add_tokens(tokenizer: Any, added_tokens: Sequence[dict[str, Any]]) -> None:
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(**token) for token in added_tokens])
