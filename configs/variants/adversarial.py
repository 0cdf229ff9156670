# Noise of F-Noise's power in a random direction; in training with a teacher, in the one that changes predictions most.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='AdversarialNoise')))
