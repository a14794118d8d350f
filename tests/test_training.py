"""The training loop: right numbers, the same numbers, and nothing lost at an interrupt."""

import csv
import dataclasses
import inspect
import math
import re
import signal
import types
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import d2lnli as d2l
import seams
from conftest import contents
from seams import (
    Hook,
    LengthBuckets,
    LivePlot,
    Meter,
    Progress,
    Ranks,
    Recorder,
    RunState,
    Training,
    Updater,
    micro_batches,
    run,
)

HEADER = "epoch,loss,train_acc,dev_acc,pairs_per_sec,epoch_loss,epoch_train_acc,num_classes"
OLD_HEADER = "epoch,loss,train_acc,dev_acc,pairs_per_sec"
OLD_ROWS = ["1,2", "inf,1,1,1,1", "nan,1,1,1,1", "0,1,1,1,1", "1,1,1,1,-1", "1,1,1,1,x"]
ROWS = ["1,1,1,1,1", "1,1,1,1,1,1,1", "1,1,1,1,1,1,1,x", "1,1,1,1,1,1,1,3,3", "0,1,1,1,1,1,1,3"]
ROWS += ["1,1,1,1,1,1,1,0"]
TEXTS = [f"{OLD_HEADER}\n{row}\n" for row in OLD_ROWS] + [f"{HEADER}\n{row}\n" for row in ROWS]


@pytest.fixture
def data(toy_pairs, vocab) -> d2l.SNLIBERTDataset:
    return d2l.SNLIBERTDataset(toy_pairs, 32, vocab)


def fresh(net):
    """A copy of a network that has not been trained."""
    copy = d2l.BERTClassifier(
        d2l.BERTModel(net.encoder.config), num_classes=net.output.out_features
    )
    copy.load_state_dict(net.state_dict())
    return copy


def without_dropout(net):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("most_tokens", [None, 40])
def test_no_more_tokens_go_through_at_once_than_asked(net, data, most_tokens):
    taken = []
    net.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0][0].numel()))
    d2l.finetune(net, data, None, num_epochs=1, batch_size=16, most_tokens=most_tokens)
    whole = [X[0].numel() for X, _ in d2l.bucketed_loader(data, 16, True, 0)]
    if most_tokens is None:
        assert taken == whole
    else:
        assert sum(taken) <= sum(whole)
        assert max(taken) <= most_tokens < max(whole)


def test_it_learns(net, data):
    history = d2l.finetune(net, data, data, lr=2e-3, num_epochs=6, batch_size=16)
    assert history.column("loss")[0] > 0.9
    assert history.last("loss") < 0.3
    assert history.last("dev_acc") > 0.9
    assert history.num_epochs == 6
    assert history.device == "[device(type='cpu')]"
    assert not net.training


@pytest.mark.parametrize(
    ("clip", "most_tokens", "frozen"),
    [*product([None, 0.05], [None, 40, 1], [None]), (0.05, 40, "encoder"),
     (0.05, 40, "encoder.token_embedding")],
)  # fmt: skip
def test_losses_equal_those_of_a_slow_and_obvious_loop(net, data, clip, most_tokens, frozen):
    without_dropout(net)
    slow, losses = fresh(net), []
    without_dropout(slow).train()
    for each in (net, slow):
        if frozen:
            each.get_submodule(frozen).requires_grad_(False)
    trainer = torch.optim.Adam(slow.parameters(), lr=1e-3)
    buckets = LengthBuckets(data.valid_lens, 16, shuffle=True, seed=5)
    steps, rate = 2 * len(buckets), d2l.Recipe(lr=1e-3, schedule="linear", warmup=0.2)
    for batch in [batch for _ in range(2) for batch in buckets]:
        for group in trainer.param_groups:
            group["lr"] = rate.lr_at(len(losses), steps)
        items = [data[int(i)] for i in batch]
        X = [torch.stack([item[0][k] for item in items]) for k in range(3)]
        loss = nn.functional.cross_entropy(slow(X), torch.stack([item[1] for item in items]))
        trainer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(slow.parameters(), clip)
        trainer.step()
        losses.append(loss.item())
    history = d2l.finetune(
        net, data, None, lr=1e-3, num_epochs=2, batch_size=16, schedule="linear", warmup=0.2,
        clip=clip, precision="fp32", seed=5, most_tokens=most_tokens,
    )  # fmt: skip
    half = len(buckets)
    for epoch, part in enumerate((losses[:half], losses[half:]), start=1):
        means = [sum(part[: i + 1]) / (i + 1) for i in range(half)]
        records = [r for r in history.records if epoch - 1 < r.epoch <= epoch]
        assert [r.loss for r in records] == pytest.approx(part, abs=1e-5)
        assert [r.epoch_loss for r in records] == pytest.approx(means, abs=1e-5)
    for a, b in zip(net.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_numbers(net, data):
    nets = [fresh(net) for _ in range(3)]
    histories = []
    for copy, seed in zip(nets, (7, 7, 8), strict=True):
        torch.manual_seed(len(histories))
        histories.append(d2l.finetune(copy, data, data, lr=1e-3, num_epochs=2, seed=seed))
    first, again, other = histories
    for name in ("epoch", "loss", "train_acc"):
        assert first.column(name) == again.column(name)
    assert first.column("loss") != other.column("loss")
    assert same_weights(nets[0], nets[1])
    assert not same_weights(nets[0], nets[2])


def test_a_network_that_is_frozen_as_a_whole_is_refused(net, data, tmp_path):
    net.requires_grad_(False)
    trainer, batches = torch.optim.SGD(net.parameters(), 0.1), d2l.bucketed_loader(data, 16)
    said = r"frozen.*net.output.requires_grad_\(True\)"
    with pytest.raises(ValueError, match=said):
        d2l.finetune(net, data, data, run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match=said):
        d2l.train_ch13(net, batches, batches, nn.CrossEntropyLoss(reduction="none"), trainer, 1)
    assert not contents(tmp_path)
    net.output.requires_grad_(True)
    d2l.finetune(net, data, data, num_epochs=1)


def test_training_leaves_the_callers_random_numbers_alone(net, data):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    d2l.finetune(net, data, None, num_epochs=1)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_every_precision_learns_and_leaves_fp32_weights(net, data, precision):
    history = d2l.finetune(
        net, data, None, lr=2e-3, num_epochs=3, batch_size=16, precision=precision
    )
    assert history.precision in (["fp32", "bf16"] if precision == "auto" else [precision])
    assert history.last("loss") < history.column("loss")[0]
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_auto_precision_follows_the_timing(net, data):
    for speedup, expected in ((0.01, "fp32"), (1.0, "fp32"), (4.0, "bf16")):
        seams.bf16_is_faster(speedup)
        assert d2l.finetune(net, data, None, num_epochs=1).precision == expected


def test_the_learning_rate_rises_and_falls():
    recipe = d2l.Recipe(lr=1.0, schedule="linear", warmup=0.1)
    rates = [recipe.lr_at(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert rates[10:] == pytest.approx([(100 - i) / 90 for i in range(10, 100)])
    for warmup, expected in ((0.5, [0.05, 0.1, 0.1, 0.1]), (0.0, [0.1] * 4)):
        constant = d2l.Recipe(lr=0.1, warmup=warmup)
        assert [constant.lr_at(step, 4) for step in range(4)] == expected


@settings(max_examples=100)
@given(st.lists(st.integers(5, 60), min_size=1, max_size=40), st.integers(1, 400))
def test_a_minibatch_is_cut_into_parts_that_fit(lens, most_tokens):
    lens = torch.tensor(sorted(lens))
    ids = torch.where(torch.arange(60) < lens[:, None], torch.arange(len(lens))[:, None] + 1, 0)
    parts = list(micro_batches([ids, ids, lens], lens, most_tokens))
    assert torch.equal(torch.cat([y for _, y in parts]), lens)
    for (part, segments, valid_lens), y in parts:
        assert part.shape == segments.shape == (len(y), y[-1])
        assert (part > 0).sum() == valid_lens.sum()
        assert part.numel() <= most_tokens or len(y) == 1
    for (_, y), (_, following) in pairwise(parts):
        assert (len(y) + 1) * following[0] > most_tokens, "a part could have taken one more"


def interrupt_at(net, call):
    """Press the stop button during a forward pass."""
    calls = 0

    def count(*_):
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGINT)

    return net.register_forward_hook(count)


def test_an_interrupt_leaves_history_and_model_usable(net, data):
    interrupt_at(net, 22)
    history = d2l.finetune(net, data, None, lr=1e-3, num_epochs=50, batch_size=16)
    assert history.interrupted
    assert history.num_epochs == 1
    assert history.records[-1].epoch > 1
    assert not net.training
    assert history.plot().figure
    assert 0 <= d2l.evaluate(net, data).accuracy <= 1


def test_an_interrupt_at_the_first_step_too(net, data):
    interrupt_at(net, 1)
    history = d2l.finetune(net, data, None, num_epochs=5)
    assert history.interrupted
    assert history.records == []
    assert "loss nan" in history.closing_lines()


def test_an_interrupted_run_goes_on_to_the_same_end(net, data, tmp_path):
    options = dict(lr=1e-3, num_epochs=4, batch_size=16, schedule="linear", warmup=0.1)
    whole, stopped, resumed = fresh(net), fresh(net), fresh(net)
    expected = d2l.finetune(whole, data, data, **options)
    interrupt_at(stopped, 45)
    first = d2l.finetune(stopped, data, data, **options, run_dir=tmp_path / "run")
    assert first.interrupted
    assert 0 < first.num_epochs < 4
    history = d2l.finetune(resumed, data, data, **options, run_dir=tmp_path / "run")
    for name in ("epoch", "loss", "train_acc"):
        assert history.column(name) == expected.column(name)
    assert history.last("dev_acc") == expected.last("dev_acc")
    assert same_weights(resumed, whole)
    finished = fresh(net)
    again = d2l.finetune(finished, data, data, **options, run_dir=tmp_path / "run")
    assert again.column("loss") == expected.column("loss")
    assert same_weights(finished, whole)


def test_a_run_folder_follows_the_training(net, data, tmp_path):
    d2l.finetune(net, data, data, num_epochs=2, batch_size=16, run_dir=tmp_path)
    history = d2l.History.load(tmp_path)
    assert history.num_epochs == 2
    assert contents(tmp_path) == ["checkpoint.pt", "history.csv"]


def test_going_on_with_other_frozen_parameters_or_half_a_checkpoint_is_refused(net, data, tmp_path):
    d2l.finetune(net, data, None, num_epochs=1, run_dir=tmp_path)
    net.encoder.pos_embedding.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen=None.*encoder\.pos_embedding"):
        d2l.finetune(net, data, None, num_epochs=1, run_dir=tmp_path)
    net.requires_grad_(True)
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*delete it"):
        d2l.finetune(net, data, None, num_epochs=1, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (dict(schedule="cosine"), "'cosine'.*constant.*linear"),
        (dict(precision="int8"), "'int8'.*auto.*fp32"),
        (dict(lr=0), "lr=0"),
        (dict(lr=float("inf")), "lr=inf"),
        (dict(lr=float("nan")), "lr=nan"),
        (dict(lr="x"), "lr='x'"),
        (dict(seed=-1), "seed=-1"),
        (dict(seed=2**60), "seed=1152921504606846976"),
        (dict(num_epochs=1.5), "num_epochs=1.5"),
        (dict(devices=["nope"]), r"devices=.*try_all_gpus"),
        (dict(devices=["cuda:99"]), r"devices=.*try_all_gpus"),
        (dict(num_epochs=0), "num_epochs=0"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(most_tokens=0), "most_tokens=0"),
        (dict(warmup=1.0), "warmup=1.0"),
        (dict(clip=-1), "clip=-1"),
        (dict(clip=math.nan), "clip=nan"),
    ],
)
def test_bad_settings_are_named(net, data, setting, message):
    with pytest.raises(ValueError, match=message):
        d2l.finetune(net, data, None, **setting)


def test_a_recipe_is_the_only_list_of_settings(net, data):
    fields = inspect.signature(d2l.Recipe).parameters
    shown = inspect.signature(d2l.finetune).parameters
    own = ["net", "train_set", "dev_set", "devices", "run_dir", "launch", "plot"]
    assert list(shown)[:7] == own
    assert {name: shown[name].default for name in list(shown)[7:]} == {
        name: field.default for name, field in fields.items()
    }
    recipe = d2l.Recipe(lr=np.float32(0.5), num_epochs=np.int64(3))
    assert type(recipe.lr) is float and type(recipe.num_epochs) is int
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.lr = 1.0
    with pytest.raises(ValueError, match="lr=-1"):
        dataclasses.replace(recipe, lr=-1)
    with pytest.raises(TypeError, match=r"'learning_rate'.*\blr\b.*num_epochs"):
        d2l.finetune(net, data, None, learning_rate=1e-3)


class Watcher(Hook):
    """Writes down what a training calls, and ends it after so many epochs."""

    def __init__(self, most_epochs=99, press_at=0):
        self.calls, self.most_epochs, self.press_at = [], most_epochs, press_at

    def after_step(self, state):
        self.calls.append((state.epoch, state.batches_done))
        if state.steps_done == self.press_at:
            raise KeyboardInterrupt

    def after_epoch(self, state, record):
        self.calls.append((record.epoch, record.dev_acc))

    def after_interrupt(self, state):
        self.calls.append("interrupted")

    def is_over(self, state):
        return state.epoch >= self.most_epochs

    def __exit__(self, *error):
        self.calls.append("left")


def training_of(net, data, batch_size=80):
    batches = d2l.bucketed_loader(data, batch_size, shuffle=True)
    updater = Updater(net, torch.optim.Adam(net.parameters(), lr=1e-3))
    state, loss = (
        RunState(net, updater, len(batches), Ranks()),
        nn.CrossEntropyLoss(reduction="none"),
    )
    return Training(net, batches, loss, lambda: 0.5, state, updater)


def test_hooks_see_every_step_and_every_epoch_and_may_end_the_training(net, data):
    steps = [(0, 1), (0, 2), (0, 3)]
    first, second = Watcher(), Watcher(most_epochs=1)
    run(training_of(net, data), 9, [first, second])
    assert first.calls == second.calls == [*steps, (1.0, 0.5), "left"]
    stopped, other = Watcher(press_at=2), Watcher()
    run(training_of(net, data), 9, [other, stopped])
    assert stopped.calls == [*steps[:2], "interrupted", "left"]
    assert other.calls == [*steps[:2], "interrupted", "left"]
    assert not net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_last_hook_hears_of_an_interrupt_first(net, data):
    """It may raise it again before the others act on it."""
    called = []

    class Named(Hook):
        def __init__(self, name):
            self.name = name

        def after_interrupt(self, state):
            called.append(self.name)

    run(training_of(net, data), 9, [Named("first"), Watcher(press_at=1), Named("last")])
    assert called == ["last", "first"]


def test_the_sums_of_a_checkpoint_count_once():
    meters = [Meter(torch.device("cpu"), Ranks(rank, 2), (3.0, 2.0), 4) for rank in range(2)]
    assert sum(meter.sums for meter in meters).tolist() == [3.0, 2.0]


@pytest.mark.parametrize("num_epochs", [0, -1, 1.5])
def test_train_ch13_wants_whole_epochs_and_some_pairs(net, data, num_epochs):
    batches = torch.utils.data.DataLoader(data, 64)
    loss, trainer = nn.CrossEntropyLoss(reduction="none"), torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=rf"num_epochs={num_epochs}"):
        d2l.train_ch13(net, batches, batches, loss, trainer, num_epochs)
    with pytest.raises(ValueError, match="no minibatches"):
        d2l.train_ch13(net, batches, [], loss, trainer, 1)
    with pytest.raises(ValueError, match="no minibatches"):
        d2l.train_ch13(net, [], batches, loss, trainer, 1)
    with pytest.raises(ValueError, match="no length"):
        d2l.train_ch13(net, (each for each in batches), batches, loss, trainer, 1)


def test_model_and_data_must_fit(net, toy_pairs, vocab):
    long = d2l.SNLIBERTDataset(toy_pairs, 33, vocab)
    other_words = d2l.SNLIBERTDataset(
        toy_pairs, 16, d2l.Vocab("a b".split(), 0, vocab.idx_to_token)
    )
    other_words.vocab.idx_to_token.append("new")
    fits = d2l.SNLIBERTDataset(toy_pairs, 32, vocab)
    for train_set, dev_set in ((long, None), (fits, long)):
        with pytest.raises(ValueError, match=r"max_len=33.*32 positions"):
            d2l.finetune(net, train_set, dev_set)
    with pytest.raises(ValueError, match=r"14 words.*\b13\b"):
        d2l.evaluate(net, other_words)
    two_classes = d2l.BERTClassifier(d2l.BERTModel(net.encoder.config), num_classes=2)
    with pytest.raises(ValueError, match=r"0 to 2.*2 classes"):
        d2l.finetune(two_classes, fits, None)


def test_of_several_devices_the_chapters_function_takes_the_first(net, data, capsys):
    batches = d2l.bucketed_loader(data, 16)
    loss, trainer = nn.CrossEntropyLoss(reduction="none"), torch.optim.Adam(net.parameters())
    d2l.train_ch13(net, batches, batches, loss, trainer, 1, ["cpu", "cpu"])
    printed = capsys.readouterr().out
    assert re.search("2 devices.*cpu", printed)
    assert printed.endswith("on [device(type='cpu')]\n")


def test_a_history_survives_its_file(net, data, tmp_path):
    history = d2l.finetune(net, data, data, num_epochs=2, batch_size=64)
    history.save(tmp_path / "my history.csv")
    again = d2l.History.load(tmp_path / "my history.csv")
    assert repr(again.records) == repr(history.records)
    rows = list(csv.DictReader((tmp_path / "my history.csv").open()))
    assert list(rows[0]) == HEADER.split(",")
    assert [path.name for path in tmp_path.iterdir()] == ["my history.csv"]


def test_an_epoch_has_twenty_rows_and_each_is_the_mean_of_its_steps(net, data, tmp_path):
    for batch_size, num_rows in ((5, 20), (7, 20), (12, 20), (24, 10), (240, 1)):
        by_step = []

        class Loss(nn.CrossEntropyLoss):
            def forward(self, y_hat, y, by_step=by_step):
                losses = super().forward(y_hat, y)
                by_step.append((losses.sum().item(), (y_hat.argmax(1) == y).sum().item(), len(y)))
                return losses

        batches, history = d2l.bucketed_loader(data, batch_size, shuffle=True), d2l.History()
        updater = Updater(net, torch.optim.Adam(net.parameters(), lr=1e-3))
        state = RunState(net, updater, len(batches), Ranks())
        loss = Loss(reduction="none")
        training = Training(net, batches, loss, lambda: math.nan, state, updater)
        d2l.train(training, 2, [Recorder(Progress(LivePlot(2), 2 * len(batches), history))])
        ends = [round(epoch * len(batches)) for epoch in history.column("epoch")]
        assert len(ends) == 2 * num_rows
        assert ends == [
            round(len(batches) * epoch + math.ceil(len(batches) * i / num_rows))
            for epoch in range(2)
            for i in range(1, num_rows + 1)
        ]
        for record, first, end in zip(history.records, [0, *ends], ends, strict=False):
            begun = (end - 1) // len(batches) * len(batches)
            latest, epoch = (np.sum(by_step[i:end], axis=0) for i in (first, begun))
            means = record.loss, record.train_acc, record.epoch_loss, record.epoch_train_acc
            expected = [*(latest[:2] / latest[2]), *(epoch[:2] / epoch[2])]
            assert means == pytest.approx(expected, rel=1e-6)


def test_the_closing_lines_are_the_means_of_the_last_epoch(net, data):
    history = d2l.finetune(net, data, None, lr=1e-2, num_epochs=2, batch_size=12)
    last = history.records[-1]
    expected = np.mean([r.loss for r in history.records if r.epoch > 1])
    assert last.epoch_loss == pytest.approx(expected)
    assert last.epoch_loss != last.loss
    means = f"loss {last.epoch_loss:.3f}, train acc {last.epoch_train_acc:.3f}\n"
    assert history.closing_lines().startswith(means)


def test_a_history_of_an_earlier_version_opens(tmp_path):
    rows = "0.5,1.25,0.375,nan,100.0\n1.0,0.75,0.5,0.625,110.0\n"
    (tmp_path / "history.csv").write_text(f"{OLD_HEADER}\n{rows}")
    history = d2l.History.load(tmp_path)
    assert history.column("epoch_loss") == history.column("loss") == [1.25, 0.75]
    assert history.closing_lines() == (
        "loss 0.750, train acc 0.500, dev acc 0.625\n110.0 examples/sec on "
    )
    history.plot()
    history.save(tmp_path / "history.csv")
    assert repr(d2l.History.load(tmp_path)) == repr(history)


@pytest.mark.parametrize("text", ["", "a,b\n", *TEXTS])
def test_a_file_that_is_no_history_is_named(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv.*line \d"):
        d2l.History.load(tmp_path)


def test_closing_lines_read_as_the_chapters(net, data):
    history = d2l.finetune(net, data, data, num_epochs=1)
    pattern = (
        r"loss \d\.\d{3}, train acc \d\.\d{3}, test acc 0\.786\n"
        r"\d+\.\d examples/sec on \[device\(type='cpu'\)\]"
    )
    assert re.fullmatch(pattern, history.closing_lines("test", 0.786))


WRAPPERS = {
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "data parallel": nn.DataParallel,
    "both": lambda net: torch.compile(nn.DataParallel(net), backend="eager"),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_network_goes_wherever_a_plain_one_does(net, data, vocab, tmp_path, wrap):
    settings = dict(num_epochs=2, batch_size=64, precision="fp32", run_dir=tmp_path / "run")
    without_dropout(net)
    plain, wrapped = fresh(net), wrap(fresh(net))
    for each in (plain, wrapped):
        without_dropout(each)
    history = d2l.finetune(wrapped, data, data, **settings)
    d2l.finetune(plain, data, data, **settings)  # the run is over: it has nothing to do
    assert same_weights(plain, wrapped)
    assert history.last("dev_acc") == d2l.evaluate(wrapped, data).accuracy
    assert (
        d2l.evaluate(plain, data).correct.tolist() == d2l.evaluate(wrapped, data).correct.tolist()
    )
    d2l.save_classifier(tmp_path / "classifier", wrapped, vocab, history)
    assert same_weights(d2l.load_classifier(tmp_path / "classifier")[0], plain)
    assert d2l.predict_snli(wrapped, vocab, "a b", "b") == d2l.predict_snli(
        plain, vocab, "a b", "b"
    )
    assert len(d2l.word_changes(wrapped, vocab, "a b", "b")) == 3
    assert d2l.attention(wrapped, vocab, "a b", "b")[0][1] == "a"
    assert d2l.Predictor(wrapped, vocab).models[0].label_names == d2l.LABELS


@pytest.mark.parametrize("kind", ["compiled", "data parallel"])
def test_a_wrapped_network_with_many_words_learns_the_same(kind, tmp_path):
    from test_runs import OPTIONS, example

    nets = []
    for wrap in (lambda net: net, WRAPPERS[kind]):
        net, train_set, _ = example(10_000)
        d2l.finetune(wrap(without_dropout(net)), train_set, None, **OPTIONS, precision="fp32")
        nets.append(net)
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_a_head_of_ones_own_trains_and_is_saved_only_if_it_can_be_read_back(
    net, data, vocab, tmp_path
):
    net.output = nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 3))
    d2l.finetune(net, data, data, num_epochs=1, batch_size=64)
    assert d2l.predict_snli(net, vocab, "a b", "b") in d2l.LABELS
    assert d2l.evaluate(net, data).logits.shape == (240, 3)
    with pytest.raises(ValueError, match=r"BERTClassifier.*output\.1\.weight.*output\.weight"):
        d2l.save_classifier(tmp_path / "refused", net, vocab)
    assert not (tmp_path / "refused").exists()
    net.output, net.hidden[1] = net.output[1], nn.ReLU()  # no parameter tells of it
    with pytest.raises(ValueError, match=r"hidden\.1\b"):
        d2l.save_classifier(tmp_path / "refused", net, vocab)


@pytest.mark.parametrize("part", ["encoder.blks.0.addnorm1.ln", "encoder.pos_embedding"])
def test_a_part_that_would_come_back_otherwise_is_named(net, vocab, tmp_path, part):
    if part.endswith("ln"):
        net.get_submodule(part).eps = 1e-3
    else:
        net.encoder.pos_embedding = nn.Parameter(torch.randn(1, 100, 16))
    with pytest.raises(ValueError, match=re.escape(part)):
        d2l.save_classifier(tmp_path / "refused", net, vocab)


def test_a_network_that_computes_something_else_is_not_saved(net, vocab, tmp_path):
    class Pooled(d2l.BERTClassifier):
        def forward(self, inputs):
            return self.output(self.hidden(self.encoder(*inputs).mean(dim=1)))

    class Chapters(nn.Module):
        def __init__(self, bert):
            super().__init__()
            self.encoder, self.hidden = bert.encoder, bert.hidden
            self.output, self.loss = nn.Linear(16, 3), nn.CrossEntropyLoss()

        def forward(self, inputs):
            return self.output(self.hidden(self.encoder(*inputs)[:, 0, :]))

    bert = d2l.BERTModel(net.encoder.config)
    with pytest.raises(ValueError, match=r"Pooled.*forward"):
        d2l.save_classifier(tmp_path / "pooled", Pooled(bert), vocab)
    own = Chapters(bert).train()
    loaded, _ = d2l.load_classifier(d2l.save_classifier(tmp_path / "own", own, vocab))
    assert same_weights(loaded, own) and own.training


def test_a_head_without_a_linear_layer_names_its_classes(net, data):
    class Head(nn.Module):
        def forward(self, X):
            return X[:, :3]

    net.output = Head()
    d2l.finetune(net, data, None, num_epochs=1, batch_size=64)
    net.label_names = None
    with pytest.raises(ValueError, match=r"net\.label_names"):
        d2l.evaluate(net, data)


def test_a_model_without_classes_is_no_classifier(net, data):
    bert = d2l.BERTModel(net.encoder.config)
    with pytest.raises(ValueError, match=r"BERTModel.*BERTClassifier"):
        d2l.evaluate(bert, data)


def feign_scores(*accuracies):
    """Let the epochs reach these dev accuracies; return the weights that were measured."""
    weights, scores = [], iter(accuracies)

    def score(net, dataset, batch_size, precision):
        weights.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        return types.SimpleNamespace(accuracy=next(scores))

    seams.scoring_is(score)
    return weights


@pytest.mark.parametrize("num_words", [20, 10_000])
@pytest.mark.parametrize(
    ("settings", "epochs", "kept"),
    [
        ({}, 6, None),
        ({"keep": "best"}, 6, 2),
        ({"patience": 2}, 4, None),
        ({"keep": "best", "patience": 3}, 5, 2),
        ({"keep": "best", "patience": 4}, 6, 6),
    ],
)
def test_the_best_epoch_is_kept_and_waited_for_as_asked(
    monkeypatch, num_words, settings, epochs, kept
):
    from test_runs import example

    net, train_set, dev_set = example(num_words)
    last = 0.9 if settings.get("patience") == 4 else 0.5
    weights = feign_scores(0.5, 0.7, 0.7, 0.6, 0.7, last)
    history = d2l.finetune(net, train_set, dev_set, num_epochs=6, batch_size=50, **settings)
    assert (history.num_epochs, history.kept_epoch) == (epochs, kept)
    assert len(weights) == epochs
    expected = weights[(kept or epochs) - 1]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in net.state_dict().items())
    assert f"dev acc {[0.5, 0.7, 0.7, 0.6, 0.7, last][(kept or epochs) - 1]:.3f}" in (
        history.closing_lines()
    )


def test_a_resumed_run_remembers_its_best_epoch(monkeypatch, tmp_path):
    from test_runs import example

    settings = dict(
        num_epochs=5, batch_size=50, precision="fp32", keep="best", patience=2, run_dir=tmp_path
    )
    net, train_set, dev_set = example(20)
    accuracies = 0.6, 0.7, 0.5, 0.5, 0.9
    weights = feign_scores(*accuracies)
    d2l.finetune(net, train_set, dev_set, **settings)
    for _ in range(2):  # an ended run is not gone on with, and the best epoch is still known
        again, *_ = example(20)
        history = d2l.finetune(again, train_set, dev_set, **settings)
        assert (history.num_epochs, history.kept_epoch) == (4, 2)
        assert same_weights(again, net) and len(weights) == 4
    with pytest.raises(ValueError, match=r"keep=best.*last.*patience=2.*None"):
        d2l.finetune(
            example(20)[0], train_set, dev_set, **{**settings, "keep": "last", "patience": None}
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": "first"}, "'first'.*last.*best"),
        ({"patience": 0}, "patience=0"),
        ({"patience": 1.5}, "patience=1.5"),
    ],
)
def test_early_stopping_that_cannot_be_is_refused(net, data, settings, message):
    with pytest.raises(ValueError, match=message):
        d2l.finetune(net, data, data, **settings)


@pytest.mark.parametrize("settings", [{"keep": "best"}, {"patience": 2}])
def test_early_stopping_needs_a_dev_set(net, data, settings):
    with pytest.raises(ValueError, match="dev_set"):
        d2l.finetune(net, data, None, **settings)
