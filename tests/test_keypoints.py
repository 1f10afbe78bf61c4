"""Key points: heat maps against the authors' numbers, the file format, what is refused."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gfla.data import keypoints as kp

GOLDEN = Path(os.environ.get("GFLA_GOLDEN", Path(__file__).parent / "golden"))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "data_and_metrics.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def xy(golden, name):
    """The golden arrays hold (row, column); ours hold (x, y)."""
    return golden[name].to(torch.float32).flip(-1)


def skeleton(seed=0, height=256, width=176):
    """A whole-pixel skeleton with two joints missing."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(18, 2, generator=generator) * torch.tensor([width - 1.0, height - 1.0])
    points = points.round()
    points[[3, 16]] = -1.0
    return points


# ---------------------------------------------------------------- names


def test_vocabulary_is_openpose_18():
    names = kp.OPENPOSE_18
    assert len(names) == len(set(names)) == 18
    assert names[:2] == ("nose", "neck")
    assert [names[i] for i in (2, 7, 10, 13)] == [
        "right_shoulder",
        "left_wrist",
        "right_ankle",
        "left_ankle",
    ]
    assert names[14:] == ("right_eye", "left_eye", "right_ear", "left_ear")


def test_limbs_form_one_tree_and_have_a_colour_each():
    reached = {1}  # the neck
    for _ in range(18):
        for a, b in kp.LIMBS:
            if reached & {a, b}:
                reached |= {a, b}
    assert reached == set(range(18))
    assert len(kp.LIMBS) == 17  # a tree: one less than joints, so no limb closes a circle
    assert len(set(kp.LIMB_COLORS)) == len(kp.LIMBS)
    assert kp.LIMB_COLORS[:4] == ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0))


# ---------------------------------------------------------------- heat maps


def test_heatmaps_agree_with_the_authors_on_deepfashion(golden):
    points = kp.rescale(xy(golden, "fashion_kp_yx"), (256, 176), (256, 256))
    maps = kp.heatmaps(points, 256, truncate=True)
    assert maps.shape == (18, 256, 256)
    assert maps.dtype == torch.float32
    expected = golden["fashion_map_sub4"].permute(2, 0, 1)
    torch.testing.assert_close(maps[:, ::4, ::4], expected, atol=1e-6, rtol=0)
    for joint in kp.present(points).nonzero().flatten().tolist():
        peak = divmod(int(maps[joint].argmax()), 256)
        assert list(peak) == golden["fashion_map_argmax"][joint].tolist()
        assert maps[joint].max() == 1.0


def test_heatmaps_agree_with_the_authors_on_market_under_affine_maps(golden):
    compared = 0
    for index in range(3):
        angle, x, y, scale = golden[f"market_affine{index}_params_f64"].tolist()
        matrix = kp.affine_matrix(angle, (x, y), scale, (128, 64))
        expected = golden[f"market_affine{index}_matrix_f64"]
        torch.testing.assert_close(matrix, expected, atol=1e-12, rtol=0)
        inverse = torch.linalg.inv(matrix)[:2].flatten()
        expected = golden[f"market_affine{index}_inverse6_f64"]
        torch.testing.assert_close(inverse, expected, atol=1e-12, rtol=0)
        if f"market_map{index}" not in golden:  # the small copy holds one of the three
            continue
        points = kp.transform(xy(golden, "market_kp_yx"), matrix)
        maps = kp.heatmaps(points, (128, 64), truncate=True).permute(1, 2, 0)
        torch.testing.assert_close(maps, golden[f"market_map{index}"], atol=1e-6, rtol=0)
        compared += 1
    assert compared >= 1


def test_heatmap_is_the_formula():
    points = torch.tensor([[[4.25, 7.5], [-3.0, 2.0]]])
    maps = kp.heatmaps(points, (12, 9), sigma=2.0)
    assert maps.shape == (1, 2, 12, 9)
    for joint, (x, y) in enumerate(points[0].tolist()):
        for row, column in ((0, 0), (7, 4), (11, 8), (2, 0)):
            distance = (column - x) ** 2 + (row - y) ** 2
            expected = math.exp(-distance / 8.0)
            assert float(maps[0, joint, row, column]) == pytest.approx(expected, abs=1e-6)


def test_batched_heatmaps_equal_single_ones():
    stack = torch.stack([skeleton(i) for i in range(6)]).reshape(2, 3, 18, 2)
    maps = kp.heatmaps(stack, (64, 48), sigma=1.5)
    assert maps.shape == (2, 3, 18, 64, 48)
    assert torch.equal(maps[1, 2], kp.heatmaps(stack[1, 2], (64, 48), sigma=1.5))


@pytest.mark.parametrize("joint", [(-1.0, -1.0), (-1.0, 5.0), (5.0, -1.0)])
def test_a_joint_with_either_coordinate_minus_one_is_missing(joint):
    points = torch.tensor([joint])
    assert not kp.present(points).any()
    assert not kp.heatmaps(points, 16).any()
    assert kp.rescale(points, (10, 10), (20, 20)).tolist() == [[-1.0, -1.0]]
    matrix = kp.affine_matrix(0.0, (3.0, 3.0), 1.0, (16, 16))
    assert kp.transform(points, matrix).tolist() == [[-1.0, -1.0]]


def test_a_joint_off_the_picture_still_shows_its_tail():
    maps = kp.heatmaps(torch.tensor([[-2.0, 8.0], [-1.4, 8.0]]), 16, truncate=True)
    assert float(maps[0, 8, 0]) == pytest.approx(math.exp(-4 / 72), abs=1e-6)
    # -1.4 is cut to -1 for drawing, yet it is a joint: missing is judged before the cut
    assert float(maps[1, 8, 0]) == pytest.approx(math.exp(-1 / 72), abs=1e-6)


def test_truncation_cuts_towards_zero():
    cut = kp.heatmaps(torch.tensor([[3.9, -0.9]]), 8, truncate=True)
    assert torch.equal(cut, kp.heatmaps(torch.tensor([[3.0, 0.0]]), 8))
    assert not torch.equal(cut, kp.heatmaps(torch.tensor([[3.9, -0.9]]), 8))


def test_heatmaps_carry_gradients_to_the_joints():
    points = torch.tensor([[3.3, 4.6], [-1.0, -1.0]], requires_grad=True)
    kp.heatmaps(points, 8, sigma=2.0)[:, 4, 4].sum().backward()
    assert points.grad[0].abs().min() > 0
    assert not points.grad[1].any()


@pytest.mark.parametrize(
    ("keypoints", "options", "message"),
    [
        (torch.zeros(18, 3), {"size": 8}, r"\(18, 3\)"),
        (torch.zeros(2), {"size": 8}, r"\(2,\)"),
        (torch.tensor([[float("nan"), 1.0]]), {"size": 8}, "NaN"),
        (torch.tensor([[float("inf"), 1.0]]), {"size": 8}, "infinity"),
        (torch.zeros(18, 2), {"size": (0, 8)}, r"\(0, 8\)"),
        (torch.zeros(18, 2), {"size": 8, "sigma": 0.0}, "sigma is 0.0"),
        (torch.zeros(18, 2), {"size": 8, "sigma": float("nan")}, "sigma is nan"),
    ],
)
def test_heatmaps_refuse_bad_input(keypoints, options, message):
    with pytest.raises(ValueError, match=message):
        kp.heatmaps(keypoints, **options)


# ---------------------------------------------------------------- checks and scaling


def test_check_skeletons():
    assert kp.check_skeletons(torch.zeros(4, 18, 2)).shape == (4, 18, 2)
    with pytest.raises(ValueError, match=r"\(4, 17, 2\).*18 joints"):
        kp.check_skeletons(torch.zeros(4, 17, 2))
    bad = torch.zeros(18, 2)
    bad[2, 0] = bad[2, 1] = bad[5, 1] = float("nan")
    with pytest.raises(ValueError, match="2 joints are NaN"):
        kp.check_skeletons(bad)


@pytest.mark.parametrize(("narrow", "wide"), [(176, 256), (750, 192)])
def test_rescale_keeps_whole_numbers_whole(narrow, wide):
    # one rounding error below a whole number, and the cut to whole pixels loses a pixel
    columns = torch.arange(narrow)
    columns = columns[columns * wide % narrow == 0]
    points = torch.stack((columns, columns), -1).float()
    scaled = kp.rescale(points, (narrow, narrow), (wide, wide))
    assert torch.equal(scaled[:, 0].trunc().long(), columns * wide // narrow)


def test_affine_turns_about_the_authors_centre():
    matrix = kp.affine_matrix(90.0, (0.0, 0.0), 1.0, (128, 64))
    centre = torch.tensor([[32.5, 64.5], [42.5, 64.5]])
    moved = kp.transform(centre, matrix)
    torch.testing.assert_close(moved, torch.tensor([[32.5, 64.5], [32.5, 74.5]]))


# ---------------------------------------------------------------- the file format


def test_annotations_round_trip(tmp_path):
    skeletons = {f"fashionMEN{i}_1front.jpg": skeleton(i) for i in range(3)}
    path = kp.write_annotations(tmp_path / "fasion-annotation-train.csv", skeletons)
    assert path.read_text().splitlines()[0] == "name:keypoints_y:keypoints_x"
    back = kp.read_annotations(path)
    assert list(back) == list(skeletons)
    for name, points in skeletons.items():
        assert torch.equal(back[name], points)
        assert back[name].dtype == torch.float32


def test_writing_rounds_and_never_loses_a_joint(tmp_path):
    points = skeleton()
    points[0] = torch.tensor([10.4, 20.6])
    points[1] = torch.tensor([-0.9, 30.0])  # off the picture; rounded, it would read as missing
    back = kp.read_annotations(kp.write_annotations(tmp_path / "a.csv", {"a.jpg": points}))["a.jpg"]
    assert back[0].tolist() == [10.0, 21.0]
    assert back[1].tolist() == [-2.0, 30.0]
    assert torch.equal(kp.present(back), kp.present(points))


def test_reading_takes_spaces_byte_order_mark_and_empty_lines(tmp_path):
    path = tmp_path / "a.csv"
    ys, xs = list(range(18)), list(range(100, 118))
    text = f"\ufeffname:keypoints_y:keypoints_x\r\nb.jpg: {ys}: {xs}\r\n\r\nb.jpg: {ys}: {xs}\r\n"
    path.write_bytes(text.encode())
    back = kp.read_annotations(path)
    assert list(back) == ["b.jpg"]  # the same line twice does no harm
    assert back["b.jpg"][3].tolist() == [103.0, 3.0]  # x comes second in the file, first here


GOOD = "[" + ", ".join(["5"] * 18) + "]"
SHORT = "[" + ", ".join(["5"] * 17) + "]"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"a.jpg:{SHORT}:{GOOD}", "y list holds 17, expected 18"),
        (f"a.jpg:{GOOD}:{SHORT}", "x list holds 17, expected 18"),
        (f"a.jpg;{GOOD};{GOOD}", "1 fields between ':'"),
        (f"a.jpg:{GOOD}", "2 fields"),
        (f"C:/a.jpg:{GOOD}:{GOOD}", "4 fields"),
        (f":{GOOD}:{GOOD}", "3 fields"),
        (f"a.jpg:{GOOD.replace('5', 'NaN', 1)}:{GOOD}", "y of nose is nan"),
        (f"a.jpg:{GOOD}:{GOOD.replace('5', 'Infinity', 1)}", "x of nose is inf"),
        (f"a.jpg:{GOOD.replace('5', 'null', 1)}:{GOOD}", "y of nose is None"),
        (f"a.jpg:{GOOD.replace('5', 'true', 1)}:{GOOD}", "y of nose is True"),
        (f"a.jpg:{GOOD[:-1]}:{GOOD}", "y list is not JSON"),
        ("a.jpg:5:5", "y list holds 5, expected 18"),
        (f"b.jpg:{GOOD}:{GOOD.replace('5', '6')}", "second, different skeleton for 'b.jpg'"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path, line, message):
    path = tmp_path / "bad.csv"
    path.write_text(f"name:keypoints_y:keypoints_x\nb.jpg:{GOOD}:{GOOD}\n{line}\n")
    with pytest.raises(ValueError, match=message) as caught:
        kp.read_annotations(path)
    assert f"{path}, line 3" in str(caught.value)


@pytest.mark.parametrize("text", ["", "name,keypoints_y,keypoints_x\n", f"a.jpg:{GOOD}:{GOOD}\n"])
def test_a_wrong_header_is_refused(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="line 1: expected the header"):
        kp.read_annotations(path)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no key-point file"):
        kp.read_annotations(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(ValueError, match="not UTF-8"):
        kp.read_annotations(tmp_path / "bad.csv")


@pytest.mark.parametrize("name", ["", "a:b.jpg", "a\nb.jpg", " a.jpg"])
def test_names_that_would_break_the_format_are_not_written(tmp_path, name):
    with pytest.raises(ValueError, match="cannot name a picture"):
        kp.write_annotations(tmp_path / "a.csv", {name: skeleton()})
    assert not list(tmp_path.iterdir())
