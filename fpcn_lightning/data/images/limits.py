"""What a file may cost to read, and the error of a file that cannot be read."""

from dataclasses import dataclass

from fpcn_lightning.errors import UserError

_BASE_BYTES = 2**30  # of the interpreter, its libraries and their buffers
_PIXEL_BYTES = 24  # three float64 samples
_EXAMPLE = "option --max-{0} or, in training, data.limits.{0}"


class UnreadableImage(UserError):  # noqa: N818 - it names what is wrong with the file
    """A file that cannot be read as an image. The message is the reason alone, short enough for a cell of a table."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a file may cost to read; the one place of the defaults, which `data.limits` of the config repeats.

    Attributes:
        megapixels: in millions, as the header of the file says, checked before anything is decoded.
        megabytes: size of the file in 10^6 bytes, checked before it is read.
        seconds: to read and decode one file in a helper process (`ImageReader`), which is killed afterwards.

    Raises:
        UserError: a limit is not above zero.
    """

    megapixels: float = 120.0
    megabytes: float = 1000.0
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise UserError(f"The limit {name}={getattr(self, name)} must be above 0.")

    @property
    def memory(self) -> int:
        """Address space in bytes that a helper process may use in addition to what it has at its start."""
        return _BASE_BYTES + int(self.megabytes * 1e6) + int(self.megapixels * 1e6) * _PIXEL_BYTES

    def check_pixels(self, width: int, height: int) -> tuple[int, int]:
        """The size as given.

        Raises:
            UnreadableImage: it has more pixels than allowed, or none.
        """
        if min(width, height) < 1:
            raise UnreadableImage(f"{width} x {height} pixels: there is no picture in this file")
        if width * height > self.megapixels * 1e6:
            raise self._exceeded(f"{width} x {height} pixels are", "megapixels")
        return width, height

    def check_bytes(self, size: int) -> None:
        """Raise UnreadableImage if a file of `size` bytes is larger than allowed."""
        if size > self.megabytes * 1e6:
            raise self._exceeded(f"{size / 1e6:,.0f} megabytes are", "megabytes")

    def _exceeded(self, what: str, name: str) -> UnreadableImage:
        way = _EXAMPLE.format(name)
        return UnreadableImage(f"{what} more than the limit of {getattr(self, name):g} {name} ({way})")


DEFAULT_LIMITS = ImageLimits()
