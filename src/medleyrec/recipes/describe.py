"""Descriptions of a project's items: asked for, imported, written by a template; and given to those who encode them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from medleyrec import storage
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.features.describe.answers import EMPTY, FAILED, OK, REFUSED, USABLE, Reply, judged
from medleyrec.features.describe.asking import Asking, ask_all, source_of
from medleyrec.features.describe.coverage import Coverage, chosen, covered, matching, told
from medleyrec.features.describe.given import read_answers
from medleyrec.features.describe.items import Items
from medleyrec.features.describe.log import AnswerLog, Writer
from medleyrec.features.describe.plan import Plan, ordered, planned
from medleyrec.features.describe.series import FILE, TEMPLATE, Question, Series, file_key
from medleyrec.features.describe.work import Outcome
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import DESCRIPTIONS, InputError

CHOICE = "choice.json"
BLOCK = 1000
"""Answers that cost nothing: so many are forced to disk, and told, together."""


def descriptions_folder(project: Path) -> Path:
    return project / "descriptions"


def described_views(
    project: Path, dataset: Dataset, *, use: str | None = None
) -> tuple[str, dict[str, list[str | None]]]:
    """Who wrote the descriptions ("NAME via endpoint", "template (stand-in)", "file: NAME", ...; empty where there are
    none), and they by view, entry i of item row i + 1; views without any are left out, and all are of one origin.

    `use` names that origin; by default it is the one chosen by `medley describe --use`, else the most recent complete
    one, else the one with most answers.
    """
    found = _chosen(project, Items(dataset), use)
    if found is None:
        return "", {}
    log, coverage = found
    return coverage.series.origin, {view: log.texts(coverage.keys[view]) for view in coverage.views}


def _chosen(project: Path, items: Items, use: str | None) -> tuple[AnswerLog, Coverage] | None:
    log = AnswerLog(descriptions_folder(project))
    coverage = chosen(log, items, use or chosen_before(project)) if log.series else None
    return None if coverage is None else (log, coverage)


def chosen_before(project: Path) -> str | None:
    path = descriptions_folder(project) / CHOICE
    return str(storage.read_json(path)["use"]) or None if path.exists() else None


def origin_in_use(project: Path, use: str | None = None) -> str:
    """Who wrote what `medley encode` would take now; empty where there is nothing."""
    found = _chosen(project, Items(open_dataset(project)), use)
    return "" if found is None else found[1].series.origin


def run_choice(project: Path, use: str) -> None:
    """From now on these descriptions are used. Raises InputError where there are none by that name."""
    matching(AnswerLog(descriptions_folder(project)), use)
    storage.write_json(descriptions_folder(project) / CHOICE, {"use": use})


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a run did: who was asked, and how it ended."""

    series: Series
    outcome: Outcome

    @property
    def complete(self) -> bool:
        return not (self.outcome.ended or self.outcome.given_up)


def run_describe(
    experiment: Experiment, asking: Asking, listener: Listener, *, dry_run: bool = False
) -> Described | None:
    """Ask for what is not described yet; None of a dry run, which tells what would be asked and sends nothing."""
    settings, project = experiment.describe, experiment.project
    dataset, log = open_dataset(project), AnswerLog(descriptions_folder(project))
    _check(asking)
    source = source_of(settings, replace(asking, offline=True, key_env=None) if dry_run else asking, listener.say)
    items, rows = Items(dataset), ordered(make_split(dataset, experiment.split).train_counts, settings.order)

    def plan() -> Plan:
        return planned(
            source.series,
            items,
            log,
            rows=rows,
            views=settings.views,
            retry=asking.retry,
            limit=asking.limit,
            progress=lambda done, total: listener.step("planning", done, total),
        )

    if dry_run:
        listener.say(plan().told(asking.prices))
        return None
    with log.writing() as writer:
        todo = plan()
        listener.say(todo.told(asking.prices))
        writer.begin(source.series)
        if not len(todo):
            return Described(series=source.series, outcome=Outcome())
        outcome = ask_all(
            source,
            todo,
            items,
            writer,
            settings=settings,
            asking=asking,
            say=listener.say,
            progress=lambda done, total: listener.step("describing", done, total),
        )
    return Described(series=source.series, outcome=outcome)


def _check(asking: Asking) -> None:
    prices, money = asking.prices, asking.limits.money
    if math.isnan(money) or not math.isfinite(prices.into + prices.out):
        raise InputError("--budget, --price-in and --price-out are amounts of money, such as 2.5")
    if math.isfinite(money) and not (prices.into and prices.out):
        raise InputError("--budget needs --price-in and --price-out, money per million tokens")
    if wrong := set(asking.retry) - {REFUSED, EMPTY, FAILED}:
        raise InputError(f"--retry {','.join(sorted(wrong))}: choose among refused, empty and failed, with commas")


def run_given(project: Path, path: Path, listener: Listener) -> Series:
    """Keep the answers of a file under its name. Raises InputError where none of its items is in the dataset."""
    dataset, log = open_dataset(project), AnswerLog(descriptions_folder(project))
    rows = list(read_answers(path))
    strangers = {item: None for item, _, _ in rows if item not in dataset.item_rows}
    if all(item in strangers for item, _, _ in rows):
        told = f"none of its item ids, such as {next(iter(strangers))!r}, is in {project}" if rows else "it has no row"
        raise InputError(f"{path}: {told}; nothing was kept")
    series, known, fresh = Series(kind=FILE, name=path.name), dataset.item_rows, 0
    before = {key for key, kept in log.index.items() if kept.series == series.id}
    with log.writing(group=BLOCK) as writer:
        writer.begin(series)
        for done, (item, view, text) in enumerate(rows, 1):
            question = Question(row=known.get(item, 0), view=view, key=file_key(path.name, item, view), text="")
            fresh += _kept(writer, series, question, text, item)
            if done % BLOCK == 0 or done == len(rows):
                listener.step("reading answers", done, len(rows))
    if others := len(before - {file_key(path.name, item, view) for item, view, _ in rows}):
        listener.say(
            f"{others:,} answers of an earlier file of this name are not in this one and still count; import it under "
            "another name to have it apart."
        )
    listener.say(f"{path.name}: {len(rows):,} answers, {fresh:,} of them new.")
    if strangers:
        shown = ", ".join(map(repr, list(strangers)[:3]))
        listener.say(
            f"{len(strangers):,} of its item ids, such as {shown}, are not in the dataset; their answers are kept for "
            "later."
        )
    return series


def run_template(project: Path, views: tuple[str, ...], listener: Listener) -> Series:
    """Write the stand-in's sentences for all items."""
    items, log = Items(open_dataset(project)), AnswerLog(descriptions_folder(project))
    series, fresh = Series(kind=TEMPLATE), 0
    with log.writing(group=BLOCK) as writer:
        writer.begin(series)
        for row in range(1, len(items) + 1):
            for question in series.questions(items, row, views):
                fresh += _kept(writer, series, question, question.text, items.dataset.item_ids[row])
            if row % BLOCK == 0 or row == len(items):
                listener.step("writing", row, len(items))
    listener.say(f"{fresh:,} new sentences by the template, a stand-in for a model: it saw neither title nor picture.")
    return series


def _kept(writer: Writer, series: Series, question: Question, text: str, item_id: str) -> bool:
    """Whether the answer was new."""
    answer, before = judged(Reply(text=text)), writer.log.answer(question.key)
    if before is not None and (before["status"], before["text"]) == (answer.status, answer.text):
        return False
    writer.add(series, question, answer, item_id)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One item and what was written of it."""

    item_id: str
    title: str
    texts: dict[str, str]


def report(project: Path, use: str | None = None, series: Series | None = None) -> Iterator[str]:
    """Paragraphs: coverage of `series`, or of the one in use; then what is used, where that is another."""
    items, log = Items(open_dataset(project)), AnswerLog(descriptions_folder(project))
    if log.damaged:
        yield f"{log.damaged:,} damaged lines of {log.path} are passed over; their questions are asked again."
    used = chosen(log, items, use or chosen_before(project)) if log.series else None
    mine = covered(log, series, items) if series is not None else used
    if mine is None:
        yield "Nothing is described yet: give --url and --model, --local, --answers or --template."
        return
    yield told(mine)
    if used is None:
        yield "None of this can be used yet."
    elif used.series.id != mine.series.id:
        yield (
            f"In use for the whole project: {used.series.origin}, until another is complete; origins are never mixed "
            f"(medley describe {project} --use NAME chooses)."
        )


def shown(project: Path, count: int, use: str | None = None) -> tuple[str, list[Shown]]:
    """The origin in use, and items that have descriptions, evenly spread."""
    items = Items(open_dataset(project))
    found = _chosen(project, items, use)
    if found is None:
        return "", []
    log, coverage = found
    keys = [coverage.keys[view] for view in DESCRIPTIONS]
    rows = [row for row, asked in enumerate(zip(*keys, strict=True), 1) if any(key in log.index for key in asked)]
    few = min(count, len(rows))
    picked = [rows[i * len(rows) // few] for i in range(few)]
    return coverage.series.origin, [_shown(log, coverage, items, row) for row in picked]


def _shown(log: AnswerLog, coverage: Coverage, items: Items, row: int) -> Shown:
    texts = {}
    for view in DESCRIPTIONS:
        key = coverage.keys[view][row - 1]
        record = log.answer(key) if key is not None else None
        if record is not None:
            reason = f": {record['reason']}" if record.get("reason") else ""
            told = record["text"] if record["status"] in USABLE else ""
            texts[view] = told if record["status"] == OK else f"[{record['status']}{reason}] {told}".strip()
    item = items[row]
    return Shown(item_id=item.id, title=item.title, texts=texts)
