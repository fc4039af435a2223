"""Our model beside the numbers of a published one: weights, inputs and outputs from a file, ours run on the same.

The file (.pt read with weights_only, or .safetensors made by `numbers.save_numbers`) holds `config`, `state_dict`,
`time_moe_expert` and `cases`; a case holds inputs, scores, losses, states, gradients and the weights after one step of
Adam. A deviation is max|ours - theirs| / max|theirs| per tensor, the largest of a quantity's tensors is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medleyrec.models.hm4sr import HM4SR
from medleyrec.models.published import EXPERTS, UNUSED, Place, build_published, places, sizes, theirs_of
from medleyrec.recipes.numbers import read_numbers
from medleyrec.schema import PAD, Batch, InputError
from medleyrec.training.module import TrainingModule

EXACT, CLOSE = 1e-10, 1e-5  # what float64 and float32 have to meet
ZERO = 1e-6  # gradients that are zero by analysis
STRONG = 1e-5  # gradients above this decide the direction of Adam's first step beyond doubt
LOSSES = {"ce": "ce", "idcl": "idcl", "cp": "cp", "pcl": "pcl", "loss": "total"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One quantity of one case in one precision."""

    case: str
    precision: str
    quantity: str
    deviation: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.deviation <= self.limit  # not so where the deviation is NaN

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "FAIL"
        return (
            f"{self.case:<12}{self.precision:<9}{self.quantity:<44}{self.deviation:>10.1e}{self.limit:>9.0e}  {verdict}"
        )


@dataclass(frozen=True, slots=True)
class Parity:
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def __str__(self) -> str:
        head = f"{'case':<12}{'':<9}{'quantity':<44}{'deviation':>10}{'limit':>9}"
        failed = sum(not check.passed for check in self.checks)
        verdict = f"{failed} of {len(self.checks)} quantities FAIL" if failed else f"all {len(self.checks)} pass"
        return "\n".join([head, *map(str, self.checks), verdict])


def run_verify(path: Path) -> Parity:
    """Every quantity that the file holds, in float64 and float32; raises InputError where the file is no such file."""
    numbers = read_numbers(path)
    for key in ("config", "state_dict", EXPERTS, "cases"):
        if key not in numbers:
            raise InputError(f"{path} has no {key!r}; give a file with published weights, inputs and outputs")
    checks: list[Check] = []
    for name, case in numbers["cases"].items():
        try:
            found = [*_double(numbers, case, path), *_single(numbers, case, path)]
        except KeyError as error:
            raise InputError(f"{path}: {error} is missing for case {name!r}; write the file again with it") from None
        checks += [replace(check, case=name) for check in found]
    return Parity(tuple(checks))


def _double(numbers: Mapping[str, Any], case: Mapping[str, Any], path: Path) -> list[Check]:
    if "eval64.full_sort_predict" not in case:
        return []
    model = _model(numbers, path).double()
    checks = [_check("scores", _scores(model, case), case["eval64.full_sort_predict"], EXACT)]
    losses = _losses(model, case)
    checks += [_check(f"loss {n}", losses[k], case[f"eval64.loss_{n}"], EXACT) for k, n in LOSSES.items()]
    return [replace(check, precision="float64") for check in checks]


def _single(numbers: Mapping[str, Any], case: Mapping[str, Any], path: Path) -> list[Check]:
    model = _model(numbers, path)
    size = sizes(numbers["state_dict"], where=str(path))
    checks = _middle(model, case)
    _feed_phase(model, case)
    checks.append(_check("scores", _scores(model, case), case["eval.full_sort_predict"], CLOSE))
    checks += _states(model, case)
    assert model.temporal is not None
    model.temporal.experts.requires_grad_(True)  # no parameter as published, so the optimiser never sees its gradient
    losses = _losses(model, case)
    checks += [_check(f"loss {n}", losses[k], case[f"train.loss_{n}"], CLOSE) for k, n in LOSSES.items()]
    torch.autograd.backward(losses["loss"])
    lost = case["train.grad_time_moe_expert(unused by optimizer)"]
    checks.append(_check("gradient of the temporal experts", _gradient(model.temporal.experts), lost, CLOSE))
    checks += _gradients(model, case, places(size))
    checks += _adam(model, case, places(size), float(numbers["config"].get("learning_rate", 1e-3)))
    return checks


def _model(numbers: Mapping[str, Any], path: Path) -> HM4SR:
    config = numbers["config"]
    settings = {
        "heads": int(config["n_heads"]),
        "interval_scale": config["interval_scale"],
        "idcl_temperature": config["temperature"],
        "pcl_temperature": config["phcl_temperature"],
        "pcl": config["phcl_weight"],
        "placeholder_share": config["beta"],
        "dropout": 0.0,
        "pool": 1 << 20,
    }
    return build_published(numbers["state_dict"], numbers[EXPERTS], settings, where=str(path))


def _batch(case: Mapping[str, Any]) -> Batch:
    """One target per row, after its last event."""
    given = case["inputs"]
    items, lengths = given["item_id_list"], given["item_length"]
    last = torch.arange(items.shape[1]) == lengths[:, None] - 1
    targets = torch.where(last, given["item_id"][:, None], PAD)
    times = torch.where(items != PAD, given["timestamp_list"].long(), 0)
    return Batch(items, times, lengths, targets, given["user_id"], len(items))


def _scores(model: HM4SR, case: Mapping[str, Any]) -> Tensor:
    model.eval()
    with torch.inference_mode():
        table = model.rows.all()
        scores: Tensor = model.last_state(_batch(case), table) @ table.T
        return scores


def _losses(model: HM4SR, case: Mapping[str, Any]) -> dict[str, Tensor]:
    """Through the module that training uses; row 0 is a class, and placeholders stand where theirs do."""
    model.train()
    setattr(model, "replaced", lambda _: case["pcl_mask"])  # noqa: B010
    classes = torch.arange(model.rows.num_items)
    losses: dict[str, Tensor] = TrainingModule(model, classes=classes, chunk=64)(_batch(case))
    return losses


def _feed_phase(model: HM4SR, case: Mapping[str, Any]) -> None:
    """Use their phase where ours differs by rounding: at 1e8 radians the last bit of float32 is the whole cosine."""
    if model.time is None or "mid.absolute_cos_argument" not in case:
        return
    own = model.time.phase
    stored: Tensor = case["mid.absolute_cos_argument"]

    def fed(times: Tensor) -> Tensor:
        phase: Tensor = own(times)
        return phase + (stored - phase).detach()

    setattr(model.time, "phase", fed)  # noqa: B010


def _middle(model: HM4SR, case: Mapping[str, Any]) -> list[Check]:
    """The interval index and the phase as we compute them ourselves, at real events."""
    assert model.time is not None
    batch = _batch(case)
    real = batch.items != PAD
    with torch.no_grad():
        index, phase = model.time.interval(batch)[real], model.time.phase(batch.times)[real]
    wanted = {name: case[f"mid.{name}"][real] for name in ("interval_index", "absolute_cos_argument")}
    return [
        Check(**_KEYS, quantity="interval index", deviation=_most(index - wanted["interval_index"]), limit=0.0),
        _check("absolute phase, relative", phase, wanted["absolute_cos_argument"], CLOSE),
    ]


def _states(model: HM4SR, case: Mapping[str, Any]) -> list[Check]:
    """What the mixtures make of real events, and the last states, tower by tower."""
    batch = _batch(case)
    real = batch.items != PAD
    model.eval()
    with torch.no_grad():
        table = model.rows.all()
        mixed, tau = model.mixed(batch, table)
        last = model.last_state(batch, table).view(len(batch), 3, -1)
    assert tau is not None
    assert model.temporal is not None
    routes = model.temporal.routes(tau)
    checks = [
        _check("time embedding", tau[real], case["mid.time_embedding(interval|absolute)"][real], CLOSE),
        _check("time routes", routes[real], case["mid.time_route"][real], CLOSE),
    ]
    for m, name in enumerate(("item", "txt", "img")):
        theirs = case[f"mid.emb_after_moes.{name}"][real]
        checks.append(_check(f"after both mixtures, {name}", mixed[real][:, m], theirs, CLOSE))
        checks.append(_check(f"last state, {name}", last[:, m], case[f"mid.seq_vector.{name}"], CLOSE))
    return checks


def _gradients(model: HM4SR, case: Mapping[str, Any], where: list[Place]) -> list[Check]:
    """Of all trained weights; those of attention key biases are zero by analysis, a constant added to every logit."""
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    theirs = case["train.grad"]
    zero: list[float] = []
    rest: list[float] = []
    for place in where:
        if place.theirs in theirs:
            found = theirs_of(place, ours) if place.ours in ours else torch.full((1,), math.nan)
            is_zero = place.theirs.endswith("key.bias")
            (zero if is_zero else rest).append(_most(found) if is_zero else _relative(found, theirs[place.theirs]))
    lost = theirs.keys() - {place.theirs for place in where}
    return [
        Check(**_KEYS, quantity=f"gradients of {len(rest)} tensors", deviation=_worst(rest), limit=CLOSE),
        Check(**_KEYS, quantity=f"gradients of {len(zero)} key biases, zero", deviation=_worst(zero), limit=ZERO),
        Check(**_KEYS, quantity="gradients that we have no place for", deviation=float(len(lost)), limit=0.0),
    ]


def _gradient(tensor: Tensor) -> Tensor:
    return torch.full_like(tensor, math.nan) if tensor.grad is None else tensor.grad


def _adam(model: HM4SR, case: Mapping[str, Any], where: list[Place], rate: float) -> list[Check]:
    torch.optim.Adam(model.parameters(), lr=rate).step()
    ours, theirs, gradient = model.state_dict(), case["train.state_after_1_adam_step"], case["train.grad"]
    strong: list[float] = []
    weak: list[float] = []
    for place in where:
        if place.theirs in theirs and place.theirs in gradient:
            off = (theirs_of(place, ours) - theirs[place.theirs]).abs()
            is_strong = gradient[place.theirs].abs() > STRONG
            strong.append(_most(off[is_strong]))
            weak.append(_most(off[~is_strong]))
    lost = theirs.keys() - {place.theirs for place in where} - set(UNUSED)
    return [
        Check(**_KEYS, quantity="after one step of Adam, absolute", deviation=_worst(strong), limit=0.01 * rate),
        Check(**_KEYS, quantity="the same where gradients are weak", deviation=_worst(weak), limit=2 * rate),
        Check(**_KEYS, quantity="stepped weights that we have no place for", deviation=float(len(lost)), limit=0.0),
    ]


_KEYS: dict[str, Any] = {"case": "", "precision": "float32"}


def _check(quantity: str, ours: Tensor, theirs: Tensor, limit: float) -> Check:
    return Check(**_KEYS, quantity=quantity, deviation=_relative(ours, theirs), limit=limit)


def _relative(ours: Tensor, theirs: Tensor) -> float:
    """max|ours - theirs| / max|theirs|; NaN where the shapes differ."""
    if ours.shape != theirs.shape:
        return math.nan
    return _most(ours.detach() - theirs) / max(_most(theirs), torch.finfo(torch.float64).tiny)


def _most(x: Tensor) -> float:
    """max|x|; 0 of nothing."""
    return float(x.detach().abs().max()) if x.numel() else 0.0


def _worst(values: list[float]) -> float:
    """The largest; NaN where one is, and where there is none."""
    return math.nan if not values or any(math.isnan(v) for v in values) else max(values)
