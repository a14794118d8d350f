"""MXNet's parameter files: equal to MXNet's own outputs, and strict about every number in them."""

import shutil
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import d2lnli as d2l
from conftest import GOLDEN
from layouts import write_mxnet
from seams import is_mxnet, read_mxnet

FOLDER = GOLDEN.parent / "mxnet" / "tiny-4x2"
PARAMS = (FOLDER / "pretrained.params").read_bytes()
FIRST_ARRAY = 24  # after the magic number, the reserved one and the count
FIRST_VALUES = FIRST_ARRAY + 4 + 4 + 4 + 3 * 8 + 3 * 4


def test_outputs_equal_mxnets():
    bert, _ = d2l.load_pretrained_model(FOLDER)
    arrays = np.load(FOLDER / "expected.npz")
    names = ("tokens", "segments", "valid_lens", "pred_positions")
    with torch.no_grad():
        outputs = bert(*(torch.from_numpy(arrays[name]) for name in names))
    for name, output in zip(("encoded", "mlm", "nsp"), outputs, strict=True):
        torch.testing.assert_close(output, torch.from_numpy(arrays[name]), atol=2e-5, rtol=0)


def test_it_is_told_by_its_first_bytes():
    assert is_mxnet(FOLDER / "pretrained.params")
    assert not is_mxnet(GOLDEN / "tiny-4x2" / "pretrained.params")


@pytest.mark.parametrize("magic", [0xF993FAC9, 0xF993FACA])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_is_written_is_read(tmp_path, magic, dtype):
    arrays = {
        "a.weight": np.arange(6, dtype=dtype).reshape(2, 3),
        "ß": np.ones((1, 1, 4), dtype),
    }
    write_mxnet(tmp_path / "x.params", arrays, magic)
    found = read_mxnet(tmp_path / "x.params")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert torch.equal(found[name], torch.from_numpy(array))


def refuse(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "pretrained.params"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)pretrained\.params.*{message}.*fetch it again"):
        read_mxnet(path)


def patched(position: int, layout: str, value: int) -> bytes:
    return (
        PARAMS[:position]
        + struct.pack(layout, value)
        + PARAMS[position + struct.calcsize(layout) :]
    )


@pytest.mark.parametrize(
    ("position", "layout", "value", "message"),
    [
        (0, "<Q", 0x113, "x113"),
        (16, "<Q", 10**9, "1000000000 parts"),
        (16, "<Q", 2**63, "parts"),
        (16, "<Q", 44, "ends"),
        (FIRST_ARRAY, "<I", 0xF993FAC8, "f993fac8"),
        (FIRST_ARRAY + 4, "<i", 1, "sparse"),
        (FIRST_ARRAY + 8, "<i", 0, "0 dimensions"),
        (FIRST_ARRAY + 8, "<i", 2**31 - 1, "2147483647 dimensions"),
        (FIRST_ARRAY + 12, "<q", 0, "shape"),
        (FIRST_ARRAY + 12, "<q", -1, "shape"),
        (FIRST_ARRAY + 12, "<q", 2**62, "ends"),
        (FIRST_VALUES - 4, "<i", 4, "type 4"),
        (FIRST_VALUES - 4, "<i", 99, "type 99"),
    ],
)
def test_a_wrong_number_is_named(tmp_path, position, layout, value, message):
    refuse(tmp_path, patched(position, layout, value), message)


def test_names_must_be_whole_and_different(tmp_path):
    refuse(tmp_path, PARAMS + b"\0", "follows")
    refuse(tmp_path, PARAMS[:-4] + b"\xff\xff\xff\xff", "utf-8")
    one = np.ones((1,), "float32")
    write_mxnet(tmp_path / "x", {"a": one, "b": one})
    content = (tmp_path / "x").read_bytes()
    refuse(tmp_path, content[:-1] + b"a", "2 arrays.*1 different names")
    last_name = struct.pack("<Q", 1) + b"b"
    fewer = content.removesuffix(last_name)
    fewer = fewer[:-17] + struct.pack("<Q", 1) + fewer[-9:]
    refuse(tmp_path, fewer, "2 arrays.*1 different names")


@pytest.mark.parametrize("keep", [8, 15, 16, 23, 24, 40, 70, 100, 5000, 30_000, len(PARAMS) - 1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    refuse(tmp_path, PARAMS[:keep], "ends")


def test_every_truncation_of_a_small_file_is_refused(tmp_path):
    write_mxnet(tmp_path / "x", {"a": np.ones((2, 2), "float32"), "bc": np.ones(3, "float32")})
    content = (tmp_path / "x").read_bytes()
    for keep in range(len(content)):
        refuse(tmp_path, content[:keep], "")


@given(st.integers(0, len(PARAMS) - 1), st.integers(0, 255))
def test_a_wrong_byte_is_refused_or_changes_a_value(tmp_path_factory, position, byte):
    folder = tmp_path_factory.mktemp("mxnet", numbered=True)
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    (folder / "pretrained.params").write_bytes(
        PARAMS[:position] + bytes([byte]) + PARAMS[position + 1 :]
    )
    try:
        bert, _ = d2l.load_pretrained_model(folder)
    except ValueError as error:
        assert "pretrained.params" in str(error) or "vocab.json" in str(error)
    else:
        assert bert.encoder.config.num_hiddens == 16
