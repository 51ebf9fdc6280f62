"""Fine-tuning for an interval: the times that are drawn, the command line, and one short real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.measure.interval import held_out_loss
from benchmarks.tools.starter import load_denoiser
from training import denoiser, loop
from training.__main__ import main, parse
from training.denoiser import noised, train_denoiser
from training.interval import WHOLE, FineTuning, Interval, TrainingInputError
from training.latents import Latents, quantized
from tstitch.families.dit.network import DiTConfig

S_WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "starter_s.safetensors"


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_the_whole_interval_draws_what_training_always_drew() -> None:
    assert torch.equal(WHOLE.flow_times(500, generator()), torch.randn(500, generator=generator()).sigmoid())
    assert torch.equal(WHOLE.ddpm_steps(500, generator()), torch.randint(1000, (500,), generator=generator()))


@pytest.mark.parametrize(("low", "high"), [(0.6, 1.0), (0.0, 0.6), (0.25, 0.3)])
def test_flow_times_are_the_logit_normal_within_the_interval(low: float, high: float) -> None:
    """Of the conditioned distribution each time has the quantile that it has in the whole one."""

    def below(t: torch.Tensor) -> torch.Tensor:
        return torch.special.ndtr(t.double().logit())

    times, whole = Interval(low, high).flow_times(4000, generator()), WHOLE.flow_times(4000, generator())
    assert times.min() >= low
    assert times.max() <= high
    first, last = below(torch.tensor([low, high]))
    torch.testing.assert_close((below(times) - first) / (last - first), below(whole), atol=1e-5, rtol=1e-5)


def test_flow_times_stay_inside_at_the_ends_of_the_normal() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *_, **__: torch.tensor([-40.0, 40.0]))
        for low, high in ((0.6, 1.0), (0.0, 0.6)):
            times = Interval(low, high).flow_times(2, generator())
            assert torch.equal(times, torch.tensor([low, high]))


def test_ddpm_steps_are_those_of_the_interval() -> None:
    steps = Interval(0.6, 1.0).ddpm_steps(20_000, generator())
    assert sorted(set(steps.tolist())) == list(range(600, 1000))


@pytest.mark.parametrize("prediction", ["flow", "eps"])
def test_training_examples_come_from_the_interval(prediction: str) -> None:
    x0, noise = torch.zeros(512, 4, 8, 8), torch.ones(512, 4, 8, 8)
    _, timesteps, _ = noised(prediction, x0, noise, generator(), Interval(0.6, 1.0))
    assert 600 <= timesteps.min() < 620
    assert 900 < timesteps.max() <= 1000


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.6), (0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)])
def test_what_is_no_interval_is_refused(low: float, high: float) -> None:
    with pytest.raises(TrainingInputError, match="two noise levels t that rise within 0 to 1, got"):
        Interval(low, high)


def test_the_command_line_becomes_a_fine_tuning() -> None:
    tuning = parse(["S", "--interval", "0.6", "1", "--from", "a", "--images", "1000", "--out", "b"]).tuning
    assert tuning == FineTuning(Path("b"), Interval(0.6, 1.0), Path("a"), 1000)
    assert tuning.rate == 0.25
    assert parse(["S"]).tuning is None
    assert parse(["S", "--images", "1000", "--out", "b"]).tuning.rate == 1.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("S --interval 0.6 1", "need --out, so that the bundled weights stay as they are"),
        ("vae --interval 0.6 1 --out b", "are for S, S-eps, B, XL, not for vae"),
        ("Shortcut --images 9 --out b", "are for S, S-eps, B, XL, not for Shortcut"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(line: str, message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        parse(line.split())
    assert message in capsys.readouterr().err


def test_a_wrong_interval_ends_the_command_with_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train", "S", "--interval", "1", "0.6", "--out", "b"])
    with pytest.raises(SystemExit, match=r"got 1 0\.6: write 0\.82 1 for the first 40 % of the steps"):
        main()


@pytest.fixture
def latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random latents in place of the dataset's, no compiler, and checkpoints in a folder of the test."""
    full, half = (quantized(torch.randn(300, 4, side, side, generator=generator())) for side in (16, 8))
    monkeypatch.setattr(denoiser, "load_latents", lambda: Latents(full, half, torch.arange(300) % 10))
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    monkeypatch.setattr(loop, "CHECKPOINTS", tmp_path / "checkpoints")


def test_a_run_begins_with_the_given_weights_and_writes_others(latents: None, tmp_path: Path) -> None:
    before, out = S_WEIGHTS.read_bytes(), tmp_path / "made" / "tuned.safetensors"
    train_denoiser("S", FineTuning(out, Interval(0.6, 1.0), S_WEIGHTS, images=512))
    assert S_WEIGHTS.read_bytes() == before
    start, tuned = load_file(S_WEIGHTS), load_file(out)
    assert start.keys() == tuned.keys()
    moved = sum((tuned[key].float() - start[key].float()).norm() for key in start)
    assert 0 < moved < 0.2 * sum(start[key].float().norm() for key in start)
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    with safe_open(S_WEIGHTS, "pt") as file:
        original = file.metadata()
    record = json.loads(metadata.pop("tstitch.training"))
    assert {**record, "seconds": 0} == {
        "images": 512,
        "seconds": 0,
        "interval": [0.6, 1.0],
        "from": "starter_s.safetensors",
    }
    for key in ("tstitch.prediction", "tstitch.time_scale", "tstitch.classes", "tstitch.shift"):
        assert metadata[key] == original[key]
    assert DiTConfig(**json.loads(metadata["tstitch.dit"])) == DiTConfig(**json.loads(original["tstitch.dit"]))


def test_weights_that_do_not_fit_are_refused_by_name(latents: None, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    other = tmp_path / "other.safetensors"
    save_file({"layer": torch.zeros(2)}, other)
    for start, message in (
        (broken, "broken.safetensors cannot be read as safetensors weights"),
        (tmp_path / "absent.safetensors", "absent.safetensors cannot be read"),
        (other, "other.safetensors holds another model than S"),
        (S_WEIGHTS.with_name("starter_s_eps.safetensors"), "starter_s_eps.safetensors holds another model than S"),
    ):
        with pytest.raises(TrainingInputError, match=message):
            train_denoiser("S", FineTuning(tmp_path / "out.safetensors", start=start))


def test_a_run_of_no_steps_is_refused(latents: None, tmp_path: Path) -> None:
    with pytest.raises(TrainingInputError, match="--images must be 128 or more, which is one step, got 0"):
        train_denoiser("S", FineTuning(tmp_path / "out.safetensors", images=0))


def test_another_run_has_another_checkpoint(tmp_path: Path) -> None:
    """A run resumes from the checkpoint of its name, so what changes the run changes the name."""
    first, second = (tmp_path / folder / "s.safetensors" for folder in ("first", "second"))
    for path in (first, second):
        path.parent.mkdir()
        path.write_text(path.parent.name)
    runs = [
        FineTuning(Path("a")),
        FineTuning(Path("a"), Interval(0.6, 1.0)),
        FineTuning(Path("a"), Interval(0.6, 1.0), first),
        FineTuning(Path("a"), Interval(0.6, 1.0), second),
        FineTuning(Path("a"), Interval(0.6, 1.0), first, 1000),
    ]
    names = {run.run_name("S") for run in runs} | {"S"}
    first.write_text("other weights")
    assert len(names | {runs[2].run_name("S")}) == 7


@torch.no_grad()
def test_the_held_out_loss_is_that_of_the_velocity() -> None:
    """A network that answers 0 is wrong by the velocity itself: E (noise - x0)^2 = 1 + x0^2."""
    small = load_denoiser("S")
    small.model.final_layer.linear.weight.zero_()
    small.model.final_layer.linear.bias.zero_()
    loss = held_out_loss(small, torch.full((50, 4, 16, 16), 2.0), torch.zeros(50, dtype=torch.long))
    assert loss == pytest.approx(5.0, rel=0.01)
