"""The controls: one file each, written against the same Learner contract as the rules."""
