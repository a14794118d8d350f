"""The rank of this process among several that train one network, and their communication.

torchrun starts one process for each device. They communicate with `torch.distributed`: gloo between
CPUs, nccl between GPUs. A `Ranks` is passed to the code that needs it.
"""

import contextlib
import io
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..devices import kind, known_devices, set_current, try_all_gpus
from .failures import is_failure

Value = TypeVar("Value")
DEVICES = "D2LNLI_DEVICES"
_AGREE_EVERY = 1.0  # seconds
_LAST_WORDS = 3.0  # seconds
_GLOO_WAIT = 0.1  # seconds


class Ranks:
    """The `rank` of this process, and the number of ranks (`size`).

    Rank 0 prints, plots and writes files. A single process is rank 0 of 1; several processes must
    call the methods together. `of_torchrun` is true if torchrun started this process.
    """

    def __init__(self, rank: int = 0, size: int = 1, of_torchrun: bool = False):
        self.rank, self.size, self.of_torchrun = rank, size, of_torchrun

    def names(self, device: torch.device) -> str:
        """Return the devices of all ranks as the book prints them; more than 8 are counted."""
        if self.size > 8:
            return f"{self.size} devices ({device.type})"
        if kind(device) == "cpu" or self.size == 1:
            return str([device] * self.size)
        indices = self.gather(torch.tensor([device.index or 0]))
        return str([torch.device(device.type, int(index)) for index in indices])

    def sum(self, tensor: Tensor) -> Tensor:
        """Replace a tensor with its sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, numbers: list[int]) -> list[int]:
        """Return the elementwise maximum of all ranks' numbers."""
        largest = torch.tensor(numbers)
        if self.size > 1:
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def from_rank_0(self, value: Value) -> Value:
        """Return rank 0's value: numbers, texts, tensors, and lists or dicts of them.

        Unpickling it cannot run code.
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
        """Return the tensors of all ranks, in order; their first dimensions may differ."""
        if self.size == 1:
            return [tensor]
        lens = torch.zeros(self.size, dtype=torch.int64)
        lens[self.rank] = len(tensor)
        counts = self.sum(lens).tolist()
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded)
        return [each[:count] for each, count in zip(gathered, counts, strict=True)]

    def data_parallel(
        self, net: nn.Module, not_averaged: Iterable[Tensor] = (), some_unused: bool = False
    ) -> nn.Module:
        """Return a network with the same parameters, whose gradients are averaged over all ranks.

        Parameters in `not_averaged` keep this rank's gradients; `some_unused` allows unused ones.
        """
        if self.size == 1:
            return net
        if isinstance(net, (nn.DataParallel, DistributedDataParallel)):
            net = net.module  # DistributedDataParallel replaces the wrapper
        not_averaged = list(not_averaged)
        for parameter in not_averaged:
            parameter.requires_grad_(False)
        try:
            return DistributedDataParallel(
                net, gradient_as_bucket_view=True, find_unused_parameters=some_unused
            )
        finally:
            for parameter in not_averaged:
                parameter.requires_grad_(True)


class Agreement:
    """Decisions that all ranks make after the same step, about once a second."""

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self.steps, self.steps_left, self.agreed_at = 1, 1, time.monotonic()

    def on(self, wish: bool) -> bool:
        """Return whether any rank has a wish; all ranks call this after each step.

        Most calls return False without communication, so a wish must last.
        """
        if self.ranks.size == 1:
            return wish
        self.steps_left -= 1
        if self.steps_left:
            return False
        now = time.monotonic()
        steps = round(self.steps * _AGREE_EVERY / max(now - self.agreed_at, 1e-9))
        steps = min(max(steps, 1), 2 * self.steps) if self.ranks.rank == 0 else 0
        agreed, self.steps = self.ranks.largest([int(wish), steps])
        self.steps_left, self.agreed_at = self.steps, now
        return bool(agreed)


def current_ranks() -> Ranks:
    """Return the rank of this process in its process group, or rank 0 of 1 without a group."""
    of_torchrun = _is_of_torchrun()
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size(), of_torchrun)
    return Ranks(of_torchrun=of_torchrun)


def check_joined(ranks: Ranks) -> None:
    """Raise ValueError if torchrun started several processes that have not joined a group."""
    if ranks.of_torchrun and ranks.size == 1 and _is_one_of_several():
        raise ValueError(
            "torchrun started several processes, which are not connected: "
            "put the work inside `with d2l.process_group():`"
        )


def check_can_join() -> None:
    """Raise ValueError if this build of torch cannot connect processes."""
    if not dist.is_available():
        raise ValueError(
            "this build of torch has no torch.distributed, which connects processes: install a "
            "build that has it (pytorch.org), or train in one process, without torchrun"
        )


def _is_of_torchrun() -> bool:
    """Return whether torchrun started this process; ValueError if it cannot join the others."""
    launched = "TORCHELASTIC_RUN_ID" in os.environ
    if launched or _is_one_of_several():
        check_can_join()
    return launched


def _is_one_of_several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1"


@contextlib.contextmanager
def process_group() -> Iterator[Ranks]:
    """Connect the processes that torchrun started, if any; only rank 0 prints inside the block.

    Raises ConnectionError, an OSError, if another process has ended, and ValueError if this build
    of torch cannot connect them. If several processes fail, such as on bad input, only the first
    one raises its error, and the others exit silently.
    """
    if not _is_of_torchrun():
        yield Ranks()
        return
    former_handler = signal.signal(signal.SIGTERM, _exit_soon)
    with _explain_lost_process():
        store = _join()
    try:
        with _explain_lost_process(), only_rank_0_speaks():
            set_current(own_device())
            yield current_ranks()
    except (ValueError, OSError, MemoryError) as error:
        if _already_reported(store):
            raise SystemExit(1) from error
        raise
    finally:
        # if gloo's threads still hold a tensor, the process aborts (pytorch/pytorch#179291)
        time.sleep(_GLOO_WAIT)
    dist.destroy_process_group()
    signal.signal(signal.SIGTERM, former_handler)


def _exit_soon(number: int, frame: FrameType | None) -> None:
    """Exit after a delay, so that this process can report its error before torchrun kills it."""
    timer = threading.Timer(_LAST_WORDS, os._exit, [128 + number])
    timer.daemon = True
    timer.start()


def _join() -> "dist.Store":
    """Join the other processes; return a store that the processes of this start share."""
    store, number, size = next(dist.rendezvous("env://"))
    # after a restart, torchrun's store may still have the addresses of the ended processes
    one_machine = os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", 0) if one_machine else "of several"
    shared = dist.PrefixStore(f"start {restarts}", store)
    dist.init_process_group(store=shared, rank=number, world_size=size)
    return dist.PrefixStore(f"time {current_ranks().from_rank_0(time.time_ns())}", store)


@contextlib.contextmanager
def _explain_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not (is_failure(error, "a lost process") or isinstance(error, dist.DistError)):
            raise
        raise ConnectionError(
            "another process of this run has ended or cannot be reached: start the run again; with "
            "a run folder (--run-dir) it resumes from the last checkpoint, with any number of "
            "processes"
        ) from error


def _already_reported(store: "dist.Store") -> bool:
    try:
        return store.add("reported", 1) > 1
    except RuntimeError:  # the process that kept the store has ended
        return False


@contextlib.contextmanager
def only_rank_0_speaks() -> Iterator[None]:
    """Hide what other ranks print to stdout and stderr inside this block."""
    with contextlib.ExitStack() as stack:
        if int(os.environ.get("RANK", "0")) > 0 and "TORCHELASTIC_RUN_ID" in os.environ:
            devnull = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
            stack.enter_context(contextlib.redirect_stdout(devnull))
            stack.enter_context(contextlib.redirect_stderr(devnull))
        yield


def own_device(devices: Sequence[torch.device | str] | None = None) -> torch.device:
    """Return the device of this process under torchrun; `devices` are those of all on this machine.

    None means the environment variable D2LNLI_DEVICES, such as `cuda:0,cuda:2`, or else all GPUs.
    If the first one is a CPU, it is the CPU.
    """
    named = os.environ.get(DEVICES)
    found = known_devices(devices or (named.split(",") if named else try_all_gpus()))
    if kind(found[0]) == "cpu":
        return found[0]
    number = int(os.environ["LOCAL_RANK"])
    if number >= len(found):
        raise ValueError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes, but {len(found)} GPU(s) on this machine: "
            f"use --nproc-per-node={len(found)}, or set CUDA_VISIBLE_DEVICES= for the CPU"
        )
    return found[number]
