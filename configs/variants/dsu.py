# DSU: the statistics of each channel move as far as they differ within the batch, in every stage of the backbone.
_base_ = '../baseline.py'

model = dict(
    _delete_=True,
    type='FNoiseDetector',
    detector=_base_.model,
    place='stage',
    noise=dict(type='DSU'),
)
