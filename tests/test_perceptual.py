"""Distances through networks: against other implementations, by hand, and never under a false name.

The published weights are not needed: files made up here, whose checksum is declared the right one,
go the same way.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gfla.encoder import SmallEncoder
from gfla.scores import inception, perceptual, trunks
from gfla.scores.frechet import frechet
from gfla.scores.inception import Inception
from gfla.scores.judging import judge_images
from gfla.scores.perceptual import TAPS, area_mean, encoder_distance, encoder_frechet
from gfla.storage import CheckpointError, sha256


def pictures(count=2, side=32):
    return torch.rand(count, 3, side, side) * 2 - 1


def tiny_encoder():
    return SmallEncoder((8,) * 5, (8,) * 3).requires_grad_(False).eval()


class Given(nn.Module):
    """An encoder whose taps are the picture itself, at halved and halved sizes."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, image, names):
        return {name: F.avg_pool2d(image, 2 ** (int(name[4]) - 1)) for name in names}


# Over the project's encoders


def test_encoder_distance_by_hand():
    image, target = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
    image[:, 0], target[:, 1] = 0.5, 0.1  # at right angles, whatever their length: distance 2
    target[1, :, :, 8:] = image[1, :, :, 8:]  # equal in the right half: distance 1
    found = encoder_distance(image, target, Given(), reduction="pairs")
    # relu5_1 is one pixel there: (0.5, 0) beside the mean of both halves, (0.25, 0.05)
    unit = torch.tensor([0.25, 0.05]) / torch.tensor([0.25, 0.05]).norm()
    coarsest = float((unit - torch.tensor([1.0, 0.0])).square().sum())
    assert found.tolist() == pytest.approx([2, (4 * 1 + coarsest) / 5], abs=1e-5)
    assert encoder_distance(image, target, Given()) == pytest.approx(float(found.mean()))
    right = torch.zeros(2, 1, 16, 16)
    right[..., 8:] = 1
    masked = encoder_distance(image, target, Given(), right, reduction="pairs")
    assert masked.tolist() == pytest.approx([2, coarsest / 5], abs=1e-5)
    right[0] = 0
    empty = encoder_distance(image, target, Given(), right, reduction="pairs")
    assert empty.isnan().tolist() == [True, False]


def test_a_mask_counts_by_area():
    features = torch.tensor([[1.0, 2.0], [4.0, 8.0]])[None, None]
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0] = 1  # a quarter of the first position
    mask[..., 2:, 2:] = 1  # the whole of the last
    assert area_mean(features, mask).item() == pytest.approx((0.25 * 1 + 8) / 1.25)
    assert area_mean(features).item() == area_mean(features, torch.ones(1, 1, 8, 8)).item() == 3.75


def test_a_mask_of_ones_is_no_mask():
    image, target, encoder = pictures(), pictures(), tiny_encoder()
    plain = encoder_distance(image, target, encoder)
    assert 0 < plain < 2
    ones = torch.ones(2, 1, 32, 32)
    assert encoder_distance(image, target, encoder, ones) == pytest.approx(plain)


def test_batches_do_not_matter():
    image, target, encoder = pictures(19), pictures(19), tiny_encoder()
    whole = encoder_distance(image, target, encoder, reduction="pairs")
    assert len(whole) == 19
    last = encoder_distance(image[18:], target[18:], encoder)
    assert whole[18].item() == pytest.approx(last, rel=1e-5)


def test_frechet_is_scipy_s():
    from scipy.linalg import sqrtm

    x, y = torch.randn(60, 8) @ torch.randn(8, 8), torch.randn(50, 8) @ torch.randn(8, 8) + 1
    a, b = np.cov(x.double().numpy(), rowvar=False), np.cov(y.double().numpy(), rowvar=False)
    means = x.double().mean(0).numpy() - y.double().mean(0).numpy()
    expected = means @ means + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-9)


def test_frechet_of_one_dimension_is_the_formula():
    x, y = torch.randn(200, 1).double(), 3 * torch.randn(100, 1).double() + 2
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert frechet(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_keeps_its_digits_where_covariances_are_singular():
    x = torch.randn(40, 6).double()
    x[:, 5] = x[:, 4]  # one direction without spread, another without any at all
    x[:, 3] = 7
    assert 0 <= frechet(x, x) < 1e-12
    shifted = x + torch.tensor([0.0, 0, 0, 1e-3, 0, 0])
    assert frechet(x, shifted) == pytest.approx(1e-6, rel=1e-5)


def test_encoder_frechet_is_that_of_mean_features():
    images, references, encoder = pictures(20), pictures(18), tiny_encoder()
    features = [encoder(x, ["relu4_1"])["relu4_1"].mean((2, 3)) for x in (images, references)]
    expected = frechet(*features)
    assert encoder_frechet(images, references, encoder) == pytest.approx(expected, rel=1e-4)
    assert encoder_frechet(images, images, encoder) < 1e-9 < expected


def test_encoder_frechet_under_masks_looks_nowhere_else():
    images = pictures(20, 64)
    references, mask = images.clone(), torch.zeros(20, 1, 64, 64)
    references[..., 32:] = 0.9
    mask[..., :16] = 1
    whole = encoder_frechet(images, references, Given())
    assert encoder_frechet(images, references, Given(), mask) < 1e-9 < whole
    assert encoder_frechet(images, references, Given(), mask.flip(3)) > whole


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: encoder_distance(x, x[..., :16], Given()), r"\(2, 3, 32, 16\)"),
        (lambda x: encoder_distance(100 * x.abs() + 2, x, Given()), "image must lie"),
        (lambda x: encoder_distance(x, x, Given(), x), r"mask must be \(2, 1, 32, 32\)"),
        (lambda x: encoder_distance(x, x, Given(), 0 * x[:, :1]), "nothing in picture 0"),
        (lambda x: encoder_frechet(x, x, Given()), "2 pictures for 3 features"),
        (lambda x: encoder_frechet(*[x.repeat(3, 1, 1, 1)] * 2, Given(), torch.zeros(6, 1, 32, 32)),
         "picture 0 are not finite"),
        (lambda x: frechet(torch.ones(9, 2), torch.ones(9, 3)), r"\(9, 3\)"),
        (lambda x: perceptual.fid(x, x), "2 pictures for 2048 features.*at least 2049"),
        (lambda x: perceptual.lpips(x, x, version="0.2"), "version '0.2': choose from alex 0.1"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(pictures())


# Published weights


def installed():
    """The lpips package; skips where the extra `metrics` is not installed."""
    try:
        return trunks.import_lpips()
    except ImportError as error:
        pytest.skip(str(error))


def made_up(trunk, path, state, monkeypatch, **how):
    """Write a file of weights and declare it the published one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path, **how)
    declared = trunks.TRUNKS[trunk]._replace(sha256=sha256(path))
    monkeypatch.setitem(trunks.TRUNKS, trunk, declared)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def alexnet(cache, monkeypatch):
    """The convolutions of some AlexNet, in the hub cache as if they were the published ones."""
    installed()
    shapes = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    state = {}
    for layer, (out, channels, side) in shapes.items():
        fan = channels * side * side
        state[f"features.{layer}.weight"] = torch.randn(out, channels, side, side) / fan**0.5
        state[f"features.{layer}.bias"] = torch.randn(out) / 10
    # The real files are partly older than PyTorch's present format
    how = {"_use_new_zipfile_serialization": False}
    made_up("alex", cache / "alexnet-owt-7be5be79.pth", state, monkeypatch, **how)
    return state


def by_the_package(state, version, **options):
    """lpips' own network over a trunk, filled by hand."""
    with pytest.warns(UserWarning, match="deprecated since 0.13"):
        network = installed().LPIPS(version=version, pnet_rand=True, verbose=False, **options)
    for layer in (slice for name, slice in network.net.named_children()):
        for number, convolution in layer.named_children():
            if isinstance(convolution, nn.Conv2d):
                convolution.weight.data.copy_(state[f"features.{number}.weight"])
                convolution.bias.data.copy_(state[f"features.{number}.bias"])
    return network.requires_grad_(False)


def test_lpips_is_the_package_s(alexnet):
    image, target = pictures(side=64), pictures(side=64)
    found = {}
    for version in ("0.1", "0.0"):
        expected = by_the_package(alexnet, version)(image, target).flatten().tolist()
        found[version] = perceptual.lpips(image, target, version=version, reduction="pairs")
        assert found[version].tolist() == pytest.approx(expected, rel=1e-5)
        ones = torch.ones(2, 1, 64, 64)
        masked = perceptual.lpips(image, target, ones, version, reduction="pairs")
        assert masked.tolist() == pytest.approx(expected, rel=1e-4)
    assert found["0.0"].tolist() != pytest.approx(found["0.1"].tolist(), rel=1e-2)
    assert perceptual.lpips(image, image) == 0
    assert type(perceptual.lpips(image, target)) is float


def test_encoder_distance_is_the_package_s_without_heads(alexnet):
    network = by_the_package(alexnet, "0.1", lpips=False)
    image, target = pictures(side=64), pictures(side=64)

    class Trunk(Given):
        def forward(self, image, names):
            return dict(zip(names, network.net(network.scaling_layer(image))))

    expected = network(image, target).flatten() / len(TAPS)  # the package sums over its taps
    found = encoder_distance(image, target, Trunk(), reduction="pairs")
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_judge_gives_lpips_where_the_trunk_is(alexnet):
    image, target = pictures(side=64), pictures(side=64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., :40] = 1
    found = judge_images(image, target, mask, encoders={})
    assert found.results["lpips"] == pytest.approx(perceptual.lpips(image, target))
    assert found.results["lpips_foreground"] == pytest.approx(perceptual.lpips(image, target, mask))
    assert found.results["lpips_foreground"] != pytest.approx(found.results["lpips"], rel=1e-3)
    assert not [note for note in found.notes if "lpips" in note]


def test_a_forged_trunk_gives_no_lpips(alexnet, cache):
    path = cache / "alexnet-owt-7be5be79.pth"
    assert trunks.verified("alex") == path
    torch.save({name: 2 * value for name, value in alexnet.items()}, path)
    with pytest.raises(CheckpointError, match=f"{sha256(path)}, expected .*encoder_distance"):
        perceptual.lpips(pictures(), pictures())
    found = judge_images(pictures(), pictures(), encoders={})
    assert "lpips" not in found.results
    assert "lpips: the weights found under its name have another checksum" in found.notes


def test_missing_weights_are_told(cache, tmp_path):
    with pytest.raises(FileNotFoundError) as told:
        perceptual.lpips(pictures(), pictures())
    for word in (
        "alexnet-owt-7be5be79.pth",
        str(cache),
        "https://download.pytorch.org/models/",
        trunks.TRUNKS["alex"].sha256,
        "gfla.scores.perceptual.encoder_distance",
    ):
        assert word in str(told.value)
    with pytest.raises(FileNotFoundError, match="vgg16-397923af.pth"):
        perceptual.lpips(pictures(), pictures(), net="vgg", path=tmp_path / "elsewhere.pth")
    many = torch.zeros(2049, 3, 1, 1)
    with pytest.raises(FileNotFoundError, match="pt_inception.* or weights-.*encoder_frechet"):
        perceptual.fid(many, many)


def test_checksums_are_whole_and_begin_as_the_official_names_say():
    for trunk in trunks.TRUNKS.values():
        assert len(trunk.sha256) == 64 and int(trunk.sha256, 16)
        for file in trunk.files:
            assert file.removesuffix(".pth").rpartition("-")[2] == trunk.sha256[:8]


def test_verified_bytes_that_are_no_alexnet(cache, monkeypatch):
    installed()
    state = {"features.0.weight": torch.zeros(1)}
    made_up("alex", cache / "alexnet-owt-7be5be79.pth", state, monkeypatch)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        perceptual.lpips(pictures(), pictures())


def test_other_heads_than_the_package_s_are_refused(alexnet, monkeypatch):
    monkeypatch.setitem(trunks.HEADS, ("alex", "0.0"), "0" * 64)
    trunks._load_lpips.cache_clear()
    with pytest.raises(CheckpointError, match="install lpips 0.1.4"):
        perceptual.lpips(pictures(), pictures(), version="0.0")


def test_torchvision_that_is_absent_or_broken_otherwise_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"needs torchvision: pip install .*\[metrics\]"):
        trunks.import_torchvision()
    monkeypatch.delitem(sys.modules, "torchvision")

    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise RuntimeError("something else")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(RuntimeError, match="something else"):
        trunks.import_torchvision()


def test_inception_is_torchvision_s_with_the_pools_of_fid(cache, monkeypatch):
    installed()
    from torchvision.models import inception as other

    state = {}
    for name, value in Inception().state_dict().items():
        if name.endswith("running_var"):
            state[name] = torch.rand_like(value) + 0.5
        elif not name.endswith("num_batches_tracked"):  # which the published file leaves out
            spread = value.std() if value.ndim == 4 else 0.1
            state[name] = torch.randn_like(value) * spread + (name.endswith("bn.weight"))
    path = cache / "weights-inception-2015-12-05-6726825d.pth"
    made_up("inception", path, state | {"fc.bias": torch.zeros(1008)}, monkeypatch)
    ours = trunks.load_inception()

    reference = other.Inception3(1008, aux_logits=False, init_weights=False).eval()
    missing, unexpected = reference.load_state_dict(state, strict=False)
    assert not unexpected and {name.rpartition(".")[0] for name in missing if "bn" not in name} <= {
        "fc"
    }
    reference.fc = nn.Identity()
    pools = SimpleNamespace(**{name: getattr(F, name) for name in ("relu", "max_pool2d")})
    pools.avg_pool2d = lambda x, **k: F.avg_pool2d(x, **k, count_include_pad=False)
    monkeypatch.setattr(other, "F", pools)

    def the_last_takes_a_maximum(module, inputs):
        pools.avg_pool2d = F.max_pool2d

    reference.Mixed_7c.register_forward_pre_hook(the_last_takes_a_maximum)
    image = pictures(1, 64)
    with torch.no_grad():
        expected = reference(F.interpolate(image, (299, 299), mode="bilinear", align_corners=False))
    found = perceptual.inception_features(image, ours)
    assert found.shape == (1, inception.FEATURES)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-4)


def test_fid_is_the_frechet_distance_of_its_features(monkeypatch):
    class Corners(nn.Module):
        def forward(self, image):
            return image[:, :, 0, 0]

    monkeypatch.setattr(inception, "FEATURES", 3)
    monkeypatch.setattr(trunks, "load_inception", lambda path=None: Corners())
    images, references = pictures(40, 16), pictures(30, 16)
    expected = frechet(images[:, :, 0, 0], references[:, :, 0, 0])
    assert perceptual.fid(images, references) == pytest.approx(expected)
    found = judge_images(images[:30], references, encoders={}).results["fid"]
    assert found == pytest.approx(frechet(images[:30, :, 0, 0], references[:, :, 0, 0]))
