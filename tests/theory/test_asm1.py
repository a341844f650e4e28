"""Assumption 1 on colon-cancer: the labels can be fitted with an intercept, and not without."""

import numpy as np
import pytest

from localgd import datasets

SOURCES = ["stand-in"]
if datasets.fingerprint("colon-cancer") != "stand-in":
    SOURCES.append("real")
INTERCEPT = 1.0


@pytest.fixture(scope="module", params=SOURCES)
def data(request):
    return datasets.colon_cancer(request.param)


def fit_distance(features, labels):
    """The distance of the labels from the span of the columns, by Gram–Schmidt in Q."""
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    basis = u[:, s > 1e-3]
    return np.linalg.norm(labels - basis @ (basis.T @ labels))


@pytest.mark.claim("asm1")
@pytest.mark.mutation("hypothesis", "INTERCEPT = 1.0", "INTERCEPT = 0.0", within="INTERCEPT")
@pytest.mark.mutation("constant", "s > 1e-3", "s > 1e2", within="fit_distance")
def test_with_an_intercept_the_local_losses_have_a_common_minimiser(data):
    ones = np.full((len(data.labels), 1), INTERCEPT)
    features = np.hstack([data.features - data.features.mean(0), ones])
    assert fit_distance(features, data.labels) < 1e-6


@pytest.mark.claim("asm1", kind="control")
def test_centred_features_alone_miss_the_labels_by_their_mean(data):
    missed = fit_distance(data.features - data.features.mean(0), data.labels)
    assert missed == pytest.approx(abs(data.labels.sum()) / np.sqrt(len(data.labels)), rel=1e-6)
    assert missed > 1
