import pytest

STUDY = 'docs/study/embedded/seeds_0_1_2.json'


@pytest.mark.parametrize('mark', ['study', 'other'])
def test_prints_the_table_or_puts_it_into_a_page(tool, tmp_path, mark):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n<!-- {mark} -->\nold\n<!-- {mark} -->\nafter\n')
    printed = tool('compare', STUDY, '--measures', 'loss')
    assert printed.stderr == '', 'no word of other packages'
    tool('compare', STUDY, '--measures', 'loss', '--into', page, '--mark', mark)
    table = printed.stdout.removesuffix('\n')
    assert table.startswith('|  | mean |')
    assert page.read_text() == f'before\n<!-- {mark} -->\n{table}\n<!-- {mark} -->\nafter\n'


@pytest.mark.parametrize(('suffix', 'begins'), [('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')])
def test_draws_the_figure(tool, tmp_path, suffix, begins):
    file = tmp_path / 'new' / f'figure.{suffix}'
    tool('compare', STUDY, '--figure', file)
    assert file.read_bytes().startswith(begins)


def test_map_of_regimes(tool, tmp_path):
    photos = 'docs/study/photos/seeds_0.json,docs/study/photos/seeds_1.json'
    regimes = '--regime', f'embedded={STUDY}', '--regime', f'photos={photos}'
    shown = '--conditions', 'cct_0.3', 'l2_0.3'
    page = tool('compare', *regimes, *shown, '--figure', tmp_path / 'map.png').stdout
    assert (tmp_path / 'map.png').read_bytes().startswith(b'\x89PNG')
    rows = [line.split('|')[1].strip() for line in page.splitlines()[2:] if line.startswith('|')]
    embedded, photos = '**embedded: mask AP ↑, n = 3**', '**photos: mask AP ↑, n = 2**'
    assert rows == [embedded, 'baseline', 'cct_0.3', photos, 'baseline', 'cct_0.3', 'l2_0.3']
    page = tool('compare', *regimes, '--measures', 'segm_mAP/mPC', 'loss').stdout
    sections = [line.split('|')[1].strip() for line in page.splitlines() if line.startswith('| **')]
    in_embedded = ['**embedded: mask mPC ↑, n = 3**', '**embedded: training loss, n = 3**']
    assert sections == [*in_embedded, '**photos: training loss, n = 2**'], 'the measures that a regime has'
    error = tool('compare', *regimes, '--measures', 'segm_mAP/mPC', status=2).stderr
    assert 'seeds_1.json has none of the measures to show, but coco/segm_mAP, ' in error
    error = tool('compare', *regimes, '--measures', 'loss', 'x', status=2).stderr
    assert 'no regime has the measure x, but' in error, 'a wrong name among right ones'
    assert 'no regime has the condition x, but' in tool('compare', *regimes, '--conditions', 'x', status=2).stderr
    error = tool('compare', *regimes[:2], *regimes[:2], '--figure', tmp_path / 'b.png', status=2).stderr
    assert 'two regimes are called embedded' in error and not (tmp_path / 'b.png').exists()
    assert '--regime x is not of the form' in tool('compare', '--regime', 'x', '--figure', 'x.png', status=2).stderr
    assert '--regime takes no runs' in tool('compare', STUDY, *regimes, status=2).stderr


def test_label_counts(tool, tmp_path):
    """Not a real curve: photographs as if they were the embedded data with fewer labels."""
    counts = '--label-counts', '--regime', f'640={STUDY}', '--regime', '160=docs/study/photos/seeds_0.json'
    page = tool('compare', *counts, '--conditions', 'cct_0.3', '--figure', tmp_path / 'curves.png').stdout
    assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')
    assert (
        page.index('160: mask AP')
        < page.index('640: mask AP')
        < page.index('trained with 160')
        < page.index('with 640')
    )
    for arguments, message in (
        (['--regime', f'few={STUDY}'], 'few, the name of a regime, is not a number of labelled images'),
        ([*counts[1:], '--measures', 'loss'], 'needs an AP as the first measure, not training loss'),
        ([STUDY], '--label-counts is for --regime'),
    ):
        assert message in tool('compare', '--label-counts', *arguments, status=2).stderr


def test_draws_the_deployment(tool, tmp_path):
    file, page = tmp_path / 'deployment.svg', tmp_path / 'page.md'
    study = 'docs/study/labels/640/seeds_0.json'
    tool('compare', study, '--conditions', 'cct_0.3', '--deployment-figure', file)
    drawn = file.read_text()
    for title in ('mask AP, features as on hardware', 'share of mask AP kept: difference to baseline, paired by seed'):
        assert title in drawn
    assert 'l2_0.3' not in drawn
    page.write_text('<!-- study -->\n<!-- study -->\n')
    for arguments, message in (
        ([STUDY, '--into', page], 'has no AP of features as on hardware: measure it with'),
        (['--regime', f'embedded={STUDY}'], '--regime takes no runs, --group, --curve, --out or --deployment-figure'),
    ):
        assert message in tool('compare', *arguments, '--deployment-figure', tmp_path / 'x.png', status=2).stderr
    assert page.read_text() == '<!-- study -->\n<!-- study -->\n' and not (tmp_path / 'x.png').exists()


def test_worth_in_labels(tool, tmp_path):
    curve = '64=FDrop', f'128={STUDY}'  # not a real curve: the baseline of the same study as if it had more labels
    lines = tool('compare', STUDY, '--measures', 'coco/segm_mAP', '--curve', *curve).stdout.splitlines()
    head = next(place for place, line in enumerate(lines) if 'labelled images (95 % CI)' in line)
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split('|') for line in lines[head + 3 :])
    }
    assert rows['cct_1.0'][1].startswith('7') and rows['cct_1.0'][2].startswith('+')
    assert len(rows) == 8 and not {'FDrop', 'baseline'} & rows.keys(), 'the points of the curve'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--curve', '64'], '--curve 64 is not of the form LABELS=CONDITION or LABELS=FILE'),
        (['--curve', '64=nothing'], 'nothing is not the comparison.json'),
        (['--measures', 'loss', '--curve', '64=FDrop'], 'needs an AP as the first measure, not training loss'),
    ],
)
def test_wrong_curve(tool, arguments, message):
    assert message in tool('compare', STUDY, *arguments, status=2).stderr


def test_wrong_input_is_one_line(tool, tmp_path):
    assert 'is not the comparison.json' in tool('compare', tmp_path / 'no.json', status=2).stderr
    assert 'is not a file with two lines' in tool('compare', STUDY, '--into', tmp_path / 'no.md', status=2).stderr
    page = tmp_path / 'page.md'
    page.write_text('<!-- study -->\n<!-- study -->\n')
    result = tool('compare', STUDY, '--into', page, '--figure', tmp_path / 'figure.bmp', status=2)
    assert 'its name must end in .png, .svg, .pdf' in result.stderr
    assert '--out is required to compare runs' in tool('compare', tmp_path, status=2).stderr
    assert (
        'show a comparison.json, without --out'
        in tool('compare', tmp_path, '--out', tmp_path / 'out', '--into', page, status=2).stderr
    )
    assert page.read_text() == '<!-- study -->\n<!-- study -->\n'
