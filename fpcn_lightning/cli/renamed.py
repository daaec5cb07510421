"""Config keys and choices of earlier versions, and what they are called today."""

# What was renamed, by its old dotted name; the longest match counts.
KEYS = {
    "optimisation.learning_rate": "optimizer.lr",
    "optimisation.momentum": "optimizer.momentum",
    "optimisation.weight_decay": "optimizer.weight_decay",
    "optimisation.schedule": "lr_scheduler, such as lr_scheduler=cosine",
    "optimisation.every": "lr_scheduler.scheduler.step_size, with lr_scheduler=step",
    "optimisation.milestones": "lr_scheduler.scheduler.milestones, with lr_scheduler=multistep",
    "optimisation.factor": "lr_scheduler.scheduler.gamma, with lr_scheduler=plateau lr_scheduler.scheduler.factor",
    "optimisation.patience": "lr_scheduler.scheduler.patience, with lr_scheduler=plateau",
    "optimisation.freeze_epochs": "training.freeze_epochs",
    "optimisation.frozen_batch_norm": "training.frozen_batch_norm",
    "optimisation.frozen_learning_rate": "training.frozen_lr",
    "optimisation.frozen_weight_decay": "training.frozen_weight_decay",
    "optimisation.thaw_from_best": "training.unfreeze_from_best",
    "optimisation.head_learning_rate_factor": "training.head_lr_factor",
    "optimisation.channels_last": "training.channels_last",
    "loss.ranking_margin": "loss.ranking.margin",
    "loss.contrastive_margin": "loss.contrastive.margin",
    "loss.center_update": "loss.center.update",
    "loss.center_rate": "loss.center.rate",
    "loss.center_normalise": "loss.center.normalise",
    "loss.center_reduction": "loss.center.reduction",
    "model.inference": "model.inference_mode",
    "model.most_pairs": "model.max_pairs",
    "data.most_tiles": "data.max_tiles",
    "data.split.validation": "data.split.val",
    "data.split.published.validation": "data.split.published.val",
    "export.most_drop": "export.max_drop",
    "explain.beside": "explain.compare_with",
    "report.within.side": "report.within.condition",
    "hydra.launcher.cards": "hydra.launcher.gpus",
    "hydra.launcher.cards_per_slot": "hydra.launcher.gpus_per_job",
}
# Terms of the loss that were a number, and are a section with a weight today.
WEIGHTS = ("classification", "ranking", "contrastive", "center")
# Choices by group=NAME.
CHOICES = {
    "model=plain_official": "model=plain recipe=fpcn_authors",
    **{
        f"model={name}_own": f"model={name} recipe={name}_authors"
        for name in ("api_net", "bilinear_cnn", "cin", "mmal_net", "pca_net")
    },
}


def renamed(word: str) -> str | None:
    """The sentence about a word of the command line, `KEY=VALUE` or `GROUP=NAME`, that an earlier version took."""
    key, _, value = word.lstrip("+~").partition("=")
    if word in CHOICES:
        return f"{word} is called {CHOICES[word]} now."
    if key in KEYS:
        return f"{key} is called {KEYS[key]} now."
    if key.startswith("loss.") and key.removeprefix("loss.") in WEIGHTS and not value.startswith("{"):
        return f"{key} is a section now: set its weight, {key}.weight={value}."
    return None
