"""The GPU table: the chapter's recipe, Hugging Face's Trainer and the package on one card.

    python -m benchmarks.gpu [--small] [--output FILE.csv]

The pairs are random, with the words of `Scenes` at its lengths, which are close to SNLI's; the
vocabulary has 60,005 words. The Trainer is tuned: bf16, and minibatches of similar length. Each
measurement stands alone, so a table also says which one failed. On an H100 it should take three to
six minutes. `--small` measures everything in miniature, on a CPU too.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch

import d2lnli as d2l
from d2lnli.devices import name_of
from d2lnli.fast.minibatches import loader_on

from . import corpus, speed
from .measure import machine, markdown
from .speed import MAX_LEN, SIZES, ChapterTraining, Setting, evaluate

CSV, ROOT = Path(__file__).with_name("gpu_table.csv"), Path(__file__).parents[1]
HEADER = ("what", "chapter", "Trainer", "package", "ratio to chapter", "ratio to Trainer")
HEADER += ("aim", "unit")
BASE = dict(num_hiddens=768, ffn_num_hiddens=3072, num_heads=12, num_blks=12, max_len=512)
TINY = dict(num_hiddens=32, ffn_num_hiddens=64, num_heads=4, num_blks=2, max_len=128)
Measurement = Callable[[], float | str]


@dataclass(frozen=True)
class Scale:
    """How much is measured; the small one is for a test that all of it runs.

    Of bert.small and of bert.base twice: batch size, pairs of the package, steps of the others.
    """

    small: tuple[dict, int, int, int] = (SIZES, 512, 120_000, 80)
    base: tuple[dict, int, int, int] = (BASE, 128, 25_600, 20)
    base_in_small_batches: tuple[dict, int, int, int] = (BASE, 32, 12_800, 160)
    vocab_size: int = 60_005
    epochs: int = 4  # of which the last one counts
    snli: tuple[int, int, int] = (549_367, 9_842, 9_824)  # train, dev and test


SMALL = Scale(
    small=(TINY, 32, 320, 4),
    base=(TINY, 16, 160, 4),
    base_in_small_batches=(TINY, 8, 80, 4),
    vocab_size=12_000,
    epochs=2,
    snli=(320, 32, 32),
)


# ---- A cell, a line ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of the table: how its cells are measured, and what is to be reached."""

    what: str
    package: Measurement
    unit: str = "pairs/s"
    aim: str = "–"
    chapter: Measurement | None = None
    trainer: Measurement | None = None

    def row(self) -> tuple[str, ...]:
        """Measure the cells, and return them as text."""
        ours, theirs = cell(self.package), [cell(m) for m in (self.chapter, self.trainer)]
        ratios = (ratio(ours, each) if self.unit == "pairs/s" else "–" for each in theirs)
        return (self.what, *map(text, theirs), text(ours), *ratios, self.aim, self.unit)


@cache
def cell(measure: Measurement | None) -> float | str | None:
    """Return what is measured, once, or why this failed."""
    if measure is None:
        return None
    try:
        with redirect_stderr(StringIO()):  # progress bars
            return measure()
    except Exception as error:
        traceback.print_exc()
        reason = str(error).strip().partition("\n")[0]
        return f"failed: {type(error).__name__}: {reason[:150]}"


def text(value: float | str | None) -> str:
    """Return a cell as text, with three digits or more."""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return value or "–"


def ratio(ours: float | str | None, theirs: float | str | None) -> str:
    """Return how many times faster the package is, if both were measured."""
    both = isinstance(ours, float) and isinstance(theirs, float)
    return f"{ours / theirs:.1f}×" if both else "–"


# ---- The chapter's recipe, the Trainer, the package ----------------------------------------------


class Contest(Setting):
    """Networks of the same sizes, which train on the same kind of pairs on one device."""

    def __init__(
        self, scale: Scale, sizes: dict, batch_size: int, num_pairs: int, steps: int,
        device: torch.device,
    ):  # fmt: skip
        sample = Path(d2l.download_extract("Scenes"))
        of_both = speed.Scale(
            batch_size=batch_size, epochs=scale.epochs, vocab_size=scale.vocab_size
        )
        super().__init__(sample, of_both, sizes)
        self.steps, self.device = steps, device
        self.dataset = self.package_set(corpus.made_pairs(self.pairs, num_pairs))

    def package_trains(self, precision: str) -> float:
        """Return pairs/s of `finetune` in its last epoch."""
        settings = dict(num_epochs=self.epochs, batch_size=self.batch_size, precision=precision)
        settings["devices"] = [self.device]
        history = d2l.finetune(self.package_net(), self.dataset, None, **settings)
        return history.records[-1].pairs_per_sec

    def package_evaluates(self, precision: str) -> float:
        """Return pairs/s of `evaluate`."""
        return evaluate(self.package_net().to(self.device), self.dataset, precision)

    def chapter(self) -> ChapterTraining:
        """Return the chapter's training, with a first minibatch that does not count."""
        pairs = corpus.made_pairs(self.pairs, (1 + self.steps) * self.batch_size)
        return ChapterTraining(self, self.chapter_set(pairs), self.device)

    def chapter_trains(self) -> float:
        """Return pairs/s of the chapter's training."""
        return self.chapter().train()

    def chapter_evaluates(self) -> float:
        """Return pairs/s of the chapter's evaluation."""
        return self.chapter().evaluate()

    def trainer_trains(self) -> float:
        """Return pairs/s of the Trainer, after a quarter of its steps."""
        import transformers
        from transformers.trainer_pt_utils import LengthGroupedSampler

        lens, on_cpu, times = self.dataset.valid_lens.tolist(), self.device.type == "cpu", []
        counted = self.steps - self.steps // 4

        class GroupedTrainer(transformers.Trainer):
            def _get_train_sampler(self, *_: object) -> LengthGroupedSampler:
                return LengthGroupedSampler(self.args.train_batch_size, lengths=lens)

        class Clock(transformers.TrainerCallback):
            def on_step_end(self, args: object, state: object, *_: object, **__: object) -> None:
                if state.global_step in (state.max_steps - counted, state.max_steps):
                    if not on_cpu:
                        torch.accelerator.synchronize()
                    times.append(time.perf_counter())

        transformers.logging.set_verbosity_error()
        with TemporaryDirectory() as temporary:
            options = transformers.TrainingArguments(
                temporary, max_steps=self.steps, per_device_train_batch_size=self.batch_size,
                bf16=True, dataloader_num_workers=0 if on_cpu else 4, remove_unused_columns=False,
                use_cpu=on_cpu, report_to=[], save_strategy="no", logging_strategy="no",
                disable_tqdm=True,
            )  # fmt: skip
            GroupedTrainer(
                self.trainer_net(), options, self.trainer_minibatch, range(len(lens)),
                callbacks=[Clock()],
            ).train()  # fmt: skip
        return counted * self.batch_size / (times[1] - times[0])

    def trainer_net(self) -> torch.nn.Module:
        """Return transformers' classifier of the same sizes, with random weights."""
        from transformers import BertConfig, BertForSequenceClassification

        config = BertConfig(
            vocab_size=self.sizes["vocab_size"], hidden_size=self.sizes["num_hiddens"],
            intermediate_size=self.sizes["ffn_num_hiddens"],
            num_attention_heads=self.sizes["num_heads"],
            num_hidden_layers=self.sizes["num_blks"], num_labels=len(d2l.LABELS),
        )  # fmt: skip
        torch.manual_seed(0)
        return BertForSequenceClassification(config)

    def trainer_minibatch(self, pairs: list[int]) -> dict[str, torch.Tensor]:
        """Return a minibatch, padded to its longest pair, under transformers' names."""
        (ids, segments, lens), labels = self.dataset.minibatch(np.array(pairs))
        mask = (torch.arange(ids.shape[1]) < lens[:, None]).long()
        return dict(input_ids=ids, token_type_ids=segments, attention_mask=mask, labels=labels)


# ---- A whole training ----------------------------------------------------------------------------


def five_epochs(contest: Contest, sizes: tuple[int, int, int]) -> float:
    """Return the seconds that `python -m d2lnli finetune` takes, from its start to its end.

    It reads and encodes the pairs of three splits, trains for five epochs, measures the accuracy
    after each and at the end, and saves the classifier.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for split, number in zip(("train", "dev", "test"), sizes, strict=True):
            pairs = corpus.made_pairs(contest.pairs, number)
            corpus.write_snli(folder / f"snli_1.0_{split}.txt", pairs)
        write_model(folder / "model", contest)
        arguments = f"finetune --data {folder} --model {folder}/model --output {folder}/classifier"
        arguments += f" --epochs 5 --batch-size {contest.batch_size} --lr 1e-4"
        command = [sys.executable, "-m", "d2lnli", *arguments.split()]
        start = time.perf_counter()
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        spent = time.perf_counter() - start
    if ended.returncode:
        raise RuntimeError(ended.stderr.strip().rpartition("\n")[2])
    return spent


def write_model(folder: Path, contest: Contest) -> None:
    """Write a pretrained model with random weights, in the book's layout."""
    folder.mkdir()
    torch.save(d2l.BERTModel(**contest.sizes).state_dict(), folder / "pretrained.params")
    not_in_a_file = "vocab_size", "dropout"
    sizes = {name: size for name, size in contest.sizes.items() if name not in not_in_a_file}
    for name, content in (("vocab", contest.vocab.idx_to_token), ("config", sizes)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


# ---- Captured steps, and the shapes of minibatches -----------------------------------------------


class Clock:
    """The seconds of each capture of a step, and an event on the GPU on each side of a replay."""

    def __init__(self):
        self.captures: list[float] = []
        self.replays: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def share_at_work(self) -> float:
        """Return in how many percent of the time the GPU worked, in the later half of the steps.

        Only replays count as work. Inside one, no kernel waits for the CPU.
        """
        self.check()
        steady = self.replays[len(self.replays) // 2 :]
        torch.cuda.synchronize()
        worked = sum(start.elapsed_time(end) for start, end in steady)
        return 100 * worked / steady[0][0].elapsed_time(steady[-1][1])

    def seconds_of_captures(self) -> float:
        """Return how long all captures took."""
        self.check()
        return sum(self.captures)

    def check(self) -> None:
        """Raise an error if there is nothing to measure."""
        if not (self.captures and self.replays):
            raise RuntimeError("no step was captured on this device")


@contextmanager
def clocked_graphs() -> Iterator[Clock]:
    """Give a clock of all steps that are captured and replayed inside the block."""
    clock, graph, capture = Clock(), torch.cuda.CUDAGraph, torch.cuda.graph
    replay, begin, end = graph.replay, capture.__enter__, capture.__exit__

    def clocked_replay(self: torch.cuda.CUDAGraph) -> None:
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        replay(self)
        after.record()
        clock.replays.append((before, after))

    def clocked_begin(self: torch.cuda.graph) -> None:
        torch.cuda.synchronize()
        clock.captures.append(-time.perf_counter())
        begin(self)

    def clocked_end(self: torch.cuda.graph, *error: object) -> None:
        end(self, *error)
        clock.captures[-1] += time.perf_counter()

    with (
        patch.object(graph, "replay", clocked_replay),
        patch.object(capture, "__enter__", clocked_begin),
        patch.object(capture, "__exit__", clocked_end),
    ):
        yield clock


@cache
def clock_of(contest: Contest) -> Clock:
    """Return the clock of a training in the precision that the package chooses."""
    with clocked_graphs() as clock:
        contest.package_trains("auto")
    return clock


def clocked(contest: Contest, measure: Callable[[Clock], float]) -> float:
    """Return what is measured by the clock."""
    return measure(clock_of(contest))


@cache
def shapes(contest: Contest) -> list[torch.Size]:
    """Return the shapes of an epoch's minibatches."""
    batches = loader_on(contest.device, contest.dataset, contest.batch_size)
    return [X[0].shape for X, _, _ in batches]


def num_shapes(contest: Contest) -> float:
    """Return how many shapes an epoch's minibatches have."""
    return float(len(set(shapes(contest))))


def padding(contest: Contest, num_tokens: int | None = None) -> float:
    """Return how many percent of the tokens that an epoch computes are padding."""
    num_tokens = num_tokens or sum(map(math.prod, shapes(contest)))
    return 100 * (1 - int(contest.dataset.valid_lens.sum()) / num_tokens)


# ---- The table -----------------------------------------------------------------------------------


def training_lines(
    name: str, contest: Contest, aims: dict[str, str], *others: str
) -> Iterator[Line]:
    """Yield a line for each precision of a fine-tuning, with its aim, beside the others."""
    for precision, aim in aims.items():
        yield Line(
            f"fine-tuning, {name}'s sizes, batch {contest.batch_size}, {precision}",
            partial(contest.package_trains, precision),
            aim=aim,
            chapter=contest.chapter_trains if "chapter" in others else None,
            trainer=contest.trainer_trains if "Trainer" in others else None,
        )


def lines(scale: Scale, device: torch.device) -> Iterator[Line]:
    """Yield the lines, whose cells are not measured yet."""
    small, base, base_in_small_batches = (
        Contest(scale, *given, device)
        for given in (scale.small, scale.base, scale.base_in_small_batches)
    )
    trainer = ["Trainer"] if find_spec("transformers") else []
    aims = {"fp32": "–", "tf32": "–", "bf16": "≥ 10× chapter, ≥ 4× Trainer"}
    yield from training_lines("bert.small", small, aims, "chapter", *trainer)
    whole = f"five epochs of {scale.snli[0]:,} pairs, start-up and reading included"
    yield Line(whole, partial(five_epochs, small, scale.snli), "s", "< 40")
    yield from training_lines("bert.base", base, {"bf16": "≥ 20× chapter"}, "chapter")
    yield from training_lines(
        "bert.base", base_in_small_batches, {"bf16": "≥ 2× Trainer"}, *trainer
    )
    for precision, aim in {"fp32": "–", "bf16": "≥ 10× chapter"}.items():
        yield Line(
            f"evaluation, bert.small's sizes, {precision}",
            partial(small.package_evaluates, precision),
            aim=aim,
            chapter=small.chapter_evaluates,
        )
    at_work, capturing = (
        partial(clocked, small, of) for of in (Clock.share_at_work, Clock.seconds_of_captures)
    )
    yield Line("steady steps in which the GPU works", at_work, "%", "≥ 80")
    yield Line("capturing steps", capturing, "s")
    yield Line("shapes of minibatches", partial(num_shapes, small), "shapes", "≤ 12", lambda: 1.0)
    chapters_padding = partial(padding, small, MAX_LEN * len(small.dataset))
    yield Line("padding", partial(padding, small), "%", "≤ 5", chapters_padding)


def described(device: torch.device) -> str:
    """Name the card, and the versions that the figures hold for."""
    trainer = "without transformers, so without the Trainer"
    if find_spec("transformers"):
        trainer = f"transformers {version('transformers')}"
    return f"{name_of(device)}; {machine()}, d2lnli {d2l.__version__}, {trainer}"


def main() -> None:
    """Measure the table, and print and write each line as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="see that it runs, on a CPU too")
    parser.add_argument("--output", type=Path, default=CSV)
    args = parser.parse_args()
    device = d2l.try_all_gpus()[0]
    if device.type == "cpu" and not args.small:
        parser.error("this needs a GPU: use --small to see that it runs")
    note, rows = f"Measured on {described(device)}.", []
    print(note, flush=True)
    for line in lines(SMALL if args.small else Scale(), device):
        rows.append(line.row())
        print(*rows[-1], sep=" | ", flush=True)
        with args.output.open("w", encoding="utf-8", newline="") as file:
            table = [HEADER, *rows, (note, *[""] * (len(HEADER) - 1))]
            csv.writer(file, lineterminator="\n").writerows(table)
    print("\n" + markdown(HEADER, rows, note))


if __name__ == "__main__":
    main()
