"""What README, guides and lab notebook say: every command composes or parses, every path, key and number stands."""

import argparse
import re
import runpy
import shlex
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from fpcn_lightning.cli.invocation import seeds_as_sweep
from fpcn_lightning.cli.renamed import CHOICES, HINTS, renamed
from fpcn_lightning.field.command_line import FurtherCommand, make_parser
from fpcn_lightning.quickstart import options
from fpcn_lightning.runs.upgrade import RENAMED_CONFIG_KEYS
from tests.conftest import composed

ROOT = Path(__file__).parents[1]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def texts(*paths: Path) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


PAGES = texts(ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
NOTEBOOK = texts(*(ROOT / "experiments").rglob("*.md"))
GROUPS = "model|loss|data|recipe|start|optimizer|lr_scheduler|training|trainer|logger|callbacks"


def found(pattern: str, pages: dict[str, str] = PAGES) -> list[tuple[str, str]]:
    """Each page and each text in it that matches, once."""
    pairs = ((place, match) for place, text in pages.items() for match in re.findall(pattern, text, re.MULTILINE))
    return list(dict.fromkeys(pairs))


def commands(pages: dict[str, str]) -> list[tuple[str, str]]:
    """The arguments of each command for this program in the code blocks of a page, with continued lines joined."""
    listed = []
    for place, text in pages.items():
        joined = text.replace("\\\n", " ")
        variables = dict(re.findall(r'^([A-Z]+)="([^"]*)"$', joined, re.MULTILINE))
        lines = re.findall(r"^python -m fpcn_lightning (.+)$", joined, re.MULTILINE)
        for name, value in variables.items():
            lines = [line.replace(f"${name}", value) for line in lines]
        listed += [(place, line) for line in lines if "--config-dir" not in line]  # run in test_documentation.py
    return listed


def words_of(command: str) -> list[str]:
    """The arguments after expansion by the shell, which also expands what looks like its own variables."""
    split = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    return [word for word in split.stdout.split("\0")[:-1] if word != "-m"]


def jobs_of(words: list[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, or of the only job of a single run."""
    overrides = OverridesParser.create().parse_overrides(seeds_as_sweep(words))
    jobs: list[list[str]] = BasicSweeper.split_arguments(overrides, None)[0]
    return jobs


def fpcn_parser() -> argparse.ArgumentParser:
    train = FurtherCommand("train", "", "", "", options.add_options, lambda _: 0)
    return make_parser(defaultdict(lambda: lambda _: 0), [train])


@pytest.mark.parametrize(("place", "command"), commands(PAGES))
def test_a_command_of_the_documentation_composes(place: str, command: str) -> None:
    for job in jobs_of(words_of(command)):
        composed(*job)


@pytest.mark.parametrize(("place", "command"), commands(NOTEBOOK))
def test_a_command_of_the_notebook_composes(place: str, command: str) -> None:
    words = words_of(command)
    assert [renamed(word) for word in words if renamed(word)] == []
    composed(*jobs_of(words)[-1])


@pytest.mark.parametrize(("place", "command"), [*found(r"^fpcn (.+)$"), *found(r"`fpcn ([a-z]+ [^`]+)`")])
def test_a_field_command_of_the_documentation_parses(place: str, command: str) -> None:
    parser = fpcn_parser()
    if command.endswith("--help"):
        with pytest.raises(SystemExit, match="0"):
            parser.parse_args(shlex.split(command))
    else:
        assert parser.parse_args(shlex.split(command)).run


def test_the_changelog_lists_every_renamed_key_and_choice() -> None:
    listed = set(re.findall(r"^\| `(\S+)` \| `", CHANGES, re.MULTILINE))
    assert listed == RENAMED_CONFIG_KEYS.keys() | HINTS.keys() | CHOICES.keys()
    assert [
        old for old, new in {**RENAMED_CONFIG_KEYS, **CHOICES}.items() if f"| `{old}` | `{new}` |" not in CHANGES
    ] == []


@pytest.mark.parametrize("script", sorted((ROOT / "experiments").rglob("*.py")), ids=lambda path: str(path.parent.name))
def test_a_script_of_the_notebook_finds_what_it_imports(script: Path) -> None:
    assert callable(runpy.run_path(str(script), run_name="notebook")["main"])


@pytest.mark.parametrize(("place", "choice"), found(rf"`((?:{GROUPS})[\w.]*=[a-z\d_.]+)`"))
def test_a_choice_of_the_documentation_exists(place: str, choice: str) -> None:
    composed(choice)


@pytest.mark.parametrize("place", PAGES)
def test_the_keys_in_the_documentation_are_current(place: str) -> None:
    words = re.findall(r"[\w.]+=[^\s`'\"]*", PAGES[place])
    assert [sentence for word in words if (sentence := renamed(word))] == []


@pytest.mark.parametrize(("place", "extension"), found(r"^\| an? .*`([^`]*_target_[^`]*)` \|$"))
def test_an_extension_of_the_documentation_composes(place: str, extension: str) -> None:
    composed(*words_of(extension))


@pytest.mark.parametrize(
    ("place", "path"), found(r"`((?:fpcn_lightning|hydra_plugins|conf|docs|experiments|scripts|tests)/[\w/.]*)`")
)
def test_a_path_in_the_documentation_exists(place: str, path: str) -> None:
    assert (ROOT / path).exists() or "NAME" in path


@pytest.mark.parametrize(("place", "target"), found(r"(?:^|`)make ([a-z-]+)"))
def test_a_target_of_the_documentation_is_in_the_makefile(place: str, target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("row", re.findall(r"^\| \[.*experiments/.*$", PAGES["README.md"], re.MULTILINE))
def test_a_result_of_the_readme_stands_in_the_notebook(row: str) -> None:
    page = NOTEBOOK[re.findall(r"\((experiments/[^)]+)\)", row)[0]]
    result, commits = row.split(" | ")[1:]
    numbers = re.findall(r"\d+\.\d+", result)
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", page)] == []
    assert [commit for commit in re.findall(r"[0-9a-f]{7}", commits) if commit not in page] == []


def test_the_figure_of_the_readme_is_small() -> None:
    assert (ROOT / "docs" / "figure.png").stat().st_size < 300_000
