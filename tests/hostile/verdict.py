"""Runs a case through the recipes and says whether what came out is sound: a true dataset, or one good sentence."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from medleyrec.dataset.dataset import Dataset
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import run_prepare
from medleyrec.schema import InputError
from tests.hostile.case import Case, Event, Kind

PREPARED, REFUSED, DEFECT = "prepared", "refused", "DEFECT"
LONGEST = 400
"""Characters of a sentence, not counting the folders of the test itself."""
ROOM = 768 << 20
"""Bytes that the resident memory may grow during one case."""
INTERNAL = re.compile(
    r"duckdb|traceback|exception|errno|<class|\bbinder\b|\bcatalog error|parser error|conversion error|\bTRY_CAST\b"
    r"|\bCAST\b|io error|internal error|invalid input error|invalidinput|out of memory error|read_(csv|json|parquet)"
    r"|medley_\w+|\bc\d+\b|file_row_number|\bnone ?type|object at 0x|pyarrow|thrift|LINE \d+:"
    r"|candidate (bindings|functions)|try setting|possible (fixes|solution)|sniff|null_padding|ignore_errors"
    r"|strict_mode|maximum_\w+|codec can't",
    re.I,
)
FIX = re.compile(
    r"\b(mend|write|map|set|rename|fill|delete|convert|copy|download|name|choose|leave|close|put|split|give|say|"
    r"lower|loosen|must|need(s|ed)?|did you mean|known here|make|use|free|there are|should be|"
    r"remove|restore|is missing|expected|encode)\b",
    re.I,
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    outcome: str
    told: str = ""
    """The sentence, or what is wrong."""


class UnsoundError(AssertionError):
    """What came out is not what a user may be given."""


class Ear(Listener):
    """Keeps what is said: notes go to the terminal too."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def say(self, sentence: str) -> None:
        self.notes.append(sentence)


def judged(kind: Kind, seed: str, folder: Path) -> Verdict:
    """`folder` must be new; beside `folder/project` nothing in it may change. Never raises."""
    inputs, project = folder / "input", folder / "project"
    for made in (inputs, folder / "outside", project):
        made.mkdir(parents=True)
    (folder / "outside" / "canary.txt").write_text("sings")
    case = kind(Random(seed), inputs)
    before, memory = snapshot(folder), _reset_peak()
    try:
        verdict = _ran(case, project)
        _check_memory(memory)
        if changed := before ^ snapshot(folder):
            raise UnsoundError(f"written outside of the project: {sorted(changed)[:4]}")
        return verdict
    except UnsoundError as error:
        return Verdict(outcome=DEFECT, told=str(error))
    except BaseException:  # a panic of a library is no Exception
        return Verdict(outcome=DEFECT, told=traceback.format_exc(limit=-6))


def _ran(case: Case, project: Path) -> Verdict:
    ear = Ear()
    try:
        dataset = prepared(case, project, ear)
    except InputError as error:
        check_sentence(str(error), case, project.parent)
        _check_nothing_left(project)
        _check_refusal(case, str(error))
        return Verdict(outcome=REFUSED, told=str(error))
    if case.refused is not None:
        raise UnsoundError(f"was prepared, but must be refused with {case.refused!r}")
    check_dataset(dataset, case)
    if case.encode:
        _check_pictures(case, project, ear)
    for note in ear.notes:
        _check_text(note, project.parent)
    return Verdict(outcome=PREPARED)


def prepared(case: Case, project: Path, listener: Listener) -> Dataset:
    target = case.toml or project
    flags: dict[str, Any] = {} if case.toml else {"source": case.source, "prepare": case.prepare}
    experiment = load_experiment(target, flags=flags)
    return run_prepare(experiment, listener, threads=1, memory_limit="512MB")


def check_sentence(sentence: str, case: Case, folder: Path) -> None:
    """One line that names the place and the way to mend it, and speaks of nothing that the user did not write."""
    _check_text(sentence, folder)
    if case.named and not any(name in sentence for name in case.named):
        raise UnsoundError(f"names none of {case.named}: {sentence}")
    bare = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "''", sentence)
    if not FIX.search(bare) and not FIX.search(sentence.rpartition(";")[2]):  # a value cut short has no end quote
        raise UnsoundError(f"says no way to mend it: {sentence}")


def _check_text(sentence: str, folder: Path) -> None:
    shown = sentence.replace(str(folder), "")
    if not sentence.isprintable():
        raise UnsoundError(f"is no single printable line: {sentence!r}")
    if len(shown) > LONGEST:
        raise UnsoundError(f"is {len(shown)} characters long: {sentence}")
    bare = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "''", shown)
    if found := INTERNAL.search(bare):
        raise UnsoundError(f"says {found[0]!r}: {sentence}")


def _check_refusal(case: Case, sentence: str) -> None:
    if case.events is not None and not case.may_refuse:
        raise UnsoundError(f"was refused, but is a good log: {sentence}")
    if case.refused is not None and not re.search(case.refused, sentence):
        raise UnsoundError(f"was refused, but not with {case.refused!r}: {sentence}")


def _check_nothing_left(project: Path) -> None:
    """What was read of the log so far may stay, to be taken up again; a dataset or a part of a file may not."""
    if left := [str(p) for p in project.rglob("*") if p.name.startswith(".") or p.name == "dataset"]:
        raise UnsoundError(f"was refused, but left {left}")


def check_dataset(dataset: Dataset, case: Case) -> None:
    """Counts add up, rows are in range, times are sorted within users, ids are what the case wrote."""
    items, times, offsets = (np.asarray(a) for a in (dataset.items, dataset.times, dataset.offsets))
    users = np.repeat(np.arange(len(dataset)), np.diff(offsets))
    counts = dataset.manifest["counts"]
    same_user = users[1:] == users[:-1]
    facts = {
        "as many events as counted": len(items) == len(times) == offsets[-1] == counts["events"] > 0,
        "as many users as counted": len(dataset) == len(dataset.user_ids) == counts["users"],
        "as many items as counted": len(dataset.item_ids) == dataset.num_items == len(dataset.catalogue) + 1,
        "every user has events": offsets[0] == 0 and bool((np.diff(offsets) > 0).all()),
        "items in range": items.min() >= 1 and items.max() < dataset.num_items,
        "times in range": times.min() >= 0 and times.max() <= 253_402_300_799,
        "times sorted": bool((np.diff(times)[same_user] >= 0).all()),
        "ids unique": len(set(dataset.user_ids)) == len(dataset) and len(set(dataset.item_ids)) == dataset.num_items,
        "no blank id": all(i.strip() for i in (*dataset.user_ids, *dataset.item_ids[1:])),
    }
    if wrong := [fact for fact, holds in facts.items() if not holds]:
        raise UnsoundError(f"is prepared, but not: {', '.join(wrong)}")
    if case.events is not None:
        ids, names = dataset.item_ids, dataset.user_ids
        rows = zip(users.tolist(), items.tolist(), times.tolist(), strict=True)
        _check_equal("events", Counter(case.events), Counter(Event(names[u], ids[i], t) for u, i, t in rows))
    if case.titles is not None:
        found = dict(zip(dataset.item_ids[1:], dataset.catalogue.column("title").to_pylist(), strict=True))
        _check_equal("titles", Counter(case.titles.items()), Counter(found.items()))


def _check_equal(what: str, wanted: Counter[Any], found: Counter[Any]) -> None:
    if wanted != found:
        lost, added = list(wanted - found)[:2], list(found - wanted)[:2]
        raise UnsoundError(f"is prepared with other {what}: {lost!r:.300} lost, {added!r:.300} instead")


def _check_pictures(case: Case, project: Path, ear: Ear) -> None:
    experiment = load_experiment(project, flags={"encode": {"text": "none", "image": "descriptors"}})
    try:
        encoded = run_encode(experiment, ear)
    except InputError as error:
        check_sentence(str(error), Case(), project.parent)
        if case.pictures:
            raise UnsoundError(f"has {case.pictures} good pictures, but: {error}") from None
        return
    report = encoded["image"]
    found = report.total - sum(report.missing.values())
    if case.pictures is not None and found != case.pictures:
        raise UnsoundError(f"has {case.pictures} good pictures, but {found} were encoded: {report}")


def snapshot(folder: Path) -> set[tuple[str, str]]:
    """(path, what lies there) of everything in `folder` but its project, and of the process's own folders."""
    roots = (
        folder,
        Path.cwd(),
        Path(os.environ.get("TMPDIR", "/nonexistent")),
        Path(os.environ.get("HOME", "/nonexistent")),
    )
    found = {entry for root in roots for entry in _entries(root, leave_out=folder / "project")}
    return {(path, kind) for path, kind in found if path != str(folder)}


def _entries(root: Path, *, leave_out: Path) -> set[tuple[str, str]]:
    found = set()
    for place, folders, files in os.walk(root):
        if Path(place) == leave_out.parent and leave_out.name in folders:
            folders.remove(leave_out.name)
        found |= {(os.path.join(place, name), _told(Path(place, name))) for name in (*folders, *files)}  # noqa: PTH118
    return found


def _told(path: Path) -> str:
    """Never opens what is not an ordinary file."""
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        return f"link to {str(path.readlink())!r}"
    if not stat.S_ISREG(facts.st_mode):
        return f"mode {facts.st_mode}"
    content = hashlib.md5(path.read_bytes()).hexdigest() if facts.st_size < 1 << 22 else ""
    return f"file {facts.st_size} {facts.st_mtime_ns} {content}"


def _reset_peak() -> int:
    """Bytes resident now; Linux counts the peak anew from here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _resident("VmRSS")


def _check_memory(before: int) -> None:
    if before and (grown := _resident("VmHWM") - before) > ROOM:
        raise UnsoundError(f"took {grown >> 20} MiB of memory")


def _resident(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0
