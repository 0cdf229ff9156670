import json

import pytest
from check_configs import VERSIONS, read_findings

PATTERN = 'retinanet/retinanet_r18_fpn_1x*'


@pytest.mark.slow
def test_checks_writes_a_table_and_resumes(tool, tmp_path):
    result = tool('dev/check_configs', '--only', PATTERN, '--out', tmp_path)
    assert 'whole detector: 2,' in result.stdout and 'FAILED: 0' in result.stdout
    table = (tmp_path / 'table.md').read_text()
    assert '2 configs with a model in 1 families' in table and '| retinanet | 2 | 2 |' in table
    assert '| checked | 0 | 0 | 2 |' in table
    findings = tmp_path / 'findings.jsonl'
    lines = findings.read_text().splitlines()
    assert [json.loads(line)['finding']['outcome'] for line in lines] == ['whole detector'] * 2

    # Interrupted in the middle of its second line.
    findings.write_text(f'{lines[0]}\n{lines[1][:40]}')
    tool('dev/check_configs', '--only', PATTERN, '--out', tmp_path)
    assert findings.read_text().splitlines()[-1] == lines[1]
    assert (tmp_path / 'table.md').read_text() == table

    before = findings.read_text()
    tool('dev/check_configs', '--only', PATTERN, '--out', tmp_path)
    assert findings.read_text() == before


def test_findings_of_other_versions_are_discarded(tmp_path):
    lines = [
        dict(config='a.py', versions=VERSIONS, finding=None),
        dict(config='b.py', versions=VERSIONS | dict(mmdet='0'), finding=None),
        dict(config='c.py', finding=None),
        [1],
    ]
    path = tmp_path / 'findings.jsonl'
    path.write_text('\n'.join([*map(json.dumps, lines), '[' * 100_000, '{"config"']))
    assert read_findings(path) == {'a.py': None}


def test_missing_match_is_reported(tool, tmp_path):
    result = tool('dev/check_configs', '--only', 'nothing/*', '--out', tmp_path / 'out', status=2)
    assert 'no config that mmdet ships matches nothing/*' in result.stderr and not (tmp_path / 'out').exists()


def test_help_teaches(tool):
    text = tool('dev/check_configs', '--help').stdout
    assert '--workers' in text and '--only "retinanet/*"' in text
