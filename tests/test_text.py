"""Words and ids; the same tokens for the same sentence, wherever it comes from."""

import csv
from pathlib import Path

import pytest
import torch

import d2lnli as d2l
from seams import join_words, space_words, tokens_of

SLICE = Path(__file__).parents[2] / "shared" / "snli_slice"
CHANGED_IN_THE_SLICE = {"mouth.": 3, "work..": 1, "research.": 1}  # misprints of the corpus


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


def test_a_vocab_lowers_and_spaces_sentences():
    assert d2l.Vocab().tokenize("A  Man\truns, (I'm told).") == (
        ["a", "man", "runs", ",", "-lrb-", "i", "'m", "told", "-rrb-", "."]
    )
    assert d2l.Vocab().tokenize("") == []


@pytest.mark.parametrize(
    ("typed", "spaced"),
    [
        ("It's a dog.", "It 's a dog ."),
        ("Isn't he asleep?", "Is n't he asleep ?"),
        ("A man, tall and old, waits...", "A man , tall and old , waits ..."),
        ("A man\N{RIGHT SINGLE QUOTATION MARK}s hat", "A man 's hat"),
        ("He said 'yes' at 3.50", "He said 'yes' at 3.50"),
        ("three wet hills.", "three wet hills ."),
        ("Isn't it? No, it isn't.", "Is n't it ? No , it is n't ."),
        ("The two dogs' toys", "The two dogs ' toys"),
        ("A women's-only club (in St. Louis)", "A women's-only club -LRB- in St. Louis -RRB-"),
        ('He said: "It is 5 p.m."', "He said : `` It is 5 p.m. ''"),
        ('"Run," he said.', "`` Run , '' he said ."),
        ("“Run!” he said…", "`` Run ! '' he said ..."),
        ("50% of 1,000 cost $5 at 10:30", "50 % of 1,000 cost $ 5 at 10:30"),
        ("I cannot; we're gonna go", "I can not ; we 're gon na go"),
        ("Dr. Smith, from the U.S., ran.", "Dr. Smith , from the U.S. , ran ."),
        ("A <mask>.", "A <mask> ."),
        ("", ""),
    ],
)
def test_what_people_type_is_spaced_like_snli(typed, spaced):
    assert space_words(typed) == spaced
    assert space_words(spaced) == spaced


def sentences_of(path: Path) -> tuple[list[str], list[str]]:
    """The raw sentences of a file of SNLI's, and its parses without their brackets."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    sides = [(f"sentence{i}", f"sentence{i}_binary_parse") for i in (1, 2)]
    texts = [row[raw] for raw, _ in sides for row in rows]
    parses = [row[parse] for _, parse in sides for row in rows]
    return texts, [" ".join(p.replace("(", " ").replace(")", " ").split()) for p in parses]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_sentences_and_parses_of_the_bundled_corpus_give_the_same_tokens(split):
    path = Path(d2l.download_extract("Scenes")) / f"snli_1.0_{split}.txt"
    texts, parses = sentences_of(path)
    assert [space_words(parse) for parse in parses] == parses
    vocab = d2l.load_pretrained_model("bert.tiny")[1]
    expected = d2l.tokenize([parse.lower() for parse in parses])
    assert [vocab.tokenize(text) for text in texts] == expected
    assert [vocab.tokenize(parse) for parse in parses] == expected


def test_real_parses_do_not_change_but_for_misprints():
    if not SLICE.is_dir():
        pytest.skip("needs ../shared/snli_slice")
    changed = {}
    for split in ("train", "test"):
        for parse in sentences_of(SLICE / f"snli_1.0_{split}.txt")[1]:
            if space_words(parse) != parse:
                (word,) = (word for word in parse.split() if space_words(word) != word)
                changed[word] = changed.get(word, 0) + 1
    assert changed == CHANGED_IN_THE_SLICE


def test_what_parses_set_apart_is_joined_for_wordpiece():
    parse = "He is n't here ; they can not -LRB- `` go '' -RRB- , gon na they ?"
    assert join_words(parse) == """He isn't here ; they cannot ( " go " ) , gonna they ?"""
    for typed in ("He isn't here.", "a can, not a lid", "n't"):
        assert join_words(typed) == typed


def test_a_list_of_tokens_is_locked_as_it_is(vocab):
    assert tokens_of(vocab, [["A", "b.", "n't"], "A b."]) == [["A", "b.", "n't"], ["a", "b", "."]]
    with pytest.raises(ValueError, match=r"'a b'.*predict_proba"):
        tokens_of(vocab, [["a b", "c"]])
    with pytest.raises(ValueError, match=r"7.*string"):
        tokens_of(vocab, [["a", 7]])
    with pytest.raises(ValueError, match=r"None.*sentence"):
        tokens_of(vocab, ["a", None])


def test_ids_may_stand_in_a_tensor_and_must_be_there(vocab):
    ids = torch.tensor([1, 0, 2])
    assert vocab.to_tokens(ids) == [vocab.idx_to_token[i] for i in (1, 0, 2)]
    for wrong in (-1, len(vocab), [0, len(vocab)]):
        with pytest.raises(ValueError, match=r"id (-1|13)\b.*0 to 12\b"):
            vocab.to_tokens(wrong)
