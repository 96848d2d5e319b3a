"""The rules' ``nn.Module`` classes. They import torch the ordinary way and are reached from inside functions."""
