"""What every training run here shares: the learning-rate schedule, EMA weights, checkpoints and progress."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.device import DEVICE

CHECKPOINTS = Path(".train")
SAVE_SECONDS = 60.0
REPORT_STEPS = 50  # between two looks at the loss, which make a GPU wait


@dataclass(frozen=True)
class Schedule:
    """Warm up, hold, decay to zero, counted in images, so that a run can be extended while it holds."""

    images: int  # length of the run
    batch: int
    warmup: int = 20_000  # images
    hold: float = 0.6  # part of the run after which the rate decays

    @property
    def steps(self) -> int:
        return self.images // self.batch

    def scale(self, step: int) -> float:
        """Factor on the base learning rate at `step`."""
        seen, decay_from = step * self.batch, self.hold * self.images
        if seen < self.warmup:
            return (seen + self.batch) / self.warmup
        if seen < decay_from:
            return 1.0
        return max(0.0, (self.images - seen) / (self.images - decay_from))


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices, which Muon orthogonalises, and the rest (embeddings, first and last layers, biases)."""
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (hidden if parameter.ndim == 2 and ".weight" in name and "blocks." in name else rest).append(parameter)
    return hidden, rest


def halves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they are stored: float16, on the CPU."""
    return {key: value.half().cpu().contiguous() for key, value in state.items()}


class Trainer:
    """Runs `loss_of(step)` over a schedule; resumes from, and saves to, `.train/<name>.pt`."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        schedule: Schedule,
        ema_decay: float = 0.999,
    ) -> None:
        self.name, self.model, self.optimizers, self.schedule = name, model, optimizers, schedule
        self.ema, self.ema_decay = copy.deepcopy(model).requires_grad_(False).eval(), ema_decay
        self.base_lr = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.step, self.seconds = 0, 0.0
        self.path = CHECKPOINTS / f"{name}.pt"
        if self.path.is_file():
            self.load()

    def load(self) -> None:
        state = torch.load(self.path, weights_only=True, map_location=DEVICE)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        CHECKPOINTS.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "step": self.step,
                "seconds": self.seconds,
            },
            partial,
        )
        os.replace(partial, self.path)

    def update_ema(self) -> None:
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        averaged: list[Tensor] = list(self.ema.parameters())
        current: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def run(self, loss_of: Callable[[int], Tensor]) -> nn.Module:
        """Train to the end of the schedule and return the EMA model."""
        bar = tqdm(total=self.schedule.steps, initial=self.step, desc=self.name, unit="step", mininterval=5)
        saved = started = time.monotonic()
        before, average = self.seconds, None
        while self.step < self.schedule.steps:
            for optimizer, rates in zip(self.optimizers, self.base_lr, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * self.schedule.scale(self.step)
            loss = loss_of(self.step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self.update_ema()
            loss = loss.detach()
            average = loss if average is None else torch.lerp(average, loss, 0.01)
            bar.update()
            if self.step % REPORT_STEPS:
                continue
            bar.set_postfix(loss=f"{average.item():.4f}", refresh=False)
            self.seconds = before + time.monotonic() - started
            if time.monotonic() - saved > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
        self.seconds = before + time.monotonic() - started
        self.save()
        bar.close()
        return self.ema
