"""A stage's own options plus what a sampler added to those of the leading stage."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tstitch.host.model_options import with_additions

leaves = st.sampled_from(["a", "b", "c"]) | st.lists(st.sampled_from("xyz"), max_size=3)
options = st.dictionaries(
    st.sampled_from("klmn"), leaves | st.dictionaries(st.sampled_from("pq"), leaves, max_size=2), max_size=4
)


def post_cfg(args: dict[str, Any]) -> Any:
    return args["denoised"]


def own_post_cfg(args: dict[str, Any]) -> Any:
    return args["denoised"]


def test_a_post_cfg_function_of_the_sampler_joins_those_of_the_stage() -> None:
    own = {"transformer_options": {}, "sampler_post_cfg_function": [own_post_cfg]}
    now = {"transformer_options": {}, "sampler_post_cfg_function": [post_cfg], "disable_cfg1_optimization": True}
    merged = with_additions(own, {"transformer_options": {}}, now)
    assert merged["sampler_post_cfg_function"] == [own_post_cfg, post_cfg]
    assert merged["disable_cfg1_optimization"] is True


def test_what_the_lead_had_before_is_not_taken_over() -> None:
    before = {"sampler_post_cfg_function": [own_post_cfg], "denoise_mask_function": own_post_cfg, "patches": {"a": 1}}
    assert with_additions({}, before, before) == {}
    now = {**before, "sampler_post_cfg_function": [own_post_cfg, post_cfg]}
    assert with_additions({"x": 1}, before, now) == {
        "x": 1,
        "sampler_post_cfg_function": [post_cfg],
    }


def test_nested_dictionaries_are_merged() -> None:
    own = {"transformer_options": {"sample_sigmas": "own", "patches": {"attn": ["own"]}}}
    before = {"transformer_options": {"sample_sigmas": "lead"}}
    now = {"transformer_options": {"sample_sigmas": "lead", "patches": {"attn": ["new"]}}}
    merged = with_additions(own, before, now)
    assert merged == {"transformer_options": {"sample_sigmas": "own", "patches": {"attn": ["own", "new"]}}}


def test_a_changed_value_is_taken_over() -> None:
    assert with_additions({"scale": 1}, {"scale": 1}, {"scale": 2}) == {"scale": 2}
    assert with_additions({"scale": 7}, {"scale": 1}, {"scale": 1}) == {"scale": 7}


@given(options, options, options)
def test_no_argument_is_changed(own: dict[str, Any], before: dict[str, Any], now: dict[str, Any]) -> None:
    saved = copy.deepcopy((own, before, now))
    merged = with_additions(own, before, now)
    assert (own, before, now) == saved
    scribble(merged)
    assert (own, before, now) == saved, "the result shares a list or a dictionary with an argument"


@given(options)
def test_without_additions_the_stage_keeps_its_own(own: dict[str, Any]) -> None:
    assert with_additions(own, {}, {}) == own
    assert with_additions({}, {}, own) == own


def scribble(item: Any) -> None:
    if isinstance(item, dict):
        for value in item.values():
            scribble(value)
        item["scribble"] = 1
    elif isinstance(item, list):
        item.append("scribble")
