"""What is known of the public data sets: where they are to be had, on what terms, how large.

Nothing is fetched from here. A count that was read in the authors' code, paper or issues is plain;
one that is only remembered says so, and a check that rests on it says so too.
"""

from __future__ import annotations

from typing import NamedTuple


class Count(NamedTuple):
    """A published number."""

    number: int
    remembered: bool = False  # nobody here looked it up

    def told(self) -> str:
        """The number as a sentence has it.

        >>> Count(101_966, remembered=True).told()
        '101,966 (remembered, not looked up)'
        """
        return f"{self.number:,}" + (" (remembered, not looked up)" if self.remembered else "")


class KnownSet(NamedTuple):
    """One public data set."""

    title: str
    terms: str
    where: str  # sentences: the publisher's page, and what else is needed
    looked_for: str  # how it is recognised
    counts: dict[str, Count]  # what -> how many
    canvas: tuple[int, int] = (256, 256)  # (h, w) that its key points are told in
    sizes: tuple[tuple[int, int], ...] = ()  # (h, w) that its pictures usually have


_LISTS = (
    "Key points, pairs and the split (train.lst, test.lst, fasion-…csv, market-…csv) are those of "
    "Pose-Transfer (PATN), github.com/tengteng95/Pose-Transfer"
)
_IN_SHOP = (
    "mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html; the password of the archive "
    "is given when the signed agreement was sent in"
)
_RESEARCH = "non-commercial research, on application"

KNOWN = {
    "deepfashion_tree": KnownSet(
        "DeepFashion In-shop as published, high resolution or 256x256",
        _RESEARCH,
        f"{_IN_SHOP}. {_LISTS}",
        "img_highres/ or img/ with WOMEN/ or MEN/, <category>/id_<8 digits>/*.jpg inside",
        {"pictures": Count(52_712, remembered=True)},
        (256, 176),
        ((1101, 750), (256, 256)),
    ),
    "deepfashion": KnownSet(
        "DeepFashion In-shop in the authors' layout",
        _RESEARCH,
        f"{_IN_SHOP}; `python -m gfla data prepare` makes this layout of it. {_LISTS}",
        "train/ or test/ and fasion-pairs-*.csv or fashion-pairs-*.csv, or pictures named "
        "fashionWOMEN… or fashionMEN… in train/ or test/",
        {
            "pairs of test": Count(8_570),
            "pairs of train": Count(101_966, remembered=True),
            "pictures": Count(52_712, remembered=True),
        },
        (256, 176),
        ((256, 176), (256, 256), (1101, 750)),
    ),
    "market_tree": KnownSet(
        "Market-1501 as published",
        "research",
        f"www.liangzheng.org/Project/project_reid.html. {_LISTS}",
        "bounding_box_train/ and bounding_box_test/",
        {
            "pictures of bounding_box_train": Count(12_936),
            "pictures of query": Count(3_368),
            "pictures of bounding_box_test": Count(19_732, remembered=True),
        },
        (128, 64),
        ((128, 64),),
    ),
    "market": KnownSet(
        "Market-1501 in the authors' layout",
        "research",
        "www.liangzheng.org/Project/project_reid.html; `python -m gfla data prepare` makes "
        f"this layout of it. {_LISTS}",
        "train/ or test/ and market-pairs-*.csv",
        {
            "pairs of train": Count(263_632, remembered=True),
            "pairs of test": Count(12_000, remembered=True),
        },
        (128, 64),
        ((128, 64),),
    ),
    "shapenet": KnownSet(
        "ShapeNet chairs or cars, views in HDF5",
        "ShapeNet's terms, non-commercial research",
        "github.com/shaohua0116/Multiview2Novelview has the rendered views",
        "data_chair.hdf5 or data_car.hdf5, id_chair_train.txt and so on beside it",
        {
            "models of chair": Count(698, remembered=True),
            "models of car": Count(7_497, remembered=True),
        },
    ),
    "fashion_video": KnownSet(
        "FashionVideo",
        "non-commercial research",
        "vision.cs.ubc.ca/datasets/fashion has the videos; frames and joints are to be extracted",
        "train_256/ or test_256/ with train_A/<video>/ and train_video2d/<video>/",
        {
            "videos of train": Count(500, remembered=True),
            "videos of test": Count(100, remembered=True),
        },
    ),
    "iper": KnownSet(
        "iPER",
        "non-commercial research, on application",
        "svip-lab.github.io/dataset/iPER_dataset.html has the videos; frames, joints and masks are "
        "to be extracted",
        "as FashionVideo, with masks in train_C/, or videos named as 001_1_2",
        {
            "videos of train": Count(164, remembered=True),
            "videos of test": Count(42, remembered=True),
        },
    ),
    "face": KnownSet(
        "Videos of faces with 68 landmarks",
        "FaceForensics' terms, non-commercial research, on application",
        "github.com/ondyari/FaceForensics has the videos; frames and landmarks are to be extracted",
        "train_data/<video>/ or test_data/<video>/, landmarks in train_keypoints/ and so on",
        {},
    ),
}

# Archives whose checksum somebody published: file name -> (algorithm, hexadecimal digits, source).
ARCHIVES = {
    "Market-1501-v15.09.15.zip": (
        "md5",
        "65005ab7d12ec1c44de4eeafe813e68a",
        "the loader of Market-1501 in the package Open-ReID",
    ),
}
