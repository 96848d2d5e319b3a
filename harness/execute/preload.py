"""What every worker needs, imported once: workers are forked from a process that has imported this."""

import torch  # noqa: F401 - imported for its effect

from harness import registry

for entries in (registry.learners, registry.datasets, registry.attacks, registry.protocols):
    list(entries)
