"""Download of single images and annotation files of COCO."""

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
from PIL import UnidentifiedImageError
from urllib3.exceptions import HTTPError, MaxRetryError

from ..choices import COCO_URL
from ..errors import InputError
from .coco import read_coco
from .files import write_atomically
from .images import open_image
from .validate import is_inside

T = TypeVar('T')
BLOCK_SIZE = 2**20  # of a remote archive, in bytes
# Limits in bytes against wrong answers and decompression bombs. COCO's largest annotation file has 0.5 GB.
MAX_ANNOTATION_SIZE = 2**30
MAX_ARCHIVE_SIZE = 4 * 2**30
MAX_DIRECTORY_SIZE = 16 * 2**20  # central directory of an archive
MAX_IMAGE_SIZE = 64 * 2**20
MAX_COMPRESSION = 100  # COCO's annotations compress by a factor of 4; deflate's limit is 1032
MAX_FAILURES = 10  # give up on a server after so many failed images
MAX_REDIRECTS = 5
TRANSIENT = (408, 429, 500, 502, 503, 504)
PATIENCE = 5  # total time limit of an answer, in units of the timeout
PIECE_SIZE = 2**16  # bytes per read


class _FetchError(InputError):
    """No answer or a wrong one from a server; earlier answers may still be valid."""


class _MissingError(_FetchError):
    """File not found on the server."""


class _SlowError(_FetchError):
    """Answer over the time limit. Later ones would be, too."""


class CocoServer:
    """COCO's server or a mirror, from which only the requested files are downloaded.

    A mirror has ``annotations/annotations_trainval{year}.zip`` next to
    ``train{year}/`` and ``val{year}/``, like ``images.cocodataset.org``. Of
    the archive only the blocks of the requested member are downloaded.

    Files are written to ``cache`` atomically after a check, and are not
    downloaded again, so the same call resumes after an interruption. An answer
    may be at most as large as requested (64 MiB for an image) and take at most
    five times ``timeout``.

    Args:
        cache: Folder for the downloads, which becomes a data set in COCO layout.
        url: URL of the server. Defaults to COCO's.
        year: 2014 or 2017.
        retries: Number of retries after a transient failure: no connection, timeout, incomplete answer, status 429
            or 5xx. The delay doubles from 0.5 s up to 10 s.
        timeout: Seconds without data after which a connection is closed.
        workers: Number of parallel connections.
        progress: Wraps a loop, given a label and a total.

    Raises:
        InputError: If the installed urllib3 is too old, or the URL is invalid.
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
        if not hasattr(urllib3, 'BaseHTTPResponse'):  # of urllib3 2; openmim takes it back to 1.26
            raise InputError(
                f"a download needs urllib3 2, but {urllib3.__version__} is installed: pip install 'urllib3>=2'"
            )
        self.cache, self.url, self.year = cache, url.rstrip('/'), year
        self.workers, self.progress = workers, progress
        self._seconds = PATIENCE * timeout
        self._decoding = threading.Lock()
        try:
            address = urlsplit(url)
        except ValueError:  # brackets without an IPv6 address
            address = urlsplit('')
        if address.scheme not in ('http', 'https') or not address.hostname:
            raise InputError(f'{url} is not the URL of a server: use a form like {COCO_URL}')
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
        """Download the instance annotations of ``'train'`` or ``'val'``, unless cached.

        Args:
            split: ``'train'`` or ``'val'``.
            read: Reads the file and raises InputError if it is invalid. An invalid file is not kept.

        Returns:
            The file, and the result of ``read``.

        Raises:
            InputError: If they cannot be downloaded or are invalid.
        """
        path = self._ann_file(split)
        member = str(path.relative_to(self.cache))
        if path.is_file():
            with contextlib.suppress(InputError):  # download it again
                return path, read(path)
        url = f'{self.url}/annotations/annotations_trainval{self.year}.zip'
        blocks, part = self.cache / 'blocks', path.with_suffix('.part')
        resumed = blocks.is_dir()  # blocks of an earlier call
        try:
            content = self._read_member(_RemoteFile(partial(self._get, url), url, blocks), member, url)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(part, content)
            del content  # may be large, and is read from the file below
            found = read(part)
            part.replace(path)
        except (OSError, MemoryError, _FetchError):
            raise
        except Exception as error:  # zipfile and zlib fail in many ways
            shutil.rmtree(blocks, ignore_errors=True)
            if resumed:  # the earlier blocks may be corrupt
                return self.annotations(split, read)
            if isinstance(error, InputError):
                raise InputError(str(error).replace(str(part), f'{member} in {url}')) from None
            raise InputError(f'{url} is not a complete zip archive: {error}') from None
        finally:
            part.unlink(missing_ok=True)
        shutil.rmtree(blocks)
        return path, found

    def _ann_file(self, split: str) -> Path:
        return self.cache / f'annotations/instances_{split}{self.year}.json'

    def images(self, split: str, images: list[dict[str, Any]]) -> Path:
        """Download images as listed in COCO's annotations, unless cached.

        Returns:
            Their folder.

        Raises:
            InputError: If some cannot be downloaded or are invalid.
        """
        folder = self.cache / f'{split}{self.year}'
        wanted = {image['file_name']: image for image in images if not (folder / image['file_name']).is_file()}
        for file_name in wanted:
            (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
        failures: list[InputError] = []
        # Unlike those of an executor, its threads do not keep an interrupted process alive.
        with ThreadPool(self.workers) as pool:
            results = pool.imap_unordered(
                partial(self._fetch_image, f'{self.url}/{folder.name}', folder), wanted.values()
            )
            for failure in self.progress(results, f'downloading {split} images', len(wanted)):
                if failure:
                    failures.append(failure)
                if isinstance(failure, _SlowError) or len(failures) == MAX_FAILURES:
                    break
        if failures:
            fetched = sum((folder / image['file_name']).is_file() for image in images)
            if not fetched and all(isinstance(failure, _MissingError) for failure in failures):
                self._ann_file(split).unlink(missing_ok=True)  # they may be of another server
            reasons = [f'{fetched} of {len(images)} {split} images are downloaded, others failed:', *map(str, failures)]
            raise InputError(
                '\n- '.join(reasons) + f'\ndownloaded files stay in {self.cache}; rerun the same command to resume'
            )
        return folder

    def _fetch_image(self, url: str, folder: Path, image: dict[str, Any]) -> InputError | None:
        """Download an image, and return the error, if any."""
        address = f'{url}/{quote(os.fsencode(image["file_name"]))}'
        try:
            content, _ = self._get(address, most=MAX_IMAGE_SIZE)
            with self._decoding:  # one at a time: decoding may need 100 times the file size
                _check_image(content, image, address)
            write_atomically(folder / image['file_name'], content)
        except InputError as error:
            return error
        return None

    def _get(self, url: str, part: range | None = None, most: int = 0) -> tuple[bytes, int]:
        """Download a file or a range of its bytes.

        Args:
            url: URL of the file.
            part: Range of bytes. Defaults to None, which is the whole file.
            most: Size limit of a whole file in bytes.

        Returns:
            The bytes, and the size of the whole file.

        Raises:
            _FetchError: If the answer is incomplete after all retries, or invalid.
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
                except ValueError as error:  # a redirection to an invalid URL
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
                raise InputError(f'{url} is rejected: it has an entry outside its folder: {outside[0]!r}')
            if member not in archive.namelist():
                raise InputError(f'{url} has no {member}, but {", ".join(archive.namelist()[:6]) or "nothing"}')
            entry = archive.getinfo(member)
            size, compressed = entry.file_size, entry.compress_size
            if size > min(MAX_ANNOTATION_SIZE, MAX_COMPRESSION * (compressed + BLOCK_SIZE)):
                raise InputError(
                    f'{member} in {url} has {size / 2**20:.0f} MiB, {compressed / 2**20:.0f} MiB compressed: this is '
                    'not an annotation file'
                )
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or compressed > size + BLOCK_SIZE:
                raise InputError(f'{member} in {url} has an unsupported compression')
            content = io.BytesIO()
            with archive.open(member) as source:
                pieces = iter(partial(source.read, BLOCK_SIZE), b'')
                for piece in self.progress(pieces, f'downloading {Path(member).name}', -(-size // BLOCK_SIZE)):
                    content.write(piece)
        return content.getvalue()


class _RemoteFile(io.RawIOBase):
    """A file on a server, read in blocks that are cached on disk.

    Unlike the package remotezip it resumes, retries incomplete answers, and
    limits size and time of an answer.

    Raises:
        InputError: If the server does not support range requests.
    """

    def __init__(self, fetch: Callable[[range], tuple[bytes, int]], url: str, blocks: Path) -> None:
        self._fetch, self._url, self._blocks = fetch, url, blocks
        self._position = 0
        _, self._size = fetch(range(1))
        if self._size > MAX_ARCHIVE_SIZE:
            raise InputError(f'{url} has {self._size / 2**30:.0f} GiB: this is not an archive of annotations')

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, position)  # zipfile seeks before the start of a small file
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
                raise InputError(
                    f'{self._url} changed its size from {self._size} to {size} bytes during the download: try again'
                )
            self._blocks.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        return path.read_bytes()


class _Archive(io.BufferedReader):
    """A remote file for zipfile, with a limit on the size of the central directory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY_SIZE:
            raise zipfile.BadZipFile(f'its central directory has {size} bytes')
        return super().read(size)


class _TimeLimit:
    """Time limit of a whole answer, for the thread that enters it.

    A timeout per read is not enough: a server that sends a byte now and then
    would never reach it.
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
        """Return the limit of this thread."""
        limit: _TimeLimit = cls._of_thread.limit
        return limit

    def check(self) -> None:
        """Raise _SlowError if the time is over."""
        if self._is_over:
            raise _SlowError(
                f'the server takes more than {self.seconds:g} s for an answer; increase --timeout for a slow connection'
            )

    def begin(self, connection: socket.socket) -> None:
        """Restart the timer for a new answer."""
        self._cancel()
        self._timer = threading.Timer(self.seconds, self._end, [connection])
        self._timer.daemon = True
        self._timer.start()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _end(self, connection: socket.socket) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):  # already closed
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not ssl's own, which would race with a read


def _limited(pool: Any) -> Any:
    """Return a connection pool class that applies the time limit of its thread."""

    class Connection(pool.ConnectionCls):
        def request(self, *args: Any, **options: Any) -> None:
            limit = _TimeLimit.current()
            limit.check()  # may be over since the last attempt
            super().request(*args, **options)
            limit.begin(self.sock)

    return type(pool.__name__, (pool,), dict(ConnectionCls=Connection))


def _connections(url: str, **options: Any) -> urllib3.PoolManager:
    """Return a connection pool, using the proxy from the environment."""
    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ''):
        manager: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options)
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {scheme: _limited(pool) for scheme, pool in manager.pool_classes_by_scheme.items()}
    return manager


def _check_head(response: 'urllib3.BaseHTTPResponse', url: str, part: range | None) -> int:
    """Check the headers of an answer; return the size of the whole file for a range request."""
    if response.status != 200 and not (part and response.status == 206):
        kind = _MissingError if response.status in (404, 410) else _FetchError
        raise kind(f'{url} cannot be fetched: status {response.status} {response.reason or ""}'.rstrip())
    if response.headers.get('Content-Encoding', 'identity') != 'identity':
        raise _FetchError(f'{url} cannot be fetched: the answer is compressed although not requested')
    if not part:
        return 0
    stated = re.fullmatch(r'bytes (\d{1,20})-(\d{1,20})/(\d{1,20})', response.headers.get('Content-Range', ''))
    if response.status != 206 or not stated or (int(stated[1]), int(stated[2])) != (part[0], part[-1]):
        raise _FetchError(
            f'{url} does not support range requests: the answer has status {response.status} '
            f'and Content-Type {response.headers.get("Content-Type", "unknown")}; check the address, or fetch the data '
            'by other means and use --from'
        )
    return int(stated[3])


def _read_body(response: 'urllib3.BaseHTTPResponse', url: str, most: int) -> bytes:
    """Read an answer of at most ``most`` bytes."""
    content = bytearray()
    while piece := response.read(min(PIECE_SIZE, most + 1 - len(content)), decode_content=False):
        content += piece
        if len(content) > most:
            raise _FetchError(f'{url} cannot be fetched: the answer has more than {most} bytes')
    return bytes(content)


def _check_image(content: bytes, image: dict[str, Any], address: str) -> None:
    """Raise InputError if a file is not the image described in the annotations."""
    expected = image['width'], image['height']
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # from Pillow, on large images and odd metadata
            with open_image(io.BytesIO(content)) as opened:
                size = opened.size
                if size == expected:
                    opened.load()  # only the header has been read so far
    except Exception as error:  # Pillow's plugins raise many types on corrupt files
        reason = f'{content[:40]!r}...' if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f'{address} is not a complete image: {reason}') from None
    if size != expected:
        raise InputError(
            f'{address} has {size[0]} x {size[1]} pixels, but {expected[0]} x {expected[1]} in the annotations'
        )
