"""The same texts, the same reconstruction, another latent space: latents under a map that can be undone exactly.

    b' = b + strength * sin(frequency * A a),    a' = a + strength * sin(frequency * B b')

a and b are the two halves of a text's numbers, A and B fixed random orthogonal maps. Undone in the opposite order,
each line gives back what it took: `decode(encode(h))` is what it was before, to rounding. What changes is what lies
*between* texts: a small error in a latent is read as one that is larger by up to strength * frequency, and again for
the second line. No figure of reconstruction can see this; it is the control of COSMOS's question (lesson 06).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.cosmos import Cosmos
from difflm_core.models.standardise import Standardise


class Stirred(nn.Module):
    """`encode(h, mask)` and `decode(latents)` of an autoencoder, with its standardised latents stirred in between and
    standardised again. `measure` comes first. Raises ValueError if a text has an odd count of numbers.
    """

    def __init__(self, model: Cosmos, strength: float = 1.0, frequency: float = 3.0, seed: int = 0):
        super().__init__()
        self.config, self.model, self.strength, self.frequency = model.config, model, strength, frequency
        shape = (model.config.N, model.config.D_ae)
        numbers = shape[0] * shape[1]
        if numbers % 2:
            raise ValueError(f"A text's latents must fall into two halves, got {shape[0]} x {shape[1]} numbers.")
        generator = torch.Generator().manual_seed(seed)
        for name in "AB":
            square = torch.randn(numbers // 2, numbers // 2, generator=generator)
            self.register_buffer(name, torch.linalg.qr(square).Q)
        self.standardise = Standardise(shape, model.standardise.encoder)

    def measure(self, latents: Float[Tensor, "T N E"]) -> "Stirred":
        """Statistics of what becomes of the model's standardised latents; returns self."""
        self.standardise.measure(self.stir(part) for part in latents.split(1024))
        return self

    def stir(self, z: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        a, b = z.flatten(1).chunk(2, dim=1)
        b = b + self.strength * (self.frequency * a @ self.A).sin()
        a = a + self.strength * (self.frequency * b @ self.B).sin()
        return torch.cat([a, b], dim=1).view_as(z)

    def settle(self, z: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        """The inverse of `stir`."""
        a, b = z.flatten(1).chunk(2, dim=1)
        a = a - self.strength * (self.frequency * b @ self.B).sin()
        b = b - self.strength * (self.frequency * a @ self.A).sin()
        return torch.cat([a, b], dim=1).view_as(z)

    def encode(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B N E"]:
        return self.standardise(self.stir(self.model.encode(h, mask)))

    def decode(self, latents: Float[Tensor, "B N E"]) -> Float[Tensor, "B L V"]:
        return self.model.decode(self.settle(self.standardise.inverse(latents)))
