"""ShapeNet views on disk: the authors' layout, its phases, its codes, and what is refused."""

import pickle
import re
import sys

import h5py
import numpy as np
import pytest
import torch

from gfla.data import objects, procedural_sets, small_sets
from gfla.data.shapenet import AZIMUTHS, ShapeNet

MODELS = ("ab12", "cd-34", "e_5")  # a model's own name may hold the separator


def colour(model, azimuth, elevation):
    """One colour for each view, so that a picture tells where it was taken from."""
    return np.array((40 * MODELS.index(model) + 10, 7 * azimuth, 12 * elevation), dtype=np.uint8)


def layout(root, models=MODELS, elevations=(0, 10, 20), kind="chair", phase="train"):
    """Write the data set by hand, so that reader and writer are not judged by each other."""
    names = []
    with h5py.File(root / f"data_{kind}.hdf5", "w") as file:
        for model in models:
            for azimuth in range(36):
                for elevation in elevations:
                    name = f"{model}_{azimuth}_{elevation}"
                    group = file.create_group(name)
                    group["image"] = np.tile(colour(model, azimuth, elevation), (4, 6, 1))
                    group["pose"] = np.array((azimuth, elevation))
                    names.append(name)
    (root / f"id_{kind}_{phase}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = layout(tmp_path_factory.mktemp("views"))
    (root / "id_chair_test.txt").write_text("cd-34_7_20\nab12_0_0\ncd-34_9_10\n")
    return root


def told(code):
    """The bins that a code names."""
    assert code.shape == (21, 1, 1) and code.sum() == 2
    first, second = code.flatten().nonzero().flatten().tolist()
    return first, second - 18


def seen(picture):
    """Model, azimuth's number and elevation, off the colour."""
    red, green, blue = picture[:, 0, 0].add(1).mul(127.5).round().int().tolist()
    assert (picture == picture[:, :1, :1]).all()
    return MODELS[(red - 10) // 40], green // 7, blue // 12


def test_a_training_pair_is_one_model_at_one_elevation(written):
    data = ShapeNet(written, size=(8, 8))
    assert len(data) == 3 * 36 * 3
    batch = data.batch(2, 12, seed=5)
    assert batch["source"].shape == batch["target"].shape == (12, 3, 8, 8)
    assert batch["source_view"].shape == batch["target_view"].shape == (12, 21, 1, 1)
    for i, (source, target) in enumerate(batch["names"]):
        model, azimuth, elevation = seen(batch["source"][i])
        assert source == f"{model}_{azimuth}_{elevation}"
        assert told(batch["source_view"][i]) == (azimuth // 2, elevation // 10)
        other, turned, same = seen(batch["target"][i])
        assert (other, same) == (model, elevation)
        assert target == f"{model}_{turned}_{elevation}"
        assert turned % 2 == 0  # targets are the even azimuths alone
        assert told(batch["target_view"][i]) == (turned // 2, elevation // 10)


def test_an_odd_azimuth_falls_into_the_bin_below(written):
    data = ShapeNet(written, size=(4, 4))
    for index, view in enumerate(data.views[:108:3]):
        assert told(data[3 * index]["source_view"])[0] == view.azimuth // 2
    assert told(data[3 * 35]["source_view"]) == (17, 0)


def test_every_azimuth_comes_as_a_target_and_every_view_as_a_source(written):
    data = ShapeNet(written, size=(2, 2))
    names = [pair for step in range(27) for pair in data.batch(step, 12, seed=1)["names"]]
    assert sorted(source for source, _ in names) == sorted(view.group for view in data.views)
    assert {int(target.split("_")[-2]) for _, target in names} == set(range(0, 36, 2))


def test_the_test_turns_each_model_through_all_azimuths(written):
    data = ShapeNet(written, phase="test", size=(4, 4))
    assert len(data) == 2 * AZIMUTHS  # two models, in the order of the list
    for index in range(len(data)):
        item = data[index]
        model = ("cd-34", "ab12")[index // 18]
        assert seen(item["source"]) == (model, 2 * (index // 18), 0)  # the source azimuth cycles
        assert seen(item["target"]) == (model, 2 * (index % 18), 0)
        assert told(item["target_view"]) == (index % 18, 0)


def test_batches_depend_on_seed_and_step_alone(written):
    data, again = (ShapeNet(written, size=(4, 4)) for _ in range(2))
    rows = [data.batch(step, 3, seed=2) for step in range(4)]
    for step in (3, 0, 2):
        other = again.batch(step, 3, seed=2)
        assert other["names"] == rows[step]["names"]
        assert torch.equal(other["target"], rows[step]["target"])
    assert data.batch(0, 3, seed=3)["names"] != rows[0]["names"]
    with pytest.raises(ValueError, match="step is -1, count is 3"):
        data.batch(-1, 3)


def test_pixels_are_scaled_and_resized(tmp_path):
    layout(tmp_path, models=("ab12",), elevations=(0,))
    ramp = np.arange(64, dtype=np.uint8).repeat(3).reshape(8, 8, 3) * 4
    with h5py.File(tmp_path / "data_chair.hdf5", "a") as file:
        del file["ab12_0_0"]["image"]
        file["ab12_0_0"]["image"] = ramp
    expected = torch.from_numpy(ramp.copy()).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(ShapeNet(tmp_path, size=(8, 8))[0]["source"], expected)
    half = ShapeNet(tmp_path, size=(4, 4))[0]["source"]
    assert (half.mean() - expected.mean()).abs() < 0.01
    assert ShapeNet(tmp_path)[0]["source"].shape == (3, 256, 256)


def test_a_worker_opens_the_file_again(written):
    data = ShapeNet(written, phase="test", size=(4, 4))
    before = data[3]["target"]
    assert torch.equal(pickle.loads(pickle.dumps(data))[3]["target"], before)


# ---------------------------------------------------------------- refusals


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_chair\.hdf5.*<model>_<azimuth>"):
        ShapeNet(tmp_path)
    layout(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_car\.hdf5"):
        ShapeNet(tmp_path, kind="car")
    with pytest.raises(FileNotFoundError, match=r"id_chair_test\.txt"):
        ShapeNet(tmp_path, phase="test")
    with pytest.raises(ValueError, match="phase is 'val'"):
        ShapeNet(tmp_path, phase="val")
    with h5py.File(tmp_path / "data_chair.hdf5", "a") as file:
        del file["ab12_4_10"]
    with pytest.raises(ValueError, match=r"1 of 324 views .*'ab12_4_10'"):
        ShapeNet(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ab12", r"line 2: 'ab12' is no view"),
        ("../x_0_0", r"line 2: '\.\./x_0_0' is no view"),
        ("ab12_36_0", "line 2: azimuth 36, elevation 0"),
        ("ab12_0_30", "line 2: azimuth 0, elevation 30"),
        ("ab12_04_0", "line 2: 'ab12_04_0' has leading zeros"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    layout(tmp_path, models=("ab12",), elevations=(0,))
    (tmp_path / "id_chair_train.txt").write_text(f"ab12_0_0\n{line}\n")
    with pytest.raises(ValueError, match=message):
        ShapeNet(tmp_path)


def test_an_empty_list_is_refused(tmp_path):
    layout(tmp_path, models=("ab12",), elevations=(0,))
    (tmp_path / "id_chair_train.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="lists no views"):
        ShapeNet(tmp_path)


def spoil(group, kind, root):
    """Make one group wrong in one way."""
    if kind == "pose":
        group["pose"][...] = (0, 10)
    elif kind == "floats":
        del group["image"]
        group["image"] = np.zeros((4, 4, 3), dtype=np.float32)
    elif kind == "grey":
        del group["image"]
        group["image"] = np.zeros((4, 4), dtype=np.uint8)
    elif kind == "absent":
        del group["image"]
    elif kind == "huge":
        del group["image"]
        group.create_dataset("image", (30_000, 30_000, 3), dtype=np.uint8, chunks=(100, 100, 3))
    else:
        del group["image"]
        with h5py.File(root / "elsewhere.hdf5", "w") as other:
            other["image"] = np.zeros((4, 4, 3), dtype=np.uint8)
        group["image"] = h5py.ExternalLink(str(root / "elsewhere.hdf5"), "image")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pose", r"group ab12_0_0: its pose is \[0, 10\], its name says \[0, 0\]"),
        ("floats", r"ab12_0_0: its image has shape \(4, 4, 3\) and type float32"),
        ("grey", r"ab12_0_0: its image has shape \(4, 4\) and type uint8"),
        ("absent", "ab12_0_0: no array 'image' in it"),
        ("huge", "ab12_0_0: 'image' has 2700000000 numbers"),
        ("link", "ab12_0_0: no array 'image' in it"),
    ],
)
def test_a_bad_group_is_named(tmp_path, kind, message):
    layout(tmp_path, models=("ab12",), elevations=(0,))
    with h5py.File(tmp_path / "data_chair.hdf5", "a") as file:
        spoil(file["ab12_0_0"], kind, tmp_path)
    with pytest.raises(ValueError, match=message):
        ShapeNet(tmp_path, size=(4, 4))[0]


def test_a_group_elsewhere_is_refused(tmp_path):
    layout(tmp_path, models=("ab12",), elevations=(0,))
    with h5py.File(tmp_path / "data_chair.hdf5", "a") as file:
        del file["ab12_2_0"]
        file["ab12_2_0"] = h5py.ExternalLink("other.hdf5", "ab12_2_0")
    with pytest.raises(ValueError, match="'ab12_2_0' is a link"):
        ShapeNet(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    layout(tmp_path, models=("ab12",), elevations=(0,))
    (tmp_path / "data_chair.hdf5").write_bytes(b"no HDF5 at all")
    with pytest.raises(OSError, match=r"data_chair\.hdf5 cannot be opened"):
        ShapeNet(tmp_path)


def test_without_h5py_the_reader_says_what_to_install(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape('pip install "gfla[data]"')):
        ShapeNet(written)


# ---------------------------------------------------------------- the writer


def test_what_is_written_is_read_back(tmp_path):
    generator = torch.Generator().manual_seed(0)
    views = {name: torch.rand(3, 36, 3, 5, 7, generator=generator) * 2 - 1 for name in ("a1", "b2")}
    turned = {"c3": torch.rand(1, 18, 3, 5, 7, generator=generator) * 2 - 1}
    small_sets.write_views(tmp_path, views, turned, kind="car")
    data = ShapeNet(tmp_path, "car", size=(5, 7))
    assert len(data) == 2 * 3 * 36
    batch = data.batch(0, 20)
    for i, pair in enumerate(batch["names"]):
        for side, name in zip(("source", "target"), pair):
            model, azimuth, elevation = name.split("_")
            truth = views[model][int(elevation) // 10, int(azimuth)]
            assert (batch[side][i] - truth).abs().max() <= 0.5 / 127.5 + 1e-6
    test = ShapeNet(tmp_path, "car", "test", size=(5, 7))
    frames = torch.stack([test[j]["target"] for j in range(18)])
    assert (frames - turned["c3"][0]).abs().max() <= 0.5 / 127.5 + 1e-6


def test_procedural_objects_are_read_back(tmp_path):
    procedural_sets.procedural_views(
        tmp_path, count=1, tests=1, size=(32, 32), seed=77, elevations=1
    )
    data = ShapeNet(tmp_path, phase="test", size=(32, 32))
    drawn = objects.views(1, size=(32, 32), seed=78, classes=("chair",))
    for j in (0, 5, 17):
        item = data[j]
        assert (item["target"] - drawn["frames"][0, j]).abs().max() < 0.005
        assert torch.equal(item["target_view"], objects.view_code(j, 0))
    assert len(ShapeNet(tmp_path, size=(32, 32))) == 18


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("a_1", (1, 18, 3, 4, 4), "'a_1' cannot name a model"),
        ("a1", (4, 18, 3, 4, 4), r"a1 has views of shape \(4, 18, 3, 4, 4\)"),
        ("a1", (1, 17, 3, 4, 4), r"18 or 36 azimuths"),
    ],
)
def test_senseless_views_are_not_written(tmp_path, name, shape, message):
    with pytest.raises(ValueError, match=message):
        small_sets.write_views(tmp_path, {name: torch.zeros(shape)}, {})
    assert not list(tmp_path.iterdir())


def test_phases_share_no_model_and_seeds_for_measuring_are_kept(tmp_path):
    views = {"a1": torch.zeros(1, 18, 3, 4, 4)}
    with pytest.raises(ValueError, match="'a1' is in train and in test"):
        small_sets.write_views(tmp_path, views, views)
    with pytest.raises(ValueError, match="seed is 30000000"):
        procedural_sets.procedural_views(tmp_path, seed=30_000_000)
    with pytest.raises(ValueError, match="count is 0"):
        procedural_sets.procedural_views(tmp_path, count=0)
