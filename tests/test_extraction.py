"""Archives that nobody should open: refused, with nothing written anywhere."""

import errno
import io
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import d2lnli as d2l
import seams
from conftest import contents, few_or_many
from seams import extract_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def pack(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in (("my/vocab.json", b"[]"), *members):
            file.writestr(name, content, method)
    return path


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    """A member under exactly that name, which zipfile would mend."""
    info = zipfile.ZipInfo()
    info.filename, info.external_attr = name, mode << 16
    return info


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("my/../../evil", 0, "leads out"),
        ("../evil", 0, "leads out"),
        ("my\\..\\..\\evil", 0, "leads out"),
        ("..", 0, "leads out"),
        ("/tmp/evil", 0, "absolute"),
        ("\\\\host\\evil", 0, "absolute"),
        ("C:\\evil", 0, "absolute"),
        ("c:evil", 0, "absolute"),
        ("my/link", stat.S_IFLNK | 0o777, "link"),
        ("my/fifo", stat.S_IFIFO | 0o666, "link"),
        ("my/device", stat.S_IFCHR | 0o666, "link"),
        ("my/" + "x" * 300, 0, "long"),
        ("my/more.zip", 0, "archive"),
        ("my/more.TAR.GZ", 0, "archive"),
    ],
)
def test_a_dangerous_member_is_refused_and_nothing_written(folder, name, mode, reason):
    archive = pack(folder / "my.zip", (member(name, mode), b"/etc/passwd"))
    before = everything(folder.parent)
    with pytest.raises(ValueError, match=rf"my\.zip: .*member.*{reason}"):
        extract_folder(archive, folder / "my", "")
    assert everything(folder.parent) == before


def test_a_file_that_is_a_folder_too_is_refused(folder):
    archive = pack(folder / "my.zip", ("my/a", b""), ("my/a/b", b""))
    with pytest.raises(ValueError, match=r"'my/a/b'.*file"):
        extract_folder(archive, folder / "my", "")
    assert contents(folder) == ["my.zip"]


def test_the_note_of_the_origin_is_ours(folder):
    archive = pack(folder / "my.zip", ("my/.sha1", b"theirs"), ("my/sub/.sha1", b"theirs"))
    extract_folder(archive, folder / "my", "ours")
    assert (folder / "my" / ".sha1").read_text() == "ours"


def test_an_encrypted_archive_is_refused(folder):
    whole = bytearray(pack(folder / "my.zip").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(signature) + offset] |= 1
    (folder / "my.zip").write_bytes(whole)
    with pytest.raises(ValueError, match=r"'my/vocab\.json'.*encrypted"):
        extract_folder(folder / "my.zip", folder / "my", "")
    assert contents(folder) == ["my.zip"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_may_grow_without_bound_are_refused(folder, method):
    pack(folder / "my.zip", method=method)
    with pytest.raises(ValueError, match=r"my\.zip.*compressed"):
        extract_folder(folder / "my.zip", folder / "my", "")


def test_a_bomb_that_tells_its_size_is_refused(folder):
    seams.archives_are_large_from(2**20)
    pack(folder / "my.zip", ("my/zeros", bytes(2**21)))
    with pytest.raises(ValueError, match=r"2,097,154 bytes.*200 times"):
        extract_folder(folder / "my.zip", folder / "my", "")
    assert contents(folder) == ["my.zip"]


@pytest.mark.parametrize("declared", [10, 2**20])
def test_a_bomb_that_hides_its_size_writes_no_more_than_it_tells(folder, declared, monkeypatch):
    pack(folder / "my.zip", ("my/zeros", bytes(2**24)))
    whole = bytearray((folder / "my.zip").read_bytes())
    for place in range(len(whole) - 4):
        if whole[place : place + 4] == struct.pack("<I", 2**24):
            whole[place : place + 4] = struct.pack("<I", declared)
    (folder / "my.zip").write_bytes(whole)
    sizes, rmtree = [], shutil.rmtree

    def look_and_remove(path, **options):
        sizes.extend(file.stat().st_size for file in Path(path).rglob("zeros"))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", look_and_remove)
    with pytest.raises(ValueError, match=r"my\.zip.*zip archive"):
        extract_folder(folder / "my.zip", folder / "my", "")
    assert sizes and max(sizes) <= declared
    assert contents(folder) == ["my.zip"]


def test_a_real_bomb_of_overlapping_members_is_refused(folder):
    seams.archives_are_large_from(2**20)
    kernel = io.BytesIO()
    with zipfile.ZipFile(kernel, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("my/a", bytes(2**19))
    whole = kernel.getvalue()
    start = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entries = whole[start:end] * 50  # fifty names for one stream
    tail = bytearray(whole[end:])
    tail[8:12] = struct.pack("<HH", 50, 50)
    tail[12:16] = struct.pack("<I", len(entries))
    (folder / "my.zip").write_bytes(whole[:start] + entries + bytes(tail))
    with pytest.raises(ValueError, match=r"26,214,400 bytes|zip archive"):
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


def test_names_that_other_systems_cannot_write_are_left_out(folder):
    pack(folder / "my.zip", ("my/Icon\r", b""), ("my/b\x07ll", b""), ("__MACOSX/my/._x", b""))
    extract_folder(folder / "my.zip", folder / "my", "")
    assert everything(folder / "my") == {"vocab.json", ".sha1"}


def test_a_folder_is_named_not_a_path(folder, monkeypatch):
    address = (pack(folder / "my.zip").as_uri(), None)
    monkeypatch.setitem(d2l.DATA_HUB, "my", address)
    for path in ("../my", "a/b", "/tmp", "..", ".locks", "my.zip", "a\0b"):
        with pytest.raises(ValueError, match=r"folder in the archive"):
            d2l.download_extract("my", path)


@few_or_many("cases", 200, 10_000)
def test_a_damaged_archive_is_refused_or_whole(folder, cases):
    whole = pack(folder / "my.zip", ("my/params", bytes(range(256)) * 8)).read_bytes()
    target = folder / "my"

    @settings(
        max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=4)),
                    min_size=1, max_size=4), st.integers(1, len(whole)))  # fmt: skip
    def damage(changes, length):
        content = bytearray(whole)
        for place, new in changes:
            content[place : place + len(new)] = new
        (folder / "my.zip").write_bytes(content[: max(length, len(whole) // 2)])
        try:
            extract_folder(folder / "my.zip", target, "")
        except (ValueError, OSError) as error:
            assert type(error) is ValueError and "my.zip" in str(error), repr(error)
            assert contents(folder) == ["my.zip"]
        else:
            assert contents(folder) == ["my", "my.zip"]
            shutil.rmtree(target)
        assert contents(folder.parent) == ["data"]

    damage()
