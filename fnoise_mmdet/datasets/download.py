"""COCO over the network: only what a sample needs of it."""

import contextlib
import io
import os
import re
import shutil
import socket
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from PIL import Image, UnidentifiedImageError
from urllib3.exceptions import HTTPError, MaxRetryError

from ..errors import InputError
from .coco import read_coco
from .files import write_atomically
from .validate import is_inside

T = TypeVar('T')
COCO_URL = 'http://images.cocodataset.org'
BLOCK_SIZE = 2**20  # of a remote archive, in bytes
# Sizes in bytes beyond which an answer is not what it should be, or a bomb. COCO's largest annotation file has 0.5 GB.
MAX_ANNOTATION_SIZE = 2**30
MAX_ARCHIVE_SIZE = 4 * 2**30
MAX_DIRECTORY_SIZE = 16 * 2**20  # of an archive, the list of what is in it
MAX_IMAGE_SIZE = 64 * 2**20
MAX_COMPRESSION = 100  # COCO's annotations shrink to a quarter; deflate's limit is 1032
MAX_FAILURES = 10  # a server that fails so often is not asked for the rest
MAX_REDIRECTS = 5
TRANSIENT = (408, 429, 500, 502, 503, 504)
PATIENCE = 5  # how often the time of a silence that ends a connection an answer may take altogether
PIECE_SIZE = 2**16  # of an answer


class _FetchError(InputError):
    """A server gives no answer, or not the one that was asked for; what it has given before may be right."""


class _MissingError(_FetchError):
    """A server says that it does not have a file."""


class _SlowError(_FetchError):
    """An answer takes too long. Others of the same server will, too."""


class CocoServer:
    """COCO's server or a mirror: a data set of which only the asked-for files are fetched.

    A mirror has ``annotations/annotations_trainval{year}.zip`` beside
    ``train{year}/`` and ``val{year}/``, as ``images.cocodataset.org`` has. Of
    the archive the blocks with the needed member are fetched, not the whole of it.

    Everything lands in ``cache``, each file whole and checked or not at all,
    and is not fetched again: after an interruption the same call goes on. An
    answer may have no more bytes than asked for, 64 MiB for an image, and may
    take no longer than five times ``timeout``.

    Args:
        cache: Folder for what is fetched; it becomes a data set in COCO layout.
        url: Address of the server. Defaults to COCO's.
        year: 2014 or 2017.
        retries: How often a file is asked for again after a failure that may pass: no connection, silence, an
            incomplete answer, status 429 or 5xx. The pause doubles from half a second to at most 10.
        timeout: Seconds of silence after which a connection is given up.
        workers: Number of connections at a time.
        progress: Wraps a loop, with a label and a total to show.
    """

    def __init__(
        self,
        cache: Path,
        url: str = COCO_URL,
        year: int = 2017,
        retries: int = 5,
        timeout: float = 30.0,
        workers: int = 8,
        progress: Callable[..., Iterable[Any]] = lambda items, *_: items,
    ) -> None:
        self.cache, self.url, self.year = cache, url.rstrip('/'), year
        self.workers, self.progress = workers, progress
        self._seconds = PATIENCE * timeout
        self._decoding = threading.Lock()
        try:
            address = urlsplit(url)
        except ValueError:  # of brackets that hold no IPv6 address
            address = urlsplit('')
        if address.scheme not in ('http', 'https') or not address.hostname:
            raise InputError(f'{url} is no address of a server: give one as {COCO_URL}')
        self._retries = urllib3.Retry(
            total=None,
            connect=retries,
            read=retries,
            status=retries,
            other=retries,
            redirect=MAX_REDIRECTS,
            status_forcelist=TRANSIENT,
            backoff_factor=0.5,
            backoff_max=10,
            respect_retry_after_header=False,  # a server may ask for years
        )
        self._http = _connections(self.url, timeout=urllib3.Timeout(connect=timeout, read=timeout), maxsize=workers)

    def annotations(self, split: str, read: Callable[[Path], T] = read_coco) -> tuple[Path, T]:  # type: ignore[assignment]
        """Fetch the instance annotations of ``'train'`` or ``'val'``, where they are not there yet.

        Args:
            split: The part.
            read: Reads the file, and raises InputError where it cannot be used. Such a file is not kept.

        Returns:
            The file, and what ``read`` returns.

        Raises:
            InputError: The server does not give them, or gives something else.
        """
        path = self._ann_file(split)
        member = str(path.relative_to(self.cache))
        if path.is_file():
            with contextlib.suppress(InputError):  # it is fetched anew
                return path, read(path)
        url = f'{self.url}/annotations/annotations_trainval{self.year}.zip'
        blocks, part = self.cache / 'blocks', path.with_suffix('.part')
        kept = blocks.is_dir()  # of an earlier call
        try:
            content = self._read_member(_RemoteFile(partial(self._get, url), url, blocks), member, url)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(part, content)
            del content  # it may be large, and is read from the file now
            found = read(part)
            part.replace(path)
        except (OSError, MemoryError, _FetchError):
            raise
        except Exception as error:  # zipfile and zlib fail in many ways
            shutil.rmtree(blocks, ignore_errors=True)
            if kept:  # and may have been wrong
                return self.annotations(split, read)
            if isinstance(error, InputError):
                raise InputError(str(error).replace(str(part), f'{member} in {url}')) from None
            raise InputError(f'{url} is not a whole zip archive: {error}') from None
        finally:
            part.unlink(missing_ok=True)
        shutil.rmtree(blocks)
        return path, found

    def _ann_file(self, split: str) -> Path:
        return self.cache / f'annotations/instances_{split}{self.year}.json'

    def images(self, split: str, images: list[dict[str, Any]]) -> Path:
        """Fetch images, as COCO's annotations list them, where they are not there yet.

        Returns:
            Their folder.

        Raises:
            InputError: The server does not give some of them, or gives something else.
        """
        folder = self.cache / f'{split}{self.year}'
        wanted = {image['file_name']: image for image in images if not (folder / image['file_name']).is_file()}
        for file_name in wanted:
            (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
        failures: list[InputError] = []
        # Its threads do not keep an interrupted process alive, as those of an executor do.
        with ThreadPool(self.workers) as pool:
            results = pool.imap_unordered(
                partial(self._fetch_image, f'{self.url}/{folder.name}', folder), wanted.values()
            )
            for failure in self.progress(results, f'fetching {split} images', len(wanted)):
                if failure:
                    failures.append(failure)
                if isinstance(failure, _SlowError) or len(failures) == MAX_FAILURES:
                    break
        if failures:
            fetched = sum((folder / image['file_name']).is_file() for image in images)
            if not fetched and all(isinstance(failure, _MissingError) for failure in failures):
                self._ann_file(split).unlink(missing_ok=True)  # the server has others, or once had
            reasons = [f'{fetched} of {len(images)} {split} images are fetched, others failed:', *map(str, failures)]
            raise InputError(
                '\n- '.join(reasons) + f'\nwhat is fetched stays in {self.cache}; the same command resumes from there'
            )
        return folder

    def _fetch_image(self, url: str, folder: Path, image: dict[str, Any]) -> InputError | None:
        """Fetch an image, and return what is wrong."""
        address = f'{url}/{quote(os.fsencode(image["file_name"]))}'
        try:
            content, _ = self._get(address, most=MAX_IMAGE_SIZE)
            with self._decoding:  # one at a time: it may take a hundred times the memory of the file
                _check_image(content, image, address)
            write_atomically(folder / image['file_name'], content)
        except InputError as error:
            return error
        return None

    def _get(self, url: str, part: range | None = None, most: int = 0) -> tuple[bytes, int]:
        """Fetch a file, or some of its bytes.

        Args:
            url: Its address.
            part: The bytes that are wanted, all by default.
            most: How many bytes a whole file may have.

        Returns:
            The bytes, and how many the whole file has.

        Raises:
            _FetchError: There is no whole answer, after all retries, or not the one that was asked for.
        """
        headers = {'Accept-Encoding': 'identity'} | ({'Range': f'bytes={part[0]}-{part[-1]}'} if part else {})
        retries = self._retries
        with _TimeLimit(self._seconds) as limit:
            while True:
                try:
                    response = self._http.request('GET', url, headers=headers, retries=retries, preload_content=False)
                    retries = response.retries or retries
                    with contextlib.closing(response):
                        total = _check_head(response, url, part)
                        content = _read_body(response, url, len(part) if part else most)
                    limit.check()
                    return content, total if part else len(content)
                except _FetchError:
                    raise
                except MaxRetryError as error:
                    limit.check()
                    raise _FetchError(f'{url} cannot be fetched: {error.reason or error}') from None
                except ValueError as error:  # a redirection to what is no address, or to another kind of it
                    raise _FetchError(f'{url} cannot be fetched: {error}') from None
                except HTTPError as error:
                    limit.check()
                    try:
                        retries = retries.increment('GET', url, error=error)
                    except HTTPError:
                        raise _FetchError(f'{url} cannot be fetched: {error}') from None
                    retries.sleep()

    def _read_member(self, remote: '_RemoteFile', member: str, url: str) -> bytes:
        with zipfile.ZipFile(_Archive(remote, BLOCK_SIZE)) as archive:
            outside = [name for name in archive.namelist() if not is_inside(name)]
            if outside:
                raise InputError(f'{url} has an entry that leads out of its folder, and is not used: {outside[0]!r}')
            if member not in archive.namelist():
                raise InputError(f'{url} has no {member}, but {", ".join(archive.namelist()[:6]) or "nothing"}')
            entry = archive.getinfo(member)
            size, compressed = entry.file_size, entry.compress_size
            if size > min(MAX_ANNOTATION_SIZE, MAX_COMPRESSION * (compressed + BLOCK_SIZE)):
                raise InputError(
                    f'{member} in {url} would take {size / 2**20:.0f} MiB, {compressed / 2**20:.0f} of them in the '
                    'archive: that is no annotation file'
                )
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or compressed > size + BLOCK_SIZE:
                raise InputError(f'{member} in {url} is compressed in a way that is not used for annotations')
            content = io.BytesIO()
            with archive.open(member) as source:
                pieces = iter(partial(source.read, BLOCK_SIZE), b'')
                for piece in self.progress(pieces, f'fetching {Path(member).name}', -(-size // BLOCK_SIZE)):
                    content.write(piece)
        return content.getvalue()


class _RemoteFile(io.RawIOBase):
    """A file on a server, read in blocks that are kept on disk.

    The package remotezip reads an archive likewise, but keeps nothing for a
    second attempt, does not ask again where an answer breaks off, takes as
    many bytes as the server states, and waits for a slow one without a limit.

    Raises:
        InputError: The server does not give parts of the file.
    """

    def __init__(self, fetch: Callable[[range], tuple[bytes, int]], url: str, blocks: Path) -> None:
        self._fetch, self._url, self._blocks = fetch, url, blocks
        self._position = 0
        _, self._size = fetch(range(1))
        if self._size > MAX_ARCHIVE_SIZE:
            raise InputError(f'{url} would have {self._size / 2**30:.0f} GiB: that is no archive of annotations')

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, position)  # before the beginning of a small file there is no directory to find
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        number, start = divmod(self._position, BLOCK_SIZE)
        piece = self._block(number)[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _block(self, number: int) -> bytes:
        path = self._blocks / f'{number}_of_{self._size}'
        part = range(number * BLOCK_SIZE, min((number + 1) * BLOCK_SIZE, self._size))
        if not path.is_file() or path.stat().st_size != len(part):
            content, size = self._fetch(part)
            if size != self._size:
                raise InputError(f'{self._url} has {size} bytes, but had {self._size} before: try again')
            self._blocks.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        return path.read_bytes()


class _Archive(io.BufferedReader):
    """A remote file for zipfile, which reads as much as an archive states for its directory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY_SIZE:
            raise zipfile.BadZipFile(f'its directory would take {size} bytes')
        return super().read(size)


class _TimeLimit:
    """Ends an answer that takes too long, wherever in it the server dawdles.

    A limit for each read from a connection is not enough: a server that sends
    a byte now and then would be waited for without an end. It holds for the
    thread that enters it.
    """

    _of_thread = threading.local()

    def __init__(self, seconds: float) -> None:
        self.seconds, self._is_over = seconds, False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> '_TimeLimit':
        self._of_thread.limit = self
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel()

    @classmethod
    def current(cls) -> '_TimeLimit':
        """Return the one of this thread."""
        limit: _TimeLimit = cls._of_thread.limit
        return limit

    def check(self) -> None:
        """Raise _SlowError where the time is over."""
        if self._is_over:
            raise _SlowError(
                f'the server takes more than {self.seconds:g} s for an answer; on a slow connection, give a longer '
                '--timeout'
            )

    def begin(self, connection: socket.socket) -> None:
        """Begin the time of an answer anew."""
        self._cancel()
        self._timer = threading.Timer(self.seconds, self._end, [connection])
        self._timer.daemon = True
        self._timer.start()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _end(self, connection: socket.socket) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):  # it has just ended
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not ssl's own, which would race with a read


def _limited(pool: Any) -> Any:
    """Return a class of connection pools whose answers end with the time limit of their thread."""

    class Connection(pool.ConnectionCls):
        def request(self, *args: Any, **options: Any) -> None:
            limit = _TimeLimit.current()
            limit.check()  # it may have ended the attempt before
            super().request(*args, **options)
            limit.begin(self.sock)

    return type(pool.__name__, (pool,), dict(ConnectionCls=Connection))


def _connections(url: str, **options: Any) -> urllib3.PoolManager:
    """Make a pool of connections, through the proxy that the environment names."""
    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ''):
        manager: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options)
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {scheme: _limited(pool) for scheme, pool in manager.pool_classes_by_scheme.items()}
    return manager


def _check_head(response: urllib3.BaseHTTPResponse, url: str, part: range | None) -> int:
    """Raise _FetchError where an answer is not what was asked for; return the size of the whole file, of a part."""
    if response.status != 200 and not (part and response.status == 206):
        kind = _MissingError if response.status in (404, 410) else _FetchError
        raise kind(f'{url} cannot be fetched: status {response.status} {response.reason or ""}'.rstrip())
    if response.headers.get('Content-Encoding', 'identity') != 'identity':
        raise _FetchError(f'{url} cannot be fetched: the answer is compressed, which was not asked for')
    if not part:
        return 0
    stated = re.fullmatch(r'bytes (\d{1,20})-(\d{1,20})/(\d{1,20})', response.headers.get('Content-Range', ''))
    if response.status != 206 or not stated or (int(stated[1]), int(stated[2])) != (part[0], part[-1]):
        raise _FetchError(
            f'{url} cannot be read in parts: a request for some bytes is answered with status {response.status} '
            f'and Content-Type {response.headers.get("Content-Type", "unknown")}; check the address, or fetch the data '
            'by other means and use --from'
        )
    return int(stated[3])


def _read_body(response: urllib3.BaseHTTPResponse, url: str, most: int) -> bytes:
    """Read an answer of at most so many bytes."""
    content = bytearray()
    while piece := response.read(min(PIECE_SIZE, most + 1 - len(content)), decode_content=False):
        content += piece
        if len(content) > most:
            raise _FetchError(f'{url} cannot be fetched: the answer has more than {most} bytes')
    return bytes(content)


def _check_image(content: bytes, image: dict[str, Any], address: str) -> None:
    """Raise InputError where a file is not the image that the annotations describe."""
    expected = image['width'], image['height']
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of Pillow, for large images and odd metadata
            with Image.open(io.BytesIO(content)) as opened:
                size = opened.size
                if size == expected:
                    opened.load()  # up to here only the head has been read
    except Exception as error:  # Pillow's plugins raise all kinds on broken files
        reason = f'{content[:40]!r}...' if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f'{address} is no whole image: {reason}') from None
    if size != expected:
        raise InputError(
            f'{address} has {size[0]} x {size[1]} pixels, but {expected[0]} x {expected[1]} by its annotation'
        )
