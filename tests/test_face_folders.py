"""Videos of faces on disk: the authors' layout, landmarks, structure, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from gfla.data import clip_folders, faces, portraits, procedural_sets, small_sets
from gfla.data.face_folders import FaceVideo, read_landmarks


def ring(t):
    """68 landmarks of frame t of a picture 40 high and 60 wide."""
    angle = torch.arange(68) * 0.0924
    return torch.stack((30 + t + 15 * angle.cos(), 20 + 12 * angle.sin()), 1)


def layout(root, lengths=(8, 3), phase="train", ending="keypoints"):
    """Write the data set by hand; frame t of video v has the colour (10 v, 10 t, 90)."""
    for v, length in enumerate(lengths):
        frames, points = root / f"{phase}_data" / f"v{v}", root / f"{phase}_{ending}" / f"v{v}"
        frames.mkdir(parents=True)
        points.mkdir(parents=True)
        for t in range(length):
            pixels = np.full((40, 60, 3), (10 * v, 10 * t, 90), dtype=np.uint8)
            Image.fromarray(pixels).save(frames / f"f{t}.png")
            lines = [f"{x:.4f},{y:.4f}" for x, y in ring(t).tolist()]
            (points / f"f{t}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("ending", ["keypoints", "keypoint"])
def test_an_item_holds_frames_and_structure(tmp_path, ending):
    data = FaceVideo(layout(tmp_path, phase="test", ending=ending), "test", size=(40, 60))
    assert len(data) == 2
    item = data[0]
    assert item["frames"].shape == (8, 3, 40, 60)
    assert item["poses"].shape == (8, 16, 40, 60)
    assert item["names"] == [f"f{t}.png" for t in range(8)]
    for t in range(8):
        green = item["frames"][t, 1].unique()
        assert green.tolist() == pytest.approx([10 * t / 127.5 - 1])
        expected = faces.structure(read_landmarks_of(ring(t)), item["frames"][t], (40, 60))
        assert torch.equal(item["poses"][t], expected)
    assert torch.equal(item["reference"], item["frames"][0])
    assert torch.equal(item["reference_pose"], item["poses"][0])


def read_landmarks_of(points):
    """What four decimals leave of landmarks."""
    return torch.tensor([[float(f"{v:.4f}") for v in row] for row in points.tolist()])


def test_landmarks_follow_the_frame_to_another_size(tmp_path, monkeypatch):
    handed = []

    def structure(landmarks, frame, size):
        handed.append((landmarks, tuple(frame.shape), size))
        return torch.zeros(16, *size)

    monkeypatch.setattr("gfla.data.face_folders.structure", structure)
    FaceVideo(layout(tmp_path, lengths=(1,), phase="test"), "test", size=(80, 30))[0]
    landmarks, shape, size = handed[0]
    assert (shape, size) == ((3, 80, 30), (80, 30))
    torch.testing.assert_close(landmarks, ring(0) * torch.tensor([0.5, 2.0]), atol=2e-4, rtol=0)


def test_training_takes_stretches_whose_first_frame_is_the_reference(tmp_path):
    data = FaceVideo(layout(tmp_path, lengths=(9,)), size=(40, 60))
    starts = set()
    for step in range(10):
        batch = data.batch(step, 1, seed=1)
        assert batch["frames"].shape == (1, 6, 3, 40, 60)
        assert torch.equal(batch["reference"], batch["frames"][:, 0])
        assert torch.equal(batch["reference_pose"], batch["poses"][:, 0])
        numbers = [int(name[1]) for name in batch["names"][0]]
        assert numbers == list(range(numbers[0], numbers[0] + 6))
        starts.add(numbers[0])
    assert starts <= {0, 1, 2, 3} and len(starts) > 1


def test_batches_depend_on_seed_and_step_alone(tmp_path):
    root = layout(tmp_path, lengths=(8, 9, 7))
    rows = [FaceVideo(root, size=(40, 60), frames=2).batch(step, 2, seed=4) for step in range(3)]
    threads = FaceVideo(root, size=(40, 60), frames=2, workers=2)
    for step in (2, 0):
        other = threads.batch(step, 2, seed=4)
        assert other["names"] == rows[step]["names"]
        assert all(torch.equal(other[k], v) for k, v in rows[step].items() if k != "names")
    others = [threads.batch(step, 2, seed=5)["names"] for step in range(3)]
    assert others != [row["names"] for row in rows]
    with pytest.raises(ValueError, match="step is -2, count is 1"):
        threads.batch(-2, 1)


def test_a_whole_video_is_read_in_chunks(tmp_path):
    data = FaceVideo(layout(tmp_path, phase="test"), "test", size=(40, 60))
    parts = list(data.chunks(0))
    assert [(part["real"], part["names"][0][-1]) for part in parts] == [
        (6, "f5.png"),
        (2, "f7.png"),
    ]
    assert all(torch.equal(part["reference"][0], data[0]["reference"]) for part in parts)
    last = parts[1]["poses"][0]
    assert torch.equal(last[1], data[0]["poses"][7])
    assert all(torch.equal(last[t], last[1]) for t in range(2, 6))
    cut = list(clip_folders.split({k: v[None] for k, v in data[0].items() if k != "names"}))
    assert torch.equal(cut[1]["poses"], parts[1]["poses"])


# ---------------------------------------------------------------- refusals


LINES = [f"{i},{i}" for i in range(68)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES[:9], "1,2,3", *LINES[10:]], r"line 10: '1,2,3' is not two numbers"),
        ([*LINES[:9], "1", *LINES[10:]], r"line 10: '1' is not two numbers"),
        ([*LINES[:9], "x,2", *LINES[10:]], r"line 10: 'x,2' is not two numbers"),
        ([*LINES[:9], "nan,2", *LINES[10:]], r"line 10: 'nan,2'; expected x,y in pixels"),
        ([*LINES[:9], "1,-inf", *LINES[10:]], r"line 10: '1,-inf'; expected x,y in pixels"),
        (LINES[:-1], r"line 67: ends after 67 landmarks; expected 68"),
        ([*LINES, "1,1"], r"line 69: ends after 69 landmarks; expected 68"),
        ([], r"line 0: ends after 0 landmarks"),
    ],
)
def test_bad_landmarks_are_named_by_file_and_line(tmp_path, lines, message):
    root = layout(tmp_path, phase="test")
    data = FaceVideo(root, "test", size=(40, 60))
    (root / "test_keypoints" / "v0" / "f2.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"f2\.txt, " + message):
        data[0]


def test_spaces_and_empty_lines_do_no_harm(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("\r\n".join(["", *(f" {i} , {i}.5 " for i in range(68)), "", ""]))
    assert read_landmarks(path)[67].tolist() == [67.0, 67.5]
    with pytest.raises(FileNotFoundError, match=r"no landmarks .*two\.txt"):
        read_landmarks(tmp_path / "two.txt")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*train_data: .*<video>/\*\.txt"):
        FaceVideo(tmp_path)
    (tmp_path / "train_data").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder .*train_keypoints"):
        FaceVideo(tmp_path)
    (tmp_path / "train_keypoint").mkdir()
    with pytest.raises(FileNotFoundError, match="train_data holds no video"):
        FaceVideo(tmp_path)
    root = layout(tmp_path / "set")
    (root / "train_keypoints" / "v0" / "f6.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no landmarks .*f6\.txt: 1 of 8 frames"):
        FaceVideo(root)
    with pytest.raises(ValueError, match="phase is 'val'"):
        FaceVideo(root, "val")


def test_a_damaged_frame_is_named(tmp_path):
    root = layout(tmp_path, phase="test")
    (root / "test_data" / "v0" / "f1.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"f1\.png cannot be decoded"):
        FaceVideo(root, "test", size=(40, 60))[0]


# ---------------------------------------------------------------- the writer


def test_what_is_written_is_read_back(tmp_path):
    procedural_sets.procedural_faces(tmp_path, count=1, tests=1, frames=2, size=(48, 48), seed=3)
    item = FaceVideo(tmp_path, "test", size=(48, 48))[0]
    drawn = portraits.clips(1, frames=2, size=(48, 48), seed=4)
    assert (item["frames"] - drawn["frames"][0]).abs().max() <= 0.5 / 127.5 + 1e-6
    agree = (item["poses"][:, 1:] - drawn["poses"][0, :, 1:]).abs() < 0.02
    assert agree.float().mean() > 0.99  # a thousandth of a pixel may turn one pixel of a curve
    assert len(FaceVideo(tmp_path, size=(48, 48))) == 1
    with pytest.raises(ValueError, match="tests is 0"):
        procedural_sets.procedural_faces(tmp_path, tests=0)


def test_senseless_faces_are_not_written(tmp_path):
    frames, points = torch.zeros(2, 3, 8, 8), torch.zeros(2, 68, 2)
    for bad, message in (
        (("a/b", frames, points), "'a/b' cannot name a video"),
        (("a", frames, points[:, :67]), r"landmarks has shape \(2, 67, 2\)"),
        (("a", frames[:0], points[:0]), r"frames have shape \(0, 3, 8, 8\)"),
    ):
        with pytest.raises(ValueError, match=message):
            small_sets.write_face(tmp_path, *bad)
    assert not list(tmp_path.iterdir())
