"""The format of an image file by its first bytes; nothing is decoded."""

from pathlib import Path

_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_OF_SUFFIX = {
    **dict.fromkeys((".jpg", ".jpeg", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".heic", ".heif"), "HEIF"),
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
}
UNKNOWN = "of an unknown format"


def format_of(path: Path) -> str:
    """The format of the content of a file, such as JPEG; `UNKNOWN` for any other content or a file that is gone."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return UNKNOWN
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        return "AVIF" if start[8:] in (b"avif", b"avis") else "HEIF"
    return next((name for signature, name in _STARTS if start.startswith(signature)), UNKNOWN)


def format_of_suffix(suffix: str) -> str:
    """The format that a suffix, with its point and in any letter case, stands for; `UNKNOWN` for any other."""
    return _OF_SUFFIX.get(suffix.lower(), UNKNOWN)
