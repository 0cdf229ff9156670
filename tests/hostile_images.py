"""Images as they come, and as nobody should be sent them."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Name -> what is said of a file that is left out.
LEFT_OUT = {
    'truncated.jpg': 'cannot be read as a whole image: image file is truncated',
    'truncated.png.png': 'cannot be read as a whole image',
    'empty.jpg': 'is empty',
    'html.jpg': 'cannot be read as an image',
    'float.tif': 'cannot be read as an image',
    'bomb.png': 'has more than 178956970 pixels',
    'bomb_beyond_opencv.png': 'has more than 178956970 pixels',
    'folder.jpg': 'is no file',
    'dangling.jpg': 'is no file',
    'pipe.jpg': 'is no file',
}
# These can be read, but at the size that the demo's config asks for they have no row, or column, of pixels.
TOO_NARROW = {'30000x20.png', '20x30000.jpg'}
WORKING = {
    'plain.jpg', '1x1.png', '1x150.png', 'cmyk.jpg', 'grey.jpg', 'rgba.png', 'palette.png', 'bits.png', 'la.png',
    '16_bit.png', '16_bits.tif', 'animated.gif', 'exif.jpg', 'jpeg_by_another_name.png', 'größe 100% #1? 图.jpg',
    'line\nbreak.jpg', '-dash.jpg', 'a$b_{$.jpg', 'UPPER.JPG', 'x' * 240 + '.jpg', 'w.webp', 'b.bmp', 'p.pgm',
}  # fmt: skip


def make_hostile_images(photo: Path, folder: Path) -> Path:
    """Fill a folder with :data:`LEFT_OUT`, :data:`TOO_NARROW` and :data:`WORKING`, made of a photo."""
    folder.mkdir()
    image = Image.open(photo).convert('RGB').resize((96, 64))
    grey = np.asarray(image.convert('L'))
    whole = _encode(image, 'JPEG')

    for name in WORKING:  # several of them are something else below
        if name.lower().endswith('.jpg') or name == 'jpeg_by_another_name.png':
            (folder / name).write_bytes(whole)
    for name, mode in {'cmyk.jpg': 'CMYK', 'grey.jpg': 'L', 'rgba.png': 'RGBA', 'palette.png': 'P'}.items():
        image.convert(mode).save(folder / name)
    for name, mode in {'bits.png': '1', 'la.png': 'LA', 'p.pgm': 'L'}.items():
        image.convert(mode).save(folder / name)
    for name in ('16_bit.png', '16_bits.tif'):
        Image.fromarray(grey.astype(np.uint16) * 257).save(folder / name)
    for name in ('w.webp', 'b.bmp'):
        image.save(folder / name)
    for name in ('1x1.png', '1x150.png', '30000x20.png', '20x30000.jpg'):
        image.resize(tuple(map(int, Path(name).stem.split('x')))).save(folder / name)
    image.save(folder / 'animated.gif', save_all=True, append_images=[image.rotate(90)], duration=100)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(folder / 'exif.jpg', exif=exif)

    (folder / 'truncated.jpg').write_bytes(whole[: len(whole) // 2])
    png = _encode(image, 'PNG')
    (folder / 'truncated.png.png').write_bytes(png[: len(png) // 2])
    (folder / 'empty.jpg').touch()
    (folder / 'html.jpg').write_text('<html></html>')
    Image.fromarray(grey.astype(np.float32)).save(folder / 'float.tif')
    (folder / 'bomb.png').write_bytes(_black_png(16000, 16000))
    (folder / 'bomb_beyond_opencv.png').write_bytes(_black_png(40000, 40000))
    (folder / 'folder.jpg').mkdir()
    (folder / 'dangling.jpg').symlink_to('nowhere.jpg')
    os.mkfifo(folder / 'pipe.jpg')
    assert {path.name for path in folder.iterdir()} == {*LEFT_OUT, *TOO_NARROW, *WORKING}
    return folder


def _encode(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _black_png(width: int, height: int) -> bytes:
    """Give a small file of a large image: a decompression bomb."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
