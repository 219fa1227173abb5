"""A language with known probabilities: the hidden Markov model.

A hidden state s_1, s_2, ... walks along a Markov chain and each state emits one word:

    p(x) = sum over s of  initial[s_1] * product_i transition[s_i, s_{i+1}] * product_i emission[s_i, x_i].

The state is the grammar's memory ("a plural subject, brown, and the verb comes next"), so the language can have
agreement over any distance, and still everything is exact: sampling, log-probability, entropy, and the posterior
p(x_i | z_t) that a perfect denoiser would answer. Each of those has its own file here; this one is the front door. All
figures are float64 and nats. Source: Rabiner (1989), "A tutorial on hidden Markov models", sections II-III.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.oracle import entropy, forward_backward, independence, sampling, spelling
from difflm_core.oracle.checks import check_ids, check_language, check_length
from difflm_core.oracle.denoiser import ExactDenoiser
from difflm_core.oracle.evidence import log_evidence

ROWS_AT_ONCE = 256  # bounds the memory of a posterior: 3 arrays of (256, L, S) float64


class HiddenMarkovLanguage:
    """A language of V words given by `initial` (S,), `transition` (S, S) and `emission` (S, V), all row-stochastic.

    `words` names the V ids (id = place in the list), `length` is the usual number of words in a text; every method that
    takes L accepts any other. `mask_id` is V. Raises ValueError if a matrix is not stochastic or the sizes disagree.
    """

    def __init__(self, initial: Float[Tensor, "S"], transition: Float[Tensor, "S S"], emission: Float[Tensor, "S V"],
                 words: list[str], length: int):
        self.initial, self.transition, self.emission = check_language(initial, transition, emission, words, length)
        self.words, self.length = list(words), length
        self.V = self.mask_id = len(self.words)
        self.chain = forward_backward.Chain(self.initial, self.transition, self.emission)
        self._tables = [sampling.table(rows) for rows in (self.initial[None], self.transition, self.emission)]

    def sample(self, n: int, L: int | None = None, generator: torch.Generator | None = None) -> Int[Tensor, "n L"]:
        """n exact, independent texts of L words as ids."""
        return sampling.sample_chain(*self._tables, n, check_length(L, self.length), generator)

    def log_prob(self, x: Int[Tensor, "B L"]) -> Float[Tensor, "B"]:
        """log p(x) in nats, -inf where the language cannot produce x. Raises ValueError for ids outside [0, V)."""
        return forward_backward.log_likelihood(self.chain, check_ids(x, self.V))

    def grammatical(self, x: Int[Tensor, "B L"]) -> Bool[Tensor, "B"]:
        """True where p(x) > 0: found by following which states are reachable, so no number can underflow."""
        return forward_backward.possible(self.chain, check_ids(x, self.V))

    def entropy(self, L: int | None = None) -> float:
        """Exact entropy of a text of L words, nats for the whole text: no model's mean bound can be lower."""
        return self.entropy_by_position(L).sum().item()

    def entropy_by_position(self, L: int | None = None) -> Float[Tensor, "L"]:
        """H(x_i | x_1..x_{i-1}) in nats for each i: how much news each word brings to a reader. They sum to `entropy`.

        Raises RuntimeError if the language has too many distinct beliefs to be summed (see oracle/entropy.py).
        """
        return entropy.by_position(self.chain, check_length(L, self.length))[0]

    def positional_marginals(self, L: int | None = None) -> Float[Tensor, "L V"]:
        """p(x_i = v): all that can be said of a word while nothing of the text is seen."""
        return independence.marginals(self.chain, check_length(L, self.length))

    def positional_entropy(self, L: int | None = None) -> float:
        """Sum over positions of H(x_i), nats for the whole text: the entropy if the words were independent.

        It exceeds `entropy` by the total correlation, which is exactly what drawing all words in one step ignores.
        """
        return torch.special.entr(self.positional_marginals(L)).sum().item()

    def sample_independent(self, n: int, L: int | None = None,
                           generator: torch.Generator | None = None) -> Int[Tensor, "n L"]:
        """n texts with every word drawn alone from p(x_i): one step of a perfect denoiser from pure noise."""
        return sampling.sample_rows(self.positional_marginals(L), n, generator)

    def independent_grammatical(self, L: int | None = None) -> float:
        """Exact probability that a text of `sample_independent` is grammatical."""
        return independence.grammatical_chance(self.chain, self.positional_marginals(L))

    def posterior(self, z_t: Tensor, t: Float[Tensor, "B"] | None, process,
                  typo_rate: float = 0.0) -> Float[Tensor, "B L V"]:
        """Exact p(x_i = v | z_t) for every position of every row: the answer of a perfect denoiser.

        `process` is any discrete process with `.masses(t)`, a `MatrixEvidence`, an `EmbeddingEvidence` (then z_t is
        (B, L, D) vectors), or anything that `oracle.evidence.log_evidence` reads. t may be None for pure masking.
        Raises ValueError naming the rows of z_t that no text of the language can have become. With typo_rate > 0 those
        rows (only those) are answered as if each visible word were a random one with that probability.
        """
        evidence = log_evidence(z_t, t, process, self.V)
        parts = [forward_backward.posterior(self.chain, rows, typo_rate) for rows in evidence.split(ROWS_AT_ONCE)]
        impossible = torch.cat([part[1] for part in parts]).nonzero().flatten().tolist()
        if impossible:
            more = f" and {len(impossible) - 5} more" if len(impossible) > 5 else ""
            raise ValueError(f"Row {', '.join(map(str, impossible[:5]))}{more} of z_t cannot come from any text of "
                             "this language; give another z_t, or a typo_rate to read it as if a word were wrong.")
        return torch.cat([part[0] for part in parts])

    def denoiser(self, process, typo_rate: float = 1e-3) -> ExactDenoiser:
        """The perfect denoiser of `process` as an object that fits every objective and sampler of the course.

        Samplers with few steps write ungrammatical drafts, on which the exact posterior is undefined; `typo_rate` says
        how those are read (see `posterior`). All other rows are exact. typo_rate = 0 raises on such drafts instead.
        """
        return ExactDenoiser(self, process, typo_rate)

    def encode(self, text: str) -> Int[Tensor, "L"]:
        """Ids of a text of space-separated words; "▢" is the mask. Raises ValueError naming unknown words."""
        return spelling.encode(text, self.words)

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        """The text of one row of ids; the mask is shown as "▢"."""
        return spelling.decode(ids, self.words)
