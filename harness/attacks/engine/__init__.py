"""What attacks are made of: the sweep over budgets, the network as an attack sees it, geometry and losses."""
