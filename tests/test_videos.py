"""Videos of people on disk: joints, bones, the authors' layout, phases, chunks, what is refused."""

import json

import numpy as np
import oracle
import pytest
import torch
from PIL import Image

from gfla.data import bones, clip_folders, motion, procedural_sets, reading, small_sets, videos
from gfla.data import keypoints as kp
from gfla.data.videos import IPER, FashionVideo

# ---------------------------------------------------------------- joints and bones


def test_dance_heat_maps_agree_with_the_authors(tmp_path):
    golden = oracle.arrays("data_and_metrics")
    ys, xs = golden["dance_joints_yx"].tolist()
    numbers = [n for y, x in zip(ys, xs) for n in (x, y, 1.0)] + [0.0] * 39
    path = tmp_path / "0.json"
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": numbers}]}))
    joints = videos.read_joints(path, 17)
    maps = bones.structure(joints, (256, 256))[:4, ::4, ::4].permute(1, 2, 0)
    np.testing.assert_allclose(maps.numpy(), golden["dance_map_sub4"], rtol=0, atol=1e-6)
    assert kp.present(joints).tolist() == [True, True, False, *[True], *[False] * 13]


def test_openpose_becomes_coco_as_the_authors_do_it():
    golden = oracle.arrays("data_and_metrics")
    given = torch.from_numpy(golden["openpose18"]).T.contiguous()
    assert torch.equal(bones.coco17(given), torch.from_numpy(golden["coco17"]).T)


def test_openpose_becomes_human36m():
    points = torch.arange(36.0).reshape(18, 2)  # the top of the head comes to x = -1, y = 0
    made = dict(zip(bones.HUMAN36M_17, bones.human36m17(points)))
    given = dict(zip(kp.OPENPOSE_18, points))
    for name in ("left_knee", "right_wrist", "left_shoulder"):
        assert torch.equal(made[name], given[name])
    middle = (given["left_hip"] + given["right_hip"]) / 2
    assert torch.equal(made["pelvis"], middle)
    assert torch.equal(made["spine"], (middle + given["neck"]) / 2)
    assert torch.equal(made["thorax"], given["neck"])
    top = given["neck"] + 1.5 * (given["nose"] - given["neck"])
    assert 0 < (made["head_top"] - top).abs().max() < 2e-3  # a hair off -1, which means missing
    points[kp.OPENPOSE_18.index("left_hip")] = -1.0
    there = dict(zip(bones.HUMAN36M_17, kp.present(bones.human36m17(points)).tolist()))
    gone = [name for name, seen in there.items() if not seen]
    assert gone == ["pelvis", "left_hip", "spine"]


@pytest.mark.parametrize("lines", [bones.HUMAN36M_BONES, bones.COCO_BONES])
def test_bones_hold_a_skeleton_together(lines):
    assert len(lines) == len(set(lines)) == len(bones.BONE_COLORS) == len(set(bones.BONE_COLORS))
    assert {joint for bone in lines for joint in bone} == set(range(17))


def test_bones_run_from_joint_to_joint_in_their_colour():
    points = torch.full((17, 2), -1.0)
    points[0], points[1] = torch.tensor([40.0, 60.0]), torch.tensor([100.0, 140.0])
    drawn = bones.draw_bones(points, (256, 256), bones.HUMAN36M_BONES)
    lit = drawn.amax(0) > 0
    assert drawn[:, lit].T.unique(dim=0).tolist() == [[255.0, 0.0, 0.0]]  # the first bone alone
    assert lit[100, 70] and lit[60, 40] and lit[140, 100]  # the middle and both ends
    length = (60**2 + 80**2) ** 0.5
    assert lit.sum() == pytest.approx(4 * length + 3.14159 * 4, rel=0.05)  # 4 pixels, round ends
    points[1] = -1.0
    assert bones.draw_bones(points, (256, 256), bones.HUMAN36M_BONES).max() == 0
    small = torch.full((17, 2), -1.0)
    small[0], small[1] = torch.tensor([10.0, 15.0]), torch.tensor([25.0, 35.0])
    narrow = bones.draw_bones(small, (64, 64), bones.HUMAN36M_BONES).amax(0) > 0
    assert 20 <= narrow.sum() <= 40  # one pixel wide at a quarter of the size


# ---------------------------------------------------------------- a data set by hand


def person(t, count):
    """Joints that tell their frame: x = t + 4 j + 1, y = t + 3 j + 2; joint 3 is missing."""
    numbers = []
    for joint in range(count):
        numbers += [0, 0, 0] if joint == 3 else [t + 4 * joint + 1, t + 3 * joint + 2, 0.9]
    return json.dumps({"people": [{"pose_keypoints_2d": numbers}]})


def layout(root, lengths=(8, 14), phase="train", size=(96, 80), masks=False):
    """Write the data set by hand; frame t of video v has the colour (10 v, 5 t, 200)."""
    folder = root / f"{phase}_256"
    for v, length in enumerate(lengths):
        name = f"video{v}"
        for kind in ("train_A", "train_video2d", "train_alphapose", *(["train_C"] * masks)):
            (folder / kind / name).mkdir(parents=True)
        for t in range(length):
            pixels = np.full((*size, 3), (10 * v, 5 * t, 200), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "train_A" / name / f"{t}.png")
            (folder / "train_video2d" / name / f"{t}.json").write_text(person(t, 17))
            (folder / "train_alphapose" / name / f"{t}_keypoints.json").write_text(person(t, 18))
            if masks:
                mask = np.zeros(size, dtype=np.uint8)
                mask[:, : size[1] // 2] = 255
                Image.fromarray(mask).save(folder / "train_C" / name / f"{t}.png")
    return folder


def frame_of(pictures):
    """The number of each frame, off its colour."""
    return pictures[..., 1, 40, 40].add(1).mul(127.5 / 5).round().int().tolist()


def test_a_stretch_holds_frames_joints_and_structure(tmp_path):
    layout(tmp_path)
    data = FashionVideo(tmp_path, size=(96, 80), augment=False)
    assert len(data) == 2
    torch.manual_seed(0)
    item = data[1]
    assert item["frames"].shape == (12, 3, 96, 80)  # of 14 frames, a multiple of 6
    assert item["poses"].shape == (12, 20, 96, 80)
    assert item["reference_pose"].shape == (20, 96, 80)
    numbers = frame_of(item["frames"])
    assert numbers == list(range(numbers[0], numbers[0] + 12))
    assert item["names"] == [f"{t}.png" for t in numbers]  # 9 before 10
    for t, joints, pose in zip(numbers, item["keypoints"], item["poses"]):
        assert joints[16].tolist() == [t + 65.0, t + 50.0]
        assert joints[3].tolist() == [-1.0, -1.0]
        maps = kp.heatmaps(joints, (96, 80), 6.0 * 96 / 256)
        assert torch.equal(pose[:17], maps)
        assert torch.equal(pose[17:], bones.draw_bones(joints, (96, 80), bones.HUMAN36M_BONES))
    assert item["poses"][:, :17].max() == 1 and item["poses"][:, 17:].max() == 255
    assert "masks" not in item


def test_the_reference_is_an_early_frame_with_coco_joints(tmp_path):
    layout(tmp_path, lengths=(40,))
    data = FashionVideo(tmp_path, size=(96, 80), augment=False, frames=1)
    seen = set()
    for step in range(60):
        batch = data.batch(step, 1)
        (t,) = frame_of(batch["reference"])
        seen.add(t)
        joints = batch["reference_keypoints"][0]
        for place, name in enumerate(bones.COCO_17):
            joint = kp.OPENPOSE_18.index(name)
            there = [t + 4.0 * joint + 1, t + 3.0 * joint + 2] if joint != 3 else [-1.0, -1.0]
            assert joints[place].tolist() == there
        drawn = bones.draw_bones(joints, (96, 80), bones.COCO_BONES)
        assert torch.equal(batch["reference_pose"][0, 17:], drawn)
    assert max(seen) <= 19 and len(seen) > 12
    clean = FashionVideo(tmp_path, size=(96, 80), augment=False, reference_joints="video2d")
    item = clean.batch(0, 1)
    (t,) = frame_of(item["reference"])
    assert item["reference_keypoints"][0, 16].tolist() == [t + 65.0, t + 50.0]
    drawn = bones.draw_bones(item["reference_keypoints"], (96, 80), bones.HUMAN36M_BONES)
    assert torch.equal(item["reference_pose"][:, 17:], drawn)


def test_joints_follow_the_frame_to_another_size(tmp_path):
    layout(tmp_path, lengths=(2,), phase="test", size=(64, 32))
    item = FashionVideo(tmp_path, "test")[0]
    assert item["frames"].shape == (2, 3, 256, 256)
    assert item["keypoints"][1, 5].tolist() == [(1 + 21) * 8.0, (1 + 17) * 4.0]
    peak = item["poses"][1, 5].flatten().argmax()
    assert (peak % 256, peak // 256) == (176, 72)


def test_training_stretches_begin_anywhere_and_tests_at_the_beginning(tmp_path):
    layout(tmp_path, lengths=(50,))
    layout(tmp_path, lengths=(50,), phase="test")
    data = FashionVideo(tmp_path, size=(48, 48), augment=False)
    starts = set()
    for step in range(12):
        frames = data.batch(step, 1, seed=3)["names"][0]
        assert len(frames) == 30
        starts.add(frames[0])
    assert len(starts) > 4
    test = FashionVideo(tmp_path, "test", size=(48, 48))
    assert test[0]["names"] == test.batch(4, 1)["names"][0] == [f"{t}.png" for t in range(30)]
    assert torch.equal(test[0]["reference"], test.batch(4, 1, seed=9)["reference"][0])


def test_batches_depend_on_seed_and_step_alone(tmp_path):
    layout(tmp_path, lengths=(8, 14, 9), masks=True)
    data, again = (IPER(tmp_path, size=(32, 32)) for _ in range(2))
    rows = [data.batch(step, 2, seed=5) for step in range(3)]
    for step in (2, 0):
        other = again.batch(step, 2, seed=5)
        assert other["names"] == rows[step]["names"]
        assert all(torch.equal(other[k], v) for k, v in rows[step].items() if k != "names")
    threads = IPER(tmp_path, size=(32, 32), workers=2).batch(1, 2, seed=5)
    assert all(torch.equal(threads[k], v) for k, v in rows[1].items() if k != "names")
    assert not torch.equal(data.batch(0, 2, seed=6)["frames"], rows[0]["frames"])
    assert rows[0]["frames"].shape == (2, 6, 3, 32, 32)  # the shortest has 8 or 9 frames
    assert rows[0]["masks"].shape == (2, 6, 1, 32, 32)
    with pytest.raises(ValueError, match="step is 0, count is 0"):
        data.batch(0, 0)


def test_a_short_video_is_taken_whole(tmp_path):
    layout(tmp_path, lengths=(4,))
    batch = FashionVideo(tmp_path, size=(32, 32)).batch(0, 1)
    assert batch["frames"].shape[1] == 4
    (part,) = clip_folders.split(batch)
    assert part["frames"].shape[1] == part["poses"].shape[1] == part["keypoints"].shape[1] == 6
    for t in (4, 5):
        assert torch.equal(part["frames"][:, t], batch["frames"][:, 3])
    with pytest.raises(ValueError, match="chunk is 0"):
        next(clip_folders.split(batch, 0))


def test_a_stretch_is_split_into_chunks(tmp_path):
    layout(tmp_path, lengths=(14,), masks=True)
    batch = FashionVideo(tmp_path, size=(32, 32)).batch(0, 1)
    parts = list(clip_folders.split(batch))
    for key in ("frames", "poses", "keypoints", "masks"):
        assert torch.equal(torch.cat([part[key] for part in parts], 1), batch[key])
    assert all(torch.equal(part["reference"], batch["reference"]) for part in parts)


def test_a_whole_video_is_read_in_chunks(tmp_path):
    layout(tmp_path, lengths=(14,), phase="test")
    data = FashionVideo(tmp_path, "test", size=(48, 48))
    parts = list(data.chunks(0))
    assert [part["real"] for part in parts] == [6, 6, 2]
    assert all(part["frames"].shape == (1, 6, 3, 48, 48) for part in parts)
    assert all(part["poses"].shape == (1, 6, 20, 48, 48) for part in parts)
    frames = torch.cat([part["frames"] for part in parts], 1)[0]
    assert torch.equal(frames[:14], data[0]["frames"])
    assert all(torch.equal(frames[t], frames[13]) for t in range(14, 18))
    for part in parts:
        assert torch.equal(part["reference_pose"][0], data[0]["reference_pose"])


# ---------------------------------------------------------------- augmentation


SHORT = {"frames": 6}


def dotted(root, cls, count=4):
    """Black frames with a green dot at joint 5, read and moved; the reader and its batches."""
    folder = layout(root, lengths=(12,), size=(256, 256), masks=True)
    for t in range(12):
        x, y = 8 * (t + 21), 6 * (t + 17)
        numbers = [0, 0, 0] * 5 + [x, y, 1] + [0, 0, 0] * 12
        joints = {"people": [{"pose_keypoints_2d": numbers}]}
        told = folder / "train_alphapose" / "video0" / f"{t}_keypoints.json"
        told.write_text(json.dumps(joints))
        joints["people"][0]["pose_keypoints_2d"] = numbers[:51]
        (folder / "train_video2d" / "video0" / f"{t}.json").write_text(json.dumps(joints))
        pixels = np.zeros((256, 256, 3), dtype=np.uint8)
        pixels[y - 1 : y + 2, x - 1 : x + 2, 1] = 255  # green: the filling is white
        Image.fromarray(pixels).save(folder / "train_A" / "video0" / f"{t}.png")
    data = cls(root, **SHORT)
    return data, [data.batch(step, 1, seed=2) for step in range(count)]


def green(picture):
    """The middle of what is green alone."""
    rows, columns = ((picture[1] > 0) & (picture[0] < 0)).nonzero(as_tuple=True)
    return torch.stack((columns.float().mean(), rows.float().mean()))


@pytest.mark.parametrize("cls", [FashionVideo, IPER])
def test_frames_joints_and_masks_move_together(tmp_path, cls):
    angles, filled = [], 0
    for batch in dotted(tmp_path, cls)[1]:
        frames, joints = batch["frames"][0], batch["keypoints"][0]
        for t in (0, 5):
            assert (green(frames[t]) - joints[t, 5]).norm() < 1.5
        reference = batch["reference_keypoints"][0, bones.COCO_17.index("left_shoulder")]
        assert (green(batch["reference"][0]) - reference).norm() < 1.5
        cut = kp.heatmaps(joints.trunc(), 256, 6.0)
        assert torch.equal(batch["poses"][0, :, :17], cut)  # whole pixels when moved
        along = joints[5, 5] - joints[0, 5]  # (40, 30) before it was turned
        angles.append(float(torch.rad2deg(torch.atan2(along[1], along[0]))) - 36.87)
        assert float(along.norm()) / 50 == pytest.approx(1.0, abs=0.021)
        white = (frames[0] == 1).all(0)
        filled += int(white.sum())
        assert not batch["masks"][0, 0, 0][white].any()
    assert filled > 500
    assert all(abs(angle) <= 5.1 for angle in angles) and max(map(abs, angles)) > 1.0


def test_iper_turns_the_reference_alike_and_shifts_nothing(tmp_path):
    data, batches = dotted(tmp_path, IPER)
    still = IPER(tmp_path, augment=False, **SHORT)
    for step, batch in enumerate(batches):
        plain = still.batch(step, 1, seed=2)
        assert plain["names"] == batch["names"]
        centre = torch.tensor([128.5, 128.5])
        before = plain["keypoints"][0, 0, 5] - centre
        after = batch["keypoints"][0, 0, 5] - centre
        assert after.norm() == pytest.approx(float(before.norm()), abs=1e-3)
        angle = torch.atan2(after[1], after[0]) - torch.atan2(before[1], before[0])
        matrix = kp.affine_matrix(float(torch.rad2deg(angle)), (0, 0), 1.0, (256, 256))
        moved = kp.transform(plain["reference_keypoints"], matrix)
        torch.testing.assert_close(batch["reference_keypoints"], moved, atol=1e-3, rtol=0)
    assert data.augment and not IPER(layout_of_test(tmp_path), "test").augment


def layout_of_test(root):
    layout(root, lengths=(2,), phase="test")
    return root


def test_fashion_draws_angle_shifts_and_scale_over_their_ranges():
    chance = torch.Generator().manual_seed(0)
    maps = [reading.random_affine(FashionVideo.ranges, (256, 256), chance) for _ in range(300)]
    centre = torch.tensor([128.5, 128.5, 1.0], dtype=torch.float64)
    drawn = torch.stack(
        [
            torch.stack(
                (*(m @ centre)[:2] - 128.5, m[1, 0].atan2(m[0, 0]).rad2deg(), m[0, :2].norm())
            )
            for m in maps
        ],
        1,
    )  # x, y, angle, scale
    low, high = drawn.amin(1), drawn.amax(1)
    torch.testing.assert_close(low, drawn.new_tensor([-20, -3, -5, 0.98]), rtol=0.05, atol=1e-3)
    torch.testing.assert_close(high, drawn.new_tensor([20, 3, 5, 1.02]), rtol=0.05, atol=1e-3)
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.2  # none follows another


def test_fashion_moves_the_reference_by_itself(tmp_path):
    _, batches = dotted(tmp_path, FashionVideo)
    still = FashionVideo(tmp_path, augment=False, **SHORT)
    apart = []
    for step, batch in enumerate(batches):
        plain = still.batch(step, 1, seed=2)
        shoulder = bones.COCO_17.index("left_shoulder")
        there = (batch["reference_keypoints"] - plain["reference_keypoints"])[0, shoulder]
        frame = (batch["keypoints"] - plain["keypoints"])[0, 0, 5]
        apart.append(float((there - frame).norm()))
    assert max(apart) > 5


# ---------------------------------------------------------------- what is odd, what is refused


def test_frames_without_a_person_are_left_out_with_a_warning(tmp_path):
    folder = layout(tmp_path, lengths=(8,))
    for t in (2, 5):
        (folder / "train_video2d" / "video0" / f"{t}.json").write_text('{"people": []}')
    (folder / "train_alphapose" / "video0" / "1_keypoints.json").write_text('{"people": []}')
    with pytest.warns(UserWarning, match=r"video0: 2 of 8 frames are left out.* 2\.png first"):
        data = FashionVideo(tmp_path, size=(96, 80), augment=False)
    assert [path.name for path in data.videos[0].frames] == [f"{t}.png" for t in (0, 1, 3, 4, 6, 7)]
    assert data.videos[0].references == [0, 2, 3, 4, 5]  # places among those kept, without 1.png
    parts = list(data.chunks(0))
    assert frame_of(parts[0]["frames"][0]) == [0, 1, 3, 4, 6, 7]
    assert {frame_of(data.batch(step, 2)["reference"])[0] for step in range(9)} <= {0, 3, 4, 6, 7}


def test_a_video_without_anybody_is_refused(tmp_path):
    folder = layout(tmp_path, lengths=(2, 2))
    for t in range(2):
        (folder / "train_alphapose" / "video1" / f"{t}_keypoints.json").write_text('{"people": []}')
    with pytest.raises(
        ValueError, match=r"first 2 frames of .*video1 .*reference_joints='video2d'"
    ):
        FashionVideo(tmp_path)
    assert len(FashionVideo(tmp_path, reference_joints="video2d")) == 2
    for t in range(2):
        (folder / "train_video2d" / "video0" / f"{t}.json").write_text('{"people": []}')
    with pytest.raises(ValueError, match=r"nobody was found on any of the 2 frames of .*video0"):
        FashionVideo(tmp_path)


GOOD = [1.0] * 51


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"people": [\n{"pose_keypoints_2d": [1,\n', r"1\.json, line 3: not JSON"),
        ("[]", r"1\.json: no people\[0\]\.pose_keypoints_2d"),
        ('{"people": [{}]}', r"1\.json: no people\[0\]\.pose_keypoints_2d"),
        ('{"people": [null]}', r"1\.json: no people\[0\]\.pose_keypoints_2d"),
        (json.dumps({"people": [{"pose_keypoints_2d": GOOD[:-1]}]}), "holds 50, expected 51"),
        (json.dumps({"people": [{"pose_keypoints_2d": "x"}]}), "holds 'x', expected 51"),
        (
            json.dumps({"people": [{"pose_keypoints_2d": [*GOOD[:7], float("nan"), *GOOD[8:]]}]}),
            r"1\.json: number 1 of joint 2 is nan",
        ),
        (
            json.dumps({"people": [{"pose_keypoints_2d": [None, *GOOD[1:]]}]}),
            r"1\.json: number 0 of joint 0 is None",
        ),
    ],
)
def test_bad_joints_are_named(tmp_path, text, message):
    folder = layout(tmp_path, lengths=(3,))
    (folder / "train_video2d" / "video0" / "1.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        FashionVideo(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*train_A: expected .*train_video2d"):
        FashionVideo(tmp_path)
    folder = layout(tmp_path, lengths=(3,), masks=True)
    (folder / "train_C" / "video0" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match="no mask '2': 1 of 3 frames"):
        FashionVideo(tmp_path)
    (folder / "train_video2d" / "video0" / "1.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no 1\.json: the joints of .*1\.png"):
        FashionVideo(tmp_path)
    (folder / "train_A" / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no frame"):
        FashionVideo(tmp_path)
    with pytest.raises(FileNotFoundError, match="test_256"):
        FashionVideo(tmp_path, "test")


def test_a_damaged_frame_is_named(tmp_path):
    folder = layout(tmp_path, lengths=(3,), phase="test")
    data = FashionVideo(tmp_path, "test", size=(32, 32))
    path = folder / "train_A" / "video0" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(OSError, match=r"1\.png cannot be decoded"):
        data[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture .*1\.png"):
        data[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "val"}, "phase is 'val'"),
        ({"size": (0, 8)}, r"size is \(0, 8\)"),
        ({"frames": 0}, "frames is 0, chunk is 6"),
        ({"reference_joints": "noisy"}, "reference_joints is 'noisy'"),
    ],
)
def test_senseless_options_are_refused(tmp_path, options, message):
    layout(tmp_path, lengths=(2,))
    with pytest.raises(ValueError, match=message):
        FashionVideo(tmp_path, **options)


# ---------------------------------------------------------------- the writer


def test_what_is_written_is_read_back(tmp_path):
    procedural_sets.procedural_videos(tmp_path, count=1, tests=1, frames=4, size=(48, 40), seed=9)
    item = IPER(tmp_path, "test", size=(48, 40))[0]
    drawn = motion.clips(1, 4, (48, 40), seed=10, noise=procedural_sets.NOISY)
    assert (item["frames"] - drawn["frames"][0]).abs().max() <= 0.5 / 127.5 + 1e-6
    truth = bones.human36m17(drawn["clean_keypoints"][0])
    torch.testing.assert_close(item["keypoints"], truth, atol=1.1e-3, rtol=0)
    noisy = bones.coco17(drawn["keypoints"][0])
    assert min(float((item["reference_keypoints"] - one).abs().max()) for one in noisy) < 1.1e-3
    assert torch.equal(item["masks"], drawn["foreground"][0].float())


def test_a_joint_at_zero_is_not_lost_and_nobody_is_nobody(tmp_path):
    points = torch.full((2, 17, 2), -1.0)
    points[0, 4] = torch.tensor([0.0, 7.0])
    noisy = torch.full((2, 18, 2), 5.0)
    small_sets.write_video(tmp_path, "one", torch.zeros(2, 3, 8, 8), points, noisy)
    folder = tmp_path / "train_256" / "train_video2d" / "one"
    assert videos.read_joints(folder / "00000.json", 17)[4].tolist() == pytest.approx([0.001, 7.0])
    assert videos.read_joints(folder / "00001.json", 17) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../up"}, "'../up' cannot name a video"),
        ({"clean": torch.zeros(2, 18, 2)}, r"clean has shape \(2, 18, 2\); expected \(2, 17, 2\)"),
        ({"noisy": torch.full((2, 18, 2), torch.nan)}, "noisy holds NaN"),
        ({"frames": torch.zeros(2, 8, 8)}, r"frames have shape \(2, 8, 8\)"),
        ({"masks": torch.zeros(2, 8, 8)}, r"masks have shape \(2, 8, 8\)"),
        ({"phase": "val"}, "phase is 'val'"),
    ],
)
def test_senseless_videos_are_not_written(tmp_path, change, message):
    given = {
        "name": "one",
        "frames": torch.zeros(2, 3, 8, 8),
        "clean": torch.zeros(2, 17, 2),
        "noisy": torch.zeros(2, 18, 2),
    }
    with pytest.raises(ValueError, match=message):
        small_sets.write_video(tmp_path, **{**given, **change})
    assert not list(tmp_path.iterdir())


def test_seeds_for_measuring_are_kept(tmp_path):
    with pytest.raises(ValueError, match="seed is 30000000"):
        procedural_sets.procedural_videos(tmp_path, seed=30_000_000)
