"""Images whose label is probably wrong, by confident learning on cross-validated predictions of a linear probe.

Northcutt, Jiang, Chuang: Confident Learning, Journal of Artificial Intelligence Research 2021; the package cleanlab is
the authors' own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.audit.findings import Finding, Kind, Severity
from fpcn_lightning.data.index import IndexedImage


def label_errors(
    pictures: Sequence[IndexedImage],
    labels: NDArray[np.int64],
    found: NDArray[np.float64],
    classes: Sequence[str],
) -> list[Finding]:
    """A finding for each image that is probably labelled wrongly, the most certain first.

    Args:
        pictures: N images.
        labels: [N].
        found: probabilities [N, C] from folds that do not hold the image.
        classes: C names.
    """
    from cleanlab.filter import find_label_issues

    # Both rules of the paper must agree: a probe is wrong about many images, and a long list would not be read.
    chosen = find_label_issues(labels, found, filter_by="both", return_indices_ranked_by="self_confidence", n_jobs=1)
    findings = []
    for position in chosen:
        picture, suggested = pictures[position], classes[int(found[position].argmax())]
        own, other = float(found[position, labels[position]]), float(found[position].max())
        findings.append(
            Finding(
                Kind.LABEL_ERROR,
                Severity.WARNING,
                f"a linear probe gives {suggested} {other:.0%} and {picture.label} {own:.0%}",
                image=picture.name,
                label=picture.label,
                other_label=suggested,
                score=own,
            )
        )
    return findings
