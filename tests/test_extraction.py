"""Archives that nobody should open: refused, with nothing written anywhere."""

import errno
import re
import zipfile
from pathlib import Path

import pytest

import d2lnli as d2l
import seams
from conftest import contents
from seams import extract_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def pack(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (("my/vocab.json", b"[]"), *members):
            file.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


def member(name: str) -> zipfile.ZipInfo:
    """A member under exactly that name, which zipfile would mend."""
    info = zipfile.ZipInfo()
    info.filename = name
    return info


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.parametrize(
    "name",
    [
        "my/../../evil",
        "../evil",
        "my\\..\\..\\evil",
        "..",
        "/tmp/evil",
        "\\\\host\\evil",
        "C:\\evil",
        "c:evil",
    ],
)
def test_a_member_that_leads_out_is_refused_and_nothing_written(folder, name):
    archive = pack(folder / "my.zip", (member(name), b"evil"))
    before = everything(folder.parent)
    with pytest.raises(ValueError, match=rf"my\.zip: .*{re.escape(repr(name))} leads out"):
        extract_folder(archive, folder / "my", "")
    assert everything(folder.parent) == before


def test_the_note_of_the_origin_is_ours(folder):
    archive = pack(folder / "my.zip", ("my/.sha1", b"theirs"))
    extract_folder(archive, folder / "my", "ours")
    assert (folder / "my" / ".sha1").read_text() == "ours"


def test_a_bomb_that_tells_its_size_is_refused(folder):
    seams.archives_are_large_from(2**20)
    pack(folder / "my.zip", ("my/zeros", bytes(2**21)))
    with pytest.raises(ValueError, match=r"2,097,154 bytes.*200 times"):
        extract_folder(folder / "my.zip", folder / "my", "")
    assert contents(folder) == ["my.zip"]


def test_too_little_room_is_seen_before_it_is_filled(folder):
    pack(folder / "my.zip")
    seams.disk_has(free=1)
    with pytest.raises(OSError, match=r"\b2 bytes.*\b1 ") as raised:
        extract_folder(folder / "my.zip", folder / "my", "")
    assert raised.value.errno == errno.ENOSPC


def test_what_a_killed_process_left_is_no_hindrance(folder):
    (folder / ".my.extracting" / "my").mkdir(parents=True)
    (folder / ".my.extracting" / "my" / "half").write_text("")
    extract_folder(pack(folder / "my.zip"), folder / "my", "")
    assert contents(folder) == ["my", "my.zip"]
    assert everything(folder / "my") == {"vocab.json", ".sha1"}


def test_what_lies_beside_the_folder_and_names_that_windows_cannot_write_are_left_out(folder):
    inside = ("my/Icon\r", b""), ("my/b\x07ll", b"")
    pack(folder / "my.zip", *inside, ("__MACOSX/my/._x", b""), ("my.txt", b""))
    extract_folder(folder / "my.zip", folder / "my", "")
    assert everything(folder) == {"my.zip", "my", "my/vocab.json", "my/.sha1"}


def test_a_folder_is_named_not_a_path(folder, monkeypatch):
    address = (pack(folder / "my.zip").as_uri(), None)
    monkeypatch.setitem(d2l.DATA_HUB, "my", address)
    for path in ("../my", "a/b", "/tmp", "..", ".locks", "my.zip", "a\0b"):
        with pytest.raises(ValueError, match=r"folder in the archive"):
            d2l.download_extract("my", path)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_archive_is_refused(folder, damage):
    whole = pack(folder / "my.zip", ("my/params", bytes(range(256)))).read_bytes()
    middle = whole.index(b"my/params") + 60
    changed = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    (folder / "my.zip").write_bytes({"cut": whole[:-30], "changed": changed}[damage])
    with pytest.raises(ValueError, match=r"my\.zip is not a complete zip archive"):
        extract_folder(folder / "my.zip", folder / "my", "")
    assert contents(folder) == ["my.zip"]
