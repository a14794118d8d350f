"""BERT: equal to the book's, blind to padding, open about its attention."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import d2lnli as d2l
import seams
from conftest import GOLDEN, SIZES
from seams import Dropout, MultiHeadAttention


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
    _, _, values = block.attention.project(X)
    by_hand = block.attention.W_o((weights[0] @ values).transpose(1, 2).flatten(2))
    mask = net.encoder.key_mask(tokens, valid_lens)
    torch.testing.assert_close(block.attention(X, mask), by_hand)


def test_dropout_is_used(vocab):
    tokens = torch.randint(0, 8, (4, 6))
    bert = d2l.BERTModel(len(vocab), dropout=0.5, **SIZES)
    bert.train()
    segments = torch.zeros_like(tokens)
    assert not torch.equal(bert.encoder(tokens, segments), bert.encoder(tokens, segments))


def test_heads_must_divide_the_hidden_units():
    with pytest.raises(ValueError, match=r"num_hiddens=16.*num_heads=3"):
        d2l.BERTModel(10, dropout=0.1, **{**SIZES, "num_heads": 3})


def test_an_input_longer_than_the_positions_is_refused(net):
    tokens = torch.zeros(1, 33, dtype=torch.long)
    with pytest.raises(ValueError, match=r"33 tokens.*32 positions"):
        net([tokens, tokens, torch.tensor([33])])


def test_no_blocks_are_no_bert():
    with pytest.raises(ValueError, match="num_blks=0"):
        d2l.BERTModel(10, dropout=0.1, **{**SIZES, "num_blks": 0})


def gradients(bert, encoded):
    bert.zero_grad()
    weights = torch.linspace(-1, 1, encoded.numel()).reshape(encoded.shape)
    (encoded * weights).sum().backward()
    return {name: p.grad.clone() for name, p in bert.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("padded", [True, False])
def test_cls_alone_is_what_the_whole_encoder_gives_at_its_first_position(golden, padded):
    bert, _, expected = golden
    inputs = [expected["tokens"], expected["segments"]]
    inputs += [expected["valid_lens"] if padded else None]
    whole, alone = bert.encoder(*inputs)[:, 0], bert.encoder.encode_cls(*inputs)
    torch.testing.assert_close(alone, whole, atol=2e-6, rtol=0)
    slow, fast = gradients(bert, whole), gradients(bert, alone)
    assert slow.keys() == fast.keys()
    for name in slow:
        torch.testing.assert_close(fast[name], slow[name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_classifier_reads_the_pooled_cls(net, vocab):
    pairs = d2l.SNLIBERTDataset((["a b c", "d"], ["e", "f g"], [0, 1]), 16, vocab)
    inputs = pairs.inputs([0, 1])
    net.eval()
    by_hand = net.output(net.hidden(net.encoder(*inputs)[:, 0]))
    torch.testing.assert_close(net(inputs), by_hand, atol=2e-6, rtol=0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_zeroes_a_share_and_keeps_the_mean(p):
    dropout, X = Dropout(p), torch.ones(400, 500, requires_grad=True)
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
    assert torch.equal(Dropout(0.0)(X), X)
    assert torch.equal(Dropout(1.0)(X), torch.zeros(3, 5))
    assert torch.equal(Dropout(0.5).eval()(X), X)
    assert Dropout(0.5)(X.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("padded", [True, False])
def test_torchs_fused_attention_gives_the_same(padded):
    """A GPU takes that path; here both are taken."""
    torch.manual_seed(0)
    attention, X = MultiHeadAttention(16, 4, 0.1).eval(), torch.randn(3, 7, 16)
    mask = (torch.arange(7) < torch.tensor([7, 4, 1])[:, None])[:, None, None, :]
    mask = mask if padded else None
    plain = attention(X, mask)
    seams.attention_is_fused()
    torch.testing.assert_close(attention(X, mask), plain)
    torch.testing.assert_close(attention.attend(X[:, 0], X, mask), plain[:, 0])
    attention.train()
    assert not torch.equal(attention(X, mask), attention(X, mask)), "dropout is handed on"


def test_attention_drops_weights_also_for_cls_alone():
    torch.manual_seed(0)
    attention, X = MultiHeadAttention(16, 4, 0.5), torch.randn(2, 6, 16)
    expected, tries = attention.eval()(X), 4000
    attention.train()
    with torch.no_grad():
        outputs = torch.stack([attention(X) for _ in range(tries)])
        alone = torch.stack([attention.attend(X[:, 0], X) for _ in range(tries)])
    assert F.mse_loss(outputs.mean(dim=0), expected).item() < 1e-3
    torch.testing.assert_close(alone.mean(dim=0), expected[:, 0], atol=0.05, rtol=0)
    torch.testing.assert_close(alone.std(dim=0), outputs[:, :, 0].std(dim=0), atol=0.05, rtol=0)


def test_padding_is_masked_only_where_there_is_some(net):
    tokens = torch.zeros(2, 4, dtype=torch.long)
    assert net.encoder.key_mask(tokens, None) is None
    assert net.encoder.key_mask(tokens, torch.tensor([4, 4])) is None
    mask = net.encoder.key_mask(tokens, torch.tensor([4, 1]))
    assert mask[:, 0, 0].tolist() == [[True] * 4, [True, False, False, False]]


def test_every_layer_norm_has_the_epsilon_that_was_given():
    bert = d2l.BERTModel(10, **SIZES, dropout=0.1, embedding_norm=True, norm_eps=1e-3)
    assert {part.eps for part in bert.modules() if isinstance(part, torch.nn.LayerNorm)} == {1e-3}
