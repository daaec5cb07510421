"""Figures need no display, whatever MPLBACKEND says, and use fonts that have their characters."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.text import Text

from fpcn_lightning import plotting

BUNDLED = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.mark.parametrize(
    "start",
    [
        "import sys; sys.argv = ['x', '--cfg', 'job']; from fpcn_lightning.cli.main import main; main()",
        "from fpcn_lightning.field.command import main; main(['info', 'no-bundle'])",
    ],
)
def test_commands_ignore_the_backend_of_a_notebook(start: str) -> None:
    code = f"{start}; import matplotlib.pyplot; print(matplotlib.get_backend())"
    environment = {**os.environ, "MPLBACKEND": "module://backend_of_a_notebook"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "agg"


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Makes fonts count as installed, by name, in addition to DejaVu Sans and instead of those of this machine."""
    installed = font_manager.fontManager.ttflist

    def only(*names: str) -> None:
        known = [entry for entry in installed if entry.name in ("DejaVu Sans", *names)]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", known)

    only()
    monkeypatch.setattr(plotting, "_warned_of", set())
    plotting._fallback.cache_clear()
    yield only
    plotting._fallback.cache_clear()


def only_in_stix() -> str:
    """A character that STIXGeneral has and DejaVu Sans has not."""
    stix, dejavu = (plotting._characters(str(BUNDLED / f"{name}.ttf")) for name in ("STIXGeneral", "DejaVuSans"))
    return min(character for character in stix - dejavu if character.isprintable())


def families(text: str) -> list[str]:
    figure = plotting.new_figure(2, 2)
    figure.suptitle(text)
    plotting.complete_fonts(figure)
    return next(each for each in figure.findobj(Text) if each.get_text() == text).get_fontfamily()


def test_a_character_that_the_font_lacks_comes_from_another_font(install: Install) -> None:
    install("STIXGeneral")
    assert families(f"class {only_in_stix()}")[1:] == ["STIXGeneral"]
    assert len(families("grès, Ω")) == 1


def test_characters_that_no_font_has_are_named_once(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install()
    with caplog.at_level(logging.WARNING):
        families("玄武岩")
        families("岩")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["no installed font has 岩 武 玄"]


def test_a_name_that_is_not_utf8_is_drawn(tmp_path: Path) -> None:
    figure = plotting.new_figure(2, 2)
    figure.suptitle(os.fsdecode(b"gr\xe8s"))
    assert plotting.save(figure, tmp_path / "a.png").stat().st_size > 0


def test_figures_are_drawn_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    figure = plotting.new_figure(2, 2)
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert plotting.save(figure, tmp_path / f"a{suffix}").read_bytes().startswith(start)


def test_the_boxes_that_matplotlib_brings_for_every_character_are_no_font_that_has_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = [entry for entry in font_manager.fontManager.ttflist if BUNDLED in Path(entry.fname).parents]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(plotting, "_warned_of", set())
    assert plotting._fallback.__wrapped__(frozenset("玄武岩")) == ()
    assert "figures show boxes instead" in caplog.text
