import pytest

from fnoise_mmdet.engine.preflight import (
    check_all,
)
from fnoise_mmdet.errors import InputError


def test_a_check_that_fails_in_another_way_is_a_finding():
    def check():
        raise AttributeError('no get')

    with pytest.raises(InputError, match='the config cannot be checked: AttributeError: no get'):
        check_all([check])
