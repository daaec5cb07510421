"""LeNet-5 (LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 86, 1998), the smallest of the basic networks."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.models.on_backbone import SingleView

SIZE = 32  # height and width of the input, pixels


class LeNet(SingleView):
    """Two convolutions and three linear layers on images of 32 x 32 pixels; larger images are reduced by averaging.

    As in the article: 5 x 5 kernels, tanh, average pooling, 6, 16, 120 and 84 features. Three colours instead of one.
    Its trainable pooling, partly connected second convolution and radial basis functions are omitted, as in most later
    implementations: each feature of the second layer depends on all six of the first, and the last layer is linear.
    The rock paper does not describe its input to LeNet; its 50.5 % barely exceeds the 50.12 % of the largest class.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels; any.
    """

    mean, std = (0.5,) * 3, (0.5,) * 3
    weights_source = "random"
    feature_dim = 84

    def __init__(self, classes: int, image_size: int) -> None:  # noqa: ARG002 - every network takes the size
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 6, 5),
                tanh1=nn.Tanh(),
                pool1=nn.AvgPool2d(2),
                conv2=nn.Conv2d(6, 16, 5),
                tanh2=nn.Tanh(),
                pool2=nn.AvgPool2d(2),
                flatten=nn.Flatten(),
                linear3=nn.Linear(16 * 5 * 5, 120),
                tanh3=nn.Tanh(),
                linear4=nn.Linear(120, self.feature_dim),
                tanh4=nn.Tanh(),
            )
        )
        self.head = nn.Linear(self.feature_dim, classes)
        self.pretrained_part = nn.Identity()

    @property
    def trunk(self) -> nn.Module:
        """An empty module: there are no pretrained weights to freeze."""
        return self.pretrained_part

    @property
    def heat_layer(self) -> nn.Module:
        """The second convolution, after its tanh: a map of 10 x 10."""
        return self.body.get_submodule("tanh2")

    def features(self, images: Tensor) -> Tensor:
        """The activations [B, 84] before the last layer."""
        # `area` averages the pixels of each cell; it also enlarges smaller images.
        features: Tensor = self.body(functional.interpolate(images, size=(SIZE, SIZE), mode="area"))
        return features
