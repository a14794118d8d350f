"""Words: from lines of text to tokens, and from tokens to ids."""

import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat


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

    An empty `Vocab()` may be filled later by assigning `idx_to_token` and `token_to_idx`, so
    nothing derived from them is kept.
    """

    def __init__(
        self,
        tokens: Sequence[str] | Sequence[list[str]] | None = None,
        min_freq: int = 0,
        reserved_tokens: Iterable[str] = (),
    ):
        if tokens and isinstance(tokens[0], list):
            tokens = [token for line in tokens for token in line]
        counts = Counter(tokens or ())
        self.token_freqs = counts.most_common()
        frequent = {token for token, count in self.token_freqs if count >= min_freq}
        try:
            self.idx_to_token = sorted({"<unk>", *reserved_tokens, *frequent})
        except TypeError as error:
            raise ValueError(f"the tokens are not all strings ({error}): convert them") from error
        self.token_to_idx = {token: i for i, token in enumerate(self.idx_to_token)}

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def __getitem__(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Return the id of a token, or the ids of a sequence; unknown words give `<unk>`'s id."""
        if isinstance(tokens, (list, tuple)):
            return list(map(self.token_to_idx.get, tokens, repeat(self.unk)))
        return self.token_to_idx.get(tokens, self.unk)

    def to_tokens(self, indices: int | Sequence[int]) -> str | list[str]:
        """Return the token of an id, or the tokens of a sequence of ids."""
        if hasattr(indices, "__len__") and getattr(indices, "ndim", 1):
            return [self._token(index) for index in indices]
        return self._token(indices)

    def _token(self, given: int) -> str:
        try:
            index = operator.index(given)
        except TypeError:
            index = -1
        if not 0 <= index < len(self):
            raise ValueError(f"there is no id {given!r}: the vocabulary has 0 to {len(self) - 1}")
        return self.idx_to_token[index]

    @property
    def unk(self) -> int:
        """The id of `<unk>`."""
        if "<unk>" not in self.token_to_idx:
            raise ValueError("the vocabulary has no '<unk>' token: add it to its word list")
        return self.token_to_idx["<unk>"]

    def tokenize(self, sentence: str) -> list[str]:
        """Split a sentence as the model was pretrained: lower case, at white space."""
        return sentence.lower().split()

    def split(self, words: list[str]) -> list[str]:
        """Return words as tokens: here each is one."""
        return words


_CLITIC = re.compile(r"(?i)(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")
_PUNCTUATION = re.compile(r"""([,;:!?()"]|\.+(?=\s|$))""")


def space_words(sentence: str) -> str:
    """Set spaces as SNLI's parses do: `"It's a dog."` becomes `"It 's a dog ."`."""
    sentence = _CLITIC.sub(r" \1", sentence.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join(_PUNCTUATION.sub(r" \1 ", sentence).split())


def typed_tokens(vocab: Vocab, text: str | list[str]) -> list[str]:
    """Return the tokens of a list of words, or of a sentence that a person typed.

    Its signs are set apart as in SNLI's parses, on which classifiers are fine-tuned.
    """
    try:
        if isinstance(text, (list, tuple)):
            return vocab.split(list(text))
        return vocab.tokenize(space_words(text))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{text!r} is no sentence and no list of tokens ({error})") from error
