import torch

from fpcn_lightning.deploy.predictions import picture_predictions
from tests.modules.test_classifier import batch


def test_windows_of_one_picture_share_its_weight_in_the_confusion() -> None:
    """Three pictures of class 0, 1 and 2, of which the first has three views and the last two."""
    images = batch(per_class=2, padding=1)
    views = images._replace(labels=torch.tensor([0, 0, 0, 1, 2, 2, -1]), positions=torch.tensor([7, 7, 7, 3, 5, 5, -1]))
    predicted = torch.tensor([0, 1, 0, 1, 2, 0])
    outputs = torch.nn.functional.one_hot(predicted, 3).double().numpy(), torch.zeros(6).numpy()
    found = picture_predictions(lambda _: outputs, [views], "test")
    expected = torch.tensor([[2 / 3, 1 / 3, 0], [0, 1, 0], [1 / 2, 0, 1 / 2]], dtype=torch.float64)
    torch.testing.assert_close(found.window_confusion, expected)
