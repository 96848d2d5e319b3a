"""The suites that commands run on here."""

from __future__ import annotations

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 30}
"""
SWEPT = """
name: swept
learners: {pixels: {kind: nearest-mean}}
protocols:
  robust:
    kind: attack_sweep
    dataset: digits
    images: 100
    attacks:
      - {attack: fgsm, eps: [0.1], loss: [margin]}
      - {attack: pgd, label: lame, eps: [0.1], steps: 2, step_size: 0.05, random_start: false}
"""
