"""Which pictures are drawn to answer which question. Groups share rows; a row is measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.tools.results import read_results
from benchmarks.tools.settings import ALONE, LATENT, STEPS, XL, B, Guide, Part, S, Setting, stitched
from tstitch.schedule import parse_pattern

SAMPLES = 1000
SEEDS = (0, 1, 2)
HALF, THREE_QUARTERS, S_HALF = Part("XL", 0.5), Part("XL", 0.75), Part("S", 0.5)
S_EPS, SHORTCUT = Part("S-eps"), Part("Shortcut")
RULE = 0.4  # the fraction that the paper names
WEAK_S, MIDDLE = Guide(S), (0.2, 0.8)
WEIGHTS = (1.3, 1.5, 2.0, 3.0)
WEAK_CFG = 2.0  # of guidance by a weak model, by the group `guidance`
AFTER_S = replace(WEAK_S, start=RULE)  # while S draws, it would guide itself
TUNED = {name: Part(f"S trained on, {name}", file=f"starter_s_{name.replace(' ', '_')}.safetensors")
         for name in ("all steps", "own steps")}  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """Models that plans choose from, the small ones first; the last one is what they are to come close to."""

    parts: tuple[Part, ...]
    cfg: float = ALONE.cfg


PLANNED_SETS = {
    "joint plan": Planned((S_HALF, S, HALF, Part("XL", guide=Guide(S, "cheap negative")), XL)),
    "plan of steps": Planned((XL, XL)),
    "joint plan, S guides": Planned((S_HALF, S, Part("XL", guide=WEAK_S)), WEAK_CFG),
}

#: What is asked first, in the order of the summary: 20 guided steps of XL become these.
SUMMARY: dict[str, Setting] = {
    "two models: the first 40 % of the steps by S": stitched((S, XL), RULE),
    "one model: the first 40 % at half resolution": stitched((HALF, XL), RULE),
    "guidance by S (weak model, cfg 2)": replace(ALONE, cfg=WEAK_CFG, guide=WEAK_S),
    "both: S first, then XL guided by S": replace(stitched((S, XL), RULE), cfg=WEAK_CFG, guide=AFTER_S),
    "XL alone in 10 steps": stitched((XL,), steps=10),
    "both in 10 steps": replace(stitched((S, XL), RULE, steps=10), cfg=WEAK_CFG, guide=AFTER_S),
}


@dataclass(frozen=True)
class Group:
    """Settings of one question, and about how long they take on two cores when no other group has been measured."""

    question: str
    settings: Callable[[], list[Setting]]
    minutes: int
    samples: int = SAMPLES


def main() -> list[Setting]:
    """Three seeds of what the summary shows and of what it is compared with, and the other fractions of S."""
    shown = [row for setting in (ALONE, *SUMMARY.values()) for row in setting.seeded(*SEEDS)]
    others = [stitched((S, XL), 0.2), stitched((S, XL), 0.6), stitched((B, XL), RULE), Setting((S,))]
    return [*(row for row in shown if row.seed == 0), *others, *(row for row in shown if row.seed)]


def models() -> list[Setting]:
    """Every model alone, unguided and guided; the Shortcut model is a group of its own."""
    alone = [Setting((part,)) for part in (S, B, XL)] + [Setting((S_EPS,), sampler="ddim")]
    return [replace(setting, cfg=cfg) for setting in alone for cfg in (1.0, 1.5)]


def tradeoff() -> list[Setting]:
    """The paper's main figure, small first; three seeds where it is decided."""
    decided = [stitched((S, XL), share) for share in (0.0, 0.2, 0.4, 0.6)]
    pairs = [stitched((small, XL), share) for small in (S, B) for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    rows = [*(decided[0].seeded(*SEEDS)), *(row for s in decided[1:] for row in s.seeded(*SEEDS)), *pairs]
    return list(dict.fromkeys(rows))


def order() -> list[Setting]:
    """Half of the steps each, small-first and otherwise (table of section 4 of arXiv 2402.14167); then 40 %."""
    half, rule = STEPS // 2, round(RULE * STEPS)
    owners: list[tuple[int, ...]] = [
        (0,) * half + (1,) * half,
        (1,) * half + (0,) * half,
        (0, 1) * half,
        (1,) * (half // 2) + (0,) * half + (1,) * (half // 2),
        (0,) * rule + (1,) * (STEPS - rule),
        (1,) * (STEPS - rule) + (0,) * rule,
    ]
    return [ALONE, *(Setting((S, XL), steps) for steps in owners)]


def solvers() -> list[Setting]:
    """XL alone and 40 % on S by other solvers; uniform times; a small model that predicts noise."""
    pairs = [stitched((S, XL), share) for share in (0.0, RULE)]
    by_others = [replace(pair, sampler=name) for name in ("dpmpp_2m", "uni_pc", "euler_ancestral") for pair in pairs]
    return [*pairs, *by_others, *(replace(pair, shift=1.0) for pair in pairs), stitched((S_EPS, XL), RULE)]


def ddim() -> list[Setting]:
    """The paper's solver and numbers of steps, with a small model that predicts the noise of the DDPM schedule."""
    return [stitched((S_EPS, XL), share, steps=steps, sampler="ddim") for steps in (50, 100) for share in (0.0, RULE)]


def shift() -> list[Setting]:
    """The time shift that the family carries (3), and others, for XL alone and with 40 % by S."""
    pairs = [stitched((S, XL), share) for share in (0.0, RULE)]
    return [replace(pair, shift=value) for pair in pairs for value in (None, 1.0, 2.0, 5.0)]


def fewer_steps() -> list[Setting]:
    """The other way to save time, the large model alone with fewer steps; mixtures beside it, and both at once."""
    alone = [stitched((XL,), steps=steps) for steps in (STEPS, 16, 13, 10, 8, 6, 4)]
    mixtures = [stitched((S, XL), share) for share in (0.2, 0.4, 0.6)]
    return [*alone, *mixtures, *(stitched((S, XL), share, steps=10) for share in (0.2, 0.4, 0.6))]


def seam() -> list[Setting]:
    """One loop against two chained samplers, where few steps make the lost history of the solver matter most."""
    return [
        stitched((S, XL), RULE, steps=steps, sampler=sampler, chained=chained)
        for sampler, steps in (("dpmpp_2m", 10), ("dpmpp_2m", 20), ("uni_pc", 10))
        for chained in (False, True)
    ]


def guidance() -> list[Setting]:
    """The second answer by XL itself, S, XL at half the size or less a block, over weights and in the middle."""
    weak_half, shorter = Guide(HALF), Guide(Part("XL", skipped=4))
    plain, negative = Guide(XL, "cheap negative"), Guide(S, "cheap negative")
    rows = [replace(ALONE, cfg=1.0), *(replace(ALONE, cfg=cfg) for cfg in WEIGHTS)]
    rows += [replace(ALONE, cfg=cfg, guide=guide) for guide in (negative, WEAK_S) for cfg in WEIGHTS]
    rows += [replace(ALONE, cfg=cfg, guide=guide) for guide in (weak_half, shorter) for cfg in WEIGHTS[:3]]
    start, end = MIDDLE
    in_middle = [(plain, (1.5, 2.0, 3.0)), (WEAK_S, (1.3, 1.5, 2.0)), (weak_half, (1.5,)), (shorter, (1.5,))]
    rows += [
        replace(ALONE, cfg=cfg, guide=replace(guide, start=start, end=end)) for guide, cfgs in in_middle for cfg in cfgs
    ]
    pair = stitched((S, XL), RULE)
    rows += [replace(pair, cfg=cfg, guide=AFTER_S) for cfg in WEIGHTS]
    rows += [stitched((XL,), steps=10, cfg=WEAK_CFG, guide=WEAK_S)]
    return [*rows, stitched((S, XL), RULE, steps=10, cfg=WEAK_CFG, guide=AFTER_S)]


def resolution() -> list[Setting]:
    """XL as its own small model; with S before it; and what the way up and the time shift do."""
    at_half = [stitched((HALF, XL), share) for share in (0.2, 0.3, 0.4, 0.5, 0.6)]
    at_three_quarters = [stitched((THREE_QUARTERS, XL), share) for share in (0.2, 0.4, 0.6)]
    three = [stitched((S_HALF, S, XL), *shares) for shares in ((0.2, 0.2), (0.4, 0.2))]
    middle = at_half[2]
    return [
        ALONE,
        *at_half,
        *at_three_quarters,
        stitched((S_HALF, XL), RULE),
        *three,
        *(replace(middle, lift=lift) for lift in ("without gain", "by averages")),
        *(replace(setting, shift=1.0) for setting in (ALONE, middle)),
        Setting((HALF,)),
    ]


def above_native() -> list[Setting]:
    """Pictures of twice the size that XL was trained for, with and without a first stage at its own size."""
    return [stitched((HALF, XL), share, side=2 * LATENT, cfg=1.5) for share in (0.0, 0.2, 0.4)]


def shortcut() -> list[Setting]:
    """The Shortcut model beside B, which has its size and took as many operations to train."""
    return [stitched((part,), steps=steps, cfg=1.0) for steps in (1, 2, 4, 8, 32, 128) for part in (SHORTCUT, B)]


def interval() -> list[Setting]:
    """S as it is and trained on, in the first 40 % of the steps (fine-tuning of arXiv 2402.14167)."""
    return [row for part in (S, *TUNED.values()) for row in stitched((part, XL), RULE).seeded(*SEEDS[:2])]


def alternatives() -> list[Setting]:
    """Caches of model calls, alone and after S."""
    pair = stitched((S, XL), RULE)
    cached = [replace(ALONE, cache="EasyCache"), replace(ALONE, cache="LazyCache"), replace(pair, cache="EasyCache")]
    return [ALONE, pair, *cached]


def planned() -> list[Setting]:
    """What planning recommends (`plan`)."""
    results = read_results("plan")
    rows = [ALONE]
    for plan in results["setting"]["plans"] if results else []:
        known = {"S": S, "B": B, "XL": XL}
        intervals = parse_pattern(plan["pattern"], len(plan["models"]))
        used = sorted({model for model, _ in intervals})
        owners = tuple(used.index(model) for model, steps in intervals for _ in range(steps))
        rows.append(Setting(tuple(known[plan["models"][model]] for model in used), owners))
    return list(dict.fromkeys(rows))


def joint() -> list[Setting]:
    """Plans of steps, levels and models (`joint`), and what saves as much without a plan; guided."""
    results = read_results("joint")
    rows = [ALONE]
    for row in results["rows"] if results else []:
        planned = PLANNED_SETS[row["method"]]
        models = [planned.parts[model] for model, steps in parse_pattern(row["pattern"], len(planned.parts))
                  for _ in range(steps)]  # fmt: skip
        used = tuple(part for part in dict.fromkeys(planned.parts) if part in models)
        owners, plan = tuple(map(used.index, models)), f"{row['method']} {row['speed']:g}x"
        rows.append(Setting(used, owners, cfg=planned.cfg, levels=tuple(row["levels"]), plan=plan))
    steps = [stitched((XL,), steps=count) for count in (13, 10, 7, 5, 3)]
    fixed = [stitched((S, XL), RULE, steps=count) for count in (20, 14, 10, 7, 5)]
    both = [replace(stitched((S, XL), RULE, steps=count), cfg=WEAK_CFG, guide=AFTER_S) for count in (20, 14, 10, 7, 5)]
    return list(dict.fromkeys([*rows, *steps, *fixed, *both]))


GROUPS: dict[str, Group] = {
    "main": Group("the rows of the README", main, 17),
    "models": Group("each model alone", models, 5),
    "tradeoff": Group("how much of the run a small model can take", tradeoff, 13),
    "resolution": Group("how much XL can draw at fewer pixels", resolution, 13),
    "guidance": Group("who gives the second answer of a guided step", guidance, 18),
    "fewer_steps": Group("fewer steps instead, in as much time", fewer_steps, 7),
    "shift": Group("the time shift of the family, and others", shift, 5),
    "order": Group("small first, large first, interleaved", order, 5),
    "solvers": Group("other solvers, times and predictions", solvers, 9),
    "ddim": Group("50 and 100 steps of DDIM, as in the paper", ddim, 9, samples=500),
    "seam": Group("one loop against two chained samplers", seam, 3),
    "alternatives": Group("caches of model calls", alternatives, 4),
    "shortcut": Group("1 to 128 steps of the Shortcut model", shortcut, 5),
    "interval": Group("S trained on for its own steps", interval, 15),
    "above_native": Group("pictures twice as large as trained for", above_native, 6, samples=500),
    "joint": Group("steps, levels and models planned together, against fewer steps and a fixed split", joint, 12),
    "planned": Group("what planning recommends (after `plan`)", planned, 3),
}
