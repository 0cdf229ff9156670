import pytest

nbformat = pytest.importorskip('nbformat')
pytest.importorskip('nbclient')
from run_tutorial import TUTORIAL, run_notebook  # noqa: E402


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get('outputs', ())]


def test_the_kept_notebook_was_run_to_its_end():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum('image/png' in output.get('data', ()) for output in outputs(notebook)) == 2
    assert TUTORIAL.stat().st_size < 1e6


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = run_notebook(TUTORIAL, tmp_path)
    assert (tmp_path / 'work_dirs/tutorial/report/report.html').is_file()
    text = ''.join(output.get('text', '') for output in outputs(notebook))
    assert 'in evaluation the very same tensor comes back' in text and 'report.html' in text
