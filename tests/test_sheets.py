"""The slider of a page without a kernel holds everything itself, and is a sheet without scripts."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from gfla.data import stances
from gfla.interactive import live, sheets
from gfla.model import GFLA

SIZE = (32, 32)


@pytest.fixture(scope="module", params=["full", "baseline"])
def painter(request):
    torch.manual_seed(0)
    model = GFLA(SIZE, {1: 3}, flow_base=4, flow_depth=3, base=4, depth=2, hidden=4,
                 attention=request.param).eval()  # fmt: skip
    return live.Painter(model, live.sources(SIZE)["held-out person 1"]())


@pytest.fixture(scope="module")
def poses(painter):
    return sheets.swept(stances.preset("T", painter.source.pose), "left forearm", (0, 60, 120))


def tree(html):
    body = re.sub(r"<script>.*</script>", "", html, flags=re.S)
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", body))


def test_a_slider_holds_every_picture_as_it_was_painted(painter, poses):
    box = tree(sheets.sheet_slider(painter, poses, "left forearm", start=1).data)
    assert box.get("data-start") == "1" and box.get("data-what") == "left forearm"
    stops = list(box.iter("span"))
    assert [stop.get("title") for stop in stops] == list(poses)
    for stop, pose in zip(stops, poses.values(), strict=True):
        painted = painter.paint(pose).pictures()
        shown = {picture.get("alt").split(",")[0]: picture for picture in stop.iter("img")}
        rows = [row for row in ("target pose", "flow", "mask", "ours") if row in painted]
        assert list(shown) == [row.replace("ours", "generated") for row in rows]
        for row in rows[1:]:
            kind, content = shown[row.replace("ours", "generated")].get("src").split(",")
            assert kind == "data:image/png;base64"
            picture = Image.open(io.BytesIO(base64.b64decode(content)))
            np.testing.assert_array_equal(np.asarray(picture), painted[row])


def test_a_slider_fetches_nothing_and_knows_its_own_page_only(painter, poses):
    html = sheets.sheet_slider(painter, poses, "<b>arm</b>").data
    assert not re.search(r"https?:|//\w|import|fetch|<b>", re.sub(r"base64,[^\"]*", "", html))
    marks = re.findall(r'data-gfla-slider="(\w+)"', html)
    assert len(marks) == 2 and len(set(marks)) == 1  # the box, and the script that looks for it
    other = sheets.sheet_slider(painter, dict(list(poses.items())[:2]), "<b>arm</b>").data
    assert marks[0] not in other


def test_a_slider_needs_a_pose_to_begin_with(painter, poses):
    with pytest.raises(ValueError, match="start is 3, there are 3 poses"):
        sheets.sheet_slider(painter, poses, "arm", start=3)
    with pytest.raises(ValueError, match="there are 0 poses"):
        sheets.sheet_slider(painter, {}, "arm")
