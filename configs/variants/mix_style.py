# MixStyle: the statistics of each channel are mixed with those of another image of the batch.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='MixStyle')))
