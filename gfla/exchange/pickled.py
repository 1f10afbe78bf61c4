"""Files of weights as PyTorch writes them, old and new, from anybody: read, and never executed.

A pickle is a program. `torch.load` runs with weights_only=True here, always, which knows tensors
and plain containers and nothing else, in the zip form of today and in the form that PyTorch wrote
before 1.6. What a download left instead of the file is told by its first bytes, before that.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gfla.storage import CheckpointError

MOST_BYTES = 2**30  # ten times the largest published file; what is larger is something else
_OTHERS = (  # first bytes → what it is, and what to do
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file: run `git lfs pull`"),
    (b"\x1f\x8b", "a gzip archive: unpack it, and give the .pth inside"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it, and give the .pth inside"),
    (b"Rar!", "a RAR archive: unpack it, and give the .pth inside"),
)


class Pickled(NamedTuple):
    """What lay in a file of weights."""

    tensors: dict[str, Tensor]  # by their names in the file, on the CPU
    others: tuple[str, ...]  # names of what is no tensor of real numbers
    sha256: str  # of the file; "" when there was none
    size: int  # of the file in bytes
    form: str  # "zip", "legacy" (before PyTorch 1.6), or "memory" when there was no file


def read(path_or_state_dict: str | Path | Mapping) -> Pickled:
    """The tensors of a file that somebody's `torch.save` wrote.

    Args:
        path_or_state_dict: the file, or what is in it.

    Returns:
        Pickled; a file is hashed and parsed from the same bytes.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: empty, cut, no file of PyTorch (the message says what it is
            where the first bytes tell), more in it than tensors, or none.

    >>> read({"a": torch.zeros(2), "step": 3}).others
    ('step',)
    """
    if isinstance(path_or_state_dict, Mapping):
        return _sorted_out(path_or_state_dict, "the state_dict", "", 0, "memory")
    path = Path(path_or_state_dict).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: check the name, or download it first")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise CheckpointError(
            f"{path} has {size:,} bytes, expected at most {MOST_BYTES:,}: it is no file of these "
            "networks' weights"
        )
    data = path.read_bytes()
    form = _form(data, path)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the loader raises many types; ours is one
        raise CheckpointError(_refusal(path, error)) from error
    return _sorted_out(content, str(path), hashlib.sha256(data).hexdigest(), size, form)


def _form(data: bytes, path: Path) -> str:
    """Which form of PyTorch's it is, by its first bytes; an error that says what else it is."""
    start = data[:4096].lstrip()
    what = next((text for magic, text in _OTHERS if data.startswith(magic)), None)
    if not data:
        what = "an empty file: download it again"
    elif start.startswith(b"<"):
        what = (
            "a web page instead of the file, as Google Drive sends when it wants a confirmation or "
            "its quota is used up: open the link in a browser and download it there"
        )
    elif data[257:262] == b"ustar":
        what = "a tar archive: unpack it, and give the .pth inside"
    elif data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        what = "a safetensors file: if this project wrote it, gfla.checkpoint.load_model reads it"
    if what:
        raise CheckpointError(f"{path} is {what}")
    if data.startswith(b"PK"):
        _check_archive(data, path)
        return "zip"
    if data.startswith(b"\x80"):
        return "legacy"
    raise CheckpointError(
        f"{path} is not a readable PyTorch file of weights (it begins with {data[:8]!r}): download "
        "it again"
    )


def _check_archive(data: bytes, path: Path) -> None:
    """PyTorch stores its zip members as they are, with a checksum each, which `torch.load` does not
    look at; what grows on reading or has another checksum is refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            damaged = archive.testzip() if unpacked <= len(data) else None
    except Exception as error:  # the reader raises many types; ours is one
        raise CheckpointError(
            f"{path} is cut or damaged ({error}): download it again, it is not whole"
        ) from error
    if not any(member.filename.endswith("/data.pkl") for member in members):
        raise CheckpointError(
            f"{path} is a zip archive of {[m.filename for m in members[:3]]}, not of PyTorch: "
            "unpack it, and give the .pth inside"
        )
    if damaged:
        raise CheckpointError(
            f"{path} is damaged: {damaged} in it has another checksum than it was written with; "
            "download it again"
        )
    if unpacked > len(data):
        raise CheckpointError(
            f"{path} would grow from {len(data):,} to {unpacked:,} bytes on reading, which no file "
            "of PyTorch does: refused; get it from another place"
        )


def _refusal(path: Path, error: Exception) -> str:
    """One line from the loader's several; it also advises to switch the protection off."""
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"{path} names the Python object {found[1]}, which weights have no need of: refused, "
            "and nothing of it was executed; save the state_dict of the model alone"
        )
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((line for line in lines if line and "weights_only" not in line), "it is cut")
    return (
        f"{path} is not a readable PyTorch file of weights ({said[:120]}): download it again, it "
        "is not whole"
    )


def _sorted_out(content: object, where: str, sha256: str, size: int, form: str) -> Pickled:
    tensors, others = {}, []
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(key, str) and _is_plain(value):
                tensors[key] = value
            else:
                others.append(str(key))
    if not tensors:
        inside = f" of {others[:5]}" if others else ""
        raise CheckpointError(
            f"{where} holds a {type(content).__name__}{inside}, expected a state_dict of tensors "
            "by name: give the authors' …_net_G.pth or …_net_D.pth, or the state_dict inside"
        )
    return Pickled(tensors, tuple(others), sha256, size, form)


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_complex() or value.is_quantized or value.is_meta)
    )
