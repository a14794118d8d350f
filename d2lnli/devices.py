"""Devices and precision: what this machine has, and what it is fast at."""

import functools
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_FAILURES = {
    "no memory": ("out of memory", "allocate memory", "not enough memory", "alloc_failed"),
    "a lost process": ("gloo/transport", "closed by peer", "reset by peer", "nccl error"),
}
"""What torch says of failures for which it has no error of their own; the only such list."""


def try_all_gpus() -> list[torch.device]:
    """Return all GPUs, or the CPU if there is none."""
    gpus = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return gpus or [torch.device("cpu")]


def known_devices(devices: Sequence[torch.device | str]) -> list[torch.device]:
    """Return devices by their names; they are not touched, for that would take memory of each."""
    gpus = torch.cuda.device_count()
    try:
        found = [torch.device(device) for device in devices]
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"devices={devices}: {error}; take try_all_gpus()") from error
    if any(device.type == "cuda" and (device.index or 0) >= gpus for device in found):
        raise ValueError(f"devices={devices}: there are {gpus} GPU(s) here; take try_all_gpus()")
    return found


def first_device(devices: list[torch.device] | None) -> torch.device:
    """Return the device to use: one process drives one, so say so if there are more."""
    devices = known_devices(devices or try_all_gpus())
    try:
        torch.empty(1, device=devices[0])
    except RuntimeError as error:  # a kind of device that this build of torch cannot drive
        reason = str(error).partition("\n")[0]
        raise ValueError(f"devices={devices}: {reason}; take try_all_gpus()") from error
    if len(devices) > 1:
        print(f"{len(devices)} devices given: training on the first, {devices[0]}")
    return devices[0]


def get_dataloader_workers() -> int:
    """Return how many processes load data: up to 4 where they can be forked, else none.

    A dataset class written in a notebook cannot be sent to a process that is not forked.
    """
    default = multiprocessing.get_all_start_methods()[0]
    method = multiprocessing.get_start_method(allow_none=True) or default
    return min(4, os.cpu_count() or 1) if method == "fork" else 0


def choose_precision(precision: str, device: torch.device) -> str:
    """Return 'fp32', 'bf16' or 'fp16'; 'auto' is bf16 where this hardware is faster with it."""
    if precision == "auto":
        return "bf16" if bf16_speedup(device.type) > 1.2 else "fp32"
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: use auto, {', '.join(PRECISIONS)}")
    return precision


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Let a network compute in this precision inside the `with` block."""
    # cuDNN would plan its attention anew for every shape, which takes longer than many steps
    kernels = sdpa_kernel(_ATTENTION) if device.type == "cuda" else nullcontext()
    with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"), kernels:
        yield


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make a GPU compute the same numbers each time inside the `with` block; a CPU does anyway.

    By default a GPU adds gradients in whatever order they arrive.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings():  # over a few hundred keys, attention has nothing to split
        warnings.filterwarnings("ignore", message="Memory Efficient attention defaults")
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)


@functools.cache
def bf16_speedup(device_type: str) -> float:
    """Return how many times faster a matrix product is in bf16 than in fp32, timed once.

    Processor flags are no guide: under emulation they promise what is slow.
    """
    fp32 = _product_seconds(device_type, torch.float32)
    return fp32 / _product_seconds(device_type, torch.bfloat16)


def _product_seconds(device_type: str, dtype: torch.dtype) -> float:
    """Best of five timings of one small matrix product, after a warm-up."""
    A = torch.ones(512, 512, dtype=dtype, device=device_type)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        A @ A
        if device_type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def is_failure(error: Exception, kind: str) -> bool:
    """Tell by its words whether an error is of a kind: 'no memory' or 'a lost process'."""
    return any(words in str(error).lower() for words in _FAILURES[kind])


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether a device or the machine has no memory left."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or is_failure(error, "no memory")


@contextmanager
def memory_advice(device: torch.device, num_pairs: int = 0, more: str = "") -> Iterator[None]:
    """Raise MemoryError that says what to take if memory runs out in a pass of so many pairs.

    What the failed pass held is let go, so that a smaller one finds room.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        advised = isinstance(error, MemoryError) and "out of memory" in str(error)
        if advised or not is_out_of_memory(error):  # a launched run, waited for, may have advised
            raise
        traceback.clear_frames(error.__traceback__)
        where = f" with a minibatch of {num_pairs}" if num_pairs else ""
        way = f"batch_size={num_pairs // 2} or less" if num_pairs > 1 else "a smaller model"
        raise MemoryError(f"out of memory{where} on {device}: take {way}{more}") from error
