# MixStyle: the statistics of each channel are mixed with those of another image of the batch, in the first two stages.
_base_ = '../baseline.py'

model = dict(
    _delete_=True,
    type='FNoiseDetector',
    detector=_base_.model,
    place='stage',
    levels=[0, 1],
    noise=dict(type='MixStyle'),
)
