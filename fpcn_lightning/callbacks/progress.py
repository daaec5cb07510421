"""The progress bar, which counts epochs from 1 as all other output does."""

from lightning.pytorch.callbacks import RichProgressBar


class EpochProgressBar(RichProgressBar):
    """`Epoch 1/30` to `Epoch 30/30`; Lightning's own bar says `Epoch 0/29` to `Epoch 29/29`."""

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        text = f"Epoch {current_epoch + 1}" + ("" if epochs is None or epochs < 0 else f"/{epochs}")
        return f"{text:{len(self.validation_description)}}"  # as wide as the other line, or the bars would jump
