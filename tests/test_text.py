"""Words and ids."""

import pytest
import torch

import d2lnli as d2l
from d2lnli.text import space_words


def test_tokenize_splits_words_or_characters():
    assert d2l.tokenize(["a man  runs", ""]) == [["a", "man", "runs"], []]
    assert d2l.tokenize(["ab"], "char") == [["a", "b"]]
    with pytest.raises(ValueError, match="'line'"):
        d2l.tokenize(["ab"], "line")


def test_tokens_and_segments():
    assert d2l.get_tokens_and_segments(["a"]) == (["<cls>", "a", "<sep>"], [0, 0, 0])
    tokens, segments = d2l.get_tokens_and_segments(["a", "b"], ["c"])
    assert tokens == ["<cls>", "a", "b", "<sep>", "c", "<sep>"]
    assert segments == [0, 0, 0, 0, 1, 1]


def test_an_empty_vocab_can_be_filled_by_assignment():
    vocab = d2l.Vocab()
    vocab.idx_to_token = ["<unk>", "dog", "<pad>"]
    vocab.token_to_idx = {token: i for i, token in enumerate(vocab.idx_to_token)}
    assert len(vocab) == 3
    assert vocab["<pad>"] == 2
    assert vocab[["dog", "cat", "<unk>"]] == [1, 0, 0]
    assert vocab.to_tokens(1) == "dog"
    assert vocab.to_tokens([1, 2]) == ["dog", "<pad>"]
    vocab.idx_to_token, vocab.token_to_idx = ["dog", "<unk>"], {"dog": 0, "<unk>": 1}
    assert vocab["cat"] == 1


def test_a_vocab_counts_words():
    vocab = d2l.Vocab([["a", "b", "a"], ["c"]], min_freq=2, reserved_tokens=["<pad>"])
    assert vocab.idx_to_token == ["<pad>", "<unk>", "a"]
    assert vocab.token_freqs[0] == ("a", 2)


def test_a_vocab_without_unk_says_so():
    vocab = d2l.Vocab()
    vocab.idx_to_token, vocab.token_to_idx = ["dog"], {"dog": 0}
    with pytest.raises(ValueError, match="<unk>"):
        vocab["cat"]


def test_a_vocab_lowers_and_splits_sentences():
    assert d2l.Vocab().tokenize("A  Man\truns .") == ["a", "man", "runs", "."]


@pytest.mark.parametrize(
    ("typed", "spaced"),
    [
        ("It's a dog.", "It 's a dog ."),
        ("Isn't he asleep?", "Is n't he asleep ?"),
        ("A man, tall and old, waits...", "A man , tall and old , waits ..."),
        ("A man\N{RIGHT SINGLE QUOTATION MARK}s hat", "A man 's hat"),
        ("He said 'yes' at 3.50", "He said 'yes' at 3.50"),
        ("", ""),
    ],
)
def test_what_people_type_is_spaced_like_snli(typed, spaced):
    assert space_words(typed) == spaced
    assert space_words(spaced) == spaced


def test_ids_may_stand_in_a_tensor_and_must_be_there(vocab):
    ids = torch.tensor([1, 0, 2])
    assert vocab.to_tokens(ids) == [vocab.idx_to_token[i] for i in (1, 0, 2)]
    for wrong in (-1, len(vocab), [0, len(vocab)]):
        with pytest.raises(ValueError, match=rf"there is no id .*: the vocabulary has 0 to {12}"):
            vocab.to_tokens(wrong)
