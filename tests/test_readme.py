"""Commands and paths in the README: every command composes, every path exists."""

import re
import subprocess
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import composed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m fpcn_lightning (.+)$", README, re.MULTILINE)
CHOICES = re.findall(r"`((?:model|loss|data|trainer|logger)[\w.]*=[\w.]+)`", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_composes(command: str) -> None:
    # A shell would also expand what looks like its own variables.
    split = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    words = [word for word in split.stdout.split("\0")[:-1] if word != "-m"]
    for job in BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)[0]:
        composed(*job)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_of_the_readme_exists(choice: str) -> None:
    composed(choice)


@pytest.mark.parametrize("place", re.findall(r"`((?:fpcn_lightning|conf|experiments)/[\w/.]*)`", README))
def test_a_path_in_the_readme_exists(place: str) -> None:
    assert (ROOT / place).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_a_target_of_the_readme_is_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
