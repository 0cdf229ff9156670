import re
import time
from pathlib import Path

import pytest

from fnoise_mmdet.engine.hooks import ProgressHook


@pytest.mark.parametrize('seconds, expected', [(0, {'1', '2', '3', '4'}), (60, {'4'})])
def test_progress_is_logged_if_nothing_has_been_logged_for_a_while(train, read_rows, seconds, expected):
    runner = train(
        'demo_baseline.py',
        log_level='INFO',
        custom_hooks=[dict(type='ProgressHook', seconds=seconds)],
        **{'default_hooks.logger.interval': 100},  # only the last iteration of the epoch
    )
    (log,) = Path(runner.log_dir).glob('*.log')
    assert set(re.findall(r'Epoch\(train\)\s+\[1\]\[(\d)/4\]', log.read_text())) == expected
    assert [row['step'] for row in read_rows(runner) if 'lr' in row] == [4]


def test_any_line_counts(monkeypatch):
    hook = ProgressHook()
    now = time.monotonic() + 31
    monkeypatch.setattr(time, 'monotonic', lambda: now)
    hook._last.emit(None)
    hook._after_iter(None, 0)  # would need a runner to log


def test_seconds_are_not_negative():
    with pytest.raises(ValueError, match='seconds must be >= 0, but got -1'):
        ProgressHook(-1)
