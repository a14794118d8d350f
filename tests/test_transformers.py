"""transformers and d2lnli read each other's files, and get the same numbers from them.

An environment with transformers is made once. It takes the internet or a mirror. One process in it
(transformers_side.py) answers for all tests.
"""

import json
import os
import re
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch

import d2lnli as d2l
from layouts import HF, tiny_tensors, write_hf
from seams import encode_pair

SIDE = Path(__file__).with_name("transformers_side.py")
GOLDEN_PIECES = (HF / "vocab.txt").read_text(encoding="utf-8").splitlines()
PAIRS = [
    ("A man is playing the guitar in the park.", "A man plays."),
    ("Two women aren't jumping over a fence!", "They sit inside, eating pizza."),
    ("Nobody sleeps", "The dog's asleep; isn't it? (no)"),
    ("Élan café naïve: Straße", "cafe\N{COMBINING ACUTE ACCENT} CAFÉ"),
    ("一只猫 sleeps中文。", "貓 cat🙂 \N{FAMILY}\N{ZERO WIDTH JOINER}x"),
    ("n't “quoted”\ttext\N{NO-BREAK SPACE}here\x07\ufffd…", "$5.00, 1,000 - state-of-the-art"),
    ("a" * 99 + " " + "b" * 101, "İstanbul ǅ ﬁ ½ ﷺ"),
    ("[MASK] man [mask] [E1] dog [e1]", "<neg> man<neg>woman New-York new york [spare104]"),
    ("the new_word sat", "<NEG> a  <lstrip>  b  <rstrip>  c XwordX word"),
    ("a man " * 40, "a dog"),
    ("a dog", "the cat is happy " * 30),
    ("a man is in the park " * 10, "a dog " * 12),
    ("a dog runs on the beach " * 11, "a dog is in the park " * 10),
]
TIE = ("a dog is in the park " * 10, "a dog runs on the beach " * 11)

# ---- What d2lnli exports -------------------------------------------------------------------------

CASED = sorted({*"ABDEIJLMNSTXY", "Two", "Nobody", "The", "É", "İ", "New", "York"})
ACCENTED = [
    "é",
    "##é",
    "ï",
    "##ï",
    "ß",
    "##ß",
    "猫",
    "中",
    "##文",
    "🙂",
    "。",
    "…",
    "“",
    "”",
    "\ufffd",
]
ADDED = [
    {"content": "<neg>", "normalized": False},
    {"content": "new york", "normalized": True, "single_word": True},
    {"content": "<lstrip>", "lstrip": True, "normalized": False},
    {"content": "<rstrip>", "rstrip": True, "normalized": False},
]
PIECES = [*GOLDEN_PIECES, *ACCENTED, *[token["content"] for token in ADDED], "?", "!", "$", "-"]
VOCABS = {
    "uncased": (PIECES, {}),
    "cased": ([*PIECES, *CASED], {"lowercase": False}),
    "accents": (PIECES, {"strip_accents": False}),
    "cased without accents": ([*PIECES, *CASED], {"lowercase": False, "strip_accents": True}),
    "whole Chinese words": (PIECES, {"split_chinese": False}),
    "added": (PIECES, {"added_tokens": ADDED}),
    "specials elsewhere": ([*PIECES[5:], *PIECES[4::-1]], {}),
}
NAMES = {2: ("entailment", "non-entailment"), 3: d2l.LABELS, 5: (*d2l.LABELS, "weiß nicht", "否")}
EXPORTED = {
    "uncased": ("uncased", 3, {}),
    "cased, relu": ("cased", 2, {"activation": "relu"}),
    "accents, another eps": ("accents", 5, {"norm_eps": 1e-3}),
    "added tokens, tanh": ("added", 3, {"activation": "gelu_tanh"}),
    "cased without accents": ("cased without accents", 3, {}),
    "whole Chinese words": ("whole Chinese words", 3, {}),
    "specials elsewhere": ("specials elsewhere", 3, {}),
}


def classifier(kind, num_classes, options):
    """Return a random BERT in Hugging Face's architecture, and its vocabulary."""
    torch.manual_seed(num_classes)
    pieces, settings = VOCABS[kind]
    vocab = d2l.WordPieceVocab(pieces, **settings)
    options = {"activation": "gelu", "norm_eps": 1e-12, **options, "embedding_norm": True}
    sizes = dict(num_hiddens=32, ffn_num_hiddens=48, num_heads=4, num_blks=2, max_len=48)
    bert = d2l.BERTModel(len(vocab), dropout=0.1, **sizes, **options)
    net = d2l.BERTClassifier(bert, num_classes, NAMES[num_classes])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn_like(parameter) / 3
    return net.eval(), vocab


# ---- What transformers makes ---------------------------------------------------------------------

MADE = {
    "book's order": ({0: "entailment", 1: "contradiction", 2: "neutral"}, {}, None),
    "MNLI's order": ({0: "CONTRADICTION", 1: "ENTAILMENT", 2: "neutral"}, {}, None),
    "others' order": ({0: "contradiction", 1: "neutral", 2: "entailment"}, {}, None),
    "two": ({0: "not_entailment", 1: "entailment"}, {}, None),
    "five": (dict(enumerate("vwxyz")), {}, None),
    "in shards": ({0: "entailment", 1: "neutral", 2: "contradiction"}, {}, "20KB"),
    "relu": ({0: "neutral", 1: "entailment", 2: "contradiction"}, {"hidden_act": "relu"}, None),
    "gelu_new": ({0: "yes", 1: "no"}, {"hidden_act": "gelu_new"}, None),
    "gelu_pytorch_tanh": ({0: "yes", 1: "no"}, {"hidden_act": "gelu_pytorch_tanh"}, None),
    "nameless": (None, {"layer_norm_eps": 1e-5}, None),
}


def to_be_made(id2label, options, shards):
    sizes = {
        **dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_hidden_layers=2),
        **dict(vocab_size=len(GOLDEN_PIECES), max_position_embeddings=48, **options),
    }
    if id2label:
        sizes["id2label"] = id2label
        sizes["label2id"] = {name: i for i, name in id2label.items()}
    else:
        sizes["num_labels"] = 3
    return {"sizes": sizes, "saved": {"max_shard_size": shards} if shards else {}}


# ---- Checkpoints as people have them -------------------------------------------------------------

WORDS = "bert.embeddings.word_embeddings.weight"
DECODER_BIAS = "cls.predictions.bias"


def with_rows(folder, rows, pieces=()):
    """Write the golden checkpoint with more rows, and more pieces in `vocab.txt`."""

    def change(tensors):
        longer = {DECODER_BIAS: torch.zeros(len(rows)), WORDS: rows}
        return {**tensors, **{name: torch.cat([tensors[name], x]) for name, x in longer.items()}}

    write_hf(folder, change, {"vocab_size": len(GOLDEN_PIECES) + len(rows)})
    with (folder / "vocab.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{piece}\n" for piece in pieces)


def more_rows(number):
    return torch.randn(number, 32, generator=torch.Generator().manual_seed(1))


def write_added_tokens(folder):
    with_rows(folder, more_rows(8))
    added = {"<neg>": len(GOLDEN_PIECES), "new_word": len(GOLDEN_PIECES) + 1}
    (folder / "added_tokens.json").write_text(json.dumps(added))


def write_tokenizer(folder, added, **settings):
    """Write the golden tokenizer as one file, with added tokens behind its pieces."""
    ids = {piece: i for i, piece in enumerate(GOLDEN_PIECES)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(**settings)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(GOLDEN_PIECES[:5])
    tokenizer.add_tokens([tokenizers.AddedToken(**token) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), GOLDEN_PIECES, strict=False))
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": settings.get("lowercase", True)}
    config |= {f"{name}_token": piece for name, piece in names.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_options(folder):
    with_rows(folder, more_rows(8))
    more = [{"content": "<NEG>", "normalized": True}, {"content": "word", "single_word": True}]
    write_tokenizer(folder, [*ADDED, *more])


def write_one_file(folder):
    write_options(folder)
    (folder / "vocab.txt").unlink()


def write_repeated(folder):
    with_rows(folder, more_rows(2), ["man", "🙂"])


def write_empty_line(folder):
    with_rows(folder, more_rows(1), [""])


def write_shards(folder, suffix):
    write_hf(folder)
    (folder / "model.safetensors").unlink()
    whole = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    tensors, places = tiny_tensors(), {}
    names = sorted(tensors)
    for i in range(3):
        file = f"{whole}-{i + 1:05}-of-00003.{suffix}"
        shard = {name: tensors[name] for name in names[i::3]}
        places |= dict.fromkeys(shard, file)
        if suffix == "bin":
            torch.save(shard, folder / file)
        else:
            safetensors.torch.save_file(shard, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{whole}.{suffix}.index.json").write_text(json.dumps(index))


def write_positions(folder):
    write_hf(folder, lambda t: {**t, "bert.embeddings.position_ids": torch.arange(64)[None]})


def write_old_names(folder):
    def change(tensors):
        renamed = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): t for n, t in tensors.items()}
        return {n.replace("LayerNorm.bias", "LayerNorm.beta"): t for n, t in renamed.items()}

    write_hf(folder, change)


def write_decoder(folder):
    with_rows(folder, more_rows(8))
    decoder = {len(GOLDEN_PIECES) + i: token for i, token in enumerate(ADDED)}
    config = {"tokenizer_class": "BertTokenizer", "added_tokens_decoder": decoder}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_special(folder, file, name):
    """Write a checkpoint that calls two of its pieces, and one that is not, special tokens."""
    with_rows(folder, more_rows(8), ["[E1]", "<neg>"])
    neg = {"__type": "AddedToken", "content": "<neg>", "lstrip": True, "special": True}
    special = {name: ["[E1]", "<neg>" if file == "special_tokens_map.json" else neg, "word"]}
    (folder / file).write_text(json.dumps(special))


def write_two_opinions(folder, **settings):
    """Write a tokenizer that keeps capitals, and a config that says something else of it."""
    write_tokenizer(write_hf(folder), [], lowercase=False)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    config = {"tokenizer_class": "BertTokenizer", "model_input_names": names, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_settings(folder, **settings):
    write_hf(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


CHECKPOINTS = {
    "as it is": write_hf,
    "random rows": lambda folder: with_rows(folder, more_rows(8)),
    "rows of zeros": lambda folder: with_rows(folder, torch.zeros(8, 32)),
    "added_tokens.json": write_added_tokens,
    "tokenizer.json": lambda folder: write_tokenizer(write_hf(folder), []),
    "options of added tokens": write_options,
    "one file": write_one_file,
    "added_tokens_decoder": write_decoder,
    "additional special tokens": lambda folder: write_special(
        folder, "tokenizer_config.json", "additional_special_tokens"
    ),
    "extra special tokens": lambda folder: write_special(
        folder, "tokenizer_config.json", "extra_special_tokens"
    ),
    "special_tokens_map.json": lambda folder: write_special(
        folder, "special_tokens_map.json", "additional_special_tokens"
    ),
    "case in both": lambda folder: write_two_opinions(folder, do_lower_case=True),
    "case in tokenizer.json": lambda folder: write_two_opinions(
        folder, tokenizer_class="PreTrainedTokenizerFast"
    ),
    "repeated piece": write_repeated,
    "empty line": write_empty_line,
    "tanh": lambda folder: write_hf(folder, config={"hidden_act": "gelu_new"}),
    "gelu_fast": lambda folder: write_hf(folder, config={"hidden_act": "gelu_fast"}),
    "safetensors in shards": lambda folder: write_shards(folder, "safetensors"),
    "bin in shards": lambda folder: write_shards(folder, "bin"),
    "one .bin": lambda folder: write_hf(folder, file="pytorch_model.bin"),
    "positions": write_positions,
    "old names of norms": write_old_names,
    "cased": lambda folder: write_settings(folder, do_lower_case=False),
    "accents kept": lambda folder: write_settings(folder, strip_accents=False),
    "Chinese not split": lambda folder: write_settings(folder, tokenize_chinese_chars=False),
}

# ---- The other side ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a new environment with transformers; torch is this environment's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = "-m pip install --no-compile --disable-pip-version-check transformers==5.24.0"
    run = subprocess.run([python, *install.split()], capture_output=True, text=True)
    offline = re.search("ConnectionError|NewConnectionError|Max retries|timed out", run.stderr)
    if run.returncode and offline:
        pytest.skip("needs the internet, or a mirror of PyPI")
    assert run.returncode == 0, run.stderr
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip()
    Path(packages, "torch_from_elsewhere.pth").write_text(str(Path(torch.__file__).parents[1]))
    return python


@pytest.fixture(scope="module")
def both(python, tmp_path_factory):
    """The folder with all that is exchanged, and what transformers says of it."""
    folder = tmp_path_factory.mktemp("exchange")
    (folder / "exported").mkdir()
    for name, how in EXPORTED.items():
        d2l.export_classifier(folder / "exported" / name, *classifier(*how))
    for name, write in CHECKPOINTS.items():
        write(folder / "checkpoints" / name)
    write_tokenizer(write_hf(folder / "tokenizer"), [])
    asked = {
        "pairs": [*PAIRS, TIE],
        "exported": list(EXPORTED),
        "checkpoints": list(CHECKPOINTS),
        "made": {name: to_be_made(*how) for name, how in MADE.items()},
    }
    (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [python, SIDE, folder]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder, json.loads((folder / "answers.json").read_text(encoding="utf-8"))


def assert_same_ids(found, net, vocab):
    for pair, theirs in zip(PAIRS, found, strict=False):
        ours = encode_pair(*pair, net.config.max_len, vocab)
        assert vocab.to_tokens(ours[0]) == vocab.to_tokens(theirs["input_ids"])
        assert ours == (theirs["input_ids"], theirs["token_type_ids"])


@pytest.mark.parametrize("name", EXPORTED)
def test_transformers_gives_an_exported_classifier_the_same_ids_and_numbers(both, name):
    found, (net, vocab) = both[1]["exported"][name], classifier(*EXPORTED[name])
    assert not found["not loaded"]
    assert found["id2label"] == {str(i): label for i, label in enumerate(net.label_names)}
    assert_same_ids(found["ids"], net.encoder, vocab)
    probabilities = d2l.predict_proba(net, vocab, *map(list, zip(*PAIRS, strict=True)))
    logits = torch.tensor(found["logits"])
    assert logits.std(dim=0).min() > 0.1
    for i, pair in enumerate(PAIRS):
        ids, segments = encode_pair(*pair, 48, vocab)
        with torch.no_grad():
            ours = net([torch.tensor([ids]), torch.tensor([segments]), torch.tensor([len(ids)])])
        torch.testing.assert_close(logits[i], ours[0], atol=2e-5, rtol=0)
        best = found["pipeline"][i]
        assert best["label"] == d2l.predict_snli(net, vocab, *pair)
        assert best["score"] == pytest.approx(probabilities[i].max(), abs=1e-5)


def test_of_two_sides_that_are_too_long_the_premise_keeps_a_token_more_than_there(both):
    _, vocab = classifier(*EXPORTED["uncased"])
    theirs = both[1]["exported"]["uncased"]["ids"][-1]["token_type_ids"]
    ours = encode_pair(*TIE, 48, vocab)[1]
    assert (sum(ours), sum(theirs)) == (23, 24)  # the book, and transformers


def test_the_shards_of_transformers_are_several(both):
    assert len([*(both[0] / "made" / "in shards").glob("model-*-of-*.safetensors")]) > 2


def by_name(names, rows):
    return {name: [row[i] for row in rows[: len(PAIRS)]] for i, name in enumerate(names)}


@pytest.mark.parametrize("name", MADE)
def test_a_classifier_of_transformers_gives_each_class_the_same_probability(both, name, capsys):
    folder, found = both[0] / "made" / name, both[1]["made"][name]
    assert np.std(found["probabilities"], axis=0).min() > 0.03
    names = ["no", "yes", "perhaps"] if name == "nameless" else None
    if names:
        with pytest.raises(ValueError, match=r"LABEL_0.*label_names"):
            d2l.load_classifier(folder)
    net, vocab = d2l.load_classifier(folder, label_names=names)
    usual = {"not_entailment": "non-entailment"}
    theirs = [usual.get(name, name.lower()) for name in names or found["names"]]
    ours = by_name(
        net.label_names, d2l.predict_proba(net, vocab, *map(list, zip(*PAIRS, strict=True)))
    )
    assert ours.keys() == {*theirs}
    for label, values in by_name(theirs, found["probabilities"]).items():
        np.testing.assert_allclose(ours[label], values, atol=1e-5)
    for order in (NAMES[2], NAMES[3]):
        if {*order} == {*theirs}:
            assert net.label_names == order
            assert ("put in the order" in capsys.readouterr().out) == (list(order) != theirs)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_has_the_same_ids_and_the_same_last_layer(both, name):
    found = both[1]["checkpoints"][name]
    bert, vocab = d2l.load_pretrained_model(both[0] / "checkpoints" / name)
    assert_same_ids(found["ids"], bert, vocab)
    for x, hidden in zip(found["ids"], found["hidden"], strict=True):
        inputs = torch.tensor([x["input_ids"]]), torch.tensor([x["token_type_ids"]])
        with torch.no_grad():
            ours = bert.encoder(*inputs)[0]
        torch.testing.assert_close(ours, torch.tensor(hidden), atol=2e-5, rtol=0)
