"""Solids: rays hit where the shape is, and nowhere else."""

import math

import pytest
import torch

from gfla.data.body import Draw
from gfla.data.showroom import BUILDERS
from gfla.data.solids import (
    ALONG_X,
    ALONG_Z,
    AZIMUTHS,
    BALL,
    DISTANCE,
    FIELDS,
    FILL,
    ROD,
    Parts,
    cast,
    corners,
    fit,
    orbit,
    solids,
    surface,
)

BOX = (1.0, 1.0, 1.0)


def scene(*rows):
    """One object of these solids: each a centre, half sizes and more fields."""
    parts = Parts(1, "cpu")
    for centre, half, more in rows:
        parts.add(centre, half, more)
    return solids(parts.table())


def camera(azimuth=0, elevation=0, size=(65, 65), focal=60.0):
    bins = torch.tensor([azimuth]), torch.tensor([elevation])
    return orbit(*bins, torch.tensor([focal]), size)


def grid(size):
    y, x = torch.meshgrid(*(torch.arange(s).float() for s in size), indexing="ij")
    return x.reshape(1, -1), y.reshape(1, -1)


def inside(shape, points):
    """Which points (3, M) of one object lie in any of its solids, from the definition."""
    unit = shape.frame[0] @ (points - shape.centre[0, :, :, None])  # (P, 3, M)
    x, y, z = unit.unbind(1)
    wide = 1 + shape.taper[0, :, :, None] * (y[:, None] + 1) / 2
    w, a, b = shape.quadric[0].T[..., None]
    held = (x.abs() <= wide[:, 0]) & (z.abs() <= wide[:, 1]) & (y.abs() <= 1)
    held &= x * x + z * z + w * y * y <= a + b * y
    return (held & shape.on[0, :, None]).any(0)


class TestKnownShapes:
    def test_a_ball(self):
        shape = scene(((0, 0, 0), BOX, BALL))
        view = camera()
        x, y = grid((65, 65))
        hits = cast(shape, view, x, y)
        radius = 1 / math.sqrt(3)  # the ball's box has radius 1
        ray = view.directions(x, y)[0]
        b, c = DISTANCE * -ray[2], DISTANCE**2 - radius**2
        square = ray.square().sum(0)
        root = b**2 - square * c
        depth = torch.where(root > 0, (b - root.clamp(min=0).sqrt()) / square, math.inf)
        torch.testing.assert_close(hits.depth[0], depth, atol=1e-4, rtol=0)

    def test_a_box_is_met_at_its_front_and_fills_its_square(self):
        shape = scene(((0, 0, 0), BOX, {}))
        x, y = grid((65, 65))
        hits = cast(shape, camera(), x, y)
        side = 1 / math.sqrt(3)
        half = 60.0 * side / (DISTANCE - side)
        square = ((x - 32).abs() < half) & ((y - 32).abs() < half)
        assert torch.equal(hits.index >= 0, square)
        assert float((hits.depth[square] - (DISTANCE - side)).abs().max()) < 1e-5

    @pytest.mark.parametrize(("axis", "azimuth"), [(ALONG_X, 0), (ALONG_Z, 9)])
    def test_a_lying_rod_is_long_from_its_side_and_round_from_its_end(self, axis, azimuth):
        half = (1.0, 0.3, 0.3) if axis == ALONG_X else (0.3, 0.3, 1.0)
        shape = scene(((0, 0, 0), half, ROD | {"axis": axis}))
        x, y = grid((65, 65))
        width = []
        for quarter in (0.0, 4.5):  # along z, then along x
            bins = torch.tensor([azimuth + quarter]), torch.tensor([0.0])
            view = orbit(*bins, torch.tensor([60.0]), (65, 65))
            hit = (cast(shape, view, x, y).index >= 0).view(65, 65)
            width.append(int(hit.any(0).sum()))
        long, short = (width[0], width[1]) if axis == ALONG_X else (width[1], width[0])
        assert long > 2.2 * short

    def test_the_nearer_of_two_hides_the_other(self):
        shape = scene(((0, 0, 1), (0.5, 0.5, 0.1), {}), ((0, 0, -1), BOX, {}))
        x, y = torch.tensor([[32.0]]), torch.tensor([[32.0]])
        assert int(cast(shape, camera(0), x, y).index) == 0
        assert int(cast(shape, camera(9), x, y).index) == 1

    def test_what_is_off_is_not_met(self):
        x, y = torch.tensor([[32.0]]), torch.tensor([[32.0]])
        shape = scene(((0, 0, 1), (0.5, 0.5, 0.1), {"on": 0.0}), ((0, 0, -1), BOX, {}))
        assert int(cast(shape, camera(0), x, y).index) == 1
        empty = shape._replace(on=torch.zeros_like(shape.on))
        hits = cast(empty, camera(0), x, y)
        assert int(hits.index) == -1 and float(hits.depth) == math.inf


class TestAgainstTheDefinition:
    """Marching along rays in small steps finds what the closed forms find."""

    @pytest.mark.parametrize("name", list(BUILDERS))
    def test_first_entry(self, name):
        shape = solids(BUILDERS[name](Draw(40, range(1))).table())
        view = camera(azimuth=3, elevation=1, size=(25, 25), focal=40.0)
        x, y = grid((25, 25))
        hits = cast(shape, view, x, y)
        step = 0.008
        t = torch.arange(DISTANCE - 1.05, DISTANCE + 1.05, step)
        points = view.eye[0, :, None, None] + view.directions(x, y)[0, :, :, None] * t
        held = inside(shape, points.flatten(1)).view(x.shape[1], -1)
        marched = torch.where(held.any(1), t[held.float().argmax(1)], math.inf)
        both = held.any(1) & (hits.index[0] >= 0)
        assert float((both == held.any(1)).float().mean()) == 1  # what is marched into is met
        lag = marched[both] - hits.depth[0][both]
        assert int(both.sum()) > 60
        assert bool((lag > -1e-4).all())  # a march never enters earlier
        assert float((lag < step + 1e-4).float().mean()) > 0.97  # later only at slivers

    def test_normals_point_outward_and_have_length_one(self):
        shape = solids(BUILDERS["car"](Draw(41, range(1))).table())
        view = camera(azimuth=2, elevation=2)
        x, y = grid((65, 65))
        hits = cast(shape, view, x, y)
        (ray,) = (hits.index[0] >= 0).nonzero(as_tuple=True)
        which, points = hits.index[0, ray], hits.points[0][:, ray]
        place = surface(shape, which, points)
        torch.testing.assert_close(place.normal.norm(dim=0), torch.ones(len(ray)))
        back = (shape.axes[0, which] @ place.unit.T[..., None]).squeeze(2) + shape.centre[0, which]
        torch.testing.assert_close(back.T, points, atol=1e-4, rtol=0)
        only = shape._replace(on=torch.zeros_like(shape.on))
        sides = []
        for p in which.unique().tolist():
            mine = which == p
            only.on[:] = False
            only.on[0, p] = True
            normal = place.normal[:, mine] * 2e-3
            sides.append(
                ~inside(only, points[:, mine] + normal) & inside(only, points[:, mine] - normal)
            )
        assert float(torch.cat(sides).float().mean()) > 0.97  # the rest are edges


class TestCamera:
    def test_projection_and_rays_are_inverses(self):
        view = camera(azimuth=5, elevation=2, size=(40, 60))
        x, y = grid((40, 60))
        points = view.eye[..., None] + view.directions(x, y) * 3.0
        column, row, depth = view.project(points)
        torch.testing.assert_close(column, x, atol=1e-3, rtol=0)
        torch.testing.assert_close(row, y, atol=1e-3, rtol=0)
        torch.testing.assert_close(depth, torch.full_like(depth, 3.0))

    def test_axes_are_a_right_handed_frame(self):
        for azimuth, elevation in ((0, 0), (7, 1), (13, 2)):
            axes = camera(azimuth, elevation).axes[0]
            torch.testing.assert_close(axes @ axes.T, torch.eye(3), atol=1e-6, rtol=0)
            assert float(torch.det(axes)) == pytest.approx(1, abs=1e-5)

    def test_eighteen_steps_close_the_circle(self):
        torch.testing.assert_close(camera(0).eye, camera(AZIMUTHS).eye, atol=1e-5, rtol=0)

    def test_the_camera_goes_to_the_objects_positive_x_first(self):
        assert float(camera(1).eye[0, 0]) > 0 and float(camera(0, 2).eye[0, 1]) > 0

    @pytest.mark.parametrize("size", [(64, 64), (96, 48)])
    def test_objects_fill_the_picture_and_stay_inside(self, size):
        shape = solids(BUILDERS["chair"](Draw(42, range(8))).table())
        focal, reach = fit(shape, size), []
        for azimuth in range(AZIMUTHS):
            for elevation in range(3):
                bins = torch.full((8,), azimuth), torch.full((8,), elevation)
                view = orbit(*bins, focal, size)
                points = corners(shape).masked_fill(~shape.on[:, :, None, None], 0)
                x, y, _ = view.project(points.flatten(1, 2).transpose(1, 2))
                middle = [(side - 1) / 2 for side in size]
                reach.append(torch.maximum(
                    (x - middle[1]).abs().amax(1) * 2 / size[1],
                    (y - middle[0]).abs().amax(1) * 2 / size[0],
                ))  # fmt: skip
        torch.testing.assert_close(torch.stack(reach).amax(0), torch.full((8,), FILL))


class TestParts:
    @pytest.mark.parametrize("name", list(BUILDERS))
    def test_every_solid_has_a_size_and_is_used_by_some_object(self, name):
        table = BUILDERS[name](Draw(43, range(200))).table()
        field = dict(zip(FIELDS, table.unbind(2), strict=True))
        on = field["on"] > 0
        for axis in "xyz":
            assert bool((field[f"half_{axis}"][on] > 0).all())
        assert bool(on.any(0).all())

    def test_objects_are_centred_with_radius_one(self):
        shape = solids(BUILDERS["truck"](Draw(44, range(8))).table())
        points = corners(shape)
        far = points.norm(dim=3).masked_fill(~shape.on[..., None], 0).amax((1, 2))
        torch.testing.assert_close(far, torch.ones(8))
