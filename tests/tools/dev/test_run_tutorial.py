import pytest

nbformat = pytest.importorskip('nbformat')
pytest.importorskip('nbclient')
from run_tutorial import TUTORIAL  # noqa: E402


def test_the_kept_notebook_was_run_to_its_end():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum('image/png' in output.get('data', ()) for output in outputs) == 2
    assert TUTORIAL.stat().st_size < 1e6
