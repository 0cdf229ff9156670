"""Images as they come, and as nobody should be sent them."""

import io
import os
import stat
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

# Name -> what is said of a file that is skipped.
LEFT_OUT = {
    'truncated.jpg': 'is not a complete image: image file is truncated',
    'truncated.png.png': 'is not a complete image',
    'empty.jpg': 'is empty',
    'html.jpg': 'cannot be read as an image',
    'float.tif': 'cannot be read as an image',
    'bomb.png': 'has more than 178956970 pixels',
    'bomb_beyond_opencv.png': 'has more than 178956970 pixels',
    'folder.jpg': 'is not a file',
    'dangling.jpg': 'is not a file',
    'pipe.jpg': 'is not a file',
    'socket.jpg': 'is not a file',
    'device.jpg': 'is not a file',
    'loop.jpg': 'is not a file',
    'sparse.jpg': 'is larger than 2 GiB',
    'bomb_jpg.jpg': 'has more than 178956970 pixels',
    'bomb_gif.gif': 'has more than 178956970 pixels',
    'bomb_bmp.bmp': 'has more than 178956970 pixels',
    'bomb_tif.tif': 'has more than 178956970 pixels',
    'bomb_webp.webp': 'has more than 178956970 pixels',
    'truncated_bmp.bmp': 'is not a complete image',
    'truncated_tif.tif': 'is not a complete image',
    'truncated_webp.webp': 'is not a complete image',
    'truncated_ppm.ppm': 'is not a complete image',
    'signature.png': 'cannot be read as',
    'no_pixels.png': 'cannot be read as',
    'postscript.jpg': 'cannot be read as an image',
    'archive.jpg': 'cannot be read as an image',
    'zeros.jpg': 'cannot be read as an image',
    os.fsdecode(b'\xe4_broken.png'): 'is not a complete image',
}
# These can be read, but at the size that the demo's config asks for they have no row, or column, of pixels.
TOO_NARROW = {'30000x20.png', '20x30000.jpg'}
WORKING = {
    'plain.jpg', '1x1.png', '1x150.png', 'cmyk.jpg', 'grey.jpg', 'rgba.png', 'palette.png', 'bits.png', 'la.png',
    '16_bit.png', '16_bits.tif', 'animated.gif', 'exif.jpg', 'jpeg_by_another_name.png', 'größe 100% #1? 图.jpg',
    os.fsdecode(b'\xe4.jpg'), os.fsdecode(b'\xff\xfe.jpg'), 'a [b] & <i>c.jpg', '[red].jpg', '%E4_literally.jpg',
    'progressive.jpg', 'wrong_exif.jpg', 'large_exif.jpg', 'junk_profile.jpg', 'junk_at_the_end.jpg', 'link.jpg',
    'animated_webp.webp', 'animated_png.png', 'cmyk_tif.tif', 'few_colours.png', 'pixmap.ppm', 'x.JPEG',
    'y' * 251 + '.jpg',
    'line\nbreak.jpg', '-dash.jpg', 'a$b_{$.jpg', 'UPPER.JPG', 'x' * 240 + '.jpg', 'w.webp', 'b.bmp', 'p.pgm',
}  # fmt: skip

if tuple(map(int, cv2.__version__.split('.')[:2])) < (4, 12):  # which reads no GIF
    WORKING.remove('animated.gif')
    LEFT_OUT['animated.gif'] = 'cannot be read as an image'


def make_hostile_images(photo: Path, folder: Path) -> Path:
    """Fill a folder with :data:`LEFT_OUT`, :data:`TOO_NARROW` and :data:`WORKING`, made of a photo."""
    folder.mkdir()
    image = Image.open(photo).convert('RGB').resize((96, 64))
    grey = np.asarray(image.convert('L'))
    whole = _encode(image, 'JPEG')

    for name in WORKING:  # several of them are something else below
        if name.lower().endswith(('.jpg', '.jpeg')) or name == 'jpeg_by_another_name.png':
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
    _add_special_files(folder)
    _add_odd_encodings(image, folder)
    assert {path.name for path in folder.iterdir()} == {*LEFT_OUT, *TOO_NARROW, *WORKING}
    return folder


def _add_special_files(folder: Path) -> None:
    """Add what is no file, and files whose content is no whole image."""
    os.mknod(folder / 'socket.jpg', stat.S_IFSOCK | 0o600)
    (folder / 'device.jpg').symlink_to('/dev/zero')
    (folder / 'loop.jpg').symlink_to('loop.jpg')
    (folder / 'link.jpg').unlink()
    (folder / 'link.jpg').symlink_to('plain.jpg')
    (folder / 'sparse.jpg').write_bytes((folder / 'plain.jpg').read_bytes())
    os.truncate(folder / 'sparse.jpg', 3 * 2**30)
    (folder / 'zeros.jpg').write_bytes(bytes(5000))
    (folder / 'archive.jpg').write_bytes(b'PK\3\4' + bytes(100))
    (folder / 'postscript.jpg').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n')
    (folder / 'signature.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    (folder / 'no_pixels.png').write_bytes(_black_png(0, 0))


def _add_odd_encodings(image: Image.Image, folder: Path) -> None:
    """Add images of rare formats, bombs and cut files among them."""
    whole = _encode(image, 'JPEG')
    image.save(folder / 'progressive.jpg', progressive=True)
    exif = Image.Exif()
    exif[0x0112] = 99
    image.save(folder / 'wrong_exif.jpg', exif=exif)
    exif = Image.Exif()
    exif[0x9286] = b'x' * 60000
    image.save(folder / 'large_exif.jpg', exif=exif)
    image.save(folder / 'junk_profile.jpg', icc_profile=b'junk' * 5000)
    (folder / 'junk_at_the_end.jpg').write_bytes(whole + b'junk' * 1000)
    turned = [image.rotate(90)]
    image.save(folder / 'animated_webp.webp', save_all=True, append_images=turned)
    image.save(folder / 'animated_png.png', save_all=True, append_images=turned)
    image.convert('CMYK').save(folder / 'cmyk_tif.tif')
    image.quantize(4).save(folder / 'few_colours.png', bits=2)
    image.save(folder / 'pixmap.ppm')

    for suffix, kind in dict(bmp='BMP', tif='TIFF', webp='WEBP', ppm='PPM').items():
        encoded = _encode(image, kind)
        (folder / f'truncated_{suffix}.{suffix}').write_bytes(encoded[: len(encoded) // 2])
    png = _encode(image, 'PNG')
    (folder / os.fsdecode(b'\xe4_broken.png')).write_bytes(png[: len(png) // 2])

    frame = whole.index(b'\xff\xc0') + 5
    side = struct.pack('>HH', 65500, 65500)
    (folder / 'bomb_jpg.jpg').write_bytes(whole[:frame] + side + whole[frame + 4 :])
    gif, bmp, webp = _encode(image, 'GIF'), _encode(image, 'BMP'), (folder / 'animated_webp.webp').read_bytes()
    (folder / 'bomb_gif.gif').write_bytes(gif[:6] + struct.pack('<HH', 65535, 65535) + gif[10:])
    (folder / 'bomb_bmp.bmp').write_bytes(bmp[:18] + struct.pack('<ii', 40000, 40000) + bmp[26:])
    (folder / 'bomb_webp.webp').write_bytes(webp[:24] + (16382).to_bytes(3, 'little') * 2 + webp[30:])
    fields = {256: 40000, 257: 40000, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 40000, 279: 1600000000}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in fields.items())
    (folder / 'bomb_tif.tif').write_bytes(b'II*\0\x08\0\0\0' + struct.pack('<H', len(fields)) + entries + bytes(200))


def _encode(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _black_png(width: int, height: int) -> bytes:
    """Return a small file of a large image: a decompression bomb."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
