"""Commands and paths in README and notebook: every command composes, every path in the README exists."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from fpcn_lightning.cli.invocation import seeds_as_sweep
from fpcn_lightning.cli.renamed import CHOICES, HINTS, renamed
from fpcn_lightning.runs.upgrade import RENAMED_CONFIG_KEYS
from tests.conftest import composed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
NOTEBOOK = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "experiments").rglob("*.md"))
}
GROUPS = "model|loss|data|recipe|start|optimizer|lr_scheduler|training|trainer|logger|callbacks"


def commands(text: str) -> list[str]:
    """The arguments of each command for this program in the code blocks of a text, with continued lines joined."""
    joined = text.replace("\\\n", " ")
    variables = dict(re.findall(r'^([A-Z]+)="([^"]*)"$', joined, re.MULTILINE))
    found = re.findall(r"^python -m fpcn_lightning (.+)$", joined, re.MULTILINE)
    for name, value in variables.items():
        found = [command.replace(f"${name}", value) for command in found]
    return found


def words_of(command: str) -> list[str]:
    """The arguments after expansion by the shell, which also expands what looks like its own variables."""
    split = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    return [word for word in split.stdout.split("\0")[:-1] if word != "-m"]


def jobs_of(words: list[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, or of the only job of a single run."""
    overrides = OverridesParser.create().parse_overrides(seeds_as_sweep(words))
    jobs: list[list[str]] = BasicSweeper.split_arguments(overrides, None)[0]
    return jobs


@pytest.mark.parametrize("command", commands(README))
def test_a_command_of_the_readme_composes(command: str) -> None:
    for job in jobs_of(words_of(command)):
        composed(*job)


@pytest.mark.parametrize(
    ("place", "command"), [(place, each) for place in NOTEBOOK for each in commands(NOTEBOOK[place])]
)
def test_a_command_of_the_notebook_composes(place: str, command: str) -> None:
    words = words_of(command)
    assert [renamed(word) for word in words if renamed(word)] == []
    composed(*jobs_of(words)[-1])


def test_the_changelog_lists_every_renamed_key_and_choice() -> None:
    listed = set(re.findall(r"^\| `(\S+)` \| `", CHANGES, re.MULTILINE))
    assert listed == RENAMED_CONFIG_KEYS.keys() | HINTS.keys() | CHOICES.keys()
    assert [
        old for old, new in {**RENAMED_CONFIG_KEYS, **CHOICES}.items() if f"| `{old}` | `{new}` |" not in CHANGES
    ] == []


@pytest.mark.parametrize("script", sorted((ROOT / "experiments").rglob("*.py")), ids=lambda path: str(path.parent.name))
def test_a_script_of_the_notebook_finds_what_it_imports(script: Path) -> None:
    assert callable(runpy.run_path(str(script), run_name="notebook")["main"])


@pytest.mark.parametrize("choice", re.findall(rf"`((?:{GROUPS})[\w.]*=[a-z\d_.]+)`", README))
def test_a_choice_of_the_readme_exists(choice: str) -> None:
    composed(choice)


def test_the_keys_in_the_readme_are_current() -> None:
    words = re.findall(r"[\w.]+=[^\s`'\"]*", README)
    assert [sentence for word in words if (sentence := renamed(word))] == []


@pytest.mark.parametrize("extension", re.findall(r"^\| an? .*`([^`]*_target_[^`]*)` \|$", README, re.MULTILINE))
def test_an_extension_of_the_readme_composes(extension: str) -> None:
    composed(*words_of(extension))


@pytest.mark.parametrize(
    "place", re.findall(r"`((?:fpcn_lightning|hydra_plugins|conf|docs|experiments)/[\w/.]*)`", README)
)
def test_a_path_in_the_readme_exists(place: str) -> None:
    assert (ROOT / place).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_a_target_of_the_readme_is_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
