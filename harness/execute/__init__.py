"""Execution of cells: where they run, in which order, and how progress is shown."""
