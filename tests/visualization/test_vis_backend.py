import cv2
import numpy as np
import pytest

from fnoise_mmdet import AtomicLocalVisBackend


@pytest.fixture
def backend(tmp_path):
    return AtomicLocalVisBackend(str(tmp_path))


def test_a_picture_is_as_it_was_given(backend, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    backend.add_image('map', picture, 3)
    assert (cv2.imread(str(tmp_path / 'vis_image/map_3.png'))[..., ::-1] == picture).all()


def test_a_picture_that_cannot_be_finished_leaves_nothing(backend, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError('No space left on device')

    monkeypatch.setattr('os.fsync', fail)
    with pytest.raises(OSError, match='No space left'):
        backend.add_image('map', np.zeros((5, 7, 3), np.uint8))
    assert not list((tmp_path / 'vis_image').iterdir())
