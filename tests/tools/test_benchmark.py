import json


def results(path, command):
    content = json.loads(path.read_text())
    assert content['command'] == command and content['settings']['rounds'] == 3 and content['environment']['torch']
    for timing in content['results'].values():
        for one in [timing] if 'median' in timing else timing.values():
            assert 0 < one['low'] <= one['median'] <= one['high'] and one['rounds'] == 3
    return content['results']


def test_noise(tool, tmp_path):
    result = tool('benchmark', 'noise', '--quick', '--size', 64, 64, '--out', tmp_path / 'noise.json')
    found = results(tmp_path / 'noise.json', 'noise')
    assert found['copy, x * 1.0']['ratio'] == 1 and 'MixStyle' in found and 'DSU' in result.stdout
    kept = {name: timing['kept_bytes'] for name, timing in found.items()}
    assert [kept[name] for name in ('cct', 'uniform_20', 'l2', 'mean_normal')] == [0] * 4
    elements = sum(channels * (64 // stride) ** 2 for channels, stride in zip((256, 512, 1024, 2048), (4, 8, 16, 32)))
    assert kept["cct, as in the paper's code"] == 4 * elements  # the noise, one for both images
    assert kept['torch.nn.functional.dropout'] == 2 * 4 * elements


def test_sizes(tool, tmp_path):
    tool('benchmark', 'sizes', '--quick', '--out', tmp_path / 'sizes.json')
    assert [round(int(size) / 1e6, 1) for size in results(tmp_path / 'sizes.json', 'sizes')] == [0.1, 1.0, 10.0]


def test_step(tool, shapes, tmp_path):
    options = ['--noises', 'cct', 'DSU', '--quick', '--data-root', shapes, '--out', tmp_path / 'step.json']
    assert 'a training step of configs/demo_baseline.py' in tool('benchmark', 'step', *options).stdout
    assert list(results(tmp_path / 'step.json', 'step')) == ['without noise', 'cct', 'DSU']


def test_evaluation_runs_the_same_operations(tool, shapes, tmp_path):
    result = tool('benchmark', 'eval', '--quick', '--data-root', shapes, '--out', tmp_path / 'eval.json')
    assert 'difference: none' in result.stdout
    plain, noisy = results(tmp_path / 'eval.json', 'eval').values()
    assert plain['operations'] == noisy['operations'] > 100


def test_wrong_input(tool, tmp_path):
    assert '--device nowhere cannot be used' in tool('benchmark', 'noise', '--device', 'nowhere', status=2).stderr
    assert 'config nowhere.py is not a file' in tool('benchmark', 'step', 'nowhere.py', status=2).stderr
    assert 'must be >= 2, but got 1' in tool('benchmark', 'noise', '--rounds', 1, status=2).stderr
