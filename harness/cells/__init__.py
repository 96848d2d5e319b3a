"""A suite as cells of work, and the work as results."""
