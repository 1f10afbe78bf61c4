"""The project's own encoder: its taps, its file, and what it is judged by."""

import ast

import pytest
import torch

from gfla import cli, config, ledger, pretrain, ship, storage
from gfla.data import people
from gfla.encoder import FILES, OUT, WIDTHS, SmallEncoder, load_encoder, save_encoder
from gfla.features import JUDGES, LEVEL_TAPS, TRAINERS, load_features
from gfla.losses import PERCEPTUAL_TAPS, STYLE_TAPS
from gfla.pretrain import LEVELS, Truth, contrastive, fit_encoder, nearest_match, truth
from gfla.sampling import warp


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return SmallEncoder(widths=(8, 8, 16, 16, 16), out=(8, 16, 16))


class TestTaps:
    def test_every_tap_that_a_loss_asks_for_is_there(self, small):
        wanted = {*LEVEL_TAPS.values(), *PERCEPTUAL_TAPS, *STYLE_TAPS}
        assert wanted <= set(SmallEncoder.TAPS)
        taps = small(torch.zeros(1, 3, 32, 48), sorted(wanted))
        for name, features in taps.items():
            stride = 2 ** (int(name[4]) - 1)
            assert features.shape[2:] == (32 // stride, 48 // stride)
            assert bool((features >= 0).all())

    def test_fine_taps_see_the_whole_picture(self, small):
        image = torch.zeros(1, 3, 64, 64, requires_grad=True)
        small(image, ["relu2_1"])["relu2_1"][0, :, 4, 4].sum().backward()
        assert float(image.grad[0, :, 48:, 48:].abs().sum()) > 0

    def test_bad_input(self, small):
        with pytest.raises(ValueError, match="no tap relu9_1"):
            small(torch.zeros(1, 3, 32, 32), ["relu9_1"])
        with pytest.raises(ValueError, match="multiples of 16"):
            small(torch.zeros(1, 3, 40, 32), ["relu1_1"])
        with pytest.raises(ValueError, match="must be a list"):
            small(torch.zeros(1, 3, 32, 32), "relu1_1")


class TestLesson:
    def test_truth_points_at_the_source(self):
        batch = people.pairs(4, seed=31_000_000)
        at = truth(batch, level=2)
        assert isinstance(at, Truth) and bool(at.visible.any())
        b, cell = at.batch[at.visible], at.cell[at.visible]
        x, y = cell % 16, cell // 16
        flow = batch["flow"][b, :, 4 * y + 2, 4 * x + 2] / 4
        torch.testing.assert_close(at.source[at.visible], torch.stack((x, y), 1) + flow)

    def test_loss_is_least_for_features_that_name_their_place(self):
        batch = people.pairs(4, seed=31_000_000)
        at = truth(batch, level=3)
        places = torch.eye(64).view(1, 64, 8, 8).expand(4, -1, -1, -1)
        named = torch.zeros(4, 64, 8, 8)  # the target says which source position it shows
        nearest = at.source.round().long().clamp(0, 7)
        named[at.batch, nearest[:, 1] * 8 + nearest[:, 0], at.cell // 8, at.cell % 8] = 1
        random = torch.rand(4, 64, 8, 8)
        good = contrastive(places, named, at, temperature=0.1, blur=0.35)
        assert good < contrastive(places, random, at, temperature=0.1, blur=0.35) - 1.5

    def test_nearest_match_of_a_perfect_encoder_is_small(self):
        """An "encoder" that copies positions: the match is the same place, as bad as zero flow."""

        class Position(torch.nn.Module):
            def forward(self, image, names):
                taps = {}
                for level, name in LEVELS.items():
                    side = image.shape[2] // 2**level
                    eye = torch.eye(side * side).view(1, -1, side, side)
                    taps[name] = eye.expand(len(image), -1, -1, -1)
                return taps

        errors = nearest_match(Position(), count=4, size=(32, 32))
        assert all(abs(error - 1) < 1e-5 for error in errors.values())

    def test_training_resumes_bit_for_bit(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pretrain, "nearest_match", lambda *_, **__: {})
        options = {"batch": 2, "size": (32, 32)}
        whole = fit_encoder(tmp_path / "a", steps=4, **options, save_every=2)
        fit_encoder(tmp_path / "b", steps=4, **options, save_every=2, until=2)
        parts = fit_encoder(tmp_path / "b", steps=4, **options, save_every=2)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, parts.state_dict()[name]), name

    def test_the_default_is_the_recipe_of_the_shipped_one(self, tmp_path, monkeypatch):
        """Widths, kinds and folders of runs came later; the numbers are those of the plain loop."""
        monkeypatch.setattr(pretrain, "nearest_match", lambda *_, **__: {})
        trained = fit_encoder(tmp_path, steps=2, batch=2, size=(32, 32))
        torch.manual_seed(50)
        plain = SmallEncoder(WIDTHS, OUT)
        optimizer = torch.optim.AdamW(plain.parameters(), lr=2e-3, weight_decay=1e-4)
        for step, rate in enumerate((2e-3 * 1 / 100, 2e-3 * 2 / 100 * 0.5)):
            optimizer.param_groups[0]["lr"] = rate
            pair = people.pairs(2, size=(32, 32), seed=5_000_000 + step)
            with torch.autocast("cpu", torch.bfloat16):
                both = plain(torch.cat((pair["source"], pair["target"])), list(LEVELS.values()))
            loss = torch.zeros(())
            for level, tap in LEVELS.items():
                source, target = both[tap].float().chunk(2)
                blur = 0.35 + 0.35 * (3 - level)
                loss = loss + contrastive(source, target, truth(pair, level), 0.06, blur)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
        for name, value in plain.state_dict().items():
            assert torch.equal(value, trained.state_dict()[name]), name

    def test_recipes_that_cannot_be_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="choose from truth, augmentation"):
            fit_encoder(tmp_path / "a", kind="magic")
        with pytest.raises(ValueError, match=r"widths \[12\] are no multiples of 8"):
            fit_encoder(tmp_path / "a", widths=(8, 8, 12, 16, 16))
        assert not (tmp_path / "a").exists()

    def test_a_run_goes_on_only_as_it_began(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pretrain, "nearest_match", lambda *_, **__: {})
        options = {"batch": 2, "size": (32, 32), "widths": (8,) * 5, "out_widths": (8,) * 3}
        fit_encoder(tmp_path, steps=2, **options, until=1)
        with pytest.raises(ValueError, match="kind: 'truth' then, 'augmentation' now"):
            fit_encoder(tmp_path, steps=2, **options, kind="augmentation")
        with pytest.raises(ValueError, match="widths: "):
            fit_encoder(tmp_path, steps=2, **options | {"widths": (16,) * 5})


class TestFile:
    def test_round_trip(self, small, tmp_path):
        save_encoder(tmp_path / "e.safetensors", small)
        again = load_encoder(tmp_path / "e.safetensors")
        image = torch.rand(1, 3, 32, 32)
        torch.testing.assert_close(
            again(image, ["relu3_1"])["relu3_1"], small(image, ["relu3_1"])["relu3_1"],
            atol=2e-2, rtol=2e-2,
        )  # fmt: skip
        assert not any(p.requires_grad for p in again.parameters())

    def test_missing_and_foreign_files(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="python -m gfla encoder"):
            load_encoder(tmp_path / "none.safetensors")
        storage.save_safetensors(tmp_path / "x.safetensors", {"a": torch.ones(1)}, {})
        with pytest.raises(storage.CheckpointError, match="does not hold an encoder"):
            load_encoder(tmp_path / "x.safetensors")

    def test_the_shipped_one_matches_better_than_it_must(self):
        """A wide first try came to 0.60 and 0.67 of zero flow's error; the shipped one is held to
        less than half of that."""
        errors = nearest_match(load_features("people"), count=32)
        assert errors["level1"] < 0.4 and errors["level2"] < 0.4


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights and a ledger of their own; the real ones stay as they are."""
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    monkeypatch.setattr(storage, "weights_dir", lambda: folder)
    return folder


class TestShipping:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(pretrain, "nearest_match", lambda *_, **__: {})
            fit_encoder(
                tmp_path / "run", steps=2, batch=2, size=(32, 32), seed=7, kind="augmentation",
                widths=(8,) * 5, out_widths=(8,) * 3,
            )  # fmt: skip
        return tmp_path / "run"

    def test_the_file_the_manifest_and_the_ledger_agree(self, weights, run):
        found = ship.ship_encoder(run, "augmented", pairs=2)
        path = weights / "augmented.safetensors"
        assert storage.read_manifest(weights)[path.name]["sha256"] == storage.sha256(path)
        entry = ledger.read("augmented-encoder")
        assert entry["seed"] == 7 and entry["settings"]["kind"] == "augmentation"
        assert entry["results"] == found and found["steps"] == 2
        torch.manual_seed(7)
        untrained = nearest_match(SmallEncoder((8,) * 5, (8,) * 3), 2)
        assert found["untrained_match_level2"] == untrained["level2"]
        assert found["nearest_match_level2"] == nearest_match(load_encoder(path), 2)["level2"]

    def test_a_run_ships_only_as_what_it_is_and_when_it_is_done(self, weights, run, capsys):
        assert cli.main(["ship", "--encoder", str(run), "--name", "judge"]) == 2
        assert "learned from augmentation" in capsys.readouterr().err
        with pytest.raises(ValueError, match="no encoder 'vgg19' ships"):
            ship.ship_encoder(run, "vgg19")
        recipe = storage.read_json(run / "config.json")
        storage.write_json(run / "config.json", recipe | {"steps": 3})
        with pytest.raises(ValueError, match="2 of 3 steps"):
            ship.ship_encoder(run, "augmented")
        assert not list(weights.iterdir())


def distance(encoder, one, other, weight):
    """(B,) mean over five taps of the squared difference of unit features under a weight."""
    taps = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    a, b = encoder(one, taps), encoder(other, taps)
    found = torch.zeros(len(one))
    for name in taps:
        cosine = torch.cosine_similarity(a[name], b[name], dim=1)
        share = torch.nn.functional.adaptive_avg_pool2d(weight, cosine.shape[1:])[:, 0]
        found += ((2 - 2 * cosine) * share).sum((1, 2)) / share.sum((1, 2))
    return found / len(taps)


@pytest.mark.parametrize("name", JUDGES)
class TestJudges:
    def test_it_is_another_network_than_the_one_that_trains(self, name):
        judge, trainer = ledger.read(f"{name}-encoder"), ledger.read("people-encoder")
        ours, theirs = (load_features(one).arguments for one in (name, "people"))
        assert all(a < b for a, b in zip(ours["widths"], theirs["widths"], strict=True))
        assert judge["seed"] != 50  # the default, which the shipped trainer has
        assert judge["results"]["parameters"] < trainer["results"]["parameters"]
        assert judge["settings"]["kind"] == ("truth" if name == "judge" else "augmentation")
        assert storage.read_manifest()[FILES[name]]["bytes"] < 2e6

    def test_it_matches_far_better_than_before_its_first_step(self, name):
        entry = ledger.read(f"{name}-encoder")
        errors = nearest_match(load_features(name), count=16)
        for level in ("level1", "level2"):
            recorded = entry["results"][f"nearest_match_{level}"]
            assert errors[level] == pytest.approx(recorded, rel=0.2)  # 16 pairs of 256
            assert errors[level] < 0.7 * entry["results"][f"untrained_match_{level}"]

    def test_the_true_pixels_lie_nearer_than_copied_or_foreign_ones(self, name):
        batch = people.pairs(16, seed=30_700_000)
        encoder, target, weight = load_features(name), batch["target"], batch["foreground"]
        cases = {
            "itself": target,
            "blurred": torch.nn.functional.avg_pool2d(target, 3, 1, 1, count_include_pad=False),
            "warped": warp(batch["source"], batch["flow"]),
            "copied": batch["source"],
            "someone else": target.roll(1, 0),
        }
        apart = {case: distance(encoder, target, image, weight) for case, image in cases.items()}
        assert float(apart["itself"].abs().max()) < 1e-5
        assert bool((apart["warped"] < apart["copied"]).all())
        assert bool((apart["blurred"] < apart["copied"]).all())
        mean = {case: float(values.mean()) for case, values in apart.items()}
        order = sorted(mean, key=mean.__getitem__)
        assert order[0] == "itself" and order[3:] == ["copied", "someone else"]


class TestWhoMayTrain:
    def test_no_preset_trains_through_a_judge(self):
        for name in ("fashion", "market", "small", "tiny"):
            assert config.preset(name).features.name in TRAINERS
        assert config.Config().features.name in TRAINERS
        assert not set(TRAINERS) & set(JUDGES)

    @pytest.mark.parametrize("room", ["config", "losses", "model", "step", "train", "streams"])
    def test_no_room_of_the_training_names_a_judge(self, room):
        tree = ast.parse((storage.root() / "gfla" / f"{room}.py").read_text(encoding="utf-8"))
        said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not said & {*JUDGES} and "JUDGES" not in names
