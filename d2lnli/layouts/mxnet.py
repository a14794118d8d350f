"""MXNet's parameter file, read without MXNet, which is retired.

All numbers are little-endian. A magic number and a reserved one (uint64 each); the number of arrays
(uint64), and for each a magic number (uint32), the kind of storage (int32), the number of
dimensions (int32), each dimension (int64), the device (two int32), the type (int32), the values;
the number of names (uint64), and for each its length (uint64) and its bytes. So MXNet's own source
writes it: `NDArray::Save` in src/ndarray/ndarray.cc.
"""

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

_MAGIC = 0x112
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # with and without numpy's reading of empty shapes
_DENSE = 0
_MOST_DIMENSIONS = 32
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2"}


def is_mxnet(path: Path) -> bool:
    """Tell by its first bytes whether a file of parameters is MXNet's."""
    with path.open("rb") as file:
        return file.read(8) == struct.pack("<Q", _MAGIC)


def read_mxnet(path: Path) -> dict[str, Tensor]:
    """Read the named arrays of a file that MXNet's `save_parameters` wrote."""
    try:
        with path.open("rb") as file:
            magic, _ = _numbers(file, "<QQ")
            if magic != _MAGIC:
                raise ValueError(f"it begins with {magic:#x}, not {_MAGIC:#x}")
            arrays = [_array(file) for _ in range(_count(file, 32))]
            names = [_take(file, _count(file, 1)).decode() for _ in range(_count(file, 8))]
            if _rest(file):
                raise ValueError("something follows the last name")
            if len(names) != len(arrays) or len(set(names)) != len(arrays):
                raise ValueError(f"{len(arrays)} arrays have {len(set(names))} different names")
    except ValueError as error:
        raise ValueError(
            f"{path} is not a whole parameter file of MXNet's ({error}): fetch it again"
        ) from error
    return dict(zip(names, arrays, strict=True))


def _array(file: BinaryIO) -> Tensor:
    magic, storage, num_dimensions = _numbers(file, "<Iii")
    if magic not in _ARRAY_MAGICS:
        raise ValueError(f"an array begins with {magic:#x}, which no version from 1.0 on writes")
    if storage != _DENSE:
        raise ValueError(f"an array is stored sparsely (storage type {storage})")
    if not 1 <= num_dimensions <= _MOST_DIMENSIONS:
        raise ValueError(f"an array has {num_dimensions} dimensions")
    shape = _numbers(file, f"<{num_dimensions}q")
    _, _, type_number = _numbers(file, "<iii")
    if min(shape) < 1:
        raise ValueError(f"an array has the shape {shape}")
    if type_number not in _TYPES:
        raise ValueError(f"an array has type {type_number}, which is no floating-point number")
    dtype, size = np.dtype(_TYPES[type_number]), math.prod(shape)
    if size * dtype.itemsize > _rest(file):
        raise ValueError(f"it ends within an array of shape {shape}")
    return torch.from_numpy(np.fromfile(file, dtype, size).reshape(shape))


def _count(file: BinaryIO, least_bytes: int) -> int:
    """Read how many things of at least so many bytes follow, and check that they can."""
    (count,) = _numbers(file, "<Q")
    if count * least_bytes > _rest(file):
        raise ValueError(f"it ends before the {count} parts that it announces")
    return count


def _numbers(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, _take(file, struct.calcsize(layout)))


def _take(file: BinaryIO, size: int) -> bytes:
    taken = file.read(size)
    if len(taken) < size:
        raise ValueError("it ends too early")
    return taken


def _rest(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()
