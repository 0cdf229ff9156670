# Normalization Perturbation: the statistics of each channel are scaled at random.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='NormalizationPerturbation')))
