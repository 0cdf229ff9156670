"""Imported first by the developers' tools: those of users, and what these share, are a folder above."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
