"""Read MXNet's parameter file without MXNet, which is retired.

All numbers are little-endian. The file contains (`NDArray::Save` in MXNet's ndarray.cc):
- a magic number, a reserved number, and the number of arrays (uint64 each);
- for each array: a magic number (uint32), storage, number of dimensions (int32 each), each
  dimension (int64), device (two int32), type (int32), values;
- the number of names (uint64); for each name: its length (uint64), its bytes.
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
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # with and without NumPy's meaning of empty shapes
_DENSE = 0
_MAX_DIMENSIONS = 32
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2"}


def is_mxnet(path: Path) -> bool:
    """Return whether a parameter file is MXNet's, from its first bytes."""
    with path.open("rb") as file:
        return file.read(8) == struct.pack("<Q", _MAGIC)


def read_mxnet(path: Path) -> dict[str, Tensor]:
    """Read the named arrays from a file that MXNet's `save_parameters` wrote."""
    try:
        with path.open("rb") as file:
            magic, _ = _read_numbers(file, "<QQ")
            if magic != _MAGIC:
                raise ValueError(f"it begins with {magic:#x}, not {_MAGIC:#x}")
            arrays = [_read_array(file) for _ in range(_read_count(file, 32))]
            names = [
                _read(file, _read_count(file, 1)).decode() for _ in range(_read_count(file, 8))
            ]
            if _bytes_left(file):
                raise ValueError("extra data follows the last name")
            if len(names) != len(arrays) or len(set(names)) != len(arrays):
                raise ValueError(f"{len(arrays)} arrays have {len(set(names))} different names")
    except ValueError as error:
        raise ValueError(
            f"{path} is not a complete MXNet parameter file ({error}): fetch it again"
        ) from error
    return dict(zip(names, arrays, strict=True))


def _read_array(file: BinaryIO) -> Tensor:
    magic, storage, num_dimensions = _read_numbers(file, "<Iii")
    if magic not in _ARRAY_MAGICS:
        raise ValueError(f"an array begins with {magic:#x}, which MXNet 1.0 and later do not write")
    if storage != _DENSE:
        raise ValueError(f"an array is stored sparsely (storage type {storage})")
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        raise ValueError(f"an array has {num_dimensions} dimensions")
    shape = _read_numbers(file, f"<{num_dimensions}q")
    _, _, type_number = _read_numbers(file, "<iii")
    if min(shape) < 1:
        raise ValueError(f"an array has the shape {shape}")
    if type_number not in _TYPES:
        raise ValueError(f"an array has the type {type_number}, which is not a floating-point type")
    dtype, size = np.dtype(_TYPES[type_number]), math.prod(shape)
    if size * dtype.itemsize > _bytes_left(file):
        raise ValueError(f"it ends inside an array of shape {shape}")
    return torch.from_numpy(np.fromfile(file, dtype, size).reshape(shape))


def _read_count(file: BinaryIO, bytes_per_part: int) -> int:
    """Read how many parts follow; check that the file is long enough for them."""
    (count,) = _read_numbers(file, "<Q")
    if count * bytes_per_part > _bytes_left(file):
        raise ValueError(f"it ends before the {count} parts that it should contain")
    return count


def _read_numbers(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, _read(file, struct.calcsize(layout)))


def _read(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise ValueError("it ends too early")
    return content


def _bytes_left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()
