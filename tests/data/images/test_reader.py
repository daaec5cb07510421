"""Files are read in processes with limits, and one that hangs, exhausts or ends a process costs itself alone."""

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning import config
from fpcn_lightning.data.images import ImageLimits, ImageReader, UnreadableImage, decode, read_file
from fpcn_lightning.errors import UserError
from tests.data.images.mutations import photograph
from tests.data.images.test_structure import chunk


@pytest.fixture
def rock(tmp_path: Path) -> Path:
    path = tmp_path / "rock.png"
    Image.fromarray(photograph()).save(path)
    return path


def double_size(height: int, width: int) -> tuple[int, int]:
    return 2 * height, 2 * width


def same_size(height: int, width: int) -> tuple[int, int]:
    return height, width


class Sleep:
    """Keeps the process that unpickles it busy."""

    def __reduce__(self) -> tuple[Any, ...]:
        import time

        return time.sleep, (60,)


class EndBySignal:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return signal.raise_signal, (signal.SIGKILL,)


class Print:
    """Prints in the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("a library that prints",)


@pytest.mark.parametrize("shape", [None, (30, 20), double_size, same_size])
def test_a_process_reads_what_decode_reads(rock: Path, shape: Any) -> None:
    with ImageReader() as reader:
        read = reader.read(rock, shape)
    expected = decode(read_file(rock), shape)
    assert np.array_equal(read.pixels, expected.pixels)
    assert read.pixels.flags.writeable
    assert (read.height, read.width, read.digest) == (120, 160, expected.digest)


def test_reasons_reach_the_caller(tmp_path: Path) -> None:
    (tmp_path / "list.jpg").write_text("a shopping list")
    with ImageReader() as reader:
        for name, reason in (("list.jpg", "no picture of a known format"), ("absent.jpg", "no such file")):
            with pytest.raises(UnreadableImage, match=reason):
                reader.read(tmp_path / name)


def test_paths_are_relative_to_the_folder_of_the_caller(rock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ImageReader() as reader:
        reader.read(rock)
        monkeypatch.chdir(rock.parent)
        assert reader.read(Path(rock.name)).width == 160


def test_a_picture_that_takes_too_long_is_refused_and_the_others_are_read(rock: Path) -> None:
    with ImageReader(ImageLimits(seconds=1)) as reader:
        with pytest.raises(UnreadableImage, match=r"longer than the limit of 1 seconds .*--max-seconds"):
            reader.read(rock, Sleep())  # type: ignore[arg-type]
        assert reader.read(rock).width == 160


def test_a_process_that_dies_costs_its_picture_alone(rock: Path) -> None:
    with ImageReader() as reader, ThreadPoolExecutor(3) as pool:
        shapes = [None, EndBySignal(), None, EndBySignal(), *[None] * 8]
        results = [pool.submit(reader.read, rock, shape) for shape in shapes]  # type: ignore[arg-type]
        errors = [result.exception() for result in results]
    assert [error is not None for error in errors] == [shape is not None for shape in shapes]
    assert "ended by signal 9" in str(errors[1])


def test_an_idle_process_that_died_is_replaced(rock: Path) -> None:
    limits = ImageLimits(seconds=50)
    with ImageReader(limits) as reader:
        reader.read(rock)
        process = reader._idle[0]._process
    process.kill()
    process.wait()
    with ImageReader(limits) as reader:
        assert reader.read(rock).width == 160


def test_what_a_library_prints_does_not_disturb(rock: Path) -> None:
    with ImageReader() as reader:
        assert reader.read(rock, Print()).width == 160  # type: ignore[arg-type]
        assert reader.read(rock).width == 160


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_is_limited(tmp_path: Path) -> None:
    """A PNG of 900 million pixels, within a limit of pixels that is far too high."""
    side = 30_000
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(bytes(1 + 4 * side)) for _ in range(40)) + packer.flush()
    header = side.to_bytes(4, "big") * 2 + bytes((8, 6, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(png)

    code = (
        "import resource; from pathlib import Path; from fpcn_lightning.data.images import *; "
        "from fpcn_lightning.data.images.worker import _limit_memory; _limit_memory(2**29);\n"
        "try: decode(read_file(Path('bomb.png')), limits=ImageLimits(megapixels=1000))\n"
        "except UnreadableImage as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "more memory than there is" in done.stdout


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
def test_pipes_and_devices_are_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "rock.jpg")
    with pytest.raises(UnreadableImage, match="a device, pipe or socket"):
        read_file(tmp_path / "rock.jpg")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(8 * 10**9)
    with pytest.raises(UnreadableImage, match=r"8,000 megabytes are more than the limit of 1000 .*--max-megabytes"):
        read_file(path)
    with pytest.raises(UnreadableImage, match=r"limit of 0\.001 megabytes"):
        read_file(path, ImageLimits(megabytes=0.001))


def test_the_config_repeats_the_limits() -> None:
    repeated, limits = config.LimitsConfig(), ImageLimits()
    assert (repeated.megapixels, repeated.megabytes, repeated.seconds) == (
        limits.megapixels,
        limits.megabytes,
        limits.seconds,
    )


@pytest.mark.parametrize("name", ["megapixels", "megabytes", "seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_above_zero(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name}=.* must be above 0"):
        ImageLimits(**{name: value})
