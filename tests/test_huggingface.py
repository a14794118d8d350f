"""Hugging Face's BERTs: equal to transformers' outputs, in every form in which they are saved."""

import json
import struct
import warnings

import numpy as np
import pytest
import torch

import d2lnli as d2l
from layouts import HF, tiny_tensors, write_hf
from test_pretrained import Malice

PAIRS = json.loads((HF / "pairs.json").read_text(encoding="utf-8"))
EXPECTED = {name: torch.from_numpy(array) for name, array in np.load(HF / "expected.npz").items()}
HIDDEN = "last_hidden_state"


def inputs() -> list[torch.Tensor]:
    return [
        EXPECTED["input_ids"],
        EXPECTED["token_type_ids"],
        EXPECTED["attention_mask"].sum(dim=1),
    ]


def close(found: torch.Tensor, name: str, atol: float = 2e-5) -> None:
    torch.testing.assert_close(found, EXPECTED[name], atol=atol, rtol=0)


def outputs(folder) -> tuple:
    bert, _ = d2l.load_pretrained_model(folder)
    positions = None if "mlm" in bert.new_heads else torch.arange(24).expand(4, 24)
    with torch.no_grad():
        return bert(*inputs(), positions)


def test_outputs_equal_those_of_transformers():
    encoded, mlm, nsp = outputs(HF)
    close(encoded, HIDDEN)
    close(mlm, "prediction_logits")
    close(nsp, "seq_relationship_logits")


def test_the_classifier_reads_the_same_cls_vector():
    bert, _ = d2l.load_pretrained_model(HF)
    with torch.no_grad():
        cls = bert.encoder(*inputs())[:, 0]
    torch.testing.assert_close(cls, EXPECTED[HIDDEN][:, 0], atol=2e-5, rtol=0)


def test_the_next_sentence_head_says_yes_where_bert_has_it():
    bert, vocab = d2l.load_pretrained_model(HF)
    for i in (0, 2):  # those that were not cut
        pair = PAIRS["premises"][i], PAIRS["hypotheses"][i]
        yes = EXPECTED["seq_relationship_logits"][i].softmax(dim=0)[0].item()
        assert d2l.next_sentence_proba(bert, vocab, *pair) == pytest.approx(yes, abs=1e-5)


def test_the_decoder_is_the_embedding():
    bert, _ = d2l.load_pretrained_model(HF, devices=[torch.device("cpu")])
    assert bert.mlm.mlp[3].weight is bert.encoder.token_embedding.weight
    fresh = d2l.BERTModel(bert.config)
    assert fresh.mlm.mlp[3].weight is fresh.encoder.token_embedding.weight


def renamed(tensors, old, new):
    return {name.replace(old, new): tensor for name, tensor in tensors.items()}


def without(tensors, *parts):
    return {name: tensor for name, tensor in tensors.items() if not any(p in name for p in parts)}


def old_norms(tensors):
    tensors = renamed(tensors, "LayerNorm.weight", "LayerNorm.gamma")
    return renamed(tensors, "LayerNorm.bias", "LayerNorm.beta")


def with_decoder(tensors):
    words = tensors["bert.embeddings.word_embeddings.weight"]
    return {
        **tensors,
        "cls.predictions.decoder.weight": words.clone(),
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"].clone(),
    }


WHOLE = {
    "as saved": lambda tensors: tensors,
    "old names of the norms": old_norms,
    "the decoder twice": with_decoder,
    "position numbers": lambda t: {**t, "bert.embeddings.position_ids": torch.arange(64)[None]},
    "double precision": lambda t: {name: tensor.double() for name, tensor in t.items()},
}


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("change", WHOLE.values(), ids=WHOLE)
def test_a_whole_checkpoint_in_any_form(tmp_path, change, file, capsys):
    encoded, mlm, nsp = outputs(write_hf(tmp_path / "bert", change, file=file))
    close(encoded, HIDDEN)
    close(mlm, "prediction_logits")
    close(nsp, "seq_relationship_logits")
    assert capsys.readouterr().out == ""


def test_a_config_without_a_model_type_is_read_as_a_berts(tmp_path):
    folder = write_hf(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    for name in ("model_type", "architectures", "layer_norm_eps", "tie_word_embeddings"):
        del config[name]
    (folder / "config.json").write_text(json.dumps(config))
    close(outputs(folder)[1], "prediction_logits")


def test_half_precision_is_computed_in_single(tmp_path):
    folder = write_hf(tmp_path / "b", lambda t: {name: x.half() for name, x in t.items()})
    close(outputs(folder)[0], HIDDEN, atol=2e-2)
    bert, _ = d2l.load_pretrained_model(folder)
    assert {parameter.dtype for parameter in bert.parameters()} == {torch.float32}


def test_a_decoder_of_its_own(tmp_path):
    def own_decoder(tensors):
        ours = {"weight": torch.ones(104, 32), "bias": torch.full((104,), 2.0)}
        ours = {f"cls.predictions.decoder.{name}": tensor for name, tensor in ours.items()}
        return {**tensors, **ours}

    folder = write_hf(tmp_path / "bert", own_decoder, {"tie_word_embeddings": False})
    bert, _ = d2l.load_pretrained_model(folder)
    assert torch.equal(bert.mlm.mlp[3].weight, torch.ones(104, 32))
    assert torch.equal(bert.mlm.mlp[3].bias, torch.full((104,), 2.0))
    close(outputs(folder)[0], HIDDEN)


BODY = {
    "no heads": (lambda t: without(t, "cls."), ("mlm", "nsp")),
    "no prefix, no heads": (
        lambda t: renamed(without(t, "cls."), "bert.", ""),
        ("mlm", "nsp"),
    ),
    "masked LM alone": (lambda t: without(t, "seq_relationship", "pooler"), ("hidden", "nsp")),
    "no pooler": (lambda t: without(t, "cls.", "pooler"), ("hidden", "mlm", "nsp")),
}


@pytest.mark.parametrize(("change", "new"), BODY.values(), ids=BODY)
def test_missing_heads_are_new_and_said_so(tmp_path, change, new, capsys):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    bert, vocab = d2l.load_pretrained_model(write_hf(tmp_path / "bert", change))
    assert torch.equal(torch.get_rng_state(), before)
    assert bert.new_heads == new
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "new, to be trained" in printed
    words = {"hidden": "the pooler", "mlm": "the masked-LM head", "nsp": "the next-sentence head"}
    for head, what in words.items():
        assert (what in printed) == (head in new)
    close(bert.encoder(*inputs()), HIDDEN)
    for parameter in bert.parameters():
        assert parameter.isfinite().all()
    if "mlm" in new:
        with pytest.raises(ValueError, match=r"masked-LM head"):
            d2l.fill_mask(bert, vocab, "a <mask>")
        with pytest.raises(ValueError, match=r"masked-LM head"):
            bert(*inputs(), torch.zeros(4, 1, dtype=torch.long))
        assert bert.mlm.mlp[3].weight is bert.encoder.token_embedding.weight
    with pytest.raises(ValueError, match=r"next-sentence head|pooler"):
        d2l.next_sentence_proba(bert, vocab, "a dog", "a cat")
    assert d2l.predict_proba(d2l.BERTClassifier(bert), vocab, ["a dog"], ["a"]).shape == (1, 3)


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_the_head_of_another_task_is_left_out_and_named(tmp_path, prefix, capsys):
    def change(tensors):
        body = renamed(without(tensors, "cls."), "bert.", prefix)
        return {**body, "classifier.weight": torch.ones(2, 32), "classifier.bias": torch.ones(2)}

    d2l.load_pretrained_model(write_hf(tmp_path / "bert", change))
    assert "left out: classifier" in capsys.readouterr().out


def test_arguments_must_agree_here_too(tmp_path):
    d2l.load_pretrained_model(HF, num_hiddens=32, num_heads=4, num_blks=3, max_len=64)
    with pytest.raises(ValueError, match=r"num_heads=8 \(your argument\).*num_heads=4"):
        d2l.load_pretrained_model(HF, num_heads=8)


# ---------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "roberta"}, r'model_type.*"roberta"'),
        ({"model_type": "distilbert"}, r'model_type.*"distilbert"'),
        ({"position_embedding_type": "relative_key"}, r'position_embedding_type.*"relative_key"'),
        ({"hidden_act": "silu"}, r'hidden_act.*"silu".*"gelu"'),
        ({"hidden_act": ["gelu"]}, r"hidden_act"),
        ({"type_vocab_size": 1}, r"type_vocab_size.*1"),
        ({"is_decoder": True}, r"is_decoder.*true"),
        ({"add_cross_attention": True}, r"add_cross_attention.*true"),
        ({"layer_norm_eps": "small"}, r"layer_norm_eps.*'small'"),
        ({"layer_norm_eps": None}, r"layer_norm_eps.*None"),
        ({"layer_norm_eps": 1}, r"config\.json: layer_norm_eps is 1,"),
        ({"num_attention_heads": "4"}, r"num_attention_heads='4'"),
        ({"num_attention_heads": 0}, r"num_attention_heads=0"),
        ({"num_attention_heads": 5}, r"model\.safetensors.*num_heads=5"),
        ({"hidden_size": 64}, r"num_hiddens=64 \(config\.json\).*num_hiddens=32"),
        ({"intermediate_size": 64}, r"ffn_num_hiddens=64 \(config\.json\)"),
        ({"num_hidden_layers": 2}, r"num_blks=2 \(config\.json\).*num_blks=3"),
        ({"max_position_embeddings": 512}, r"max_len=512 \(config\.json\).*max_len=64"),
        ({"vocab_size": 105}, r"vocab_size=105 \(config\.json\).*vocab_size=104"),
        ({"tie_word_embeddings": "yes"}, r'tie_word_embeddings.*"yes"'),
        ({"tie_word_embeddings": False}, r"cls.predictions.decoder.weight.*missing"),
    ],
)
def test_what_is_not_this_bert_is_refused_by_name(tmp_path, config, message):
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(write_hf(tmp_path / "bert", config=config))


@pytest.mark.parametrize("name", [n for n in tiny_tensors() if ".0." in n or "embeddings" in n])
def test_a_missing_encoder_tensor_is_named_as_in_the_file(tmp_path, name):
    folder = write_hf(tmp_path / "bert", lambda tensors: without(tensors, name))
    if "word" in name:  # it tells the prefix, so the message does not know that
        name = name.removeprefix("bert.")
    with pytest.raises(ValueError, match=rf"model.safetensors .*{name}.*missing"):
        d2l.load_pretrained_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {**t, "bert.encoder.layer.0.attention.self.distance.weight": torch.ones(2)},
            r"layer.0.attention.self.distance.weight.*unexpected",
        ),
        (lambda t: {**t, "cls.more.weight": torch.ones(2)}, r"cls.more.weight.*unexpected"),
        (lambda t: without(t, "seq_relationship.bias"), r"cls.seq_relationship.bias.*missing"),
        (
            lambda t: {**t, "bert.pooler.dense.bias": torch.ones(3)},
            r"bert.pooler.dense.bias.*\(3,\).*\(32,\)",
        ),
        (
            lambda t: {**t, "bert.pooler.dense.bias": torch.ones(32, dtype=torch.int32)},
            r"bert.pooler.dense.bias.*int32",
        ),
        (
            lambda t: {**t, "cls.predictions.decoder.weight": torch.ones(104, 32)},
            r"cls.predictions.decoder.weight.*word embedding",
        ),
        (lambda t: renamed(t, "bert.", "roberta."), r"not a BERT.*roberta\."),
        (lambda t: {}, r"word_embeddings.weight.*missing"),
        (
            lambda t: {**t, "bert.embeddings.position_embeddings.weight": torch.tensor(1.0)},
            r"position_embeddings.weight.*shape",
        ),
        (lambda t: without(t, "layer.1."), r"num_blks=3 \(config\.json\).*num_blks=2"),
    ],
)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_wrong_tensors_are_named(tmp_path, change, message, file):
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(write_hf(tmp_path / "bert", change, file=file))


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 5000, 20_000])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_truncated_file_is_refused(tmp_path, keep, file):
    path = write_hf(tmp_path / "bert", file=file) / file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"{file}.*fetch it again"):
        d2l.load_pretrained_model(tmp_path / "bert")


@pytest.mark.parametrize("size", [2**63, 10**12, 10**8, 0])
def test_a_header_of_absurd_size_is_refused(tmp_path, size):
    path = write_hf(tmp_path / "bert") / "model.safetensors"
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        d2l.load_pretrained_model(tmp_path / "bert")


def test_a_header_that_points_outside_the_file_is_refused(tmp_path):
    path = write_hf(tmp_path / "bert") / "model.safetensors"
    header = json.dumps({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 10**9]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 36)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        d2l.load_pretrained_model(tmp_path / "bert")


def test_no_code_from_a_pickle_runs(tmp_path):
    folder = write_hf(
        tmp_path / "bert",
        lambda tensors: {**tensors, "x": Malice(str(tmp_path / "made"))},
        file="pytorch_model.bin",
    )
    with pytest.raises(ValueError, match=r"pytorch_model\.bin"):
        d2l.load_pretrained_model(folder)
    assert not (tmp_path / "made").exists()


def test_a_pickle_is_not_looked_at_where_there_are_safetensors(tmp_path):
    folder = write_hf(tmp_path / "bert")
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    close(outputs(folder)[0], HIDDEN)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "config.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = write_hf(tmp_path / "bert")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*missing"):
        d2l.load_pretrained_model(folder)


def write_vocab(folder, change) -> None:
    path = folder / "vocab.txt"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pieces: [*pieces, "bird"], r"vocab\.txt.*ids up to 104.*104 rows"),
        (lambda pieces: [*pieces, "a"], r"vocab\.txt.*ids up to 104.*104 rows"),
        (lambda pieces: ["bird", *pieces[1:]], r"vocab\.txt.*\[PAD\]"),
    ],
)
def test_a_wrong_vocabulary_is_named(tmp_path, change, message):
    folder = write_hf(tmp_path / "bert")
    write_vocab(folder, change)
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"\xff\xfe", r"vocab\.txt.*UTF-8"),
        ("config.json", b"{}", r"config\.json.*num_attention_heads"),
        ("tokenizer.json", b'{"model": "x"}', r"tokenizer\.json.*'x'"),
        ("tokenizer.json", b'{"model": {"vocab": null}}', r"tokenizer\.json.*vocabulary"),
        ("tokenizer.json", b'{"model": {"vocab": {"a": "x"}}}', r"tokenizer\.json.*'a'.*'x'"),
        ("tokenizer.json", b'{"model": {"vocab": {"a": 1e999}}}', r"tokenizer\.json.*'a'.*inf"),
        ("tokenizer.json", b'{"model": {}, "normalizer": [4]}', r"tokenizer\.json.*\[4\]"),
        (
            "tokenizer.json",
            b'{"model": {"vocab": {}}, "normalizer": {"type": "Sequence"}}',
            r"tokenizer\.json.*'Sequence'.*'BertNormalizer'",
        ),
        (
            "tokenizer.json",
            b'{"model": {"vocab": {}}, "added_tokens": [{"content": "zebra"}]}',
            r"tokenizer\.json.*'zebra'.*None",
        ),
        ("config.json", b"{", r"config\.json.*JSON"),
        ("config.json", b"[" * 100_000, r"config\.json.*JSON"),
        ("config.json", b"[]", r"config\.json.*list"),
        ("tokenizer_config.json", b"[]", r"tokenizer_config\.json.*list"),
        (
            "tokenizer_config.json",
            b'{"tokenizer_class": "BertJapaneseTokenizer"}',
            r"'BertJapaneseTokenizer'.*WordPiece",
        ),
        (
            "tokenizer_config.json",
            b'{"do_lower_case": "perhaps"}',
            r"tokenizer_config\.json: do_lower_case is 'perhaps'",
        ),
        (
            "tokenizer.json",
            b'{"model": {"vocab": {}}, "normalizer": {"handle_chinese_chars": 1}}',
            r"tokenizer\.json: handle_chinese_chars is 1",
        ),
    ],
)
def test_a_damaged_text_file_is_named(tmp_path, name, content, message):
    folder = write_hf(tmp_path / "bert")
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model(folder)


# --------------------------------------------------------------------------------------- WordPiece


def test_the_dataset_is_that_of_transformers():
    _, vocab = d2l.load_pretrained_model(HF)
    dataset = d2l.SNLIBERTDataset((PAIRS["premises"], PAIRS["hypotheses"], [0] * 4), 24, vocab)
    assert torch.equal(dataset.all_token_ids, EXPECTED["input_ids"])
    assert torch.equal(dataset.all_segments, EXPECTED["token_type_ids"])


def test_case_and_accents_are_the_checkpoints(tmp_path):
    folder = write_hf(tmp_path / "bert")
    text = "A Élan"
    assert d2l.load_pretrained_model(folder)[1].tokenize(text) == ["a", "e", "##l", "##a", "##n"]
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({"do_lower_case": False}))
    assert d2l.load_pretrained_model(folder)[1].tokenize(text) == ["[UNK]", "[UNK]"]
    config.write_text(json.dumps({"do_lower_case": True, "strip_accents": False}))
    assert d2l.load_pretrained_model(folder)[1].tokenize(text) == ["a", "[UNK]"]


def test_a_cased_vocabulary_that_does_not_say_so_is_warned_about(tmp_path):
    folder = write_hf(tmp_path / "bert")
    path = folder / "vocab.txt"
    path.write_text(path.read_text().replace("\nman\n", "\nMan\n"))
    with pytest.warns(UserWarning, match=r"vocab\.txt.* 1 words.*'Man'.*do_lower_case"):
        d2l.load_pretrained_model(folder)
    for told in (True, False):
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": told}))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            d2l.load_pretrained_model(folder)


def test_a_tokenizer_of_one_file(tmp_path):
    folder = write_hf(tmp_path / "bert")
    pieces = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").unlink()
    whole = {
        "normalizer": {"type": "BertNormalizer", "lowercase": False},
        "model": {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(pieces)}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    _, vocab = d2l.load_pretrained_model(folder)
    assert vocab.idx_to_token == pieces
    assert vocab.tokenize("A man") == ["[UNK]", "man"]
    whole["model"]["vocab"]["a"] = 2000
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=r"tokenizer\.json.*ids up to 2000.*104 rows"):
        d2l.load_pretrained_model(folder)
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {}}}))
    with pytest.raises(ValueError, match=r"tokenizer\.json.*'BPE'"):
        d2l.load_pretrained_model(folder)


def test_a_classifier_is_saved_and_loaded_with_its_pieces_and_options(tmp_path):
    folder = write_hf(tmp_path / "bert")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    bert, vocab = d2l.load_pretrained_model(folder)
    net = d2l.BERTClassifier(bert).eval()
    d2l.save_classifier(tmp_path / "classifier", net, vocab)
    again, vocab_again = d2l.load_classifier(tmp_path / "classifier")
    assert again.encoder.config.of_encoder() == net.encoder.config.of_encoder()
    assert vocab_again.settings == vocab.settings
    pair = ["A man aren't"], ["dog"]
    np.testing.assert_allclose(
        d2l.predict_proba(again, vocab_again, *pair), d2l.predict_proba(net, vocab, *pair)
    )


def test_a_model_stays_when_its_file_is_overwritten(tmp_path):
    path = write_hf(tmp_path / "bert") / "model.safetensors"
    bert, _ = d2l.load_pretrained_model(path.parent)
    with path.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(bytes(4096))
        file.truncate(8192)
    with torch.no_grad():
        close(bert.encoder(*inputs()), HIDDEN)


def test_a_new_head_can_be_trained(tmp_path):
    bert, _ = d2l.load_pretrained_model(write_hf(tmp_path / "b", lambda t: without(t, "cls.")))
    bert.train()
    bert(*inputs(), torch.zeros(4, 1, dtype=torch.long))[1].sum().backward()
    assert bert.mlm.mlp[0].weight.grad.abs().sum() > 0


def test_the_next_sentence_head_needs_the_pooler(tmp_path):
    bert, vocab = d2l.load_pretrained_model(write_hf(tmp_path / "b", lambda t: without(t, "pool")))
    with pytest.raises(ValueError, match="pooler"):
        d2l.next_sentence_proba(bert, vocab, "a dog", "a cat")


@pytest.mark.parametrize(
    "strange",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to_sparse_csr(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_is_not_plain_is_named(tmp_path, strange):
    name = "bert.encoder.layer.0.output.dense.weight"
    folder = write_hf(
        tmp_path / "bert", lambda t: {**t, name: strange(t[name])}, file="pytorch_model.bin"
    )
    with pytest.raises(ValueError, match=rf"pytorch_model\.bin.*{name}.*dense"):
        d2l.load_pretrained_model(folder)
