"""Run the notebook of the documentation, and save its outputs."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TUTORIAL = Path(__file__).resolve().parents[2] / 'docs' / 'tutorial.ipynb'
TIMEOUT = 1800  # seconds of a cell


def run_notebook(path: Path, folder: Path, environment: Mapping[str, str] = os.environ) -> nbformat.NotebookNode:
    """Return a notebook with its outputs, run in a folder.

    Args:
        path: The notebook.
        folder: Working directory of its cells.
        environment: Environment variables of its cells.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=TIMEOUT, resources={'metadata': {'path': str(folder)}}).execute(
        env=dict(environment)
    )
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)  # times, which differ at each run
        for output in cell.get('outputs', ()):
            if 'text' in output:
                output.text = output.text.replace(f'{folder.resolve()}/', '')
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--folder', type=Path, default=Path('work_dirs/tutorial'), help='where its files are written')
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(run_notebook(TUTORIAL, args.folder), TUTORIAL)
    print(f'wrote {TUTORIAL}')


if __name__ == '__main__':
    main()
