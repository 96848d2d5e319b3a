"""A benchmark and robustness harness for brain-inspired learning rules."""
