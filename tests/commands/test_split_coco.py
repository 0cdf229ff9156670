import argparse

import pytest

from fnoise_mmdet.cli.split_coco import parse_args
from fnoise_mmdet.commands.split_coco import main
from fnoise_mmdet.errors import InputError


def test_all_is_checked_before_the_first_file(shapes, tmp_path):
    ann_file = shapes / 'annotations/instances_train.json'
    args = argparse.Namespace(ann_file=ann_file, out=tmp_path / 'out', ids=None, percent=None, number=[2, 16], fold=[1])
    with pytest.raises(InputError, match='16 labelled images were requested'):
        main(args)
    assert not args.out.exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--number', '2', '--fold', '1', '1'], '--fold: the values must differ'),
        (['--percent', '5', '5.0'], '--percent: the values must differ'),
        (['--ids', 'x.json', '--fold', '1', '2'], '--ids names the images of one fold'),
    ],
)
def test_options_that_would_write_a_file_twice_are_refused(monkeypatch, capsys, options, message):
    monkeypatch.setattr('sys.argv', ['split_coco.py', 'a.json', *options])
    with pytest.raises(SystemExit):
        parse_args()
    assert message in capsys.readouterr().err
