"""Attacks on networks, one file each; the sweep engine (``engine``) and trust checks (``trust``).

To add an attack, copy ``fgsm.py`` (it uses gradients) or ``noise.py`` (it does not), and register
its class under a new name. ``base.py`` says what an attack can define, ``config.py`` which keys
attacks share.
"""
