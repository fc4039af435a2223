"""Kinds of bombs: small files that unpack to gigabytes, or that claim to hold them. All must be refused, and soon."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile.case import Case
from tests.hostile.values import plain_events
from tests.hostile.writing import HEADER, put, written

_MIB = 1 << 20
_HEAD = b"user_id,item_id,timestamp\n"
_ROW = b"a,b,1400000000\n"
_FILLINGS = {
    "rows": (_HEAD, _ROW * (_MIB // len(_ROW))),
    "zeros": (_HEAD, bytes(_MIB)),
    "line ends": (_HEAD, b"\n" * _MIB),
    "one line": (_HEAD, b"a" * _MIB),
    "one value": (_HEAD + b'"', b"a" * _MIB),
    "separators": (_HEAD, b"," * _MIB),
    "header": (b"", b"user_id," * (_MIB // 8)),
    "long ids": (_HEAD, (b"x" * 9_000 + b",b,1\n") * 110),
}


def packed_bomb(random: Random, folder: Path) -> Case:
    """Four gigabytes in a few megabytes of gzip, in less of zstd."""
    start, block = random.choice(list(_FILLINGS.values()))
    ending = random.choice(["csv.gz", "csv.zst", "jsonl.gz", "json.zst"])
    if "json" in ending:
        start, block = b'{"user_id": "', b"x" * _MIB
    content = gzipped(start, block, 4096) if ending.endswith(".gz") else _zstd(start) + _zstd(block * 64) * 64
    part = random.choice(["interactions", "items"])
    bomb = put(folder, f"bomb.{ending}", content)
    log = put(folder, "log.csv", written("log.csv", HEADER, plain_events(random, 4)))
    return Case(source={"interactions": str(log), part: str(bomb)}, refused=r"^bomb\.", named=("bomb.",))


def gzipped(start: bytes, block: bytes, times: int) -> bytes:
    """One gzip member of `start` and many times `block`, which is packed once: after a full flush it repeats."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    body = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.flush()
    size = (len(start) + times * len(block)) % 2**32
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + body * times + end + struct.pack("<II", 0, size)


def _zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def parquet_bomb(random: Random, folder: Path) -> Case:
    """Many millions of rows in a few kilobytes: one value, said once."""
    count, path = 4_000_000, folder / "bomb.parquet"
    table = pa.table(
        {name: pa.DictionaryArray.from_arrays(pa.nulls(count, pa.int8()).fill_null(0), [value]) for name, value in _ONE}
    )
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(8):
            writer.write_table(table, row_group_size=count)
    return Case(source={"interactions": str(path)}, refused=r"^bomb\.parquet .*rows", named=("bomb.parquet",))


_ONE = (("user_id", "u"), ("item_id", "i"), ("timestamp", "1400000000"))


def claims(random: Random, folder: Path) -> Case:
    """A sparse file that is gigabytes long and holds nothing."""
    path = folder / random.choice(["bomb.csv", "bomb.jsonl", "bomb.parquet", "bomb.csv.gz"])
    with path.open("wb") as file:
        file.write(_HEAD if path.suffix == ".csv" else b"{" if path.suffix == ".jsonl" else b"PAR1")
        file.truncate(200 << 20)
    return Case(source={"interactions": str(path)}, refused=r"^bomb\.", named=(path.name,))
