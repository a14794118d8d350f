"""Archives: extract one folder of a zip archive, completely or not at all."""

import errno
import shutil
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

_LARGE = 100 * 2**20  # bytes; a smaller result is harmless at any compression ratio
_MAX_EXPANSION = 200  # times; deflate shrinks text about 10 times, zeros 1,000 times


def extract_folder(archive: Path, target: Path, origin: str, folder: str = "") -> None:
    """Extract a folder of an archive to `target`, which appears once it is complete.

    The folder is called `target.name`, unless another name is given. Only one process at a time may
    do this. The file `.sha1` in the folder records `origin`, the archive's SHA-1. Raises ValueError
    if the archive lacks that folder, is damaged, would write elsewhere, or would expand too much.
    """
    temporary = target.with_name(f".{target.name}.extracting")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
    try:
        with zipfile.ZipFile(archive) as file:
            for member in _members(archive, file, f"{folder or target.name}/"):
                file.extract(member, temporary)
        whole = temporary / (folder or target.name)
        (whole / ".sha1").write_text(origin, encoding="utf-8")
        whole.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"{archive} is not a complete zip archive ({error}): delete it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(archive: Path, file: zipfile.ZipFile, folder: str) -> list[zipfile.ZipInfo]:
    """Return the members below a folder, after checking all names and the total size."""
    for name in file.namelist():
        path = PureWindowsPath(name)  # understands both kinds of slashes, and drives
        if path.anchor or ".." in path.parts:
            raise ValueError(f"{archive}: {name!r} leads out of the folder: do not use the archive")
    members = [
        member
        for member in file.infolist()
        if member.filename.startswith(folder)
        and member.filename.isprintable()  # SNLI's archive has `Icon\r`, which Windows cannot write
    ]
    if not members:
        raise ValueError(
            f"{archive} has no folder {folder!r}, only {file.namelist()[:5]}: "
            "name its folder in download_extract(name, folder)"
        )
    size = sum(member.file_size for member in members)
    if size > max(_LARGE, _MAX_EXPANSION * archive.stat().st_size):
        raise ValueError(
            f"{archive} would expand to {size:,} bytes, more than {_MAX_EXPANSION} times its "
            "own size: do not use this archive"
        )
    if size > (free := shutil.disk_usage(archive.parent).free):
        raise OSError(errno.ENOSPC, f"{size:,} bytes needed, {free:,} free")
    return members
