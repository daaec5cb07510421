"""Cues and label errors that were planted are found, and none where there are none."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fpcn_lightning.audit import balance, cues
from fpcn_lightning.audit.cues import border_features, file_features, measure
from fpcn_lightning.audit.findings import Kind
from fpcn_lightning.audit.labels import label_errors
from fpcn_lightning.audit.prediction import mean_recall, probabilities
from fpcn_lightning.data.index import IndexedImage

COUNT = 120
LABELS = np.arange(COUNT) % 3
ALONE = list(range(COUNT))


def noise(random: np.random.Generator) -> NDArray[np.uint8]:
    return random.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def borders(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return np.stack([border_features(image) for image in images])


def test_a_watermark_in_a_corner_predicts_the_label() -> None:
    random = np.random.default_rng(0)
    images = [noise(random) for _ in range(COUNT)]
    assert not measure("The border", borders(images), LABELS, ALONE).is_suspicious
    for image, label in zip(images, LABELS, strict=True):
        if label == 2:
            image[58:64, 58:64] = 255
    cue = measure("The border", borders(images), LABELS, ALONE)
    assert cue.is_suspicious
    (finding,) = cues.findings_of([cue])
    assert finding.kind is Kind.CUE
    assert "The border alone predicts the class: mean recall" in finding.detail
    assert "guessing 33%" in finding.detail


def test_what_is_inside_is_not_on_the_border() -> None:
    random = np.random.default_rng(0)
    image = noise(random)
    changed = image.copy()
    changed[8:56, 8:56] = 0
    np.testing.assert_array_equal(border_features(image), border_features(changed))


@pytest.mark.parametrize("what", ["size", "format", "bytes"])
def test_size_and_format_of_files_predict_the_label(what: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pictures, formats = [], []
    for number, label in enumerate(LABELS):
        width, height = random.integers(200, 900, 2).tolist()
        if what == "size" and label == 0:
            width = height = 224
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes(1000 + int(random.integers(50)) + (5000 if what == "bytes" and label else 0)))
        pictures.append(IndexedImage(path.name, path, str(label), None, None, str(number), width, height))
        formats.append("PNG" if what == "format" and label == 0 else "JPEG")
    assert measure("Files", file_features(pictures, formats), LABELS, ALONE).is_suspicious


def test_copies_do_not_make_a_label_predictable() -> None:
    """Random features, every image four times: only copies in training and test would make labels predictable."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(40, 60)), 4, axis=0)
    labels = np.repeat(np.arange(40) % 2, 4)
    leaking = probabilities(features, labels, list(range(160)), 1.0)
    kept_together = probabilities(features, labels, np.repeat(np.arange(40), 4).tolist(), 1.0)
    assert leaking is not None
    assert kept_together is not None
    assert mean_recall(leaking, labels).value > 0.9
    assert not measure("Noise", features, labels, np.repeat(np.arange(40), 4).tolist()).is_suspicious


def test_a_class_with_one_group_is_not_measured() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    cue = measure("Noise", np.eye(5), labels, [0, 1, 2, 3, 3])
    assert cue.recall is None
    (finding,) = cues.findings_of([cue])
    assert finding.kind is Kind.SKIPPED


def test_the_interval_covers_the_recall_of_other_images() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        labels = np.repeat([0, 1], [30, 200])
        right = random.random(230) < np.where(labels == 0, 0.4, 0.8)
        found = np.eye(2)[np.where(right, labels, 1 - labels)]
        recall = mean_recall(found, labels)
        inside += recall.low <= 0.6 <= recall.high
    assert 180 <= inside <= 199


def picture(label: str, number: int) -> IndexedImage:
    return IndexedImage(f"{label}/{number}.jpg", Path("x"), label, None, None, str(number), 10, 10)


def test_wrong_labels_are_found() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(COUNT, 5))
    features[:, :3] += 4 * np.eye(3)[LABELS]
    given = LABELS.copy()
    wrong = [4, 50, 77]
    given[wrong] = (given[wrong] + 1) % 3
    found = probabilities(features, given, ALONE, 1.0)
    assert found is not None
    findings = label_errors([picture(f"c{label}", at) for at, label in enumerate(given)], given, found, "abc")
    assert {int(Path(finding.image).stem) for finding in findings} >= set(wrong)
    assert len(findings) <= 5
    assert findings[0].other_label == "abc"[LABELS[int(Path(findings[0].image).stem)]]


def test_few_and_unequal_images_are_warned_of() -> None:
    found = balance.findings_of({"basalt": 300, "granite": 12, "marble": 100})
    assert [(finding.label, finding.other_label) for finding in found] == [("granite", ""), ("basalt", "granite")]
    assert balance.findings_of({"basalt": 30, "granite": 25}) == []
