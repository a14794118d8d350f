"""A run in other processes: started from a notebook, followed, stopped, and found again."""

import copy
import os
import re
import resource
import shutil
import signal
import tempfile
import threading
import time

import psutil
import pytest
import torch

import d2lnli as d2l
import seams
from conftest import SIZES, SPECIALS, contents
from ranks import together
from test_distributed import OPTIONS, example, fit

CPUS = [torch.device("cpu")] * 2
LONG = dict(num_epochs=10_000, batch_size=2, clip=None)


@pytest.fixture
def often():
    """Launched runs are looked at often."""
    seams.look_at_launched_runs_every(0.05)


@pytest.fixture(autouse=True)
def no_processes_left():
    yield
    for child in psutil.Process().children(recursive=True):
        if seams.LAUNCHED in child.cmdline():
            child.kill()


def until(condition) -> None:
    last = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.02)


def test_two_processes_train_the_net_of_this_one(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    net, train_set, dev_set = example(20, 0.1)
    with monkeypatch.context() as here:
        here.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        history = d2l.finetune(net, train_set, dev_set, **OPTIONS, precision="fp32", devices=CPUS)
    assert type(history) is d2l.History
    assert history.device == str(CPUS)
    expected = together(2, tmp_path / "ranks", fit, "few words", 0.1)[0]
    assert all(torch.equal(net.state_dict()[name], expected[0][name]) for name in expected[0])
    columns = {name: values for name, values in history.columns().items() if "sec" not in name}
    assert repr(columns) == repr(expected[1])
    assert not list((tmp_path / "temporary").glob("d2lnli*"))
    copy.deepcopy(net)(train_set.minibatch([0, 1])[0])


def test_a_launched_run_leaves_frozen_parameters_alone_and_trains_as_this_process():
    net, train_set, dev_set = example(20, 0.1, frozen=True)
    here, before = copy.deepcopy(net), copy.deepcopy(net.state_dict())
    expected = d2l.finetune(here, train_set, dev_set, **OPTIONS, precision="fp32")
    run = d2l.finetune(net, train_set, dev_set, **OPTIONS, precision="fp32", launch=True)
    history = run.wait()
    assert history.column("loss") == expected.column("loss")
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, here.get_parameter(name))
        assert parameter.requires_grad != torch.equal(parameter, before[name])


def test_a_launched_run_shows_where_it_stands_between_two_rows(tmp_path, often):
    vocab = d2l.Vocab(["a", "b"], reserved_tokens=SPECIALS)
    texts = ["a b"] * 40_000
    train_set = d2l.SNLIBERTDataset((texts, texts, [0, 1] * 20_000), 16, vocab)
    net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **SIZES), num_classes=2)
    options = {**OPTIONS, **LONG, "run_dir": tmp_path, "launch": True}
    run, seen = d2l.finetune(net, train_set, None, **options), []
    until(lambda: run.history.records)
    assert not run.written.records, "before the first row"
    assert run.history.num_classes == 2

    def see() -> bool:
        seen.append(run.history.epoch)
        return len(run.written.records) >= 1 and len(set(seen)) > 3

    until(see)
    assert seen == sorted(seen)
    assert set(seen) - {record.epoch for record in run.written.records}
    run.stop()
    rows = run.wait().records
    assert [20 * record.epoch for record in rows] == list(range(1, len(rows) + 1))
    assert not (tmp_path / "provisional.csv").exists()


def test_a_run_is_followed_found_again_stopped_and_gone_on_with(tmp_path, often, capsys):
    net, train_set, dev_set = example(20, 0.1)
    options = {**OPTIONS, **LONG, "run_dir": tmp_path, "launch": True}
    before = copy.deepcopy(net.state_dict())
    run = d2l.finetune(net, train_set, dev_set, **options, devices=CPUS)
    assert run.is_at_work()
    assert "launched" in repr(run).lower()
    twice = d2l.finetune(net, train_set, dev_set, **options, devices=CPUS)  # pressed twice
    assert re.search(rf"following.*{tmp_path}", capsys.readouterr().out)
    until(lambda: run.history.records)  # it comes while this process is free
    assert all(map(torch.equal, net.parameters(), before.values()))
    with pytest.raises(ValueError, match=r"wait\(\)"):
        copy.deepcopy(net)

    again, *_ = example(20, 0.1)  # as in a kernel that was started anew
    found = d2l.finetune(again, train_set, dev_set, **options, devices=CPUS)
    assert re.search(rf"following.*{tmp_path}", capsys.readouterr().out)
    with pytest.raises(BlockingIOError, match=rf"settings.*data.*{tmp_path}.*another folder"):
        d2l.finetune(again, train_set, None, **options, devices=CPUS)
    assert run.is_at_work() and found.is_at_work()

    found.stop()
    probs = d2l.predict_proba(net, train_set.vocab, ["w1 w2"], ["w3"])  # waits for the end
    assert not run.is_at_work()
    assert probs.shape == (1, 3)
    histories = [each.wait() for each in (run, found, twice)]
    assert all(history.interrupted for history in histories)
    assert 0 < run.history.epoch < 10_000
    assert all(map(torch.equal, net.parameters(), again.parameters()))
    assert not torch.equal(net.output.weight, before["output.weight"])
    assert {repr(history) for history in histories} == {repr(run.history)}
    assert not (tmp_path / "stop").exists()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["training"]
    assert torch.equal(state["net"]["output.weight"], net.output.weight)


def test_the_stop_button_stops_what_is_waited_for_and_a_failure_is_told(tmp_path, often):
    net, train_set, _ = example(20, 0.1)
    options = {**OPTIONS, **LONG, "run_dir": tmp_path, "launch": True}
    run = d2l.finetune(net, train_set, None, **options)
    until(lambda: run.history.records)
    timer = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    assert d2l.evaluate(net, train_set).logits.shape == (len(train_set), 3)  # meanwhile: pressed
    assert run.history.interrupted
    first_seen = len(run.history.records)

    run = d2l.finetune(net, train_set, None, **options)  # goes on
    until(lambda: len(run.history.records) > first_seen)
    for worker in psutil.Process(run.process.pid).children():
        if seams.LAUNCHED in worker.cmdline():
            worker.kill()
    with pytest.raises(OSError, match=rf"{tmp_path}.*failed.*log"):
        d2l.evaluate(net, train_set)
    with pytest.raises(OSError, match=r"failed"):
        run.wait()
    d2l.evaluate(net, train_set)  # as it was


def test_a_launched_run_that_runs_out_of_memory_says_what_to_take(tmp_path, often):
    _, train_set, _ = example(20, 0.1)
    sizes = {**SIZES, "ffn_num_hiddens": 2**18}  # 194 pairs at once would take 5 GiB and more
    net = d2l.BERTClassifier(d2l.BERTModel(len(train_set.vocab), dropout=0.1, **sizes))
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (2**32, limits[1]))  # processes inherit it
    try:
        run = d2l.finetune(net, train_set, None, batch_size=194, most_tokens=10**9, num_epochs=1,
                           precision="fp32", run_dir=tmp_path, launch=True)  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    for use in (lambda: d2l.evaluate(net, train_set), run.wait):
        with pytest.raises(MemoryError, match=(
            rf"{tmp_path}.*minibatch of 194 .*cpu.*batch_size=97\b.*most_tokens=\d+"
        )):  # fmt: skip
            use()


def test_a_run_whose_folder_is_taken_away_can_be_stopped(tmp_path, often):
    net, train_set, _ = example(20, 0.1)
    options = {**OPTIONS, **LONG, "run_dir": tmp_path / "run", "launch": True}
    run = d2l.finetune(net, train_set, None, **options)
    until(lambda: run.history.records)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    run.stop()
    assert run.wait().interrupted
    shutil.rmtree(tmp_path / "run")
    assert "folder is gone" in run.why_it_failed()


class Displayed(list):
    """Takes the place of a notebook's page: what is shown on it, last of all what is updated."""

    def __call__(self, what, **_):
        self.append(what)
        return self

    def update(self, what, raw):
        self.append(what)


@pytest.fixture
def notebook_page(often):
    page = Displayed()
    seams.as_in_a_notebook(page)
    return page


@pytest.fixture
def launched(tmp_path, notebook_page):
    """A run that goes on for long, and the button and the line of its panel."""
    net, train_set, dev_set = example(20, 0.1)
    run = d2l.finetune(
        net, train_set, dev_set, **{**OPTIONS, **LONG}, run_dir=tmp_path, launch=True
    )
    (box,) = (shown for shown in notebook_page if not isinstance(shown, dict))
    return run, *box.children


def test_the_panel_says_how_a_run_stands_and_its_button_stops_it(launched, notebook_page):
    run, button, line = launched
    assert (button.description, line.value) == ("Stop", "the processes are starting")
    number = r"\d+\.\d+"
    standing = rf"epoch {number} of 10000: loss {number}, train acc {number}(, dev acc {number})?"
    until(lambda: re.match(standing, line.value))
    assert line.value.endswith(" examples/sec")
    assert not button.disabled
    button.click()
    until(lambda: "; stopping (again: at once)" in line.value or run.ended.is_set())
    assert run.wait().interrupted
    assert re.match(f"ended at {standing}", line.value)
    assert button.layout.display == "none"
    assert "Loss and accuracy by epoch; after" in notebook_page[-1]["text/html"]


def test_the_panel_of_a_run_that_is_waited_for_says_what_stops_it(launched):
    run, button, line = launched
    until(lambda: run.history.records)
    waiting = threading.Thread(target=run.wait)
    waiting.start()
    until(lambda: "a cell waits for the end (■ in the toolbar stops the run)" in line.value)
    assert button.disabled
    run.stop()
    waiting.join(60)
    assert line.value.startswith("ended at epoch ")


def test_what_cannot_be_launched_is_said_at_once(tmp_path):
    class MyClassifier(d2l.BERTClassifier):
        def forward(self, inputs):
            return super().forward(inputs) * 2

    net, train_set, _ = example(20, 0.1)
    mine = MyClassifier(d2l.BERTModel(net.encoder.config))
    with pytest.raises(ValueError, match=r"MyClassifier.*parts"):
        d2l.finetune(mine, train_set, None, launch=True)
    for devices in (["mps"], ["cpu", "mps"], ["meta"]):
        with pytest.raises(ValueError, match=r"devices=.*(launch|try_all_gpus)"):
            d2l.finetune(net, train_set, None, devices=devices, launch=True, run_dir=tmp_path)
    assert not contents(tmp_path)
    with pytest.raises(ValueError, match=r"devices=.*try_all_gpus"):
        d2l.finetune(net, train_set, None, devices=["cpu", "cuda:7"])
    net.hidden[1] = torch.nn.ReLU()
    with pytest.raises(ValueError, match=r"BERTClassifier.*parts"):
        d2l.finetune(net, train_set, None, launch=True)
    net.hidden[1] = torch.nn.Tanh()
    with pytest.raises(ValueError, match="'fp8'"):
        d2l.finetune(net, train_set, None, launch=True, precision="fp8")
    net.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen.*net.requires_grad_\(True\)"):
        d2l.finetune(net, train_set, None, launch=True)


@pytest.mark.parametrize(
    ("kind", "devices"),
    [
        ("cuda", ["cuda:0", "cuda:2"]),
        ("xpu", ["xpu:1", "xpu:0"]),
        ("mps", ["mps:0"]),
        ("cuda", ["cpu", "cpu"]),
        (None, ["cpu", "cpu"]),
    ],
)
def test_each_process_gets_its_device(monkeypatch, kind, devices):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4 * len(devices))
    devices = [torch.device(device) for device in devices]
    environment = seams.environment_of_ranks(devices)
    assert environment["OMP_NUM_THREADS"] == "4"
    if kind:
        seams.gpus_are(kind, 3)
    for name in environment.keys() - os.environ.keys():
        monkeypatch.setenv(name, environment[name])
    for number, device in enumerate(devices):
        monkeypatch.setenv("LOCAL_RANK", str(number))
        assert seams.own_device() == device


@pytest.mark.parametrize("devices", [["cuda:0", "cpu"], ["cuda:1", "cuda:1"]])
def test_devices_that_do_not_go_together_are_refused(devices):
    with pytest.raises(ValueError, match=r"GPUs.*CPU"):
        seams.environment_of_ranks([torch.device(device) for device in devices])
