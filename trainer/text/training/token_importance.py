"""Token scores, the selection of tokens to train on, and token regions (TIP, arXiv 2604.14084, §3).

Two measurements of a token, both in nats and taken before the update: the student's entropy h, and
the divergence to the teacher δ (reverse KL, KL(student ‖ teacher)). Values above a quantile (linear
interpolation) are set to it, then both are scaled to 0 … 1:

    ĥ = (h − min h) / (max h − min h),   δ̂ likewise,   0 where max = min.

The scores are in `token_scores`. Entropy and divergence alone are limited but not shifted, because
sampling draws in proportion to them. Of an answer of m tokens max(1, ⌊ρ m⌋) are kept (Eq. 8).
Normalising h by ln V cancels in all scores. A reverse KL below 0 through rounding counts as 0.

Regions: q1 both high, q2 entropy high, q3 divergence high (confident and wrong), q4 both low. The
paper gives no thresholds; here high means above the median of the given tokens, unless thresholds
are given.

Shapes: T tokens of all answers concatenated; `lengths` [answers] counts the tokens of each, `keys`
[answers] identify them (`rollouts/engines/noise.py`). Nothing here carries gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.spec import TOKEN_SCORES, SelectedTokens
from trainer.text.mechanisms import function_of
from trainer.text.rollouts.engines.noise import uniforms

Array = NDArray[np.float64]

# Cells of the histogram along each axis.
CELLS = 20
# Nats; the histogram's first cell holds all below, its last all above.
DIVERGENCES = (1e-5, 1e2)
REGIONS = ("q1", "q2", "q3", "q4")
# Smaller scores count as 0; ln(1 − u) divided by them would overflow.
SMALLEST = 1e-300
# A product such as 0.29 · 100 may fall just short of the whole number that it means.
ROUNDING = 1e-9


def select(
    tokens: SelectedTokens,
    entropy_T: ArrayLike,
    reverse_kl_T: ArrayLike,
    forward_kl_T: ArrayLike,
    *,
    lengths: Sequence[int],
    keys: NDArray[np.uint64],
) -> NDArray[np.bool_]:
    """Return which tokens are kept, [T]; the same keys give the same choice.

    With scope "answer" the choice does not depend on the rest of the batch. Arguments that the
    score does not use may hold anything. `keys` must differ from those that the answers were
    sampled with: otherwise the draw of a token and its selection would be correlated. Ties are
    broken by these draws.
    """
    scores_T = score(tokens, entropy_T, reverse_kl_T, forward_kl_T, lengths)
    owners_T = np.repeat(np.arange(len(lengths)), lengths)
    starts = (np.cumsum(lengths) - lengths).astype(np.int64)
    draws_T = uniforms(np.asarray(keys)[owners_T], np.arange(len(owners_T)) - starts[owners_T])
    # lexsort sorts by its last key first. Reversed, answers ascend and ranks descend in each, so
    # that a token's position in its answer says whether it is kept.
    order = np.lexsort((draws_T, _ranks(scores_T, draws_T, tokens.how), -owners_T))[::-1]
    position_T = np.arange(len(owners_T)) - starts[owners_T]
    kept_T = np.zeros(len(owners_T), bool)
    kept_T[order] = position_T < kept_counts(lengths, tokens.share)[owners_T]
    return kept_T


def kept_counts(lengths: Sequence[int], share: float) -> NDArray[np.int64]:
    """How many tokens of each answer are kept: ⌊share · length⌋, at least one."""
    floors = np.floor(share * np.asarray(lengths) + ROUNDING).astype(np.int64)
    return np.minimum(np.maximum(floors, 1), lengths)


def score(
    tokens: SelectedTokens,
    entropy_T: ArrayLike,
    reverse_kl_T: ArrayLike,
    forward_kl_T: ArrayLike,
    lengths: Sequence[int],
) -> Array:
    """Score of each token [T], scaled over all tokens or within each answer."""
    function = function_of(TOKEN_SCORES[tokens.score])
    columns = [
        np.maximum(np.asarray(column, np.float64), 0.0)
        for column in (entropy_T, reverse_kl_T, forward_kl_T)
    ]
    if tokens.scope == "batch":
        return np.asarray(function(tokens, *columns))
    ends = np.cumsum(lengths)[:-1]
    answers = zip(*(np.split(column, ends) for column in columns), strict=True)
    return np.concatenate([function(tokens, *answer) for answer in answers])


def cut(values: Array, quantile: float) -> Array:
    """Limit values to their quantile."""
    return (
        np.minimum(values, np.quantile(values, quantile))
        if values.size and quantile < 1
        else values
    )


def unit(values: Array) -> Array:
    """Scale to 0 … 1 by minimum and maximum; 0 where these are equal."""
    span = float(np.ptp(values)) if values.size else 0.0
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _ranks(scores_T: Array, draws_T: Array, how: str) -> Array:
    """Sort keys; a larger key is kept first.

    For "sample" the draw u becomes ln(1 − u) / score (Efraimidis and Spirakis 2006): the k largest
    are a sample without replacement in proportion to the score. Score 0 comes last.
    """
    if how != "sample":
        return scores_T if how == "top" else -scores_T
    positive = scores_T > SMALLEST
    return np.where(positive, np.log1p(-draws_T) / np.where(positive, scores_T, 1.0), -np.inf)


def regions(
    entropy_T: ArrayLike,
    divergence_T: ArrayLike,
    kept_T: ArrayLike | None = None,
    *,
    vocabulary: int,
    thresholds: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the fields of a `token_regions` event, from at least one token.

    The entropy axis is h / ln V, linear; the divergence axis is in nats, logarithmic. `thresholds`
    on these axes are the lower ends of "high" (exclusive); None takes the medians. `kept_T` None
    keeps all. Shares are of the tokens (`share`), of the kept tokens (`kept_share`) and of the
    summed divergence (`divergence_share`).
    """
    entropy_share_T = np.asarray(entropy_T, np.float64) / math.log(vocabulary)
    delta_T = np.maximum(np.asarray(divergence_T, np.float64), 0.0)
    is_kept_T = np.ones(len(delta_T), bool) if kept_T is None else np.asarray(kept_T, bool)
    split = thresholds or (float(np.median(entropy_share_T)), float(np.median(delta_T)))
    low_entropy_T, low_delta_T = entropy_share_T <= split[0], delta_T <= split[1]
    # Indices in REGIONS.
    region_T = np.select(
        [~low_entropy_T & ~low_delta_T, ~low_entropy_T, ~low_delta_T], [0, 1, 2], 3
    )
    total = float(delta_T.sum())
    edges = np.linspace(0, 1, CELLS + 1), np.geomspace(*DIVERGENCES, CELLS + 1)
    return {
        "entropy_edges": edges[0].tolist(),
        "divergence_edges": edges[1].tolist(),
        "counts": _histogram(entropy_share_T, delta_T, edges),
        "kept": _histogram(entropy_share_T[is_kept_T], delta_T[is_kept_T], edges),
        "regions": [
            {
                "name": name,
                "share": _share(region_T == number),
                "kept_share": _share(region_T[is_kept_T] == number),
                "divergence_share": (
                    float(delta_T[region_T == number].sum()) / total if total > 0 else 0.0
                ),
            }
            for number, name in enumerate(REGIONS)
        ],
        "thresholds": {"entropy": split[0], "divergence": split[1]},
        "kept_share": _share(is_kept_T),
    }


def region_metrics(event: Mapping[str, Any]) -> dict[str, float]:
    """Flat metrics of a `token_regions` event: the shares `tokens/q1` … `tokens/q4`."""
    return {f"tokens/{region['name']}": region["share"] for region in event["regions"]}


def _histogram(entropy: Array, divergence: Array, edges: tuple[Array, Array]) -> list[list[int]]:
    """Counts by [entropy cell][divergence cell]."""
    counts, _, _ = np.histogram2d(
        np.clip(entropy, 0, 1), np.clip(divergence, *DIVERGENCES), bins=edges
    )
    cells: list[list[int]] = counts.astype(int).tolist()
    return cells


def _share(members: NDArray[np.bool_]) -> float:
    return float(members.mean()) if members.size else 0.0
