"""Reader of torch checkpoint files that executes no code from them.

``torch.load(weights_only=True)`` is not safe for untrusted files: mmengine's
checkpoints need ``getattr`` and NumPy's reconstruction among the safe globals,
which give access to any attribute and any memory; torch < 2.6 executes code
from the legacy format; and no version limits the memory that a small file can
allocate. This reader knows the few object types of mmengine's checkpoints,
builds them from validated values, and rejects everything else.
"""

import io
import math
import mmap
import os
import pickle
import stat
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import IO, Any, NoReturn

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor
from torch.storage import TypedStorage

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the format before torch 1.6
MAX_DEPTH = 64  # of nested containers
MAX_OPERATIONS = 10_000_000  # of a pickle, up to about 100 bytes each; a large detector needs 500,000
STATISTICS = ('min', 'max', 'current', 'mean')  # methods of HistoryBuffer, pickled by getattr
SCALARS = (str, bytes, int, float, bool, type(None))  # valid dict keys
PLAIN = (bytes, float, bool, type(None), Tensor, torch.nn.Parameter, np.ndarray, torch.Size)
STORAGES = {
    'DoubleStorage': torch.float64, 'FloatStorage': torch.float32, 'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16, 'LongStorage': torch.int64, 'IntStorage': torch.int32,
    'ShortStorage': torch.int16, 'CharStorage': torch.int8, 'ByteStorage': torch.uint8, 'BoolStorage': torch.bool,
    'ComplexDoubleStorage': torch.complex128, 'ComplexFloatStorage': torch.complex64, 'UntypedStorage': torch.uint8,
}  # fmt: skip


class CorruptCheckpointError(ValueError):
    """Incomplete or corrupt checkpoint."""


class UnsafeCheckpointError(ValueError):
    """Checkpoint that holds more than weights and plain data."""


def read_checkpoint(source: str | os.PathLike | IO[bytes]) -> Any:
    """Read a file of ``torch.save``, with tensors on the CPU.

    Args:
        source: Path of a regular file, or a seekable binary file.

    Returns:
        Containers, numbers, strings, tensors, NumPy arrays and scalars, and
        mmengine's ``HistoryBuffer``, nested to a depth of at most 64. Or a
        single storage, as which the tensors of an ordinary pickle are loaded.

    Raises:
        OSError: If the file cannot be read.
        CorruptCheckpointError: If it is not a regular file, not in torch's
            format, truncated, or a checksum is wrong.
        UnsafeCheckpointError: If it holds other objects, or would take more
            memory than the file itself.
    """
    if not isinstance(source, str | os.PathLike):
        return _read(source, source.seek(0, io.SEEK_END))
    # Non-blocking, since opening a pipe without a writer would block.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NONBLOCK), 'rb') as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise CorruptCheckpointError('it is not a regular file')
        return _read(file, status.st_size)


def _read(file: IO[bytes], size: int) -> Any:
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    if not head:
        raise CorruptCheckpointError('it is empty')
    if head[:1] not in (b'P', b'\x80'):  # of a zip archive, and of a pickle of torch.save before 1.6
        raise CorruptCheckpointError('it is not a file of torch.save')
    try:
        content = _read_zip(file, size) if head == b'PK\x03\x04' else _read_legacy(file, size)
        if type(content) is _Storage:  # alone, as in a tensor that was pickled
            return TypedStorage(wrap_storage=content.content.untyped_storage(), dtype=content.dtype, _internal=True)
        _check_plain(content, {})
        return content
    except (CorruptCheckpointError, UnsafeCheckpointError):
        raise
    except EOFError as error:
        raise CorruptCheckpointError('it is truncated') from error
    except Exception as error:  # invalid pickles raise many types
        raise CorruptCheckpointError(str(error) or type(error).__name__) from error


def check_sums(path: str | os.PathLike) -> None:
    """Verify the checksums of a checkpoint, without reading its objects.

    Files of the format before torch 1.6 have no checksums, and pass unless they are empty.

    Raises:
        OSError: If the file cannot be read.
        CorruptCheckpointError: If a checksum is wrong, or the file is truncated.
        UnsafeCheckpointError: If its records are larger than the file.
    """
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        head = file.read(2)
        if not head:
            raise CorruptCheckpointError('it is empty')
        if head != b'PK':
            return
        try:
            with zipfile.ZipFile(file) as archive:
                _records(archive, size)
                if archive.testzip() is not None:
                    raise CorruptCheckpointError('a checksum is wrong')
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise CorruptCheckpointError(str(error)) from error


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the records of an archive by name, which together are not larger than the file."""
    records = {info.filename: info for info in archive.infolist()}
    if len(records) < len(archive.infolist()):
        raise UnsafeCheckpointError('two records of the same name')
    if any(info.compress_type != zipfile.ZIP_STORED for info in records.values()):  # torch never compresses
        raise UnsafeCheckpointError('compressed records')
    if sum(info.file_size for info in records.values()) > size:
        raise UnsafeCheckpointError('records that overlap')
    return records


def _read_zip(file: IO[bytes], size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        records = _records(archive, size)
        roots = [name.removesuffix('/data.pkl') for name in records if name.endswith('/data.pkl')]
        if len(roots) != 1:
            raise CorruptCheckpointError(f'it is a zip archive with {len(roots)} records data.pkl instead of one')
        root = roots[0]
        if f'{root}/constants.pkl' in records:
            raise UnsafeCheckpointError('a TorchScript program')
        order = archive.read(f'{root}/byteorder').decode() if f'{root}/byteorder' in records else sys.byteorder
        if order != sys.byteorder:
            raise CorruptCheckpointError(f'its byte order is {order}, but that of this machine is {sys.byteorder}')

        storages: dict[str, Tensor] = {}

        def read_storage(key: str, count: int, itemsize: int) -> Tensor:
            if f'{root}/data/{key}' not in records:
                raise CorruptCheckpointError(f'storage {key} is missing')
            if key not in storages:
                storages[key] = _empty(records[f'{root}/data/{key}'].file_size)
                storages[key].numpy()[:] = np.frombuffer(archive.read(f'{root}/data/{key}'), np.uint8)
            if count * itemsize != storages[key].numel():
                raise CorruptCheckpointError(f'storage {key} does not have the stated size')
            return storages[key]

        content = _Unpickler(io.BytesIO(archive.read(f'{root}/data.pkl')), read_storage).load()
        for name in records.keys() - {f'{root}/data/{key}' for key in storages}:
            archive.read(name)  # verifies its checksum
    return content


def _read_legacy(file: IO[bytes], size: int) -> Any:
    storages: dict[str, Tensor] = {}
    itemsizes: dict[str, int] = {}

    room = size

    def reserve_storage(key: str, count: int, itemsize: int) -> Tensor:
        nonlocal room
        if key not in storages:
            room -= count * itemsize
            if room < 0:
                raise UnsafeCheckpointError('tensors that are larger than the file')
            storages[key], itemsizes[key] = _empty(count * itemsize), itemsize
        return storages[key]

    # Reading from a memory map never allocates more than the file size.
    mapped = isinstance(file, io.BufferedReader)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if mapped else nullcontext(file) as source:
        if _Unpickler(source).load() != LEGACY_MAGIC or _Unpickler(source).load() != LEGACY_PROTOCOL:
            raise CorruptCheckpointError('it is not in the format of torch.save')
        system = _Unpickler(source).load()
        if system.get('little_endian', True) != (sys.byteorder == 'little'):
            raise CorruptCheckpointError('its byte order is not that of this machine')
        content = _Unpickler(source, reserve_storage).load()
        keys = _Unpickler(source).load()
        if type(keys) is not list or any(type(key) is not str for key in keys):  # hashing other types may not terminate
            raise CorruptCheckpointError('it has no list of storages')
        if set(keys) != storages.keys() or len(keys) != len(storages):
            raise CorruptCheckpointError('its tensors and its list of storages do not match')
        for key in keys:
            count = int.from_bytes(source.read(8), sys.byteorder)
            data = source.read(storages[key].numel())
            if count * itemsizes[key] != storages[key].numel() or len(data) < storages[key].numel():
                raise CorruptCheckpointError('it is truncated')
            storages[key].numpy()[:] = np.frombuffer(data, np.uint8)
    return content


def _empty(num_bytes: int) -> Tensor:
    return torch.empty(num_bytes, dtype=torch.uint8)


class _Storage:
    """Bytes of a checkpoint and their dtype."""

    __slots__ = ('content', 'dtype')

    def __init__(self, content: Tensor, dtype: torch.dtype) -> None:
        self.content, self.dtype = content, dtype


class _NumpyType:
    """Replacement for ``np.dtype``, whose state could describe arbitrary memory."""

    __slots__ = ('dtype',)

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


def _unsafe(what: str) -> NoReturn:
    raise UnsafeCheckpointError(what)


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any, dtype: torch.dtype | None = None
) -> Tensor:
    """Build a tensor within the bounds of its storage, without gradient and hooks."""
    dtype = dtype or storage.dtype
    count = storage.content.numel() // dtype.itemsize
    if type(size) not in (tuple, torch.Size) or len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        _unsafe('a tensor of an invalid shape')
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    # Nor more elements than the storage has, i.e. overlapping strides, which some code assumes contiguous.
    if offset + math.prod(size) > count or (math.prod(size) and last >= count):
        _unsafe('a tensor that is larger than its storage')
    # Strides of an empty tensor are unused, and could overflow.
    strides = stride if math.prod(size) else (0,) * len(size)
    return torch.empty(0, dtype=dtype).set_(storage.content.untyped_storage(), offset, size, strides)


def _rebuild_tensor_v3(
    storage: _Storage, offset: int, size: tuple, stride: tuple, requires_grad: bool, hooks: Any, dtype: torch.dtype,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    return _rebuild_tensor(storage, offset, size, stride, dtype=dtype)


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any) -> torch.nn.Parameter:
    return torch.nn.Parameter(data, requires_grad)


def _size(sizes: list | tuple) -> torch.Size:
    return torch.Size(sizes)


def _device(kind: str, index: int | None = None) -> torch.device:
    return torch.device(kind, index) if index is not None else torch.device(kind)


def _ordered_dict(items: list = []) -> OrderedDict:  # noqa: B006  # never mutated
    for item in items:
        _check_key(item[0])
    return OrderedDict(items)


def _counter(counts: dict) -> Counter:
    return Counter(counts) if type(counts) is dict else _unsafe('a Counter of something other than a dict')


def _set(items: list) -> set:
    for item in items:
        _check_key(item)
    return set(items)


def _bytes() -> bytes:
    return b''


def _encode(text: str, encoding: str) -> bytes:
    return text.encode('latin1') if encoding == 'latin1' else _unsafe('text in an unknown encoding')


def _statistic(owner: type, name: str) -> str:
    """Return a method name of ``HistoryBuffer``, the only use of ``getattr`` in mmengine's checkpoints."""
    if owner is not HistoryBuffer or name not in STATISTICS:
        _unsafe('builtins.getattr of something other than the statistics of HistoryBuffer')
    return name


def _numpy_type(text: str, *_: Any) -> _NumpyType:
    if text[:1] not in 'biufc' or not text[1:].isdecimal():
        _unsafe('an array of something other than numbers')
    return _NumpyType(np.dtype(text))


def _array(kind: type, *_: Any) -> np.ndarray:
    return np.ndarray(0, np.uint8) if kind is np.ndarray else _unsafe('an array of an unknown kind')


def _scalar(kind: _NumpyType, content: bytes) -> Any:
    (number,) = np.frombuffer(content, kind.dtype)
    return number


_NAMES: dict[str, Any] = {
    'collections.OrderedDict': _ordered_dict,
    'collections.Counter': _counter,
    '_codecs.encode': _encode,
    **{
        f'{module}.{name}': function
        for module in ('builtins', '__builtin__')
        for name, function in dict(getattr=_statistic, set=_set, bytes=_bytes).items()
    },
    'torch._utils._rebuild_tensor': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v3': _rebuild_tensor_v3,
    'torch._utils._rebuild_parameter': _rebuild_parameter,
    'torch.Size': _size,
    'torch.device': _device,
    **{f'{module}.{name}': dtype for module in ('torch', 'torch.cuda') for name, dtype in STORAGES.items()},
    'torch.storage.UntypedStorage': torch.uint8,
    **{str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)},
    'numpy.dtype': _numpy_type,
    'numpy.ndarray': np.ndarray,
    **{
        f'numpy.{core}.multiarray.{name}': function
        for core in ('core', '_core')  # NumPy 1, NumPy 2
        for name, function in dict(_reconstruct=_array, scalar=_scalar).items()
    },
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
    **{f'mmengine.logging.history_buffer.HistoryBuffer.{name}': name for name in STATISTICS},
}


def _check_key(key: Any) -> None:
    if type(key) not in SCALARS:  # hashing other types may not terminate
        _unsafe(f'a dict with a {type(key).__name__} as a key')


# The C implementation allocates the stated length before reading.
PythonUnpickler: Any = vars(pickle)['_Unpickler']


class _Unpickler(PythonUnpickler):
    """Unpickler restricted to :data:`_NAMES`, which modifies only new containers."""

    dispatch: dict[int, Callable]

    def __init__(self, file: Any, storage: Callable[[str, int, int], Tensor] | None = None) -> None:
        super().__init__(file, encoding='utf-8')
        self._storage = storage
        self.dispatch = _Operations(self.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        path = f'{module}.{name}'
        return _NAMES[path] if path in _NAMES else _unsafe(path)

    def persistent_load(self, pid: Any) -> _Storage:
        tag, dtype, key, _, count, *views = pid
        if self._storage is None or tag != 'storage' or not isinstance(dtype, torch.dtype) or type(key) is not str:
            _unsafe('an external object')
        if type(count) is not int or count < 0 or any(view is not None for view in views):
            _unsafe('a storage of an invalid size')
        return _Storage(self._storage(key, count, dtype.itemsize), dtype)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack[-1]
        if not callable(function) or isinstance(function, type):  # only those of _NAMES can occur
            _unsafe('a call of an object that is not a function')
        self.stack[-1] = function(*args)

    def load_newobj(self) -> None:
        args, kind = self.stack.pop(), self.stack.pop()
        if kind is not HistoryBuffer or args:
            _unsafe('an object of an unknown kind')
        self.append(HistoryBuffer.__new__(HistoryBuffer))

    def load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        kind = type(built)
        if kind is np.ndarray:
            version, shape, of, is_fortran, content = state
            if version != 1 or type(of) is not _NumpyType or type(content) is not bytes or min(shape, default=0) < 0:
                _unsafe('an array of something other than numbers')
            built.__setstate__((1, shape, of.dtype, bool(is_fortran), content))
        elif kind is _NumpyType:
            _, order, *described = state
            if order not in ('<', '>', '|', '=') or any(part is not None for part in described[:3]):
                _unsafe('an array of something other than numbers')
            built.dtype = built.dtype.newbyteorder(order)
        elif kind is HistoryBuffer:
            vars(built).update({name: state[name] for name in ('max_length', '_log_history', '_count_history')})
            built._set_default_statistics()  # mmengine's own, not those of the checkpoint
        elif kind is OrderedDict and state.keys() == {'_metadata'}:  # module versions of a state dict
            built._metadata = state['_metadata']
        else:
            _unsafe(f'a state for a {kind.__name__}')

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._extend(values)

    def _extend(self, values: list) -> None:
        if type(self.stack[-1]) is not list:
            _unsafe(f'an addition to a {type(self.stack[-1]).__name__}')
        self.stack[-1].extend(values)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._update(items)

    def _update(self, items: list) -> None:
        if type(self.stack[-1]) not in (dict, OrderedDict):
            _unsafe(f'an item of a {type(self.stack[-1]).__name__}')
        for key, value in zip(items[::2], items[1::2], strict=True):
            _check_key(key)
            self.stack[-1][key] = value

    def load_other(self) -> None:
        """Reject an operation that weights and plain data do not need."""
        _unsafe('an operation of pickle that torch does not use')


# Pickle operations needed for weights and plain data. Those that mutate objects are overridden above.
_NEEDED = {
    *('proto', 'frame', 'stop', 'mark', 'none', 'true', 'false', 'binint', 'binint1', 'binint2', 'long1', 'binfloat'),
    *('binunicode', 'short_binunicode', 'binunicode8', 'binstring', 'short_binstring'),
    *('binbytes', 'short_binbytes', 'binbytes8', 'empty_tuple', 'tuple', 'tuple1', 'tuple2', 'tuple3', 'empty_list'),
    *('empty_dictionary', 'append', 'appends', 'setitem', 'setitems', 'binget', 'long_binget', 'binput'),
    *('long_binput', 'memoize', 'binpersid', 'global', 'stack_global', 'reduce', 'newobj', 'build'),
}


class _Operations(dict):
    """Dispatch table with a limit on the number of operations."""

    left = MAX_OPERATIONS

    def __getitem__(self, code: int) -> Callable:
        self.left -= 1
        return super().__getitem__(code) if self.left >= 0 else _unsafe(f'more than {MAX_OPERATIONS:,} operations')


_Unpickler.dispatch = {
    code: getattr(_Unpickler, method.__name__ if method.__name__.removeprefix('load_') in _NEEDED else 'load_other')
    for code, method in PythonUnpickler.dispatch.items()
}


def _check_plain(value: Any, seen: dict[int, int], depth: int = 0) -> None:
    """Check that a checkpoint consists of weights and plain data, nested to a limited depth.

    Args:
        value: A part of the checkpoint.
        seen: Depths at which containers were checked, by id.
        depth: Nesting depth of ``value``.

    Raises:
        UnsafeCheckpointError: If it does not.
    """
    kind = type(value)
    if kind in (dict, OrderedDict, Counter, list, tuple, set):
        if depth > MAX_DEPTH:
            _unsafe(f'data that are nested more than {MAX_DEPTH} deep')
        if seen.get(id(value), -1) >= depth:
            return
        seen[id(value)] = depth
        parts = [*value, *value.values(), *vars(value).values()] if kind in (OrderedDict, Counter) else [*value]
        for part in [*parts, *(value.values() if kind is dict else ())]:
            _check_plain(part, seen, depth + 1)
    elif kind is int:
        if value.bit_length() > 64:
            _unsafe('a number of more than 64 bits')
    elif kind is str:
        value.encode()  # a lone surrogate cannot be printed
    elif kind is HistoryBuffer:
        _check_history(vars(value))
    elif kind not in PLAIN and not isinstance(value, np.number | np.bool_ | torch.device | torch.dtype):
        _unsafe(f'an object of type {kind.__name__}')


def _check_history(state: dict[str, Any]) -> None:
    logs, counts, length = (state.get(name) for name in ('_log_history', '_count_history', 'max_length'))
    if type(logs) is not np.ndarray or type(counts) is not np.ndarray or type(length) is not int:
        _unsafe('a HistoryBuffer of something other than numbers')
    if logs.ndim != 1 or logs.shape != counts.shape or length < 1:
        _unsafe('a HistoryBuffer of invalid sizes')
