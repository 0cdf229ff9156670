import math

import pytest

from fnoise_mmdet.comparison.numbers import duration, number, quantity


@pytest.mark.parametrize(
    'value, options, text',
    [
        (0.12345, {}, '0.123'),
        (-0.5, {}, '−0.500'),
        (0.5, dict(signed=True), '+0.500'),
        (1051.6, dict(decimals=0), '1052'),
        (None, {}, '–'),
        (math.nan, dict(signed=True), 'NaN'),
        (math.inf, {}, 'Inf'),
        (-math.inf, {}, '−Inf'),
    ],
)
def test_number(value, options, text):
    assert number(value, **options) == text


@pytest.mark.parametrize(
    'value, unit, text',
    [(265e-3, 's', '265 ms'), (2.12, 's', '2.12 s'), (3e-9, 's', '3 ns'), (0, 's', '0 ns'), (20.24e9, 'B', '20.2 GB')],
)
def test_quantity(value, unit, text):
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    'seconds, text', [(59.6, '1 min 00 s'), (7, '7 s'), (3600 * 5 + 61, '5 h 01 min'), (86400 * 2 + 3600, '2 d 1 h')]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
