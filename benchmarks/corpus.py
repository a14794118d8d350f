"""Corpora of any size, made of a small corpus's words at its lengths.

As in SNLI each premise is used three times; no other sentence repeats.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import d2lnli as d2l

Pairs = tuple[list[str], list[str], list[int]]
SPECIAL_TOKENS = ["<pad>", "<mask>", "<cls>", "<sep>", "<unk>"]
COLUMNS = (
    "gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 captionID pairID label1 label2 label3 label4 label5"
).split()


def vocabulary(pairs: Pairs, size: int = 60_005, seed: int = 0) -> d2l.Vocab:
    """Return the corpus's words and made-up ones, in random order, as many as bert.small knows."""
    words = sorted({word for side in pairs[:2] for text in side for word in text.lower().split()})
    words += [f"word{i}" for i in range(size - len(SPECIAL_TOKENS) - len(words))]
    np.random.default_rng(seed).shuffle(words)
    vocab = d2l.Vocab()
    vocab.idx_to_token = SPECIAL_TOKENS + words
    vocab.token_to_idx = {word: i for i, word in enumerate(vocab.idx_to_token)}
    return vocab


def made_pairs(source: Pairs, num_pairs: int, seed: int = 0) -> Pairs:
    """Return so many pairs of random words, as frequent as in `source`, at its lengths."""
    rng, num_premises = np.random.default_rng(seed), -(-num_pairs // 3)
    premises = list(itertools.islice(_sentences(source[0], rng), num_premises))
    hypotheses = list(itertools.islice(_sentences(source[1], rng), num_pairs))
    threefold = [premise for premise in premises for _ in range(3)][:num_pairs]
    return threefold, hypotheses, rng.integers(0, 3, num_pairs).tolist()


def _sentences(texts: list[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield different sentences without end."""
    texts = [text.split() for text in texts]
    words = np.array([word for text in texts for word in text], dtype=object)
    lens, seen = np.array([len(text) for text in texts]), set()
    while True:
        ends = np.cumsum(rng.choice(lens, 10_000))
        drawn = words[rng.integers(0, len(words), ends[-1])].tolist()
        for start, end in itertools.pairwise([0, *ends.tolist()]):
            sentence = " ".join(drawn[start:end])
            if hash(sentence) not in seen:
                seen.add(hash(sentence))
                yield sentence


def write_snli(path: Path, pairs: Pairs, num_disagreed: int = 0) -> None:
    """Write pairs in SNLI's file layout, parses included, and rows whose annotators disagree."""
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(COLUMNS) + "\n")
        for i, (premise, hypothesis, label) in enumerate(zip(*pairs, strict=True)):
            name = d2l.LABELS[label]
            for gold in [name, "-"] if i < num_disagreed else [name]:
                row = [gold, *_columns(premise, hypothesis), f"{i}.jpg", f"{i}.jpg#4r1e"]
                file.write("\t".join([*row, name, name, name, name, name]) + "\n")


def _columns(premise: str, hypothesis: str) -> tuple[str, ...]:
    """Binary parses, parses and sentences, as long as SNLI's are."""
    binary, tagged = [], []
    for text in (premise, hypothesis):
        words = text.split()
        binary.append("( " * (len(words) - 1) + words[0] + "".join(f" {w} )" for w in words[1:]))
        tagged.append("(ROOT (S " + " ".join(f"(S (NP (NN {word})))" for word in words) + "))")
    return (*binary, *tagged, premise, hypothesis)
