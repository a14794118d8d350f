"""Classifiers from Hugging Face, and ours for transformers: what is read, refused, and written."""

import json
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import tokenizers
import torch

import d2lnli as d2l
import test_hf
from conftest import SPECIALS, contents, write_former_classifier
from layouts import HF, write_hf
from seams import Record, main

hub = test_hf.hub
PAIRS = ["A man is playing the guitar.", "Nobody sleeps"], ["A man plays.", "Two dogs"]
WEIGHT = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
BIAS = torch.arange(6.0)
FILES = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def write_classifier(folder, names, change=lambda tensors: tensors, outputs=None, **config):
    """Write a BertForSequenceClassification with these names of its classes."""
    outputs = outputs or len(names)

    def with_head(tensors):
        body = {name: x for name, x in tensors.items() if not name.startswith("cls.")}
        head = {"classifier.weight": WEIGHT[:outputs], "classifier.bias": BIAS[:outputs]}
        return change({**body, **head})

    told = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }
    return write_hf(folder, with_head, {**told, **config})


def probabilities(folder, **how):
    """Return the probabilities of the test's pairs for each class's name."""
    net, vocab = d2l.load_classifier(folder, **how)
    assert not net.training
    columns = d2l.predict_proba(net, vocab, *PAIRS).T
    return dict(zip(net.label_names, columns, strict=True))


def expected():
    """Return the same for outputs in the order of the file."""
    bert, vocab = d2l.load_pretrained_model(HF)
    net = d2l.BERTClassifier(bert, 6)
    net.output.weight.data, net.output.bias.data = WEIGHT, BIAS
    return d2l.evaluate(net, d2l.SNLIBERTDataset((*PAIRS, [0, 0]), 64, vocab)).logits


def assert_read(folder, names, **how):
    """Check that each class has the probability of its own output."""
    found = probabilities(folder, **how)
    probs = expected()[:, : len(names)].softmax(dim=1).T.numpy()
    assert found.keys() == {*names}
    for name, column in zip(names, probs, strict=True):
        np.testing.assert_allclose(found[name], column, atol=1e-6)


# ---- What is read --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant", "order"),
    [
        (d2l.LABELS, d2l.LABELS, d2l.LABELS),
        (("contradiction", "neutral", "entailment"), None, d2l.LABELS),
        (("CONTRADICTION", "ENTAILMENT", "neutral"), None, d2l.LABELS),
        (("Contradictory", "entails", "N"), ("contradiction", "entailment", "neutral"), d2l.LABELS),
        (
            ("Not_Entailment", "Entailment"),
            ("non-entailment", "entailment"),
            ("entailment", "non-entailment"),
        ),
        (("refutes", "Supports", "weiß nicht"), ("refutes", "Supports", "weiß nicht"), None),
        (("b", "e", "a", "c", "d"), ("b", "e", "a", "c", "d"), None),
        (("Entailment", "entailment"), ("Entailment", "entailment"), None),
    ],
)
def test_every_class_keeps_its_meaning_in_any_order(tmp_path, written, meant, order, capsys):
    folder = write_classifier(tmp_path / "bert", written)
    meant = meant or tuple(name.lower() for name in written)
    assert_read(folder, meant)
    net, _ = d2l.load_classifier(folder)
    assert net.label_names == (order or meant)
    said = capsys.readouterr().out
    assert ("put in the order" in said) == (order is not None and order != meant)
    for other in ("left out", "new, to be trained", "of a fine-tuned classifier"):
        assert other not in said


def test_names_without_a_meaning_are_asked_for(tmp_path, capsys):
    folder = write_classifier(tmp_path / "bert", ["LABEL_0", "LABEL_1", "LABEL_2"])
    with pytest.raises(
        ValueError, match=r"config\.json.*'LABEL_0', 'LABEL_1'.*label_names=\["
    ) as stop:
        d2l.load_classifier(folder)
    assert "model's card" in str(stop.value)
    names = ["contradiction", "neutral", "entailment"]
    assert_read(folder, names, label_names=names)
    assert_read(folder, names, label_names=["CONTRADICTION", "n", "e"])
    net, _ = d2l.load_classifier(folder, label_names=names)
    assert net.label_names == d2l.LABELS
    with pytest.raises(ValueError, match=r"2 label names.*3 classes"):
        d2l.load_classifier(folder, label_names=names[:2])


@pytest.mark.parametrize(
    "names", [["0", "1"], ["class 0", "class 1"], ["label-0", "Label_1"], ["a", "1"]]
)
def test_numbers_are_names_without_a_meaning(tmp_path, names):
    folder = write_classifier(tmp_path / "bert", names)
    with pytest.raises(ValueError, match="label_names"):
        d2l.load_classifier(folder)
    assert_read(folder, ["yes", "no"], label_names=["yes", "no"])


def test_a_config_that_names_no_classes_has_names_without_a_meaning(tmp_path):
    folder = write_classifier(tmp_path / "bert", "ab", id2label=None, label2id=None)
    with pytest.raises(ValueError, match="'LABEL_0', 'LABEL_1'"):
        d2l.load_classifier(folder)
    assert_read(folder, ["yes", "no"], label_names=["yes", "no"])


def test_label_names_may_repeat_what_is_known_but_not_contradict_it(tmp_path, net, vocab):
    folder = write_classifier(tmp_path / "bert", ["NEUTRAL", "ENTAILMENT", "CONTRADICTION"])
    names = ["neutral", "entailment", "contradiction"]
    assert_read(folder, names, label_names=names)
    own = d2l.save_classifier(tmp_path / "own", net, vocab)
    assert d2l.load_classifier(own, label_names=d2l.LABELS)[0].label_names == d2l.LABELS
    for place in (folder, own):
        with pytest.raises(ValueError, match=r"the classes are .*leave label_names out"):
            d2l.load_classifier(place, label_names=["entailment", "neutral", "contradiction"])


@pytest.mark.parametrize("names", [5, "abc", [1, 2, 3], ["a", "a"]])
def test_label_names_that_are_none_are_refused_for_any_classifier(tmp_path, net, vocab, names):
    own = d2l.save_classifier(tmp_path / "own", net, vocab)
    for folder in (own, write_classifier(tmp_path / "bert", d2l.LABELS)):
        with pytest.raises(ValueError, match=r"label_names|label names"):
            d2l.load_classifier(folder, label_names=names)


def test_a_label2id_of_other_names_counts_for_nothing(tmp_path):
    stale = {"LABEL_0": 0, "LABEL_1": 1}
    assert_read(write_classifier(tmp_path / "bert", ["yes", "no"], label2id=stale), ["yes", "no"])


def test_a_label2id_may_have_its_numbers_as_texts(tmp_path):
    texts = {"yes": "0", "no": "1"}
    assert_read(write_classifier(tmp_path / "bert", ["yes", "no"], label2id=texts), ["yes", "no"])


def test_a_config_that_says_nothing_of_its_task_is_read(tmp_path):
    silent = dict(architectures=None, problem_type=None)
    assert_read(write_classifier(tmp_path / "bert", d2l.LABELS, **silent), d2l.LABELS)


def test_a_classifier_in_half_precision_is_computed_in_single(tmp_path):
    def change(tensors):
        return {name: tensor.half() for name, tensor in tensors.items()}

    net, _ = d2l.load_classifier(write_classifier(tmp_path / "bert", d2l.LABELS, change))
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_what_is_odd_about_a_classifiers_checkpoint_is_said(tmp_path, capsys):
    def change(tensors):
        words = "bert.embeddings.word_embeddings.weight"
        return {**tensors, words: torch.cat([tensors[words], torch.zeros(2, 32)])}

    d2l.load_classifier(write_classifier(tmp_path / "bert", d2l.LABELS, change, vocab_size=106))
    assert "bert: 2 spare rows" in capsys.readouterr().out


def test_a_name_on_the_hub_is_a_classifier_too(hub, capsys):
    names = ["contradiction", "neutral", "entailment"]
    write_classifier(hub.folder, names)
    assert_read("hf:org/bert", names)
    assert "hf:org/bert: its classes" in capsys.readouterr().out
    assert main(["predict", "--classifier", "hf:org/bert", "A man plays", "A man"]) == 0
    assert capsys.readouterr().out.splitlines()[-2] in d2l.LABELS
    with pytest.raises(OSError, match=r"hf:org/nothing"):
        d2l.load_classifier("hf:org/nothing")


def test_its_encoder_alone_can_be_fine_tuned_again(tmp_path, capsys):
    bert, _ = d2l.load_pretrained_model(write_classifier(tmp_path / "bert", "ab"))
    assert bert.new_heads == ("mlm", "nsp")
    said = capsys.readouterr().out
    assert "left out: classifier" in said and "of a fine-tuned classifier" in said


def test_a_classifier_of_an_earlier_version_is_no_folder_of_hugging_faces(tmp_path, net, vocab):
    write_former_classifier(tmp_path, net, vocab)
    again, words = d2l.load_classifier(tmp_path)
    ours, theirs = (
        d2l.predict_proba(*which, ["a b"], ["c"]) for which in ((net, vocab), (again, words))
    )
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"other files.*new folder"):
        d2l.export_classifier(tmp_path, *export_of()[:2])


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tokenizer_config.json", "additional_special_tokens"),
        ("tokenizer_config.json", "extra_special_tokens"),
        ("special_tokens_map.json", "additional_special_tokens"),
    ],
)
def test_further_special_tokens_are_found_whole(tmp_path, file, name):
    folder = write_classifier(tmp_path / "bert", d2l.LABELS)
    (folder / file).write_text(json.dumps({name: ["beach", {"content": "park", "lstrip": True}]}))
    _, vocab = d2l.load_classifier(folder)
    assert vocab.tokenize("sbeachs") == ["s", "beach", "s"]
    for wrong in ("beach", 5, [5], [{}], [{"content": "park", "lstrip": 1}]):
        (folder / file).write_text(json.dumps({name: wrong}))
        with pytest.raises(ValueError, match=file):
            d2l.load_classifier(folder)


# ---- What is refused -----------------------------------------------------------------------------


def without(*parts):
    return lambda tensors: {
        name: x for name, x in tensors.items() if not any(part in name for part in parts)
    }


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (dict(id2label={"0": "a"}), r"config\.json.*id2label.*2 outputs"),
        (dict(id2label={"0": "a", "1": "b", "2": "c"}), r"config\.json.*id2label.*2 outputs"),
        (dict(id2label={"0": "a", "2": "b"}), r"config\.json.*id2label.*2 outputs"),
        (dict(id2label=["a", "b"]), r"config\.json.*id2label.*2 outputs"),
        (dict(id2label={"0": "a", "1": "a"}), "two classes have the same name"),
        (dict(id2label={"0": "a", "1": " "}), "a string for each class"),
        (dict(id2label={"0": 0, "1": 1}), "a string for each class"),
        (dict(label2id={"a": 1, "b": 0}), r"config\.json.*id2label and label2id contradict"),
        (dict(outputs=1, id2label={"0": "a"}), r"config\.json.*1 outputs.*at least two"),
        (dict(problem_type="regression"), r"config\.json.*regression.*load_pretrained_model"),
        (dict(problem_type="multi_label_classification"), r"config\.json.*multi_label"),
        (dict(architectures=["BertForTokenClassification"]), r"config\.json.*TokenClassification"),
        (dict(architectures=["BertModel"]), r"config\.json.*BertModel"),
        (dict(architectures="BertForSequenceClassification"), r"config\.json.*made for 'BertFor"),
        (dict(architectures=5), r"config\.json.*made for 5"),
        (dict(model_type="roberta"), r'config\.json.*"roberta"'),
        (dict(hidden_dropout_prob=2), r"config\.json.*hidden_dropout_prob is 2"),
        (dict(change=without("pooler")), r"pooled \[CLS\]"),
        (dict(change=without("classifier")), r"model\.safetensors has no classifier.*finetune"),
        (dict(change=without("classifier.bias")), "has no classifier"),
        (dict(change=lambda t: {**t, "classifier.weight": torch.ones(2, 31)}), r"pooled \[CLS\]"),
        (dict(change=lambda t: {**t, "classifier.weight": torch.ones(2)}), r"pooled \[CLS\]"),
        (dict(change=lambda t: {**t, "classifier.bias": torch.ones(1)}), "classifier.bias"),
        (
            dict(change=lambda t: {**t, "classifier.bias": torch.ones(2, dtype=torch.int8)}),
            r"classifier\.bias holds torch\.int8",
        ),
        (dict(change=lambda t: {**t, "classifier.bias": torch.ones(3)}), "classifier.bias"),
        (dict(change=lambda t: {**t, "classifier.bias": torch.ones(2, 1)}), "classifier.bias"),
    ],
)
def test_what_is_no_classifier_of_pairs_is_refused_by_name(tmp_path, how, message):
    folder = write_classifier(tmp_path / "bert", "ab", **how)
    with pytest.raises(ValueError, match=message):
        d2l.load_classifier(folder)


def test_a_folder_with_nothing_says_how_to_make_a_classifier(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(FileNotFoundError, match=r"no fine-tuned classifier.*finetune"):
            d2l.load_classifier(folder)


# ---- What is exported ----------------------------------------------------------------------------


def export_of(number=0, names=d2l.LABELS, **settings):
    """Return a classifier in Hugging Face's architecture, and its vocabulary."""
    bert, vocab = d2l.load_pretrained_model(HF)
    torch.manual_seed(number)
    net = d2l.BERTClassifier(bert, len(names), names)
    torch.nn.init.normal_(net.output.weight)
    vocab = d2l.WordPieceVocab(vocab.idx_to_token, **settings) if settings else vocab
    return net.eval(), vocab


ADDED = {"single_word": True, "lstrip": False, "rstrip": False, "normalized": True}


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (d2l.LABELS, {}),
        (("entailment", "non-entailment"), {"lowercase": False}),
        (("ja", "nein", "weiß nicht", "否", "fünf"), {"strip_accents": False}),
        (d2l.LABELS, {"split_chinese": False, "strip_accents": True}),
        (("class 0", "class 1"), {}),
        (d2l.LABELS, {"added_tokens": [{"content": "woman", **ADDED}]}),
    ],
)
def test_an_export_comes_back_as_it_was(tmp_path, names, settings):
    net, vocab = export_of(1, names, **settings)
    folder = d2l.export_classifier(tmp_path / "mine", net, vocab)
    assert contents(folder) == FILES
    again, words = d2l.load_classifier(folder)
    assert again.label_names == names
    assert words.idx_to_token == vocab.idx_to_token
    assert words.settings == vocab.settings
    assert again.encoder.config == net.encoder.config
    for which in (net, again):
        assert which.history is None
    np.testing.assert_array_equal(
        d2l.predict_proba(again, words, *PAIRS), d2l.predict_proba(net, vocab, *PAIRS)
    )


@pytest.mark.parametrize(
    "told",
    [
        dict(hidden_act="gelu_new"),
        dict(hidden_act="relu"),
        dict(layer_norm_eps=0.5),
        dict(hidden_dropout_prob=0.3),
    ],
)
def test_an_export_keeps_what_its_checkpoint_says_of_the_architecture(tmp_path, told):
    net, vocab = d2l.load_classifier(write_classifier(tmp_path / "bert", d2l.LABELS, **told))
    folder = d2l.export_classifier(tmp_path / "mine", net, vocab)
    again, words = d2l.load_classifier(folder)
    config = again.encoder.config
    assert config == net.encoder.config
    assert (config.norm_eps, config.dropout) == (
        told.get("layer_norm_eps", 1e-12),
        told.get("hidden_dropout_prob", 0.1),
    )
    found, plain = d2l.predict_proba(again, words, *PAIRS), expected()[:, :3].softmax(1).numpy()
    np.testing.assert_array_equal(found, d2l.predict_proba(net, vocab, *PAIRS))
    assert np.allclose(found, plain, atol=1e-6) == ("hidden_dropout_prob" in told)
    written = json.loads((folder / "config.json").read_text())
    assert {**written, **told} == written or told["hidden_act"] == "gelu_new"
    assert written["attention_probs_dropout_prob"] == config.dropout


def test_an_export_says_what_transformers_asks_for(tmp_path):
    net, vocab = export_of()
    vocab = d2l.WordPieceVocab(vocab.idx_to_token[::-1], strip_accents=True)
    folder = d2l.export_classifier(tmp_path / "mine", net.half(), vocab)
    config, of_tokenizer = (
        json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer_config.json")
    )
    assert config["pad_token_id"] == vocab["[PAD]"] == 103
    assert config["type_vocab_size"] == 2
    assert of_tokenizer == {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "strip_accents": True,
        "tokenize_chinese_chars": True,
        "model_max_length": 64,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    }
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    pair = tokenizer.encode("A man plays", "a cat[SEP]")
    first, second = ["[CLS]", *vocab.tokenize("a man plays"), "[SEP]"], vocab.tokenize("a cat")
    assert pair.tokens == [*first, *second, "[SEP]", "[SEP]"]
    assert pair.type_ids == [*[0 for _ in first], *[1 for _ in second], 1, 1]
    assert tokenizer.decode(pair.ids).startswith("a man plays a cat")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_wrapped_network_is_exported_as_a_plain_one(tmp_path):
    net, vocab = export_of()
    d2l.export_classifier(tmp_path / "plain", net, vocab)
    d2l.export_classifier(tmp_path / "wrapped", torch.nn.DataParallel(net), vocab)
    for name in ("model.safetensors", "config.json"):
        plain, wrapped = (tmp_path / kind / name for kind in ("plain", "wrapped"))
        assert plain.read_bytes() == wrapped.read_bytes()


@pytest.mark.parametrize("more", [["x1", "x2"], []])
def test_the_vocabulary_of_another_model_is_refused(tmp_path, more):
    net, vocab = export_of()
    other = d2l.WordPieceVocab([*(vocab.idx_to_token if more else vocab.idx_to_token[:-1]), *more])
    with pytest.raises(ValueError, match=rf"vocabulary has {len(other)} words.* 104.*came with"):
        d2l.export_classifier(tmp_path / "mine", net, other)
    assert contents(tmp_path) == []


def test_a_network_in_half_precision_is_exported_in_single(tmp_path):
    net, vocab = export_of()
    folder = d2l.export_classifier(tmp_path / "mine", net.half(), vocab)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("gelu", "gelu"), ("gelu_tanh", "gelu_pytorch_tanh"), ("relu", "relu")],
)
def test_an_activation_has_the_name_that_transformers_prefers(tmp_path, ours, theirs):
    _, vocab = export_of()
    config = d2l.BERTConfig(104, 32, 64, 4, 1, 0.1, 64, activation=ours, embedding_norm=True)
    net = d2l.BERTClassifier(d2l.BERTModel(config))
    folder = d2l.export_classifier(tmp_path / "mine", net, vocab)
    assert json.loads((folder / "config.json").read_text())["hidden_act"] == theirs


def test_what_transformers_has_no_piece_for_is_refused_and_nothing_is_written(tmp_path):
    hidden, pieces = export_of()
    words = d2l.Vocab(pieces.idx_to_token[5:], reserved_tokens=SPECIALS)
    sizes = dict(num_hiddens=32, ffn_num_hiddens=48, num_heads=4, num_blks=1, max_len=16)
    book = d2l.BERTClassifier(d2l.BERTModel(len(pieces), dropout=0.1, **sizes))
    for net, vocab, lacks in (
        (book, pieces, "norm on its embeddings"),
        (hidden, words, "SNLI's parses"),
    ):
        with pytest.raises(ValueError, match=rf"transformers has no .*{lacks}.*save_classifier"):
            d2l.export_classifier(tmp_path / "mine", net, vocab)
    assert not contents(tmp_path)


def test_a_network_of_ones_own_is_refused_and_nothing_is_written(tmp_path):
    net, vocab = export_of()
    net.output = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with pytest.raises(ValueError, match="differs from a BERTClassifier"):
        d2l.export_classifier(tmp_path / "mine", net, vocab)
    assert not contents(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "vocab.txt", "classifier.safetensors", "folder"])
def test_a_folder_with_other_files_is_not_written_to(tmp_path, name):
    (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}.*new folder"):
        d2l.export_classifier(tmp_path, *export_of())
    assert contents(tmp_path) == [name]


def test_a_hidden_file_does_not_make_a_folder_another(tmp_path):
    (tmp_path / ".DS_Store").touch()
    d2l.export_classifier(tmp_path, *export_of())
    assert d2l.load_classifier(tmp_path)[0].label_names == d2l.LABELS


def test_an_export_with_the_vocabulary_of_another_model_is_refused(tmp_path):
    net, vocab = export_of()
    longer = d2l.WordPieceVocab([*vocab.idx_to_token, "zebra"])
    with pytest.raises(ValueError, match=r"vocabulary has 105 words.*embedding has 104"):
        d2l.export_classifier(tmp_path / "mine", net, longer)
    assert not contents(tmp_path)


def test_a_checkpoint_of_other_people_is_not_replaced(tmp_path):
    folder = write_classifier(tmp_path / "bert", d2l.LABELS)
    d2l.export_classifier(tmp_path / "mine", *export_of())
    (folder / "vocab.txt").unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "mine" / name).rename(folder / name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="new folder"):
        d2l.export_classifier(folder, *export_of(1))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_export_replaces_an_earlier_one(tmp_path):
    for number in (0, 1):
        net, vocab = export_of(number)
        d2l.export_classifier(tmp_path, net, vocab)
    assert contents(tmp_path) == FILES
    assert torch.equal(d2l.load_classifier(tmp_path)[0].output.weight, net.output.weight)


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("earlier", [True, False])
def test_stopped_in_the_middle_an_export_is_not_a_mixture(tmp_path, monkeypatch, moment, earlier):
    folder = tmp_path / "mine"
    if earlier:
        d2l.export_classifier(folder, *export_of(0, ("yes", "no")))
    replace, count = Path.replace, [0]

    def stop_or_replace(path, target):
        count[0] += 1
        if count[0] == moment:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop_or_replace)
    new = export_of(1, lowercase=False)
    try:
        d2l.export_classifier(folder, *new)
    except OSError as error:
        assert "cannot write the classifier" in str(error) and "No space" in str(error)
        if earlier and moment == 1:  # nothing was replaced yet
            assert d2l.load_classifier(folder)[0].label_names == ("yes", "no")
        else:
            with pytest.raises((OSError, ValueError), match=r"config\.json|no fine-tuned"):
                d2l.load_classifier(folder)
    else:
        assert moment in (0, count[0] + 1)
        assert d2l.load_classifier(folder)[1].settings["lowercase"] is False
    monkeypatch.undo()
    d2l.export_classifier(folder, *new)
    assert d2l.load_classifier(folder)[0].label_names == d2l.LABELS
    assert contents(folder) == FILES


def test_a_file_in_the_place_of_the_folder_is_an_oserror(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write the classifier.*choose a folder"):
        d2l.export_classifier(tmp_path / "file", *export_of())


@pytest.mark.skipif(os.name == "nt", reason="needs a umask")
def test_others_may_read_an_export_as_they_may_read_other_files(tmp_path):
    before = os.umask(0o027)
    try:
        folder = d2l.export_classifier(tmp_path / "mine", *export_of())
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


# ---- What the model card says --------------------------------------------------------------------


def history_of(**made_of):
    records = [Record(1.0, 0.8, 0.5, 0.6, 9.0, 0.9, 0.45), Record(2.0, 0.7, 0.5, 0.5, 9.0, 0.9, 1)]
    return d2l.History(records, precision="bf16", made_of=made_of, kept_epoch=1)


def card(folder, *more, **how):
    folder = d2l.export_classifier(folder / "my-nli", *export_of(), *more, **how)
    return (folder / "README.md").read_text(encoding="utf-8")


def test_a_model_card_claims_nothing_where_nothing_is_known(tmp_path):
    text = card(tmp_path)
    assert "license: unknown" in text and "base_model" not in text
    assert "not recorded" in text and "not measured" in text
    assert not [line for line in text.splitlines() if line.startswith("|")]
    assert "apache" not in text and "accuracy" not in text


def test_a_model_card_has_data_settings_accuracy_and_licence(tmp_path):
    evaluation = d2l.Evaluation(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1]))
    history = history_of(
        model="minilm", corpus="SNLI", pairs=60, lr=1e-4, frozen=None, **{"checksum of x": "ab"}
    )
    text = card(tmp_path, history, {"SNLI's test | split": evaluation})
    head = text.split("---")[1].splitlines()
    assert "license: apache-2.0" in head
    assert "base_model: sentence-transformers/all-MiniLM-L6-v2" in head
    assert "pipeline_tag: text-classification" in head
    for line in (
        "# my-nli",
        "| base model | sentence-transformers/all-MiniLM-L6-v2 |",
        "| corpus | SNLI |",
        "| pairs | 60 |",
        "| epochs done | 2 |",
        "| lr | 0.0001 |",
        "| precision | bf16 |",
        "- Dev split, measured during the training: accuracy 0.600",
    ):
        assert line in text.splitlines()
    low, high = evaluation.interval
    assert f"split: accuracy 0.750 (95 % interval {low:.3f} to {high:.3f})" in text
    assert "4 pairs" in text and ", ".join(d2l.LABELS) in text
    assert "checksum" not in text and "frozen" not in text and "not measured" not in text


@pytest.mark.parametrize("name", ["hf:org/bert", "hf:org/bert@v1"])
def test_the_card_of_a_model_from_the_hub_names_its_address(tmp_path, name):
    text = card(tmp_path, history_of(model=name))
    assert "license: unknown" in text and "base_model: org/bert\n" in text
    assert "https://huggingface.co/org/bert states it" in text
    assert "apache" not in text


@pytest.mark.parametrize(
    "name", ["hf:org/x\nlicense: mit", "hf:a/b: #c", "hf:[x]/y", "a\nlicense: z"]
)
def test_a_name_from_a_file_adds_nothing_to_the_head_of_a_card(tmp_path, name):
    text = card(tmp_path, history_of(model=name))
    assert text.split("---")[1].splitlines()[1:] == [
        "library_name: transformers", "pipeline_tag: text-classification",
        "tags: [natural-language-inference]", "license: unknown",
    ]  # fmt: skip


def test_a_history_that_is_given_counts_before_the_networks_own(tmp_path):
    net, vocab = export_of()
    net.history = history_of(pairs=60)
    folder = d2l.export_classifier(tmp_path / "mine", net, vocab, history_of(pairs=70))
    assert "| pairs | 70 |" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_model_card_that_has_an_accuracy_does_not_say_that_there_is_none(tmp_path):
    evaluation = d2l.Evaluation(torch.eye(3), torch.tensor([0, 1, 2]))
    text = card(tmp_path, None, {"three pairs": evaluation})
    assert "- three pairs: accuracy 1.000" in text and "not measured" not in text


def test_a_value_stays_within_its_cell_of_a_model_card(tmp_path):
    text = card(tmp_path, history_of(corpus="mine | yours\n| ours"))
    assert "| corpus | mine \\| yours \\| ours |" in text.splitlines()


def test_the_card_of_an_interrupted_training_says_so(tmp_path):
    history = history_of()
    history.interrupted = True
    assert "was interrupted" in card(tmp_path, history)


def test_a_history_that_is_none_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"list.*History"):
        card(tmp_path, [1, 2])
    assert not contents(tmp_path)


# ---- The history of a network --------------------------------------------------------------------


def small_set(vocab):
    texts = (["A man plays", "two dogs", "a cat"] * 4, ["a man", "a cat", "the dog"] * 4)
    return d2l.SNLIBERTDataset((*texts, [0, 1, 2] * 4), 16, vocab)


def test_a_network_knows_the_history_of_its_weights(tmp_path):
    net, vocab = export_of()
    assert net.history is None
    history = d2l.finetune(net, small_set(vocab), small_set(vocab), num_epochs=1, batch_size=4)
    assert net.history is history
    d2l.save_classifier(tmp_path / "with", net, vocab, history)
    loaded, _ = d2l.load_classifier(tmp_path / "with")
    np.testing.assert_equal(loaded.history.columns(), history.columns())
    assert loaded.history.made_of["pairs"] == 12
    text = (d2l.export_classifier(tmp_path / "mine", loaded, vocab) / "README.md").read_text()
    assert "| pairs | 12 |" in text and "| num_epochs | 1 |" in text
    d2l.save_classifier(tmp_path / "without", net, vocab)
    assert d2l.load_classifier(tmp_path / "without")[0].history is None


def test_a_network_knows_its_history_from_the_chapters_training():
    net, vocab = export_of()
    batches = torch.utils.data.DataLoader(small_set(vocab), 4)
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    trainer = torch.optim.Adam(net.parameters(), 1e-4)
    d2l.train_ch13(net, batches, batches, loss, trainer, 1, [torch.device("cpu")])
    assert net.history.epoch == 1


def test_a_bundled_classifier_knows_its_history(data_dir, tmp_path):
    made, _ = d2l.load_or_finetune(num_pairs=60)
    loaded, _ = d2l.load_or_finetune(num_pairs=60)
    for net in (made, loaded):
        found = net.history.made_of
        assert (found["model"], found["corpus"], found["pairs"]) == ("bert.tiny", "Scenes", 60)
    np.testing.assert_equal(made.history.columns(), loaded.history.columns())


def test_a_network_that_was_trained_in_a_launched_run_knows_its_history(tmp_path):
    net, vocab = export_of()
    run = d2l.finetune(net, small_set(vocab), None, num_epochs=1, batch_size=4, launch=True)
    history = run.wait()
    np.testing.assert_equal(net.history.columns(), history.columns())
    assert net.history.made_of["pairs"] == 12


# ---- The command line ----------------------------------------------------------------------------


def test_a_classifier_is_exported_by_a_command_and_its_folder_predicts(tmp_path, capsys):
    net, vocab = export_of()
    history = history_of(model="minilm", pairs=60)
    d2l.save_classifier(tmp_path / "own", net, vocab, history)
    rows = "premise,hypothesis,label\nA man plays,a man,entailment\nTwo dogs,a cat,neutral\n"
    (tmp_path / "pairs.csv").write_text(rows)
    mine, own = str(tmp_path / "mine"), str(tmp_path / "own")
    command = ["export", mine, "--classifier", own, "--input", str(tmp_path / "pairs.csv")]
    assert main(command) == 0
    assert mine in capsys.readouterr().out
    text = (tmp_path / "mine" / "README.md").read_text()
    assert "- pairs.csv: accuracy" in text and ", 2 pairs" in text
    assert "license: apache-2.0" in text and "| pairs | 60 |" in text
    said, probs = [], []
    for folder in (own, mine):
        assert main(["predict", "--classifier", folder, "A man plays", "Two dogs"]) == 0
        lines = capsys.readouterr().out.splitlines()
        said.append([lines[0], *re.findall(r"[a-z]+", lines[1])])
        probs += [[float(number) for number in re.findall(r"[\d.]+", lines[1])]]
    assert said[0] == said[1]
    assert probs[0] == pytest.approx(probs[1], abs=0.02)  # only one knows that it saw bf16
    assert said[0][0] in d2l.LABELS


def test_the_command_measures_two_classes_as_evaluate_does(tmp_path, capsys):
    d2l.save_classifier(tmp_path / "own", *export_of())
    rows = "premise,hypothesis,label\nA man plays,a man,entailment\nTwo dogs,a,non-entailment\n"
    (tmp_path / "hans.csv").write_text(rows)
    how = ["--classifier", str(tmp_path / "own"), "--input", str(tmp_path / "hans.csv")]
    assert main(["export", str(tmp_path / "mine"), *how]) == 0
    assert main(["evaluate", *how]) == 0
    accuracy = re.search(r"accuracy \d\.\d+ \(.*?\)", capsys.readouterr().out)[0]
    text = (tmp_path / "mine" / "README.md").read_text()
    note = "contradiction and neutral count as non-entailment"
    assert f"- hans.csv ({note}): {accuracy}" in text


def test_the_command_says_why_a_classifier_cannot_be_exported(tmp_path, net, vocab, capsys):
    own = d2l.save_classifier(tmp_path / "own", net, vocab)
    assert main(["export", str(tmp_path / "mine"), "--classifier", str(own)]) != 0
    assert "transformers has no" in capsys.readouterr().err
    assert contents(tmp_path) == ["own"]


def test_a_classifier_from_elsewhere_can_be_exported_and_saved(tmp_path):
    folder = write_classifier(tmp_path / "bert", ["contradiction", "neutral", "entailment"])
    net, vocab = d2l.load_classifier(folder)
    d2l.export_classifier(tmp_path / "mine", net, vocab)
    d2l.save_classifier(tmp_path / "own", net, vocab)
    for name in ("mine", "own"):
        assert_read(tmp_path / name, ["contradiction", "neutral", "entailment"])
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert list(config["id2label"].values()) == list(d2l.LABELS)
