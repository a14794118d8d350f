"""The chapter's recipe, which the package is measured against: the same numbers, only slower."""

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import d2lnli as d2l
import seams
from benchmarks import (
    challenge,
    chapter,
    corpus,
    growth,
    learning_curve,
    minilm,
    scenes,
    speed,
    tiny,
)
from benchmarks.measure import PeakMemory, in_turn, median_ratio
from conftest import GOLDEN
from seams import RESULTS, fast
from test_dataset import CHAPTER, PAIRS, WORDS

ROOT = Path(__file__).parents[1]
SIZES = dict(num_hiddens=32, ffn_num_hiddens=64, num_heads=4, num_blks=2, max_len=64)


@pytest.fixture(scope="module")
def sample() -> Path:
    return Path(d2l.download_extract("Scenes"))


@pytest.fixture(scope="module")
def wide_vocab(sample) -> d2l.Vocab:
    """So many words that the embedding's rows are updated as they are read."""
    return corpus.vocabulary(d2l.read_snli(sample, "train"), 12_000)


def both_nets(vocab) -> tuple[chapter.Classifier, d2l.BERTClassifier]:
    """The chapter's network and the package's, with the same weights and no dropout."""
    torch.manual_seed(0)
    ours = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.0, **SIZES))
    theirs = chapter.Classifier(vocab_size=len(vocab), dropout=0.0, **SIZES)
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


def test_it_reads_the_same_pairs(sample):
    read = chapter.read_snli(sample / "snli_1.0_test.txt")
    assert read == d2l.read_snli(sample, "test")


@pytest.mark.parametrize("max_len", [128, 16, 8])
def test_its_dataset_is_the_chapters_and_the_packages(max_len):
    theirs, case = chapter.SNLIDataset(PAIRS, max_len, WORDS), CHAPTER["cases"][str(max_len)]
    assert theirs.token_ids.tolist() == case["token_ids"]
    assert theirs.segments.tolist() == case["segments"]
    assert theirs.valid_lens.tolist() == case["valid_lens"]
    ours = d2l.SNLIBERTDataset(PAIRS, max_len, WORDS)
    for a, b in zip(theirs[7][0], ours[7][0], strict=True):
        assert torch.equal(a, b)


def sizes_of(net: torch.nn.Module) -> dict:
    """Return the arguments that the book's classes know."""
    options = ("activation", "embedding_norm", "norm_eps")
    sizes = net.encoder.config.of_encoder()
    return {name: size for name, size in sizes.items() if name not in options}


@pytest.mark.parametrize("name", ["tiny-4x2", "tiny-12x3"])
def test_its_network_is_the_books(name):
    folder = GOLDEN / name
    expected = {k: torch.tensor(v) for k, v in np.load(folder / "expected.npz").items()}
    bert, _ = d2l.load_pretrained_model(folder)
    encoder = chapter.Encoder(**sizes_of(bert)).eval()
    encoder.load_state_dict(bert.encoder.state_dict())
    encoded = encoder(expected["tokens"], expected["segments"], expected["valid_lens"])
    torch.testing.assert_close(encoded, expected["encoded"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("most_tokens", [None, 500])
def test_fifty_steps_have_the_same_losses(sample, wide_vocab, most_tokens, monkeypatch):
    """Padded, with every row and every position computed, and plain Adam: the same to 1e-4."""
    premises, hypotheses, labels = d2l.read_snli(sample, "train", 50 * 32)
    told = [f"{text} word{i}" for text, i in zip(hypotheses, labels, strict=True)]
    pairs = premises, told, labels  # easy to learn, so that the weights go a long way
    ours_set = d2l.SNLIBERTDataset(pairs, 64, wide_vocab)
    theirs_set = chapter.SNLIDataset(pairs, 64, wide_vocab)
    theirs, ours = both_nets(wide_vocab)
    means, parts, meter = [], [], seams.Meter
    add, end = meter.add, meter.end_minibatch

    def add_and_note(self, losses, y_hat, y):
        parts.append(losses)
        add(self, losses, y_hat, y)

    def end_and_note(self, num_pairs):
        means.append(torch.cat(parts).mean().item())
        parts.clear()
        end(self, num_pairs)

    monkeypatch.setattr(meter, "add", add_and_note)
    monkeypatch.setattr(meter, "end_minibatch", end_and_note)
    settings = dict(lr=1e-3, num_epochs=1, batch_size=32, precision="fp32")
    d2l.finetune(ours, ours_set, None, **settings, most_tokens=most_tokens)
    trainer, expected = torch.optim.Adam(theirs.parameters(), lr=1e-3), []
    for batch in d2l.bucketed_loader(ours_set, 32, shuffle=True).batch_sampler:
        (X, y) = torch.utils.data.default_collate([theirs_set[int(i)] for i in batch])
        loss = torch.nn.functional.cross_entropy(theirs(X), y)
        trainer.zero_grad()
        loss.backward()
        trainer.step()
        expected.append(loss.item())
    assert len(means) == len(expected) == 50
    assert means[0] > means[-1] + 0.05, "nothing was learnt, so nothing is compared"
    assert means == pytest.approx(expected, abs=1e-4)
    accuracy = chapter.evaluate(theirs, torch.utils.data.DataLoader(theirs_set, 200))
    assert d2l.evaluate(ours, ours_set).accuracy == pytest.approx(accuracy, abs=2 / len(ours_set))


def test_its_own_loop_trains(sample, wide_vocab):
    dataset = chapter.SNLIDataset(d2l.read_snli(sample, "train", 64), 64, wide_vocab)
    net, _ = both_nets(wide_vocab)
    trainer = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches = torch.utils.data.DataLoader(dataset, 32)
    losses = [chapter.train(net, batches, trainer) for _ in range(5)]
    assert np.mean(losses[-1]) < np.mean(losses[0])


def test_made_corpora_are_like_snli(sample):
    source = d2l.read_snli(sample, "train")
    premises, hypotheses, labels = corpus.made_pairs(source, 3_001)
    assert len(premises) == len(hypotheses) == len(labels) == 3_001
    assert len(set(premises)) == 1_001
    assert len(set(hypotheses)) == 3_001
    assert sum(a == b for a, b in pairwise(premises)) == 2_000
    assert set(labels) == {0, 1, 2}
    for made, given in zip((premises, hypotheses), source[:2], strict=True):
        lengths = [np.mean([len(text.split()) for text in texts]) for texts in (made, given)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.05)
        words = [{word for text in texts for word in text.split()} for texts in (made, given)]
        assert words[0] <= words[1]


def test_a_made_file_reads_as_what_was_written(sample, tmp_path):
    pairs = corpus.made_pairs(d2l.read_snli(sample, "train"), 100)
    corpus.write_snli(tmp_path / "snli_1.0_train.txt", pairs, num_disagreed=7)
    assert d2l.read_snli(tmp_path, "train") == pairs
    lines = (tmp_path / "snli_1.0_train.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 108
    assert {line.count("\t") for line in lines} == {13}


@pytest.mark.parametrize("full", [False, True])
def test_the_work_that_is_counted_is_the_work_that_is_done(full):
    torch.manual_seed(0)
    net = d2l.BERTClassifier(d2l.BERTModel(100, dropout=0.1, **speed.SIZES)).train()
    ids, lens = torch.randint(0, 100, (8, 26)), torch.full((8,), 26)
    with FlopCounterMode(display=False) as counter, nullcontext() if full else fast(net):
        cls = net.encoder(ids, ids % 2, lens)[:, 0] if full else None
        y_hat = net.output(net.hidden(cls)) if full else net([ids, ids % 2, lens])
        y_hat.sum().backward()
    counted = speed.gigaflops(lens, full_last_block=full)
    assert counted == pytest.approx(1e-9 * counter.get_total_flops(), rel=0.01)


def test_memory_is_seen_also_in_children():
    code = "import time; block = bytearray(200 * 2**20); time.sleep(1)"
    with PeakMemory() as memory:
        subprocess.run([sys.executable, "-c", code], check=True)
    assert 190 < memory.megabytes < 260


def test_measurements_take_turns():
    calls = []
    found = in_turn(2, a=lambda: calls.append("a") or 6, b=lambda: calls.append("b") or 3)
    assert calls == ["a", "b", "a", "b"]
    assert median_ratio(found["a"], found["b"]) == 2


def test_every_row_of_the_table_is_measured(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--small", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    table = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert table in run.stdout
    committed = (ROOT / "benchmarks" / "speed.md").read_text(encoding="utf-8")
    assert kinds(table) == kinds(committed)
    rows = list(csv.reader((tmp_path / "growth.csv").open(encoding="utf-8")))
    assert tuple(rows[0]) == growth.COLUMNS
    assert len(rows) == 1 + 4 * len(speed.SMALL.growth) + 2 * len(speed.SMALL.lengths)
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def kinds(table: str) -> set[str]:
    """What the rows are about, without the numbers of pairs and the precision of the machine."""
    return {re.sub(r"[\d,]+ (pairs|rows)|, (bf16|fp32)", "", row[2:]).split("|")[0].strip(" ,")
            for row in table.splitlines() if row.startswith("| ")}  # fmt: skip


def test_the_docs_show_the_table_that_was_measured():
    table = (ROOT / "benchmarks" / "speed.md").read_text(encoding="utf-8")
    assert table in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_figure_shows_the_numbers_that_were_measured():
    with (ROOT / "benchmarks" / "growth.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == growth.COLUMNS
    assert len(rows) == 4 * len(speed.Scale().growth) + 2 * len(speed.Scale().lengths)
    numbers = [(what, by, int(value), whose, float(n)) for what, by, value, whose, n in rows]
    lines = [line for axes in growth.draw(numbers).axes for line in axes.lines]
    assert sorted(y for line in lines for y in line.get_ydata()) == sorted(r[4] for r in numbers)


# What follows trains for minutes.

CORPORA = ["Scenes", "../shared/snli_slice"]


def corpus_folder(name: str) -> Path:
    folder = ROOT / name if name.startswith(".") else Path(d2l.download_extract(name))
    if not folder.is_dir():
        pytest.skip(f"needs {name}")
    return folder


def slow_and_obvious(
    train_set, seed, num_epochs, batch_size, lr, warmup, schedule
) -> torch.nn.Module:
    """Fine-tune bert.tiny padded, shuffled without buckets, in fp32, with plain Adam."""
    torch.manual_seed(seed)
    net = d2l.BERTClassifier(d2l.load_pretrained_model("bert.tiny")[0])
    theirs = chapter.Classifier(**sizes_of(net))
    theirs.load_state_dict(net.state_dict())
    trainer = torch.optim.Adam(theirs.parameters(), lr=lr)
    batches = torch.utils.data.DataLoader(train_set, batch_size, shuffle=True)
    steps, step = num_epochs * len(batches), 0
    rate = d2l.Recipe(lr=lr, warmup=warmup, schedule=schedule)
    theirs.train()
    for _ in range(num_epochs):
        for X, y in batches:
            for group in trainer.param_groups:
                group["lr"] = rate.lr_at(step, steps)
            trainer.zero_grad()
            torch.nn.functional.cross_entropy(theirs(X), y).backward()
            trainer.step()
            step += 1
    net.load_state_dict(theirs.state_dict())
    return net


@pytest.mark.parametrize("name", CORPORA)
def test_buckets_and_bf16_end_at_the_same_accuracy(name):
    """Three seeds each: the plain loop, ours in fp32 (what buckets do), ours in bf16."""
    folder, recipe = corpus_folder(name), d2l.recipe("bert.tiny")
    assert recipe.pop("clip") is None
    _, vocab = d2l.load_pretrained_model("bert.tiny")
    train_set, test_set = (
        d2l.SNLIBERTDataset(d2l.read_snli(folder, split), 64, vocab) for split in ("train", "test")
    )
    found = {"plain": [], "fp32": [], "bf16": []}
    for seed in range(3):
        plain = slow_and_obvious(train_set, seed, **recipe)
        found["plain"].append(d2l.evaluate(plain, test_set).correct)
        for precision in ("fp32", "bf16"):
            torch.manual_seed(seed)
            net = d2l.BERTClassifier(d2l.load_pretrained_model("bert.tiny")[0])
            d2l.finetune(net, train_set, None, **recipe, seed=seed, precision=precision)
            found[precision].append(d2l.evaluate(net, test_set).correct)
    accuracies = {kind: [float(c.mean()) for c in correct] for kind, correct in found.items()}
    print(json.dumps({"corpus": name, **accuracies}))
    means = {kind: np.mean(each) for kind, each in accuracies.items()}
    assert means["bf16"] == pytest.approx(means["plain"], abs=0.01)
    assert means["fp32"] > means["plain"] - 0.01


def test_the_pages_show_the_tables_that_were_made():
    shown = set()
    for page in scenes.PAGES:
        text = page.read_text(encoding="utf-8")
        assert scenes.rendered(text) == text, page
        shown |= set(re.findall(r"<!-- table: (\w+) -->", text))
    assert shown == set(scenes.SHOWN)


def test_a_table_is_put_between_its_markers(tmp_path):
    rows = [(300, start, "0.001", "mean", "0.5", "0.61", "1.0") for start in learning_curve.RATES]
    tiny.write_csv(tmp_path / "learning_curve.csv", learning_curve.COLUMNS, rows)
    page = "a\n\n<!-- table: learning_curve -->\n| old |\n<!-- end -->\n\nb\n"
    new = scenes.rendered(page, tmp_path)
    assert "| 300 | 0.610 | 0.610 | 0.610 | 0.610 |\n" in new and "old" not in new
    assert new.startswith("a\n\n<!-- table: learning_curve -->\n| training pairs |")
    assert new.endswith("\n<!-- end -->\n\nb\n") and scenes.rendered(new, tmp_path) == new


def test_the_tables_are_of_the_present_corpus(sample):
    for split, name, kind in (
        ("challenge", "challenge", "kind"),
        ("test", "phenomena", "phenomenon"),
    ):
        rows = tiny.read_csv(RESULTS / f"{name}.csv")
        counts = {
            row[kind]: int(row["pairs"])
            for row in rows
            if row["label"] == "all" != row[kind] and row.get("split", split) == split
        }
        assert counts == Counter(d2l.read_phenomena(sample, split)), name
        assert name != "phenomena" or set(counts) == set(challenge.DOES)
    kinds = (set(d2l.read_phenomena(sample, split)) for split in ("challenge", "augment"))
    assert set.difference(*kinds) == {challenge.LEFT_OUT}


def test_what_the_data_card_reads_in_the_challenge():
    rows = tiny.read_csv(RESULTS / "challenge.csv")
    mean = {
        (row["training"], row["split"], row["kind"], row["label"]): float(row["accuracy"])
        for row in rows
        if row["seed"] == "mean"
    }
    card = (ROOT / "d2lnli" / "data" / "README.md").read_text(encoding="utf-8")
    for cell in (
        ("before", "test"),
        ("after", "test"),
        ("after", "challenge"),
        ("once", "challenge"),
    ):
        assert f"{mean[(*cell, 'all', 'all')]:.3f}" in card, cell
    assert mean["before", "challenge", "all", "contradiction"] < 0.05
    assert mean["before", "challenge", "all", "neutral"] < 0.05
    assert (
        mean["after", "challenge", "all", "all"] > mean["before", "challenge", "all", "all"] + 0.15
    )
    for kind in ("roles", "colour", "garment"):
        assert mean["after", "challenge", kind, "all"] < 0.4, kind
    for kind in ("conjunction", "negation", "order", "number"):
        assert mean["after", "challenge", kind, "all"] > 0.5, kind
    always = [row for row in rows if row["training"] == "before" and row["split"] == "challenge"]
    always = {row["kind"] for row in always if float(row["predicted_entailment"]) < 1}
    assert always == {"negation", "all"}


def seeds_of(start, pairs, split):
    rows = d2l.recorded_results("learning_curve")
    chosen = [row for row in rows if (row["start"], row["pairs"]) == (start, pairs)]
    return [row[split] for row in chosen if row["seed"] != "mean"]


def test_what_notebook_03_reads_in_the_recorded_controls():
    order = ("pretrained", "frozen", "untrained", "hypothesis_only")
    for better, worse in pairwise(order):
        gap = min(seeds_of(better, 10_000, "test")) - max(seeds_of(worse, 10_000, "test"))
        assert gap > 0, (better, worse)
    mean = {start: np.mean(seeds_of(start, 10_000, "test")) for start in order}
    assert round(100 * (mean["pretrained"] - mean["untrained"])) == 18
    assert round(100 * (mean["pretrained"] - mean["frozen"])) == 3
    assert min(seeds_of("pretrained", 300, "dev")) > max(seeds_of("untrained", 10_000, "dev"))
    for pairs in (300, 1000):
        gap = np.mean(seeds_of("pretrained", pairs, "dev")) - np.mean(
            seeds_of("frozen", pairs, "dev")
        )
        assert abs(gap) < 0.005
    assert min(seeds_of("pretrained", 10_000, "dev")) > max(seeds_of("frozen", 10_000, "dev"))


def test_what_notebook_05_reads_in_the_recorded_challenge():
    by_seed = {}
    for row in d2l.recorded_results("challenge"):
        if (row["training"], row["split"], row["label"]) == ("after", "challenge", "all"):
            by_seed.setdefault(row["kind"], []).append(row["accuracy"])
    for kind in ("conjunction", "negation", "number", "order"):
        assert min(by_seed[kind]) > 0.5, kind
    for kind in ("roles", "colour", "garment"):
        assert max(by_seed[kind]) < 0.4, kind
    assert 0.33 < min(by_seed["relative"]) <= max(by_seed["relative"]) < 0.5


def test_no_kind_rises_without_pairs_of_its_own():
    found = {}
    for row in d2l.recorded_results("challenge"):
        if (row["split"], row["label"]) == ("challenge", "all") and row["seed"] != "mean":
            found.setdefault((row["training"], row["kind"]), []).append(row["accuracy"])
    card = (ROOT / "d2lnli" / "data" / "README.md").read_text(encoding="utf-8")
    told = card.partition("nothing carries over.**")[2].split("\n\n")[0]
    for kind in challenge.RISING:
        left_out = found[f"without {kind}", kind]
        assert max(left_out) < 0.4 < 0.5 < min(found["after", kind]), kind
        assert f"{np.mean(left_out):.2f}" in told, kind


def test_a_kind_is_left_out_of_the_pairs_that_are_added_alone():
    with_it, without = (
        tiny.dataset("train", "augment", "augment", left_out=kind) for kind in ("", "negation")
    )
    added = d2l.read_phenomena(d2l.download_extract(tiny.CORPUS), "augment").count("negation")
    assert len(with_it) - len(without) == 2 * added > 0


def test_the_docs_and_the_table_of_minilm_agree():
    with (RESULTS / "minilm.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    table = page.partition("d2lnli/data/results/minilm.csv -->")[2].strip().splitlines()[2:4]
    for settings, line in zip(("warm-up, decay, clipping", "plain Adam"), table, strict=True):
        accuracies = [float(row["accuracy"]) for row in rows if row["settings"] == settings]
        told = [float(number) for number in re.findall(r"0\.\d+", line)]
        assert told == pytest.approx(accuracies, abs=6e-4)
    assert min(row["accuracy"] for row in rows if row["settings"] != "plain Adam") >= "0.785"


def test_the_docs_and_the_table_of_breaking_nli_agree():
    with (RESULTS / "breaking_nli.csv").open(encoding="utf-8") as file:
        means = [row for row in csv.DictReader(file) if row["seed"] == "all"]
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    lines = page.partition("d2lnli/data/results/breaking_nli.csv -->")[2].strip().split("\n\n")[0]
    for row, line in zip(means, lines.splitlines()[2:], strict=True):
        numbers = [f"{float(row[name]):.3f}" for name in ("accuracy", "low", "high")]
        what = row["pairs of"], f"{int(row['number of pairs']):,}", numbers[0]
        assert line == f"| {' | '.join(what)} | {' to '.join(numbers[1:])} |"


def test_what_is_worth_is_read_from_the_same_pairs():
    right = np.ones((2, 50)), np.eye(2, 50)
    found = minilm.rows({"plain Adam": list(right[0]), "other": list(right[1])}, [0, 1])
    assert [row[:3] for row in found[:3]] == [
        ("plain Adam", 0, "1.0000"), ("plain Adam", 1, "1.0000"), ("plain Adam", "all", "1.0000"),
    ]  # fmt: skip
    assert found[-1][:4] == ("other", "all", "0.0200", "-0.9800")
