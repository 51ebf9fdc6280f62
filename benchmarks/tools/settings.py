"""How a row of pictures is drawn: models, the model of each step, and the widgets of the nodes; plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tstitch.schedule import Schedule

ARROW = "\N{RIGHTWARDS ARROW}"
LATENT = 16  # a side of the starters' own latents
STEPS = 20


@dataclass(frozen=True)
class Part:
    """A starter model as a run uses it."""

    model: str  # name for Load Starter Models, or of the weights in `file`
    scale: float = 1.0  # of Low-Resolution Model
    file: str = ""  # of `.train`, in place of the bundled weights
    guide: Guide | None = None  # of this model's own steps
    skipped: int | None = None  # block that is left out

    @property
    def title(self) -> str:
        sized = f"{self.model} {self.scale:g}x" if self.scale != 1 else self.model
        sized += f" without block {self.skipped}" if self.skipped is not None else ""
        return f"{sized} ({self.guide.title})" if self.guide is not None else sized


@dataclass(frozen=True)
class Guide:
    """Small-Model Guidance."""

    weak: Part
    mode: str = "weak model"
    start: float = 0.0
    end: float = 1.0

    @property
    def title(self) -> str:
        return f"{self.name}, {self.start:g} to {self.end:g}" if (self.start, self.end) != (0, 1) else self.name

    @property
    def name(self) -> str:
        """Without its interval."""
        if self.mode == "weak model":
            return f"weak {self.weak.title}"
        return "plain" if self.weak == XL else f"negative by {self.weak.title}"  # XL as its own negative is plain


XL, B, S = Part("XL"), Part("B"), Part("S")


@dataclass(frozen=True)
class Setting:
    """One way to draw."""

    parts: tuple[Part, ...]  # in run order
    owners: tuple[int, ...] = (0,) * STEPS  # the part of each step
    sampler: str = "euler"
    cfg: float = 1.5
    guide: Guide | None = None  # of the whole run; None is plain guidance
    scheduler: str = "simple"
    cache: str = ""  # EasyCache or LazyCache on the finishing model
    chained: bool = False  # one stock KSampler (Advanced) per interval, instead of one loop
    shift: float | None = None  # time shift in place of the models' own
    lift: str = ""  # how low-resolution answers come up, in place of the pack's way: see `studio.LIFTS`
    side: int = LATENT  # of the latents
    levels: tuple[float, ...] = ()  # noise levels in place of the scheduler's: sigmas, the last one 0
    plan: str = ""  # what chose the models and the levels
    seed: int = 0

    @property
    def steps(self) -> int:
        return len(self.owners)

    @property
    def pattern(self) -> str:
        return Schedule(self.owners).pattern

    @property
    def models(self) -> str:
        return ARROW.join(part.title for part in self.parts)

    @property
    def guidance(self) -> str:
        """Who gives the second answer, and where."""
        if self.guide is not None:
            return self.guide.title
        return "none" if self.cfg == 1 else "plain"

    @property
    def extras(self) -> str:
        """What else sets it apart from the plain run of its models."""
        words = [self.cache] if self.cache else []
        words += ["two samplers"] if self.chained else []
        words += [f"shift {self.shift:g}"] if self.shift is not None else []
        words += [self.lift] if self.lift else []
        words += [self.plan] if self.plan else []
        words += [f"{4 * self.side} pixels"] if self.side != LATENT else []
        return ", ".join(words)

    @property
    def run(self) -> str:
        """Everything but the seed, readable: the name of what is timed."""
        words = [self.models, self.pattern, self.sampler, self.scheduler, f"cfg {self.cfg:g}"]
        words += [self.guide.title] if self.guide is not None else []
        return " ".join([*words, self.extras]).rstrip()

    @property
    def title(self) -> str:
        """Readable and complete, so that it names a row of results."""
        return f"{self.run} seed {self.seed}"

    def seeded(self, *seeds: int) -> list[Setting]:
        return [replace(self, seed=seed) for seed in seeds]


def stitched(parts: Sequence[Part], *shares: float, steps: int = STEPS, **widgets: object) -> Setting:
    """Each of `parts` takes round(share * steps) steps, halves up; the last one the rest."""
    counts = [int(share * steps + 0.5) for share in shares]
    counts.append(steps - sum(counts))
    used = [(part, count) for part, count in zip(parts, counts, strict=True) if count]
    owners = tuple(number for number, (_, count) in enumerate(used) for _ in range(count))
    return Setting(tuple(part for part, _ in used), owners, **widgets)  # type: ignore[arg-type]


ALONE = Setting((XL,))  # what everything is compared with: 20 guided steps of XL
