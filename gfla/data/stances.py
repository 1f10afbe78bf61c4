"""Ways to stand for given proportions: presets, chance, and turning about the spine.

A picture does not tell depth. Presets and chance have it from `gfla.data.body`, which builds people
in three dimensions. For a pose that came as a picture it is made up: the width of shoulders and
hips tells how far the body is turned, limbs are taken to lie in the plane of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from gfla.data import body, posing
from gfla.data.keypoints import OPENPOSE_18
from gfla.data.posing import Pose

PRESETS = ("stand", "walk", "wave", "sit", "T")

# Degrees. Of the right and left upper arm, forearm, thigh, shin: spread from hanging down outwards,
# and reach towards the front; and which way the body faces.
_STANCES = {
    "stand": ((14, 14, 8, 8, 5, 5, 2, 2), (0, 0, 6, 6, 0, 0, -4, -4), 0),
    "walk": ((10, 10, 10, 10, 3, 3, 2, 2), (-32, 30, 0, 62, 28, -22, 12, -45), 40),
    "wave": ((95, 14, 170, 8, 5, 5, 2, 2), (0, 0, 10, 6, 0, 0, -4, -4), 0),
    "sit": ((14, 14, -8, -8, 10, 10, 4, 4), (15, 15, 60, 60, 78, 78, -5, -5), 40),
    "T": ((90, 90, 90, 90, 6, 6, 2, 2), (0, 0, 0, 0, 0, 0, -4, -4), 0),
}
# the person's middle in body heights, and how far the procedural people differ from one another
_TORSO, _ARM, _LEG = (0.26, 0.30, 0.34), (0.14, 0.1675, 0.20), (0.195, 0.2275, 0.26)
_SHOULDERS, _HIPS = (0.105, 0.12, 0.135), (0.06, 0.0675, 0.075)  # half widths
_FOREARM = 0.92  # of an upper arm
# joint -> angle around the head, distance from the crown in body heights, as the pictures have it
_FACE = {
    "nose": (0.0, 0.092),
    "right_eye": (-0.42, 0.074), "left_eye": (0.42, 0.074),
    "right_ear": (-1.5, 0.082), "left_ear": (1.5, 0.082),
}  # fmt: skip
_HEAD = 0.07  # radius, body heights
_TURNED_AWAY = -0.1  # cosine from which on a point of the face is not seen


def preset(name: str, like: Pose) -> Pose:
    """A ready-made pose with the size, the place and the proportions of a given person.

    Proportions are measured on `like` and held to what procedural people have; bones that are
    missing or foreshortened are made up from the rest. The feet stay on their floor.

    Args:
        name: of PRESETS.
        like: whose proportions.

    Returns:
        All 18 joints, with depth.

    Raises:
        ValueError: no such preset.
    """
    if name not in _STANCES:
        raise ValueError(f"there is no preset {name!r}: choose one of {', '.join(PRESETS)}")
    spread, reach, yaw = (torch.tensor(degrees).float().deg2rad() for degrees in _STANCES[name])
    none = torch.zeros(1)
    stance = body.Pose(yaw.view(1), none, none, none, none, none, spread[None], reach[None])
    return _stand(stance, like)


def random(seed: int, like: Pose) -> Pose:
    """A pose as the procedural people of `gfla.data.people` take them, the same for a seed.

    Args:
        seed: whole number from 0.
        like: whose size, place and proportions.

    Returns:
        All 18 joints, with depth.

    Raises:
        ValueError: a negative seed.
    """
    if not 0 <= seed < 2**62:
        raise ValueError(f"seed is {seed}, expected a whole number from 0 on")
    return _stand(body.draw_pose(body.Draw(seed, range(1))), like)


def facing(pose: Pose) -> float | None:
    """Which way the body faces.

    Without depth: cos(facing) is the width of shoulders and hips over what it would be from the
    front, judged by the torso's length; the sign comes from the face. Such a guess is rough.

    Args:
        pose: the pose.

    Returns:
        Degrees in (-180, 180]: 0 = the viewer, 90 = the viewer's right, ±180 = away; None where
        neither both shoulders nor both hips are there.
    """
    across, towards = _breadth(pose)
    if across is None:
        return None
    if pose.depth:
        degrees = math.degrees(math.atan2(towards, across))
        return 180.0 if degrees == -180.0 else degrees
    guess = math.degrees(math.acos(across / max(_front_breadth(pose), abs(across), 1e-6)))
    return guess if guess == 180.0 else _side(pose) * guess


def turned(pose: Pose, degrees: float) -> Pose:
    """Turn the body about the vertical axis through the neck.

    (x, z) -> (x cos + z sin, z cos - x sin), z towards the viewer. The first turn makes depths up;
    joints of the face that were missing because they looked away come in with it.

    Args:
        pose: the pose.
        degrees: positive turns the front to the viewer's right.

    Returns:
        The new pose, with depth; turning back gives the old points again.

    Raises:
        ValueError: an angle that is not finite.
    """
    if not math.isfinite(degrees):
        raise ValueError(f"the turn is {degrees}: give a finite number of degrees")
    if posing.place(pose) is None:  # nobody there to be turned
        return pose
    pose = pose if pose.depth else _deepened(pose)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    axis = _axis(pose)
    points = tuple(
        p and (axis + (p[0] - axis) * cos + z * sin, p[1])
        for p, z in zip(pose.points, pose.depth, strict=True)
    )
    depth = tuple(
        z * cos - ((p[0] - axis) * sin if p else 0.0)
        for p, z in zip(pose.points, pose.depth, strict=True)
    )
    return Pose(points, pose.size, depth)


def with_facing(pose: Pose, degrees: float) -> Pose:
    """Turn the body until `facing` is `degrees`: what a slider does.

    Raises:
        ValueError: shoulders and hips are missing, or an angle that is not finite.
    """
    now = facing(pose)
    if now is None:
        raise ValueError("both shoulders or both hips must be there to tell the body's turn")
    return turned(pose, degrees - now)


def seen(pose: Pose) -> Pose:
    """The pose as a detector would tell it: joints of the face that are turned away are missing.

    What `gfla.interactive.live.Painter` gives to the model, which has never seen a nose on the back
    of a head. Limbs hidden behind the body stay. A pose without depth stays as it is.
    """
    way = facing(pose) if pose.depth else None
    if way is None:
        return pose
    hidden = _looking_away(math.radians(way))
    points = tuple(
        None if joint in hidden else point
        for joint, point in zip(OPENPOSE_18, pose.points, strict=True)
    )
    return replace(pose, points=points)


# ---------------------------------------------------------------- proportions


def _stand(stance: body.Pose, like: Pose) -> Pose:
    """A stance of the procedural body, with somebody's proportions, at their place."""
    unit, figure = _proportions(like)
    joints = {name: p[0].tolist() for name, p in body.skeleton(figure, stance).items()}
    places = {name.replace(" ", "_"): place for name, place in joints.items()}
    places |= _face(joints["crown"], joints["chin"], float(stance.yaw))
    neck = places["neck"][2]
    rows = [places[joint] for joint in OPENPOSE_18]
    made = Pose(
        tuple((x * unit, y * unit) for x, y, _ in rows),
        like.size,
        tuple((z - neck) * unit for _, _, z in rows),
    )
    height, width = like.size
    x, y = posing.place(like) or ((width - 1) / 2, height / 2)
    here = posing.place(made)
    floor, ground = _lowest(like), _lowest(made)
    down = y - here[1] if floor is None else floor - ground
    return posing.shifted(made, x - here[0], down)


def _face(
    crown: Sequence[float], chin: Sequence[float], yaw: float
) -> dict[str, tuple[float, ...]]:
    """The face on a head: joint -> (x, y, z), in the unit of crown and chin."""
    along = (chin[0] - crown[0], chin[1] - crown[1])
    length = math.hypot(*along) or 1.0
    ux, uy = along[0] / length, along[1] / length
    places = {}
    for joint, (angle, down) in _FACE.items():
        aside = _HEAD * math.sin(angle + yaw)
        place = crown[0] + ux * down + uy * aside, crown[1] + uy * down - ux * aside
        places[joint] = *place, crown[2] + _HEAD * math.cos(angle + yaw)
    return places


def _proportions(like: Pose) -> tuple[float, body.Body]:
    """Pixels of one body height, and a body like this one."""
    bones = _bones(like)
    hips = posing.place(like) if like["right_hip"] or like["left_hip"] else None
    spine = math.dist(like["neck"], hips) if like["neck"] and hips else 0.0
    arm = max(_longest(bones, "elbow"), _longest(bones, "wrist") / _FOREARM)
    leg = max(_longest(bones, "knee"), _longest(bones, "ankle"))
    guesses = sorted((spine / _TORSO[1], leg / _LEG[1]))[::-1]
    sound = [guess for guess in guesses if guess > 0.75 * guesses[0] > 0]  # not foreshortened
    unit = sum(sound) / len(sound) if sound else arm / _ARM[1] or 0.88 * like.size[0]

    def held(value: float, span: tuple[float, float, float]) -> torch.Tensor:
        low, usual, high = span
        return torch.tensor([min(max(value / unit, low), high) if value else usual])

    def half(part: str) -> float:
        right, left = like[f"right_{part}"], like[f"left_{part}"]
        return math.dist(right, left) / 2 if right and left else 0.0

    one, no = torch.ones(1), torch.zeros(1, dtype=torch.bool)
    return unit, body.Body(
        build=one,
        shoulders=held(half("shoulder"), _SHOULDERS),
        hips=held(half("hip"), _HIPS),
        torso=held(spine, _TORSO),
        arm=held(arm, _ARM),
        leg=held(leg, _LEG),
        head=1.05 * one,
        long_hair=no,
        skirt=no,
    )


def _bones(pose: Pose) -> dict[str, float]:
    """Lengths in pixels, with depth where there is one."""
    flat = posing.bones(pose)
    if not pose.depth:
        return flat
    depth = dict(zip(OPENPOSE_18, pose.depth, strict=True))
    return {j: math.hypot(flat[j], depth[j] - depth[posing.TREE[j]]) for j in flat}


def _longest(bones: dict[str, float], joint: str) -> float:
    return max(bones.get(f"right_{joint}", 0.0), bones.get(f"left_{joint}", 0.0))


def _lowest(pose: Pose) -> float | None:
    feet = [pose[f"{side}_ankle"] for side in ("right", "left") if pose[f"{side}_ankle"]]
    return max((y for _, y in feet), default=None)


# ---------------------------------------------------------------- depth


def _breadth(pose: Pose) -> tuple[float | None, float]:
    """Left minus right of shoulders and hips, summed: across the picture and into it."""
    across, into, pairs = 0.0, 0.0, 0
    for part in ("shoulder", "hip"):
        right, left = (OPENPOSE_18.index(f"{side}_{part}") for side in ("right", "left"))
        if pose.points[right] and pose.points[left]:
            across += pose.points[left][0] - pose.points[right][0]
            into += pose.depth[right] - pose.depth[left] if pose.depth else 0.0
            pairs += 1
    return (across, into) if pairs else (None, 0.0)


def _front_breadth(pose: Pose) -> float:
    """What the breadth would be if the person faced us, in pixels."""
    unit, _ = _proportions(pose)
    wide = {"shoulder": _SHOULDERS[1], "hip": _HIPS[1]}
    return sum(
        2 * half * unit
        for part, half in wide.items()
        if pose[f"right_{part}"] and pose[f"left_{part}"]
    )


def _side(pose: Pose) -> float:
    """1 when the front looks to the viewer's right rather than to their left, else -1."""
    right, left, nose = pose["right_ear"], pose["left_ear"], pose["nose"]
    if bool(right) != bool(left):  # the ear that is seen is the one on our side
        return 1.0 if right else -1.0
    middle = (right[0] + left[0]) / 2 if right else pose["neck"] and pose["neck"][0]
    if nose and middle is not None:
        return 1.0 if nose[0] >= middle else -1.0
    return 1.0


def _deepened(pose: Pose) -> Pose:
    """The same pose, with depths made up and a face where one is turned away."""
    way = math.radians(facing(pose) or 0.0)
    unit, _ = _proportions(pose)
    depth = dict.fromkeys(OPENPOSE_18, 0.0)
    for side, sign in (("right", -1), ("left", 1)):
        for part, half, limb in (
            ("shoulder", _SHOULDERS[1], ("shoulder", "elbow", "wrist")),
            ("hip", _HIPS[1], ("hip", "knee", "ankle")),
        ):
            into = -sign * half * unit * math.sin(way)
            depth |= {f"{side}_{joint}": into for joint in limb if pose[f"{side}_{part}"]}
    points = dict(zip(OPENPOSE_18, pose.points, strict=True))
    if pose["neck"]:
        made = _face_on(pose, unit, way)
        away = _looking_away(way)
        points |= {joint: made[joint][:2] for joint in away if points[joint] is None}
        depth |= {joint: z for joint, (_, _, z) in made.items()}
    return Pose(tuple(points.values()), pose.size, tuple(depth.values()))


def _face_on(pose: Pose, unit: float, way: float) -> dict[str, tuple[float, ...]]:
    """Where the face of a person would be, in pixels: joint -> (x, y, z)."""
    x, y = pose["neck"]
    flat = _face((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), way)
    there = [joint for joint in flat if pose[joint]]
    crown_x, crown_y = x, y - 0.208 * unit  # the procedural head above the neck
    if there:  # hold the head where the face was seen
        crown_x = sum(pose[j][0] - flat[j][0] * unit for j in there) / len(there)
        crown_y = sum(pose[j][1] - flat[j][1] * unit for j in there) / len(there)
    return {j: (crown_x + a * unit, crown_y + b * unit, z * unit) for j, (a, b, z) in flat.items()}


def _looking_away(way: float) -> list[str]:
    """Joints of the face that cannot be seen when the body faces `way` (radians)."""
    return [j for j, (angle, _) in _FACE.items() if math.cos(angle + way) <= _TURNED_AWAY]


def _axis(pose: Pose) -> float:
    return pose["neck"][0] if pose["neck"] else posing.place(pose)[0]
