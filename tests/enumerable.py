"""Languages and chains so small that everything about them can be written down: the truth that tests of the core are
held against.

Sums over all texts, all masks and all times replace random draws wherever a mean is claimed; chi-square tests serve
where the claim is about draws.
"""

import itertools
from dataclasses import dataclass, field

import torch

FLOOR = -1e30  # log of probability zero, finite so that 0 * FLOOR is 0


def all_sequences(symbols: int, length: int) -> torch.Tensor:
    """(symbols^length, length), in the order of `index_of`."""
    return torch.tensor(list(itertools.product(range(symbols), repeat=length)))


def index_of(sequences: torch.Tensor, symbols: int) -> torch.Tensor:
    powers = symbols ** torch.arange(sequences.shape[-1] - 1, -1, -1)
    return (sequences * powers).sum(-1)


def all_masks(length: int) -> torch.Tensor:
    return all_sequences(2, length).bool()


@dataclass
class TinyLanguage:
    """A random joint law over all texts of `length` tokens from V: `p` has one entry for each row of `texts`, float64.
    """

    V: int = 3
    length: int = 3
    seed: int = 0
    sharpness: float = 1.5
    texts: torch.Tensor = field(init=False, repr=False)
    p: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self):
        self.texts = all_sequences(self.V, self.length)
        generator = torch.Generator().manual_seed(self.seed)
        scores = torch.randn(len(self.texts), generator=generator, dtype=torch.float64)
        self.p = (self.sharpness * scores).softmax(0)

    def entropy(self) -> float:
        """Nats for the whole text."""
        return torch.special.entr(self.p).sum().item()

    def given(self, z: torch.Tensor) -> torch.Tensor:
        """p(text | the visible tokens of z), one row for each row of z, whose masks are V: (N, V^L)."""
        fits = ((z[:, None, :] == self.V) | (z[:, None, :] == self.texts)).all(-1)
        joint = fits * self.p
        return joint / joint.sum(-1, keepdim=True)

    def denoiser(self) -> "TableDenoiser":
        """The exact one: p(x_i = v | the visible tokens)."""
        states = all_sequences(self.V + 1, self.length)
        one_hot = torch.nn.functional.one_hot(self.texts, self.V).double()
        marginals = torch.einsum("nk,klv->nlv", self.given(states), one_hot)
        return TableDenoiser(self.V, self.length, marginals.log().clamp_min(FLOOR))

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return self.texts[torch.multinomial(self.p, n, replacement=True, generator=generator)]


class TableDenoiser:
    """A Denoiser that looks its logits up: one (L, V) table for each of the (V + 1)^L states, plus `t` times a `drift`
    if it has one.
    """

    def __init__(self, V: int, length: int, table: torch.Tensor, drift: torch.Tensor | None = None):
        self.V, self.length, self.table, self.drift = V, length, table, drift
        self.uses_time = drift is not None
        self.times_shown: list[torch.Tensor] = []

    def hidden(self, z_t, t=None):
        self.times_shown.append(t)
        state = index_of(z_t, self.V + 1)
        if self.drift is None:
            return self.table[state]
        return self.table[state] + t.to(self.table.dtype)[:, None, None] * self.drift[state]

    def logits(self, h):
        return h


def random_denoiser(V: int, length: int, seed: int = 1, with_time: bool = False) -> TableDenoiser:
    """An arbitrary, wrong denoiser: what holds for it holds for any."""
    generator = torch.Generator().manual_seed(seed)
    tables = torch.randn(2, (V + 1) ** length, length, V, generator=generator, dtype=torch.float64)
    return TableDenoiser(V, length, tables[0], 2 * tables[1] if with_time else None)


class FixedNoise:
    """A process whose `corrupt` returns a z_t chosen beforehand: sums over all z_t then go through the objective under
    test itself.
    """

    def __init__(self, process, z_t: torch.Tensor):
        self.process, self.z_t = process, z_t

    def __getattr__(self, name):
        return getattr(self.process, name)

    def corrupt(self, x, t, generator=None):
        return self.z_t


def gauss_legendre(nodes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights on [0, 1], exact for polynomials of degree 2 nodes - 1 (Golub & Welsch: eigenvalues of the
    Jacobi matrix).
    """
    k = torch.arange(1, nodes, dtype=torch.float64)
    off_diagonal = k / (4 * k**2 - 1).sqrt()
    x, vectors = torch.linalg.eigh(torch.diag(off_diagonal, 1) + torch.diag(off_diagonal, -1))
    return (x + 1) / 2, vectors[0] ** 2


def chi_square_p(draws: torch.Tensor, p: torch.Tensor) -> float:
    """p-value of category numbers `draws` (N,) under probabilities `p` (K,). Rare cells are pooled until 5 are
    expected; forbidden ones give 0.
    """
    counts, expected = torch.bincount(draws.flatten(), minlength=len(p)).double(), p.double() * draws.numel()
    if len(counts) > len(p) or counts[p == 0].any():
        return 0.0
    cells = []  # [count, expected], the rarest first
    for count, mean in sorted(zip(counts.tolist(), expected.tolist()), key=lambda cell: cell[1]):
        if cells and cells[-1][1] < 5:
            cells[-1][0] += count
            cells[-1][1] += mean
        else:
            cells.append([count, mean])
    if len(cells) == 1:
        return 1.0
    statistic = sum((count - mean) ** 2 / mean for count, mean in cells)
    degrees = torch.tensor((len(cells) - 1) / 2, dtype=torch.float64)
    return torch.special.gammaincc(degrees, torch.tensor(statistic / 2, dtype=torch.float64)).item()


def texts_p(tokens: torch.Tensor, V: int, p: torch.Tensor) -> float:
    """p-value of sampled texts (B, L) under the law p over all V^L texts. A text that still holds a mask gives 0."""
    return chi_square_p(index_of(tokens, V), p) if bool((tokens < V).all()) else 0.0


def chain_law(denoiser: TableDenoiser, process, T: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """The exact law over the V^L texts of the T-step masked reverse chain, by summing over all states at every step.

    Independent of the code under test: a masked position stays masked with probability (1 - alpha_s) / (1 - alpha_t)
    (MDLM Eq. 6), else it takes a token from the denoiser. `start` is a canvas (L,), all masks if not given.
    """
    V, L = denoiser.V, denoiser.length
    states = all_sequences(V + 1, L)
    law = torch.zeros(len(states), dtype=torch.float64)
    law[index_of(torch.full((L,), V) if start is None else start, V + 1)] = 1
    for step in range(T, 0, -1):
        t, s = torch.tensor(step / T, dtype=torch.float64), torch.tensor((step - 1) / T, dtype=torch.float64)
        stay = (1 - process.schedule.alpha(s)) / (1 - process.schedule.alpha(t))
        tokens = denoiser.logits(denoiser.hidden(states, t.expand(len(states)))).softmax(-1)  # (S, L, V)
        moved = torch.cat([(1 - stay) * tokens, stay.expand(*tokens.shape[:2], 1)], dim=-1)  # (S, L, V + 1)
        kept = torch.nn.functional.one_hot(states, V + 1).double()
        kernel = torch.where((states == V)[..., None], moved, kept)
        jump = torch.ones(len(states), len(states), dtype=torch.float64)
        for i in range(L):
            jump *= kernel[:, i][:, states[:, i]]
        law = law @ jump
    return law[(states < V).all(1)]  # in the order of all_sequences(V, L)
