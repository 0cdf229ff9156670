import pytest
import torch


@pytest.fixture
def key() -> tuple[int, ...]:
    """Seed, rank, iteration, call, level."""
    return (3, 0, 17, 0, 1)


@pytest.fixture
def x() -> torch.Tensor:
    """Features of an uneven shape, in double precision, with a mean that is not 0."""
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


@pytest.fixture(params=['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each kind of device."""
    return request.param
