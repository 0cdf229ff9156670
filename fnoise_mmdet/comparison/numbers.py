"""Numbers as text: the one formatter of tables, reports and messages."""

import math

_UNITS = {
    's': ((1.0, 's'), (1e-3, 'ms'), (1e-6, 'µs'), (1e-9, 'ns')),
    'B': ((1e12, 'TB'), (1e9, 'GB'), (1e6, 'MB'), (1e3, 'kB')),
}


def number(value: float | None, decimals: int = 3, signed: bool = False) -> str:
    """Return a value with a fixed number of decimals: a dash for None, and NaN and Inf as such."""
    if value is None:
        return '–'
    if not math.isfinite(value):
        return 'NaN' if math.isnan(value) else 'Inf' if value > 0 else '−Inf'
    return f'{value:{"+" if signed else ""}.{decimals}f}'.replace('-', '−')


def quantity(value: float, unit: str) -> str:
    """Return a value in seconds (``'s'``) or bytes (``'B'``, decimal) with three digits and a prefix."""
    size, name = next((one for one in _UNITS[unit] if value >= one[0]), _UNITS[unit][-1])
    return f'{value / size:.3g} {name}'


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: seconds, minutes, hours, days."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f'{days} d {hours} h'
    return f'{hours} h {minutes:02} min' if hours else f'{minutes} min {seconds:02} s' if minutes else f'{seconds} s'
