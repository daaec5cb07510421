from pathlib import Path

from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.runs.recording import RunRecord


def test_what_a_killed_process_left_is_removed_under_the_lock(tmp_path: Path) -> None:
    left, kept = tmp_path / ".learning_curves.png.22530", tmp_path / ".notes.txt"
    for path in (left, kept):
        path.touch()
    record = RunRecord(tmp_path, {"name": "test", "variant": "plain", "seed": 0}, Invocation((), (), tmp_path))
    assert left.exists()
    with record.locked():
        assert not left.exists()
    assert kept.exists()
