"""Pure functions on arrays: statistics and biology."""
