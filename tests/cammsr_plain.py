"""CAMMSR written out once more, as plainly as the equations stand: one history, one event, one expert, one class at a
time, in float64, with nothing of the package. What it computes is what the fast model has to compute.

Letters:  H width of a part   K experts   M parts of an item, numbered in the order of `parts`
A history is a list of item rows, first event first. Weights go by the names of the model's parameters; what is stacked
there is taken apart here by index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Plain:
    weights: dict[str, Tensor]
    parts: tuple[str, ...]
    vectors: dict[str, Tensor]
    """Raw content of all items by part, (V, F)."""
    present: dict[str, list[bool]]
    labels: list[list[int]]
    """Category numbers of every item."""
    categories: int = 0
    heads: int = 2
    depth: int = 1
    experts: int = 4
    scale: float = 1.0
    dyt: bool = True
    router: str = "attentive"
    looks_ahead: bool = False
    gates: str = "raw"
    guidance: bool = True
    sign: int = 1
    reduction: str = "sum"
    multi_label: str = "multi_hot"
    temperature: float = 1.0
    same_target_negatives: bool = True
    cache: dict[int, list[Tensor]] = field(default_factory=dict)

    def item(self, v: int) -> list[Tensor]:
        """x_m of item v, one vector per part: its id vector and its projected contents."""
        if v not in self.cache:
            self.cache[v] = [self.item_part(v, name) for name in self.parts]
        return self.cache[v]

    def item_part(self, v: int, name: str) -> Tensor:
        if name == "id":
            return self.weights["rows.ids.weight"][v]
        if not self.present[name][v]:
            return self.weights[f"rows.content.{name}.missing"]
        f = self.vectors[name][v]
        f = self.scale * f / math.sqrt(sum(float(a) ** 2 for a in f))
        return (
            self.weights[f"rows.content.{name}.project.weight"] @ f + self.weights[f"rows.content.{name}.project.bias"]
        )

    def embedded(self, history: list[int]) -> list[list[Tensor]]:
        """Eq. 4: e[t][m] = x_m + P_t."""
        return [[x + self.weights["positions.weight"][t] for x in self.item(v)] for t, v in enumerate(history)]

    def expert(self, m: int, k: int, c: Tensor) -> Tensor:
        """Eq. 5."""
        w = self.weights
        hidden = gelu(w["experts.up"][m, k] @ c + w["experts.up_bias"][m, k])
        return w["experts.down"][m, k] @ hidden + w["experts.down_bias"][m, k]

    def gate(self, m: int, e: list[list[Tensor]], t: int) -> Tensor:
        """Eqs. 6-7, or a linear softmax gate."""
        if self.router == "linear":
            return softmax(self.weights["router.weight"][m] @ e[t][m] + self.weights["router.bias"][m])
        query, key, value = self.weights["router.weight"][m]
        seen = range(len(e)) if self.looks_ahead else range(t + 1)
        q = query @ e[t][m]
        scores = [torch.dot(q, key @ e[s][m]) / math.sqrt(self.experts) for s in seen]
        share = softmax(torch.stack(scores))
        gates = sum(share[i] * (value @ e[s][m]) for i, s in enumerate(seen))
        return softmax(gates) if self.gates == "softmax" else gates

    def guess(self, m: int, e: Tensor) -> list[Tensor]:
        """Eq. 8: the probability of each class."""
        w, b = self.weights["guidance.weight"][m], self.weights["guidance.bias"][m]
        return [1 / (1 + torch.exp(-(torch.dot(w[c], e) + b[c]))) for c in range(self.categories)]

    def off(self, m: int, e: Tensor, v: int) -> list[Tensor]:
        """Eq. 9, its term of each class."""
        guessed = self.guess(m, e)
        return [-torch.log(guessed[c] if c in self.labels[v] else 1 - guessed[c]) for c in range(self.categories)]

    def distance(self, m: int, e: Tensor, v: int) -> Tensor:
        terms = self.off(m, e, v)
        if self.multi_label == "max":
            worst = terms[self.labels[v][0]]
            for c in self.labels[v]:
                worst = terms[c] if terms[c] > worst else worst
            return worst
        total = sum(terms)
        return total / self.categories if self.reduction == "mean" else total

    def part_weights(self, e: list[Tensor], v: int) -> list[Tensor | float]:
        """Eq. 10."""
        if not self.guidance or not self.categories or not self.labels[v] or len(self.parts) == 1:
            return [1 / len(self.parts)] * len(self.parts)
        return list(softmax(torch.stack([self.sign * self.distance(m, e[m], v) for m in range(len(self.parts))])))

    def fused(self, history: list[int]) -> list[list[Tensor]]:
        """Eq. 11: ebar[t][m]."""
        e = self.embedded(history)
        out = []
        for t, v in enumerate(history):
            c = torch.cat(e[t])
            weights = self.part_weights(e[t], v)
            out.append([])
            for m in range(len(self.parts)):
                gates = self.gate(m, e, t)
                answer = sum(gates[k] * self.expert(m, k, c) for k in range(self.experts))
                out[t].append(e[t][m] + weights[m] * answer)
        return out

    def encoder(self, m: int, sequence: list[Tensor]) -> Tensor:
        """Eqs. 12-14: the last state of part m's encoder."""
        y = [self.front(m, x) for x in sequence]
        for block in range(self.depth):
            y = self.block(m, f"towers.blocks.{block}.", y)
        return y[-1]

    def front(self, m: int, x: Tensor) -> Tensor:
        if self.dyt:
            return torch.tanh(self.weights["towers.norm.alpha"][m] * x)
        return self.norm(m, "towers.norm.", x)

    def norm(self, m: int, name: str, x: Tensor) -> Tensor:
        mean = sum(x) / len(x)
        variance = sum((a - mean) ** 2 for a in x) / len(x)
        return (x - mean) / torch.sqrt(variance + 1e-12) * self.weights[name + "weight"][m] + self.weights[
            name + "bias"
        ][m]

    def linear(self, m: int, name: str, x: Tensor) -> Tensor:
        return self.weights[name + "weight"][m] @ x + self.weights[name + "bias"][m]

    def block(self, m: int, name: str, x: list[Tensor]) -> list[Tensor]:
        """Causal self-attention, then a feed-forward; each is added to its input, then normalised."""
        out = []
        for t in range(len(x)):
            heard = torch.cat([self.heard(m, name, x, t, h) for h in range(self.heads)])
            y = self.norm(m, name + "norm1.", x[t] + self.linear(m, name + "out.", heard))
            fed = self.linear(m, name + "down.", gelu(self.linear(m, name + "up.", y)))
            out.append(self.norm(m, name + "norm2.", y + fed))
        return out

    def heard(self, m: int, name: str, x: list[Tensor], t: int, h: int) -> Tensor:
        """What head h at event t takes from the events up to t."""
        size = len(x[0]) // self.heads
        own = slice(h * size, (h + 1) * size)
        qkv = [[part[own] for part in self.linear(m, name + "qkv.", a).split(len(a))] for a in x[: t + 1]]
        scores = [torch.dot(qkv[t][0], key) / math.sqrt(size) for _, key, _ in qkv]
        share = softmax(torch.stack(scores))
        return sum(share[s] * value for s, (_, _, value) in enumerate(qkv))

    def states(self, history: list[int]) -> list[Tensor]:
        """Z_m after the whole history, one vector per part."""
        ebar = self.fused(history)
        return [self.encoder(m, [row[m] for row in ebar]) for m in range(len(self.parts))]

    def scores(self, history: list[int], items: int) -> Tensor:
        """Eq. 15, of items 1 .. items - 1."""
        z = self.states(history)
        return torch.stack(
            [sum(torch.dot(z[m], self.item(v)[m]) for m in range(len(self.parts))) for v in range(1, items)]
        )

    def cross_entropy(self, scores: Tensor, target: int) -> Tensor:
        """Eq. 19."""
        return -torch.log(softmax(scores)[target - 1])

    def swapped(self, history: list[int], pair: tuple[int, int], change: list[bool]) -> tuple[Tensor, Tensor]:
        """Eqs. 16-17: the last states of both parts, having exchanged the events that `change`."""
        one, other = pair
        ebar = self.fused(history)
        mine = [row[other] if c else row[one] for row, c in zip(ebar, change, strict=True)]
        theirs = [row[one] if c else row[other] for row, c in zip(ebar, change, strict=True)]
        return self.encoder(one, mine), self.encoder(other, theirs)

    def contrast(self, states: list[tuple[Tensor, Tensor]], targets: list[int]) -> Tensor:
        """Eq. 18, mean over the examples."""
        losses = []
        for i in range(len(states)):
            c = [cosine(states[i][0], states[j][1]) / self.temperature for j in range(len(states))]
            kept = [
                torch.exp(c[j])
                for j in range(len(states))
                if j == i or self.same_target_negatives or targets[j] != targets[i]
            ]
            losses.append(-torch.log(torch.exp(c[i]) / sum(kept)))
        return sum(losses) / len(losses)

    def category_loss(self, rows: list[list[int]]) -> Tensor:
        """Mean of Eq. 9's terms over the classes, the parts and the events of `rows` whose item has a label."""
        found = []
        for history in rows:
            for e, v in zip(self.embedded(history), history, strict=True):
                if self.labels[v]:
                    for m in range(len(self.parts)):
                        found += self.off(m, e[m], v)
        return sum(found) / len(found)


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def softmax(x: Tensor) -> Tensor:
    return torch.exp(x) / torch.exp(x).sum()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a, b) / (torch.sqrt(torch.dot(a, a)) * torch.sqrt(torch.dot(b, b)))
