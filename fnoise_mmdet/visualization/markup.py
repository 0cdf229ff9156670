"""Escaping of user-provided names in matplotlib and Markdown."""

import os
import re

import matplotlib

# Decorator for functions that draw text: disables matplotlib's mathtext between dollar signs.
without_mathtext = matplotlib.rc_context({'text.parse_math': False})


def replace_undecodable(name: str) -> str:
    """Return a name as valid UTF-8: other bytes become U+FFFD."""
    return os.fsencode(name).decode('utf-8', 'replace')


def legend_label(name: str) -> str:
    """Return a name for a legend of matplotlib, which skips labels that start with an underscore."""
    return f' {name}' if name.startswith('_') else name


def escape_markdown(text: str) -> str:
    """Escape a text for Markdown, on one line, also in tables."""
    return re.sub(r'[\\`*\[\]<>|$]|(?<!\w)_|_(?!\w)', r'\\\g<0>', ' '.join(text.split()))
