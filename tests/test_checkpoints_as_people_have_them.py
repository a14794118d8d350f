"""Checkpoints as people have them: what is a BERT loads, and what is not is refused by name."""

import argparse
import json
import re
import shutil
import struct
import tempfile
import tracemalloc
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import d2lnli as d2l
from conftest import write_former_classifier
from layouts import tiny_tensors, with_rows, write_hf, write_shards
from test_huggingface import HIDDEN, close, inputs, renamed, without
from test_pretrained import Malice

WORDS = "bert.embeddings.word_embeddings.weight"
POSITIONS = "bert.embeddings.position_embeddings.weight"
DENSE = "bert.encoder.layer.1.output.dense.weight"
LINES = (Path(__file__).parent / "golden/hf/tiny/vocab.txt").read_text("utf-8").splitlines()


def is_golden(bert: d2l.BERTModel) -> None:
    """Compare outputs with those of transformers; heads that are new have none to compare."""
    heads = "mlm" not in bert.new_heads
    with torch.no_grad():
        encoded, mlm, nsp = bert(*inputs(), torch.arange(24).expand(4, 24) if heads else None)
    close(encoded, HIDDEN)
    if heads:
        close(mlm[..., :104], "prediction_logits")
        close(nsp, "seq_relationship_logits")


def loads(folder: Path, capsys) -> tuple[d2l.BERTModel, d2l.Vocab, str]:
    """Load a checkpoint whose outputs are golden; return what was printed, without the folder."""
    capsys.readouterr()
    bert, vocab = d2l.load_pretrained_model(folder)
    is_golden(bert)
    return bert, vocab, capsys.readouterr().out.replace(f"{folder}: ", "")


def refused(folder: Path, message: str, capsys, load=d2l.load_pretrained_model) -> str:
    """Expect an error; nothing is left behind, and the folder loads as soon as it is corrected."""
    before = {path: path.stat().st_size for path in folder.parent.rglob("*")}
    with pytest.raises((ValueError, OSError), match=message) as error:
        load(folder)
    assert "\x1b" not in str(error.value)
    assert folder.name in str(error.value)
    assert {path: path.stat().st_size for path in folder.parent.rglob("*")} == before
    assert capsys.readouterr().out == ""
    shutil.rmtree(folder)
    assert loads(write_hf(folder), capsys)[2] == ""
    return str(error.value)


def write_json(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


# ----------------------------------------------------------------------------------- spare rows


@pytest.mark.parametrize("fill", [torch.zeros, torch.randn])
@pytest.mark.parametrize("heads", [True, False])
def test_rows_without_pieces_are_spare_and_a_line_names_them(tmp_path, fill, heads, capsys):
    def change(tensors):
        tensors = with_rows(tensors, 8, fill)
        return tensors if heads else without(tensors, "cls.")

    folder = write_hf(tmp_path / "bert", change, {"vocab_size": 112})
    bert, vocab, said = loads(folder, capsys)
    assert said.endswith(
        "8 spare rows of the word embedding, here called [spare104] to [spare111]\n"
    )
    assert said.count("\n") == (1 if heads else 2)
    assert len(vocab) == bert.config.vocab_size == 112
    assert vocab.to_tokens([103, 104, 111]) == [LINES[103], "[spare104]", "[spare111]"]


def test_a_single_spare_row_is_named_alone(tmp_path, capsys):
    folder = write_hf(tmp_path / "b", lambda t: with_rows(t, 1), {"vocab_size": 105})
    assert "1 spare row of the word embedding, here called [spare104]\n" in loads(folder, capsys)[2]


@pytest.mark.parametrize(("number", "doubted"), [(128, False), (129, True)])
def test_very_many_spare_rows_are_doubted(tmp_path, number, doubted, capsys):
    sizes = {"vocab_size": 104 + number}
    folder = write_hf(tmp_path / "bert", lambda t: with_rows(t, number), sizes)
    assert ("Check that vocab.txt belongs" in loads(folder, capsys)[2]) == doubted


def test_a_head_with_fewer_outputs_than_rows_is_refused(tmp_path, capsys):
    def change(tensors):
        return {**with_rows(tensors, 8), "cls.predictions.bias": torch.zeros(104)}

    folder = write_hf(tmp_path / "bert", change, {"vocab_size": 112})
    refused(folder, r"model\.safetensors.*cls\.predictions\.bias.*\(104,\).*\(112,\)", capsys)


def test_fewer_rows_than_pieces_are_refused(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    (folder / "vocab.txt").write_text("\n".join([*LINES, "bird", "fish"]))
    refused(folder, r"vocab\.txt.*105.*104 rows", capsys)


# ------------------------------------------------------------------------------------ vocab.txt


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n\n", "\r\n", "\r\n\r\n"])
def test_line_ends_and_empty_lines_at_the_end_do_not_matter(tmp_path, end, capsys):
    folder = write_hf(tmp_path / "bert")
    new_line = "\r\n" if "\r" in end else "\n"
    (folder / "vocab.txt").write_bytes((new_line.join(LINES) + end).encode())
    _, vocab, said = loads(folder, capsys)
    assert vocab.idx_to_token == LINES and said == ""


def test_a_byte_order_mark_does_not_matter(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    (folder / "vocab.txt").write_text("\n".join(LINES), encoding="utf-8-sig")
    assert loads(folder, capsys)[1].idx_to_token == LINES


def test_a_repeated_piece_counts_at_its_last_place(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert", lambda t: with_rows(t, 2), {"vocab_size": 106})
    (folder / "vocab.txt").write_text("\n".join([*LINES, "man", "man"]))
    _, vocab, said = loads(folder, capsys)
    first = LINES.index("man")
    assert vocab["man"] == 105 and vocab.tokenize("a man") == ["a", "man"]
    assert vocab.to_tokens([first, 104]) == [f"[spare{first}]", "[spare104]"]
    assert said.startswith("vocab.txt repeats 'man', 'man': the last place counts\n2 spare rows")


@pytest.mark.parametrize(("bad", "good"), [("man", "man "), ("man", "man\t"), ("cat", "c\rat")])
def test_white_space_in_a_line_moves_no_piece(tmp_path, bad, good, capsys):
    folder = write_hf(tmp_path / "bert")
    text = (folder / "vocab.txt").read_text("utf-8").replace(f"\n{bad}\n", f"\n{good}\n")
    (folder / "vocab.txt").write_bytes(text.encode())
    vocab = loads(folder, capsys)[1]
    assert [vocab[piece] for piece in LINES if piece != bad] == [
        i for i, piece in enumerate(LINES) if piece != bad
    ]
    assert vocab[vocab.tokenize("man")] == [LINES.index("man")]


@pytest.mark.parametrize("name", ["[spare104]", "[spare105]"])
def test_a_piece_with_the_name_of_a_spare_row_is_named(tmp_path, name, capsys):
    folder = write_hf(tmp_path / "b", lambda t: with_rows(t, 2), {"vocab_size": 106})
    lines = [name if line == LINES[103] else line for line in LINES]
    (folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    refused(folder, rf"vocab\.txt.*different: remove the second .\[spare{name[6:9]}", capsys)


# ------------------------------------------------------------------------------------- settings


CASED = {"type": "BertNormalizer", "lowercase": False}
SPLITTER = {"type": "BertPreTokenizer"}


def write_tokenizer(folder: Path, kind: str | None, config: dict, **parts) -> Path:
    model = {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(LINES)}}
    write_json(write_hf(folder), "tokenizer.json", {"model": model, **parts})
    write_json(folder, "tokenizer_config.json", {"tokenizer_class": kind, **config})
    return folder


@pytest.mark.parametrize("kind", [None, "BertTokenizer", "BertTokenizerFast"])
def test_case_that_transformers_would_not_heed_is_heeded_and_said(tmp_path, kind, capsys):
    folder = write_tokenizer(tmp_path / "bert", kind, {}, normalizer=CASED)
    _, vocab, said = loads(folder, capsys)
    assert vocab.settings["lowercase"] is False
    assert re.search(r"tokenizer\.json says lowercase=False.*do_lower_case in tokenizer_c", said)
    write_json(folder, "tokenizer_config.json", {"do_lower_case": True})
    _, vocab, said = loads(folder, capsys)
    assert vocab.settings["lowercase"] is True
    assert said == ""


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "TokenizersBackend"])
def test_a_tokenizer_of_no_model_does_as_its_own_file_says(tmp_path, kind, capsys):
    parts = {"normalizer": CASED, "pre_tokenizer": SPLITTER}
    folder = write_tokenizer(tmp_path / "bert", kind, {"do_lower_case": True}, **parts)
    _, vocab, said = loads(folder, capsys)
    assert vocab.settings["lowercase"] is False
    assert said == ""


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_tokenizer_of_no_model_that_lacks_a_part_is_refused(tmp_path, part, capsys):
    parts = {"normalizer": CASED, "pre_tokenizer": SPLITTER, part: None}
    folder = write_tokenizer(tmp_path / "bert", "PreTrainedTokenizerFast", {}, **parts)
    refused(folder, r"tokenizer\.json lacks a normalizer or a pre_tokenizer", capsys)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("name", ["cls", "sep", "pad", "unk", "mask"])
@pytest.mark.parametrize("wrap", [str, lambda text: {"content": text}])
def test_special_tokens_of_another_name_are_refused(tmp_path, file, name, wrap, capsys):
    folder = write_hf(tmp_path / "bert")
    write_json(folder, file, {f"{name}_token": wrap(f"[{name.upper()}]")})
    assert loads(folder, capsys)[2] == ""
    write_json(folder, file, {f"{name}_token": wrap("man")})
    refused(folder, rf"{re.escape(file)}: {name}_token is .*man.*\[{name.upper()}\]", capsys)


# ----------------------------------------------------------------------------------- added tokens

ADDED = {"zebra": 104, "[E1]": 105}


def as_list(added: dict) -> list[dict]:
    return [{"id": i, "content": text, "special": False} for text, i in added.items()]


def in_added_tokens(folder: Path, added) -> None:
    write_json(folder, "added_tokens.json", added)


def in_tokenizer(folder: Path, added) -> None:
    model = {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(LINES)}}
    listed = as_list(added) if isinstance(added, dict) else added
    write_json(folder, "tokenizer.json", {"model": model, "added_tokens": listed})


def in_tokenizer_alone(folder: Path, added) -> None:
    in_tokenizer(folder, added)
    (folder / "vocab.txt").unlink()


def in_tokenizer_config(folder: Path, added) -> None:
    if isinstance(added, dict):
        zeros = {text: "0" * (n % 2) for n, text in enumerate(added)}  # keys differ if ids do not
        added = {f"{zeros[text]}{i}": {"content": text} for text, i in added.items()}
    write_json(folder, "tokenizer_config.json", {"added_tokens_decoder": added})


PLACES = [in_added_tokens, in_tokenizer, in_tokenizer_alone, in_tokenizer_config]


def write_added(folder: Path, place, added, rows: int = 106) -> Path:
    place(write_hf(folder, lambda t: with_rows(t, rows - 104), {"vocab_size": rows}), added)
    return folder


@pytest.mark.parametrize("name", ["<sep>", "<cls>", "<mask>", "<pad>", "<unk>"])
def test_an_added_token_with_a_name_of_the_books_is_refused(tmp_path, name, capsys):
    folder = write_added(tmp_path / "bert", in_added_tokens, {name: 104})
    refused(folder, rf"added token {name} has the book's name", capsys)


@pytest.mark.parametrize("place", PLACES)
def test_added_tokens_are_found_in_raw_text_as_whole_tokens(tmp_path, place, capsys):
    _, vocab, said = loads(write_added(tmp_path / "bert", place, ADDED), capsys)
    assert said == ""
    tokens = vocab.tokenize("A Zebra, a [E1]man zebras")
    assert tokens == ["a", "zebra", ",", "a", "[E1]", "man", "zebra", "s"]
    assert vocab[["zebra", "[E1]"]] == [104, 105]
    assert vocab.to_tokens([104, 105]) == ["zebra", "[E1]"]


def test_added_tokens_in_all_places_at_once_are_one(tmp_path, capsys):
    folder = write_added(tmp_path / "bert", in_added_tokens, ADDED)
    in_tokenizer(folder, ADDED | {piece: i for i, piece in enumerate(LINES[:5])})
    in_tokenizer_config(folder, ADDED | {piece: i for i, piece in enumerate(LINES[:5])})
    _, vocab, _ = loads(folder, capsys)
    assert vocab.tokenize("zebra") == ["zebra"]
    assert "[SEP]" not in vocab.tokenize("a [SEP] man")  # no text brings these in


def test_a_token_that_is_a_single_word_is_not_found_within_others(tmp_path, capsys):
    token = {"content": "[E1]", "id": 104, "single_word": True}
    _, vocab, _ = loads(write_added(tmp_path / "bert", in_tokenizer, [token]), capsys)
    assert vocab.tokenize("a [E1] man") == ["a", "[E1]", "man"]
    assert "[E1]" not in vocab.tokenize("a[E1]man")


def test_added_tokens_are_kept_by_a_classifier(tmp_path, capsys):
    bert, vocab, _ = loads(write_added(tmp_path / "bert", in_added_tokens, ADDED, 110), capsys)
    net = d2l.BERTClassifier(bert).eval()
    d2l.save_classifier(tmp_path / "ours", net, vocab)
    d2l.export_classifier(tmp_path / "theirs", net, vocab)
    for name in ("ours", "theirs"):
        _, again = d2l.load_classifier(tmp_path / name)
        assert again.idx_to_token == vocab.idx_to_token
        assert again.tokenize("a [E1] zebra") == ["a", "[E1]", "zebra"]


NOT_ADDED = {
    "the id of another piece": ({"zebra": 7}, rf"'zebra'.*7.*'{LINES[7]}'"),
    "a piece with another id": ({"man": 104}, rf"'man'.*104.*{LINES.index('man')}"),
    "an id twice": ({"zebra": 104, "gnu": 104}, r"'gnu'.*104|104.*'gnu'"),
    "an id without a row": ({"zebra": 106}, r"106.*106 rows"),
    "a huge id": ({"zebra": 10**9 - 1}, r"999999999.*106 rows"),
    "a negative id": ({"zebra": -1}, r"'zebra'.*-1"),
    "a gigantic id": ({"zebra": 10**30}, r"10{30}"),
    "an id that is a word": ({"zebra": "many"}, r"'zebra'.*'many'"),
    "an id that is a fraction": ({"zebra": 1.5}, r"'zebra'.*1\.5"),
    "not a list": (5, r"added tokens|int"),
    "not dicts": ([1, 2], r"added tokens|list"),
    "a text": ("zebra", r"added tokens|str"),
}
FILE_OF = {"in_added_tokens": "added_tokens", "in_tokenizer_config": "tokenizer_config"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("added", "message"), NOT_ADDED.values(), ids=NOT_ADDED)
def test_added_tokens_that_cannot_be_are_refused(tmp_path, place, added, message, capsys):
    folder = write_added(tmp_path / "bert", place, added)
    file = FILE_OF.get(place.__name__, "tokenizer")
    tracemalloc.start()
    refused(folder, rf"(?s){file}\.json.*({message})", capsys)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("token", [{"id": 104}, {"content": 5, "id": 104}, {"content": "zebra"}])
@pytest.mark.parametrize("options", [{}, {"lstrip": "yes"}])
def test_an_added_token_that_lacks_something_is_refused(tmp_path, token, options, capsys):
    folder = write_added(tmp_path / "bert", in_tokenizer, [{**token, **options}])
    refused(folder, r"tokenizer\.json: the (piece|added token)", capsys)


def test_a_thousand_added_tokens_are_read_at_once(tmp_path, capsys):
    added = {f"<{i}>": 104 + i for i in range(1000)}
    folder = write_added(tmp_path / "bert", in_tokenizer, added, 1104)
    in_tokenizer_config(folder, added)
    _, vocab, said = loads(folder, capsys)
    assert said == "" and vocab.tokenize("a<999> <0>") == ["a", "<999>", "<0>"]


def test_two_files_of_a_tokenizer_that_contradict_each_other_are_refused(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    in_tokenizer(folder, {})
    (folder / "vocab.txt").write_text("\n".join([*LINES[:-2], LINES[-1], LINES[-2]]))
    refused(folder, rf"tokenizer\.json.*'{LINES[-2]}'.*102.*103", capsys)


@pytest.mark.parametrize("kind", ["Whitespace", "ByteLevel", "Sequence"])
def test_another_pre_tokenizer_is_refused(tmp_path, kind, capsys):
    folder = write_hf(tmp_path / "bert")
    model = {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(LINES)}}
    write_json(folder, "tokenizer.json", {"model": model, "pre_tokenizer": {"type": kind}})
    refused(folder, rf"tokenizer\.json.*pre_tokenizer is '{kind}'.*BertPreTokenizer", capsys)


def whole_tokenizer(**settings) -> dict:
    """Return a `tokenizer.json` that has all parts of BERT's."""
    return {
        "model": {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(LINES)}},
        "normalizer": {"type": "BertNormalizer", **settings},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }


@pytest.mark.parametrize(
    ("settings_", "name"),
    [
        ({"lowercase": False}, "do_lower_case"),
        ({"strip_accents": False}, "strip_accents"),
        ({"strip_accents": True}, "strip_accents"),
        ({"handle_chinese_chars": False}, "tokenize_chinese_chars"),
    ],
)
def test_a_setting_that_transformers_reads_elsewhere_is_used_and_named(
    tmp_path, settings_, name, capsys
):
    folder = write_hf(tmp_path / "bert")
    write_json(folder, "tokenizer.json", whole_tokenizer(**settings_))
    ((key, value),) = settings_.items()
    used = {"lowercase": "lowercase", "strip_accents": "strip_accents"}.get(key, "split_chinese")
    _, vocab, said = loads(folder, capsys)
    assert vocab.settings[used] is value
    assert re.fullmatch(
        rf"tokenizer\.json says {key}={value},.*{name} in tokenizer_config.*\n", said
    )
    write_json(folder, "tokenizer_config.json", {name: value})
    assert loads(folder, capsys)[2] == ""


def test_a_generic_tokenizer_does_as_tokenizer_json_says(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    generic = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True}
    write_json(folder, "tokenizer_config.json", {**generic, "do_lower_case": False})
    assert loads(folder, capsys)[1].settings["lowercase"] is False  # there is no tokenizer.json
    write_json(folder, "tokenizer_config.json", generic)
    write_json(folder, "tokenizer.json", whole_tokenizer(lowercase=False))
    _, vocab, said = loads(folder, capsys)
    assert vocab.settings["lowercase"] is False and said == ""


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_generic_tokenizer_that_lacks_a_part_is_refused(tmp_path, part, capsys):
    folder = write_hf(tmp_path / "bert")
    write_json(folder, "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})
    write_json(folder, "tokenizer.json", {**whole_tokenizer(), part: None})
    refused(folder, r"tokenizer\.json lacks a normalizer or a pre_tokenizer", capsys)


def test_a_tokenizer_that_says_its_case_is_not_warned_about(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    lines = ["Man" if line == "man" else line for line in LINES]
    (folder / "vocab.txt").write_text("\n".join(lines))
    whole = whole_tokenizer(lowercase=False)
    whole["model"]["vocab"] = {piece: i for i, piece in enumerate(lines)}
    write_json(folder, "tokenizer.json", whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loads(folder, capsys)[1].tokenize("Man") == ["Man"]


def test_an_empty_piece_in_tokenizer_json_does_not_matter(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    in_tokenizer(folder, {})
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["model"]["vocab"][""] = len(LINES)
    write_json(folder, "tokenizer.json", whole)
    assert loads(folder, capsys)[1].idx_to_token == LINES


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("listed", [["Zebra"], {"an_animal": "Zebra"}])
def test_a_further_special_token_gets_a_row_of_its_own_and_is_found_as_written(
    tmp_path, file, listed, capsys
):
    folder = write_hf(tmp_path / "bert", lambda t: with_rows(t, 2), {"vocab_size": 106})
    (folder / "vocab.txt").write_text("\n".join([*LINES, "man"]))
    write_json(folder, "tokenizer_config.json", {"do_lower_case": True})
    write_json(folder, file, {"extra_special_tokens": listed, "do_lower_case": True})
    _, vocab, _ = loads(folder, capsys)
    assert vocab.to_tokens([104, 105]) == ["man", "Zebra"]
    assert vocab.tokenize("a Zebra man") == ["a", "Zebra", "man"]
    assert "Zebra" not in vocab.tokenize("a zebra man")
    write_json(folder, file, {"extra_special_tokens": ["Zebra", "Gnu"], "do_lower_case": True})
    refused(folder, rf"{re.escape(file)}.*ids up to 106.*106 rows", capsys)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("token", ["<s>", {"content": "<s>"}])
def test_special_tokens_of_another_model_are_refused(tmp_path, file, token, capsys):
    folder = write_hf(tmp_path / "bert")
    write_json(folder, file, {"cls_token": token, "sep_token": "[SEP]"})
    refused(folder, rf"{re.escape(file)}: cls_token is .*<s>.*a BERT has \[CLS\]", capsys)


def test_an_added_token_with_the_books_name_of_another_is_refused(tmp_path, capsys):
    folder = write_added(tmp_path / "bert", in_added_tokens, {"<mask>": 104})
    refused(folder, r"added token <mask> has the book's name of \[MASK\]", capsys)


def test_an_id_of_thousands_of_digits_is_refused(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    write_json(
        folder, "tokenizer_config.json", {"added_tokens_decoder": {"9" * 5000: {"content": "x"}}}
    )
    refused(folder, r"tokenizer_config\.json: the piece 'x' has the id", capsys)


# --------------------------------------------------------------- a slow and obvious tokenizer

SPECIALS = LINES[:5]
PARTS = ["a", "b", "ab", "ba", "aab", "##a", "##b", "##ab", "##ba"]


def slow_pieces(word: str, known: list[str]) -> list[str]:
    found, rest = [], word
    while rest:
        fitting = [
            n for n in range(1, len(rest) + 1) if ("##" if found else "") + rest[:n] in known
        ]
        if not fitting:
            return ["[UNK]"]
        found.append(("##" if found else "") + rest[: fitting[-1]])
        rest = rest[fitting[-1] :]
    return found


def slow_rows(lines: list[str], added: dict[str, int], num_rows: int) -> list[str]:
    rows = []
    for i in range(num_rows):
        is_last = i < len(lines) and lines[i] not in lines[i + 1 :]
        names = [lines[i]] if is_last else [text for text in added if added[text] == i]
        rows.append(names[0] if names else f"[spare{i}]")
    return rows


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.sampled_from(PARTS), max_size=14),
    order=st.randoms(use_true_random=False),
    added=st.lists(st.sampled_from(["<0>", "<1>", "<2>", "<3>"]), unique=True),
    spare=st.integers(0, 4),
    place=st.sampled_from([in_added_tokens, in_tokenizer_config]),
    text=st.lists(st.sampled_from(["a", "b", " ", "ba", "<0>", "<1>", "<2>", "<3>"]), max_size=12),
)
def test_ids_and_tokens_are_those_of_a_slow_reference(pieces, order, added, spare, place, text):
    lines = [*SPECIALS, *pieces]
    order.shuffle(lines)
    num_rows = len(lines) + len(added) + spare
    free = [i for i in range(num_rows) if i >= len(lines) or lines[i] in lines[i + 1 :]]
    added = dict(zip(added, order.sample(free, len(added)), strict=True))
    rows = slow_rows(lines, added, num_rows)
    with tempfile.TemporaryDirectory() as folder:
        folder = write_hf(
            Path(folder, "bert"),
            lambda t: {**without(t, "cls."), WORDS: torch.zeros(num_rows, 32)},
            {"vocab_size": num_rows},
        )
        (folder / "vocab.txt").write_text("\n".join(lines))
        place(folder, added)
        _, vocab = d2l.load_pretrained_model(folder)
    assert vocab.idx_to_token == rows
    assert [vocab[row] for row in rows] == list(range(num_rows))
    tokens = []
    for part in re.split("(<.>)", "".join(text)):
        if part in added:
            tokens.append(part)
        else:
            for word in re.findall(r"[ab]+|[<>]|\d", part):
                tokens += slow_pieces(word, lines)
    if set(re.findall("<.>", "".join(text))) <= set(added):  # `<0>` is else several words
        assert vocab.tokenize("".join(text)) == tokens


# ------------------------------------------------------------------------------ names of tensors

PREFIXES = ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "anything.at.all.", "a.bert."]


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("inner", ["bert.", ""])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_before_all_names_does_not_matter(tmp_path, prefix, inner, file, capsys):
    def change(tensors):
        tensors = renamed(tensors, "bert.", inner)
        return {prefix + name: tensor for name, tensor in tensors.items()}

    bert, _, said = loads(write_hf(tmp_path / "b", change, file=file), capsys)
    assert bert.new_heads == () and said == ""


@pytest.mark.parametrize("inner", ["bert.", ""])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_heads_may_lie_outside_of_the_prefix(tmp_path, prefix, inner, capsys):
    folder = write_hf(tmp_path / "b", lambda tensors: renamed(tensors, "bert.", prefix + inner))
    bert, _, said = loads(folder, capsys)
    assert bert.new_heads == () and said == ""


@pytest.mark.parametrize("inner", ["bert.", ""])
@pytest.mark.parametrize("prefix", [*PREFIXES, ""])
def test_a_prefix_of_a_body_alone_does_not_matter(tmp_path, prefix, inner, capsys):
    folder = write_hf(
        tmp_path / "b", lambda t: renamed(without(t, "cls."), "bert.", prefix + inner)
    )
    assert loads(folder, capsys)[0].new_heads == ("mlm", "nsp")


def test_what_lies_beside_a_wrapped_model_is_left_out_and_its_heads_are_not(tmp_path, capsys):
    def change(tensors):
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
        head = {"model.classifier.weight": torch.ones(3, 32)}
        return {**tensors, **head, "criterion.weight": torch.ones(3)}

    bert, _, said = loads(write_hf(tmp_path / "bert", change), capsys)
    assert bert.new_heads == ()
    assert re.fullmatch(r"left out: (classifier|criterion) .*, (classifier|criterion) .*\n", said)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_in_a_trainers_checkpoint_is_found(tmp_path, wrapper, capsys):
    folder = write_hf(
        tmp_path / "bert",
        lambda tensors: {wrapper: tensors, "epoch": 3, "optimizer": {"lr": 0.1}},
        file="pytorch_model.bin",
    )
    assert loads(folder, capsys)[2] == ""


@pytest.mark.parametrize("shape", [(64,), (1, 64), (1, 1, 64)])
@pytest.mark.parametrize("prefix", ["bert.", "module.bert.", ""])
def test_buffers_of_any_number_of_dimensions_do_not_matter(tmp_path, shape, prefix, capsys):
    def change(tensors):
        numbers = torch.arange(64).reshape(shape)
        more = {"bert.embeddings.position_ids": numbers}
        more["bert.embeddings.token_type_ids"] = torch.zeros_like(numbers)
        return renamed({**tensors, **more}, "bert.", prefix)

    assert loads(write_hf(tmp_path / "bert", change), capsys)[2] == ""


def test_positions_may_have_a_dimension_more(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert", lambda t: {**t, POSITIONS: t[POSITIONS][None]})
    assert loads(folder, capsys)[2] == ""


@pytest.mark.parametrize("shape", [(2, 64, 32), (64, 1, 32), (1, 1, 64, 32), (64,)])
def test_positions_of_another_shape_are_refused(tmp_path, shape, capsys):
    folder = write_hf(tmp_path / "bert", lambda t: {**t, POSITIONS: torch.zeros(shape)})
    refused(folder, r"model\.safetensors.*position_embeddings\.weight|max_len", capsys)


@pytest.mark.parametrize("shape", [(), (104,), (1, 104, 32)])
def test_a_word_embedding_of_another_shape_is_refused(tmp_path, shape, capsys):
    folder = write_hf(tmp_path / "bert", lambda t: {**t, WORDS: torch.zeros(shape)})
    refused(folder, r"model\.safetensors.*word_embeddings\.weight is missing or has", capsys)


def test_bert_config_json_may_be_the_name_of_the_configuration(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    (folder / "config.json").rename(folder / "bert_config.json")
    assert loads(folder, capsys)[2] == ""
    write_json(folder, "bert_config.json", {"num_attention_heads": 4, "hidden_size": 64})
    refused(folder, r"num_hiddens=64 \(bert_config\.json\).*num_hiddens=32", capsys)


def test_config_json_counts_where_another_configuration_lies_beside_it(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    write_json(folder, "bert_config.json", {"num_attention_heads": 8, "hidden_size": 64})
    assert loads(folder, capsys)[0].encoder.config.num_heads == 4


def with_a_former_name(tensors):
    return {**tensors, "bert.embeddings.LayerNorm.gamma": torch.ones(32)}


def with_a_part_outside(tensors):
    inside = renamed(without(tensors, "cls."), "bert.", "model.bert.")
    return {**inside, "bert.embeddings.LayerNorm.weight": torch.ones(32)}


@pytest.mark.parametrize("change", [with_a_former_name, with_a_part_outside])
def test_two_tensors_of_one_meaning_are_refused(tmp_path, change, capsys):
    message = r"model\.safetensors: two tensors are bert\.embeddings\.LayerNorm\.weight: remove one"
    refused(write_hf(tmp_path / "bert", change), message, capsys)


@pytest.mark.parametrize("name", ["bert_config.json", "tokenizer.json", "vocab.txt"])
def test_a_folder_without_weights_lacks_those_of_its_layout(tmp_path, name, capsys):
    write_json(tmp_path, name, {})
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        d2l.load_pretrained_model(tmp_path)


# ----------------------------------------------------------------------------------- the tanh GELU


def slow_bert(gelu) -> torch.Tensor:
    """Return the encoded golden inputs from the golden tensors, step by step."""
    t = {name.removeprefix("bert."): tensor for name, tensor in tiny_tensors().items()}
    ids, segments, lengths = inputs()

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (
            x.var(-1, unbiased=False, keepdim=True) + 1e-12
        ).sqrt()
        return x * t[f"{name}.LayerNorm.weight"] + t[f"{name}.LayerNorm.bias"]

    def of_embedding(name):
        return t[f"embeddings.{name}_embeddings.weight"]

    x = of_embedding("word")[ids] + of_embedding("token_type")[segments]
    x = norm(x + of_embedding("position")[: ids.shape[1]], "embeddings")
    hidden = torch.arange(ids.shape[1]) >= lengths[:, None]
    for i in range(3):
        layer = f"encoder.layer.{i}"
        parts = (linear(x, f"{layer}.attention.self.{n}") for n in ("query", "key", "value"))
        q, k, v = (part.unflatten(-1, (4, 8)).transpose(1, 2) for part in parts)
        scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(hidden[:, None, None], -1e30)
        read = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = norm(x + linear(read, f"{layer}.attention.output.dense"), f"{layer}.attention.output")
        inside = gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(inside, f"{layer}.output.dense"), f"{layer}.output")
    return x


def exact_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def test_the_slow_references_are_right():
    x = torch.linspace(-5, 5, 99)
    torch.testing.assert_close(tanh_gelu(x), functional.gelu(x, approximate="tanh"))
    close(slow_bert(exact_gelu), HIDDEN)


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"])
def test_the_gelu_with_a_tanh_is_computed(tmp_path, name):
    bert, _ = d2l.load_pretrained_model(write_hf(tmp_path / "bert", config={"hidden_act": name}))
    with torch.no_grad():
        encoded, mlm, _ = bert(*inputs(), torch.zeros(4, 1, dtype=torch.long))
    torch.testing.assert_close(encoded, slow_bert(tanh_gelu), atol=2e-5, rtol=0)
    assert (encoded - slow_bert(exact_gelu)).abs().max() > 1e-4
    first = encoded[:, :1]
    t = tiny_tensors()
    transform = "cls.predictions.transform"
    x = tanh_gelu(first @ t[f"{transform}.dense.weight"].T + t[f"{transform}.dense.bias"])
    scale, shift = t[f"{transform}.LayerNorm.weight"], t[f"{transform}.LayerNorm.bias"]
    x = functional.layer_norm(x, (32,), scale, shift, 1e-12)
    logits = x @ t[WORDS].T + t["cls.predictions.bias"]
    torch.testing.assert_close(mlm, logits, atol=2e-5, rtol=0)


# --------------------------------------------------------------------------------------- shards

BOTH = pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])


@BOTH
def test_shards_are_read_as_one_file(tmp_path, file, capsys):
    write_shards(tmp_path / "bert", file)
    assert loads(tmp_path / "bert", capsys)[2] == ""


def test_a_pickle_is_not_looked_at_where_there_are_safetensors_in_shards(tmp_path, capsys):
    write_shards(tmp_path / "bert")
    (tmp_path / "bert" / "pytorch_model.bin").write_bytes(b"not read")
    assert loads(tmp_path / "bert", capsys)[2] == ""


@BOTH
def test_all_missing_shards_are_named(tmp_path, file, capsys):
    write_shards(tmp_path / "bert", file)
    stem, ending = file.split(".")
    lost = [f"{stem}-0000{i}-of-00003.{ending}" for i in (1, 3)]
    for shard in lost:
        (tmp_path / "bert" / shard).unlink()
    refused(tmp_path / "bert", rf"lacks {lost[0]}, {lost[1]}, .*{file}\.index\.json", capsys)


@BOTH
@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_truncated_shard_is_named(tmp_path, file, keep, capsys):
    write_shards(tmp_path / "bert", file)
    stem, ending = file.split(".")
    path = tmp_path / "bert" / f"{stem}-00002-of-00003.{ending}"
    path.write_bytes(path.read_bytes()[:keep])
    refused(tmp_path / "bert", rf"{path.name} is .*fetch it again", capsys)


@BOTH
def test_shards_without_their_index_are_refused(tmp_path, file, capsys):
    write_shards(tmp_path / "bert", file)
    (tmp_path / "bert" / f"{file}.index.json").unlink()
    refused(tmp_path / "bert", rf"00001-of-00003.*{file}\.index\.json.*fetch", capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "JSON"),
        (b"", "JSON"),
        (b"[]", "list"),
        (b"\xff", "JSON"),
        (b"{}", "weight_map"),
        (b'{"weight_map": {}}', "weight_map"),
        (b'{"weight_map": ["model-00001-of-00003.safetensors"]}', "weight_map"),
        (b'{"weight_map": {"a": 5}}', "a is in 5"),
        (b'{"weight_map": {"a": null}}', "a is in None"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, text, message, capsys):
    write_shards(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors.index.json").write_bytes(text)
    refused(tmp_path / "bert", rf"model\.safetensors\.index\.json.*{message}.*", capsys)


OUTSIDE = [
    *("../x", "/etc/passwd", "a/b", "..", ".", "", "x\\y", "x\0y", "./model.safetensors", "a/"),
    *("model.safetensors.index.json", "config.json"),
]


@pytest.mark.parametrize("file", OUTSIDE)
def test_an_index_that_names_no_file_beside_it_is_refused(tmp_path, file, capsys):
    index = write_shards(tmp_path / "bert")
    (tmp_path / "x").write_bytes(b"outside")
    index["weight_map"][DENSE] = file
    write_json(tmp_path / "bert", "model.safetensors.index.json", index)
    shown = re.escape(repr(file))
    refused(tmp_path / "bert", rf"index\.json: {re.escape(DENSE)} is in {shown}", capsys)


@BOTH
def test_a_tensor_that_a_shard_lacks_is_named(tmp_path, file, capsys):
    index = write_shards(tmp_path / "bert", file)
    index["weight_map"]["bert.more"] = sorted(set(index["weight_map"].values()))[1]
    write_json(tmp_path / "bert", f"{file}.index.json", index)
    refused(tmp_path / "bert", r"00002-of-00003\S+ lacks bert\.more", capsys)


def test_a_tensor_in_two_shards_is_named(tmp_path, capsys):
    index = write_shards(tmp_path / "bert")
    shard = tmp_path / "bert" / next(s for s in index["weight_map"].values() if "-00001-" in s)
    other = next(name for name, s in index["weight_map"].items() if "-00003-" in s)
    tensors = {**safetensors.torch.load_file(shard), other: tiny_tensors()[other]}
    safetensors.torch.save_file(tensors, shard)
    refused(tmp_path / "bert", rf"model-0000\d-of-00003\S+ .*{re.escape(other)}", capsys)


@BOTH
def test_a_wrong_shape_in_a_shard_is_named(tmp_path, file, capsys):
    index = write_shards(tmp_path / "bert", file)
    path = tmp_path / "bert" / index["weight_map"][DENSE]
    if path.suffix == ".bin":
        tensors = torch.load(path, weights_only=True)
        torch.save({**tensors, DENSE: torch.ones(32, 47)}, path)
    else:
        tensors = safetensors.torch.load_file(path)
        safetensors.torch.save_file({**tensors, DENSE: torch.ones(32, 47)}, path)
    refused(tmp_path / "bert", rf"{file}\S+ .*{DENSE} is \(32, 47\), not \(32, 48\)", capsys)


def test_a_config_that_contradicts_shards_is_refused(tmp_path, capsys):
    write_shards(tmp_path / "bert")
    old = json.loads((tmp_path / "bert" / "config.json").read_text())
    write_json(tmp_path / "bert", "config.json", {**old, "num_hidden_layers": 12})
    refused(tmp_path / "bert", r"num_blks=12 \(config\.json\).*num_blks=3.*index\.json", capsys)


# ------------------------------------------------------------------------- fine-tuned classifiers


@pytest.mark.parametrize("write", [d2l.save_classifier, write_former_classifier])
def test_the_encoder_of_our_classifier_is_taken_and_a_line_says_so(tmp_path, write, capsys):
    bert, vocab, _ = loads(write_hf(tmp_path / "bert"), capsys)
    write(tmp_path / "ours", d2l.BERTClassifier(bert), vocab)
    again, words, said = loads(tmp_path / "ours", capsys)
    assert again.new_heads == ("mlm", "nsp")
    assert torch.equal(again.hidden[0].weight, bert.hidden[0].weight)
    assert words.idx_to_token == vocab.idx_to_token
    assert "the encoder and the pooler of a fine-tuned classifier\n" in said
    assert "new, to be trained" in said


@pytest.mark.parametrize("write", [d2l.save_classifier, write_former_classifier])
def test_the_encoder_of_a_books_classifier_is_taken_too(tmp_path, write, net, vocab, capsys):
    write(tmp_path / "ours", net, vocab)
    again, words = d2l.load_pretrained_model(tmp_path / "ours")
    assert "the encoder and the pooler of a fine-tuned classifier\n" in capsys.readouterr().out
    assert words.idx_to_token == vocab.idx_to_token
    for name, tensor in net.encoder.state_dict().items():
        assert torch.equal(again.encoder.state_dict()[name], tensor)


def test_the_name_of_a_head_is_printed_without_what_a_terminal_obeys(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert", lambda t: {**t, "\x1b[31mred.weight": torch.ones(2)})
    assert "left out: \\x1b[31mred (another task's)" in loads(folder, capsys)[2]


def test_the_encoder_of_hugging_faces_classifier_is_taken_and_a_line_says_so(tmp_path, capsys):
    def change(tensors):
        head = {"classifier.weight": torch.ones(3, 32), "classifier.bias": torch.ones(3)}
        return {**without(tensors, "cls."), **head}

    config = {"architectures": ["BertForSequenceClassification"]}
    bert, _, said = loads(write_hf(tmp_path / "bert", change, config), capsys)
    assert bert.new_heads == ("mlm", "nsp")
    assert "the encoder and the pooler of a fine-tuned classifier\n" in said
    assert "left out: classifier (another task's)\n" in said


@pytest.mark.parametrize(
    ("head", "lost"),
    [
        (["qa_outputs.weight"], "cls."),
        (["classifier.weight"], "cls."),
        (["classifier.weight", "classifier.bias"], "pooler"),
    ],
)
def test_what_is_no_classifier_is_not_said_to_be_one(tmp_path, head, lost, capsys):
    def change(tensors):
        return {**without(tensors, "cls.", lost), **{name: torch.ones(2) for name in head}}

    said = loads(write_hf(tmp_path / "bert", change), capsys)[2]
    assert "left out" in said and "fine-tuned classifier" not in said


# -------------------------------------------------------------------------------- other programs

PROGRAMS = {
    "TensorFlow 2": (["tf_model.h5"], r"TensorFlow \(tf_model\.h5\).*from_tf=True"),
    "TensorFlow 2 in shards": (
        ["tf_model.h5.index.json", "tf_model-00001-of-00002.h5"],
        r"TensorFlow.*from_tf=True",
    ),
    "TensorFlow 1": (
        [f"bert_model.ckpt.{e}" for e in ("data-00000-of-00001", "index", "meta")],
        r"TensorFlow \(bert_model\.ckpt\..*from_tf=True",
    ),
    "a SavedModel": (["saved_model.pb"], r"another program \(saved_model\.pb\)"),
    "Flax": (["flax_model.msgpack"], r"Flax \(flax_model\.msgpack\).*from_flax=True"),
    "ONNX": (["model.onnx"], r"another program \(model\.onnx\).*model\.safetensors"),
    "GGUF": (["ggml-model-q8_0.gguf"], r"another program.*gguf.*model\.safetensors"),
    "an adapter": (
        ["adapter_config.json", "adapter_model.safetensors"],
        r"an adapter.*adapter_config\.json.*merge_and_unload",
    ),
    "an adapter without its config": (["adapter_model.bin"], r"an adapter.*merge_and_unload"),
}


@pytest.mark.parametrize("beside", ["config.json and vocab.txt", "bert_config.json", "nothing"])
@pytest.mark.parametrize(("files", "message"), PROGRAMS.values(), ids=PROGRAMS)
def test_weights_for_another_program_are_named(tmp_path, files, message, beside, capsys):
    folder = write_hf(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    if beside == "nothing":
        (folder / "vocab.txt").unlink()
        (folder / "config.json").unlink()
    elif beside == "bert_config.json":
        (folder / "config.json").rename(folder / "bert_config.json")
    for file in files:
        (folder / file).write_bytes(b"{}")
    refused(folder, message, capsys)


def test_an_adapter_beside_its_model_is_refused(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    write_json(folder, "adapter_config.json", {"peft_type": "LORA"})
    refused(folder, r"an adapter.*adapter_config\.json.*merge_and_unload", capsys)


@pytest.mark.parametrize("name", ["epoch=3-step=9.ckpt", "last.ckpt", "model.pt"])
def test_a_file_of_pytorchs_is_not_said_to_be_tensorflows(tmp_path, name, capsys):
    folder = write_hf(tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / name)
    message = refused(folder, r"model\.safetensors.*missing", capsys)
    assert "TensorFlow" not in message


def test_other_weights_beside_those_that_can_be_read_do_not_matter(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert")
    for name in ("tf_model.h5", "flax_model.msgpack", "model.onnx", "bert_model.ckpt.index"):
        (folder / name).write_bytes(b"not read")
    assert loads(folder, capsys)[2] == ""


@pytest.mark.parametrize("name", ["lora_A.weight", "lora_B.default.weight", "base_layer.weight"])
def test_tensors_of_an_adapter_are_named(tmp_path, name, capsys):
    lora = f"bert.encoder.layer.0.attention.self.query.{name}"
    folder = write_hf(tmp_path / "bert", lambda t: {**t, lora: torch.ones(4, 4)})
    refused(folder, rf"model\.safetensors: {re.escape(lora)}.*adapter.*merge_and_unload", capsys)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "albert"])
def test_another_architecture_in_the_config_is_named(tmp_path, kind, capsys):
    folder = write_hf(tmp_path / "bert", config={"model_type": kind})
    refused(folder, rf'config\.json: model_type is "{kind}", but must be "bert"', capsys)


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("kind", ["roberta", "electra", "deberta", "module.roberta"])
def test_another_architecture_in_the_names_of_tensors_is_named(tmp_path, kind, heads, capsys):
    def change(tensors):
        tensors = tensors if heads else without(tensors, "cls.")
        return renamed(tensors, "bert.", f"{kind}.")

    refused(write_hf(tmp_path / "bert", change), rf"model\.safetensors.*{kind}\.", capsys)


def test_two_encoders_in_one_file_are_named(tmp_path, capsys):
    def change(tensors):
        first = {name: tensor.clone() for name, tensor in without(tensors, "cls.").items()}
        second = renamed(without(tensors, "cls."), "bert.", "answer.bert.")
        return {**renamed(first, "bert.", "question.bert."), **second}

    message = (
        r"model\.safetensors.*2 encoders.*(question|answer)\.bert\..*(question|answer)\.bert\."
    )
    refused(write_hf(tmp_path / "bert", change), message, capsys)


@pytest.mark.parametrize("kept", [WORDS, "bert.embeddings."])
def test_embeddings_alone_are_not_said_to_be_missing(tmp_path, kept, capsys):
    folder = write_hf(
        tmp_path / "bert",
        lambda tensors: {name: tensors[name] for name in tensors if name.startswith(kept)},
    )
    lost = r"position_embeddings" if kept == WORDS else r"encoder\.layer\.0\.intermediate"
    refused(folder, rf"model\.safetensors is not a BERT checkpoint: bert\.\S*{lost}\S* is", capsys)


# ----------------------------------------------------------------------------- objects in pickles


class Whole(nn.Module):
    """A network that is saved whole, as it should not be."""

    made: ClassVar[list] = []

    def __init__(self):
        super().__init__()
        self.bert = nn.Linear(2, 2)

    def __setstate__(self, state):
        self.made.append("code of the file was run")


def with_objects(tensors):
    return {"state_dict": tensors, "hyper_parameters": argparse.Namespace(lr=0.1), "epoch": 1}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda _: Whole(), r"test_checkpoints_as_people_have_them\.Whole"),
        (lambda t: {"state_dict": t, "net": Whole()}, r"\.Whole"),
        (with_objects, r"argparse\.Namespace"),
        (lambda t: {**t, "path": Path("x")}, r"pathlib"),
    ],
)
@pytest.mark.parametrize("format_", ["zip", "old"])
def test_a_pickle_with_objects_is_refused_by_their_class(tmp_path, change, name, format_, capsys):
    folder = write_hf(tmp_path / "bert", change, file="pytorch_model.bin")
    if format_ == "old":
        old = dict(_use_new_zipfile_serialization=False)
        torch.save(change(tiny_tensors()), folder / "pytorch_model.bin", **old)
    Whole.made.clear()
    refused(folder, rf"pytorch_model\.bin.*{name}.*torch\.save\(net\.state_dict", capsys)
    assert Whole.made == []


def test_no_code_of_a_shard_runs(tmp_path, capsys):
    index = write_shards(tmp_path / "bert", "pytorch_model.bin")
    made = tmp_path / "made"
    torch.save({"x": Malice(str(made))}, tmp_path / "bert" / index["weight_map"][DENSE])
    refused(tmp_path / "bert", r"pytorch_model-0000\d-of-00003\.bin.*mkdir", capsys)
    assert not made.exists()


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_not_said_to_be_damaged(tmp_path, capsys):
    folder = write_hf(tmp_path / "bert", file="pytorch_model.bin")
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(folder / "pytorch_model.bin"))
    refused(folder, r"pytorch_model\.bin.*TorchScript.*state_dict", capsys)


def test_a_tensor_that_is_larger_than_what_is_stored_is_refused(tmp_path, capsys):
    folder = write_hf(
        tmp_path / "bert",
        lambda t: {**t, WORDS: torch.zeros(1).expand(10**9, 32)},
        file="pytorch_model.bin",
    )
    refused(folder, rf"pytorch_model\.bin.*{re.escape(WORDS)}", capsys)


# --------------------------------------------------------------------------- quantized weights


@pytest.mark.parametrize(
    "content", [{"quant_method": "gptq", "bits": 4}, {"load_in_8bit": True}, "int8"]
)
def test_a_config_of_quantized_weights_is_named(tmp_path, content, capsys):
    folder = write_hf(tmp_path / "bert", config={"quantization_config": content})
    refused(folder, r"config\.json.*quantized \(quantization_config.*before", capsys)


@pytest.mark.parametrize(
    "more", ["SCB", "weight_scale", "absmax", "qweight", "quant_state.bitsandbytes__nf4"]
)
def test_tensors_of_quantized_weights_are_named(tmp_path, more, capsys):
    def change(tensors):
        scale = {f"{DENSE.removesuffix('weight')}{more}": torch.ones(32)}
        return {**tensors, DENSE: tensors[DENSE].to(torch.int8), **scale}

    message = rf"model\.safetensors: bert\.encoder.layer.1.output.dense.{more}.*quantized.*before"
    refused(write_hf(tmp_path / "bert", change), message, capsys)


@BOTH
@pytest.mark.parametrize(
    "kind", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64]
)
def test_a_tensor_of_another_type_is_named(tmp_path, kind, file, capsys):
    folder = write_hf(tmp_path / "bert", lambda t: {**t, DENSE: t[DENSE].to(kind)}, file=file)
    refused(folder, rf"{re.escape(file)}.*{DENSE}.*{str(kind)[6:]}", capsys)


@pytest.mark.parametrize("kind", ["F4", "F6_E2M3", "X9"])
def test_a_type_that_torch_lacks_is_refused(tmp_path, kind, capsys):
    folder = write_hf(tmp_path / "bert")
    header = {"x": {"dtype": kind, "shape": [8], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + b"\0" * 4
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, r"model\.safetensors", capsys)


@pytest.mark.filterwarnings("ignore")
def test_dynamically_quantized_weights_are_named(tmp_path, capsys):
    net = nn.ModuleDict({"bert": nn.Linear(4, 4)})
    whole = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    folder = write_hf(
        tmp_path / "bert", lambda t: {**t, **whole.state_dict()}, file="pytorch_model.bin"
    )
    refused(folder, r"pytorch_model\.bin.*quantized.*before", capsys)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, file, capsys):
    folder = write_hf(tmp_path / "bert", file=file)
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(folder, rf"{re.escape(file)} is a pointer of Git LFS.*git lfs pull", capsys)
