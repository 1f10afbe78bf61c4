"""Figures: what is drawn, in which order and colours, and where it is saved."""

import itertools
import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from gfla import pictures, viz

# Machado, Oliveira and Fernandes 2009: linear light as the three kinds of colour blindness see it
BLINDNESS = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(color, matrix):
    """Give the CIE Lab coordinates of a colour as one kind of eye sees it."""
    rgb = np.array(to_rgb(color))
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = (np.array(matrix) @ light).clip(0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ light / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_palette_stays_apart_for_colour_blind_eyes(kind):
    palette = (viz.SOURCE, viz.TARGET, viz.GENERATED, viz.ATTENTION)
    seen = [lab(color, BLINDNESS[kind]) for color in palette]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 25  # just noticeable is about 2
    red_and_green = [lab(color, BLINDNESS["deutan"]) for color in ("#d62728", "#2ca02c")]
    assert np.linalg.norm(red_and_green[0] - red_and_green[1]) < 40  # the measure can say no


def test_pictures_of_images_and_masks_have_the_known_bytes():
    image = torch.tensor([-1.0, 0.0, 1.0, 3.0]).expand(3, 1, 4)
    assert pictures.to_uint8(image)[0, :, 0].tolist() == [0, 128, 255, 255]
    assert pictures.mask_image(torch.tensor([[[0.0, 1.0]]]))[0, :, 2].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("dx", "dy", "colour"),
    [(1, 0, "red"), (0, 0, "white"), (-1, 0, (0, 209, 255)), (0, 1, "yellow"), (0, -1, "violet")],
)
def test_flow_colours_follow_the_middlebury_wheel(dx, dy, colour):
    r, g, b = pictures.flow_to_color(torch.tensor([dx, dy]).float().view(2, 1, 1), limit=1.0)[0, 0]
    known = {
        "red": r > 250 and g < 5 and b < 5,
        "white": min(r, g, b) == 255,
        "yellow": r > 250 and g > 200 and b < 5,
        "violet": b > 250 and g < 20 and 60 < r < 160,
    }
    assert known.get(colour) or (r < 5 and g > 150 and b > 250)


def test_flow_colours_grow_with_the_length_and_darken_beyond_the_limit():
    flow = torch.zeros(2, 1, 3)
    flow[0] = torch.tensor([0.5, 1.0, 2.0])
    half, full, beyond = pictures.flow_to_color(flow, limit=1.0)[0].astype(int)
    assert half.tolist() == [255, 128, 128]
    assert full.tolist() == [255, 0, 0]
    assert beyond[0] < 200
    turned = pictures.flow_to_color(flow.flip(0), limit=1.0)[0, 1]
    assert turned.tolist() != full.tolist()  # dx and dy are not swapped


@pytest.mark.parametrize(
    ("draw", "bad", "words"),
    [
        (pictures.to_uint8, torch.zeros(2, 3, 4, 4), r"\(2, 3, 4, 4\).*pick one of a batch"),
        (pictures.to_uint8, torch.zeros(1, 4, 4), r"\(1, 4, 4\): expected \(3, H, W\)"),
        (pictures.mask_image, torch.zeros(4, 4), r"\(4, 4\)"),
        (pictures.flow_to_color, torch.zeros(3, 4, 4), r"expected \(2, H, W\)"),
        (lambda flow: pictures.flow_to_color(flow, -1.0), torch.zeros(2, 4, 4), "-1.0"),
        (lambda points: pictures.skeleton(points, (8, 8)), torch.zeros(17, 2), r"\(17, 2\)"),
    ],
)
def test_pictures_refuse_other_shapes_and_name_them(draw, bad, words):
    with pytest.raises(ValueError, match=words):
        draw(bad)


def test_a_skeleton_leaves_out_what_is_missing():
    points = torch.full((18, 2), -1.0)
    assert pictures.skeleton(points, (32, 24)).min() == 255
    points[1], points[2] = torch.tensor([12.0, 6.0]), torch.tensor([4.0, 6.0])
    drawn = pictures.skeleton(points, (32, 24), zoom=2)
    assert drawn.shape == (64, 48, 3)
    dark = np.argwhere(drawn.min(axis=2) < 128)
    assert dark[:, 0].min() >= 10 and dark[:, 0].max() <= 16  # the shoulder, at row 6
    assert dark[:, 1].min() >= 5 and dark[:, 1].max() <= 28  # columns 4 to 12


def test_each_joint_has_a_colour_of_its_own():
    spots = torch.eye(18)[:, None, :]  # joint k at column k
    row = pictures.pose_image(spots)[0]
    assert len({tuple(color) for color in row.tolist()}) == 18
    assert pictures.pose_image(torch.zeros(18, 2, 2)).min() == 255


def batch_and_outputs(count=2):
    image = torch.linspace(-1, 1, 3 * 16 * 8).view(1, 3, 16, 8).expand(count, -1, -1, -1)
    batch = {"source": image, "target": -image, "target_pose": torch.zeros(count, 18, 16, 8)}
    flows = (torch.ones(count, 2, 4, 2), torch.ones(count, 2, 8, 4))
    masks = tuple(torch.rand(count, 1, *flow.shape[-2:]) for flow in flows)
    return batch, SimpleNamespace(image=image / 2, flows=flows, masks=masks)


def labels(figure):
    return [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]


def test_a_strip_keeps_the_order_of_the_house():
    batch, outputs = batch_and_outputs()
    figure = viz.strip(batch, outputs)
    assert labels(figure)[:6] == ["source", "target pose", "flow", "mask", "ours", "target"]
    assert labels(viz.strip(batch)) == ["source", "target pose", "target"]
    assert figure.get_size_inches()[0] <= viz.WIDE + 0.11
    first = figure.axes[0].images[0]
    assert first.get_interpolation() == "nearest"
    assert np.array_equal(first.get_array(), pictures.to_uint8(batch["source"][0]))


def test_a_strip_shows_the_finest_level_and_its_flow_in_pixels_of_the_image():
    batch, outputs = batch_and_outputs()
    figure = viz.strip(batch, outputs)
    flow = next(axes for axes in figure.axes if axes.get_xlabel() == "flow").images[0]
    assert flow.get_array().shape == (8, 4, 3)
    mask = next(axes for axes in figure.axes if axes.get_xlabel() == "mask").images[0]
    assert mask.get_array().shape == (8, 4, 3)
    assert f"rim: {2 * math.sqrt(2):.2g} px" in labels(figure)  # one pixel of level 1 is two


def test_a_strip_draws_no_more_rows_than_there_are_pairs():
    batch, outputs = batch_and_outputs(count=2)
    assert len(viz.strip(batch, outputs, indices=(0, 1, 2, 3)).axes) == 2 * 7  # six and the key
    with pytest.raises(ValueError, match="must match"):
        viz.strip(batch, outputs, indices=(5,))


def test_a_grid_says_what_does_not_match():
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\[1, 2\] pictures for 1 labels"):
        viz.grid([[picture], [picture, picture]], ["a"])


def test_curves_carry_their_names_units_and_styles():
    lines = {"measured": [0, 1, 2], "theory": [0, 1, 4], "model": [1, 1, 1]}
    figure = viz.curves(
        [0, 1, 2],
        lines,
        "error (px)",
        "share",
        dashed=["theory"],
        dotted=["measured"],
        bands={"model": ([0, 0, 0], [2, 2, 2])},
        marks={1.0: "here"},
        log="y",
        ylim=(0.1, 10),
    )
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("error (px)", "share")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines)
    styles = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert styles["theory"] == "--" and styles["measured"] == "None" and styles["model"] == "-"
    assert axes.get_yscale() == "log" and axes.get_ylim() == (0.1, 10)
    assert figure.get_size_inches()[0] == viz.WIDE


def test_each_line_may_have_its_own_abscissae():
    x = {"a": [0, 1], "b": [0, 1, 2]}
    (axes,) = viz.curves(x, {"a": [1, 2], "b": [3, 4, 5]}, "x", "y").axes
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 3]


def test_panels_share_one_legend_when_asked():
    spec = {"x": [0, 1], "lines": {"a": [0, 1], "b": [1, 0]}, "xlabel": "x", "ylabel": "y"}
    together = viz.panels(spec, spec, shared_legend=True)
    assert len(together.legends) == 1 and all(a.get_legend() is None for a in together.axes)
    apart = viz.panels(spec, spec)
    assert not apart.legends and all(a.get_legend() for a in apart.axes)


def test_bars_stand_in_the_order_given_and_show_their_values():
    figure = viz.bars(
        {"first": 0.25, "second": -1.0}, "L1", errors={"first": 0.1}, marks={0.6: "m"}
    )
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["first", "second"]
    assert axes.yaxis_inverted()  # the first on top
    texts = [text.get_text().strip() for text in axes.texts]
    assert texts == ["0.25", "-1", "m"]


def test_maps_share_one_scale():
    figure = viz.maps({"a": np.zeros((2, 3)), "b": np.full((2, 3), 4.0)}, "error (px)")
    images = [axes.images[0] for axes in figure.axes[:2]]
    assert {image.get_clim() for image in images} == {(0.0, 4.0)}
    assert images[0].get_cmap().name == "cividis"
    assert figure.axes[-1].get_ylabel() == "error (px)"


def test_publish_writes_png_and_svg_into_the_run_and_nothing_outside(tmp_path, monkeypatch):
    figure = viz.bars({"a": 1.0}, "L1", width=viz.NARROW)
    monkeypatch.delenv("GFLA_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert viz.publish(figure, "01_a") is figure
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("GFLA_RUN_DIR", str(tmp_path / "run"))
    assert viz.publish(figure, "01_a") is figure
    folder = tmp_path / "run" / "figures"
    assert sorted(path.name for path in folder.iterdir()) == ["01_a.png", "01_a.svg"]
    with Image.open(folder / "01_a.png") as image:
        assert image.size[0] == round(viz.NARROW * viz.DPI)


def test_the_same_figure_gives_the_same_svg():
    viz.style()
    pages = {viz.image_bytes(viz.bars({"a": 1.0}, "L1"), "svg") for _ in range(2)}
    assert len(pages) == 1


def test_figures_are_no_business_of_pyplot():
    import matplotlib.pyplot as plt

    assert isinstance(viz.curves([0], {"a": [0]}, "x", "y"), Figure)
    assert plt.get_fignums() == []


def test_the_style_has_no_rainbow():
    viz.style()
    assert matplotlib.rcParams["image.cmap"] == "cividis"
    assert matplotlib.rcParams["image.interpolation"] == "nearest"
