"""What the files in `conf/` need of Hydra: the schema, the names of the files that were chosen, and the run folder.

Hydra imports this when it is initialised, on the command line and for its compose API alike.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import cast

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fpcn_lightning.config import CONF, PACKAGE, Config

CONF_MODULE = "fpcn_lightning.conf"


def chosen(group: str) -> str | None:
    """The name of the file that a run has chosen from a group: `${choice:model}`, for the names of its folders.

    None where it has chosen none. Outside a run, where configs are composed without a folder, it is the name of the
    group.
    """
    if not HydraConfig.initialized():
        return group
    name: str | None = HydraConfig.get().runtime.choices.get(group)
    return name


def run_folder() -> str:
    """The folder of the run, `${run_folder:}`; the current folder outside a run, and for a job that is only planned."""
    # Of a planned job, the attribute would raise, and the whole section of the config would stay unresolved.
    folder = None
    if HydraConfig.initialized():
        folder = OmegaConf.select(cast(DictConfig, HydraConfig.get()), "runtime.output_dir")
    return "." if folder is None else str(folder)


def sweep_folder(default: str) -> str:
    """The folder of the sweep that a run belongs to, where its other runs are; outside a run the default."""
    return str(HydraConfig.get().sweep.dir) if HydraConfig.initialized() else default


def make_importable() -> None:
    """Let Hydra import `conf/` under the name that it has in a wheel; in a checkout it lies beside the package."""
    if CONF.parent == PACKAGE or CONF_MODULE in sys.modules:
        return
    spec = spec_from_file_location(CONF_MODULE, CONF / "__init__.py", submodule_search_locations=[str(CONF)])
    assert spec is not None
    sys.modules[CONF_MODULE] = module_from_spec(spec)  # nothing in it needs to be run


make_importable()
# The first entry of the defaults in `conf/config.yaml`; other programs with Hydra have this store, too.
ConfigStore.instance().store(name="fpcn_lightning_schema", node=Config)
OmegaConf.register_new_resolver("choice", chosen, replace=True)
OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
