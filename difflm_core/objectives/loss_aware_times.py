"""Times where the bound is large: importance sampling of the step for L_vlb (Nichol & Dhariwal 2021).

The terms L_t of one bound differ by orders of magnitude, and with uniform t the few large ones make the gradient noisy.
Draw step t with p_t proportional to sqrt(E[L_t^2]) instead and weigh its loss by 1 / (T p_t): the mean is the same, the
variance as small as a choice of t can make it. E[L_t^2] is taken from the last losses of each step.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class LossAwareTimes:
    """`draw` times and weights, `update` with the losses that were seen there. Uniform until every step has a full
    history.

    `history` losses are kept per step; the share `uniform` of the probability is always spread evenly, so that no step
    is forgotten and no weight exceeds 1 / uniform.
    """

    def __init__(self, T: int, history: int = 10, uniform: float = 0.001):
        if T < 1 or history < 1 or not 0 < uniform <= 1:
            raise ValueError(f"Give T >= 1 steps, a history of at least 1 and a uniform share in (0, 1], got T = {T}, "
                             f"history = {history}, uniform = {uniform}.")  # fmt: skip
        self.T, self.uniform = T, uniform
        self.losses = torch.zeros(T, history, dtype=torch.float64)
        self.seen = torch.zeros(T, dtype=torch.long)

    def probabilities(self) -> Float[Tensor, "T"]:
        even = torch.full((self.T,), 1 / self.T, dtype=torch.float64)
        size = self.losses.square().mean(1).sqrt()
        if bool((self.seen < self.losses.shape[1]).any()) or not size.sum() > 0:
            return even
        return (1 - self.uniform) * size / size.sum() + self.uniform * even

    def draw(self, B: int, generator: torch.Generator | None = None) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Times in the middle of B drawn steps, for `gaussian_nelbo`, and the weights of their losses; on the CPU."""
        p = self.probabilities()
        step = torch.multinomial(p, B, replacement=True, generator=generator)
        return ((step + 0.5) / self.T).float(), (1 / (self.T * p[step])).float()

    def update(self, t: Float[Tensor, "B"], loss: Float[Tensor, "B"]) -> None:
        """Remember the *unweighted* losses (B,) of these times. Raises ValueError if one is not finite."""
        loss = loss.detach().double().cpu()
        if loss.shape != t.shape or not bool(loss.isfinite().all()):
            raise ValueError("There must be one finite loss for each time: average the loss over all but the batch.")
        step = (t.detach().double().cpu() * self.T).ceil().long().clamp(1, self.T) - 1
        for i, value in zip(step.tolist(), loss.tolist()):
            self.losses[i, self.seen[i] % self.losses.shape[1]] = value
            self.seen[i] += 1
