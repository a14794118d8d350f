"""Several processes that train one network: who they are, and what they tell each other.

torchrun starts them, one for each device; PyTorch's own engine carries what they say, by gloo
between CPUs and by nccl between GPUs. A process that is alone is rank 0 of 1.
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

Value = TypeVar("Value")
_AGREE_EVERY = 1.0  # seconds
_LAST_WORDS = 3.0  # seconds
_LET_GO = 0.1  # seconds
_LOST = ("gloo/transport", "closed by peer", "reset by peer", "nccl error")


def rank() -> int:
    """Return the number of this process; rank 0 prints, plots and writes."""
    return dist.get_rank() if _has_joined() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if _has_joined() else 1


def _has_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


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
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, if it did; all but rank 0 are silent inside.

    Raises ConnectionError, an OSError, if another of them has ended, and ValueError if this build
    of torch cannot join them. Bad input and the like, which more than one may meet, is raised in
    the first that tells; the others end without a word.
    """
    if not _is_of_torchrun():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end_soon)
    with _lost_ones_told():
        store = _join()
    try:
        with _lost_ones_told(), only_rank_0_speaks():
            if torch.cuda.is_available():
                torch.cuda.set_device(_local_gpu())
            yield
    except (ValueError, OSError, MemoryError) as error:
        if _is_told(store):
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
    alone = os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", 0) if alone else "of several machines"
    shared = dist.PrefixStore(f"start {restarts}", store)
    dist.init_process_group(store=shared, rank=number, world_size=size)
    return dist.PrefixStore(f"time {from_rank_0(time.time_ns())}", store)


@contextlib.contextmanager
def _lost_ones_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        lost = any(words in str(error).lower() for words in _LOST)
        if not (lost or isinstance(error, dist.DistError)):
            raise
        raise ConnectionError(
            "another process of this run has ended, or cannot be reached: start it again; with a "
            "run folder (--run-dir) it goes on from the last checkpoint, with as many processes as "
            "you like"
        ) from error


def _is_told(store: "dist.Store") -> bool:
    try:
        return store.add("told", 1) > 1
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


def under_torchrun() -> bool:
    """Tell whether torchrun started this process; ValueError if it has not joined the others."""
    if not _is_of_torchrun():
        return False
    if not _has_joined() and _is_one_of_several():
        raise ValueError(
            "torchrun started several processes, which know nothing of each other: "
            "put the work into `with d2l.process_group():`"
        )
    return True


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


def all_devices(device: torch.device) -> str:
    """Name the devices of all ranks, as the book prints them; many of them by their number."""
    if world_size() > 8:
        return f"{world_size()} devices ({device.type})"
    if device.type == "cpu":
        return str([device] * world_size())
    index = torch.zeros(world_size(), dtype=torch.int64)
    index[rank()] = device.index or 0
    return str([torch.device(device.type, i) for i in sum_over_ranks(index).tolist()])


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over all ranks, which all call this together."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def from_rank_0(value: Value) -> Value:
    """Return what rank 0 gave, on all ranks: numbers, texts, tensors, and lists or dicts of them.

    Nothing is unpickled that could run code.
    """
    if world_size() == 1:
        return value
    file = io.BytesIO()
    if rank() == 0:
        torch.save(value, file)
    size = sum_over_ranks(torch.tensor(file.tell()))
    content = torch.empty(int(size), dtype=torch.uint8)
    if rank() == 0:
        content.copy_(torch.frombuffer(file.getbuffer(), dtype=torch.uint8))
    dist.broadcast(content, 0)
    return value if rank() == 0 else torch.load(io.BytesIO(content.numpy().data), weights_only=True)


def from_all_ranks(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of all ranks, whose first dimension may differ, in order of rank."""
    if world_size() == 1:
        return [tensor]
    lens = torch.zeros(world_size(), dtype=torch.int64)
    lens[rank()] = len(tensor)
    counts = sum_over_ranks(lens).tolist()
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    found = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(found, padded)
    return [each[:count] for each, count in zip(found, counts, strict=True)]


def data_parallel(
    net: nn.Module, apart: Iterable[Tensor] = (), some_unused: bool = False
) -> nn.Module:
    """Return a network whose gradients are the mean over ranks; it shares its parameters.

    Those `apart` keep the gradients of this rank alone. Say if some may be unused.
    """
    if world_size() == 1:
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

    def __init__(self):
        self.steps, self.left, self.since = 1, 1, time.monotonic()

    def on(self, *wishes: bool) -> list[bool]:
        """Tell after a step, for each wish, whether a rank has it; all call this together.

        A wish is heard when they ask, so it must last until then.
        """
        if world_size() == 1:
            return list(wishes)
        self.left -= 1
        if self.left:
            return [False] * len(wishes)
        now = time.monotonic()
        steps = round(self.steps * _AGREE_EVERY / max(now - self.since, 1e-9))
        told = torch.tensor([*wishes, min(max(steps, 1), 2 * self.steps) if rank() == 0 else 0])
        dist.all_reduce(told, dist.ReduceOp.MAX)
        *agreed, self.steps = told.tolist()
        self.left, self.since = self.steps, now
        return list(map(bool, agreed))
