"""What README, guides and lab notebook say: every command composes or parses, every path, key and number stands."""

import argparse
import io
import re
import runpy
import shlex
import subprocess
import tomllib
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from fpcn_lightning.cli.invocation import seeds_as_sweep
from fpcn_lightning.cli.renamed import CHOICES, HINTS, renamed
from fpcn_lightning.field import command
from fpcn_lightning.field.command_line import make_parser
from fpcn_lightning.quickstart.command import main
from fpcn_lightning.runs.upgrade import RENAMED_CONFIG_KEYS
from tests.conftest import composed

ROOT = Path(__file__).parents[1]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def texts(*paths: Path) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


PAGES = texts(ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
NOTEBOOK = texts(*(ROOT / "experiments").rglob("*.md"))
GROUPS = "model|loss|data|recipe|start|optimizer|lr_scheduler|training|trainer|logger|callbacks"


def found(pattern: str) -> list[str]:
    """Each text in the pages that matches, once."""
    return list(dict.fromkeys(match for text in PAGES.values() for match in re.findall(pattern, text, re.MULTILINE)))


def commands(pages: dict[str, str]) -> list[str]:
    """The arguments of each command for this program in the code blocks of the pages, with continued lines joined."""
    listed: list[str] = []
    for text in pages.values():
        joined = text.replace("\\\n", " ")
        variables = dict(re.findall(r'^([A-Z]+)="([^"]*)"$', joined, re.MULTILINE))
        lines = re.findall(r"^python -m fpcn_lightning (.+)$", joined, re.MULTILINE)
        for name, value in variables.items():
            lines = [line.replace(f"${name}", value) for line in lines]
        listed += [line for line in lines if "--config-dir" not in line]  # run in test_documentation.py
    return list(dict.fromkeys(listed))


def words_of(command: str) -> list[str]:
    """The arguments after expansion by the shell, which also expands what looks like its own variables."""
    split = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    return [word for word in split.stdout.split("\0")[:-1] if word != "-m"]


def jobs_of(words: list[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, or of the only job of a single run."""
    overrides = OverridesParser.create().parse_overrides(seeds_as_sweep(words))
    jobs: list[list[str]] = BasicSweeper.split_arguments(overrides, None)[0]
    return jobs


@cache
def fpcn_parser() -> argparse.ArgumentParser:
    """The parser of `fpcn` with all its commands, as its entry makes it."""
    made: list[argparse.ArgumentParser] = []

    def kept(*arguments: Any) -> argparse.ArgumentParser:
        made.append(make_parser(*arguments))
        return made[0]

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), suppress(SystemExit):
        patch.setattr(command, "make_parser", kept)
        main(["--version"])
    return made[0]


@pytest.mark.parametrize("command", commands(PAGES))
def test_a_command_of_the_documentation_composes(command: str) -> None:
    for job in jobs_of(words_of(command)):
        composed(*job)


@pytest.mark.parametrize("command", commands(NOTEBOOK))
def test_a_command_of_the_notebook_composes(command: str) -> None:
    words = words_of(command)
    assert [renamed(word) for word in words if renamed(word)] == []
    composed(*jobs_of(words)[-1])


@pytest.mark.parametrize("line", [*found(r"^fpcn (.+)$"), *found(r"`fpcn ([a-z]+ [^`]+)`")])
def test_a_field_command_of_the_documentation_parses(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match="0"):
            fpcn_parser().parse_args(words)
    else:
        assert fpcn_parser().parse_args(words).run


def test_the_changelog_lists_every_renamed_key_and_choice() -> None:
    listed = set(re.findall(r"^\| `(\S+)` \| `", CHANGES, re.MULTILINE))
    assert listed == RENAMED_CONFIG_KEYS.keys() | HINTS.keys() | CHOICES.keys()
    assert [
        old for old, new in {**RENAMED_CONFIG_KEYS, **CHOICES}.items() if f"| `{old}` | `{new}` |" not in CHANGES
    ] == []


@pytest.mark.parametrize("script", sorted((ROOT / "experiments").rglob("*.py")), ids=lambda path: str(path.parent.name))
def test_a_script_of_the_notebook_finds_what_it_imports(script: Path) -> None:
    assert callable(runpy.run_path(str(script), run_name="notebook")["main"])


@pytest.mark.parametrize("choice", found(rf"`((?:{GROUPS})(?:\.\w+)*=[a-z\d_.]+)`"))
def test_a_choice_of_the_documentation_exists(choice: str) -> None:
    composed(choice)


@pytest.mark.parametrize("place", PAGES)
def test_the_keys_in_the_documentation_are_current(place: str) -> None:
    words = re.findall(r"[\w.]+=[^\s`'\"]*", PAGES[place])
    assert [sentence for word in words if (sentence := renamed(word))] == []


@pytest.mark.parametrize("extension", found(r"^\| an? .*`([^`]*_target_[^`]*)` \|$"))
def test_an_extension_of_the_documentation_composes(extension: str) -> None:
    composed(*words_of(extension))


@pytest.mark.parametrize(
    "path", found(r"`((?:fpcn_lightning|hydra_plugins|conf|docs|experiments|scripts|tests)/[\w/.]*)`")
)
def test_a_path_in_the_documentation_exists(path: str) -> None:
    assert (ROOT / path).exists() or "NAME" in path


@pytest.mark.parametrize("target", found(r"(?:^|`)make ([a-z-]+)"))
def test_a_target_of_the_documentation_is_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_extras_of_the_documentation_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {extra for extras in found(r"(?:fpcn-lightning|'\.)\[([\w,]+)\]") for extra in extras.split(",")}
    assert "train" in named
    assert named - project["optional-dependencies"].keys() == set()


@pytest.mark.parametrize("row", re.findall(r"^\| \[.*experiments/.*$", PAGES["README.md"], re.MULTILINE))
def test_a_result_of_the_readme_stands_in_the_notebook(row: str) -> None:
    page = NOTEBOOK[re.findall(r"\((experiments/[^)]+)\)", row)[0]]
    result, commits = row.split(" | ")[1:]
    numbers = re.findall(r"\d+\.\d+", result)
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", page)] == []
    assert [commit for commit in re.findall(r"[0-9a-f]{7}", commits) if commit not in page] == []


def test_the_figure_of_the_readme_is_small() -> None:
    assert (ROOT / "docs" / "figure.png").stat().st_size < 300_000
