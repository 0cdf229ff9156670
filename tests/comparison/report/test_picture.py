import base64
import io

import numpy as np
from PIL import Image

from fnoise_mmdet.comparison.report import Picture

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_read_and_put_into_a_page(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / 'whole.png')
    picture = Picture.read(tmp_path / 'whole.png', 'a caption')
    np.testing.assert_array_equal(picture.image, IMAGE)
    kind, content = picture.source.split(',')
    assert kind == 'data:image/png;base64' and picture.caption == 'a caption'
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert('RGB')).astype(int)
    assert shown.shape == IMAGE.shape and np.abs(shown - IMAGE).mean() < 25, 'of 256 colours'


def test_what_is_no_picture_is_none(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / 'whole.png')
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:500])
    (tmp_path / 'text.png').write_text('not an image')
    assert [Picture.read(tmp_path / f'{name}.png', '') for name in ('broken', 'text', 'missing')] == [None] * 3
