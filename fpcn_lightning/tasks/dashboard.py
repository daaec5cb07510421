"""`task=dashboard`: the project's W&B workspaces, saved online with an API key, as JSON files without one."""

from pathlib import Path

from fpcn_lightning.config import Config
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tracking.wandb_run import wandb_mode


def run(config: Config, invocation: Invocation) -> None:  # noqa: ARG001 - the signature of all tasks
    """Write every workspace of the project `logger.wandb.project` as JSON, and save it online if there is an API key.

    Raises:
        UserError: a package is missing, no project is configured, or W&B rejects a workspace.
    """
    section = config.logger.get("wandb")
    if section is None:
        raise UserError("task=dashboard reads the project from logger.wandb.project: use it with logger=wandb.")
    online = wandb_mode() == "online"
    MissingPackage.check("task=dashboard", "dashboards")
    import wandb

    from fpcn_lightning.tracking import dashboards

    folder = Path(config.output) / "dashboards"
    try:
        entity = section["entity"] or (wandb.Api().default_entity if online else None) or ""
        for name, workspace in dashboards.project_workspaces(entity, section["project"]).items():
            path = folder / f"{name}.json"
            write_text_atomically(path, dashboards.as_json(workspace) + "\n")
            print(f"{name}: {dashboards.save(workspace, path.with_suffix('.url')) if online else path}")
    except (wandb.Error, ValueError) as error:
        raise UserError(
            f"W&B rejected the dashboards ({error}): check logger.wandb.entity and logger.wandb.project, remove "
            f"{folder}/*.url if a workspace was deleted at W&B, or set WANDB_MODE=offline to write the JSON only."
        ) from error
    if not online:
        print("no W&B API key: nothing was saved online. Run `wandb login` and the same command again to save them.")
