from fnoise_mmdet.commands.output import show_progress, terminal


def test_names_are_shown_without_markup(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    terminal().print('a[/b] [bold]c :smile:')
    assert list(show_progress([1], 'd[/e]')) == [1]
    shown = capsys.readouterr().out
    assert 'a[/b] [bold]c :smile:' in shown and 'd[/e]' in shown
