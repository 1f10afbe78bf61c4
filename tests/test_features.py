"""VGG-19: layout, golden features and losses, and the files that it is loaded from."""

import math
import pickle
import zlib

import numpy as np
import pytest
import torch

from gfla import features
from gfla.encoder import FILES, SmallEncoder, save_encoder
from gfla.features import LEVEL_TAPS, VGG19, load_features, load_vgg19
from gfla.losses import PERCEPTUAL_TAPS, STYLE_TAPS, gram, perceptual, sampling_correctness, style
from gfla.storage import CheckpointError, sha256

INDICES = 0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34  # torchvision's convolutions


def draw(key, shape, seed=7):
    """The weights of the golden run, from their names and shapes."""
    generator = torch.Generator().manual_seed((zlib.crc32(key.encode()) + seed) % 2**31)
    x = torch.randn(tuple(shape), generator=generator)
    return x * math.sqrt(2 / x[0].numel()) if x.ndim > 1 else 0.1 * x


@pytest.fixture(scope="module")
def network():
    network = VGG19()
    state = {name: draw(name, value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    return network


def picture(array):
    return torch.from_numpy(array.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1))


# Layout


def test_names_and_shapes_are_torchvision_s(network):
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected = {f"features.{k}.{what}" for k in INDICES for what in ("weight", "bias")}
    assert set(shapes) == expected
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert shapes["features.34.weight"] == (512, 512, 3, 3)
    assert sum(math.prod(shape) for shape in shapes.values()) == 20_024_384  # VGG-19's convolutions


def test_taps_are_where_the_specification_says(network):
    assert network.taps["relu1_1"] == 1
    assert network.taps["relu3_2"] == 13
    assert network.taps["relu3_4"] == 17
    assert network.taps["relu5_4"] == 35
    assert len(network.taps) == 16


def test_shapes_strides_and_order(network):
    names = ["relu5_1", "relu1_2", *LEVEL_TAPS.values()]
    taps = network(torch.zeros(2, 3, 48, 32), names)
    assert list(taps) == names
    assert taps["relu5_1"].shape == (2, 512, 3, 2)
    assert taps["relu1_2"].shape == (2, 64, 48, 32)
    for level, name in LEVEL_TAPS.items():
        assert taps[name].shape[-2:] == (48 // 2**level, 32 // 2**level)


def test_nothing_is_computed_beyond_the_deepest_tap(network):
    ran = []
    hooks = [
        layer.register_forward_hook(lambda *_, k=k: ran.append(k))
        for k, layer in enumerate(network.features)
    ]
    network(torch.zeros(1, 3, 16, 16), ["relu2_1", "relu1_1"])
    for hook in hooks:
        hook.remove()
    assert ran == list(range(7))


def test_it_is_frozen_but_lets_gradients_through(network):
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    network(image, ["relu2_2"])["relu2_2"].sum().backward()
    assert image.grad.abs().sum() > 0


def test_a_picture_is_not_normalised(network):
    image = torch.rand(1, 3, 8, 8) * 2 - 1
    weight, bias = network.features[0].weight, network.features[0].bias
    expected = torch.nn.functional.conv2d(image, weight, bias, padding=1).relu()
    torch.testing.assert_close(network(image, ["relu1_1"])["relu1_1"], expected)


# Golden arrays


def test_taps_are_golden(golden, network):
    arrays = golden("loss_vgg.npz")
    taps = network(picture(arrays["img1_u8"]), list(network.taps))
    for name, value in taps.items():
        assert value.shape == tuple(arrays[f"feat_shape_{name}"].tolist())
        if name == "relu3_2":  # by a slip of the original, relu3_3 under another name
            assert abs(value.mean() - arrays["feat_mean_relu3_2"]) > 1e-3
            continue
        torch.testing.assert_close(value.mean(), arrays[f"feat_mean_{name}"])
        torch.testing.assert_close(value.std(), arrays[f"feat_std_{name}"])
    torch.testing.assert_close(gram(taps["relu2_2"])[:, :32, :32], arrays["gram_relu2_2"])


def test_sampling_correctness_of_two_levels_is_golden(golden, network):
    arrays = golden("loss_vgg.npz")
    names = [LEVEL_TAPS[level] for level in (3, 2)]
    target, source = (network(picture(arrays[f"img{k}_u8"]), names) for k in (1, 2))
    flows = [arrays[f"flow_l{level}"].requires_grad_() for level in (3, 2)]
    loss = sum(
        sampling_correctness(source[name], target[name], flow)
        for name, flow in zip(names, flows, strict=True)
    )
    loss.backward()
    torch.testing.assert_close(loss.detach(), arrays["correctness"])
    for level, flow in zip((3, 2), flows, strict=True):
        expected = arrays[f"d_flow_l{level}"]
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(flow.grad, expected, rtol=1e-4, atol=atol)


def test_content_and_style_are_golden(golden, network):
    """One of a million rectifiers, relu3_1 [0, 111, 13, 12], lies 7e-8 from its kink: the golden
    run rounded it to the other side. Put there, the whole gradient agrees."""
    arrays = golden("loss_vgg.npz")
    image, other = picture(arrays["img1_u8"]).requires_grad_(), picture(arrays["img2_u8"])

    def to_the_other_side(layer, inputs, output):
        value = output[0, 111, 13, 12].item()
        assert abs(value) < 1e-6
        step = torch.zeros_like(output)
        step[0, 111, 13, 12] = -2 * value
        return output + step

    names = [*PERCEPTUAL_TAPS, *STYLE_TAPS]
    gradients = []
    for hook in (None, to_the_other_side):
        handle = hook and network.features[10].register_forward_hook(hook)
        taps_a = network(image, names)
        if handle:
            handle.remove()
        taps_b = network(other, names)
        content, appearance = perceptual(taps_a, taps_b), style(taps_a, taps_b)
        torch.testing.assert_close(content.detach(), arrays["content"])
        torch.testing.assert_close(appearance.detach(), arrays["style"], rtol=1e-5, atol=0)
        gradients += torch.autograd.grad(0.5 * content + 500 * appearance, image)
    expected = arrays["d_img1"]

    def apart(found):
        return float((found - expected).norm() / expected.norm())

    assert min(map(apart, gradients)) < 1e-4
    assert max(map(apart, gradients)) < 5e-3


# Files


@pytest.fixture
def file(tmp_path, network):
    """A file of the official layout, kept small by weights that are all one number."""
    state = {
        name: torch.full((1,), 0.01 * k).expand(value.shape)
        for k, (name, value) in enumerate(network.state_dict().items())
    }
    state["classifier.0.weight"] = torch.zeros(1).expand(4096, 25088)
    path = tmp_path / features.VGG19_FILE
    torch.save(state, path)
    return path


def test_a_file_with_the_right_checksum_is_loaded(file):
    before = torch.get_rng_state()
    network = load_vgg19(file, checksum=sha256(file))
    assert torch.equal(torch.get_rng_state(), before)
    for k, value in enumerate(network.state_dict().values()):
        assert torch.all(value == torch.tensor(0.01 * k))
    assert not any(p.requires_grad for p in network.parameters())
    assert network(torch.zeros(1, 3, 16, 16), ["relu1_1"])["relu1_1"].isfinite().all()


def test_the_hub_cache_is_found_and_the_checksum_of_the_name_is_asked(file, monkeypatch):
    folder = file.parent / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file.rename(folder / file.name)
    monkeypatch.setenv("TORCH_HOME", str(file.parent))
    with pytest.raises(CheckpointError, match="expected dcbb9e9d"):
        load_features("vgg19")
    monkeypatch.setattr(features, "VGG19_SHA256", sha256(folder / file.name)[:8])
    assert isinstance(load_features("vgg19"), VGG19)


def test_a_missing_file_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_vgg19()
    message = str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth") in message
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in message
    assert "load_features('people')" in message


def test_a_changed_file_is_refused(file):
    checksum = sha256(file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=checksum):
        load_vgg19(file, checksum=checksum)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04" + bytes(200)])
def test_a_damaged_file_is_a_checkpoint_error(tmp_path, content):
    path = tmp_path / "vgg19.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not hold"):
        load_vgg19(path, checksum=sha256(path))


def test_a_file_of_another_network_is_refused(file):
    state = torch.load(file, weights_only=True)
    del state["features.34.bias"]
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=r"features\.34\.bias"):
        load_vgg19(file, checksum=sha256(file))


class Trap:
    def __reduce__(self):
        return pytest.fail, ("code from the file was run",)


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "vgg19.pth"
    torch.save({"features.0.weight": Trap()}, path)
    with pytest.raises(CheckpointError):
        load_vgg19(path, checksum=sha256(path))
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError):
        load_vgg19(path, checksum=sha256(path))


# Names


def test_each_name_loads_its_own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "weights_dir", lambda: tmp_path)
    for number, name in enumerate(("people", "judge", "augmented")):
        encoder = SmallEncoder(widths=(8,) * 5, out=(8,) * 3)
        torch.nn.init.constant_(encoder.match["2"].bias, number)
        save_encoder(tmp_path / FILES[name], encoder)
    for number, name in enumerate(("people", "judge", "augmented")):
        assert bool((load_features(name).match["2"].bias == number).all()), name


def test_a_judge_that_is_not_there_is_missed_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "weights_dir", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"judge\.safetensors"):
        load_features("judge")


# Errors


@pytest.mark.parametrize(
    ("image", "names", "message"),
    [
        ((1, 3, 16, 16), ["relu6_1"], "relu6_1"),
        ((1, 3, 16, 16), "relu1_1", "list of taps"),
        ((1, 3, 16, 16), [], "list of taps"),
        ((1, 1, 16, 16), ["relu1_1"], r"\(1, 1, 16, 16\)"),
        ((3, 16, 16), ["relu1_1"], r"\(3, 16, 16\)"),
        ((1, 3, 32, 8), ["relu1_1", "relu5_1"], "needs 16"),
    ],
)
def test_bad_input_is_named(network, image, names, message):
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(image), names)


def test_bad_names_of_networks_and_checksums_are_named():
    known = "people, objects, vgg19, judge, augmented"
    with pytest.raises(ValueError, match=f"'vgg16': choose from {known}"):
        load_features("vgg16")
    with pytest.raises(ValueError, match="'dcbb'"):
        load_vgg19(checksum="dcbb")
