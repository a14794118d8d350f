"""Loading checkpoints: what is right loads, what is wrong is named."""

import json
import os

import pytest
import torch

import d2lnli as d2l
from conftest import GOLDEN, SIZES, SPECIALS, write_checkpoint, zip_folder

WORDS = [*SPECIALS, "dog", "cat"]


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path / "bert", WORDS)
    return tmp_path / "bert"


def rewrite_params(folder, change):
    path = folder / "pretrained.params"
    params = torch.load(path, weights_only=True)
    torch.save(change(params), path, _use_new_zipfile_serialization=False)


def test_the_architecture_is_read_from_the_checkpoint(checkpoint):
    bert, vocab = d2l.load_pretrained_model(checkpoint)
    assert bert.config == bert.encoder.config == d2l.BERTConfig(7, dropout=0.1, **SIZES)
    assert vocab["cat"] == 6
    assert not bert.training
    saved = torch.load(checkpoint / "pretrained.params", weights_only=True)
    for name, tensor in bert.state_dict().items():
        assert torch.equal(tensor, saved[name])
    assert all(parameter.requires_grad for parameter in bert.parameters())


def test_a_word_vocabulary_with_capital_letters_is_warned_about(tmp_path):
    write_checkpoint(tmp_path / "bert", [*SPECIALS, "dog", "Cat", "U.S."])
    with pytest.warns(UserWarning, match=r"vocab\.json.* 2 words.*'Cat'"):
        d2l.load_pretrained_model(tmp_path / "bert")


def test_arguments_that_agree_are_accepted_and_dropout_and_devices_are_used(checkpoint):
    bert, _ = d2l.load_pretrained_model(
        str(checkpoint), **SIZES, dropout=0.3, devices=[torch.device("cpu")]
    )
    assert bert.encoder.blks[0].addnorm1.dropout.p == 0.3
    assert bert.encoder.pos_embedding.device.type == "cpu"
    meta, _ = d2l.load_pretrained_model(checkpoint, devices=[torch.device("meta")])
    assert meta.encoder.pos_embedding.device.type == "meta"


@pytest.mark.parametrize(("key", "value"), [(key, 3) for key in SIZES])
def test_arguments_that_contradict_name_both_values(checkpoint, key, value):
    named = rf"{key}=3 \(your argument\).*{key}={SIZES[key]}.*leave it out"
    with pytest.raises(ValueError, match=named):
        d2l.load_pretrained_model(checkpoint, **{key: value})


def test_a_config_that_contradicts_the_tensors_is_named(checkpoint):
    (checkpoint / "config.json").write_text(json.dumps({**SIZES, "num_blks": 9}))
    with pytest.raises(ValueError, match=r"num_blks=9 \(config.json\).*num_blks=2.*fetch both"):
        d2l.load_pretrained_model(checkpoint)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"num_heads": True}, r"num_heads=True"),
        ({"num_heads": None}, r"num_heads=None"),
        ({"activation": "gelu"}, r"config\.json.*'activation'.*vocab_size"),
        ({"num_heads": 7}, r"pretrained\.params.*num_heads=7"),
    ],
)
def test_an_entry_of_the_config_that_means_nothing_is_named(checkpoint, entry, message):
    (checkpoint / "config.json").write_text(json.dumps({**SIZES, **entry}))
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(checkpoint)


def test_without_a_config_the_number_of_heads_must_be_given(checkpoint):
    (checkpoint / "config.json").unlink()
    with pytest.raises(ValueError, match=r"num_heads=.*config.json"):
        d2l.load_pretrained_model(checkpoint)
    bert, _ = d2l.load_pretrained_model(checkpoint, num_heads=2)
    assert bert.encoder.blks[0].attention.num_heads == 2


def test_every_argument_changes_what_is_computed(checkpoint):
    (checkpoint / "config.json").unlink()
    tokens = torch.tensor([[2, 5, 6, 3]])
    few, many = (d2l.load_pretrained_model(checkpoint, num_heads=n)[0] for n in (1, 8))
    segments = torch.zeros_like(tokens)
    assert not torch.allclose(few.encoder(tokens, segments), many.encoder(tokens, segments))


def test_the_hub_knows_the_heads_of_the_published_names(server, tmp_path, monkeypatch, data_dir):
    write_checkpoint(
        tmp_path / "bert.small.torch",
        WORDS,
        config=False,
        **dict(num_hiddens=256, ffn_num_hiddens=512, num_heads=4, num_blks=2, max_len=512),
    )
    archive = server.folder / "bert.small.torch.zip"
    sha1 = zip_folder(tmp_path / "bert.small.torch", archive)
    monkeypatch.setitem(d2l.DATA_HUB, "bert.small", (server.url + archive.name, sha1))
    bert, _ = d2l.load_pretrained_model(
        "bert.small",
        num_hiddens=256,
        ffn_num_hiddens=512,
        num_heads=4,
        num_blks=2,
        dropout=0.1,
        max_len=512,
        devices=d2l.try_all_gpus(),
    )
    assert bert.encoder.config.num_heads == 4
    with pytest.raises(
        ValueError, match=r"num_heads=8 \(your argument\).*num_heads=4 \(DATA_HUB\)"
    ):
        d2l.load_pretrained_model("bert.small", num_heads=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {k: p[k] for k in list(p)[:-1]}, r"nsp.output.bias.*missing"),
        (lambda p: {**p, "extra.weight": torch.ones(1)}, r"extra.weight.*unexpected"),
        (lambda p: {**p, "hidden.0.bias": torch.ones(3)}, r"hidden.0.bias.*\(3,\).*\(16,\)"),
        (lambda p: {}, r"encoder.token_embedding.weight.*missing"),
        (lambda p: {**p, "encoder.pos_embedding": torch.ones(2, 2)}, r"not a BERT checkpoint"),
        (lambda p: [1, 2], r"state dict"),
        (lambda p: {"encoder": "weights"}, r"state dict"),
    ],
)
def test_wrong_parameters_are_named(checkpoint, change, message):
    rewrite_params(checkpoint, change)
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(checkpoint)


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 1000, 5000, 20_000])
@pytest.mark.parametrize("new", [True, False])
def test_a_truncated_parameter_file_is_refused(checkpoint, keep, new):
    path = checkpoint / "pretrained.params"
    params = torch.load(path, weights_only=True)
    torch.save(params, path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"pretrained\.params.*PyTorch file"):
        d2l.load_pretrained_model(checkpoint)


class Malice:
    """A pickle of this makes a folder when it is loaded as pickles usually are."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_no_code_from_a_checkpoint_runs(checkpoint, tmp_path):
    rewrite_params(checkpoint, lambda params: {**params, "x": Malice(str(tmp_path / "made"))})
    with pytest.raises(ValueError, match=r"pretrained\.params.*PyTorch file"):
        d2l.load_pretrained_model(checkpoint)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps([*WORDS, "bird"]), r"vocab\.json.*8 words.*7 rows"),
        (json.dumps(WORDS[1:]), r"<pad>"),
        (json.dumps([*WORDS[:-1], "dog"]), r"vocab\.json.*different"),
        (json.dumps([*WORDS[:-1], 5]), r"vocab\.json.*different"),
        (json.dumps({"dog": 1}), r"vocab\.json.*dict"),
        ("[", r"vocab\.json.*JSON"),
    ],
)
def test_a_wrong_vocabulary_is_named(checkpoint, text, message):
    (checkpoint / "vocab.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(checkpoint)


@pytest.mark.parametrize("name", ["vocab.json", "pretrained.params"])
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}.*missing"):
        d2l.load_pretrained_model(checkpoint)


def test_a_name_that_is_nothing_lists_the_hub():
    with pytest.raises(ValueError, match=r"'no/such/folder'.*bert.tiny"):
        d2l.load_pretrained_model("no/such/folder")


def test_the_golden_checkpoint_has_its_own_heads():
    bert, _ = d2l.load_pretrained_model(GOLDEN / "tiny-12x3")
    assert bert.encoder.blks[0].attention.num_heads == 12
