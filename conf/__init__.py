"""The config files, as a package for Hydra's `initialize_config_module("fpcn_lightning.conf")`."""
