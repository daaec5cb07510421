"""`task=audit`: check photographs before any training; a page, a list of findings, and an exit code."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fpcn_lightning import build
from fpcn_lightning.config import Config
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.folders import audit_folder
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tasks.libraries import prepare_libraries

if TYPE_CHECKING:
    from fpcn_lightning.audit.inspection import Audit


class SeriousFindings(UserError):  # noqa: N818 - not a fault of the program or the command
    """The audit is written, and a training on these images would give wrong numbers."""

    exit_code = 1


def run(config: Config, invocation: Invocation) -> None:  # noqa: ARG001 - the signature of all tasks
    """Audit `data.root` with the features of `backbone`; the process ends with 0 if nothing serious was found, else 1.

    Raises:
        SeriousFindings: such as one photograph under two labels or in two splits.
        UserError: the images or the backbone cannot be used; the exit code is 2.
    """
    found = audit_data(config)
    print(f"audit: {found.page}")
    if found.serious:
        raise SeriousFindings(
            f"{len(found.serious):,} serious finding{'s' if len(found.serious) > 1 else ''}: read {found.page} before "
            "you train."
        )


def audit_data(config: Config, say: Callable[[str], None] = print) -> "Audit":
    """Audit the images of `config.data`, and tell what was found; for `run` and for commands that train afterwards.

    Args:
        config: `data`, `model` (a network on a backbone) and `output` are used.
        say: takes each sentence.

    Raises:
        UserError: the images or the backbone cannot be used.
    """
    from fpcn_lightning.audit.descriptors import PROBE
    from fpcn_lightning.audit.inspection import audit
    from fpcn_lightning.data.preparation import location
    from fpcn_lightning.models.on_backbone import OnBackbone

    prepare_libraries()
    network = build.network(config.model, 2, PROBE)
    if not isinstance(network, OnBackbone):
        raise UserError("the audit describes images with a backbone: use model=probe backbone=NAME.")
    found = audit(config.data, network, audit_folder(Path(config.output), location(config.data)))
    for sentence in (found.verdict, *(f"- {each}" for each in found.sentences)):
        say(sentence)
    return found
