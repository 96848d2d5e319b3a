"""What attacks are made of.

* ``sweep.py``: one attack over a grid of budgets, and the record of its verdicts.
* ``victim.py``: the network under attack: logits, gradients, averaging over random passes.
* ``ascent.py``, ``losses.py``, ``geometry.py``: gradient ascent in a ball, what it climbs, and the
  ball.
* ``straight_through*.py``, ``surrogate.py``: gradients for functions that have none.
* ``class_means.py``, ``poisoning.py``: a cheap surrogate network; attacks on support sets.
* ``network_state.py``, ``random_state.py``, ``memory_layout.py``: nothing is left changed, and
  speed.
"""
