"""Each row of the speed table: the chapter's recipe against the package, on the same pairs."""

import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nbclient
import nbformat
import torch

import d2lnli as d2l
from d2lnli.devices import PRECISIONS, choose_precision

from . import chapter, corpus
from .measure import PeakMemory, in_new_process, in_turn, matrix_rate, median_ratio, seconds

SIZES = dict(num_hiddens=256, ffn_num_hiddens=512, num_heads=4, num_blks=2, max_len=512)
MAX_LEN = 128
WHOSE = ("chapter", "package")


@dataclass(frozen=True)
class Row:
    """A line of the table; what is aimed at is a ratio ("25x") or a bound ("<= 5 %")."""

    what: str
    chapter: str
    package: str
    ratio: str
    aim: str


@dataclass(frozen=True)
class Scale:
    """How much is measured; the small one is for a test that all of it runs."""

    rounds: int = 3
    steps: int = 2
    epochs: int = 3
    batch_size: int = 512
    most_pairs: int | None = None
    vocab_size: int = 60_005
    train_pairs: int = 549_367
    dataset_pairs: int = 541_310
    disagreed: int = 785
    plot_epochs: int = 12
    growth: tuple[int, ...] = (10_000, 100_000, 549_367)
    lengths: tuple[int, ...] = (16, 32, 64, 128)


SMALL = Scale(
    rounds=1,
    steps=1,
    epochs=1,
    batch_size=32,
    most_pairs=300,
    vocab_size=12_000,
    train_pairs=300,
    dataset_pairs=300,
    disagreed=10,
    plot_epochs=1,
    growth=(150, 300),
    lengths=(16, 32),
)


class Setting:
    """A corpus, its vocabulary, and both networks with given sizes and random weights."""

    def __init__(self, folder: Path, scale: Scale, sizes: dict = SIZES):
        self.pairs = d2l.read_snli(folder, "train", scale.most_pairs)
        self.vocab = corpus.vocabulary(self.pairs, scale.vocab_size)
        self.batch_size, self.epochs = scale.batch_size, scale.epochs
        self.sizes = dict(sizes, vocab_size=len(self.vocab), dropout=0.1)

    def package_set(self, pairs: corpus.Pairs | None = None) -> d2l.SNLIBERTDataset:
        """Build the package's dataset, without a word."""
        with contextlib.redirect_stdout(io.StringIO()):
            return d2l.SNLIBERTDataset(pairs or self.pairs, MAX_LEN, self.vocab)

    def chapter_set(self, pairs: corpus.Pairs) -> chapter.SNLIDataset:
        """Build the chapter's dataset."""
        return chapter.SNLIDataset(pairs, MAX_LEN, self.vocab)

    def package_net(self) -> d2l.BERTClassifier:
        """Make the package's classifier, the same each time."""
        torch.manual_seed(0)
        return d2l.BERTClassifier(d2l.BERTModel(**self.sizes))

    def chapter_net(self) -> chapter.Classifier:
        """Make the chapter's classifier."""
        torch.manual_seed(0)
        return chapter.Classifier(**self.sizes)


def fine_tune(setting: Setting, dataset: d2l.SNLIBERTDataset, precision: str) -> float:
    """Return pairs/s of fine-tuning, all that `finetune` does included."""
    net = setting.package_net()
    settings = dict(num_epochs=setting.epochs, batch_size=setting.batch_size, precision=precision)
    with contextlib.redirect_stderr(io.StringIO()):
        spent = seconds(lambda: d2l.finetune(net, dataset, None, **settings))
    return setting.epochs * len(dataset) / spent


def evaluate(net: d2l.BERTClassifier, dataset: d2l.SNLIBERTDataset, precision: str) -> float:
    """Return pairs/s of evaluation, after a first pass that is not counted."""
    d2l.evaluate(net, dataset, precision=precision)
    return len(dataset) / seconds(lambda: d2l.evaluate(net, dataset, precision=precision))


class ChapterTraining:
    """The chapter's training, to be measured some minibatches at a time."""

    def __init__(
        self, setting: Setting, dataset: chapter.SNLIDataset, device: torch.device | str = "cpu"
    ):
        self.dataset, self.batch_size = dataset, setting.batch_size
        self.net = setting.chapter_net().to(device)
        self.trainer = torch.optim.Adam(self.net.parameters(), lr=1e-4)

    def train(self) -> float:
        """Return pairs/s of training, the first minibatch not counted."""
        batches = _Timed(chapter.loader(self.dataset, self.batch_size, shuffle=True))
        chapter.train(self.net, batches, self.trainer)
        return batches.pairs_per_sec()

    def evaluate(self) -> float:
        """Return pairs/s of evaluation, the first minibatch not counted."""
        batches = _Timed(chapter.loader(self.dataset, self.batch_size))
        chapter.evaluate(self.net, batches)
        return batches.pairs_per_sec()


class _Timed:
    """Minibatches that note when each was done with."""

    def __init__(self, batches: Iterable):
        self.batches, self.done = batches, []

    def __iter__(self) -> Iterator:
        for batch in self.batches:
            yield batch
            self.done.append((time.perf_counter(), len(batch[1])))

    def pairs_per_sec(self) -> float:
        """Return the speed after the first minibatch, with which the workers start."""
        (start, _), *rest = self.done
        return sum(n for _, n in rest) / (rest[-1][0] - start)


def gigaflops(lens: torch.Tensor, full_last_block: bool) -> float:
    """Return the work of training on pairs of these lengths, matrix products alone, unpadded.

    A multiplication and an addition are two; a backward pass counts twice a forward pass. The
    package computes the last block for `<cls>` alone; `full_last_block` counts it for all tokens,
    as a model's work is usually counted.
    """
    hiddens, ffn = SIZES["num_hiddens"], SIZES["ffn_num_hiddens"]
    lens = lens.double()
    layers = 4 * hiddens**2 + 2 * hiddens * ffn
    block = lens * layers + 2 * lens**2 * hiddens
    last = block if full_last_block else layers + 2 * lens * SIZES["num_heads"] * hiddens
    macs = (SIZES["num_blks"] - 1) * block + last + hiddens**2
    return 6e-9 * float(macs.sum())


def training_rows(setting: Setting, scale: Scale) -> list[Row]:
    """Fine-tuning and evaluation, and how much of the machine's matrix rate fine-tuning uses."""
    dataset, net = setting.package_set(), setting.package_net()
    few = tuple(part[: (1 + scale.steps) * scale.batch_size] for part in setting.pairs)
    theirs = ChapterTraining(setting, setting.chapter_set(few))
    best = choose_precision("auto", torch.device("cpu"))
    precisions = dict.fromkeys([best, "fp32"])
    work = {
        f"{kind} {precision}": measure
        for precision in precisions
        for kind, measure in {
            "train": lambda p=precision: fine_tune(setting, dataset, p),
            "rate": lambda p=precision: matrix_rate(PRECISIONS[p]),
            "evaluate": lambda p=precision: evaluate(net, dataset, p),
        }.items()
    }
    found = in_turn(scale.rounds, train=theirs.train, evaluate=theirs.evaluate, **work)
    rows = []
    for kind, name, aims in (
        ("train", "fine-tuning", {best: "≥ 25×", "fp32": "≥ 13×"}),
        ("evaluate", "evaluation", {best: "≥ 25×", "fp32": "–"}),
    ):
        for precision in precisions:
            ours = found[f"{kind} {precision}"]
            rows.append(
                Row(
                    f"{name}, {precision}",
                    f"{median(found[kind]):.0f} pairs/s",
                    f"{median(ours):,.0f} pairs/s",
                    f"{median_ratio(ours, found[kind]):.1f}×",
                    aims[precision],
                )
            )
    for precision, aim in {best: "≥ 27 %", "fp32": "≥ 60 %"}.items():
        speeds, rates = found[f"train {precision}"], found[f"rate {precision}"]
        share, usual = (
            median_ratio(speeds, rates) * gigaflops(dataset.valid_lens, full) / len(dataset)
            for full in (False, True)
        )
        rows.append(
            Row(
                f"share of the matrix rate, {precision}",
                "–",
                f"{share:.0%} of {median(rates):.0f} GFLOP/s ({usual:.0%} with the work that the "
                "last block is spared)",
                "–",
                aim,
            )
        )
    return rows


def build_dataset(folder: Path, scale: Scale, whose: str) -> Callable[[], object]:
    """Return what builds a dataset of made pairs."""
    setting = Setting(folder, scale)
    pairs = corpus.made_pairs(setting.pairs, scale.dataset_pairs)
    return partial(setting.chapter_set if whose == "chapter" else setting.package_set, pairs)


def read_file(folder: Path, scale: Scale, whose: str) -> Callable[[], object]:
    """Return what reads a training file."""
    if whose == "chapter":
        return partial(chapter.read_snli, folder / "snli_1.0_train.txt")
    return partial(d2l.read_snli, folder, "train")


def measured(prepare: Callable, what: str, *arguments: object) -> float:
    """Return the seconds, or the peak MiB, of what `prepare` returns."""
    call = prepare(*arguments)
    if what == "seconds":
        return seconds(call)
    with PeakMemory() as memory:
        result = call()
    del result
    return memory.megabytes


def time_and_memory_rows(
    prepare: Callable, folder: Path, scale: Scale, name: str, count: int, aims: tuple[str, str]
) -> list[Row]:
    """Two rows; each measurement has a process of its own, for looking at memory takes time."""

    def measure(what: str, whose: str) -> float:
        return in_new_process(measured, prepare, what, folder, scale, whose)

    times = in_turn(scale.rounds, **{w: partial(measure, "seconds", w) for w in WHOSE})
    theirs, ours = times.values()
    held = {whose: measure("memory", whose) for whose in WHOSE}
    return [
        Row(
            f"{name}, {count:,} {'rows' if name == 'read_snli' else 'pairs'}",
            f"{count / median(theirs):,.0f} a second",
            f"{count / median(ours):,.0f} a second",
            f"{median_ratio(theirs, ours):.1f}×",
            aims[0],
        ),
        Row(
            f"{name}, peak memory",
            f"{held['chapter']:,.0f} MiB",
            f"{held['package']:,.0f} MiB",
            f"1/{held['chapter'] / held['package']:.1f}",
            aims[1],
        ),
    ]


def data_rows(folder: Path, setting: Setting, scale: Scale) -> list[Row]:
    """Reading and encoding, and the loader."""
    pairs = corpus.made_pairs(setting.pairs, scale.train_pairs)
    rows = time_and_memory_rows(
        build_dataset, folder, scale, "SNLIBERTDataset", scale.dataset_pairs, ("≥ 20×", "≤ 1/20")
    )
    with TemporaryDirectory() as temporary:
        made, count = Path(temporary), scale.train_pairs + scale.disagreed
        corpus.write_snli(made / "snli_1.0_train.txt", pairs, scale.disagreed)
        rows += time_and_memory_rows(read_file, made, scale, "read_snli", count, ("≥ 4×", "≤ 1/3"))
    return rows + loader_rows(setting.package_set(pairs), scale)


def loader_rows(dataset: d2l.SNLIBERTDataset, scale: Scale) -> list[Row]:
    """Padding in an epoch, and how fast minibatches come."""
    batches = d2l.bucketed_loader(dataset, scale.batch_size, shuffle=True)
    padded = sum(X[0].numel() for X, _ in batches)
    words = int(dataset.valid_lens.sum())
    found = in_turn(scale.rounds, loader=lambda: len(dataset) / seconds(list, map(len, batches)))
    return [
        Row(
            "padding in an epoch",
            f"{1 - words / (MAX_LEN * len(dataset)):.0%}",
            f"{1 - words / padded:.1%}",
            "–",
            "≤ 5 %",
        ),
        Row(
            "the loader alone, one process",
            "–",
            f"{median(found['loader']):,.0f} pairs/s",
            "–",
            "≥ 500,000",
        ),
    ]


PLOTTED_RUN = """
import time
from pathlib import Path
import d2lnli as d2l
from d2lnli.show.live import LivePlot, Progress
from benchmarks.speed import Scale, Setting

spent, pictures = 0.0, 0
def timed(method):
    def measured(*arguments):
        global spent
        start = time.perf_counter()
        method(*arguments)
        spent += time.perf_counter() - start
    return measured
for name in ("__init__", "__exit__", "advance", "report"):
    setattr(Progress, name, timed(getattr(Progress, name)))
LivePlot.__init__ = timed(LivePlot.__init__)
update = LivePlot.update
def counted(*arguments):
    global pictures
    pictures += 1
    update(*arguments)
LivePlot.update = counted
setting = Setting(Path({folder!r}), {scale!r})
dataset, net = setting.package_set(), setting.package_net()
start = time.perf_counter()
d2l.finetune(net, dataset, None, num_epochs={scale.plot_epochs}, batch_size={scale.batch_size})
seconds = time.perf_counter() - start
print("share", spent / seconds, pictures / seconds)
"""


def plot_rows(folder: Path, scale: Scale) -> list[Row]:
    """The live plot and the bar, in a notebook's kernel."""
    code = PLOTTED_RUN.format(folder=str(folder), scale=scale)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    printed = "".join(o.text for o in notebook.cells[0].outputs if o.output_type == "stream")
    share, pictures = map(float, printed.split("share ")[1].split())
    cost = f"{share:.1%} of a minute's run, {pictures:.1f} redraws a second"
    return [Row("live plot and progress bar", "–", cost, "–", "≤ 3 %")]


def import_rows(scale: Scale) -> list[Row]:
    """What `import d2lnli` takes beyond torch."""
    code = "import torch, time; start = time.perf_counter(); import d2lnli; "
    code += "print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    times = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(scale.rounds)
    ]
    return [Row("import d2lnli beyond import torch", "–", f"{median(times):.2f} s", "–", "≤ 0.5 s")]


def table(folder: Path, scale: Scale) -> Iterator[Row]:
    """Yield all rows as they are measured."""
    setting = Setting(folder, scale)
    yield from training_rows(setting, scale)
    yield from data_rows(folder, setting, scale)
    yield from plot_rows(folder, scale)
    yield from import_rows(scale)
