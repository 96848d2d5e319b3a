"""Attacks, the sweep engine and the trust checks."""
