"""Results in the formats of others: one file for each format.

Every number comes from ``harness.report.averages``, so it is the one that tables show, with its
interval and its n. What is not known is left out.
"""
