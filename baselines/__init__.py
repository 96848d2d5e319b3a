"""The controls that rules are compared with: one file each, under the same Learner contract."""
