"""The perfect denoiser: a language's exact posterior behind the interface of a trained network."""

from jaxtyping import Float
from torch import Tensor

FLOOR = -1e30


class ExactDenoiser:
    """`language.denoiser(process)`: fits wherever a trained Denoiser fits, and answers with the truth.

    `hidden(z_t, t)` is log p(x_i = v | z_t), (B, L, V) float64, and `logits(h)` returns it unchanged, whatever rows are
    asked for. A word of probability 0 gets the finite FLOOR of -1e30 instead of -inf: its softmax is exactly 0 just the
    same, and products such as p * log p stay 0 where -inf would give NaN. t may be None under pure masking.
    Rows of z_t that no text explains are read with `typo_rate` (see HiddenMarkovLanguage.posterior).
    """

    def __init__(self, language, process, typo_rate: float):
        if not 0 <= typo_rate < 1:
            raise ValueError(f"typo_rate is {typo_rate} but must lie in [0, 1): the chance of a wrong visible word.")
        self.language, self.process, self.typo_rate = language, process, typo_rate
        self.V, self.length = language.V, language.length

    def hidden(self, z_t: Tensor, t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        posterior = self.language.posterior(z_t, t, self.process, self.typo_rate)
        return posterior.log_().clamp_(min=FLOOR).to(z_t.device)

    def logits(self, h: Float[Tensor, "*rows V"]) -> Float[Tensor, "*rows V"]:
        return h

    def __call__(self, z_t: Tensor, t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))
