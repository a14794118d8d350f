"""More pairs than memory should hold: `python -m benchmarks.many_pairs --corpus FOLDER`.

Five million pairs of a corpus's words, at its lengths, are written in SNLI's file layout, encoded
to a memory-mapped folder, and trained on by two processes, with a network of bert.small's sizes.
What is told is RssAnon: the memory that a process has for itself, without the pages of files that
the system can drop. It takes some ten minutes and three gigabytes of disk.
"""

import argparse
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import d2lnli as d2l
from d2lnli.runs.ranks import process_group
from d2lnli.store.hub import ARCHITECTURES

from . import corpus
from .measure import MEGABYTE, PeakMemory, in_new_process, machine

WORDS, MAX_LEN, BATCH_SIZE, STEPS = 60_005, 128, 512, 60
SETTINGS = dict(precision="fp32"), dict(precision="bf16")


class PeakAnonymous(PeakMemory):
    """The most anonymous memory that this process alone had in a block."""

    def held(self) -> float:
        """Return how many bytes it has now."""
        return MEGABYTE * anonymous()

    @property
    def megabytes(self) -> float:
        """The peak in MiB, with what it had before."""
        return self.most / MEGABYTE


def anonymous() -> float:
    """Return the anonymous memory of this process, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def write_corpus(source: Path, folder: Path, num_pairs: int) -> None:
    """Write the training split."""
    pairs = corpus.made_pairs(d2l.read_snli(source, "train"), num_pairs)
    corpus.write_snli(folder / "snli_1.0_train.txt", pairs)


def build(source: Path, folder: Path) -> tuple[float, float, float]:
    """Build the dataset; return the memory before and at most, and the seconds."""
    vocab = corpus.vocabulary(d2l.read_snli(source, "train"), WORDS)
    before, start = anonymous(), time.perf_counter()
    with PeakAnonymous() as memory:
        d2l.mapped_dataset(folder, folder, "train", MAX_LEN, vocab)
    return before, memory.megabytes, time.perf_counter() - start


def train(source: Path, folder: Path, rank: int, port: int, settings: dict) -> dict[str, float]:
    """Be one of two ranks for some steps; return its memory in MiB, of whatever kind."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    os.environ |= dict(zip(names, map(str, (rank, rank, 2, 2, port)), strict=True))
    os.environ |= dict(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="benchmark")
    torch.set_num_threads(1)
    found = {"Python, torch and d2lnli": anonymous()}
    with PeakAnonymous() as memory, process_group():
        start = time.perf_counter()
        vocab = corpus.vocabulary(d2l.read_snli(source, "train"), WORDS)
        data = d2l.mapped_dataset(folder, folder, "train", MAX_LEN, vocab)
        found["seconds to map"] = time.perf_counter() - start
        found["with vocabulary and data"] = anonymous()
        net = d2l.BERTClassifier(d2l.BERTModel(WORDS, dropout=0.1, **ARCHITECTURES["bert.small"]))
        net.register_forward_hook(stop_after(STEPS))
        d2l.finetune(net, data, None, batch_size=BATCH_SIZE, **settings)
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    found |= {"at most": memory.megabytes, "model": 4 * 4 * num_parameters / MEGABYTE}
    return found | {"beyond the model": memory.megabytes - found["model"]}


def two_ranks(source: Path, folder: Path, settings: dict) -> list[dict[str, float]]:
    """Let two processes train together; return the memory of each."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        ranks = [pool.submit(train, source, folder, rank, port, settings) for rank in range(2)]
        return [rank.result() for rank in ranks]


def stop_after(num_steps: int) -> Callable:
    """Return a hook that presses the stop button in a network's so-manieth forward pass."""
    calls = []

    def press(*_: object) -> None:
        calls.append(0)
        if len(calls) == num_steps:
            signal.raise_signal(signal.SIGTERM)  # which a shell cannot have switched off

    return press


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="a folder with snli_1.0_train.txt")
    parser.add_argument("--pairs", type=int, default=5_000_000)
    args = parser.parse_args()
    source = Path(args.corpus or d2l.download_extract("Scenes"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_new_process(write_corpus, source, folder, args.pairs)
        size = (folder / "snli_1.0_train.txt").stat().st_size
        print(
            f"{args.pairs:,} pairs, a file of {size / MEGABYTE:,.0f} MiB; {machine()}", flush=True
        )
        before, most, seconds = in_new_process(build, source, folder)
        built = sum(path.stat().st_size for path in folder.glob("*/*")) / MEGABYTE
        print(f"built in {seconds:.0f} s, {built:,.0f} MiB on disk", flush=True)
        print(f"RssAnon of that: {before:.0f} MiB before, {most:.0f} at most", flush=True)
        for settings in SETTINGS:
            for rank, found in enumerate(two_ranks(source, folder, settings)):
                shown = ", ".join(f"{what} {value:.0f}" for what, value in found.items())
                print(f"{settings}, rank {rank}, RssAnon in MiB: {shown}", flush=True)


if __name__ == "__main__":
    main()
