"""Words of a command line, as Hydra's own parser reads them."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString

from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.sweep.command import assignment, job_arguments, quoted

TEXTS = ["", "area", "null", "1", "it's, 1=2 é [a]", "a\\", "\\", "\\'", "a\\\\'b", "a\\b", "'", "C:\\x\\", "${x}"]
VALUES: list[bool | int | float | str | None] = [None, True, 3, 1e-05, 0.1 + 0.2, *TEXTS]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_survives_the_command_line(value: bool | int | float | str | None) -> None:
    (override,) = OverridesParser.create().parse_overrides([assignment("key", value)])
    parsed = override.value()
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_quoted_as_hydra_would(text: str) -> None:
    assert quoted(text) == QuotedString(text, Quote.single).with_quotes()


def test_a_job_gets_the_config_folders_and_the_words_for_hydra(tmp_path: Path) -> None:
    hydra = ("hydra/launcher=slots", "hydra.mode=MULTIRUN")
    invocation = Invocation(("seed=0,1",), hydra, tmp_path, config_dirs=(Path("/my conf"),), multirun=True)
    assert job_arguments(invocation, ("seed=1", "variant=x"), Path("outputs/it's")) == (
        "--config-dir=/my conf",
        "hydra/launcher=slots",
        "seed=1",
        "variant=x",
        "hydra.mode=RUN",
        r"hydra.run.dir='outputs/it\'s'",
    )
