"""Archives: one folder of a zip archive, extracted whole or not at all, and nothing beside it."""

import errno
import shutil
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

_LARGE = 100 * 2**20  # bytes; what is smaller can do no harm, however well it was compressed
_MOST_COMPRESSED = 200  # times; deflate makes text some ten times smaller, and zeros a thousand


def extract_folder(archive: Path, target: Path, origin: str) -> None:
    """Extract the folder `target.name` of an archive; it takes its name once it is whole.

    Only one process may do so at a time. `origin`, the archive's SHA-1, is noted in the folder as
    `.sha1`. Raises ValueError for an archive without that folder, one that is damaged, one that
    would write elsewhere, and one that grows beyond measure.
    """
    new = target.with_name(f".{target.name}.extracting")
    shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(archive) as file:
            for member in _members(archive, file, f"{target.name}/"):
                file.extract(member, new)
        (new / target.name / ".sha1").write_text(origin, encoding="utf-8")
        (new / target.name).rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"{archive} is not a whole zip archive ({error}): delete it") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _members(archive: Path, file: zipfile.ZipFile, folder: str) -> list[zipfile.ZipInfo]:
    """Return the members below a folder, after a look at all names and at the size."""
    for name in file.namelist():
        path = PureWindowsPath(name)  # it knows both slashes, and drives
        if path.anchor or ".." in path.parts:
            raise ValueError(f"{archive}: {name!r} leads out of its folder: do not use the archive")
    members = [
        member
        for member in file.infolist()
        if member.filename.startswith(folder)
        and member.filename.isprintable()  # SNLI's has an `Icon\r`, which Windows cannot write
    ]
    if not members:
        raise ValueError(
            f"{archive} has no folder {folder!r}: it holds {file.namelist()[:5]}. "
            "Name the folder: download_extract(name, folder)"
        )
    size = sum(member.file_size for member in members)
    if size > max(_LARGE, _MOST_COMPRESSED * archive.stat().st_size):
        raise ValueError(
            f"{archive} would grow to {size:,} bytes, more than {_MOST_COMPRESSED} times its own "
            "size: do not use the archive"
        )
    if size > (free := shutil.disk_usage(archive.parent).free):
        raise OSError(errno.ENOSPC, f"{size:,} bytes are needed, {free:,} are free")
    return members
