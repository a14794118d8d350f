"""A file of pairs in, the answers for all of them out: what the command line does with files."""

import csv
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .bert import label_names_of
from .corpora import PairFile
from .dataset import SNLIBERTDataset, TokenPairs, warn_of_unknown_words
from .evaluation import Evaluation, evaluate, logits_of
from .labels import LABELS, TWO_LABELS, LabelReader
from .runs.checks import max_positions
from .store.files import replace_file, writing
from .store.hub import DATA_HUB, find_folder, present_name
from .store.splits import only_table
from .vocab import Vocab

_PAIRS_AT_ONCE = 16_384  # enough for minibatches of similar length, and little memory


@contextmanager
def opened_pairs(source: str, **how: Any) -> Iterator[PairFile]:
    """Open a file of pairs, or the only one of a corpus that is given by its name or folder.

    `-` is the standard input, which is copied, like any pipe.
    """
    path = find_folder(source) if present_name(source) in DATA_HUB else Path(source)
    if path.is_dir():
        path = only_table(path)
    if source != "-" and (path.is_file() or not path.exists()):
        yield PairFile(path, **how)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "pairs")
        with writing("a copy of the pairs", copy), copy.open("wb") as file:
            if source == "-":
                if sys.stdin is None:
                    raise OSError("there is no standard input: give a file")
                shutil.copyfileobj(sys.stdin.buffer, file)
            else:
                with path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, file)
        yield PairFile(copy, **how, name="standard input" if source == "-" else source)


def predict_file(net: nn.Module, vocab: Vocab, pairs: PairFile, output: str) -> None:
    """Write every row of a file with its predicted class and the probability of each class.

    `output` ends in `.csv`, `.tsv` or `.jsonl` and is written whole or not at all; `-` is the
    standard output, with JSON lines if the input has them, else CSV. Raises ValueError for a bad
    row before the first answer is computed. Memory does not grow with the file.
    """
    columns, classes = pairs.table.columns, label_names_of(net)
    names = [*columns, "prediction", *classes]
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(
            f"{pairs.name}: the output would have several columns {', '.join(map(repr, repeated))}:"
            " rename those of the input"
        )
    path, suffix = _destination(output, ".jsonl" if pairs.table.is_json else ".csv")
    num_pairs = sum(1 for _ in pairs.pairs())
    print(pairs.description(), file=sys.stderr)

    def write(file: TextIO) -> None:
        write_row, num_unknown = _row_writer(file, suffix, names), 0.0
        rows = pairs.pairs_with(*columns)
        hidden = file.isatty() or None  # None: hidden unless stderr is a terminal
        with tqdm(total=num_pairs, unit=" pairs", disable=hidden) as bar:
            while some := list(islice(rows, _PAIRS_AT_ONCE)):
                premises, hypotheses, _ = zip(*(pair for pair, _ in some), strict=True)
                encoded = TokenPairs(premises, hypotheses, max_positions(net), vocab)
                logits = logits_of(net, encoded)
                labels = logits.argmax(dim=1).tolist()
                probs = logits.softmax(dim=1).double().numpy().round(6).tolist()
                for (_, row), label, proba in zip(some, labels, probs, strict=True):
                    write_row([*row, classes[label], *proba])
                num_unknown += encoded.unknown_share() * len(encoded)
                bar.update(len(some))
        warn_of_unknown_words(num_unknown / num_pairs, vocab)

    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        write(sys.stdout)
    else:
        _write_file(path, write)
        print(f"the predictions are in {output}", file=sys.stderr)


def _destination(output: str, default: str) -> tuple[Path | None, str]:
    """Return the path of an output, None for the standard output, and its layout."""
    if output == "-":
        return None, default
    path = Path(output)
    if path.is_dir():
        raise ValueError(f"--output {output} is a folder: give the name of a file")
    if path.exists() and not path.is_file():
        return path, default  # a device or a pipe
    if path.suffix.lower() not in (".csv", ".tsv", ".jsonl"):
        raise ValueError(f"--output {output}: give it a name that ends in .csv, .tsv or .jsonl")
    return Path(os.path.realpath(path)), path.suffix.lower()  # so that a link stays


def _write_file(path: Path, write: Callable[[TextIO], None]) -> None:
    """Write a file whole or not at all; a device or a pipe is written to as it is."""

    def write_to(new: Path) -> None:
        with new.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write(file)
        if path.is_file():
            shutil.copymode(path, new)

    is_special = path.exists() and not path.is_file()
    with writing("the predictions", path.parent):
        if is_special:
            write_to(path)
        else:
            replace_file(path, write_to)


def _row_writer(file: TextIO, suffix: str, names: list[str]) -> Callable[[list], object]:
    """Return a function that writes a row; a table gets its header at once."""
    if suffix == ".jsonl":
        return lambda row: file.write(
            json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n"
        )
    # csv quotes a cell with `\r` only if its own lines end in one
    writer = csv.writer(_Lines(file), delimiter="\t" if suffix == ".tsv" else ",")
    writer.writerow(names)
    return lambda row: writer.writerow(map(_cell, row))


class _Lines:
    """A file for csv, whose lines end in `\\r\\n`, that gets lines which end in `\\n`."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, line: str) -> None:
        self.file.write(line[:-2] + "\n")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def evaluate_file(
    net: nn.Module, vocab: Vocab, pairs: PairFile, by: str | None = None
) -> Iterator[str]:
    """Yield the lines of a report: accuracy, confusion, and the accuracy of each group."""
    if by is not None and (count := pairs.table.columns.count(by)) != 1:
        columns = ", ".join(map(repr, pairs.table.columns))
        found = "several columns" if count else "no column"
        raise ValueError(f"{pairs.name} has {found} {by!r}: choose one of {columns}")
    rows = list(pairs.labelled().pairs_with(*([] if by is None else [by])))
    yield pairs.description()
    result, names, note = compare(net, vocab, pairs, [pair for pair, _ in rows])
    if note:
        yield note
    yield _accuracy(result)
    yield from _confusion(result.confusion, names)
    if by is not None:
        groups = result.by(["" if row[0] is None else str(row[0]) for _, row in rows])
        width = max(map(len, groups))
        yield by
        yield from (f"{name:<{width}}  {_accuracy(group)}" for name, group in groups.items())


class Comparison(NamedTuple):
    """Predictions and labels in the same classes, and a line if those are not the network's."""

    result: Evaluation
    names: tuple[str, ...]
    note: str = ""


def compare(
    net: nn.Module, vocab: Vocab, pairs: PairFile, labelled: list[tuple[Any, Any, int]]
) -> Comparison:
    """Classify the labelled pairs of a file, and put predictions and labels into the same classes.

    A file whose labels are entailment and non-entailment suits a network with more classes, too:
    as in McCoy, Pavlick and Linzen (2019), all its other classes then mean non-entailment.
    """
    premises, hypotheses, labels = zip(*labelled, strict=True)
    names = label_names_of(net)
    merges = len(names) > 2 and _are_two_labels(pairs.label_id.names)
    try:
        ids = _ids_in(names, pairs.label_id.names, merges)
    except ValueError as error:
        raise ValueError(f"{pairs.name} and the classifier differ in classes: {error}") from error
    gold = [ids[label] for label in labels]
    max_len = max_positions(net)
    dataset = SNLIBERTDataset((premises, hypotheses, gold), max_len, vocab, label_names=names)
    result = evaluate(net, dataset)
    if not merges:
        return Comparison(result, names)
    kept = LabelReader(names)(LABELS[0]) or 0
    others = " and ".join(name for i, name in enumerate(names) if i != kept)
    note = f"{others} count as {TWO_LABELS[1]}"
    return Comparison(_one_against_rest(result, kept), TWO_LABELS, note)


def _ids_in(names: tuple[str, ...], in_file: tuple[str, ...], merges: bool) -> list[int]:
    """Return the id in a network's `names` of each class of a file; ValueError if it has none.

    If `merges`, non-entailment gets the id of any class but entailment.
    """
    id_of = LabelReader(names)
    if not merges:
        return [id_of(name) or 0 for name in in_file]
    kept, is_other = id_of(LABELS[0]) or 0, LabelReader(TWO_LABELS)
    return [(kept + 1) % len(names) if is_other(name) else kept for name in in_file]


def _are_two_labels(names: tuple[str, ...]) -> bool:
    """Return whether these are `TWO_LABELS`, in any spelling and order."""
    try:
        return set(map(LabelReader(TWO_LABELS), names)) == {0, 1}
    except ValueError:
        return False


def _one_against_rest(result: Evaluation, label: int) -> Evaluation:
    """Return an evaluation with two classes: `label`, and the best of all others."""
    others = [i for i in range(result.logits.shape[1]) if i != label]
    best = result.logits[:, others].amax(dim=1)
    logits = torch.stack([result.logits[:, label], best], dim=1)
    return Evaluation(logits, (result.labels != label).long())


def _accuracy(result: Evaluation) -> str:
    low, high = result.interval
    return (
        f"accuracy {result.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}), "
        f"{len(result.labels)} pairs"
    )


def _confusion(counts: np.ndarray, names: tuple[str, ...]) -> Iterator[str]:
    """Yield a table with a row for each gold label and a column for each predicted one."""
    corner = "gold label, predicted:"
    width, digits = max(map(len, (corner, *names))), len(str(counts.max()))
    yield "  ".join([corner.ljust(width), *(f"{name:>{digits}}" for name in names)])
    for name, row in zip(names, counts.tolist(), strict=True):
        cells = (f"{n:>{max(digits, len(head))}}" for n, head in zip(row, names, strict=True))
        yield "  ".join([name.ljust(width), *cells])
