"""Archives: one folder of a zip archive, extracted whole or not at all, and nothing beside it."""

import errno
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

_LARGE = 100 * 2**20  # bytes; what is smaller can do no harm, however well it was compressed
_MOST_COMPRESSED = 200  # times; deflate makes text some ten times smaller, and zeros a thousand
_LONGEST = 255  # bytes of a name that a disk can hold
_ORIGIN = ".sha1"
_NESTED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
)


def extract_folder(archive: Path, target: Path, origin: str) -> None:
    """Extract the folder `target.name` of an archive; it takes its name once it is whole.

    Only one process may do so at a time. `origin` is noted in the folder, as `.sha1`. Members whose
    names other systems cannot write are left out. Raises ValueError for an archive without that
    folder, one that is damaged, and one that a careful reader would not open.
    """
    new = target.with_name(f".{target.name}.extracting")
    shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(archive) as file:
            members = _members(archive, file, target.name)
            for member in members:
                file.extract(member, new)
        (new / target.name / _ORIGIN).write_text(origin, encoding="utf-8")
        (new / target.name).rename(target)
    except _DAMAGED as error:
        raise ValueError(f"{archive} is not a whole zip archive ({error}): delete it") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # it points to a place before its own beginning
            raise ValueError(f"{archive} is not a whole zip archive: delete it") from error
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _members(archive: Path, file: zipfile.ZipFile, folder: str) -> list[zipfile.ZipInfo]:
    """Return the members below a folder, after a look at all of them."""
    for member in file.infolist():
        if reason := _danger(member):
            raise ValueError(
                f"{archive}: refused, for its member {member.filename!r} {reason}. Nothing was "
                "extracted: get the archive from whoever publishes it"
            )
    inside = folder + "/"
    members = [
        member
        for member in file.infolist()
        if member.filename.startswith(inside)
        and member.filename.isprintable()
        and PurePosixPath(member.filename).name != _ORIGIN
    ]
    if not members:
        raise ValueError(
            f"{archive} has no folder {inside!r}: it holds {file.namelist()[:5]}. "
            "Name the folder: download_extract(name, folder)"
        )
    files = {member.filename for member in members if not member.is_dir()}
    for name in files:
        if any(str(parent) in files for parent in PurePosixPath(name).parents):
            raise ValueError(f"{archive}: refused, for {name!r} lies in what is a file too")
    size = sum(member.file_size for member in members)
    if size > max(_LARGE, _MOST_COMPRESSED * archive.stat().st_size):
        raise ValueError(
            f"{archive}: refused, for it would grow to {size:,} bytes, more than "
            f"{_MOST_COMPRESSED} times its own size. Nothing was extracted"
        )
    if size > (free := shutil.disk_usage(archive.parent).free):
        raise OSError(errno.ENOSPC, f"{size:,} bytes are needed, {free:,} are free")
    return members


def _danger(member: zipfile.ZipInfo) -> str | None:
    """Return why a member cannot be trusted, None if it can."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    if re.match(r"[/\\]|[A-Za-z]:", name):
        return "has an absolute name"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of its folder"
    if any(len(part.encode("utf-8", "replace")) > _LONGEST for part in name.split("/")):
        return "has too long a name"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 1:
        return "is encrypted"
    if name.lower().endswith(_NESTED):
        return "is an archive itself"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way"
    return None
