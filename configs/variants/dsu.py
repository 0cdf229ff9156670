# DSU: the statistics of each channel move as far as they differ within the batch.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='DSU')))
