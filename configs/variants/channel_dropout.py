# Whole channels are dropped, with the default probability of CCT's class, 0.3; CCT and UniMatch train with 0.5.
_base_ = '../fnoise.py'

model = dict(neck=dict(noise=dict(_delete_=True, type='ChannelDropout')))
