"""A network from named networks: `compose({"sensory": a, "motor": b}, [Projection("link", "sensory.out", "motor.in", ...)])`.

Population `hidden` of part `motor` becomes `motor_hidden`. Ports are the populations and inputs that a part shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from neuro import checks
from neuro.checks.common import check_name, plain
from neuro.compiler.settled import settled
from neuro.language.equations import ModelError
from neuro.model import Connectivity, Input, Network, Population, Projection

Port = Population | Input


@dataclass(frozen=True)
class Part:
    """A network and the ports it shows: port -> population or input. Without `ports`, all under their own names.

    parameters: numbers that were trained in this network, SI arrays by name; the part then keeps its other numbers too: synapses,
    weights, delays and initial values are those that its own seed drew ({}: nothing was trained). frozen: whether no rule trains what
    is in it; None for what the network says.
    """

    network: Network
    ports: Mapping[str, str] | None = None
    parameters: Mapping[str, Any] | None = None
    frozen: bool | None = None

    def whole(self) -> Network:
        """The network with the numbers and flags that it has in the part. Raises ModelError on parameters that don't fit."""
        network = self.network if self.parameters is None else settled(self.network, self.parameters)
        if self.frozen is None:
            return network
        return replace(
            network,
            populations=tuple(replace(p, frozen=self.frozen) for p in network.populations),
            projections=tuple(replace(p, frozen=self.frozen) for p in network.projections),
        )

    def port(self, name: str, part: str, where: str) -> Port:
        """The population or input behind a port. Raises ModelError with a suggestion."""
        everything: tuple[Port, ...] = (*self.network.populations, *self.network.inputs)
        items = {p.name: p for p in everything}
        shown = self.ports if self.ports is not None else {n: n for n in items}
        if name not in shown:
            checks.unknown_name(name, shown, f"port in part '{part}'", where)
        if shown[name] not in items:
            checks.unknown_name(shown[name], items, "population or input", f"part '{part}', port '{name}'")
        return items[shown[name]]


def compose(
    parts: Mapping[str, Network | Part],
    connections: Iterable[Projection] = (),
    *,
    bind: Mapping[str, str] | None = None,
    inputs: Iterable[Input] = (),
    seed: int = 0,
    name: str = "network",
) -> Network:
    """Join networks of one dt, and one kind of couplings, into one.

    connections: projections whose ends are ports, "part.port", or names of `inputs`. bind: spike input of a part ->
    what takes its place, both as "part.port". inputs: further inputs; currents have targets "part.port.variable". A connection may share
    the weights of another one, or of a part's projection, "part.projection".
    Connectivity and other random numbers are drawn anew from `seed` and the new names, but for parts with parameters.
    Raises ModelError for unknown parts and ports, ports that don't fit, different dt or couplings, and names used twice.
    """
    given = {n: p if isinstance(p, Part) else Part(p) for n, p in parts.items()}
    whole = _Whole({n: Part(p.whole(), p.ports) for n, p in given.items()}, tuple(inputs), name, given)
    whole.check()
    places = whole.bound(bind or {})
    return Network(
        tuple(whole.populations()),
        (*whole.inner_projections(places), *(whole.connection(c, places) for c in connections)),
        (*whole.inner_inputs(places), *(whole.outer_input(i) for i in whole.inputs)),
        dt=next(iter(whole.parts.values())).network.dt,
        seed=seed,
        name=name,
        couplings=next(iter(whole.parts.values())).network.couplings,
    )


@dataclass(frozen=True)
class _Whole:
    """parts: with their numbers and flags. given: as somebody asks for them."""

    parts: Mapping[str, Part]
    inputs: tuple[Input, ...]
    name: str
    given: Mapping[str, Part]

    def check(self) -> None:
        where = f"composition '{self.name}'"
        if not self.parts:
            raise _fail(where, "there are no parts", "give at least one network")
        checks.enforce(p for n in self.parts for p in check_name(n, f"{where}, part"))
        for n in self.parts:
            if n.endswith("_"):
                why = f"part '{n}' ends in '_', which joins it to the names in it"
                raise _fail(where, why, f"call it '{n.rstrip('_')}'", n)
        steps = {n: part.network.dt for n, part in self.parts.items()}
        first = next(iter(steps.values()))
        if any(not math.isclose(dt.value, first.value, rel_tol=1e-12) for dt in steps.values()):
            found = ", ".join(f"'{n}' {dt}" for n, dt in steps.items())
            raise _fail(where, f"the parts have different dt: {found}", "give all parts the same dt")
        if len({part.network.couplings for part in self.parts.values()}) > 1:
            found = ", ".join(f"'{n}' {part.network.couplings}" for n, part in self.parts.items())
            raise _fail(where, f"the parts have different couplings: {found}", "give all parts the same couplings")
        for n, part in self.parts.items():
            for port in part.ports or ():
                part.port(port, n, where)

    def port(self, text: str, where: str) -> tuple[str, Port]:
        """New name and item behind "part.port"."""
        part, dot, port = text.partition(".")
        if not dot:
            raise _fail(where, f"'{text}' is not a port", "write 'part.port'", text)
        if part not in self.parts:
            checks.unknown_name(part, self.parts, "part", where)
        item = self.parts[part].port(port, part, where)
        return f"{part}_{item.name}", item

    def bound(self, bind: Mapping[str, str]) -> dict[str, str]:
        """Bound input -> what takes its place, both by new name; chains are followed to their end."""
        direct = {}
        for socket, plug in bind.items():
            where = f"composition '{self.name}', bind '{socket}'"
            (old, hole), (new, item) = self.port(socket, where), self.port(plug, where)
            _check_fit(socket, hole, plug, item, where)
            direct[old] = new
        for start in direct:
            end, seen = direct[start], {start}
            while end in direct:
                if end in seen:
                    raise _fail(f"composition '{self.name}', bind", f"'{start}' is bound in a circle", "cut the circle")
                seen.add(end)
                end = direct[end]
            direct[start] = end
        return direct

    def populations(self) -> Iterable[Population]:
        return (replace(p, name=f"{n}_{p.name}") for n, part in self.parts.items() for p in part.network.populations)

    def inner_projections(self, places: Mapping[str, str]) -> Iterable[Projection]:
        for n, part in self.parts.items():
            for p in part.network.projections:
                pre = f"{n}_{p.pre}"
                shares = p.shares and f"{n}_{p.shares}"
                yield replace(p, name=f"{n}_{p.name}", pre=places.get(pre, pre), post=f"{n}_{p.post}", shares=shares)

    def inner_inputs(self, places: Mapping[str, str]) -> Iterable[Input]:
        for n, part in self.parts.items():
            for i in part.network.inputs:
                if f"{n}_{i.name}" not in places:
                    yield replace(i, name=f"{n}_{i.name}", target=i.target and f"{n}_{i.target}")

    def connection(self, projection: Projection, places: Mapping[str, str]) -> Projection:
        where = f"projection '{projection.name}'"
        pre = projection.pre
        if pre not in {i.name for i in self.inputs}:
            found, _ = self.port(pre, where)
            pre = places.get(found, found)
        post, item = self.port(projection.post, where)
        if not isinstance(item, Population):
            raise _fail(
                where,
                f"ports don't fit: '{projection.post}' is an input, but a projection ends at a population",
                f"use bind={{'{projection.post}': '{projection.pre}'}}, or a port that is a population",
                projection.post,
            )
        shares, connectivity = self.shared(projection, f"{where}, shares")
        return replace(projection, pre=pre, post=post, shares=shares, connectivity=connectivity)

    def shared(self, projection: Projection, where: str) -> tuple[str, Connectivity]:
        """New name of the projection that a connection shares weights with, and the synapses that this one has in its part, where both are asked for the same."""
        text, connectivity = projection.shares, projection.connectivity
        part, dot, name = text.partition(".")
        if not dot:
            return text, connectivity
        if part not in self.parts:
            checks.unknown_name(part, self.parts, "part", where)
        known = [p.name for p in self.parts[part].network.projections]
        if name not in known:
            checks.unknown_name(name, known, f"projection in part '{part}'", where)
        asked, kept = (p[part].network.projection(name).connectivity for p in (self.given, self.parts))
        return f"{part}_{name}", kept if connectivity == asked else connectivity

    def outer_input(self, item: Input) -> Input:
        if not item.target:
            return item
        port, _, variable = item.target.rpartition(".")
        found, _ = self.port(port, f"input '{item.name}'")
        return replace(item, target=f"{found}.{variable}")


def _check_fit(socket: str, hole: Port, plug: str, item: Port, where: str) -> None:
    if not isinstance(hole, Input) or hole.drawn:
        kind = (
            {"poisson": "a Poisson source", "drive": "a drive"}[hole.kind]
            if isinstance(hole, Input)
            else "a population"
        )
        raise _fail(where, f"ports don't fit: '{socket}' is {kind}", "bind an input of kind 'spikes'", socket)
    if hole.kind == "current":
        fix = "connect them with a projection whose synapse has transmits=..."
        raise _fail(where, f"ports don't fit: '{socket}' takes a current, '{plug}' gives spikes", fix, socket)
    if isinstance(item, Population) and not item.neuron.threshold:
        fix = "bind a population with a threshold"
        raise _fail(where, f"ports don't fit: '{plug}' has no threshold, so it sends no spikes", fix, plug)
    if isinstance(item, Input) and not item.sends:
        raise _fail(where, f"ports don't fit: '{plug}' is a {item.kind}", "bind to a spiking population or input", plug)
    if item.size != hole.size:
        message = f"ports don't fit: '{socket}' has {hole.size} channels, '{plug}' has {item.size}"
        raise _fail(where, message, "make the sizes equal, or connect them with a projection", socket)


def _fail(where: str, message: str, fix: str, text: str = "") -> ModelError:
    return ModelError([plain(where, message, fix, text)])
