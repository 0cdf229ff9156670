import itertools

from fnoise_mmdet.studies.log_lines import LogLines


def test_a_line_every_half_minute(monkeypatch, capsys):
    seconds = itertools.count(step=10)
    monkeypatch.setattr('time.monotonic', lambda: next(seconds) // 2)  # two looks at the clock an item, so 10 s each
    lines = LogLines('images', 20)
    for _ in range(20):
        lines.advance(at='fog')
    lines.end()
    *between, last = capsys.readouterr().out.splitlines()
    assert 3 <= len(between) <= 5 and all(
        line.startswith('images: ') and line.endswith('left · fog') for line in between
    )
    assert last.startswith('images: 20 of 20 after ')


def test_a_known_remaining_time_is_shown(monkeypatch, capsys):
    monkeypatch.setattr('fnoise_mmdet.studies.log_lines.INTERVAL', 0)
    LogLines('images', 20).advance(at='fog', left=90)
    assert capsys.readouterr().out == 'images: 1 of 20, 1 min 30 s left · fog\n'


def test_nothing_is_printed_in_between_where_it_is_quick(capsys):
    lines = LogLines('images', 2)
    lines.advance(2)
    assert not capsys.readouterr().out
