"""The fine-tuned classifier that is made once, and what compares and explains classifiers."""

import contextlib
import csv
import os
import random
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import d2lnli as d2l
import seams
from conftest import SIZES, SPECIALS, contents, few_or_many, write_former_classifier, write_sample
from faulty import PROCESSES
from seams import Picture, Record, cut_tokens, made_of

VOCAB = d2l.Vocab("a b c d e f g h".split(), reserved_tokens=SPECIALS)
WORDS = st.lists(st.sampled_from("a b c d e f g h".split()), min_size=1, max_size=25)
STRATEGIES = st.sampled_from(sorted(d2l.TRUNCATIONS))
HISTORY = d2l.History(
    [Record(0.5, 1.0, 0.4, np.nan, 9.0, 1.0, 0.4), Record(1.0, 0.8, 0.5, 0.6, 9.0, 0.9, 0.45)]
)


@pytest.fixture
def corpus(tmp_path):
    """A folder with the first pairs of the bundled corpus."""
    return write_sample(tmp_path / "mini", train=130, dev=40)


def must_not_run(*args, **kwargs):
    raise AssertionError("it must not be called")


def same(net, other):
    first, second = net.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_the_bundled_classifier_is_made_once_and_then_loaded(data_dir, capsys):
    made, vocab = d2l.load_or_finetune(num_pairs=60)
    said = capsys.readouterr()
    assert list(data_dir.rglob("*.safetensors")) == [
        d2l.classifier_dir("bert.tiny", "Scenes") / "classifier.safetensors"
    ]
    seams.training_is(must_not_run)
    loaded, words = d2l.load_or_finetune(num_pairs=60)
    assert said == capsys.readouterr()
    line = r".*\bbert\.tiny-Scenes\b.*\b60 pairs.* 20\d\d-\d\d-\d\d \d\d:\d\d\n"
    assert re.fullmatch(line, said.out) and not said.err
    assert same(made, loaded)
    assert words.idx_to_token == vocab.idx_to_token
    assert not made.training and not loaded.training


def test_a_former_name_of_the_corpus_finds_the_same_classifier(data_dir, trained, capsys):
    d2l.load_or_finetune(corpus="SNLI-sample", num_pairs=60)
    first = capsys.readouterr()
    net, _ = d2l.load_or_finetune(corpus="Scenes", num_pairs=60)
    d2l.load_or_finetune(corpus="SNLI-sample", num_pairs=60)
    assert trained == [60] and net.history.made_of["corpus"] == "Scenes"
    assert capsys.readouterr() == (first.out * 2, "") and "bert.tiny-Scenes" in first.out
    assert contents(data_dir / "classifiers") == ["bert.tiny-Scenes"]


def test_a_classifier_of_the_corpus_that_had_the_former_name_is_not_taken(
    data_dir, corpus, trained, monkeypatch, capsys
):
    folders = [data_dir / "classifiers" / f"bert.tiny-{name}" for name in ("SNLI-sample", "Scenes")]
    with monkeypatch.context() as before:  # the corpus under its former name, with other pairs
        before.setitem(d2l.DATA_HUB, "SNLI-sample", (corpus.as_uri(), None))
        d2l.load_or_finetune(corpus="SNLI-sample", num_pairs=60)
    file = folders[0] / "classifier.safetensors"
    old = file.read_bytes()
    text = (corpus / "snli_1.0_train.txt").read_text(encoding="utf-8")
    changed = text.replace("contradiction\t", "neutral\t", 1)
    (corpus / "snli_1.0_train.txt").write_text(changed, encoding="utf-8")
    monkeypatch.setitem(d2l.DATA_HUB, "Scenes", (corpus.as_uri(), None))
    d2l.load_or_finetune(corpus="SNLI-sample", num_pairs=60)
    assert trained == [60, 60] and file.read_bytes() == old
    assert "another classifier" not in capsys.readouterr().out
    shutil.copy(file, folders[1])  # even in the place of the new one
    d2l.load_or_finetune(corpus="SNLI-sample", num_pairs=60)
    assert trained == [60, 60, 60]
    assert re.search(rf"{folders[1]} .*other pairs", capsys.readouterr().out)


def test_it_trains_the_pretrained_model_by_its_recipe(data_dir, corpus):
    calls = []

    def record(net, train_set, dev_set, **settings):
        calls.append((len(train_set), len(dev_set), train_set.max_len, settings))
        return replace(HISTORY, made_of=made_of(net, train_set, d2l.Recipe(**settings)))

    seams.training_is(record)
    net, _ = d2l.load_or_finetune("bert.tiny", corpus, num_pairs=60, max_len=32)
    bert, _ = d2l.load_pretrained_model("bert.tiny")
    assert same(net.encoder, bert.encoder)
    rest = {"seed": 0, "keep": "last", "patience": None}
    assert calls == [(60, 40, 32, {**d2l.recipe("bert.tiny"), **rest})]
    assert d2l.History.load(d2l.classifier_dir("bert.tiny", corpus)).num_epochs == 1
    d2l.load_or_finetune("bert.tiny", corpus, num_pairs=60, max_len=32)
    assert len(calls) == 1


def test_a_new_run_is_the_same_run_again(tmp_path, corpus, monkeypatch):
    nets = []
    for name in ("one", "two"):
        monkeypatch.setenv("D2LNLI_DATA_DIR", str(tmp_path / name))
        torch.manual_seed(len(name) + len(nets))
        nets.append(d2l.load_or_finetune(corpus=corpus, num_pairs=60)[0])
    assert same(*nets)


def feign_training(interrupted: bool = False) -> list[int]:
    """Let nothing be trained; return a list that grows by the number of pairs of each training."""
    sizes = []

    def feign(net, train_set, dev_set, **settings):
        sizes.append(len(train_set))
        made = made_of(net, train_set, d2l.Recipe(**settings))
        return replace(HISTORY, made_of=made, interrupted=interrupted)

    seams.training_is(feign)
    return sizes


@pytest.fixture
def trained() -> list[int]:
    """The numbers of pairs of the trainings that were made; they are feigned."""
    return feign_training()


def test_an_interrupted_run_is_kept_beside_and_never_taken_for_a_finished_one(
    data_dir, corpus, capsys
):
    trained, folder = feign_training(interrupted=True), d2l.classifier_dir("bert.tiny", corpus)
    for _ in range(2):
        net, vocab = d2l.load_or_finetune(corpus=corpus, num_pairs=60)
        assert d2l.predict_snli(net, vocab, "a dog", "a cat") in d2l.LABELS
    assert len(trained) == 2
    assert [path.parent for path in data_dir.rglob("*.safetensors")] == [
        folder.with_name(f"{folder.name}-interrupted")
    ]
    said = capsys.readouterr().out
    assert re.search(rf"interrupted.*{folder}-interrupted", said)
    assert re.search(rf"{folder.name}-interrupted.*\b60 pairs", said)


def test_a_classifier_is_loaded_only_for_what_it_was_trained_on(
    data_dir, corpus, tmp_path, trained, capsys
):
    other = shutil.copytree(corpus, tmp_path / "elsewhere" / corpus.name)
    model = shutil.copytree(d2l.download_extract("bert.tiny"), tmp_path / "bert.tiny")

    def load(model="bert.tiny", corpus=corpus, **how) -> bool:
        before = len(trained)
        d2l.load_or_finetune(model, corpus, **how)
        return len(trained) == before

    for how in (
        {"num_pairs": 60}, {}, {"max_len": 24}, {"corpus": other}, {"corpus": "Scenes"},
        {"model": model}, {"model": model, "corpus": other, "num_pairs": 40},
    ):  # fmt: skip
        assert not load(**how)
        assert load(**how) and load(**how)
    assert load() and load(max_len=24)
    capsys.readouterr()
    assert not load(num_pairs=60)  # all 130 pairs have its place
    assert re.search("pairs=130.*60", capsys.readouterr().out)
    assert load() and load(num_pairs=60)
    file = corpus / "snli_1.0_train.txt"
    old = file.read_text(encoding="utf-8")
    file.write_text(old.replace("contradiction\t", "neutral\t", 1), encoding="utf-8")
    places = contents(data_dir / "classifiers")
    assert not load()
    assert contents(data_dir / "classifiers") == places  # what was outdated is replaced
    assert "other pairs" in capsys.readouterr().out
    file.write_text(old, encoding="utf-8")
    assert not load()
    weights = torch.load(model / "pretrained.params", weights_only=True)
    weights["encoder.token_embedding.weight"] += 1
    torch.save(weights, model / "pretrained.params")
    assert not load(model=model)


def test_settings_of_ones_own_are_not_taken_for_the_recipes(data_dir, corpus, trained, capsys):
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    train_set = d2l.SNLIBERTDataset(d2l.read_snli(corpus, True), 128, vocab)
    net, folder = d2l.BERTClassifier(bert), d2l.classifier_dir("bert.tiny", corpus)
    settings = {**d2l.recipe("bert.tiny"), "num_epochs": 1}
    d2l.save_classifier(folder, net, vocab, d2l.finetune(net, train_set, None, **settings))
    capsys.readouterr()
    d2l.load_or_finetune(corpus=corpus)
    assert trained == [130]
    assert re.search("num_epochs=1.*4", capsys.readouterr().out)
    assert same(d2l.load_classifier(folder)[0], net)  # ten hours of somebody's work, perhaps
    d2l.load_or_finetune(corpus=corpus)
    assert trained == [130]


def test_what_finetune_made_by_the_recipe_is_loaded(data_dir, corpus):
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    train_set = d2l.SNLIBERTDataset(d2l.read_snli(corpus, True), 128, vocab)
    net = d2l.BERTClassifier(bert)
    history = d2l.finetune(net, train_set, None, **d2l.recipe("bert.tiny"), precision="fp32")
    d2l.save_classifier(d2l.classifier_dir("bert.tiny", corpus), net, vocab, history)
    seams.training_is(must_not_run)
    assert same(d2l.load_or_finetune("bert.tiny", Path(corpus))[0], net)


def load_slowly(data_dir: Path, corpus: Path, log: Path, started, may_go_on) -> None:
    os.environ["D2LNLI_DATA_DIR"] = str(data_dir)

    def wait_and_finetune(*args, **settings):
        started.set()
        assert may_go_on.wait(120)
        return d2l.finetune(*args, **settings)

    seams.training_is(wait_and_finetune)
    with log.open("w") as file, contextlib.redirect_stdout(file):
        net, _ = d2l.load_or_finetune(corpus=corpus, num_pairs=60)
    torch.save(net.state_dict(), log.with_suffix(".pt"))


def test_of_two_processes_one_trains_and_the_other_waits(data_dir, corpus, tmp_path):
    events, logs = (PROCESSES.Event(), PROCESSES.Event()), (tmp_path / "a", tmp_path / "b")
    processes = [
        PROCESSES.Process(target=load_slowly, args=(data_dir, corpus, log, *events)) for log in logs
    ]
    processes[0].start()
    assert events[0].wait(60)
    events[0].clear()
    processes[1].start()
    folder = d2l.classifier_dir("bert.tiny", corpus)
    while not (waiting := logs[1].read_text() if logs[1].exists() else "").endswith("\n"):
        time.sleep(0.1)
        assert processes[1].is_alive()
    assert folder.name in waiting
    events[1].set()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert not events[0].is_set()  # the second did not train
    assert logs[1].read_text() == waiting + logs[0].read_text()
    assert re.search(rf"{folder.name}.*\b60 pairs", logs[0].read_text())
    assert contents(data_dir / "classifiers") == [folder.name]
    first, second = (torch.load(log.with_suffix(".pt"), weights_only=True) for log in logs)
    assert all(map(torch.equal, first.values(), second.values()))


def test_a_run_that_fails_is_not_kept(data_dir, corpus):
    seams.training_is(must_not_run)
    with pytest.raises(AssertionError):
        d2l.load_or_finetune(corpus=corpus, num_pairs=60)
    assert not list(data_dir.rglob("*.safetensors"))
    with pytest.raises(ValueError, match="'no such corpus'"):
        d2l.load_or_finetune(corpus="no such corpus")


class Shown(list):
    """Stands in for IPython's display: keeps what is shown, and what it is updated to."""

    def __call__(self, thing, **how):
        self.append(thing)
        return self

    def update(self, thing, **how):
        self.append(thing)


def test_a_notebook_shows_the_curves_of_the_run_old_or_new(data_dir, corpus, capsys):
    shown = Shown()
    seams.as_in_a_notebook(shown)
    d2l.load_or_finetune(corpus=corpus, num_pairs=60)
    last_of_the_run, said = shown[-1]["text/html"], capsys.readouterr()
    shown.clear()
    d2l.load_or_finetune(corpus=corpus, num_pairs=60)
    (picture,) = shown
    assert isinstance(picture, Picture)
    assert picture.description in last_of_the_run
    history = d2l.History.load(d2l.classifier_dir("bert.tiny", corpus))
    assert picture.description.endswith(f" to {history.last('dev_acc'):.3f}.")
    assert capsys.readouterr() == said


def test_a_classifier_of_an_earlier_version_opens_but_is_not_taken_for_another(
    data_dir, corpus, net, vocab, trained, capsys
):
    folder = d2l.classifier_dir("bert.tiny", corpus)
    write_former_classifier(folder, net, vocab)
    assert not same(d2l.load_or_finetune(corpus=corpus)[0], net)
    assert "not recorded" in capsys.readouterr().out
    assert same(d2l.load_classifier(folder)[0], net)
    assert len(trained) == 1


@pytest.mark.parametrize("save", [write_former_classifier, d2l.save_classifier])
def test_a_history_lies_in_its_classifier_and_goes_with_it(net, vocab, tmp_path, save):
    save(tmp_path, net, vocab, HISTORY)
    loaded = d2l.History.load(tmp_path)
    for name, column in HISTORY.columns().items():
        np.testing.assert_array_equal(loaded.column(name), column)
    d2l.save_classifier(tmp_path, net, vocab)
    with pytest.raises(FileNotFoundError, match=r"history\.csv"):
        d2l.History.load(tmp_path)


def test_a_whole_history_comes_back_with_its_classifier(net, vocab, tmp_path):
    history = replace(HISTORY, num_classes=5, kept_epoch=1, made_of={"pairs": np.int64(60)})
    d2l.save_classifier(tmp_path, net, vocab, history)
    assert repr(d2l.History.load(tmp_path)) == repr(replace(history, made_of={"pairs": 60}))
    with pytest.raises(ValueError, match=r"list.*History"):
        d2l.save_classifier(tmp_path, net, vocab, [1, 2])


def numbered(number: int) -> tuple[d2l.BERTClassifier, d2l.Vocab]:
    """One of two classifiers of the same shape, whose words and weights both tell which it is."""
    vocab = d2l.Vocab([f"{number}{word}" for word in "abc"], reserved_tokens=SPECIALS)
    net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **SIZES))
    nn.init.constant_(net.output.bias, number)
    return net, vocab


def test_a_classifier_that_is_replaced_while_it_is_read_is_one_of_the_two(tmp_path, monkeypatch):
    d2l.save_classifier(tmp_path, *numbered(0))
    read = Path.read_bytes

    def read_and_replace(path):
        monkeypatch.setattr(Path, "read_bytes", read)
        content = read(path)
        d2l.save_classifier(tmp_path, *numbered(1))
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_replace)
    net, vocab = d2l.load_classifier(tmp_path)
    assert f"{int(net.output.bias[0])}a" in vocab.token_to_idx
    assert int(d2l.load_classifier(tmp_path)[0].output.bias[0]) == 1


def save_for_ever(folder: Path) -> None:
    classifiers = [numbered(0), numbered(1)]
    while True:
        for net, vocab in classifiers:
            d2l.save_classifier(folder, net, vocab, HISTORY)


@few_or_many("moments", 3, 50)
def test_killed_while_it_is_replaced_a_classifier_is_the_old_or_the_new(tmp_path, moments):
    rng, found = random.Random(moments), []
    path = d2l.save_classifier(tmp_path, *numbered(0), HISTORY) / "classifier.safetensors"
    for _ in range(moments):
        before = path.stat().st_mtime_ns
        process = PROCESSES.Process(target=save_for_ever, args=(tmp_path,))
        process.start()
        while process.is_alive() and path.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.join()
        net, vocab = d2l.load_classifier(tmp_path)
        found.append(int(net.output.bias[0]))
        assert f"{found[-1]}a" in vocab.token_to_idx
    print({which: found.count(which) for which in found})
    d2l.save_classifier(tmp_path, *numbered(0))
    assert contents(tmp_path) == ["classifier.safetensors"]


@few_or_many("seconds", 3, 30)
def test_read_while_it_is_replaced_a_classifier_is_one_of_the_two(tmp_path, seconds):
    d2l.save_classifier(tmp_path, *numbered(0), HISTORY)
    writers = [PROCESSES.Process(target=save_for_ever, args=(tmp_path,)) for _ in "ab"]
    for writer in writers:
        writer.start()
    found, last = [], time.monotonic() + seconds
    while time.monotonic() < last or not {0, 1} <= set(found):
        net, vocab = d2l.load_classifier(tmp_path)
        found.append(int(net.output.bias[0]))
        assert f"{found[-1]}a" in vocab.token_to_idx
        assert time.monotonic() < last + 60
    for writer in writers:
        writer.kill()
        writer.join()
    print(len(found), "readings")


@pytest.mark.parametrize("moved", range(4))
def test_files_of_an_earlier_version_that_wait_for_their_place_are_read_there(tmp_path, moved):
    for number in (0, 1):
        write_former_classifier(tmp_path / str(number), *numbered(number), HISTORY)
    (tmp_path / "1").rename(tmp_path / "0" / ".whole")
    for name in ("config.json", "vocab.json", "model.safetensors")[:moved]:
        (tmp_path / "0" / ".whole" / name).replace(tmp_path / "0" / name)
    net, vocab = d2l.load_classifier(tmp_path / "0")
    assert net.output.bias[0] == 1 and "1a" in vocab.token_to_idx
    d2l.save_classifier(tmp_path / "0", net, vocab)
    assert contents(tmp_path / "0") == ["classifier.safetensors"]


def test_a_history_that_cannot_be_read_is_named(net, vocab, tmp_path):
    path = d2l.save_classifier(tmp_path, net, vocab, HISTORY) / "classifier.safetensors"
    path.write_bytes(path.read_bytes().replace(b"kept_epoch", b"kept_epock"))
    with pytest.raises(ValueError, match=rf"{path}.*history.*kept_epock"):
        d2l.History.load(tmp_path)


def test_what_cannot_be_kept_can_be_used_all_the_same(monkeypatch, tmp_path, corpus):
    (tmp_path / "file").touch()
    monkeypatch.setenv("D2LNLI_DATA_DIR", str(tmp_path / "file" / "data"))
    seams.users_cache_is(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match=r"classifier.*D2LNLI_DATA_DIR"):
        net, vocab = d2l.load_or_finetune(corpus=str(corpus), num_pairs=60)
    assert d2l.predict_snli(net, vocab, "a dog", "an animal") in d2l.LABELS


def test_there_is_no_difference_between_equals():
    right = np.random.default_rng(0).random(100) < 0.7
    assert d2l.paired_difference(right, right) == (0, 0, 0)
    assert d2l.paired_difference(np.tile(right, (3, 1)), np.tile(right, (3, 1))) == (0, 0, 0)


def test_a_difference_has_the_right_sign_and_size():
    first, second = np.array([1] * 80 + [0] * 20), np.array([1] * 50 + [0] * 50)
    found = d2l.paired_difference(first, second)
    assert found.difference == pytest.approx(0.3)
    assert found.low < 0.3 < found.high
    assert found.low > 0.15 and found.high < 0.45
    swapped = d2l.paired_difference(second, first)
    np.testing.assert_allclose(swapped, [-0.3, -found.high, -found.low], atol=1e-9)
    lists = d2l.paired_difference(list(first), [bool(x) for x in second])
    assert lists == found


@pytest.mark.parametrize("first, second", [([], []), ([1], [0, 1, 1])])
def test_what_cannot_be_compared_is_an_error(first, second):
    with pytest.raises(ValueError, match=r"seeds.*pairs"):
        d2l.paired_difference(first, second)


def test_pairs_are_compared_with_each_other():
    rng = np.random.default_rng(1)
    second = rng.random(400) < 0.6
    better = second.copy()
    better[np.flatnonzero(~second)[:12]] = True
    paired = d2l.paired_difference(better, second)
    assert paired.difference == pytest.approx(12 / 400)
    assert paired.low > 0
    shuffled = d2l.paired_difference(rng.permutation(better), second)
    assert shuffled.high - shuffled.low > 2 * (paired.high - paired.low)


def test_the_interval_is_that_of_seeds_and_pairs_drawn_anew():
    rng = np.random.default_rng(2)
    first = rng.random((4, 50)) < np.array([[0.9], [0.8], [0.6], [0.5]])
    second = rng.random((4, 50)) < 0.5
    differences = first.astype(float) - second
    drawn = []
    for _ in range(4000):
        seeds, pairs = rng.integers(0, 4, 4), rng.integers(0, 50, 50)
        drawn.append(differences[seeds][:, pairs].mean())
    found = d2l.paired_difference(first, second)
    assert found.difference == pytest.approx(differences.mean())
    np.testing.assert_allclose(found[1:], np.quantile(drawn, [0.025, 0.975]), atol=0.015)
    alone = d2l.paired_difference(first[0], second[0])
    assert alone == d2l.paired_difference(first[:1], second[:1])


def test_the_interval_covers_the_truth_in_95_of_100_samples():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        hard = rng.random(60)
        first, second = hard + rng.normal(0, 0.3, 60) < 0.7, hard + rng.normal(0, 0.3, 60) < 0.5
        found = d2l.paired_difference(first, second)
        covered += found.low <= TRUE_DIFFERENCE <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def _true_difference():
    rng = np.random.default_rng(4)
    hard = rng.random(1_000_000)
    first, second = (hard + rng.normal(0, 0.3, len(hard)) < limit for limit in (0.7, 0.5))
    return first.mean() - second.mean()


TRUE_DIFFERENCE = _true_difference()


def test_an_interval_grows_with_the_number_of_comparisons():
    rng = np.random.default_rng(5)
    first, second = rng.random((3, 400)) < 0.7, rng.random((3, 400)) < 0.6
    found = [d2l.paired_difference(first, second, comparisons=n) for n in (1, 4, 48)]
    widths = [each.high - each.low for each in found]
    assert widths == sorted(widths) and widths[-1] > 1.4 * widths[0]
    assert len({each.difference for each in found}) == 1
    with pytest.raises(ValueError, match="comparisons=0"):
        d2l.paired_difference(first, second, comparisons=0)


def test_among_many_comparisons_of_equals_hardly_one_excludes_zero():
    """Of 40 tables with ten comparisons each, two may be wrong, not two comparisons of ten."""
    rng, wrong, alone = np.random.default_rng(6), 0, 0
    for _ in range(40):
        tables = [rng.random((2, 150)) < 0.6 for _ in range(10)]
        corrected = [d2l.paired_difference(*pair, comparisons=10) for pair in tables]
        single = [d2l.paired_difference(*pair) for pair in tables]
        wrong += any(low > 0 or high < 0 for _, low, high in corrected)
        alone += any(low > 0 or high < 0 for _, low, high in single)
    assert wrong <= 6 < 10 < alone


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_proportion_lies_in_its_interval_and_is_an_evaluations_accuracy(outcomes):
    share, low, high = d2l.proportion(outcomes)
    assert share == pytest.approx(sum(outcomes) / len(outcomes))
    assert 0 <= low <= share <= high <= 1 and low < high
    labels = torch.tensor([0 if right else 1 for right in outcomes])
    evaluation = d2l.Evaluation(torch.tensor([[1.0, 0.0]] * len(outcomes)), labels)
    assert evaluation.interval == (low, high)


def test_wilsons_interval_is_that_of_its_formula():
    # Newcombe (1998), table I: 81 of 263, 0.2553 to 0.3662; none of 20, 0 to 0.1611
    np.testing.assert_allclose(
        d2l.proportion([1] * 81 + [0] * 182)[1:], (0.2553, 0.3662), atol=5e-5
    )
    np.testing.assert_allclose(d2l.proportion([0] * 20)[1:], (0, 0.1611), atol=5e-5)
    with pytest.raises(ValueError, match="no outcomes"):
        d2l.proportion([])


def test_recorded_results_are_numbers_and_names():
    row = d2l.recorded_results("learning_curve")[0]
    assert (row["pairs"], row["start"]) == (300, "pretrained")
    assert isinstance(row["dev"], float)
    with pytest.raises(ValueError, match=r"'nothing'.*challenge, learning_curve"):
        d2l.recorded_results("nothing")


def test_the_evaluation_of_a_group_is_that_of_its_pairs():
    rng = np.random.default_rng(0)
    logits, labels = torch.randn(60, 3), torch.from_numpy(rng.integers(0, 3, 60))
    evaluation = d2l.Evaluation(logits, labels)
    groups = rng.choice(["negation", "number", "time"], 60).tolist()
    parts = evaluation.by(groups)
    assert set(parts) == set(groups)
    for name, part in parts.items():
        members = [i for i in range(60) if groups[i] == name]
        assert len(part.labels) == len(members)
        right = sum(int(logits[i].argmax() == labels[i]) for i in members)
        assert part.accuracy == pytest.approx(right / len(members))
        np.testing.assert_array_equal(part.correct, evaluation.correct[members])
    assert sum(part.confusion for part in parts.values()).tolist() == evaluation.confusion.tolist()
    (whole,) = evaluation.by(["all"] * 60).values()
    assert float(whole) == evaluation.accuracy
    for wrong in (groups[:-1], [*groups, "time"], []):
        with pytest.raises(ValueError, match=f"{len(wrong)} groups.*60 pairs"):
            evaluation.by(wrong)


def test_correct_tells_which_pairs_were_right(net, toy_pairs, vocab):
    evaluation = d2l.evaluate(net, d2l.SNLIBERTDataset(toy_pairs, 32, vocab))
    expected = [
        prediction == label
        for prediction, label in zip(evaluation.predictions, toy_pairs[2], strict=True)
    ]
    assert evaluation.correct.tolist() == expected
    assert 0 < sum(expected) < 240
    assert evaluation.accuracy == pytest.approx(sum(expected) / 240)


@given(WORDS, WORDS, st.integers(5, 30), STRATEGIES)
def test_cut_tokens_keeps_what_the_dataset_holds(premise, hypothesis, max_len, strategy):
    dataset = d2l.SNLIBERTDataset(([premise], [hypothesis], [0]), max_len, VOCAB, strategy)
    (token_ids, segments, valid_len), _ = dataset[0]
    tokens = VOCAB.to_tokens(token_ids[:valid_len].tolist())
    first, second = cut_tokens(premise, hypothesis, max_len, strategy)
    assert tokens == ["<cls>", *first, "<sep>", *second, "<sep>"]
    assert segments.sum() == len(second) + 1


@pytest.mark.parametrize("strategy", d2l.TRUNCATIONS)
def test_predict_proba_cuts_as_the_named_strategy_does(net, vocab, strategy):
    rng = np.random.default_rng(0)
    premises, hypotheses = ([list(rng.choice(list("abcdefgh"), n)) for n in rng.integers(1, 40, 20)]
                            for _ in range(2))  # fmt: skip
    for max_len in (5, 12, None):
        found = d2l.predict_proba(net, vocab, premises, hypotheses, max_len, strategy)
        most = SIZES["max_len"] if max_len is None else max_len
        both = zip(premises, hypotheses, strict=True)
        cut = [cut_tokens(p, h, most, strategy) for p, h in both]
        expected = d2l.predict_proba(net, vocab, *map(list, zip(*cut, strict=True)))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_predict_proba_names_a_length_or_strategy_that_it_cannot_use(net, vocab):
    for max_len, truncation, message in (
        (4, "longest_first", "max_len=4"),
        (33, "longest_first", "max_len=32"),
        (None, "middle", "'middle'"),
    ):
        with pytest.raises(ValueError, match=message):
            d2l.predict_proba(net, vocab, ["a"], ["b"], max_len, truncation)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_phenomena_are_those_of_the_pairs(split):
    folder = Path(d2l.download_extract("Scenes"))
    phenomena = d2l.read_phenomena(folder, split)
    premises, _, labels = d2l.read_snli(folder, split)
    with (folder / f"snli_1.0_{split}.txt").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["gold_label"] != "-"]
    assert len(phenomena) == len(premises) == len(rows)
    assert phenomena == [row["pairID"].split(".")[1] for row in rows]
    assert [d2l.LABELS[label] for label in labels] == [row["gold_label"] for row in rows]
    assert {"negation", "roles"} < set(phenomena)
    assert d2l.read_phenomena(folder, split, 17) == phenomena[:17]


def write_snli(folder, *pairs):
    """Write (label, premise, pairID) in SNLI's columns."""
    parses = (f"sentence{i}{kind}" for kind in ("_binary_parse", "_parse", "") for i in (1, 2))
    lines = ["\t".join(["gold_label", *parses, "captionID", "pairID", "label1"])]
    lines += [
        f"{label}\t{premise}\th\tp\th\tp\th\tc.jpg#0\t{pair_id}\t{label}"
        for label, premise, pair_id in pairs
    ]
    (folder / "snli_1.0_train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_snli_itself_does_not_tell_its_phenomena(tmp_path):
    write_snli(
        tmp_path,
        ("neutral", "a", "4705552913.jpg#2r1n"),
        ("-", "b", "4705552913.jpg#2r1e"),
        ("entailment", "c", "train0r0.negation"),
        ("contradiction", "d", "vg_syn_12r3c"),
    )
    with (tmp_path / "snli_1.0_train.txt").open("a", encoding="utf-8") as file:
        file.write("\nneutral\te\tfewer columns\n")
    assert d2l.read_phenomena(tmp_path, True) == ["not told", "negation", "not told", "not told"]
    assert d2l.read_snli(tmp_path, True)[0] == ["a", "c", "d", "e"]
    assert d2l.read_phenomena(tmp_path, "train", 2) == ["not told", "negation"]
    assert d2l.read_snli(tmp_path, "train", 2)[0] == ["a", "c"]
    with pytest.raises(FileNotFoundError, match=r"snli_1\.0_dev\.txt"):
        d2l.read_phenomena(tmp_path, "dev")
