"""How a learner is measured: one file a protocol."""
