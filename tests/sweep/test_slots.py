import os

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep import slots as module
from fpcn_lightning.sweep.slots import make_slots, slots_for, visible_gpus


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def variables(name: str, slots: int | None, gpus: list[str], gpus_per_job: int, cores: int = 8) -> list[str | None]:
    return [slot.environment.get(name) for slot in make_slots(slots, gpus, gpus_per_job, cores)]


def test_gpus_are_shared_out_in_groups() -> None:
    assert variables("CUDA_VISIBLE_DEVICES", None, ["0", "1", "5"], 1) == ["0", "1", "5"]
    assert variables("CUDA_VISIBLE_DEVICES", None, ["0", "1", "2", "3", "4"], 2) == ["0,1", "2,3"]
    assert variables("CUDA_VISIBLE_DEVICES", 1, ["GPU-a", "GPU-b"], 1) == ["GPU-a"]


def test_without_gpus_the_cores_are_shared_out() -> None:
    assert variables("OMP_NUM_THREADS", None, [], 1) == ["8"]
    assert variables("OMP_NUM_THREADS", 2, [], 2) == ["2", "2"]
    assert variables("OMP_NUM_THREADS", 3, [], 1, cores=2) == ["1", "1", "1"]
    assert variables("CUDA_VISIBLE_DEVICES", 2, [], 1) == [None, None]
    assert [slot.number for slot in make_slots(3, [], 1, 8)] == [0, 1, 2]


def test_threads_that_the_user_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert variables("OMP_NUM_THREADS", 2, [], 1) == [None, None]


@pytest.mark.parametrize(
    ("slots", "gpus", "gpus_per_job", "said"),
    [
        (3, ["0", "1"], 1, "give 2 slots"),
        (None, ["0"], 2, "give 0 slots"),
        (0, [], 1, "hydra.launcher.slots=0"),
        (1, [], 0, "hydra.launcher.gpus_per_job=0"),
    ],
)
def test_what_the_machine_cannot_give_is_said(slots: int | None, gpus: list[str], gpus_per_job: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_slots(slots, gpus, gpus_per_job, 8)


def test_gpus_are_asked_for_only_where_a_job_may_want_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "visible_gpus", lambda: ["0", "1"])
    assert len(slots_for({"cpu"}, slots=None, gpus=None, gpus_per_job=1)) == 1
    assert len(slots_for({"cpu", "gpu"}, slots=None, gpus=None, gpus_per_job=1)) == 2
    (slot,) = slots_for({"cpu"}, slots=None, gpus=[3], gpus_per_job=1)
    assert slot.environment["CUDA_VISIBLE_DEVICES"] == "3"


def test_visible_gpus_are_those_that_the_environment_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "4,7,99")
    assert visible_gpus() == ["4", "7"]
