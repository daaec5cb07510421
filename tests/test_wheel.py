"""The wheel, built and installed elsewhere: it runs from another folder, and without the packages of a training."""

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fpcn_lightning.data.images import open_image

ROOT = Path(__file__).parents[1]
MAX_DEMO_BYTES = 5_000_000
TRAIN = "which are not installed: pip install 'fpcn-lightning[train]'."
pytestmark = pytest.mark.slow


def run(*words: str, folder: Path, site: Path | None = None) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT), folder=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel), folder=tmp_path)
    for module in ("fpcn_lightning", "hydra_plugins.fpcn_lightning"):
        where = run("-c", f"import {module} as module; print(module.__file__)", folder=elsewhere, site=site)
        assert where.startswith(str(site))
    small = ("data.synthetic.images_per_class=6", "data.synthetic.size=48", "model=plain")
    run("-m", "fpcn_lightning", "-m", "trainer=smoke", *small, folder=elsewhere, site=site)
    assert (elsewhere / "outputs" / "smoke" / "single" / "plain" / "seed-0" / "result.json").exists()


def test_the_wheel_has_the_demonstration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {each.filename: each.file_size for each in archive.infolist() if "/demo/" in each.filename}
    assert {"fpcn_lightning/demo/bundle/bundle.json", "fpcn_lightning/demo/bundle/card.md"} <= sizes.keys()
    assert sum(name.endswith(".jpg") for name in sizes) >= 3
    assert sum(sizes.values()) < MAX_DEMO_BYTES


def required(found: Distribution, seen: set[str]) -> Iterator[Distribution]:
    """The distributions that one without extras requires, and those that these require."""
    for line in found.requires or ():
        requirement = Requirement(line)
        name = requirement.name.lower().replace("_", "-")
        if name in seen or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        yield (other := distribution(name))
        yield from required(other, seen)


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as `pip install fpcn-lightning` makes it, with the packages of this one: no network is needed."""
    folder = tmp_path_factory.mktemp("light") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run("-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel), folder=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (own,) = site.glob("fpcn_lightning-*.dist-info")
    for each in required(PathDistribution(own), set()):
        for top in {file.parts[0] for file in each.files or () if file.parts[0] != ".."}:
            if top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(Path(str(each.locate_file(top))))
    return folder / "bin"


def fpcn(light: Path, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [light / "fpcn", *words], capture_output=True, text=True, cwd=folder, check=False, env=environment
    )


def test_the_light_installation_runs_the_commands_on_a_bundle(light: Path, tmp_path: Path) -> None:
    code = "import sys, fpcn_lightning; print({'torch', 'hydra', 'scipy'} & set(sys.modules))"
    done = subprocess.run([light / "python", "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    absent = subprocess.run([light / "python", "-I", "-c", "import torch"], capture_output=True, check=False)
    assert absent.returncode == 1
    commands = {
        ("--help",): "demo-photos",
        ("info", "demo"): "not for real photographs",
        ("demo-photos", "photographs"): "next: fpcn check demo photographs",
        ("predict", "demo", "photographs"): "not for real photographs",
        ("predict", "demo", "photographs/veined/veined-1.jpg"): "veined",
        ("check", "demo", "photographs"): "photographs are classified correctly",
    }
    for words, expected in commands.items():
        done = fpcn(light, *words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert open_image(tmp_path / "photographs" / "veined" / "veined-1.jpg").shape[2] == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "photographs"), TRAIN),
        (("serve", "demo"), "nicegui, which is not installed: pip install 'fpcn-lightning[serve]'."),
        (("map", "demo", "a.tif"), "which are not installed: pip install 'fpcn-lightning[map]'."),
        (("predict", "demo", "photographs", "--output", "a.parquet"), "pip install 'fpcn-lightning[parquet]'."),
        (("predict", "demo", "list.xlsx"), "pip install 'fpcn-lightning[excel]', or save the list as CSV UTF-8."),
    ],
)
def test_the_light_installation_says_what_else_is_needed(
    light: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    fpcn(light, "demo-photos", "photographs", folder=tmp_path)
    (tmp_path / "list.xlsx").touch()
    done = fpcn(light, *words, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.rstrip("\n").endswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_experiments_in_the_light_installation_are_one_sentence(light: Path, tmp_path: Path) -> None:
    line = [str(light / "python"), "-m", "fpcn_lightning", "+experiment=demo"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: hydra is not installed: pip install 'fpcn-lightning[train]'.\n",
    )
