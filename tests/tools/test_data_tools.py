import json
import signal
import subprocess
import sys
import time

from fnoise_mmdet.engine.resume import locked


def test_make_shapes(tool, tmp_path):
    counts = ['--num-train', 2, '--num-val', 1, '--num-test', 1, '--size', 64]
    result = tool('make_shapes', '--out', tmp_path / 'shapes', *counts)
    assert 'wrote 2 train, 1 val and 1 test images' in result.stdout
    assert len(list((tmp_path / 'shapes').rglob('*.png'))) == 4
    assert 'already exists' in tool('make_shapes', '--out', tmp_path / 'shapes', *counts, status=2).stderr
    assert 'must be >= 1, but got 0' in tool('make_shapes', '--num-train', 0, status=2).stderr


def test_coco_sample(tool, shapes, tmp_path):
    counts = ['--num-train', 3, '--num-val', 2, '--num-test', 1, '--seed', 4]
    result = tool('coco_sample', '--from', shapes, '--out', tmp_path / 'sample', *counts)
    assert 'wrote 3 train, 2 val and 1 test images' in result.stdout
    saved = json.loads((tmp_path / 'sample/sample.json').read_text())
    assert saved['seed'] == 4 and [len(saved['ids'][part]) for part in ('train', 'val', 'test')] == [3, 2, 1]
    again = tool('coco_sample', '--from', shapes, '--out', tmp_path / 'again', '--ids', tmp_path / 'sample/sample.json')
    assert 'wrote 3 train, 2 val and 1 test images' in again.stdout
    assert json.loads((tmp_path / 'again/sample.json').read_text())['ids'] == saved['ids']
    missing = tool('coco_sample', '--from', tmp_path / 'nowhere', '--out', tmp_path / 'other', status=2)
    assert 'nowhere is not a folder' in missing.stderr and not (tmp_path / 'other').exists()


def test_folds(tool, shapes, tmp_path):
    fold = [
        'coco_sample',
        '--from',
        shapes,
        '--split',
        'train',
        '--out',
        tmp_path / 'fold',
        '--supercategories',
        '--fold',
    ]
    assert 'wrote 12 train, 4 val and 0 test images' in tool(*fold, '0/4').stdout
    coco = json.loads((tmp_path / 'fold/annotations/instances_val.json').read_text())
    assert [category['name'] for category in coco['categories']] == ['shape']
    for wrong in ('4/4', '1', 'a/b', '0/1'):
        assert f"'{wrong}' is not K/N with N >= 2 folds and K from 0 to N - 1" in tool(*fold, wrong, status=2).stderr
    assert '--fold and --ids exclude each other' in tool(*fold, '0/4', '--ids', 'x.json', status=2).stderr


def test_coco_sample_by_download(tool, mirror, tmp_path):
    command = ['coco_sample', '--download', '--split', 'val', '--url', mirror.url, '--out', 'sample', '--retries', 0]
    counts = ['--num-train', 2, '--num-val', 1, '--num-test', 1]
    mirror.faults['/val2017/000002.png'] = [404]
    failed = tool(*command, *counts, status=2, cwd=tmp_path)
    assert f'{mirror.url}/val2017/000002.png cannot be fetched: status 404' in failed.stderr
    assert not (tmp_path / 'sample').exists()
    with locked(tmp_path / '.sample.download'):  # by another download to the same folder
        refused = tool(*command, *counts, status=2, cwd=tmp_path)
    assert 'another process is using' in refused.stderr and not (tmp_path / 'sample').exists()
    assert ' of 2 after ' in tool(*command, *counts, cwd=tmp_path).stdout
    assert json.loads((tmp_path / 'sample/sample.json').read_text())['seed'] == 0
    assert {path.name for path in tmp_path.iterdir()} == {'sample', 'mirror'}  # what was fetched is in the sample now
    assert mirror.answers['/val2017/000001.png'] == 1
    missing = tool(*command[:-4], '--year', 2014, '--out', 'none', *counts, status=2, cwd=tmp_path)
    assert 'status 404' in missing.stderr and not (tmp_path / '.none.download').exists()
    tool(*command[:-4], '--out', 'other', '--cache', 'kept', *counts, cwd=tmp_path)
    assert (tmp_path / 'kept/val2017/000001.png').is_file()


def test_an_interrupted_download_ends_at_once(mirror, root, tmp_path):
    mirror.faults['*'] = [None] * 3 + ['hang'] * 20
    command = [sys.executable, root / 'tools/coco_sample.py', '--download', '--url', mirror.url, '--out', 'sample']
    counts = ['--split', 'val', '--num-train', '2', '--num-val', '1', '--num-test', '1']
    process = subprocess.Popen(
        [*command, *counts],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell in the background has it ignored
    )
    while sum(mirror.answers.values()) < 5:  # all connections wait for an answer
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130 and b'Traceback' not in errors
    assert {path.name for path in tmp_path.iterdir()} == {'.sample.download', 'mirror'}


def test_split_into_labelled_and_unlabelled(tool, shapes, tmp_path):
    ann_file = shapes / 'annotations/instances_train.json'
    said = tool('split_coco', ann_file, '--percent', 25, 50, '--fold', 1, 2, '--out', tmp_path / 'split').stdout
    assert said.count('wrote ') == 8 == len(list((tmp_path / 'split').iterdir()))
    assert len(json.loads((tmp_path / 'split/instances_train.2@50.json').read_text())['images']) == 8
    refused = tool('split_coco', ann_file, '--percent', 100, '--out', tmp_path / 'other', status=2)
    assert 'argument --percent: must be above 0 and below 100' in refused.stderr
    assert '17 labelled images were requested' in tool('split_coco', ann_file, '--number', 17, status=2).stderr
