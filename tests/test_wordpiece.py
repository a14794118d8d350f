"""WordPiece: equal to transformers, to a slow reference, and at home wherever words are."""

import copy
import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import d2lnli as d2l
from layouts import HF
from seams import SPECIAL_TOKENS, tokens_of

WORDS = "a b ab abc ##a ##b ##ab ##c . ' n ##n t"
PIECES = [*SPECIAL_TOKENS.values(), *WORDS.split()]


@pytest.fixture(scope="module")
def pieces() -> d2l.WordPieceVocab:
    return d2l.WordPieceVocab(PIECES)


@pytest.fixture(scope="module")
def golden() -> d2l.WordPieceVocab:
    return d2l.WordPieceVocab((HF / "vocab.txt").read_text().splitlines())


def test_tokens_equal_those_of_transformers(golden):
    pairs = json.loads((HF / "pairs.json").read_text(encoding="utf-8"))
    whole = zip(pairs["premises"], pairs["hypotheses"], pairs["tokens"], strict=True)
    for premise, hypothesis, tokens in whole:
        tokens = [token for token in tokens if token != "[PAD]"]
        end = tokens.index("[SEP]")
        kept = tokens[1:end], tokens[end + 1 : -1]
        found = golden.tokenize(premise), golden.tokenize(hypothesis)
        assert [side[: len(part)] for side, part in zip(found, kept, strict=True)] == list(kept)
        assert golden.to_tokens(golden[tokens]) == tokens


def longest_pieces_first(word: str) -> list[str]:
    found, rest = [], word
    while rest:
        mark = "##" if found else ""
        for end in range(len(rest), 0, -1):
            if mark + rest[:end] in PIECES:
                found.append(mark + rest[:end])
                rest = rest[end:]
                break
        else:
            return ["[UNK]"]
    return found


@given(st.lists(st.text("abcx", min_size=1, max_size=8), max_size=6))
def test_pieces_are_the_longest_that_fit(pieces, words):
    expected = [piece for word in words for piece in longest_pieces_first(word)]
    assert pieces.tokenize(" ".join(words)) == expected
    assert pieces.tokenize(" ".join(words).upper()) == expected


@given(st.text())
def test_any_text_becomes_pieces_of_the_vocabulary(pieces, text):
    tokens = pieces.tokenize(text)
    assert all(token in PIECES for token in tokens)
    assert pieces.to_tokens(pieces[tokens]) == tokens


def test_it_answers_to_both_names_of_the_special_tokens(pieces):
    for i, (book, own) in enumerate(SPECIAL_TOKENS.items()):
        assert pieces[book] == pieces[own] == i
        assert pieces.to_tokens(i) == own
    assert pieces.unk == pieces["no such piece"] == 4
    assert pieces[["<cls>", "a", "zzz"]] == [2, 5, 4]
    assert len(pieces) == len(PIECES)


def test_the_mask_stays_whole(pieces):
    for mask in ("<mask>", "[MASK]"):
        assert pieces.tokenize(f"a {mask}.") == ["a", "[MASK]", "."]


def test_a_text_cannot_bring_other_special_tokens_in(pieces):
    assert "[SEP]" not in pieces.tokenize("a [SEP] <sep> [CLS]")


ALONE = {"content": "word", "single_word": True}


@pytest.mark.parametrize("spare", [[], [f"[spare{len(PIECES) + 1}]"]])
def test_an_added_token_is_no_piece_of_other_words(spare):
    vocab = d2l.WordPieceVocab([*PIECES, "word", *spare], added_tokens=[ALONE])
    assert vocab.tokenize("a word ab") == ["a", "word", "ab"]
    assert vocab.tokenize("worda aword") == ["[UNK]", "[UNK]"]


def test_an_added_token_keeps_its_id_behind_a_spare_row():
    vocab = d2l.WordPieceVocab([*PIECES, f"[spare{len(PIECES)}]", "word"], added_tokens=[ALONE])
    assert vocab.tokenize("a word") == ["a", "word"]
    assert vocab["word"] == len(PIECES) + 1


def test_words_of_a_list_are_cut_and_pieces_stay(pieces):
    assert pieces.split(["abab", "##c", "A", "<mask>"]) == ["ab", "##ab", "##c", "a", "<mask>"]
    as_words, as_text = (
        d2l.SNLIBERTDataset(([premise], ["a"], [0]), 16, pieces)
        for premise in (["abab", "b"], "abab b")
    )
    assert torch.equal(as_words.all_token_ids, as_text.all_token_ids)


def test_half_a_surrogate_pair_is_a_question_mark(pieces):
    assert pieces.tokenize("a \ud83d b") == ["a", "[UNK]", "b"]


def test_a_parse_is_cut_as_the_raw_sentence_and_that_as_transformers_does(pieces, golden):
    assert pieces.tokenize("abn't") == ["ab", "##n", "'", "t"]
    assert tokens_of(pieces, ["ab n't", "abn't"]) == [pieces.tokenize("abn't")] * 2
    raw = "Two women aren't jumping over a fence!"  # in the golden
    assert golden.tokenize("Two women are n't jumping over a fence !") == golden.tokenize(raw)
    strip = d2l.PairStrip("a Ban't.", "abab x", pieces)
    assert repr(strip) == "[CLS] a b ##a ##n ' t . [SEP] ab ##ab [UNK] [SEP]"
    assert strip.count("unknown") == 1
    assert "read as [UNK]" in strip.legend()
    assert "[PAD] (" in repr(d2l.PairStrip("a", "b", pieces, 16, padded=True))


@pytest.mark.parametrize(
    ("given_pieces", "message"),
    [
        ([*PIECES, "a"], "different"),
        (PIECES[1:], r"\[PAD\]"),
        ([], "\\[PAD\\]"),
    ],
)
def test_wrong_pieces_are_refused(given_pieces, message):
    with pytest.raises(ValueError, match=message):
        d2l.WordPieceVocab(given_pieces)


def test_it_can_be_copied_and_sent_to_another_process(pieces):
    for copied in (copy.deepcopy(pieces), pickle.loads(pickle.dumps(pieces))):
        assert copied.tokenize("abab b") == pieces.tokenize("abab b")
        assert len(copied) == len(pieces)


def test_probing_and_widgets_take_pieces(pieces):
    torch.manual_seed(0)
    sizes = dict(num_hiddens=16, ffn_num_hiddens=32, num_heads=4, num_blks=2, max_len=32)
    bert = d2l.BERTModel(len(pieces), dropout=0.1, **sizes)
    assert len(d2l.fill_mask(bert, pieces, "a <mask>", k=3)) == 3
    with pytest.raises(ValueError, match="<mask>"):
        d2l.fill_mask(bert, pieces, "a b")
    tokens, _ = d2l.attention(bert, pieces, "abab", "zz")
    assert tokens == ["[CLS]", "ab", "##ab", "[SEP]", "[UNK]", "[SEP]"]
    net = d2l.BERTClassifier(bert).eval()
    assert len(d2l.word_changes(net, pieces, "abab", "b.")) == 4
    predictor = d2l.Predictor(net, pieces, "abab", "zz")
    assert "Not in the vocabulary: 1 of 3 tokens" in predictor.message.value
    explorer = d2l.AttentionExplorer(bert, pieces, "abab", "zz")
    assert "appear as [UNK]" in explorer.message.value
