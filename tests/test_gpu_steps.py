"""What keeps a GPU busy, held without one: a few shapes, no wait in a step, captured steps."""

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import d2lnli as d2l
import seams
from seams import NO_LABEL, LengthBuckets, Training, ladder, loader_on, shared_loader

CPU = torch.device("cpu")
SETTINGS = dict(lr=1e-3, num_epochs=2, batch_size=30, clip=1.0, precision="fp32")


@pytest.fixture(scope="module")
def vocab() -> d2l.Vocab:
    return d2l.load_pretrained_model("bert.tiny")[1]


@pytest.fixture(scope="module")
def train_set(vocab) -> d2l.SNLIBERTDataset:
    pairs = d2l.read_snli(d2l.download_extract("Scenes"), "train", 400)
    return d2l.SNLIBERTDataset(pairs, 48, vocab)


def new_bert(dropout: float = 0.0) -> d2l.BERTModel:
    return d2l.load_pretrained_model("bert.tiny", dropout=dropout)[0]


def new_net(dropout: float = 0.0) -> d2l.BERTClassifier:
    torch.manual_seed(0)
    return d2l.BERTClassifier(new_bert(dropout))


# ---- Shapes --------------------------------------------------------------------------------------


def padded(lens: list[int], widths: tuple[int, ...]) -> int:
    return sum(min(width for width in widths if width >= length) for length in lens)


@given(st.lists(st.integers(3, 14), min_size=1, max_size=30), st.integers(1, 5))
def test_no_other_widths_pad_less(lens, most):
    found = ladder(np.array(lens), most)
    lengths = sorted(set(lens))
    choices = combinations(lengths[:-1], min(most, len(lengths)) - 1)
    best = min(padded(lens, (*others, lengths[-1])) for others in choices)
    assert padded(lens, tuple(found)) == best
    assert list(found) == sorted(set(found)) and len(found) <= most


def lengths_like_snlis(number: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    premises = rng.lognormal(math.log(13), 0.40, -(-number // 3)).round().clip(3, 70)
    hypotheses = rng.lognormal(math.log(7.6), 0.38, number).round().clip(2, 40)
    lens = premises.repeat(3)[:number] + hypotheses + 3
    return torch.from_numpy(lens.astype(np.int64).clip(max=128))


@pytest.mark.parametrize("batch_size", [32, 512])
def test_an_epoch_of_snli_has_twelve_shapes_and_little_padding(batch_size):
    lens = lengths_like_snlis(549_367)
    buckets, widths = LengthBuckets(lens, batch_size, shuffle=True), ladder(lens.numpy())
    longest = np.array([lens[batch].max() for batch in buckets])
    shapes = widths[np.searchsorted(widths, longest)]
    assert len(set(shapes)) <= 12
    assert lens.sum() >= 0.95 * batch_size * shapes.sum()  # fillers are padding, too


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (0, 3), (2, 3)])
def test_a_gpus_shares_are_the_cpus_filled_with_pairs_that_count_for_nothing(train_set, rank, size):
    given = train_set, 37, 5, rank, size
    on_gpu, on_cpu = list(loader_on(CPU, *given)), list(shared_loader(*given))
    assert len(on_gpu) == len(on_cpu) == 11
    assert len({X[0].shape for X, _, _ in on_gpu}) <= 12
    for (X, y, num_pairs), (expected, labels, expected_number) in zip(on_gpu, on_cpu, strict=True):
        own, width = int((labels != NO_LABEL).sum()), expected[0].shape[1]
        assert num_pairs == expected_number and len(y) == math.ceil(37 / size)
        assert torch.equal(y[:own], labels[:own]) and (y[own:] == NO_LABEL).all()
        for ours, theirs in zip(X[:2], expected[:2], strict=True):
            assert torch.equal(ours[:own, :width], theirs[:own])
        assert (X[0][:own, width:] == train_set.vocab["<pad>"]).all()
        assert torch.equal(X[2][:own], expected[2][:own])
    last = min(on_gpu, key=lambda share: share[2])
    assert last[2] == 400 % 37 and (last[1] == NO_LABEL).any()


def test_a_small_corpus_fills_no_minibatch(train_set):
    ((_, y, num_pairs),) = loader_on(CPU, train_set, 5_000)
    assert len(y) == num_pairs == 400 and (y != NO_LABEL).all()


# ---- One step ------------------------------------------------------------------------------------


class Launches(TorchDispatchMode):
    """Counts the operators that compute, and raises if one makes the host wait for the GPU."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.name()
        assert not any(word in name for word in ("_local_scalar_dense", "nonzero", "is_nonzero"))
        self.number += any(result.alias_info is None for result in operator._schema.returns)
        return operator(*args, **(kwargs or {}))


def test_a_forward_and_a_backward_pass_launch_few_kernels_and_do_not_wait():
    """On `meta`, whatever is copied to the host raises."""
    seams.cpu_passes_for("xpu")
    with torch.device("meta"):
        net = d2l.BERTClassifier(d2l.BERTModel(60_005, 256, 512, 4, 2, 0.1, 512))
        X = [*torch.ones(2, 512, 32, dtype=torch.int64), torch.ones(512, dtype=torch.int64)]
    with seams.fast(net.train()), Launches() as launches:
        torch.nn.functional.cross_entropy(net(X), X[2]).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert 100 < launches.number < 260


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("settings", [{}, {"most_tokens": 300}], ids=["whole", "in parts"])
def test_no_step_waits_for_the_gpu(train_set, kind, settings, monkeypatch):
    step, numbers = Training.step, []

    def watched(training, X, y, num_pairs):
        with Launches() as launches:
            measured = step(training, X, y, num_pairs)
        numbers.append(launches.number)
        return measured

    monkeypatch.setattr(Training, "step", watched)
    seams.cpu_passes_for(kind)
    d2l.finetune(new_net(0.1), train_set, None, **SETTINGS, **settings)
    assert len(numbers) == 28 and min(numbers) > 100


# ---- Captured steps ------------------------------------------------------------------------------


def curve(train_set, net=None, **settings) -> list[float]:
    net = net or new_net()
    return d2l.finetune(net, train_set, None, **{**SETTINGS, **settings}).column("loss")


@pytest.mark.parametrize(
    "settings",
    [{"schedule": "linear", "warmup": 0.2}, {"most_tokens": 300}, {"batch_size": 1_000}],
    ids=["a rate that changes", "in parts", "one minibatch"],
)
def test_a_captured_run_has_the_numbers_of_one_that_is_not(train_set, settings):
    settings = {"lr": 1e-4, "num_epochs": 4, **settings}  # at most 56 steps
    expected = curve(train_set, **settings)
    captures = seams.captures_on_a_cpu()
    assert curve(train_set, **settings) == pytest.approx(expected, abs=1e-4)
    assert captures and expected[0] > expected[-1] + 0.01


def test_each_shape_is_captured_once_when_it_comes_for_the_second_time(train_set, monkeypatch):
    captures, shapes, step = seams.captures_on_a_cpu(), [], Training.step

    def noted(training, X, y, num_pairs):
        if not captures or X[0].data_ptr() not in {graph.X[0].data_ptr() for graph in captures}:
            shapes.append(X[0].shape)
        return step(training, X, y, num_pairs)

    monkeypatch.setattr(Training, "step", noted)
    curve(train_set)
    assert len(captures) == len({graph.X[0].shape for graph in captures})
    assert len(shapes) == len(set(shapes)) <= 12  # each is computed as usual once
    assert {graph.X[0].shape for graph in captures} <= set(shapes)
    assert sum(graph.times for graph in captures) == 28 - len(shapes)


def test_a_cpu_and_other_gpus_capture_nothing(train_set):
    captures = seams.captures_on_a_cpu()
    for kind in ("cpu", "mps", "xpu"):
        seams.cpu_passes_for(kind)
        curve(train_set)
    assert not captures


class Mine(d2l.BERTClassifier):
    def forward(self, inputs):
        return super().forward(inputs)


def hooked() -> d2l.BERTClassifier:
    net = new_net()
    net.calls = []
    net.encoder.blks[0].ffn.register_forward_hook(lambda *_: net.calls.append(1))
    return net


def with_hooked_gradient() -> d2l.BERTClassifier:
    net = new_net()
    net.calls = []
    net.output.weight.register_hook(lambda _: net.calls.append(1))
    return net


@pytest.mark.parametrize("made", [hooked, with_hooked_gradient])
def test_a_hook_is_called_in_each_step(train_set, made):
    captures, net = seams.captures_on_a_cpu(), made()
    curve(train_set, net)
    assert len(net.calls) == 28
    assert not captures


@pytest.mark.parametrize(
    ("net", "settings"),
    [(lambda: Mine(new_bert()), {}), (new_net, {"precision": "fp16"})],
    ids=["a class of the user's", "fp16"],
)
def test_what_is_not_sure_to_be_captured_whole_is_not_captured(train_set, net, settings):
    captures = seams.captures_on_a_cpu()
    curve(train_set, net(), **settings)
    assert not captures


def test_capturing_can_be_turned_off(train_set, monkeypatch):
    captures = seams.captures_on_a_cpu()
    monkeypatch.setenv("D2LNLI_CAPTURE", "0")
    curve(train_set)
    assert not captures
    monkeypatch.delenv("D2LNLI_CAPTURE")
    monkeypatch.setattr(torch.version, "hip", "6.2")
    curve(train_set)
    assert not captures


def test_captured_networks_are_held_to_reproducible_operators(train_set, monkeypatch):
    seen, step = set(), Training.step

    def noted(training, X, y, num_pairs):
        strict = not torch.is_deterministic_algorithms_warn_only_enabled()
        seen.add((torch.are_deterministic_algorithms_enabled(), strict))
        return step(training, X, y, num_pairs)

    monkeypatch.setattr(Training, "step", noted)
    seams.captures_on_a_cpu()
    curve(train_set)
    assert seen == {(True, True)}
    seen.clear()
    curve(train_set, hooked())
    assert seen == {(True, False)}
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_frozen_encoder_is_captured(train_set):
    captures, net = seams.captures_on_a_cpu(), new_net()
    net.encoder.requires_grad_(False)
    before = net.encoder.blks[0].ffn.dense1.weight.clone()
    curve(train_set, net)
    assert captures
    assert torch.equal(net.encoder.blks[0].ffn.dense1.weight, before)


@pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError])
def test_a_gpu_that_captures_nothing_trains_nevertheless_and_says_so_once(train_set, kind):
    expected = curve(train_set)
    seams.captures_on_a_cpu(kind("operation not permitted when stream is capturing\nmore"))
    with pytest.warns(
        UserWarning, match=r"captured.*\(operation not permitted.*capturing\)"
    ) as told:
        found = curve(train_set)
    assert found == pytest.approx(expected, abs=1e-4)
    assert len(told) == 1


def runs_out_of_memory(
    monkeypatch, captures: list, times: int, at_first: bool = False
) -> list[int]:
    """Let steps that are not replayed fail after a first capture; return the replays until then."""
    step, failures = Training.step, []

    def fail_with_gradients(training, X, y, num_pairs):
        replayed = any(X[0] is graph.X[0] for graph in captures)
        if (captures or at_first) and not replayed and len(failures) < times:
            failures.append(sum(graph.times for graph in captures))
            for parameter in training.net.parameters():
                parameter.grad = torch.ones_like(parameter)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return step(training, X, y, num_pairs)

    monkeypatch.setattr(Training, "step", fail_with_gradients)
    return failures


def test_memory_that_captured_steps_keep_is_given_back_before_a_run_fails(train_set, monkeypatch):
    expected, captures = curve(train_set), seams.captures_on_a_cpu()
    replays_before = runs_out_of_memory(monkeypatch, captures, times=1)
    with pytest.warns(UserWarning, match=r"captured.*CUDA out of memory"):
        assert curve(train_set) == pytest.approx(expected, abs=1e-4)
    assert replays_before == [sum(graph.times for graph in captures)]


def test_memory_that_is_missing_without_them_too_ends_in_advice(train_set, monkeypatch):
    failures = runs_out_of_memory(monkeypatch, seams.captures_on_a_cpu(), times=2)
    advice = pytest.raises(MemoryError, match=r"batch_size=15 or less.*most_tokens")
    with pytest.warns(UserWarning, match=r"captured.*CUDA out of memory"), advice:
        curve(train_set)
    assert len(failures) == 2


def test_a_minibatch_that_never_fitted_is_not_blamed_on_captured_steps(train_set, monkeypatch):
    captures = seams.captures_on_a_cpu()
    failures = runs_out_of_memory(monkeypatch, captures, times=1, at_first=True)
    with warnings.catch_warnings(), pytest.raises(MemoryError, match=r"batch_size=\d+ or less"):
        warnings.simplefilter("error")
        curve(train_set)
    assert len(failures) == 1
