import json
from pathlib import Path

import pytest

from fnoise_mmdet.commands.infer import Annotated
from fnoise_mmdet.errors import ImageError


@pytest.fixture
def annotated(shapes, tmp_path):
    """Annotations of two images of the same name in different folders, of which the first has objects."""
    coco = json.loads((shapes / 'annotations/instances_val.json').read_text())
    first, second = coco['images'][:2]
    first['file_name'], second['file_name'] = 'a/x.png', 'b/x.png'
    coco['images'] = [first, second]
    coco['annotations'] = [one for one in coco['annotations'] if one['image_id'] == first['id']]
    (tmp_path / 'coco.json').write_text(json.dumps(coco))
    return Annotated(tmp_path / 'coco.json')


def test_images_of_the_same_name_are_told_apart_by_their_folders(annotated, monkeypatch, tmp_path):
    assert annotated.columns(Path('data/a/x.png'), (64, 64, 3), [])[0]
    assert not annotated.columns(Path('data/b/x.png'), (64, 64, 3), [])[0]
    (tmp_path / 'a').mkdir()
    monkeypatch.chdir(tmp_path / 'a')
    assert annotated.columns(Path('x.png'), (64, 64, 3), [])[0]
    with pytest.raises(ImageError, match='it may be a/x.png or b/x.png of the annotations'):
        annotated.columns(Path('/c/x.png'), (64, 64, 3), [])
    with pytest.raises(ImageError, match='it is not annotated'):
        annotated.columns(Path('a/y.png'), (64, 64, 3), [])
