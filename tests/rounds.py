"""How much of what is made at random the tests try: POCKETFLOW_ROUNDS=20 tries twenty times as much."""

from __future__ import annotations

import os

ROUNDS = int(os.environ.get("POCKETFLOW_ROUNDS", "1"))
