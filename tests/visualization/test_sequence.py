from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image, ImageSequence

from fnoise_mmdet.visualization import find_frames, write_gif
from fnoise_mmdet.visualization.sequence import MAX_FRAMES, MAX_SIZE, MILLISECONDS

NAME = 'feature_maps_val_1'


def picture(path: Path, grey: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (grey, grey, grey)).save(path)
    return path


def frames_of(path: Path) -> list[int]:
    with Image.open(path) as gif:
        found = []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append(int(np.asarray(gif.convert('RGB')).mean()))
        return found


def test_frames_of_all_starts_in_the_order_of_steps(tmp_path):
    first, second = (tmp_path / start / 'vis_data/vis_image' for start in ('20260101_000000', '20260102_000000'))
    for step in (1, 2, 3, 10):
        picture(first / f'{NAME}_{step}.png', step)
    redone = [picture(second / f'{NAME}_{step}.png', 100 + step) for step in (3, 4)]
    picture(first / f'{NAME}_2_5.png', 0)  # of the image with the id 1_2
    picture(first / 'feature_maps_val_11_1.png', 0)
    assert find_frames(tmp_path, NAME, 4) == [first / f'{NAME}_1.png', first / f'{NAME}_2.png', *redone]
    assert find_frames(tmp_path, NAME, 10)[-1] == first / f'{NAME}_10.png'


def test_gif_has_one_frame_per_picture(tmp_path):
    frames = [picture(tmp_path / f'{grey}.png', grey) for grey in (10, 90, 200)]
    write_gif(tmp_path / 'x.gif', frames)
    assert frames_of(tmp_path / 'x.gif') == pytest.approx([10, 90, 200], abs=2)
    with Image.open(tmp_path / 'x.gif') as gif:
        assert gif.size == (40, 30) and gif.info['loop'] == 0
    assert not list(tmp_path.glob('.*'))


def test_frames_are_brought_to_one_size_and_thinned_out(tmp_path):
    frames = [picture(tmp_path / '0.png', 0, (10, 10))]
    frames += [picture(tmp_path / f'{step}.png', step * 2, (1200, 30)) for step in range(1, 100)]
    write_gif(tmp_path / 'x.gif', frames)
    with Image.open(tmp_path / 'x.gif') as gif:
        assert gif.size == (MAX_SIZE, MAX_SIZE // 40)
        # Frames that look alike are stored as one, which stays as long.
        durations = [frame.info['duration'] for frame in ImageSequence.Iterator(gif)]
    assert len(durations) <= MAX_FRAMES and sum(durations) == (MAX_FRAMES + 2) * MILLISECONDS
    found = frames_of(tmp_path / 'x.gif')
    assert found == sorted(found) and found[0] == 0 and found[-1] == pytest.approx(198, abs=2)


def test_colours_of_a_panel_are_kept(tmp_path):
    """The ends of a colour scale too, which take little room on it."""
    scale = (colormaps['RdBu_r'](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    frames = []
    for name, fill in (('a', 250), ('b', 240)):
        panel = np.full((200, 300, 3), fill, dtype=np.uint8)
        panel[100:] = np.random.default_rng(fill).normal((80, 100, 90), 8, (100, 300, 3))  # a photograph's background
        panel[90:95, 20:276] = scale
        panel[:5, :5], panel[:5, 5:10] = scale[0], scale[-1]
        Image.fromarray(panel).save(tmp_path / f'{name}.png')
        frames.append(panel.astype(int))
    write_gif(tmp_path / 'x.gif', [tmp_path / 'a.png', tmp_path / 'b.png'])
    with Image.open(tmp_path / 'x.gif') as gif:
        for frame, panel in zip(ImageSequence.Iterator(gif), frames, strict=True):
            assert np.abs(np.asarray(frame.convert('RGB')).astype(int) - panel).max() <= 32
