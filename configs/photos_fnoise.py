# The photos baseline with F-Noise between its backbone and its neck, and nothing else.
_base_ = './photos_baseline.py'

model = dict(
    neck=dict(
        _delete_=True, type='FNoiseNeck', neck={{_base_.model.neck}}, noise=dict(type='FeatureNoise', preset='cct')
    )
)
