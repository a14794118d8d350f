"""Files of pairs on the command line: answers for all rows, reports, and training."""

import contextlib
import csv
import gzip
import io
import json
import math
import os
import random
import re
import select
import shlex
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import d2lnli as d2l
from conftest import SIZES, SPECIALS, contents, weights_of, write_checkpoint
from seams import main, read_made_of

WORDS = "a b c d e f g h".split()
HUB_ORDER = ("entailment", "neutral", "contradiction")
LAST = ("neutral", "contradiction", "entailment")
TWO = ("entailment", "non-entailment")
CUSTOM = ("same", "other", "unclear", "both")
ROLES = ("premise", "hypothesis", "label")

pytestmark = pytest.mark.usefixtures("data_dir")


def some_pairs(number: int, **more) -> list[dict]:
    """Return rows with a premise, a hypothesis, a label, and more columns."""
    draw, lens = random.Random(number), [1, 2, 5, 9]
    return [
        {
            "premise": " ".join(draw.choices(WORDS, k=draw.choice(lens))),
            "hypothesis": " ".join(draw.choices(WORDS, k=draw.choice(lens))),
            "label": d2l.LABELS[i % 3],
            **{name: values[i % len(values)] for name, values in more.items()},
        }
        for i in range(number)
    ]


def as_text(rows: list[dict], suffix: str = ".csv") -> str:
    if suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    text = io.StringIO(newline="")
    delimiter = "\t" if suffix == ".tsv" else ","
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_rows(text: str, suffix: str) -> list[dict]:
    """Read what the package wrote, without the package."""
    if suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    delimiter = "\t" if suffix == ".tsv" else ","
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def write(path: Path, rows: list[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(rows, path.suffix), encoding="utf-8", newline="")
    return str(path)


def classifier(names: tuple[str, ...] = d2l.LABELS) -> tuple[d2l.BERTClassifier, d2l.Vocab]:
    """Return a random network that predicts each of its classes for some pairs."""
    torch.manual_seed(len(names))
    vocab = d2l.Vocab(WORDS, reserved_tokens=SPECIALS)
    net = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **SIZES), len(names), names)
    net.output.weight.data *= 9
    probs = d2l.predict_proba(net, vocab, *sides(some_pairs(200)))
    net.output.bias.data -= torch.tensor(np.log(probs).mean(axis=0))
    return net, vocab


def sides(rows: list[dict]) -> tuple[list[str], list[str]]:
    return [row["premise"] for row in rows], [row["hypothesis"] for row in rows]


def answers(net: d2l.BERTClassifier, vocab: d2l.Vocab, rows: list[dict]) -> list[str]:
    probs = d2l.predict_proba(net, vocab, *sides(rows))
    return [net.label_names[i] for i in probs.argmax(axis=1)]


@pytest.fixture
def saved(tmp_path) -> list[str]:
    """The option that names a saved classifier."""
    return ["--classifier", str(d2l.save_classifier(tmp_path / "net", *classifier()))]


def saved_with(names: tuple[str, ...], folder: Path) -> list[str]:
    return ["--classifier", str(d2l.save_classifier(folder / "other", *classifier(names)))]


def fails(capsys, arguments: list[str]) -> str:
    """Run a command that fails; return its message, which is one line, after the usual ones."""
    capsys.readouterr()
    assert main(arguments) == 1
    said = capsys.readouterr()
    message = said.err.splitlines()[-1]
    assert message.startswith("error: ")
    assert said.err.count("error: ") == 1 and "Traceback" not in said.err
    return message


def check_answers(rows: list[dict], given: list[dict], names: tuple[str, ...]) -> None:
    """Check that rows have what was given, and what predict_proba answers."""
    net, vocab = classifier(names)
    probs = d2l.predict_proba(net, vocab, *sides(given))
    assert len(rows) == len(given)
    assert [*rows[0]] == [*given[0], "prediction", *names]
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    found = np.array([[float(row[name]) for name in names] for row in rows])
    np.testing.assert_allclose(found, probs, atol=1e-5)
    assert [row["prediction"] for row in rows] == [names[i] for i in probs.argmax(axis=1)]


# ---- predict -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("suffix", [".csv", ".TSV", ".jsonl"])
def test_a_file_comes_back_with_the_answers(source, suffix, saved, tmp_path, capsys):
    given = some_pairs(30, id=["1", 'two "2"', "tab\there", "é, ü"])
    file, output = write(tmp_path / f"pairs{source}", given), tmp_path / f"out{suffix}"
    assert main(["predict", *saved, "--input", file, "--output", str(output)]) == 0
    said = capsys.readouterr()
    assert not said.out and said.err.endswith(f"\nthe predictions are in {output}\n")
    check_answers(as_rows(output.read_text("utf-8"), suffix.lower()), given, d2l.LABELS)


def test_many_chunks_keep_their_order(saved, tmp_path):
    given = some_pairs(17_000)
    file, output = write(tmp_path / "pairs.csv", given), tmp_path / "out.jsonl"
    assert main(["predict", *saved, "--input", file, "--output", str(output)]) == 0
    rows = as_rows(output.read_text(), ".jsonl")
    check_answers(rows, given, d2l.LABELS)
    assert min(Counter(row["prediction"] for row in rows).values()) > 1_000


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_without_an_output_the_answers_are_printed(suffix, saved, tmp_path, capsys):
    given = some_pairs(5)
    file, printed = write(tmp_path / f"pairs{suffix}", given), ".jsonl" if "j" in suffix else ".csv"
    for output in ([], ["--output", "-"]):
        assert main(["predict", *saved, "--input", file, *output]) == 0
        said = capsys.readouterr()
        check_answers(as_rows(said.out, printed), given, d2l.LABELS)
        assert re.search(rf"pairs\{suffix}: premise from 'premise', hypothesis", said.err)


@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_standard_input_is_read(suffix, is_gzipped, saved, capsys, monkeypatch):
    given = some_pairs(5)
    data = as_text(given, suffix).encode()
    data = gzip.compress(data) if is_gzipped else data
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["predict", *saved, "--input", "-"]) == 0
    said = capsys.readouterr()
    check_answers(as_rows(said.out, suffix), given, d2l.LABELS)
    assert "standard input: premise" in said.err


def test_a_process_without_a_standard_input_is_named(saved, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "no standard input: give a file" in fails(capsys, ["predict", *saved, "--input", "-"])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_pipes_are_read_and_written(suffix, saved, tmp_path):
    given, received = some_pairs(5), []
    pipes = [tmp_path / "in", tmp_path / "out"]
    for pipe in pipes:
        os.mkfifo(pipe)
    for ends in (
        lambda: pipes[0].write_text(as_text(given, suffix)),
        lambda: received.append(pipes[1].read_text()),
    ):
        threading.Thread(target=ends, daemon=True).start()
    arguments = ["--input", str(pipes[0]), "--output", str(pipes[1])]
    assert main(["predict", *saved, *arguments]) == 0
    until = time.monotonic() + 10
    while not received and time.monotonic() < until:
        time.sleep(0.001)
    check_answers(as_rows(received[0], suffix), given, d2l.LABELS)
    assert all(pipe.is_fifo() for pipe in pipes)


@pytest.mark.parametrize("labels", [["-", "", "maybe", "7"], ["neutral"]])
def test_labels_are_ignored(labels, saved, tmp_path, capsys):
    given = [{**row, "label": labels[i % len(labels)]} for i, row in enumerate(some_pairs(9))]
    assert main(["predict", *saved, "--input", write(tmp_path / "pairs.csv", given)]) == 0
    check_answers(as_rows(capsys.readouterr().out, ".csv"), given, d2l.LABELS)


def test_columns_are_named_and_the_classes_are_those_of_the_classifier(tmp_path, capsys):
    given = some_pairs(9)
    named = [{"p": row["premise"], "q": row["hypothesis"], "label": "?"} for row in given]
    file, saved = write(tmp_path / "pairs.tsv", named), saved_with(CUSTOM, tmp_path)
    for columns in (["p", "q"], ["p", "q", "label"]):
        assert main(["predict", *saved, "--input", file, "--columns", *columns]) == 0
        rows = as_rows(capsys.readouterr().out, ".csv")
        assert [row["prediction"] for row in rows] == answers(*classifier(CUSTOM), given)
        assert [*rows[0]] == ["p", "q", "label", "prediction", *CUSTOM]


def test_values_of_json_lines_stay_what_they_are(saved, tmp_path, capsys):
    values = [{"n": 1.5, "ok": True}, {"n": None, "tags": ["x", {"y": "é\ud800"}]}, {"n": "a\rb"}]
    pair = {"premise": "a b", "hypothesis": "c"}
    file = write(tmp_path / "pairs.jsonl", [{**pair, **value} for value in values])
    assert main(["predict", *saved, "--input", file]) == 0
    rows = as_rows(capsys.readouterr().out, ".jsonl")
    empty = {"n": None, "ok": None, "tags": None}
    assert [{name: row[name] for name in empty} for row in rows] == [empty | v for v in values]
    output = tmp_path / "out.csv"
    assert main(["predict", *saved, "--input", file, "--output", str(output)]) == 0
    rows = as_rows(output.read_bytes().decode(), ".csv")
    assert [(row["n"], row["ok"], row["tags"]) for row in rows] == [
        ("1.5", "True", ""), ("", "", '["x", {"y": "é\\ud800"}]'), ("a\rb", "", "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("a,b,neutral,more\n", r"line 9002\b.*4 column"),
        (" ,b,neutral\n", r"line 9002\b.*premise is empty"),
        ('a,"b,neutral\n', r"line 9002\b.*quotation mark"),
    ],
)
def test_a_bad_row_is_found_before_the_first_answer(last, message, saved, tmp_path, capsys):
    file, output = tmp_path / "pairs.csv", tmp_path / "out" / "old.csv"
    file.write_text(as_text(some_pairs(9_000)) + last)
    output.parent.mkdir()
    output.write_text("what was there")
    command = ["predict", *saved, "--input", str(file)]
    assert main(command) == 1
    assert not capsys.readouterr().out
    assert re.search(message, fails(capsys, [*command, "--output", str(output)]))
    assert contents(output.parent) == ["old.csv"] and output.read_text() == "what was there"


@pytest.mark.parametrize("name", ["prediction", "neutral", "id"])
def test_two_columns_of_one_name_are_refused(name, saved, tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    file.write_text(f"id,premise,hypothesis,{name}\n1,a,b,2\n")
    message = fails(capsys, ["predict", *saved, "--input", str(file)])
    assert f"{file}: the output would have several columns '{name}': rename" in message


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csv.gz", "out.json"])
def test_an_output_of_another_kind_is_refused(name, saved, tmp_path, capsys):
    given = write(tmp_path / "pairs.csv", some_pairs(3))
    output = tmp_path / "new" / name
    message = fails(capsys, ["predict", *saved, "--input", given, "--output", str(output)])
    assert f"{output}: give it a name that ends in .csv, .tsv or .jsonl" in message
    assert not output.parent.exists()


def test_an_output_may_be_the_input_or_a_link_to_it(saved, tmp_path):
    given, link = some_pairs(9_000), tmp_path / "link.csv"
    file = write(tmp_path / "pairs.csv", given)
    link.symlink_to(file)
    assert main(["predict", *saved, "--input", file, "--output", str(link)]) == 0
    assert link.is_symlink()
    check_answers(as_rows(Path(file).read_text(), ".csv"), given, d2l.LABELS)


def test_several_columns_may_have_no_name(saved, tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    file.write_text(",premise,hypothesis,\n1,a,b,2\n")
    assert main(["predict", *saved, "--input", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("1,a,b,2,")


def test_an_output_keeps_its_mode(saved, tmp_path):
    file = write(tmp_path / "pairs.csv", some_pairs(3))
    for mode in (0o600, 0o664):
        Path(file).chmod(mode)
        assert main(["predict", *saved, "--input", file, "--output", file]) == 0
        assert Path(file).stat().st_mode & 0o777 == mode
        write(Path(file), some_pairs(3))


@pytest.mark.parametrize(("words", "share"), [("a zz", "50%"), ("a zz zz", "67%"), ("a b", "")])
def test_many_unknown_words_are_said_once(words, share, saved, tmp_path, capsys):
    rows = [{"premise": words, "hypothesis": words}] * 3
    assert main(["predict", *saved, "--input", write(tmp_path / "pairs.csv", rows)]) == 0
    warned = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning: ")]
    assert len(warned) == bool(share)
    assert all(line.startswith(f"warning: {share} of the tokens are not") for line in warned)


def test_a_device_stays_a_device(saved, tmp_path, capsys):
    file = write(tmp_path / "pairs.csv", some_pairs(3))
    assert main(["predict", *saved, "--input", file, "--output", os.devnull]) == 0
    message = fails(capsys, ["predict", *saved, "--input", file, "--output", "/dev/full"])
    assert re.search("cannot write the predictions to /dev .*No space left on device", message)
    assert Path(os.devnull).is_char_device() and Path("/dev/full").is_char_device()


def seen_on(terminal: int) -> str:
    """Return what was written to a terminal, up to the word `end`, which may come in parts."""
    shown = b""
    while not shown.endswith(b"end") and select.select([terminal], [], [], 10)[0]:
        shown += os.read(terminal, 10_000)
    return shown.decode().replace("\r\n", "\n")


def test_only_a_terminal_sees_a_bar(saved, tmp_path, capsys):
    file = write(tmp_path / "pairs.csv", some_pairs(3))
    assert main(["predict", *saved, "--input", file]) == 0
    quiet = capsys.readouterr()
    assert "%" not in quiet.out + quiet.err
    terminal, inner = os.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    with os.fdopen(inner, "w") as screen, contextlib.redirect_stderr(screen):
        assert main(["predict", *saved, "--input", file]) == 0
        screen.write("end")
        screen.flush()
        assert re.search(r"100%.* 3/3 .*pairs", seen_on(terminal))
        assert capsys.readouterr().out == quiet.out
        with contextlib.redirect_stdout(screen):  # it shows the answers, and no bar among them
            assert main(["predict", *saved, "--input", file]) == 0
        screen.write("end")
        screen.flush()
        shown = seen_on(terminal)
        assert shown.endswith(f"{quiet.out}end") and "%" not in shown
    os.close(terminal)


def test_texts_may_begin_with_a_dash(saved, capsys):
    for texts in (["-5 degrees is cold.", "-h is for help"], ["--", "-a", "-b"], ["-- a", "--b c"]):
        assert main(["predict", *saved, *texts]) == 0
        said = capsys.readouterr().out.splitlines()
        (probs,) = d2l.predict_proba(*classifier(), *([text] for text in texts[-2:]))
        shown = [f"{name} {prob:.3f}" for name, prob in zip(d2l.LABELS, probs, strict=True)]
        assert said[:2] == [d2l.LABELS[probs.argmax()], ", ".join(shown)]


def test_columns_may_begin_with_a_dash(saved, tmp_path, capsys):
    given = some_pairs(3)
    named = [{"- the p": row["premise"], "-h y": row["hypothesis"]} for row in given]
    columns = ["--columns", "- the p", "-h y"]
    assert main(["predict", *saved, "--input", write(tmp_path / "x.csv", named), *columns]) == 0
    rows = as_rows(capsys.readouterr().out, ".csv")
    assert [row["prediction"] for row in rows] == answers(*classifier(), given)


# ---- Real processes ------------------------------------------------------------------------------


def shell(command: str, **files) -> subprocess.CompletedProcess:
    """Run a line of bash in which `nli` is the command line of the package."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONUNBUFFERED", None)  # with it, nothing is left to be written at exit
    names = " ".join(f"{name}={shlex.quote(str(file))}" for name, file in files.items())
    return subprocess.run(
        ["bash", "-c", f'{names}\nnli() {{ "{sys.executable}" -m d2lnli "$@"; }}\n{command}'],
        capture_output=True, text=True, timeout=60, env=env,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "reader", "lines"), [(9_000, "head -1", 1), (3, "true", 0)])
def test_a_reader_may_have_seen_enough(number, reader, lines, saved, tmp_path):
    file = tmp_path / "pairs.csv.gz"
    file.write_bytes(gzip.compress(as_text(some_pairs(number)).encode()))
    run = shell(
        f'nli predict --classifier "$net" --input - < "$file" | {reader}; exit ${{PIPESTATUS[0]}}',
        file=file, net=saved[1],
    )  # fmt: skip
    assert run.returncode == 1
    header = "premise,hypothesis,label,prediction,entailment,contradiction,neutral\n"
    assert run.stdout == header * lines
    assert len(run.stderr.splitlines()) == 2, run.stderr  # which classifier, and which columns


def test_a_full_disk_is_one_line(saved, tmp_path):
    file = write(tmp_path / "pairs.csv", some_pairs(3))  # few: the first write is at the end
    run = shell('nli predict --classifier "$net" --input "$f" > /dev/full', f=file, net=saved[1])
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 3, run.stderr
    assert re.search("^error: .*No space left on device", run.stderr, re.M)


def test_a_shell_may_stand_in_for_the_files(saved, tmp_path):
    given, output = some_pairs(30), tmp_path / "out.csv"
    run = shell(
        'nli predict --classifier "$net" --input <(cat "$file") --output >(cat > "$out")',
        file=write(tmp_path / "pairs.csv", given), net=saved[1], out=output,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    until = time.monotonic() + 10  # bash does not wait for the last `cat`
    while output.read_text().count("\n") < 31 and time.monotonic() < until:
        time.sleep(0.01)
    check_answers(as_rows(output.read_text(), ".csv"), given, d2l.LABELS)


# ---- evaluate ------------------------------------------------------------------------------------


def accuracy_line(gold: list[str], predicted: list[str]) -> str:
    """Return the line for an accuracy, with Wilson's interval by its textbook formula."""
    n, z = len(gold), 1.959964
    p = sum(map(str.__eq__, gold, predicted)) / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"accuracy {p:.3f} (95 % interval {low:.3f} to {high:.3f}), {n} pairs"


def check_report(printed: str, gold: list[str], predicted: list[str], names: tuple[str, ...]):
    """Check the accuracy and the confusion of a report; return the lines of its groups."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("accuracy"))
    assert lines[start] == accuracy_line(gold, predicted)
    header, *table = lines[start + 1 : start + 2 + len(names)]
    assert header.split(":", 1)[1].split() == [*" ".join(names).split()]
    counts = Counter(zip(gold, predicted, strict=True))
    for name, line in zip(names, table, strict=True):
        assert line.startswith(name)
        cells = list(map(int, line.removeprefix(name).split()))
        assert cells == [counts[name, other] for other in names]
        assert len(line) == len(header)  # so the columns are in line
    return lines[start + 2 + len(names) :]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("names", [d2l.LABELS, HUB_ORDER, LAST])
def test_a_report_is_what_predict_proba_gives(names, suffix, tmp_path, capsys):
    rows = some_pairs(120, topic=["sport", "a much longer topic", "art", "sport", "food"])
    saved, file = saved_with(names, tmp_path), write(tmp_path / f"pairs{suffix}", rows)
    predicted = answers(*classifier(names), rows)
    assert len(set(predicted)) == 3
    assert main(["evaluate", *saved, "--input", file, "--by", "topic"]) == 0
    gold = [row["label"] for row in rows]
    printed = capsys.readouterr().out
    assert f"pairs{suffix}: premise from 'premise', hypothesis from 'hypothesis', label" in printed
    heading, *groups = check_report(printed, gold, predicted, names)
    assert heading == "topic"
    for topic, line in zip(["sport", "a much longer topic", "art", "food"], groups, strict=True):
        chosen = [i for i, row in enumerate(rows) if row["topic"] == topic]
        pairs = [gold[i] for i in chosen], [predicted[i] for i in chosen]
        assert re.split("  +", line) == [topic, accuracy_line(*pairs)]
    assert len({line.index("accuracy") for line in groups}) == 1


def test_pairs_may_lack_a_group(saved, tmp_path, capsys):
    rows = [{**row, "topic": None} for row in some_pairs(6)]
    assert (
        main(["evaluate", *saved, "--input", write(tmp_path / "x.jsonl", rows), "--by", "topic"])
        == 0
    )
    assert re.fullmatch(" +accuracy .* 6 pairs", capsys.readouterr().out.splitlines()[-1])


def test_groups_of_two_columns_are_refused(saved, tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    file.write_text("premise,hypothesis,label,x,x\na,b,e,1,2\n")
    message = fails(capsys, ["evaluate", *saved, "--input", str(file), "--by", "x"])
    assert f"{file} has several columns 'x': choose one of" in message


def test_pairs_without_a_gold_label_are_left_out(saved, tmp_path, capsys):
    rows = some_pairs(40)
    unlabelled = [
        {**row, "label": label} for row, label in zip(rows, ["-", "", "-1"], strict=False)
    ]
    file = write(tmp_path / "pairs.csv", [*unlabelled, *rows])
    assert main(["evaluate", *saved, "--input", file]) == 0
    printed = capsys.readouterr().out
    assert "3 without a gold label left out" in printed
    gold = [row["label"] for row in rows]
    assert not check_report(printed, gold, answers(*classifier(), rows), d2l.LABELS)


@pytest.mark.parametrize(
    ("spellings", "option"),
    [
        (TWO, []),
        (("Entailment", "not_entailment"), []),
        (("0", "1"), ["--label-names", *TWO]),
        (("0", "1"), ["--label-names", "entailment", "not_entailment"]),
        (("1", "0"), ["--label-names", "not_entailment", "entailment"]),
    ],
)
@pytest.mark.parametrize("names", [d2l.LABELS, LAST, TWO, ("non-entailment", "entailment")])
def test_two_labels_suit_a_network_with_three_classes(names, spellings, option, tmp_path, capsys):
    rows = [{**row, "label": spellings[i % 3 > 0]} for i, row in enumerate(some_pairs(90))]
    saved, file = saved_with(names, tmp_path), write(tmp_path / "hans.tsv", rows)
    assert main(["evaluate", *saved, "--input", file, *option]) == 0
    gold = [TWO[i % 3 > 0] for i in range(90)]
    predicted = [TWO[name != "entailment"] for name in answers(*classifier(names), rows)]
    printed, merges = capsys.readouterr().out, len(names) == 3
    assert not check_report(printed, gold, predicted, TWO if merges else names)
    others = " and ".join(name for name in names if name != "entailment")
    assert (f"{others} count as non-entailment\n" in printed) == merges


@pytest.mark.parametrize("names", [CUSTOM, ("1a", "1b", "1c")])
def test_classes_of_your_own_are_known_by_name_or_in_a_given_order(names, tmp_path, capsys):
    pairs, saved = some_pairs(200), saved_with(names, tmp_path)
    predicted = answers(*classifier(names), pairs)
    given = [names[i % len(names)] for i in range(200)]
    order = tuple(reversed(names))
    for labels, option in (
        (given, []),
        ([name.upper() for name in given], []),
        ([str(order.index(name)) for name in given], ["--label-names", *order]),
        (given, ["--label-names", *order]),
    ):
        rows = [{**row, "label": label} for row, label in zip(pairs, labels, strict=True)]
        file = write(tmp_path / "pairs.csv", rows)
        assert main(["evaluate", *saved, "--input", file, *option]) == 0
        assert not check_report(capsys.readouterr().out, given, predicted, names)


def test_a_table_of_short_names_stays_in_line(tmp_path, capsys):
    names = ("x", "y")
    rows = [{**row, "label": names[i % 7 > 0]} for i, row in enumerate(some_pairs(400))]
    saved, file = saved_with(names, tmp_path), write(tmp_path / "pairs.csv", rows)
    assert main(["evaluate", *saved, "--input", file]) == 0
    predicted = answers(*classifier(names), rows)
    check_report(capsys.readouterr().out, [row["label"] for row in rows], predicted, names)


@pytest.mark.parametrize(
    ("names", "labels", "option", "message"),
    [
        (d2l.LABELS, CUSTOM, [], r"line 2: unknown label 'same'"),
        (d2l.LABELS, CUSTOM, ["--label-names", *CUSTOM], r"classes.*'same'.*use entailment"),
        (CUSTOM, d2l.LABELS, [], r"line 2: unknown label 'entailment': use same, other"),
        (TWO, d2l.LABELS, [], r"line 3: unknown label 'contradiction': use entailment, non-"),
        (CUSTOM, TWO, [], r"classes.*unknown label 'entailment': use same, other"),
        (d2l.LABELS, ("0", "1", "2"), [], r"line 2.*number"),
        (d2l.LABELS, CUSTOM, ["--label-names", "same", "Same"], "one meaning"),
        (d2l.LABELS, ("-",), [], "no labelled pairs"),
        (d2l.LABELS, d2l.LABELS, ["--by", "topic"], "no column 'topic': choose one of 'premise'"),
        (d2l.LABELS, d2l.LABELS, ["--columns", "premise", "hypothesis", "gold"], "'gold'|label"),
    ],
)
def test_what_an_evaluation_cannot_compare_is_one_line(
    names, labels, option, message, tmp_path, capsys
):
    rows = [{**row, "label": labels[i % len(labels)]} for i, row in enumerate(some_pairs(12))]
    saved, file = saved_with(names, tmp_path), write(tmp_path / "pairs.csv", rows)
    assert re.search(message, fails(capsys, ["evaluate", *saved, "--input", file, *option]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "premise and a hypothesis, or a file"),
        (["predict", "a b"], "premise and a hypothesis, or a file"),
        (["predict", "a b", "--input", "FILE"], "premise and a hypothesis, or a file"),
        (["predict", "a b", "c", "--input", "FILE"], "premise and a hypothesis, or a file"),
        (["predict", "a b", "c", "--output", "x.csv"], "--output goes with --input"),
        (["predict", "--input", "nowhere.csv"], "nowhere.csv is missing"),
        (["predict", "--input", "FOLDER"], "is a folder, with the files of pairs"),
        (["predict", "--input", os.devnull], "/dev/null.*empty"),
        (["predict", "--input", "FILE", "--columns", *"abcd"], "--columns has 4 names"),
        (["predict", "--input", "FILE", "--columns", "premise", "q"], "column for the hypothesis"),
        (["predict", "--input", "FILE", "--output", "FOLDER"], "is a folder: give the name"),
        (["predict", "--input", "FILE", "--output", "FILE/x.csv"], "cannot write the predictions"),
        (["evaluate", "--input", "UNLABELLED"], "no column for the label"),
        (["evaluate", "--input", "FILE", "--columns", *"abcd"], "columns"),
        (["evaluate", "--input", "FILE", "--label-names", "a"], "unknown label"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(arguments, message, saved, tmp_path, capsys):
    names = {
        "FILE": write(tmp_path / "pairs.csv", some_pairs(3)),
        "UNLABELLED": write(tmp_path / "bare.csv", [{"premise": "a", "hypothesis": "b"}]),
        "FOLDER": str(tmp_path),
    }
    for name, path in names.items():
        arguments = [each.replace(name, path) for each in arguments]
    assert re.search(message, fails(capsys, [*arguments, *saved]))


# ---- finetune ------------------------------------------------------------------------------------


@pytest.fixture
def finetune(tmp_path):
    """Fine-tune a small checkpoint for an epoch, on pairs that the arguments name."""
    model = tmp_path / "bert"
    write_checkpoint(model, [*SPECIALS, *WORDS])
    options = ["--max-len", "16", "--epochs", "1", "--batch-size", "16", "--precision", "fp32"]
    return lambda *more: main(["finetune", "--model", str(model), *options, *more])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("names", [d2l.LABELS, TWO])
def test_a_classifier_is_made_of_files(names, suffix, finetune, tmp_path, capsys):
    rows = [{**row, "label": names[i % len(names)]} for i, row in enumerate(some_pairs(60))]
    train, dev, test = (
        write(tmp_path / f"{name}{suffix}", rows[start:])
        for name, start in (("mine", 0), ("held out", 20), ("last", 40))
    )
    assert finetune("--train", train, "--dev", dev, "--test", test) == 0
    *_, folder, closing, _ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"loss \d\.\d+, train acc \d\.\d+, test acc \d\.\d+", closing)
    place = d2l.classifier_dir(tmp_path / "bert", train)
    assert folder == f"the classifier is in {place}" and f"mine{suffix}" in place.name
    assert read_made_of(place)["corpus"] == train
    net, vocab = d2l.load_classifier(place)
    assert net.label_names == names
    assert main(["predict", "a b", "c", "--model", str(tmp_path / "bert"), "--data", train]) == 0
    assert capsys.readouterr().out.splitlines()[0] == d2l.predict_snli(net, vocab, "a b", "c")
    gold = [row["label"] for row in rows[40:]]
    assert main(["evaluate", "--classifier", str(place), "--input", test]) == 0
    printed = capsys.readouterr().out
    check_report(printed, gold, answers(net, vocab, rows[40:]), names)
    assert closing.rpartition(" ")[2] in printed  # the accuracy that finetune printed


def test_what_is_not_given_is_not_measured(finetune, tmp_path, capsys):
    file = write(tmp_path / "train.csv", some_pairs(40))
    assert finetune("--train", file) == 0
    printed = capsys.readouterr().out
    assert "test acc" not in printed and "dev acc" not in printed
    assert "no dev split" in printed and "no test split" in printed
    assert finetune("--train", file, "--dev", file) == 0
    printed = capsys.readouterr().out
    assert "test acc" not in printed and "dev acc" in printed
    assert "no dev split" not in printed and "no test split" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dev", "FILE"], "--dev goes with --train"),
        (["--test", "FILE"], "--test goes with --train"),
        (["--train", "nowhere.csv"], "nowhere.csv is missing"),
        (["--train", "FILE", "--data", "SNLI"], "pass one of them"),
        (
            ["--train", "FILE", "--dev", "TWO"],
            r"TWO\.csv has .*non-entailment, but .*FILE\.csv has .*neutral",
        ),
        (["--train", "TWO", "--dev", "FILE"], "FILE.*unknown label 'contradiction'"),
        (["--train", "OWN"], "OWN.*unknown label 'same'"),
        (["--train", "FILE", "--columns", "premise", "hypothesis", "gold"], "column for the label"),
    ],
)
def test_files_that_cannot_be_trained_on_are_one_line(
    arguments, message, finetune, tmp_path, capsys
):
    for name, labels in {"FILE": d2l.LABELS, "TWO": TWO, "OWN": CUSTOM}.items():
        rows = [{**row, "label": labels[i % len(labels)]} for i, row in enumerate(some_pairs(12))]
        path = write(tmp_path / f"{name}.csv", rows)
        arguments = [path if each == name else each for each in arguments]
    assert finetune(*arguments) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and re.search(message, error)


def test_a_folder_of_tables_is_a_corpus(finetune, tmp_path, capsys):
    rows, folder = some_pairs(60), tmp_path / "corpus"
    for name, part in (("train.csv", rows), ("dev.csv", rows[:9]), ("test.jsonl", rows[:7])):
        write(folder / name, part)
    assert finetune("--data", str(folder)) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"read (\d+) examples", printed) == ["60", "9", "7"]
    assert printed.count("test acc") == 1
    (folder / "dev.csv").unlink()
    (folder / "test.jsonl").unlink()
    assert finetune("--data", str(folder)) == 0
    printed = capsys.readouterr().out
    assert "test acc" not in printed and "dev acc" not in printed
    (folder / "train.csv").rename(folder / "dev.csv")
    assert finetune("--data", str(folder)) == 1
    assert "no other file is named after the split 'train'" in capsys.readouterr().err


def test_a_dev_split_with_one_class_has_the_classes_of_its_train_split(finetune, tmp_path):
    rows = [{**row, "label": TWO[i % 2]} for i, row in enumerate(some_pairs(40))]
    write(tmp_path / "corpus" / "train.csv", rows)
    write(tmp_path / "corpus" / "dev.csv", rows[::2])
    assert finetune("--data", str(tmp_path / "corpus")) == 0


def test_a_single_file_is_split_by_its_premises(finetune, tmp_path, capsys):
    rows = some_pairs(300)
    file = write(tmp_path / "all.csv", rows)
    assert finetune("--data", file) == 0
    printed = capsys.readouterr().out
    sizes = list(map(int, re.findall(r"read (\d+) examples", printed)))
    assert len(sizes) == 3 and sum(sizes) == 300 and sizes[0] > 150
    assert printed.count("test acc") == 1
    assert main(["predict", "a", "b", "--model", str(tmp_path / "bert"), "--data", file]) == 0


def test_columns_and_classes_are_named_for_all_files(finetune, tmp_path):
    rows = [
        {"q": row["hypothesis"], "p": row["premise"], "gold": i % 4}
        for i, row in enumerate(some_pairs(60))
    ]
    files = ["--train", write(tmp_path / "t.tsv", rows), "--dev", write(tmp_path / "d.csv", rows)]
    options = ["--columns", "p", "q", "gold", "--label-names", *CUSTOM]
    assert finetune(*files, *options, "--output", str(tmp_path / "out")) == 0
    assert d2l.load_classifier(tmp_path / "out")[0].label_names == CUSTOM
    plain = [
        {"premise": row["p"], "hypothesis": row["q"], "label": CUSTOM[row["gold"]]} for row in rows
    ]
    files = ["--train", write(tmp_path / "t.csv", plain), "--dev", write(tmp_path / "e.csv", plain)]
    assert finetune(*files, "--label-names", *CUSTOM, "--output", str(tmp_path / "out2")) == 0
    assert weights_of(tmp_path / "out") == weights_of(tmp_path / "out2")


def test_mapped_files_train_the_same_weights(finetune, tmp_path):
    names = {"train": some_pairs(60), "dev": some_pairs(12)}
    files = [
        each
        for name, rows in names.items()
        for each in (f"--{name}", write(tmp_path / f"{name}.csv", rows))
    ]
    assert finetune(*files, "--output", str(tmp_path / "in memory")) == 0
    kept = tmp_path / "encoded"
    for _ in range(2):  # built, then found
        output = tmp_path / "mapped"
        assert finetune(*files, "--output", str(output), "--dataset-dir", str(kept)) == 0
        assert weights_of(output) == weights_of(tmp_path / "in memory")
        assert [name.rpartition("-")[0] for name in contents(kept)] == ["dev", "train"]


def test_other_columns_of_a_file_are_mapped_apart(finetune, tmp_path):
    file = ["--train", write(tmp_path / "train.csv", some_pairs(30))]
    for columns in (ROLES, ("hypothesis", "premise", "label")):
        assert finetune(*file, "--dataset-dir", str(tmp_path / "kept"), "--columns", *columns) == 0
    assert len(contents(tmp_path / "kept")) == 2


def test_a_mapped_file_whose_numbers_are_no_longer_explained_is_refused(finetune, tmp_path, capsys):
    rows = [{**row, "label": d2l.LABELS.index(row["label"])} for row in some_pairs(30)]
    file = ["--train", write(tmp_path / "numbers.csv", rows)]
    file += ["--dataset-dir", str(tmp_path / "kept")]
    assert finetune(*file, "--label-names", *d2l.LABELS) == 0
    assert finetune(*file) == 1
    assert "numbers.csv, line 2: the label 0 is a number" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"d2lnli {d2l.__version__}\n"
