"""The device: its clock, its memory, and what makes Python wait for it. On a CPU, stand-ins for all of them."""

from __future__ import annotations

import gc
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import comfy.model_management as mm
import comfyui_version
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.tools.timing import machine

Run = Callable[[], object]
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch")
READ = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal")
READS = tuple(f"aten.{name}.default" for name in READ)  # inference mode shows them whole, other modes their parts


class Card:
    """The host's device."""

    def __init__(self) -> None:
        self.device: torch.device = mm.get_torch_device()
        self.is_gpu = self.device.type == "cuda"

    def description(self) -> dict[str, Any]:
        """Its name and size, and all versions."""
        found = {**machine(), "comfyui": comfyui_version.__version__, "device": "cpu"}
        if self.is_gpu:
            properties = torch.cuda.get_device_properties(self.device)
            found |= {"device": properties.name, "bytes": properties.total_memory, "cuda": torch.version.cuda}
            found["capability"] = f"{properties.major}.{properties.minor}"
        return found

    def synchronize(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    # --- Time --------------------------------------------------------------------------------------------------------

    def mark(self) -> Any:
        """A moment on the device's own clock."""
        if not self.is_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds; waits for `end`."""
        if not self.is_gpu:
            return end - start
        end.synchronize()
        return start.elapsed_time(end) / 1000

    def seconds(self, run: Run) -> float:
        """Of the device's clock, from an idle device to an idle device."""
        self.synchronize()
        start = self.mark()
        run()
        return self.between(start, self.mark())

    def measure(self, runs: Mapping[str, Run], rounds: int, within: float) -> dict[str, list[float]]:
        """Seconds of each run, round by round, after one to warm up: all take turns.

        within: seconds after which no other round begins; one is measured in any case.
        """
        found: dict[str, list[float]] = {name: [] for name in runs}
        began = time.monotonic()
        for number in range(1 + rounds):
            if number > 1 and time.monotonic() - began > within:
                break
            for name, run in runs.items():
                found[name].append(self.seconds(run))
        return {name: values[1:] for name, values in found.items()}

    # --- What Python does --------------------------------------------------------------------------------------------

    def waits(self, run: Run) -> Counter[str]:
        """How often Python waits for the device, by the line of code; on a CPU, how often it reads a value."""
        if not self.is_gpu:
            with _Operations() as operations:
                run()
            return Counter({name: count for name, count in operations.counts.items() if name in READS})
        self.synchronize()
        mode = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                run()
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        told = [found for found in caught if "called a synchronizing" in str(found.message)]
        return Counter(f"{'/'.join(found.filename.split('/')[-2:])}:{found.lineno}" for found in told)

    def launches(self, run: Run) -> int:
        """Kernels that a run launches; on a CPU, operations."""
        if not self.is_gpu:
            with _Operations() as operations:
                run()
            return sum(operations.counts.values())
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            run()
            self.synchronize()
        return sum(event.count for event in found.key_averages() if event.key.startswith(LAUNCHES))

    # --- Memory ------------------------------------------------------------------------------------------------------

    def allocated(self) -> int:
        return torch.cuda.memory_allocated(self.device) if self.is_gpu else 0

    def free(self) -> int:
        return int(mm.get_free_memory(self.device))

    def peak(self, run: Run) -> tuple[int, int]:
        """The most bytes allocated and reserved while it runs."""
        if not self.is_gpu:
            run()
            return 0, 0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        run()
        return torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)

    def ballast(self, leave: int) -> torch.Tensor | None:
        """A tensor that leaves so many bytes free, as if the card were that small; None on a CPU."""
        if not self.is_gpu:
            return None
        torch.cuda.empty_cache()
        return torch.empty(max(0, self.free() - leave), dtype=torch.uint8, device=self.device)

    def clean_up(self) -> None:
        """Nothing loaded and, on a GPU, nothing cached. Raises RuntimeError where the device takes no more work."""
        mm.unload_all_models()
        if self.is_gpu:
            gc.collect()
            mm.soft_empty_cache()
            self.synchronize()


class _Operations(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))
