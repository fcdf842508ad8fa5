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
SHOWN = ("feed-forward", "plastic", "driven")  # in the table
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_network_becomes_machine_code(dtype: str, tmp_path: Path) -> None:
    parts = {"forward": {"forward"}, "adjoint": {"forward", "backward"}}  # and their kernels
    asked = {f"{n}, {p}.{dtype}": (n, p) for n in NETWORKS for p in parts}
    texts = {key: text(NETWORKS[n], dtype, adjoint=p == "adjoint") for key, (n, p) in asked.items()}
    found = compiled(tmp_path / "first", texts)
    assert {n: found[n]["error"] for n in texts if found[n]["error"]} == {}
    assert sum(found[n]["built"] for n in texts) == len(set(texts.values()))  # some networks differ in numbers alone
    cubins = {n: (tmp_path / "first" / f"{n}.cubin").read_bytes() for n in texts}
    for key, code in cubins.items():
        name, part = asked[key]
        assert code.startswith(ELF) and code[18:20] == CUDA_MACHINE
        assert {k for k in ("forward", "backward") if f".text.{k}_kernel\0".encode() in code} == parts[part], key
        if name in SHOWN:
            told = f"{len(code)} bytes for {ARCHITECTURE}, {found[key]['seconds']:.2f} s of processor time"
            harness.note("cuda", key, found["version"], None, None, told)
    again = compiled(tmp_path / "second", texts)
    assert not any(again[n]["built"] for n in texts)
    assert cubins == {n: (tmp_path / "second" / f"{n}.cubin").read_bytes() for n in texts}


def opcodes(code: bytes, kernel: str) -> list[int]:
    """Of a kernel's instructions for sm_90, which have 16 bytes each, the opcode in the low 12 bits."""

    def number(data: bytes, place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], "little")

    begin, size = number(code, 40, 8), number(code, 58, 2)  # of the table of sections in an ELF file of 64 bits
    heads = [code[begin + i * size :][:size] for i in range(number(code, 60, 2))]
    contents = [code[number(head, 24, 8) :][: number(head, 32, 8)] for head in heads]
    names = contents[number(code, 62, 2)]
    starts = [names[number(head, 0, 4) :].startswith(f".text.{kernel}\0".encode()) for head in heads]
    text = contents[starts.index(True)]
    return [number(text, i, 2) & 0xFFF for i in range(0, len(text), 16)]


def test_products_are_not_contracted_in_double_precision(tmp_path: Path) -> None:
    """float64 rounds as numpy does: a product and a sum, where the same text taken for float32 has one fused instruction."""
    source = 'extern "C" __global__ void f(double *x) { x[0] = x[0] * x[1] + x[2]; }\n'
    found = compiled(tmp_path / "texts", {f"sum.{d}": source for d in DTYPES})
    assert [found[f"sum.{d}"]["error"] for d in DTYPES] == [None, None]
    dfma, dmul, dadd = 0x22B, 0x228, 0x229
    for dtype, wanted in (("float32", [dfma]), ("float64", [dmul, dadd])):
        all_ = opcodes((tmp_path / "texts" / f"sum.{dtype}.cubin").read_bytes(), "f")
        assert [o for o in all_ if o in (dfma, dmul, dadd)] == wanted


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
