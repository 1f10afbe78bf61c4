"""Archives of strangers, unpacked so that nothing lands outside the folder or fills the disk.

The whole listing is looked at before the first byte is written: one entry that would escape, a link
or sizes beyond the caps, and nothing of the archive is unpacked.
"""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tqdm.auto import tqdm

from gfla.data.staging import Staging

MOST_BYTES = 100 * 2**30  # of all files together; the largest of the sets has a tenth
MOST_FILES = 2_000_000
_CHUNK = 1 << 20
_PASSWORD = (
    "is encrypted. The authors of DeepFashion give the password of img_highres.zip by mail to "
    "those who sent in the signed agreement form of the data set's page (data/README.md has it): "
    "put it in a file and pass --password-file FILE, or unpack with 7-Zip, which is much faster"
)


class Entry(NamedTuple):
    """One file of an archive."""

    name: str
    bytes: int
    read: Callable[[], BinaryIO]  # opens it


class Unpacked(NamedTuple):
    """What became of an archive."""

    written: int
    skipped: int  # there already, of the right size
    failed: dict[str, str]  # name -> why


def unpack(
    archive: str | Path,
    out: str | Path,
    most_bytes: int = MOST_BYTES,
    most_files: int = MOST_FILES,
    password: bytes | None = None,
    progress: bool = False,
) -> Unpacked:
    """Unpack a zip or tar archive.

    A file that is there with the right size is skipped, so that a second call goes on where the
    first stopped. A damaged file is left out and named; the rest is unpacked.

    Args:
        archive: the file.
        out: the folder, made if it is not there.
        most_bytes: cap on the size of all files together.
        most_files: cap on their number.
        password: of an encrypted zip.
        progress: show a bar.

    Returns:
        How many files were written and skipped, and which failed.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: no archive, damaged as a whole, encrypted, larger than the caps, or with an
            entry that would land outside the folder, a link or a device; nothing is written then.
    """
    out = Path(out)
    written, skipped, failed = 0, 0, {}
    with ExitStack() as stack:
        entries = _open(Path(archive), most_bytes, most_files, password, stack)
        total = sum(entry.bytes for entry in entries)
        bar = tqdm(total=total, unit="B", unit_scale=True, disable=not progress or None)
        stack.enter_context(bar)
        staging = stack.enter_context(Staging(out))
        for entry in entries:
            target = out / entry.name
            if target.is_file() and target.stat().st_size == entry.bytes:
                skipped += 1
            else:
                try:
                    _write(entry, target, staging)
                    written += 1
                except _DAMAGED as error:
                    failed[entry.name] = f"{type(error).__name__}: {error}"
            bar.update(entry.bytes)
    return Unpacked(written, skipped, failed)


_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError)


def inspect(
    archive: str | Path, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES
) -> tuple[int, int]:
    """Look at an archive's listing as `unpack` does, without writing anything.

    Args:
        archive: the file.
        most_bytes, most_files: the caps.

    Returns:
        (files, bytes when unpacked).

    Raises:
        FileNotFoundError, ValueError: as `unpack`, but encryption is no fault.
    """
    with ExitStack() as stack:
        entries = _open(Path(archive), most_bytes, most_files, b"", stack)
        return len(entries), sum(entry.bytes for entry in entries)


def safe_name(name: str, archive: Path) -> str:
    """Accept only what stays in the folder.

    Args:
        name: of an entry.
        archive: for the message.

    Returns:
        The same, without "./".

    Raises:
        ValueError: an absolute path, a drive, or "..".

    >>> safe_name("./img/a.jpg", Path("x.zip"))
    'img/a.jpg'
    """
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    absolute = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    if absolute or ".." in parts or not parts or "\0" in name:
        raise ValueError(
            f"{archive}: its entry {name[:80]!r} would be written outside the folder; nothing was "
            "unpacked. No published data set has such entries: fetch it from its publishers"
        )
    return "/".join(parts)


def _open(
    archive: Path, most_bytes: int, most_files: int, password: bytes | None, stack: ExitStack
) -> list[Entry]:
    """The files of an archive, every entry looked at."""
    if not archive.is_file():
        raise FileNotFoundError(f"no archive {archive}: expected a .zip or .tar file")
    try:
        if zipfile.is_zipfile(archive):
            source: Any = stack.enter_context(zipfile.ZipFile(archive))
            listed = _of_zip(source, archive, password)
        else:
            source = stack.enter_context(tarfile.open(archive))  # noqa: SIM115 - it is in a context
            listed = _of_tar(source, archive)
        return list(_capped(listed, archive, most_bytes, most_files))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{archive} is no zip or tar archive that can be read ({error}): it is damaged or was "
            "not fetched wholly"
        ) from error


def _capped(
    listed: Iterator[Entry], archive: Path, most_bytes: int, most_files: int
) -> Iterator[Entry]:
    total, names = 0, set()
    for count, entry in enumerate(listed, 1):
        total += entry.bytes
        if total > most_bytes or count > most_files:
            raise ValueError(
                f"{archive} would unpack to more than {most_bytes:,} bytes or {most_files:,} "
                "files; nothing was unpacked. If it is meant to be so large, raise --most-gib or "
                "--most-files"
            )
        if entry.name in names:
            raise ValueError(f"{archive} has two entries {entry.name!r}; nothing was unpacked")
        names.add(entry.name)
        yield entry


def _of_zip(source: zipfile.ZipFile, archive: Path, password: bytes | None) -> Iterator[Entry]:
    for info in source.infolist():
        # Not info.filename: zipfile cuts at a NUL and turns backslashes, we judge what is written.
        name = safe_name(info.orig_filename, archive)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse_kind(archive, name)
        if info.flag_bits & 1 and password is None:
            raise ValueError(f"{archive} {_PASSWORD}")
        if not info.is_dir():
            yield Entry(name, info.file_size, lambda i=info: _zipped(source, i, password))


def _zipped(source: zipfile.ZipFile, info: zipfile.ZipInfo, password: bytes | None) -> BinaryIO:
    try:
        return source.open(info, pwd=password)
    except NotImplementedError as error:  # AES, which zipfile does not know
        raise ValueError(f"{error}: unpack it with 7-Zip") from error
    except RuntimeError as error:
        raise ValueError(f"{error}: is it the right password?") from error


def _of_tar(source: tarfile.TarFile, archive: Path) -> Iterator[Entry]:
    if not hasattr(tarfile, "data_filter"):
        raise ValueError(
            "this Python cannot unpack tar archives safely: update it to 3.10.12, 3.11.4, 3.12 or "
            "later"
        )
    for member in source:
        name = safe_name(member.name, archive)
        if not (member.isreg() or member.isdir()):
            _refuse_kind(archive, name)
        try:  # the standard library's own rules on top of ours
            tarfile.data_filter(member, str(archive.parent))
        except tarfile.FilterError as error:
            raise ValueError(f"{archive}: {error}; nothing was unpacked") from error
        if member.isreg():
            yield Entry(name, member.size, lambda m=member: source.extractfile(m))


def _refuse_kind(archive: Path, name: str) -> None:
    raise ValueError(
        f"{archive}: its entry {name!r} is a link or a device, which can lead outside the folder; "
        "nothing was unpacked. No published data set has such entries"
    )


def _write(entry: Entry, target: Path, staging: Staging) -> None:
    """Write one file whole or not at all, and not one byte more than the listing promised."""
    if target.exists():
        raise ValueError("another file of this name is there; choose an empty folder")

    def copy(file: BinaryIO) -> None:
        left = entry.bytes
        with entry.read() as source:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise ValueError("it is larger than the archive's listing says")
                file.write(chunk)
        if left:
            raise EOFError(f"{left} of {entry.bytes} bytes are missing")

    staging.write(target, copy)
