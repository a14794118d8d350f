"""The command line: `python -m d2lnli finetune | predict | download | cache | check`."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from .bert import BERTClassifier
from .checkpoints import load_pretrained_model
from .checkup import checkup
from .corpora import read_snli, snli_file
from .dataset import SNLIBERTDataset
from .devices import PRECISIONS
from .evaluation import evaluate
from .history import History
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
    load_classifier,
    save_classifier,
)
from .store.datasets import mapped_dataset
from .store.hub import data_dir, find_folder, is_writable
from .training import finetune
from .truncation import TRUNCATIONS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; an error prints one line, not a traceback."""
    with only_rank_0_speaks():
        arguments = _parser().parse_args(argv)
    try:
        with process_group():
            return arguments.command(arguments)
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def finetune_command(arguments: argparse.Namespace) -> int:
    """Fine-tune, save the classifier, evaluate on the test split, print the chapter's lines.

    Under torchrun, all processes do this together, and rank 0 writes the files.
    """
    ranks = current_ranks()
    if arguments.job:
        return _do_job(arguments.job, ranks)
    output = Path(arguments.output or classifier_dir(arguments.model, arguments.data))
    if ranks.rank == 0 and not is_writable(output):  # check before the training, not after it
        raise OSError(f"cannot write to {output}: pass --output, or set D2LNLI_DATA_DIR")
    if ranks.rank == 0 and arguments.run_dir and not is_writable(Path(arguments.run_dir)):
        raise OSError(f"cannot write to {arguments.run_dir}: pass another --run-dir")
    torch.manual_seed(arguments.seed)
    folder = find_folder(arguments.data)
    bert, vocab = load_pretrained_model(arguments.model)
    dataset_dir = arguments.dataset_dir or (data_dir() / "datasets" if ranks.size > 1 else None)

    def dataset(split: str, max_examples: int | None = None) -> SNLIBERTDataset:
        how = arguments.max_len, vocab, arguments.truncation
        if dataset_dir:
            return mapped_dataset(dataset_dir, folder, split, *how, max_examples)
        return SNLIBERTDataset(read_snli(folder, split, max_examples), *how)

    train_set, test_set = dataset("train", arguments.pairs), dataset("test")
    dev_set = dataset("dev") if _has_dev(folder) else None
    settings, net = _settings(arguments), BERTClassifier(bert)
    listed = ", ".join(f"{name} {settings[name]}" for name in recipe(arguments.model))
    print(f"fine-tuning {arguments.model} on {len(train_set)} pairs of {arguments.data}: {listed}")
    history = finetune(net, train_set, dev_set, **settings, run_dir=arguments.run_dir)
    _print_outcome(history)
    history.made_of.update(model=arguments.model, corpus=arguments.data)
    if ranks.rank == 0:
        print(f"the classifier is in {save_classifier(output, net, vocab, history)}")
    print(history.closing_lines("test", evaluate(net, test_set).accuracy))
    return 0


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
    """Print the predicted class of one pair, all probabilities, and the number of unknown words."""
    names = arguments.model, arguments.data
    folder = arguments.classifier or find_classifier(*names) or classifier_dir(*names)
    net, vocab = load_classifier(folder)
    print(describe(folder), file=sys.stderr)
    (probs,) = predict_proba(net, vocab, [arguments.premise], [arguments.hypothesis])
    print(net.label_names[probs.argmax()])
    classes = zip(net.label_names, probs, strict=True)
    print(", ".join(f"{name} {prob:.3f}" for name, prob in classes))
    strip = PairStrip(arguments.premise, arguments.hypothesis, vocab, max_positions(net))
    if note := strip.unknown_note():
        print(note)
    return 0


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


def _has_dev(folder: Path) -> bool:
    try:
        return bool(snli_file(folder, "dev"))
    except FileNotFoundError:
        print(f"{folder} has no dev split, so there is no accuracy between epochs")
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m d2lnli",
        description="Natural language inference by fine-tuning BERT.",
        epilog="Data and models are saved in $D2LNLI_DATA_DIR, or in the user's cache folder.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = argparse.ArgumentParser(add_help=False)
    option = names.add_argument_group("model and data").add_argument
    option("--model", default="bert.tiny", metavar="NAME",
           help="bert.tiny (bundled, the default), bert.small, bert.base, minilm, hf:ORG/NAME, "
                "or a folder")  # fmt: skip
    option("--data", default="SNLI-sample", metavar="NAME",
           help="SNLI-sample (bundled, the default), SNLI, or a folder")  # fmt: skip
    _add_finetune(commands, names)
    _add_predict(commands, names)
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


def _add_finetune(commands: argparse._SubParsersAction, names: argparse.ArgumentParser) -> None:
    text = "fine-tune a pretrained BERT and report its test accuracy"
    details = f"{text}; the recipe of the model sets what you do not pass"
    add = commands.add_parser("finetune", parents=[names], help=text, description=details)
    add.set_defaults(command=finetune_command)

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
    option("--truncation", choices=TRUNCATIONS, default="longest_first", metavar="STRATEGY",
           help=f"strategy for longer pairs: {', '.join(TRUNCATIONS)} (longest_first)")  # fmt: skip
    option("--precision", choices=["auto", *PRECISIONS], default="auto",
           help="auto uses bf16 if a short timing finds it faster (auto)")  # fmt: skip
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


def _add_predict(commands: argparse._SubParsersAction, names: argparse.ArgumentParser) -> None:
    text = "classify one pair with the classifier that finetune saved"
    add = commands.add_parser("predict", parents=[names], help=text, description=text)
    add.set_defaults(command=predict_command)
    add.add_argument("premise", metavar="PREMISE", help="for example 'A man is sleeping.'")
    add.add_argument("hypothesis", metavar="HYPOTHESIS", help="for example 'Nobody is awake.'")
    add.add_argument("--classifier", metavar="DIR", help="classifier folder (from --model, --data)")


if __name__ == "__main__":
    sys.exit(main())
