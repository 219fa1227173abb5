"""How good are the samples? Never one number.

Generative perplexity asks a judge how likely the samples are. It is easily fooled: "the the the" pleases many judges,
and a lower temperature always helps. So it is reported only together with the entropy of the words inside a sample and
the share of distinct n-grams over all samples: a sampler that looks better while these fall has become narrower, not
better.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class GenerationReport:
    """`perplexity` per token of the samples that the judge finds possible (inf if none is), `impossible` the share of
    the others, `entropy` in nats, per sample.
    """

    perplexity: float
    impossible: float
    entropy: float
    distinct_1: float
    distinct_2: float
    distinct_3: float
    samples: int

    def __str__(self) -> str:
        return (
            f"judge perplexity {self.perplexity:.2f} (impossible: {self.impossible:.1%}), unigram entropy "
            f"{self.entropy:.3f} nats, "
            f"distinct-1/2/3 {self.distinct_1:.3f}/{self.distinct_2:.3f}/{self.distinct_3:.3f}, {self.samples} samples"
        )


@torch.no_grad()
def judge_samples(
    tokens: Int[Tensor, "B L"], log_prob: Callable[[Int[Tensor, "B L"]], Float[Tensor, "B"]]
) -> GenerationReport:
    """Judge (B, L) samples with `log_prob` (nats per sequence): an exact language, an autoregressive twin, or any other
    model.

    Perplexity is over the samples that the judge finds possible; the share of the others stands beside it.
    """
    if tokens.ndim != 2 or not tokens.numel():
        raise ValueError(f"Samples must be (batch, length) and not empty, got shape {tuple(tokens.shape)}.")
    score = log_prob(tokens).double()
    possible = score.isfinite()
    perplexity = math.exp(-score[possible].mean().item() / tokens.shape[1]) if bool(possible.any()) else math.inf
    distinct = (distinct_n(tokens, n) if n <= tokens.shape[1] else math.nan for n in (1, 2, 3))
    return GenerationReport(
        perplexity, 1 - possible.double().mean().item(), unigram_entropy(tokens), *distinct, len(tokens)
    )


def unigram_entropy(tokens: Int[Tensor, "B L"]) -> float:
    """Entropy (nats) of the token counts within each sample, averaged over samples. It grows with L: compare at equal
    length only.
    """
    counts = torch.zeros(len(tokens), int(tokens.max()) + 1, dtype=torch.float64)
    counts.scatter_add_(1, tokens.cpu(), torch.ones(tokens.shape, dtype=torch.float64))
    return torch.special.entr(counts / tokens.shape[1]).sum(1).mean().item()


def position_entropy(tokens: Int[Tensor, "B L"], V: int) -> float:
    """Entropy (nats) of the V tokens used at a position over all samples, averaged over positions: whether different
    samples differ. Compare at equal count only.
    """
    used = torch.nn.functional.one_hot(tokens, V).double().mean(0)  # (L, V)
    return torch.special.entr(used).sum(-1).mean().item()


def distinct_n(tokens: Int[Tensor, "B L"], n: int) -> float:
    """Distinct n-grams over all n-grams of all samples (Li et al. 2016). It falls with the number of samples: compare
    at equal count only.
    """
    if not 1 <= n <= tokens.shape[1]:
        raise ValueError(f"There are no {n}-grams in samples of {tokens.shape[1]} tokens.")
    grams = tokens.cpu().unfold(1, n, 1).reshape(-1, n)  # (B (L - n + 1), n)
    return len(grams.unique(dim=0)) / len(grams)
