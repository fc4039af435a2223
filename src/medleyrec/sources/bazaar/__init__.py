"""The planted bazaar: a small shop with a known answer, generated from a seed.

    settings    the dials, and one stream of random numbers per purpose
    grammar     categories, what each of them follows, and the words of titles, descriptions and picture descriptions
    catalogue   items: ids, latent attributes, texts, brands, prices
    pictures    an item's picture, rendered from its shape, colour and pattern
    laws        the planted truth: what follows what inside a session, and what opens a session
    behaviour   users, times and the log that the laws produce; the noise twin's permutations
    descriptions   what a language model would write of texts and pictures: the coarse views, and what they lose
    oracle      the true probability of every next item
    truth       what was planted and how well the oracle ranks, as JSON
    tables      the canonical tables

A short gap continues a session: same category, and the next item follows from the previous one by the category's law.
A long gap starts anew, by taste and season. In the noise twin users, times and the multisets of items and of contents
are the same, but which item was bought when and which content belongs to which item are random: nothing can be found.
"""

from medleyrec.sources.bazaar.descriptions import descriptions, write_descriptions
from medleyrec.sources.bazaar.oracle import Oracle
from medleyrec.sources.bazaar.settings import BazaarConfig
from medleyrec.sources.bazaar.tables import bazaar, describe_pictures, fingerprint
from medleyrec.sources.bazaar.truth import Truth, truth

__all__ = [
    "BazaarConfig",
    "Oracle",
    "Truth",
    "bazaar",
    "describe_pictures",
    "descriptions",
    "fingerprint",
    "truth",
    "write_descriptions",
]
