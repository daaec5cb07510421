from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs import folders

OUTPUT = Path("outputs")


def test_every_folder_has_its_name() -> None:
    run = ("demo", "fpcn+a", 3)
    assert folders.experiment_folder(OUTPUT, "demo") == Path("outputs/demo")
    assert folders.run_folder(OUTPUT, *run) == Path("outputs/demo/fpcn+a/seed-3")
    assert folders.bundle_folder(OUTPUT, *run) == Path("outputs/bundles/demo-fpcn+a-seed-3")
    assert folders.explanation_folder(OUTPUT, *run) == Path("outputs/explanations/demo-fpcn+a-seed-3")
    assert folders.evaluation_folder(OUTPUT, *run, root=None) == Path("outputs/evaluations/demo-fpcn+a/seed-3/own")
    assert folders.trial_name(7) == "trial-0007"


def test_folders_of_the_same_name_are_evaluated_apart(tmp_path: Path) -> None:
    first, second = (folders.data_name(tmp_path / parent / "test.csv") for parent in ("a", "b"))
    assert first != second
    assert [name.rpartition("-")[0] for name in (first, second)] == ["test", "test"]
    assert folders.data_name(tmp_path / "a" / "test.csv") == first


def test_a_run_has_the_folder_that_the_config_tells_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "conf" / "config.yaml").read_text(encoding="utf-8")
    for key, value in {"output": "outputs", "name": "demo", "variant": "fpcn", "seed": "3"}.items():
        text = text.replace(f"${{{key}}}", value)
    assert f"dir: {folders.run_folder(OUTPUT, 'demo', 'fpcn', 3)}\n" in text
    assert f"dir: {folders.experiment_folder(OUTPUT, 'demo')}\n    subdir: fpcn/{folders.seed_name(3)}\n" in text


@pytest.mark.parametrize(("several", "place"), [(False, "report/figures"), (True, "report/figures/b_.._c")])
def test_each_of_several_experiments_has_its_part_of_a_report(several: bool, place: str) -> None:
    assert folders.experiment_part(Path("report"), folders.FIGURES, "b/../c", several=several) == Path(place)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "../x", "a\\b", "\n"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^name="):
        folders.check_names(name, "fpcn")
    with pytest.raises(UserError, match=r"^variant="):
        folders.run_folder(OUTPUT, "demo", name, 0)
    with pytest.raises(UserError, match="names a folder"):
        folders.bundle_folder(OUTPUT, name, "fpcn", 0)
