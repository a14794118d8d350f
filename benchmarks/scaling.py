"""Many devices: what two processes reach here, and what a model predicts for more.

Measured: fine-tuning by two processes with a core each, against one with both and one with one; and
how fast the two exchange gradients. Predicted: which share of its speed each of 8, 64 and 512
devices keeps, over links that were never seen. It takes some five minutes, writes scaling.csv, and
puts its tables into docs/many_devices.md.

    python -m benchmarks.scaling [--corpus FOLDER]
"""

import argparse
import contextlib
import csv
import io
import multiprocessing
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import torch
import torch.distributed as dist

import d2lnli as d2l
from d2lnli.dataset import shared_loader
from d2lnli.runs.ranks import process_group
from d2lnli.store.hub import ARCHITECTURES

from .corpus import vocabulary
from .measure import in_turn, machine, median_ratio, seconds

CSV = Path(__file__).with_suffix(".csv")
DOC = Path(__file__).parents[1] / "docs" / "many_devices.md"
WORDS, MAX_LEN, BATCH_SIZE = 60_005, 128, 512
NUM_PAIRS = {"bert.tiny": 2048, "bert.small": 1536}
BOOKS = ("bert.small", "bert.base")
BACKWARD = 2 / 3  # of a step: it multiplies twice for each time that the forward pass does
CHAPTER_SPEED = 10_588.8 / 2  # pairs/s of one GPU, by what the chapter reports for bert.small
FASTER, PART, NUM_GPUS = 10, 64, 64


class Link(NamedTuple):
    """A hop of the ring of devices: bytes a second, and the seconds that even one byte takes."""

    bandwidth: float
    latency: float


NVLINK = Link(900e9 / 2, 3.4e-6)
LATENCY = (7 * NVLINK.latency + 14e-6) / 8  # every eighth hop leaves a machine
NETWORKS = {"InfiniBand": Link(400e9 / 8, LATENCY), "Ethernet": Link(25e9 / 8, LATENCY)}
ETHERNET = NETWORKS["Ethernet"]
CLUSTERS = {"8 GPUs, NVLink": (8, NVLINK)} | {
    f"{n}, {name}": (n, link) for n in (64, 512) for name, link in NETWORKS.items()
}


class Figure(NamedTuple):
    """A cell of a table; its basis is that it was measured, counted or predicted."""

    table: str
    row: str
    column: str
    basis: str
    value: float
    unit: str

    def __str__(self) -> str:
        if self.unit == "%":
            return f"{self.value:.0%}" if self.value >= 0.01 else "< 1%"
        digits = 0 if self.value >= 100 else 2 if self.value < 10 else 1
        return f"{self.value:,.{digits}f}{'' if self.unit == '×' else ' '}{self.unit}".strip()


def all_reduce_seconds(num_bytes: float, num_devices: int, link: Link) -> float:
    """Return how long a ring of devices takes to sum gradients."""
    return 2 * (num_devices - 1) * (num_bytes / num_devices / link.bandwidth + link.latency)


def row_exchange_seconds(num_bytes: float, num_devices: int, link: Link) -> float:
    """Return how long it takes all to send their rows, ids and values; lengths go before each."""
    lengths = 2 * all_reduce_seconds(0, num_devices, link)
    return lengths + (num_devices - 1) * (num_bytes / link.bandwidth + 2 * link.latency)


def predicted_efficiency(compute: float, early: float, last: float, parts: int = 1) -> float:
    """Return which share of its speed a device keeps; the others are seconds.

    A minibatch of so many parts, each of which takes `compute`, exchanges gradients once. The
    `early` ones travel beside the last part's backward pass; the embedding's are ready `last`.
    """
    waits = max(0.0, early - BACKWARD * compute) + last
    return parts * compute / (parts * compute + waits)


def efficiency(
    model: str, compute: float, devices: int, link: Link, rows: float = 0, parts: int = 1
) -> float:
    """Predict for a network that exchanges so many rows of its embedding, or 0: all of it."""
    total, embedding, row = gradient_bytes(model)
    early = all_reduce_seconds(total - embedding, devices, link)
    way, num_bytes = (row_exchange_seconds, rows * row) if rows else (all_reduce_seconds, embedding)
    return predicted_efficiency(compute, early, way(num_bytes, devices, link), parts)


@cache
def gradient_bytes(model: str) -> tuple[int, int, int]:
    """Return the bytes of a classifier's gradients, its embedding's, and a row's with its id."""
    with torch.device("meta"):
        net = network(model)
    embedding = net.encoder.token_embedding.weight
    total = sum(parameter.numel() for parameter in net.parameters())
    return 4 * total, 4 * embedding.numel(), 4 * embedding.shape[1] + 8


def multiplications(model: str) -> int:
    """Return how many a forward pass takes for a pair of 128 tokens, as the chapter computes it."""
    names = "num_blks", "num_hiddens", "ffn_num_hiddens"
    blks, hiddens, ffn = (ARCHITECTURES[model][name] for name in names)
    return blks * MAX_LEN * hiddens * (4 * hiddens + 2 * ffn + 2 * MAX_LEN)


def network(model: str) -> d2l.BERTClassifier:
    """Return the bundled network, or one of a book's sizes with random weights."""
    torch.manual_seed(0)
    if model in BOOKS:
        return d2l.BERTClassifier(d2l.BERTModel(WORDS, dropout=0.1, **ARCHITECTURES[model]))
    return d2l.BERTClassifier(d2l.load_pretrained_model(model)[0])


def together(processes: int, threads: int, function: Callable, *arguments: object) -> float:
    """Call a function in so many new processes of one group; return what rank 0 returns."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    join_in = partial(_join_in, processes, threads, port, partial(function, *arguments))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        ranks = [pool.submit(join_in, rank) for rank in range(processes)]
        return ranks[0].result()


def _join_in(processes: int, threads: int, port: int, call: Callable, rank: int) -> float:
    torch.set_num_threads(threads)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes))
    os.environ.update(LOCAL_WORLD_SIZE=str(processes), TORCHELASTIC_RUN_ID="scaling")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with process_group():
        return call()


def training_speed(folder: Path, model: str, precision: str, batch_size: int) -> float:
    """Return pairs/s in the second of two epochs, with all that `finetune` does."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pairs = d2l.read_snli(folder, "train", NUM_PAIRS[model])
        net, settings = network(model), dict(batch_size=batch_size, precision=precision)
        vocab = vocabulary(pairs) if model in BOOKS else d2l.load_pretrained_model(model)[1]
        dataset = d2l.SNLIBERTDataset(pairs, MAX_LEN, vocab)
        return d2l.finetune(net, dataset, None, num_epochs=2, **settings).records[-1].pairs_per_sec


def exchange_seconds(num_bytes: int) -> float:
    """Return the median time of an all-reduce of so many bytes, after a first one."""
    gradients = torch.ones(num_bytes // 4)
    dist.all_reduce(gradients)
    return median(seconds(dist.all_reduce, gradients) for _ in range(20))


def measured(folder: Path, rounds: int) -> Iterator[Figure]:
    """Measure training and the link, in turn, and count rows."""
    cores, figure = os.cpu_count() or 1, partial(Figure, "throughput", basis="measured")
    for model, precision in [(m, p) for m in NUM_PAIRS for p in ("fp32", "bf16")]:
        batch_size = d2l.recipe(model)["batch_size"]
        run = training_speed, folder, model, precision
        whole, both, half = in_turn(
            rounds,
            whole=partial(together, 1, cores, *run, batch_size),
            both=partial(together, 2, cores // 2, *run, batch_size),
            half=partial(together, 1, cores // 2, *run, batch_size // 2),
        ).values()
        for column, value, unit in (
            ("one process, two cores", median(whole), "pairs/s"),
            ("two processes, a core each", median(both), "pairs/s"),
            ("ratio", median_ratio(both, whole), "×"),
            ("one process, one core", median(half), "pairs/s"),
            ("efficiency, measured", median_ratio(both, half) / 2, "%"),
        ):
            yield figure(row=f"{model}, {precision}", column=column, value=value, unit=unit)
    total = gradient_bytes("bert.small")[0]
    exchanges = {str(n): partial(together, 2, 1, exchange_seconds, n) for n in (total, 4)}
    large, small = map(median, in_turn(rounds, **exchanges).values())
    for column, value, unit in (
        ("all-reduce of bert.small's gradients", 1e3 * large, "ms"),
        ("of one number", 1e6 * small, "µs"),
        ("bandwidth", 1e-9 * total / (large - small), "GB/s"),
        ("latency", 1e6 * small / 2, "µs"),
    ):
        yield Figure("link", "gloo, two processes here", column, "measured", value, unit)
    pairs = d2l.read_snli(folder, "train")
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = d2l.SNLIBERTDataset(pairs, MAX_LEN, vocabulary(pairs))
    for num_devices in (1, 2, 8, 64, 512):
        shares = shared_loader(dataset, BATCH_SIZE, world_size=num_devices)
        value, share = mean(len(X[0].unique()) for X, *_ in shares), BATCH_SIZE // num_devices
        column = f"{share} pairs" if share > 1 else "1 pair"
        yield Figure("rows", "different words, on average", column, "counted", value, "")


def predictions(found: list[Figure]) -> Iterator[Figure]:
    """Return all figures that follow from the measured ones."""
    link = {figure.column: figure.value for figure in found if figure.table == "link"}
    rows = {int(f.column.split()[0]): f.value for f in found if f.table == "rows"}
    speeds = {f.row: f.value for f in found if f.column == "one process, one core"}
    gloo = Link(1e9 * link["bandwidth"], 1e-6 * link["latency"])
    for row, speed in speeds.items():
        model = row.partition(",")[0]
        share = d2l.recipe(model)["batch_size"] // 2
        value = efficiency(model, share / speed, 2, gloo, rows[share] if model in BOOKS else 0)
        yield Figure("throughput", row, "efficiency, predicted", "predicted", value, "%")
    for model in BOOKS:
        total, embedding, row = gradient_bytes(model)
        for column, value, unit in (
            ("gradients", 1e-6 * total, "MB"),
            ("of these the token embedding's", embedding / total, "%"),
            ("its rows that 512 pairs read", 1e-6 * rows[512] * row, "MB"),
            ("multiplications, forward, 128 tokens", 1e-9 * multiplications(model), "G"),
        ):
            yield Figure("gradients", model, column, "counted", value, unit)
    for each, in_all in (("512 pairs each", None), ("512 pairs in all", BATCH_SIZE)):
        yield from on_clusters(each, in_all, speeds["bert.small, fp32"], rows)
    for model, parts in [(model, parts) for model in BOOKS for parts in (1, 4, 16)]:
        sent = 2 * (NUM_GPUS - 1) / NUM_GPUS * gradient_bytes(model)[0] / (parts * PART)
        compute = PART / (FASTER * gpu_speed(model))
        share = efficiency(model, compute, NUM_GPUS, ETHERNET, parts=parts)
        figure = partial(Figure, "accumulation", column=f"parts: {parts}", basis="predicted")
        yield figure(row=f"{model}, sent for a pair", value=1e-6 * sent, unit="MB")
        yield figure(row=f"{model}, efficiency", value=share, unit="%")


def gpu_speed(model: str) -> float:
    """Return pairs/s of a GPU: the chapter's for bert.small, by the work of a pair for others."""
    return CHAPTER_SPEED * multiplications("bert.small") / multiplications(model)


def on_clusters(each: str, in_all: int | None, core: float, rows: dict) -> Iterator[Figure]:
    """Predict for GPUs, and for processes with a core each that trains at so many pairs/s."""
    for model, faster in [(model, faster) for model in BOOKS for faster in (1, FASTER)]:
        row = f"{model}, {each}" + (f", GPU {faster} times as fast" if faster > 1 else "")
        for cluster, (num_gpus, link) in CLUSTERS.items():
            compute = (in_all / num_gpus if in_all else BATCH_SIZE) / (faster * gpu_speed(model))
            value = efficiency(model, compute, num_gpus, link)
            yield Figure("gpus", row, cluster, "predicted", value, "%")
    for whole, num_processes in [(way, n) for way in (False, True) for n in (8, 64, 512)]:
        pairs = in_all // num_processes if in_all else BATCH_SIZE
        setting = "bert.small", pairs / core, num_processes, ETHERNET
        value = efficiency(*setting, 0 if whole else rows[pairs])
        row = f"bert.small, {each}, {'the whole embedding' if whole else 'rows'}"
        yield Figure("cpus", row, f"{num_processes} processes", "predicted", value, "%")


def read(path: Path) -> list[Figure]:
    """Read a CSV that `write` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Figure(**{**row, "value": float(row["value"])}) for row in csv.DictReader(file)]


def write(path: Path, figures: Iterable[Figure]) -> None:
    """Write figures, to four digits."""
    rows = [figure._replace(value=f"{figure.value:.4g}") for figure in figures]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([Figure._fields, *rows])


def markdown(figures: list[Figure]) -> dict[str, str]:
    """Return each table by its name."""
    tables = {}
    for name in dict.fromkeys(figure.table for figure in figures):
        cells = {(f.row, f.column): str(f) for f in figures if f.table == name}
        rows, columns = (list(dict.fromkeys(key)) for key in zip(*cells, strict=True))
        lines = [["", *columns], ["---"] * (1 + len(columns))]
        lines += [[row, *(cells[row, column] for column in columns)] for row in rows]
        tables[name] = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return tables


def put_into(text: str, tables: dict[str, str]) -> str:
    """Return a text with each table below the comment that names it."""
    place = r"(<!-- \w+: benchmarks/scaling.csv, (\w+) -->\n)(?:\|.*\n)*"
    return re.sub(place, lambda found: found[1] + tables[found[2]], text)


def main() -> None:
    """Measure, predict, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help="of SNLI's layout")
    folder = parser.parse_args().corpus or Path(d2l.download_extract("Scenes"))
    write(CSV, measured(folder, rounds=3))
    found = read(CSV)
    write(CSV, [*found, *predictions(found)])
    tables = markdown(read(CSV))
    print(f"Measured on {machine()}; pairs of {folder.name}\n", *tables.values(), sep="\n")
    DOC.write_text(put_into(DOC.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
