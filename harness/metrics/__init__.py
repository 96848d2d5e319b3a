"""Metrics: pure functions on arrays, for statistics and biology."""
