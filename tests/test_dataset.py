"""The fine-tuning dataset: entry by entry the chapter's, however it is built."""

import copy
import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split

import d2lnli as d2l
import seams
from conftest import GOLDEN, SPECIALS
from seams import SPECIAL_TOKENS, LengthBuckets, as_pairs, encode_pair

CHAPTER = json.loads((GOLDEN / "dataset.json").read_text(encoding="utf-8"))
PAIRS = CHAPTER["premises"], CHAPTER["hypotheses"], CHAPTER["labels"]
_, WORDS = d2l.load_pretrained_model(GOLDEN / "tiny-4x2")
MAX_LENS = sorted(int(max_len) for max_len in CHAPTER["cases"] if int(max_len) >= 5)


@pytest.mark.parametrize("max_len", MAX_LENS)
def test_every_entry_equals_the_chapters(max_len):
    dataset, case = d2l.SNLIBERTDataset(PAIRS, max_len, WORDS), CHAPTER["cases"][str(max_len)]
    assert dataset.all_token_ids.tolist() == case["token_ids"]
    assert dataset.all_segments.tolist() == case["segments"]
    assert dataset.valid_lens.tolist() == case["valid_lens"]
    assert dataset.labels.tolist() == PAIRS[2]
    for tensor in (dataset.all_token_ids, dataset.all_segments):
        assert tensor.dtype == torch.int64
        assert tensor.shape == (60, max_len)


def test_items_are_padded_to_max_len_and_collate_as_in_the_chapter():
    dataset = d2l.SNLIBERTDataset(PAIRS, 32, WORDS)
    (token_ids, segments, valid_len), label = dataset[7]
    assert torch.equal(token_ids, dataset.all_token_ids[7])
    assert torch.equal(segments, dataset.all_segments[7])
    assert (valid_len, label) == (dataset.valid_lens[7], dataset.labels[7])
    assert torch.equal(dataset[-1][0][0], dataset[59][0][0])
    with pytest.raises(IndexError):
        dataset[60]
    X, y = next(iter(torch.utils.data.DataLoader(dataset, 8)))
    assert isinstance(X, list)
    assert [x.shape for x in X] == [(8, 32), (8, 32), (8,)]
    assert y.tolist() == PAIRS[2][:8]


def test_it_says_how_many_examples_it_read(capsys):
    d2l.SNLIBERTDataset(PAIRS, 32, WORDS)
    assert capsys.readouterr().out == "read 60 examples\n"


def slow_pair(premise, hypothesis, strategy, max_len, vocab):
    """A pair's ids and segments, laid out one token at a time."""
    sides = [vocab.tokenize(premise), vocab.tokenize(hypothesis)]
    counts = [int(n) for n in d2l.TRUNCATIONS[strategy](*map(len, sides), max_len - 3)]
    cut = []
    for tokens, (head, tail) in zip(sides, (counts[:2], counts[2:]), strict=True):
        cut.append(tokens[:head] + tokens[len(tokens) - tail :])
    tokens, segments = d2l.get_tokens_and_segments(*cut)
    return vocab[tokens], segments


@pytest.mark.parametrize("strategy", sorted(d2l.TRUNCATIONS))
@pytest.mark.parametrize("max_len", [5, 9, 16, 40])
def test_a_pair_is_encoded_as_by_hand(strategy, max_len):
    for premise, hypothesis in zip(*PAIRS[:2], strict=True):
        expected = slow_pair(premise, hypothesis, strategy, max_len, WORDS)
        assert encode_pair(premise, hypothesis, max_len, WORDS, strategy) == expected


def test_a_pair_without_words_is_refused():
    for pair, side in ((("", "a"), "premise"), (("a", []), "hypothesis")):
        with pytest.raises(ValueError, match=f"the {side} has no words"):
            encode_pair(*pair, 16, WORDS)


PIECES = [*SPECIAL_TOKENS.values(), *"abc", "##a", "##b", "##c", "."]
VOCABS = [d2l.Vocab("a b c ab 's .".split(), reserved_tokens=SPECIALS), d2l.WordPieceVocab(PIECES)]
SENTENCES = st.text("abcx.' ", min_size=1, max_size=40).filter(str.strip)
TOKENS = st.lists(st.sampled_from(["a", "b", "##c", "A", "x", "abc"]), min_size=1, max_size=20)
SIDES = st.one_of(SENTENCES, TOKENS)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(VOCABS),
    st.lists(st.tuples(SIDES, SIDES, st.integers(1, 3)), min_size=1, max_size=8),
    st.integers(5, 40),
    st.sampled_from(list(d2l.TRUNCATIONS)),
    st.integers(1, 4),
)
@pytest.mark.filterwarnings("ignore:.*not in the vocabulary")
def test_many_pairs_are_encoded_as_each_alone(vocab, groups, max_len, strategy, at_once):
    seams.encode_pairs_at_once(at_once)
    premises = [premise for premise, _, repeats in groups for _ in range(repeats)]
    hypotheses = [hypothesis for _, hypothesis, repeats in groups for _ in range(repeats)]
    labels = [0] * len(premises)
    dataset = d2l.SNLIBERTDataset((premises, hypotheses, labels), max_len, vocab, strategy)
    for i, pair in enumerate(zip(premises, hypotheses, strict=True)):
        ids, segments = encode_pair(*pair, max_len, vocab, strategy)
        (token_ids, all_segments, valid_len), _ = dataset[i]
        padding = max_len - len(ids)
        assert valid_len == len(ids)
        assert token_ids.tolist() == ids + [vocab["<pad>"]] * padding
        assert all_segments.tolist() == segments + [0] * padding


def test_memory_follows_the_words_and_not_max_len():
    short, long = (d2l.SNLIBERTDataset(PAIRS, max_len, WORDS) for max_len in (64, 64_000))
    assert len(short.encoded.ids) == len(long.encoded.ids) == short.valid_lens.sum()
    assert long.encoded.ids.dtype == np.int32


def test_encoded_some_at_a_time_pairs_are_the_same():
    expected = d2l.SNLIBERTDataset(PAIRS, 16, WORDS).fingerprint()
    seams.encode_pairs_at_once(7)
    assert d2l.SNLIBERTDataset(PAIRS, 16, WORDS, num_workers=4).fingerprint() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(max_len=4), "max_len=4"),
        (dict(truncation="shortest"), "'shortest'.*longest_first"),
        (dict(dataset=([], [], [])), "no pairs"),
        (dict(dataset=(["a"], ["b", "c"], [0])), "1 premises.*2 hypotheses"),
        (dict(dataset=(["a"], ["b"], [0, 1])), "1 premises.*2 labels"),
        (dict(dataset=(["a", " "], ["b", "c"], [0, 1])), "premise of pair 1"),
        (dict(dataset=(["a"], [""], [0])), "hypothesis of pair 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"dataset": PAIRS, "max_len": 16, "vocab": WORDS, **change}
    with pytest.raises(ValueError, match=message):
        d2l.SNLIBERTDataset(**arguments)


def test_a_bucketed_minibatch_is_padded_to_its_own_longest_pair():
    dataset = d2l.SNLIBERTDataset(PAIRS, 64, WORDS)
    seen = 0
    for (token_ids, segments, valid_lens), labels in d2l.bucketed_loader(dataset, 16):
        assert token_ids.shape == segments.shape == (len(labels), valid_lens.max())
        seen += len(labels)
    assert seen == len(dataset)


def test_a_bucketed_loader_gives_the_datasets_pairs():
    dataset = d2l.SNLIBERTDataset(PAIRS, 64, WORDS)
    loader = d2l.bucketed_loader(dataset, 7, shuffle=True, seed=3)
    batches = list(LengthBuckets(dataset.valid_lens, 7, shuffle=True, seed=3))
    for (X, y), indices in zip(loader, batches, strict=True):
        for row, i in enumerate(indices):
            (token_ids, segments, valid_len), label = dataset[i]
            width = X[0].shape[1]
            assert torch.equal(X[0][row], token_ids[:width])
            assert torch.equal(X[1][row], segments[:width])
            assert (X[2][row], y[row]) == (valid_len, label)


@settings(max_examples=60)
@given(
    st.lists(st.integers(5, 60), min_size=1, max_size=400),
    st.integers(1, 50),
    st.booleans(),
    st.integers(0, 5),
)
def test_every_pair_comes_once_an_epoch(lens, batch_size, shuffle, seed):
    buckets = LengthBuckets(torch.tensor(lens), batch_size, shuffle, seed)
    for _ in range(2):
        batches = list(buckets)
        assert len(batches) == len(buckets)
        assert sorted(np.concatenate(batches)) == list(range(len(lens)))
        assert all(len(batch) <= batch_size for batch in batches)


def test_shuffling_follows_seed_and_epoch_and_saves_padding():
    lens = torch.from_numpy(np.random.default_rng(0).integers(8, 60, 5000))
    buckets = LengthBuckets(lens, 50, shuffle=True, seed=1)
    first, second = ([list(batch) for batch in buckets] for _ in range(2))
    again = [list(batch) for batch in LengthBuckets(lens, 50, shuffle=True, seed=1)]
    other = [list(batch) for batch in LengthBuckets(lens, 50, shuffle=True, seed=2)]
    assert first == again
    assert first != second
    assert first != other
    widths = sum(len(batch) * int(lens[batch].max()) for batch in first)
    assert 1 - int(lens.sum()) / widths < 0.05


@settings(max_examples=60)
@given(st.integers(1, 400), st.integers(1, 50), st.booleans(), st.integers(0, 3), st.data())
def test_an_epoch_can_begin_in_its_middle(num_pairs, batch_size, shuffle, epoch, data):
    def batches_of(buckets):
        return [batch.tolist() for batch in buckets]

    lens = torch.from_numpy(np.random.default_rng(0).integers(5, 60, num_pairs))
    whole = LengthBuckets(lens, batch_size, shuffle, seed=1)
    epochs = [batches_of(whole) for _ in range(epoch + 2)]
    resumed = LengthBuckets(lens, batch_size, shuffle, seed=1)
    first = data.draw(st.integers(0, len(resumed)))
    resumed.begin(epoch, first)
    assert resumed.epoch == epoch
    assert batches_of(resumed) == epochs[epoch][first:]
    assert batches_of(resumed) == epochs[epoch + 1]
    assert resumed.epoch == whole.epoch


def test_a_loader_that_begins_in_the_middle_builds_no_earlier_minibatch(monkeypatch):
    dataset, built = d2l.SNLIBERTDataset(PAIRS, 32, WORDS), []
    minibatch = dataset.minibatch
    monkeypatch.setattr(dataset, "minibatch", lambda i: built.append(i) or minibatch(i))
    loader = d2l.bucketed_loader(dataset, 8, shuffle=True)
    expected = list(loader)[5:]
    built.clear()
    loader.batch_sampler.begin(0, 5)
    found = list(loader)
    assert len(built) == len(found) == len(expected) == 3
    for (X, y), (their_X, their_y) in zip(found, expected, strict=True):
        assert all(map(torch.equal, (*X, y), (*their_X, their_y)))


def test_a_batch_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch_size=0"):
        d2l.bucketed_loader(d2l.SNLIBERTDataset(PAIRS, 16, WORDS), 0)


def test_a_fingerprint_tells_datasets_apart():
    same = d2l.SNLIBERTDataset(PAIRS, 16, WORDS).fingerprint()
    assert same == d2l.SNLIBERTDataset(PAIRS, 16, WORDS).fingerprint()
    relabelled = (*PAIRS[:2], [2 - label for label in PAIRS[2]])
    assert same != d2l.SNLIBERTDataset(relabelled, 16, WORDS).fingerprint()
    assert same != d2l.SNLIBERTDataset(PAIRS, 15, WORDS).fingerprint()


IDS = [2, 0, 1, 1]
NAMES = [d2l.LABELS[i] for i in IDS]
PANDAS = pytest.importorskip("pandas")


def read_only(labels: list) -> np.ndarray:
    array = np.array(labels)
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "labels",
    [
        IDS,
        tuple(IDS),
        [np.int64(i) for i in IDS],
        [torch.tensor(i) for i in IDS],
        read_only(IDS),
        np.array(IDS, np.uint8),
        torch.tensor(IDS, dtype=torch.int32),
        PANDAS.Series(IDS, index=[7, 3, 0, 1]),
        PANDAS.Series([9, *IDS, 9])[lambda s: s < 9],
        PANDAS.Series(IDS, dtype="Int64"),
        NAMES,
        read_only(NAMES),
        PANDAS.Series(NAMES, index=[3, 2, 1, 0]),
        PANDAS.Series(NAMES, dtype="category"),
    ],
    ids=lambda labels: type(labels).__name__,
)
@pytest.mark.filterwarnings("error:.*writable")
def test_labels_may_come_in_any_form(labels):
    texts = ["a", "b", "c", "d"]
    dataset = d2l.SNLIBERTDataset((texts, texts, labels), 16, WORDS)
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels.tolist() == IDS


def test_texts_may_come_as_a_filtered_and_shuffled_series():
    table = PANDAS.DataFrame(zip(*PAIRS, strict=True), columns=["premise", "hypothesis", "label"])
    table = table[table.label > 0].sample(frac=1, random_state=0)
    columns = table.premise, table.hypothesis, table.label
    ours = d2l.SNLIBERTDataset(columns, 32, WORDS)
    lists = d2l.SNLIBERTDataset(tuple(map(list, columns)), 32, WORDS)
    assert ours.fingerprint() == lists.fingerprint()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, -1], "pair 1.*-1.*out"),
        ([1, -2], "pair 1.*-2.*out"),
        ([1, None], "pair 1.*None"),
        ([1.0, float("nan")], "pair 1.*nan"),
        (
            PANDAS.Series([1, None], dtype="Int64"),
            "pair 1.*(<NA>|nan)",
        ),
        (["neutral", "-"], "pair 1.*-.*class"),
        (["neutral", "Neutral"], "pair 1.*'Neutral'.*entailment"),
        ([0.5, 1.0], "float64"),
        ([10**30, 0], "ids or names"),
        ([[0], [1]], "int64.*2-dimensional"),
        ([{}, 0], "pair 0.*{}|ids or names"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        d2l.SNLIBERTDataset((["a", "b"], ["b", "c"], labels), 16, WORDS)


def test_label_names_give_ids_their_meaning():
    names = ("entailment", "neutral", "contradiction")  # as in Hugging Face's snli
    texts = ["a", "b", "c", "d"]
    by_name, by_id = (
        d2l.SNLIBERTDataset((texts, texts, labels), 16, WORDS, label_names=names)
        for labels in (NAMES, [1, 0, 2, 2])
    )
    assert by_name.label_names == by_id.label_names == names
    assert by_name.labels.tolist() == by_id.labels.tolist() == [1, 0, 2, 2]
    unnamed = d2l.SNLIBERTDataset((texts, texts, by_id.labels), 16, WORDS)
    assert unnamed.label_names is None
    assert unnamed.fingerprint() != by_id.fingerprint() == by_name.fingerprint()
    with pytest.raises(ValueError, match=r"pair 0.* 2.*2 label names"):
        d2l.SNLIBERTDataset((texts, texts, IDS), 16, WORDS, label_names=["yes", "no"])
    for wrong in (["a", "a", "b"], "abc", ["a", "", "b"], ["a", 1, "b"], 7):
        with pytest.raises(ValueError, match=r"label_names|same name"):
            d2l.SNLIBERTDataset((texts, texts, IDS), 16, WORDS, label_names=wrong)


def test_many_unknown_words_are_said_once_with_their_share(tmp_path):
    known, unknown = WORDS.idx_to_token[10:12], "zzz"
    few = [" ".join([known[0]] * 17 + [unknown])], [known[1]], [0]
    many = [f"{known[0]} {unknown} {unknown}"] * 3, [known[1]] * 3, [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert d2l.SNLIBERTDataset(few, 32, WORDS).unknown_share() == 1 / 19
    with pytest.warns(UserWarning, match=r"50%.*<unk>") as w:
        assert d2l.SNLIBERTDataset(many, 32, WORDS).unknown_share() == 1 / 2
    assert len(w) == 1
    assert w[0].filename == __file__
    with pytest.warns(UserWarning, match="11%"):
        d2l.SNLIBERTDataset(([f"{'a ' * 7}{unknown}"], ["a"], [0]), 32, WORDS)


@pytest.mark.parametrize("text", [None, float("nan"), 3])
def test_what_is_no_text_is_named(text):
    with pytest.raises(ValueError, match=f"{text}.*sentence"):
        d2l.SNLIBERTDataset(([text], ["b"], [0]), 16, WORDS)


def contents_of(dataset) -> list:
    """The pairs of a dataset, as minibatches of one."""
    batches = (dataset.minibatch([i]) for i in range(len(dataset)))
    return [[x.tolist() for x in (*X, y)] for X, y in batches]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_subsets_and_concatenations_hold_the_pairs_that_torch_says(data):
    """Compare with torch's own indexing of items padded to max_len."""
    vocab = d2l.Vocab("a b c d e".split(), reserved_tokens=SPECIALS)
    pairs = ["a b c", "d", "e f"] * 5, ["a", "b c d", "e"] * 5, [0, 1, 2] * 5
    dataset = d2l.SNLIBERTDataset(pairs, 9, vocab)

    def build(depth: int) -> Dataset:
        kind = data.draw(st.sampled_from(["dataset", "subset", "concat"] if depth else ["dataset"]))
        if kind == "dataset":
            return dataset
        if kind == "concat":
            return ConcatDataset([build(depth - 1) for _ in range(data.draw(st.integers(1, 3)))])
        whole = build(depth - 1)
        places = st.integers(-len(whole) if whole is dataset else 0, len(whole) - 1)
        return Subset(whole, data.draw(st.lists(places, min_size=1, max_size=9)))

    theirs = build(3)
    ours = as_pairs(theirs)
    assert len(ours) == len(theirs)
    for i in range(len(theirs)):
        (ids, segments, length), label = ours[i]
        (their_ids, their_segments, their_length), their_label = theirs[i]
        assert (ids.tolist(), segments.tolist()) == (their_ids.tolist(), their_segments.tolist())
        assert (int(length), int(label)) == (int(their_length), int(their_label))
    chosen = [ours.minibatch([i])[0][0][0].tolist() for i in range(len(ours))]
    words = [vocab.to_tokens(ids) for ids in chosen]
    ends = [each.index("<sep>") for each in words]
    premises = [each[1:end] for each, end in zip(words, ends, strict=True)]
    hypotheses = [each[end + 1 : -1] for each, end in zip(words, ends, strict=True)]
    anew = d2l.SNLIBERTDataset((premises, hypotheses, ours.labels.tolist()), 9, vocab)
    assert ours.fingerprint() == anew.fingerprint()
    assert ours.unknown_share() == anew.unknown_share()


def test_a_split_is_used_as_a_dataset_of_its_own_would_be(net, vocab, toy_pairs, tmp_path):
    dataset = d2l.SNLIBERTDataset(toy_pairs, 32, vocab)
    train_set, dev_set = random_split(dataset, [200, 40])
    alone = [
        d2l.SNLIBERTDataset([[side[i] for i in part.indices] for side in toy_pairs], 32, vocab)
        for part in (train_set, dev_set)
    ]
    nets = [copy.deepcopy(net) for _ in "ab"]
    histories = [
        d2l.finetune(each, *sets, num_epochs=2, batch_size=40, precision="fp32")
        for each, sets in zip(nets, ((train_set, dev_set), alone), strict=True)
    ]
    assert all(map(torch.equal, *(each.state_dict().values() for each in nets)))
    assert histories[0].column("dev_acc")[-1] == histories[1].column("dev_acc")[-1]
    assert histories[0].made_of == histories[1].made_of
    both = ConcatDataset([train_set, dev_set])
    assert float(d2l.evaluate(net, both)) == pytest.approx(float(d2l.evaluate(net, dataset)))
    batches = [list(d2l.bucketed_loader(each, 16, True)) for each in (dev_set, alone[1])]
    for (X, y), (their_X, their_y) in zip(*batches, strict=True):
        assert all(map(torch.equal, (*X, y), (*their_X, their_y)))
    as_pairs(dev_set).save(tmp_path / "dev")
    assert contents_of(d2l.SNLIBERTDataset.load(tmp_path / "dev", vocab)) == contents_of(alone[1])


def test_joined_datasets_keep_only_the_settings_that_they_share(tmp_path):
    plain, named, cut = (
        d2l.SNLIBERTDataset(PAIRS, 16, WORDS, **how)
        for how in ({}, {"label_names": d2l.LABELS}, {"truncation": "head_tail"})
    )
    assert as_pairs(ConcatDataset([plain, named])).truncation == "longest_first"
    assert as_pairs(ConcatDataset([plain, cut])).truncation is None
    plain.save(tmp_path / "data")
    mapped = d2l.SNLIBERTDataset.load(tmp_path / "data", WORDS)
    assert mapped.folder == tmp_path / "data"
    assert as_pairs(Subset(mapped, [0])).folder is None


def test_what_cannot_be_one_dataset_is_named(net, vocab, toy_pairs):
    dataset = d2l.SNLIBERTDataset(toy_pairs, 32, vocab)
    named = d2l.SNLIBERTDataset(toy_pairs, 32, vocab, label_names=["x", "y", "z"])
    words = d2l.Vocab([*"abcdefg", "i"], reserved_tokens=SPECIALS)
    other = d2l.SNLIBERTDataset(toy_pairs, 32, words)
    shorter = d2l.SNLIBERTDataset(toy_pairs, 16, vocab)
    for made, message in (
        (Subset(dataset, []), "no pairs"),
        (Subset(dataset, [240]), "240 pairs"),
        (Subset(dataset, dataset.labels == 0), r"bool.*1-dimensional.*mask\.nonzero"),
        (Subset(dataset, (dataset.labels == 0).nonzero()), "int64.*2-dimensional"),
        (Subset(dataset, [0.5]), "float64"),
        (ConcatDataset([dataset, shorter]), "max_len"),
        (ConcatDataset([dataset, named]), "label names"),
        (ConcatDataset([dataset, other]), "vocabulary"),
        (Subset([1, 2], [0]), r"\blist\b.*dataset"),
        (torch.utils.data.TensorDataset(torch.ones(3)), "TensorDataset"),
    ):
        for use in (d2l.evaluate, lambda net, data: d2l.finetune(net, data, None)):
            with pytest.raises(ValueError, match=message):
                use(net, made)
