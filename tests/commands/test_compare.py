from argparse import Namespace

import pytest

from fnoise_mmdet.commands.compare import latest_panels, one_study
from fnoise_mmdet.comparison import Run


def test_latest_panels_by_step_without_other_files(tmp_path):
    folder = tmp_path / '20260101_000000/vis_data/vis_image'
    folder.mkdir(parents=True)
    for name in ('feature_maps_val_9', 'feature_maps_val_10', 'feature_maps_val_x', 'feature_maps_'):
        (folder / f'{name}.png').touch()
    found = latest_panels(Run('run', [], [], [], tmp_path))
    assert found == dict(feature_maps_val=folder / 'feature_maps_val_10.png')


CURVE = ['64=supervised', '128=labels_128']


@pytest.mark.parametrize(
    ('study', 'curve'),
    [('embedded', []), ('photos', []), ('semi/trained', CURVE), ('semi/frozen', CURVE), ('semi/photos', [])],
)
def test_page_has_the_tables_of_the_saved_files(root, study, curve):
    """As docs/study/study.mk writes them."""
    page = (root / 'docs/study/README.md').read_text(encoding='utf-8')
    _, table, _ = page.split(f'<!-- {study.replace("/", "_")} -->')
    files = sorted((root / 'docs/study' / study).glob('seeds_*.json'))
    args = Namespace(runs=files, conditions=[], measures=[], curve=curve, figure=None, deployment_figure=None)
    expected, _ = one_study(args)
    assert table.strip() == expected
