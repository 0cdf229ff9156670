import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile_images import LEFT_OUT, TOO_NARROW, WORKING

from fnoise_mmdet.datasets.images import output_stem, printable


def load(path):
    with np.load(path) as content:
        return dict(content)


def test_panels_and_arrays_of_a_checkpoint(tool, runs, shapes, tmp_path):
    folder = shutil.copytree(shapes / 'test', tmp_path / 'images')
    (folder / 'broken.png').write_bytes(b'not an image')
    single = shutil.copy(shapes / 'val/000001.png', tmp_path / 'single.png')
    out = tmp_path / 'out'
    result = tool(
        'show_noise', 'configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', folder, single, '--out', out,
        '--arrays', '--levels', '-1', '0', '--max-size', '900', '--device', 'cpu',
    )  # fmt: skip
    assert 'broken.png: it cannot be read as an image' in result.stdout
    assert result.stdout.splitlines()[-1] == f'wrote 3 images to {out}'
    names = ['000001.npz', '000001.png', '000002.npz', '000002.png', 'single.npz', 'single.png']
    assert sorted(path.name for path in out.iterdir()) == names
    assert max(cv2.imread(str(out / 'single.png')).shape) in (899, 900)
    shown = load(out / 'single.npz')
    assert sorted(shown) == ['clean_0', 'clean_3', 'image', 'perturbed_0', 'perturbed_3']
    image = cv2.resize(cv2.imread(str(single)), (128, 128), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(shown['image'], image[..., ::-1])
    alive = shown['clean_0'] > 0
    ratio = shown['perturbed_0'][alive] / shown['clean_0'][alive] - 1
    assert 0.15 < ratio.std() < 0.2 and np.abs(ratio).max() < 0.3 + 1e-4

    # Refused, and replaced only on demand; another seed is other noise on the same features.
    again = ['configs/demo_fnoise.py', runs.baseline / 'epoch_2.pth', single, '--out', out, '--seed', '1', '--arrays']
    assert 'already exists' in tool('show_noise', *again, status=2).stderr
    assert sorted(path.name for path in out.iterdir()) == names
    tool('show_noise', *again, '--force')
    other = load(out / 'single.npz')
    assert len(list(out.iterdir())) == 2
    np.testing.assert_array_equal(other['clean_0'], shown['clean_0'])
    assert not np.array_equal(other['perturbed_0'], shown['perturbed_0'])


def test_random_weights_are_those_of_the_seed(tool, shapes, tmp_path):
    found = []
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        tool(
            'show_noise', 'configs/demo_baseline.py', shapes / 'test/000001.png', '--out', tmp_path / name,
            '--arrays', '--seed', seed, '--source', 'neck', '--reduction', 'pca',
        )  # fmt: skip
        found.append(load(tmp_path / name / '000001.npz'))
    assert not [key for key in found[0] if key.startswith('perturbed')]
    np.testing.assert_array_equal(found[0]['clean_0'], found[1]['clean_0'])
    assert not np.array_equal(found[0]['clean_0'], found[2]['clean_0'])


def test_sweep_of_the_strength(tool, shapes, tmp_path):
    image = shapes / 'test/000001.png'
    for name, noise, values in (('cct', 'cct', ['0', '0.3', '1']), ('dropped', 'ChannelDropout', ['0.1', '0.5', '1'])):
        tool(
            'show_noise', 'configs/demo_baseline.py', '--fnoise', noise, '--out', tmp_path / name, '--sweep', *values,
            '--reduction', 'norm', '--', image,
        )  # fmt: skip
    one, other = (cv2.imread(str(tmp_path / name / '000001.png')) for name in ('cct', 'dropped'))
    assert one.shape == other.shape and not np.array_equal(one, other)


def test_density_shows_what_the_noise_is_proportional_to(tool, shapes, tmp_path):
    image = shapes / 'test/000001.png'
    for name, scale in (('preset', 0.3), ('own', 0.2)):
        options = ['--out', tmp_path / name, '--cfg-options', f'model.neck.noise.scale={scale}']
        tool('show_noise', 'configs/demo_fnoise.py', image, '--density', *options)
    preset, own = (cv2.imread(str(tmp_path / name / '000001.png')) for name in ('preset', 'own'))
    assert own.shape[0] < 0.9 * preset.shape[0]  # in the same width three noises, and that of the config
    error = tool('show_noise', 'configs/demo_baseline.py', image, '--density', '--out', tmp_path / 'x', status=2)
    assert 'the config has no noise: insert one with --fnoise' in error.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['configs/demo_fnoise.py', 'work/epoch_1.pth'], 'expected an image after checkpoint work/epoch_1.pth'),
        (['configs/demo_fnoise.py', 'work/epoch_1.pth', 'IMAGE'], 'checkpoint work/epoch_1.pth is not a file'),
        (['configs/demo_fnoise.py', 'nowhere.png'], 'is neither an image file nor a folder'),
        (['configs/demo_baseline.py', 'IMAGE', '--sweep', '0.1'], 'insert one with --fnoise'),
        (['configs/demo_fnoise.py', 'IMAGE', '--sweep', '-1'], 'scale must be >= 0 and finite, but got -1.0'),
        (['configs/demo_fnoise.py', 'IMAGE', '--levels', '4'], 'levels must be in [-4, 3] for 4 levels, but got 4'),
        (['configs/demo_fnoise.py', 'IMAGE', '--device', 'nonsense'], '--device nonsense cannot be used'),
        (
            ['configs/demo_fnoise.py', 'IMAGE', '--force', '--out', 'FOLDER'],
            'which this command reads, and cannot be replaced',
        ),
        (['mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py', 'IMAGE'], 'videos'),
    ],
)
def test_wrong_input(tool, shapes, tmp_path, arguments, message):
    places = dict(IMAGE=shapes / 'test/000001.png', FOLDER=shapes / 'test')
    out = [] if '--out' in arguments else ['--out', tmp_path / 'out']
    result = tool('show_noise', *(places.get(one, one) for one in arguments), *out, status=2)
    assert message in result.stderr and not list(tmp_path.iterdir())


def test_hostile_images_are_drawn_or_named(tool, hostile, tmp_path):
    result = tool('show_noise', 'configs/demo_fnoise.py', hostile, '--out', tmp_path / 'out', '--levels', -1)
    assert {path.stem for path in (tmp_path / 'out').iterdir()} == {output_stem(Path(name)) for name in WORKING}
    for name in {*LEFT_OUT, *TOO_NARROW}:
        assert f'skipped {printable(str(hostile / name))}: ' in result.stdout


def test_checkpoint_of_another_model_is_refused(tool, runs, shapes, tmp_path):
    result = tool(
        'show_noise', 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', runs.baseline / 'epoch_2.pth',
        shapes / 'test', '--out', tmp_path / 'out', status=2,
    )  # fmt: skip
    assert 'does not fit the config' in result.stderr and not (tmp_path / 'out').exists()
