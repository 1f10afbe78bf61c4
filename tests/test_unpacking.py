"""Archives: what is good is unpacked whole, what could harm writes nothing at all."""

import io
import stat
import tarfile
import zipfile

import pytest

from gfla import cli
from gfla.data.staging import NAME
from gfla.data.unpacking import inspect, unpack

FILES = {"img/a.txt": b"a" * 5000, "img/sub/b.txt": b"bee", "empty.txt": b""}


def a_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def a_tar(path, files=FILES, mode="w:gz", **about):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in about.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return path


def held(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}  # fmt: skip


@pytest.mark.parametrize(("make", "name"), [(a_zip, "x.zip"), (a_tar, "x.tar.gz")])
def test_good_archives_are_unpacked_and_again_is_nothing(tmp_path, make, name):
    archive, out = make(tmp_path / name), tmp_path / "out"
    assert inspect(archive) == (3, 5003)
    assert unpack(archive, out) == (3, 0, {})
    assert held(out) == FILES
    assert not (out / NAME).exists()
    (out / "img" / "a.txt").write_bytes(b"half")
    assert set(unpack(archive, out).failed) == {"img/a.txt"}  # what is there is not replaced
    (out / "img" / "a.txt").unlink()
    assert unpack(archive, out) == (1, 2, {})


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "C:\\x", "..\\x", "\\x"])
@pytest.mark.parametrize("make", [a_zip, a_tar])
def test_what_would_escape_writes_nothing(tmp_path, make, name):
    archive = make(tmp_path / "x", {"good": b"1", name: b"2"})
    with pytest.raises(ValueError, match="would be written outside the folder"):
        unpack(archive, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = a_tar(tmp_path / "x.tar", {"link": b""}, "w", type=kind, linkname="good")
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "img").symlink_to(tmp_path / "elsewhere")
    done = unpack(a_zip(tmp_path / "x.zip"), tmp_path / "out")
    assert set(done.failed) == {"img/a.txt", "img/sub/b.txt"}
    assert held(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("make", [a_zip, a_tar])
def test_caps_hold_before_anything_is_written(tmp_path, make):
    archive = make(tmp_path / "x", {f"{i}": b"12345" for i in range(4)})
    for caps in ({"most_bytes": 19}, {"most_files": 3}):
        with pytest.raises(ValueError, match="nothing was unpacked"):
            unpack(archive, tmp_path / "out", **caps)
    assert not (tmp_path / "out").exists()
    assert unpack(archive, tmp_path / "out", most_bytes=20, most_files=4).written == 4


def test_a_zip_that_lies_about_a_size_is_stopped(tmp_path):
    path = a_zip(tmp_path / "x.zip", {"big": b"\0" * 100_000})
    data = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    done = unpack(path, tmp_path / "out")
    assert set(done.failed) == {"big"}
    assert held(tmp_path / "out") == {}


def test_a_damaged_file_is_named_and_the_rest_unpacked(tmp_path, capsys):
    path = a_zip(tmp_path / "x.zip", {"a": b"first" * 99, "b": b"second" * 99})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("a").header_offset
    data[start + 34] ^= 0xFF
    path.write_bytes(data)
    assert cli.main(["data", "unpack", str(path), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    assert "damaged: a: " in capsys.readouterr().out
    assert held(tmp_path / "out") == {"b": b"second" * 99}


def test_an_encrypted_zip_says_who_gives_the_password(tmp_path, capsys):
    path = a_zip(tmp_path / "img_highres.zip", {"a": b"1"})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(mark) + place] |= 1
    path.write_bytes(data)
    assert cli.main(["data", "unpack", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "is encrypted" in error
    assert "agreement form" in error
    assert not (tmp_path / "out").exists()
    (tmp_path / "word").write_text("wrong\n")
    told = ["--password-file", str(tmp_path / "word"), "--quiet"]
    assert cli.main(["data", "unpack", str(path), "--out", str(tmp_path / "out"), *told]) == 1
    assert "damaged: a: " in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no archive", a_tar])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "x.tar.gz"
    if callable(content):
        content(path)
        path.write_bytes(path.read_bytes()[:60])  # not fetched wholly
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="no zip or tar archive that can be read"):
        unpack(path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no archive"):
        unpack(tmp_path / "none.zip", tmp_path / "out")
