"""What is legal, but likely not meant: steps that an integrator follows badly."""

from __future__ import annotations

import warnings

import numpy as np

from neuro.checks.common import ModelWarning
from neuro.checks.parts import Population
from neuro.language.units import Quantity, unit


def check_clock(population: Population, dt: Quantity) -> None:
    """Warn where dt is coarse for the fastest time constant that an explicit integrator has to follow."""
    neuron = population.neuron
    if neuron.method in ("exact", "exponential_euler", "rosenbrock"):
        return
    used = {n for e in neuron.scope.of_kind("differential") if e.expression is not None for n in e.expression.names}
    for name, value in population.values().items():
        if name in used and isinstance(value, Quantity) and value.dimension == unit("second").dimension:
            fastest = float(np.min(value.value))
            if dt.value > fastest / 2:
                warnings.warn(
                    f"population '{population.name}': dt = {dt} is coarse for {name} = {fastest * 1e3:.4g} ms; "
                    f"use dt <= {fastest * 1e2:.4g} ms, or method='exponential_euler'",
                    ModelWarning,
                    stacklevel=4,
                )


def check_held(population: Population) -> None:
    """Warn where exponential_euler holds a drive that follows its own variable, such as exp(v), for a step.

    A conductance that follows it at once, g(v)*(E - v), is what the method is for: the semantics record says so, and nobody is warned.
    """
    neuron = population.neuron
    if neuron.method != "exponential_euler":
        return
    from neuro.language.linear import conditionally_linear, inlined  # sympy loads when it is first needed
    from neuro.language.symbolic import symbol

    for equation in neuron.scope.of_kind("differential"):
        own, found = symbol(equation.name), conditionally_linear(inlined(equation, neuron.scope), symbol(equation.name))
        if found is not None and own in found[1].free_symbols and own not in found[0].free_symbols:
            warnings.warn(
                f"population '{population.name}': d{equation.name}/dt has a part that follows {equation.name} but not in proportion, and "
                "exponential_euler holds it for each step, as Brian2 does; use a small dt, or method='rk2' or 'rk4'",
                ModelWarning,
                stacklevel=4,
            )
