"""Groups of near-equal things in near-linear time: only what shares a key is compared, and only with its neighbours.

Letters:  n things   K keys per thing (bands)

Things that share a key stand side by side once they are sorted by it; each is compared with the next REACH of them. A
pair that is alike joins two groups, and pairs inside a group are not compared again. So the work is n * K * REACH at
most, whatever the sizes of the buckets; a pair far apart in a crowded bucket may be missed where no other key finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medleyrec.schema import Int64s, Mask

REACH = 16

Alike = Callable[[Int64s, Int64s], Mask]


def near_groups(
    keys: NDArray[np.unsignedinteger], alike: Alike, *, order_by: Sequence[NDArray[np.generic]] = (), reach: int = REACH
) -> Int64s:
    """(n,) group of each thing: equal numbers, equal group.

    keys (n, K); alike(a, b) judges pairs of positions; inside a bucket things are sorted by `order_by` (first, second,
    ...), so that what is near by these numbers is compared first.
    """
    n = len(keys)
    groups = np.arange(n)
    for column in range(keys.shape[1]):
        band = np.asarray(keys[:, column])
        order = np.lexsort((*reversed([np.asarray(o) for o in order_by]), band))
        for shift in range(1, min(reach, n - 1) + 1):
            a, b = order[:-shift], order[shift:]
            met = band[a] == band[b]
            if not met.any():
                break
            met &= groups[a] != groups[b]
            a, b = a[met], b[met]
            if len(a):
                same = alike(a, b)
                groups = join(groups, a[same], b[same])
    return groups


def join(groups: Int64s, a: Int64s, b: Int64s) -> Int64s:
    """The groups after the groups of a[k] and b[k] became one, for every k."""
    if not len(a):
        return groups
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(groups)
    links = coo_array((np.ones(len(a), np.bool_), (groups[a], groups[b])), (n, n))
    _, label = connected_components(links, directed=False)
    # A label becomes the smallest group that bears it, so numbers stay below n and do not depend on the joining order.
    first = np.full(n, n, np.int64)
    np.minimum.at(first, label, np.arange(n))
    merged: Int64s = first[label][groups]
    return merged


def grouped(groups: Int64s) -> Mask:
    """(n,) whether a thing shares its group with another."""
    mask: Mask = np.bincount(groups, minlength=len(groups))[groups] > 1
    return mask


def pairs_of(groups: Int64s, count: int) -> list[tuple[int, int]]:
    """The first two members of the first `count` groups that have two, by position."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    big = starts[np.diff(np.append(starts, len(order))) > 1][:count]
    return [(int(order[s]), int(order[s + 1])) for s in big]


def equal_groups(keys: Sequence[object]) -> Int64s:
    """(n,) things of equal keys share a group; None is equal to nothing."""
    first: dict[object, int] = {}
    found = (at if key is None else first.setdefault(key, at) for at, key in enumerate(keys))
    return np.fromiter(found, np.int64, count=len(keys))
