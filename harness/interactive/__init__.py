"""The front door for Python: networks at hand, attacks on tensors, results as tables and frames."""
