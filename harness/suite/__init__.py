"""A YAML file, read and checked: what a suite may say, and what it says."""
