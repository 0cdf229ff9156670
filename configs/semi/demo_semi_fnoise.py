# The mean teacher with F-Noise on the student's features of unlabelled images, and nothing else.
_base_ = './demo_semi_baseline.py'

model = dict(
    detector=dict(
        neck=dict(
            _delete_=True,
            type='FNoiseNeck',
            neck={{_base_.model.detector.neck}},
            noise=dict(type='FeatureNoise', preset='cct'),
        )
    )
)
