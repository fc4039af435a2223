"""What a trained DMESR does with its views: whether one description of an item finds another of the same item."""

from __future__ import annotations

import math
from itertools import permutations

from medleyrec.models.dmesr import DMESR
from medleyrec.models.views import retrieval_recall
from medleyrec.schema import DESCRIPTIONS

RETRIEVED = 10


def dmesr_figures(model: DMESR) -> dict[str, float]:
    """Recall of each description from each other one, among the items that have both, after the adapters.

    Two that no item has both of are left out.
    """
    views = [name for name in DESCRIPTIONS if name in model.rows.parts]
    found = {
        f"recall@{RETRIEVED} of an item's {sought} from its {query}": retrieval_recall(
            model.rows, query, sought, k=RETRIEVED
        )
        for query, sought in permutations(views, 2)
    }
    return {sentence: recall for sentence, recall in found.items() if not math.isnan(recall)}
