"""DMESR written out once more, as plainly as its equations stand: one history, one event, one view, one head at a time,
in float64, with nothing of the package. What it computes is what the fast model has to compute.

Letters:  H width of a side   V items
A history is a list of item rows, first event first. Weights go by the names of the model's parameters. The backbone is
given: it maps the vectors of one sequence to its states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

COARSE = ("described_image", "described_text", "described_both", "image")
FINE = ("attributes", "text", "field_title", "field_brand")


@dataclass(kw_only=True)
class Plain:
    weights: dict[str, Tensor]
    items: tuple[str, ...]
    vectors: dict[str, Tensor]
    """Raw content of all items by view, (V, F)."""
    present: dict[str, list[bool]]
    backbone: Callable[[list[Tensor]], list[Tensor]]
    width: int
    heads: int = 2
    """Of the attention between the views."""
    linear: bool = False
    fusion: str = "sequence"
    norm: bool = True
    residual: bool = True
    pairs: list[tuple[str, str]]
    temperature: float = 0.1
    both_ways: bool = False

    # an item

    def scaled(self, name: str, v: int) -> Tensor:
        f = self.vectors[name][v]
        return f / math.sqrt(sum(float(a) ** 2 for a in f))

    def adapter(self, name: str, v: int) -> Tensor:
        """h_m = W2 (W1 z_m + b1) + b2."""
        hidden = self.line(f"rows.content.{name}.project.", self.scaled(name, v))
        return self.line(f"rows.content.{name}.out.", hidden)

    def line(self, name: str, x: Tensor) -> Tensor:
        return self.weights[name + "weight"] @ x + self.weights[name + "bias"]

    def view(self, name: str, v: int) -> Tensor:
        return self.adapter(name, v) if self.present[name][v] else self.weights[f"rows.content.{name}.missing"]

    def counted(self, names: list[str], v: int) -> list[str]:
        """The views of `names` that item v has; all, as their missing vectors, where it has none."""
        there = [name for name in names if self.present[name][v]]
        return there or names

    def mean(self, names: list[str], v: int) -> Tensor:
        counted = self.counted(names, v)
        return sum(self.view(name, v) for name in counted) / len(counted)

    def coarse(self, v: int) -> Tensor:
        names = [name for name in self.items if name in COARSE]
        if self.linear and len(names) > 1:
            return self.line("rows.linear.", torch.cat([self.view(name, v) for name in names]))
        return self.mean(names, v)

    def fine(self, v: int) -> Tensor:
        names = [name for name in self.items if name in FINE]
        return self.asked(names, v) if self.fusion == "item" else self.mean(names, v)

    def asked(self, names: list[str], v: int) -> Tensor:
        """What the coarse vector of item v takes from its fine views."""
        q = self.line("rows.asked.query.", self.coarse(v))
        keyed = [self.line("rows.asked.keyed.", self.view(name, v)) for name in self.counted(names, v)]
        return self.line("rows.asked.out.", self.attended(q, keyed))

    def item(self, v: int) -> list[Tensor]:
        """[c_v; x_v; id_v], as far as they are there."""
        sides = []
        if any(name in COARSE for name in self.items):
            sides.append(self.coarse(v))
        if any(name in FINE for name in self.items):
            sides.append(self.fine(v))
        if "id" in self.items:
            sides.append(self.weights["rows.ids.weight"][v])
        return sides

    # attention

    def attended(self, q: Tensor, keyed: list[Tensor]) -> Tensor:
        """Softmax attention of one query over keys and values side by side, head by head."""
        size, found = len(q) // self.heads, []
        for h in range(self.heads):
            own, far = slice(h * size, (h + 1) * size), slice(len(q) + h * size, len(q) + (h + 1) * size)
            scores = torch.stack([torch.dot(q[own], kv[own]) / math.sqrt(size) for kv in keyed])
            share = torch.exp(scores) / torch.exp(scores).sum()
            found.append(sum(share[s] * kv[far] for s, kv in enumerate(keyed)))
        return torch.cat(found)

    def cross(self, name: str, asking: list[Tensor], asked: list[Tensor]) -> list[Tensor]:
        out = []
        for t in range(len(asking)):
            seen = asked if self.both_ways else asked[: t + 1]
            keyed = [self.line(name + "keyed.", a) for a in seen]
            answer = self.line(name + "out.", self.attended(self.line(name + "query.", asking[t]), keyed))
            out.append(answer + asking[t] if self.residual else answer)
        return out

    # a history

    def sequences(self, sides: list[list[Tensor]]) -> list[list[Tensor]]:
        """The sides of a history, of which the coarse and the fine one ask each other."""
        crossed = any(name in COARSE for name in self.items) and any(name in FINE for name in self.items)
        if not crossed or self.fusion != "sequence":
            return sides
        c, f = self.placed("coarse", sides[0]), self.placed("fine", sides[1])
        return [self.cross("fusion.to_coarse.", f, c), self.cross("fusion.to_fine.", c, f), *sides[2:]]

    def placed(self, side: str, sequence: list[Tensor]) -> list[Tensor]:
        """With its positions, each event then brought to mean 0 and deviation 1, stretched and moved.

        Looked at both ways, the last event has position 0.
        """
        table, last = self.weights[f"fusion.{side}_positions.weight"], len(sequence) - 1
        x = [a + table[last - t if self.both_ways else t] for t, a in enumerate(sequence)]
        return [self.normed(f"fusion.{side}_norm.", a) for a in x] if self.norm else x

    def normed(self, name: str, x: Tensor) -> Tensor:
        mean = sum(x) / len(x)
        variance = sum((a - mean) ** 2 for a in x) / len(x)
        return (x - mean) / torch.sqrt(variance + 1e-5) * self.weights[name + "weight"] + self.weights[name + "bias"]

    def states(self, history: list[int], masked: tuple[int, ...] = ()) -> list[Tensor]:
        """u of every event; events `masked` are the mask vector in place of their item."""
        rows = [self.item(v) for v in history]
        if masked:
            mask = self.weights["mask_vector"].split(self.width)
            rows = [list(mask) if t in masked else row for t, row in enumerate(rows)]
        sides = self.sequences([list(side) for side in zip(*rows, strict=True)])
        states = [self.backbone(side) for side in sides]
        return [torch.cat(parts) for parts in zip(*states, strict=True)]

    def scores(self, state: Tensor, items: int) -> Tensor:
        """Of items 1 .. items - 1."""
        return torch.stack([torch.dot(state, torch.cat(self.item(v))) for v in range(1, items)])

    def cross_entropy(self, scores: Tensor, target: int) -> Tensor:
        return -torch.log(torch.exp(scores[target - 1]) / sum(torch.exp(score) for score in scores))

    # alignment

    def align(self, items: list[int]) -> Tensor:
        """Mean over the pairs of views; `items` of a batch, padding and repetitions among them."""
        real = sorted({v for v in items if v})
        return sum(self.pair(a, b, real) for a, b in self.pairs) / len(self.pairs)

    def pair(self, a: str, b: str, items: list[int]) -> Tensor:
        both = [v for v in items if self.present[a][v] and self.present[b][v]]
        one, other = [self.adapter(a, v) for v in both], [self.adapter(b, v) for v in both]
        return (self.nce(one, other) + self.nce(other, one)) / 2

    def nce(self, one: list[Tensor], other: list[Tensor]) -> Tensor:
        losses = []
        for i, x in enumerate(one):
            near = [torch.exp(cosine(x, y) / self.temperature) for y in other]
            losses.append(-torch.log(near[i] / sum(near)))
        return sum(losses) / len(losses)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a, b) / (torch.sqrt(torch.dot(a, a)) * torch.sqrt(torch.dot(b, b)))
