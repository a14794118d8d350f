"""Predictions, and what explains them: masked words, attention, words that matter."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .bert import BERTClassifier, BERTModel, label_names_of, unwrapped
from .dataset import TokenPairs, encode_pair
from .evaluation import evaluating, logits_of, to_device
from .runs.checks import check_fits, max_positions
from .truncation import cut_tokens
from .vocab import Vocab, get_tokens_and_segments, tokens_of


def predict_proba(
    net: nn.Module,
    vocab: Vocab,
    premises: Sequence[str | list[str]],
    hypotheses: Sequence[str | list[str]],
    max_len: int | None = None,
    truncation: str = "longest_first",
    batch_size: int | None = None,
    precision: str | None = None,
) -> np.ndarray:
    """Return each class's probability for every pair of sentences or token lists, (n, classes).

    The columns have the order of `net.label_names`, which is `LABELS` by default. Pairs are
    truncated to `max_len` tokens (None: the model's positions). `batch_size` and `precision` are
    those of `evaluate`. Raises MemoryError, which names a smaller batch_size, if memory runs out.
    """
    for side in (premises, hypotheses):
        if isinstance(side, str):
            raise ValueError(f"expected a list of sentences, got the sentence {side!r}: use [ ]")
    max_len = max_positions(net) if max_len is None else max_len
    pairs = TokenPairs(premises, hypotheses, max_len, vocab, truncation)
    check_fits(net, pairs)
    return logits_of(net, pairs, batch_size, precision).softmax(dim=1).numpy()


def predict_snli(
    net: nn.Module, vocab: Vocab, premise: str | list[str], hypothesis: str | list[str]
) -> str:
    """Return the predicted label of one pair, one of `net.label_names`.

    A list holds the tokens of one sentence. Use `predict_proba` for lists of sentences.
    """
    return label_names_of(net)[predict_proba(net, vocab, [premise], [hypothesis]).argmax()]


def fill_mask(
    bert: BERTModel, vocab: Vocab, sentence: str | list[str], k: int = 5
) -> list[tuple[str, float]]:
    """Return the `k` most probable words for the first `<mask>` of a sentence, best first."""
    bert = unwrapped(bert)
    bert.require("mlm")
    tokens, segments = get_tokens_and_segments(tokens_of(vocab, [sentence])[0])
    ids, mask = vocab[tokens], vocab["<mask>"]
    if mask not in ids or mask == vocab.unk:
        raise ValueError(f"{sentence!r} has no <mask>: put one where the model should guess a word")
    if k < 1:
        raise ValueError(f"k={k}: use 1 or more")
    rows = (ids, segments, [ids.index(mask)])
    X, segment_ids, positions = to_device([torch.tensor([row]) for row in rows], _device(bert))
    with evaluating(bert):
        logits = bert(X, segment_ids, pred_positions=positions)[1][0, 0]
    probs, best = logits.softmax(dim=0).topk(min(k, len(vocab)))
    return list(zip(vocab.to_tokens(best.tolist()), probs.tolist(), strict=True))


def next_sentence_proba(
    bert: BERTModel, vocab: Vocab, first: str | list[str], second: str | list[str]
) -> float:
    """Return the probability that the second sentence follows the first."""
    bert = unwrapped(bert)
    bert.require("hidden")
    bert.require("nsp")
    with evaluating(bert):
        logits = bert(*_inputs(bert, vocab, first, second))[2]
    return logits.softmax(dim=1)[0, bert.nsp.is_next].item()


def attention(
    bert: BERTModel | BERTClassifier,
    vocab: Vocab,
    premise: str | list[str],
    hypothesis: str | list[str],
) -> tuple[list[str], np.ndarray]:
    """Return a pair's tokens and their attention weights, (blocks, heads, length, length).

    Row i of the last two axes has the weights with which token i attends to each token. It sums to
    1.
    """
    inputs = _inputs(bert, vocab, premise, hypothesis)
    with evaluating(bert):
        weights = unwrapped(bert).encoder.attention_weights(*inputs)
    return vocab.to_tokens(inputs[0][0].tolist()), weights[:, 0].cpu().numpy()


def word_changes(
    net: BERTClassifier,
    vocab: Vocab,
    premise: str | list[str],
    hypothesis: str | list[str],
    max_len: int | None = None,
    truncation: str = "longest_first",
) -> list[float]:
    """Return the change in the predicted class's probability when each word in turn is masked.

    A negative number means that the word supports the prediction. The order is the order of the
    tokens that truncation keeps, premise first, as `PairStrip` takes them.
    """
    first, second = tokens_of(vocab, (premise, hypothesis))
    max_len = max_positions(net) if max_len is None else max_len
    premise, hypothesis = cut_tokens(first, second, max_len, truncation)
    masked = [
        *((words, hypothesis) for words in _mask_each(premise)),
        *((premise, words) for words in _mask_each(hypothesis)),
    ]
    premises, hypotheses = zip((premise, hypothesis), *masked, strict=True)
    probs = predict_proba(net, vocab, premises, hypotheses)
    prediction = probs[0].argmax()
    return (probs[1:, prediction] - probs[0, prediction]).tolist()


def _mask_each(words: list[str]) -> list[list[str]]:
    return [[*words[:i], "<mask>", *words[i + 1 :]] for i in range(len(words))]


def _inputs(
    bert: BERTModel | BERTClassifier, vocab: Vocab, first: str | list[str], second: str | list[str]
) -> list[Tensor]:
    ids, segments = encode_pair(first, second, max_positions(bert), vocab)
    rows = [torch.tensor([row]) for row in (ids, segments)]
    return to_device([*rows, torch.tensor([len(ids)])], _device(bert))


def _device(bert: BERTModel | BERTClassifier) -> torch.device:
    return next(bert.parameters()).device
