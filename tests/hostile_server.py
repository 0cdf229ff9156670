"""What a server can answer instead of what it was asked for."""

import gzip
import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Answer = Callable[[Any, Path], None]
Content = Callable[[bytes], bytes]
MEMBER = 'annotations/instances_val2017.json'
PAUSE = 0.15  # seconds between the bytes of a slow answer: less than the silence that ends a connection
LONG = 60  # seconds after which an answer without an end does end, should nobody hang up


def head(status: str = '200 OK', **headers: object) -> bytes:
    """Return the head of an answer; underscores in names stand for hyphens."""
    lines = [f'HTTP/1.1 {status}', *(f'{name.replace("_", "-")}: {value}' for name, value in headers.items())]
    return '\r\n'.join([*lines, '', '']).encode()


def raw(*pieces: bytes, pause: float = 0) -> Answer:
    """Send bytes as they are, and hang up."""

    def answer(handler: Any, path: Path) -> None:
        handler.close_connection = True
        for piece in pieces:
            handler.wfile.write(piece)
            time.sleep(pause)

    return answer


def endless(first: bytes, piece: bytes, pause: float = 0) -> Answer:
    """Send bytes, and then others again and again."""

    def answer(handler: Any, path: Path) -> None:
        handler.close_connection = True
        handler.wfile.write(first)
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            handler.wfile.write(piece)
            handler.server.sent += len(piece)
            time.sleep(pause)

    return answer


def changed(
    status: int | None = None, content: Content = lambda right: right, stated: str = '', **headers: object
) -> Answer:
    """Send the right answer with a change in its status, content or headers; ``stated`` is a length."""

    def answer(handler: Any, path: Path) -> None:
        right_status, right, right_headers = handler.right_answer(path)
        sent = content(right)
        names = {name.replace('_', '-'): str(value) for name, value in headers.items()}
        if stated:
            names['Content-Length'] = stated
            handler.close_connection = True
        handler.answer(status or right_status, sent, right_headers | names)

    return answer


def trickle(handler: Any, path: Path) -> None:
    """Send the right answer a byte at a time."""
    status, content, headers = handler.right_answer(path)
    handler.close_connection = True
    handler.wfile.write(head(f'{status} OK', Content_Length=len(content) + 1000, **headers))
    for i in range(len(content)):
        handler.wfile.write(content[i : i + 1])
        time.sleep(PAUSE)


def redirected(handler: Any, path: Path) -> None:
    """Send to the same file under another address, which is right."""
    if handler.path.endswith('?'):
        handler.answer(*handler.right_answer(path))
    else:
        handler.answer(302, b'', {'Location': handler.path + '?'})


def growing(handler: Any, path: Path) -> None:
    """State another size of the file each time."""
    status, content, headers = handler.right_answer(path)
    start, size = headers.get('Content-Range', '').rpartition('/')[0], path.stat().st_size
    handler.answer(status, content, {'Content-Range': f'{start}/{size + handler.server.answers.total()}'})


def ranged(text: str) -> Answer:
    """State another range than the one that was asked for."""
    return changed(Content_Range=text)


CHUNKED = head(Transfer_Encoding='chunked')
BOMB = zlib.compress(bytes(2**26), 9)

# By name; each is tried in the place of the archive and of an image.
ANSWERS: dict[str, Answer] = {
    'no content': changed(204, lambda right: b''),
    'empty': changed(content=lambda right: b''),
    'one byte more': changed(content=lambda right: right + b'x'),
    'half': changed(content=lambda right: right[: len(right) // 2]),
    'HTML': raw(head(Content_Type='text/html', Content_Length=14), b'<html>log in<!'),
    'redirection to nowhere': raw(head('302 Found', Content_Length=0)),
    'redirection to a file': raw(head('302 Found', Location='file:///etc/passwd', Content_Length=0)),
    'redirection to FTP': raw(head('302 Found', Location='ftp://127.0.0.1/x', Content_Length=0)),
    'redirection to no address': raw(head('302 Found', Location='http://[', Content_Length=0)),
    'redirection to a closed port': raw(head('302 Found', Location='http://127.0.0.1:9/', Content_Length=0)),
    'redirection in a circle': raw(head('302 Found', Location='?again', Content_Length=0)),
    'redirection to the right place': redirected,
    'unavailable for years': raw(head('503 Busy', Retry_After=10**9, Content_Length=0)),
    'status 999': raw(head('999 What', Content_Length=0)),
    'status that is no number': raw(head('OK OK', Content_Length=0)),
    'no HTTP': raw(b'SSH-2.0-OpenSSH_9.6\r\n'),
    'bytes of any kind': raw(bytes(range(256)) * 300),
    'only the status': raw(b'HTTP/1.1 200 OK\r\n'),
    'silence': raw(b'', pause=1),
    'a trickle': trickle,
    'a trickle of headers': endless(b'HTTP/1.1 200 OK\r\nX-Long: ', b'x', PAUSE),
    'headers without an end': endless(b'HTTP/1.1 200 OK\r\n', b'X-More: x\r\n'),
    'a header without an end': endless(b'HTTP/1.1 200 OK\r\nX-Long: ', b'x' * 4096),
    'Continue without an end': endless(b'', head('100 Continue'), PAUSE),
    'a body without an end': endless(head(Connection='close'), bytes(2**16)),
    'chunks without an end': endless(CHUNKED, b'10000\r\n' + bytes(2**16) + b'\r\n'),
    'chunks of no size': raw(CHUNKED, b'zz\r\nabc\r\n'),
    'a chunk of a great size': raw(CHUNKED, b'f' * 15 + b'\r\nabc\r\n'),
    'trailers without an end': endless(CHUNKED + b'0\r\n', b'X-More: x\r\n', PAUSE),
    'a great length': changed(stated=str(10**18)),
    'a greater length': changed(stated=str(10**30)),
    'a negative length': changed(stated='-1'),
    'a length in words': changed(stated='many'),
    'two lengths': changed(stated='5, 7'),
    'compressed': changed(content=gzip.compress, Content_Encoding='gzip'),
    'a compressed bomb': changed(content=lambda right: BOMB, Content_Encoding='deflate'),
    'said to be compressed': changed(Content_Encoding='br'),
}
# Of the archive alone.
RANGES: dict[str, Answer] = {
    'size 0': ranged('bytes 0-0/0'),
    'size 1e18': ranged(f'bytes 0-0/{10**18}'),
    'size 1e30': ranged(f'bytes 0-0/{10**30}'),
    'size of many digits': ranged(f'bytes 0-0/{"9" * 5000}'),
    'size unknown': ranged('bytes 0-0/*'),
    'negative size': ranged('bytes 0-0/-5'),
    'another range': ranged('bytes 5-9/100000'),
    'a range in words': ranged('all of it'),
    'a size that changes': growing,
    'the whole archive': changed(200, Content_Range=''),
}


def archive(
    content: bytes, method: int = zipfile.ZIP_DEFLATED, member: str = MEMBER, entry: str = '', repeat: int = 1
) -> bytes:
    """Make a zip archive with a member, and a further entry."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', method) as made:
        with made.open(member, 'w', force_zip64=repeat > 1) as file:
            for _ in range(repeat):
                file.write(content)
        if entry:
            made.writestr(entry, b'x')
    return buffer.getvalue()


def patched(content: bytes, signature: bytes, place: int, new: bytes) -> bytes:
    """Overwrite bytes of the record with a signature."""
    start = content.rindex(signature) + place
    return content[:start] + new + content[start + len(new) :]


def archives(coco: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Make archives that do not have the annotations that they should."""
    right = json.dumps(coco).encode()
    good = archive(right)
    central, end = b'PK\1\2', b'PK\5\6'
    yield 'no archive', b'A' * 5000
    yield 'nothing', b''
    yield 'an archive of nothing', end + bytes(18)
    yield 'the end cut off', good[:-30]
    yield 'a flipped bit', good[:100] + bytes([good[100] ^ 1]) + good[101:]
    yield 'a directory of 4 GB', patched(good, end, 12, struct.pack('<I', 2**32 - 2))
    yield 'a directory elsewhere', patched(good, end, 16, struct.pack('<I', 2**31))
    yield 'a greater size than it is', patched(good, central, 24, struct.pack('<I', 10**9))
    yield 'a smaller size than it is', patched(good, central, 24, struct.pack('<I', 10))
    yield 'encrypted', patched(good, central, 8, struct.pack('<H', 1))
    yield 'an unknown compression', patched(good, central, 10, struct.pack('<H', 77))
    yield 'a bomb', archive(bytes(2**24), repeat=32)
    yield 'LZMA', archive(right, zipfile.ZIP_LZMA)
    yield 'another member', archive(right, member='annotations/other.json')
    yield 'an entry outside', archive(right, entry='../../outside')
    yield 'an absolute entry', archive(right, entry='/tmp/outside')
    yield 'no JSON', archive(b'hello')
    yield 'JSON that is not COCO', archive(b'[1, 2]')
    yield 'JSON as deep as a well', archive(b'[' * 100_000)
    yield 'text that is not UTF-8', archive(b'\xff\xfe{}')
    yield 'no images', archive(json.dumps({**coco, 'images': []}).encode())
    yield 'broken boxes', archive(json.dumps({**coco, 'annotations': [
        {**one, 'bbox': 'none'} for one in coco['annotations']]}).encode())  # fmt: skip
    names = ['../outside.png', '/tmp/outside.png', 'a\r\nX-Evil: 1\r\n.png', '@127.0.0.1:9/x.png', '.', 'folder/', '\0']
    for name in names:
        images = [{**one, 'file_name': name} for one in coco['images']]
        yield f'images named {name!r}', archive(json.dumps({**coco, 'images': images}).encode())
    images = [{**one, 'width': 10**9, 'height': 10**9} for one in coco['images']]
    yield 'images of a great size', archive(json.dumps({**coco, 'images': images}).encode())


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', pixels) + chunk(b'IEND', b'')


def pictures(right: bytes, size: int) -> Iterator[tuple[str, bytes]]:
    """Make files that are not the picture of that size which they should be."""
    rows = zlib.compress(bytes((size // 8 + 1) * size))
    yield 'text', b'no picture'
    yield 'cut off', right[:-200]
    yield 'the pixels of another', right[:-300] + bytes(300)
    yield 'another size', _png(size + 1, size, rows)
    yield 'a bomb', _png(30_000, 30_000, zlib.compress(bytes(3751 * 30_000), 9))
    yield 'a bomb of the right size', _png(size, size, zlib.compress(bytes(2**26), 9))
    yield 'no pixels', _png(size, size, b'')
