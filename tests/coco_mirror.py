"""A server in the layout of COCO's, which fails as servers do."""

import contextlib
import json
import threading
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HTML = b'<!DOCTYPE html><html><body>Please log in.</body></html>'
WAITS = dict(slow=0.3, stall=2, hang=60)  # seconds before the answer


def make_mirror(shapes: Path, folder: Path, filler: int = 3 * 2**20) -> Path:
    """Bring a data set of ours into the layout of COCO's server; the archive has more than the annotations."""
    annotations = folder / 'annotations'
    annotations.mkdir(parents=True)
    with zipfile.ZipFile(annotations / 'annotations_trainval2017.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        for split in ('train', 'val'):
            archive.writestr(
                zipfile.ZipInfo(f'annotations/captions_{split}2017.json'), b'\0' * filler, zipfile.ZIP_STORED
            )
            archive.write(shapes / f'annotations/instances_{split}.json', f'annotations/instances_{split}2017.json')
            (folder / f'{split}2017').symlink_to(shapes / split)
    return folder


class Mirror(ThreadingHTTPServer):
    """Serve a folder, with ranges.

    Attributes:
        faults: What goes wrong with a path, first answer first: a status, or
            ``'drop'``, ``'stall'``, ``'truncate'``,
            ``'slow'``, ``'hang'``, ``'html'``, ``'no ranges'``, or a function that answers, which gets the handler
            and the file. ``'*'`` stands for every path.
        replaced: Paths that are answered with the content of another one.
        answers: How often each path was asked for.
        sent: Bytes of files sent.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, root: Path) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.root = root
        self.faults: dict[str, list[object]] = {}
        self.replaced: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.sent = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent: a client that had enough has hung up."""

    def next_fault(self, path: str) -> object:
        with self.lock:
            self.answers[path] += 1
            faults = self.faults.get(path) or self.faults.get('*')
            return faults.pop(0) if faults else None


class _Handler(BaseHTTPRequestHandler):
    server: Mirror
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        fault = self.server.next_fault(self.path)
        path = self.server.root / self.server.replaced.get(self.path, self.path).lstrip('/')
        if fault == 'drop':
            self.close_connection = True
            return
        if callable(fault):
            with contextlib.suppress(ConnectionError):
                fault(self, path)
            return None
        if isinstance(fault, str) and fault in WAITS:
            time.sleep(WAITS[fault])
        if isinstance(fault, int) or not path.is_file():
            return self.answer(fault or 404, b'')
        if fault == 'html':
            return self.answer(200, HTML, {'Content-Type': 'text/html'})
        if fault == 'no ranges':
            del self.headers['Range']
        self.answer(*self.right_answer(path), cut_off=fault == 'truncate')

    def right_answer(self, path: Path) -> tuple[int, bytes, dict[str, str]]:
        """Return status, content and headers for a file, or for the part of it that was asked for."""
        content, span = path.read_bytes(), self.headers.get('Range')
        if not span:
            return 200, content, {}
        first, last = map(int, span.removeprefix('bytes=').split('-'))
        headers = {'Content-Range': f'bytes {first}-{min(last, len(content) - 1)}/{len(content)}'}
        return 206, content[first : last + 1], headers

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None, cut_off: bool = False) -> None:
        self.send_response(status)
        for name, value in ({'Content-Length': str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if cut_off:
            content = content[: len(content) // 2]
            self.close_connection = True
        self.server.sent += len(content)
        with contextlib.suppress(ConnectionError):  # the client had enough
            self.wfile.write(content)


def rewrite_annotations(root: Path, change: dict[str, object] | None = None, entry: str | None = None) -> None:
    """Replace the archive by one whose annotations have a change in their first image, or a further entry."""
    path = root / 'annotations/annotations_trainval2017.zip'
    member = 'annotations/instances_val2017.json'
    with zipfile.ZipFile(path) as archive:
        coco = json.loads(archive.read(member))
    for image in coco['images']:
        image.update(change or {})
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, json.dumps(coco))
        if entry:
            archive.writestr(entry, b'x')
