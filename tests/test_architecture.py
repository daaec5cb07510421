"""The directions of DESIGN: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fpcn_lightning"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too, but not for the type checker alone."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def uses(path: Path, *packages: str) -> list[str]:
    return sorted(
        name for name in imported(path) for package in packages if name == package or name.startswith(f"{package}.")
    )


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_entry_and_the_tasks_import_hydra(path: Path) -> None:
    if path.parts[0] == "tasks" or path.parts[0] == "cli" or path.name in ("build.py", "config.py"):
        pytest.skip("may know Hydra")
    assert not uses(path, "hydra", "omegaconf")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_build_instantiates(path: Path) -> None:
    text = (PACKAGE / path).read_text(encoding="utf-8")
    assert ("utils.instantiate(" in text) == (path.name == "build.py")


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] in ("models", "losses")], ids=str)
def test_networks_and_losses_know_no_lightning(path: Path) -> None:
    assert not uses(path, "lightning", "fpcn_lightning.modules", "fpcn_lightning.tasks", "fpcn_lightning.data")


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "data"], ids=str)
def test_data_knows_no_module_of_ours(path: Path) -> None:
    assert not uses(path, "fpcn_lightning.modules", "fpcn_lightning.models", "fpcn_lightning.tasks")


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "sweep"], ids=str)
def test_a_sweep_knows_runs_by_their_records_alone(path: Path) -> None:
    assert not uses(path, *(f"fpcn_lightning.{room}" for room in ("tasks", "modules", "models", "data", "callbacks")))


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "report"], ids=str)
def test_report_knows_only_itself_and_errors(path: Path) -> None:
    ours = uses(path, "fpcn_lightning")
    assert all(
        name.startswith(("fpcn_lightning.report", "fpcn_lightning.runs", "fpcn_lightning.errors")) for name in ours
    )


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "field"], ids=str)
def test_the_field_knows_pictures_and_views_but_no_training(path: Path) -> None:
    known = ("errors", "data.images", "data.augment", "data.tiles", "field", "__version__")
    allowed = tuple(f"fpcn_lightning.{name}" for name in known)
    ours = [name for name in uses(path, "fpcn_lightning") if name not in ("fpcn_lightning", "fpcn_lightning.data")]
    assert [name for name in ours if not name.startswith(allowed)] == []
    assert not uses(path, "torch", "lightning", "timm", "onnx")


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "deploy"], ids=str)
def test_deploy_knows_no_task(path: Path) -> None:
    assert not uses(path, "fpcn_lightning.tasks")


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "explain"], ids=str)
def test_explaining_knows_networks_and_pictures_but_no_training(path: Path) -> None:
    assert not uses(path, "lightning", *(f"fpcn_lightning.{room}" for room in ("tasks", "modules", "callbacks")))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_export_knows_the_field(path: Path) -> None:
    assert path.parts[0] in ("field", "deploy", "tasks") or not uses(path, "fpcn_lightning.field")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fpcn_lightning.cli.main", ("torch", "lightning", "timm", "matplotlib", "numpy")),
        ("fpcn_lightning.data.images", ("torch", "sklearn", "hydra")),
        ("fpcn_lightning.report.table", ("torch", "hydra", "omegaconf", "numpy")),
        ("fpcn_lightning.report.write", ("torch", "hydra", "omegaconf")),
        ("fpcn_lightning.sweep.processes", ("torch", "hydra", "omegaconf", "numpy")),
        ("fpcn_lightning.field.command", ("torch", "lightning", "hydra", "numpy", "PIL", "onnxruntime", "tqdm")),
        ("fpcn_lightning.field.screen", ("torch", "lightning", "timm", "hydra", "omegaconf", "onnxruntime", "pyarrow")),
        ("fpcn_lightning.report.figures", ("torch", "hydra", "omegaconf")),
    ],
)
def test_a_light_room_loads_nothing_heavy(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_file_is_about_one_thing(path: Path) -> None:
    assert len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) <= 300
