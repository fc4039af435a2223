"""What a run of questions is told, and the run put together: who is asked, how fast, for how much."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medleyrec.features.describe.ask import Asker
from medleyrec.features.describe.budget import Budget, Gate, Limits
from medleyrec.features.describe.config import DescribeConfig
from medleyrec.features.describe.endpoint import Endpoint
from medleyrec.features.describe.estimate import Prices
from medleyrec.features.describe.items import Items
from medleyrec.features.describe.local import LocalModel, find_local
from medleyrec.features.describe.log import Writer
from medleyrec.features.describe.pace import Clock, Pace
from medleyrec.features.describe.plan import Plan, Progress
from medleyrec.features.describe.prompts import read_prompts
from medleyrec.features.describe.retry import Retry
from medleyrec.features.describe.secret import Access, access, key_field
from medleyrec.features.describe.series import ENDPOINT, LENGTHS, LOCAL, AnswerSettings, Series
from medleyrec.features.describe.work import Outcome, Work
from medleyrec.schema import InputError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a run is told beside its settings, and what is never kept: where the model is, and what it may cost.

    Either `url` (with a model named in the settings) or `local`, a folder or a name of the hub.
    """

    url: str | None = None
    key_env: str | None = None
    local: str | None = None
    offline: bool = False
    prompts: Path | None = None
    retry: tuple[str, ...] = ()
    limit: int | None = None
    limits: Limits = field(default_factory=Limits)
    prices: Prices = field(default_factory=Prices)

    def __repr__(self) -> str:
        return f"Asking({'an endpoint' if self.url else self.local})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who is asked. access: of an endpoint; folder: of a local model."""

    series: Series
    access: Access | None = None
    folder: Path = Path()


def source_of(settings: DescribeConfig, asking: Asking, say: Say) -> Source:
    """Raises InputError where address, key, model, prompts or body cannot be used. Loads no model yet."""
    if field := key_field(settings.body):
        raise InputError(
            f"describe.body holds {field!r}, which looks like a key, and settings are kept beside the answers; give "
            "keys by --key-env or within the address"
        )
    prompts = read_prompts(asking.prompts)
    kept = AnswerSettings(**settings.model_dump(include=set(AnswerSettings.model_fields)))
    if asking.local is not None:
        if unknown := sorted(set(settings.body) - set(LENGTHS)):
            raise InputError(f"a model in this process knows no {unknown[0]!r}; leave it out of describe.body")
        place, name = find_local(asking.local, offline=asking.offline, say=say)
        return Source(series=Series(kind=LOCAL, name=name, prompts=prompts, settings=kept), folder=place.folder)
    if not settings.model:
        raise InputError("an endpoint needs the model's name; give --model, or describe.model in the TOML")
    reach = access(asking.url or "", asking.key_env, os.environ)
    if reach.open:
        say(f"Caution: the key goes unencrypted to {reach.shown}; an https address would protect it.")
    return Source(series=Series(kind=ENDPOINT, name=settings.model, prompts=prompts, settings=kept), access=reach)


def ask_all(
    source: Source,
    plan: Plan,
    items: Items,
    writer: Writer,
    *,
    settings: DescribeConfig,
    asking: Asking,
    say: Say,
    progress: Progress,
) -> Outcome:
    """Ask what is planned, as far as the limits allow. Raises InputError where no question can be answered."""

    async def work() -> Outcome:
        clock = Clock()
        budget = Budget(asking.limits, asking.prices, clock.stop)
        pace = Pace(clock, settings.requests_per_minute, settings.tokens_per_minute)
        running = Work(
            plan=plan,
            items=items,
            asker=_asker(source, settings, Gate(budget, pace, settings.most_out)),
            writer=writer,
            clock=clock,
            concurrency=settings.concurrency if source.access else 1,
            progress=progress,
            say=say,
        )
        outcome = await running.run()
        say(f"{outcome.told()} {budget.told()}")
        return outcome

    return asyncio.run(work())


def _asker(source: Source, settings: DescribeConfig, gate: Gate) -> Asker:
    assert source.series.settings is not None
    if source.access is None:
        return LocalModel(source.folder, source.series.settings, gate=gate, dtype=settings.dtype)
    retry = Retry(tries=settings.tries, first=settings.first_wait, longest_wait=settings.longest_wait)
    model, timeout = source.series.name, settings.timeout
    return Endpoint(source.access, model, source.series.settings, gate=gate, retry=retry, timeout=timeout)
