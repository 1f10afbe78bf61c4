"""Looking inside a model: shapes that really passed, and a pixel followed by hand."""

import pytest
import torch
from matplotlib.figure import Figure

from gfla import anatomy
from gfla.model import GFLA
from gfla.sampling import extract_patches
from gfla.types import Output

SIZE = (32, 32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GFLA(SIZE, {1: 3, 2: 3}, flow_base=4, flow_cap=8, flow_depth=3, base=4, cap=8, depth=2)


@pytest.fixture
def inputs():
    return torch.rand(2, 3, *SIZE) * 2 - 1, torch.rand(2, 18, *SIZE), torch.rand(2, 18, *SIZE)


def test_the_boxes_hold_what_passed_and_nothing_stays_behind(model, inputs):
    output, boxes = anatomy.watch(model, *inputs)
    found = {box.name: box for box in boxes}
    assert boxes[-1].name == "renderer"
    assert found["renderer"].gives[0] is output.image
    assert found["flow"].gives[0] is output.flows[0]
    assert found["renderer.attention.1"].takes[2] is output.flows[1]
    assert found["renderer.attention.1"].gives[1] is output.weights[1]
    assert found["flow.head.2"].row() == (
        "w, m", "flow.head.2", "gfla/flow.py", "8×8×8", "2×8×8, 1×8×8",
    )  # fmt: skip
    assert found["renderer.decoder.1"].file == "gfla/blocks.py"
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_go_even_if_the_forward_fails(model, inputs):
    with pytest.raises(ValueError, match="multiples"):
        anatomy.watch(model, *(x[..., :20, :20] for x in inputs))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_kernel_of_a_look_rebuilds_what_the_attention_returned(model, inputs):
    """The mean of kernel times patch: the formula, at one position."""
    output, boxes = anatomy.watch(model, *inputs)
    box = {box.name: box for box in boxes}["renderer.attention.1"]
    look = anatomy.follow(output, SIZE, index=1, pixel=(13, 7))[-1]
    assert look.place == (6, 3)
    (x, y), n = look.place, 3
    patch = extract_patches(box.takes[0], box.takes[2], n)
    patch = patch[1, :, n * y : n * y + n, n * x : n * x + n]
    torch.testing.assert_close((look.weights * patch).mean((1, 2)), box.gives[0][1, :, y, x])


def test_following_a_pixel_by_hand():
    """Stride 8: pixel 13 lies in position 1, whose centre is pixel 11.5; 2 px there are 16 here."""
    flow = torch.zeros(1, 2, 4, 4)
    flow[0, :, 2, 1] = torch.tensor([2.0, -0.5])
    mask, weights = torch.full((1, 1, 4, 4), 0.25), torch.full((1, 4, 4, 4), 0.25)
    output = Output(None, (flow,), (mask,), (weights,))
    (look,) = anatomy.follow(output, SIZE, 0, (13, 19))
    assert (look.stride, look.place, look.flow, look.mask) == (8, (1, 2), (2.0, -0.5), 0.25)
    assert (look.target, look.source) == ((11.5, 19.5), (27.5, 15.5))
    assert look.weights.shape == (2, 2)
    with pytest.raises(ValueError, match=r"pixel is \(32, 0\).*32×32"):
        anatomy.follow(output, SIZE, 0, (32, 0))


def test_the_attention_picture_puts_each_kernel_at_its_position():
    weights = torch.zeros(9, 2, 2)
    weights[5, 0, 1] = 1.0  # row 1, column 2 of the kernel at position (0, 1)
    picture = anatomy.attention_picture(weights)
    assert picture.shape == (6, 6, 3)
    dark = [(int(r), int(c)) for r, c in zip(*(picture.sum(2) < 300).nonzero(), strict=True)]
    assert dark == [(1, 5)]


def test_the_drawings_show_every_part(model, inputs):
    output = model(*inputs)
    points = torch.rand(2, 18, 2) * 31
    batch = {"source": inputs[0], "target": inputs[0]}
    batch |= {"source_keypoints": points, "target_keypoints": points}
    figure = anatomy.draw_model(batch, output, 0)
    labels = " ".join(axes.get_xlabel() for axes in figure.axes)
    for word in ("source", "pose", "flow", "mask", "weights", "ours", "target", "rim"):
        assert word in labels
    looks = anatomy.follow(output, SIZE, 0, (5, 5))
    figure = anatomy.draw_follow(batch, looks, 0)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 + len(looks)
    assert len(figure.axes[1].patches) == len(looks)
