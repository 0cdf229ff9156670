import io
import json
import re
import shutil
import threading
import time
import zipfile

import hostile_server
import pytest
from coco_mirror import rewrite_annotations
from PIL import Image

from fnoise_mmdet.datasets import CocoServer, check_images, find_split, read_coco, sample_coco
from fnoise_mmdet.errors import InputError

ARCHIVE = '/annotations/annotations_trainval2017.zip'
COUNTS = dict(num_train=2, num_val=1, num_test=1)


@pytest.fixture
def fetch(mirror, tmp_path):
    """Draw a sample from the mirror's val part, of 4 images."""

    def run(out='sample', retries=1, **options):
        server = CocoServer(tmp_path / 'cache', mirror.url, retries=retries, timeout=0.5, workers=2, **options)
        sample_coco(server, tmp_path / out, **COUNTS, splits=['val'])
        return tmp_path / out

    return run


def names(mirror):
    return sorted(f'/val2017/{path.name}' for path in (mirror.root / 'val2017').iterdir())


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_is_the_sample_of_a_local_folder(mirror, shapes, fetch, tmp_path):
    sample_coco(shapes, tmp_path / 'local', **COUNTS, splits=['val'])
    assert files(fetch()) == files(tmp_path / 'local')
    ids = json.loads((tmp_path / 'sample/sample.json').read_text())['ids']
    assert sorted(ids['train'] + ids['val'] + ids['test']) == [1, 2, 3, 4]
    for part in COUNTS:
        ann_file, folder = find_split(tmp_path / 'sample', part.removeprefix('num_'))
        check_images(read_coco(tmp_path / 'sample' / ann_file), tmp_path / 'sample' / folder)


def test_both_parts(mirror, shapes, tmp_path):
    sample_coco(CocoServer(tmp_path / 'cache', mirror.url), tmp_path / 'remote', **COUNTS)
    sample_coco(shapes, tmp_path / 'local', **COUNTS)
    assert files(tmp_path / 'remote') == files(tmp_path / 'local')


def test_only_what_is_needed_is_fetched(mirror, fetch):
    fetch()
    archive = (mirror.root / ARCHIVE[1:]).stat().st_size
    assert mirror.sent < archive / 2  # captions of both parts make up most of it
    assert {path for path in mirror.answers if path != ARCHIVE} == set(names(mirror))
    assert not any('train2017' in path for path in mirror.answers)


@pytest.mark.parametrize('fault', ['drop', 'stall', 'truncate', 408, 429, 500, 503])
@pytest.mark.parametrize('where', ['image', 'archive'])
def test_what_passes_is_tried_again(mirror, fetch, fault, where):
    path = ARCHIVE if where == 'archive' else names(mirror)[1]
    mirror.faults[path] = [fault]
    count = mirror.answers
    fetch()
    assert count[names(mirror)[0]] == 1
    assert where == 'archive' or count[path] == 2


@pytest.mark.parametrize(
    'fault, message',
    [
        ('drop', 'cannot be fetched: .*closed connection'),
        ('stall', 'cannot be fetched: .*timed out'),
        ('truncate', 'cannot be fetched: .*IncompleteRead'),
        (404, 'cannot be fetched: status 404 Not Found'),
        (500, 'cannot be fetched: too many 500 error responses'),
        ('html', "is not a complete image: b'<!DOCTYPE html><html>"),
    ],
)
def test_a_file_that_fails_is_named_and_the_others_stay(mirror, fetch, tmp_path, fault, message):
    bad = names(mirror)[2]
    mirror.faults[bad] = [fault] * 3
    with pytest.raises(InputError, match=message) as caught:
        fetch()
    assert f'- {mirror.url}{bad} ' in str(caught.value) and 'rerun the same command to resume' in str(caught.value)
    assert '3 of 4 val images are downloaded' in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cache', 'mirror']
    mirror.faults.clear()
    mirror.answers.clear()
    fetch()
    assert dict(mirror.answers) == {bad: 1}  # neither the annotations nor the other images once more


@pytest.mark.parametrize(
    'fault, message',
    [
        ('drop', 'cannot be fetched: .*closed connection'),
        ('stall', 'cannot be fetched: .*timed out'),
        (404, 'cannot be fetched: status 404 Not Found'),
        (500, 'cannot be fetched: too many 500 error responses'),
        ('html', 'does not support range requests: .* status 200 and Content-Type text/html'),
        ('no ranges', 'does not support range requests: .* status 200'),
    ],
)
def test_without_annotations_there_is_nothing(mirror, fetch, tmp_path, fault, message):
    mirror.faults[ARCHIVE] = [fault] * 3
    with pytest.raises(InputError, match=message):
        fetch()
    assert [path.name for path in tmp_path.iterdir()] == ['mirror']


def test_interrupted_archive_resumes(mirror, tmp_path):
    server = CocoServer(tmp_path / 'cache', mirror.url)
    mirror.faults[ARCHIVE] = [None, None, 404]  # its size, its directory, the annotations
    with pytest.raises(InputError, match='status 404'):
        server.annotations('train')
    mirror.answers.clear()
    assert server.annotations('train')[1]['images']
    assert mirror.answers[ARCHIVE] == 2  # its size, the annotations
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == ['annotations']


def test_a_dead_server_is_not_asked_for_everything(mirror, shapes, tmp_path):
    server = CocoServer(tmp_path / 'cache', mirror.url, retries=0, timeout=0.5, workers=1)
    server.annotations('train')
    mirror.faults['*'] = [404] * 100
    with pytest.raises(InputError, match='0 of 16 train images are downloaded') as caught:
        sample_coco(server, tmp_path / 'out', 16, 0, 0)
    assert str(caught.value).count('status 404') == 10


def test_no_server(tmp_path):
    with pytest.raises(InputError, match='cannot be fetched: .*[Rr]efused'):
        CocoServer(tmp_path, 'http://127.0.0.1:9', retries=0).annotations('val')
    for url in ('ftp://host', 'host.org', 'http://', '/mnt/coco'):
        with pytest.raises(InputError, match='is not the URL of a server'):
            CocoServer(tmp_path, url)


def test_another_image_than_the_annotations_describe(mirror, fetch):
    Image.new('RGB', (65, 64)).save(mirror.root / 'small.png')
    mirror.replaced[names(mirror)[0]] = '/small.png'
    with pytest.raises(InputError, match='has 65 x 64 pixels, but 64 x 64 in the annotations'):
        fetch()


def test_a_cut_image(mirror, fetch):
    content = (mirror.root / names(mirror)[0][1:]).read_bytes()
    (mirror.root / 'cut.png').write_bytes(content[:-200])
    mirror.replaced[names(mirror)[0]] = '/cut.png'
    with pytest.raises(InputError, match='is not a complete image: .*truncated'):
        fetch()


@pytest.mark.parametrize('name', ['../evil.png', '/tmp/evil.png', 'a/../../evil.png', 'C:\\evil.png', '', 3, 'x' * 300])
def test_names_that_lead_out_are_refused(mirror, fetch, tmp_path, name):
    rewrite_annotations(mirror.root, dict(file_name=name))
    with pytest.raises(InputError, match='have a file name that is invalid or outside their folder'):
        fetch()
    assert set(mirror.answers) == {ARCHIVE} and not (tmp_path / 'sample').exists()


@pytest.mark.parametrize('entry', ['../evil.json', '/evil.json', 'annotations/../../evil.json'])
def test_archives_with_entries_that_lead_out_are_refused(mirror, fetch, entry):
    rewrite_annotations(mirror.root, entry=entry)
    with pytest.raises(InputError, match='it has an entry outside its folder'):
        fetch()


def test_faulty_archives(mirror, fetch, tmp_path):
    path = mirror.root / ARCHIVE[1:]
    content = path.read_bytes()
    for broken in (b'no zip at all', content[:-100], b''):
        path.write_bytes(broken)
        with pytest.raises(InputError, match='is not a complete zip archive|does not support range requests'):
            fetch()
    start = content.index(b'annotations/instances_val2017.json') + 100
    path.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    with pytest.raises(InputError, match='is not a complete zip archive'):
        fetch()
    path.write_bytes(content)
    assert fetch().is_dir()  # nothing of the broken ones was kept


def test_unavailable_year(mirror, tmp_path):
    with pytest.raises(InputError, match='annotations_trainval2014.zip cannot be fetched: status 404'):
        CocoServer(tmp_path / 'cache', mirror.url, year=2014).annotations('val')


def test_names_are_quoted(mirror, fetch, tmp_path):
    ann = '100% größe #1?.png'
    rewrite_annotations(mirror.root, dict(file_name=ann))
    asked = f'/val2017/{"100%25%20gr%C3%B6%C3%9Fe%20%231%3F.png"}'
    with pytest.raises(InputError, match='status 404'):
        fetch()
    assert mirror.answers[asked] == 1


def test_a_taken_folder_is_refused_before_anything_is_fetched(mirror, fetch, tmp_path):
    (tmp_path / 'sample').mkdir()
    (tmp_path / 'sample/mine.txt').write_text('mine')
    with pytest.raises(InputError, match='already exists'):
        fetch()
    assert not mirror.answers


def test_images_are_fetched_side_by_side(mirror, fetch):
    mirror.faults['*'] = []
    for path in names(mirror):
        mirror.faults[path] = ['slow']
    start = time.monotonic()
    fetch()
    assert time.monotonic() - start < 4 * 0.3  # seconds that the answers take one after another


def test_poisoned_cache_is_fetched_anew(mirror, fetch, tmp_path):
    path = tmp_path / 'cache/annotations/instances_val2017.json'
    path.parent.mkdir(parents=True)
    path.write_text('{"images": []}')
    assert fetch().is_dir() and read_coco(path)['images']


def test_wrong_blocks_of_an_earlier_call_are_fetched_anew(mirror, tmp_path):
    server = CocoServer(tmp_path / 'cache', mirror.url)
    mirror.faults[ARCHIVE] = [None, None, 404]
    with pytest.raises(InputError, match='status 404'):
        server.annotations('train')
    (block,) = (tmp_path / 'cache/blocks').iterdir()
    block.write_bytes(bytes(block.stat().st_size))
    assert server.annotations('train')[1]['images']


def test_answers_have_a_time_limit_altogether(mirror, tmp_path):
    server = CocoServer(tmp_path / 'cache', mirror.url, retries=3, timeout=0.2)
    for path in (ARCHIVE, names(mirror)[0]):
        mirror.faults = {path: [hostile_server.trickle] * 9}
        start = time.monotonic()
        with pytest.raises(InputError, match='takes more than 1 s for an answer; .*--timeout'):
            sample_coco(server, tmp_path / 'out', **COUNTS, splits=['val'])
        assert time.monotonic() - start < 3, 'neither waited for nor asked for again'


def test_sample_of_another_process_is_not_replaced(mirror, tmp_path):
    server = CocoServer(tmp_path / 'cache', mirror.url)

    def fetch_while_another_finishes(split, images):
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out/mine.txt').touch()
        return CocoServer.images(server, split, images)

    server.images = fetch_while_another_finishes
    with pytest.raises(InputError, match='already exists'):
        sample_coco(server, tmp_path / 'out', **COUNTS, splits=['val'])
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['mine.txt']


class Hostility:
    """Tries answers: each must end in a whole sample or one clear error, and leave a cache that is of use."""

    def __init__(self, mirror, folder, expected):
        self.mirror, self.folder, self.expected = mirror, folder, expected
        self.refused = self.tried = 0
        self.seconds = self.sent = 0

    def sample(self, name, timeout):
        server = CocoServer(self.folder / 'cache', self.mirror.url, retries=0, timeout=timeout, workers=2)
        sample_coco(server, self.folder / name, **COUNTS, splits=['val'])
        found = files(self.folder / name)
        shutil.rmtree(self.folder / name)
        return found

    def attempt(self, mend):
        """Draw a sample from the server as it is, and where it is refused, again once it is right."""
        self.tried += 1
        self.mirror.sent, start = 0, time.monotonic()
        try:
            found = self.sample('hostile', timeout=0.2)
        except InputError as error:
            found = None
            assert str(self.folder) not in re.sub(f'stays? in {self.folder}/cache', '', str(error))
        self.seconds = max(self.seconds, time.monotonic() - start)
        self.sent = max(self.sent, self.mirror.sent)
        assert not (self.folder / 'hostile').exists() and not list(self.folder.glob('cache/annotations/*.part'))
        mend()
        if found is None:
            self.refused += 1
            assert self.sample('good', timeout=20) == self.expected
        else:
            assert found.keys() == self.expected.keys()
            for path, content in found.items():  # pixels of another image of the same size cannot be noticed
                assert content == self.expected[path] or Image.open(io.BytesIO(content)).size == (64, 64)
        shutil.rmtree(self.folder / 'cache')


@pytest.mark.fuzz
def test_hostile_servers(mirror, shapes, tmp_path, fuzz_size, fuzz_report):
    sample_coco(shapes, tmp_path / 'local', **COUNTS, splits=['val'])
    hostility = Hostility(mirror, tmp_path / 'of_server', files(tmp_path / 'local'))
    archive, image = mirror.root / ARCHIVE[1:], names(mirror)[1]
    right = {path: path.read_bytes() for path in (archive, mirror.root / image[1:])}
    with zipfile.ZipFile(archive) as opened:
        coco = json.loads(opened.read(hostile_server.MEMBER))
    right[archive] = hostile_server.archive(json.dumps(coco).encode())
    archive.write_bytes(right[archive])
    (mirror.root / 'val2017').unlink()
    shutil.copytree(shapes / 'val', mirror.root / 'val2017')

    cases = [
        (f'{name}, for {path}', path, answer)
        for path, answers in [
            (ARCHIVE, hostile_server.ANSWERS | hostile_server.RANGES),
            (image, hostile_server.ANSWERS),
        ]
        for name, answer in answers.items()
    ]
    cases += [(f'archive: {name}', archive, content) for name, content in hostile_server.archives(coco)]
    picture = mirror.root / image[1:]
    cases += [(f'image: {name}', picture, content) for name, content in hostile_server.pictures(right[picture], 64)]
    step = -(-len(cases) // fuzz_size(20, len(cases)))
    for name, place, answer in cases[::step]:
        if callable(answer):
            mirror.faults = {place: [answer] * 99}
            mend = mirror.faults.clear
        else:
            place.write_bytes(answer)
            mend = lambda place=place: place.write_bytes(right[place])  # noqa: E731
        try:
            hostility.attempt(mend)
        except BaseException as error:
            error.add_note(name) if hasattr(error, 'add_note') else print(name)
            raise
    assert hostility.seconds < 10 and hostility.sent < 140 * 2**20  # twice the most that an image may have
    assert threading.active_count() < 50
    fuzz_report(
        f'{hostility.tried} answers of a hostile server: {hostility.refused} refused in a line, '
        f'{hostility.tried - hostility.refused} end in a whole sample; the longest took {hostility.seconds:.1f} s, '
        f'the largest {hostility.sent / 2**20:.0f} MiB'
    )


def test_an_old_urllib3_is_named(tmp_path, monkeypatch):
    monkeypatch.delattr('urllib3.BaseHTTPResponse')
    monkeypatch.setattr('urllib3.__version__', '1.26.20')
    with pytest.raises(InputError, match='a download needs urllib3 2, but 1.26.20 is installed: pip install'):
        CocoServer(tmp_path)
