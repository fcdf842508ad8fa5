"""CUDA's compiler, which needs no GPU, on the text of kernels: machine code of all test networks, named errors, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.common.recording import check_record
from backends.common.structure import Backward
from backends.native.cuda import Cuda
from backends.native.program import NativeProgram
from neuro import Network
from tests.backends.networks import networks
from tests.hardware import harness

pytestmark = pytest.mark.hardware

NETWORKS, DTYPES = networks(), ("float32", "float64")
ARCHITECTURE = "sm_90"
ELF, CUDA_MACHINE = b"\x7fELF", (190).to_bytes(2, "little")  # e_machine, EM_CUDA


def text(network: Network, dtype: str, *, adjoint: bool = False) -> str:
    """The kernel of a run that records all states; adjoint: with what gradients of all parameters and currents take."""
    compiled = NativeProgram(network, dtype, 1, "fast_sigmoid", Backward(), Cuda()).compiled
    states = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    states += [f"{p.name}.{v}" for p in network.projections for v in p.synapse.scope.states]
    currents = frozenset(x.name for x in network.inputs if x.kind == "current")
    training = compiled.training(frozenset(compiled.declared), currents) if adjoint else None
    return compiled.executable(compiled.recorded(check_record(network, states, 1)), 1, training).source


def compiled(folder: Path, texts: dict[str, str], *options: str, architecture: str = ARCHITECTURE) -> dict[str, Any]:
    """The client's answers by name.dtype; cubins come to stand in the folder."""
    version = harness.version("cuda", "nvidia-cuda-nvrtc")
    folder.mkdir(exist_ok=True)
    for name, source in texts.items():
        (folder / f"{name}.cu").write_text(source)
    harness.run("cuda", "cuda_cubins", folder, architecture, *options)
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return found | {"version": version}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_network_becomes_machine_code(dtype: str, tmp_path: Path) -> None:
    parts = {"forward": ("forward",), "adjoint": ("forward", "backward")}
    texts = {f"{n}, {p}.{dtype}": text(NETWORKS[n], dtype, adjoint=p == "adjoint") for n in NETWORKS for p in parts}
    found = compiled(tmp_path / "first", texts)
    assert {n: found[n]["error"] for n in texts if found[n]["error"]} == {}
    assert all(found[n]["built"] for n in texts)
    cubins = {n: (tmp_path / "first" / f"{n}.cubin").read_bytes() for n in texts}
    for name in NETWORKS:
        said = []
        for part, kernels in parts.items():
            code = cubins[key := f"{name}, {part}.{dtype}"]
            assert code.startswith(ELF) and code[18:20] == CUDA_MACHINE
            assert {k for k in ("forward", "backward") if f".text.{k}_kernel\0".encode() in code} == set(kernels), name
            said.append(f"{part}: {len(code)} bytes, {found[key]['seconds']:.2f} s")
        harness.note(
            "cuda", name, found["version"], 0, 0, f"{dtype}, {ARCHITECTURE}, {'; '.join(said)} of processor time"
        )
    again = compiled(tmp_path / "second", texts)
    assert not any(again[n]["built"] for n in texts)
    assert cubins == {n: (tmp_path / "second" / f"{n}.cubin").read_bytes() for n in texts}


def section(code: bytes, name: str) -> bytes:
    """A section of an ELF file of 64 bits."""
    begin, size, number, names = (
        int.from_bytes(code[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62), (62, 64))
    )
    found = {}
    for head in (code[begin + i * size :][:size] for i in (names, *range(number))):
        at, length = (int.from_bytes(head[a : a + 8], "little") for a in (24, 32))
        content = code[at : at + length]
        found.setdefault("names", content)
        title = found["names"][int.from_bytes(head[:4], "little") :]
        found[title[: title.index(b"\0")].decode()] = content
    return found[name]


def test_products_are_not_contracted_in_double_precision(tmp_path: Path) -> None:
    """float64 rounds as numpy does: a product and a sum, where the same text taken for float32 has one fused instruction."""
    source = 'extern "C" __global__ void f(double *x) { x[0] = x[0] * x[1] + x[2]; }\n'
    found = compiled(tmp_path / "texts", {f"sum.{d}": source for d in DTYPES})
    assert [found[f"sum.{d}"]["error"] for d in DTYPES] == [None, None]
    fused, product, added = (
        0x22B,
        0x228,
        0x229,
    )  # sm_90: DFMA, DMUL, DADD; instructions have 16 bytes, the opcode in the low 12 bits
    for dtype, wanted in zip(DTYPES, ([fused], [product, added]), strict=True):
        code = section((tmp_path / "texts" / f"sum.{dtype}.cubin").read_bytes(), ".text.f")
        opcodes = [int.from_bytes(code[i : i + 2], "little") & 0xFFF for i in range(0, len(code), 16)]
        assert [o for o in opcodes if o in (fused, product, added)] == wanted


def test_an_error_names_the_place_in_the_model(tmp_path: Path) -> None:
    whole = text(NETWORKS["recurrent"], "float64")
    title = "/* integrate of cells */\n"
    assert whole.count(title) == 1
    place = whole.index("return 0;", whole.index(title))
    found = compiled(tmp_path / "texts", {"recurrent.float64": whole[:place] + "membrane = 3;\n" + whole[place:]})
    said = found["recurrent.float64"]["error"]
    assert "network 'recurrent', 'integrate of cells': NVRTC refused it: identifier \"membrane\" is undefined" in said
    assert not (tmp_path / "cache" / "twinspike").exists()


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    source = {"recurrent.float64": text(NETWORKS["recurrent"], "float64")}
    said = compiled(tmp_path / "texts", source, architecture="sm_1")["recurrent.float64"]["error"]
    assert "network 'recurrent' for architecture 'sm_1'" in said and "sm_80, " in said and "sm_90, " in said


def test_a_killed_writer_leaves_nothing_that_is_taken(tmp_path: Path) -> None:
    """It is built again, to the same code as where nobody died, and then taken from the cache."""
    source = {"recurrent.float64": text(NETWORKS["recurrent"], "float64")}
    after = compiled(tmp_path / "after", source, "killed")
    assert after["left"] == 2 and after["recurrent.float64"]["built"]
    assert not compiled(tmp_path / "again", source)["recurrent.float64"]["built"]
    codes = [(tmp_path / name / "recurrent.float64.cubin").read_bytes() for name in ("after", "again")]
    assert codes[0] == codes[1] and codes[0].startswith(ELF)
