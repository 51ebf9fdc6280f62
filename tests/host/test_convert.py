"""Chains of samplers, converted by `dev.py convert`, draw on a real server what they drew before."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from scripts.client import Client
from scripts.server import Server, free_port, running_server

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
Json = dict[str, Any]

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.skipif(NODE is None, reason="Node.js is not installed")]

MODELS = ("S", "B", "XL")
LABELS = ("Adventurer, Micah", "Big Ears, Pixel Art", "Personas, Toon Head")
STEPS = 8


@dataclass(frozen=True)
class Part:
    """One sampler of a chain."""

    model: str
    labels: str
    cfg: float
    end: int  # the step it stops before


@dataclass(frozen=True)
class Chain:
    kind: str  # the samplers' node
    sampler: str
    scheduler: str
    start: int
    parts: tuple[Part, ...]
    steps: int = STEPS

    @property
    def starts(self) -> tuple[int, ...]:
        return (self.start, *(part.end for part in self.parts[:-1]))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    count = draw(st.integers(2, 4))
    bounds = sorted(draw(st.sets(st.integers(0, STEPS), min_size=count + 1, max_size=count + 1)))
    shares = draw(st.booleans())
    cfg = st.sampled_from((1.0, 1.5, 4.0))
    own = [(draw(st.sampled_from(LABELS)), draw(cfg)) for _ in range(count)]
    parts = tuple(
        Part(draw(st.sampled_from(MODELS)), *(own[0] if shares else mine), end)
        for mine, end in zip(own, bounds[1:], strict=True)
    )
    kind = draw(st.sampled_from(("KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")))
    if kind != "KSamplerAdvanced" or count > 2:  # a joined MODEL or GUIDER cannot count the steps before its own
        bounds[0] = 0
    sampler = draw(st.sampled_from(("euler", "ddim")))
    return Chain(kind, sampler, draw(st.sampled_from(("simple", "normal", "karras"))), bounds[0], parts)


class Prompt:
    """A chain in the API's form."""

    def __init__(self, chain: Chain, name: str) -> None:
        self.nodes: dict[str, Json] = {}
        latent = [self.loader("S", LABELS[0]), 4]
        latent = getattr(self, chain.kind)(chain, latent)
        self.add("SaveLatent", samples=latent, filename_prefix=name)

    def add(self, kind: str, **inputs: object) -> str:
        number = str(len(self.nodes) + 1)
        self.nodes[number] = {"class_type": kind, "inputs": inputs}
        return number

    def loader(self, model: str, labels: str) -> str:
        inputs = {"model": model, "labels": labels}
        there = (number for number, node in self.nodes.items() if node["inputs"] == inputs)
        return next(there, None) or self.add("TStitchLoadStarter", **inputs)

    def prompted(self, part: Part) -> Json:
        """Equal prompts come from one node, as people make it."""
        text = self.loader("S", part.labels)
        model = self.loader(part.model, LABELS[0])
        return {"model": [model, 0], "positive": [text, 2], "negative": [text, 3], "cfg": part.cfg}

    def KSamplerAdvanced(self, chain: Chain, latent: list[object]) -> list[object]:  # noqa: N802
        for start, part in zip(chain.starts, chain.parts, strict=True):
            is_last = part is chain.parts[-1]
            sampler = self.add(
                "KSamplerAdvanced",
                **self.prompted(part),
                latent_image=latent,
                add_noise="enable" if part is chain.parts[0] else "disable",
                noise_seed=5 if part is chain.parts[0] else 0,
                steps=chain.steps,
                sampler_name=chain.sampler,
                scheduler=chain.scheduler,
                start_at_step=start,
                end_at_step=10000 if is_last and part.end == chain.steps else part.end,
                return_with_leftover_noise="enable" if part.end < chain.steps else "disable",
            )
            latent = [sampler, 0]
        return latent

    def levels(self, chain: Chain) -> list[list[object]]:
        """Those of each part, by one split after another."""
        model = self.loader(chain.parts[-1].model, LABELS[0])
        scheduler = self.add(
            "BasicScheduler", model=[model, 0], scheduler=chain.scheduler, steps=chain.steps, denoise=1.0
        )
        rest: list[object] = [scheduler, 0]
        if chain.start:
            rest = [self.add("SplitSigmas", sigmas=rest, step=chain.start), 1]
        found = []
        for start, part in zip(chain.starts, chain.parts, strict=True):
            if part.end < chain.steps:
                split = self.add("SplitSigmas", sigmas=rest, step=part.end - start)
                found.append([split, 0])
                rest = [split, 1]
            else:
                found.append(rest)
        return found

    def SamplerCustom(self, chain: Chain, latent: list[object]) -> list[object]:  # noqa: N802
        select = self.add("KSamplerSelect", sampler_name=chain.sampler)
        for part, sigmas in zip(chain.parts, self.levels(chain), strict=True):
            sampler = self.add(
                "SamplerCustom",
                **self.prompted(part),
                add_noise=part is chain.parts[0],
                noise_seed=5,
                sampler=[select, 0],
                sigmas=sigmas,
                latent_image=latent,
            )
            latent = [sampler, 0]
        return latent

    def SamplerCustomAdvanced(self, chain: Chain, latent: list[object]) -> list[object]:  # noqa: N802
        select = self.add("KSamplerSelect", sampler_name=chain.sampler)
        for part, sigmas in zip(chain.parts, self.levels(chain), strict=True):
            guider = self.add("CFGGuider", **self.prompted(part))
            is_first = part is chain.parts[0]
            noise = self.add("RandomNoise", noise_seed=5) if is_first else self.add("DisableNoise")
            sampler = self.add(
                "SamplerCustomAdvanced",
                noise=[noise, 0],
                guider=[guider, 0],
                sampler=[select, 0],
                sigmas=sigmas,
                latent_image=latent,
            )
            latent = [sampler, 0]
        return latent


def converted(prompt: Json, folder: Path) -> tuple[Json, str]:
    """What `dev.py convert` makes of it, and what it tells."""
    before, after = folder / "before.json", folder / "after.json"
    before.write_text(json.dumps(prompt), encoding="utf-8")
    command = [str(NODE), str(ROOT / "scripts" / "convert.js"), str(before), str(after)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(after.read_text(encoding="utf-8")), told


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("base")


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    with running_server(Path(os.environ["COMFYUI_PATH"]), base, free_port(), not torch.cuda.is_available()) as it:
        yield it


def draw(server: Server, base: Path, *prompts: Json) -> list[torch.Tensor]:
    """The latent that each prompt saves."""

    async def queue_all() -> list[torch.Tensor]:
        async with Client(server.address) as client:
            found = []
            for prompt in prompts:
                record = await client.run(prompt, lambda *_: None)
                (saved,) = [file for output in record.outputs.values() for file in output["latents"]]
                found.append(load_file(base / "output" / saved["subfolder"] / saved["filename"])["latent_tensor"])
            return found

    return asyncio.run(queue_all())


def assert_same_picture(server: Server, base: Path, chain: Chain, tolerance: float = 1e-5) -> str:
    prompt = Prompt(chain, "chain").nodes
    joined, told = converted(prompt, base)
    samplers = [
        node for node in joined.values() if "Sampler" in node["class_type"] and "latent_image" in node["inputs"]
    ]
    assert len(samplers) == 1
    before, after = draw(server, base, prompt, joined)
    assert before.std() > 0.1
    assert (after - before).abs().max() <= tolerance * before.abs().max()
    return told


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a smaller example is not worth a run on a server each
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chain=chains())
def test_random_chains_draw_the_same_as_one_loop(server: Server, base: Path, chain: Chain) -> None:
    assert "Not the same" not in assert_same_picture(server, base, chain)


@pytest.mark.parametrize("kind", ["KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"])
def test_a_sampler_with_a_memory_draws_the_one_loop_picture(server: Server, base: Path, kind: str) -> None:
    """One model in all parts: the loop is then the plain sampler, which the chain is not."""
    parts = tuple(Part("XL", LABELS[0], 1.5, end) for end in (3, 6, STEPS))
    chain = Chain(kind, "dpmpp_2m", "simple", 0, parts)
    alone = Chain(kind, "dpmpp_2m", "simple", 0, (Part("XL", LABELS[0], 1.5, STEPS),))
    prompt = Prompt(chain, "chain").nodes
    joined, told = converted(prompt, base)
    assert "The sampler dpmpp_2m remembers earlier steps" in told
    before, after, plain = draw(server, base, prompt, joined, Prompt(alone, "alone").nodes)
    assert torch.equal(after, plain)
    assert (before - plain).abs().max() > 1e-3 * plain.abs().max()
