"""Corruptions with published names, by their published definitions: MNIST-C and CIFAR-10-C."""
