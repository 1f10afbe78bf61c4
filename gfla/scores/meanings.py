"""What every number means: one sentence, its range, which way is better, and where it comes from.

The ledger's tables, the notebooks and `python -m gfla evaluate` read it here, in this order.
"""

from typing import NamedTuple


class Metric(NamedTuple):
    """What a number means."""

    definition: str  # one sentence
    range: str
    direction: str  # "lower" or "higher" is better; "none": a reference that others are read beside
    source: str


_WANG = "Wang et al. 2004, by scikit-image"
_LPIPS_FORM = "LPIPS's formula without its learned heads (Zhang et al. 2018) over an own encoder"
_FRECHET = "Fréchet distance as in FID (Heusel et al. 2017), over an own encoder"
_PROJECT = "this project"
_FLOW = "end-point error of the optical-flow literature (Middlebury benchmark)"
_ATTENDED = "; of the flow plus the expected offset of the attention"
_ABOUT = {
    "judge": "an encoder of another seed and width, trained on true correspondences, in no loss",
    "augmented": "an encoder trained by augmentation only, no true correspondences, in no loss",
}


def _pictures() -> dict[str, Metric]:
    """The metrics of pictures: each over the whole picture and over the true foreground."""
    own: dict[str, Metric] = {
        "l1": Metric(
            "mean absolute difference from the true picture, as a share of the value range",
            "0 … 1", "lower", "the authors' L1 (docs/spec.md section 9)",
        ),
        "psnr": Metric(
            "mean square error below full scale, in decibels", "0 … ∞ dB", "higher",
            "textbook formula, as scikit-image's with data range 1",
        ),
        "ssim": Metric(
            "means, contrasts and correlation of Gaussian windows of 11 pixels compared",
            "-1 … 1", "higher", _WANG,
        ),
    }  # fmt: skip
    for name, encoder in _ABOUT.items():
        own[f"{name}_distance"] = Metric(
            f"mean squared difference of unit-length features of {encoder}",
            "0 … 2", "lower", _LPIPS_FORM,
        )  # fmt: skip
        own[f"{name}_frechet"] = Metric(
            f"distance of the two sets' Gaussians of mean features of {encoder}",
            "0 … ∞", "lower", _FRECHET,
        )  # fmt: skip
    own["lpips"] = Metric(
        "learned perceptual distance, version 0.1 over AlexNet", "0 … about 1", "lower",
        "Zhang et al. 2018, by the lpips package with a verified trunk",
    )  # fmt: skip
    both = {}
    for name, metric in own.items():
        both[name] = metric
        both[f"{name}_foreground"] = metric._replace(
            definition=f"{metric.definition}; over the person of the true picture only"
        )
    return both


METRICS: dict[str, Metric] = _pictures() | {
    "fid": Metric(
        "distance of the two sets' Gaussians of the FID Inception's features",
        "0 … ∞", "lower", "Heusel et al. 2017, with verified weights",
    ),
    "score": Metric(
        "L1 over visible pixels on the scale from warping by the true flow (0) to copying the "
        "source in place (1)",
        "unbounded", "lower", _PROJECT,
    ),
    "flow_error": Metric(
        "mean distance, over visible pixels, between where the flow takes a pixel from and where "
        "it truly comes from",
        "0 … ∞ px", "lower", _FLOW,
    ),
    "flow_ratio": Metric("flow_error over that of a flow of zero", "0 … ∞", "lower", _PROJECT),
    "within_2px": Metric(
        "share of visible pixels that are taken from within 2 image pixels of the truth",
        "0 … 1", "higher", _PROJECT,
    ),
    "flow_error_attended": Metric(
        "mean distance, over visible pixels, between source position and truth" + _ATTENDED,
        "0 … ∞ px", "lower", _FLOW,
    ),
    "flow_ratio_attended": Metric(
        "flow_error_attended over that of a flow of zero", "0 … ∞", "lower", _PROJECT
    ),
    "within_2px_attended": Metric(
        "share of visible pixels taken from within 2 image pixels of the truth" + _ATTENDED,
        "0 … 1", "higher", _PROJECT,
    ),
    "occlusion_iou": Metric(
        "pixels of the person that the mask and the truth call visible, over those that either "
        "calls so",
        "0 … 1", "higher", "Jaccard index",
    ),
    "occlusion_average_precision": Metric(
        "area under the precision-recall curve of the mask over the person, all pairs pooled",
        "0 … 1", "higher", "information retrieval; no interpolation",
    ),
    "occlusion_visible_share": Metric(
        "share of the person that the source shows: the average precision of a mask that knows "
        "nothing, and the IoU of one that is all visible",
        "0 … 1", "none", _PROJECT,
    ),
}  # fmt: skip
