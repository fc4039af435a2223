"""The three backbones, transcribed from their equations: loops over rows, positions, heads and gates.

Letters:  N real positions of a row   D width   H heads
Each function takes a dict of weights `w` (the backbone's own names), one row x (N, D) without padding, and returns
its states (N, D). Nothing of the package is used; gradients come from torch's plain operations.
"""

import math

import torch


def norm(x, weight, bias, epsilon):
    mean = x.sum() / len(x)
    variance = ((x - mean) ** 2).sum() / len(x)
    return (x - mean) / torch.sqrt(variance + epsilon) * weight + bias


def linear(x, weight, bias):
    return torch.stack([(weight[o] * x).sum() for o in range(len(weight))]) + bias


def gelu(x):
    """x times the standard normal distribution function."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(w, at, xs, heads, *, causal):
    """Of each position over the positions it may see."""
    width = len(xs[0])
    size = width // heads
    both = [linear(x, w[f"{at}qkv.weight"], w[f"{at}qkv.bias"]) for x in xs]
    found = []
    for i in range(len(xs)):
        seen = range(i + 1) if causal else range(len(xs))
        pieces = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            query = both[i][:width][part]
            weights = [torch.exp((query * both[j][width : 2 * width][part]).sum() / math.sqrt(size)) for j in seen]
            total = sum(weights)
            pieces.append(sum(a / total * both[j][2 * width :][part] for a, j in zip(weights, seen, strict=True)))
        found.append(linear(torch.cat(pieces), w[f"{at}out.weight"], w[f"{at}out.bias"]))
    return found


def feed(w, at, x):
    return linear(
        gelu(linear(x, w[f"{at}mlp.0.weight"], w[f"{at}mlp.0.bias"])), w[f"{at}mlp.2.weight"], w[f"{at}mlp.2.bias"]
    )


def sasrec(w, x, *, depth, heads):
    """x + Attention(LN(x)), then x + FFN(LN(x)), in each block; a last LN. A position sees itself and the past."""

    def ln(at, y):
        return norm(y, w[f"{at}.weight"], w[f"{at}.bias"], 1e-5)

    xs = [x[t] + w["positions.weight"][t] for t in range(len(x))]
    for block in range(depth):
        at = f"blocks.{block}."
        told = attention(w, at, [ln(f"{at}norm1", y) for y in xs], heads, causal=True)
        xs = [y + a for y, a in zip(xs, told, strict=True)]
        xs = [y + feed(w, at, ln(f"{at}norm2", y)) for y in xs]
    return torch.stack([ln("norm", y) for y in xs])


def bert4rec(w, x, *, depth, heads):
    """LN(x + Attention(x)), then LN(x + FFN(x)), in each block; LN(GELU(W x + b)) at the end. All see all.

    Position 0 is the last of the row.
    """

    def ln(at, y):
        return norm(y, w[f"{at}.weight"], w[f"{at}.bias"], 1e-12)

    xs = [ln("norm", x[t] + w["positions.weight"][len(x) - 1 - t]) for t in range(len(x))]
    for block in range(depth):
        at = f"blocks.{block}."
        told = attention(w, at, xs, heads, causal=False)
        xs = [ln(f"{at}norm1", y + a) for y, a in zip(xs, told, strict=True)]
        xs = [ln(f"{at}norm2", y + feed(w, at, y)) for y in xs]
    return torch.stack([ln("last_norm", gelu(linear(y, w["project.weight"], w["project.bias"]))) for y in xs])


def gru4rec(w, x, *, depth, heads=1):
    """Per layer, from h = 0:  r, z = sigmoid(W x + U h), n = tanh(W x + b + r (U h + c)), h = (1 - z) n + z h."""
    xs = list(x)
    for layer in range(depth):
        into, over = w[f"gru.weight_ih_l{layer}"], w[f"gru.weight_hh_l{layer}"]
        b, c = w[f"gru.bias_ih_l{layer}"], w[f"gru.bias_hh_l{layer}"]
        width = len(into) // 3
        reset, update, new = (slice(g * width, (g + 1) * width) for g in range(3))
        h, found = torch.zeros(width, dtype=x.dtype), []
        for y in xs:
            r = 1 / (1 + torch.exp(-linear(y, into[reset], b[reset]) - linear(h, over[reset], c[reset])))
            z = 1 / (1 + torch.exp(-linear(y, into[update], b[update]) - linear(h, over[update], c[update])))
            n = torch.tanh(linear(y, into[new], b[new]) + r * linear(h, over[new], c[new]))
            h = (1 - z) * n + z * h
            found.append(h)
        xs = found
    return torch.stack([linear(h, w["out.weight"], w["out.bias"]) for h in xs])


PLAIN = {"sasrec": sasrec, "gru4rec": gru4rec, "bert4rec": bert4rec}


def softmax_loss(states, rows, targets):
    """Summed over pairs of a state and its target: the log of the sum over all rows, less the target's score."""
    total = 0.0
    for state, target in zip(states, targets, strict=True):
        scores = torch.stack([(state * row).sum() for row in rows])
        total = total + torch.log(torch.exp(scores).sum()) - scores[target]
    return total
