"""A plan is made: a few real steps are taken and a few blocks of validation events ranked.

Weights and random numbers are as before then. Memory is that of the whole process; steps that do not fit
`train.memory_limit` are taken in parts and smaller chunks (training/calibration.py), and where even that does not help
the run does not begin.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from medleyrec.config import parse
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.split import Split
from medleyrec.recipes.classes import softmax_choice
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.identity import identity_of, resolved
from medleyrec.recipes.plan import LOGITS, Plan
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.ranking import SCORES
from medleyrec.recipes.workbench import Workbench, new_accelerator, workbench
from medleyrec.schema import ID, InputError, Int64s
from medleyrec.training.calibration import Calibration, calibrate
from medleyrec.training.memory import LIMIT, Meter, Room, pile_of, returned, room_of
from medleyrec.training.sizes import told_bytes

FULL = 0.9
"""Share of what is available above which a plan warns; others may want some of it."""
GROUPS = 3
"""Blocks of validation events that are ranked: with short, middling and long histories."""
EVENT_BYTES = 80
"""Of a validation event while all are ranked: its user, history, target, place in the order, rank."""
SAFE = 1.05
"""Times what is needed at the least: two looks at one run differ by some megabytes."""
PROGRAM = "program, libraries, files"
REST, PILED = "steps: activations and temporary tables", "freed, not yet returned to the system"


def run_plan(experiment: Experiment) -> Plan:
    """Of the run that `run_train` would make, with the model's own notes; nothing is written.

    Raises InputError where it cannot fit `train.memory_limit`.
    """
    split = make_split(open_dataset(experiment.project), experiment.split)
    experiment = resolved(experiment)
    record = identity_of(experiment, split, refit=False)
    check_room(experiment, split)
    bench = workbench(experiment, split, record, refit=False)
    found = plan_of(bench)
    return replace(found, notes=(*bench.model.notes, *found.notes))


def check_room(experiment: Experiment, split: Split) -> None:
    """Before anything is loaded: raises InputError where the ids and what learns them are more than the room alone."""
    settings, room = experiment.model.settings, room_of(experiment.train.memory_limit)
    if ID not in settings.get("items", ()) or experiment.train.device == "cuda" or torch.cuda.is_available():
        return
    width, items = int(settings["width"]), split.dataset.num_items
    # weights, gradients and the two moments of Adam; row by row there are the weights and one number
    numbers = width + 2 if softmax_choice(experiment, split, refit=False).rowwise else 4 * width
    if 4 * items * numbers > room.size:
        raise InputError(
            f"to learn the ids of {items - 1:,} items at width {width} takes {told_bytes(4 * items * numbers)}, and "
            f"{_told(room)}; {_cure(room)}"
        )


def plan_of(bench: Workbench, *, meter: Meter | None = None, room: Room | None = None) -> Plan:
    """Weights and random numbers are left as they were. Raises InputError where training cannot fit the room.

    room: what `train.memory_limit` says by default.
    """
    if not bench.refit:
        _ = bench.validation_events  # a sentence where there are none, before any work
    config, device = bench.experiment.train, bench.accelerator.device
    returned()
    meter, room = meter or Meter(device), room or room_of(config.memory_limit, device)
    chunk, loaded = bench.chunk(), meter.so_far()
    found = _steps(bench, chunk, room, meter)
    if not found.fits:
        raise InputError(_refused(bench, _memory(bench, found, judged=0, loaded=0), room, found))
    seconds, judged = (None, 0) if bench.refit else _validation(bench, meter)
    memory = _memory(bench, found, judged=judged, loaded=loaded)
    if room.source == LIMIT and sum(memory.values()) > room.size:
        raise InputError(_refused(bench, memory, room, found))
    return Plan(
        label=bench.label,
        device=str(device),
        threads=torch.get_num_threads(),
        parameters=bench.parameters,
        memory=memory,
        limit_bytes=room.size,
        limit_source=room.source,
        steps=found.steps,
        epoch_seconds=found.seconds,
        validation_seconds=seconds,
        epochs=config.epochs,
        softmax=str(bench.softmax) if bench.softmax.sampled else "",
        softmax_chunk=found.chunk,
        step_positions=found.step_positions,
        parts=found.parts,
        notes=_notes(bench, found, room, chunk=chunk, peak=sum(memory.values())),
    )


def _steps(bench: Workbench, chunk: int, room: Room, meter: Meter) -> Calibration:
    config = bench.experiment.train.model_copy(update={"learning_rate": 0.0})
    least, now = _least(bench), meter.now()
    if now + least > room.size:
        raise InputError(
            f"{bench.label} takes {told_bytes(now)} before its first step and {told_bytes(least)} of gradients and "
            f"moments in it, and {_told(room)}; {_cure(room)}{_sampling(bench)}"
        )
    accelerator = new_accelerator(config)
    trainer = bench.trainer(Path(), config, chunk=chunk, accelerator=accelerator)
    try:
        share = 0.0 if bench.on_gpu else pile_of(config.memory_limit)
        return calibrate(trainer, replace(room, size=int(room.size / (1 + share))), meter)
    finally:
        accelerator.free_memory()
        del trainer
        gc.collect()


def _least(bench: Workbench) -> int:
    """Bytes of gradients and of the two moments of Adam; ids that learn row by row have none of their own size, but
    the rows of drawn classes have gradients."""
    ids = bench.model.rows.ids
    own = None if ids is None or not bench.softmax.rowwise else ids.weight
    drawn = 2 * 4 * bench.softmax.negatives * int(bench.experiment.model.settings["width"])
    return drawn + sum(3 * p.nbytes for p in bench.model.parameters() if p is not own)


def _validation(bench: Workbench, meter: Meter) -> tuple[float, int]:
    """Seconds of one validation, and the most memory in it."""
    events, model = bench.validation_events, bench.model
    took: list[tuple[int, float]] = []

    def judge(rows: Int64s) -> None:
        started = time.perf_counter()
        bench.ranks(events.take(rows))
        took.append((len(rows), time.perf_counter() - started))

    first, groups = _groups(bench)
    model.eval()
    with torch.random.fork_rng():
        peak = max(meter.peak(partial(judge, rows)) for rows in (first, first, *groups))
    model.train()
    (_, start), *blocks = took[1:]  # the first one pays for what is made once
    done = sum(n for n, _ in blocks)
    if done == len(events):
        return sum(s for _, s in blocks) - start * (len(blocks) - 1), peak
    per_event = max(0.0, sum(s - start for _, s in blocks)) / done
    return start + per_event * len(events), peak + EVENT_BYTES * (len(events) - done)


def _groups(bench: Workbench) -> tuple[Int64s, list[Int64s]]:
    """One event, and some blocks of events by the length of their histories; all events where they are few."""
    events, num_items = bench.validation_events, bench.split.dataset.num_items
    lengths = np.minimum(events.history_ends - events.history_starts, bench.model.max_length)
    rising, size = np.argsort(lengths, kind="stable"), max(16, min(1024, SCORES // num_items))
    if len(rising) <= GROUPS * size:
        return rising[:1], [rising]
    middles = [len(rising) * (2 * n + 1) // (2 * GROUPS) for n in range(GROUPS)]
    return rising[:1], [rising[middle - size // 2 :][:size] for middle in middles]


def _memory(bench: Workbench, found: Calibration, *, judged: int, loaded: int) -> dict[str, int]:
    """Parts of the highest point of the run, in bytes."""
    model = bench.model
    parameters = sum(p.nbytes for p in model.parameters())
    held = {
        "log": sum(t.nbytes for t in vars(bench.device_log).values() if isinstance(t, torch.Tensor)),
        "item features": sum(b.nbytes for b in model.buffers()),
        "parameters": parameters,
    }
    other = {"gradients": parameters, "optimiser": found.optimizer, LOGITS: found.logits}
    program = max(0, found.base - sum(held.values()))
    memory = {name: size for name, size in {PROGRAM: program, **held, **other}.items() if size}
    memory[REST] = max(0, found.peak - sum(memory.values()))
    if not bench.on_gpu:
        memory[PILED] = round(pile_of(bench.experiment.train.memory_limit) * sum(memory.values()))
    last = found.after + parameters  # the best weights are read again at the end
    beyond = {"validation": judged, "loading": loaded, "reading the best weights": last}
    name, most = max(beyond.items(), key=lambda item: item[1])
    if most > sum(memory.values()):
        memory[f"{name}, beyond all that"] = most - sum(memory.values())
    return memory


def _notes(bench: Workbench, found: Calibration, room: Room, *, chunk: int, peak: int) -> tuple[str, ...]:
    notes, config = [], bench.experiment.train
    if found.step_positions != config.step_positions:
        notes.append(
            f"Steps are taken in parts of at most {found.step_positions:,} positions, as {_told(room)}; their "
            "gradients add up to the step's, dropout being drawn part by part."
        )
    if found.chunk != chunk:
        notes.append(f"The softmax takes {found.chunk:,} targets at a time, not {chunk:,}, as {_told(room)}.")
    if room.source != LIMIT and peak > FULL * room.size:
        notes.append(
            f"Caution: {told_bytes(peak)} are expected, and {_told(room)}. {_whole(found)}To be safe, {_cure(room)}"
            f"{_sampling(bench)}."
        )
    return tuple(notes)


def _refused(bench: Workbench, memory: Mapping[str, int], room: Room, found: Calibration) -> str:
    parts = ", ".join(f"{name} {told_bytes(size)}" for name, size in memory.items() if size)
    return (
        f"{bench.label} needs {told_bytes(sum(memory.values()))} at the least ({parts}), and {_told(room)}. "
        f"{_whole(found)}To go on, {_cure(room, memory)}{'' if _hopeless(room, memory) else _sampling(bench)}"
    )


def _told(room: Room) -> str:
    named = room.source == LIMIT
    return f"{LIMIT} is {told_bytes(room.size)}" if named else f"{told_bytes(room.size)} are {room.source}"


def _hopeless(room: Room, memory: Mapping[str, int]) -> bool:
    return memory.get(PROGRAM, 0) >= room.size


def _whole(found: Calibration) -> str:
    if not found.own_losses:
        return ""
    return f"Its steps stay whole: {', '.join(found.own_losses)} look at all rows of a step. "


def _cure(room: Room, memory: Mapping[str, int] | None = None) -> str:
    """memory: what a run needs at the least, by its parts."""
    first = f"raise {LIMIT}" if room.source == LIMIT else "free some memory"
    if memory and room.source == LIMIT:
        first += f" to {told_bytes(SAFE * sum(memory.values()))}"
    if memory and _hopeless(room, memory):
        return f"{first}; no setting can help, as the program takes more by itself"
    return (
        f"{first}, or lower model.settings.width, model.settings.max_length or train.targets_per_step, or keep fewer "
        "items (prepare.min_item_events)"
    )


def _sampling(bench: Workbench) -> str:
    """What would save the logits and the table's gradient, but is another loss: only ever proposed."""
    cls, settings = type(bench.model), bench.experiment.model.settings
    refused = cls.unsampled(parse(cls.Settings, settings, where=f"model {bench.model.name}"))
    if bench.softmax.sampled or bench.model.objective != "softmax" or refused:
        return ""
    return ', or set train.softmax = "sampled", which estimates the loss from some of the items'
