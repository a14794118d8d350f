"""The book's archives, of either edition, at their published layout and size, from loopback."""

import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

import d2lnli as d2l
from benchmarks.measure import MEGABYTE, PeakMemory, in_new_process
from benchmarks.memory import WORDS, one_step
from conftest import SPECIALS, contents, zip_folder
from layouts import in_mxnet, write_mxnet
from seams import ARCHITECTURES

FOLDERS = {
    "bert.small": "bert.small.torch",
    "bert.small.mxnet": "bert.small",
    "bert.base": "bert.base.torch",
    "bert.base.mxnet": "bert.base",
}


def publish(name: str, folder: Path) -> None:
    """Write `vocab.json` and `pretrained.params` as the archive of that name holds them."""
    folder.mkdir(parents=True)
    words = SPECIALS + [f"word{i}" for i in range(WORDS - len(SPECIALS))]
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    torch.manual_seed(0)
    params = d2l.BERTModel(WORDS, dropout=0.1, **ARCHITECTURES[name]).state_dict()
    path = folder / "pretrained.params"
    if name.endswith(".mxnet"):
        write_mxnet(path, {in_mxnet(ours): tensor.numpy() for ours, tensor in params.items()})
    else:
        torch.save(params, path, _use_new_zipfile_serialization=False)


def load(name: str, url: str, sha1: str, data_dir: Path) -> tuple[float, d2l.BERTConfig, float]:
    """Download and load; return the peak in MiB, the sizes and a sum over all parameters."""
    d2l.DATA_HUB[name] = (url, sha1)
    os.environ["D2LNLI_DATA_DIR"] = str(data_dir)
    with PeakMemory() as memory:
        bert, vocab = d2l.load_pretrained_model(name)
    assert vocab["word0"] == len(SPECIALS)
    total = sum(parameter.double().sum().item() for parameter in bert.parameters())
    return memory.megabytes, bert.encoder.config, total


@pytest.mark.parametrize("name", FOLDERS)
def test_a_published_archive_loads_in_less_than_twice_its_memory(name, server, tmp_path, data_dir):
    folder = tmp_path / FOLDERS[name]
    in_new_process(publish, name, folder)
    sha1 = zip_folder(folder, server.folder / f"{FOLDERS[name]}.zip", "__MACOSX/._vocab.json")
    url = f"{server.url}{FOLDERS[name]}.zip"
    megabytes, config, total = in_new_process(load, name, url, sha1, data_dir)
    size = (folder / "pretrained.params").stat().st_size / MEGABYTE
    assert size > (100 if "small" in name else 500)
    assert megabytes < 2 * size, f"{megabytes:.0f} MiB for a file of {size:.0f} MiB"
    print(f"{name}: {megabytes:.0f} MiB for a file of {size:.0f} MiB")
    assert {key: getattr(config, key) for key in ARCHITECTURES[name]} == ARCHITECTURES[name]
    torch.manual_seed(0)
    params = d2l.BERTModel(WORDS, dropout=0.1, **ARCHITECTURES[name]).parameters()
    assert total == pytest.approx(sum(p.double().sum().item() for p in params), rel=1e-6)
    loaded = (data_dir / FOLDERS[name] / "pretrained.params").read_bytes()
    assert loaded[:8] == (folder / "pretrained.params").read_bytes()[:8]


@pytest.mark.parametrize("damage", ["cut short", "one byte changed", "an error page"])
def test_a_damaged_archive_is_never_kept(damage, server, tmp_path, monkeypatch, data_dir):
    (tmp_path / "my.bert").mkdir()
    (tmp_path / "my.bert" / "vocab.json").write_text(json.dumps(SPECIALS))
    archive = server.folder / "my.bert.zip"
    sha1 = zip_folder(tmp_path / "my.bert", archive)
    whole = archive.read_bytes()
    archive.write_bytes(
        {
            "cut short": whole[:-30],
            "one byte changed": whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
            "an error page": b"<html>Please log in</html>",
        }[damage]
    )
    monkeypatch.setitem(d2l.DATA_HUB, "my.bert", (server.url + "my.bert.zip", sha1))
    with pytest.raises(ValueError, match=rf"my\.bert.*SHA-1 {sha1}.*by hand"):
        d2l.load_pretrained_model("my.bert")
    assert contents(data_dir) == []
    archive.write_bytes(whole)
    assert zipfile.is_zipfile(d2l.download("my.bert"))


def test_one_step_of_bert_base_fits_in_16_gigabytes():
    whole, _ = in_new_process(one_step, "fp32", None)
    parts, _ = in_new_process(one_step, "fp32", 256)
    print(f"{whole:.0f} MiB, in parts {parts:.0f} MiB")
    assert parts < whole < 16 * 1024
