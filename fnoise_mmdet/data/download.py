"""COCO over the network: only what a sample needs of it."""

import errno
import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from PIL import Image, UnidentifiedImageError
from urllib3.exceptions import HTTPError, LocationValueError, MaxRetryError

from ..errors import InputError
from .files import write_atomically
from .validate import is_inside

COCO_URL = 'http://images.cocodataset.org'
BLOCK_SIZE = 2**20  # of a remote archive, in bytes
# COCO's largest annotation file has 0.5 GB: what is beyond this is no annotation file, or a bomb.
MAX_ANNOTATION_SIZE = 4 * 2**30
MAX_FAILURES = 10  # a server that fails so often is not asked for the rest
TRANSIENT = (408, 429, 500, 502, 503, 504)


class CocoServer:
    """COCO's server or a mirror: a data set of which only the asked-for files are fetched.

    A mirror has ``annotations/annotations_trainval{year}.zip`` beside
    ``train{year}/`` and ``val{year}/``, as ``images.cocodataset.org`` has. Of
    the archive the blocks with the needed member are fetched, not the whole of it.

    Everything lands in ``cache``, each file whole or not at all, and is not
    fetched again: after an interruption the same call goes on.

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
        if urlsplit(url).scheme not in ('http', 'https') or not urlsplit(url).hostname:
            raise InputError(f'{url} is no address of a server: give one as {COCO_URL}')
        self._http = _connections(
            self.url,
            retries=urllib3.Retry(retries, status_forcelist=TRANSIENT, backoff_factor=0.5, backoff_max=10),
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            maxsize=workers,
        )

    def annotations(self, split: str) -> Path:
        """Fetch the instance annotations of ``'train'`` or ``'val'``, where they are not there yet.

        Raises:
            InputError: The server does not give them, or gives something else.
        """
        member = f'annotations/instances_{split}{self.year}.json'
        path = self.cache / member
        if path.is_file():
            return path
        url = f'{self.url}/annotations/annotations_trainval{self.year}.zip'
        blocks = self.cache / 'blocks'
        try:
            content = self._read_member(_RemoteFile(self._get, url, blocks), member, url)
        except InputError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            shutil.rmtree(blocks, ignore_errors=True)  # they would be as wrong the next time
            raise InputError(f'{url} is not a whole zip archive: {error}') from None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        shutil.rmtree(blocks)
        return path

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
        failures: list[str] = []
        # Its threads do not keep an interrupted process alive, as those of an executor do.
        with ThreadPool(self.workers) as pool:
            results = pool.imap_unordered(
                partial(self._fetch_image, f'{self.url}/{folder.name}', folder), wanted.values()
            )
            for failure in self.progress(results, f'fetching {split} images', len(wanted)):
                if failure:
                    failures.append(failure)
                if len(failures) == MAX_FAILURES:
                    break
        if failures:
            fetched = sum((folder / image['file_name']).is_file() for image in images)
            raise InputError(
                '\n- '.join([f'{fetched} of {len(images)} {split} images are fetched, others failed:', *failures])
                + f'\nwhat is fetched stays in {self.cache}; the same command goes on from there'
            )
        return folder

    def _fetch_image(self, url: str, folder: Path, image: dict[str, Any]) -> str:
        """Fetch an image, and tell what is wrong, or nothing."""
        address = f'{url}/{quote(os.fsencode(image["file_name"]))}'
        try:
            content = self._get(address).data
            _check_image(content, image, address)
            write_atomically(folder / image['file_name'], content)
        except InputError as error:
            return str(error)
        return ''

    def _get(self, url: str, part: range | None = None, preload: bool = True) -> urllib3.BaseHTTPResponse:
        """Ask for a file, or for some of its bytes.

        Raises:
            InputError: There is no whole answer, after all retries, or the status is not that of success.
        """
        headers = {'Range': f'bytes={part.start}-{part.stop - 1}'} if part else {}
        try:
            # Preloaded, because an answer that breaks off in its midst is then asked for again, too.
            response = self._http.request('GET', url, headers=headers, preload_content=preload)
        except (HTTPError, LocationValueError) as error:
            reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
            raise InputError(f'{url} cannot be fetched: {reason}') from None
        if response.status not in (200, 206):
            raise InputError(f'{url} cannot be fetched: status {response.status} {response.reason or ""}'.rstrip())
        return response

    def _read_member(self, remote: '_RemoteFile', member: str, url: str) -> bytes:
        with zipfile.ZipFile(io.BufferedReader(remote, BLOCK_SIZE)) as archive:
            outside = [name for name in archive.namelist() if not is_inside(name)]
            if outside:
                raise InputError(f'{url} has an entry that leads out of its folder, and is not used: {outside[0]!r}')
            if member not in archive.namelist():
                raise InputError(f'{url} has no {member}, but {", ".join(archive.namelist()[:6]) or "nothing"}')
            size = archive.getinfo(member).file_size
            if size > MAX_ANNOTATION_SIZE:
                raise InputError(f'{member} in {url} would take {size / 2**30:.0f} GiB: that is no annotation file')
            content = io.BytesIO()
            with archive.open(member) as source:
                pieces = iter(partial(source.read, BLOCK_SIZE), b'')
                for piece in self.progress(pieces, f'fetching {Path(member).name}', -(-size // BLOCK_SIZE)):
                    content.write(piece)
        return content.getvalue()


class _RemoteFile(io.RawIOBase):
    """A file on a server, read in blocks that are kept on disk.

    Raises:
        InputError: The server does not give parts of the file.
    """

    def __init__(self, fetch: Callable[..., urllib3.BaseHTTPResponse], url: str, blocks: Path) -> None:
        self._fetch, self._url, self._blocks = fetch, url, blocks
        self._position = 0
        response = fetch(url, range(1), preload=False)
        response.close()
        total = response.headers.get('Content-Range', '').rpartition('/')[2]
        if response.status != 206 or not total.isdecimal():
            raise InputError(
                f'{url} cannot be read in parts: a request for some bytes is answered with status {response.status} '
                f'and Content-Type {response.headers.get("Content-Type", "unknown")}; check the address, '
                'or fetch the data by other means and use --from'
            )
        self._size = int(total)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError(errno.EINVAL, 'a position before the beginning')  # as a local file does
        self._position = position
        return position

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
        if not path.is_file():
            part = range(number * BLOCK_SIZE, min((number + 1) * BLOCK_SIZE, self._size))
            content = self._fetch(self._url, part).data
            if len(content) != len(part):
                raise InputError(f'{self._url}: {len(part)} bytes were asked for, but {len(content)} came')
            self._blocks.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        return path.read_bytes()


def _connections(url: str, **options: Any) -> urllib3.PoolManager:
    """Make a pool of connections, through the proxy that the environment names."""
    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ''):
        return urllib3.ProxyManager(proxy, **options)
    return urllib3.PoolManager(**options)


def _check_image(content: bytes, image: dict[str, Any], address: str) -> None:
    """Raise InputError where a file is not the image that the annotations describe."""
    expected = image['width'], image['height']
    try:
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
