import pickle
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fpcn_lightning import build
from fpcn_lightning.config import CONF, Config
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.checkpoints import RECORD
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import CLASSES, classifier_of, config_of

# Every network once; VGG16, half a gigabyte, is built as AlexNet is.
LARGE = ("alexnet", "googlenet", "resnet34", "resnet50", "swin")  # seconds each
PRESETS = [
    pytest.param(path.stem, marks=pytest.mark.slow if path.stem in LARGE else ())
    for path in sorted((CONF / "model").glob("*.yaml"))
    if path.stem != "vgg16"
]
SIZE = 64


def config(name: str = "fpcn_gated") -> Config:
    # Another memory layout changes the order of sums and so the last bits.
    return config_of(f"model={name}", "trainer=smoke", "training.channels_last=false")


def pictures(count: int = 6) -> Tensor:
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(2)).to(torch.uint8)


def trained(name: str, path: Path) -> Classifier:
    module = classifier_of(config(name), SIZE)
    batch = Batch(pictures(), torch.arange(3).repeat_interleave(2), torch.arange(6))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(cast(Any, [batch]), batch_size=None))
    trainer.save_checkpoint(path)
    return module.eval()


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """A valid checkpoint without Lightning's entries, which tests then make invalid."""
    settings = config()
    state = build.network(settings.model, len(CLASSES), SIZE).state_dict()
    return {
        RECORD: checkpoints.make_record(settings, CLASSES, "fingerprint").plain(),
        "state_dict": {f"network.{name}": value for name, value in state.items()},
    }


def with_record(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same checkpoint with other entries in its record."""
    return content | {RECORD: content[RECORD] | changes}


def error_of(path: Path, content: object) -> str:
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        checkpoints.load(path)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:.*num_workers", "ignore:.*log_every_n_steps")
@pytest.mark.parametrize("name", PRESETS)
def test_loaded_network_predicts_as_the_trained_one(name: str, tmp_path: Path) -> None:
    module = trained(name, tmp_path / "best.ckpt")
    loaded = checkpoints.load(tmp_path / "best.ckpt")
    assert not any(part.training for part in loaded.network.modules())
    assert loaded.network.inference_mode == module.network.inference_mode
    with torch.no_grad():
        images = module.normalised(pictures())
        theirs = module.network.predict(images).logits
        for inference_mode, logits in loaded.network.predict(images).logits.items():
            assert torch.equal(logits, theirs[inference_mode])
    assert loaded.record.classes == list(CLASSES)
    assert loaded.record.split == "fingerprint"
    assert loaded.record.model == config(name).model


def test_pretrained_weights_are_not_loaded_again(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the weights are in the checkpoint")

    monkeypatch.setattr("fpcn_lightning.models.weights.download", refuse)
    monkeypatch.setattr("fpcn_lightning.models.weights.load_file", refuse)
    section = content[RECORD]["model"] | {"pretrained": True, "weights": str(tmp_path / "gone.pth")}
    torch.save(with_record(content, model=section), tmp_path / "best.ckpt")
    assert checkpoints.load(tmp_path / "best.ckpt").network.weights_source == "random"


def test_inference_mode_can_be_changed_after_loading(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "best.ckpt")
    network = checkpoints.load(tmp_path / "best.ckpt").network
    assert network.inference_mode == "as_trained"
    network.choose_inference_mode("unmasked")
    assert network.inference_mode == "unmasked"
    with pytest.raises(UserError, match=r"model\.inference_mode=gated is unknown"):
        network.choose_inference_mode("gated")


class Touch:
    """Unpickling it without restrictions creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("place", ["record", "state_dict", "file"])
def test_no_code_in_a_file_is_run(place: str, content: dict[str, Any], tmp_path: Path) -> None:
    path, trace = tmp_path / "best.ckpt", tmp_path / "trace"
    bomb = Touch(trace)
    if place == "file":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(with_record(content, seed=bomb) if place == "record" else content | {"state_dict": bomb}, path)
    with pytest.raises(UserError, match=r"best\.ckpt is not a checkpoint"):
        checkpoints.load(path)
    assert not trace.exists()
    if place == "file":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists()  # the file does run code if it is trusted


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.nn.Linear", "fpcn_lightning.models.backbones.Backbone", "fpcn_lightning.cli.main.main"],
)
def test_only_networks_of_the_package_are_built(target: str, content: dict[str, Any], tmp_path: Path) -> None:
    section = {"_target_": target, "command": f"touch {tmp_path / 'trace'}"}
    assert f"describes a network of the class '{target}'" in error_of(
        tmp_path / "best.ckpt", with_record(content, model=section)
    )
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("key", ["backbone", "theta", "unknown"])
def test_nested_targets_are_an_error(key: str, content: dict[str, Any], tmp_path: Path) -> None:
    """Hydra would build it before the network around it, whatever the outer target is."""
    hidden = {
        "_target_": "pathlib.Path.touch",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [str(tmp_path / "trace")]}],
    }
    for value in (hidden, [hidden]):
        section = content[RECORD]["model"] | {key: value}
        assert "is not a checkpoint" in error_of(tmp_path / "best.ckpt", with_record(content, model=section))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_recursive_", "_convert_"])
def test_no_hydra_key_is_accepted_from_a_file(key: str, content: dict[str, Any], tmp_path: Path) -> None:
    section = content[RECORD]["model"] | {key: "all"}
    assert "is not a checkpoint" in error_of(tmp_path / "best.ckpt", with_record(content, model=section))


def test_other_files_are_an_error(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    foreign = [
        {"state_dict": content["state_dict"], "epoch": 3},
        {RECORD: content[RECORD]},
        content["state_dict"],
        content | {"state_dict": [torch.zeros(1)]},
        content | {RECORD: "plain"},
        with_record(content, classes=3),
        with_record(content, classes=None),
        with_record(content, data={"crop": "large"}),
        with_record(content, data={}),
        with_record(content, model=None),
        with_record(content, model=content[RECORD]["model"] | {"_target_": ["os.system"]}),
    ]
    for each in foreign:
        message = error_of(path, each)
        assert str(path) in message
        assert "task=train" in message  # what to do


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_checkpoint_is_an_error(share: float, content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match="is not a checkpoint"):
        checkpoints.load(path)


def test_missing_file_or_folder_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.ckpt", tmp_path):
        with pytest.raises(UserError, match="is not a file"):
            checkpoints.load(path)


@pytest.mark.parametrize("change", ["missing", "surplus", "shape", "no tensor", "other network"])
def test_weights_that_do_not_fit_are_an_error(change: str, content: dict[str, Any], tmp_path: Path) -> None:
    state = dict(content["state_dict"])
    changed = content
    if change == "missing":
        del state["network.head.bias"]
    elif change == "surplus":
        state["network.head.more"] = torch.zeros(1)
    elif change == "shape":
        changed = with_record(content, classes=["basalt", "marble"])
    elif change == "no tensor":
        state["network.head.bias"] = "none"
    else:
        changed = with_record(content, model=content[RECORD]["model"] | {"backbone": "test_efficientnet"})
    message = error_of(tmp_path / "best.ckpt", changed | {"state_dict": state})
    assert "does not fit the network that it describes" in message
    assert "\n" not in message


def test_unknown_key_of_the_section_is_an_error(content: dict[str, Any], tmp_path: Path) -> None:
    section = content[RECORD]["model"] | {"thetta": 0.5}
    message = error_of(tmp_path / "best.ckpt", with_record(content, model=section))
    assert "model.thetta" in message
    assert "did you mean theta" in message


def test_record_is_plain_data() -> None:
    """Nothing but what `torch.load(weights_only=True)` accepts."""

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, float, bool)

    assert plain(checkpoints.make_record(config(), CLASSES, "fingerprint").plain())


def test_a_checkpoint_of_version_1_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    record = content[RECORD]
    model = {("inference" if key == "inference_mode" else key): value for key, value in record["model"].items()}
    split = {"validation": 0.1, "test": 0.3, "seed": 0, "file": None, "published": {"train": None, "validation": "b"}}
    data = {key: value for key, value in record["data"].items() if key not in ("max_tiles", "split", "augmentations")}
    old = {
        **{key: record[key] for key in ("classes", "split", "seed", "name", "variant")},
        "schema": 1,
        "model": model,
        "data": {**data, "most_tiles": 9, "split": split},
        "loss": {"classification": 1.0, "center": 0.5, "center_update": "batch_mean"},
        "optimisation": {"learning_rate": 0.01, "schedule": "cosine", "thaw_from_best": False, "channels_last": False},
    }
    torch.save(content | {RECORD: old}, tmp_path / "best.ckpt")
    loaded = checkpoints.load(tmp_path / "best.ckpt")
    assert loaded.network.inference_mode == record["model"]["inference_mode"]
    assert (loaded.record.schema, loaded.record.data.max_tiles, loaded.record.data.split.val) == (2, 9, 0.1)
    assert loaded.record.data.split.published.val == "b"
    assert loaded.record.training.channels_last is False
