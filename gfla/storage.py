"""Every file the library writes or trusts goes through this room.

Writing is atomic: a reader sees the old file or the new one, never half of one, and a full disk
cannot destroy what was there before.  Reading weights is verified: the bytes that were hashed are
the bytes that are parsed.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGE = Path(__file__).resolve().parent
_STALE_SECONDS = 3600  # no honest write lasts an hour: an older temporary file is a dead one's


class StorageError(RuntimeError):
    """A file could not be written, locked or understood."""


class CheckpointError(StorageError):
    """A file of weights is damaged, of another kind, or not the one its checksum promises."""


def root() -> Path:
    """Give the folder that `results/` and `data/` are found under.

    Returns:
        The folder that the environment variable GFLA_ROOT names, else the checkout that holds this
        file, else (installed from a wheel) the folder the program was started in.
    """
    if override := os.environ.get("GFLA_ROOT"):
        return Path(override).resolve()
    checkout = _PACKAGE.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def weights_dir() -> Path:
    """Give the folder of the shipped weights: `data/weights`, or in a wheel the package's copy."""
    packaged = _PACKAGE / "weights"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "data" / "weights"


def sha256(path: str | Path) -> str:
    """Hash a file without holding it in memory; FileNotFoundError when there is none."""
    digest = hashlib.sha256()
    with _existing(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def atomic_write(path: str | Path, content: bytes | str | Callable[[BinaryIO], Any]) -> Path:
    """Write a file so that it is either wholly there or not at all.

    A temporary file beside the final one is written, flushed to the disk and moved into place;
    only then is the old content gone.  Temporary files that a killed program left are swept.

    Args:
        path: the final name; missing folders are made.
        content: bytes, text (written as UTF-8), or a function that writes into an open binary file.

    Returns:
        The final path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return path


def read_json(path: str | Path) -> Any:
    """Read a JSON file; FileNotFoundError when there is none, StorageError when it is not JSON."""
    try:
        return json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError(f"{path} is not JSON ({error}): restore or delete it") from error


def write_json(path: str | Path, value: Any) -> Path:
    """Write anything JSON can hold, readable and atomically; keys keep their order."""
    return atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def locked_update(
    path: str | Path, change: Callable[[Any], Any], empty: Any = None, timeout: float = 30.0
) -> Any:
    """Change a JSON file that other processes may be changing at the same moment.

    Args:
        path: the JSON file; it need not exist.
        change: takes the present value, returns the new one (None means: it was changed in place).
        empty: what `change` is given when there is no file yet; an empty dict by default.
        timeout: seconds to wait for another process.

    Returns:
        The new value.

    Raises:
        StorageError: the lock was not free within `timeout`, or the file is not JSON.

    Example:
        >>> import tempfile
        >>> book = f"{tempfile.mkdtemp()}/book.json"
        >>> locked_update(book, lambda entries: {**entries, "a": 1})
        {'a': 1}
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.with_name(f".{path.name}.lock"), timeout):
        value = read_json(path) if path.exists() else ({} if empty is None else empty)
        changed = change(value)
        value = value if changed is None else changed
        write_json(path, value)
    return value


def new_folder(parent: str | Path, name: str) -> Path:
    """Make a folder that nobody else has, even when two programs ask at the same moment.

    Returns:
        `parent / name`, where a name that is taken gets -2, -3, ... appended.
    """
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue


def save_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> str:
    """Write named tensors with their description, atomically.

    Args:
        path: the final name.
        tensors: name -> tensor, any device; they are stored from the CPU.
        metadata: name -> anything JSON can hold, kept in the file's header.

    Returns:
        The sha256 of the file.

    Raises:
        CheckpointError: two names share one tensor's memory, which the format cannot hold.
    """
    import safetensors.torch

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    try:
        data = safetensors.torch.save(plain, header)
    except RuntimeError as error:
        raise CheckpointError(f"{path} was not written: {error}; drop one of the names") from error
    atomic_write(path, data)
    return hashlib.sha256(data).hexdigest()


def load_safetensors(
    path: str | Path, sha256: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read named tensors and their description, verified.

    Args:
        path: the file.
        sha256: the checksum it must have; by default the one in the manifest beside it, if that
            knows the file.

    Returns:
        (name -> tensor on the CPU, metadata).

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the checksum differs, or the bytes are not a safetensors file.
    """
    import safetensors.torch

    path = _existing(path)
    data = path.read_bytes()
    expected = sha256 or read_manifest(path.parent).get(path.name, {}).get("sha256")
    found = hashlib.sha256(data).hexdigest()
    if expected is not None and found != expected.lower():
        raise CheckpointError(
            f"{path} has sha256 {found}, expected {expected}: the file was damaged or replaced; "
            "fetch it again"
        )
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except Exception as error:  # the parser raises several types on damaged bytes; ours is one
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}): fetch or write it again"
        ) from error
    return tensors, {name: _decode(value) for name, value in header.get("__metadata__", {}).items()}


def read_manifest(folder: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """Read what a folder's manifest, by default that of the shipped weights, says of its files.

    Returns:
        file name -> {sha256, bytes, note}; empty when the folder has no manifest.
    """
    path = Path(folder or weights_dir()) / "manifest.json"
    return read_json(path) if path.exists() else {}


def add_to_manifest(path: str | Path, note: str) -> dict[str, Any]:
    """Enter a file in the manifest of the folder it lies in.

    Args:
        path: the file.
        note: one line: what it is, what made it, its licence.

    Returns:
        The entry: {sha256, bytes, note}.
    """
    path = _existing(path)
    entry = {"sha256": sha256(path), "bytes": path.stat().st_size, "note": note}
    locked_update(path.parent / "manifest.json", lambda all_: all_ | {path.name: entry})
    return entry


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: check the name, or make it first")
    return path


def _decode(value: str) -> Any:
    """Undo our JSON encoding; a foreign file's plain text stays as it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _sweep(path: Path) -> None:
    """Remove what killed writers of this very file left behind."""
    for entry in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(FileNotFoundError):  # another process may sweep it first
            if time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                entry.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _lock(path: Path, timeout: float):
    """Hold a lock file; creating it exclusively works alike on every system and file system."""
    limit = time.monotonic() + timeout
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except (FileExistsError, PermissionError) as error:  # the latter: Windows, deleting
            if time.monotonic() > limit:
                raise StorageError(
                    f"{path} is held by another process for more than {timeout:g} s: wait, or "
                    "delete it if no such process lives"
                ) from error
            time.sleep(0.01 + 0.02 * (secrets.randbelow(100) / 100))
    try:
        os.write(handle, str(os.getpid()).encode())
        os.close(handle)
        yield
    finally:
        path.unlink(missing_ok=True)
