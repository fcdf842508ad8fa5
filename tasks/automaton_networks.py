"""Finite automata as recurrent networks of threshold cells, y(t+1) = [W y(t) >= theta] with whole numbers, in three constructions that trade size, time and active cells.

A state is p = ceil(log2 m) bits. Its first bits number a row of the transition table, the others and the input bit a column; cells [row = i] and [column = j] detect them. Of the two that fire,
- "one-shot" (3 steps a bit) reads all bits of the next state at once, by a cell for each row and bit;
- "successive" (3p + 4 steps) has one cell a row, which compares the next state with a trial, bit by bit, as an analogue-to-digital converter does;
- "blocks" (blocks + 5 steps) asks the rows block after block: fewer blocks are faster, more keep fewer cells active.
All cells are memoryless and in one population, so that a chip with one recurrent layer can hold them. No cell fires on nothing: a spike on the channel `start` sets the clock off.

Source: the problem and its bounds, Šíma (2014), Neural Comput 26:953; the constructions are this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from neuro.export.quantisation.threshold_network import threshold_cell, whole_pulse
from neuro.language.units import quantity
from neuro.model import Input, Network, Pairs, Population, Projection
from neuro.options import OptionError, counts, one_of
from tasks.automata import Automaton, IntArray, checked_words

Construction = Literal["one-shot", "successive", "blocks"]
CELLS, SOURCE = "cells", "given"
BIT, START = 0, 1  # channels of the input
Raster = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Coding:
    """How words go in and states come out. tau: steps a bit. groups: cells by what they do; of `state`, the highest bit first."""

    automaton: Automaton
    construction: Construction
    tau: int
    groups: Mapping[str, IntArray]

    @property
    def bits(self) -> int:
        """Cells that hold a state, p."""
        return len(self.groups["state"])

    @property
    def size(self) -> int:
        return sum(map(len, self.groups.values()))

    def steps(self, bits: int) -> int:
        """Steps of a run on words of so many bits, the state after the last one included."""
        return self.tau * bits + 2

    def inputs(self, words: Any) -> dict[str, Raster]:
        """Spikes [word, step, channel] of words [word, bit]: each bit at the start of its cycle. Raises OptionError."""
        bits = checked_words(words)
        found = np.zeros((bits.shape[0], self.steps(bits.shape[1]), 2), bool)
        found[:, 0, START] = True
        found[:, : self.tau * bits.shape[1] : self.tau, BIT] = bits
        return {SOURCE: found}

    def states(self, spikes: Mapping[str, Any]) -> IntArray:
        """The state before the first bit and after each [word, bits + 1], from the rasters of a run. Raises OptionError."""
        if CELLS not in spikes or np.shape(spikes[CELLS])[2:] != (self.size,):
            raise OptionError(f"spikes: give the raster of '{CELLS}', [word, step, {self.size}]")
        bits = np.asarray(spikes[CELLS])[:, 1 :: self.tau][:, :, self.groups["state"]]
        return np.asarray(bits.astype(np.int64) @ (1 << np.arange(self.bits)[::-1]))

    def accepts(self, spikes: Mapping[str, Any]) -> Raster:
        """Whether each word ended in an accepting state [word]. Raises OptionError."""
        return np.isin(self.states(spikes)[:, -1], list(self.automaton.accepting))


def automaton_network(
    automaton: Automaton, construction: Construction = "one-shot", *, blocks: int = 1, dt: str = "1 ms"
) -> tuple[Network, Coding]:
    """A network that walks through an automaton's states, and how to talk with it. blocks: of "blocks" alone, a power of two up to the number of rows.

    Weights are as large as p for "one-shot" and "blocks", 2^(p+1) for "successive". Raises OptionError.
    """
    if not isinstance(automaton, Automaton):
        raise OptionError("automaton: give an Automaton, which checks a transition table")
    one_of("construction", construction, get_args(Construction))
    counts(blocks=blocks)
    if construction != "blocks" and blocks != 1:
        raise OptionError(f"blocks={blocks}; only construction='blocks' has them")
    p = int(automaton.size - 1).bit_length()
    row_bits = round((p + 1 - np.log2(p)) / 2) if construction == "one-shot" else p // 2
    if construction == "blocks" and 2**row_bits % blocks:
        fits = ", ".join(str(2**k) for k in range(row_bits + 1))
        raise OptionError(f"blocks={blocks} doesn't divide the {2**row_bits} rows of {automaton.size} states; use one of {fits}")  # fmt: skip
    tau = {"one-shot": 3, "successive": 3 * p + 4, "blocks": blocks + 5}[construction]
    wiring = _Wiring(p, row_bits, tau, latched=construction != "one-shot")
    table = np.zeros((2**p, 2), np.int64)
    table[: automaton.size] = automaton.table
    following = table.reshape(2**row_bits, -1)  # [row, column]
    match construction:
        case "one-shot":
            _one_shot(wiring, following)
        case "successive":
            _successive(wiring, following)
        case "blocks":
            _blocks(wiring, following, blocks)
    network = wiring.network(automaton.start, dt, f"automaton_{construction.replace('-', '_')}")
    return network, Coding(automaton, construction, tau, wiring.groups)


# -- constructions ------------------------------------------------------------------------------------------------


def _one_shot(wiring: _Wiring, following: IntArray) -> None:
    """Step 1: detectors. 2: the selected row's cells whose bit of the next state is 1. 3: that state."""
    p = len(wiring["state"])
    entries = wiring.add("entries", p * len(following), 2).reshape(p, -1)  # [bit, row]
    wiring.join(wiring["rows"], entries, 1)
    for k, bit in enumerate(_bits(following, p)):
        wiring.matrix(wiring["columns"], entries[k], bit.T)
        wiring.join(entries[k], wiring["state"][k], 1)


def _successive(wiring: _Wiring, following: IntArray) -> None:
    """From step 1 on: a trial bit, the comparison of the next state with it and with the bits kept before, its verdict; 3 steps each."""
    p, clock = len(wiring["state"]), wiring["clock"]
    place = 1 << np.arange(p)[::-1]
    trials, kept = wiring.add("trials", p, 1), wiring.add("kept", p, 2)
    larger = wiring.add("comparisons", len(following), 2 ** (p + 1))
    wiring.join(wiring["rows"], larger, 2 ** (p + 1))
    wiring.matrix(wiring["columns"], larger, following.T)
    wiring.matrix(np.concatenate([trials, kept]), larger, np.tile(-place, 2)[:, None] + np.zeros_like(larger))
    asked = 1 + 3 * np.arange(p)
    wiring.join(clock[asked], trials, 1)
    wiring.join(clock[asked + 2], kept, 1)
    wiring.matrix(larger, kept, np.ones((len(larger), p), np.int64))
    wiring.latch(np.concatenate([wiring["rows"], wiring["columns"]]), asked[-1] + 1)
    wiring.latch(kept, len(clock) - 1)
    wiring.read_out(kept)


def _blocks(wiring: _Wiring, following: IntArray, blocks: int) -> None:
    """From step 1 on: a block of rows is enabled; then its cells whose bit is 1; of these the selected row's; their bits; what has been found."""
    p, clock = len(wiring["state"]), wiring["clock"]
    entries = wiring.add("entries", p * len(following), 2).reshape(p, -1)  # [bit, row]
    selected = wiring.add("selected", entries.size, 2).reshape(p, -1)
    found, kept = wiring.add("found", p, 1), wiring.add("kept", p, 1)
    for k, bit in enumerate(_bits(following, p)):
        wiring.matrix(wiring["columns"], entries[k], bit.T)
        wiring.join(clock[1 : blocks + 1].repeat(len(following) // blocks), entries[k], 1)
        wiring.join(selected[k], found[k], 1)
    wiring.join(entries, selected, 1)
    wiring.join(wiring["rows"], selected, 1)
    wiring.join(found, kept, 1)
    wiring.latch(wiring["columns"], blocks)
    wiring.latch(wiring["rows"], blocks + 1)
    wiring.latch(kept, len(clock) - 1)
    wiring.read_out(kept)


def _bits(numbers: IntArray, p: int) -> IntArray:
    """Binary digits [p, ...], the highest first."""
    return (numbers >> np.arange(p)[::-1].reshape(-1, *[1] * numbers.ndim)) & 1


@dataclass
class _Wiring:
    """Cells by groups, and the weights between them, while a network is made: state, clock (a ring of one active cell), input and detectors."""

    p: int
    row_bits: int
    tau: int
    latched: bool  # the state is read from cells that keep it, when the cycle ends
    groups: dict[str, IntArray] = field(default_factory=dict)
    theta: list[int] = field(default_factory=list)
    synapses: list[IntArray] = field(default_factory=list)  # [3, synapse]: pre, post, weight

    def __post_init__(self) -> None:
        state, clock, given = self.add("state", self.p, 1 + self.latched), self.add("clock", self.tau, 1), self.add("input", 1, 1)  # fmt: skip
        self.join(clock, np.roll(clock, -1), 1)
        sources = np.concatenate([state, given])
        self._detectors("rows", sources[: self.row_bits])
        self._detectors("columns", sources[self.row_bits :])

    def __getitem__(self, group: str) -> IntArray:
        return self.groups[group]

    def add(self, group: str, count: int, theta: Any) -> IntArray:
        """New cells, with these thresholds."""
        first = len(self.theta)
        self.groups[group] = np.arange(first, first + count)
        self.theta += np.broadcast_to(theta, count).tolist()
        return self.groups[group]

    def join(self, pre: IntArray, post: IntArray, weight: Any) -> None:
        """Synapses from cell to cell; arrays are broadcast."""
        self.synapses.append(np.stack([a.ravel() for a in np.broadcast_arrays(pre, post, weight)]))

    def matrix(self, pre: IntArray, post: IntArray, weights: IntArray) -> None:
        """Synapses of a matrix [pre, post], where it isn't 0."""
        i, j = np.nonzero(weights)
        self.join(pre[i], post[j], weights[i, j])

    def latch(self, cells: IntArray, until: int) -> None:
        """A cell that has fired goes on, until a cell of the clock stops it: it is silent from the step after that one's on."""
        theta = np.array(self.theta)[cells]
        self.join(cells, cells, theta)
        self.join(self["clock"][until], cells, -theta)

    def read_out(self, kept: IntArray) -> None:
        """The last step of the cycle makes these the state."""
        self.join(kept, self["state"], 1)
        self.join(self["clock"][-1], self["state"], 1)

    def _detectors(self, group: str, sources: IntArray) -> None:
        """One cell for every pattern of the sources, which fires on it after the clock's first step: 1 from bits that are set, -1 from the others."""
        patterns = _bits(np.arange(2 ** len(sources)), len(sources))  # [source, pattern]
        cells = self.add(group, patterns.shape[1], patterns.sum(axis=0) + 1)
        self.matrix(sources, cells, 2 * patterns - 1)
        self.join(self["clock"][0], cells, 1)

    def network(self, start: int, dt: str, name: str) -> Network:
        """All of it; `given` has the channels of the bit and of the start, which is as strong as thresholds are."""
        pre, post, weight = np.concatenate(self.synapses, axis=1)
        theta = np.array(self.theta)
        first = np.append(self["state"][_bits(np.array(start), self.p) == 1], self["clock"][0])
        ends = Pairs(np.append(BIT, np.full(len(first), START)), np.append(self["input"], first))
        cells = Population(CELLS, threshold_cell, len(theta), {"v_th": quantity(theta - 0.5)})
        feed = Projection("feed", SOURCE, CELLS, whole_pulse, quantity(theta[ends.post].astype(float)), ends)
        loop = Projection("loop", CELLS, CELLS, whole_pulse, quantity(weight.astype(float)), Pairs(pre, post))
        return Network((cells,), (feed, loop), (Input(SOURCE, 2),), dt=quantity(dt), name=name)
