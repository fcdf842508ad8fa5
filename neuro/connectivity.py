"""Which cells a projection joins, as data; what is random in it is drawn from the network's seed (`neuro.compiler.connecting`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.fields import convert_size, put

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AllToAll:
    """Every pair; self_connections=False leaves out the diagonal of a recurrent projection."""

    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)


@dataclass(frozen=True)
class OneToOne:
    """Neuron i to neuron i."""


@dataclass(frozen=True)
class Probability:
    """Each pair with probability p. PyNN: FixedProbabilityConnector. NEST: pairwise_bernoulli."""

    p: float
    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)


@dataclass(frozen=True)
class FixedTotal:
    """n synapses, the ends of each drawn from all pairs, each pair as likely as any other.

    multapses: whether a pair may have several synapses, each with its own weight and delay. self_connections: whether a cell of a
    recurrent projection may join itself. PyNN: FixedTotalNumberConnector(n, with_replacement, allow_self_connections), whose
    with_replacement is True. NEST: fixed_total_number (N, allow_multapses, allow_autapses). The same in the two below.
    """

    n: int
    multapses: bool = True
    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)
        convert_size(self, "n")


@dataclass(frozen=True)
class FixedInDegree:
    """k synapses onto each postsynaptic cell, their sources drawn from all presynaptic cells.

    multapses, self_connections: see FixedTotal. PyNN: FixedNumberPreConnector (n, with_replacement: False unless given).
    NEST: fixed_indegree (indegree, allow_multapses, allow_autapses).
    """

    k: int
    multapses: bool = True
    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)
        convert_size(self, "k")


@dataclass(frozen=True)
class FixedOutDegree:
    """k synapses from each presynaptic cell, their targets drawn from all postsynaptic cells.

    multapses, self_connections: see FixedTotal. PyNN: FixedNumberPostConnector (n, with_replacement: False unless given).
    NEST: fixed_outdegree (outdegree, allow_multapses, allow_autapses).
    """

    k: int
    multapses: bool = True
    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)
        convert_size(self, "k")


@dataclass(frozen=True)
class Pairs:
    """Explicit pairs: indices into pre and post, equally long. A pair that stands there twice has two synapses."""

    pre: IntArray
    post: IntArray

    def __post_init__(self) -> None:
        for name in ("pre", "post"):
            put(self, name, checks.indices(getattr(self, name), f"Pairs, {name}"))

    def __hash__(self) -> int:
        return hash((self.pre.tobytes(), self.post.tobytes()))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Pairs)
            and bool(np.array_equal(self.pre, other.pre))
            and bool(np.array_equal(self.post, other.post))
        )


Connectivity = AllToAll | OneToOne | Probability | FixedTotal | FixedInDegree | FixedOutDegree | Pairs
