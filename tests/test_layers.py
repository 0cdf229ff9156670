"""Folders of the package import only folders of lower layers, so there are no import cycles."""

import ast
from pathlib import Path

import pytest

# From the ground up; those of a line do not know each other.
FLOORS = (
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
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
SLOW = ('torch', 'mmdet', 'mmengine', 'mmcv')
FREE_OF = {'choices': SLOW, 'cli': SLOW, 'datasets': SLOW, 'noise': SLOW[1:]}
PACKAGE = 'fnoise_mmdet'


def imports(file: Path, root: Path) -> set[str]:
    """The full names of all modules, and of what else, a file imports."""
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


def room(file: Path, root: Path) -> str:
    return file.relative_to(root / PACKAGE).with_suffix('').parts[0]


def test_every_folder_has_a_floor(root):
    rooms = {room(file, root) for file in (root / PACKAGE).rglob('*.py')}
    assert rooms == FLOOR.keys() | {'__init__'}


@pytest.mark.parametrize('name', sorted(FLOOR))
def test_nothing_is_imported_from_above(root, name):
    for file in (root / PACKAGE).rglob('*.py'):
        if room(file, root) != name:
            continue
        for found in imports(file, root):
            package, _, rest = found.partition('.')
            other = rest.split('.')[0]
            if package == PACKAGE and other != name:
                assert other in FLOOR, f'{file} imports {found}: name its folder'
                assert FLOOR[other] < FLOOR[name], f'{file} imports {found}'
            assert package not in FREE_OF.get(name, ()), f'{file} imports {found}'
