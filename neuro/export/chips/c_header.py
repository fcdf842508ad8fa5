"""C header: a network in integers for microcontrollers, with nothing but <stdint.h>.

    i = trunc(i keep_i/2^15) + 2^shift a
    v = trunc(v keep_v/2^15) + i,  a spike where v > v_th, then v = 0 or v -= v_th

in 32 bits with 64-bit products, `a` the sum of 8-bit weights. The shift is chosen so that no input whatsoever can
overflow. A layer's spikes act on the next one in the same step, on itself in the next step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuro.export import ExportError
from neuro.export.chips.dequantised import Held, integer_export
from neuro.export.chips.integer import (
    Array,
    IntArray,
    IntegerChain,
    IntegerLayer,
    check_chain,
    check_range,
    largest_sum,
    network_of,
    scales_of,
    threshold_of,
    whole_layer,
)
from neuro.export.layers import Layer, read
from neuro.export.profile import Decay, Integers, Profile, State
from neuro.export.quantisation.quantisers import Quantiser
from neuro.export.targets import Export, Target
from neuro.io.files import replaced_text
from neuro.model import Network, Neuron
from neuro.protocols import Parameters

PROFILE = Profile(
    name="c-header",
    title="C header",
    suffix=".h",
    neurons=("lif", "cuba_lif"),
    resets=("zero", "subtract"),
    weight=Integers(-127, 127),
    threshold=Integers(1, 2**31 - 1),
    current=State(32, "saturate"),
    voltage=State(32, "saturate"),
    decay=Decay("linear", 15),
    input_latency=0,
    layer_latency=0,
)
ONE = 2**15
LARGEST = 2**31 - 1
MOST_SHIFT = 8
_CODES = Quantiser(bits=8, symmetric=True, fit="error")


def _fixed(name: str, reset: str) -> Neuron:
    return Neuron(
        name,
        "i_syn : 1\nv : 1\na : 1",
        threshold="v > v_th",
        reset=reset,
        every_step="""
        i_syn = sign(i_syn)*floor(abs(i_syn)*keep_i/32768) + scale*a
        v = sign(v)*floor(abs(v)*keep_v/32768) + i_syn
        """,
        parameters={"v_th": "1", "keep_i": "0", "keep_v": "0", "scale": "1"},
    )


fixed_zero, fixed_subtract = _fixed("fixed_zero", "v = 0"), _fixed("fixed_subtract", "v -= v_th")
_CELLS = {
    "v_th": PROFILE.threshold,
    "keep_i": Integers(0, ONE - 1),
    "keep_v": Integers(0, ONE - 1),
    "scale": Integers(1, 2**MOST_SHIFT),
}


def export(network: Network, parameters: Parameters | None, path: Path) -> Export:
    """Write the header of a network. See neuro.export.targets.Target."""
    graph = read(network, parameters, PROFILE)
    layers = graph.chain()
    source = next(iter(graph.model.step.sources))
    chain = IntegerChain(network.name, source, tuple(map(_quantise, layers)), graph.model.step.dt)
    subtracts = frozenset(x.name for x in layers if x.cell.reset == "subtract")
    write_header(chain, subtracts, path)
    held, integers = _held(chain, layers), c_network(chain, subtracts)
    return integer_export(PROFILE, path, graph, layers, held, integers, scales=scales_of(layers, held))


TARGET = Target(PROFILE, export)


# -- integers -----------------------------------------------------------------------------------------------------


def _whole(layer: Layer) -> IntegerLayer | None:
    """A layer of whole numbers, twice as large, so that a threshold between 0 and 1 is above 0."""
    found = whole_layer(layer, PROFILE)
    if found is None:
        return None
    none = np.zeros(found.size, np.int64)
    cells = {"keep_i": none, "keep_v": none, "scale": none + 2, "v_th": 2 * found.cells["v_th"] + 1}
    return replace(found, cells=cells)


def _quantise(layer: Layer) -> IntegerLayer:
    whole = _whole(layer)
    if whole is not None:
        return whole
    numbers, size = layer.numbers, layer.numbers.beta.size
    matrices = [layer.feed] if layer.loop is None else [layer.feed, layer.loop]
    unit = float(_CODES.scale(np.vstack(matrices))) or 1.0
    feed, *loop = (_CODES.codes(m, unit) for m in matrices)
    cells = {
        "keep_i": _kept(np.zeros(size) if numbers.alpha is None else numbers.alpha),
        "keep_v": _kept(numbers.beta),
        "scale": np.ones(size, np.int64),
        "v_th": np.ones(size, np.int64),
    }
    found = IntegerLayer(layer.name, feed, loop[0] if loop else None, cells)
    room = LARGEST / max(float(largest_state(found).max()), float((numbers.threshold / unit).max()), 1.0)
    scale = 2 ** min(int(np.floor(np.log2(room))), MOST_SHIFT) if room >= 1 else 1
    cells |= {"scale": np.full(size, scale), "v_th": np.rint(numbers.threshold / unit * scale).astype(np.int64)}
    return IntegerLayer(layer.name, feed, found.loop, cells)


def _kept(decay: Array) -> IntArray:
    return np.asarray(np.minimum(np.rint(decay * ONE), ONE - 1), np.int64)


def largest_state(layer: IntegerLayer) -> Array:
    """Bound of |i| and |v| of each cell, whatever arrives: all weights of one sign in every step, nothing reset."""
    current = largest_sum(layer) * layer.cells["scale"] / (1 - layer.cells["keep_i"] / ONE)
    return np.asarray(current / (1 - layer.cells["keep_v"] / ONE))


def _held(chain: IntegerChain, layers: tuple[Layer, ...]) -> dict[str, Held]:
    found, source = {}, chain.source
    for codes, layer in zip(chain.layers, layers, strict=True):
        scale = codes.cells["scale"]
        weights = {source: codes.feed * scale} | ({} if codes.loop is None else {codes.name: codes.loop * scale})
        alpha = None if layer.numbers.alpha is None else codes.cells["keep_i"] / ONE
        threshold = threshold_of(codes, layer) * (scale if codes.whole else 1)
        found[codes.name] = Held(codes.cells["keep_v"] / ONE, alpha, threshold, weights)
        source = codes.name
    return found


def c_network(chain: IntegerChain, subtracts: frozenset[str]) -> Network:
    """The network that computes with the header's integers. subtracts: populations whose reset is a subtraction."""
    check(chain)
    return network_of(chain, lambda layer: fixed_subtract if layer.name in subtracts else fixed_zero)


def check(chain: IntegerChain) -> None:
    """Raises ExportError naming population, field and number, or the population whose states may overflow."""
    check_chain(chain.layers)
    for layer in chain.layers:
        where = f"population '{layer.name}'"
        check_range(where, "weights", layer.weights, PROFILE.weight)
        for name, values in layer.cells.items():
            check_range(where, name, values, _CELLS[name])
        worst = float(largest_state(layer).max())
        if worst > LARGEST:
            raise ExportError(where, "weights", f"its states could reach {worst:.3g}; 32 bits hold {LARGEST}")


# -- text ---------------------------------------------------------------------------------------------------------


def write_header(chain: IntegerChain, subtracts: frozenset[str], path: Path) -> None:
    """Write the header. It replaces an older one at once. Raises ExportError, OSError."""
    check(chain)
    replaced_text(path, "\n".join(_lines(chain, subtracts)) + "\n")


def _lines(chain: IntegerChain, subtracts: frozenset[str]) -> Iterator[str]:
    name = chain.name
    guard = f"{name.upper()}_H"
    last = chain.layers[-1]
    yield f"/* Network '{name}'. {name}_reset() first; then {name}_step() once every {chain.dt:g} s:"
    yield f"   input: {chain.inputs} bytes, 1 where '{chain.source}' spikes. Spikes of a layer: state->LAYER_z, 1 or 0. */"
    yield f"#ifndef {guard}\n#define {guard}\n#include <stdint.h>\n"
    yield f"#define {name.upper()}_INPUTS {chain.inputs}\n#define {name.upper()}_OUTPUTS {last.size}\n"
    for layer in chain.layers:
        yield from _constants(name, layer)
    yield "typedef struct {"
    for layer in chain.layers:
        yield f"    int32_t {layer.name}_i[{layer.size}], {layer.name}_v[{layer.size}];"
        yield f"    uint8_t {layer.name}_z[{layer.size}];"
    yield f"}} {name}_state;\n"
    yield _LAYER.replace("NET", name)
    yield f"static inline void {name}_reset({name}_state *s) {{"
    for layer in chain.layers:
        body = f"s->{layer.name}_i[j] = s->{layer.name}_v[j] = s->{layer.name}_z[j] = 0;"
        yield f"    for (int j = 0; j < {layer.size}; j++) {body}"
    yield "}\n"
    yield f"static inline void {name}_step({name}_state *s, const uint8_t input[{chain.inputs}]) {{"
    source, size = "input", chain.inputs
    for layer in chain.layers:
        own, loop = f"{name}_{layer.name}", "0" if layer.loop is None else f"{name}_{layer.name}_loop"
        yield f"    {name}_layer({size}, {layer.size}, {own}_feed, {loop}, {source}, s->{layer.name}_z, s->{layer.name}_i,"
        yield f"        s->{layer.name}_v, {own}_keep_i, {own}_keep_v, {own}_v_th, {int(layer.cells['scale'][0])},"
        yield f"        {int(layer.name in subtracts)});"
        source, size = f"s->{layer.name}_z", layer.size
    yield "}\n\n#endif"


_LAYER = """\
static inline void NET_layer(int pre, int post, const int8_t *feed, const int8_t *loop, const uint8_t *in, uint8_t *z,
    int32_t *i, int32_t *v, const uint16_t *keep_i, const uint16_t *keep_v, const int32_t *v_th, int32_t scale,
    int subtract) {
    for (int j = 0; j < post; j++) i[j] = (int32_t)((int64_t)i[j] * keep_i[j] / 32768);
    for (int p = 0; p < pre; p++)
        if (in[p]) for (int j = 0; j < post; j++) i[j] += scale * feed[p * post + j];
    for (int p = 0; loop && p < post; p++)
        if (z[p]) for (int j = 0; j < post; j++) i[j] += scale * loop[p * post + j];
    for (int j = 0; j < post; j++) {
        v[j] = (int32_t)((int64_t)v[j] * keep_v[j] / 32768) + i[j];
        z[j] = v[j] > v_th[j];
        if (z[j]) v[j] = subtract ? v[j] - v_th[j] : 0;
    }
}
"""


def _constants(name: str, layer: IntegerLayer) -> Iterator[str]:
    """Matrices by rows of presynaptic cells."""
    own = f"{name}_{layer.name}"
    yield _array("int8_t", f"{own}_feed", layer.feed)
    if layer.loop is not None:
        yield _array("int8_t", f"{own}_loop", layer.loop)
    for field, kind in (("keep_i", "uint16_t"), ("keep_v", "uint16_t"), ("v_th", "int32_t")):
        yield _array(kind, f"{own}_{field}", layer.cells[field])


def _array(kind: str, name: str, values: IntArray) -> str:
    rows = np.atleast_2d(values)
    body = ",\n    ".join(",".join(map(str, row)) for row in rows.tolist())
    return f"static const {kind} {name}[{values.size}] = {{\n    {body}\n}};\n"
