"""Settings for every test: one thread a worker (two workers share two cores), and property tests without a clock."""

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

# On a busy shared machine a time limit on an example says nothing; fixed examples keep a red run repeatable.
settings.register_profile(
    "difflm", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("difflm")
