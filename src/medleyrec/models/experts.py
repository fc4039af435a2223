"""The mixtures of experts of HM4SR and CAMMSR.

Letters:  B rows   L positions   M parts of an item (id, text, image)   H width of a part   D = M H   K experts

Interactive MoE, before the sequence is looked at: K dense experts read the whole item x = [x_id; x_text; x_image] and
answer for every part; a gate per part, which reads that part alone, mixes their answers:

    g_m = softmax_k(G_m x_m + d_m),   z_m = x_m + w_m * sum_k g_m[k] * y_k[m],   y_k = A_k x + c_k

Temporal MoE: an expert is a vector E_k over all parts, and time alone (tau) decides their mixture:

    r = softmax(G tau + d),   u = z * (r E)

Part experts of CAMMSR (Eq. 5): every part has K experts of its own with one hidden layer; all read the whole item x,
and gates from elsewhere (routers.py) mix them:

    y_m = sum_k g_m[k] * (GELU(x A_mk + a_mk) C_mk + c_mk)

No noise, no choice of the best few, no balance loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.initial import xavier

EXPERT_SCALE = 0.1  # standard deviation of a fresh temporal expert


class InteractiveExperts(nn.Module):
    def __init__(self, parts: int, width: int, *, experts: int, start: tuple[float, ...]) -> None:
        """start: initial weight w_m of the experts' answer, one per part."""
        super().__init__()
        whole = parts * width
        self.experts = _uniform(experts, whole, whole, fan_in=whole)
        self.expert_bias = _uniform(experts, whole, fan_in=whole)
        self.gates = _uniform(parts, experts, width, fan_in=width)
        self.gate_bias = _uniform(parts, experts, fan_in=width)
        self.weight = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, M, H) -> (B, L, M, H). One expert at a time: a tensor of all answers is never formed."""
        whole = x.flatten(-2)  # (B, L, D)
        mixed = torch.zeros((), dtype=x.dtype, device=x.device)
        for share, expert, bias in zip(self.shares(x).unbind(-1), self.experts, self.expert_bias, strict=True):
            answer = F.linear(whole, expert, bias).view(x.shape)
            mixed = mixed + share[..., None] * answer
        return x + self.weight[:, None] * mixed

    def shares(self, x: Tensor) -> Tensor:
        """(B, L, M, K): how much each part listens to each expert."""
        return (torch.einsum("...mh,mkh->...mk", x, self.gates) + self.gate_bias).softmax(-1)


class TemporalExperts(nn.Module):
    experts: Tensor

    def __init__(self, parts: int, width: int, *, experts: int, trained: bool = True) -> None:
        """trained: whether the experts learn; the published ones are lost to the optimiser and stay as drawn."""
        super().__init__()
        self.gate = nn.Linear(2 * width, experts)
        nn.init.normal_(self.gate.weight, std=0.02)
        nn.init.zeros_(self.gate.bias)
        drawn = EXPERT_SCALE * torch.randn(experts, parts * width)
        if trained:
            self.experts = nn.Parameter(drawn)
        else:
            self.register_buffer("experts", drawn)

    def forward(self, z: Tensor, tau: Tensor) -> Tensor:
        """z (B, L, M, H), tau (B, L, 2H) -> (B, L, M, H)"""
        return z * (self.routes(tau) @ self.experts).view(z.shape)

    def routes(self, tau: Tensor) -> Tensor:
        """(B, L, K): the mixture that time chooses."""
        routes: Tensor = self.gate(tau).softmax(-1)
        return routes


class PartExperts(nn.Module):
    def __init__(self, parts: int, width: int, *, experts: int, inner: int) -> None:
        """inner: width of the hidden layer."""
        super().__init__()
        self.up = nn.Parameter(xavier(torch.empty(parts, experts, inner, parts * width)))
        self.up_bias = nn.Parameter(torch.zeros(parts, experts, inner))
        self.down = nn.Parameter(xavier(torch.empty(parts, experts, width, inner)))
        self.down_bias = nn.Parameter(torch.zeros(parts, experts, width))

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """x (B, L, D), gates (M, B, L, K) -> (M, B, L, H). The hidden layer of one part at a time: K times 4 H wide."""
        whole, shares = x.flatten(0, 1), gates.flatten(1, 2)  # (N, D), (M, N, K)
        mixed = torch.stack([self._mixed(m, whole, share) for m, share in enumerate(shares)])
        return mixed.view(*gates.shape[:3], -1)

    def _mixed(self, m: int, whole: Tensor, share: Tensor) -> Tensor:
        """(N, D), (N, K) -> (N, H)"""
        hidden = F.gelu(F.linear(whole, self.up[m].flatten(0, 1), self.up_bias[m].flatten()))
        hidden = hidden.view(len(whole), *self.up_bias.shape[1:]).transpose(0, 1)  # (K, N, inner)
        answers = torch.baddbmm(self.down_bias[m][:, None], hidden, self.down[m].mT)  # (K, N, H)
        return (answers * share.T[..., None]).sum(0)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """torch's own start of a linear layer of `fan_in` inputs, for several layers in one tensor."""
    return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))
