"""The rules' ``nn.Module`` classes. They import torch the ordinary way, so this package is reached from inside functions."""
