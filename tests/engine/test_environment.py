import torch

from fnoise_mmdet.engine.environment import environment


def test_machine_and_versions():
    found = environment()
    assert found['torch'].split('+')[0] == torch.__version__.split('+')[0]
    assert int(found['torch threads']) == torch.get_num_threads()
    assert found['processor'] and all(isinstance(value, str) for value in found.values())
