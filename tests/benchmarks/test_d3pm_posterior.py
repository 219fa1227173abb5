"""D3PM without matrices against D3PM with them, at K = 1024 symbols, side by side: equal answers, and how much faster.

The K x K route gets its products Q_1 ... Q_t beforehand and for free (for T = 1000 they would fill 4 GB).
"""

import pytest
import torch
from measure import interleaved, milliseconds

from difflm_core.objectives.d3pm_terms import reverse_kl
from difflm_core.processes import matrices as M

K, T, B, L = 1024, 4, 8, 64


class Head:
    """A denoiser whose trunk already gives the logits."""

    V = K

    def logits(self, h):
        return h


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(0)
    betas = M.cosine_betas(T).float()
    by_matrices, closed = M.MatrixProcess(M.uniform(K, betas), K), M.uniform_process(K, betas)
    x = torch.randint(K, (B, L), generator=generator)
    logits = torch.randn(B, L, K, generator=generator)
    return by_matrices, closed, x, logits


def compare(name: str, matrices, closed, tolerance: float, table) -> None:
    expected = matrices()
    torch.testing.assert_close(closed()[..., : expected.shape[-1]], expected, rtol=1e-3, atol=tolerance)
    best = interleaved({"theirs": matrices, "ours": closed})
    ratio = f"{best['theirs'] / best['ours']:.1f}x faster"
    table(f"D3PM {name}, K = {K}", milliseconds(best["theirs"]), milliseconds(best["ours"]), ratio)


@pytest.mark.parametrize("same", [True, False], ids=["one t for the batch", "a t for each row"])
def test_plug_in_posterior(case, same, table):
    """Eq. 4: p Qbar_s is a (B L, K) x (K, K) product against one multiplication by a number."""
    by_matrices, closed, x, logits = case
    step = torch.full((B,), 2) if same else torch.arange(B) % T
    s, t = step / T, (step + 1) / T
    z, p = closed.corrupt(x, t, torch.Generator().manual_seed(1)), logits.softmax(-1)
    name = "plug-in posterior, " + ("one t for the batch" if same else "a t for each row")
    compare(name, lambda: by_matrices.posterior(z, p, s, t), lambda: closed.posterior(z, p, s, t), 1e-6, table)


def test_posterior_of_ids(case, table):
    """Eq. 3 with ids needs two rows of the matrices, no product. In closed form it is one number for all symbols but
    x, z_t and the mask.
    """
    by_matrices, closed, x, _ = case
    s, t = torch.full((B,), 0.5), torch.full((B,), 0.75)
    z = closed.corrupt(x, t, torch.Generator().manual_seed(1))
    compare(
        "posterior of ids", lambda: by_matrices.posterior(z, x, s, t), lambda: closed.posterior(z, x, s, t), 1e-6, table
    )


def test_term_of_the_bound(case, table):
    """The KL of one step, from logits: one pass over the vocabulary against two posteriors."""
    by_matrices, closed, x, logits = case
    step = torch.arange(B, dtype=torch.float64) % T
    s, t = step / T, (step + 1) / T
    z = closed.corrupt(x, t, torch.Generator().manual_seed(1))
    arguments = (Head(), logits, x, z, s, t)
    routes = [lambda: reverse_kl(by_matrices, *arguments), lambda: reverse_kl(closed, *arguments)]
    compare("term of the bound", *routes, 1e-4, table)
