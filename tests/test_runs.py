"""Runs under fault: killed, stopped, out of memory, of disk, of numbers. Nothing is lost."""

import contextlib
import copy
import dataclasses
import io
import math
import multiprocessing
import random
import re
import resource
import signal
import sys
import time
import warnings
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import d2lnli as d2l
import seams
from conftest import SIZES, SPECIALS, contents, few_or_many
from faulty import PROCESSES
from seams import CHECKPOINT, RunFolder, RunState, Updater

OPTIONS = dict(lr=1e-3, num_epochs=3, batch_size=8, schedule="linear", warmup=0.1, clip=1.0)
KINDS = {  # many words: the optimizer that is lazy about rows
    "fp32": dict(num_words=20, precision="fp32"),
    "bf16": dict(num_words=20, precision="bf16"),
    "fp16": dict(num_words=20, precision="fp16"),
    "many words": dict(num_words=10_000, precision="fp32", most_tokens=100),
}


def example(num_words: int) -> tuple[d2l.BERTClassifier, d2l.SNLIBERTDataset, d2l.SNLIBERTDataset]:
    """A small network with dropout, and data whose label the hypothesis tells."""
    words = [f"w{i}" for i in range(num_words)]
    vocab = d2l.Vocab(words, reserved_tokens=SPECIALS)
    rng = random.Random(0)
    premises = [" ".join(rng.choices(words, k=rng.randint(1, 20))) for _ in range(240)]
    labels = [rng.randrange(3) for _ in premises]
    pairs = premises, [words[label] for label in labels], labels
    torch.manual_seed(0)
    net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **SIZES))
    with contextlib.redirect_stdout(io.StringIO()):
        sets = (d2l.SNLIBERTDataset([side[a:b] for side in pairs], 32, vocab)
                for a, b in ((0, 200), (200, 240)))  # fmt: skip
    return net, *sets


def train(kind: str, run_dir: Path | None, result: Path | None = None, every: float = 0.0) -> None:
    """Train in a process of its own, with a checkpoint so often; keep the outcome in a file."""
    torch.set_num_threads(1)
    seams.checkpoint_every(every)
    num_words = KINDS[kind]["num_words"]
    settings = {name: value for name, value in KINDS[kind].items() if name != "num_words"}
    net, train_set, dev_set = example(num_words)
    history = d2l.finetune(net, train_set, dev_set, **OPTIONS, **settings, run_dir=run_dir)
    if result:
        columns = {name: values for name, values in history.columns().items() if "sec" not in name}
        torch.save((net.state_dict(), columns), result)


def in_process(*arguments: object) -> multiprocessing.Process:
    process = PROCESSES.Process(target=train, args=arguments)
    process.start()
    return process


def outcome(*arguments: object, result: Path, every: float = 0.0) -> tuple[dict, dict]:
    process = in_process(*arguments, result, every)
    process.join()
    assert process.exitcode == 0
    return torch.load(result, weights_only=True)


def same(a: tuple[dict, dict], b: tuple[dict, dict]) -> bool:
    """Tell whether two outcomes agree bit for bit, nan being equal to itself."""
    weights = all(torch.equal(a[0][name], b[0][name]) for name in a[0] | b[0])
    return weights and repr(a[1]) == repr(b[1])


def test_a_run_folder_of_an_earlier_version_is_gone_on_with(tmp_path, monkeypatch):
    """Its records held means of the epoch alone, and so did its meter."""
    net, train_set, dev_set = example(20)
    options = dict(OPTIONS, precision="fp32")
    whole = d2l.finetune(copy.deepcopy(net), train_set, dev_set, **options)
    seams.checkpoint_every(0.0)
    save, interrupted, pressed = RunFolder.save, copy.deepcopy(net), []

    def save_and_stop(run, settings, training, history):
        written = save(run, settings, training, history)
        if (training["epoch"], training["done"]) == (1, 7) and not pressed:
            pressed.append(0)
            signal.raise_signal(signal.SIGINT)
        return written

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", save_and_stop)
        d2l.finetune(interrupted, train_set, dev_set, **options, run_dir=tmp_path)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    rows = [(r[0], r[5], r[6], *r[3:5]) for r in state["records"]]
    sums, num_pairs, seconds, before, num_before = state["training"]["meter"]
    sums = tuple(a + b for a, b in zip(sums, before, strict=True))
    state["training"]["meter"] = sums, num_pairs + num_before, seconds
    del state["training"]["order"]  # it differs only in large corpora
    state["records"] = [tuple(row) for row in rows]
    torch.save(state, tmp_path / CHECKPOINT)

    history = d2l.finetune(net, train_set, dev_set, **options, run_dir=tmp_path)
    for name in ("epoch", "dev_acc"):
        assert repr(history.column(name)) == repr(whole.column(name))
    for name in ("epoch_loss", "epoch_train_acc"):
        assert history.column(name) == pytest.approx(whole.column(name))
    assert history.column("loss")[: len(rows)] == [row[1] for row in rows]
    assert history.column("loss")[len(rows) + 1 :] == whole.column("loss")[len(rows) + 1 :]


@pytest.mark.parametrize(("batch_size", "is_refused"), [(1, True), (2, False)])
def test_an_epoch_that_began_in_another_order_of_pairs_is_not_gone_on_with(
    tmp_path, batch_size, is_refused
):
    net, train_set, _ = example(20)
    train_set = torch.utils.data.ConcatDataset([train_set] * math.ceil(200 / len(train_set)))
    options = dict(OPTIONS, precision="fp32", batch_size=batch_size, num_epochs=1)
    seams.every_run_is_told_to_stop()
    assert d2l.finetune(net, train_set, None, **options, run_dir=tmp_path).interrupted
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del state["training"]["order"]
    torch.save(state, tmp_path / CHECKPOINT)
    if is_refused:
        with pytest.raises(ValueError, match=rf"{CHECKPOINT}.*order of pairs.*another run folder"):
            d2l.finetune(net, train_set, None, **options, run_dir=tmp_path)
    else:
        d2l.finetune(net, train_set, None, **options, run_dir=tmp_path)


@few_or_many("moments", 4, 68)
def test_killed_at_any_moment_a_run_ends_bit_for_bit_the_same(tmp_path, moments):
    rng, killed_in = random.Random(moments), []
    for i, kind in enumerate(KINDS):
        whole = outcome(kind, None, result=tmp_path / f"{kind}.pt")
        for j in range(moments // len(KINDS)):
            folder = tmp_path / f"{i}-{j}"
            process = in_process(kind, folder)
            while process.is_alive() and not (folder / CHECKPOINT).exists():
                time.sleep(0.001)
            process.join(timeout=rng.uniform(0, 0.5 if moments < 50 else 1.5))
            process.kill()
            process.join()
            state = torch.load(folder / CHECKPOINT, weights_only=True)
            killed_in.append(state["training"]["epoch"] + state["training"]["done"] / 25)
            assert d2l.History.load(folder).plot().figure
            assert same(outcome(kind, folder, result=tmp_path / "resumed.pt", every=60.0), whole)
            assert contents(folder) == [CHECKPOINT, "history.csv"]
    print("checkpoints at epoch", " ".join(f"{epoch:.2f}" for epoch in sorted(killed_in)))
    before_the_end = [epoch for epoch in killed_in if epoch < 3]
    assert len(before_the_end) >= 50 or moments < 50
    assert any(epoch != int(epoch) for epoch in before_the_end)


def test_killed_again_and_again_a_run_still_ends_the_same(tmp_path):
    whole, rng = outcome("many words", None, result=tmp_path / "whole.pt"), random.Random(1)
    kills, checkpoint = 0, tmp_path / "run" / CHECKPOINT

    def written() -> int:
        return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    while True:
        before, process = written(), in_process("many words", tmp_path / "run")
        while process.is_alive() and written() == before:  # it gets on between two kills
            time.sleep(0.001)
        process.join(timeout=rng.uniform(0, 0.4))
        if process.exitcode == 0:
            break
        process.kill()
        process.join()
        kills += 1
        assert kills < 100
    print(kills, "kills")
    assert kills > 1
    assert same(outcome("many words", tmp_path / "run", result=tmp_path / "end.pt"), whole)


@pytest.fixture
def small():
    return example(20)


def press_in_step(net, *calls: int) -> None:
    """Press the stop button during some forward passes of training."""
    seen = []

    def count(module, *_):
        seen.extend([0] if module.training else [])
        if module.training and len(seen) in calls:
            signal.raise_signal(signal.SIGINT)

    net.register_forward_hook(count)


def fresh(net: nn.Module) -> nn.Module:
    copied = copy.deepcopy(net)
    copied._forward_hooks.clear()
    return copied


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.parameters(), b.parameters()))


def records(history: d2l.History) -> str:
    return repr([(r.epoch, r.loss, r.train_acc, r.dev_acc) for r in history.records])


@pytest.mark.parametrize("step", [1, 2, 24, 25, 26, 60, 75])
def test_the_stop_button_loses_no_step(small, tmp_path, step):
    net, train_set, dev_set = small
    whole, stopped, resumed = fresh(net), fresh(net), fresh(net)
    expected = d2l.finetune(whole, train_set, dev_set, **OPTIONS, precision="fp32")
    press_in_step(stopped, step)
    handler = signal.getsignal(signal.SIGINT)
    options = {**OPTIONS, "precision": "fp32", "run_dir": tmp_path}
    assert d2l.finetune(stopped, train_set, dev_set, **options).interrupted
    assert signal.getsignal(signal.SIGINT) is handler
    training = torch.load(tmp_path / CHECKPOINT, weights_only=True)["training"]
    assert training["epoch"] * 25 + training["done"] == step
    seen = []
    resumed.register_forward_hook(lambda module, *_: seen.append(module.training))
    history = d2l.finetune(resumed, train_set, dev_set, **options)
    assert seen.count(True) == 75 - step
    assert records(history) == records(expected)
    assert same_weights(whole, resumed)


def test_pressed_twice_it_stops_at_once_and_the_last_checkpoint_stays(small, tmp_path):
    net, train_set, _ = small
    seams.checkpoint_every(0.0)
    options = {**OPTIONS, "precision": "fp32", "run_dir": tmp_path}
    whole = fresh(net)
    d2l.finetune(whole, train_set, None, **{**options, "run_dir": None})
    stopped = fresh(net)
    press_in_step(stopped, 30)
    stopped.register_forward_hook(  # the second press, in the same pass
        lambda *_: signal.raise_signal(signal.SIGINT) if stopped.pressed() else None
    )
    seen = []
    stopped.pressed = lambda: seen.append(0) or len(seen) == 30
    assert d2l.finetune(stopped, train_set, None, **options).interrupted
    training = torch.load(tmp_path / CHECKPOINT, weights_only=True)["training"]
    assert training["epoch"] * 25 + training["done"] == 29
    resumed = fresh(net)
    d2l.finetune(resumed, train_set, None, **options)
    assert same_weights(whole, resumed)


def test_stopped_while_it_is_scored_an_epoch_is_not_trained_again(small, tmp_path):
    net, train_set, dev_set = small
    stopped, resumed = fresh(net), fresh(net)
    stopped.register_forward_hook(
        lambda module, *_: None if module.training else signal.raise_signal(signal.SIGINT)
    )
    options = {**OPTIONS, "num_epochs": 1, "run_dir": tmp_path}
    assert d2l.finetune(stopped, train_set, dev_set, **options).interrupted
    seen = []
    resumed.register_forward_hook(lambda module, *_: seen.append(module.training))
    history = d2l.finetune(resumed, train_set, dev_set, **options)
    assert True not in seen
    assert history.num_epochs == 1
    assert not math.isnan(history.last("dev_acc"))


def test_a_process_that_ignores_interrupts_goes_on_ignoring_them(small):
    net, train_set, _ = small
    press_in_step(net, 3)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert not d2l.finetune(net, train_set, None, **OPTIONS).interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_timing_of_precisions_cannot_part_a_run(small, tmp_path):
    net, train_set, _ = small
    press_in_step(net, 30)
    for speedup in (4.0, 0.1):
        seams.bf16_is_faster(speedup)
        history = d2l.finetune(fresh(net) if speedup < 1 else net, train_set, None, **OPTIONS,
                               run_dir=tmp_path)  # fmt: skip
        assert history.precision == "bf16"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (dict(lr=0.5), r"lr=0.001\b.* 0.5\b"),
        (dict(num_epochs=4), r"num_epochs=3\b.* 4\b"),
        (dict(batch_size=9), r"batch_size=8\b.* 9\b"),
        (dict(schedule="constant"), r"schedule=linear\b.* constant\b"),
        (dict(warmup=0.0), r"warmup=0.1\b.* 0.0\b"),
        (dict(clip=None), r"clip=1.0\b.* None\b"),
        (dict(precision="fp16"), r"precision=fp32\b.* fp16\b"),
        (dict(seed=1), r"seed=0\b.* 1\b"),
        (dict(seed=1, lr=0.5), r"lr=0.001\b.* 0.5\b.*seed=0\b.* 1\b"),
    ],
)
def test_other_settings_are_refused_by_name(small, tmp_path, setting, message):
    net, train_set, _ = small
    press_in_step(net, 2)
    options = {**OPTIONS, "precision": "fp32", "seed": 0, "run_dir": tmp_path}
    d2l.finetune(net, train_set, None, **options)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match=message):
        d2l.finetune(net, train_set, None, **{**options, **setting})
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_other_data_and_other_networks_are_refused_by_name(small, tmp_path):
    net, train_set, dev_set = small
    options = dict(num_epochs=1, batch_size=64, run_dir=tmp_path)
    d2l.finetune(net, train_set, None, **options)
    with pytest.raises(ValueError, match=r"train_set=200 pairs.* 40 pairs"):
        d2l.finetune(net, dev_set, None, **options)
    with pytest.raises(ValueError, match=r"dev_set=none.* 40 pairs"):
        d2l.finetune(net, train_set, dev_set, **options)
    config = dataclasses.replace(net.encoder.config, dropout=0.5)
    other = d2l.BERTClassifier(d2l.BERTModel(config))
    with pytest.raises(ValueError, match=r"dropout=0.1\b.* 0.5\b"):
        d2l.finetune(other, train_set, None, **options)
    head = d2l.BERTClassifier(d2l.BERTModel(net.encoder.config), num_classes=4)
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*network"):
        d2l.finetune(head, train_set, None, **options)


@pytest.mark.parametrize(
    "content",
    [{"version": 1}, [1, 2], {}, {"net": {}}, {"version": 2}, {"version": 2, "settings": []}],
)
def test_a_checkpoint_of_something_else_is_refused(small, tmp_path, content):
    net, train_set, _ = small
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*version"):
        d2l.finetune(net, train_set, None, run_dir=tmp_path)


def test_a_resumed_run_builds_only_the_minibatches_that_are_left(small, tmp_path, monkeypatch):
    net, train_set, _ = small
    options = {**OPTIONS, "precision": "fp32"}
    whole, resumed, stopped = fresh(net), fresh(net), fresh(net)
    d2l.finetune(whole, train_set, None, **options)
    press_in_step(stopped, 40)
    d2l.finetune(stopped, train_set, None, **options, run_dir=tmp_path)
    minibatch, calls = d2l.SNLIBERTDataset.minibatch, []

    def count(self, indices):
        calls.append(0)
        return minibatch(self, indices)

    monkeypatch.setattr(d2l.SNLIBERTDataset, "minibatch", count)
    d2l.finetune(resumed, train_set, None, **options, run_dir=tmp_path)
    assert len(calls) == 3 * 25 - 40
    assert same_weights(whole, resumed)


def test_an_interrupt_that_is_not_the_buttons_leaves_no_half_done_step_behind(small, tmp_path):
    net, train_set, _ = small
    options = {**OPTIONS, "precision": "fp32", "most_tokens": 60}
    whole, stopped, resumed = fresh(net), fresh(net), fresh(net)
    d2l.finetune(whole, train_set, None, **options)
    calls = []

    def interrupt(*_):
        calls.append(0)
        if len(calls) == 40:  # in the middle of a minibatch of several parts
            raise KeyboardInterrupt

    stopped.register_forward_hook(interrupt)
    assert d2l.finetune(stopped, train_set, None, **options, run_dir=tmp_path).interrupted
    assert CHECKPOINT not in contents(tmp_path)
    d2l.finetune(resumed, train_set, None, **options, run_dir=tmp_path)
    assert same_weights(whole, resumed)


def test_a_process_that_stops_by_itself_writes_no_checkpoint(small, tmp_path, monkeypatch):
    """Each process of a run has its part in a checkpoint; the others go on."""
    net, train_set, dev_set = small
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")

    def press_twice(module, inputs):
        if not module.training:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    net.register_forward_pre_hook(press_twice)
    with pytest.raises(KeyboardInterrupt):
        d2l.finetune(net, train_set, dev_set, **OPTIONS, run_dir=tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_after_a_press_no_evaluation_begins(small, monkeypatch):
    net, train_set, dev_set = small

    def press(state):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunState, "check_weights", press)  # after the last step of an epoch
    modes = []
    net.register_forward_hook(lambda module, *_: modes.append(module.training))
    assert d2l.finetune(net, train_set, dev_set, **OPTIONS).interrupted
    assert modes == [True] * 25


def test_a_press_during_the_evaluation_ends_it_at_once(small, tmp_path, monkeypatch):
    net, train_set, dev_set = small
    options = {**OPTIONS, "precision": "fp32"}
    whole, stopped, resumed = fresh(net), fresh(net), fresh(net)
    expected = d2l.finetune(whole, train_set, dev_set, **options)
    ended = []

    def press(module, inputs):
        if not module.training:
            signal.raise_signal(signal.SIGINT)
            ended.append(0)

    hook = stopped.register_forward_pre_hook(press)
    history = d2l.finetune(stopped, train_set, dev_set, **options, run_dir=tmp_path)
    hook.remove()
    assert history.interrupted and not ended
    assert history.num_epochs == 0 and 0.9 < history.epoch < 1
    history = d2l.finetune(resumed, train_set, dev_set, **options, run_dir=tmp_path)
    assert same_weights(whole, resumed)
    for name in ("epoch", "loss", "dev_acc"):
        assert repr(history.column(name)) == repr(expected.column(name))


def test_a_press_while_a_checkpoint_is_written_is_heard_after_it(small, tmp_path, monkeypatch):
    net, train_set, _ = small
    seams.checkpoint_every(0.0)
    write, calls = torch.save, []

    def press(*given):
        calls.append(0)
        if len(calls) == 30:
            signal.raise_signal(signal.SIGINT)
        write(*given)

    monkeypatch.setattr(torch, "save", press)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = d2l.finetune(net, train_set, None, **OPTIONS, run_dir=tmp_path)
    assert history.interrupted
    training = torch.load(tmp_path / CHECKPOINT, weights_only=True)["training"]
    assert training["epoch"] * 25 + training["done"] == 29  # one of them was an epoch's end


@few_or_many("cases", 60, 2_000)
def test_a_damaged_checkpoint_is_refused_or_the_same(small, tmp_path, cases):
    net, train_set, _ = small
    options = {**OPTIONS, "num_epochs": 1, "precision": "fp32"}
    whole = fresh(net)
    d2l.finetune(whole, train_set, None, **options, run_dir=tmp_path)
    content, rng, outcomes = (tmp_path / CHECKPOINT).read_bytes(), random.Random(0), []
    for _ in range(cases):
        damaged = bytearray(content)
        place = rng.randrange(len(damaged))
        damaged[place] ^= 1 << rng.randrange(8)
        (tmp_path / CHECKPOINT).write_bytes(damaged[:place] if rng.random() < 0.2 else damaged)
        resumed = fresh(net)
        try:
            d2l.finetune(resumed, train_set, None, **options, run_dir=tmp_path)
        except ValueError as error:
            assert CHECKPOINT in str(error)
            outcomes.append("refused")
        else:
            assert same_weights(resumed, whole)
            outcomes.append("the same")
    print({outcome: outcomes.count(outcome) for outcome in outcomes})
    assert outcomes.count("refused") > cases / 2


@pytest.mark.parametrize(
    "change",
    [
        dict(done=99), dict(done=-1), dict(done="x"), dict(epoch=-1), dict(epoch="x"),
        dict(random=None), dict(random=(torch.zeros(3), None)), dict(meter=((1.0,), 2, 3)),
        dict(scaler=None), dict(net={}), dict(trainer={}),
    ],
)  # fmt: skip
def test_a_tampered_checkpoint_is_refused(small, tmp_path, change):
    net, train_set, _ = small
    options = {**OPTIONS, "precision": "fp16", "run_dir": tmp_path}
    stopped = fresh(net)
    press_in_step(stopped, 5)
    d2l.finetune(stopped, train_set, None, **options)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state["training"] |= change
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=r"checkpoint.pt"):
        d2l.finetune(net, train_set, None, **options)


@pytest.mark.parametrize("name", ["file", "file/run", "x" * 300])
def test_a_run_folder_that_cannot_be_used_is_named(small, tmp_path, name):
    net, train_set, _ = small
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"the run to {tmp_path}/{name}.*folder that you may write"):
        d2l.finetune(net, train_set, None, run_dir=tmp_path / name)


def test_what_could_not_be_written_is_not_said_to_be_there(small, tmp_path):
    net, train_set, _ = small

    def spoil(module, *_):
        steps.append(0)
        if len(steps) == 10:
            module.output.weight.data[:] = math.nan

    steps = []
    net.register_forward_hook(spoil)
    seams.checkpoint_every(0.0)
    seams.disk_is_full_for_runs()
    with (
        pytest.warns(UserWarning, match="cannot write"),
        pytest.raises(ValueError, match=r"(nan|inf)[^/]*clip=1.0$"),
    ):
        d2l.finetune(net, train_set, None, **OPTIONS, run_dir=tmp_path)


def test_a_network_that_went_off_in_its_last_step_is_not_passed_on(small):
    net, train_set, _ = small
    with pytest.raises(ValueError, match=r"infinite.*epoch 1\b.*minibatch 1\b"):
        d2l.finetune(net, train_set, None, lr=1e38, num_epochs=1, batch_size=500)


def test_a_loss_that_is_no_number_is_seen_long_before_the_epochs_end(small):
    net, train_set, _ = small
    steps = []

    def spoil(module, *_):
        steps.append(0)
        if len(steps) == 3:
            module.output.weight.data[:] = math.nan

    net.register_forward_hook(spoil)
    twice = torch.utils.data.ConcatDataset([train_set] * 2)  # a twentieth has 20 minibatches
    batches = torch.utils.data.DataLoader(twice, 1)
    loss, trainer = nn.CrossEntropyLoss(reduction="none"), torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"nan.*epoch 1\b.*minibatch 16\b"):
        d2l.train_ch13(net, batches, batches, loss, trainer, 1)


def test_what_a_failed_pass_held_is_let_go(small):
    net, train_set, _ = small
    held = []

    class Activations(list):
        """What a pass holds; a plain list cannot be referred to weakly."""

    def fail(*_):
        activations = Activations()
        held.append(weakref.ref(activations))
        raise MemoryError

    hook = net.output.register_full_backward_hook(fail)  # the last layers have their gradients
    with pytest.raises(MemoryError, match="out of memory") as caught:
        d2l.finetune(net, train_set, None, batch_size=64)
    hook.remove()
    hook = net.register_forward_hook(fail)
    with pytest.raises(MemoryError, match=r"batch_size=32\b") as caught_too:
        d2l.evaluate(net, train_set, batch_size=64)
    hook.remove()
    assert [caught.value.__cause__, caught_too.value.__cause__].count(None) == 0
    assert [each() for each in held] == [None, None]
    assert all(parameter.grad is None for parameter in net.parameters())
    d2l.finetune(net, train_set, None, batch_size=32, num_epochs=1)


def test_two_processes_cannot_train_in_one_folder(small, tmp_path):
    net, train_set, _ = small
    process = in_process("fp32", tmp_path)
    while process.is_alive() and not (tmp_path / CHECKPOINT).exists():
        time.sleep(0.001)
    with pytest.raises(OSError, match=rf"another process.*{tmp_path}.*another folder"):
        d2l.finetune(net, train_set, None, **OPTIONS, run_dir=tmp_path)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("where", ["a loss", "the weights"])
def test_what_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    small, tmp_path, monkeypatch, where
):
    net, train_set, dev_set = small
    seams.checkpoint_every(0.0)
    spoilt, calls = fresh(net), []
    prepare, step = Updater.prepare, Updater.step

    def spoil_before(self, lr=None):
        calls.append(0)
        prepare(self, lr)
        if len(calls) == 40 and where == "a loss":
            self.net.output.weight.data[:] = math.nan

    def spoil_after(self):
        step(self)
        if len(calls) == 40:
            self.net.output.weight.data[:] = math.inf

    monkeypatch.setattr(Updater, "prepare", spoil_before)
    monkeypatch.setattr(Updater, "step", spoil_after)
    options = {**OPTIONS, "precision": "fp32", "run_dir": tmp_path}
    said = "nan" if where == "a loss" else "infinite"
    place = r"epoch 2\b.*minibatch 15\b.*0\.000\d+.*lr.*checkpoint\.pt.*minibatch 14 of epoch 2\b"
    with pytest.raises(ValueError, match=f"{said}.*{place}"):
        d2l.finetune(spoilt, train_set, dev_set, **options)
    assert d2l.History.load(tmp_path).num_epochs == 1
    monkeypatch.setattr(Updater, "prepare", prepare)
    monkeypatch.setattr(Updater, "step", step)
    resumed, whole = fresh(net), fresh(net)
    history = d2l.finetune(resumed, train_set, dev_set, **options)
    assert history.num_epochs == 3
    d2l.finetune(whole, train_set, dev_set, **{**options, "run_dir": None})
    assert same_weights(whole, resumed)


def test_a_learning_rate_that_is_far_too_high_is_said(small):
    net, train_set, _ = small
    with pytest.raises(ValueError, match=r"(nan|inf).*1e\+3\d.*lr"):
        d2l.finetune(net, train_set, None, lr=1e30, num_epochs=5, batch_size=8)


def train_in_little_memory(folder: Path, said: Path) -> None:
    torch.set_num_threads(1)
    net, train_set, _ = example(20)
    seams.checkpoint_every(0.0)
    d2l.finetune(net, train_set, None, **OPTIONS, precision="fp32")
    calls = []

    def hungry(*_):
        calls.append(0)
        if len(calls) == 30:
            limit = 2**20 * 512
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            torch.empty(2**32, dtype=torch.uint8).fill_(0)

    net.register_forward_pre_hook(hungry)
    try:
        d2l.finetune(net, train_set, None, **OPTIONS, precision="fp32", run_dir=folder)
    except MemoryError as error:
        said.write_text(str(error))


def test_out_of_memory_suggests_a_batch_size_and_keeps_the_checkpoint(tmp_path):
    process = PROCESSES.Process(
        target=train_in_little_memory, args=(tmp_path / "run", tmp_path / "said")
    )
    process.start()
    process.join()
    said = (tmp_path / "said").read_text()
    assert re.search(r"minibatch of 8 .*cpu.*batch_size=4\b.*most_tokens=", said)
    assert re.search(r"checkpoint\.pt.*minibatch 4 of epoch 2\b", said)


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, max allowed: 9.07 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
])  # fmt: skip
def test_every_way_to_run_out_of_memory_is_known(small, error, monkeypatch):
    net, train_set, dev_set = small

    def fail(*_):
        raise error

    monkeypatch.setattr(torch.optim.Adam, "step", fail)  # at its first step it makes its averages
    with pytest.raises(MemoryError, match=r"batch_size=32\b.*most_tokens=\d+"):
        d2l.finetune(net, train_set, None, batch_size=64)
    monkeypatch.undo()
    hook = net.register_forward_hook(fail)
    with pytest.raises(MemoryError, match=r"batch_size=32\b.*most_tokens=\d+"):
        d2l.finetune(net, train_set, None, batch_size=64)
    batches = torch.utils.data.DataLoader(train_set, 16)
    loss, trainer = nn.CrossEntropyLoss(reduction="none"), torch.optim.Adam(net.parameters())
    with pytest.raises(MemoryError, match=r"batch_size=8\b[^=]*$"):
        d2l.train_ch13(net, batches, batches, loss, trainer, 1)
    with pytest.raises(MemoryError, match=r"minibatch of 40 .*cpu.*batch_size=20\b[^=]*$"):
        d2l.evaluate(net, dev_set)
    with pytest.raises(MemoryError, match=r"minibatch of 1 .*cpu.*smaller model"):
        d2l.predict_proba(net, dev_set.vocab, ["w1", "w2"], ["w1", "w2"], batch_size=1)
    hook.remove()
    net.register_forward_hook(lambda *_: None if net.training else fail())
    with pytest.raises(MemoryError, match=r"batch_size=4\b[^=]*$"):  # that of training
        d2l.finetune(net, train_set, dev_set, num_epochs=1, batch_size=8)
    with pytest.raises(MemoryError, match=r"batch_size=8\b[^=]*$"):
        d2l.train_ch13(net, batches, batches, loss, trainer, 1)
    monkeypatch.setattr(net, "to", fail)
    with pytest.raises(MemoryError, match=r"cpu.*smaller model"):
        d2l.finetune(net, train_set, None)


def test_what_the_suggestion_says_goes_on_with_the_run(small, tmp_path):
    net, train_set, _ = small
    press_in_step(net, 30)
    options = {**OPTIONS, "precision": "fp32", "run_dir": tmp_path}
    d2l.finetune(net, train_set, None, **options)
    assert d2l.finetune(fresh(net), train_set, None, **options, most_tokens=64).num_epochs == 3


def train_on_a_small_disk(folder: Path, size: int) -> None:
    torch.set_num_threads(1)
    net, train_set, dev_set = example(20)
    options = {**OPTIONS, "precision": "fp32"}
    press_in_step(net, 30)
    d2l.finetune(net, train_set, dev_set, **options, run_dir=folder)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = d2l.finetune(fresh(net), train_set, dev_set, **options, run_dir=folder)
    said = {str(warning.message).split("/")[-1] for warning in caught}
    sys.exit(0 if history.num_epochs == 3 and any("free some space" in m for m in said) else 1)


@pytest.mark.parametrize("size", [0, 5_000])
def test_a_full_disk_costs_neither_the_run_nor_the_last_checkpoint(tmp_path, size):
    process = PROCESSES.Process(target=train_on_a_small_disk, args=(tmp_path, size))
    process.start()
    process.join()
    assert process.exitcode == 0
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)["training"]
    assert (state["epoch"], state["done"]) == (1, 5)
    assert contents(tmp_path) == [CHECKPOINT, "history.csv"]
    assert d2l.History.load(tmp_path).num_epochs >= 1


def test_checkpoints_come_after_minutes_not_steps(small, tmp_path, monkeypatch):
    net, train_set, _ = small
    now, saved = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    save = RunFolder.save
    monkeypatch.setattr(RunFolder, "save", lambda *given: (saved.append(now[0]), save(*given)))
    net.register_forward_hook(lambda *_: now.__setitem__(0, now[0] + 50))  # seconds a step
    d2l.finetune(net, train_set, None, **OPTIONS, precision="fp32", run_dir=tmp_path)
    waits = [later - earlier for earlier, later in pairwise(saved)]
    assert max(waits) == 200  # the first step that ends 180 seconds later
    assert len(saved) == 3 * (25 * 50 // 200 + 1)


def test_a_resumed_run_tells_what_it_began_with(small, tmp_path):
    """A notebook's second call gets the half-trained network, whose weights are not those."""
    net, train_set, dev_set = small
    whole = d2l.finetune(fresh(net), train_set, dev_set, **OPTIONS)
    stopped = fresh(net)
    press_in_step(stopped, 26)
    options = dict(OPTIONS, run_dir=tmp_path, precision=whole.precision)
    options["num_epochs"] = np.int64(3)  # a number of numpy's is written as a number
    assert d2l.finetune(stopped, train_set, dev_set, **options).interrupted
    for _ in range(2):
        assert d2l.finetune(stopped, train_set, dev_set, **options).made_of == whole.made_of


@pytest.mark.parametrize("step", [3, 20, 26])
def test_what_rows_wait_for_is_not_lost_where_plain_adam_goes_on(tmp_path, step):
    """A CPU's run goes on, on a GPU say, with an optimizer that knows nothing of rows that wait."""
    options = dict(OPTIONS, precision="fp32", clip=None)
    net, train_set, _ = example(10_000)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    stopped, gone_on = fresh(net), fresh(net)
    press_in_step(stopped, step)
    assert d2l.finetune(stopped, train_set, None, **options, run_dir=tmp_path).interrupted
    seams.every_embedding_has_plain_adam()
    d2l.finetune(net, train_set, None, **options)
    d2l.finetune(gone_on, train_set, None, **options, run_dir=tmp_path)
    ours, theirs = (each.encoder.token_embedding.weight for each in (gone_on, net))
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-3)
