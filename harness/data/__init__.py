"""Datasets: one file each, plus acquisition, the cache and the episode sampler."""
