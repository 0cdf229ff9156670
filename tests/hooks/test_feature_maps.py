from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fnoise_mmdet import FeatureMapHook

EVERY_2 = dict(type='FeatureMapHook', interval=2, images=1, arrays=True)


def pictures(runner: Runner) -> list[str]:
    folder = Path(runner.log_dir) / 'vis_data' / 'vis_image'
    return sorted(path.name for path in folder.glob('*.png'))


def arrays(runner: Runner, name: str) -> dict[str, np.ndarray]:
    with np.load(Path(runner.log_dir) / 'vis_data' / f'{name}.npz') as content:
        return dict(content)


def test_pictures_in_training_validation_and_test(train, shapes):
    runner = train('demo_fnoise.py', custom_hooks=[EVERY_2], **{'val_dataloader.batch_size': 3})
    assert pictures(runner) == ['feature_maps_train_2.png', 'feature_maps_train_4.png', 'feature_maps_val_1_1.png']
    events = EventAccumulator(f'{runner.log_dir}/vis_data').Reload()
    assert {'feature_maps_train', 'feature_maps_val_1'} <= set(events.Tags()['images'])

    trained = arrays(runner, 'feature_maps_train_2')
    assert trained['image'].dtype == np.uint8 and trained['image'].shape == (128, 128, 3)
    for level, (channels, size) in enumerate([(64, 32), (128, 16), (256, 8), (512, 4)]):
        clean, perturbed = trained[f'clean_{level}'], trained[f'perturbed_{level}']
        assert clean.shape == perturbed.shape == (channels, size, size)
        # Uniform noise of up to 0.3 of each element: what that very pass has seen.
        alive = clean > 0
        ratio = perturbed[alive] / clean[alive] - 1
        assert 0.15 < ratio.std() < 0.2 and np.abs(ratio).max() < 0.3 + 1e-4
        np.testing.assert_array_equal(perturbed[~alive], 0)

    # In validation the noise is shown, not applied.
    shown = arrays(runner, 'feature_maps_val_1_1')
    assert not np.array_equal(shown['clean_0'], shown['perturbed_0'])
    file = shapes / 'val/000001.png'
    np.testing.assert_array_equal(
        shown['image'], cv2.resize(cv2.imread(str(file)), (128, 128), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    )


def test_a_picture_shows_what_the_model_computed(train):
    """The clean features of the panel are the backbone's, to the last bit."""
    runner = train('demo_fnoise.py', custom_hooks=[dict(type='FeatureMapHook', interval=99, images=1, arrays=True)])
    dataset = runner.val_dataloader.dataset
    model = runner.model.eval()
    batch = runner.val_dataloader.collate_fn([dataset[0]])
    with torch.no_grad():
        features = model.backbone(model.data_preprocessor(batch)['inputs'])
    shown = arrays(runner, 'feature_maps_val_1_1')
    for level, feature in enumerate(features):
        np.testing.assert_allclose(shown[f'clean_{level}'], feature[0].numpy(), rtol=1e-4, atol=1e-5)


def test_without_noise_only_clean_maps_are_drawn(train):
    runner = train('demo_baseline.py', custom_hooks=[EVERY_2])
    assert len(pictures(runner)) == 3
    assert not [name for name in arrays(runner, 'feature_maps_train_2') if name.startswith('perturbed')]


def test_chosen_images(train):
    hook = dict(type='FeatureMapHook', interval=99, images=[3, '000002.png'])
    runner = train('demo_fnoise.py', custom_hooks=[hook])
    assert pictures(runner) == ['feature_maps_val_2_1.png', 'feature_maps_val_3_1.png']


def test_pictures_change_nothing(train, read_rows):
    """Losses with a picture at every iteration are those without, and nothing stays attached."""
    losses = []
    for name, hooks in (('with', [dict(type='FeatureMapHook', interval=1)]), ('without', [])):
        runner = train('demo_fnoise.py', name, custom_hooks=hooks)
        losses.append([row['loss'] for row in read_rows(runner) if 'loss' in row])
        hooked = [m for m in runner.model.modules() if m._forward_pre_hooks or m._forward_hooks]
        assert not hooked
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_post_noise_is_shown_on_the_outputs(train):
    runner = train('demo_fnoise.py', custom_hooks=[EVERY_2], **{'model.neck.position': 'post'})
    shown = arrays(runner, 'feature_maps_train_2')
    assert shown['clean_4'].shape == shown['perturbed_4'].shape == (64, 2, 2)
    assert not np.array_equal(shown['clean_4'], shown['perturbed_4'])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(interval=0), 'interval must be >= 1, but got 0'),
        (dict(images=-1), 'images must be >= 0, but got -1'),
        (dict(reduction='median'), 'reduction must be one of'),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FeatureMapHook(**settings)
