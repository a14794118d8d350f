"""BERT: equal to the book's, blind to padding, open about its attention."""

import inspect
import threading
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import d2lnli as d2l
import seams
from conftest import GOLDEN, SIZES
from seams import FastAttention, FastDropout, MultiHeadAttention, fast


@pytest.fixture(params=["tiny-4x2", "tiny-12x3"])
def golden(request):
    folder = GOLDEN / request.param
    bert, vocab = d2l.load_pretrained_model(folder)
    arrays = np.load(folder / "expected.npz")
    return bert, vocab, {name: torch.tensor(arrays[name]) for name in arrays}


def test_outputs_equal_the_books(golden):
    bert, _, expected = golden
    inputs = [expected[name] for name in ("tokens", "segments", "valid_lens", "pred_positions")]
    with torch.no_grad():
        outputs = bert(*inputs)
    for name, output in zip(("encoded", "mlm", "nsp"), outputs, strict=True):
        torch.testing.assert_close(output, expected[name], atol=2e-5, rtol=0)


def test_the_masked_lm_head_answers_only_when_asked(golden):
    bert, _, expected = golden
    _, mlm, nsp = bert(expected["tokens"], expected["segments"], expected["valid_lens"])
    assert mlm is None
    torch.testing.assert_close(nsp, expected["nsp"], atol=2e-5, rtol=0)


def test_state_dict_has_the_books_names(golden):
    bert, _, _ = golden
    names = {name.replace(".blks.0.", ".blks.I.") for name in bert.state_dict() if "blks.0" in name}
    block = "encoder.blks.I."
    assert names == {
        block + f"{part}.{kind}"
        for part in (
            *(f"attention.W_{letter}" for letter in "qkvo"),
            "addnorm1.ln",
            "addnorm2.ln",
            "ffn.dense1",
            "ffn.dense2",
        )
        for kind in ("weight", "bias")
    }
    others = {name for name in bert.state_dict() if "blks" not in name}
    assert others == {
        "encoder.token_embedding.weight",
        "encoder.segment_embedding.weight",
        "encoder.pos_embedding",
        *(
            f"{part}.{kind}"
            for part in ("hidden.0", "mlm.mlp.0", "mlm.mlp.2", "mlm.mlp.3", "nsp.output")
            for kind in ("weight", "bias")
        ),
    }


def test_what_stands_in_the_padding_changes_nothing(net):
    tokens = torch.randint(0, 8, (3, 10))
    segments, valid_lens = torch.zeros_like(tokens), torch.tensor([10, 6, 1])
    other = torch.where(torch.arange(10) < valid_lens[:, None], tokens, 5)
    net.eval()
    a = net.encoder(tokens, segments, valid_lens)
    b = net.encoder(other, segments, valid_lens)
    for row, length in enumerate(valid_lens):
        assert torch.equal(a[row, :length], b[row, :length])


def test_padding_more_changes_nothing(net):
    tokens, valid_lens = torch.randint(0, 8, (2, 7)), torch.tensor([7, 4])
    wide = torch.nn.functional.pad(tokens, (0, 9), value=3)
    net.eval()
    short = net([tokens, torch.zeros_like(tokens), valid_lens])
    torch.testing.assert_close(net([wide, torch.zeros_like(wide), valid_lens]), short)


def test_attention_weights_are_those_that_the_forward_pass_uses(net):
    tokens, segments = torch.randint(0, 8, (2, 6)), torch.zeros(2, 6, dtype=torch.long)
    valid_lens = torch.tensor([6, 3])
    net.eval()
    weights = net.encoder.attention_weights(tokens, segments, valid_lens)
    assert weights.shape == (SIZES["num_blks"], 2, SIZES["num_heads"], 6, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert (weights[:, 1, :, :, 3:] == 0).all()
    block = net.encoder.blks[0]
    X = net.encoder.embed(tokens, segments)
    values = block.attention.split_heads(block.attention.W_v(X))
    by_hand = block.attention.W_o((weights[0] @ values).transpose(1, 2).flatten(2))
    mask = net.encoder.key_mask(tokens, valid_lens)
    torch.testing.assert_close(block.attention(X, mask), by_hand)


def test_dropout_is_used(vocab):
    tokens = torch.randint(0, 8, (4, 6))
    bert = d2l.BERTModel(len(vocab), dropout=0.5, **SIZES)
    bert.train()
    segments = torch.zeros_like(tokens)
    assert not torch.equal(bert.encoder(tokens, segments), bert.encoder(tokens, segments))


def test_an_input_longer_than_the_positions_is_refused(net):
    tokens = torch.zeros(1, 33, dtype=torch.long)
    with pytest.raises(ValueError, match=r"33 tokens.*32 positions"):
        net([tokens, tokens, torch.tensor([33])])


def gradients(bert, encoded):
    bert.zero_grad()
    weights = torch.linspace(-1, 1, encoded.numel()).reshape(encoded.shape)
    (encoded * weights).sum().backward()
    return {name: p.grad.clone() for name, p in bert.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_the_fast_network_gives_the_plain_ones_numbers_and_gradients(golden, padded, fused):
    """A GPU takes the fused attention; here both are taken."""
    bert, _, expected = golden
    if fused:
        seams.attention_is_fused()
    valid_lens = expected["valid_lens"] if padded else None
    inputs = [expected["tokens"], expected["segments"], valid_lens]
    classifier, positions = d2l.BERTClassifier(bert), expected["pred_positions"]
    outputs = [
        lambda: classifier(inputs),
        *(lambda i=i: bert(*inputs, positions)[i] for i in range(3)),
    ]
    plain = [(output().detach(), gradients(bert, output())) for output in outputs]
    with fast(classifier), fast(bert):
        assert type(classifier) is not d2l.BERTClassifier
        for output, (numbers, slow) in zip(outputs, plain, strict=True):
            torch.testing.assert_close(output(), numbers, atol=2e-6, rtol=1e-5)
            quick = gradients(bert, output())
            assert quick.keys() == slow.keys()
            for name in slow:
                torch.testing.assert_close(quick[name], slow[name], atol=1e-5, rtol=1e-4, msg=name)
    assert {type(part).__name__ for part in bert.modules()}.isdisjoint(
        ["FastAttention", "FastDropout"]
    )


def test_the_fast_network_is_fast_within_its_block_alone(net):
    plain = [type(part) for part in net.modules()]
    with pytest.raises(ZeroDivisionError), fast(net):
        assert [type(part) for part in net.modules()] != plain
        with fast(net):
            pass
        assert [type(part) for part in net.modules()] != plain, (
            "the inner block ended the outer one"
        )
        1 / 0  # noqa: B018
    assert [type(part) for part in net.modules()] == plain


class Doubled(torch.nn.Linear):
    """A layer of the reader's own, as adapters are."""

    def forward(self, X):
        return 2 * super().forward(X)


def own_projection(net, name):
    attention = net.encoder.blks[-1].attention
    own = Doubled(SIZES["num_hiddens"], SIZES["num_hiddens"])
    own.load_state_dict(getattr(attention, name).state_dict())
    setattr(attention, name, own)


class Mixing(torch.nn.Module):
    """A layer of the reader's own that lets positions see each other."""

    def forward(self, X):
        return X + X.cumsum(dim=1).tanh()


class Halving(torch.nn.Module):
    """A dropout of the reader's own."""

    def forward(self, X):
        return X / 2


def without_bias(attention):
    for name in ("W_q", "W_k", "W_v"):
        own = torch.nn.Linear(SIZES["num_hiddens"], SIZES["num_hiddens"], bias=False)
        setattr(attention, name, own)


class OwnEncoder(d2l.BERTEncoder):
    """An encoder of the reader's own."""

    def forward(self, *inputs):
        return 2 * super().forward(*inputs)


CHANGES = {
    "a projection": lambda net: own_projection(net, "W_k"),
    "the output": lambda net: own_projection(net, "W_o"),
    "an encoder": lambda net: setattr(net.encoder, "__class__", OwnEncoder),
    **{
        f"a hook on {name or 'the net'}": lambda net, name=name: net.get_submodule(
            name
        ).register_forward_hook(lambda part, inputs, Y: 2 * Y)
        for name in ("", "encoder", "encoder.blks.1", "encoder.blks.1.attention.W_v",
                     "encoder.blks.1.ffn.dense1", "encoder.blks.0.attention", "hidden")
    },
    "a layer that mixes positions": lambda net: setattr(net.encoder.blks[-1], "ffn", Mixing()),
    "an activation": lambda net: setattr(net.encoder.blks[-1].ffn, "activation", Mixing()),
    "a dropout": lambda net: setattr(net.encoder.blks[0].attention, "dropout", Halving()),
    "a hook on a dropout": lambda net: net.encoder.blks[0].attention.dropout.register_forward_hook(
        lambda part, inputs, Y: Y / 2
    ),
    "projections without bias": lambda net: without_bias(net.encoder.blks[1].attention),
    "attention weights": lambda net: setattr(
        net.encoder.blks[1].attention, "weights", lambda X, mask: torch.eye(X.shape[1])
    ),
    "a method": lambda net: setattr(
        net.encoder.blks[1].attention, "forward", lambda X, mask: 2 * X
    ),
}  # fmt: skip


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_reader_has_changed_counts_in_the_fast_network_too(net, change, fused):
    if fused:
        seams.attention_is_fused()
    tokens, valid_lens = torch.randint(0, 8, (3, 10)), torch.tensor([10, 6, 1])
    inputs = [tokens, torch.zeros_like(tokens), valid_lens]
    before = net.eval()(inputs)
    change(net)
    plain = net(inputs)
    assert not torch.allclose(plain, before, atol=1e-4)
    with fast(net):
        torch.testing.assert_close(net(inputs), plain, atol=2e-6, rtol=1e-5)


HOOKS = {
    "pre-hook": torch.nn.Module.register_forward_pre_hook,
    "backward hook": torch.nn.Module.register_full_backward_hook,
    "backward pre-hook": torch.nn.Module.register_full_backward_pre_hook,
}


@pytest.mark.parametrize("name", ["encoder.blks.1", "encoder.blks.1.attention.W_v"])
@pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS)
def test_every_kind_of_hook_is_called_in_the_fast_network_too(net, name, register):
    called, tokens = [], torch.randint(0, 8, (2, 5))
    register(net.get_submodule(name), lambda *_: called.append(0))
    with fast(net):
        net([tokens, torch.zeros_like(tokens), torch.tensor([5, 3])]).sum().backward()
    assert called


def test_a_dropout_that_changes_its_input_stays_as_it_is():
    layer, X = torch.nn.Dropout(0.5, inplace=True), torch.ones(100)
    with fast(layer):
        layer(X)
    assert 20 < (X == 0).sum() < 80


def test_threads_may_share_one_fast_network(net, vocab):
    net.eval()  # as load_classifier returns it
    pairs = ["a b c"] * 8, ["d e"] * 8
    expected, errors = d2l.predict_proba(net, vocab, *pairs), []

    def predict():
        try:
            for _ in range(150):
                np.testing.assert_allclose(
                    d2l.predict_proba(net, vocab, *pairs, batch_size=2), expected, atol=1e-6
                )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert type(net) is d2l.BERTClassifier


def test_a_classifier_reads_the_pooled_cls(net, vocab):
    pairs = d2l.SNLIBERTDataset((["a b c", "d"], ["e", "f g"], [0, 1]), 16, vocab)
    inputs = pairs.inputs([0, 1])
    net.eval()
    by_hand = net.output(net.hidden(net.encoder(*inputs)[:, 0]))
    torch.testing.assert_close(net(inputs), by_hand, atol=2e-6, rtol=0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_zeroes_a_share_and_keeps_the_mean(p):
    dropout, X = FastDropout(p), torch.ones(400, 500, requires_grad=True)
    torch.manual_seed(0)
    Y = dropout(X)
    assert (Y == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert Y.mean().item() == pytest.approx(1, abs=0.02)
    kept = Y[Y != 0]
    assert kept.unique().numel() == 1
    assert kept[0].item() == pytest.approx(1 / (1 - p), rel=1e-3)
    rows = (Y == 0).float().mean(dim=1)
    assert rows.std().item() == pytest.approx((p * (1 - p) / 500) ** 0.5, rel=0.2)
    Y.sum().backward()
    assert torch.equal(X.grad, Y.detach())
    assert not torch.equal(dropout(X), Y)
    torch.manual_seed(0)
    assert torch.equal(dropout(X), Y)


def test_dropout_of_nothing_of_all_and_in_evaluation():
    X = torch.randn(3, 5)
    assert torch.equal(FastDropout(0.0)(X), X)
    assert torch.equal(FastDropout(1.0)(X), torch.zeros(3, 5))
    assert torch.equal(FastDropout(0.5).eval()(X), X)
    assert FastDropout(0.5)(X.bfloat16()).dtype == torch.bfloat16


def attention_of(dropout: float) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(d2l.BERTConfig(9, 16, 32, 4, 1, dropout))


def test_dropout_is_handed_to_torchs_fused_attention():
    attention, X = attention_of(0.1), torch.randn(3, 7, 16)
    seams.attention_is_fused()
    with fast(attention):
        assert type(attention) is FastAttention
        assert not torch.equal(attention(X), attention(X))


def test_fast_attention_drops_weights_as_often_also_for_cls_alone():
    attention, tries = attention_of(0.5), 4000
    X = torch.randn(2, 6, 16)
    expected = attention.eval()(X)
    attention.train()
    with torch.no_grad():
        plain = torch.stack([attention(X) for _ in range(tries)])
        with fast(attention):
            outputs = torch.stack([attention(X) for _ in range(tries)])
            alone = torch.stack([attention.attend_from(X[:, 0], X) for _ in range(tries)])
    for ours, theirs in ((outputs, plain), (alone, plain[:, :, 0])):
        torch.testing.assert_close(ours.mean(dim=0), theirs.mean(dim=0), atol=0.05, rtol=0)
        torch.testing.assert_close(ours.std(dim=0), theirs.std(dim=0), atol=0.05, rtol=0)
    assert F.mse_loss(outputs.mean(dim=0), expected).item() < 1e-3


def test_padding_is_masked_only_where_there_is_some(net):
    tokens = torch.zeros(2, 4, dtype=torch.long)
    assert net.encoder.key_mask(tokens, None) is None
    assert net.encoder.key_mask(tokens, torch.tensor([4, 4])).all()
    with fast(net):
        assert net.encoder.key_mask(tokens, torch.tensor([4, 4])) is None
    mask = net.encoder.key_mask(tokens, torch.tensor([4, 1]))
    assert mask[:, 0, 0].tolist() == [[True] * 4, [True, False, False, False]]


def test_every_layer_norm_has_the_epsilon_that_was_given():
    bert = d2l.BERTModel(10, **SIZES, dropout=0.1, embedding_norm=True, norm_eps=1e-3)
    assert {part.eps for part in bert.modules() if isinstance(part, torch.nn.LayerNorm)} == {1e-3}


def test_a_config_is_given_whole_or_size_by_size():
    config = d2l.BERTConfig(10, dropout=0.1, **SIZES, activation="gelu", is_next=0)
    one_by_one = d2l.BERTModel(10, dropout=0.1, **SIZES, activation="gelu", is_next=0)
    assert one_by_one.config == one_by_one.encoder.config == config
    assert d2l.BERTModel(config).config is config
    assert d2l.BERTEncoder(config).state_dict().keys() == one_by_one.encoder.state_dict().keys()
    assert inspect.signature(d2l.BERTModel) == inspect.signature(d2l.BERTConfig)
    with pytest.raises(FrozenInstanceError):
        config.dropout = 0.2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (dict(num_heads=3), r"num_hiddens=16.*num_heads=3"),
        (dict(num_heads=0), r"num_hiddens=16.*num_heads=0"),
        (dict(num_blks=0), "num_blks=0.*at least one"),
        (dict(norm_eps=1.0), "norm_eps=1.0.*1e-5"),
        (dict(activation="swish"), "'swish'.*relu or gelu"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        d2l.BERTModel(10, dropout=0.1, **{**SIZES, **option})


@pytest.mark.parametrize("part", ["", "hidden", "hidden.1", "output", "encoder.blks.0.ffn"])
def test_no_step_is_captured_where_a_part_is_hooked_or_patched(part):
    net = d2l.BERTClassifier(d2l.BERTModel(20, dropout=0.1, **SIZES))
    hooked = net.get_submodule(part)

    def may_be_captured() -> bool:
        with fast(net):
            return seams.network.is_plain_as_a_whole(net)

    assert may_be_captured()
    handle = hooked.register_forward_hook(lambda *_: None)
    assert not may_be_captured()
    handle.remove()
    hooked.forward = hooked.forward
    assert not may_be_captured()
