"""Which files go together: from headers of the host's real layouts, without a weight in them."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest
from comfyui_version import __version__

from tstitch.errors import StitchError
from tstitch.pairs import library
from tstitch.pairs.facts import ModelFacts, facts_of
from tstitch.pairs.families import families
from tstitch.pairs.fit import EQUALS, FINISHES, STARTS, fit, size_text, speed_up
from tstitch.pairs.header import MOST_HEADER_BYTES, read_header
from tstitch_testing import architectures
from tstitch_testing.model_folder import at_real_width, bksdm_shapes, write_header, write_model_folder

pytestmark = pytest.mark.host

#: Pairs of the issue threads and papers, by the host's names of the families; a host that lacks one knows no pair.
SHARED = [
    ("SD3", "SD3"),
    ("SDXL", "SSD1B"),
    ("SDXL", "Segmind_Vega"),
    ("SDXL", "KOALA_700M"),
    ("SDXL", "SDXLRefiner"),
    ("CosmosT2IPredict2", "WAN21_T2V"),
    ("QwenImage", "WAN21_T2V"),
    ("ZImage", "Flux"),
    ("Chroma", "Flux"),
    ("Lumina2", "Flux"),
    ("LTXV", "LTXV"),
    ("Flux2", "Flux2"),
    ("Kandinsky5", "HunyuanVideo"),
]
APART = [("SD15", "SDXL"), ("Flux", "SD3"), ("WAN21_T2V", "WAN22_T2V"), ("Flux", "Flux2"), ("SDXL", "SD3")]


@pytest.mark.parametrize(("one", "other"), SHARED)
def test_families_that_share_latents_are_found(host_nodes: ModuleType, one: str, other: str) -> None:
    known = {family.name: ModelFacts(family.name, family.latent_format, 1, family.text) for family in families()}
    if one not in known or other not in known:
        pytest.skip(f"this ComfyUI does not know {one} or {other}")
    assert known[one].shares_latents(known[other])


@pytest.mark.parametrize(("one", "other"), APART)
def test_families_that_do_not_share_latents_are_kept_apart(host_nodes: ModuleType, one: str, other: str) -> None:
    known = {family.name: ModelFacts(family.name, family.latent_format, 1, family.text) for family in families()}
    if one not in known or other not in known:
        pytest.skip(f"this ComfyUI does not know {one} or {other}")
    assert not known[one].shares_latents(known[other])


def test_the_page_of_families_is_that_of_the_host(host_nodes: ModuleType) -> None:
    from scripts.pairs import PAGE, text

    written = PAGE.read_text(encoding="utf-8")
    if f"ComfyUI {__version__}'s" not in written:
        pytest.skip("it is written by another ComfyUI")
    assert written == text(), "run python -m scripts.pairs"


def test_text_encoders_are_compared(host_nodes: ModuleType) -> None:
    text = {family.name: family.text for family in families()}
    assert text["SDXL"] == text["SSD1B"]
    assert text["SDXL"] != text["SDXLRefiner"]
    assert text["Flux"] != text["Chroma"]


def test_a_pair_is_told_its_roles_and_what_it_saves() -> None:
    assert [fit(1000, other, True).role for other in (100, 1000, 5000)] == [STARTS, EQUALS, FINISHES]
    assert fit(1000, 100, True).speed_up == pytest.approx(1 / 0.64)
    assert fit(100, 1000, False) == fit(100, 1000, False)
    assert fit(100, 1000, False).own_prompt
    assert speed_up(1.0) == 1
    assert [size_text(number) for number in (860_000_000, 14_288_000_000, 330_000)] == ["860 M", "14.3 B", "0.33 M"]


@pytest.fixture
def folder(host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty files of two families, and three that are none."""
    sd15 = architectures.sd15().shapes()
    sdxl, ssd = (at_real_width(each).shapes() for each in (architectures.sdxl(), architectures.ssd1b()))
    for number in range(8):
        write_header(tmp_path / f"sd15_{number}.safetensors", sd15)
    for number in range(4):
        write_header(tmp_path / f"tiny_{number}.safetensors", bksdm_shapes("tiny"))
        write_header(tmp_path / f"sdxl_{number}.safetensors", sdxl)
        write_header(tmp_path / f"ssd_{number}.safetensors", ssd)
    (tmp_path / "old.ckpt").write_bytes(b"PK")
    with (tmp_path / "sdxl_0.safetensors").open("rb") as whole:
        (tmp_path / "cut.safetensors").write_bytes(whole.read(1000))
    write_header(tmp_path / "lora.safetensors", {"lora_unet_x.alpha": (1,), "lora_unet_x.lora_up.weight": (8, 4)})
    list_only(tmp_path, monkeypatch)
    return tmp_path


def list_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the host find the models of this folder and no others."""
    import folder_paths

    def names(kind: str) -> list[str]:
        return sorted(path.name for path in folder.iterdir()) if kind == "diffusion_models" else []

    monkeypatch.setattr(folder_paths, "get_filename_list", names)
    monkeypatch.setattr(folder_paths, "get_full_path", lambda kind, name: str(folder / name))
    monkeypatch.setattr(library, "_known", {})


def test_files_are_listed_by_their_latents_in_no_time(folder: Path) -> None:
    started = time.process_time()
    entries = [library.entry_of(name) for name in library.model_names()]
    assert time.process_time() - started < 10
    table = library.all_table(entries)
    assert table.count("\n## ") + table.startswith("## ") == 3
    assert table.index("SD15 (4 channels)") < table.index("Not told")
    assert "| tiny_0.safetensors | BK-SDM | 32" in table
    assert "| sd15_0.safetensors | SD15 | 860 M |" in table
    assert "| ssd_0.safetensors | SSD1B | 1.33 B |" in table
    started = time.process_time()
    assert [library.entry_of(name) for name in library.model_names()] == entries
    assert time.process_time() - started < 0.2


def test_published_layouts_are_told_apart(
    host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model_folder(tmp_path)
    list_only(tmp_path, monkeypatch)
    entries = [library.entry_of(name) for name in library.model_names()]
    assert len(entries) == 20
    found = library.latents_of([entry.name for entry in entries])
    groups = [each["latents"] for each in found.values()]
    assert {name: groups.count(name) for name in groups} == {
        "SD15 (4 channels)": 5,
        "SDXL (4 channels)": 4,
        "SD3 (16 channels)": 2,
        "Flux (16 channels)": 4,
        "Wan21 (16 channels, video)": 4,
    }
    assert {entry.name for entry in entries} - found.keys() == {"sd-v1-4.ckpt"}
    table = library.pairs_table(library.entry_of("wan2.1_t2v_14B_fp16.safetensors"), entries)
    assert "| wan2.1_t2v_1.3B_fp16.safetensors | WAN21_T2V | 1.42 B | draws its early steps" in table
    refiner = library.pairs_table(library.entry_of("sd_xl_refiner_1.0.safetensors"), entries)
    assert refiner.count("own conditioning") == 3


def test_a_chosen_file_is_told_its_partners(folder: Path) -> None:
    entries = [library.entry_of(name) for name in library.model_names()]
    table = library.pairs_table(library.entry_of("sdxl_1.safetensors"), entries)
    rows = [line for line in table.splitlines() if ".safetensors |" in line]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [
        *(f"ssd_{number}.safetensors" for number in range(4)),
        *(f"sdxl_{number}.safetensors" for number in (0, 2, 3)),
    ]
    assert "draws its early steps" in rows[0]
    assert "the same" in rows[0]
    assert rows[0].endswith("| 1.24x |")
    assert "of one size" in rows[-1]


def test_the_page_is_told_which_files_share_their_latents(folder: Path) -> None:
    found = library.latents_of(
        ["sdxl_0.safetensors", "tiny_0.safetensors", "ssd_0.safetensors", "cut.safetensors", "no"]
    )
    assert {name: each["group"] for name, each in found.items()} == {
        "sdxl_0.safetensors": 0,
        "tiny_0.safetensors": 1,
        "ssd_0.safetensors": 0,
    }
    assert found["sdxl_0.safetensors"]["latents"] == "SDXL (4 channels)"


def test_a_file_that_is_replaced_is_read_anew(folder: Path) -> None:
    assert library.entry_of("ssd_0.safetensors").facts.family == "SSD1B"
    write_header(folder / "ssd_0.safetensors", architectures.sd15().shapes())
    assert library.entry_of("ssd_0.safetensors").facts.family == "SD15"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("old.ckpt", "The file old.ckpt is no safetensors file"),
        ("cut.safetensors", "The file cut.safetensors is no safetensors file, or was cut off"),
        ("lora.safetensors", "The file lora.safetensors is no"),
    ],
)
def test_a_file_that_is_no_model_is_told_in_one_sentence(folder: Path, name: str, sentence: str) -> None:
    entry = library.entry_of(name)
    assert entry.facts is None
    assert entry.problem.startswith(sentence)
    with pytest.raises(StitchError, match=name.replace(".", r"\.")):
        library.pairs_table(entry, [])


BAD = {
    "empty": b"",
    "short": b"\x08\x00",
    "endless": b"\xff" * 8 + b"{}",
    "no JSON": (5).to_bytes(8, "little") + b"hello",
    "a list": (2).to_bytes(8, "little") + b"[]",
    "no shape": (8).to_bytes(8, "little") + b'{"a":{}}',
    "huge shape": (lambda text: len(text).to_bytes(8, "little") + text)(
        b'{"a":{"dtype":"F16","shape":[99999999999,9999999999],"data_offsets":[0,2]}}xx'[:-2]
    ),
    "deep": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "cut": (lambda text: len(text).to_bytes(8, "little") + text)(
        b'{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}'
    ),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_bad_header_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(StitchError, match=r"^The file x\.safetensors .+\.$|^The file x\.safetensors .+ again$"):
        facts_of(read_header(path, path.name))


def test_a_header_beyond_the_limit_of_the_format_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((MOST_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MOST_HEADER_BYTES + 100)  # the disk holds none of it
    tracemalloc.start()
    with pytest.raises(StitchError, match=r"^The file x\.safetensors is no safetensors file"):
        read_header(path, path.name)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_missing_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StitchError, match=r"cannot be read"):
        read_header(tmp_path / "x.safetensors", "x.safetensors")
