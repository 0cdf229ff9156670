"""Adds the parent folder, with the shared modules of the tools, to the module path."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
