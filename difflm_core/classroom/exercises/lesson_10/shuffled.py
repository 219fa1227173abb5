"""Networks for exercise 10.5: the real ones behind a shuffle of the positions, and a predictor without opinion."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Shuffled:
    """Denoiser and error predictor as seen through a fixed shuffle of the positions, with every row counted."""

    def __init__(self, inside, place: Int[Tensor, "L"]):
        self.inside, self.place, self.back = inside, place, place.argsort()
        self.V, self.length, self.rows = inside.V, inside.length, 0

    def hidden(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        self.rows += len(z)
        return self.inside.hidden(z[:, self.back], t)[:, self.place]

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.inside.logits(h)

    def __call__(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z, t))

    def error_logits(self, draft: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        self.rows += len(draft)
        return self.inside.error_logits(draft[:, self.back])[:, self.place]


class Indifferent:
    """An error predictor that finds nothing."""

    def __init__(self, V: int, length: int):
        self.V, self.length = V, length

    def error_logits(self, draft: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        return torch.zeros(draft.shape)
