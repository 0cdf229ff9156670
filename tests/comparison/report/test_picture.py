import base64
import io
import os

import numpy as np
from PIL import EpsImagePlugin, Image

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


def test_postscript_is_not_run(tmp_path, monkeypatch):
    gs = tmp_path / 'bin/gs'
    gs.parent.mkdir()
    gs.write_text(f'#!/bin/sh\ntouch {tmp_path}/called\n')
    gs.chmod(0o755)
    monkeypatch.setenv('PATH', f'{gs.parent}:{os.environ["PATH"]}')
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None)
    (tmp_path / 'x.png').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n')
    assert Picture.read(tmp_path / 'x.png', '') is None
    assert not (tmp_path / 'called').exists()
