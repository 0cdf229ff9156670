"""Subpackages import only from lower layers, so there are no import cycles."""

import ast
from pathlib import Path

import pytest

# From bottom to top; subpackages of one layer do not import each other.
LAYERS = (
    {'choices', 'errors', 'registration', 'version'},
    {'cli'},
    {'noise', 'datasets'},
    {'models', 'config'},
    {'visualization'},
    {'engine', 'comparison'},
    {'evaluation', 'studies'},
    {'commands'},
    {'__main__'},
)
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}
SLOW = ('torch', 'mmdet', 'mmengine', 'mmcv')
FREE_OF = {'choices': SLOW, 'cli': SLOW, 'datasets': SLOW, 'noise': SLOW[1:]}
PACKAGE = 'fnoise_mmdet'


def imports(file: Path, root: Path) -> set[str]:
    """Return the full names of the modules, classes and functions that a file imports."""
    found = set()
    folder = [*file.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            found |= {f'{module}.{alias.name}' for alias in node.names}
    return found


def subpackage(file: Path, root: Path) -> str:
    return file.relative_to(root / PACKAGE).with_suffix('').parts[0]


def test_every_subpackage_has_a_layer(root):
    subpackages = {subpackage(file, root) for file in (root / PACKAGE).rglob('*.py')}
    assert subpackages == LAYER.keys() | {'__init__'}


@pytest.mark.parametrize('name', sorted(LAYER))
def test_nothing_is_imported_from_above(root, name):
    for file in (root / PACKAGE).rglob('*.py'):
        if subpackage(file, root) != name:
            continue
        for found in imports(file, root):
            package, _, rest = found.partition('.')
            other = rest.split('.')[0]
            if package == PACKAGE and other != name:
                assert other in LAYER, f'{file} imports {found}: name its folder'
                assert LAYER[other] < LAYER[name], f'{file} imports {found}'
            assert package not in FREE_OF.get(name, ()), f'{file} imports {found}'
