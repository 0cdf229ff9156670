# Normalization Perturbation: the statistics of each channel are scaled at random, in the first stage of the backbone.
_base_ = '../baseline.py'

model = dict(
    _delete_=True,
    type='FNoiseDetector',
    detector=_base_.model,
    place='stage',
    levels=[0],
    noise=dict(type='NormalizationPerturbation'),
)
