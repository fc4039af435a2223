"""The outside world -> canonical tables. A source is a function (connection, settings) -> CanonicalTables."""

SOURCES = {
    "tables": "medleyrec.sources.tables:tables",
    "movielens": "medleyrec.sources.movielens:movielens",
    "amazon": "medleyrec.sources.amazon:amazon",
    "recbole": "medleyrec.sources.recbole:recbole",
    "microlens": "medleyrec.sources.microlens:microlens",
    "frames": "medleyrec.sources.frames:frames",
    "bazaar": "medleyrec.sources.bazaar:bazaar",
}
"""Name -> reader, as `module:function`, imported when it is used; its settings are `<Name>Config` beside it."""
