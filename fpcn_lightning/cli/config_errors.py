"""Turns errors of Hydra and OmegaConf about a config into one sentence for the user."""

import re
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fpcn_lightning.config import CONF, Config
from fpcn_lightning.errors import closest


def explain_config_error(error: Exception) -> str:
    """One line for an error of Hydra or OmegaConf: the key, what is wrong with it, what to do."""
    text = str(error.__cause__ or error)
    unknown = re.search(r"[Kk]ey '([^']+)' (?:is not in struct|not in '(\w+)')", f"{error}\n{text}")
    if unknown:
        full_key = re.search(r"full_key: (\S+)", text)
        name = full_key.group(1) if full_key else unknown.group(1)
        others = [key for key in known_keys() if key != name]
        return f"unknown key {name}{closest(name, others)}. `--cfg job` lists all keys."
    lines = [line.strip() for line in str(error).split("Config search path")[0].splitlines() if line.strip()]
    if isinstance(error, OverrideParseException):
        first = lines[0].rstrip(".:;")
        return (
            f"{first}: put quotes around a value with spaces, commas, brackets or accents: \"data.root='/my photos'\"."
        )
    if error.__cause__ is not None:
        lines.append(text.splitlines()[0].strip())
    return "; ".join(line.rstrip(".;:") for line in dict.fromkeys(lines)) or type(error).__name__


def first_error(error: Exception, words: Sequence[str]) -> Exception:
    """The error that the user has to fix first.

    Whether several values of a key are a sweep is decided by the config itself. If an argument prevents the config from
    being composed, Hydra assumes a single run and reports the commas instead of that argument.

    Args:
        error: raised by Hydra.
        words: the arguments of the command line.
    """
    if "Ambiguous value for argument" not in str(error):
        return error
    overrides = [word for word in words if "=" in word and "," not in word and not word.startswith("-")]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            compose("config", overrides=overrides)
    except (HydraException, OmegaConfBaseException) as hidden:
        return hidden
    return error


def known_keys() -> list[str]:
    """Every dotted key of the schema and of the groups' files."""

    def keys(node: DictConfig, prefix: str) -> list[str]:
        names = []
        for key in map(str, node):
            names.append(f"{prefix}{key}")
            if OmegaConf.is_missing(node, key) or not OmegaConf.is_dict(node._get_node(key)):
                continue
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                names += keys(child, f"{prefix}{key}.")
        return names

    found = keys(OmegaConf.structured(Config), "")
    for path in CONF.glob("*/*.yaml"):
        loaded = OmegaConf.load(path)
        if isinstance(loaded, DictConfig):
            found += keys(loaded, "" if path.read_text().startswith("# @package _global_") else f"{path.parent.name}.")
    return list(dict.fromkeys(found))
