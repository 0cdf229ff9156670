"""What the dry run accepts can be loaded and evaluated, with an AP of 1 for perfect detections."""

import multiprocessing
import shutil
from collections import Counter

import pytest
from mutated_annotations import try_files

CHUNK = 500  # files per process


def work(results, *arguments):
    """Send what `try_files` finds."""
    try:
        results.put(try_files(*arguments))
    except RuntimeError as error:
        results.put(str(error))


def try_in_a_process(*arguments):
    """Try files in a process of their own, as a fault in compiled code ends it."""
    context = multiprocessing.get_context('spawn')  # a forked one waits for ever for threads of OpenMP it has not got
    current, results = context.Value('i', -1), context.SimpleQueue()
    process = context.Process(target=work, args=(results, *arguments, current))
    process.start()
    process.join()
    assert process.exitcode == 0, f'file {current.value} ended the process with status {process.exitcode}'
    found = results.get()
    assert not isinstance(found, str), found
    return found


@pytest.mark.fuzz
def test_what_the_checks_accept_is_loaded_and_evaluated(root, shapes, tmp_path, fuzz_size, fuzz_report):
    data = shutil.copytree(shapes, tmp_path / 'data')
    shutil.rmtree(data / 'val')
    (data / 'val').symlink_to('train')
    files = fuzz_size(60, 2600)
    outcomes = Counter()
    for first in range(0, files, CHUNK):
        outcomes += try_in_a_process(data, str(root / 'configs/demo_baseline.py'), first, min(first + CHUNK, files))
    fuzz_report(
        f'{files:,} mutated annotation files: {outcomes["refused"]:,} refused by the dry run, '
        f'{outcomes["evaluated"]:,} accepted, and all of these loaded for training and validation and evaluated'
    )
    assert outcomes.total() == files and min(outcomes.values()) > files / 5
