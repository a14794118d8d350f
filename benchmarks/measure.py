"""Measuring: in turn, in processes of their own, with the memory of a whole process tree."""

import multiprocessing
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import torch

MEGABYTE = 2**20


def in_turn(rounds: int, **measurements: Callable[[], float]) -> dict[str, list[float]]:
    """Take every measurement once a round, so that a machine's moods meet all of them."""
    results = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, measure in measurements.items():
            results[name].append(measure())
    return results


def median_ratio(a: list[float], b: list[float]) -> float:
    """Return the median over the rounds of a / b."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def in_new_process(function: Callable, *arguments: object) -> object:
    """Call a function of a module in a process that holds nothing but modules."""
    started = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    started.set_forkserver_preload([__name__, "d2lnli"])
    with ProcessPoolExecutor(1, mp_context=started) as pool:
        return pool.submit(function, *arguments).result()


def seconds(function: Callable, *arguments: object) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


class PeakMemory:
    """The most memory that this process and its children held in a block, beyond the start.

    Pages that processes share count once (Linux tells that; elsewhere they count for each). A look
    takes time, so speed is measured apart from it.
    """

    def __enter__(self) -> "PeakMemory":
        self.start = self.most = self.held()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()

    @property
    def megabytes(self) -> float:
        """The peak in MiB."""
        return (self.most - self.start) / MEGABYTE

    def held(self) -> int:
        """Return how many bytes the process tree holds now."""
        total, this = 0, psutil.Process()
        for process in [this, *this.children(recursive=True)]:
            try:
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
            except psutil.Error:
                continue  # it ended while it was looked at
        return total

    def _watch(self) -> None:
        while not self.ended.wait(0.02):
            self.most = max(self.most, self.held())
        self.most = max(self.most, self.held())


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the rate of matrix products in GFLOP/s at the best size, kept up for half a second."""
    rates = []
    for size in (512, 1024, 2048):
        A, count, start = torch.ones(size, size, dtype=dtype), 0, time.perf_counter()
        while time.perf_counter() - start < 0.5:
            torch.matmul(A, A)
            count += 1
        rates.append(2e-9 * size**3 * count / (time.perf_counter() - start))
    return max(rates)


def machine() -> str:
    """Name the processor, the threads and the versions that figures hold for."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((x.split(": ")[1] for x in lines if x.startswith("model name")), model)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], note: str) -> str:
    """Return a table as Markdown, and below it what it holds for."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{note}\n"
