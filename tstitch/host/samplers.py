"""What stands in for a sampler or a guider in one of the host's runs: each knows the one whose place it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class SamplerInPlace:
    """Given to the host in place of the sampler `inner`."""

    inner: Any


class DenoiserInPlace:
    """Called by a sampler in place of a guider that the host has prepared."""


def samplers_within(sampler: Any) -> Iterator[SamplerInPlace]:
    """`sampler` and those it stands for, as far as they are ours: from this run to the ones it is a part of."""
    while isinstance(sampler, SamplerInPlace):
        yield sampler
        sampler = sampler.inner
