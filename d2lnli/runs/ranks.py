"""Who this process is among several that train one network, and what they tell each other.

torchrun starts them, one for each device; PyTorch's own engine carries what they say, by gloo
between CPUs and by nccl between GPUs. A `Ranks` is passed to whatever has to know.
"""

import contextlib
import io
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..devices import is_failure

Value = TypeVar("Value")
_AGREE_EVERY = 1.0  # seconds
_LAST_WORDS = 3.0  # seconds
_LET_GO = 0.1  # seconds


class Ranks:
    """A process, its `rank` and how many ranks (`size`) there are; rank 0 prints, plots and writes.

    By itself it is rank 0 of 1. Else all ranks call the methods together. `of_torchrun` says
    whether torchrun started this process.
    """

    def __init__(self, rank: int = 0, size: int = 1, of_torchrun: bool = False):
        self.rank, self.size, self.of_torchrun = rank, size, of_torchrun

    def names(self, device: torch.device) -> str:
        """Name the devices of all ranks, as the book prints them; many of them by their number."""
        if self.size > 8:
            return f"{self.size} devices ({device.type})"
        if device.type == "cpu" or self.size == 1:
            return str([device] * self.size)
        indices = self.gather(torch.tensor([device.index or 0]))
        return str([torch.device(device.type, int(index)) for index in indices])

    def sum(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, numbers: list[int]) -> list[int]:
        """Return the largest of all ranks' first numbers, of their second numbers, and so on."""
        largest = torch.tensor(numbers)
        if self.size > 1:
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def from_rank_0(self, value: Value) -> Value:
        """Return what rank 0 gave: numbers, texts, tensors, and lists or dicts of them.

        Nothing is unpickled that could run code.
        """
        if self.size == 1:
            return value
        file = io.BytesIO()
        if self.rank == 0:
            torch.save(value, file)
        size = self.sum(torch.tensor(file.tell()))
        content = torch.empty(int(size), dtype=torch.uint8)
        if self.rank == 0:
            content.copy_(torch.frombuffer(file.getbuffer(), dtype=torch.uint8))
        dist.broadcast(content, 0)
        if self.rank == 0:
            return value
        return torch.load(io.BytesIO(content.numpy().data), weights_only=True)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, whose first dimension may differ, in order of rank."""
        if self.size == 1:
            return [tensor]
        lens = torch.zeros(self.size, dtype=torch.int64)
        lens[self.rank] = len(tensor)
        counts = self.sum(lens).tolist()
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        found = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(found, padded)
        return [each[:count] for each, count in zip(found, counts, strict=True)]

    def data_parallel(
        self, net: nn.Module, apart: Iterable[Tensor] = (), some_unused: bool = False
    ) -> nn.Module:
        """Return a network whose gradients are the mean over ranks; it shares its parameters.

        Those `apart` keep the gradients of this rank alone. Say if some may be unused.
        """
        if self.size == 1:
            return net
        if isinstance(net, (nn.DataParallel, DistributedDataParallel)):
            net = net.module  # one process drives one device, and joins the others itself
        apart = list(apart)
        for parameter in apart:
            parameter.requires_grad_(False)
        try:
            return DistributedDataParallel(
                net, gradient_as_bucket_view=True, find_unused_parameters=some_unused
            )
        finally:
            for parameter in apart:
                parameter.requires_grad_(True)


class Agreement:
    """What all ranks have to do after the same step: they ask each other about once a second."""

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self.steps, self.left, self.since = 1, 1, time.monotonic()

    def on(self, wish: bool) -> bool:
        """Return after a step whether a rank has a wish; all ranks call this together.

        They ask each other from time to time only, so a wish must last until then.
        """
        if self.ranks.size == 1:
            return wish
        self.left -= 1
        if self.left:
            return False
        now = time.monotonic()
        steps = round(self.steps * _AGREE_EVERY / max(now - self.since, 1e-9))
        steps = min(max(steps, 1), 2 * self.steps) if self.ranks.rank == 0 else 0
        agreed, self.steps = self.ranks.largest([int(wish), steps])
        self.left, self.since = self.steps, now
        return bool(agreed)


def current_ranks() -> Ranks:
    """Return who this process is among those that it has joined: by itself, if it has not."""
    of_torchrun = _is_of_torchrun()
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size(), of_torchrun)
    return Ranks(of_torchrun=of_torchrun)


def check_joined(ranks: Ranks) -> None:
    """Raise ValueError if torchrun started several processes that have not joined each other."""
    if ranks.of_torchrun and ranks.size == 1 and _is_one_of_several():
        raise ValueError(
            "torchrun started several processes, which know nothing of each other: "
            "put the work into `with d2l.process_group():`"
        )


def check_can_join() -> None:
    """Raise ValueError if this build of torch cannot join several processes."""
    if not dist.is_available():
        raise ValueError(
            "this build of torch has no torch.distributed, which joins several processes: install "
            "a build that has it (pytorch.org), or train in one process, without torchrun"
        )


def _is_of_torchrun() -> bool:
    """Tell whether torchrun started this process; ValueError if it cannot join the others."""
    launched = "TORCHELASTIC_RUN_ID" in os.environ
    if launched or _is_one_of_several():
        check_can_join()
    return launched


def _is_one_of_several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1"


@contextlib.contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did; all but rank 0 are silent inside.

    Raises ConnectionError, an OSError, if another of them has ended, and ValueError if this build
    of torch cannot join them. Bad input and the like, which more than one may meet, is raised in
    the first that tells; the others end without a word.
    """
    if not _is_of_torchrun():
        yield Ranks()
        return
    before = signal.signal(signal.SIGTERM, _end_soon)
    with _lost_processes_named():
        store = _join()
    try:
        with _lost_processes_named(), only_rank_0_speaks():
            if torch.cuda.is_available():
                torch.cuda.set_device(_local_gpu())
            yield current_ranks()
    except (ValueError, OSError, MemoryError) as error:
        if _is_reported(store):
            raise SystemExit(1) from error
        raise
    finally:
        # gloo's threads may still hold a tensor; ending then aborts (pytorch/pytorch#179291)
        time.sleep(_LET_GO)
    dist.destroy_process_group()
    signal.signal(signal.SIGTERM, before)


def _end_soon(number: int, frame: FrameType | None) -> None:
    """End this process, but not before it can say why: torchrun ends what a lost one leaves."""
    timer = threading.Timer(_LAST_WORDS, os._exit, [128 + number])
    timer.daemon = True
    timer.start()


def _join() -> "dist.Store":
    """Join the other processes; return a store that those of this start share."""
    store, number, size = next(dist.rendezvous("env://"))
    # torchrun may keep its store over a restart, and with it where the ended processes listened
    one_machine = os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", 0) if one_machine else "of several"
    shared = dist.PrefixStore(f"start {restarts}", store)
    dist.init_process_group(store=shared, rank=number, world_size=size)
    return dist.PrefixStore(f"time {current_ranks().from_rank_0(time.time_ns())}", store)


@contextlib.contextmanager
def _lost_processes_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not (is_failure(error, "a lost process") or isinstance(error, dist.DistError)):
            raise
        raise ConnectionError(
            "another process of this run has ended, or cannot be reached: start it again; with a "
            "run folder (--run-dir) it goes on from the last checkpoint, with as many processes as "
            "you like"
        ) from error


def _is_reported(store: "dist.Store") -> bool:
    try:
        return store.add("reported", 1) > 1
    except RuntimeError:  # the store ended with the process that kept it
        return False


@contextlib.contextmanager
def only_rank_0_speaks() -> Iterator[None]:
    """Let nothing that other ranks print, or say to stderr, be seen inside this block."""
    with contextlib.ExitStack() as stack:
        if int(os.environ.get("RANK", "0")) > 0 and "TORCHELASTIC_RUN_ID" in os.environ:
            nowhere = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def own_device() -> torch.device:
    """Return the device that this process drives under torchrun."""
    return torch.device("cuda", _local_gpu()) if torch.cuda.is_available() else torch.device("cpu")


def _local_gpu() -> int:
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        raise ValueError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes, but {gpus} GPU(s) here: "
            f"take --nproc-per-node={gpus}, or CUDA_VISIBLE_DEVICES= for the CPU"
        )
    return number
