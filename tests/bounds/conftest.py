"""Small random networks, and answers that do not come from the code under test."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(
    str(Path(__file__).parent)
)  # for ``oracles`` and ``small``, which importlib mode does not find by itself
