import numpy as np
import pytest
import torch
from mmdet.models.layers import DropBlock as MMDetDropBlock
from torch.nn import functional as F

from fnoise_mmdet.noise import ChannelDropout, FDrop, FeatureDropBlock, make_generator
from fnoise_mmdet.noise.dropping import drop_blocks, drop_channels, f_drop, sparse_bernoulli


def naive_f_drop(x: np.ndarray, u: float) -> np.ndarray:
    """Keep where the mean over channels is below u times its maximum over the image."""
    y = np.zeros_like(x)
    batch, channels, height, width = x.shape
    for b in range(batch):
        attention = [[sum(x[b, :, i, j]) / channels for j in range(width)] for i in range(height)]
        threshold = u * max(max(row) for row in attention)
        for i in range(height):
            for j in range(width):
                if attention[i][j] < threshold:
                    y[b, :, i, j] = x[b, :, i, j]
    return y


@pytest.mark.parametrize('u', [0.3, 0.7, 0.9])
def test_f_drop_is_its_formula(x, u):
    x = x.abs()
    y = f_drop(x, torch.tensor(u, dtype=x.dtype))
    np.testing.assert_array_equal(y.numpy(), naive_f_drop(x.numpy(), u))
    assert (y == 0).any() and (y != 0).any()


def test_f_drop_draws_its_threshold_once_a_batch_and_evenly():
    noise = FDrop()
    draws = torch.stack([noise.sample(torch.ones(4, 2, 3, 3), make_generator((i,))) for i in range(2000)])
    assert draws.shape == (2000,) and draws.min() >= 0.7 and draws.max() <= 0.9
    # Standard error of the mean of 2000: 0.2 / sqrt(12) / sqrt(2000) = 0.0013; 5 of them.
    assert draws.mean() == pytest.approx(0.8, abs=0.0065)
    assert draws.std() == pytest.approx(0.2 / 12**0.5, rel=0.08)


def naive_drop_blocks(x: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Algorithm 1 of the paper, a mask for each channel."""
    mask = np.ones_like(x)
    for b, c, i, j in np.argwhere(corners):
        mask[b, c, i : i + size, j : j + size] = 0
    return x * mask * mask.size / mask.sum()


@pytest.mark.parametrize('size', [1, 2, 3, 5])
def test_drop_blocks_is_its_formula(x, size):
    generator = torch.Generator().manual_seed(size)
    corners = torch.empty(3, 4, 5 - size + 1, 6 - size + 1).bernoulli_(0.2, generator=generator)
    indices = torch.cat([corners.flatten().nonzero()[:, 0], torch.tensor([corners.numel()])])
    np.testing.assert_allclose(
        drop_blocks(x, indices, size).numpy(), naive_drop_blocks(x.numpy(), corners.numpy(), size), rtol=1e-6
    )


@pytest.mark.parametrize('probability', [0.002, 0.3, 0.999, 1])
def test_sparse_bernoulli_has_the_distribution_of_single_draws(probability):
    count = 1000
    numbers, places = [], torch.zeros(count + 1)
    for i in range(2000):
        drawn = sparse_bernoulli(count, probability, make_generator((i,)), torch.device('cpu'))
        happened = drawn[drawn < count]
        assert (happened.diff() > 0).all() and (len(happened) < len(drawn) or probability == 1)
        numbers.append(len(happened))
        places[happened] += 1
    # Binomial: mean and variance; standard errors of 2000 draws, 5 of them.
    variance = count * probability * (1 - probability)
    assert np.mean(numbers) == pytest.approx(count * probability, abs=5 * (variance / 2000) ** 0.5)
    assert np.var(numbers) == pytest.approx(variance, rel=0.16)
    # Everywhere as often: halves and the ends.
    share = places[:count] / 2000
    error = (probability * (1 - probability) / 2000) ** 0.5
    assert float(share[:500].mean()) == pytest.approx(float(share[500:].mean()), abs=10 * error / 500**0.5)
    assert (share - probability).abs().max() <= 6 * error + 1e-9


def test_drop_block_agrees_with_mmdet_s(x, key, monkeypatch):
    """The same corners give the same features as the layer that mmdet keeps."""
    noise = FeatureDropBlock(drop_prob=0.3, block_size=3)
    indices = noise.sample(x, make_generator(key))
    corners = torch.zeros(3, 4, 3, 4, dtype=x.dtype)
    corners.view(-1)[indices[indices < corners.numel()]] = 1
    layer = MMDetDropBlock(drop_prob=0.3, block_size=3, warmup_iters=0).train()
    asked = []
    monkeypatch.setattr(torch, 'bernoulli', lambda gamma: asked.append(gamma) or corners)
    torch.testing.assert_close(noise(x, key), layer(x), rtol=1e-6, atol=0)
    assert asked[0].shape == corners.shape
    # gamma = p / s^2 * HW / ((H - s + 1)(W - s + 1))
    assert asked[0].unique().item() == pytest.approx(0.3 / 9 * 30 / 12)


def test_drop_block_drops_about_the_share_asked_for(key):
    x = torch.ones(8, 64, 50, 50)
    y = FeatureDropBlock(drop_prob=0.1, block_size=5)(x, key)
    # Blocks overlap, so a little less than 0.1: 1 - exp(-0.1) = 0.095, and less near the edges.
    assert 0.08 < (y == 0).float().mean() < 0.1
    assert y.mean() == pytest.approx(1, abs=1e-4), 'the rest is scaled up to keep the sum'


def test_drop_block_takes_a_map_that_is_smaller_than_its_block(key):
    y = FeatureDropBlock(drop_prob=0.5, block_size=7)(torch.ones(100, 10, 3, 4), key)
    assert y.isfinite().all() and (y == 0).any() and (y != 0).any()


def test_drop_block_that_drops_everything_gives_zeros(key):
    y = FeatureDropBlock(drop_prob=1, block_size=3)(torch.ones(1, 1, 3, 3), key)
    assert torch.equal(y, torch.zeros(1, 1, 3, 3))


def test_channel_dropout_is_its_formula(x, key):
    kept = ChannelDropout(0.4).sample(x, make_generator(key))
    expected = np.empty(x.shape)
    for b, c, i, j in np.ndindex(*x.shape):
        expected[b, c, i, j] = x[b, c, i, j] / 0.6 if kept[b, c, 0, 0] else 0.0
    np.testing.assert_allclose(drop_channels(x, kept, 0.4).numpy(), expected, rtol=1e-6)
    assert {0.0, 1.0} == set(kept.unique().tolist())


def test_channel_dropout_has_the_distribution_of_torch_s(key):
    x = torch.ones(200, 100, 2, 2)
    ours, torchs = ChannelDropout(0.3)(x, key), F.dropout2d(x, 0.3)
    assert torch.allclose(ours.unique(), torchs.unique())
    for y in (ours, torchs):
        dropped = (y == 0).flatten(2)
        assert torch.equal(dropped.any(-1), dropped.all(-1)), 'whole channels'
        # 20,000 channels: standard deviation of the share 0.0032; 5 of them.
        assert dropped.any(-1).float().mean() == pytest.approx(0.3, abs=0.017)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: FDrop(low=-0.1), r'low must be in \[0, 1\], but got -0.1'),
        (lambda: FDrop(high=2), r'high must be in \[0, 1\], but got 2'),
        (lambda: FDrop(0.9, 0.7), 'low must be <= high, but got 0.9 and 0.7'),
        (lambda: FeatureDropBlock(drop_prob=1.1), r'drop_prob must be in \[0, 1\], but got 1.1'),
        (lambda: FeatureDropBlock(block_size=0), 'block_size must be an integer >= 1, but got 0'),
        (lambda: FeatureDropBlock(block_size=2.5), 'block_size must be an integer >= 1, but got 2.5'),
        (lambda: ChannelDropout(drop_prob=1), 'drop_prob must be < 1'),
        (lambda: ChannelDropout(drop_prob=-1), r'drop_prob must be in \[0, 1\], but got -1'),
    ],
)
def test_wrong_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('drop_prob', [0.5, 0.2])
def test_complementary_dropout(x, key, drop_prob):
    """Each channel is in one of the two, rescaled to the same mean over draws."""
    noise = ChannelDropout(drop_prob)
    assert noise.has_opposite and not FDrop().has_opposite
    y = noise(x, key)
    with noise.opposite():
        complement = noise(x, key)
    for b, c in np.ndindex(*x.shape[:2]):
        kept = bool(y[b, c].any())
        np.testing.assert_allclose(y[b, c], x[b, c] / (1 - drop_prob) if kept else 0 * x[b, c], rtol=1e-6)
        np.testing.assert_allclose(complement[b, c], 0 * x[b, c] if kept else x[b, c] / drop_prob, rtol=1e-6)
