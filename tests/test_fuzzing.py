"""Whatever comes in, what comes out is right or an error that was meant: a few hundred cases of
each in CI, ten thousand in the long run."""

import contextlib
import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import d2lnli as d2l
from conftest import SIZES, SPECIALS, few_or_many, write_checkpoint, write_corpus
from seams import cut, cut_tokens, main, parser, space_words, tokens_of

WORDS = "a b c d e f g h".split()
ODD = [
    "", " ", "\t", "\r", "\n", "\x00", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\u200b", "\u202e",
    '"', '""', "'", "n't", "(", ")", "( ( a ) b )", "-", "<cls>", "<sep>", "<pad>", "<unk>",
    "<mask>", "[MASK]", "[UNK]", "##a", "É", "ﬁ", "İ", "ß", "日本", "👩‍👩‍👧", "a" * 500, "=1+1",
    "<script>alert(1)</script>", "${HOME}", "$(ls)", "../..", "\\", "%s", "{0}", "nan", "-1",
]  # fmt: skip
TEXT = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(ODD),
    st.text(st.characters(), max_size=12),  # surrogates too
    st.lists(st.sampled_from([*WORDS, *ODD]), max_size=30).map(" ".join),
)
SIZE = st.one_of(
    st.integers(-2, 40), st.sampled_from([0, 512, 2**31, 2**63, 10**30, -(10**30), 12.5, "x"])
)
STRATEGY = st.one_of(st.sampled_from(sorted(d2l.TRUNCATIONS)), st.sampled_from(["", "none", "a"]))
CASES = few_or_many("cases", 150, 10_000)


def fuzz(cases: int, *strategies: st.SearchStrategy) -> Callable:
    """Run a property now, on so many cases."""

    def run(property_: Callable) -> None:
        settings(
            max_examples=cases,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=cases < 1000,
        )(given(*strategies)(property_))()

    return run


@contextlib.contextmanager
def only_documented_errors(*names: str):
    """Let pass a ValueError or an OSError that the package itself raises, and names these."""
    try:
        yield
    except (ValueError, OSError) as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        assert Path(raised_in).is_relative_to(Path(d2l.__file__).parent), repr(error)
        assert all(name in str(error) for name in names), repr(error)


@pytest.fixture(scope="module")
def vocabs() -> list[d2l.Vocab]:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a", "##b", "##c"]
    return [d2l.Vocab(WORDS, reserved_tokens=SPECIALS), d2l.WordPieceVocab(pieces)]


@pytest.fixture(scope="module")
def classifiers(vocabs) -> list[tuple[d2l.BERTClassifier, d2l.Vocab]]:
    torch.manual_seed(0)
    sizes = {**SIZES, "num_blks": 1}
    return [(d2l.BERTClassifier(d2l.BERTModel(len(v), dropout=0.1, **sizes)).eval(), v)
            for v in vocabs]  # fmt: skip


ROW = st.lists(st.one_of(st.sampled_from([*d2l.LABELS, "-", "( a ( b c ) )"]), TEXT), max_size=6)
LINES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*d2l.LABELS, "-"]), TEXT, TEXT).map("\t".join),
        ROW.map("\t".join),
        ROW.map(lambda row: "\t".join(f'"{field}"' for field in row)),
    ),
    max_size=6,
)
HEADER = st.sampled_from(
    [
        "gold_label\tsentence1_binary_parse\tsentence2_binary_parse",
        "\ufeffgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tpairID",
        "gold_label\tsentence1_binary_parse\tx",
        "gold_label",
        "",
    ]
)
ENCODING = st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-32"])
END = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", "\x85"])
JUNK = st.one_of(st.just(b""), st.just(b""), st.binary(max_size=20))


@CASES
def test_read_snli(cases, tmp_path):
    path = tmp_path / "snli_1.0_train.txt"

    @fuzz(cases, HEADER, LINES, END, ENCODING, JUNK, st.one_of(st.none(), SIZE))
    def check(header, lines, end, encoding, junk, most):
        text = end.join([header, *lines])
        path.write_bytes(text.encode(encoding, "replace") + junk)
        with only_documented_errors():
            try:
                premises, hypotheses, labels = d2l.read_snli(tmp_path, True, most)
            except ValueError as error:
                assert str(path) in str(error) or "max_examples" in str(error)
                raise
            assert len(premises) == len(hypotheses) == len(labels) > 0
            assert most is None or len(labels) <= most
            assert set(labels) <= {0, 1, 2}
            assert all(side.split() for side in (*premises, *hypotheses))
            assert len(d2l.read_phenomena(tmp_path, True, most)) == len(labels)


NAMES = st.one_of(
    st.permutations(["premise", "hypothesis", "label"]),
    st.permutations(["sentence1", "x", "sentence2", "gold_label"]),
    st.permutations(["gold_label", "sentence1_binary_parse", "sentence2_binary_parse"]),
    st.lists(
        st.sampled_from(["premise", "hypothesis", "Sentence2", "gold_label", "", '"x"', "日本"])
    ),
)
SENTENCE = st.one_of(
    st.lists(st.sampled_from([*WORDS, '"', '""', "'", "(", ":)", ",", ";", "\t", "\n", "\n\n",
                              "\r\n", "\\", "\u2028", "é", "-", "#", "{", "nan", '"a"']),
             min_size=1, max_size=6).map(" ".join),
    st.text(st.characters(exclude_categories=["C"], exclude_characters="\ufffd"), max_size=12),
    st.sampled_from(['"', '""', '"a', '"a" b', "\ta", "a\n", "\na", " a ", '("a")', "null", "NA"]),
).filter(lambda text: text.split() and not ("\t" in text and "\n" in text))  # fmt: skip
LABEL_CELL = st.sampled_from([*d2l.LABELS * 3, "-", "", "E", "not_entailment", "0", 2])
ANY_CELL = st.one_of(TEXT, st.sampled_from([None, 0, -1, 1.5, float("nan"), True, [], {"a": 1}]))


def tables(names: list[str]) -> st.SearchStrategy[tuple[list[str], list[list]]]:
    """Return rows that mostly fit the names of the columns."""
    fitting = st.tuples(*(LABEL_CELL if "label" in name else SENTENCE for name in names))
    rows = st.lists(fitting, max_size=5)
    odd = st.lists(st.one_of(fitting, st.lists(ANY_CELL, max_size=5)), max_size=5)
    return st.tuples(st.just(names), st.one_of(rows, rows, odd))


def as_table(layout: str, rows: list, end: str, quoting: int) -> str:
    """Return a table as JSON lines, as fields with tabs and no quotes, or as csv writes it."""
    if layout == "json":
        lines = [json.dumps(dict(zip(rows[0], row, strict=False))) for row in rows[1:]]
    elif layout == "raw":
        lines = ["\t".join(map(str, row)) for row in rows]
    else:
        text = io.StringIO()
        csv.writer(text, delimiter=layout, quoting=quoting, lineterminator=end).writerows(rows)
        return text.getvalue()
    return "".join(line + end for line in lines)


LAYOUTS = st.tuples(
    st.sampled_from(["json", "raw", ",", ";", "\t"]),
    st.one_of(st.sampled_from(["\n", "\r\n"]), END),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
BYTES = st.tuples(
    st.one_of(st.just("utf-8"), st.just("utf-8-sig"), ENCODING),
    st.one_of(st.just(b""), st.just(b""), st.just(b""), JUNK),
    st.booleans(),
    st.sampled_from([None] * 6 + [-1, -9, 5, 30]),
)
COLUMNS = st.sampled_from(
    [None] * 6
    + [("sentence1", "sentence2"), {"label": "gold_label"}, {"label": None}, ["", "日本", '"x"'],
       ("premise", "premise"), {"premise": "sentence1_binary_parse"}, {"x": "x"}, [None] * 4, 3]
)  # fmt: skip
CLASSES = st.sampled_from([None] * 6 + [d2l.LABELS, ("entailment", "other"), ("x", "x"), "x"])


@CASES
def test_read_pairs(cases, tmp_path):
    path, tally = tmp_path / "pairs.csv", Counter()
    most_pairs = st.one_of(st.none(), st.none(), st.none(), SIZE)

    @fuzz(cases, NAMES.flatmap(tables), LAYOUTS, BYTES, COLUMNS, CLASSES, most_pairs)
    def check(table, layouts, in_bytes, columns, classes, most):
        (names, rows), (layout, end, quoting) = table, layouts
        encoding, junk, is_zipped, stop = in_bytes
        text = as_table(layout, [names, *rows], end, quoting)
        data = text.encode(encoding, "replace") + junk
        path.write_bytes(gzip.compress(data)[:stop] if is_zipped else data)
        tally["all"] += 1
        with only_documented_errors(), contextlib.redirect_stdout(io.StringIO()):
            try:
                premises, hypotheses, labels = d2l.read_pairs(path, columns, classes, most)
            except ValueError as error:
                known = (str(path), "max_examples=", "columns=", "label_names=")
                assert any(name in str(error) for name in known)
                raise
            tally["read"] += 1
            assert len(premises) == len(hypotheses) > 0
            assert most is None or len(premises) <= most
            assert all(isinstance(side, str) and side.split() for side in (*premises, *hypotheses))
            if labels is not None:
                assert len(labels) == len(premises)
                assert set(labels) <= set(range(len(labels.names)))
                assert classes is None or labels.names == tuple(classes)

    assert 0.1 < tally["read"] / tally["all"] < 0.9, tally


WRITERS = {
    "json": lambda frame: frame.to_json(orient="records", lines=True, force_ascii=False),
    "json in ASCII": lambda frame: frame.to_json(orient="records", lines=True),
    **{
        f"{delimiter!r} {quoting} {index}": lambda frame, d=delimiter, q=quoting, i=index: (
            frame.to_csv(sep=d, quoting=q, index=i, lineterminator="\r\n")
        )
        for delimiter in ",;\t"
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
        for index in (False, True)
    },
}


@CASES
def test_what_others_wrote_read_pairs_reads_as_it_was(cases, tmp_path):
    labels = st.sampled_from([*d2l.LABELS, "-"])
    rows = st.lists(st.tuples(SENTENCE, SENTENCE, labels), min_size=1, max_size=6)
    order = st.permutations(["premise", "hypothesis", "label"])

    @fuzz(cases, rows, order, st.sampled_from(sorted(WRITERS)), st.booleans(), st.booleans())
    def check(rows, order, writer, is_zipped, has_mark):
        frame = pandas.DataFrame(rows, columns=["premise", "hypothesis", "label"])[order]
        data = WRITERS[writer](frame).encode("utf-8-sig" if has_mark else "utf-8")
        path = tmp_path / "pairs.txt"
        path.write_bytes(gzip.compress(data) if is_zipped else data)
        expected = [row for row in rows if row[2] != "-"]
        if expected:
            with contextlib.redirect_stdout(io.StringIO()):
                premises, hypotheses, ids = d2l.read_pairs(path)
            assert premises == [row[0] for row in expected]
            assert hypotheses == [row[1] for row in expected]
            assert [d2l.LABELS[i] for i in ids] == [row[2] for row in expected]


@CASES
def test_the_tokenizers(cases, vocabs):
    @fuzz(cases, TEXT, st.sampled_from(["word", "char", "", "piece"]))
    def check(text, kind):
        with only_documented_errors():
            (tokens,) = d2l.tokenize([text], kind)
            assert all(tokens) and "".join(tokens) in ("".join(text.split()), text)
        spaced = space_words(text)
        assert spaced == " ".join(spaced.split()) == space_words(spaced)
        for vocab in vocabs:
            for tokens in (vocab.tokenize(text), *tokens_of(vocab, [text])):
                assert all(token and token.split() == [token] for token in tokens)
            if text.split() == [text]:
                assert all(isinstance(piece, str) for piece in tokens_of(vocab, [[text]])[0])


@CASES
def test_vocab(cases, vocabs):
    tokens = st.one_of(
        st.lists(TEXT, max_size=8), st.lists(st.lists(TEXT, max_size=4), max_size=4), st.none()
    )

    @fuzz(cases, tokens, st.integers(-1, 3), st.lists(TEXT, max_size=3), TEXT, SIZE)
    def check(corpus, least, reserved, asked, index):
        vocab = d2l.Vocab(corpus, least, reserved)
        assert vocab[vocab.idx_to_token] == list(range(len(vocab)))
        assert set(reserved) | {"<unk>"} <= set(vocab.idx_to_token)
        for some in (vocab, *vocabs):
            assert some[[asked, asked]] == [some[asked]] * 2
            assert some.to_tokens(some[asked]) in (asked, some.to_tokens(some.unk), "[MASK]",
                                                   "[CLS]", "[SEP]", "[PAD]")  # fmt: skip
            with only_documented_errors(str(index)):
                token = some.to_tokens(index)
                assert 0 <= index < len(some) and some.to_tokens([index]) == [token]


SIDE = st.lists(
    st.one_of(
        TEXT, TEXT, TEXT,
        st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4).map(tuple),
        st.sampled_from([None, np.nan, 3, b"bytes", [1, None], [["nested"]]]),
    ),
    max_size=5,
)  # fmt: skip
LABEL = st.one_of(st.integers(0, 2), st.sampled_from([-1, 3, 10**30, "neutral", None, 0.5, np.nan]))


@CASES
def test_the_dataset(cases, vocabs):
    @fuzz(cases, SIDE, SIDE, st.lists(LABEL, max_size=5), SIZE, STRATEGY, st.integers(-1, 2))
    def check(premises, hypotheses, labels, max_len, strategy, workers):
        n = min(len(premises), len(hypotheses)) if workers else 5  # equal lengths, or as they come
        data = premises[:n], hypotheses[:n], (labels * n)[:n]
        for vocab in vocabs:
            with only_documented_errors(), contextlib.redirect_stdout(io.StringIO()):
                dataset = d2l.SNLIBERTDataset(data, max_len, vocab, strategy, workers)
                check_dataset(dataset, data, max_len, vocab)


def check_dataset(dataset, data, max_len, vocab):
    assert len(dataset) == len(data[0])
    assert 5 <= dataset.valid_lens.min() <= dataset.valid_lens.max() <= max_len
    (ids, segments, length), _ = dataset[len(dataset) - 1]
    assert ids.shape == segments.shape == (max_len,)
    assert ids[0] == vocab["<cls>"] and ids[length - 1] == vocab["<sep>"]
    assert (ids[length:] == vocab["<pad>"]).all() and not segments[length:].any()
    assert ids.min() >= 0 and ids.max() < len(vocab)


@CASES
@pytest.mark.parametrize("strategy", [*sorted(d2l.TRUNCATIONS), "no such"])
def test_every_truncation(cases, strategy):
    lens = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6)

    @fuzz(cases, lens, SIZE)
    def check(pairs, max_len):
        sides = [np.array(side) for side in zip(*pairs, strict=True)]
        with only_documented_errors():
            kept = cut(*sides, max_len, strategy)
            for (n, m), parts in zip(pairs, np.stack(kept, axis=1), strict=True):
                first, second = parts[:2].sum(), parts[2:].sum()
                assert (parts >= 0).all() and first <= n and second <= m
                assert first + second == min(n + m, max_len - 3) or first + second < n + m
                assert first + second <= max_len - 3
                assert (first > 0) == (n > 0) and (second > 0) == (m > 0)
                words = [f"p{i}" for i in range(n)], [f"h{i}" for i in range(m)]
                tokens = cut_tokens(*words, max_len, strategy)
                assert list(map(len, tokens)) == [first, second]


@CASES
def test_predict(cases, classifiers):
    @fuzz(cases, SIDE, SIDE, st.one_of(st.none(), SIZE), STRATEGY, st.sampled_from([0, 1]))
    def check(premises, hypotheses, max_len, strategy, which):
        net, vocab = classifiers[which]
        with only_documented_errors():
            probs = d2l.predict_proba(net, vocab, premises, hypotheses, max_len, strategy)
            assert probs.shape == (len(premises), 3)
            assert np.allclose(probs.sum(axis=1), 1, atol=1e-5) and (probs >= 0).all()
        for premise, hypothesis in zip(premises, hypotheses, strict=False):
            with only_documented_errors():
                assert d2l.predict_snli(net, vocab, premise, hypothesis) in d2l.LABELS


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """A small checkpoint, a small corpus, and a classifier made of them."""
    folder = tmp_path_factory.mktemp("ünï cödé")
    write_checkpoint(folder / "bert", [*SPECIALS, *WORDS], num_blks=1)
    rows = [f"{d2l.LABELS[i % 3]}\t( a {WORDS[i % 4]} )\t( {WORDS[i % 3]} b )" for i in range(9)]
    write_corpus(folder / "corpus", rows)
    (folder / "broken").mkdir()
    (folder / "broken" / "snli_1.0_train.txt").write_bytes(b"\xff\xfe broken")
    (folder / "broken" / "vocab.json").write_text("{", encoding="utf-8")
    names = {name: str(folder / name) for name in ("bert", "corpus", "broken", "out")}
    names |= {f"{name} file": f"{names[name]}/snli_1.0_train.txt" for name in ("corpus", "broken")}
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["finetune", "--model", names["bert"], "--data", names["corpus"], "--max-len",
                     "16", "--epochs", "1", "--output", names["out"]]) == 0  # fmt: skip
    return names


NUMBER = st.one_of(
    st.sampled_from("0 1 2 -1 0.5 1e-3 nan inf -inf 1e400 1e30 ١ 0x10 1_000 100000000000000000000 "
                    "18446744073709551616 x".split()),
    TEXT,
)  # fmt: skip
EPOCHS = st.sampled_from(["1", "1", "1", "2", "0", "-3", "1.5", ""])
NUMBERS = "--batch-size --lr --warmup --clip --most-tokens --max-len --seed --pairs".split()
OPTION = st.one_of(
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from(["1", "2", "8", "16", "0", "-1"])),
    st.tuples(st.sampled_from(NUMBERS), NUMBER),
    st.tuples(st.sampled_from(["--lr", "--warmup", "--clip"]), st.sampled_from(["0.1", "1e30"])),
    st.tuples(st.just("--schedule"), st.sampled_from(["constant", "linear", "cosine"])),
    st.tuples(st.just("--truncation"), STRATEGY),
    st.tuples(st.just("--precision"), st.sampled_from(["auto", "fp32", "bf16", "fp16", "int8"])),
)


def finetune_arguments(folders, model, data, epochs, options, run):
    flat = [part for option in options for part in option]
    return ["finetune", "--model", folders.get(model, model), "--data", folders.get(data, data),
            "--output", folders["out"] + "2", "--epochs", epochs, *flat,
            *(["--run-dir", folders["out"] + "-run"] if run else [])]  # fmt: skip


def bulk_arguments(folders, command, classifier, file, options):
    flat = [part for option in options for part in option]
    return [command, "--classifier", folders.get(classifier, classifier),
            "--input", folders.get(file, file), *flat]  # fmt: skip


def arguments(folders) -> st.SearchStrategy[list[str]]:
    mostly = st.sampled_from(["bert"] * 4 + ["broken", "nowhere"])
    corpus = st.sampled_from(["corpus"] * 4 + ["broken", "nowhere"])
    finetune = st.builds(
        lambda *given: finetune_arguments(folders, *given),
        mostly, corpus, EPOCHS, st.lists(OPTION, max_size=3), st.booleans(),
    )  # fmt: skip
    predict = st.builds(
        lambda premise, hypothesis, where: [
            "predict", "--classifier", folders.get(where, where), "--", premise, hypothesis
        ],
        TEXT, TEXT, st.sampled_from(["out"] * 5 + ["broken", "nowhere"]),
    )  # fmt: skip
    column = st.one_of(st.sampled_from(["gold_label", "sentence1_binary_parse", "x"]), TEXT)
    bulk_option = st.one_of(
        st.builds(lambda *names: ["--columns", *names], *[column.filter(_is_value)] * 2),
        st.builds(lambda *names: ["--label-names", *names], *[column.filter(_is_value)] * 3),
        st.just(["--label-names", *reversed(d2l.LABELS)]),
        st.builds(lambda name: [f"--by={name}"], column),
        st.sampled_from(["-", "", "x.txt", folders["out"], f"{folders['out']}/no/x.csv"]).map(
            lambda output: [f"--output={output}"]
        ),
    )
    bulk = st.builds(
        lambda *given: bulk_arguments(folders, *given),
        st.sampled_from(["predict", "evaluate"]),
        st.sampled_from(["out"] * 5 + ["broken"]),
        st.sampled_from(["corpus file"] * 5 + ["broken file", "corpus", "nowhere"]),
        st.lists(bulk_option, max_size=2),
    )
    anything = st.lists(
        st.one_of(st.sampled_from(["predict", "evaluate", "download", *NUMBERS]), TEXT), max_size=5
    )
    return st.one_of(finetune, finetune, predict, bulk, anything)


def _is_value(text: str) -> bool:
    """Return whether argparse takes a text for a value, not for an option."""
    return not text.startswith("-")


def run_main(argv: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(argv)
        except SystemExit as done:
            status = done.code
    return status, out.getvalue(), err.getvalue()


def check_outcome(status: int, out: str, err: str) -> None:
    """0 and an answer, 1 and one line that says why, or 2 and argparse's usage."""
    assert "Traceback" not in err
    if status == 0:
        assert out
    elif status == 1:
        assert err.splitlines()[-1].startswith("error: ") or "error: " in err
        assert len(err) > 20
    else:
        assert status == 2 and "usage: " in err


@CASES
def test_the_command_line(cases, folders, data_dir):
    statuses = []

    @fuzz(cases, arguments(folders))
    def check(argv):
        outcome = run_main(argv)
        statuses.append(outcome[0])
        check_outcome(*outcome)
        if outcome[0] == 1:
            with only_documented_errors(), contextlib.redirect_stdout(io.StringIO()):
                given = parser().parse_args(argv)
                given.command(given)

    print({status: statuses.count(status) for status in set(statuses)})
    assert {0, 1, 2} <= set(statuses)


@few_or_many("cases", 3, 100)
def test_the_command_line_as_processes(cases, folders, data_dir):
    seen = []

    def check(argv):
        seen.append(argv)

    fuzz(150, arguments(folders))(check)
    can_be_passed = [a for a in seen if a and not any("\x00" in x or not _encodable(x) for x in a)]
    for argv in random.Random(0).sample(can_be_passed, cases):
        run = subprocess.run(
            [sys.executable, "-m", "d2lnli", *argv],
            capture_output=True, text=True, encoding="utf-8", timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        check_outcome(run.returncode, run.stdout, run.stderr)


def _encodable(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode("utf-8")


LONG = "a b c d " * 25_000


@pytest.mark.parametrize(
    "long", [LONG, "a" * 500_000, "<mask>" * 50_000], ids=["words", "a", "mask"]
)
def test_100_000_words_are_read_cut_and_answered(long, classifiers, tmp_path):
    header = "gold_label\tsentence1_binary_parse\tsentence2_binary_parse"
    (tmp_path / "snli_1.0_train.txt").write_text(f"{header}\nneutral\t{long}\t( a )\n")
    data = d2l.read_snli(tmp_path, True)
    for net, vocab in classifiers:
        for strategy in d2l.TRUNCATIONS:
            dataset = d2l.SNLIBERTDataset(data, 32, vocab, strategy)
            assert dataset.valid_lens.max() <= 32
            assert d2l.predict_proba(net, vocab, [long], ["a"], 32, strategy).shape == (1, 3)
        assert d2l.predict_snli(net, vocab, "a", long) in d2l.LABELS


def test_what_a_spreadsheet_saves_is_read_as_it_was(tmp_path):
    path = tmp_path / "snli_1.0_train.txt"
    lines = ["gold_label\tsentence1_binary_parse\tsentence2_binary_parse",
             'neutral\t"( ( He says ) ( "" hi "" ) )"\t( " ( a b ) )', ""]  # fmt: skip
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert d2l.read_snli(tmp_path, True) == (['He says " hi "'], ['" a b'], [2])
    path.write_bytes("\r\n".join(lines).encode("utf-16"))  # what it calls Unicode text
    with pytest.raises(ValueError, match=r"train\.txt.*line 1\b.*UTF-8"):
        d2l.read_snli(tmp_path, True)
