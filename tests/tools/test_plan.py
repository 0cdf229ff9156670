import json

FULL = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'


def test_a_full_study_is_planned(tool, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- cost -->\n<!-- cost -->\nafter\n')
    result = tool('plan', FULL, '--out', tmp_path / 'plan.json')
    assert '87,960' in result.stdout and 'source: mmdet model zoo, training speed: https://' in result.stdout
    content = json.loads((tmp_path / 'plan.json').read_text())
    assert content['figures']['work']['trainings']['value'] == 25
    assert [plan['gpus'] for plan in content['plans']] == [1, 8, 8, 64, 64]
    tool('plan', FULL, '--into', page)
    before, tables, after = page.read_text().split('<!-- cost -->')
    assert (before, after) == ('before\n', '\nafter\n') and '| steps of a training | 87,960 | computed |' in tables


def test_a_time_of_ones_own(tool, shapes, tmp_path):
    tool('dev/benchmark', 'step', '--noises', 'cct', '--quick', '--data-root', shapes, '--out', tmp_path / 'step.json')
    options = ['--data-root', shapes, '--scale', 0, 0.3, '--num-seeds', 3, '--gpus', 2]
    measured = ['--benchmark', tmp_path / 'step.json']
    assert 'step.json: cct' in tool('plan', 'configs/demo_baseline.py', *options, *measured).stdout
    given = ['--step-seconds', 0.2, '--source', 'my notes']
    assert 'my notes' in tool('plan', 'configs/demo_baseline.py', *options, *given).stdout
    both = tool('plan', 'configs/demo_baseline.py', *measured, *given, status=2).stderr
    assert 'leave one of them out' in both


def test_wrong_input(tool, shapes):
    demo = 'configs/demo_baseline.py'
    assert 'no published time of a step fits' in tool('plan', demo, '--data-root', shapes, status=2).stderr
    assert '--step-seconds and --source go together' in tool('plan', demo, '--step-seconds', 1, status=2).stderr
    assert 'must be different numbers' in tool('plan', demo, '--scale', 0.1, 0.1, status=2).stderr
    assert 'must be above 0' in tool('plan', demo, '--step-seconds', 'nan', status=2).stderr
    assert 'config nowhere.py is not a file' in tool('plan', 'nowhere.py', status=2).stderr
