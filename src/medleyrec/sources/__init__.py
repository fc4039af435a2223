"""The outside world -> canonical tables. A source is a function (connection, settings) -> CanonicalTables."""

SOURCES = {
    "tables": "medleyrec.sources.tables:tables",
    "bazaar": "medleyrec.sources.bazaar:bazaar",
}
"""Name -> reader, as `module:function`, imported when it is used; its settings are `<Name>Config` beside it."""
