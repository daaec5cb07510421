"""Config keys and choices of earlier versions, and their current names."""

from fpcn_lightning.runs.upgrade import RENAMED_CONFIG_KEYS

# Keys whose values have another meaning today, and keys of Hydra.
HINTS = {
    "optimisation.schedule": "lr_scheduler, such as lr_scheduler=cosine",
    "optimisation.every": "lr_scheduler.scheduler.step_size, with lr_scheduler=step",
    "optimisation.milestones": "lr_scheduler.scheduler.milestones, with lr_scheduler=multistep",
    "optimisation.factor": "lr_scheduler.scheduler.gamma, or .factor with lr_scheduler=plateau",
    "optimisation.patience": "lr_scheduler.scheduler.patience, with lr_scheduler=plateau",
    "hydra.launcher.cards": "hydra.launcher.gpus",
    "hydra.launcher.cards_per_slot": "hydra.launcher.gpus_per_job",
}
# Choices, as GROUP=NAME.
CHOICES = {
    "model=plain_official": "model=plain recipe=fpcn_authors",
    **{
        f"model={name}_own": f"model={name} recipe={name}_authors"
        for name in ("api_net", "bilinear_cnn", "cin", "mmal_net", "pca_net")
    },
}


def renamed(word: str) -> str | None:
    """The message for an argument, `KEY=VALUE` or `GROUP=NAME`, of an earlier version; None for any other argument."""
    key, _, value = word.lstrip("+~").partition("=")
    if word in CHOICES:
        return f"{word} is called {CHOICES[word]} now."
    if key in HINTS:
        return f"{key} is called {HINTS[key]} now."
    new = RENAMED_CONFIG_KEYS.get(key)
    if new is None or (new.startswith(f"{key}.") and value.startswith("{")):
        return None
    return f"{key} is called {new} now: {new}={value}."
