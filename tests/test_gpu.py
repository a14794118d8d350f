"""What a GPU computes, against what the CPU does; skipped where there is none."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import torch

import d2lnli as d2l
import seams
from conftest import GOLDEN
from faulty import PROCESSES
from seams import CHECKPOINT

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[1]
SETTINGS = dict(lr=1e-3, num_epochs=2, batch_size=32, schedule="linear", warmup=0.1)
BF16 = 0.02  # how far a weight may be from that of a run that was not killed; in fp32 it is 0


@pytest.fixture
def gpu() -> torch.device:
    gpu = d2l.try_all_gpus()[0]
    if gpu.type == "cpu":
        pytest.skip("needs a GPU: torch finds none")
    return gpu


@functools.cache
def dataset(split: str, num_pairs: int | None = None) -> d2l.SNLIBERTDataset:
    folder, (_, vocab) = d2l.download_extract("Scenes"), d2l.load_pretrained_model("bert.tiny")
    return d2l.SNLIBERTDataset(d2l.read_snli(folder, split, num_pairs), 128, vocab)


def new_net(dropout: float = 0.1) -> d2l.BERTClassifier:
    torch.manual_seed(0)
    return d2l.BERTClassifier(d2l.load_pretrained_model("bert.tiny", dropout=dropout)[0])


def train(gpu, precision: str, net: d2l.BERTClassifier | None = None, **more) -> d2l.History:
    """Fine-tune on a thousand pairs; the history has the weights."""
    net, sets = net or new_net(), (dataset("train", 1_000), dataset("dev"))
    history = d2l.finetune(net, *sets, **SETTINGS, precision=precision, devices=[gpu], **more)
    history.weights = net.state_dict()
    return history


whole_run = functools.cache(train)


@pytest.mark.parametrize("name", ["tiny-4x2", "tiny-12x3"])
def test_outputs_equal_the_books(gpu, name):
    bert, _ = d2l.load_pretrained_model(GOLDEN / name)
    expected = {k: torch.tensor(v) for k, v in np.load(GOLDEN / name / "expected.npz").items()}
    inputs = (expected[key] for key in ("tokens", "segments", "valid_lens", "pred_positions"))
    with torch.no_grad():
        outputs = bert.to(gpu)(*(tensor.to(gpu) for tensor in inputs))
    for key, output in zip(("encoded", "mlm", "nsp"), outputs, strict=True):
        assert output.device == gpu
        torch.testing.assert_close(output.cpu(), expected[key], atol=1e-4, rtol=0)


def test_evaluate_gives_the_logits_of_the_cpu(gpu):
    net = new_net()
    expected = d2l.evaluate(net, dataset("dev"), precision="fp32").logits
    found = d2l.evaluate(net.to(gpu), dataset("dev"), precision="fp32").logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_recipe_teaches_as_much_as_on_the_cpu(gpu):
    net = new_net()
    settings = dict(d2l.recipe("bert.tiny"), devices=[gpu])
    history = d2l.finetune(net, dataset("train"), dataset("dev"), **settings)
    assert history.device == str([gpu])
    assert next(net.parameters()).device == gpu
    accuracy = d2l.evaluate(net, dataset("dev")).accuracy
    assert accuracy > 0.88
    assert accuracy == pytest.approx(history.last("dev_acc"), abs=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_weights(gpu, precision):
    expected = whole_run(gpu, precision).weights
    found = train(gpu, precision).weights
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def train_and_be_killed(gpu: torch.device, precision: str, run_dir: Path) -> None:
    seams.checkpoint_every(0.0)
    train(gpu, precision, run_dir=run_dir)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.0), ("bf16", BF16)])
def test_killed_and_resumed_a_run_ends_with_the_same_weights(gpu, precision, tolerance, tmp_path):
    process = PROCESSES.Process(target=train_and_be_killed, args=(gpu, precision, tmp_path))
    process.start()
    while process.is_alive() and not (tmp_path / CHECKPOINT).exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert d2l.History.load(tmp_path).num_epochs < SETTINGS["num_epochs"]
    found, expected = train(gpu, precision, run_dir=tmp_path), whole_run(gpu, precision)
    for name, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[name], weight, atol=tolerance, rtol=0)


def test_bf16_is_told_and_close_to_fp32(gpu):
    histories = [train(gpu, precision, new_net(dropout=0.0)) for precision in ("fp32", "bf16")]
    assert [history.precision for history in histories] == ["fp32", "bf16"]
    fp32, bf16 = (history.column("loss") for history in histories)
    assert fp32 != bf16
    assert bf16 == pytest.approx(fp32, abs=0.05)


def test_captured_steps_have_the_losses_of_others(gpu, monkeypatch):
    if gpu.type != "cuda":
        pytest.skip("needs a GPU of NVIDIA or AMD")
    calls, replay = [], seams.graphs.Graph.replay

    def count_and_replay(*arguments):
        calls.append(arguments)
        return replay(*arguments)

    monkeypatch.setattr(seams.graphs.Graph, "replay", count_and_replay)
    captured = train(gpu, "fp32", new_net(dropout=0.0))
    assert len(calls) > 30  # of 64 steps in at most 12 shapes
    calls.clear()
    hooked = new_net(dropout=0.0)
    hooked.register_forward_hook(lambda *_: None)  # so it must run in Python
    losses = train(gpu, "fp32", hooked).column("loss")
    assert not calls
    assert captured.column("loss") == pytest.approx(losses, abs=1e-4)


def test_out_of_memory_it_says_what_is_smaller_and_that_trains(gpu):
    if gpu.type != "cuda":
        pytest.skip("needs a GPU of NVIDIA or AMD")
    pairs, sizes = dataset("train", 1_000), dict(num_hiddens=256, ffn_num_hiddens=1024)
    net = d2l.BERTClassifier(
        d2l.BERTModel(len(pairs.vocab), **sizes, num_heads=4, num_blks=4, dropout=0.1)
    )
    torch.cuda.empty_cache()
    most = torch.cuda.memory_reserved(gpu) + 2**30
    total = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction(most / total, gpu)
    try:
        with pytest.raises(MemoryError, match=r"batch_size=500 or less.*most_tokens=\d+"):
            d2l.finetune(net, pairs, None, num_epochs=1, batch_size=1_000, devices=[gpu])
        d2l.finetune(net, pairs, None, num_epochs=1, batch_size=16, devices=[gpu])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)


def test_under_torchrun_one_process_trains(gpu, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    command += ["-m", "d2lnli", "finetune", "--pairs", "500", "--epochs", "1", "--output", tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={
        **os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert gpu.type in d2l.History.load(tmp_path).device


def test_lesson_03_runs(gpu):
    folder = ROOT / "notebooks"
    lesson = nbformat.read(folder / "03_fine_tuning.ipynb", as_version=4)
    resources = {"metadata": {"path": folder}}
    nbclient.NotebookClient(lesson, timeout=300, resources=resources).execute()  # or it raises


def test_heads_follow_the_encoder_that_a_classifier_took_to_a_gpu(gpu):
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    expected = d2l.fill_mask(bert, vocab, "A man is <mask>.")
    d2l.BERTClassifier(bert).to(gpu)
    words = d2l.fill_mask(bert, vocab, "A man is <mask>.")
    assert [word for word, _ in words] == [word for word, _ in expected]
    assert 0 <= d2l.next_sentence_proba(bert, vocab, "A man.", "A dog.") <= 1
    bert.train()
    bert(*(torch.ones(1, 3, dtype=torch.int64, device=gpu),) * 2)[2].sum().backward()
