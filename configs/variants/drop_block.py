# DropBlock with the paper's block of 7 and drop probability of 0.1, in the last two stages of the backbone.
_base_ = '../baseline.py'

model = dict(
    _delete_=True,
    type='FNoiseDetector',
    detector=_base_.model,
    place='stage',
    levels=[-2, -1],
    noise=dict(type='FeatureDropBlock'),
)
