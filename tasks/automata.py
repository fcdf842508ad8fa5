"""Deterministic finite automata that read bits: as tables, counters, of regular expressions, drawn at random; `tasks.automaton_networks` makes threshold networks of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.language.foreign import shown
from neuro.options import OptionError, counts

IntArray = npt.NDArray[np.int64]
ALPHABET = "01"


@dataclass(frozen=True)
class Automaton:
    """table: the next state [state, bit], at least 2 states. start: the first state. accepting: states in which a word is accepted.

    Raises OptionError on a table that isn't whole numbers [m, 2], and on states that aren't there.
    """

    table: IntArray
    start: int = 0
    accepting: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        table = np.asarray(self.table)
        if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2 or not np.issubdtype(table.dtype, np.integer):
            why = f"its shape is {table.shape}, its type {table.dtype}"
            raise OptionError(f"table: {why}; give whole numbers [m, 2], the next state of m >= 2 states on 0 and on 1")
        self._check("table", table.ravel().tolist())
        self._check("start", [self.start])
        self._check("accepting", self.accepting)
        object.__setattr__(self, "table", table.astype(np.int64))
        object.__setattr__(self, "accepting", frozenset(map(int, self.accepting)))

    def _check(self, what: str, states: Iterable[Any]) -> None:
        m = len(self.table)
        for s in states:
            if isinstance(s, bool) or not isinstance(s, int | np.integer) or not 0 <= s < m:
                raise OptionError(f"{what}: {shown(s)} is no state; {m} states are numbered 0 to {m - 1}")

    @property
    def size(self) -> int:
        return len(self.table)

    def states(self, words: Any) -> IntArray:
        """The state before the first bit and after each [word, bits + 1]; words: 0 and 1 [word, bit]. Raises OptionError."""
        bits = checked_words(words).astype(np.int64)
        found = np.full((bits.shape[0], bits.shape[1] + 1), self.start, np.int64)
        for n in range(bits.shape[1]):
            found[:, n + 1] = self.table[found[:, n], bits[:, n]]
        return found

    def accepts(self, words: Any) -> npt.NDArray[np.bool_]:
        """Whether each word [word, bit] ends in an accepting state. Raises OptionError."""
        return np.isin(self.states(words)[:, -1], list(self.accepting))


def checked_words(words: Any) -> npt.NDArray[np.bool_]:
    """Words [word, bit] as bits. Raises OptionError."""
    found = np.asarray(words)
    if found.ndim != 2 or not np.isin(found, (0, 1)).all():
        raise OptionError(f"words: {shown(words)}; give 0 and 1, [word, bit]")
    return found.astype(bool)


def counter(k: int) -> Automaton:
    """Counts ones modulo k; accepts multiples of k. Raises OptionError for k < 2."""
    state = np.arange(k if isinstance(k, int) else 0)
    return Automaton(np.stack([state, (state + 1) % max(1, len(state))], axis=1), accepting=frozenset({0}))


def random_automaton(states: int, seed: int) -> Automaton:
    """Every entry of the table, and the start, drawn alike; the same for a seed wherever it is drawn. Raises OptionError."""
    counts(states=states)
    random = streams.generator(seed, f"automata/{states}")
    return Automaton(random.integers(0, states, (states, 2)), int(random.integers(0, states)))


# -- regular expressions: derivatives, Brzozowski (1964), J ACM 11:481 --------------------------------------------

# a letter, ("|", alternatives), ("*", what is repeated) or (".", first, then)
Expression: TypeAlias = str | tuple[str, Any] | tuple[str, Any, Any]
NOTHING: Expression = ("|", frozenset())
EMPTY: Expression = ("*", NOTHING)


def from_regex(pattern: str) -> Automaton:
    """The automaton that accepts what the whole pattern matches: 0, 1, alternatives |, repetition *, parentheses.

    Its states are the pattern's derivatives, alternatives sorted out, so it needn't be the smallest. Raises OptionError.
    """
    if not isinstance(pattern, str) or re.search(r"[^01|*()]", pattern):
        raise OptionError(f"pattern={shown(pattern)}; a pattern is made of 0, 1, |, * and parentheses")
    first, rest = _alternatives(pattern)
    if rest:
        raise OptionError(f"pattern={pattern!r}; '{rest}' is left over: check its parentheses")
    known, table = [first], list[list[int]]()
    for expression in known:
        after = [_derivative(expression, letter) for letter in ALPHABET]
        known += [e for e in dict.fromkeys(after) if e not in known]
        table.append([known.index(e) for e in after])
    if len(known) == 1:  # all words or none: an automaton has at least two states
        known, table = known * 2, [[0, 0], [0, 0]]
    return Automaton(np.array(table), accepting=frozenset(k for k, e in enumerate(known) if _empty_fits(e)))


def _alternatives(text: str) -> tuple[Expression, str]:
    """The expression at the beginning of a text, and what is left of the text."""
    found, text = _sequence(text)
    while text.startswith("|"):
        other, text = _sequence(text[1:])
        found = _either(found, other)
    return found, text


def _sequence(text: str) -> tuple[Expression, str]:
    parts = list[Expression]()
    while text and text[0] not in "|)":
        if text[0] == "*":
            raise OptionError(f"pattern: nothing before '{text}' that '*' repeats")
        part, text = _alternatives(text[1:]) if text[0] == "(" else (text[0], "#" + text[1:])
        if not text.startswith((")", "#")):
            raise OptionError("pattern: a parenthesis isn't closed")
        text = text[1:]
        while text.startswith("*"):
            part, text = ("*", part), text[1:]
        parts.append(part)
    found = EMPTY
    for part in reversed(parts):
        found = _then(part, found)
    return found, text


def _either(*some: Expression) -> Expression:
    found = frozenset(e for s in some for e in (s[1] if s[0] == "|" else (s,)))
    return next(iter(found)) if len(found) == 1 else ("|", found)


def _then(first: Expression, second: Expression) -> Expression:
    if NOTHING in (first, second):
        return NOTHING
    if first == EMPTY:
        return second
    return first if second == EMPTY else (".", first, second)


def _empty_fits(e: Expression) -> bool:
    match e:
        case ("|", some):
            return any(map(_empty_fits, some))
        case (".", first, second):
            return _empty_fits(first) and _empty_fits(second)
    return e[0] == "*"


def _derivative(e: Expression, letter: str) -> Expression:
    """What may follow after a letter."""
    match e:
        case ("|", some):
            return _either(*(_derivative(s, letter) for s in some))
        case ("*", inner):
            return _then(_derivative(inner, letter), e)
        case (".", first, second):
            found = _then(_derivative(first, letter), second)
            return _either(found, _derivative(second, letter)) if _empty_fits(first) else found
    return EMPTY if e == letter else NOTHING
