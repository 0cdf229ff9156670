from fnoise_mmdet.commands.output import show_progress, terminal


def test_names_are_shown_without_markup(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    terminal().print('a[/b] [bold]c :smile:')
    assert list(show_progress([1], 'd[/e]')) == [1]
    shown = capsys.readouterr().out
    assert 'a[/b] [bold]c :smile:' in shown and 'd[/e]' in shown


def test_a_file_is_as_wide_as_tables_need(monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    assert terminal().width == 120
    monkeypatch.setenv('COLUMNS', '50')
    assert terminal().width == 50
