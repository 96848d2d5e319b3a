"""Tests here share ``forge``, which importlib mode does not find by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
