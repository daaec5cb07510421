"""Images are decoded once, correct after damage, safe between processes, and available without space for a cache."""

import errno
import hashlib
import multiprocessing
import os
import pickle
import zlib
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fpcn_lightning.data.cache import PictureCache, cache_key, default_directory
from fpcn_lightning.errors import UserError

SIZE = 7  # odd, so that the checksums behind the pixels are not aligned
ROW = SIZE * SIZE * 3
PICTURES = 5
ENTRY = ROW + 8

Pixels = NDArray[np.uint8]


def picture(position: int, size: int = SIZE) -> Pixels:
    return np.random.default_rng(position).integers(0, 256, (size, size, 3), np.uint8)


class Decoder:
    """Returns the right pixels and records which it decodes."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.decoded: list[int] = []

    def of(self, position: int) -> Callable[[], Pixels]:
        def decode() -> Pixels:
            self.decoded.append(position)
            return picture(position, self.size)

        return decode

    def check(self, cache: PictureCache, *positions: int) -> list[int]:
        """Read these positions, assert that they are right, and return those that were decoded."""
        self.decoded.clear()
        for position in positions:
            np.testing.assert_array_equal(cache.get(position, self.of(position)), picture(position, self.size))
        return list(self.decoded)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on demand" / "pictures.uint8"


def opened(path: Path, pictures: int = PICTURES, gigabytes: float = 1.0) -> PictureCache:
    return PictureCache(path, [(SIZE, SIZE)] * pictures, gigabytes)


def test_the_second_read_decodes_nothing(path: Path) -> None:
    cache, decoder = opened(path), Decoder()
    assert decoder.check(cache, *range(PICTURES)) == [*range(PICTURES)]
    assert decoder.check(cache, *range(PICTURES)) == []
    assert decoder.check(opened(path), *range(PICTURES)) == [], "another object, or the next run"
    assert path.stat().st_size == cache.bytes == PICTURES * ENTRY


def test_what_was_put_is_not_decoded(path: Path) -> None:
    cache = opened(path)
    cache.put(3, picture(3))
    assert Decoder().check(cache, 3, 2) == [2]


@pytest.mark.parametrize("system", ["without pwrite", "interrupted"])
def test_rows_that_the_system_does_not_write_at_once(path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    write = os.pwrite
    if system == "without pwrite":
        monkeypatch.delattr(os, "pwrite")
    else:
        monkeypatch.setattr(os, "pwrite", lambda file, content, start: write(file, content[:5], start))
    cache = opened(path)
    cache.put(3, picture(3))
    assert Decoder().check(opened(path), 3, 2) == [2]


def test_a_disk_that_is_full_costs_the_row_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    cache, decoder = opened(path), Decoder()
    assert decoder.check(cache, 1, 1, 2) == [1, 1, 2]
    assert len([record for record in caplog.records if "No space left" in record.message]) == 1


def test_pixels_of_another_form_are_an_error(path: Path) -> None:
    cache = PictureCache(path, [(4, 6)], 1.0)
    with pytest.raises(ValueError, match="broadcast"):
        cache.put(0, np.zeros((6, 4, 3), np.uint8))


def test_a_black_picture_is_cached_and_an_empty_row_is_not_used(path: Path) -> None:
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    cache, decoded = opened(path), []

    def decode() -> Pixels:
        decoded.append(1)
        return black

    for _ in range(3):
        np.testing.assert_array_equal(cache.get(0, decode), black)
    assert len(decoded) == 1


def test_pixels_need_not_be_contiguous(path: Path) -> None:
    cache = opened(path)
    cache.put(3, picture(3)[:, ::-1][:, ::-1])
    cache.put(4, np.asfortranarray(picture(4)))
    assert Decoder().check(cache, 3, 4) == []


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("offset", [2 * ROW, 3 * ROW - 1, PICTURES * ROW + 2 * 8, PICTURES * ROW + 2 * 8 + 4])
def test_a_row_with_a_damaged_byte_is_replaced(path: Path, offset: int) -> None:
    """In the first or last byte of the row's pixels, in its checksum, or in the bit that marks it as filled."""
    decoder = Decoder()
    decoder.check(opened(path), *range(PICTURES))
    damage(path, offset)
    assert decoder.check(opened(path), *range(PICTURES)) == [2]
    assert decoder.check(opened(path), *range(PICTURES)) == []


def test_a_process_checks_each_row_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Decoder().check(opened(path), *range(PICTURES))
    checked: list[int] = []
    crc32 = zlib.crc32

    def counted(content: bytes) -> int:
        checked.append(memoryview(content).nbytes)
        return crc32(content)

    monkeypatch.setattr(zlib, "crc32", counted)
    cache, decoder = opened(path), Decoder()
    for _ in range(3):
        assert decoder.check(cache, *range(PICTURES)) == []
    assert checked == [ROW] * PICTURES
    damage(path, 2 * ROW)
    in_a_worker: PictureCache = pickle.loads(pickle.dumps(cache))
    assert decoder.check(in_a_worker, *range(PICTURES)) == [2], "another process checks for itself"


def test_a_row_that_was_half_written_when_the_process_died(path: Path) -> None:
    cache, decoder = opened(path), Decoder()
    decoder.check(cache, *range(PICTURES))
    content = bytearray(path.read_bytes())
    content[ROW + ROW // 2 : 2 * ROW] = bytes(ROW - ROW // 2)
    path.write_bytes(content)
    assert decoder.check(opened(path), *range(PICTURES)) == [1]


@pytest.mark.parametrize("change", ["truncated", "longer", "empty", "missing"])
def test_a_file_of_another_length_is_replaced(path: Path, change: str) -> None:
    decoder = Decoder()
    decoder.check(opened(path), *range(PICTURES))
    content = path.read_bytes()
    contents = {"truncated": content[:-1], "longer": content + b"\0", "empty": b""}
    path.unlink() if change == "missing" else path.write_bytes(contents[change])
    assert decoder.check(opened(path), *range(PICTURES)) == [*range(PICTURES)]
    assert path.stat().st_size == len(content)
    assert list(path.parent.iterdir()) == [path]


def test_a_process_keeps_the_map_of_a_replaced_file(path: Path) -> None:
    decoder = Decoder()
    old = opened(path)
    decoder.check(old, *range(PICTURES))
    opened(path, PICTURES + 1)
    assert decoder.check(old, *range(PICTURES)) == []


@pytest.mark.parametrize(("rows", "spare"), [(3, 0.5), (0, 0.9), (1, 0.1)])
def test_the_largest_size(path: Path, caplog: pytest.LogCaptureFixture, rows: int, spare: float) -> None:
    cache, decoder = opened(path, gigabytes=(rows + spare) * ENTRY / 1e9), Decoder()
    assert f"holds {rows} of {PICTURES} pictures" in caplog.text
    assert "data.cache.max_gigabytes" in caplog.text
    decoder.check(cache, *range(PICTURES))
    assert decoder.check(cache, *range(PICTURES)) == [*range(rows, PICTURES)]
    cache.put(PICTURES - 1, picture(0))
    assert decoder.check(cache, PICTURES - 1) == [PICTURES - 1]
    assert (path.stat().st_size if path.exists() else 0) == rows * ENTRY


def test_extreme_sizes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert opened(path, gigabytes=float("inf")).rows == PICTURES
    assert not caplog.records, "no warning"
    with pytest.raises(UserError, match=r"data\.cache\.max_gigabytes=-1"):
        opened(path, gigabytes=-1)


def test_a_pickled_cache_maps_the_same_file(path: Path) -> None:
    cache, decoder = PictureCache(path, [(SIZE, SIZE)] * 100, 1), Decoder()
    decoder.check(cache, 0, 1)
    pickled = pickle.dumps(cache)
    assert len(pickled) < 20 * ROW, "no pixels inside"
    copy: PictureCache = pickle.loads(pickled)
    assert decoder.check(copy, 0, 1, 2) == [2]
    assert decoder.check(cache, 0, 1, 2) == []


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def assert_works_without(cache: PictureCache, caplog: pytest.LogCaptureFixture) -> None:
    assert "pictures are decoded each time" in caplog.text
    decoder = Decoder()
    for _ in range(2):
        assert decoder.check(cache, *range(PICTURES)) == [*range(PICTURES)]
    cache.put(0, picture(0))
    assert decoder.check(pickle.loads(pickle.dumps(cache)), 0) == [0]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot allocate space")
def test_no_space(path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    cache = opened(path)
    assert "No space left" in caplog.text
    assert str(path) in caplog.text
    assert_works_without(cache, caplog)
    assert list(path.parent.iterdir()) == [], "no incomplete file is left"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot allocate space")
def test_the_space_is_allocated(path: Path) -> None:
    """Or a disk that is full later would kill the process at a write into the map."""
    opened(path, pictures=2000)
    assert path.stat().st_blocks * 512 >= 2000 * ENTRY


def test_a_folder_that_cannot_be_created(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_works_without(opened(tmp_path / "file" / "cache" / "pictures.uint8"), caplog)


def test_a_file_that_may_not_be_mapped(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a shared folder, of another user; the error is simulated, because the superuser may open every file."""
    opened(path)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(np, "memmap", denied)
        cache = opened(path)
    assert_works_without(cache, caplog)


def test_the_key_changes_with_everything_that_the_pixels_depend_on() -> None:
    rows = [("/rocks/a.jpg", 100, 5), ("/rocks/b.jpg", 200, 6)]
    changed = [
        ([("/rocks/c.jpg", 100, 5), rows[1]], 64),
        ([("/rocks/a.jpg", 101, 5), rows[1]], 64),
        ([("/rocks/a.jpg", 100, 6), rows[1]], 64),
        (rows[:1], 64),
        (rows[::-1], 64),
        (rows, 65),
        ([("/rocks/a.jpg", 10, 5), ("/rocks/b.jpg", 200, 6)], 640),
    ]
    keys = {cache_key(rows, 64), *(cache_key(other, size) for other, size in changed)}
    assert len(keys) == 1 + len(changed)
    assert cache_key(list(rows), 64) == cache_key(rows, 64)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_the_key_accepts_file_names_in_any_encoding() -> None:
    assert cache_key([(os.fsdecode(b"/rocks/\xff.jpg"), 1, 2)], 64) != cache_key([("/rocks/.jpg", 1, 2)], 64)


def test_the_folder_of_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "fpcn_lightning"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_directory() == tmp_path / "home" / ".cache" / "fpcn_lightning"


def test_the_checksum_on_disk_is_crc32(path: Path) -> None:
    """Processes, also of different versions, must agree on what a filled row is."""
    cache = opened(path)
    cache.put(1, picture(1))
    words = np.frombuffer(path.read_bytes()[PICTURES * ROW :], np.uint64)
    assert words.tolist() == [0, 2**32 + zlib.crc32(picture(1).tobytes()), 0, 0, 0]


MANY, SIDE = 300, 24


def fill(path: Path, start: Barrier, order_seed: int) -> str:
    """Read all rows of a new cache twice, in a random order; return a digest of their pixels."""
    start.wait()
    cache, decoder = PictureCache(path, [(SIDE, SIDE)] * MANY, 1), Decoder(SIDE)
    seen: dict[int, bytes] = {}
    for position in np.random.default_rng(order_seed).permutation(MANY).tolist() * 2:
        pixels = cache.get(position, decoder.of(position)).tobytes()
        assert seen.setdefault(position, pixels) == pixels
    return hashlib.sha256(b"".join(seen[position] for position in range(MANY))).hexdigest()


def test_two_processes_fill_at_once(path: Path) -> None:
    expected = hashlib.sha256(b"".join(picture(position, SIDE).tobytes() for position in range(MANY))).hexdigest()
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(2) as pool:
        for attempt in range(5):
            start = manager.Barrier(2)
            file = path.with_name(f"{attempt}.uint8")
            jobs = [pool.apply_async(fill, (file, start, seed)) for seed in range(2)]
            assert [job.get(60) for job in jobs] == [expected] * 2
            assert [item.name for item in path.parent.glob(f"{attempt}*")] == [file.name]
            assert Decoder(SIDE).check(PictureCache(file, [(SIDE, SIDE)] * MANY, 1), *range(MANY)) == []


# --- pictures of different sizes ----------------------------------------------------------------------------------

SHAPES = [(3, 5), (0, 0), (7, 2), (1, 1), (4, 4)]  # the second was refused and needs no space
LENGTHS = [3 * height * width for height, width in SHAPES]


class Decoded(list[int]):
    """The positions that were decoded."""

    def decoder(self, position: int) -> Callable[[], Pixels]:
        def decode() -> Pixels:
            self.append(position)
            return of_shape(position)

        return decode


def of_shape(position: int) -> Pixels:
    return np.random.default_rng(position).integers(0, 256, (*SHAPES[position], 3), np.uint8)


def test_rows_may_differ_in_length(path: Path) -> None:
    for expected in ([0, 2, 3, 4], []):
        cache, decoded = PictureCache(path, SHAPES, 1), Decoded()
        for position in (4, 2, 0, 3):
            np.testing.assert_array_equal(cache.get(position, decoded.decoder(position)), of_shape(position))
        assert sorted(decoded) == expected
    assert path.stat().st_size == cache.bytes == sum(LENGTHS) + 8 * len(SHAPES)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5])
def test_the_largest_size_with_rows_of_different_lengths(path: Path, rows: int) -> None:
    """As many of the first pictures as fit."""
    needed = sum(LENGTHS[:rows]) + 8 * rows
    assert PictureCache(path, SHAPES, (needed + 0.5) / 1e9).rows == rows
    assert rows == 0 or PictureCache(path, SHAPES, (needed - 0.5) / 1e9).rows == rows - 1
    cache = PictureCache(path, SHAPES, (needed + 0.5) / 1e9)
    assert cache.bytes == needed
    for position in (0, 4):
        np.testing.assert_array_equal(cache.get(position, Decoded().decoder(position)), of_shape(position))


def test_a_user_without_a_home_folder_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert default_directory() is None


def test_the_file_of_another_user_is_read_and_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).put(1, picture(1))
    open_path = Path.open

    def not_writable(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "+" in mode:
            raise PermissionError(13, "Permission denied")
        return open_path(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", not_writable)
    cache, decoder, before = opened(path), Decoder(), path.read_bytes()
    assert decoder.check(cache, 1, 2, 2) == [2, 2]
    assert cache.get(1, decoder.of(1)).flags.writeable
    assert path.read_bytes() == before
