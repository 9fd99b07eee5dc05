"""The weights of a clickability model by maximum likelihood, from people's clicks.

The likelihood is that of a conditional logit model (McFadden, Conditional logit analysis of
qualitative choice behavior, 1974), whose logarithm is concave. A normal prior with a standard
deviation of 10 keeps weights at 0 of which the clicks say nothing. Standard errors are robust to
dependence between clicks on an image (Cameron and Miller, A Practitioner's Guide to Cluster-Robust
Inference, Journal of Human Resources 50, 2015).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.clickability.choices import ClickedError
from hlmat.transforms.clickability.click_model import FEATURES, MAX_WEIGHT

PRIOR_DEVIATION = 10.0
_TOLERANCE = 1e-7
_MAX_STEPS = 500


@dataclass(frozen=True)
class Fit:
    """Fitted weights.

    Attributes:
        weights: in the order of `FEATURES`. Shape: (K,).
        standard_errors: robust, clustered by image; None for clicks on a single image. Shape: (K,).
        log_likelihood: mean over the fitted clicks, in nats.
    """

    weights: NDArray[np.float64]
    standard_errors: NDArray[np.float64] | None
    log_likelihood: float


def fit_weights(errors: Sequence[ClickedError]) -> Fit:
    """Return the weights under which the clicks are the likeliest.

    Args:
        errors: with at least one click.

    Raises:
        ValueError: there are no errors, or the search for the weights did not converge.
    """
    from scipy.optimize import minimize

    if not errors:
        raise ValueError("expected at least 1 error with clicks, got none")
    precision = 1 / PRIOR_DEVIATION**2
    clicks = sum(len(error.clicked) for error in errors)
    sums = [error.clicked.sum(axis=0, dtype=np.float64) for error in errors]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value = precision * float(weights @ weights) / 2
        slope = precision * weights
        for error, clicked in zip(errors, sums, strict=True):
            probabilities, log_sum = error.probabilities(weights)
            value += len(error.clicked) * log_sum - float(clicked @ weights)
            slope += len(error.clicked) * (probabilities @ error.pixels) - clicked
        return value / clicks, slope / clicks

    found = minimize(
        loss,
        np.zeros(len(FEATURES)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-MAX_WEIGHT, MAX_WEIGHT)] * len(FEATURES),
        options={"gtol": _TOLERANCE, "ftol": 1e-14, "maxiter": _MAX_STEPS},
    )
    if not found.success and found.nit >= _MAX_STEPS:
        raise ValueError(f"the search for the weights did not converge in {_MAX_STEPS} steps")
    weights = np.asarray(found.x, np.float64)
    likelihood = sum(float(error.log_likelihoods(weights).sum()) for error in errors) / clicks
    return Fit(weights, _standard_errors(errors, weights, precision), likelihood)


def _standard_errors(
    errors: Sequence[ClickedError], weights: NDArray[np.float64], precision: float
) -> NDArray[np.float64] | None:
    curvature = precision * np.eye(len(weights))
    scores: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(weights)))
    for error in errors:
        probabilities, _ = error.probabilities(weights)
        mean = probabilities @ error.pixels
        centred = error.pixels - mean
        curvature += len(error.clicked) * (centred.T * probabilities) @ centred
        scores[error.image] += (error.clicked - mean).sum(axis=0)
    if len(scores) < 2:
        return None
    by_image = np.stack(list(scores.values()))
    inverse = np.linalg.inv(curvature)
    spread = by_image.T @ by_image * (len(by_image) / (len(by_image) - 1))
    return np.sqrt(np.maximum(np.diag(inverse @ spread @ inverse), 0))
