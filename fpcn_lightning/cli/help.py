"""What `--help` prints. Hydra's own takes seconds, because it composes the config once for every group."""

from fpcn_lightning.config import CONF

_COMMANDS = """\
Tell rocks and minerals apart from photographs: FPCN, its rivals, and a record of every run.

  python -m fpcn_lightning                                       train FPCN on the embedded example set
  python -m fpcn_lightning data=folder data.root=PHOTOS          train on a folder of class folders, or a CSV
  python -m fpcn_lightning +experiment=NAME                      all rows of conf/experiment/NAME.yaml, then their table
  python -m fpcn_lightning +experiment=search                    look for better values of some keys by Optuna
  python -m fpcn_lightning -m seed=0,1,2 model=plain,fpcn        any sweep of your own
  python -m fpcn_lightning task=report runs=outputs/EXPERIMENT   table, figures and page of all runs in a folder
  python -m fpcn_lightning task=evaluate checkpoint=FILE data.root=PHOTOS
  python -m fpcn_lightning task=dashboard                        the project's W&B workspaces
"""
_KEYS = """\
Every key can be set as KEY=VALUE, such as model.theta=0.25 seed=1; --cfg job shows them all with their values,
fpcn_lightning/config.py says what each one means. --hydra-help shows what Hydra itself can do.
"""


def help_text() -> str:
    """The commands, the groups of `conf/` with their choices, and where to look further."""
    folders = sorted({path.parent.relative_to(CONF) for path in CONF.rglob("*/*.yaml")})
    width = max(len(folder.as_posix()) for folder in folders) + 2
    groups = (
        f"  {folder.as_posix():{width}}{' '.join(sorted(path.stem for path in (CONF / folder).glob('*.yaml')))}"
        for folder in folders
    )
    return "\n".join((_COMMANDS, "Choices (GROUP=NAME, but +experiment=NAME and +ablation=NAME):", *groups, "", _KEYS))
