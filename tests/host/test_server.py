"""A real server runs the shipped workflow over HTTP, and survives wrong input."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.utils
import numpy as np
import pytest
import torch
from PIL import Image

from devtools.project import PACK
from scripts.client import Client, RunError, RunRecord
from scripts.server import Server, free_port, running_server
from scripts.workflow import Json, nodes_of_type, to_prompt, with_inputs

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Runs a copy of the pack as it is released, with one weight file damaged and one missing."""
    base = tmp_path_factory.mktemp("base")
    pack = base / "custom_nodes" / PACK
    for part in ("nodes", "tstitch", "js", "models"):
        shutil.copytree(ROOT / part, pack / part)
    shutil.copy(ROOT / "__init__.py", pack)
    (pack / "models" / "starter_b.safetensors").write_bytes(b"\x10" * 1000)
    (pack / "models" / "starter_s_eps.safetensors").unlink(missing_ok=True)
    with running_server(Path(os.environ["COMFYUI_PATH"]), base, free_port(), not torch.cuda.is_available()) as it:
        yield it


def starter_prompt(object_info: dict[str, Any], workflow: str = "starter_tstitch.json") -> dict[str, Any]:
    saved = json.loads((ROOT / "workflows" / workflow).read_text(encoding="utf-8"))
    return to_prompt(saved, object_info)


def run(server: Server, *changes: dict[str, dict[str, object]]) -> list[tuple[RunRecord, list[np.ndarray]] | str]:
    """Queue the demo once a change (inputs by node type); the images of each run, or what it failed with."""

    async def queue_all() -> list[tuple[RunRecord, list[np.ndarray]] | str]:
        async with Client(server.address) as client:
            prompt = starter_prompt(await client.object_info())
            results: list[tuple[RunRecord, list[np.ndarray]] | str] = []
            for change in changes:
                changed = with_inputs(prompt, nodes_of_type(prompt, "TStitchKSampler")[0], steps=STEPS)
                for kind, inputs in change.items():
                    changed = with_inputs(changed, nodes_of_type(prompt, kind)[0], **inputs)
                try:
                    record = await client.run(changed, lambda *_: None)
                except RunError as error:
                    results.append(str(error))
                    continue
                pictures = [Image.open(io.BytesIO(await client.image(image))) for image in record.images()]
                results.append((record, [np.asarray(picture) for picture in pictures]))
            return results

    return asyncio.run(queue_all())


def fraction(value: float, **more: object) -> dict[str, dict[str, object]]:
    return {"TStitchKSampler": {"fraction": value, **more}}


def test_the_log_has_one_line_of_the_pack_and_no_complaint(server: Server) -> None:
    log = server.log.read_text(encoding="utf-8")
    assert log.count("T-Stitch:") == 1
    assert "IMPORT FAILED: " + str(server.log.parent / "custom_nodes") not in log
    assert "Error while calling comfy_entrypoint" not in log


def test_the_demo_workflow_draws_avatars_for_every_fraction(server: Server) -> None:
    results = run(server, fraction(0), fraction(0.4), fraction(1))
    pictures = []
    for result in results:
        assert not isinstance(result, str), result
        assert [picture.shape for picture in result[1]] == [(128, 128, 3)] * 10
        pictures.append(np.stack(result[1]).astype(float))
    assert all(pictures[0].std(axis=(1, 2, 3)) > 20)
    different = [np.abs(pictures[0] - other).mean() for other in pictures[1:]]
    assert 0 < different[0] < different[1]


def test_a_saved_picture_holds_the_schedule_that_made_it(server: Server) -> None:
    """Through the host's own embedding: the prompt in the file has the fraction, and draws the same again."""

    async def queue_twice() -> list[bytes]:
        async with Client(server.address) as client:
            prompt = starter_prompt(await client.object_info())
            prompt = with_inputs(
                prompt, nodes_of_type(prompt, "TStitchKSampler")[0], steps=STEPS, fraction=0.2, seed=31
            )
            first = await client.image((await client.run(prompt, lambda *_: None)).images()[0])
            again = json.loads(Image.open(io.BytesIO(first)).text["prompt"])
            again = with_inputs(again, nodes_of_type(again, "SaveImage")[0], filename_prefix="again")
            return [first, await client.image((await client.run(again, lambda *_: None)).images()[0])]

    first, again = (Image.open(io.BytesIO(data)) for data in asyncio.run(queue_twice()))
    (sampler,) = [node for node in json.loads(first.text["prompt"]).values() if node["class_type"] == "TStitchKSampler"]
    assert (sampler["inputs"]["fraction"], sampler["inputs"]["unit"]) == (0.2, "steps")
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (fraction(1.5), "fraction in unit steps is a fraction of the steps from 0 to 1, got 1.5"),
        (fraction(99, unit="step"), "The split at step 99 lies beyond the 5 steps of this run"),
        ({"TStitchLoadStarter": {"labels": "Hat"}}, 'labels has "Hat", which is no class'),
        ({"TStitchLoadStarter": {"model": "S-eps"}}, "The starter file starter_s_eps.safetensors is missing"),
        ({"TStitchLoadStarter": {"model": "B"}}, "The starter file starter_b.safetensors is damaged"),
    ],
    ids=["fraction", "step", "label", "missing file", "damaged file"],
)
def test_wrong_input_is_one_sentence_and_the_next_run_works(
    server: Server, change: dict[str, dict[str, object]], sentence: str
) -> None:
    before, failed, after = run(server, fraction(0.2, seed=11), change, fraction(0.2, seed=12))
    assert isinstance(failed, str)
    assert sentence in failed
    for result in (before, after):
        assert not isinstance(result, str), result
        assert len(result[1]) == 10


NUMBERS = {"PrimitiveInt": 2, "PrimitiveFloat": 2.0, "PrimitiveString": " 2 "}


@pytest.mark.parametrize(
    ("workflow", "kind", "name"),
    [
        ("starter_tstitch.json", "TStitchKSampler", "fraction"),
        ("starter_schedule.json", "TStitchModelSchedule", "splits"),
        ("starter_guiders.json", "TStitchGuiders", "splits"),
    ],
)
def test_a_split_comes_over_a_link_of_any_kind_of_number(server: Server, workflow: str, kind: str, name: str) -> None:
    """Public workflows drive the switch by an INT that other samplers read too."""

    async def pictures_of(client: Client, prompt: Json) -> list[np.ndarray]:
        record = await client.run(prompt, lambda *_: None)
        return [np.asarray(Image.open(io.BytesIO(await client.image(image)))) for image in record.images()]

    async def queue_all() -> list[list[np.ndarray]]:
        async with Client(server.address) as client:
            prompt = starter_prompt(await client.object_info(), workflow)
            for sampler in [node for kind in ("KSampler", "TStitchKSampler") for node in nodes_of_type(prompt, kind)]:
                prompt = with_inputs(prompt, sampler, steps=4, cfg=1.0)
            for scheduler in nodes_of_type(prompt, "BasicScheduler"):
                prompt = with_inputs(prompt, scheduler, steps=4)
            (node,) = nodes_of_type(prompt, kind)
            written = with_inputs(prompt, node, **{name: "2" if name == "splits" else 2, "unit": "step"})
            linked = with_inputs(written, node, **{name: ["number", 0]})
            sources = [{"class_type": source, "inputs": {"value": value}} for source, value in NUMBERS.items()]
            return [
                await pictures_of(client, each) for each in (written, *({**linked, "number": it} for it in sources))
            ]

    written, *linked = asyncio.run(queue_all())
    assert written
    for pictures in linked:
        np.testing.assert_array_equal(pictures, written)


def test_the_sweep_workflow_draws_its_grid_and_its_plot(server: Server) -> None:
    async def queue() -> tuple[RunRecord, list[tuple[int, int]], list[tuple[int, int]]]:
        progress: list[tuple[int, int]] = []
        async with Client(server.address) as client:
            prompt = starter_prompt(await client.object_info(), "starter_sweep.json")
            node = nodes_of_type(prompt, "TStitchSweep")[0]
            prompt = with_inputs(prompt, node, steps=2, cfg=1.0, fractions="0, 0.5, 1")
            record = await client.run(prompt, lambda _, value, total: progress.append((value, total)))
            images = [Image.open(io.BytesIO(await client.image(image))) for image in record.images()]
            return record, [image.size for image in images], progress

    record, sizes, progress = asyncio.run(queue())
    assert sorted(size[0] for size in sizes) == [3 * (160 + 8) + 8, 960]
    steps = [(step, 6) for step in range(1, 7)]
    if hasattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL"):  # such hosts leave out what comes too fast
        steps = [steps[0], *(step for step in steps[1:-1] if step in progress), steps[-1]]
    assert progress == steps
    (table,) = [output["text"][0] for output in record.outputs.values() if "text" in output]
    assert [line.split()[:2] for line in table.splitlines()[1:4]] == [["0", "0/2"], ["0.5", "1/2"], ["1", "2/2"]]


def test_the_budget_workflow_profiles_calibrates_plans_and_samples(server: Server) -> None:
    async def queue() -> tuple[RunRecord, list[tuple[int, int]]]:
        async with Client(server.address) as client:
            prompt = starter_prompt(await client.object_info(), "starter_budget_plan.json")
            for kind, inputs in {
                "TStitchProfile": {"repeats": 20, "cfg": 1.0},  # on a busy machine three may find S the slower one
                "TStitchCalibrate": {"steps": 4, "cfg": 1.0},
                "TStitchPlan": {"steps": 4},
                "KSampler": {"steps": 4, "cfg": 1.0},
            }.items():
                prompt = with_inputs(prompt, nodes_of_type(prompt, kind)[0], **inputs)
            record = await client.run(prompt, lambda *_: None)
            return record, [Image.open(io.BytesIO(await client.image(image))).size for image in record.images()]

    record, sizes = asyncio.run(queue())
    assert sizes.count((128, 128)) == 10
    assert sum(width == 960 for width, _ in sizes) == 3
    (table,) = [output["text"][0] for output in record.outputs.values() if "text" in output]
    assert "| \N{RIGHTWARDS ARROW} | 1x" in table
