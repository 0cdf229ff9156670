from argparse import Namespace

import pytest

from fnoise_mmdet.commands.compare import latest_panels, one_study, regimes
from fnoise_mmdet.comparison import Run


def test_latest_panels_by_step_without_other_files(tmp_path):
    folder = tmp_path / '20260101_000000/vis_data/vis_image'
    folder.mkdir(parents=True)
    for name in ('feature_maps_val_9', 'feature_maps_val_10', 'feature_maps_val_x', 'feature_maps_'):
        (folder / f'{name}.png').touch()
    found = latest_panels(Run('run', [], [], [], tmp_path))
    assert found == dict(feature_maps_val=folder / 'feature_maps_val_10.png')


CURVE = ['64=supervised', '128=labels_128']
PRIMARY = ['cct_0.3', 'no_flip']
SHIFTED = [f'segm_mAP/{what}' for what in ('mPC', 'noise', 'domains', 'deployment', 'deployment_kept')]


def written(root, mark):
    """Return what docs/study/study.mk has put into the page of the study."""
    page = (root / 'docs/study/README.md').read_text(encoding='utf-8')
    return page.split(f'<!-- {mark} -->')[1].strip()


def saved(root, study):
    return sorted((root / 'docs/study' / study).glob('seeds_*.json'))


@pytest.mark.parametrize(
    ('study', 'options'),
    [
        ('embedded', {}),
        ('labels/640', dict(conditions=['cct_0.3'], measures=SHIFTED)),
        ('photos', {}),
        ('semi/trained', dict(curve=CURVE)),
        ('semi/frozen', dict(curve=CURVE)),
        ('semi/photos', {}),
    ],
)
def test_page_has_the_tables_of_the_saved_files(root, study, options):
    nothing = dict(conditions=[], measures=[], curve=[], figure=None, deployment_figure=None)
    expected, _ = one_study(Namespace(runs=saved(root, study), **(nothing | options)))
    assert written(root, study.replace('/', '_')) == expected


def test_page_has_the_table_of_the_saved_label_counts(root):
    listed = [f'{n}={",".join(map(str, saved(root, f"labels/{n}")))}' for n in (40, 80, 160, 640)]
    args = Namespace(regime=listed, label_counts=True, measures=['coco/segm_mAP'], conditions=PRIMARY, figure=None)
    expected, _ = regimes(args)
    assert written(root, 'labels') == expected
