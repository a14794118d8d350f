"""Benchmarks that take minutes or gigabytes, in miniature: they run, and say what they promise."""

import csv
import re
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

import d2lnli as d2l
from benchmarks import bulk, challenge, gpu, learning_curve, many_pairs, scenes, tiny, truncation


@pytest.fixture
def source() -> Path:
    return Path(d2l.download_extract("Scenes"))


def test_many_pairs_are_written_mapped_and_trained_on_by_two_processes(source, tmp_path):
    many_pairs.write_corpus(source, tmp_path, 600)
    assert len(d2l.read_snli(tmp_path, "train")[2]) == 600
    before, most, seconds = many_pairs.build(source, tmp_path)
    assert 0 < before <= most and seconds > 0
    ranks = many_pairs.two_ranks(source, tmp_path, dict(precision="fp32", num_epochs=1))
    assert len(ranks) == 2
    for found in ranks:
        assert found["Python, torch and d2lnli"] < found["with vocabulary and data"]
        assert found["with vocabulary and data"] < found["at most"]
        assert found["beyond the model"] == found["at most"] - found["model"]


def test_a_file_of_pairs_is_predicted_and_evaluated(source, tmp_path):
    bulk.write_files(source, tmp_path, 40)
    assert bulk.predict_memory(tmp_path) > 0
    assert len((tmp_path / "answers.csv").read_text(encoding="utf-8").splitlines()) == 41
    assert bulk.predict_seconds(tmp_path) > 0 and bulk.evaluate_seconds(tmp_path) > 0


def rows_of(folder: Path, name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    rows = tiny.read_csv(folder / f"{name}.csv")
    assert tuple(rows[0]) == columns
    return rows


def test_the_scenes_tables_are_written_whole(source, tmp_path, monkeypatch, capsys):
    options = ["--small", "--jobs", "1", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["scenes.py", *options])
    scenes.main()
    said, seeds = capsys.readouterr().out, [*map(str, scenes.SMALL.seeds)]
    for name in (*scenes.TABLES, "all together"):
        assert re.search(rf"^{name}: \d+ s$", said, re.MULTILINE)

    curve = rows_of(tmp_path, "learning_curve", learning_curve.COLUMNS)
    grid = product(map(str, scenes.SMALL.pairs), learning_curve.RATES, (*seeds, "mean"))
    assert [(row["pairs"], row["start"], row["seed"]) for row in curve] == list(grid)
    for first, second, mean in zip(curve[::3], curve[1::3], curve[2::3], strict=True):
        assert first["lr"] == second["lr"] == mean["lr"]
        assert float(mean["lr"]) in learning_curve.RATES[mean["start"]]
        expected = (float(first["test"]) + float(second["test"])) / 2
        assert float(mean["test"]) == pytest.approx(expected, abs=1e-4)

    kinds = set(d2l.read_phenomena(source, "challenge", scenes.SMALL.most))
    table = rows_of(tmp_path, "challenge", challenge.COLUMNS)
    totals = [row for row in table if row["seed"] == "mean" and row["label"] == "all"]
    found = [(row["training"], row["split"], row["kind"]) for row in totals]
    each = [("challenge", kind) for kind in (*sorted(kinds), "all")]
    each += [("dev", "all"), ("test", "all")]
    assert found == [(training, *cell) for training in challenge.COPIES for cell in each]
    for training, split in product(challenge.COPIES, challenge.SPLITS):
        part = [row for row in table if (row["training"], row["split"]) == (training, split)]
        (whole,) = (row for row in part if row in totals and row["kind"] == "all")
        for row_is_part in (
            lambda row: row["kind"] == "all" and row["label"] != "all",
            lambda row: row["kind"] != "all" and row["label"] == "all",
        ):
            parts = [row for row in part if row["seed"] == "mean" and row_is_part(row)]
            for number in ("accuracy", "predicted_entailment") if parts else ():
                right = sum(int(row["pairs"]) * float(row[number]) for row in parts)
                expected = int(whole["pairs"]) * float(whole[number])
                assert right == pytest.approx(expected, abs=0.02)

    by_phenomenon = rows_of(tmp_path, "phenomena", challenge.PHENOMENA_COLUMNS)
    (before,) = (row for row in totals if (row["training"], row["split"]) == ("before", "test"))
    assert by_phenomenon[-1]["phenomenon"] == by_phenomenon[-1]["label"] == "all"
    assert by_phenomenon[-1]["accuracy"] == before["accuracy"]

    cut = rows_of(tmp_path, "truncation", truncation.COLUMNS)
    assert len(cut) == (2 * len(d2l.TRUNCATIONS) + 1) * (len(seeds) + 1)
    assert cut[-1]["max_len"] == "128"


def test_jobs_that_run_side_by_side_have_a_thread_each_and_keep_their_order():
    assert list(tiny.each(divmod, [(7, 2), (9, 4)], 2)) == [(3, 1), (2, 1)]
    assert list(tiny.each(torch.get_num_threads, [(), ()], 2)) == [1, 1]


def test_the_gpu_table_has_every_row_and_says_what_failed(monkeypatch, capsys, tmp_path):
    file = tmp_path / "gpu.csv"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--output", str(file)])
    gpu.main()
    header, *rows, (note, *_) = csv.reader(file.open(encoding="utf-8"))
    assert tuple(header) == gpu.HEADER
    said = capsys.readouterr().out
    assert note in said and all("| " + " | ".join(row) + " |" in said for row in rows)
    assert len(rows) == 12
    for what, chapter, _, package, to_chapter, _, _, unit in rows:
        if d2l.try_all_gpus()[0].type == "cpu" and re.search("tf32|GPU works|capturing", what):
            assert re.match("failed: .*(tf32.*cpu|no step was captured)", package)
        else:
            assert float(package) > 0
            assert (to_chapter == "–") == (chapter == "–" or unit != "pairs/s")
