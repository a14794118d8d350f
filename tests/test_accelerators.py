"""GPUs of every kind, as far as a CPU that passes for one can show what is done with them."""

import contextlib
import copy
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

import d2lnli as d2l
import seams
from conftest import contents
from seams import CHECKPOINT, Meter, Ranks, RunFolder, main
from test_distributed import example
from test_training import same_weights, without_dropout

CPU = torch.device("cpu")
GPUS = ["cuda", "mps", "xpu"]
OPTIONS = dict(lr=1e-3, num_epochs=2, batch_size=16, precision="fp32")  # 15 minibatches an epoch
SENTENCES = "A man is playing a guitar .", "A man is sleeping ."


@pytest.fixture
def data(toy_pairs, vocab) -> d2l.SNLIBERTDataset:
    return d2l.SNLIBERTDataset(toy_pairs, 32, vocab)


@pytest.fixture
def saved(net, vocab, tmp_path):
    """The folder of a classifier."""
    return d2l.save_classifier(tmp_path / "saved", net, vocab)


def nvidia_is(capability: tuple[int, int], monkeypatch) -> None:
    """Let the CPU pass for NVIDIA's GPU of this compute capability."""
    seams.cpu_passes_for("cuda")
    seams.nothing_is_timed()
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)


# ---- Apple's GPUs --------------------------------------------------------------------------------


class NoFloat64(TorchDispatchMode):
    """Refuses float64 as Apple's GPUs do."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float64:
                raise TypeError(f"{function}: the MPS framework doesn't support float64")
        return result


@pytest.fixture
def apples_gpu(monkeypatch):
    """Let the CPU pass for Apple's GPU, without float64 and without pinned memory."""

    def refuse(*_):
        raise RuntimeError("memory is pinned only for CUDA")

    seams.cpu_passes_for("mps")
    with monkeypatch.context() as patch, NoFloat64():
        patch.setattr(Tensor, "pin_memory", refuse)
        yield


def test_a_classifier_is_made_and_used_on_apples_gpu(apples_gpu, tmp_path):
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    folder = d2l.download_extract("Scenes")
    train_set, dev_set = (
        d2l.SNLIBERTDataset(d2l.read_snli(folder, split, 300), 64, vocab)
        for split in ("train", "dev")
    )
    net = d2l.BERTClassifier(bert)
    history = d2l.finetune(
        net, train_set, dev_set, lr=1e-3, num_epochs=2, batch_size=64, clip=1.0, keep="best",
        run_dir=tmp_path,
    )  # fmt: skip
    assert history.precision == "fp32"
    assert {"checkpoint.pt", "history.csv"} <= set(contents(tmp_path))
    evaluation = d2l.evaluate(net, dev_set)
    assert evaluation.accuracy == max(acc for acc in history.column("dev_acc") if acc == acc)
    probs = d2l.predict_proba(net, vocab, *([sentence] for sentence in SENTENCES))
    assert probs.sum() == pytest.approx(1)
    assert len(d2l.word_changes(net, vocab, *SENTENCES)) == 12
    _, weights = d2l.attention(net, vocab, *SENTENCES)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    assert len(d2l.fill_mask(bert, vocab, "A man is <mask> .")) == 5


def test_the_chapters_training_works_on_apples_gpu(apples_gpu, net, data, capsys):
    trainer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss(reduction="none")
    d2l.train_ch13(net, DataLoader(data, 64), DataLoader(data, 64), loss, trainer, 2)
    assert re.match(r"loss \d\.\d{3}, train acc .*\n.* examples/sec", capsys.readouterr().out)


@pytest.mark.parametrize("kind", GPUS)
def test_means_agree_with_those_of_a_cpu(kind, net, data):
    expected = d2l.finetune(without_dropout(copy.deepcopy(net)), data, data, **OPTIONS)
    seams.cpu_passes_for(kind)
    history = d2l.finetune(without_dropout(net), data, data, **OPTIONS)
    for name in ("epoch", "loss", "epoch_loss", "epoch_train_acc"):
        assert history.column(name) == pytest.approx(expected.column(name), abs=1e-5)


@pytest.mark.parametrize("kind", GPUS)
def test_parts_of_minibatches_fit_and_give_the_numbers_of_whole_ones(kind, net, data):
    whole = without_dropout(copy.deepcopy(net))
    expected = d2l.finetune(whole, data, None, **OPTIONS)
    seams.cpu_passes_for(kind)
    shapes = shapes_seen(net)
    history = d2l.finetune(without_dropout(net), data, None, **OPTIONS, most_tokens=60)
    assert max(pairs * tokens for pairs, tokens in shapes) <= 60
    assert history.column("epoch_loss") == pytest.approx(expected.column("epoch_loss"), abs=1e-5)


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_sums_give_the_means_of_a_large_corpus(kind):
    if kind != "cpu":
        seams.cpu_passes_for(kind)
    meter, losses = Meter(CPU, Ranks()), torch.linspace(0.7, 1.4, 512)
    outputs, labels = torch.zeros(512, 3), torch.zeros(512, dtype=torch.int64)
    for i in range(1000):
        meter.add(losses + 1e-3 * i, outputs, labels)
        meter.end_minibatch(512)
        if i % 50 == 49:
            record = meter.record(i / 1000)
            meter.begin_twentieth()
    assert record.epoch_loss == pytest.approx(1.05 + 1e-3 * 499.5, abs=1e-5)
    assert record.epoch_train_acc == 1


# ---- Random states -------------------------------------------------------------------------------


def state_of(kind: str) -> Tensor:
    return torch.get_device_module(kind).get_rng_state(CPU)


def set_state(kind: str, value: int, length: int = 16) -> None:
    state = torch.full((length,), value, dtype=torch.uint8)
    torch.get_device_module(kind).set_rng_state(state, CPU)


@contextlib.contextmanager
def states_set(kind: str, monkeypatch):
    """Give a list that grows by the first byte of each random state that a device gets."""
    part, firsts = torch.get_device_module(kind), []
    set_as_before = part.set_rng_state

    def note_and_set(state, device):
        firsts.append(int(state[0]))
        set_as_before(state, device)

    with monkeypatch.context() as patch:
        patch.setattr(part, "set_rng_state", note_and_set)
        yield firsts


def train_until(step: int, run_dir, monkeypatch, *arguments, **options) -> d2l.History:
    """Begin a run, and stop it after this step, as the file `stop` does."""
    steps = iter(range(1, step + 1))
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "is_to_stop", lambda _: next(steps) == step)
        history = d2l.finetune(*arguments, **options, run_dir=run_dir)
    assert history.interrupted
    return history


@pytest.mark.parametrize("kind", GPUS)
def test_training_leaves_the_callers_random_states_alone(kind, net, data):
    seams.cpu_passes_for(kind)
    set_state(kind, 5)
    drawn = iter(range(6, 256))
    net.encoder.register_forward_pre_hook(lambda *_: set_state(kind, next(drawn)))
    before = torch.get_rng_state()
    d2l.finetune(net, data, data, **OPTIONS)
    assert next(drawn) > 30
    assert torch.equal(torch.get_rng_state(), before)
    assert state_of(kind).tolist() == [5] * 16


@pytest.mark.parametrize("kind", GPUS)
def test_a_run_that_stopped_within_an_epoch_ends_bit_for_bit_the_same(
    kind, net, data, tmp_path, monkeypatch
):
    seams.cpu_passes_for(kind)
    whole, stopped, resumed = (copy.deepcopy(net) for _ in range(3))
    expected = d2l.finetune(whole, data, data, **OPTIONS)
    set_state(kind, 7)
    train_until(20, tmp_path, monkeypatch, stopped, data, data, **OPTIONS)
    random = torch.load(tmp_path / CHECKPOINT, weights_only=True)["training"]["random"]
    assert random[1][0].tolist() == [[7] * 16]
    assert not same_weights(stopped, whole)
    set_state(kind, 9)
    with states_set(kind, monkeypatch) as firsts:
        history = d2l.finetune(resumed, data, data, **OPTIONS, run_dir=tmp_path)
    assert firsts == [7, 9]  # the checkpoint's, and at the end the caller's
    assert same_weights(resumed, whole)
    for name in ("loss", "epoch_loss", "dev_acc"):
        assert repr(history.column(name)) == repr(expected.column(name))


@pytest.mark.parametrize("num_words", [20, 10_000], ids=["few words", "many words"])
@pytest.mark.parametrize(
    ("first", "then"), [("cuda", "cpu"), ("cpu", "cuda"), ("xpu", "cuda"), ("cuda", "mps")]
)
def test_a_checkpoint_goes_on_on_another_kind_of_device(
    first, then, num_words, tmp_path, monkeypatch
):
    net, train_set, dev_set = example(num_words, 0.0)
    options = {**OPTIONS, "clip": 1.0}
    expected = d2l.finetune(copy.deepcopy(net), train_set, dev_set, **options)
    if first != "cpu":
        seams.cpu_passes_for(first)
    some = copy.deepcopy(net)
    train_until(18, tmp_path, monkeypatch, some, train_set, dev_set, **options)
    seams.put_back()
    if then != "cpu":
        seams.cpu_passes_for(then)
        set_state(then, 3, length=44)
    history = d2l.finetune(net, train_set, dev_set, **options, run_dir=tmp_path)
    assert not history.interrupted
    for name in ("epoch", "loss", "epoch_loss"):
        assert history.column(name) == pytest.approx(expected.column(name), abs=1e-4)
    if then != "cpu":
        assert state_of(then).tolist() == [3] * 44


def test_a_random_state_of_another_length_is_not_set(net, data, tmp_path, monkeypatch):
    seams.cpu_passes_for("mps")
    set_state("mps", 1)
    train_until(3, tmp_path, monkeypatch, copy.deepcopy(net), data, None, **OPTIONS)
    set_state("mps", 2, length=44)
    with states_set("mps", monkeypatch) as firsts:
        d2l.finetune(net, data, None, **OPTIONS, run_dir=tmp_path)
    assert firsts == [2]


# ---- Captured steps ------------------------------------------------------------------------------


HOOKS = {
    "forward": "register_forward_hook",
    "forward pre": "register_forward_pre_hook",
    "backward": "register_full_backward_hook",
    "backward pre": "register_full_backward_pre_hook",
}


@pytest.fixture
def nothing_may_be_captured(net, data, monkeypatch):
    """Fail where a step is captured, as the steps of a plain network are."""

    def capture(*_):
        raise AssertionError("a step was captured")

    seams.cpu_passes_for("cuda")
    monkeypatch.setattr(seams.graphs, "Graph", capture)
    with pytest.raises(AssertionError, match="captured"):
        d2l.finetune(copy.deepcopy(net), data, None, **OPTIONS)


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("how", [*HOOKS, "method"])
@pytest.mark.parametrize("part", ["", "hidden", "hidden.1", "output", "encoder.blks.1.attention"])
def test_a_network_with_code_of_the_readers_own_is_not_captured(
    nothing_may_be_captured, net, data, part, how
):
    module, calls = net.get_submodule(part), []
    if how in HOOKS:
        getattr(module, HOOKS[how])(lambda *_: calls.append(how))
    else:
        forward = module.forward
        module.forward = lambda *inputs: calls.append(how) or forward(*inputs)
    d2l.finetune(net, data, None, **OPTIONS)
    assert len(calls) == 30


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_network_with_a_hook_of_a_weight_is_not_captured(
    nothing_may_be_captured, net, data, hook
):
    calls = []
    getattr(net.output.weight, hook)(lambda _: calls.append(hook))
    d2l.finetune(net, data, None, **OPTIONS)
    assert len(calls) == 30


# ---- Precision -----------------------------------------------------------------------------------


def precision_of(net, data, precision="auto") -> str:
    history = d2l.finetune(net, data, None, num_epochs=1, batch_size=512, precision=precision)
    return history.precision


@pytest.mark.parametrize(
    ("capability", "hip", "expected"),
    [((8, 0), None, "bf16"), ((9, 0), None, "bf16"), ((7, 5), None, "fp32"), ((7, 5), "6", "bf16")],
    ids=["Ampere", "Hopper", "Turing", "AMD"],
)
def test_an_nvidia_or_amd_gpu_is_asked_about_bf16(
    net, data, monkeypatch, capability, hip, expected
):
    nvidia_is(capability, monkeypatch)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert precision_of(net, data) == expected


@pytest.mark.parametrize(("has_it", "expected"), [(True, "bf16"), (False, "fp32")])
def test_an_intel_gpu_is_asked_about_bf16(net, data, monkeypatch, has_it, expected):
    seams.cpu_passes_for("xpu")
    seams.nothing_is_timed()

    def is_supported(including_emulation=True):  # as torch's own; emulation is slow
        return including_emulation or has_it

    monkeypatch.setattr(torch.xpu, "is_bf16_supported", is_supported)
    assert precision_of(net, data) == expected


def test_apples_gpu_computes_in_fp32(net, data):
    seams.cpu_passes_for("mps")
    seams.nothing_is_timed()
    assert precision_of(net, data) == "fp32"


@pytest.mark.parametrize("where", ["cpu", "mps", "xpu", "Turing", "AMD"])
def test_tf32_is_refused_where_it_is_missing(net, data, monkeypatch, where):
    if where in ("Turing", "AMD"):
        nvidia_is((9, 4) if where == "AMD" else (7, 5), monkeypatch)
        monkeypatch.setattr(torch.version, "hip", "6" if where == "AMD" else None)
    elif where != "cpu":
        seams.cpu_passes_for(where)
    with pytest.raises(ValueError, match=r"tf32.*NVIDIA.*cpu.*fp32"):  # here every GPU is named cpu
        precision_of(net, data, "tf32")
    with pytest.raises(ValueError, match=r"tf32.*NVIDIA.*cpu.*fp32"):
        d2l.evaluate(net, data, precision="tf32")


@pytest.fixture(params=["highest", "high", "medium"])
def matmul_precision(request):
    """What the user has set for matrix products in fp32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "highest"), ("tf32", "high")])
def test_all_matrix_products_are_in_tf32_or_none(
    net, data, monkeypatch, matmul_precision, precision, expected
):
    nvidia_is((8, 0), monkeypatch)
    forward, backward = set(), set()
    net.encoder.register_forward_pre_hook(
        lambda *_: forward.add((torch.is_grad_enabled(), torch.get_float32_matmul_precision()))
    )
    net.output.weight.register_hook(
        lambda _: backward.add(torch.get_float32_matmul_precision()) or None
    )
    history = d2l.finetune(net, data, data, **{**OPTIONS, "precision": precision})
    assert history.precision == precision
    assert forward == {(True, expected), (False, expected)}  # in training and in evaluation
    assert backward == {expected}
    assert torch.get_float32_matmul_precision() == matmul_precision
    d2l.predict_proba(net, data.vocab, ["a"], ["b"])
    assert forward == {(True, expected), (False, expected)}
    assert torch.get_float32_matmul_precision() == matmul_precision


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="needs torch 2.9"
)
def test_torchs_newer_setting_of_the_matmul_precision_is_put_back_too(net, data, monkeypatch):
    nvidia_is((8, 0), monkeypatch)
    seen, products = [], torch.backends.cuda.matmul
    net.register_forward_pre_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    products.fp32_precision = "tf32"
    try:
        d2l.evaluate(net, data, precision="fp32")
        d2l.evaluate(net, data, precision="tf32")
        assert products.fp32_precision == "tf32"
    finally:
        products.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"highest", "high"}


def test_the_matmul_precision_is_put_back_after_an_error(net, data, monkeypatch, matmul_precision):
    def fail(*_):
        raise ValueError("stop here")

    nvidia_is((8, 0), monkeypatch)
    net.encoder.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match="stop here"):
        d2l.finetune(net, data, None, **{**OPTIONS, "precision": "tf32"})
    assert torch.get_float32_matmul_precision() == matmul_precision


def test_a_recipe_and_the_command_line_take_tf32():
    assert d2l.Recipe.of(precision="tf32").precision == "tf32"
    arguments = seams.parser().parse_args(["finetune", "--precision", "tf32"])
    assert arguments.precision == "tf32"


# ---- Which devices there are ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", GPUS)
def test_all_gpus_of_any_kind_are_found(kind, number):
    seams.gpus_are(kind, number)
    assert d2l.try_all_gpus() == [torch.device(kind, i) for i in range(number)]


@pytest.mark.parametrize("kind", GPUS)
def test_a_torch_for_gpus_on_a_machine_without_one_finds_the_cpu(kind):
    seams.gpus_are(kind, 0)
    assert d2l.try_all_gpus() == [CPU]


def test_a_torch_without_gpus_finds_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    assert d2l.try_all_gpus() == [CPU]


@pytest.mark.parametrize(
    ("kind", "number", "asked"),
    [
        ("cuda", 2, ["cuda:2"]),
        ("cuda", 2, ["cuda:0", "cuda:2"]),
        ("cuda", 2, ["mps"]),
        ("mps", 1, ["cuda:0"]),
        ("mps", 1, ["mps:1"]),
        ("xpu", 0, ["xpu"]),
    ],
)
def test_a_device_that_is_not_here_is_refused_by_name(net, data, kind, number, asked):
    seams.gpus_are(kind, number)
    with pytest.raises(ValueError, match=rf"{re.escape(str(asked))}.*{number} GPU.*try_all_gpus"):
        d2l.finetune(net, data, None, devices=asked)
    if len(asked) == 1:
        batches = d2l.bucketed_loader(data, 16)
        loss, trainer = nn.CrossEntropyLoss(reduction="none"), torch.optim.SGD(net.parameters())
        with pytest.raises(ValueError, match=rf"{asked[0]}.*try_all_gpus"):
            d2l.train_ch13(net, batches, batches, loss, trainer, 1, asked)


def test_of_several_devices_the_first_trains_without_a_word(net, data, capsys):
    seams.gpus_are("cpu", 2)
    history = d2l.finetune(net, data, None, **OPTIONS)
    assert history.device == str([torch.device("cpu", 0)])
    assert "devices given" not in capsys.readouterr().out


def test_under_torchrun_a_process_takes_its_own_of_the_devices(net, data, monkeypatch):
    seams.gpus_are("xpu", 3)
    monkeypatch.setenv("D2LNLI_DEVICES", "xpu:2,xpu:0,xpu:1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert seams.own_device() == torch.device("xpu:0")
    assert seams.own_device(["xpu:0", "xpu:2"]) == torch.device("xpu:2")
    assert seams.own_device(["cpu"]) == CPU
    with pytest.raises(ValueError, match=r"2 processes, but 1 GPU.*--nproc-per-node=1"):
        d2l.finetune(net, data, None, devices=["xpu:2"])
    with pytest.raises(ValueError, match=r"xpu:3.*try_all_gpus"):
        d2l.finetune(net, data, None, devices=["xpu:2", "xpu:3"])


# ---- Loading a classifier ------------------------------------------------------------------------


def place_of(net: nn.Module) -> torch.device:
    (place,) = {parameter.device for parameter in net.parameters()}
    return place


@pytest.mark.parametrize(
    ("device", "expected"),
    [({}, "cpu"), ({"device": "cpu"}, "cpu"), ({"device": "auto"}, "meta")],
    ids=["default", "cpu", "auto"],
)
def test_a_classifier_is_loaded_to_the_cpu_or_to_the_first_gpu(saved, device, expected, capsys):
    seams.gpus_are("meta", 2)
    net, _ = d2l.load_classifier(saved, **device)
    assert place_of(net).type == expected
    assert not net.training
    assert "devices given" not in capsys.readouterr().out


def test_without_a_gpu_auto_is_the_cpu(saved):
    seams.gpus_are("cuda", 0)
    assert place_of(d2l.load_classifier(saved, "auto")[0]) == CPU
    assert place_of(d2l.load_classifier(saved, torch.device("meta"))[0]).type == "meta"


@pytest.mark.parametrize("device", ["cuda:9", "nonsense", "mps"])
def test_a_classifier_is_not_loaded_to_a_device_that_is_not_here(saved, device):
    seams.gpus_are("cuda", 2)
    with pytest.raises(ValueError, match=device):
        d2l.load_classifier(saved, device)


def test_label_names_are_given_by_their_name(saved):
    with pytest.raises(TypeError):
        d2l.load_classifier(saved, "cpu", ["a", "b", "c"])


@pytest.fixture
def devices_asked() -> list[str]:
    """A list that grows by the device for each classifier that is loaded; it comes to the CPU."""
    devices = []

    def load(folder, device="cpu"):
        devices.append(device)
        return d2l.load_classifier(folder)

    seams.classifier_loading_is(load)
    return devices


def test_a_classifier_that_is_found_is_loaded_to_the_first_gpu(data_dir, devices_asked):
    d2l.load_or_finetune(num_pairs=40)
    assert devices_asked == []
    d2l.load_or_finetune(num_pairs=40)
    assert devices_asked == ["auto"]


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_command_computes_on_the_first_gpu(saved, tmp_path, command, devices_asked):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("premise,hypothesis,label\na b,c,neutral\n", encoding="utf-8")
    what = ["a b", "c"] if command == "predict" else ["--input", str(pairs)]
    assert main([command, "--classifier", str(saved), *what]) == 0
    assert devices_asked == ["auto"]


# ---- Evaluation ----------------------------------------------------------------------------------


def shapes_seen(net: nn.Module) -> list[tuple[int, int]]:
    """Return a list that grows by the shape (pairs, tokens) of each minibatch."""
    shapes = []
    net.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0][0].shape)))
    return shapes


@pytest.mark.parametrize("kind", GPUS)
def test_a_gpu_classifies_many_pairs_at_once_with_the_numbers_of_a_cpu(kind, net, vocab, toy_pairs):
    sides = [5 * side for side in toy_pairs]
    data = d2l.SNLIBERTDataset(sides, 32, vocab)
    expected = d2l.evaluate(net, data, precision="fp32")
    seams.cpu_passes_for(kind)
    shapes = shapes_seen(net)
    evaluation = d2l.evaluate(net, data, precision="fp32")
    assert [pairs for pairs, _ in shapes] == [1200]
    torch.testing.assert_close(evaluation.logits, expected.logits, atol=1e-5, rtol=0)
    assert torch.equal(evaluation.labels, expected.labels)
    probs = d2l.predict_proba(net, vocab, *sides[:2], precision="fp32")
    np.testing.assert_allclose(probs, expected.logits.softmax(dim=1), atol=1e-5)
    shapes.clear()
    d2l.evaluate(net, data, 100)
    d2l.predict_proba(net, vocab, *sides[:2], batch_size=100)
    assert {pairs for pairs, _ in shapes} == {100}


def test_a_cpu_classifies_128_pairs_at_once(net, data):
    shapes = shapes_seen(net)
    d2l.evaluate(net, data)
    assert sorted(pairs for pairs, _ in shapes) == [112, 128]


def test_a_gpu_computes_at_most_65536_tokens_at_once(net, vocab):
    n = 2 * 2**16 // 32 + 5
    data = d2l.SNLIBERTDataset((["a " * 28] * n, ["b"] * n, [0] * n), 32, vocab)
    seams.cpu_passes_for("cuda")
    shapes = shapes_seen(net)
    d2l.evaluate(net, data)
    assert sorted(shapes) == [(5, 32), (2048, 32), (2048, 32)]


def test_a_smaller_batch_size_makes_the_evaluation_of_a_training_smaller(net, data):
    seams.cpu_passes_for("mps")
    shapes = shapes_seen(net)
    d2l.finetune(net, data, data, **OPTIONS)
    assert max(pairs for pairs, _ in shapes) == 16


def types_seen(net: nn.Module) -> set[torch.dtype]:
    """Return a set that grows by the type in which each forward pass computes."""
    types = set()

    def note(*_):
        is_on = torch.is_autocast_enabled("cpu")
        types.add(torch.get_autocast_dtype("cpu") if is_on else torch.float32)

    net.register_forward_pre_hook(note)
    return types


@pytest.mark.parametrize(
    ("kind", "trained", "speedup", "given", "expected"),
    [
        ("cpu", None, 9, None, torch.float32),
        ("cpu", "fp32", 9, None, torch.float32),
        ("cpu", "bf16", 9, None, torch.bfloat16),
        ("cpu", "bf16", 0.5, None, torch.float32),
        ("cpu", "fp16", 9, None, torch.float32),
        ("cpu", "tf32", 9, None, torch.float32),
        ("cpu", "bf16", 9, "fp32", torch.float32),
        ("cpu", "fp32", 0.5, "bf16", torch.bfloat16),
        ("cpu", "fp32", 9, "auto", torch.bfloat16),
        ("mps", "bf16", 9, None, torch.float32),
        ("mps", "fp16", 9, None, torch.float32),
        ("mps", "tf32", 9, None, torch.float32),
    ],
)
def test_the_precision_is_that_of_training_where_the_device_is_fast_in_it(
    net, data, vocab, tmp_path, kind, trained, speedup, given, expected
):
    history = d2l.History(precision=trained) if trained else None
    d2l.save_classifier(tmp_path, net, vocab, history)
    net, _ = d2l.load_classifier(tmp_path)
    seams.bf16_is_faster(speedup)
    if kind != "cpu":
        seams.cpu_passes_for(kind)
    types = types_seen(net)
    d2l.evaluate(net, data, precision=given)
    assert types == {expected}
    types.clear()
    d2l.predict_proba(net, vocab, ["a"], ["b"], precision=given)
    assert types == {expected}


@pytest.mark.parametrize("kind", ["cpu", *GPUS])
def test_a_precision_of_another_version_is_not_used(net, data, monkeypatch, kind):
    if kind == "cuda":
        nvidia_is((8, 0), monkeypatch)
    elif kind != "cpu":
        seams.cpu_passes_for(kind)
    net.history, types = d2l.History(precision="fp8"), types_seen(net)
    d2l.evaluate(net, data)
    assert types == {torch.float32}


def test_a_network_keeps_the_precision_of_its_training(net, data):
    types = types_seen(net)
    seams.bf16_is_faster(9)
    d2l.finetune(net, data, data, **{**OPTIONS, "precision": "bf16"})
    assert types == {torch.bfloat16}
    d2l.evaluate(net, data)
    assert types == {torch.bfloat16}


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "high"), ((7, 5), "highest")])
def test_what_was_trained_in_tf32_is_used_in_tf32_where_a_gpu_has_it(
    net, data, monkeypatch, capability, expected
):
    nvidia_is(capability, monkeypatch)
    net.history = d2l.History(precision="tf32")
    seen = set()
    net.register_forward_pre_hook(lambda *_: seen.add(torch.get_float32_matmul_precision()))
    d2l.evaluate(net, data)
    assert seen == {expected}


# ---- The checkup ---------------------------------------------------------------------------------


def lines_of_check(capsys) -> str:
    main(["check"])
    lines = capsys.readouterr().out.splitlines()
    return "\n".join(line for line in lines if line.startswith(("OK    device", "OK    precision")))


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), r"bf16 .*says that.*bf16"), ((7, 5), "fp32 .*not say.*bf16")],
)
def test_the_checkup_names_nvidias_gpus(capsys, monkeypatch, capability, expected):
    seams.gpus_are("cuda", 2)
    seams.nothing_is_timed()
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"H{100 + device.index}")
    lines = lines_of_check(capsys)
    assert re.fullmatch(rf"OK    device: H100, H101\nOK    precision: {expected}\)", lines)


def test_the_checkup_names_intels_gpu(capsys, monkeypatch):
    seams.gpus_are("xpu", 1)
    seams.nothing_is_timed()
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.xpu, "get_device_name", lambda device: f"Arc {device.index}")
    lines = lines_of_check(capsys)
    assert re.fullmatch(r"OK    device: Arc 0\nOK    precision: bf16 .*says that.*bf16\)", lines)


def test_the_checkup_knows_apples_gpu(capsys):
    seams.gpus_are("mps", 1)
    seams.nothing_is_timed()
    lines = lines_of_check(capsys)
    assert re.fullmatch(r"OK    device: mps\nOK    precision: fp32 .*not say.*bf16\)", lines)


@pytest.mark.parametrize(("speedup", "expected"), [(3.0, "bf16"), (0.5, "fp32")])
def test_the_checkup_of_a_cpu_says_how_fast_bf16_is(capsys, speedup, expected):
    seams.gpus_are("cuda", 0)
    seams.bf16_is_faster(speedup)
    lines = lines_of_check(capsys)
    assert re.fullmatch(
        rf"OK    device: cpu .*no GPU.*\nOK    precision: {expected} .*{speedup} times.*fp32\)",
        lines,
    )
