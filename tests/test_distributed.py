"""Several processes train as one does: the same numbers, every pair once, nothing lost."""

import contextlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import d2lnli as d2l
import seams
from conftest import SIZES, SPECIALS, contents
from ranks import started, together
from seams import CHECKPOINT, NO_LABEL, Ranks, current_ranks, own_device, shared_loader

# the last of 50 minibatches has two pairs, so that of four ranks two have none
OPTIONS = dict(lr=1e-3, num_epochs=2, batch_size=8, schedule="linear", warmup=0.1, clip=1.0)
NUM_PAIRS, BATCHES, ROWS = 194, 25, 20  # rows of an epoch's history
KINDS = {  # of many words the optimizer is lazy about rows
    "few words": dict(num_words=20, precision="fp32"),
    "many words": dict(num_words=10_000, precision="fp32"),
    "in parts": dict(num_words=10_000, precision="fp32", most_tokens=20),
    "bf16": dict(num_words=20, precision="bf16"),
    "fp16": dict(num_words=20, precision="fp16"),
    "frozen encoder": dict(num_words=10_000, precision="fp32", frozen=True),
}


def example(num_words: int, dropout: float, frozen: bool = False):
    """A small network, perhaps with a frozen encoder, and data whose label the hypothesis tells."""
    words = [f"w{i}" for i in range(num_words)]
    vocab = d2l.Vocab(words, reserved_tokens=SPECIALS)
    rng = random.Random(0)
    premises = [" ".join(rng.choices(words, k=rng.randint(1, 20))) for _ in range(NUM_PAIRS + 41)]
    labels = [rng.randrange(3) for _ in premises]
    pairs = premises, [words[label] for label in labels], labels
    torch.manual_seed(0)
    net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=dropout, **SIZES))
    net.encoder.requires_grad_(not frozen)
    with contextlib.redirect_stdout(io.StringIO()):
        sets = (d2l.SNLIBERTDataset([side[a:b] for side in pairs], 32, vocab)
                for a, b in ((0, NUM_PAIRS), (NUM_PAIRS, NUM_PAIRS + 41)))  # fmt: skip
    return net, *sets


def fit(kind: str, dropout: float, run_dir: Path | None = None, every: float = 60.0) -> tuple:
    """Train; return the weights, the history, and how the test pairs are classified."""
    if current_ranks().size > 1:
        seams.checkpoint_every(every)
        seams.look_for_stop_every(0.0)
        seams.agree_every(0.0)
    more = dict(KINDS[kind])
    net, train_set, test_set = example(more.pop("num_words"), dropout, more.pop("frozen", False))
    history = d2l.finetune(net, train_set, test_set, **OPTIONS, **more, run_dir=run_dir)
    columns = {name: values for name, values in history.columns().items() if "sec" not in name}
    return net.state_dict(), columns, d2l.evaluate(net, test_set).logits, history.device


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_several_processes_follow_the_curve_of_one(tmp_path, kind, world_size):
    found = together(world_size, tmp_path, fit, kind, 0.0)
    weights, columns, logits, device = fit(kind, 0.0)
    assert device == "[device(type='cpu')]"
    assert len(columns["loss"]) == 2 * ROWS
    close = 1e-4 if KINDS[kind]["precision"] == "fp32" else 2e-2
    for theirs, their_columns, their_logits, their_device in found:
        np.testing.assert_allclose(their_columns["loss"], columns["loss"], atol=close, rtol=0)
        if close == 1e-4:
            assert their_columns["train_acc"] == columns["train_acc"]
            assert their_columns["dev_acc"][ROWS - 1] == columns["dev_acc"][ROWS - 1]
            assert (their_logits.argmax(1) == logits.argmax(1)).all()
            np.testing.assert_allclose(their_logits, logits, atol=1e-3)
        assert all(torch.equal(theirs[name], found[0][0][name]) for name in weights)
        assert torch.equal(their_logits, found[0][2])
        assert repr(their_columns) == repr(found[0][1])
        assert their_device.count("device(") == world_size


@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_ranks_share_every_minibatch_out_evenly_and_each_pair_comes_once(n, size, world, seed):
    rng = np.random.default_rng(seed)
    words = [" ".join("abcde"[i % 5] for i in range(k)) for k in rng.integers(1, 30, n)]
    vocab = d2l.Vocab(list("abcde"), reserved_tokens=SPECIALS)
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = d2l.SNLIBERTDataset((words, words, list(range(n))), 64, vocab)
    shares = [list(shared_loader(dataset, size, seed, rank=r, world_size=world))
              for r in range(world)]  # fmt: skip
    whole = [sorted(y.tolist()) for _, y, _ in shared_loader(dataset, size, seed)]
    assert [len(labels) for labels in whole] == [total for *_, total in shares[0]]
    for minibatch, *parts in zip(whole, *shares, strict=True):
        labels = [label for _, y, _ in parts for label in y.tolist() if label != NO_LABEL]
        assert sorted(labels) == minibatch
        sizes = [(y != NO_LABEL).sum().item() for _, y, _ in parts]
        assert max(sizes) - min(sizes) <= 1
        assert {total for *_, total in parts} == {len(minibatch)}
        lens = [X[2] for X, y, _ in parts if y[0] != NO_LABEL and len(y) == max(sizes)]
        for each in lens:  # the i-th shortest of one rank and the next of another
            assert (each[:-1] <= lens[0][1:]).all()
            assert (lens[0][:-1] <= each[1:]).all()


def test_dropout_differs_between_ranks_and_is_the_same_again(tmp_path):
    def masks(found):
        return [each[1]["loss"] for each in found]

    first, again = (together(2, tmp_path / name, fit, "few words", 0.5) for name in "ab")
    assert masks(first) == masks(again)
    (drawn,) = {repr(each) for each in together(2, tmp_path / "c", draw)}
    own = [float(number) for number in re.findall(r"\d\.\d+", drawn)]
    assert own[0] != own[1]


def draw() -> list[float]:
    """What dropout draws first on each rank."""
    net, train_set, _ = example(20, 0.5)
    drawn = []
    net.register_forward_hook(lambda *_: None if drawn else drawn.append(torch.rand(1)))
    d2l.finetune(net, train_set, None, **{**OPTIONS, "num_epochs": 1})
    return [each.item() for each in current_ranks().gather(drawn[0])]


def kill_one(processes, run_dir: Path, whom: int) -> None:
    while not (run_dir / CHECKPOINT).exists():
        time.sleep(0.001)
    time.sleep(0.3)
    processes[whom].kill()


@pytest.mark.parametrize("kind", ["few words", "many words"])
@pytest.mark.parametrize("whom", [0, 1])
def test_killed_a_run_goes_on_bit_for_bit_or_with_other_ranks(tmp_path, kind, whom):
    run_dir = tmp_path / "run"
    with started(2, tmp_path / "killed", fit, kind, 0.1, run_dir, 0.0) as processes:
        kill_one(processes, run_dir, whom)
    said = (tmp_path / "killed" / f"{1 - whom}.txt").read_text()
    assert said.startswith("ConnectionError: ")
    state = torch.load(run_dir / CHECKPOINT, weights_only=True)["training"]
    assert state["epoch"] * BATCHES + state["done"] < 2 * BATCHES
    checkpoint = (run_dir / CHECKPOINT).read_bytes()
    resumed = together(2, tmp_path / "resumed", fit, kind, 0.1, run_dir)
    whole = together(2, tmp_path / "whole", fit, kind, 0.1)
    for theirs, ours in zip(resumed, whole, strict=True):
        assert all(torch.equal(theirs[0][name], ours[0][name]) for name in ours[0])
        assert repr(theirs[1]) == repr(ours[1])
    for number in (1, 4):
        (run_dir / CHECKPOINT).write_bytes(checkpoint)
        found = together(number, tmp_path / f"as {number}", fit, kind, 0.1, run_dir)
        assert len(found[0][1]["epoch"]) >= 2
        assert found[0][1]["epoch"][-1] == 2.0


def leave_or_be_left() -> None:
    """On rank 1, end; on rank 0, be told to end while the connection that broke is cleared up."""
    if current_ranks().rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        current_ranks().sum(torch.zeros(1))
    finally:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.2)


def test_who_is_told_to_end_can_still_say_why(tmp_path):
    with started(2, tmp_path, leave_or_be_left):
        pass
    assert (tmp_path / "0.txt").read_text().startswith("ConnectionError: ")


def be_busy() -> None:
    seams.last_words_take(0.1)
    signal.raise_signal(signal.SIGTERM)
    time.sleep(60)


def test_who_is_told_to_end_does_so_soon(tmp_path):
    with started(1, tmp_path, be_busy) as processes:
        processes[0].join(timeout=30)
        assert processes[0].exitcode == 128 + signal.SIGTERM


def test_without_dropout_the_number_of_ranks_may_change_on_the_way(tmp_path):
    run_dir, kind = tmp_path / "run", "many words"
    with started(4, tmp_path / "killed", fit, kind, 0.0, run_dir, 0.0) as processes:
        kill_one(processes, run_dir, 3)
    ((_, columns, logits, _),) = together(1, tmp_path / "one", fit, kind, 0.0, run_dir)
    _, expected, expected_logits, _ = fit(kind, 0.0)
    np.testing.assert_allclose(columns["loss"], expected["loss"], atol=1e-4)
    assert columns["train_acc"] == expected["train_acc"]
    assert (logits.argmax(1) == expected_logits.argmax(1)).all()


def stopped(run_dir: Path, how: str, every: float) -> tuple[bool, int]:
    """Press stop on rank 1 alone, in the middle; return what came of it."""
    seams.checkpoint_every(0.0)
    seams.look_for_stop_every(0.0)
    seams.agree_every(every)
    net, train_set, dev_set = example(20, 0.1)
    before = signal.getsignal(signal.SIGTERM)
    calls = []

    def press(module, *_):
        calls.extend([0] if module.training else [])
        if module.training and len(calls) == 31:
            if how == "file" and current_ranks().rank == 0:
                (run_dir / "stop").touch()
            elif how != "file" and current_ranks().rank == 1:
                signal.raise_signal(signal.Signals[how])

    net.register_forward_hook(press)
    history = d2l.finetune(net, train_set, dev_set, **OPTIONS, precision="fp32", run_dir=run_dir)
    assert signal.getsignal(signal.SIGTERM) == before
    return history.interrupted, len(calls)


def sent_twice() -> tuple[bool, int]:
    """Get SIGTERM twice, with several ranks before they agree to stop."""
    seams.agree_every(0.05)
    net, train_set, _ = example(20, 0.1)
    calls = []

    def press(*_):
        calls.append(0)
        if len(calls) in (30, 31):
            signal.raise_signal(signal.SIGTERM)

    net.register_forward_hook(press)
    return d2l.finetune(net, train_set, None, **OPTIONS).interrupted, len(calls)


@pytest.mark.parametrize("world_size", [1, 2])
def test_sigterm_is_heard_by_one_process_too_and_may_come_twice(tmp_path, world_size):
    for interrupted, calls in together(world_size, tmp_path, sent_twice):
        assert interrupted and 30 <= calls < 2 * BATCHES


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "file"])
def test_who_is_told_to_stop_tells_the_others(tmp_path, how):
    run_dir = tmp_path / "run"
    assert together(2, tmp_path / "stopped", stopped, run_dir, how, 0.0) == [(True, 31)] * 2
    assert contents(run_dir) == [CHECKPOINT, "history.csv"]
    training = torch.load(run_dir / CHECKPOINT, weights_only=True)["training"]
    assert training["epoch"] * BATCHES + training["done"] == 31
    whole = together(2, tmp_path / "whole", fit, "few words", 0.1)
    resumed = together(2, tmp_path / "resumed", fit, "few words", 0.1, run_dir)
    assert all(torch.equal(resumed[0][0][name], whole[0][0][name]) for name in whole[0][0])
    assert repr(resumed[0][1]) == repr(whole[0][1])


def test_a_press_between_two_agreements_is_heard_at_the_next(tmp_path):
    for how in ("file", "SIGTERM"):
        (told, other) = together(2, tmp_path / how, stopped, tmp_path / "run", how, 0.05)
        assert told == other
        assert told[0] and 30 <= told[1] < 2 * BATCHES
        (tmp_path / "run" / CHECKPOINT).unlink()


def test_a_file_named_stop_stops_a_run_of_one_process_too(tmp_path):
    seams.look_for_stop_every(0.0)
    (tmp_path / "stop").touch()  # of an earlier run: it does not count
    net, train_set, _ = example(20, 0.1)
    net.register_forward_hook(lambda *_: (tmp_path / "stop").touch())
    assert d2l.finetune(net, train_set, None, **OPTIONS, run_dir=tmp_path).interrupted
    training = torch.load(tmp_path / CHECKPOINT, weights_only=True)["training"]
    assert (training["epoch"], training["done"]) == (0, 1)
    assert contents(tmp_path) == [CHECKPOINT, "history.csv"]


def test_ranks_agree_about_once_a_second(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class OneOfTwo(Ranks):
        def largest(self, numbers):
            calls.append(now[0])
            return numbers

    agreement = seams.Agreement(OneOfTwo(size=2))
    for _ in range(1000):
        now[0] += 0.05
        agreement.on(False)
    waits = np.diff(calls)
    assert waits[:4].tolist() == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert waits[5:] == pytest.approx(1.0, abs=0.06)


def with_other_data(seed_of_rank_1: int) -> None:
    net, train_set, _ = example(20, 0.1)
    d2l.finetune(net, train_set, None, **OPTIONS, seed=current_ranks().rank * seed_of_rank_1)


def test_processes_with_other_settings_are_told_so(tmp_path):
    with started(2, tmp_path, with_other_data, 5):
        pass
    said = (tmp_path / "1.txt").read_text()
    assert re.search("process 0.*seed=0.*5.*process 1", said)


def train_as_the_chapter_does() -> None:
    d2l.train_ch13(None, None, None, None, None, 1)


class WithMore(d2l.BERTClassifier):
    """A reader's own class, with a layer that nothing uses."""

    def __init__(self, bert):
        super().__init__(bert)
        self.more = torch.nn.Linear(3, 3)


def fit_with_more() -> dict:
    net, train_set, _ = example(20, 0.0)
    torch.manual_seed(0)
    mine = WithMore(d2l.BERTModel(net.encoder.config))
    d2l.finetune(mine, train_set, None, **OPTIONS, precision="fp32")
    return mine.state_dict()


def test_a_network_of_the_readers_own_may_have_unused_parameters(tmp_path):
    one, two = (
        together(1, tmp_path / "1", fit_with_more),
        together(2, tmp_path / "2", fit_with_more),
    )
    for name, tensor in one[0].items():
        np.testing.assert_allclose(two[0][name], tensor, atol=1e-3)


def test_processes_that_have_not_joined_are_told_how(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    net, train_set, _ = example(20, 0.0)
    with pytest.raises(ValueError, match=r"with d2l\.process_group\(\):"):
        d2l.finetune(net, train_set, None, num_epochs=1)


def test_a_process_that_has_not_joined_evaluates_by_itself(monkeypatch):
    net, train_set, _ = example(20, 0.0)
    alone = d2l.evaluate(net, train_set).logits
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert torch.equal(d2l.evaluate(net, train_set).logits, alone)


def test_a_process_that_is_lost_while_a_run_is_opened_is_not_taken_for_the_disk(tmp_path):
    class Lost(Ranks):
        def from_rank_0(self, value):
            raise RuntimeError("[gloo/transport/tcp] Connection closed by peer")

    with pytest.raises(RuntimeError, match="closed by peer"), seams.open_run(tmp_path, Lost()):
        pass


def test_other_errors_are_not_taken_for_a_lost_process(monkeypatch):
    error = "shapes cannot be multiplied in residual_connection"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    seams.nobody_to_join()
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests' own stay as they are
    with pytest.raises(RuntimeError, match=error), d2l.process_group():
        raise RuntimeError(error)


def run_out_of_memory(whom: tuple[int, ...]) -> None:
    net, train_set, _ = example(20, 0.1)
    if current_ranks().rank in whom:
        net.register_forward_pre_hook(lambda *_: bytearray(2**62))
    d2l.finetune(net, train_set, None, **OPTIONS)


@pytest.mark.parametrize("whom", [(0, 1), (1,)])
def test_out_of_memory_is_told_by_the_first_to_meet_it_alone(tmp_path, whom):
    with started(2, tmp_path, run_out_of_memory, whom) as processes:
        pass
    (told,) = tmp_path.glob("*.txt")
    assert re.match("MemoryError: .*minibatch of 8.*cpu", told.read_text())
    assert sorted(process.exitcode for process in processes) == [0, 1]


WITHOUT_DISTRIBUTED = """
import os, runpy, sys
import torch

# as torch is where it was built with USE_DISTRIBUTED=0
del torch._C._c10d_init, torch._C._rpc_init
for name in list(sys.modules):
    if name.startswith(("torch.distributed", "torch.nn.parallel")):
        del sys.modules[name]
    elif name.startswith("torch._C._distributed_"):
        sys.modules[name] = None
import torch.distributed.rpc, torch.nn.parallel
assert not torch.distributed.is_available()

import d2lnli as d2l

def main(*arguments):
    sys.argv[1:] = arguments
    try:
        runpy.run_module("d2lnli", run_name="__main__")
    except SystemExit as end:
        return end.code

vocab = d2l.Vocab(["a", "b"], reserved_tokens=["<pad>", "<mask>", "<cls>", "<sep>", "<unk>"])
data = d2l.SNLIBERTDataset((["a", "b"], ["a", "a"], [0, 1]), 8, vocab)
net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), 8, 8, 2, 1, 0.1, 8), 2)
with d2l.process_group():
    history = d2l.finetune(net, data, data, num_epochs=1)
assert history.num_epochs == 1
assert main("predict", "a", "b", "--classifier", "nowhere") == 1
for settings in (dict(launch=True), dict(devices=["cpu", "cpu"])):
    try:
        d2l.finetune(net, data, data, **settings)
    except ValueError as error:
        print("\\nrefused:", error)
for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2")):
    os.environ[name] = value
    try:
        d2l.finetune(net, data, data)
    except ValueError as error:
        print("refused:", error)
    assert main("predict", "a", "b") == 1
    del os.environ[name]
"""


def test_where_torch_has_no_distributed_one_process_trains_and_several_are_refused():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_DISTRIBUTED],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = ".*torch.distributed.*torchrun"
    assert len(re.findall(f"^refused: {said}", run.stdout, re.M)) == 4
    assert len(re.findall(f"^error: {said}", run.stderr, re.M)) == 2
    assert "error: nowhere" in run.stderr


def test_train_ch13_is_for_one_process(tmp_path):
    with started(2, tmp_path, train_as_the_chapter_does):
        pass
    (told,) = tmp_path.glob("*.txt")  # the first to meet it says it
    assert re.search("finetune.*torchrun", told.read_text())


def test_more_processes_than_gpus_are_refused(monkeypatch):
    seams.gpus_are("cuda", 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match=r"4 processes.*2 GPU.*--nproc-per-node=2"):
        own_device()


def exchange() -> tuple:
    ranks = current_ranks()
    rows = ranks.gather(torch.full((ranks.rank * 2, 3), float(ranks.rank)))
    state = {"a": [1, 2.5, None, "x"], "b": torch.arange(3)} if ranks.rank == 0 else None
    return rows, ranks.from_rank_0(state), ranks.names(torch.device("cuda", ranks.rank))


def test_what_ranks_tell_each_other(tmp_path):
    for rows, state, devices in together(3, tmp_path, exchange):
        assert [tuple(each.shape) for each in rows] == [(0, 3), (2, 3), (4, 3)]
        assert rows[2].eq(2).all()
        assert state["a"] == [1, 2.5, None, "x"]
        assert state["b"].tolist() == [0, 1, 2]
        assert devices == str([torch.device("cuda", i) for i in range(3)])


# ---- as a user starts it ----


def torchrun(*arguments: object, options: tuple = (), **more) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [*options, "-m", "d2lnli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **more},
    )  # fmt: skip


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The ranks that torchrun has started, in order."""
    found = [child for child in psutil.Process(process.pid).children()
             if "d2lnli" in child.cmdline()]  # fmt: skip
    return sorted(found, key=lambda child: int(child.environ()["RANK"]))


def kill_a_worker(process: subprocess.Popen, run_dir: Path, whom: int) -> None:
    found, began = run_dir / CHECKPOINT, time.time()
    while not found.exists() or found.stat().st_mtime < began:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    time.sleep(0.2)
    workers(process)[whom].kill()


QUICK = "finetune --pairs 4000 --epochs 3 --precision fp32 --max-len 64".split()


def test_under_torchrun_a_killed_worker_is_told_and_the_run_goes_on(tmp_path, data_dir):
    run_dir, output = tmp_path / "run", tmp_path / "out"
    arguments = [*QUICK, "--run-dir", run_dir, "--output", output]
    for whom in (0, 1):
        process = torchrun(*arguments, D2LNLI_DATA_DIR=str(data_dir))
        kill_a_worker(process, run_dir, whom)
        said, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert said.count("error: another process") == 1
        assert "Signal 9 (SIGKILL) received" in said
        assert not output.exists()
        assert d2l.History.load(run_dir).num_epochs < 3
    process = torchrun(*arguments, D2LNLI_DATA_DIR=str(data_dir))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert d2l.History.load(output).num_epochs == 3


def test_under_torchrun_two_processes_print_and_keep_what_one_does(tmp_path, data_dir):
    output = tmp_path / "out"
    arguments = "finetune --pairs 600 --epochs 1 --precision fp32 --max-len 64".split()
    process = torchrun(*arguments, "--output", output, D2LNLI_DATA_DIR=str(data_dir))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("read 600 examples") == said.count("fine-tuning bert.tiny on 600") == 1
    lines = said.splitlines()
    assert re.fullmatch(r"loss \d\.\d+, train acc \d\.\d+, test acc \d\.\d+", lines[-2])
    assert re.fullmatch(
        r"\d+\.\d examples/sec on \[device\(type='cpu'\), device\(type='cpu'\)\]", lines[-1]
    )
    assert contents(output) == ["classifier.safetensors"]
    assert contents(data_dir) == ["datasets"]
    assert len(contents(data_dir / "datasets")) == 3
    accuracy = d2l.evaluate(*classifier_and_test_set(output))
    assert f"test acc {accuracy.accuracy:.3f}" in lines[-2]


def classifier_and_test_set(output: Path) -> tuple:
    net, vocab = d2l.load_classifier(output)
    folder = d2l.download_extract("Scenes")
    return net, d2l.SNLIBERTDataset(d2l.read_snli(folder, "test"), 64, vocab)


def test_torchrun_restarts_what_was_killed(tmp_path, data_dir):
    run_dir, output = tmp_path / "run", tmp_path / "out"
    process = torchrun(*QUICK, "--run-dir", run_dir, "--output", output,
                       options=("--max-restarts=1",), D2LNLI_DATA_DIR=str(data_dir))  # fmt: skip
    kill_a_worker(process, run_dir, 0)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("fine-tuning bert.tiny on 4000") == 2
    history = d2l.History.load(output)
    assert history.num_epochs == 3
    assert [r.epoch for r in history.records].count(1.0) == 1


def test_what_all_met_is_said_once(tmp_path, data_dir):
    options = ["--lr", "1e30", "--precision", "fp32", "--pairs", "200"]
    process = torchrun("finetune", *options, D2LNLI_DATA_DIR=str(data_dir))
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.count("error: the loss") == said.count("error: ") == 1, said
    process = torchrun("finetune", "--epochs", "many")
    said, _ = process.communicate(timeout=60)
    assert said.count("invalid int value: 'many'") == 1
