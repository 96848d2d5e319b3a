"""The doctor: checks of an environment, one file for each part of it. Nothing is changed."""
