"""Pretrain bert.tiny on the grammar's text: masked words and next sentences."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import d2lnli as d2l

from .corpus.grammar import Passage, lexicon_words, make_text
from .corpus.splits import make_splits

CONFIG: dict[str, Any] = dict(
    num_hiddens=128, ffn_num_hiddens=256, num_heads=4, num_blks=2, max_len=128
)
SPECIAL_TOKENS = ("<pad>", "<mask>", "<cls>", "<sep>", "<unk>")
DROPOUT = 0.0  # there is more text than this small model can learn by heart
SEED, NUM_PASSAGES, NUM_EPOCHS, BATCH_SIZE = 4, 300_000, 7, 64
LEARNING_RATE, WARMUP, WEIGHT_DECAY = 1e-3, 0.05, 0.01
LOOKALIKE_RATE = 0.75
MASK_RATE, MASKED, MASKED_OR_KEPT = 0.3, 0.8, 0.9  # 80 % masked, 10 % kept, 10 % random


def make_vocab() -> d2l.Vocab:
    """Return the vocabulary: the special tokens and the grammar's lexicon."""
    vocab = d2l.Vocab()
    vocab.idx_to_token = [*SPECIAL_TOKENS, *lexicon_words()]
    vocab.token_to_idx = {token: i for i, token in enumerate(vocab.idx_to_token)}
    return vocab


def held_out_sentences() -> set[str]:
    """Return the sentences of the dev, the test and the challenge split."""
    splits = make_splits("dev", "test", "challenge")
    return {s.lower() for pairs in splits.values() for pair in pairs for s in pair[:2]}


def pretraining_text() -> list[Passage]:
    """Return text of the grammar, no sentence of which is in a split that is held out."""
    held_out = held_out_sentences()
    text = [Passage(*map(str.lower, passage)) for passage in make_text(NUM_PASSAGES, SEED)]
    return [passage for passage in text if held_out.isdisjoint(passage)]


def pad(rows: list[list[int]]) -> Tensor:
    """Return rows of ids as one tensor, padded with 0 (`<pad>` and the first segment)."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def next_sentence_batches(
    text: list[Passage], vocab: d2l.Vocab, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield (tokens, segments, valid_lens, is_next): half of the second sentences do not follow.

    A quarter of those are about any other scene, the rest about one that differs in one thing
    only, so that the sentences have to be compared. Pairs of like length share a batch.
    """
    is_next, alike = rng.random(len(text)) < 0.5, rng.random(len(text)) < LOOKALIKE_RATE
    elsewhere = rng.integers(len(text), size=len(text))
    inputs = []
    for passage, follows, near, other in zip(text, is_next, alike, elsewhere, strict=True):
        wrong = passage.lookalike if near else text[other].second
        second = passage.second if follows else wrong
        inputs.append(d2l.get_tokens_and_segments(passage.first.split(), second.split()))
    lengths = np.array([len(tokens) for tokens, _ in inputs])
    order = np.argsort(lengths + rng.random(len(lengths)), kind="stable")
    starts = np.arange(0, len(order), BATCH_SIZE)
    for start in rng.permutation(starts):
        chosen = order[start : start + BATCH_SIZE]
        tokens = pad([vocab[inputs[i][0]] for i in chosen])
        segments = pad([inputs[i][1] for i in chosen])
        labels = torch.tensor(is_next[chosen], dtype=torch.long)
        yield tokens, segments, torch.tensor(lengths[chosen]), labels


def mask_words(tokens: Tensor, vocab: d2l.Vocab) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hide 30 % of each row's words; return (tokens, positions, words, weights) to predict."""
    is_word = tokens >= len(SPECIAL_TOKENS)
    counts = (is_word.sum(1) * MASK_RATE).round().clamp(min=1).long()
    order = torch.where(is_word, torch.rand(tokens.shape), -1.0).topk(int(counts.max())).indices
    weights = (torch.arange(order.shape[1]) < counts[:, None]).float()
    words = tokens.gather(1, order)
    dice = torch.rand(words.shape)
    random_words = torch.randint(len(SPECIAL_TOKENS), len(vocab), words.shape)
    shown = torch.where(dice < MASKED_OR_KEPT, words, random_words)
    shown = shown.masked_fill(dice < MASKED, vocab["<mask>"])
    shown = torch.where(weights > 0, shown, words)
    return tokens.scatter(1, order, shown), order, words, weights


def initialise(bert: d2l.BERTModel) -> None:
    """Draw weights from Xavier's distribution and embeddings from N(0, 0.5), and let like see like.

    In the first block queries and keys start out equal, so that a word attends to itself in the
    other sentence: comparing two sentences is what this model is for. See Trockman and Kolter
    (2023), "Mimetic initialization of self-attention layers".
    """
    for module in bert.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    encoder = bert.encoder
    nn.init.normal_(encoder.token_embedding.weight, std=0.5)
    nn.init.normal_(encoder.segment_embedding.weight, std=0.5)
    nn.init.normal_(encoder.pos_embedding, std=0.1)
    first = encoder.blks[0].attention
    nn.init.xavier_uniform_(first.W_q.weight, gain=2.0)
    first.W_k.load_state_dict(first.W_q.state_dict())


def losses(
    bert: d2l.BERTModel, batch: tuple[Tensor, ...], vocab: d2l.Vocab
) -> tuple[Tensor, Tensor]:
    """Return the masked-word loss of half a batch and the next-sentence loss of the other half.

    Hidden words would often hide the very thing in which two sentences differ.
    """
    tokens, segments, valid_lens, _ = (column[::2] for column in batch)
    masked, positions, words, weights = mask_words(tokens, vocab)
    _, mlm_Y_hat, _ = bert(masked, segments, valid_lens, positions)
    mlm = F.cross_entropy(mlm_Y_hat.flatten(0, 1), words.flatten(), reduction="none")
    tokens, segments, valid_lens, is_next = (column[1::2] for column in batch)
    _, _, nsp_Y_hat = bert(tokens, segments, valid_lens)
    return (mlm * weights.flatten()).sum() / weights.sum(), F.cross_entropy(nsp_Y_hat, is_next)


def train(bert: d2l.BERTModel, text: list[Passage], vocab: d2l.Vocab) -> None:
    """Train with AdamW, a linear warm-up and a linear decay; print the losses of each epoch."""
    rng, start = np.random.default_rng(SEED), time.perf_counter()
    optimizer = torch.optim.AdamW(
        bert.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    steps = NUM_EPOCHS * -(-len(text) // BATCH_SIZE)
    warmup = int(WARMUP * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup))
    )
    for epoch in range(NUM_EPOCHS):
        history = []
        for batch in next_sentence_batches(text, vocab, rng):
            mlm, nsp = losses(bert, batch, vocab)
            optimizer.zero_grad()
            (mlm + nsp).backward()
            nn.utils.clip_grad_norm_(bert.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            history.append((mlm.item(), nsp.item()))
        mlm_mean, nsp_mean = np.mean(history, axis=0)
        took = f"{time.perf_counter() - start:.0f} s"
        print(f"epoch {epoch + 1}: mlm {mlm_mean:.3f}, nsp {nsp_mean:.3f}, {took}", flush=True)


def pretrain(folder: Path) -> None:
    """Pretrain bert.tiny and write its vocabulary, parameters and sizes into a folder."""
    torch.manual_seed(SEED)
    vocab, text = make_vocab(), pretraining_text()
    bert = d2l.BERTModel(len(vocab), **CONFIG, dropout=DROPOUT)
    initialise(bert)
    train(bert, text, vocab)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab.idx_to_token), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG) + "\n", encoding="utf-8")
    torch.save(
        bert.state_dict(), folder / "pretrained.params", _use_new_zipfile_serialization=False
    )
