"""Hook of mkdocs: show Sphinx's roles, which docstrings have, as links and formulas."""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

NAMES = 'class|func|meth|data|mod|attr|math'
ROLE = re.compile(rf':(?P<role>{NAMES}):\s*<code>(?P<text>.*?)</code>', re.DOTALL)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replace the roles of a page.

    Raises:
        PluginError: If one is left.
    """
    content = ROLE.sub(_shown, content)
    if left := re.search(rf':({NAMES}):.{{,40}}', content):
        raise PluginError(f'{page.url} shows a role as text: {left[0]}')
    return content


def _shown(match: re.Match[str]) -> str:
    text = html.unescape(match['text'])
    if match['role'] == 'math':  # as MathML, which browsers draw themselves
        return str(convert(text))
    path = text.lstrip('~.')
    name = path.rpartition('.')[2] if text.startswith('~') else path
    # A link where the page on the API has the name.
    return f'<autoref identifier="{html.escape(path)}" optional><code>{html.escape(name)}</code></autoref>'
