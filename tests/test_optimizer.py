"""RowAdam: torch's Adam to the rounding, however long a row waits."""

import copy
import math
import signal
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import d2lnli as d2l
import seams
from seams import MANY_ROWS, RowAdam, RowUpdater, Updater, adam, clip_gradients

NUM_ROWS, HIDDENS = 12, 4


def two_networks() -> tuple[nn.Sequential, nn.Sequential]:
    """Make the same embedding with the same linear layer, twice."""
    nets = [nn.Sequential(nn.Embedding(NUM_ROWS, HIDDENS), nn.Linear(HIDDENS, 2)) for _ in "ab"]
    nets[1].load_state_dict(nets[0].state_dict())
    return nets[0], nets[1]


def train(net, trainer, steps, lrs, scale=1.0, clip=None):
    """One step for each list of rows to read, with two backward passes; return the losses."""
    losses = []
    updater = (RowUpdater if isinstance(trainer, RowAdam) else Updater)(net, trainer, clip)
    for rows, lr in zip(steps, lrs, strict=True):
        updater.prepare(lr)
        for part in (rows, rows[:1]):
            loss = (net(torch.tensor(part)) - 1).square().sum() * scale
            updater.backward(loss)
        updater.step()
        losses.append(loss.item() / scale)
    return losses


def assert_same(ours, theirs, atol=2e-6):
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=5e-5)


READS = st.lists(
    st.lists(st.integers(0, NUM_ROWS - 1), min_size=1, max_size=4), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(READS, st.booleans(), st.sampled_from([None, 0.1]), st.integers(0, 100))
def test_any_reads_give_adams_numbers(reads, decay, clip, seed):
    torch.manual_seed(seed)
    theirs, ours = two_networks()
    lrs = [0.01 * (1 - i / len(reads) if decay else 1) for i in range(len(reads))]
    expected = train(theirs, torch.optim.Adam(theirs.parameters()), reads, lrs, clip=clip)
    with RowAdam(ours.parameters(), ours[0], lr=0.01) as trainer:
        losses = train(ours, trainer, reads, lrs, clip=clip)
    assert losses == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert_same(ours, theirs)


@pytest.mark.parametrize("gap", [1, 2, 10, 399, 400, 401, 1500])
@pytest.mark.parametrize(
    ("scale", "atol"),
    [(1.0, 2e-6), (1e-4, 2e-6), (1e-6, 2e-4)],  # at the last, gradients are as small as eps
)
def test_a_row_that_waited_is_where_adam_moved_it(gap, scale, atol):
    torch.manual_seed(0)
    theirs, ours = two_networks()
    steps = [[0, 1], *[[2]] * gap, [0]]
    before = ours[0].weight.detach().clone()
    train(theirs, torch.optim.Adam(theirs.parameters()), steps, [1e-3] * len(steps), scale)
    with RowAdam(ours.parameters(), ours[0], lr=1e-3) as trainer:
        train(ours, trainer, steps, [1e-3] * len(steps), scale)
        waited = (ours[0].weight[1] - theirs[0].weight[1]).abs().max()
        assert waited > 1e-4, "row 1 should not have been touched since it was read"
    assert_same(ours, theirs, atol)
    assert torch.equal(ours[0].weight[3:], before[3:])


def test_outside_its_block_nothing_is_left_of_it():
    _, ours = two_networks()
    with RowAdam(ours.parameters(), ours[0], lr=1e-3) as trainer:
        train(ours, trainer, [[0], [1]], [1e-3] * 2)
        assert ours[0].sparse
    assert not ours[0].sparse
    ours(torch.tensor([0])).sum().backward()
    assert not ours[0].weight.grad.is_sparse


@pytest.mark.parametrize("first", [RowAdam, torch.optim.Adam])
def test_its_state_is_adams(first):
    """A run that begins with one of the two goes on with the other."""
    torch.manual_seed(0)
    theirs, ours = two_networks()
    begin, go_on = [[0, 1], [2], [3, 0]], [[1], [4, 2], [0]]
    whole = torch.optim.Adam(theirs.parameters())
    train(theirs, whole, begin + go_on, [1e-3] * 6)

    def trainer(kind):
        return (
            RowAdam(ours.parameters(), ours[0], lr=1e-3)
            if kind is RowAdam
            else nullcontext(torch.optim.Adam(ours.parameters()))
        )

    with trainer(first) as one:
        train(ours, one, begin, [1e-3] * 3)
    state = one.state_dict()
    with trainer(torch.optim.Adam if first is RowAdam else RowAdam) as other:
        other.load_state_dict(state)
        train(ours, other, go_on, [1e-3] * 3)
    assert_same(ours, theirs)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        torch.testing.assert_close(
            other.state[ours[0].weight][name], whole.state[theirs[0].weight][name]
        )


@pytest.mark.parametrize("norm", [1e-3, 0.5, 1e6])
def test_clipping_equals_torchs(norm):
    theirs, ours = two_networks()
    ours[0].sparse = True
    for net in (theirs, ours):
        net(torch.tensor([3, 3, 5])).square().sum().backward()
    ours[0].weight.grad = ours[0].weight.grad.coalesce()
    nn.utils.clip_grad_norm_(theirs.parameters(), norm)
    clip_gradients(ours.parameters(), norm)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad)


@pytest.fixture
def wide_net() -> d2l.BERTClassifier:
    """A classifier with more words than are updated whole."""
    sizes = dict(num_hiddens=16, ffn_num_hiddens=32, num_heads=4, num_blks=2, max_len=32)
    torch.manual_seed(0)
    return d2l.BERTClassifier(d2l.BERTModel(MANY_ROWS, dropout=0.1, **sizes))


def test_it_is_chosen_for_a_large_embedding_that_learns(net, wide_net):
    with adam(wide_net, 1e-3) as updater:
        assert isinstance(updater.trainer, RowAdam)
    with adam(net, 1e-3) as updater:
        assert type(updater.trainer) is torch.optim.Adam
    wide_net.encoder.token_embedding.weight.requires_grad_(False)
    with adam(wide_net, 1e-3) as updater:
        assert type(updater.trainer) is torch.optim.Adam


@pytest.fixture
def wide_data(toy_pairs) -> d2l.SNLIBERTDataset:
    """Pairs in a vocabulary of as many words."""
    words = [f"w{i}" for i in range(MANY_ROWS - 13)]
    vocab = d2l.Vocab([*"abcdefgh", *words], reserved_tokens=["<pad>", "<mask>", "<cls>", "<sep>"])
    return d2l.SNLIBERTDataset(toy_pairs, 32, vocab)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_fine_tuning_learns_with_it(wide_net, wide_data, precision, clip):
    history = d2l.finetune(
        wide_net, wide_data, wide_data, lr=3e-3, num_epochs=6, batch_size=16, precision=precision,
        clip=clip,
    )  # fmt: skip
    assert history.last("dev_acc") > 0.9
    assert not wide_net.encoder.token_embedding.sparse


@pytest.mark.parametrize("frozen", ["encoder", "encoder.token_embedding"])
def test_fine_tuning_leaves_a_frozen_embedding_alone(wide_net, wide_data, frozen):
    wide_net.get_submodule(frozen).requires_grad_(False)
    before = copy.deepcopy(wide_net.state_dict())
    d2l.finetune(wide_net, wide_data, None, lr=1e-3, num_epochs=1, batch_size=16, clip=1.0)
    for name, parameter in wide_net.named_parameters():
        assert parameter.requires_grad != torch.equal(parameter, before[name]), name


def stop_at(net, call):
    """Press the stop button during a forward pass."""
    calls = []

    def stop(*_):
        calls.append(0)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)

    net.register_forward_hook(stop)


def test_a_run_that_was_interrupted_goes_on_to_the_same_end(wide_net, wide_data, tmp_path):
    nets = [copy.deepcopy(wide_net) for _ in range(3)]
    options = dict(lr=1e-3, num_epochs=3, batch_size=16)
    d2l.finetune(nets[0], wide_data, None, **options)
    stop_at(nets[1], 35)
    assert d2l.finetune(nets[1], wide_data, None, **options, run_dir=tmp_path).num_epochs == 2
    assert d2l.finetune(nets[2], wide_data, None, **options, run_dir=tmp_path).num_epochs == 3
    for a, b in zip(nets[2].parameters(), nets[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_is_clipped_is_the_gradient_itself(precision):
    """In fp16 it is scaled until then."""
    layer = nn.Linear(3, 1)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    trainer = torch.optim.SGD(layer.parameters(), lr=1.0)
    updater = Updater(layer, trainer, clip=0.5, precision=precision)
    updater.prepare()
    updater.backward(layer(torch.ones(2, 3)).sum())  # its norm is 4
    updater.step()
    moves = [old - new for old, new in zip(before, layer.parameters(), strict=True)]
    assert nn.utils.get_total_norm(moves).item() == pytest.approx(0.5, rel=1e-4)


def test_a_step_that_is_skipped_moves_no_row():
    """In fp16, gradients that are too large for it let a scaler skip the step."""
    net, _ = two_networks()
    before = copy.deepcopy(net.state_dict())
    with RowAdam(net.parameters(), net[0], lr=0.1) as trainer:
        updater = RowUpdater(net, trainer, precision="fp16")
        updater.prepare(0.1)
        updater.backward(net(torch.tensor([0, 1])).sum() * math.inf)
        updater.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_wrapped_network_goes_on_with_plain_adam(wide_net, wide_data, tmp_path):
    """Its parameters have other names, and its rows must be brought up to date all the same."""
    nets = [copy.deepcopy(wide_net) for _ in range(3)]
    options = dict(lr=1e-3, num_epochs=3, batch_size=16, precision="fp32")
    d2l.finetune(nets[0], wide_data, None, **options)
    stop_at(nets[1], 20)
    d2l.finetune(nets[1], wide_data, None, **options, run_dir=tmp_path)
    seams.every_embedding_has_plain_adam()
    resumed = nn.DataParallel(nets[2])
    assert d2l.finetune(resumed, wide_data, None, **options, run_dir=tmp_path).num_epochs == 3
    for a, b in zip(nets[2].parameters(), nets[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_an_interrupt_leaves_no_row_behind(wide_net, wide_data):
    """Stopped after five steps, all rows are where torch's Adam has them after five steps."""
    plain = copy.deepcopy(wide_net)
    options = dict(lr=1e-3, batch_size=2, precision="fp32")
    stop_at(wide_net, 6)
    assert d2l.finetune(wide_net, wide_data, None, **options).interrupted
    seams.every_embedding_has_plain_adam()
    stop_at(plain, 6)
    assert d2l.finetune(plain, wide_data, None, **options).interrupted
    embedding = wide_net.encoder.token_embedding
    plain_weight = plain.encoder.token_embedding.weight
    torch.testing.assert_close(embedding.weight, plain_weight, atol=1e-4, rtol=0)
    assert not embedding.sparse
    assert not embedding._forward_pre_hooks
    assert embedding.weight.grad is None


def test_an_embedding_that_learns_alone_has_plain_adam():
    """DDP refuses a network all of whose learning parameters are kept from it."""
    sizes = dict(num_hiddens=8, ffn_num_hiddens=8, num_heads=2, num_blks=1, dropout=0.0)
    net = d2l.BERTClassifier(d2l.BERTModel(10_000, **sizes))
    with adam(net, 0.1) as updater:
        assert isinstance(updater.trainer, RowAdam)
    net.requires_grad_(False)
    net.encoder.token_embedding.requires_grad_(True)
    with adam(net, 0.1) as updater:
        assert not isinstance(updater.trainer, RowAdam)
