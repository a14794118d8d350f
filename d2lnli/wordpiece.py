"""WordPiece: the vocabulary of the original BERT, in which rare words are read in pieces."""

from collections.abc import Iterable, Sequence

from .text import Vocab, join_words

SPECIAL_TOKENS = {
    "<pad>": "[PAD]",
    "<mask>": "[MASK]",
    "<cls>": "[CLS]",
    "<sep>": "[SEP]",
    "<unk>": "[UNK]",
}
"""The book's name -> the original BERT's."""


class WordPieceVocab(Vocab):
    """A vocabulary of pieces: `guitarist` may be read as `guitar`, `##ist`.

    It answers to the book's names of the special tokens and to its own, `[CLS]` and the like. A
    word is cut by taking the longest piece that it begins with, again and again; `##` marks the
    pieces that go on with a word. The settings are the checkpoint's: `lowercase`; `strip_accents`
    (None: if lower-cased); `split_chinese`, which sets every Chinese character apart.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
    ):
        super().__init__()
        self.idx_to_token = list(pieces)
        self.token_to_idx = {piece: i for i, piece in enumerate(self.idx_to_token)}
        if len(self.token_to_idx) != len(self.idx_to_token):
            raise ValueError("the pieces are not all different: an id stands for one piece only")
        missing = [own for own in SPECIAL_TOKENS.values() if own not in self.token_to_idx]
        if missing:
            raise ValueError(f"the pieces lack the special token(s) {', '.join(missing)}: add them")
        self.settings = {
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "split_chinese": split_chinese,
        }
        self.tokenizer = _tokenizer(self.token_to_idx, lowercase, strip_accents, split_chinese)
        self.token_to_idx |= {book: self.token_to_idx[own] for book, own in SPECIAL_TOKENS.items()}

    def tokenize_all(self, sentences: Iterable[str]) -> list[list[str]]:
        """Split sentences into pieces as the model was pretrained; `<mask>` stays whole.

        The pieces are those that transformers cuts the raw text into. What SNLI's parses set apart
        is joined first, so that `is n't` gives the pieces of `isn't`.
        """
        return [self._cut(join_words(sentence)) for sentence in sentences]

    def _cut(self, sentence: str) -> list[str]:
        sentence = sentence.encode("utf-8", "replace").decode("utf-8")  # no half surrogate pairs
        masked = sentence.replace("<mask>", "[MASK]")
        return self.tokenizer.encode(masked, add_special_tokens=False).tokens

    def split(self, words: list[str]) -> list[str]:
        """Return words as tokens: those that are no pieces themselves are cut into pieces."""
        pieces = ([word] if word in self.token_to_idx else self._cut(word) for word in words)
        return [piece for some in pieces for piece in some]


def _tokenizer(ids: dict[str, int], lowercase: bool, strip_accents: bool | None, chinese: bool):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

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
