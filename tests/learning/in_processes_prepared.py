"""What the fork server of tests/learning/test_processes.py does before it forks: all that a process would do for the first time."""

import torch

from neuro import learning
from tests.learning.in_processes import CASES, options, prepared
from tests.learning.shared_batches import curve

torch.set_num_threads(1)
for rule, backend in CASES:
    task, program = prepared(rule, backend)
    curve(learning.get(rule, **options(rule)), program, task, 1)
