"""From finished runs to what the project ships: weights, their manifest, and the ledger's entries.

Every number is measured here, on held-out people, with the very file that is shipped.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gfla import checkpoint, encoder, journal, ledger, measure, metrics, pretrain, storage
from gfla.config import Config, from_dict
from gfla.data.body import PARTS
from gfla.model import GFLA

ENCODER_NOTES = {
    "people": "feature encoder, trained on true correspondences of procedural people; MIT",
    "judge": "feature encoder that only judges, trained on true correspondences; MIT",
    "augmented": "feature encoder that only judges, trained on bent twins of single pictures; MIT",
    "objects": "feature encoder, trained on true correspondences of procedural objects; MIT",
}
MODEL_NOTES = {
    "people": "GFLA for procedural people, both stages; MIT",
    "views": "view synthesis of procedural chairs and cars, both stages; MIT",
    "views-published": "the same with the published way to tell the view; MIT",
    "appearance": "appearance flow of procedural chairs and cars: F and one warp; MIT",
    "video": "animation of procedural people, told the previous frame; MIT",
    "video-still": "animation of procedural people, frame by frame; MIT",
    "face": "animation of procedural faces; MIT",
}
LEARNED_FROM = {  # encoder: the kind of its training, see `gfla.pretrain`
    "people": "truth", "judge": "truth", "augmented": "augmentation", "objects": "objects"
}  # fmt: skip
LARGEST = 10_000_000  # bytes of a shipped file
ROWS = 200  # lines of a log that the ledger keeps
GROUPS = {"head": ("head", "neck", "hair"), "torso": ("torso", "skirt"), "arms": ("arm", "hand"),
          "legs": ("thigh", "shin", "shoe")}  # fmt: skip


def ship_encoder(run: str | Path, name: str = "people", pairs: int = 256) -> dict[str, Any]:
    """Copy a run's encoder to the shipped weights and record what its nearest match is worth.

    Args:
        run: folder that `pretrain.fit_encoder` wrote, finished.
        name: which of `encoder.FILES` it becomes.
        pairs: held-out pairs to measure on.

    Returns:
        nearest_match_level1 … 3 of the shipped file, untrained_match_level1 … 3 of the same network
        before its first step, and the run's steps, parameters, seconds and measured_pairs.

    Raises:
        FileNotFoundError: no finished run there.
        ValueError: an unknown name, a run that has not finished, or one of another kind than the
            name promises.
    """
    if name not in encoder.FILES:
        raise ValueError(f"no encoder {name!r} ships: choose from {', '.join(encoder.FILES)}")
    source, goal = Path(run) / encoder.FILE, storage.weights_dir() / encoder.FILES[name]
    if not source.is_file():
        raise FileNotFoundError(f"{source} is not there: python -m gfla encoder --out {run}")
    recipe, history = storage.read_json(Path(run) / journal.CONFIG), journal.read(run)
    if history[-1]["step"] < recipe["steps"]:
        raise ValueError(f"{run} has done {history[-1]['step']} of {recipe['steps']} steps: go on")
    if recipe["kind"] != LEARNED_FROM[name]:
        raise ValueError(f"{run} learned from {recipe['kind']}: that cannot ship as {name!r}")
    shutil.copyfile(source, goal)
    storage.add_to_manifest(goal, ENCODER_NOTES[name])
    loaded = encoder.load_encoder(goal)
    torch.manual_seed(recipe["seed"])
    untrained = encoder.SmallEncoder(**loaded.arguments)  # as the run began
    results: dict[str, Any] = {}
    for word, one in (("nearest", loaded), ("untrained", untrained)):
        judged = pretrain.KINDS[recipe["kind"]].judged
        found = pretrain.nearest_match(one, pairs, pairs=judged)
        results |= {f"{word}_match_{level}": value for level, value in found.items()}
    results |= {
        "steps": history[-1]["step"],
        "parameters": sum(p.numel() for p in loaded.parameters()),
        "seconds": history[-1]["seconds"],
        "measured_pairs": pairs,
    }
    ledger.write_run(f"{name}-encoder", results, recipe, seed=recipe["seed"], history=history)
    return results


def record(name: str, run: str | Path, pairs: int = 512) -> dict[str, float]:
    """Record a run that is not shipped, of either stage, finished or not, under its own name.

    Args:
        name: of the ledger's entry, such as "people-flow".
        run: its folder.
        pairs: held-out pairs, or clips, to measure on.
    """
    return _record(name, Path(run), checkpoint.load_model(_model(run)), pairs)


def ship_model(run: str | Path, pairs: int = 512, name: str = "people") -> dict[str, float]:
    """Ship a finished stage 2 as `gfla.load(name)`, and record it.

    In half precision; in eight bits where that would be more than `LARGEST` bytes.

    Args:
        run: its folder.
        pairs: held-out pairs, or clips, to measure on.
        name: of `MODEL_NOTES`.

    Returns:
        what was measured with the very file that is shipped, as the ledger has it.

    Raises:
        FileNotFoundError: no finished run there.
        ValueError: an unknown name.
    """
    if name not in MODEL_NOTES:
        raise ValueError(f"no model {name!r} ships: choose from {', '.join(MODEL_NOTES)}")
    goal = storage.weights_dir() / f"{name}.safetensors"
    facts = storage.read_json(Path(run) / journal.CONFIG)
    trained = checkpoint.load_model(_model(run))
    large = 2 * sum(p.numel() for p in trained.parameters()) > LARGEST
    checkpoint.save_model(
        goal, trained, torch.int8 if large else torch.float16,
        digest=facts["digest"], seed=facts["seed"],
    )  # fmt: skip
    storage.add_to_manifest(goal, MODEL_NOTES[name])
    shipped = checkpoint.load_model(goal)
    if name == "people":
        picture(shipped, storage.root() / "docs" / "people.png")
    return _record(f"{name}-full", Path(run), shipped, pairs)


@torch.no_grad()
def picture(model: GFLA, path: str | Path, count: int = 4) -> None:
    """Draw the README's picture: the first `count` of the people that measuring begins with."""
    from gfla import viz  # brings Matplotlib along, which weights alone do not need

    batch = next(measure.held_out(16, model.size))
    output = model(batch["source"], batch["source_pose"], batch["target_pose"])
    figure = viz.strip(batch, output, indices=range(count))
    storage.atomic_write(path, viz.image_bytes(figure))


@torch.no_grad()
def judge(model: GFLA, stage: str, pairs: int) -> dict[str, float]:
    """True errors of a model over held-out people: `measure.measure`, and by part and mask.

    Returns:
        besides those of `measure.measure`: flow_error_head, _torso, _arms, _legs in pixels over
        visible pixels, zero_flow_error_* beside them; occlusion_average_precision, occlusion_area,
        occlusion_iou of the finest mask over the person, and visible_share, what a mask that knows
        nothing has.
    """
    found = measure.measure(model, stage, pairs, "cpu")
    flows, masks, truth = [], [], []
    for batch in measure.held_out(pairs, model.size):
        output = model.flow(batch["source"], batch["source_pose"], batch["target_pose"])
        flows.append(metrics.upsample_flow(output.flows[-1], model.size))
        masks.append(output.masks[-1])
        truth.append({k: batch[k] for k in ("flow", "visible", "foreground", "parts")})
    flow, mask = torch.cat(flows), torch.cat(masks)
    true = {key: torch.cat([one[key] for one in truth]) for key in truth[0]}
    for group, words in GROUPS.items():
        members = [i + 1 for i, part in enumerate(PARTS) if part.endswith(words)]
        chosen = true["visible"] * torch.isin(true["parts"], torch.tensor(members))
        found[f"flow_error_{group}"] = metrics.endpoint_error(flow, true["flow"], chosen)
        found[f"zero_flow_error_{group}"] = metrics.zero_flow_error(true["flow"], chosen)
    scores = metrics.occlusion_scores(mask, true["visible"], where=true["foreground"])
    found["occlusion_average_precision"] = scores["average_precision"]
    found["occlusion_area"], found["occlusion_iou"] = scores["area_under_curve"], scores["iou"]
    return found | {"visible_share": scores["visible_share"], "measured_pairs": pairs}


def judge_any(model: nn.Module, stage: str, pairs: int, config: Config) -> dict[str, float]:
    """What a trained model of any kind is worth on held-out data.

    Args:
        model: of the kind that the configuration says.
        stage: "flow" or "full".
        pairs: held-out pairs, or clips.
        config: of its run.

    Returns:
        people: as `judge`. Stage "flow", and faces: as `measure.measure`. Views: as
        `turning.judge`, and held_out_…, the same over classes that no training has seen. Clips:
        as `moving.judge`, and noisy_…, the same with the poses of a detector that errs.
    """
    from gfla.data import detector, objects
    from gfla.scores import moving, turning  # each brings data along that no other kind needs

    kind, counted = config.model.kind, {"measured_pairs": pairs}
    if kind == "people":
        return judge(model, stage, pairs)
    if stage == "flow" or config.data.source == "portraits":
        return measure.measure(model, stage, pairs, "cpu", config) | counted
    if kind == "animation":
        found, name = moving.judge(model, pairs), "noisy"
        other = moving.judge(model, pairs, noise=detector.NOISY)
    else:
        found, name = turning.judge(model, pairs), "held_out"
        other = turning.judge(model, pairs, objects.HELD_OUT)
    return found | {f"{name}_{key}": value for key, value in other.items()} | counted


def _record(name: str, run: Path, model: nn.Module, pairs: int) -> dict[str, Any]:
    history, facts = journal.read(run), storage.read_json(run / journal.CONFIG)
    if (run / journal.STATE).exists():  # a run that goes on has logged more than it has saved
        saved = torch.load(run / journal.STATE, map_location="cpu", weights_only=True)["step"]
        history = [row for row in history if row["step"] <= saved]
    config, stage = from_dict(facts["config"]), facts["stage"]
    results = judge_any(model, stage, pairs, config) | {
        "steps": history[-1]["step"],
        "seconds": round(history[-1]["seconds"]),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    kept = [row for row in history if "measured_flow_ratio" in row]
    every = max(1, len(history) // ROWS)
    kept = sorted(kept + history[::every], key=lambda row: row["step"])
    rows = list({row["step"]: _rounded(row) for row in kept}.values())
    ledger.write_run(name, results, config, seed=facts["seed"], history=rows)
    return results


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}


def _model(run: str | Path) -> Path:
    path = Path(run) / journal.MODEL
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: the training in {run} has not finished; the same "
            "`python -m gfla train` again goes on with it"
        )
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m gfla ship`."""
    add = parser.add_argument
    add("--encoder", metavar="RUN", help="folder of a finished `python -m gfla encoder`")
    words = "which encoder it becomes: the one that trains, or one that only judges"
    add("--name", choices=list(encoder.FILES), default="people", help=words)
    add("--flow", metavar="RUN", help="folder of a finished stage 1")
    add("--full", metavar="RUN", help="folder of a finished stage 2")
    add("--model", choices=list(MODEL_NOTES), default="people", help="what --full becomes")
    add("--pairs", type=int, default=512, help="held-out pairs or clips to measure on")
    words = "record a run that is not shipped, of either stage"
    add("--record", nargs=2, metavar=("NAME", "RUN"), help=words)


def main(args: argparse.Namespace) -> int:
    """Ship what was named, and print what was measured."""
    work = {
        "encoder": lambda run: ship_encoder(run, args.name),
        "flow": lambda run: record("people-flow", run, args.pairs),
        "full": lambda run: ship_model(run, args.pairs, args.model),
    }
    asked = {name: getattr(args, name) for name in work if getattr(args, name)}
    if args.record:
        asked[args.record[0]] = args.record[1]
    if not asked:
        raise ValueError("nothing to ship: name a run with --encoder, --flow, --full or --record")
    for name, run in asked.items():
        done = work[name](run) if name in work else record(name, run, args.pairs)
        for key, value in done.items():
            print(f"{name:<8} {key:<32}{value:.4g}")
    return 0
