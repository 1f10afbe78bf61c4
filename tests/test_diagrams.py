"""Teaching diagrams show the numbers they explain."""

import pytest

from gfla.street import diagrams


def test_the_weights_written_are_bilinear_ones_and_equal_the_areas():
    (axes,) = diagrams.bilinear_cell(ax=0.25, ay=0.5).axes
    written = [float(text.get_text().split()[-1]) for text in axes.texts]
    assert written == [0.375, 0.125, 0.375, 0.125]
    areas = [patch.get_width() * patch.get_height() for patch in axes.patches[:8:2]]
    assert areas == pytest.approx(written)


@pytest.mark.parametrize(("ax", "ay", "name"), [(1.0, 0.5, "ax"), (0.0, -0.1, "ay")])
def test_a_fraction_outside_its_cell_is_refused(ax, ay, name):
    with pytest.raises(ValueError, match=f"{name} is "):
        diagrams.bilinear_cell(ax, ay)


def test_footprints_mark_the_true_column_and_the_flow():
    shares = {"bilinear": [0.0, 0.5, 0.5], "attention": [0.8, 0.2, 0.0]}
    figure = diagrams.footprints([0, 1, 2], shares, 1.5)
    assert len(figure.axes) == 2
    assert [axes.texts[0].get_text() for axes in figure.axes] == [
        "bilinear\ntrue column: 0%",
        "attention\ntrue column: 80%",
    ]
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    assert heights == list(shares.values())
    assert list(figure.axes[0].lines[0].get_xdata()) == [1.5, 1.5]
