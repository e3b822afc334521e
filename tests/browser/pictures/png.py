"""PNG files of at most 256 colours, for the few pictures that the repository keeps: a third of their size.

A screen of text has thousands of greys that nobody tells apart. Only what Chromium writes is read: eight bits
a channel, red, green, blue, and perhaps alpha.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colours are told apart in so many steps a channel before the most frequent ones are kept.
STEP = 12


def compress(path: Path) -> None:
    """Write a picture anew with a palette."""
    chunks = list(_chunks(path.read_bytes()))
    width, height, depth, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    if depth != 8 or kind not in (2, 6):
        return
    channels = 3 if kind == 2 else 4
    rows = _rows(zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT")), width, channels)
    pixels = [list(zip(row[0::channels], row[1::channels], row[2::channels], strict=True)) for row in rows]
    counted = Counter(pixel for row in pixels for pixel in row)
    places, palette = _palette(counted)
    packed = zlib.compress(b"".join(b"\0" + bytes(map(places.__getitem__, row)) for row in pixels), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (b"IHDR", header), (b"PLTE", bytes(sum(palette, ()))), (b"IDAT", packed), (b"IEND", b"")
    path.write_bytes(SIGNATURE + b"".join(_chunk(name, data) for name, data in parts))


def _palette(counted: Counter[tuple[int, ...]]) -> tuple[dict[tuple[int, ...], int], list[tuple[int, ...]]]:
    """For each colour its place in a palette, and the palette: the most frequent of those that differ."""
    palette: list[tuple[int, ...]] = []
    taken: set[tuple[int, ...]] = set()
    for colour, _ in counted.most_common():
        near = tuple(channel // STEP for channel in colour)
        if near not in taken and len(palette) < 256:
            taken.add(near)
            palette.append(colour)

    def nearest(colour: tuple[int, ...]) -> int:
        def far(place: int) -> int:
            return sum((one - other) ** 2 for one, other in zip(colour, palette[place], strict=True))

        return min(range(len(palette)), key=far)

    return {colour: nearest(colour) for colour in counted}, palette


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _rows(data: bytes, width: int, channels: int) -> Iterator[bytes]:
    """The rows of a picture, by the PNG standard's five filters."""
    size, above = width * channels, bytes(width * channels)
    for start in range(0, len(data), size + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + size])
        for i in range(size) if kind else ():
            left = row[i - channels] if i >= channels else 0
            if kind == 1:
                predicted = left
            elif kind == 2:
                predicted = above[i]
            elif kind == 3:
                predicted = (left + above[i]) // 2
            else:
                corner = above[i - channels] if i >= channels else 0
                predicted = _paeth(left, above[i], corner)
            row[i] = (row[i] + predicted) & 255
        above = bytes(row)
        yield above


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))
