"""Proven bounds: what no attack within a budget can break, beside what attacks did break.

An attack gives an upper bound on robust accuracy, a proof a lower one. ``prove`` gives the proof
for one network, one norm and one budget. All files except this one import torch.

| file | what it answers |
| :--- | :--- |
| ``prove.py`` | the entry: which method applies, and the tightest bound |
| ``trace.py`` | from a module to a graph of operations; the rules for each function of ATen are in
  ``rules.py``, ``arithmetic.py`` and ``recorder.py`` |
| ``graph.py`` | the graph; its operations are in ``affine.py``, ``relaxed.py``, ``quotient.py`` and
  ``shaped.py`` |
| ``box.py``, ``domain.py`` | intervals, and the set of images within a budget |
| ``crown.py`` | interval bounds and CROWN |
| ``competitive.py`` | codes by softmax of a normalised image, with ``codes.py``, ``reach.py`` |
| ``normalised.py`` | networks that first divide the image by its length |
| ``prototypes.py`` | nearest prototypes |
| ``outputs.py`` | networks that give probabilities, or their logarithms |
| ``rounding.py`` | how far float32 can be from the exact network |
| ``smoothing.py`` | randomised smoothing, which certifies another classifier |
"""
