"""A recording as Neo's Block, which elephant and others analyse."""

from __future__ import annotations

from typing import Any

from neuro.registry import needed


def block_of(recording: Any) -> Any:
    """A neo.Block with a Segment for each trial: a SpikeTrain for each cell, annotated with `population` and `cell`; an AnalogSignal for each trace, its columns cells or synapses.

    recording: of one parameter set. Raises MissingPackageError.
    """
    neo = needed("to_neo()", "neo")
    import quantities as pq

    block = neo.Block(name="twinspike")
    times = {name: recording.times(name) for name in recording.spikes}
    traces = {name: recording.columns(name) for name in recording.traces}
    for trial in range(recording.trials):
        segment = neo.Segment(name=f"trial {trial}", index=trial)
        for name, spikes in times.items():
            end = spikes.steps * spikes.dt * pq.s
            segment.spiketrains += [
                neo.SpikeTrain(train.to("second") * pq.s, t_stop=end, name=f"{name} {cell}", population=name, cell=cell)
                for cell, train in spikes.trains(trial).items()
            ]
        for name, (values, labels) in traces.items():
            segment.analogsignals.append(
                neo.AnalogSignal(
                    values[trial], units=_unit(recording.units.get(name, "1")), name=name, sampling_period=recording.every * recording.dt * pq.s,
                    t_start=(recording.every - 1) * recording.dt * pq.s, array_annotations={"column": labels},
                )
            )  # fmt: skip
        block.segments.append(segment)
    return block


def _unit(text: str) -> Any:
    """Of quantities, by the exponents that a unit of ours has."""
    import quantities as pq

    from neuro.language.units import unit

    bases = (pq.m, pq.kg, pq.s, pq.A, pq.K, pq.mol, pq.cd)
    found = pq.dimensionless
    for base, power in zip(bases, unit(text).dimension.exponents, strict=True):
        found = found * base ** float(power) if power else found
    named = {"volt": pq.V, "amp": pq.A, "siemens": pq.S, "ohm": pq.ohm, "hertz": pq.Hz}
    return named.get(text, found)
