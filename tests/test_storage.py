"""Files are whole or absent, weights are the promised ones, and the lock holds."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

from gfla import storage


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.sha256(tmp_path / "abc") == known


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.bin.*check the name"):
        storage.sha256(tmp_path / "nothing.bin")


@pytest.mark.parametrize("content", [b"new", "new", lambda file: file.write(b"new")])
def test_atomic_write_takes_bytes_text_and_functions(tmp_path, content):
    path = storage.atomic_write(tmp_path / "deep" / "file", content)
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    def full_disk(file):
        file.write(b"half")
        raise OSError("no space left")

    path = storage.atomic_write(tmp_path / "file", b"old")
    with pytest.raises(OSError, match="no space left"):
        storage.atomic_write(path, full_disk)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_only_old_temporary_files_of_the_same_name_are_swept(tmp_path):
    names = (".file.12-0123abcd.tmp", ".file.13-0123abcd.tmp", ".other.12-0123abcd.tmp")
    dead, alive, foreign = (tmp_path / name for name in names)
    for path in (dead, alive, foreign):
        path.touch()
    for path in (dead, foreign):
        os.utime(path, (time.time() - 7200,) * 2)
    storage.atomic_write(tmp_path / "file", b"")
    assert (dead.exists(), alive.exists(), foreign.exists()) == (False, True, True)


def test_processes_writing_one_json_lose_nothing(tmp_path):
    book = tmp_path / "book.json"
    code = (
        "import sys; from gfla import storage\n"
        "for i in range(20):\n"
        "    storage.locked_update(sys.argv[1], lambda b: b | {f'{sys.argv[2]}-{i}': i})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(book), str(k)], cwd=storage.root())
        for k in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert len(json.loads(book.read_text())) == 80


def test_a_lock_that_stays_taken_is_named(tmp_path):
    (tmp_path / ".book.json.lock").touch()
    with pytest.raises(storage.StorageError, match=r"book.json.lock is held.*delete it"):
        storage.locked_update(tmp_path / "book.json", dict, timeout=0.05)
    assert not (tmp_path / "book.json").exists()


def test_the_lock_is_free_again_after_an_error(tmp_path):
    def wrong(book):
        raise KeyError("a mistake in the change")

    with pytest.raises(KeyError):
        storage.locked_update(tmp_path / "book.json", wrong)
    assert storage.locked_update(tmp_path / "book.json", lambda b: b | {"a": 1}) == {"a": 1}


def test_broken_json_is_named(tmp_path):
    (tmp_path / "book.json").write_text("{")
    with pytest.raises(storage.StorageError, match=r"book.json is not JSON"):
        storage.read_json(tmp_path / "book.json")


def test_new_folder_never_gives_one_twice(tmp_path):
    folders = [storage.new_folder(tmp_path / "runs", "run") for _ in range(3)]
    assert [folder.name for folder in folders] == ["run", "run-2", "run-3"]


def _saved(path):
    tensors = {"weight": torch.arange(6.0).reshape(2, 3).T, "steps": torch.tensor(7)}
    metadata = {"arguments": {"levels": [2, 3], "σ": 0.5}, "size": [64, 64], "name": "12"}
    return tensors, metadata, storage.save_safetensors(path, tensors, metadata)


def test_weights_come_back_with_their_description(tmp_path):
    tensors, metadata, digest = _saved(tmp_path / "w.safetensors")
    loaded, told = storage.load_safetensors(tmp_path / "w.safetensors", sha256=digest)
    assert told == metadata
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert digest == storage.sha256(tmp_path / "w.safetensors")


def test_another_files_plain_metadata_stays_text(tmp_path):
    import safetensors.torch

    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "a", {"format": "pt"})
    assert storage.load_safetensors(tmp_path / "a")[1] == {"format": "pt"}


def test_two_names_for_one_memory_are_refused(tmp_path):
    weight = torch.ones(4)
    with pytest.raises(storage.CheckpointError, match="was not written"):
        storage.save_safetensors(tmp_path / "w", {"a": weight, "b": weight})
    assert not (tmp_path / "w").exists()


def test_a_wrong_checksum_is_refused(tmp_path):
    _saved(tmp_path / "w.safetensors")
    with pytest.raises(storage.CheckpointError, match="expected 00.*fetch it again"):
        storage.load_safetensors(tmp_path / "w.safetensors", sha256="00" * 32)


def test_the_manifest_beside_a_file_is_believed_over_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    _, _, digest = _saved(path)
    entry = storage.add_to_manifest(path, "for this test")
    assert entry == {"sha256": digest, "bytes": path.stat().st_size, "note": "for this test"}
    assert storage.read_manifest(tmp_path) == {"w.safetensors": entry}
    storage.load_safetensors(path)
    storage.save_safetensors(path, {"weight": torch.zeros(2)})
    with pytest.raises(storage.CheckpointError, match="damaged or replaced"):
        storage.load_safetensors(path)


def test_damaged_files_give_one_kind_of_error(tmp_path):
    path = tmp_path / "w.safetensors"
    _, _, digest = _saved(path)
    good = path.read_bytes()
    damaged = [good[:cut] for cut in range(0, len(good), 37)]
    damaged += [bytes([*good[:i], good[i] ^ 0x55, *good[i + 1 :]]) for i in range(0, 60, 3)]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(storage.CheckpointError):
            storage.load_safetensors(path, sha256=digest)
    for data in damaged:  # without a checksum: our error, or tensors; never another exception
        path.write_bytes(data)
        try:
            storage.load_safetensors(path)
        except storage.CheckpointError as error:
            assert "w.safetensors" in str(error)


def test_every_shipped_file_is_the_one_its_manifest_promises():
    manifest = storage.read_manifest()
    shipped = {path.name for path in storage.weights_dir().glob("*.safetensors")}
    assert shipped == set(manifest)
    for name, entry in manifest.items():
        assert storage.sha256(storage.weights_dir() / name) == entry["sha256"]


def test_root_obeys_its_variable(tmp_path, monkeypatch):
    assert (storage.root() / "pyproject.toml").is_file()
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    assert storage.root() == tmp_path.resolve()
