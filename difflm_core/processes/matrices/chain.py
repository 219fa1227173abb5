"""A process from any matrices: what the rest of the course calls corrupt, posterior and step, with Q_1 ... Q_T inside.

Time runs on the grid t = 0, 1/T, ..., 1 (0 = data, 1 = noise). A jump from s to t may take several steps of the chain
at once: D3PM's k-step evaluation and fast sampling need q(z_s, z_t | x) for any s < t, no more (section 3.3).
"""

from functools import reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.processes.matrices import bayes
from difflm_core.processes.matrices.checks import check_symbols, stochastic

Times = Float[Tensor, "B"]
Clean = Int[Tensor, "B L"] | Float[Tensor, "B L V"] | Float[Tensor, "B L K"]  # ids, or probabilities


class MatrixProcess:
    """D3PM on V clean tokens with row-stochastic Q (T, K, K): K = V states, or K = V + 1 with the mask `mask_id` = V.

    `law` (K,) is the distribution of z_1 that sampling starts from, by default the mask if there is one, else
    uniform. It must be stationary (no Q_t changes it), as D3PM asks. All is computed in Q's dtype on Q's device.
    Memory: 2 T K^2 numbers, so for teaching and small K. ValueError if Q is not stochastic, K does not fit V, or the
    law is not stationary.
    """

    def __init__(self, Q: Float[Tensor, "T K K"], V: int, law: Float[Tensor, "K"] | None = None):
        Q = stochastic(Q)
        self.T, self.K = Q.shape[:2]
        if self.K not in (V, V + 1):
            raise ValueError(f"{self.K} states are V = {self.K} tokens, or V = {self.K - 1} and a mask, but V = {V}.")
        self.V = self.mask_id = V
        self.Q = Q
        identity = torch.eye(self.K, dtype=Q.dtype, device=Q.device)
        self.Qbar = torch.cat([identity[None], bayes.cumulative(Q)])  # (T + 1, K, K): Qbar[i] = i steps
        if law is None:
            law = identity[V] if self.K > V else torch.full_like(identity[0], 1 / V)
        self.law = law.to(Q)
        if self.law.shape != (self.K,) or not bool((self.law @ Q - self.law).abs().max() < 1e-6):
            raise ValueError("The law of z_1 is not stationary (a matrix changes it); pass the `law` that all keep.")

    def prior(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, device=None
    ) -> Int[Tensor, "B L"]:
        """z_1 drawn from the stationary law."""
        return draw(self.law.to(device).expand(*shape, self.K), generator)

    def marginal(self, x: Clean, t: Times) -> Float[Tensor, "B L K"]:
        """q(z_t | x)."""
        return bayes.forward(self._clean(x), self._cumulative(self.step_of(t)))

    def corrupt(self, x: Int[Tensor, "B L"], t: Times, generator: torch.Generator | None = None) -> Int[Tensor, "B L"]:
        """Draw z_t ~ q(z_t | x)."""
        return draw(self.marginal(x, t), generator)

    def posterior(self, z_t: Int[Tensor, "B L"], x: Clean, s: Times, t: Times) -> Float[Tensor, "B L K"]:
        """q(z_s | z_t, x) (Eq. 3); x as probabilities: the plug-in posterior (Eq. 4)."""
        s, t = self.step_of(s), self.step_of(t)
        return bayes.posterior(self._jump(s, t), self._cumulative(s), z_t, self._clean(x))

    def posterior_mixture(
        self, z_t: Int[Tensor, "B L"], p: Float[Tensor, "B L V"], s: Times, t: Times
    ) -> Float[Tensor, "B L K"]:
        """Sum over x of p(x) q(z_s | z_t, x): see `bayes.posterior_mixture` for how it differs from the plug-in."""
        s, t = self.step_of(s), self.step_of(t)
        return bayes.posterior_mixture(self._jump(s, t), self._cumulative(s), z_t, self._clean(p))

    def step(
        self, z_t: Int[Tensor, "B L"], x_hat: Clean, s: Times, t: Times, generator: torch.Generator | None = None
    ) -> Int[Tensor, "B L"]:
        """Draw z_s ~ q(z_s | z_t, x_hat), as `DiscreteProcess.step` does."""
        return draw(self.posterior(z_t, x_hat, s, t), generator)

    def evidence(self, z_t: Int[Tensor, "B L"], t: Times) -> Float[Tensor, "B L V"]:
        """q(z_t | x = v) for every clean token v: all that an exact denoiser needs to know of the noise."""
        return bayes.rows(self._cumulative(self.step_of(t)).mT, z_t)[..., : self.V]

    def step_of(self, t: Times) -> Int[Tensor, "B"]:
        """t in [0, 1] -> how many of the T steps that is. ValueError between two steps."""
        place = t.double() * self.T
        step = place.round()
        on_grid = ((place - step).abs() < 1e-3) & (step >= 0) & (step <= self.T)
        if t.device.type == "cpu" and not bool(on_grid.all()):
            raise ValueError(f"t must be one of 0, 1/{self.T}, ..., 1, the steps of this chain, but one entry is "
                             f"{t[~on_grid][0].item():g}; to skip steps take a divisor of {self.T} for T.")
        return step.long().to(self.Q.device)

    def _cumulative(self, step: Int[Tensor, "B"]) -> bayes.Matrix:
        """(K, K) if the whole batch is at one step, else (B, K, K)."""
        return self.Qbar[step[0]] if bool((step == step[0]).all()) else self.Qbar[step]

    def _jump(self, s: Int[Tensor, "B"], t: Int[Tensor, "B"]) -> bayes.Matrix:
        """Q_{s+1} ... Q_t: the matrix of the step itself, or the product of several."""
        if not bool((s < t).all()):
            raise ValueError("A reverse step goes from t to an earlier s < t; got s >= t.")
        if bool(((s == s[0]) & (t == t[0])).all()):
            return reduce(torch.matmul, self.Q[s[0] : t[0]])
        if bool((t - s == 1).all()):
            return self.Q[s]
        return torch.stack([reduce(torch.matmul, self.Q[i:j]) for i, j in zip(s.tolist(), t.tolist())])

    def _clean(self, x: Clean) -> Clean:
        """Ids must be clean tokens. Probabilities over V get a zero for the mask, and a floor far below any rounding: a
        softmax that underflows at the one token it can be must not turn the posterior into 0 / 0."""
        if not x.is_floating_point():
            check_symbols(x, self.V, "Clean token ids")
            return x
        p = x.to(self.Q.dtype).clamp_min(torch.finfo(self.Q.dtype).tiny)
        return torch.nn.functional.pad(p, (0, 1)) if p.shape[-1] == self.V < self.K else p


def draw(p: Float[Tensor, "B L K"], generator: torch.Generator | None = None) -> Int[Tensor, "B L"]:
    """One symbol per position, by looking a uniform number up in the cumulative distribution."""
    cdf = p.double().cumsum(-1)
    u = torch.rand(p.shape[:-1], generator=generator, device=p.device, dtype=torch.float64)[..., None] * cdf[..., -1:]
    return (cdf <= u).sum(-1).clamp_max(p.shape[-1] - 1)
