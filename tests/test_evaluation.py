"""Evaluation, prediction, and classifiers on disk."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import d2lnli as d2l
from conftest import SIZES, contents, write_checkpoint, write_former_classifier


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
    with pytest.raises(ValueError, match="premise of pair 0"):
        d2l.predict_snli(net, vocab, " ", "a")
    with pytest.raises(ValueError, match="hypothesis of pair 1"):
        d2l.predict_proba(net, vocab, ["a", "b"], ["a", []])
    with pytest.raises(ValueError, match=r"2 premises.*1 hypotheses"):
        d2l.predict_proba(net, vocab, ["a", "b"], ["a"])
    with pytest.raises(ValueError, match=r"list.*'a b'"):
        d2l.predict_proba(net, vocab, "a b", ["a"])
    with pytest.raises(ValueError, match="no pairs"):
        d2l.predict_proba(net, vocab, [], [])


def test_lists_of_sentences_are_sent_to_predict_proba(net, vocab):
    with pytest.raises(ValueError, match=r"'a b\.'.*predict_proba"):
        d2l.predict_snli(net, vocab, ["a b.", "c d."], ["a.", "b."])
    assert d2l.predict_snli(net, vocab, ["a", "b", "."], ["c", "."]) in d2l.LABELS


def classifier(vocab, num_classes: int, **names) -> d2l.BERTClassifier:
    torch.manual_seed(0)
    bert = d2l.BERTModel(len(vocab), dropout=0.1, **SIZES)
    return d2l.BERTClassifier(bert, num_classes, **names)


@pytest.mark.parametrize(
    ("num_classes", "given", "names"),
    [
        (3, None, d2l.LABELS),
        (2, None, ("class 0", "class 1")),
        (5, None, ("class 0", "class 1", "class 2", "class 3", "class 4")),
        (2, ["entailment", "not entailment"], ("entailment", "not entailment")),
        (3, ["yes", "maybe", "no"], ("yes", "maybe", "no")),
    ],
)
def test_any_number_of_classes_works_from_dataset_to_prediction(
    num_classes, given, names, vocab, tmp_path
):
    net, premises = classifier(vocab, num_classes, label_names=given), [*"abcdefgh"] * 10
    ids = [i % 8 % num_classes for i in range(80)]
    data = d2l.SNLIBERTDataset((premises, ["a"] * 80, ids), 16, vocab, label_names=given)
    assert net.label_names == names
    d2l.finetune(net, data, data, lr=3e-3, num_epochs=20, batch_size=16, precision="fp32")
    evaluation = d2l.evaluate(net, data)
    assert evaluation.accuracy > 0.9
    assert evaluation.confusion.shape == (num_classes, num_classes)
    d2l.save_classifier(tmp_path, net, vocab)
    for model in (net, d2l.load_classifier(tmp_path)[0]):
        assert model.label_names == names
        assert d2l.predict_proba(model, vocab, ["a", "b"], ["a", "a"]).shape == (2, num_classes)
        answers = [d2l.predict_snli(model, vocab, word, "a") for word in "abcdefgh"]
        assert answers == [names[i] for i in evaluation.predictions[:8]]


def test_a_classifier_of_an_earlier_version_has_the_books_labels(net, vocab, tmp_path):
    write_former_classifier(tmp_path, net, vocab)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("label_names") == list(d2l.LABELS)
    path.write_text(json.dumps(config))
    assert d2l.load_classifier(tmp_path)[0].label_names == d2l.LABELS
    for wrong in (["a", "b"], ["a", "a", "b"], "abc", [1, 2, 3], 7):
        path.write_text(json.dumps({**config, "label_names": wrong}))
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            d2l.load_classifier(tmp_path)


def test_a_network_and_a_dataset_of_other_classes_are_refused(vocab, toy_pairs):
    hub_order = ("entailment", "neutral", "contradiction")
    plain, named = classifier(vocab, 3), classifier(vocab, 3, label_names=hub_order)
    ours = d2l.SNLIBERTDataset(toy_pairs, 32, vocab)
    by_name = (*toy_pairs[:2], [d2l.LABELS[i] for i in toy_pairs[2]])
    theirs = d2l.SNLIBERTDataset(by_name, 32, vocab, label_names=hub_order)
    explicit = d2l.SNLIBERTDataset(by_name, 32, vocab, label_names=d2l.LABELS)
    for net, data in ((plain, theirs), (named, ours), (named, explicit)):
        for use in (d2l.evaluate, lambda net, data: d2l.finetune(net, data, None)):
            with pytest.raises(ValueError, match=r"network.*'entailment'.*dataset.*'entailment'"):
                use(net, data)
    with pytest.raises(ValueError, match=r"network.*dataset"):
        d2l.finetune(plain, ours, theirs)
    for net, data in ((plain, ours), (plain, explicit), (named, theirs)):
        assert d2l.evaluate(net, data).labels.tolist() == data.labels.tolist()


def test_label_names_that_cannot_be_right_are_refused(vocab):
    with pytest.raises(ValueError, match=r"2 label names.*3 classes.*num_classes=2"):
        classifier(vocab, 3, label_names=["a", "b"])
    with pytest.raises(ValueError, match="same name"):
        classifier(vocab, 2, label_names=["a", "a"])
    net = classifier(vocab, 3)
    net.output = nn.Linear(16, 4)
    with pytest.raises(ValueError, match=r"3 label names.*4 classes"):
        d2l.predict_snli(net, vocab, "a", "b")


def test_a_classifier_survives_its_folder(net, vocab, data, tmp_path):
    for _ in range(2):
        d2l.save_classifier(tmp_path / "my net", net, vocab)
    assert contents(tmp_path / "my net") == ["classifier.safetensors"]
    again, words = d2l.load_classifier(tmp_path / "my net")
    assert not again.training
    assert words.idx_to_token == vocab.idx_to_token
    assert again.encoder.config == net.encoder.config
    torch.testing.assert_close(
        d2l.evaluate(again, data).logits, d2l.evaluate(net, data).logits, rtol=0, atol=0
    )


def test_a_class_may_read_what_its_teacher_saved(net, vocab, tmp_path):
    d2l.save_classifier(tmp_path, net, vocab)
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir() if path.is_file()}
    assert len(modes) == 1


def test_saving_leaves_other_files_alone(net, vocab, tmp_path):
    (tmp_path / "homework.txt").write_text("mine")
    d2l.save_classifier(tmp_path, net, vocab)
    assert (tmp_path / "homework.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.safetensors", lambda data: data[:500], r"model\.safetensors.*incomplete"),
        ("model.safetensors", lambda data: b"", r"model\.safetensors.*incomplete"),
        ("config.json", lambda data: data.replace(b"16", b"8"), r"(?s)model\.safetensors.*size"),
        ("config.json", lambda data: data.replace(b"num_heads", b"heads"), r"'heads'"),
        ("config.json", lambda data: b"[]", r"config\.json.*list"),
        ("vocab.json", lambda data: json.dumps([*json.loads(data), "new"]).encode(), r"14 words"),
    ],
)
def test_a_damaged_classifier_of_an_earlier_version_is_named(
    net, vocab, tmp_path, name, change, message
):
    write_former_classifier(tmp_path, net, vocab)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match=message):
        d2l.load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:500], "incomplete"),
        (lambda data: data[:-4], "incomplete"),
        (lambda data: b"", "incomplete"),
        (lambda data: data.replace(b'num_hiddens\\": 16', b'num_hiddens\\": 32'), "size mismatch"),
        (lambda data: data.replace(b"num_heads", b"num_tails"), "'num_tails'"),
        (lambda data: data.replace(b'"config"', b'"confit"'), "'config'"),
        (lambda data: data.replace(b'"vocab"', b'"vocal"'), "'vocab'"),
        (lambda data: data.replace(b'{\\"vocab_size', b'[\\"vocab_size'), "incomplete"),
        (lambda data: data.replace(b'\\"<unk>\\"', b'\\"<pad>\\"'), "different"),
    ],
)
def test_a_damaged_classifier_is_named(net, vocab, tmp_path, change, message):
    path = d2l.save_classifier(tmp_path, net, vocab) / "classifier.safetensors"
    damaged = change(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=rf"(?s){path}.*{message}"):
        d2l.load_classifier(tmp_path)


def test_a_classifier_of_an_earlier_version_is_the_same_and_gives_way_to_a_new_one(
    net, vocab, data, tmp_path
):
    write_former_classifier(tmp_path, net, vocab)
    again, words = d2l.load_classifier(tmp_path)
    assert words.idx_to_token == vocab.idx_to_token
    assert torch.equal(d2l.evaluate(again, data).logits, d2l.evaluate(net, data).logits)
    d2l.save_classifier(tmp_path, net, vocab)
    assert contents(tmp_path) == ["classifier.safetensors"]


def test_a_checkpoint_in_the_folder_of_a_classifier_stays(net, vocab, tmp_path):
    write_checkpoint(tmp_path, vocab.idx_to_token)
    before = contents(tmp_path)
    d2l.save_classifier(tmp_path, net, vocab)
    assert contents(tmp_path) == sorted([*before, "classifier.safetensors"])


def test_a_folder_without_a_classifier_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m d2lnli finetune"):
        d2l.load_classifier(tmp_path / "nothing")
