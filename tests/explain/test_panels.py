"""Rows of panels and their figure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from torch import Tensor, nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.explain.drawing import draw, painted, save
from fpcn_lightning.explain.panels import Panel, PanelInput, panels_of
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.majority import Majority
from fpcn_lightning.models.mmal_net import MMALNet
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.plain import Plain

CLASSES = ("basalt", "гранит", "a rock whose name is longer than any panel is wide", "veined $x_2$")
YELLOW, PURPLE = (253, 231, 36), (68, 1, 84)  # both ends of viridis


@pytest.fixture(autouse=True)
def same_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pictures(count: int = 3, side: int = 64) -> Tensor:
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8)


def fpcn(**options: Any) -> FPCN:
    return FPCN(len(CLASSES), 64, "test_resnet", pretrained=False, **options)


def plain() -> Plain:
    return Plain(len(CLASSES), 64, "test_resnet", pretrained=False)


def one(network: Network, seen: Tensor, label: int | None = 0) -> list[list[Panel]]:
    return panels_of({"it": PanelInput(network, seen)}, [label] * len(seen), CLASSES, "grad_cam")


def pixels(side: int, colour: tuple[int, int, int]) -> Any:
    return np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy()


def test_a_row_shows_image_activation_mask_and_heat_map_of_each_network() -> None:
    small, large = pictures(side=64), pictures(side=96)
    networks = {"baseline": plain(), "FPCN": fpcn()}
    rows = panels_of(
        {"baseline": PanelInput(networks["baseline"], large), "FPCN": PanelInput(networks["FPCN"], small)},
        [0, 1, None],
        CLASSES,
        "layer_cam",
    )
    assert [[shown.heading for shown in row] for row in rows] == [
        ["photograph", "activation map\nFPCN", "positioning mask\nFPCN", "Layer-CAM\nbaseline", "Layer-CAM\nFPCN"]
    ] * 3
    assert [row[0].lines for row in rows] == [("basalt",), ("гранит",), ()]
    for number, (photograph, activation, mask, baseline, own) in enumerate(rows):
        for shown, seen in ((photograph, large), (baseline, large), (activation, small), (mask, small), (own, small)):
            assert np.array_equal(shown.picture, seen[number].permute(1, 2, 0).numpy())
        for shown, network, seen in (
            (baseline, networks["baseline"], large),
            (own, networks["FPCN"], small),
        ):
            mean, std = torch.tensor(network.mean).view(3, 1, 1), torch.tensor(network.std).view(3, 1, 1)
            with torch.no_grad():
                logits = network.eval()((seen[number : number + 1] / 255 - mean) / std)
            sure, prediction = logits.softmax(1)[0].max(0)
            label = (0, 1, None)[number]
            assert shown.lines[0] == CLASSES[int(prediction)]
            assert shown.lines[1].startswith(f"{sure:.0%}")
            assert shown.correct is (None if label is None else int(prediction) == label)
            assert shown.lines[1].endswith({True: "right", False: "wrong", None: "%"}[shown.correct])
            assert shown.overlay is not None
            assert 0 <= shown.overlay.min() <= shown.overlay.max() <= 1
        assert activation.overlay is not None
        assert (activation.overlay.min(), activation.overlay.max()) == (0, 1)
        assert mask.outline is not None
        assert mask.lines == (f"object {mask.outline.mean():.0%}", f"alpha {mask.outline.mean():.2f}, soft")
        # The mask is where the activation is at or above its mean.
        assert np.array_equal(mask.outline, activation.overlay >= activation.overlay.mean())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": "off"}, "alpha off"),
        ({"alpha": "area", "pool_over": "map"}, "alpha {share:.2f}"),
        ({"alpha": 0.25, "pool_over": "map"}, "alpha 0.25, fixed"),
        ({"alpha": "soft"}, "alpha {share:.2f}, soft"),
        ({"mask": False, "alpha": "area", "pool_over": "mask"}, "mask off, alpha {share:.2f}"),
        ({"inference_mode": "unmasked"}, "not used to predict"),
    ],
)
def test_the_mask_has_a_line_about_its_use(options: dict[str, Any], words: str) -> None:
    ((_, _, mask, _),) = one(fpcn(**options), pictures(1))
    assert mask.outline is not None
    assert mask.lines[1] == words.format(share=mask.outline.mean())


def test_the_mask_is_that_of_the_network_that_uses_it_most() -> None:
    networks = {"off": fpcn(mask=False, alpha="off"), "mask": fpcn(alpha="off"), "whole": fpcn(), "other": fpcn()}
    rows = panels_of(
        {name: PanelInput(network, pictures()) for name, network in networks.items()}, [0] * 3, CLASSES, "grad_cam"
    )
    assert [shown.heading for shown in rows[0][1:3]] == ["activation map\nwhole", "positioning mask\nwhole"]


def test_without_positioning_there_is_no_mask_and_without_a_map_no_heat() -> None:
    (row,) = one(plain(), pictures(1))
    assert [shown.heading for shown in row] == ["photograph", "activation map", "Grad-CAM"]
    (row,) = one(Majority(len(CLASSES), 64), pictures(1))
    assert [shown.heading for shown in row] == ["photograph", "prediction"]
    assert [shown.overlay for shown in row] == [None, None]
    assert row[1].lines == ("basalt", "25%, right")


def test_an_empty_heat_map_has_a_line_that_says_so() -> None:
    network = plain()
    nn.init.constant_(network.head.weight, -1)  # against every class, of a map without negative values
    ((*_, panel),) = one(network, pictures(1))
    assert panel.overlay is not None
    assert not panel.overlay.any()
    assert panel.lines[-1] == "no evidence in any place"


def test_a_mask_without_alpha_has_only_its_share() -> None:
    network = MMALNet(len(CLASSES), 64, "test_resnet", pretrained=False)
    ((_, _, mask, _),) = one(network, pictures(1))
    assert mask.outline is not None
    assert mask.lines == (f"object {mask.outline.mean():.0%}",)


def test_the_network_keeps_its_modes_and_its_weights() -> None:
    network = fpcn()
    network.train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    norms[0].eval()
    modes = [module.training for module in network.modules()]
    before = {name: values.clone() for name, values in network.state_dict().items()}
    one(network, pictures())
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_an_unknown_method_is_refused() -> None:
    for network in (plain(), Majority(len(CLASSES), 64)):
        with pytest.raises(UserError, match="guess_cam"):
            panels_of({"it": PanelInput(network, pictures(1))}, [0], CLASSES, "guess_cam")


def test_heat_is_painted_where_it_is() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 1
    black = painted(Panel(pixels(64, (0, 0, 0)), "", overlay=heat))
    assert black.shape == (256, 256, 3)
    assert np.abs(black[0, -1] - 0.6 * np.array(YELLOW)).max() <= 1
    assert np.abs(black[-1, 0] - 0.6 * np.array(PURPLE)).max() <= 1
    brightest = np.unravel_index(black.sum(2).argmax(), (256, 256))
    assert brightest[0] < 64
    assert brightest[1] >= 192


def test_the_outside_is_shaded_and_the_border_drawn() -> None:
    inside = np.zeros((4, 4), bool)
    inside[1:3, 0:2] = True
    shown = painted(Panel(pixels(64, (200, 100, 50)), "", outline=inside))
    assert np.array_equal(shown[128, 64], (200, 100, 50))
    assert np.array_equal(shown[32, 64], (80, 40, 20))
    assert np.array_equal(shown[128, 200], (80, 40, 20))
    line = (shown == (213, 94, 0)).all(2)
    assert line[128, 0], "the edge of the image is a border, too"
    assert line[64, 64]
    assert line[128, 127]
    assert 1700 < line.sum() < 2000, "four sides of 128 pixels, four wide but for the one at the edge"
    whole = painted(Panel(pixels(64, (200, 100, 50)), "", outline=np.ones((4, 4), bool)))
    assert np.array_equal(whole[128, 128], (200, 100, 50))
    assert (whole[0] == (213, 94, 0)).all()


def texts(figure: Figure) -> list[Text]:
    figure.canvas.draw()
    return [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() and text.get_visible()]


@pytest.mark.parametrize("count", [1, 3])
def test_all_text_is_legible(count: int) -> None:
    panel = Panel(pixels(64, (9, 9, 9)), f"Grad-CAM\n{CLASSES[2]}", (CLASSES[2], "W" * 60), np.eye(4, dtype=np.float32))
    named = panel._replace(lines=CLASSES[1::2], correct=False)
    figure = draw([[panel, named, panel]] * count, f"{CLASSES[3]}, after epoch 3")
    written = texts(figure)
    boxes = [text.get_window_extent() for text in written]
    for text, box in zip(written, boxes, strict=True):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    overlapping = [
        (first, second) for place, first in enumerate(boxes) for second in boxes[:place] if first.overlaps(second)
    ]
    assert overlapping == []
    content = [text.get_text() for text in written]
    assert content.count("гранит\nveined $x_2$") == count
    assert any(words.startswith("a rock whose") and "…" in words for words in content), (
        "shortened to the width of a panel"
    )
    assert sum(words.startswith("Grad-CAM\n") for words in content) == 3, "headings are above the first row only"
    assert "each map has its own scale" in content


def test_there_is_no_colour_bar_without_heat_maps() -> None:
    figure = draw([[Panel(pixels(64, (9, 9, 9)), "photograph")]])
    assert [text.get_text() for text in texts(figure)] == ["photograph"]


def test_a_figure_is_saved_as_a_png(tmp_path: Path) -> None:
    path = save(draw([[Panel(pixels(64, (0, 0, 200)), "photograph")]]), tmp_path / "new" / "figure.png")
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        colours = np.asarray(opened.convert("RGB")).reshape(-1, 3)
    assert (colours == (0, 0, 200)).all(1).any()
    assert [place.name for place in path.parent.iterdir()] == ["figure.png"]
