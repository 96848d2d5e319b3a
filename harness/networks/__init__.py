"""Networks that were trained elsewhere: where they come from, their weights, outputs and parts."""
