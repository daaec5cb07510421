"""`task=dashboard`: the project's W&B workspaces, online with a key, as JSON without one."""

from pathlib import Path

from fpcn_lightning.config import Config
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tracking.wandb_run import wandb_mode


def run(config: Config, invocation: Invocation) -> None:  # noqa: ARG001 - the signature of all tasks
    """Write every workspace of the project `logger.wandb.project` as JSON, and save it online where there is a key.

    Raises:
        UserError: a package is missing, no project is configured, or W&B does not take a workspace.
    """
    section = config.logger.get("wandb")
    if section is None:
        raise UserError("task=dashboard reads the project from logger.wandb.project: leave logger=wandb as it is.")
    online = wandb_mode() == "online"
    try:
        from fpcn_lightning.tracking import dashboards
    except ImportError as error:
        raise UserError("task=dashboard needs wandb-workspaces: pip install 'fpcn-lightning[dashboards]'.") from error
    import wandb

    folder = Path(config.output) / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        entity = section["entity"] or (wandb.Api().default_entity if online else None) or ""
        for name, workspace in dashboards.project_workspaces(entity, section["project"]).items():
            path = folder / f"{name}.json"
            path.write_text(dashboards.as_json(workspace) + "\n", encoding="utf-8")
            print(f"{name}: {dashboards.save(workspace, path.with_suffix('.url')) if online else path}")
    except (wandb.Error, ValueError) as error:
        raise UserError(
            f"W&B does not take the dashboards ({error}): look into logger.wandb.entity and project, remove {folder}/"
            "*.url if a workspace was deleted there, or set WANDB_MODE=offline for the JSON alone."
        ) from error
    if not online:
        print("no key for W&B, so nothing was saved there: `wandb login`, and the same command saves them online.")
