"""How cells are run."""
