"""The biologically grounded learning rules: the subject of the benchmark."""
