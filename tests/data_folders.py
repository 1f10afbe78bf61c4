"""Small data sets by hand, so that writers, readers and checks are not judged by each other."""

import numpy as np
from PIL import Image

# (x, y) of a person who stands and looks at us, on the canvas of 256x176, in OpenPose's order
STANDING = (
    *((88, 40), (88, 60), (70, 60), (64, 90), (62, 115), (106, 60), (112, 90), (114, 115)),
    *((78, 125), (77, 170), (76, 215), (98, 125), (99, 170), (100, 215)),
    *((84, 36), (92, 36), (79, 38), (97, 38)),
)


def row(name, joints=STANDING):
    """One line of a key-point file."""
    return f"{name}:{[y for _, y in joints]}:{[x for x, _ in joints]}"


def picture(top=(200, 30, 30), bottom=(30, 30, 200), size=(256, 176)):
    """A picture of two colours, one over the other."""
    pixels = np.empty((*size, 3), dtype=np.uint8)
    pixels[: size[0] // 2], pixels[size[0] // 2 :] = top, bottom
    return Image.fromarray(pixels)


def write_list(path, heading, rows):
    """A list with a line for each row."""
    path.write_text("\n".join([heading, *rows]) + "\n")


def phase(root, name, names, pairs, prefix="fasion", joints=STANDING):
    """Pictures of one phase with their lists."""
    (root / name).mkdir(parents=True, exist_ok=True)
    for one in names:
        picture().save(root / name / one)
    write_list(root / f"{prefix}-pairs-{name}.csv", "from,to", [f"{a},{b}" for a, b in pairs])
    rows = [row(one, joints) for one in names]
    write_list(root / f"{prefix}-annotation-{name}.csv", "name:keypoints_y:keypoints_x", rows)


def flat(root, people=3, prefix="fasion"):
    """A clean set in the authors' layout: two pictures of each person, both phases."""
    for start, name in ((1, "train"), (people + 1, "test")):
        pairs = [
            tuple(f"fashionWOMENTees_Tanksid{start + i:08d}01_{view}.png" for view in ("1a", "7b"))
            for i in range(people)
        ]
        phase(root, name, [one for pair in pairs for one in pair], pairs, prefix)
    return root


def tree(root, people=2, folder="img_highres", size=(110, 75)):
    """DeepFashion as its publishers pack it, without lists."""
    for i in range(people):
        where = root / folder / "WOMEN" / "Tees_Tanks" / f"id_{i + 1:08d}"
        where.mkdir(parents=True)
        for view in ("1_front", "7_additional"):
            picture(size=size).save(where / f"01_{view}.jpg")
    return root


def snapshot(root):
    """What every file of a folder holds, and when it was changed."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
