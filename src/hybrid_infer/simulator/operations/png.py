"""PNG: a picture made of a few bytes, the same for the same bytes (W3C PNG, 8-bit palette). Pure."""

from __future__ import annotations

import colorsys
import hashlib
import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 16
_CELLS = 12
"""Cells along each side."""


def picture(digest: bytes, width: int, height: int) -> bytes:
    """A mosaic in shades of one hue that the digest chooses, with no other meaning."""
    hue = digest[0] / 256
    palette = b"".join(_colour(hue, shade) for shade in range(_COLOURS))
    columns = [width * (cell + 1) // _CELLS - width * cell // _CELLS for cell in range(_CELLS)]
    rows = [height * (cell + 1) // _CELLS - height * cell // _CELLS for cell in range(_CELLS)]
    lines: list[bytes] = []
    for index, count in enumerate(rows):
        shades = hashlib.blake2b(digest + bytes([index]), digest_size=_CELLS).digest()
        cells = zip(shades, columns, strict=True)
        line = b"\0" + b"".join(bytes([shade % _COLOURS]) * size for shade, size in cells)
        lines.append(line * count)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"tEXt", b"Comment\0simulated"),
            _chunk(b"IDAT", zlib.compress(b"".join(lines), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _colour(hue: float, shade: int) -> bytes:
    red, green, blue = colorsys.hls_to_rgb(hue, 0.15 + 0.7 * shade / (_COLOURS - 1), 0.55)
    return bytes(round(255 * part) for part in (red, green, blue))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
