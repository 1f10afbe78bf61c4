"""Files of weights from anybody: both of PyTorch's forms are read, everything else is refused."""

import io
import os
import tarfile
import zipfile
from collections import OrderedDict

import pytest
import torch

from gfla.exchange import pickled
from gfla.storage import CheckpointError

FORMS = {"zip": True, "legacy": False}


def saved(content, form: str) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=FORMS[form])
    return file.getvalue()


def state() -> OrderedDict:
    """As a module's state_dict is, with the versions of its layers."""
    content = OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(300))
    content._metadata = OrderedDict([("", {"version": 1})])
    return content


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_are_read_with_metadata_and_hashed(form, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(saved(state(), form))
    found = pickled.read(path)
    assert (found.form, found.size, found.others) == (form, path.stat().st_size, ())
    assert len(found.sha256) == 64
    assert torch.equal(found.tensors["a"], state()["a"])
    assert torch.equal(found.tensors["b"], state()["b"])


def test_what_is_no_tensor_of_real_numbers_is_set_aside():
    strange = {
        "a": torch.ones(2),
        "step": 7,
        3: torch.ones(2),
        "complex": torch.ones(2, dtype=torch.complex64),
        "sparse": torch.ones(2).to_sparse(),
    }
    found = pickled.read(strange)
    assert list(found.tensors) == ["a"]
    assert found.others == ("step", "3", "complex", "sparse")
    assert found.form == "memory"


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (_Attack(), r"names the Python object \w+\.mkdir"),
        ({"a": torch.ones(2), "hook": _Attack()}, r"names the Python object \w+\.mkdir"),
        (torch.nn.Linear(2, 2), r"names the Python object torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_a_pickle_that_would_execute_something_is_refused(
    content, named, form, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attack.pth").write_bytes(saved(content, form))
    with pytest.raises(CheckpointError, match=named) as caught:
        pickled.read("attack.pth")
    assert "nothing of it was executed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kept", [0, 1, 3, 60, 400, -200, -1])
def test_a_cut_file_is_refused_in_one_line(form, kept, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(saved(state(), form)[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.pth is .*download it again") as caught:
        pickled.read(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # not how to switch the protection off


def test_one_changed_bit_of_a_zip_is_noticed(tmp_path):
    """`torch.load` alone would read another number; the old form has no checksum to tell by."""
    data = bytearray(saved(state(), "zip"))
    place = data.index(torch.ones(300).numpy().tobytes())
    data[place + 6] ^= 1
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    assert not torch.equal(torch.load(path, weights_only=True)["b"], torch.ones(300))
    with pytest.raises(CheckpointError, match=r"net\.pth is damaged: .*checksum"):
        pickled.read(path)


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("latest_net_G.pth"))
    else:
        with zipfile.ZipFile(file, "w") as one:
            one.writestr("latest_net_G.pth", b"weights")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html><title>Google Drive - Virus scan", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"\x1f\x8b\x08\x00rest", "a gzip archive"),
        (archive("tar"), "a tar archive"),
        (archive("zip"), r"zip archive of \['latest_net_G\.pth'\], not of PyTorch"),
        (b"\x02\0\0\0\0\0\0\0{}numbers", "a safetensors file.*load_model"),
        (b'{"error": "quota"}', r"not a readable PyTorch file .*begins with b'{\"error"),
        (b"\x80\x02Nothing", "not a readable PyTorch file"),
    ],
)
def test_what_a_download_leaves_instead_is_named(content, said, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        pickled.read(path)
    assert "latest_net_G.pth" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_grows_on_reading_or_is_too_large_is_refused(tmp_path, monkeypatch):
    path, grown = tmp_path / "net.pth", tmp_path / "grown.pth"
    path.write_bytes(saved({"a": torch.zeros(100_000)}, "zip"))
    with (
        zipfile.ZipFile(path) as plain,
        zipfile.ZipFile(grown, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for member in plain.namelist():
            small.writestr(member, plain.read(member))
    assert grown.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="would grow from"):
        pickled.read(grown)
    assert len(pickled.read(path).tensors) == 1
    monkeypatch.setattr(pickled, "MOST_BYTES", 1000)
    with pytest.raises(CheckpointError, match="expected at most 1,000"):
        pickled.read(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {"a": torch.ones(2)}}])
def test_a_file_without_tensors_by_name_says_what_it_holds(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"holds a (list|dict).*expected a state_dict"):
        pickled.read(tmp_path / "other.pth")
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.pth: check the name"):
        pickled.read(tmp_path / "nothing.pth")
