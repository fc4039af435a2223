"""Encoders that were trained elsewhere: any text, vision or dual model of Hugging Face, by folder or by hub name.

    place.py     where a model lies: a folder, the hub's local cache; what must be in it
    hub.py       fetches what is on the hub alone; the only file that asks the network, and only when it is called
    files.py     the files that decide a model's vectors, and their hashes; pickles and models with own code are refused
    settings.py  what may be chosen: pooling, tokens, number format, device
    loading.py   transformers and sentence-transformers, imported late and kept quiet
    pooling.py   token states -> one vector
    batching.py  texts of similar length under a token budget
    towers.py    models of texts behind one call; pictures.py the same for pictures
    encoder.py   what both encoders share: name, revision, the pointer that `save` writes
    text.py, image.py  the two encoders

An encoder's revision hashes the model's files and the settings that change vectors, so that equal revisions give equal
vectors (up to rounding). `save` keeps a pointer and the hashes, never weights.
"""

from __future__ import annotations

from medleyrec.features.pretrained.encoder import Pretrained
from medleyrec.features.pretrained.hub import fetched
from medleyrec.features.pretrained.place import MODEL_NAMES, Place, find_model, pooling_in_doubt

__all__ = ["MODEL_NAMES", "Place", "Pretrained", "fetched", "find_model", "pooling_in_doubt"]
