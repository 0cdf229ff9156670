import pytest

FULL = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'


def test_plan_of_a_full_study(tool, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- cost -->\n<!-- cost -->\nafter\n')
    result = tool('plan', FULL)
    assert '703,596' in result.stdout and '55 d 23 h' in result.stdout
    tool('plan', FULL, '--into', page)
    before, tables, after = page.read_text().split('<!-- cost -->')
    assert (before, after) == ('before\n', '\nafter\n') and '| steps per training | 703,596 |' in tables


@pytest.mark.slow
def test_time_of_a_step(tool, shapes, tmp_path):
    tool('dev/benchmark', 'step', '--noises', 'cct', '--quick', '--data-root', shapes, '--out', tmp_path / 'step.json')
    options = ['--data-root', shapes, '--scale', 0, 0.3, '--num-seeds', 3, '--gpus', 2]
    measured = tool('plan', 'configs/demo_baseline.py', *options, '--benchmark', tmp_path / 'step.json').stdout
    assert 'step.json: cct' in ' '.join(measured.split())
    given = tool('plan', 'configs/demo_baseline.py', *options, '--step-seconds', 0.2).stdout
    assert '200 ms  --step-seconds' in given and ' s' in given.splitlines()[-2], 'a small study takes seconds'


def test_wrong_input(tool, shapes):
    demo = 'configs/demo_baseline.py'
    assert 'no published time of a step fits' in tool('plan', demo, '--data-root', shapes, status=2).stderr
    assert 'not allowed with argument' in tool('plan', demo, '--step-seconds', 1, '--benchmark', 'a', status=2).stderr
    assert 'must be different numbers' in tool('plan', demo, '--scale', 0.1, 0.1, status=2).stderr
    assert 'must be > 0' in tool('plan', demo, '--step-seconds', 'nan', status=2).stderr
    assert 'config nowhere.py is not a file' in tool('plan', 'nowhere.py', status=2).stderr
