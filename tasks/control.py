"""Any of gymnasium's environments with discrete actions and an observation of numbers; needs the extra `control`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from neuro.options import OptionError, counts
from neuro.protocols import Recording, Settings
from tasks.acting import JudgedByReturn
from tasks.self_modifying import TRAINED, SelfModifyingTask


class Control(JudgedByReturn, SelfModifyingTask):
    """environment: its name at gymnasium. steps: longest episode. form: see tasks.self_modifying."""

    name = "control"
    version = 1
    readout = ("readout.w", "output.b")
    updates = 20
    test_trials = 20
    settings = Settings(
        epochs=10,
        batch=16,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "actor-critic": {
                "trainable": TRAINED, "learning_rate": 5e-3, "clip": 2.0, "discount": 0.95, "value_cost": 0.05, "diversity_cost": 0.01,
            },
            "es": {"trainable": TRAINED, "sigma": 0.1, "learning_rate": 0.05},
        },
    )  # fmt: skip

    def __init__(
        self, environment: str = "CartPole-v1", steps: int = 200, hidden: int = 32, form: str = "static", clip: float = 1.0,
        eta: float = 0.01, scale: float = 0.01,
    ) -> None:  # fmt: skip
        counts(steps=steps)
        super().__init__(hidden, form, clip, eta, scale)
        self.id, self.steps = environment, steps

    @cached_property
    def _sizes(self) -> tuple[int, int]:
        """Numbers in an observation, and actions. Raises OptionError."""
        made = self.environment(1)
        space, actions = made.single_observation_space, made.single_action_space
        made.close()
        if not hasattr(actions, "n") or len(getattr(space, "shape", None) or ()) != 1:
            why = f"it shows {space} and takes {actions}; the task needs an observation of numbers and discrete actions"
            raise OptionError(f"environment '{self.id}': {why}")
        return int(space.shape[0]), int(actions.n)

    @property
    def observed(self) -> int:  # type: ignore[override]
        """Numbers of an observation."""
        return self._sizes[0]

    @property
    def actions(self) -> int:  # type: ignore[override]
        """How many actions there are to choose from."""
        return self._sizes[1]

    def environment(self, episodes: int) -> Any:
        """gymnasium's own copies, one after another in this process. Raises OptionError where there is none of that name."""
        try:
            import gymnasium
        except ImportError:
            raise OptionError("task 'control' needs gymnasium; install the extra: twinspike[control]") from None
        try:
            made = gymnasium.make_vec(self.id, num_envs=episodes, vectorization_mode="sync")
        except (gymnasium.error.Error, ImportError) as error:
            raise OptionError(f"environment '{self.id}': {error}") from None
        first = int(getattr(made.single_action_space, "start", 0))

        def shifted(actions: Any) -> Any:
            return actions + first

        return gymnasium.wrappers.vector.TransformAction(made, shifted) if first else made

    def perfect(self, batch: Any) -> Recording:
        """Nobody knows; the first action always."""
        y = np.zeros((*batch.mask.shape, self.channels))
        y[..., 0] = 20.0
        return Recording(1e-3, traces={f"{self.output}.y": y})
