"""The page on the API shows names under paths from which they can be imported."""

import pkgutil
import re

import pytest

import fnoise_mmdet


@pytest.fixture(scope='module')
def documented(root):
    return re.findall(r'^::: (\S+)$', (root / 'docs/api.md').read_text(encoding='utf-8'), flags=re.MULTILINE)


def test_every_documented_name_can_be_imported(documented):
    assert documented and len(set(documented)) == len(documented)
    for path in documented:
        assert callable(pkgutil.resolve_name(path)), path


def test_names_of_the_package_are_shown_as_such(documented):
    exported = {f'fnoise_mmdet.{name}' for name in fnoise_mmdet.__all__ if name != '__version__'}
    assert {path for path in documented if path.count('.') == 1} == exported
    for path in set(documented) - exported:
        assert path.rpartition('.')[2] not in fnoise_mmdet.__all__, path
