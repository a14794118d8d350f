"""Devices and precision: what this machine has, and what it is fast at."""

import functools
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

PRECISIONS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""In tf32, NVIDIA's GPUs round the factors of matrix products to 10 bits after the point."""
# cuBLAS reads this at a process's first product; without it, sums may differ from run to run
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def kind(device: torch.device) -> str:
    """Return the kind of a device: 'cpu', 'cuda' (also AMD's GPUs), 'mps' (Apple's), 'xpu', ….

    Everything that depends on a device asks here, so a test can let a CPU pass for a GPU.
    """
    return device.type


def try_all_gpus() -> list[torch.device]:
    """Return all GPUs that torch can use, NVIDIA's, AMD's, Apple's or Intel's, or else the CPU."""
    if not torch.accelerator.is_available():
        return [torch.device("cpu")]
    gpu: Any = torch.accelerator.current_accelerator()
    return [torch.device(gpu.type, i) for i in range(torch.accelerator.device_count())]


def known_devices(devices: Sequence[torch.device | str]) -> list[torch.device]:
    """Return devices by their names, without using them, because use takes memory on each."""
    gpus = [device for device in try_all_gpus() if device.type != "cpu"]
    try:
        found = [torch.device(device) for device in devices]
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"devices={devices}: {error}; use try_all_gpus()") from error
    known = ["cpu", "meta", *(gpu.type for gpu in gpus[:1])]
    numbers = [device.index or 0 for device in found if device.type not in ("cpu", "meta")]
    if any(device.type not in known for device in found) or any(n >= len(gpus) for n in numbers):
        raise ValueError(
            f"devices={devices}: there are {len(gpus)} GPU(s) here; use try_all_gpus()"
        )
    return found


def first_device(devices: Sequence[torch.device | str] | None) -> torch.device:
    """Return the first device; a process drives one, so print a note if there are more."""
    found = known_devices(devices or try_all_gpus())
    try:
        torch.empty(1, device=found[0])
    except RuntimeError as error:  # another process may have it for itself
        reason = str(error).partition("\n")[0]
        raise ValueError(f"devices={devices}: {reason}; use try_all_gpus()") from error
    if len(found) > 1:
        print(f"{len(found)} devices given: training on the first, {found[0]}")
    return found[0]


def set_current(device: torch.device) -> None:
    """Make a GPU the one that is used where none is named, if this machine can have several."""
    if kind(device) in ("cuda", "xpu"):
        torch.get_device_module(kind(device)).set_device(device)


def name_of(device: torch.device) -> str:
    """Return the maker's name of a GPU, or the kind of a device that has none."""
    name = getattr(torch.get_device_module(kind(device)), "get_device_name", None)
    return name(device) if name else kind(device)


def get_dataloader_workers() -> int:
    """Return how many processes load data: up to 4 where they can be forked, else 0.

    Only a forked process knows a dataset class that was written in a notebook.
    """
    default = multiprocessing.get_all_start_methods()[0]
    method = multiprocessing.get_start_method(allow_none=True) or default
    return min(4, os.cpu_count() or 1) if method == "fork" else 0


def choose_precision(precision: str, device: torch.device) -> str:
    """Return 'fp32', 'tf32', 'bf16' or 'fp16'; 'auto' is bf16 where this hardware is fast in it."""
    if precision == "auto":
        return "bf16" if is_fast_in("bf16", device) else "fp32"
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: use auto, {', '.join(PRECISIONS)}")
    if precision == "tf32" and not is_fast_in("tf32", device):
        raise ValueError(
            f"precision='tf32': only NVIDIA's GPUs since Ampere (2020) have it, not {device}: use "
            "fp32"
        )
    if precision == "fp16" and kind(device) == "mps":
        raise ValueError(
            f"precision='fp16': its scaling needs float64, which {device} lacks: use fp32 or bf16"
        )
    return precision


def is_fast_in(precision: str, device: torch.device) -> bool:
    """Return whether a device computes in a precision by itself, at a speed that is worth it.

    A CPU is timed, because its flags also promise a bf16 that is slow. A GPU is asked: a product
    that is quickly timed would mostly time its launch. Apple's GPUs cannot be asked about bf16.
    """
    if precision == "fp32":
        return True
    if kind(device) == "cpu":
        return precision == "bf16" and bf16_speedup() > 1.2
    if kind(device) == "cuda":
        is_amds = torch.version.hip is not None
        since_ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        return {
            "fp16": True,
            "bf16": is_amds or since_ampere,
            "tf32": since_ampere and not is_amds,
        }.get(precision, False)
    asks = getattr(torch.get_device_module(kind(device)), "is_bf16_supported", lambda **_: False)
    if precision == "fp16":
        return kind(device) != "mps"
    return precision == "bf16" and asks(including_emulation=False)


@functools.cache
def bf16_speedup() -> float:
    """Return how many times faster a CPU's matrix product is in bf16 than in fp32, timed once."""
    return _product_seconds(torch.float32) / _product_seconds(torch.bfloat16)


def _product_seconds(dtype: torch.dtype) -> float:
    """Return the best of five timings of one small matrix product, after a warm-up."""
    A = torch.ones(512, 512, dtype=dtype)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        A @ A
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in this precision inside the `with` block."""
    # without cuDNN, which plans its attention for every new shape, and that is slow
    kernels = sdpa_kernel(_ATTENTION) if kind(device) == "cuda" else nullcontext()
    dtype = PRECISIONS[precision] if PRECISIONS[precision] != torch.float32 else None
    with torch.autocast(device.type, dtype, enabled=dtype is not None), kernels:
        yield


@contextmanager
def tf32_as_asked(precision: str, device: torch.device) -> Iterator[None]:
    """Let a GPU multiply fp32 matrices in TF32 inside the `with` block if this is the precision.

    Otherwise it does not, whatever is set elsewhere. Unlike `autocast`, this holds for backward
    passes too.
    """
    if kind(device) != "cuda":
        yield
        return
    products: Any = torch.backends.cuda.matmul
    try:
        before, newer = torch.get_float32_matmul_precision(), None
    except RuntimeError:  # somebody used torch's newer setting, and torch refuses the older one
        before, newer = "highest", products.fp32_precision
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        if newer:
            products.fp32_precision = newer


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make a GPU compute the same numbers each time inside the `with` block; a CPU always does.

    By default, a GPU adds gradients in the order in which they arrive.
    """
    if kind(device) != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic  # it fills new tensors, which takes time
    filled = debugging.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    debugging.fill_uninitialized_memory = False
    with warnings.catch_warnings():
        # `strictly_reproducible` takes care of this where it can
        warnings.filterwarnings("ignore", message="Memory Efficient attention defaults")
        # cuBLAS looked for its setting before it was made; on one stream it does not need it
        warnings.filterwarnings("ignore", message="Deterministic behavior was enabled")
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)
            debugging.fill_uninitialized_memory = filled


@contextmanager
def strictly_reproducible(device: torch.device) -> Iterator[None]:
    """Inside `reproducible`, let torch use only operators that are reproducible, or raise.

    Otherwise, the fused attention adds up some gradients of longer inputs as they arrive. This is
    for networks that are known to have only reproducible operators.
    """
    torch.use_deterministic_algorithms(True)
    try:
        torch.ones(1, 1, device=device).mm(torch.ones(1, 1, device=device))
    except RuntimeError:  # cuBLAS was used before its setting was made
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


def random_states(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the random states of the CPU and of a device; the latter is empty for the CPU."""
    if kind(device) == "cpu":
        return torch.get_rng_state(), torch.empty(0, dtype=torch.uint8)
    return torch.get_rng_state(), torch.get_device_module(kind(device)).get_rng_state(device)


def set_random_states(device: torch.device, states: tuple[Tensor, Tensor]) -> None:
    """Go back to what `random_states` returned; a state of another kind of GPU has no effect."""
    torch.set_rng_state(states[0])
    if states[1].shape == random_states(device)[1].shape != (0,):
        torch.get_device_module(kind(device)).set_rng_state(states[1], device)


@contextmanager
def forked_random_states(device: torch.device) -> Iterator[None]:
    """Go back to the random states of before at the end of the `with` block."""
    before = random_states(device)
    try:
        yield
    finally:
        set_random_states(device, before)


def copies_without_wait(device: torch.device) -> bool:
    """Return whether a copy to a device may go on while Python does, without harm.

    Apple's GPUs would read the memory of a tensor that is gone (pytorch/pytorch#189690).
    """
    return kind(device) == "cuda"


def dtype_of_sums(device: torch.device) -> torch.dtype:
    """Return the type in which to add up many numbers: float64, which Apple's GPUs lack."""
    return torch.float32 if kind(device) == "mps" else torch.float64
