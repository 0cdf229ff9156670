# CCT's F-Drop: the most attended places of every level are set to zero.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='FDrop')))
