"""How every figure of the package is made and written: without a display, and in fonts that have its characters."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpcn_lightning.runs.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

# Tried first where matplotlib's own font lacks a character; then every other installed font.
_PREFERRED = ("Noto Sans CJK SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC", "Noto Sans")


def use_agg() -> None:
    """Let matplotlib draw without a display, whatever MPLBACKEND says; to be called before it is imported.

    A notebook passes on a MPLBACKEND of its own to the commands it starts, and matplotlib cannot be imported where the
    package that it names is missing.
    """
    os.environ["MPLBACKEND"] = "agg"
    # It would warn a user without a home folder of its own cache, and of fonts, which `complete_fonts` deals with.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def new_figure(width: float, height: float, dpi: float | None = None) -> "Figure":
    """An empty figure of `width` x `height` inches on a canvas of its own, without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: Path, **options: Any) -> Path:
    """Write a figure, or replace it, in a single step; the suffix of the path chooses the format.

    Args:
        figure: to be written.
        path: the file.
        options: of `matplotlib.figure.Figure.savefig`.

    Raises:
        WriteError: it cannot be written.
    """
    complete_fonts(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or None, **options)
    return path


def complete_fonts(figure: "Figure") -> None:
    """Give the texts of a figure further fonts for the characters that their own one lacks.

    Characters that no installed font has are drawn as boxes; they are named in one warning. Bytes of a file name that
    are not UTF-8 are drawn as question marks.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        shown = text.get_text().encode("utf-8", "replace").decode()
        if shown != text.get_text():
            text.set_text(shown)
        if not shown.isascii():
            further = fallback_fonts(shown)
            text.set_fontfamily([*(name for name in text.get_fontfamily() if name not in further), *further])


def fallback_fonts(text: str) -> tuple[str, ...]:
    """The installed fonts that have the characters of `text` which matplotlib's default font lacks."""
    return _fallback(frozenset(text) - _characters(_default_font()))


@cache
def _fallback(lacking: frozenset[str]) -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    # matplotlib's own Last Resort font has every character, as a box.
    entries = [entry for entry in fontManager.ttflist if not entry.name.startswith("Last Resort")]
    installed = {entry.name: entry.fname for entry in entries}
    preferred = [name for name in _PREFERRED if name in installed]
    chosen, left = [], {character for character in lacking if character.isprintable() and not character.isspace()}
    for name in [*preferred, *sorted(installed.keys() - set(preferred))]:
        if not left:
            break
        if found := left & _characters(installed[name]):
            chosen.append(name)
            left -= found
    if new := left - _warned_of:
        _warned_of.update(new)
        logger.warning(
            "no installed font has %s: figures show boxes instead. Install a font that has them, such as Noto Sans CJK",
            " ".join(sorted(new)),
        )
    return tuple(chosen)


_warned_of: set[str] = set()


def _default_font() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties()))


@cache
def _characters(font: str) -> frozenset[str]:
    """The characters that a font file has."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(font).get_charmap()))
    except (OSError, RuntimeError):  # removed, or not readable
        return frozenset()
