"""What is installed with what: one table of modules, one form of the commands, and texts that agree with both."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from fpcn_lightning.errors import MissingPackage, explain
from fpcn_lightning.installation import LIGHT, MODULES, extra_of, install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OWN = "fpcn-lightning"
FEW = ["trainer=smoke", "data.synthetic.images_per_class=6", "data.synthetic.size=48"]
TEXTS = sorted(
    path
    for pattern in ("README.md", "Makefile", ".ci/run", "docs/**/*.md", "conf/**/*.yaml", "fpcn_lightning/**/*")
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix in ("", ".md", ".yaml", ".py", ".jinja")
)


def distributions(requirements: list[str]) -> set[str]:
    """The normalised names of requirements, without those of this package itself."""
    names = {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower().replace("_", "-") for each in requirements}
    return names - {OWN}


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_requires_what_its_modules_are_in(extra: str) -> None:
    required = distributions(PROJECT["dependencies"] if extra == LIGHT else EXTRAS[extra])
    known = packages_distributions()
    if absent := [name for name in MODULES[extra] if name not in known]:
        pytest.skip(f"{', '.join(absent)} not installed here")
    owners = {name: {each.lower().replace("_", "-") for each in known[name]} for name in MODULES[extra]}
    assert [name for name, found in owners.items() if not found & required] == []
    assert [each for each in required if not any(each in found for found in owners.values())] == []


def test_every_extra_for_users_has_an_entry() -> None:
    assert MODULES.keys() - {LIGHT} == EXTRAS.keys() - {"dev", "docs"}  # for those who have the repository


def test_dev_includes_every_other_extra() -> None:
    def included(extra: str) -> set[str]:
        others = [re.fullmatch(rf"{OWN}\[(.+)\]", each) for each in EXTRAS[extra]]
        named = {name for found in others if found for name in found[1].split(",")}
        return named.union(*map(included, named))

    assert included("dev") == EXTRAS.keys() - {"dev"}
    assert {"export", "weights"} <= included("train")


def test_the_light_installation_has_nothing_of_a_training() -> None:
    assert distributions(PROJECT["dependencies"]) & distributions(EXTRAS["train"]) == set()
    assert "field" not in EXTRAS


@pytest.mark.parametrize(
    ("system", "extras", "command"),
    [
        ("posix", (), "pip install fpcn-lightning"),
        ("nt", (LIGHT,), "pip install fpcn-lightning"),
        ("posix", ("train",), "pip install 'fpcn-lightning[train]'"),
        ("nt", ("serve", "map"), 'pip install "fpcn-lightning[serve,map]"'),
    ],
)
def test_the_command(monkeypatch: pytest.MonkeyPatch, system: str, extras: tuple[str, ...], command: str) -> None:
    monkeypatch.setattr("fpcn_lightning.installation.os.name", system)
    assert install_command(*extras) == command


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_text_names_extras_that_exist(path: Path) -> None:
    for found in re.findall(rf"{OWN}\[([\w,]+)\]", path.read_text(encoding="utf-8")):
        assert set(found.split(",")) <= EXTRAS.keys()


def test_code_takes_its_commands_from_one_place() -> None:
    places = [ROOT / folder for folder in ("fpcn_lightning", "hydra_plugins")]
    scripts = [path for place in places for path in place.rglob("*.py") if path.name != "installation.py"]
    with_commands = [path.name for path in scripts if f"pip install '{OWN}" in path.read_text(encoding="utf-8")]
    assert with_commands == []


def test_a_module_that_is_missing_is_explained() -> None:
    found = explain(ModuleNotFoundError("No module named 'sklearn.linear_model'", name="sklearn.linear_model"))
    assert found is not None
    assert found.text == "sklearn.linear_model is not installed: pip install 'fpcn-lightning[train]'."
    assert found.exit_code == 2
    assert explain(ModuleNotFoundError("No module named 'geology'", name="geology")) is None
    assert extra_of("PIL.Image") == LIGHT


def test_a_loaded_module_without_a_spec_counts_as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", type(sys)("nicegui"))
    MissingPackage.check("fpcn serve", "serve")
    monkeypatch.setitem(sys.modules, "nicegui", None)
    with pytest.raises(MissingPackage, match=r"^fpcn serve needs nicegui, which is not installed: pip install "):
        MissingPackage.check("fpcn serve", "serve")


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (MODULES["train"], ["+experiment=demo"]),  # the light installation
        (("torch", "lightning"), FEW),
        pytest.param(("tensorboard",), [*FEW, "logger=tensorboard", "model=majority"], marks=pytest.mark.slow),
    ],
)
def test_experiments_without_their_packages_are_one_sentence(
    tmp_path: Path, absent: tuple[str, ...], words: list[str]
) -> None:
    """`python -m fpcn_lightning`, where packages are missing."""
    program = (
        f"import runpy, sys\nfor name in {absent!r}:\n    sys.modules[name] = None\n"
        f"sys.argv[1:] = {words!r}\nrunpy.run_module('fpcn_lightning', run_name='__main__', alter_sys=True)"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.match(r"error: .* not installed: pip install 'fpcn-lightning\[(train|tensorboard)\]'\.$", last), (
        done.stderr
    )
    assert "Traceback" not in done.stderr
