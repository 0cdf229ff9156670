"""Checkpoints that nobody should be sent: each would run code, take all memory, or read what it should not."""

import copy
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

HISTORY = 'mmengine.logging.history_buffer'


def text(value: str) -> bytes:
    """Return the operation that pushes a text."""
    return b'X' + struct.pack('<I', len(value.encode())) + value.encode()


def name(module: str, attribute: str) -> bytes:
    """Return the operation that pushes what a module calls by a name."""
    return f'c{module}\n{attribute}\n'.encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    """Return the operations that call a function."""
    return function + b'(' + b''.join(arguments) + b'tR'


def archive(content: bytes, root: str = 'archive', compression: int = zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """Return a file in torch's format since 1.6 around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as into:
        into.writestr(f'{root}/data.pkl', content)
        into.writestr(f'{root}/byteorder', b'little')
        for record, data in records.items():
            into.writestr(f'{root}/{record.replace("__", "/")}', data)
        into.writestr(f'{root}/version', b'3\n')
    return file.getvalue()


def twice(content: bytes) -> bytes:
    """Return an archive with two records of one name, of which the first is harmless."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as into:
        into.writestr('archive/data.pkl', pickle.dumps({}, 2))
        into._didModify = True
        into.NameToInfo.clear()
        into.writestr('archive/data.pkl', content)
    return file.getvalue()


def overlapping(count: int = 100) -> bytes:
    """Return an archive whose records are all the same bytes: a bomb that is not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as into:
        into.writestr('archive/data.pkl', pickle.dumps({}, 2))
        into.writestr('archive/data/0', bytes(2**16))
        for number in range(count):
            info = copy.copy(into.NameToInfo['archive/data/0'])
            info.filename = f'archive/data/{number + 1}'
            into.filelist.append(info)
    return file.getvalue()


def legacy(content: bytes, keys: bytes = pickle.dumps([], 2)) -> bytes:
    """Return a file in torch's format before 1.6 around a pickle, and one of its list of storages."""
    head = [0x1950A86A20F9469CFC6C, 1001, dict(protocol_version=1001, little_endian=True, type_sizes={})]
    return b''.join(pickle.dumps(one, 2) for one in head) + content + keys


def tar(content: bytes) -> bytes:
    """Return a file in torch's first format, whose parts torch below 2.6 unpickles whatever it is asked for."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as into:
        for part in ('sys_info', 'pickle', 'storages', 'tensors'):
            info = tarfile.TarInfo(part)
            info.size = len(content)
            into.addfile(info, io.BytesIO(content))
    return file.getvalue()


def tensor(count: int, offset: int = 0, size: int = 4, stride: int = 1) -> bytes:
    """Return the operations that make a tensor of a stored array."""
    storage = b'(' + text('storage') + name('torch', 'FloatStorage') + text('0') + text('cpu') + integer(count) + b'tQ'
    of = storage + integer(offset) + b'(' + integer(size) + b't(' + integer(stride) + b't\x89' + name(
        'collections', 'OrderedDict'
    ) + b')R'  # fmt: skip
    return call(name('torch._utils', '_rebuild_tensor_v2'), of)


def integer(value: int) -> bytes:
    """Return the operation that pushes an integer."""
    data = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
    return b'\x8a' + bytes([len(data)]) + data


def entry(value: bytes) -> bytes:
    """Return a pickle of a checkpoint that has one entry."""
    return b'\x80\x02}' + text('meta') + value + b's.'


def hostile_checkpoints(canary: Path) -> dict[str, bytes]:
    """Return the content of each file by a name for it; those that run code make the file ``canary``."""
    command = text(f'touch {canary}')
    line = f"S'touch {canary}'\n".encode()
    system = name('posix', 'system')
    run = call(system, command)
    getattr_, history = name('builtins', 'getattr'), name(HISTORY, 'HistoryBuffer')
    buffer = history + b')\x81'
    dtype = call(name('numpy', 'dtype'), text('O8'), b'\x89', b'\x88')
    fields = call(name('numpy', 'dtype'), text('V8'), b'\x89', b'\x88')
    float32, key = call(name('numpy', 'dtype'), text('f4'), b'\x89', b'\x88'), b')\x85'
    latin1 = call(name('_codecs', 'encode'), text('abcd'), text('latin1'))
    array = call(name('numpy.core.multiarray', '_reconstruct'), name('numpy', 'ndarray'), b'(K\x00t', b'C\x01b')
    memory = b''.join(b'(h' + bytes([n]) + b'h' + bytes([n]) + b'lq' + bytes([n + 1]) for n in range(60))

    def stacked(module: str, attribute: str) -> bytes:
        return text(module) + text(attribute) + b'\x93'

    zipped: dict[str, bytes] = {
        'reduce': entry(run),
        'reduce_from_stack': b'\x80\x04}' + text('meta') + stacked('posix', 'system') + b'(' + command + b'tRs.',
        'inst': entry(b'(' + line + b'iposix\nsystem\n'),
        'obj': entry(b'(' + system + line + b'o'),
        'newobj': entry(name('subprocess', 'Popen') + b'((' + text('touch') + text(str(canary)) + b'lt\x81'),
        'newobj_ex': entry(name('subprocess', 'Popen') + b'((' + text('touch') + text(str(canary)) + b'lt}\x92'),
        'getattr': entry(call(getattr_, name('posix', 'path'), text('join'))),
        'getattr_nested': entry(call(getattr_, call(getattr_, history, text('mean')), text('__globals__'))),
        'getattr_other': entry(call(getattr_, history, text('__init__'))),
        'dotted': entry(stacked(HISTORY, 'HistoryBuffer.mean.__globals__')),
        'dotted_module': entry(call(name('torch', 'os.system'), command)),
        'build_history': entry(buffer + b'}' + text('_statistics_methods') + run + b'sb'),
        'build_slots': entry(buffer + b'(N}' + text('max_length') + run + b'stb'),
        'build_class': entry(buffer + b'}' + text('__class__') + name('subprocess', 'Popen') + b'sb'),
        'call_history': entry(call(history, b'(' + run + b'l')),
        'object_array': entry(array + b'(K\x01(K\x01t' + dtype + b'\x89(' + run + b'ltb'),
        'array_of_text_dtype': entry(array + b'(K\x01(K\x01t' + text('<f4') + b'\x89C\x04\x00\x00\x00\x00tb'),
        'dtype_state': entry(fields + b'(K\x03' + text('|') + b'N(' + text('a') + b't}' + text('a') + b'(' + dtype
                             + b'K\x00tsK\x08K\x01K\x3ftb'),
        'array_beyond_its_data': entry(array + b'(K\x01(' + integer(2**40) + b't' + text('f4') + b'\x89C\x00tb'),
        'text_protocol': f'(dp0\nVmeta\np1\ncposix\nsystem\np2\n(Vtouch {canary}\ntRs.'.encode(),
        'extension': entry(b'\x82\x01'),
        'persistent_id': entry(b'Pposix.system\n'),
        'persistent_tuple': entry(b'(' + text('module') + system + command + b'tQ'),
        'torch_load': entry(call(name('torch', 'load'), text(str(canary)))),
        'torch_hub': entry(call(name('torch.hub', 'load'), text('a/b'), text('c'))),
        'device_from_numpy': entry(call(name('torch._utils', '_rebuild_device_tensor_from_numpy'), run)),
        # Hashing a deep tuple overflows the stack of C: none is hashed.
        'deep_key': entry(b'})' + b'\x85' * 150_000 + b'Ns'),
        'tuple_as_key_of_counter': entry(call(name('collections', 'Counter'), b'](' + key + b'K\x01\x86e')),
        'tuple_as_key_of_ordered_dict': entry(call(name('collections', 'OrderedDict'), b'](' + key + b'K\x01\x86e')),
        'tuple_in_set': entry(call(name('builtins', 'set'), b'](' + key + b'e')),
        'tuple_in_frozenset': b'\x80\x04(' + key + b'\x91.',
        'array_of_negative_shape': entry(array + b'(K\x01(J\xff\xff\xff\xffJ\xff\xff\xff\xfft' + float32
                                         + b'\x89' + latin1 + b'tb'),
        'tensor_of_negative_stride': entry(tensor(4, stride=-1)),
        'deep': entry(b'(' * 10_000 + b'l' * 10_000),
        'itself': entry(b']q\x00h\x00a'),
        'memory': entry(b']q\x00' + memory + b'N'),
        'huge_integer': entry(b'\x8b' + struct.pack('<i', 2**31 - 1)),
        'huge_text': entry(b'\x8d' + struct.pack('<Q', 2**60)),
    }  # fmt: skip
    files = {of: archive(content) for of, content in zipped.items()}
    storage = dict(data__0=bytes(16))
    return files | {
        'huge_storage': archive(entry(tensor(2**40)), **storage),
        'view_beyond_storage': archive(entry(tensor(4, offset=2**30)), **storage),
        'tensor_that_overlaps_itself': archive(entry(tensor(4, offset=1, size=4, stride=0)), **storage),
        'strides_beyond_storage': archive(entry(tensor(4, stride=2**20)), **storage),
        'legacy': legacy(entry(run)),
        'legacy_first_pickle': entry(run) + legacy(pickle.dumps({}, 2)),
        'legacy_huge_storage': legacy(entry(tensor(2**40))),
        'tar': tar(entry(run)),
        'plain_pickle': entry(run),
        'two_of_one_name': twice(entry(run)),
        'two_roots': archive(pickle.dumps({}, 2), **{'sub__data.pkl': entry(run)}),
        'torchscript': archive(pickle.dumps({}, 2), **{'constants.pkl': entry(run), 'code__a.py': b'import os'}),
        **{
            f'zip_bomb_{compression}': archive(entry(text('x' * 2**22)), compression=compression)
            for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        },
        'overlapping_records': overlapping(),
        'legacy_tuple_as_key': legacy(pickle.dumps({}, 2), b'\x80\x02](' + key + b'e.'),
        'compressed_prefix': zlib.compress(entry(run)),
    }


def with_config(path: Path, canary: Path, content: dict) -> None:
    """Save a checkpoint whose ``meta`` holds a config, which mmengine would run as Python when it resumes."""
    content['meta']['config'] = f'import os; os.system("touch {canary}")'
    torch.save(content, path)


def not_files(folder: Path) -> dict[str, Callable[[Path], None]]:
    """Return what makes each thing that is no regular file."""
    import os

    return {
        'folder': Path.mkdir,
        'pipe': os.mkfifo,
        'device': lambda path: path.symlink_to('/dev/zero'),
        'dangling': lambda path: path.symlink_to('nowhere.pth'),
        'circle': lambda path: path.symlink_to(path.name),
    }
