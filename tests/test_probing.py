"""Probes: equal to what the network itself says, asked slowly and one by one."""

import math

import numpy as np
import pytest
import torch

import d2lnli as d2l
from conftest import SIZES


@pytest.fixture
def bert(vocab):
    torch.manual_seed(0)
    return d2l.BERTModel(len(vocab), dropout=0.5, **SIZES)


def ask(bert, vocab, tokens, segments, *positions):
    """Return the network's outputs for one row, dropout off."""
    bert.eval()
    where = torch.tensor([positions]) if positions else None
    ids = torch.tensor([vocab[tokens]])
    with torch.no_grad():
        return bert(ids, torch.tensor([segments]), torch.tensor([len(tokens)]), where)


def test_fill_mask_gives_the_masked_language_models_probabilities(bert, vocab):
    found = d2l.fill_mask(bert, vocab, "a b <mask> c", k=4)
    tokens = ["<cls>", "a", "b", "<mask>", "c", "<sep>"]
    probs = ask(bert, vocab, tokens, [0] * 6, 3)[1][0, 0].softmax(dim=0)
    for word, prob in found:
        assert prob == pytest.approx(probs[vocab[word]].item(), rel=1e-5)
    assert len(found) == len({word for word, _ in found}) == 4
    found = [prob for _, prob in found]
    assert found == sorted(found, reverse=True)
    assert found == pytest.approx(sorted(probs.tolist(), reverse=True)[:4], rel=1e-5)


def test_fill_mask_gives_as_many_words_as_there_are(bert, vocab):
    every = d2l.fill_mask(bert, vocab, ["a", "<mask>"], k=10_000)
    assert sorted(word for word, _ in every) == sorted(vocab.idx_to_token)
    assert sum(prob for _, prob in every) == pytest.approx(1, abs=1e-5)
    assert d2l.fill_mask(bert, vocab, "a <mask>", k=1) == every[:1]
    assert len(d2l.fill_mask(bert, vocab, "a <mask>")) == 5


def test_fill_mask_fills_the_first_mask_and_typed_text(bert, vocab):
    tokens = ["<cls>", "a", "<mask>", "<mask>", ".", "<sep>"]
    logits = ask(bert, vocab, tokens, [0] * 6, 2)[1][0, 0]
    (word, prob), *_ = d2l.fill_mask(bert, vocab, "A <mask> <mask>.")
    assert word == vocab.to_tokens(int(logits.argmax()))
    assert prob == pytest.approx(logits.softmax(dim=0).max().item(), rel=1e-5)


@pytest.mark.parametrize("sentence", ["a b", "", "mask", ["a", "b"]])
def test_a_sentence_without_a_mask_is_named(bert, vocab, sentence):
    with pytest.raises(ValueError, match="<mask>"):
        d2l.fill_mask(bert, vocab, sentence)


def test_the_bundled_model_knows_its_corpus():
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    words = [word for word, _ in d2l.fill_mask(bert, vocab, "Two women <mask> running.", k=3)]
    assert "are" in words


def test_next_sentence_proba_is_the_softmax_of_the_third_output(bert, vocab):
    tokens = ["<cls>", "a", "b", "<sep>", "c", "<sep>"]
    logits = ask(bert, vocab, tokens, [0, 0, 0, 0, 1, 1])[2][0].tolist()
    expected = math.exp(logits[1]) / (math.exp(logits[0]) + math.exp(logits[1]))
    assert d2l.next_sentence_proba(bert, vocab, "A b", "c") == pytest.approx(expected, rel=1e-5)
    assert d2l.next_sentence_proba(bert, vocab, ["a", "b"], ["c"]) == pytest.approx(expected)
    assert d2l.next_sentence_proba(bert, vocab, "c", "A b") != pytest.approx(expected)


def test_attention_has_a_row_that_sums_to_one_for_each_token(bert, net, vocab):
    for model in (bert, net):
        tokens, weights = d2l.attention(model, vocab, "a B zebra", ["c", "d"])
        assert tokens == ["<cls>", "a", "b", "<unk>", "<sep>", "c", "d", "<sep>"]
        assert weights.shape == (SIZES["num_blks"], SIZES["num_heads"], 8, 8)
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
        assert weights.min() >= 0


def test_attention_equals_queries_times_keys(bert, vocab):
    tokens, weights = d2l.attention(bert, vocab, "a b", "c")
    bert.eval()
    ids, segments = torch.tensor([vocab[tokens]]), torch.tensor([[0, 0, 0, 0, 1, 1]])
    width = SIZES["num_hiddens"] // SIZES["num_heads"]
    with torch.no_grad():
        X = bert.encoder.embed(ids, segments)
        for blk, found in zip(bert.encoder.blks, weights, strict=True):
            queries, keys = blk.attention.W_q(X)[0], blk.attention.W_k(X)[0]
            for head in range(SIZES["num_heads"]):
                columns = slice(head * width, (head + 1) * width)
                for i in range(len(tokens)):
                    scores = [queries[i, columns] @ key / width**0.5 for key in keys[:, columns]]
                    expected = torch.stack(scores).softmax(dim=0)
                    np.testing.assert_allclose(found[head, i], expected, atol=1e-5)
            X = blk(X)


def test_attention_is_cut_to_the_models_positions(net, vocab):
    tokens, weights = d2l.attention(net, vocab, "a " * 1000, "b")
    assert len(tokens) == weights.shape[-1] == SIZES["max_len"]


@pytest.mark.parametrize("truncation", d2l.TRUNCATIONS)
@pytest.mark.parametrize("max_len", [None, 9, 5])
def test_word_changes_hide_one_word_at_a_time(net, vocab, max_len, truncation):
    pair = "a b c d e f".split(), "g h a b".split()
    changes = d2l.word_changes(net, vocab, *pair, max_len, truncation)
    strip = d2l.PairStrip(*pair, vocab, max_len or SIZES["max_len"], truncation)
    kept = [piece for piece in strip.pieces if piece.kind == "word"]
    whole = d2l.predict_proba(net, vocab, *([side] for side in pair), max_len, truncation)[0]
    expected = []
    for hidden in range(len(kept)):
        words = [("<mask>" if i == hidden else p.text, p.segment) for i, p in enumerate(kept)]
        sides = [[[text for text, segment in words if segment == side]] for side in (0, 1)]
        expected.append(d2l.predict_proba(net, vocab, *sides)[0, whole.argmax()] - whole.max())
    assert len(changes) == sum(strip.kept) == min(10, (max_len or 32) - 3)
    np.testing.assert_allclose(changes, expected, atol=1e-6)
    assert np.abs(changes).max() > 1e-4


def test_word_changes_take_typed_text(net, vocab):
    typed = d2l.word_changes(net, vocab, "A b's c.", "D!")
    tokens = d2l.word_changes(net, vocab, ["a", "b", "'s", "c", "."], ["d", "!"])
    assert typed == tokens
    assert len(typed) == 7
    with pytest.raises(ValueError, match="hypothesis of pair 0"):
        d2l.word_changes(net, vocab, "a", " ")


@pytest.mark.parametrize("training", [True, False])
def test_a_probe_leaves_every_modules_mode_as_it_was(bert, net, vocab, training):
    for model in (bert, net):
        model.train(training)
        model.hidden.train(not training)
    before = [[module.training for module in model.modules()] for model in (bert, net)]
    for probe in (
        lambda: d2l.fill_mask(bert, vocab, "a <mask>"),
        lambda: d2l.next_sentence_proba(bert, vocab, "a", "b"),
        lambda: d2l.attention(bert, vocab, "a", "b")[1].tolist(),
        lambda: d2l.word_changes(net, vocab, "a b", "c"),
    ):
        assert probe() == probe(), "dropout must be off"
        after = [[module.training for module in model.modules()] for model in (bert, net)]
        assert after == before


def test_a_probe_that_fails_leaves_the_mode_too(bert, vocab):
    bert.train()
    with pytest.raises(ValueError, match="positions"):
        d2l.fill_mask(bert, vocab, "<mask> " + "a " * 100)
    assert all(module.training for module in bert.modules())
