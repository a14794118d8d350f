"""Evaluation, prediction, and classifiers on disk."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import contents
from torch import nn

import d2lnli as d2l


@pytest.fixture
def data(toy_pairs, vocab):
    return d2l.SNLIBERTDataset(toy_pairs, 32, vocab)


def test_an_evaluation_equals_the_slow_sum(net, data):
    evaluation = d2l.evaluate(net, data, batch_size=7)
    net.eval()
    correct, loss, confusion = 0, 0.0, np.zeros((3, 3), int)
    with torch.no_grad():
        for (token_ids, segments, valid_len), label in data:
            logits = net([token_ids[None], segments[None], valid_len[None]])
            loss += nn.functional.cross_entropy(logits, label[None]).item()
            correct += int(logits.argmax() == label)
            confusion[label, logits.argmax()] += 1
    assert evaluation.accuracy == float(evaluation) == correct / len(data)
    assert evaluation.loss == pytest.approx(loss / len(data), abs=1e-5)
    np.testing.assert_array_equal(evaluation.confusion, confusion)
    assert evaluation.predictions.shape == (240,)
    assert f"accuracy {correct / 240:.3f}" in repr(evaluation)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (7, 10), (10, 10), (786, 1000)])
def test_the_interval_is_wilsons(correct, n):
    labels = torch.zeros(n, dtype=torch.long)
    logits = torch.tensor([[1.0, 0.0]] * correct + [[0.0, 1.0]] * (n - correct))
    evaluation = d2l.Evaluation(logits, labels)
    low, high = evaluation.interval
    assert -1e-9 < low < evaluation.accuracy + 1e-9 < high + 2e-9 < 1 + 4e-9
    for bound in (low, high):
        assert abs(correct / n - bound) == pytest.approx(
            1.959964 * math.sqrt(bound * (1 - bound) / n), abs=1e-6
        )


def test_evaluation_puts_every_modules_mode_back(net, data):
    net.train()
    net.hidden.eval()
    before = [module.training for module in net.modules()]
    d2l.evaluate(net, data)
    assert [module.training for module in net.modules()] == before
    assert net.output.weight.requires_grad


def test_evaluation_does_not_depend_on_the_batch_size(net, data):
    a, b = (d2l.evaluate(net, data, batch_size).logits for batch_size in (1, 240))
    torch.testing.assert_close(a, b)


def test_predictions_keep_the_callers_order(net, vocab, toy_pairs, data):
    probs = d2l.predict_proba(net, vocab, *toy_pairs[:2])
    expected = d2l.evaluate(net, data).logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    for i in (0, 17, 239):
        label = d2l.predict_snli(net, vocab, toy_pairs[0][i], toy_pairs[1][i])
        assert label == d2l.LABELS[expected[i].argmax()]


def test_sentences_and_token_lists_give_the_same(net, vocab):
    typed = d2l.predict_proba(net, vocab, ["A b, it isn't C."], ["D's e!"])
    tokens = d2l.predict_proba(net, vocab, ["a b , it is n't c .".split()], [["d", "'s", "e", "!"]])
    np.testing.assert_array_equal(typed, tokens)


def test_a_long_sentence_is_cut_to_the_models_positions(net, vocab):
    assert d2l.predict_proba(net, vocab, ["a " * 10_000], ["b"]).shape == (1, 3)


def test_bad_pairs_are_named(net, vocab):
    with pytest.raises(ValueError, match="premise of pair 0 has no words"):
        d2l.predict_snli(net, vocab, " ", "a")
    with pytest.raises(ValueError, match="hypothesis of pair 1 has no words"):
        d2l.predict_proba(net, vocab, ["a", "b"], ["a", []])
    with pytest.raises(ValueError, match="2 premises, but 1 hypotheses"):
        d2l.predict_proba(net, vocab, ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="a list of sentences, got the sentence 'a b'"):
        d2l.predict_proba(net, vocab, "a b", ["a"])
    with pytest.raises(ValueError, match="no pairs"):
        d2l.predict_proba(net, vocab, [], [])


def test_a_classifier_survives_its_folder(net, vocab, data, tmp_path):
    for _ in range(2):
        d2l.save_classifier(tmp_path / "my net", net, vocab)
    assert contents(tmp_path / "my net") == ["config.json", "model.safetensors", "vocab.json"]
    again, words = d2l.load_classifier(tmp_path / "my net")
    assert not again.training
    assert words.idx_to_token == vocab.idx_to_token
    assert again.encoder.config == net.encoder.config
    torch.testing.assert_close(
        d2l.evaluate(again, data).logits, d2l.evaluate(net, data).logits, rtol=0, atol=0
    )


def test_a_class_may_read_what_its_teacher_saved(net, vocab, tmp_path):
    d2l.save_classifier(tmp_path, net, vocab)
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir() if path.is_file()}
    assert set(modes.values()) == {modes["config.json"]}


def test_saving_leaves_other_files_alone(net, vocab, tmp_path):
    (tmp_path / "homework.txt").write_text("mine")
    d2l.save_classifier(tmp_path, net, vocab)
    assert (tmp_path / "homework.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.safetensors", lambda data: data[:500], r"not a whole safetensors file"),
        ("model.safetensors", lambda data: b"", r"not a whole safetensors file"),
        ("config.json", lambda data: data.replace(b"16", b"8"), r"does not fit .*config.json"),
        ("config.json", lambda data: data.replace(b"num_heads", b"heads"), r"does not fit"),
        ("config.json", lambda data: b"[]", r"holds a list, not a dict"),
        ("vocab.json", lambda data: json.dumps([*json.loads(data), "new"]).encode(), r"14 words"),
    ],
)
def test_a_damaged_classifier_is_named(net, vocab, tmp_path, name, change, message):
    d2l.save_classifier(tmp_path, net, vocab)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match=message):
        d2l.load_classifier(tmp_path)


def test_a_folder_without_a_classifier_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m d2lnli finetune"):
        d2l.load_classifier(tmp_path / "nothing")
