"""Reading pairs from the tables that people have, and the splits of corpora that they make."""

import csv
import gzip
import io
import json
import os
import random
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import d2lnli as d2l
from conftest import SPECIALS, zip_folder

BREAKING_NLI = Path(__file__).parents[2] / "shared" / "breaking_nli" / "dataset.jsonl.gz"
NAMES = ["premise", "hypothesis", "label"]
ROWS = [["A dog runs .", "An animal moves .", "entailment"],
        ["Zwei Hunde spielen .", "Ein „Café“ schläft .", "contradiction"],
        ["A dog runs .", "It is :) happy (today) .", "neutral"]]  # fmt: skip
PAIRS = ([row[0] for row in ROWS], [row[1] for row in ROWS], [0, 1, 2])
PLAIN_SUFFIXES = [".csv", ".tsv", ".txt", ".jsonl"]
SUFFIXES = [*PLAIN_SUFFIXES, *(f"{suffix}.gz" for suffix in PLAIN_SUFFIXES)]
every_layout = pytest.mark.parametrize("suffix", SUFFIXES)
every_separated_layout = pytest.mark.parametrize("suffix", [s for s in SUFFIXES if "json" not in s])
SNLI_HEADER = "gold_label sentence1_binary_parse sentence2_binary_parse sentence1 sentence2".split()
SNLI_ROW = ["neutral", "( ( A dog ) ( :) . ) )", "( ( It runs ) . )", "A dog :).", "It (so) runs."]


def put(path: Path, content: str | bytes) -> Path:
    """Write a file, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def text_of(suffix: str, names: list[str], rows: list[list], **dialect) -> str:
    """Return a table in the layout of a suffix; a TSV has no quotes unless `dialect` is given."""
    if "json" in suffix:
        return "".join(json.dumps(dict(zip(names, row, strict=False))) + "\n" for row in rows)
    if "csv" not in suffix and not dialect:
        return "".join("\t".join(map(str, row)) + "\n" for row in [names, *rows])
    out = io.StringIO()
    csv.writer(out, **dialect).writerows([names, *rows])
    return out.getvalue()


def write(folder: Path, suffix: str, names=NAMES, rows=ROWS, name="pairs", **dialect) -> Path:
    return put(folder / f"{name}{suffix}", text_of(suffix, names, rows, **dialect))


def read(folder: Path, suffix: str, names: list[str], *rows: list, **arguments):
    return d2l.read_pairs(write(folder, suffix, names, list(rows)), **arguments)


# ---- Layouts, columns, labels --------------------------------------------------------------------


@every_layout
def test_every_layout_gives_the_same_pairs(suffix, tmp_path):
    assert d2l.read_pairs(write(tmp_path, suffix)) == PAIRS
    assert d2l.read_pairs(str(tmp_path / f"pairs{suffix}"), max_examples=2)[2] == [0, 1]


@pytest.mark.parametrize("names", [
    "premise hypothesis label", "Sentence1 Sentence2 Gold_Label", "CONTEXT HYPOTHESIS LABEL",
    "sentence_A sentence_B entailment_label", "sentence_A sentence_B entailment_judgment",
])  # fmt: skip
@pytest.mark.parametrize("suffix", PLAIN_SUFFIXES)
def test_columns_are_found_by_their_names_in_any_order(suffix, names, tmp_path):
    names = [*names.split(), "pairID"]
    for order in ([0, 1, 2, 3], [2, 3, 0, 1], [3, 1, 2, 0]):
        rows = [[[*row, i][k] for k in order] for i, row in enumerate(ROWS)]
        assert read(tmp_path, suffix, [names[k] for k in order], *rows) == PAIRS


@every_layout
def test_columns_with_names_of_their_own_are_named_by_the_reader(suffix, tmp_path):
    path = write(tmp_path, suffix, ["text a", "text b", "answer"])
    assert d2l.read_pairs(path, ("text a", "text b", "answer")) == PAIRS
    named = {"label": "answer", "hypothesis": "text b", "premise": "text a"}
    assert d2l.read_pairs(path, named) == PAIRS
    assert d2l.read_pairs(path, ("text a", "text b", None)) == (*PAIRS[:2], None)
    assert d2l.read_pairs(path, ["text b", "text a"]) == (PAIRS[1], PAIRS[0], None)


@every_layout
def test_a_name_settles_which_of_two_columns_is_meant(suffix, tmp_path):
    names = ["premise", "hypothesis", "label", "sentence2", "gold_label"]
    path = write(tmp_path, suffix, names, [["a", "b", "e", "c", "n"]])
    columns = {"hypothesis": "sentence2", "label": "gold_label"}
    assert d2l.read_pairs(path, columns) == (["a"], ["c"], [2])
    assert d2l.read_pairs(path, {"hypothesis": "hypothesis", "label": None}) == (["a"], ["b"], None)


@every_layout
def test_labels_count_in_every_spelling(suffix, tmp_path):
    spellings = [["entailment", "ENTAILMENT", "e", "E", "entails", " Entailment "],
                 ["contradiction", "Contradictory", "c", "contradicts"],
                 ["neutral", "NEUTRAL", "n"]]  # fmt: skip
    rows = [["a", "b", label] for labels in spellings for label in labels]
    ids = [i for i, labels in enumerate(spellings) for _ in labels]
    assert read(tmp_path, suffix, NAMES, *rows)[2] == ids


@every_layout
@pytest.mark.parametrize("other", ["non-entailment", "not_entailment", "Not Entailment"])
def test_two_classes_have_ids_and_names_of_their_own(suffix, other, tmp_path):
    rows = [["a", "b", label] for label in ("entailment", other, "-", other)]
    labels = read(tmp_path, suffix, NAMES, *rows)[2]
    assert labels == [0, 1, 1] and labels.names == ("entailment", "non-entailment")


@every_layout
def test_numbers_are_labels_where_their_names_are_given(suffix, tmp_path):
    names = ("entailment", "neutral", "contradiction")
    rows = [["a", "b", label] for label in (0, "1", 2.0, -1, "2", "-1.0", "e", "contradictory")]
    labels = read(tmp_path, suffix, NAMES, *rows, label_names=names)[2]
    assert labels == [0, 1, 2, 2, 0, 2] and labels.names == names
    with pytest.raises(ValueError, match=r"pairs.*line [12]\b.*label 0 is a number.*label_names"):
        d2l.read_pairs(tmp_path / f"pairs{suffix}")
    with pytest.raises(ValueError, match=r"pairs.*line [34]\b.*unknown label '2\.0'"):
        d2l.read_pairs(tmp_path / f"pairs{suffix}", label_names=["no", "yes"])


@every_layout
def test_classes_of_ones_own_are_named(suffix, tmp_path):
    rows = [["a", "b", "Rot"], ["a", "b", "blau"]]
    assert read(tmp_path, suffix, NAMES, *rows, label_names=["blau", "rot"])[2] == [1, 0]


@pytest.mark.parametrize("names", [["yes"] * 2, ["e", "entailment"], "yes", [""], [1], 3])
def test_class_names_that_cannot_be_told_apart_are_refused(names, tmp_path):
    with pytest.raises(ValueError, match="label_names="):
        d2l.read_pairs(write(tmp_path, ".csv"), label_names=names)


@every_layout
def test_pairs_without_a_gold_label_are_left_out_and_counted(suffix, tmp_path, capsys):
    rows = [["a", "b", label] for label in ("-", "e", "", "-1", "n", " - ")]
    assert read(tmp_path, suffix, NAMES, *rows) == (["a", "a"], ["b", "b"], [0, 2])
    assert "4 without a gold label left out" in capsys.readouterr().out


def test_json_may_lack_a_label_or_have_null_or_nan(tmp_path):
    rows = '{"premise":"a","hypothesis":"b","label":"e"}\n{"premise":"c","hypothesis":"d"}\n'
    more = "".join(f'{{"premise":"a","hypothesis":"b","label":{x}}}\n' for x in ("null", "NaN"))
    assert d2l.read_pairs(put(tmp_path / "x.jsonl", rows + more)) == (["a"], ["b"], [0])


@every_layout
def test_the_line_says_which_column_was_used_for_what(suffix, tmp_path, capsys):
    read(tmp_path, suffix, ["Gold_label", "sentence1", "sentence_B"], ["e", "a", "b"])
    expected = "premise from 'sentence1', hypothesis from 'sentence_B', label from 'Gold_label'"
    assert capsys.readouterr().out == f"pairs{suffix}: {expected}\n"


@every_layout
def test_a_file_without_labels_gives_none(suffix, tmp_path, capsys):
    rows = [["a", "b"], ["", "c"]]
    assert read(tmp_path, suffix, NAMES[:2], rows[0]) == (["a"], ["b"], None)
    assert "no labels used" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"pairs.*line [23]\b.*the premise is empty"):
        read(tmp_path, suffix, NAMES[:2], *rows)
    with pytest.raises(ValueError, match=r"pairs.*no column for the label"):
        d2l.read_snli(write(tmp_path, suffix, NAMES[:2], rows[:1]), True)
    with pytest.raises(ValueError, match=r"line 2: no column for the label"):
        d2l.read_snli(put(tmp_path / "x.csv", "\npremise,hypothesis\na,b\n"), True)


@pytest.fixture
def words() -> d2l.Vocab:
    return d2l.Vocab(list("abcdefgh0123456789"), reserved_tokens=SPECIALS)


def test_labels_remember_the_names_of_their_classes(tmp_path, words):
    rows = [["a", "b", label] for label in ("entailment", "not_entailment", "entailment")]
    premises, hypotheses, labels = read(tmp_path, ".csv", NAMES, *rows)
    assert isinstance(labels, list) and labels[1:].names == labels.names and labels[1] == 1
    dataset = d2l.SNLIBERTDataset((premises[1:], hypotheses[1:], labels[1:]), 8, words)
    assert dataset.label_names == ("entailment", "non-entailment")
    assert dataset.labels.tolist() == [1, 0]
    same = d2l.SNLIBERTDataset(
        (premises, hypotheses, labels), 8, words, label_names=list(labels.names)
    )
    assert same.label_names == labels.names
    with pytest.raises(ValueError, match=r"label_names=\('no', 'yes'\)"):
        d2l.SNLIBERTDataset((premises, hypotheses, labels), 8, words, label_names=["no", "yes"])


def test_three_classes_in_another_order_keep_their_names_in_a_dataset(tmp_path, words):
    names = ("entailment", "neutral", "contradiction")
    data = read(tmp_path, ".csv", NAMES, ["a", "b", 1], label_names=names)
    assert d2l.SNLIBERTDataset(data, 8, words).label_names == names
    with pytest.raises(ValueError, match="label_names"):
        d2l.SNLIBERTDataset(data, 8, words, label_names=d2l.LABELS)


def test_pairs_without_labels_are_no_dataset(tmp_path, words):
    with pytest.raises(ValueError, match="no labels"):
        d2l.SNLIBERTDataset(read(tmp_path, ".csv", NAMES[:2], ["a", "b"]), 8, words)


# ---- Quotes and brackets -------------------------------------------------------------------------

TRICKY = [['"Stop" , he said', 'say "hi"', "e"], ["a\tb", "c, d; e", "n"], ["two\nlines", '"', "c"],
          ["( a )", "end in\nlines", "n"], ['""', "' \\ '", "e"]]  # fmt: skip
TRICKY_PAIRS = ([row[0] for row in TRICKY], [row[1] for row in TRICKY], [0, 2, 1, 2, 0])


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]], ids=["label last", "label first"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_around_fields_are_taken_off(quoting, delimiter, order, end, tmp_path):
    names, rows = [NAMES[k] for k in order], [[row[k] for k in order] for row in TRICKY]
    dialect = dict(quoting=quoting, delimiter=delimiter, lineterminator=end)
    path = write(tmp_path, ".txt.gz", names, rows, **dialect)
    assert d2l.read_pairs(path) == TRICKY_PAIRS


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_what_pandas_wrote_is_read_back(separator, index, tmp_path):
    frame = pandas.DataFrame(TRICKY, columns=NAMES)
    frame.to_csv(tmp_path / "x.tsv", sep=separator, index=index)
    assert d2l.read_pairs(tmp_path / "x.tsv") == TRICKY_PAIRS
    frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    assert d2l.read_pairs(tmp_path / "x.jsonl") == TRICKY_PAIRS


def test_a_tsv_whose_quotes_are_taken_off_says_so(tmp_path, capsys):
    path = put(tmp_path / "x.tsv", 'premise\thypothesis\n"a ""b"" c"\td\n')
    assert d2l.read_pairs(path)[0] == ['a "b" c']
    assert "quotation marks around fields taken off" in capsys.readouterr().out


def test_a_field_of_several_lines_is_announced(tmp_path, capsys):
    path = put(tmp_path / "x.csv", 'premise,hypothesis\na,b\n"c\nd",e\nf,"g\nh"\n')
    assert d2l.read_pairs(path) == (["a", "c\nd", "f"], ["b", "e", "g\nh"], None)
    assert "several lines, first at line 3" in capsys.readouterr().out


def test_a_field_of_several_lines_that_was_not_read_is_not_announced(tmp_path, capsys):
    path = put(tmp_path / "x.tsv", 'premise\thypothesis\na\tb\n"c\nd"\te\n')
    assert d2l.read_pairs(path, max_examples=1) == (["a"], ["b"], None)
    assert "several lines" not in capsys.readouterr().out


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_spaces_after_the_delimiters_that_people_type_are_no_part_of_the_fields(
    delimiter, tmp_path
):
    text = 'premise, hypothesis, label\na, "b, ""c"" ;", e\n d,  e , n\n'.replace(
        ", ", f"{delimiter} "
    )
    expected = (["a", "d"], [f'b{delimiter} "c" ;', "e "], [0, 2])
    assert d2l.read_pairs(put(tmp_path / "x.csv", text)) == expected


def test_spaces_at_the_ends_of_sentences_stay_where_the_header_has_none(tmp_path):
    assert read(tmp_path, ".csv", NAMES, [" a ", "  b", "e"]) == ([" a "], ["  b"], [0])


@every_separated_layout
def test_spaces_are_no_part_of_a_columns_name(suffix, tmp_path, capsys):
    assert read(tmp_path, suffix, ["premise ", "hypothesis"], ["a", "b"]) == (["a"], ["b"], None)
    assert "premise from 'premise'," in capsys.readouterr().out


def test_a_header_with_one_semicolon_among_its_commas_is_split_at_the_commas(tmp_path):
    assert read(tmp_path, ".csv", [*NAMES, "a; b"], ["a", "b", "e", "c; d"]) == (["a"], ["b"], [0])


def test_one_quoted_name_in_the_header_of_a_tsv_is_enough(tmp_path):
    names = [*NAMES[:2], 'the "gold" label']
    path = write(tmp_path, ".tsv", names, [["a", "b", "e"]], delimiter="\t")
    assert d2l.read_pairs(path, {"label": names[2]}) == (["a"], ["b"], [0])


def test_a_larger_limit_of_the_csv_module_stays(tmp_path):
    limit = csv.field_size_limit(2**30)
    try:
        read(tmp_path, ".csv", NAMES, ROWS[0])
        assert csv.field_size_limit() == 2**30
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]], ids=["label last", "label first"])
def test_a_line_break_alone_shows_that_the_fields_of_a_tsv_are_quoted(order, tmp_path):
    names, row = [NAMES[k] for k in order], ["a", "b\nc", "e"]
    path = write(tmp_path, ".tsv", names, [[row[k] for k in order]], delimiter="\t")
    assert d2l.read_pairs(path) == (["a"], ["b\nc"], [0])


RAW = [['"Stop" , he said .', "He stopped .", "e"], ["a", '"Go .', "n"], ['b "', '""', "c"]]


@pytest.mark.parametrize("names", [NAMES, ["sentence1", "sentence2", "gold_label"]])
def test_quotes_that_belong_to_sentences_stay(names, tmp_path):
    expected = ([row[0] for row in RAW], [row[1] for row in RAW], [0, 2, 1])
    assert read(tmp_path, ".tsv", names, *RAW) == expected
    with pytest.raises(ValueError, match=r"pairs\.tsv, line 5: there are 1 column"):
        read(tmp_path, ".tsv", names, *RAW, ["alone"])


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_brackets_are_taken_out_of_binary_parses_only(suffix, tmp_path):
    path = write(tmp_path, suffix, SNLI_HEADER, [SNLI_ROW])
    assert d2l.read_pairs(path) == (["A dog : ."], ["It runs ."], [2])
    sentences = (["A dog :)."], ["It (so) runs."], [2])
    assert d2l.read_pairs(path, ("sentence1", "sentence2")) == sentences
    assert d2l.read_pairs(path, {"premise": "sentence1"}) == sentences
    assert d2l.read_pairs(path, {"hypothesis": "sentence2"}) == sentences
    mixed = {"premise": "sentence2_binary_parse", "hypothesis": "sentence1"}
    assert d2l.read_pairs(path, mixed) == (["It runs ."], ["A dog :)."], [2])
    assert d2l.read_pairs(path, {"premise": "sentence1_binary_parse"})[1] == ["It runs ."]


# ---- What is refused -----------------------------------------------------------------------------


def refused(path: Path, *patterns: str, error: type = ValueError, **arguments) -> str:
    """Assert that a file is refused with its name and what the patterns say; return the message."""
    with pytest.raises(error) as caught:
        d2l.read_pairs(path, **arguments)
    message = str(caught.value)
    assert str(path) in message
    for pattern in patterns:
        assert re.search(pattern, message), message
    return message


def line_of(row: int, suffix: str) -> str:
    """Return a pattern for the line of a row, the first of which has number 1."""
    return rf"line {row if 'json' in suffix else row + 1}\b"


@every_layout
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_another_encoding_is_named_with_its_line(suffix, encoding, tmp_path):
    rows = [["a", "b", "e"], ["café", "b", "e"]]
    text = text_of(suffix, NAMES, rows).replace("\\u00e9", "é")
    refused(put(tmp_path / f"x{suffix}", text.encode(encoding)), line_of(2, suffix), "UTF-8")


@every_layout
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_of_two_bytes_is_named(suffix, encoding, tmp_path):
    text = text_of(suffix, NAMES[:2], [["a", "b"]]).rstrip()
    refused(put(tmp_path / f"x{suffix}", text.encode(encoding)), r"line 1\b", "UTF-8")


@every_layout
def test_a_byte_order_mark_and_blank_lines_do_no_harm(suffix, tmp_path):
    text = text_of(suffix, NAMES, ROWS).replace("\r\n", "\n").replace("\n", "\r\n\r\n")
    path = put(tmp_path / f"x{suffix}", text.encode("utf-8-sig"))
    assert d2l.read_pairs(path) == PAIRS


@every_separated_layout
@pytest.mark.parametrize("row", [["", ""], [" ", "  "]])
def test_rows_without_any_text_do_no_harm(suffix, row, tmp_path):
    assert read(tmp_path, suffix, NAMES[:2], row, ["a", "b"], row) == (["a"], ["b"], None)


@every_layout
@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_column_is_named_with_those_that_are_there(suffix, missing, tmp_path):
    names = [*NAMES[:missing], "text", *NAMES[missing + 1 :]]
    path = write(tmp_path, suffix, names)
    refused(path, r"line 1\b", f"no column for the {NAMES[missing]}", *map(repr, names), "columns=")


@every_layout
@pytest.mark.parametrize("second", ["Sentence1", "sentence_2", "gold-label"])
def test_two_columns_for_one_thing_are_refused(suffix, second, tmp_path):
    role = {"S": "premise", "s": "hypothesis", "g": "label"}[second[0]]
    path = write(tmp_path, suffix, [*NAMES, second], [["a", "b", "e", "x"]])
    refused(path, r"line 1\b", f"several columns may be the {role}", repr(second), repr(role))


@every_separated_layout
def test_two_columns_of_one_name_are_refused(suffix, tmp_path):
    path = write(tmp_path, suffix, [*NAMES, "label"], [["a", "b", "e", "c"]])
    refused(path, "several columns may be the label")
    refused(path, "several columns may be the label", columns=("premise", "hypothesis", "label"))


@pytest.mark.parametrize(
    "columns",
    ["premise", 3, {"text": "premise"}, ("a", "b", "c", "d"), ("premise", "no such"), (0, 1, 2),
     {"label": "no such"}, b"pri"],
)  # fmt: skip
def test_columns_that_the_file_lacks_are_refused(columns, tmp_path):
    with pytest.raises(ValueError, match=r"columns"):
        d2l.read_pairs(write(tmp_path, ".csv"), columns)


@every_layout
def test_an_unknown_label_is_named_with_its_line(suffix, tmp_path):
    path = write(tmp_path, suffix, NAMES, [*ROWS, ["a", "b", "maybe"]])
    refused(path, line_of(4, suffix), "unknown label 'maybe'", "entailment, contradiction, neutral")
    path = write(tmp_path, suffix, NAMES, [["a", "b", "not_entailment"], ["a", "b", "neutral"]])
    refused(path, line_of(2, suffix), "unknown label 'neutral'", "entailment, non-entailment")


@every_separated_layout
@pytest.mark.parametrize("row", [["a"], ["a", "b"], ["a", "b", "e", "c"]])
def test_a_row_with_other_columns_is_named(suffix, row, tmp_path):
    path = write(tmp_path, suffix, NAMES, [*ROWS, row, *ROWS])
    refused(path, line_of(4, suffix), rf"{len(row)} column.*has 3")


def test_the_line_of_a_row_after_a_long_field_is_counted(tmp_path):
    text = 'premise,hypothesis,label\n"a\n\nb",c,e\n\nd,e,maybe\n'
    refused(put(tmp_path / "x.csv", text), r"line 6\b.*'maybe'")


@every_layout
@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_an_empty_file_is_named(suffix, text, tmp_path):
    refused(put(tmp_path / f"x{suffix}", text), r"line 1\b.*empty")


@every_separated_layout
def test_a_header_alone_has_no_pairs(suffix, tmp_path):
    refused(write(tmp_path, suffix, rows=[]), "no labelled pairs")
    refused(write(tmp_path, suffix, NAMES[:2], rows=[]), "no pairs")


@every_layout
def test_a_folder_and_a_missing_file_are_named(suffix, tmp_path):
    (tmp_path / f"x{suffix}").mkdir()
    refused(tmp_path / f"x{suffix}", "folder", error=IsADirectoryError)
    refused(tmp_path / f"y{suffix}", "missing", error=FileNotFoundError)


@pytest.mark.parametrize("suffix", SUFFIXES[4:])
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[: len(b) // 2], lambda b: b[:8],
    lambda b: b[:-8] + b"12345678", lambda b: b + b"junk",
    lambda b: b[:60] + b"\0\xff\0" + b[63:]])  # fmt: skip
def test_a_damaged_gzip_file_is_named(suffix, damage, tmp_path):
    sentences = [[f"{random.Random(i).random()}", "b", "e"] for i in range(999)]
    path = write(tmp_path, suffix, rows=sentences)
    path.write_bytes(damage(path.read_bytes()))
    refused(path, r"line \d+\b", "get it again|not UTF-8")


def test_the_line_where_a_gzip_file_ends_too_early_is_named(tmp_path):
    path = write(tmp_path, ".csv.gz")
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, "line 5: the gzip file is damaged")


def test_a_gzip_file_that_is_cut_in_a_line_of_another_encoding_is_named(tmp_path):
    path = put(tmp_path / "x.csv.gz", "premise,hypothesis\ncafé b".encode("latin-1"))
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, r"line 2\b", "get it again")


LONG = {
    "header": (b"", b"a"), "row": (b"premise\thypothesis\n", b"a"),
    "csv": (b"premise,hypothesis\na,", b"a"),
    "quoted": (b'premise,hypothesis\n"', b"a"), "json": (b'{"premise": "', b"a"),
    "lines in quotes": (b'premise,hypothesis\n"', b"a" * 9999 + b"\n"), "spaces": (b"", b" "),
}  # fmt: skip


@pytest.mark.parametrize("kind", LONG)
def test_a_line_of_a_hundred_million_characters_is_refused_in_little_memory(kind, tmp_path):
    begin, repeated = LONG[kind]
    block = gzip.compress(repeated * (10_000_000 // len(repeated)), 1)
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(begin) + 10 * block)
    tracemalloc.start()
    try:
        refused(tmp_path / "x.txt.gz", r"line [12]\b")
        assert tracemalloc.get_traced_memory()[1] < 80e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3", "a JSON int, not an object"), ("null", "JSON NoneType"), ('["a", "b"]', "JSON list"),
        ('"a"', "a JSON str"), ("{", "not JSON"), ("{'premise': 'a'}", "not JSON"),
        ('{"premise": "a"} {"premise": "b"}', "not JSON"), ("premise", "not JSON"),
        ('{"premise": ' + "[" * 100_000, "not JSON"), ('{"x": ' + "9" * 5000 + "}", "not JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".txt"])
def test_a_line_that_is_not_a_json_object_is_named(suffix, line, message, tmp_path):
    good = '{"premise": "a", "hypothesis": "b"}\n'
    refused(put(tmp_path / f"x{suffix}", f"{good}\n{line}\n{good}"), r"line 3\b", message)


@pytest.mark.parametrize("text", ["[", '[{"premise": "a", "hypothesis": "b"}]', "\n[]\n"])
def test_a_json_array_is_refused(text, tmp_path):
    refused(put(tmp_path / "x.jsonl", text), r"line [12]\b.*JSON array.*one object per line")


@pytest.mark.parametrize("value", [None, 3, 2.5, True, ["a"], {"a": "b"}])
@pytest.mark.parametrize("role", ["premise", "hypothesis"])
@pytest.mark.parametrize("row", [1, 2])
def test_a_sentence_that_is_not_a_string_is_named(row, role, value, tmp_path):
    rows = [dict(zip(NAMES, ROWS[0], strict=True)) for _ in range(2)]
    rows[row - 1][role] = value
    path = put(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)))
    refused(path, rf"line {row}\b", f"the {role} is .*not a sentence")


@every_layout
@pytest.mark.parametrize("blank", ["", "  ", "\u3000"])
@pytest.mark.parametrize("column", [0, 1])
def test_an_empty_sentence_is_named(suffix, column, blank, tmp_path):
    row = ["a", "b", "e"]
    row[column] = blank
    path = write(tmp_path, suffix, rows=[*ROWS, row])
    refused(path, line_of(4, suffix), f"the {NAMES[column]} is empty")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line", ['"a{0}b{0}e\nc{0}d{0}e\n', '"a"b{0}c{0}e\n', '"a" {0}b{0}e\n'])
def test_quotes_that_are_not_closed_are_named(delimiter, line, tmp_path):
    header = delimiter.join(f'"{name}"' for name in NAMES)
    text = f"{header}\na{delimiter}b{delimiter}e\n" + line.format(delimiter)
    refused(put(tmp_path / "x.csv", text), r"line 3\b", "must be doubled")


@pytest.mark.parametrize("most", [0, -1, 2.5, "3", True])
def test_a_number_of_pairs_that_is_none_is_refused(most, tmp_path):
    with pytest.raises(ValueError, match=f"max_examples={most!r}"):
        d2l.read_pairs(write(tmp_path, ".csv"), max_examples=most)


# ---- Splits --------------------------------------------------------------------------------------

SPLIT_FILES = [
    ("snli_1.0_dev.txt", "dev"), ("multinli_1.0_dev_matched.jsonl", "dev"), ("dev.csv", "dev"),
    ("multinli_1.0_dev_mismatched.txt", "test"), ("multinli_1.0_dev_matched.txt", "dev_matched"),
    ("validation.jsonl", "dev"), ("validation_mismatched.jsonl.gz", "test"), ("val.tsv", "dev"),
    ("validation_matched.csv", "dev"), ("mine_valid.csv", "dev"),
    ("SICK_test_annotated.txt", "test"), ("SICK_trial.txt", "dev"), ("SICK_train.txt", "train"),
    ("heuristics_evaluation_set.txt", "evaluation_set"), ("evaluation.csv.gz", "evaluation"),
    ("Train.CSV", "train"), ("dataset.jsonl", "dataset"), ("Prüfung.csv", "prüfung"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "split"), SPLIT_FILES)
def test_a_split_is_found_in_any_layout(name, split, tmp_path):
    suffix = "".join(Path(name).suffixes[-2:] if name.endswith("gz") else Path(name).suffixes[-1:])
    put(tmp_path / name, text_of(suffix.lower(), NAMES, ROWS))
    put(tmp_path / "README.md", "Not a table.")
    put(tmp_path / f"._{name}", b"\0\5\x16\7")  # as macOS leaves it
    put(tmp_path / f"~${name}", b"\5Name")  # as Excel locks it
    (tmp_path / f"a_{split}.csv").mkdir()
    assert d2l.read_snli(tmp_path, split) == PAIRS
    assert d2l.read_snli(str(tmp_path), split, max_examples=1)[2] == [0]


def test_json_lines_in_a_file_called_txt_are_read(tmp_path):
    lines = text_of(".jsonl", ["sentence1", "sentence2", "gold_label"], ROWS)
    put(tmp_path / "scitail_1.0_train.txt", lines)
    assert d2l.read_snli(tmp_path, True) == PAIRS


def test_a_round_of_anli_is_read(tmp_path):
    names = ["uid", "context", "hypothesis", "label", "model_label"]
    write(tmp_path / "R1", ".jsonl", names, [["1", "a", "b", "c", "n"]], name="train")
    write(tmp_path / "R1", ".jsonl", names, [["1", "a", "b", "n", "c"]], name="dev")
    write(tmp_path / "R1", ".jsonl", names, [["1", "a", "b", "e", "c"]], name="test")
    found = [d2l.read_snli(tmp_path / "R1", split)[2] for split in (True, "dev", False)]
    assert found == [[1], [2], [0]]


def test_the_matched_validation_split_is_the_dev_split(tmp_path):
    for name in ("validation_matched", "validation_mismatched"):
        write(tmp_path, ".jsonl", rows=[[name, "b", "e"]], name=name)
    assert d2l.read_snli(tmp_path, "dev")[0] == ["validation_matched"]


def test_a_mismatched_dev_split_stands_in_for_a_test_split_only_where_there_is_none(tmp_path):
    splits = "train dev_matched dev_mismatched".split()
    for i, split in enumerate(splits):
        write(tmp_path, ".jsonl", rows=[[split, "b", "enc"[i]]], name=f"multinli_1.0_{split}")
    found = {split: d2l.read_snli(tmp_path, split)[0] for split in ("train", "dev", "test")}
    assert found == {"train": ["train"], "dev": ["dev_matched"], "test": ["dev_mismatched"]}
    assert d2l.read_snli(tmp_path, "dev_mismatched")[0] == ["dev_mismatched"]
    with pytest.raises(ValueError, match=r"'other'.*'dev_matched', 'dev_mismatched', 'train'"):
        d2l.read_snli(tmp_path, "other")
    write(tmp_path, ".jsonl", rows=[["own", "b", "e"]], name="multinli_1.0_test")
    assert d2l.read_snli(tmp_path, False)[0] == ["own"]


def test_of_one_split_in_several_layouts_the_text_is_read(tmp_path):
    for suffix in (".jsonl", ".csv", ".txt.gz", ".txt"):
        write(tmp_path, suffix, rows=[[suffix, "b", "e"]], name="snli_1.0_train")
    assert d2l.read_snli(tmp_path, True)[0] == [".txt"]


def test_two_files_for_a_split_are_refused(tmp_path):
    for name in ("a_train", "b_train"):
        write(tmp_path, ".csv", name=name)
    with pytest.raises(ValueError, match=r"several files.*'train'.*'a_train', 'b_train'"):
        d2l.read_snli(tmp_path, True)
    assert d2l.read_snli(tmp_path, "b_train") == PAIRS
    write(tmp_path, ".csv", name="train")
    assert d2l.read_snli(tmp_path, True) == PAIRS


@pytest.mark.parametrize("split", ["other", "", "...", "日本", 1, None, 2.5, ["train"]])
def test_a_split_that_the_folder_lacks_is_refused(split, tmp_path):
    for name in ("dev", "dev_hard"):
        write(tmp_path, ".csv", name=name)
    with pytest.raises(ValueError, match="unknown split"):
        d2l.read_snli(tmp_path, split)
    with pytest.raises(ValueError, match="unknown split"):
        d2l.read_snli(tmp_path / "dev.csv", split)


def test_the_splits_that_a_folder_has_are_listed(tmp_path):
    for name in ("dev", "dev_hard"):
        write(tmp_path, ".csv", name=name)
    with pytest.raises(ValueError, match=r"has 'dev', 'dev_hard'$"):
        d2l.read_snli(tmp_path, "easy")
    write(tmp_path / "one", ".csv", name="my_dev")
    with pytest.raises(ValueError, match=r"has 'my_dev'$"):
        d2l.read_snli(tmp_path / "one", "easy")
    with pytest.raises(FileNotFoundError, match=r"train.*missing"):
        d2l.read_snli(tmp_path, True)


def test_only_snlis_own_files_are_read_without_a_line(tmp_path, capsys):
    put(tmp_path / "snli_1.0_train.txt", text_of(".txt", SNLI_HEADER, [SNLI_ROW]))
    d2l.read_snli(tmp_path, True)
    assert capsys.readouterr().out == ""
    write(tmp_path, ".csv", name="dev")
    d2l.read_snli(tmp_path, "dev")
    assert capsys.readouterr().out.startswith("dev.csv: premise from 'premise'")
    write(tmp_path, ".jsonl", SNLI_HEADER, [SNLI_ROW], name="multinli_1.0_test")
    d2l.read_snli(tmp_path, False)
    assert capsys.readouterr().out.startswith("multinli_1.0_test.jsonl: premise from")


def test_pairs_that_are_read_twice_are_counted_once(tmp_path, capsys):
    write(tmp_path, ".csv", rows=[*ROWS, ["a", "b", "-"]], name="train")
    pairs = d2l.open_split(tmp_path, "train")
    assert pairs.read() == pairs.read() == PAIRS
    assert capsys.readouterr().out.count(": 1 without") == 0
    assert pairs.description().endswith("1 without a gold label left out")


def test_a_sentence_may_be_the_name_of_its_column(tmp_path):
    rows = [["premise", "b", "e"], ["a", "hypothesis", "n"]]
    assert read(tmp_path, ".csv", NAMES, *rows)[:2] == (["premise", "a"], ["b", "hypothesis"])


SENTENCES = [f"w{i} is {i % 7} ." for i in range(300)]


def splits_of(path: Path) -> dict[str, list[tuple]]:
    """Return the pairs of each split of a corpus in one file; a split may be empty."""
    found = {}
    for split in ("train", "dev", "test"):
        try:
            found[split] = list(zip(*d2l.read_snli(path, split), strict=True))
        except ValueError as error:
            assert str(path) in str(error) and f"split {split!r}" in str(error)
            found[split] = []
    return found


@given(st.lists(st.tuples(st.sampled_from(SENTENCES), st.sampled_from("abcdefgh"),
                          st.sampled_from([*d2l.LABELS, "-"])), min_size=1, max_size=60),
       st.randoms(use_true_random=False), st.sampled_from(PLAIN_SUFFIXES))  # fmt: skip
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_single_file_is_split_by_premise_once_and_for_all(tmp_path, rows, randomly, suffix):
    few = splits_of(write(tmp_path, suffix, rows=rows[: len(rows) // 2 + 1]))
    whole = splits_of(write(tmp_path, suffix, rows=rows))
    shuffled = splits_of(write(tmp_path, suffix, rows=randomly.sample(rows, len(rows))))
    labelled = [(p, h, d2l.LABELS.index(label)) for p, h, label in rows if label != "-"]
    assert sorted(pair for pairs in whole.values() for pair in pairs) == sorted(labelled)
    premises = [{pair[0] for pair in pairs} for pairs in whole.values()]
    assert sum(map(len, premises)) == len(set.union(*premises))
    for split, pairs in whole.items():
        assert pairs == [pair for pair in labelled if pair in set(pairs)]
        assert sorted(pairs) == sorted(shuffled[split])
        assert few[split] == pairs[: len(few[split])]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl.gz"])
def test_a_tenth_of_the_premises_is_dev_and_a_tenth_test(suffix, tmp_path, capsys):
    path = write(tmp_path, suffix, rows=[[f"premise {i}", "b", "e"] for i in range(5000)])
    sizes = {split: len(pairs) for split, pairs in splits_of(path).items()}
    assert sum(sizes.values()) == 5000
    assert all(450 < sizes[split] < 550 for split in ("dev", "test"))
    assert f"pairs{suffix}: premise from" in (out := capsys.readouterr().out)
    assert "split dev by premise" in out
    same = [["A  Dog .", "b", "e"], ["a dog .", "c", "e"], ["A dog .", "d", "e"]]
    assert sorted(map(len, splits_of(write(tmp_path, suffix, rows=same)).values())) == [0, 0, 3]


# ---- Datasets on disk, downloads, a real corpus --------------------------------------------------


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "x_train.jsonl.gz", "whole.csv"])
def test_a_mapped_dataset_is_that_of_memory_for_any_layout(name, tmp_path, words, capsys):
    suffix = "." + name.partition(".")[2]
    rows = [[f"a {'b ' * (i % 9)}{i % 10}", "c d", ["e", "not_entailment", "-"][i % 3]]
            for i in range(60)]  # fmt: skip
    path = put(tmp_path / "corpus" / name, text_of(suffix, NAMES, rows))
    source = path if name.startswith("whole") else path.parent
    expected = d2l.SNLIBERTDataset(d2l.read_snli(source, True), 12, words)
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith(name))
    for _ in range(2):
        mapped = d2l.mapped_dataset(tmp_path / "mapped", source, True, 12, words)
        assert mapped.label_names == expected.label_names == ("entailment", "non-entailment")
        assert mapped.labels.tolist() == expected.labels.tolist()
        assert (mapped.all_token_ids == expected.all_token_ids).all()
    assert capsys.readouterr().out.count(line) == 1


def test_the_splits_of_a_single_file_are_mapped_apart(tmp_path, words):
    path = write(tmp_path, ".csv", rows=[[f"a {i}", "b", "enc"[i % 3]] for i in range(200)])
    for split in ("train", "dev", "test"):
        mapped = d2l.mapped_dataset(tmp_path / "mapped", path, split, 12, words)
        assert mapped.labels.tolist() == d2l.read_snli(path, split)[2]


def test_download_extract_returns_an_existing_file_as_it_is(tmp_path):
    path = write(tmp_path, ".csv")
    assert d2l.download_extract(path) == d2l.download_extract(str(path)) == str(path)


def test_breaking_nli_is_in_the_hub():
    url, sha1 = d2l.DATA_HUB["Breaking_NLI"]
    assert url == (
        "https://raw.githubusercontent.com/BIU-NLP/Breaking_NLI/master/breaking_nli_dataset.zip"
    )
    assert sha1 == "06ed0f22b0e06660a85dee8b9875cd2cfe5c4fa8"


def test_breaking_nli_is_read_from_the_folder_that_its_archive_has(
    server, tmp_path, monkeypatch, data_dir
):
    names = ["sentence1", "category", "gold_label", "pairID", "sentence2"]
    row = ["A dog runs.", "nouns", "contradiction", 3, "A cat runs."]
    write(tmp_path / "data", ".jsonl", names, [row], name="dataset")
    name = "breaking_nli_dataset.zip"
    sha1 = zip_folder(tmp_path / "data", server.folder / name, "__MACOSX/data/x")
    monkeypatch.setitem(d2l.DATA_HUB, "Breaking_NLI", (server.url + name, sha1))
    folder = d2l.download_extract("Breaking_NLI")
    assert folder == d2l.download_extract("Breaking_NLI") == str(data_dir / Path(name).stem)
    assert server.requests == [f"/{name}"]
    assert d2l.read_snli(folder, "dataset") == (["A dog runs."], ["A cat runs."], [1])


HEADER = "premise\thypothesis\tlabel\n"
ODD_FILES = {
    "nul.tsv": (HEADER + "a\tb\te\nc\0\td\te\n", "line 3: not UTF-8"),
    "table.csv": (b"PK\x03\x04 and more", "line 1: an Excel file"),
    "excel.csv": ("sep=;\npremise;hypothesis\na;b\n", "line 1: delete this line"),
    "twice.jsonl": ('{"premise": "a", "premise": "b", "hypothesis": "c"}\n', "line 1.*twice"),
    "joined.csv": ("premise,hypothesis\na,b\npremise,hypothesis\n", "line 3: the header again"),
    "control.csv": ("premise,hypothesis\na,b\n\u200b\x01,c\n", "line 3: the premise is empty"),
    "replacement.csv": ("premise,hypothesis\na,b\n\ufffd,c\n", "line 3: the premise is empty"),
    "ragged.tsv": (HEADER + 'a\tb\te\n"Hi," he said\tc\n', "line 3: there are 2 columns"),
    "open.tsv": (HEADER + '"Hi he said\ta\nb\tc"\td\te\n', "line 2: there are 2 columns"),
    "blank.csv": ("\n\na,b\nc,d\n", "line 3: no column for the premise"),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_what_cannot_be_meant_is_refused_with_its_line(name, tmp_path):
    content, message = ODD_FILES[name]
    refused(put(tmp_path / name, content), message)


def test_a_pipe_is_named(tmp_path):
    os.mkfifo(tmp_path / "pairs.csv")
    refused(tmp_path / "pairs.csv", "is a pipe: save it as a file", error=OSError)


@pytest.mark.parametrize("file", [None, 3, ["a.csv"]])
@pytest.mark.parametrize("call", [d2l.read_pairs, lambda file: d2l.read_snli(file, True)])
def test_what_is_no_path_is_refused(call, file):
    with pytest.raises(ValueError, match="not the path of a file"):
        call(file)


@pytest.mark.parametrize("columns", [("premise", "premise"), {"label": "hypothesis"}])
def test_a_column_has_one_role(columns, tmp_path):
    refused(write(tmp_path, ".csv"), "one column cannot have two roles", columns=columns)


@pytest.mark.parametrize(
    "names", [["-", "+"], ["nan", "yes"], [" NaN", "yes"], ["-1", "0", "1"], []]
)
def test_a_class_needs_a_name_that_means_a_label(names, tmp_path):
    with pytest.raises(ValueError, match="label_names"):
        d2l.read_pairs(write(tmp_path, ".csv"), label_names=names)


def test_classes_with_numbers_for_names_are_not_ids(tmp_path):
    rows = [["a", "b", "3"], ["c", "d", "1"]]
    assert read(tmp_path, ".csv", NAMES, *rows, label_names=["1", "2", "3"])[2] == [2, 0]
    refused(write(tmp_path, ".csv", rows=[["a", "b", "0"]]), "'0'", label_names=["1", "2", "3"])


def test_ids_of_other_classes_do_not_go_together(tmp_path, words):
    two = read(tmp_path, ".csv", NAMES, ["a", "b", "e"], ["c", "d", "not_entailment"])[2]
    three = d2l.read_pairs(write(tmp_path, ".csv"))[2]
    for ids in (two + two, two.copy(), two[:1], two + list(two)):
        assert ids.names == ("entailment", "non-entailment")
    for join in (lambda: two + three, lambda: two.extend(three), lambda: two.__iadd__(three)):
        with pytest.raises(ValueError, match="do not go together"):
            join()


def test_the_line_names_classes_that_are_not_the_usual_ones(tmp_path, capsys):
    read(tmp_path, ".csv", NAMES, ["a", "b", "e"], ["c", "d", "not_entailment"])
    assert "classes entailment, non-entailment" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["Yes.", "A dog", '"', 'He said "no"'])
def test_a_quotation_that_no_program_would_enclose_keeps_its_quotes(text, tmp_path):
    sentence = f'"{text}"'
    assert read(tmp_path, ".tsv", NAMES, [sentence, "b", "e"])[0] == [sentence]


@pytest.mark.parametrize("name", ["train_dev_test", "train_validation", "val_train", "valid-test"])
def test_a_file_with_the_names_of_two_splits_is_neither(name, tmp_path):
    write(tmp_path, ".csv", name=name)
    for split in ("train", "dev", "test"):
        with pytest.raises(FileNotFoundError, match=rf"named after.*'{name}\.csv'"):
            d2l.read_snli(tmp_path, split)
    assert d2l.read_snli(tmp_path, name) == PAIRS


@pytest.mark.parametrize(
    ("number", "end"), [(0, "no files"), (8, r"'h\.csv'"), (9, r"'h\.csv', …")]
)
def test_some_files_of_a_folder_without_a_split_are_listed(number, end, tmp_path):
    for name in "abcdefghi"[:number]:
        write(tmp_path, ".csv", name=name)
    with pytest.raises(FileNotFoundError, match=f"the folder has .*{end}$"):
        d2l.read_snli(tmp_path, True)


def test_a_premise_that_no_encoding_has_belongs_to_a_split(tmp_path):
    path = write(tmp_path, ".jsonl", rows=[["a \ud800", "b", "e"]])
    assert sum(map(len, splits_of(path).values())) == 1


def test_punctuation_and_case_move_no_premise_to_another_split(tmp_path):
    rows = [[f"A dog has {i} bones", "b", "e"] for i in range(200)]
    rows += [[f"a dog has {i}  bones .", "b", "e"] for i in range(200)]
    for premises in splits_of(write(tmp_path, ".csv", rows=rows)).values():
        told = {re.sub(r" +", " ", premise.lower().strip(" .")) for premise, *_ in premises}
        assert 2 * len(told) == len(premises)


@pytest.mark.parametrize("name", ["Scenes", "SNLI-sample"])
def test_a_name_of_the_hub_comes_before_a_file_and_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    bundled = d2l.download_extract("Scenes")
    file = put(tmp_path / name, "")
    assert d2l.download_extract(name) == bundled
    assert d2l.download_extract(file) == str(file)
    file.unlink()
    file.mkdir()
    assert d2l.download_extract(name) == bundled
    assert d2l.download_extract(file) == str(file)


def test_what_stands_behind_the_parses_is_not_read(tmp_path):
    names = ["sentence1_binary_parse", "sentence2_binary_parse", "gold_label"]
    row = ["( A dog )", "( It runs )", "e", "more"]
    path = put(tmp_path / "pairs.tsv", text_of(".tsv", names, [row]))
    assert d2l.read_pairs(path) == (["A dog"], ["It runs"], [0])


def test_numbers_of_numpy_are_numbers(tmp_path, words):
    write(tmp_path, ".csv", name="train")
    found = d2l.mapped_dataset(
        tmp_path, tmp_path, "train", np.int64(16), words, max_examples=np.int64(2)
    )
    assert len(found) == 2


@pytest.mark.skipif(not BREAKING_NLI.is_file(), reason="needs ../shared/breaking_nli")
def test_real_pairs_of_breaking_nli():
    premises, hypotheses, labels = d2l.read_pairs(BREAKING_NLI)
    assert len(premises) == len(hypotheses) == 8193
    assert [labels.count(label) for label in range(3)] == [982, 7164, 47]
    assert premises[0] == "Several women stand on a platform near the yellow line."
    assert sum(len(d2l.read_snli(BREAKING_NLI, s)[0]) for s in ("train", "dev", "test")) == 8193
