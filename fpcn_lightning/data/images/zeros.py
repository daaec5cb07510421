"""Zeros in place of what was lost: the sign of a copy that was cut off, in formats without checksums."""

from fpcn_lightning.data.images.limits import UnreadableImage

ZEROS = 64  # in a row, which no coder that is checked for them writes into the data of a photograph
ZEROED = "damaged: a part of the picture is zeros"


def has_zeros(data: bytes, start: int, stop: int, at_least: int = 0) -> bool:
    """Whether a part of some bytes has `at_least` zeros in a row, or `ZEROS` if these are more."""
    return data.find(bytes(max(ZEROS, at_least)), start, stop) >= 0


def cut_off() -> UnreadableImage:
    """The error for a file that ends too early."""
    return UnreadableImage("damaged: the file ends in the middle of the picture")
