"""twinspike: a model written once, as equations with units, compiled to Brian2, torch and snntorch.

Names load their modules when first used, so that `import neuro` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neuro import moved

if TYPE_CHECKING:
    from neuro import library as library, plot as plot  # noqa: I001  one block a module
    from neuro.beside import compile as compile, task as task
    from neuro.io.appending import append_recording as append_recording
    from neuro.language.equations import ModelError as ModelError
    from neuro.compiler.lowering import levels as levels, lower as lower
    from neuro.model import (
        AllToAll as AllToAll,
        Distance as Distance,
        FixedInDegree as FixedInDegree,
        FixedOutDegree as FixedOutDegree,
        FixedTotal as FixedTotal,
        Gamma as Gamma,
        Input as Input,
        LogNormal as LogNormal,
        Network as Network,
        Neuron as Neuron,
        Normal as Normal,
        OneToOne as OneToOne,
        Pairs as Pairs,
        Population as Population,
        Probability as Probability,
        Projection as Projection,
        Synapse as Synapse,
        Uniform as Uniform,
    )
    from neuro.protocols import Recording as Recording, RunError as RunError, UnsupportedError as UnsupportedError
    from neuro.io.state_file import open_state as open_state, write_state as write_state
    from neuro.language.units import Quantity as Quantity, quantity as quantity

moved.install()

_HOMES = {
    "neuro.beside": "compile task",
    "neuro.io.appending": "append_recording",
    "neuro.model": "AllToAll Distance FixedInDegree FixedOutDegree FixedTotal Gamma Input LogNormal Network Neuron Normal OneToOne Pairs Population Probability "
    "Projection Synapse Uniform",
    "neuro.language.equations": "ModelError",
    "neuro.compiler.lowering": "levels lower",
    "neuro.protocols": "Recording RunError UnsupportedError",
    "neuro.io.state_file": "open_state write_state",
    "neuro.language.units": "Quantity quantity",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = sorted(_HOME_OF)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]  the table is the one list


def __getattr__(name: str) -> Any:
    if name in ("library", "plot"):
        return import_module(f"neuro.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'neuro' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, "library", "plot"})
