"""The float32 Gumbel bug, in closed form (Zheng et al. 2024, section 5).

argmax(log p + Gumbel noise) is an exact draw from p only if the noise can be arbitrarily large. A float32 uniform
number is never above 1 - 2^-24, so float32 Gumbel noise never exceeds M = 16.6: a token that would need more luck than
that is never chosen, which sharpens the distribution like a lower temperature. One token at a time this is invisible. A
masked sampler, however, usually races the V tokens against a [MASK] outcome of probability near 1, and then every token
needs luck.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

LARGEST_GUMBEL = {
    torch.float32: -math.log(-math.log1p(-(2.0**-24))),
    torch.float64: -math.log(-math.log1p(-(2.0**-53))),
}  # 16.6 and 36.7


def gumbel_draw(logits: Float[Tensor, "N V"], generator: torch.Generator | None = None) -> Int[Tensor, "N"]:
    """The Gumbel-max draw in the dtype of the logits: exact in float64 for practical purposes, biased in float32."""
    u = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
    return (logits - torch.log(-torch.log(u))).argmax(-1)


def truncated_gumbel_probabilities(p: Float[Tensor, "K"], M: float) -> Float[Tensor, "K"]:
    """What argmax(log p + g) really draws when the Gumbel noise g is truncated at M (Zheng et al. 2024, Prop. 5.2). One
    distribution p, any K; float64.

    Outcome n wins with noise g_n if every other k has log p_k + g_k below log p_n + g_n. No outcome can pass its own
    ceiling log p_k + M: above it, k is beaten for certain. So, with p ascending, the race splits at these ceilings, and
    between two of them the integrand is a plain exponential. The paper's beta(i) are those integrals.
    """
    p = p.double() / p.double().sum()
    order = p.argsort()
    pi = p[order]  # ascending
    K = len(pi)
    tail = pi.flip(0).cumsum(0).flip(0)  # sum over k >= i
    remaining = K - torch.arange(K, dtype=torch.float64)  # K + 1 - i with i from 1
    previous = torch.cat([torch.zeros(1, dtype=torch.float64), pi[:-1]])

    def exponent(ceiling):
        return torch.exp((remaining - tail / ceiling) * math.exp(-M))  # ceiling = 0 gives exp(-inf) = 0, as it should

    beta = (exponent(pi) - exponent(previous)) / tail
    out = torch.empty_like(pi)
    out[order] = pi * beta.cumsum(0)
    return out
