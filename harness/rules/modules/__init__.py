"""The ``nn.Module`` classes of the rules; they import torch and must be imported lazily."""
