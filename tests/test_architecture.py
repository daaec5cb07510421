"""The layers of docs/design.md: which folder may import which, wherever the import is written."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT) for folder in ("fpcn_lightning", "hydra_plugins") for path in (ROOT / folder).rglob("*.py")
)
# From the lowest layer to the highest. A folder imports folders of lower layers and itself, none of its own layer.
LAYERS = (
    {"installation"},
    {
        "errors",
        "config",
        "plain_config",
        "distributed",
        "library_warnings",
        "allocator",
        "stopping",
        "intervals",
        "cores",
        "deadlines",
    },
    {"runs"},
    {"plotting", "html_pages"},
    {"losses", "data", "report"},
    {"models", "field"},
    {"build", "explain", "audit"},
    {"modules", "sweep"},
    {"tracking", "deploy"},
    {"callbacks", "profiling"},
    {"tasks"},
    {"cli"},
    {"hydra_plugins", "__main__", "quickstart"},
    {"api"},
)
LAYER_OF = {name: number for number, folders in enumerate(LAYERS) for name in folders}
# What `field` may import, as prefixes of the dotted name below fpcn_lightning.
# Those of `data` find, read and prepare pictures for training and for `fpcn` alike; they load neither torch nor Hydra.
# `fpcn check` finds labelled pictures as a training does: `index`, `layout`.
FIELD_DATA = ("augment", "files", "folders", "images", "index", "layout", "lists", "names", "squares", "tiles")
FIELD_KNOWS = (
    "installation",
    "errors",
    "stopping",
    "cores",
    "deadlines",
    "intervals",
    "plotting",
    "html_pages",
    "runs.atomic_write",
    "runs.csv_text",
    *(f"data.{name}" for name in FIELD_DATA),
    "field",
)
# Libraries that a folder must not import, wherever the import is written.
WITHOUT = {
    "config": ("hydra", "omegaconf", "torch"),
    "runs": ("hydra", "omegaconf", "torch", "lightning"),
    "report": ("hydra", "omegaconf", "torch", "lightning"),
    "field": ("hydra", "omegaconf", "torch", "lightning", "timm", "onnx"),
    "data": ("hydra", "omegaconf"),
    "losses": ("hydra", "omegaconf", "lightning"),
    "models": ("hydra", "omegaconf", "lightning"),
    "modules": ("hydra", "omegaconf"),
    "sweep": ("hydra", "omegaconf"),
    "explain": ("hydra", "omegaconf", "lightning"),
    "audit": ("hydra", "omegaconf", "lightning"),
    "callbacks": ("hydra", "omegaconf"),
    "tracking": ("hydra", "omegaconf"),
    "deploy": ("hydra", "omegaconf"),
    "profiling": ("hydra", "omegaconf"),
    "tasks": ("hydra", "omegaconf"),
}


def top_level(path: Path) -> str:
    """The folder of a module, or the module itself at the top of the package."""
    if path.parts[0] == "hydra_plugins":
        return "hydra_plugins"
    return path.parts[1] if len(path.parts) > 2 else path.stem


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports: at its top, inside functions, and for the type checker alone."""
    package = ".".join(path.parts[:-1])
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) + 1 - node.level], *filter(None, [base])]
                )
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def folders_imported(path: Path) -> set[str]:
    """The folders of this package that a file imports."""
    found = set()
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "hydra_plugins":
            found.add("hydra_plugins")
        elif first == "fpcn_lightning" and rest and rest.partition(".")[0] in LAYER_OF:
            found.add(rest.partition(".")[0])
    return found


def test_the_layers_are_those_of_the_design() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    written: dict[int, set[str]] = {}
    for number, cell in re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE):
        written.setdefault(int(number), set()).update(name.strip("/") for name in re.findall(r"`([^`]+)`", cell))
    assert written == dict(enumerate(LAYERS))


def test_every_folder_has_a_layer() -> None:
    assert {top_level(path) for path in MODULES} - {"__init__"} == LAYER_OF.keys()


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_lead_to_lower_layers_only(path: Path) -> None:
    own = top_level(path)
    if own == "__init__":  # of the package; it imports `api` where a name is used
        assert folders_imported(path) <= {"api"}
        return
    others = folders_imported(path) - {own}
    assert {name for name in others if LAYER_OF[name] >= LAYER_OF[own]} == set()


def test_no_module_imports_itself_through_others() -> None:
    """No cycle between modules, imports inside functions and those for the type checker included."""
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    graph = {
        name: {other for other in imported(path) if other in names and other != name} for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                # A package's own __init__ is imported by each of its modules without being used.
                if not name.startswith(f"{other}."):
                    visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_folder_does_not_import_the_libraries_of_higher_layers(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imported(path)}
    assert roots & set(WITHOUT.get(top_level(path), ())) == set()


@pytest.mark.parametrize("path", [path for path in MODULES if top_level(path) == "field"], ids=str)
def test_the_field_uses_images_views_figures_and_the_atomic_write_alone(path: Path) -> None:
    ours = [name.removeprefix("fpcn_lightning.") for name in imported(path) if name.startswith("fpcn_lightning.")]
    known = ("data", "runs", "__version__", *FIELD_KNOWS)
    assert [
        name
        for name in ours
        if not any(name == other or name.startswith(f"{other}.") for other in FIELD_KNOWS) and name not in known
    ] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_build_instantiates(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert ("utils.instantiate(" in text) == (path.name == "build.py")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "fpcn_lightning",
            ("torch", "lightning", "hydra", "omegaconf", "numpy", "PIL", "pandas", "argparse", "logging"),
        ),
        ("fpcn_lightning.api.loading", ("torch", "lightning", "hydra", "omegaconf", "pandas", "onnxruntime")),
        ("fpcn_lightning.cli.help", ("hydra", "omegaconf", "numpy")),
        ("fpcn_lightning.cli.main", ("torch", "lightning", "timm", "matplotlib", "numpy")),
        ("fpcn_lightning.tasks.train", ("torch", "lightning", "timm", "matplotlib")),
        ("fpcn_lightning.data.images", ("torch", "sklearn", "hydra")),
        ("fpcn_lightning.runs.results", ("torch", "hydra", "omegaconf", "numpy", "filelock")),
        ("fpcn_lightning.report.table", ("torch", "hydra", "omegaconf", "numpy")),
        ("fpcn_lightning.report.write", ("torch", "hydra", "omegaconf")),
        ("fpcn_lightning.sweep.processes", ("torch", "hydra", "omegaconf", "numpy")),
        ("fpcn_lightning.field.command", ("torch", "lightning", "hydra", "numpy", "PIL", "onnxruntime", "tqdm")),
        ("fpcn_lightning.report.figures", ("torch", "hydra", "omegaconf")),
    ],
)
def test_a_light_module_loads_nothing_heavy(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_file_is_about_one_thing(path: Path) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= 300


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for name in re.findall(r"^class ([A-Za-z]\w*)", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE):
            places.setdefault(name, []).append(str(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_progress_bars_of_tqdm_are_silent_without_a_terminal() -> None:
    bars = [
        (path, call)
        for path in MODULES
        for call in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "tqdm"
    ]
    assert bars
    loud = [f"{path}:{call.lineno}" for path, call in bars if "disable" not in {word.arg for word in call.keywords}]
    assert loud == []
