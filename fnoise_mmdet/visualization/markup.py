"""Names that users give, in places where some characters have a meaning."""

import os
import re

import matplotlib

# A decorator for what draws text: matplotlib would typeset what stands between dollar signs, or fail to.
without_mathtext = matplotlib.rc_context({'text.parse_math': False})


def replace_undecodable(name: str) -> str:
    """Return a name in characters that can be written: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode('utf-8', 'replace')


def legend_label(name: str) -> str:
    """Return a name for a legend of matplotlib, which leaves out what begins with an underscore."""
    return f' {name}' if name.startswith('_') else name


def escape_markdown(text: str) -> str:
    """Return Markdown that shows a text as it is, on one line, in a table or elsewhere."""
    return re.sub(r'[\\`*\[\]<>|$]|(?<!\w)_|_(?!\w)', r'\\\g<0>', ' '.join(text.split()))
