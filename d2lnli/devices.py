"""Devices and precision: what this machine has, and what it is fast at."""

import functools
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def try_all_gpus() -> list[torch.device]:
    """Return all GPUs, or the CPU if there is none."""
    gpus = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return gpus or [torch.device("cpu")]


def known_devices(devices: Sequence[torch.device | str]) -> list[torch.device]:
    """Return devices by their names, without using them, because use takes memory on each."""
    gpus = torch.cuda.device_count()
    try:
        found = [torch.device(device) for device in devices]
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"devices={devices}: {error}; use try_all_gpus()") from error
    if any(device.type == "cuda" and (device.index or 0) >= gpus for device in found):
        raise ValueError(f"devices={devices}: there are {gpus} GPU(s) here; use try_all_gpus()")
    return found


def first_device(devices: list[torch.device] | None) -> torch.device:
    """Return the first device; a process drives one, so print a note if there are more."""
    devices = known_devices(devices or try_all_gpus())
    try:
        torch.empty(1, device=devices[0])
    except RuntimeError as error:  # a kind of device that this build of torch cannot drive
        reason = str(error).partition("\n")[0]
        raise ValueError(f"devices={devices}: {reason}; use try_all_gpus()") from error
    if len(devices) > 1:
        print(f"{len(devices)} devices given: training on the first, {devices[0]}")
    return devices[0]


def get_dataloader_workers() -> int:
    """Return how many processes load data: up to 4 where they can be forked, else 0.

    Only a forked process knows a dataset class that was written in a notebook.
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
    """Compute in this precision inside the `with` block."""
    # without cuDNN, which plans its attention for every new shape, and that is slow
    kernels = sdpa_kernel(_ATTENTION) if device.type == "cuda" else nullcontext()
    with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"), kernels:
        yield


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make a GPU compute the same numbers each time inside the `with` block; a CPU always does.

    By default, a GPU adds gradients in the order in which they arrive.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings():  # one that concerns much longer inputs
        warnings.filterwarnings("ignore", message="Memory Efficient attention defaults")
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)


@functools.cache
def bf16_speedup(device_type: str) -> float:
    """Return how many times faster a matrix product is in bf16 than in fp32, timed once.

    The processor's flags would not do: an emulated bf16 is slow.
    """
    fp32 = _product_seconds(device_type, torch.float32)
    return fp32 / _product_seconds(device_type, torch.bfloat16)


def _product_seconds(device_type: str, dtype: torch.dtype) -> float:
    """Return the best of five timings of one small matrix product, after a warm-up."""
    A = torch.ones(512, 512, dtype=dtype, device=device_type)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        A @ A
        if device_type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
