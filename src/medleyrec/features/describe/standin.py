"""A stand-in for a model's descriptions: sentences by a template over category, brand and price.

It sees neither pictures nor titles, so it knows nothing that a picture shows: it exercises the way of descriptions
through the system where no model is at hand, and its origin says so.
"""

from __future__ import annotations

from medleyrec.features.describe.items import Item
from medleyrec.schema import DESCRIBED_BOTH, DESCRIBED_IMAGE


def stand_in(view: str, item: Item) -> str:
    """Empty where neither category nor brand is known."""
    if not item.categories and not item.brand:
        return ""
    kind = item.categories[-1] if item.categories else "product"
    shelf = ", ".join(item.categories[:-1])
    maker = f" by {item.brand}" if item.brand else ""
    if view == DESCRIBED_IMAGE:
        return f"A product of the kind {kind}{f', shown among {shelf}' if shelf else ''}."
    wanted = f"It is for those who look for {kind}{f' and like {item.brand}' if item.brand else ''}."
    if view == DESCRIBED_BOTH:
        place = f" It belongs to {shelf}." if shelf else ""
        return f"This is of the kind {kind}{maker}.{place} {wanted}"
    price = f" It costs {item.price}." if item.price else ""
    return f"{kind}{maker}.{price} {wanted}"
