"""The command describe: what a multimodal language model says about each item."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from medleyrec.cli.app import INTERRUPTED, Set, Target, app, console, examples, experiment_of, say
from medleyrec.schema import InputError


@app.command(
    epilog=examples(
        "medley describe shop --url http://localhost:8000/v1 --model Qwen/Qwen2.5-VL-7B-Instruct --dry-run",
        "medley describe shop --url https://api.example.com/v1 --model NAME --price-in 0.2 --price-out 0.6 --budget 5",
        "medley describe shop --local models/Qwen2-VL-2B-Instruct --limit 500",
        "medley describe shop --answers answers.parquet",
        "medley describe shop --template",
        "medley describe shop --show 5",
        "The same command goes on where it was stopped; nothing is asked twice.",
    )
)
def describe(
    target: Target,
    url: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint, up to its /v1.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's name there.")] = None,
    key_env: Annotated[
        str | None, typer.Option(help="Name of the variable that holds the key.", show_default="OPENAI_API_KEY")
    ] = None,
    local: Annotated[str | None, typer.Option(help="A model in this process: a folder, or a name of the hub.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch no model; it must be here already.")] = False,
    answers: Annotated[
        Path | None, typer.Option(help="Answers you have: Parquet, CSV or JSONL with item_id, view, text.")
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Sentences over category and brand, a stand-in where no model is.")
    ] = False,
    prompts: Annotated[Path | None, typer.Option(help="Your own questions, a TOML.")] = None,
    write_prompts: Annotated[Path | None, typer.Option(help="Write the questions there, to be edited.")] = None,
    views: Annotated[str | None, typer.Option(help="described_image, described_text, described_both.")] = None,
    order: Annotated[
        str | None,
        typer.Option(help="frequent, uncertain (fewest events first) or catalogue.", show_default="frequent"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many more items.")] = None,
    retry: Annotated[str, typer.Option(help="Ask again what was refused, empty, failed; with commas.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say calls, tokens and money; send nothing.")] = False,
    price_in: Annotated[float, typer.Option(min=0, help="Money per million tokens in.")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0, help="Money per million tokens out.")] = 0.0,
    budget: Annotated[float | None, typer.Option(min=0, help="Money that this run may spend.")] = None,
    max_calls: Annotated[int | None, typer.Option(min=0, help="Calls of this run, repeated ones too.")] = None,
    max_tokens_total: Annotated[int | None, typer.Option(min=0, help="Tokens of this run, in and out.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Calls at once.", show_default="4")] = None,
    use: Annotated[str | None, typer.Option(help="Whose descriptions are used from now on, where several are.")] = None,
    show: Annotated[int | None, typer.Option(min=1, help="Print so many items with their descriptions.")] = None,
    set_: Set = None,
) -> None:
    """Have items described by a multimodal language model: each picture, each text, and both together."""
    from medleyrec.features.describe.asking import Asking
    from medleyrec.features.describe.budget import Limits
    from medleyrec.features.describe.estimate import Prices
    from medleyrec.features.describe.prompts import write_prompts as write
    from medleyrec.recipes import describe as recipe

    if write_prompts is not None:
        write(write_prompts)
        say(f"Written: {write_prompts}. Edit it, then give it with --prompts {write_prompts}.")
        return
    if sum((url is not None, local is not None, answers is not None, template)) > 1:
        raise InputError("give one of --url, --local, --answers and --template at a time")
    asking_options = {
        "--dry-run": dry_run,
        "--retry": retry,
        "--prompts": prompts,
        "--order": order,
        "--limit": limit,
        "--budget": budget is not None,
        "--max-calls": max_calls is not None,
        "--max-tokens-total": max_tokens_total is not None,
        "--price-in": price_in,
        "--price-out": price_out,
    }
    endpoint_options = {"--model": model, "--key-env": key_env, "--concurrency": concurrency}
    if url is None and local is None:
        _refuse(asking_options | endpoint_options, "is about asking a model; give --url or --local with it")
    if url is None:
        _refuse(endpoint_options, "is about an endpoint; give --url with it, or leave it out")
    if answers is not None:
        _refuse({"--views": views}, "is not for answers that you have: what the file holds is taken; leave it out")
    flags: dict[str, Any] = {"model": model, "order": order, "concurrency": concurrency}
    flags["views"] = None if views is None else [_view(part) for part in views.split(",") if part.strip()]
    flags = {name: value for name, value in flags.items() if value is not None}
    experiment = experiment_of(target, set_, {"describe": flags} if flags else None)
    project, use_now, described = experiment.project, experiment.describe.use, None
    before, series = recipe.origin_in_use(project, use_now), None
    with console() as listener:
        if answers is not None:
            series = recipe.run_given(project, answers, listener)
        elif template:
            series = recipe.run_template(project, experiment.describe.views, listener)
        elif url is not None or local is not None:
            money, calls, tokens = (math.inf if n is None else n for n in (budget, max_calls, max_tokens_total))
            asking = Asking(
                url=url,
                key_env=key_env,
                local=local,
                offline=offline,
                prompts=prompts,
                retry=tuple(part.strip() for part in retry.split(",") if part.strip()),
                limit=limit,
                limits=Limits(money=money, calls=calls, tokens=tokens),
                prices=Prices(into=price_in, out=price_out),
            )
            described = recipe.run_describe(experiment, asking, listener, dry_run=dry_run)
            if dry_run:
                return
            series = described.series if described else None
    if use is not None:
        recipe.run_choice(project, use)
    if show is not None:
        _show(project, show, use or use_now)
    for paragraph in recipe.report(project, use or use_now, series):
        say(paragraph)
    now = recipe.origin_in_use(project, use or use_now)
    if now and now != before:
        say(f"In use from now on: {now}{f' (before: {before}; --use goes back)' if before else ''}.")
    if described is not None and not described.complete:
        say("The same command goes on from there.")
    if described is not None and described.outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    tried = described is not None and bool(described.outcome.given_up or described.outcome.answers)
    if described is not None and tried and not described.complete and not described.outcome.usable:
        raise InputError("no description came; see that the endpoint is up and --url is right, up to its /v1")
    if now and (series is not None or use is not None):
        say(f"Next: medley encode {target}")


def _refuse(options: dict[str, Any], why: str) -> None:
    """Options that would be passed over in silence."""
    for option, given in options.items():
        if given:
            raise InputError(f"{option} {why}")


def _view(text: str) -> str:
    name = text.strip()
    return f"described_{name}" if name in ("image", "text", "both") else name


def _show(project: Path, count: int, use: str | None) -> None:
    from medleyrec.recipes.describe import shown

    origin, items = shown(project, count, use)
    for item in items:
        say(f"{item.item_id}  {item.title}")
        for view, text in item.texts.items():
            say(f"    {view} ({origin}): {text}")
