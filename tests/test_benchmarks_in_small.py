"""Benchmarks that take minutes or gigabytes, in miniature: they run, and say what they promise."""

import csv
import re
import sys
from pathlib import Path

import pytest

import d2lnli as d2l
from benchmarks import bulk, gpu, many_pairs, pretraining_gap


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


def test_the_pretraining_gap_is_a_row_for_each_start(monkeypatch, capsys):
    options = "--pairs 96 --seeds 0 1 --lrs 1e-3 2e-3 --epochs 1".split()
    monkeypatch.setattr(sys, "argv", ["pretraining_gap.py", *options])
    pretraining_gap.main()
    said = capsys.readouterr().out
    rows = re.findall(r"^ +96 +(\w+) +(0\.00\d) +((?:[01]\.\d{4} +){4})", said, re.MULTILINE)
    assert [start for start, *_ in rows] == ["pretrained", "untrained"]
    for _, lr, numbers in rows:
        dev, first, second, mean = map(float, numbers.split())
        assert lr in ("0.001", "0.002")
        assert 0.2 < dev < 1
        assert mean == pytest.approx((first + second) / 2, abs=1e-4)


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
