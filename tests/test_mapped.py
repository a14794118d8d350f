"""Datasets on disk: those of memory, built once, by one process, and whole or refused."""

import json
import os
import shutil
import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import d2lnli as d2l
import seams
from conftest import SIZES, SPECIALS, contents, write_corpus
from faulty import PROCESSES

WORDS = [f"w{i}" for i in range(30)]
SENTENCE = st.lists(st.sampled_from([*WORDS, "W3", "unseen"]), min_size=1, max_size=20)


@pytest.fixture
def words() -> d2l.Vocab:
    return d2l.Vocab(WORDS, reserved_tokens=SPECIALS)


def write(folder, pairs) -> None:
    rows = [f"{d2l.LABELS[i % 3] if i % 7 else '-'}\t( {' '.join(p)} )\t( {' '.join(h)} )"
             for i, (p, h) in enumerate(pairs, start=1)]  # fmt: skip
    write_corpus(folder, rows, ["train"])


def same(a: d2l.SNLIBERTDataset, b: d2l.SNLIBERTDataset) -> bool:
    arrays = zip(a.encoded, b.encoded, strict=True)
    return (
        all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in arrays)
        and torch.equal(a.labels, b.labels)
        and (a.max_len, a.truncation) == (b.max_len, b.truncation)
        and a.fingerprint() == b.fingerprint()
    )


@given(
    st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=30),
    st.integers(5, 40),
    st.sampled_from(list(d2l.TRUNCATIONS)),
    st.integers(1, 12),
    st.none() | st.integers(1, 40),
)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_mapped_dataset_is_that_of_memory(
    tmp_path_factory, words, pairs, max_len, truncation, at_once, most
):
    folder = tmp_path_factory.mktemp("corpus")
    write(folder, pairs)
    expected = d2l.SNLIBERTDataset(d2l.read_snli(folder, "train", most), max_len, words, truncation)
    arguments = folder / "kept", folder, "train", max_len, words, truncation, most
    seams.map_pairs_at_once(at_once)
    found = d2l.mapped_dataset(*arguments)
    assert same(found, expected)
    assert same(d2l.mapped_dataset(*arguments), expected)
    expected.save(folder / "saved")
    expected.save(folder / "saved")
    assert same(d2l.SNLIBERTDataset.load(folder / "saved", words), expected)
    assert found[-1][0][0].tolist() == expected[-1][0][0].tolist()
    assert contents(folder / "kept") == [found.folder.name]


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    sentences = [[WORDS[i] for i in rng.integers(0, 30, n)] for n in rng.integers(1, 15, 400)]
    write(tmp_path / "corpus", zip(sentences[::2], sentences[1::2], strict=True))
    return tmp_path / "corpus"


def test_training_on_it_gives_the_same_numbers(corpus, words, tmp_path):
    torch.manual_seed(0)
    bert = d2l.BERTModel(len(words), dropout=0.1, **SIZES)
    weights = {name: tensor.clone() for name, tensor in bert.state_dict().items()}
    results = []
    for dataset in (
        d2l.SNLIBERTDataset(d2l.read_snli(corpus, "train"), 32, words),
        d2l.mapped_dataset(tmp_path, corpus, "train", 32, words),
    ):
        bert.load_state_dict(weights)
        torch.manual_seed(0)
        net = d2l.BERTClassifier(bert)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as torch's on arrays that are read-only
            history = d2l.finetune(net, dataset, dataset, num_epochs=1, batch_size=16)
        results.append((history.last("loss"), history.last("dev_acc")))
    assert results[0] == results[1]


def test_what_it_is_made_of_tells_datasets_apart(corpus, words, tmp_path):
    found = [
        d2l.mapped_dataset(tmp_path, corpus, "train", 32, words).folder,
        d2l.mapped_dataset(tmp_path, corpus, "train", 16, words).folder,
        d2l.mapped_dataset(tmp_path, corpus, "train", 32, words, "head_tail").folder,
        d2l.mapped_dataset(tmp_path, corpus, "train", 32, words, max_examples=9).folder,
        d2l.mapped_dataset(tmp_path, corpus, "train", 32, d2l.Vocab(WORDS[:9], 0, SPECIALS)).folder,
    ]
    write(corpus, [(["w1"], ["w2"])] * 8)
    found.append(d2l.mapped_dataset(tmp_path, corpus, "train", 32, words).folder)
    os.utime(corpus / "snli_1.0_train.txt", (0, 0))  # written anew, with as many characters
    found.append(d2l.mapped_dataset(tmp_path, corpus, "train", 32, words).folder)
    assert len(set(found)) == len(found) == 7
    with pytest.raises(FileNotFoundError, match=r"snli_1\.0_test\.txt"):
        d2l.mapped_dataset(tmp_path, corpus, "test", 32, words)


@pytest.mark.parametrize("name", ["ids", "starts", "premise_kept", "valid_lens", "labels"])
def test_what_is_not_whole_is_refused_by_name(corpus, words, tmp_path, name):
    folder = d2l.mapped_dataset(tmp_path, corpus, "train", 32, words).folder
    content = (folder / f"{name}.bin").read_bytes()
    for damaged in (content[:-1], b"", bytes([content[0] ^ 1]) + content[1:]):
        (folder / f"{name}.bin").write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}\.bin.*delete"):
            d2l.mapped_dataset(tmp_path, corpus, "train", 32, words)
    (folder / f"{name}.bin").unlink()
    with pytest.raises(ValueError, match=rf"{name}\.bin"):
        d2l.SNLIBERTDataset.load(folder, words)


def test_label_names_are_kept_with_a_dataset(tmp_path, words):
    write(tmp_path, [(["a"], ["b"])] * 3)
    assert (
        d2l.mapped_dataset(tmp_path / "kept", tmp_path, "train", 16, words).label_names
        == d2l.LABELS
    )
    texts = ["a"] * 3
    for names in (None, ("yes", "no")):
        data = d2l.SNLIBERTDataset((texts, texts, [0, 1, 0]), 16, words, label_names=names)
        data.save(tmp_path / "saved")
        loaded = d2l.SNLIBERTDataset.load(tmp_path / "saved", words)
        assert loaded.label_names == names
        assert loaded.fingerprint() == data.fingerprint()


@pytest.mark.parametrize("described", ["{", "[]", "{}", '{"version": 0}', None])
def test_a_description_that_cannot_be_used_is_named(corpus, words, tmp_path, described):
    folder = d2l.mapped_dataset(tmp_path, corpus, "train", 32, words).folder
    path = folder / "dataset.json"
    if described is None:
        described = json.dumps({**json.loads(path.read_text()), "checksums": "?"})
    path.write_text(described)
    with pytest.raises(ValueError, match=r"dataset.json"):
        d2l.SNLIBERTDataset.load(folder, words)
    with pytest.raises(FileNotFoundError, match=r"dataset.json"):
        d2l.SNLIBERTDataset.load(tmp_path / "nowhere", words)


def test_the_strategy_is_known_where_an_earlier_version_did_not_write_it_down(
    corpus, words, tmp_path
):
    arguments = tmp_path, corpus, "train", 32, words, "head_tail"
    path = d2l.mapped_dataset(*arguments).folder / "dataset.json"
    described = json.loads(path.read_text())
    assert described.pop("truncation") == "head_tail"
    path.write_text(json.dumps(described))
    assert d2l.mapped_dataset(*arguments).truncation == "head_tail"


def test_another_vocabulary_is_refused(corpus, words, tmp_path):
    folder = d2l.mapped_dataset(tmp_path, corpus, "train", 32, words).folder
    other = d2l.Vocab([*WORDS[:-1], "x"], reserved_tokens=SPECIALS)
    with pytest.raises(ValueError, match="another vocabulary"):
        d2l.SNLIBERTDataset.load(folder, other)


def test_a_full_disk_or_bad_rows_leave_nothing(corpus, words, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    parent = tmp_path / "kept"
    with monkeypatch.context() as patched:
        patched.setattr(json, "dumps", full)
        with pytest.raises(OSError, match=r"No space left"):
            d2l.mapped_dataset(parent, corpus, "train", 32, words)
    assert contents(parent) == []
    with (corpus / "snli_1.0_train.txt").open("a") as file:
        file.write("perhaps\t( a )\t( b )\n")
    with pytest.raises(ValueError, match=r"snli_1\.0_train\.txt.*line 202\b.*'perhaps'"):
        d2l.mapped_dataset(parent, corpus, "train", 32, words)
    assert contents(parent) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"{tmp_path}/file.*folder that you may write"):
        d2l.mapped_dataset(tmp_path / "file", corpus, "train", 32, words)


def build(parent, corpus, log) -> None:
    def count():
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(0.5)

    seams.mapping_first(count)
    d2l.mapped_dataset(parent, corpus, "train", 32, d2l.Vocab(WORDS, reserved_tokens=SPECIALS))


def test_of_several_processes_one_builds_and_a_killed_ones_work_is_done_anew(corpus, tmp_path):
    parent, log = tmp_path / "kept", tmp_path / "log"
    killed = PROCESSES.Process(target=build, args=(parent, corpus, log))
    killed.start()
    while not (log.exists() and log.read_text()):  # it may be made, but still empty
        time.sleep(0.01)
    killed.kill()
    killed.join()
    processes = [PROCESSES.Process(target=build, args=(parent, corpus, log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert log.read_text() == "built\n" * 2
    assert len(contents(parent)) == 1
    shutil.rmtree(parent)


def test_saving_a_dataset_deletes_nothing_else(tmp_path, words, monkeypatch):
    data = d2l.SNLIBERTDataset((["w1"], ["w2"], [0]), 16, words)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    monkeypatch.chdir(tmp_path / "thesis")
    for folder in (tmp_path / "thesis", "."):
        with pytest.raises(ValueError, match=r"thesis.*chapter\.tex.*folder of its own"):
            data.save(folder)
    assert contents(tmp_path / "thesis") == ["chapter.tex"]


def test_a_full_disk_leaves_the_dataset_that_was_there(tmp_path, words, monkeypatch):
    first, second = (d2l.SNLIBERTDataset((["w1"], ["w2"], [i]), 16, words) for i in (0, 1))
    first.save(tmp_path / "data")
    with monkeypatch.context() as full:
        full.setattr(json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match=r"dataset.*data.*free some space"):
            second.save(tmp_path / "data")
    assert same(d2l.SNLIBERTDataset.load(tmp_path / "data", words), first)
