"""Folders with odd names, homes that take nothing, and every way to start a process."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import d2lnli as d2l
from conftest import SPECIALS, contents, write_checkpoint, write_sample
from faulty import NAME, faulty_server, get, is_whole

ODD = "it's 100% ünï cödé 目录 (a) & b; $x #1 👩‍👩‍👧"
SMALL = "--pairs 30 --epochs 1 --max-len 32".split()


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Call the command line as a user does, without the tests' own folders."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "D2LNLI_", "MPL", "JUPYTER", "IPYTHON"))
    }
    return subprocess.run(
        [sys.executable, "-m", "d2lnli", *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=120,
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """The first pairs of the bundled corpus."""
    return write_sample(tmp_path_factory.mktemp("corpus"), train=40, dev=40, test=40)


def test_everything_works_below_a_folder_of_any_name(tmp_path, corpus):
    here = Path(shutil.copytree(corpus, tmp_path / ODD / "corpus")).parent
    write_checkpoint(here / "bert", [*SPECIALS, *"two dogs are running".split()])
    where = ["--model", str(here / "bert"), "--data", str(here / "corpus")]
    data = {"D2LNLI_DATA_DIR": str(here / "data")}
    for _ in range(2):  # made, and gone on with
        done = call("finetune", *where, *SMALL, "--run-dir", str(here / "run"), **data)
        assert done.returncode == 0, done.stderr
        assert str(here / "data" / "classifiers" / "bert-") in done.stdout
    assert d2l.History.load(here / "run").num_epochs == 1
    done = call("predict", "two dogs", "dogs", *where, **data)
    assert done.returncode == 0 and done.stdout.split()[0] in d2l.LABELS, done.stderr
    lost = call("predict", "a", "b", "--classifier", str(here / "nowhere"))
    assert str(here / "nowhere") in lost.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_started_anyhow_download_once_into_a_folder_of_any_name(method, tmp_path):
    with faulty_server(tmp_path / "www", size=10_000) as server:
        server.seconds = 0.2
        context, data_dir = multiprocessing.get_context(method), tmp_path / ODD
        processes = [context.Process(target=get, args=(server.address, data_dir)) for _ in "ab"]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert len(server.requests) == 1
        assert is_whole(data_dir / NAME, server.folder)
        assert contents(data_dir) == [NAME, f"{NAME}.zip"]


@pytest.fixture
def no_home(tmp_path) -> dict[str, str]:
    """A home below a file: nobody, root neither, can make a folder there."""
    (tmp_path / "file").touch()
    return {"HOME": str(tmp_path / "file" / "home")}


def test_without_a_home_nothing_is_trained_in_vain(no_home, corpus, tmp_path):
    done = call("finetune", "--data", str(corpus), *SMALL, **no_home)
    assert (done.returncode, "fine-tuning" in done.stdout) == (1, False)
    assert re.search(r"^error: .*--output.*D2LNLI_DATA_DIR", done.stderr)
    output = str(tmp_path / "out")
    done = call("finetune", "--data", str(corpus), *SMALL, "--output", output, **no_home)
    assert done.returncode == 0, done.stderr
    done = call("predict", "a dog", "an animal", "--classifier", output, **no_home)
    assert done.returncode == 0, done.stderr
    done = call("finetune", "--data", str(corpus), *SMALL, **no_home,
                D2LNLI_DATA_DIR=str(tmp_path / "data"))  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_a_home_check_and_download_say_what_to_do(no_home):
    done = call("check", **no_home)
    assert re.search(r"FAIL +data folder: .*D2LNLI_DATA_DIR", done.stdout)
    assert "Traceback" not in done.stderr
    done = call("download", "bert.small", **no_home)
    assert done.returncode == 1
    assert re.search(r"error: .*bert\.small.*D2LNLI_DATA_DIR", done.stderr)


def test_without_a_home_a_classifier_is_made_and_used(no_home, corpus):
    script = (
        "import d2lnli as d2l\n"
        f"net, vocab = d2l.load_or_finetune(corpus={str(corpus)!r}, num_pairs=30)\n"
        "print(d2l.predict_snli(net, vocab, 'Two dogs.', 'Two animals.'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], **no_home},
    )  # fmt: skip
    assert done.stdout.strip() in d2l.LABELS, done.stderr
    assert "D2LNLI_DATA_DIR" in done.stderr


def test_a_file_that_somebody_reads_is_replaced_a_moment_later(tmp_path, monkeypatch):
    """Windows replaces no file that is open."""
    history, path, replace = d2l.History(), tmp_path / "history.csv", Path.replace
    history.save(path)
    refusals = [PermissionError(13, "in use")] * 2

    def refuse_first(self, target):
        if refusals:
            raise refusals.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_first)
    path.write_text("old")
    history.save(path)
    assert path.read_text().startswith("epoch,")
    refusals += [PermissionError(13, "in use")] * 10
    with pytest.raises(PermissionError, match="in use"):
        history.save(path)
    assert contents(tmp_path) == ["history.csv"]


def test_several_gpus_are_not_warned_of_where_random_numbers_are_put_back(monkeypatch, capsys):
    def rank_of(bert, vocab, sentence, word):
        return 0

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d2l.check(rank_of)
    assert "not yet" in capsys.readouterr().out
