"""The command plan: what a training will take, before it begins."""

from __future__ import annotations

import json

import typer

from medleyrec.cli.app import (
    Items,
    Json,
    MemoryLimit,
    ModelName,
    Set,
    SplitKind,
    Target,
    app,
    examples,
    experiment_of,
    say,
    training_flags,
)


@app.command(
    epilog=examples(
        "medley plan shop --items id,text,image",
        "medley plan shop --model hm4sr --items id,text --memory-limit 4GB",
        "medley plan shop --set train.targets_per_step=256 --json",
        "medley plan shop/runs/NAME",
        "medley train says the same before it begins, and keeps to the same limit.",
    )
)
def plan(
    target: Target,
    model: ModelName = None,
    items: Items = None,
    memory_limit: MemoryLimit = None,
    json_: Json = False,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Predict parameters, peak memory and time per epoch of a training from a few steps; nothing is written."""
    from medleyrec.recipes.planning import run_plan

    flags = training_flags(model=model, items=items, memory_limit=memory_limit, split=split)
    found = run_plan(experiment_of(target, set_, flags))
    if json_:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return
    for line in found.lines():
        say(line)
