"""mmdet's own log analysis works on our logs, also on one whose validations found nothing."""

import subprocess
import sys
from pathlib import Path

import mmdet
import pytest

from fnoise_mmdet.comparison import read_run

TOOL = Path(mmdet.__file__).parent / '.mim/tools/analysis_tools/analyze_logs.py'
if 'seaborn' in TOOL.read_text():  # the original distribution
    pytest.importorskip('seaborn')
    STYLE = []
else:
    STYLE = ['--style', 'default']


def analyze(*arguments: object) -> str:
    result = subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def logs(runs):
    return [next(work_dir.glob('*/vis_data/scalars.json')) for work_dir in (runs.baseline, runs.fnoise)]


def test_the_second_run_found_nothing(runs):
    assert [row['coco/segm_mAP'] for row in read_run(runs.fnoise).val] == [0, 0]


@pytest.mark.parametrize('keys', [['loss'], ['loss_cls', 'loss_mask'], ['bbox_mAP', 'segm_mAP'], ['segm_mAP_s']])
def test_plot_curve(logs, keys, tmp_path):
    analyze('plot_curve', *logs, '--keys', *keys, *STYLE, '--out', tmp_path / 'a.png')
    assert (tmp_path / 'a.png').stat().st_size > 5000


def test_cal_train_time(logs):
    text = analyze('cal_train_time', *logs)
    assert text.count('average iter time') == 2 and 's/iter' in text


def test_the_curve_is_that_of_the_log(logs, tmp_path, monkeypatch):
    """The tool reads as many losses as iterations, and all validations."""
    script = (
        'import runpy, sys; tool = runpy.run_path(sys.argv[1]); '
        'log = tool["load_json_logs"](sys.argv[2:])[0]; '
        'print(sum(len(e["loss"]) for e in log.values()), sum(len(e["step"]) for e in log.values()), '
        '[v for e in log.values() for v in e["segm_mAP"]])'
    )
    for log in logs:
        result = subprocess.run([sys.executable, '-c', script, TOOL, log], capture_output=True, text=True)
        run = read_run(log)
        expected = f'8 8 {[row["coco/segm_mAP"] for row in run.val]}'
        assert result.stdout.strip().splitlines()[-1] == expected, result.stderr
