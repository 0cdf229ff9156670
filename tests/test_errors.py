from fnoise_mmdet.errors import did_you_mean


def test_the_closest_choice_is_suggested():
    assert did_you_mean('ctt', ['l2', 'cct']) == ', did you mean cct?'
    assert did_you_mean('something', ['l2', 'cct']) == ''
    assert did_you_mean('x', ['l2', 'cct'], cutoff=0) != ''
