"""Takes screenshots of a page in a real browser."""

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


Pixels = list[list[tuple[int, ...]]]


def screenshot(
    page: Path, picture: Path, *, dark: bool = False, size: tuple[int, int] = (1000, 1400)
) -> Pixels:
    """Open a file in a headless browser and write a PNG; return its rows of pixels."""
    browser = next(filter(shutil.which, BROWSERS), None)
    assert browser, "no browser is installed: engine/setup browser installs one"
    argv = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    argv += [f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}"]
    argv += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [*argv, page.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return pixels(picture.read_bytes())


def pixels(png: bytes) -> Pixels:
    """Return a PNG's rows, each a list of (red, green, blue); 8 bits, no interlace."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    data, at = b"", 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8
        elif kind == b"IDAT":
            data += body
        at += 12 + size
    step = {2: 3, 6: 4}[colour]
    raw, rows, above = zlib.decompress(data), [], bytes(width * step)
    for number in range(height):
        start = number * (width * step + 1)
        line = bytearray(raw[start + 1 : start + 1 + width * step])
        _unfilter(raw[start], line, above, step)
        rows.append([tuple(line[i : i + 3]) for i in range(0, len(line), step)])
        above = bytes(line)
    return rows


def _unfilter(kind: int, line: bytearray, above: bytes, step: int) -> None:
    """Undo a PNG row filter in place (RFC 2083, 6)."""
    for i in range(len(line)):
        left = line[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        if kind == 1:
            line[i] = (line[i] + left) & 255
        elif kind == 2:
            line[i] = (line[i] + above[i]) & 255
        elif kind == 3:
            line[i] = (line[i] + (left + above[i]) // 2) & 255
        elif kind == 4:
            line[i] = (line[i] + _paeth(left, above[i], corner)) & 255


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))
