"""The training code, on toy models and a few avatars drawn here; needs neither the whole set nor the host."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training import autoencoder, data, decoder, loop
from training.data import DatasetError, attribute_heads, halved, load_split, render, to_signal
from training.denoiser import drawn, noised, plain_attention
from training.latents import Latents, dequantized, quantized
from training.loop import Schedule, Trainer, parameter_groups

HAS_TOOLS = shutil.which("node") is not None and data.has_package("@resvg/resvg-js")
draws_avatars = pytest.mark.skipif(not HAS_TOOLS, reason="Node.js and the npm packages draw the avatars")


@pytest.fixture
def small_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of two shards for training and one for tests, in a folder of the test."""
    monkeypatch.setattr(data, "FOLDER", tmp_path / "avatars")
    monkeypatch.setattr(data, "COUNTS", {"train": 40, "test": 20})
    monkeypatch.setattr(data, "SHARD", 20)
    monkeypatch.setattr(data, "CHECKSUMS", {"train": "", "test": ""})
    monkeypatch.setattr(data, "SPARE_BYTES", 10**6)
    return tmp_path / "avatars"


@draws_avatars
def test_avatars_are_drawn_with_their_labels(small_set: Path) -> None:
    render()
    avatars = load_split("train")
    assert avatars.pixels.shape == (40, 64, 64, 3)
    assert avatars.styles.tolist() == list(range(10)) * 4
    heads = list(attribute_heads())
    for row, style in enumerate(avatars.styles.tolist()):
        known = {heads[column] for column in (avatars.attributes[row] >= 0).nonzero()[:, 0].tolist()}
        own = {name for name in heads if name.startswith(f"{data.STYLES[style]}.")}
        assert known == own | {"background"}
    corners = avatars.pixels[:, 0, 0]
    assert len(np.unique(corners, axis=0)) > 4  # backgrounds


@draws_avatars
def test_a_stopped_drawing_goes_on_to_the_same_set(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_by_node, original = [], data._render_shard

    def render_first(split: str, first: int, pixels: Path, labels: Path) -> None:
        if split == "train" and first:
            raise KeyboardInterrupt
        original(split, first, pixels, labels)

    monkeypatch.setattr(data, "_render_shard", render_first)
    with pytest.raises(KeyboardInterrupt):
        render()
    with pytest.raises(DatasetError, match=r"not complete: run `python dev\.py train data`"):
        load_split("train")

    def render_rest(split: str, first: int, pixels: Path, labels: Path) -> None:
        drawn_by_node.append((split, first))
        original(split, first, pixels, labels)

    monkeypatch.setattr(data, "_render_shard", render_rest)
    render()
    assert ("train", 0) not in drawn_by_node
    resumed = np.array(load_split("train").pixels)
    shutil.rmtree(small_set)
    render()
    np.testing.assert_array_equal(load_split("train").pixels, resumed)


@draws_avatars
def test_another_set_than_the_known_one_is_refused(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CHECKSUMS", {"train": "0" * 64, "test": ""})
    with pytest.raises(DatasetError, match=r"have the checksum \w+, not 000000000000: run `npm ci`"):
        render()
    with pytest.raises(DatasetError, match="not complete"):
        load_split("train")


@draws_avatars
def test_a_full_disk_is_said_before_anything_is_drawn(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SPARE_BYTES", 10**18)
    with pytest.raises(DatasetError, match="need 1000000000 GB"):
        render()
    assert not list(small_set.iterdir())


@pytest.mark.parametrize(
    ("node", "package", "message"),
    [(None, True, "Node.js draws the avatars and is not installed"), ("node", False, "run `npm ci`")],
)
def test_missing_tools_are_named(
    small_set: Path, monkeypatch: pytest.MonkeyPatch, node: str | None, package: bool, message: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: node)
    monkeypatch.setattr(data, "has_package", lambda name: package)
    with pytest.raises(DatasetError, match=message):
        render()
    assert not small_set.exists()


def test_to_signal_spans_minus_one_to_one() -> None:
    signal = to_signal(torch.tensor([0, 255, 255, 0, 0, 255], dtype=torch.uint8).reshape(1, 1, 2, 3))
    assert signal.tolist() == [[[[-1.0, -1.0]], [[1.0, -1.0]], [[1.0, 1.0]]]]
    assert halved(torch.arange(4.0).reshape(1, 1, 2, 2)).item() == 1.5


def test_stored_latents_are_true_to_a_hundredth() -> None:
    latent = torch.randn(1000)
    error = (dequantized(quantized(latent)) - latent).abs().max()
    assert error < 0.025


def test_each_fourth_step_draws_halved_pictures() -> None:
    full, half = torch.zeros(50, 4, 16, 16, dtype=torch.int8), torch.zeros(50, 4, 8, 8, dtype=torch.int8)
    latents = Latents(full, half, torch.arange(50) % 10)
    shapes = []
    for step in range(8):
        x0, styles = drawn(latents, step, torch.Generator().manual_seed(step))
        assert torch.equal(styles.sum(dim=1), torch.ones(len(x0)))
        shapes.append(tuple(x0.shape))
    assert shapes == 2 * (3 * [(128, 4, 16, 16)] + [(256, 4, 8, 8)])


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (59, 1.0), (60, 1.0), (80, 0.5), (99, 0.025), (100, 0.0), (120, 0.0)],
)
def test_schedule_warms_up_holds_and_decays_to_zero(step: int, expected: float) -> None:
    schedule = Schedule(images=1000, batch=10, warmup=100, hold=0.6)
    assert schedule.steps == 100
    assert schedule.scale(step) == pytest.approx(expected)


def test_a_longer_schedule_is_the_same_while_it_holds() -> None:
    short, long = Schedule(images=1000, batch=10, warmup=100), Schedule(images=2000, batch=10, warmup=100)
    assert [short.scale(step) for step in range(60)] == [long.scale(step) for step in range(60)]


def toy_trainer(name: str, steps: int) -> tuple[Trainer, nn.Module]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    optimizers = [
        torch.optim.Muon([model[0].weight], lr=1e-2),
        torch.optim.AdamW([model[0].bias, *model[2].parameters()], lr=1e-2),
    ]
    return Trainer(name, model, optimizers, Schedule(images=steps, batch=1, warmup=4)), model


def toy_loss(model: nn.Module, stop_at: int | None, step: int) -> Tensor:
    if step == stop_at:
        raise KeyboardInterrupt
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
    return F.mse_loss(model(x), x.flip(1))


def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINTS", tmp_path)
    trainer, model = toy_trainer("whole", steps=20)
    whole = trainer.run(lambda step: toy_loss(model, None, step))

    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)  # save after every step
    monkeypatch.setattr(loop, "REPORT_STEPS", 1)
    trainer, model = toy_trainer("parts", steps=20)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(lambda step: toy_loss(model, 11, step))
    resumed, model = toy_trainer("parts", steps=20)
    assert resumed.step == 11
    parts = resumed.run(lambda step: toy_loss(model, None, step))

    for key, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[key]), key


def test_the_averaged_weights_follow_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINTS", tmp_path)
    trainer, model = toy_trainer("toy", steps=20)
    trainer.step = 10**6
    with torch.no_grad():
        model[0].bias.fill_(2.0)
        trainer.ema[0].bias.fill_(1.0)
    trainer.update_ema()
    torch.testing.assert_close(trainer.ema[0].bias, torch.full((8,), 1.001))


def test_parameter_groups_split_hidden_matrices_from_the_rest() -> None:
    model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(3, 3)]), "embedding": nn.Embedding(4, 3)})
    hidden, rest = parameter_groups(model)
    assert [parameter.shape for parameter in hidden] == [(3, 3)]
    assert {parameter.shape for parameter in rest} == {(3,), (4, 3)}


def test_noised_flow_is_the_straight_path() -> None:
    x0, noise = torch.randn(64, 4, 8, 8), torch.randn(64, 4, 8, 8)
    x, timesteps, target = noised("flow", x0, noise, torch.Generator().manual_seed(0))
    t = timesteps[:, None, None, None] / 1000
    assert t.min() > 0
    assert t.max() < 1
    torch.testing.assert_close(x - t * target, x0, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x + (1 - t) * target, noise, atol=1e-4, rtol=1e-4)


def test_noised_eps_is_the_ddpm_forward_process() -> None:
    x0, noise = torch.ones(256, 4, 8, 8), torch.randn(256, 4, 8, 8)
    x, timesteps, target = noised("eps", x0, noise, torch.Generator().manual_seed(0))
    betas = np.linspace(1e-4, 2e-2, 1000)
    alpha_bar = torch.tensor([np.prod(1 - betas[: int(t) + 1]) for t in timesteps]).float()[:, None, None, None]
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert torch.equal(timesteps, timesteps.round())
    assert torch.equal(target, noise)
    torch.testing.assert_close(x, alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, atol=1e-4, rtol=1e-4)


def test_plain_attention_equals_the_fused_kernel() -> None:
    q, k, v = torch.randn(3, 2, 64, 64).unbind()
    heads = [part.unflatten(-1, (2, 32)).transpose(1, 2) for part in (q, k, v)]
    expected = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    torch.testing.assert_close(plain_attention(q, k, v, 2), expected, atol=1e-5, rtol=1e-5)


def test_crops_of_latents_and_pictures_are_of_the_same_place() -> None:
    latent = torch.rand(5, 3, 16, 16)
    pixels = latent.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    small, large = decoder.crops(latent, pixels, torch.Generator().manual_seed(0))
    assert small.shape == (5, 3, 8, 8)
    assert torch.equal(large, small.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3))


def test_plain_norms_are_those_of_torch() -> None:
    x = torch.randn(3, 12, 6, 5).to(memory_format=torch.channels_last)
    norm = torch.nn.GroupNorm(4, 12)
    torch.nn.init.normal_(norm.weight)
    expected = norm(x)
    autoencoder.with_plain_norms(norm)
    with torch.compiler.set_stance("force_eager"):
        found = norm(x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
