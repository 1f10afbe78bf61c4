"""A photograph of one's own and two poses become a picture that says what its model has seen."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from gfla import checkpoint, cli, journal, storage
from gfla.data import people, posing, stances
from gfla.data.bones import COCO_17
from gfla.data.keypoints import OPENPOSE_18, heatmaps, write_annotations
from gfla.data.pasting import to_json
from gfla.data.pose_repairs import repaired
from gfla.data.posing import Pose
from gfla.model import GFLA, load
from gfla.photos import detecting
from gfla.pictures import to_uint8

USUAL = ("photo.jpg", "a.json", "b.json", "c.png")
NEVER = "The model has never seen a photograph"
# joints of scikit-image's astronaut, told by eye
ASTRONAUT = {
    "nose": (222, 118), "neck": (220, 215), "right_shoulder": (130, 235), "right_elbow": (80, 385),
    "right_wrist": (160, 490), "left_shoulder": (310, 235), "left_elbow": (385, 365),
    "left_wrist": (400, 500), "right_eye": (205, 98), "left_eye": (240, 97),
}  # fmt: skip
SITTER = Pose(tuple(ASTRONAUT.get(joint) for joint in OPENPOSE_18), (512, 512))
STRANGER = stances.preset("wave", Pose((None,) * 18, (480, 320)))


@pytest.fixture
def desk(tmp_path):
    """A photograph that the project did not make, and the poses of two people."""
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg", quality=90)
    (tmp_path / "a.json").write_text(to_json(SITTER))
    (tmp_path / "b.json").write_text(to_json(STRANGER))
    return tmp_path


def words(desk, **options):
    """The command's words; an option that is None is left out, one that is True stands alone."""
    said = dict(zip(("source", "source-pose", "target-pose", "out"), USUAL, strict=True))
    said |= {name.replace("_", "-"): value for name, value in options.items()}
    files = ("source", "source-pose", "target-pose", "out", "model")
    listed = ["render"]
    for name, value in said.items():
        if value is None:
            continue
        path = name in files and "." in str(value)
        listed += [f"--{name}"] + ([] if value is True else [str(desk / value if path else value)])
    return listed


def run(desk, **options):
    assert cli.main(["--traceback", *words(desk, **options)]) in (0, None)
    return json.loads((desk / "c.png.json").read_text()) if not options.get("check") else None


def test_a_photograph_becomes_a_picture_that_says_what_its_model_has_seen(desk, capsys):
    record = run(desk)
    told = capsys.readouterr().out
    with Image.open(desk / "c.png") as picture:
        assert picture.size == (64, 64) and picture.mode == "RGB"
        assert NEVER in picture.text["Description"]
        assert json.loads(picture.text["gfla"]) == record
        assert np.asarray(picture).std() > 20
    assert NEVER in told and NEVER in record["caption"] and "written: " in told
    assert record["model"]["photographs"] is False
    shipped = storage.read_manifest(storage.weights_dir())["people.safetensors"]
    assert record["model"]["sha256"] == shipped["sha256"]
    assert record["source"]["sha256"] == storage.sha256(desk / "photo.jpg")
    assert record["retargeted"]["scale"] > 1  # she is nearer than the stranger
    assert any("Left out" in one and "left ankle" in one for one in record["warnings"])
    assert str(desk) not in json.dumps(record)
    left = sorted(path.name for path in desk.iterdir())
    assert left == ["a.json", "b.json", "c.png", "c.png.json", "photo.jpg"]


def test_the_result_can_go_back_into_the_photograph_and_onto_a_sheet(desk, capsys):
    record = run(desk, keep_size=True, sheet=True)
    with Image.open(desk / "c.png") as picture, Image.open(desk / "photo.jpg") as before:
        assert picture.size == before.size == (512, 512)
        box = record["box"]
        changed = (np.asarray(picture) != np.asarray(before)).any(-1)
        outside = changed.copy()
        top, left = max(box["top"], 0), max(box["left"], 0)
        outside[top : box["top"] + box["height"], left : box["left"] + box["width"]] = False
        assert changed.mean() > 0.5 and not outside.any()
    assert any("was enlarged" in one for one in record["warnings"])
    with Image.open(desk / "c-sheet.png") as sheet:
        assert sheet.width > 5 * 64 and record["sheet"] == "c-sheet.png"
    assert "c-sheet.png" in capsys.readouterr().out


def test_nothing_happens_on_the_way_to_the_model(desk):
    """A whole picture in the model's size, poses as they are: what `render` gives, to the bit."""
    batch = people.pairs(1, (64, 64), 30_980_000)
    Image.fromarray(to_uint8(batch["source"][0])).save(desk / "person.png")
    poses = [Pose.of(batch[f"{who}_keypoints"], (64, 64)) for who in ("source", "target")]
    for name, pose in zip("ab", poses, strict=True):
        (desk / f"{name}.json").write_text(to_json(pose))
    record = run(desk, source="person.png", frame="whole", as_is=True)
    model = load("people")
    shown = torch.from_numpy(to_uint8(batch["source"][0])).permute(2, 0, 1)[None] / 127.5 - 1
    told = [heatmaps(pose.tensor(), (64, 64), 1.5) for pose in poses]
    wanted = to_uint8(model.render(shown, *told)[0]).astype(int)
    with Image.open(desk / "c.png") as picture:
        assert np.abs(np.asarray(picture).astype(int) - wanted).max() <= 1  # three decimals of JSON
    assert record["retargeted"] is None
    assert record["box"]["width"] == record["box"]["height"] == 64


def tiny(path, **notes):
    """A small model with chance weights, as a run or as an import would write it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = GFLA((64, 64), {2: 3}, flow_base=4, flow_depth=4, base=4, depth=2, hidden=4)
    checkpoint.save_model(path, model, **notes)


def test_the_authors_weights_have_seen_photographs_and_keep_their_licence(desk, capsys):
    notes = {"released": ["deepfashion"], "task": "fashion", "licence": "non-commercial"}
    tiny(desk / "net.safetensors", **notes)
    record = run(desk, model="net.safetensors")
    assert record["model"]["photographs"] is True and record["model"]["name"] == "net.safetensors"
    assert NEVER not in capsys.readouterr().out
    assert "non-commercial" in record["caption"] and "deepfashion" in record["caption"]
    assert record["picture"] == {"width": 44, "height": 64}  # DeepFashion's, no longer squeezed
    assert record["box"]["width"] / record["box"]["height"] == pytest.approx(176 / 256, abs=0.01)


@pytest.mark.parametrize(
    "source, photographs, told",
    [("people", False, NEVER), ("my/pictures", None, "pictures in pictures"),
     (None, None, "is not told")],
)  # fmt: skip
def test_of_a_run_of_ones_own_the_configuration_tells(source, photographs, told, desk):
    tiny(desk / "model.safetensors")
    if source:
        storage.write_json(desk / journal.CONFIG, {"config": {"data": {"source": source}}})
    record = run(desk, model="model.safetensors")
    assert record["model"]["photographs"] is photographs and told in record["caption"]


def test_a_check_draws_the_mistake_and_the_repair_undoes_it(desk, capsys):
    wrong = repaired(Pose(STRANGER.points, STRANGER.size), "swap sides of the body")
    (desk / "b.json").write_text(to_json(wrong))
    run(desk, check=True)
    told = capsys.readouterr().out
    assert "Left and right look swapped" in told and "'swap sides of the body'" in told
    assert not (desk / "c.png.json").exists()
    with Image.open(desk / "c.png") as drawn:
        pixels, inside = np.asarray(drawn), drawn.width
        assert inside > 640 + 400 and "swap sides" in drawn.text["Description"]
    for color in ((255, 0, 0), (0, 85, 255)):  # neck to shoulder; left thigh of the stranger
        assert (np.abs(pixels.astype(int) - color).max(-1) < 8).sum() > 50, color
    record = run(desk, target_repair="swap sides of the body")
    assert record["target"]["pose"]["faults"] == []
    assert "Repaired as asked: swap sides of the body." in record["warnings"]
    assert not any("look swapped" in one for one in record["warnings"])


def test_a_turned_photograph_and_key_points_of_before(desk):
    with Image.open(desk / "photo.jpg") as upright:
        part = upright.crop((0, 0, 512, 500))
    exif = Image.Exif()
    exif[0x0112] = 6
    part.transpose(Image.Transpose.ROTATE_90).save(desk / "turned.jpg", exif=exif)
    before = Pose(tuple(p and (p[1], 511 - p[0]) for p in SITTER.points), (512, 500))
    (desk / "a.json").write_text(to_json(before))
    record = run(desk, source="turned.jpg")
    assert record["source"]["pose"]["joints"][0] == [222, 118]
    assert any("were turned" in one for one in record["warnings"])


def test_the_row_of_the_photograph_is_taken_and_a_canvas_can_be_told(desk):
    small = posing.resized(SITTER, (128, 128)).tensor()[0]
    rows = {"else.jpg": STRANGER.tensor()[0], "photo.jpg": small}
    write_annotations(desk / "points.csv", rows)
    record = run(desk, source_pose="points.csv", source_canvas="128x128")
    nose = record["source"]["pose"]["joints"][0]
    assert nose == pytest.approx([222, 118], abs=4) and record["source"]["pose"]["faults"] == []
    unsized = run(desk, source_pose="points.csv")
    hints = [fault["hint"] for fault in unsized["source"]["pose"]["faults"]]
    assert any("such as 176×256" in hint for hint in hints)


BROKEN = [
    ({"source": "no.jpg"}, "there is no picture"),
    ({"source": "cut.jpg"}, "cannot be read as a picture"),
    ({"source": "empty.jpg"}, "cannot be read as a picture"),
    ({"source_pose": "no.json"}, "there is no file of key points"),
    ({"source_pose": "empty.json"}, "found nothing"),
    ({"source_pose": "nan.json"}, "nose is"),
    ({"target_pose": "comma.csv"}, "expected the header"),
    ({"target_pose": "empty.json"}, "found nothing"),
    ({"target_pose": None}, "give --target-pose FILE"),
    ({"source_pose": None}, "give --source-pose FILE, or --detect"),
    ({"source_person": 3}, "person 3 was asked for"),
    ({"out": "c.jpg"}, "ends in .png"),
    ({"out": "photo.png", "source": "photo.png"}, "would replace"),
    ({"model": "giants"}, "no trained model 'giants'"),
    ({"model": "net.pth"}, "python -m gfla import"),
    ({"model": "cut.safetensors"}, "not a readable safetensors"),
    ({"model": "encoder"}, "expected a 'GFLA'"),
    ({"fill": 2}, "fill is 2.0"),
    ({"confidence": 7}, "the confidence is 7.0"),
]


@pytest.mark.parametrize("options, told", BROKEN, ids=lambda value: str(value)[:40])
def test_what_is_damaged_gives_one_clear_line_and_status_2(options, told, desk, capsys):
    photo = (desk / "photo.jpg").read_bytes()
    (desk / "cut.jpg").write_bytes(photo[:2000])
    (desk / "photo.png").write_bytes(photo)
    for name in ("empty.jpg", "empty.json", "net.pth"):
        (desk / name).write_bytes(b"")
    (desk / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    (desk / "nan.json").write_text(json.dumps([[float("nan"), 1]] * 18))
    (desk / "comma.csv").write_text("name,keypoints_y,keypoints_x\nb,[1],[1]")
    before = sorted(desk.iterdir())
    assert cli.main(words(desk, **options)) == 2
    error = capsys.readouterr().err
    assert told in error and error.startswith("gfla render: ") and error.count("\n") == 1
    assert sorted(desk.iterdir()) == before


def test_a_size_is_width_by_height(desk, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words(desk, source_canvas="huge"))
    assert end.value.code == 2 and "write width x height" in capsys.readouterr().err


@pytest.fixture
def detector(monkeypatch):
    """A stand-in for rtmlib that finds the astronaut, and somebody small behind her."""
    coco = [SITTER[joint] or (0, 0) for joint in COCO_17]
    sure = np.array([0.9 if SITTER[joint] else 0.1 for joint in COCO_17])
    seen = {}

    class Body:
        def __init__(self, **options):
            seen["options"] = options

        def __call__(self, image):
            seen["pixel"] = image[5, 5].tolist()
            places = np.array(coco, dtype=np.float32)
            return np.stack([places / 8, places]), np.stack([sure, sure])

    module = types.ModuleType("rtmlib")
    module.Body = Body
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    detecting._detector.cache_clear()
    yield seen
    detecting._detector.cache_clear()


def test_a_detector_is_one_call(desk, detector):
    picture = Image.fromarray(data.astronaut())
    found = detecting.detect(picture)
    assert found.format == "COCO-17" and found.people == 2 and "RTMPose" in found.reason
    assert found.pose()["left_wrist"] == SITTER["left_wrist"]
    assert set(found.pose().missing()) == {*SITTER.missing()} - {"neck"}
    assert detector["pixel"] == list(picture.getpixel((5, 5)))[::-1]  # blue first
    assert detector["options"]["to_openpose"] is False
    record = run(desk, source_pose=None, detect=True)
    assert record["source"]["pose"]["file"] == "the photograph"
    with pytest.raises(ValueError, match="no mode 'slow'"):
        detecting.detect(picture, mode="slow")


def test_without_a_detector_the_extra_is_named(desk, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    detecting._detector.cache_clear()
    assert cli.main(words(desk, source_pose=None, detect=True)) == 2
    error = capsys.readouterr().err
    assert "gfla[detect]" in error and error.count("\n") == 1
