"""What a GPU computes, against what the CPU does; skipped where there is none."""

import signal
from pathlib import Path

import pytest
import torch

import d2lnli as d2l

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a GPU: torch.cuda.is_available() is False"
    ),
]
SETTINGS = dict(lr=1e-3, num_epochs=2, batch_size=32, schedule="linear", warmup=0.1)


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda", 0)


@pytest.fixture(scope="module")
def datasets() -> tuple[d2l.SNLIBERTDataset, d2l.SNLIBERTDataset]:
    """A thousand pairs to train on, and the whole dev split."""
    folder, (_, vocab) = d2l.download_extract("SNLI-sample"), d2l.load_pretrained_model("bert.tiny")
    train, dev = d2l.read_snli(folder, "train", 1_000), d2l.read_snli(folder, "dev")
    return d2l.SNLIBERTDataset(train, 128, vocab), d2l.SNLIBERTDataset(dev, 128, vocab)


def new_net(dropout: float = 0.1) -> d2l.BERTClassifier:
    torch.manual_seed(0)
    return d2l.BERTClassifier(d2l.load_pretrained_model("bert.tiny", dropout=dropout)[0])


def test_bert_tiny_says_on_a_gpu_what_it_says_on_the_cpu(gpu, datasets):
    bert, _ = d2l.load_pretrained_model("bert.tiny")
    (tokens, segments, valid_lens), _ = datasets[1].minibatch(range(64))
    inputs = tokens, segments, valid_lens, torch.tensor([[1, 3]] * 64)
    bert.eval()
    with torch.inference_mode():
        expected = bert(*inputs)
        bert.to(gpu)
        found = bert(*(tensor.to(gpu) for tensor in inputs))
    inside = torch.arange(tokens.shape[1]) < valid_lens[:, None]  # what is padded means nothing
    assert found[0].device == gpu
    torch.testing.assert_close(found[0].cpu()[inside], expected[0][inside], atol=1e-4, rtol=0)
    for theirs, ours in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(theirs.cpu(), ours, atol=1e-4, rtol=0)


def test_a_thousand_pairs_teach_it_far_more_than_chance(gpu, datasets):
    net = new_net()
    history = d2l.finetune(net, *datasets, **SETTINGS, devices=[gpu])
    assert history.device == str([gpu])
    assert next(net.parameters()).device == gpu
    assert history.records[-1].dev_acc > 0.6  # chance is 0.333
    assert d2l.evaluate(net, datasets[1]).accuracy == pytest.approx(
        history.records[-1].dev_acc, abs=0.01
    )


def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(gpu, datasets, tmp_path: Path):
    options = dict(SETTINGS, precision="fp32", devices=[gpu])
    whole, stopped, resumed = new_net(), new_net(), new_net()
    expected = d2l.finetune(whole, *datasets, **options)
    calls = []

    def press_in_the_second_epoch(module: torch.nn.Module, *_: object) -> None:
        calls.append(module.training)
        if sum(calls) == 40:  # of 32 minibatches an epoch
            signal.raise_signal(signal.SIGINT)

    stopped.register_forward_hook(press_in_the_second_epoch)
    assert d2l.finetune(stopped, *datasets, **options, run_dir=tmp_path).interrupted
    history = d2l.finetune(resumed, *datasets, **options, run_dir=tmp_path)
    assert not history.interrupted
    assert history.column("loss") == expected.column("loss")
    weights = resumed.state_dict()
    assert all(torch.equal(weights[name], ours) for name, ours in whole.state_dict().items())


def test_bf16_is_told_and_close_to_fp32(gpu, datasets):
    histories = {
        precision: d2l.finetune(
            new_net(dropout=0.0), *datasets, **SETTINGS, precision=precision, devices=[gpu]
        )
        for precision in ("fp32", "bf16")
    }
    assert {name: history.precision for name, history in histories.items()} == {
        "fp32": "fp32", "bf16": "bf16"
    }  # fmt: skip
    fp32, bf16 = (history.column("loss") for history in histories.values())
    assert fp32 != bf16
    assert bf16 == pytest.approx(fp32, abs=0.05)


def test_heads_follow_the_encoder_that_a_classifier_took_to_a_gpu(gpu):
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    expected = d2l.fill_mask(bert, vocab, "A man is <mask>.")
    d2l.BERTClassifier(bert).to(gpu)
    words = d2l.fill_mask(bert, vocab, "A man is <mask>.")
    assert [word for word, _ in words] == [word for word, _ in expected]
    assert 0 <= d2l.next_sentence_proba(bert, vocab, "A man.", "A dog.") <= 1
    bert.train()
    bert(*(torch.ones(1, 3, dtype=torch.int64, device=gpu),) * 2)[2].sum().backward()
