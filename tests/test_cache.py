"""`python -m d2lnli cache`: what lies in the data folder, and what removes it."""

import re
from pathlib import Path

import filelock
import pytest

import d2lnli as d2l
from conftest import SPECIALS, contents, write_checkpoint, zip_folder
from seams import main

ENTRIES = {
    "my.bert": 2000,
    "my.bert.zip": 1_500_000,
    ".SNLI.zip.part": 30,
    "classifiers/bert.tiny-SNLI": 4000,
    "datasets/snli_1.0_dev-0a1b2c3d": 50_000,
    "hf:org/my-bert": 6_000_000_000,
}


def path_of(name: str, data_dir: Path) -> Path:
    if name.startswith("hf:"):
        return data_dir / "huggingface" / "models--org--my-bert"
    return data_dir / name


@pytest.fixture
def filled(data_dir) -> Path:
    """A data folder with an entry of each kind; a file may be larger than what the disk holds."""
    for name, size in ENTRIES.items():
        path = path_of(name, data_dir)
        if not name.endswith((".zip", ".part")):
            path /= "blobs/weights"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
    snapshot = data_dir / "huggingface" / "models--org--my-bert" / "snapshots"
    snapshot.mkdir()
    (snapshot / "weights").symlink_to("../blobs/weights")  # as the library does; it counts once
    for folder in (data_dir, data_dir / "huggingface"):
        (folder / ".locks").mkdir()
    return data_dir


def listed(capsys) -> dict[str, str]:
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: size for size, name in (line.split(maxsplit=1) for line in lines)}


def test_each_entry_is_listed_with_its_size(filled, capsys):
    assert listed(capsys) == {
        "my.bert": "2.00kB",
        "my.bert.zip": "1.50MB",
        ".SNLI.zip.part": "30.0B",
        "classifiers/bert.tiny-SNLI": "4.00kB",
        "datasets/snli_1.0_dev-0a1b2c3d": "50.0kB",
        "hf:org/my-bert": "6.00GB",
        f"total in {filled}": "6.00GB",
    }


def test_a_data_folder_that_is_not_there_is_empty(data_dir, capsys):
    assert listed(capsys) == {f"total in {data_dir}": "0.00B"}
    assert main(["cache", "--clear", "SNLI"]) == 1
    assert "nothing" in capsys.readouterr().err
    assert not data_dir.exists()


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_removed_and_nothing_else(filled, capsys, name):
    before = listed(capsys)
    assert main(["cache", "--clear", name]) == 0
    assert capsys.readouterr().out == f"removed: {name}\n"
    assert not path_of(name, filled).exists()
    after = listed(capsys)
    total = f"total in {filled}"
    assert before.keys() - after.keys() == {name} and before.keys() >= after.keys()
    assert all(before[other] == after[other] for other in after.keys() - {total})


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../other", "/etc", "classifiers", ".locks", "my.bert/blobs", "no such"]
)
def test_what_is_no_entry_is_refused_with_the_names(filled, capsys, name):
    (filled.parent / "other").mkdir()
    assert main(["cache", "--clear", name]) == 1
    said = capsys.readouterr().err
    assert re.match(rf"error: {re.escape(repr(name))} is not in {filled}", said)
    assert all(entry in said for entry in ENTRIES)
    assert (filled.parent / "other").is_dir()
    assert all(path_of(entry, filled).exists() for entry in ENTRIES)


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("my.bert", ".locks/my.bert.lock"),
        (".SNLI.zip.part", ".locks/SNLI.zip.lock"),
        ("classifiers/bert.tiny-SNLI", "classifiers/bert.tiny-SNLI/.locks/model.safetensors.lock"),
        ("hf:org/my-bert", "huggingface/.locks/models--org--my-bert.lock"),
    ],
)
def test_what_another_process_works_on_is_not_removed(filled, capsys, name, lock):
    (filled / lock).parent.mkdir(exist_ok=True)
    with filelock.FileLock(filled / lock):
        assert main(["cache", "--clear", name]) == 1
    assert re.search(rf"another process.*{filled}", capsys.readouterr().err)
    assert path_of(name, filled).exists()
    assert main(["cache", "--clear", name]) == 0


def test_a_link_is_removed_not_what_it_leads_to(filled):
    (filled / "shared").symlink_to(filled / "my.bert")
    assert main(["cache", "--clear", "shared"]) == 0
    assert not (filled / "shared").exists()
    assert (filled / "my.bert" / "blobs" / "weights").is_file()


def test_a_removed_archive_is_fetched_again(server, tmp_path, data_dir, monkeypatch):
    write_checkpoint(tmp_path / "my.bert", SPECIALS)
    sha1 = zip_folder(tmp_path / "my.bert", server.folder / "my.bert.zip")
    monkeypatch.setitem(d2l.DATA_HUB, "my.bert", (server.url + "my.bert.zip", sha1))
    folder = d2l.download_extract("my.bert")
    for name in contents(data_dir):
        assert main(["cache", "--clear", name]) == 0
    assert contents(data_dir) == []
    assert d2l.download_extract("my.bert") == folder
    assert len(server.requests) == 2
