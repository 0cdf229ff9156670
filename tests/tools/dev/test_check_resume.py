import pytest

OPTIONS = ['train_dataloader.batch_size=4', 'train_cfg.max_epochs=2', 'default_hooks.logger.interval=1']
OFTEN = ['default_hooks.checkpoint.iter_interval=2', 'custom_hooks.1.interval=2']


@pytest.mark.fuzz
@pytest.mark.parametrize(
    'kill', [pytest.param('main', marks=pytest.mark.long), pytest.param('group', marks=pytest.mark.slow)]
)
def test_a_killed_training_loses_nothing(tool, shapes, tmp_path, kill, fuzz_size, fuzz_report):
    kills = fuzz_size(1, 20)
    result = tool(
        'dev/check_resume', 'configs/demo_fnoise.py', '--out', tmp_path / 'out', '--kills', kills, '--kill', kill,
        '--train-options', '--data-root', shapes, '--cfg-options', *OPTIONS, *OFTEN,
    )  # fmt: skip
    assert f'survived {kills} of {kills} kills: ' in result.stdout
    fuzz_report(f'{kills} kills of a training ({kill}), resumed at once: all end as the uninterrupted one does')


@pytest.mark.fuzz
@pytest.mark.slow
def test_a_killed_training_with_a_teacher_loses_nothing(tool, few_labels, tmp_path, fuzz_size, fuzz_report):
    data, unlabelled = few_labels
    kills = fuzz_size(1, 10)
    result = tool(
        'dev/check_resume', 'configs/demo_fnoise.py', '--out', tmp_path / 'out', '--kills', kills,
        '--train-options', '--data-root', data, '--semi', unlabelled, 'cls_pseudo_thr=0.0', '--cfg-options', *OPTIONS,
        *OFTEN, 'train_dataloader.batch_size=1',
    )  # fmt: skip
    assert f'survived {kills} of {kills} kills: ' in result.stdout
    fuzz_report(f'{kills} kills of a semi-supervised training, resumed at once: all end as the uninterrupted one does')


@pytest.mark.long
def test_a_training_that_loses_a_process_loses_nothing_else(tool, shapes, tmp_path):
    result = tool(
        'dev/check_resume', 'configs/demo_fnoise.py', '--out', tmp_path / 'out', '--kills', 2, '--processes', 2,
        '--train-options', '--data-root', shapes, '--cfg-options', *OPTIONS, *OFTEN,
    )  # fmt: skip
    assert 'survived 2 of 2 kills: 1 in iteration, 1 in saving' in result.stdout


def test_a_folder_that_is_there_is_left_alone(tool, tmp_path):
    result = tool('dev/check_resume', 'configs/demo_fnoise.py', '--out', tmp_path, status=2)
    assert 'already exists and is not changed' in result.stderr
