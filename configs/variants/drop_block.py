# DropBlock with the paper's block of 7 and drop probability of 0.1.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='FeatureDropBlock')))
