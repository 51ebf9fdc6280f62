"""The training code, on toy models and files written here; needs neither the dataset nor the host."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training import data, loop
from training.data import DatasetMissingError, load_split, read_idx, to_signal
from training.denoiser import noised, plain_attention
from training.loop import Schedule, Trainer, parameter_groups


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    arrays = {}
    for split, count in (("train", 5), ("test", 3)):
        arrays[split] = np.arange(count * 28 * 28, dtype=np.uint32).reshape(count, 28, 28) % 256
        arrays[f"{split} labels"] = np.arange(count) % 10
        write_idx(tmp_path / data.FILES[split][0], arrays[split])
        write_idx(tmp_path / data.FILES[split][1], arrays[f"{split} labels"])
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    return arrays


@pytest.mark.parametrize("split", ["train", "test"])
def test_load_split_reads_the_idx_files(dataset: dict[str, np.ndarray], split: str) -> None:
    images, labels = load_split(split)
    assert images.shape == (len(dataset[split]), 1, 28, 28)
    np.testing.assert_array_equal(images[:, 0], dataset[split])
    np.testing.assert_array_equal(labels, dataset[f"{split} labels"])
    assert labels.dtype == torch.int64


def test_a_missing_dataset_names_the_files_and_the_remedy(tmp_path: Path, dataset: dict[str, np.ndarray]) -> None:
    (tmp_path / data.FILES["test"][1]).unlink()
    with pytest.raises(DatasetMissingError) as caught:
        load_split("train")
    for part in (str(tmp_path), data.FILES["test"][1], "dataset-fashion-mnist", "FASHION_MNIST"):
        assert part in str(caught.value)
    assert data.FILES["train"][0] not in str(caught.value)


def test_a_file_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.gz"
    path.write_bytes(gzip.compress(b"\0\0\x0d\x01" + bytes(8)))
    with pytest.raises(ValueError, match=r"other\.gz is not an IDX file"):
        read_idx(path)


def test_to_signal_spans_minus_one_to_one() -> None:
    assert to_signal(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


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
    x0, noise = torch.randn(64, 4, 7, 7), torch.randn(64, 4, 7, 7)
    x, timesteps, target = noised("flow", x0, noise, torch.Generator().manual_seed(0))
    t = timesteps[:, None, None, None] / 1000
    assert t.min() > 0
    assert t.max() < 1
    torch.testing.assert_close(x - t * target, x0, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x + (1 - t) * target, noise, atol=1e-4, rtol=1e-4)


def test_noised_eps_is_the_ddpm_forward_process() -> None:
    x0, noise = torch.ones(256, 4, 7, 7), torch.randn(256, 4, 7, 7)
    x, timesteps, target = noised("eps", x0, noise, torch.Generator().manual_seed(0))
    betas = np.linspace(1e-4, 2e-2, 1000)
    alpha_bar = torch.tensor([np.prod(1 - betas[: int(t) + 1]) for t in timesteps]).float()[:, None, None, None]
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert torch.equal(timesteps, timesteps.round())
    assert torch.equal(target, noise)
    torch.testing.assert_close(x, alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, atol=1e-4, rtol=1e-4)


def test_plain_attention_equals_the_fused_kernel() -> None:
    q, k, v = torch.randn(3, 2, 49, 64).unbind()
    heads = [part.unflatten(-1, (2, 32)).transpose(1, 2) for part in (q, k, v)]
    expected = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    torch.testing.assert_close(plain_attention(q, k, v, 2), expected, atol=1e-5, rtol=1e-5)
