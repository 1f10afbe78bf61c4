"""Networks that others trained and that name a metric: from a file on disk, checked in full.

A number may be called LPIPS or FID only when it was computed with the weights that everybody uses.
torchvision and the lpips package take any file of the right name from the cache without a look;
here its whole sha256 is compared first. Nothing is ever downloaded.

The checksums are of the files at the addresses below, as several independent public projects
record them beside the same sizes; they begin with the eight digits in the official names.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.scores.inception import Inception
from gfla.storage import CheckpointError, sha256


class Trunk(NamedTuple):
    """A published file of weights."""

    files: tuple[str, ...]  # names that it goes by, the first to be recommended
    url: str
    sha256: str
    megabytes: int
    instead: str  # the project's own metric that needs no download


_TORCH = "https://download.pytorch.org/models/"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
_OWN_DISTANCE = "gfla.scores.perceptual.encoder_distance"
TRUNKS = {
    "alex": Trunk(
        ("alexnet-owt-7be5be79.pth",),
        _TORCH + "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244,
        _OWN_DISTANCE,
    ),
    "vgg": Trunk(
        ("vgg16-397923af.pth",),
        _TORCH + "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        553,
        _OWN_DISTANCE,
    ),
    "inception": Trunk(
        ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
        _FID + "pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        96,
        "gfla.scores.perceptual.encoder_frechet",
    ),
}
HEADS = {  # (trunk, version) -> sha256 of the learned heads inside the lpips package 0.1.4
    ("alex", "0.1"): "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ("alex", "0.0"): "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5",
    ("vgg", "0.1"): "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ("vgg", "0.0"): "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
}
_DECLARED: list[torch.library.Library] = []  # a declaration lives as long as its library


def verified(name: str, path: str | Path | None = None) -> Path:
    """Where the file of a trunk is, after its whole sha256 was compared.

    Args:
        name: of `TRUNKS`.
        path: the file; None means PyTorch's hub cache, `$TORCH_HOME/hub/checkpoints`.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: there is no such file; the message says what to fetch and where to put
            it, or what to use instead.
        CheckpointError: it has another checksum.

    >>> verified("alex", "nowhere.pth")
    Traceback (most recent call last):
    FileNotFoundError: no alexnet-owt-7be5be79.pth at nowhere.pth: ...
    """
    trunk = TRUNKS[name]
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    places = [cache / file for file in trunk.files] if path is None else [Path(path).expanduser()]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"no {' or '.join(trunk.files)} at {places[0]}: fetch {trunk.url} "
            f"({trunk.megabytes} MB, sha256 {trunk.sha256}) and put it there, or name the file you "
            f"have with path=; or use {trunk.instead}, which needs no download, under its own name"
        )
    if (digest := sha256(found)) != trunk.sha256:
        raise CheckpointError(
            f"{found} has sha256 {digest}, expected {trunk.sha256}: it is damaged or another file, "
            f"and no number from it may bear the metric's name; fetch {trunk.url} again, or use "
            f"{trunk.instead}"
        )
    return found


def load_lpips(
    net: str = "alex", version: str = "0.1", path: str | Path | None = None
) -> nn.Module:
    """The lpips package's network over a verified trunk, frozen, on the CPU.

    Args:
        net: "alex" or "vgg".
        version: "0.1", or "0.0", whose input was not scaled.
        path: the trunk's file, as in `verified`.

    Returns:
        An `lpips.LPIPS`. Kept for the next call.

    Raises:
        ValueError: another net or version.
        FileNotFoundError, CheckpointError: as `verified`; CheckpointError also for heads that are
            not those of lpips 0.1.4.
        ImportError: lpips or torchvision is not installed.
    """
    if (net, version) not in HEADS:
        known = ", ".join(f"{n} {v}" for n, v in HEADS)
        raise ValueError(f"no LPIPS of net {net!r} and version {version!r}: choose from {known}")
    return _load_lpips(net, version, verified(net, path))


@functools.lru_cache(maxsize=2)
def _load_lpips(net: str, version: str, path: Path) -> nn.Module:
    lpips = import_lpips()
    heads = Path(lpips.__file__).parent / "weights" / f"v{version}" / f"{net}.pth"
    if (digest := sha256(heads)) != HEADS[net, version]:
        raise CheckpointError(
            f"{heads} has sha256 {digest}, expected {HEADS[net, version]}: install lpips 0.1.4"
        )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # lpips asks torchvision in a way it finds old-fashioned
        network = lpips.LPIPS(net=net, version=version, pnet_rand=True, verbose=False)
    own = network.net.state_dict()  # slice2.3.weight is the file's features.3.weight
    _fill(network.net, {name: "features." + name.partition(".")[2] for name in own}, path)
    return network.requires_grad_(False).eval()


def load_inception(path: str | Path | None = None) -> Inception:
    """FID's Inception with its verified weights, frozen, on the CPU.

    Args:
        path: the file, as in `verified`.

    Raises:
        FileNotFoundError, CheckpointError: as `verified`.
    """
    return _load_inception(verified("inception", path))


@functools.lru_cache(maxsize=1)
def _load_inception(path: Path) -> Inception:
    with torch.random.fork_rng(devices=[]):
        network = Inception()
    counters = "num_batches_tracked"  # which the file leaves out, and nobody reads
    own = [name for name in network.state_dict() if not name.endswith(counters)]
    _fill(network, dict(zip(own, own)), path)
    return network


def _fill(network: nn.Module, names: Mapping[str, str], path: Path) -> None:
    """Give the network the file's tensors; `names` maps its own names to the file's."""
    try:  # some of these files are older than the format that can be mapped into memory
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {own: state[theirs] for own, theirs in names.items()}
        network.load_state_dict(network.state_dict() | tensors)
    except Exception as error:  # the reader raises several types on damaged bytes; ours is one
        raise CheckpointError(
            f"{path} does not hold the weights that its name promises ({error})"
        ) from error


def import_lpips() -> ModuleType:
    """The lpips package, over whatever torchvision is installed.

    Raises:
        ImportError: lpips or torchvision is not installed.
    """
    import_torchvision()
    try:
        import lpips
    except ImportError as error:
        raise ImportError(
            "LPIPS needs the lpips package: pip install -c constraints.txt -e '.[metrics]'"
        ) from error
    return lpips


def import_torchvision() -> ModuleType:
    """torchvision, also where its compiled operators do not fit this PyTorch.

    The package index offers one torchvision, compiled for CUDA; beside a PyTorch for the CPU its
    import stops at "operator torchvision::nms does not exist". Then the two operators it stops at
    are declared, without a body, and the import is tried again. Nothing is faked: models work, and
    a call of `torchvision.ops.nms` still fails.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: its import fails for another reason.
    """
    try:
        import torchvision
    except ImportError as error:
        raise ImportError(
            "LPIPS needs torchvision: pip install -c constraints.txt -e '.[metrics]'"
        ) from error
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        _DECLARED.append(library)
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision
