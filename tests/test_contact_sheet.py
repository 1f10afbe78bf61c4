"""The sheet shows pairs with their skeletons, the same ones each time, and goes on past damage."""

import numpy as np
import pytest
import torch
from data_folders import flat, tree
from PIL import Image

from gfla import cli
from gfla.data.contact_sheet import contact_sheet
from gfla.data.procedural_sets import procedural_faces, procedural_videos
from gfla.data.small_sets import write_views


def colors(sheet):
    """All colours of a picture."""
    packed = np.asarray(sheet).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    return {(c >> 16, c >> 8 & 255, c & 255) for c in np.unique(packed).tolist()}


def test_skeletons_are_drawn_where_the_joints_are(tmp_path):
    sheet = contact_sheet(flat(tmp_path, 2), phase="train")
    assert (255, 0, 0) in colors(sheet)  # neck to right shoulder, OpenPose's first limb
    x, y = round(79 * 224 / 256), round(60 * 224 / 256)  # between neck and right shoulder
    assert sheet.getpixel((x + 3, y)) == (255, 0, 0)
    bare = contact_sheet(tree(tmp_path / "tree"))
    assert (255, 0, 0) not in colors(bare)


def test_the_choice_rests_on_names_and_seed(tmp_path):
    root = flat(tmp_path / "set", 9)
    for number, path in enumerate(sorted((root / "test").iterdir())):
        Image.new("RGB", (176, 256), (number * 12, 90, 90)).save(path)
    first, again, other = (contact_sheet(root, 4, seed=seed) for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes()
    assert first.size == other.size
    assert first.tobytes() != other.tobytes()
    assert contact_sheet(root, 2).size[1] * 2 == first.size[1]


def test_a_damaged_picture_is_a_panel_that_says_so(tmp_path):
    root = flat(tmp_path / "set", 1)
    first, second = sorted((root / "test").iterdir())
    first.write_bytes(b"")
    second.unlink()
    assert (225, 225, 225) in colors(contact_sheet(root))


@pytest.mark.parametrize("kind", ["dance", "face", "views"])
def test_clips_and_views_are_shown(tmp_path, kind):
    root = tmp_path / "set"
    if kind == "dance":
        procedural_videos(root, 1, 1, frames=2, size=(32, 32))
    elif kind == "face":
        procedural_faces(root, 1, 1, frames=2, size=(32, 32))
    else:
        pytest.importorskip("h5py")
        turned = torch.rand(2, 1, 18, 3, 8, 8) * 2 - 1
        write_views(root, {"one": turned[0]}, {"two": turned[1]})
    sheet = contact_sheet(root, 3)
    assert sheet.size[0] == (3 if kind == "views" else 1) * (2 * 224 + 12)
    assert len(colors(sheet)) > 50


def test_the_command_writes_a_picture_but_not_into_the_data(tmp_path, capsys):
    root, out = flat(tmp_path / "set", 2), tmp_path / "sheet.png"
    assert cli.main(["data", "preview", str(root), "--out", str(out)]) == 0
    with Image.open(out) as made:
        assert made.format == "PNG"
    assert cli.main(["data", "preview", str(root), "--out", str(root / "sheet.png")]) == 2
    assert "nothing is written" in capsys.readouterr().err
    assert not (root / "sheet.png").exists()
    with pytest.raises(ValueError, match="count is 0"):
        contact_sheet(root, 0)
    for path in root.glob("*-pairs-*"):
        path.write_text("from,to\n")
    for path in [*root.glob("t*/*")]:
        path.unlink()
    with pytest.raises(ValueError, match="has no pair to show"):
        contact_sheet(root)
