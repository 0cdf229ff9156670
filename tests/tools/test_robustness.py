import json
import re
import shutil
from pathlib import Path

import pytest

from fnoise_mmdet.comparison.robustness import read_robustness

NO_WORKERS = ['--cfg-options', 'val_dataloader.num_workers=0', 'test_dataloader.num_workers=0']
FEW = ['--corruptions', 'pixelate', 'fog', '--severities', 1, 4, '--noise-scales', 0.5, *NO_WORKERS]


@pytest.fixture(scope='module')
def study(runs, tmp_path_factory) -> Path:
    """Work dirs as a paired study has them."""
    folder = tmp_path_factory.mktemp('study')
    for condition in ('baseline', 'fnoise'):
        shutil.copytree(getattr(runs, condition), folder / condition / 'seed_0')
    return folder


@pytest.fixture(scope='module')
def evaluated(tool, study):
    """The study after a call, and what it printed."""
    before = {path for path in study.rglob('*') if 'robustness' not in path.parts}
    output = tool('robustness', study, *FEW).stdout
    assert ' images in all; fewer with --severities 3, --corruptions NAMES or --images N' in output
    assert re.search(
        r'^about \d.* in all, estimated from one batch per kind of evaluation$', output, flags=re.MULTILINE
    )
    assert {path for path in study.rglob('*') if 'robustness' not in path.relative_to(study).parts} == before
    return study, output


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = sorted(path for path in (folder / 'robustness').rglob('*') if path.is_file())
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_evaluates_every_run_of_a_folder(evaluated):
    study, output = evaluated
    run = study / 'baseline/seed_0'
    content = json.loads((run / 'robustness/robustness.json').read_text())
    labels = ['clean', 'fog_1', 'fog_4', 'pixelate_1', 'pixelate_4', 'feature_noise_cct_0.5']
    assert [result['predictions'] for result in content['results']] == labels
    assert content['images'] == 4 and Path(content['ann_file']).is_file()
    for kind in ('bbox', 'segm'):
        names = sorted(path.name for path in (run / 'robustness/predictions').glob(f'*.{kind}.json'))
        assert names == sorted(f'{label}.{kind}.json' for label in labels)
    assert 'loading annotations' not in output and 'Average Precision' not in output
    for text in (str(run), str(study / 'fnoise/seed_0'), 'over 2 of 15 corruptions (fog, pixelate) at severities 1, 4'):
        assert text in output
    assert re.search(r'fog +0\.\d{3} +0\.\d{3} +0\.\d{3}', output)
    assert 'rPC undefined, because the AP on clean images is 0' in output, 'the F-Noise run finds nothing'
    for metric in ('segm_mAP', 'bbox_mAP'):
        robustness = read_robustness(run)
        assert f'mPC {robustness.mpc(metric):.3f}' in output


def test_clean_ap_is_that_of_the_validation(evaluated):
    run = evaluated[0] / 'baseline/seed_0'
    rows = [json.loads(line) for line in next(run.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    logged = [row['coco/bbox_mAP'] for row in rows if 'coco/bbox_mAP' in row]
    assert read_robustness(run).clean('bbox_mAP') == logged[-1]


def test_resumes(tool, evaluated, tmp_path):
    run = shutil.copytree(evaluated[0] / 'baseline/seed_0', tmp_path / 'run')
    whole = files(run)
    path = run / 'robustness/robustness.json'
    content = json.loads(path.read_text())
    content['results'] = content['results'][:3]
    path.write_text(json.dumps(content))
    (run / 'robustness/predictions/pixelate_1.bbox.json').write_text('[{"torn')
    output = tool('robustness', run, *FEW).stdout
    again = files(run)
    for name, (text, written) in whole.items():
        if name != 'robustness.json':
            assert again[name][0] == text, 'the same to the last bit'
            kept = name.startswith(('clean', 'fog'))
            assert (again[name][1] == written) is kept, name
    assert json.loads(path.read_text())['results'] == json.loads(whole['robustness.json'][0])['results']
    assert '3 evaluations, 12 images in all; ' in output and 'images: 12 of 12 after ' in output

    finished = files(run)
    output = tool('robustness', run, *FEW).stdout
    assert files(run) == finished and 'mPC' in output


def test_checkpoint_without_a_work_dir_gives_the_same(tool, evaluated, shapes, tmp_path):
    run = evaluated[0] / 'baseline/seed_0'
    tool(
        'robustness', '--config', 'configs/demo_fnoise.py', '--checkpoint', run / 'epoch_2.pth', '--out',
        tmp_path / 'out', '--data-root', shapes, '--corruptions', 'fog', '--severities', 4, '--noise-scales', 0.5,
        *NO_WORKERS,
    )  # fmt: skip
    for label in ('clean', 'fog_4', 'feature_noise_cct_0.5'):
        name = f'robustness/predictions/{label}.bbox.json'
        assert (tmp_path / 'out' / name).read_text() == (run / name).read_text()
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['robustness']


def test_other_domains(tool, runs, shapes, tmp_path):
    run = shutil.copytree(runs.baseline, tmp_path / 'run')
    options = '--corruptions', 'none', '--noise-scales', '--domain', f'same={shapes / "val"}', *NO_WORKERS
    output = tool('robustness', run, *options).stdout
    assert 'AP in other domains' in output
    found = read_robustness(run)
    assert found.by_domain('bbox_mAP') == {'same': found.clean('bbox_mAP')}

    other = shutil.copytree(shapes / 'val', tmp_path / 'other')
    options = *options[:4], f'other={other}', *NO_WORKERS
    assert '1 evaluations' in tool('robustness', run, *options).stdout
    assert 'evaluations,' not in tool('robustness', run, *options).stdout
    shutil.copy(other / '000001.png', other / '000002.png')
    assert '1 evaluations' in tool('robustness', run, *options).stdout, 'as the images have changed'


@pytest.mark.parametrize(
    ('domains', 'message'),
    [
        (['night'], '--domain night is not of the form NAME=FOLDER'),
        (['a/b=configs'], '--domain a/b=configs is not of the form NAME=FOLDER'),
        (['night=nowhere'], '--domain night: nowhere is not a folder'),
        (['night=configs', 'night=tools'], '--domain: two domains are called night'),
    ],
)
def test_wrong_domains(tool, domains, message):
    assert message in tool('robustness', 'run', '--domain', *domains, status=2).stderr


def test_test_part_and_first_images_and_no_corruption(tool, runs, tmp_path):
    run = shutil.copytree(runs.baseline, tmp_path / 'run')
    output = tool(
        'robustness', run, '--part', 'test', '--images', 1, '--corruptions', 'none', '--noise-scales', 0.1, 1,
        '--noise-preset', 'l2', *NO_WORKERS,
    ).stdout  # fmt: skip
    assert 'mPC' not in output and '1 images' in output and 'feature noise l2' in output
    assert list(read_robustness(run).by_scale('bbox_mAP', 'l2')) == [0, 0.1, 1]


def test_features_as_on_hardware(tool, runs, tmp_path):
    run = shutil.copytree(runs.baseline, tmp_path / 'run')
    command = 'robustness', run, '--images', 2, '--corruptions', 'none', '--deployment', *NO_WORKERS
    output = tool(*command, '--noise-scales').stdout
    table = output[output.index('AP with features as on hardware') :]
    found = read_robustness(run).against_snr('bbox_mAP')
    assert len(found) == 18 and all(f' {name}  ' in table for name in (*found, 'clean'))
    assert [ratio for ratio, _ in found.values()] == sorted((ratio for ratio, _ in found.values()), reverse=True)
    assert found['int8_channel'][0] > found['int8'][0] > found['int6'][0] > found['int4'][0]
    assert found['e4m3'][0] > found['e5m2'][0] > found['power_of_two'][0]
    refused = tool(*command, '--noise-preset', 'mean_normal', status=2)
    assert 'perturbs every level before the neck' in refused.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{run}', '--corruptions', 'gausian_noise'], 'did you mean gaussian_noise'),
        (['{run}', '--severities', '6'], 'invalid choice: 6'),
        (['{run}', '--noise-scales', '-0.1'], 'must be >= 0 and finite, but got -0.1'),
        (['{run}', '--config', 'configs/demo_fnoise.py'], 'pass either RUN, or all of'),
        ([], 'pass either RUN, or all of'),
        (['{tmp}'], 'have no last_checkpoint'),
        (['{tmp}/nowhere'], 'is not a folder'),
        (['{run}', '--data-root', '{tmp}'], 'has no val annotations'),
        (['{run}', '{two}'], 'must hold exactly one config, but holds demo_baseline.py, other.py'),
        (['{run}', '{gone}'], 'epoch_2.pth of .*last_checkpoint not found'),
    ],
)
def test_wrong_input(tool, runs, tmp_path, arguments, message):
    run = shutil.copytree(runs.baseline, tmp_path / 'a/run')
    two, gone = (shutil.copytree(run, tmp_path / 'b' / name) for name in ('two', 'gone'))
    (two / 'other.py').touch()
    (gone / 'epoch_2.pth').unlink()
    (gone / 'last_checkpoint').write_text('/nowhere/epoch_2.pth')
    (tmp_path / 'empty').mkdir()
    places = dict(run=run, two=two, gone=gone, tmp=tmp_path / 'empty')
    result = tool('robustness', *(text.format(**places) for text in arguments), status=2)
    assert re.search(message, result.stderr.replace('\n', ' '))
    assert not list(tmp_path.rglob('robustness'))
