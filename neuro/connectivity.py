"""Which cells a projection joins, as data; what is random in it is drawn from the network's seed (`neuro.compiler.connecting`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.fields import convert_given, convert_size, default, put
from neuro.language.units import Quantity

if TYPE_CHECKING:
    from neuro.fields import Converted

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
class _FixedDegree:
    k: int
    multapses: bool = True
    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)
        convert_size(self, "k")


@dataclass(frozen=True)
class FixedInDegree(_FixedDegree):
    """k synapses onto each postsynaptic cell, their sources drawn from all presynaptic cells.

    multapses, self_connections: see FixedTotal. PyNN: FixedNumberPreConnector (n, with_replacement: False unless given).
    NEST: fixed_indegree (indegree, allow_multapses, allow_autapses).
    """


@dataclass(frozen=True)
class FixedOutDegree(_FixedDegree):
    """k synapses from each presynaptic cell, their targets drawn from all postsynaptic cells.

    multapses, self_connections: see FixedTotal. PyNN: FixedNumberPostConnector (n, with_replacement: False unless given).
    NEST: fixed_outdegree (outdegree, allow_multapses, allow_autapses).
    """


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


@dataclass(frozen=True)
class Distance:
    """Each pair with a probability that depends on the distance d of its cells: Distance("0.8*exp(-d/(200*umetre))").

    profile: an expression of d in the language of equations; what it gives beyond 0 and 1 is taken as 0 and 1. d is in the unit of
    the positions, which both populations must have (Population(positions=...)), a plain number where they are plain. cutoff: pairs
    farther apart are not joined, nor looked at. period: the length after which space repeats, one for all axes or one for each, inf
    along an open axis; d is then the shortest way. PyNN: DistanceDependentProbabilityConnector(d_expression), Space(periodic_boundaries).
    NEST: pairwise_bernoulli with p of spatial.distance (spatial_distributions.exponential, gaussian), a circular or spherical mask
    (radius), edge_wrap.
    """

    profile: str
    cutoff: Converted[Quantity | None] = default(None)
    period: Converted[Quantity | None] = default(None)
    self_connections: bool = True

    def __post_init__(self) -> None:
        checks.types(self)
        convert_given(self, "cutoff", "period")
        checks.enforce(checks.distance(self))


Connectivity = AllToAll | OneToOne | Probability | FixedTotal | FixedInDegree | FixedOutDegree | Distance | Pairs
