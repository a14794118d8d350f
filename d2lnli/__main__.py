"""The command line: `python -m d2lnli finetune | predict | evaluate | export | …`."""

import argparse
import contextlib
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import torch

from . import __version__
from .bert import BERTClassifier
from .bulk import compare, evaluate_file, opened_pairs, predict_file
from .checkpoints import load_classifier, load_pretrained_model
from .checkup import checkup
from .corpora import ROLES, PairFile, open_split
from .dataset import SNLIBERTDataset
from .devices import PRECISIONS
from .evaluation import evaluate
from .history import History
from .labels import LABELS
from .layouts.export import export_classifier
from .prediction import predict_proba
from .recipes import KEEP, SCHEDULES, Recipe, recipe
from .runs.checks import max_positions
from .runs.launched import open_job
from .runs.ranks import Ranks, current_ranks, only_rank_0_speaks, process_group
from .show.strips import PairStrip
from .store.cache import clear, listing
from .store.classifiers import (
    classifier_dir,
    describe,
    find_classifier,
    save_classifier,
)
from .store.datasets import mapped_pairs
from .store.hub import data_dir, find_corpus, find_folder, is_writable, present_name
from .store.splits import STANDARD
from .training import finetune
from .truncation import TRUNCATIONS, present_strategy
from .vocab import Vocab

BUNDLED_CORPUS = "Scenes"
CLASSIFIER_HELP = "classifier folder, or hf:ORG/NAME (from --model and --data)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; an error prints one line, not a traceback."""
    with only_rank_0_speaks():
        arguments = _parse(sys.argv[1:] if argv is None else argv)
    try:
        with process_group(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = arguments.command(arguments)
            sys.stdout.flush()  # so that a full disk is noticed here
            return status
    except BrokenPipeError:  # its reader, such as `head`, has seen enough
        _flush_or_drop()
        return 1
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        _flush_or_drop()
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _flush_or_drop() -> None:
    """Write the rest of the output, or drop it, because Python would fail with it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def finetune_command(arguments: argparse.Namespace) -> int:
    """Fine-tune, save the classifier, evaluate on the test split, print the chapter's lines.

    Under torchrun, all processes do this together, and rank 0 writes the files.
    """
    ranks = current_ranks()
    if arguments.job:
        return _do_job(arguments.job, ranks)
    corpus = arguments.train or present_name(arguments.data or BUNDLED_CORPUS)
    output = Path(arguments.output or classifier_dir(arguments.model, corpus))
    if ranks.rank == 0 and not is_writable(output):  # check before the training, not after it
        raise OSError(f"cannot write to {output}: pass --output, or set D2LNLI_DATA_DIR")
    if ranks.rank == 0 and arguments.run_dir and not is_writable(Path(arguments.run_dir)):
        raise OSError(f"cannot write to {arguments.run_dir}: pass another --run-dir")
    torch.manual_seed(arguments.seed)
    splits = _open_splits(arguments)
    bert, vocab = load_pretrained_model(arguments.model)
    dataset_dir = arguments.dataset_dir or (data_dir() / "datasets" if ranks.size > 1 else None)

    def dataset(pairs: PairFile, max_examples: int | None = None) -> SNLIBERTDataset:
        how = arguments.max_len, vocab, arguments.truncation
        if dataset_dir:
            return mapped_pairs(dataset_dir, pairs, *how, max_examples)
        return SNLIBERTDataset(pairs.read(max_examples), *how)

    train_set = dataset(splits["train"], arguments.pairs)
    dev_set, test_set = (dataset(splits[name]) if name in splits else None for name in STANDARD[1:])
    classes = splits["train"].label_id.names
    settings, net = _settings(arguments), BERTClassifier(bert, len(classes), classes)
    listed = ", ".join(f"{name} {settings[name]}" for name in recipe(arguments.model))
    print(f"fine-tuning {arguments.model} on {len(train_set)} pairs of {corpus}: {listed}")
    history = finetune(net, train_set, dev_set, **settings, run_dir=arguments.run_dir)
    _print_outcome(history)
    history.made_of.update(model=arguments.model, corpus=corpus)
    if ranks.rank == 0:
        print(f"the classifier is in {save_classifier(output, net, vocab, history)}")
    measured = ("test", evaluate(net, test_set).accuracy) if test_set else ()
    print(history.closing_lines(*measured))
    return 0


def _open_splits(arguments: argparse.Namespace) -> dict[str, PairFile]:
    """Return the pairs of each split: of the files that were given, or else of the corpus."""
    files = {name: file for name in STANDARD if (file := getattr(arguments, name))}
    if files and "train" not in files:
        raise ValueError(f"--{next(iter(files))} goes with --train: pass the file to train on, too")
    if files and arguments.data:
        raise ValueError("--train and --data both name the pairs to train on: pass one of them")
    corpus = None if files else find_corpus(arguments.data or BUNDLED_CORPUS)
    splits: dict[str, PairFile] = {}
    for name in STANDARD:
        classes = splits["train"].label_id.names if splits else LABELS
        how = arguments.columns, arguments.label_names, classes
        if corpus:
            with contextlib.suppress(*([FileNotFoundError] if splits else [])):
                splits[name] = open_split(corpus, name, *how)
        elif name in files:
            splits[name] = PairFile(files[name], *how).labelled()
        if name not in splits:
            print(f"there is no {name} split, so nothing is measured on it")
    train = splits["train"]
    for pairs in splits.values():
        theirs, ours = (", ".join(each.label_id.names) for each in (pairs, train))
        if theirs != ours:
            raise ValueError(
                f"{pairs.name} has the classes {theirs}, but {train.name} has {ours}: train "
                "without it, and then measure with evaluate"
            )
    return splits


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the model's recipe, and in their place those that were given."""
    given = {field.name: getattr(arguments, field.name) for field in fields(Recipe)}
    settings = recipe(arguments.model)
    settings |= {name: value for name, value in given.items() if value is not None}
    return {**settings, "clip": settings["clip"] or None}


def _print_outcome(history: History) -> None:
    if history.interrupted:
        print(f"interrupted in epoch {history.num_epochs + 1}")
    if history.kept_epoch:
        print(f"kept the weights of epoch {history.kept_epoch} of {history.num_epochs}")
    if not math.isnan(dev_acc := history.kept("dev_acc")):
        print(f"dev acc {dev_acc:.3f}")
    print(f"trained in {history.precision}")


def _do_job(folder: Path, ranks: Ranks) -> int:
    """Fine-tune as the job in a folder says, which `finetune(…, launch=True)` wrote."""
    with open_job(folder, ranks) as (arguments, finish):
        finish(finetune(**arguments))
    return 0


def predict_command(arguments: argparse.Namespace) -> int:
    """Print the predicted class of one pair and all probabilities, or write those of a file."""
    texts = [text for text in (arguments.premise, arguments.hypothesis) if text is not None]
    if arguments.output and not arguments.input:
        raise ValueError("--output goes with --input: give the file of pairs, too")
    if len(texts) != (0 if arguments.input else 2):
        raise ValueError("give a premise and a hypothesis, or a file of pairs with --input")
    if arguments.input:
        given = arguments.columns or ()
        if len(given) > len(ROLES):
            raise ValueError(f"--columns has {len(given)} names: give those of {', '.join(ROLES)}")
        columns = {**dict(zip(ROLES, given, strict=False)), "label": None}
        with opened_pairs(arguments.input, columns=columns) as pairs:
            net, vocab = _load_classifier(arguments)
            predict_file(net, vocab, pairs, arguments.output or "-")
        return 0
    net, vocab = _load_classifier(arguments)
    (probs,) = predict_proba(net, vocab, texts[:1], texts[1:])
    print(net.label_names[probs.argmax()])
    classes = zip(net.label_names, probs, strict=True)
    print(", ".join(f"{name} {prob:.3f}" for name, prob in classes))
    strip = PairStrip(texts[0], texts[1], vocab, max_positions(net))
    if note := strip.unknown_note():
        print(note)
    return 0


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Print how often a classifier is right about the pairs of a file, and where it is wrong."""
    net, vocab = _load_classifier(arguments)
    with _labelled_pairs(arguments, net.label_names) as pairs:
        for line in evaluate_file(net, vocab, pairs, arguments.by):
            print(line)
    return 0


def export_command(arguments: argparse.Namespace) -> int:
    """Write a classifier for transformers; its model card says how accurate it is on a file."""
    net, vocab = _load_classifier(arguments)
    evaluations = {}
    if arguments.input:
        with _labelled_pairs(arguments, net.label_names) as pairs:
            found = compare(net, vocab, pairs, list(pairs.labelled().pairs()))
            name = Path(pairs.name).name
            evaluations[f"{name} ({found.note})" if found.note else name] = found.result
    folder = export_classifier(arguments.folder, net, vocab, evaluations=evaluations)
    print(f"the classifier is in {folder}")
    return 0


def _labelled_pairs(
    arguments: argparse.Namespace, classes: tuple[str, ...]
) -> contextlib.AbstractContextManager[PairFile]:
    return opened_pairs(
        arguments.input,
        columns=arguments.columns,
        label_names=arguments.label_names,
        classes=classes,
    )


def _load_classifier(arguments: argparse.Namespace) -> tuple[BERTClassifier, Vocab]:
    names = arguments.model, arguments.data or BUNDLED_CORPUS
    folder = arguments.classifier or find_classifier(*names) or classifier_dir(*names)
    loaded = load_classifier(folder, "auto")
    print(describe(folder), file=sys.stderr)
    return loaded


def download_command(arguments: argparse.Namespace) -> int:
    """Download the named models and corpora to the data folder."""
    for name in arguments.names:
        print(f"{name}: {find_folder(name)}")
    return 0


def cache_command(arguments: argparse.Namespace) -> int:
    """List what is in the data folder, or remove one entry."""
    if arguments.clear is not None:
        clear(arguments.clear)
        print(f"removed: {arguments.clear}")
    else:
        print("\n".join(listing()))
    return 0


def check_command(arguments: argparse.Namespace) -> int:
    """Print OK or FAIL for everything that a class needs; return 1 if anything failed."""
    checks = checkup()
    for ok, what, found in checks:
        print(f"{'OK' if ok else 'FAIL':<5} {what}: {found}")
    return 0 if all(check.ok for check in checks) else 1


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**53:
        raise argparse.ArgumentTypeError(f"{seed} is not between 0 and 2**53 - 1")
    return seed


class _Parser(argparse.ArgumentParser):
    mark = "\0"  # argparse takes what begins with it for a text, and no argument contains it

    def error(self, message: str) -> NoReturn:
        super().error(message.replace(self.mark, ""))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; one with white space is a text, even if it begins with a dash."""
    mark = _Parser.mark
    marked = [mark + each if re.match(r"-(?!-[a-z-]+=).*\s", each, re.S) else each for each in argv]
    arguments = _parser().parse_args(marked)
    for name, value in vars(arguments).items():
        if isinstance(value, str):
            setattr(arguments, name, value.removeprefix(mark))
        elif isinstance(value, list):
            setattr(arguments, name, [each.removeprefix(mark) for each in value])
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m d2lnli",
        description="Natural language inference by fine-tuning BERT.",
        epilog="Data and models are saved in $D2LNLI_DATA_DIR, or in the user's cache folder.",
    )
    parser.add_argument("--version", action="version", version=f"d2lnli {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = argparse.ArgumentParser(add_help=False)
    option = names.add_argument_group("model and data").add_argument
    option("--model", default="bert.tiny", metavar="NAME",
           help="bert.tiny (bundled, the default), bert.small, bert.base, minilm, hf:ORG/NAME, "
                "or a folder")  # fmt: skip
    option("--data", metavar="NAME",
           help="Scenes (bundled, the default), SNLI, a folder, or a file")  # fmt: skip
    files = argparse.ArgumentParser(add_help=False)
    option = files.add_argument_group("files of pairs (CSV, TSV or JSON lines)").add_argument
    option("--columns", nargs="+", metavar="NAME",
           help="columns of premise, hypothesis and label (found by their names)")  # fmt: skip
    labels = argparse.ArgumentParser(add_help=False)
    labels.add_argument("--label-names", nargs="+", metavar="NAME",
           help="classes in the order of their numbers in the file, or other classes")  # fmt: skip
    _add_finetune(commands, [names, files, labels])
    _add_predict(commands, [names, files])
    _add_evaluate(commands, [names, files, labels])
    _add_export(commands, [names, files, labels])
    add = commands.add_parser("download", help="download models and corpora to the data folder")
    add.add_argument(
        "names", nargs="+", metavar="NAME", help="bert.small, bert.base, SNLI, hf:ORG/NAME, …"
    )
    add.set_defaults(command=download_command)
    text = "list what is in the data folder, or remove an entry"
    add = commands.add_parser("cache", help=text, description=text)
    add.add_argument("--clear", metavar="NAME", help="remove this entry")
    add.set_defaults(command=cache_command)
    add = commands.add_parser("check", help="check whether this machine is ready for the course")
    add.set_defaults(command=check_command)
    return parser


def _add_finetune(commands: argparse._SubParsersAction, parents: list) -> None:
    text = "fine-tune a pretrained BERT and report its test accuracy"
    details = f"{text}; the recipe of the model sets what you do not pass"
    add = commands.add_parser("finetune", parents=parents, help=text, description=details)
    add.set_defaults(command=finetune_command)
    option = add.add_argument_group("files instead of --data").add_argument
    option("--train", metavar="FILE", help="pairs to train on")
    option("--dev", metavar="FILE", help="pairs that show the accuracy between epochs (none)")
    option("--test", metavar="FILE", help="pairs for the test at the end (none)")

    number = dict(metavar="N", type=int)
    fraction = dict(metavar="X", type=float)
    option = add.add_argument_group("training").add_argument
    option("--pairs", help="train on the first N pairs only (all)", **number)
    option("--epochs", dest="num_epochs", help="passes over the pairs", **number)
    option("--batch-size", help="pairs in a minibatch", **number)
    option("--lr", help="learning rate", **fraction)
    option("--schedule", choices=SCHEDULES, help="schedule of the learning rate")
    option("--warmup", help="share of steps with a rising learning rate", **fraction)
    option("--clip", help="largest norm of the gradient (0: no limit)", **fraction)
    option("--most-tokens", help="tokens in one forward pass; fewer need less memory",
           **number)  # fmt: skip
    option("--keep", choices=KEEP, default="last",
           help="weights of the last epoch, or of the best on the dev split (last)")  # fmt: skip
    option("--patience", help="stop after N epochs without a higher dev accuracy (never)", **number)
    option("--max-len", default=128, help="largest number of tokens in a pair (128)", **number)
    option("--truncation", type=present_strategy, choices=TRUNCATIONS, default="longest_first",
           metavar="STRATEGY",
           help=f"strategy for longer pairs: {', '.join(TRUNCATIONS)} (longest_first)")  # fmt: skip
    option(
        "--precision",
        choices=["auto", *PRECISIONS],
        default="auto",
        help="auto uses bf16 where the hardware is fast in it; tf32 is for NVIDIA's GPUs (auto)",
    )
    option("--seed", default=0, help="seed of all random numbers (0)", metavar="N", type=_seed)
    option = add.add_argument_group("folders").add_argument
    option("--run-dir", metavar="DIR", help="save history and checkpoint here, or resume from them")
    option("--dataset-dir", metavar="DIR",
           help="save the encoded pairs here, memory-mapped, for this and later runs (in memory; "
                "under torchrun in the data folder)")  # fmt: skip
    option(
        "--output",
        metavar="DIR",
        help="save the classifier here (a folder in the data folder)",
    )
    option("--job", type=Path, help=argparse.SUPPRESS)  # the folder of a launched run


def _add_predict(commands: argparse._SubParsersAction, parents: list) -> None:
    text = "classify a pair, or a file of pairs, with the classifier that finetune saved"
    add = commands.add_parser("predict", parents=parents, help=text, description=text)
    add.epilog = "Put -- before a text of one word that begins with a dash."
    add.set_defaults(command=predict_command)
    option = add.add_argument
    option("premise", nargs="?", metavar="PREMISE", help="for example 'A man is sleeping.'")
    option("hypothesis", nargs="?", metavar="HYPOTHESIS", help="for example 'Nobody is awake.'")
    option("--classifier", metavar="DIR", help=CLASSIFIER_HELP)
    option("--input", metavar="FILE", help="a file of pairs (- for the standard input)")
    option("--output", metavar="FILE",
           help="its rows and the predictions: .csv, .tsv or .jsonl (standard output)")  # fmt: skip


def _add_evaluate(commands: argparse._SubParsersAction, parents: list) -> None:
    text = "compare a classifier with the labels of a file of pairs"
    add = commands.add_parser("evaluate", parents=parents, help=text, description=text)
    add.set_defaults(command=evaluate_command)
    option = add.add_argument
    option("--classifier", metavar="DIR", help=CLASSIFIER_HELP)
    option("--input", required=True, metavar="FILE", help="labelled pairs (- for standard input)")
    option("--by", metavar="COLUMN", help="also report each group of pairs that this column names")


def _add_export(commands: argparse._SubParsersAction, parents: list) -> None:
    text = "write a classifier that transformers can load"
    add = commands.add_parser("export", parents=parents, help=text, description=text)
    add.set_defaults(command=export_command)
    option = add.add_argument
    option("folder", metavar="DIR", help="new folder, or one of an earlier export")
    option("--classifier", metavar="DIR", help=CLASSIFIER_HELP)
    option("--input", metavar="FILE", help="labelled pairs, whose accuracy the model card reports")


if __name__ == "__main__":
    sys.exit(main())
