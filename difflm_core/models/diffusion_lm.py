"""Diffusion-LM: a text as a row of vectors, one learned embedding per word (Li et al. 2022, section 4.1).

    words w  ->  x_0 ~ N(Emb(w), sigma_0^2)  ->  Gaussian noise  ->  ...  ->  denoiser  ->  x_0  ->  softmax(W x_0)

The embeddings are trained with the denoiser. The softmax that rounds vectors to words is tied to them (W = Emb, plus a
bias), as in the released code.

Where the paper and its code differ: the paper states a starting deviation of 0.1, which is the root of 1 - alpha_0 on
its schedule, alpha_t = 1 - sqrt(t + 1e-4). The released code divides by alpha_0, so that its chain starts from x_0
itself, alpha = 1, and takes for sigma_0 the noise of the chain's first step, 0.1210 for T = 2000. Here sigma_0 is the
paper's 0.1, and the chain is the code's: the noise around the embeddings is counted once, in x_0.
"""

from dataclasses import asdict

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models.unet1d import UNet1d, UNet1dConfig
from difflm_core.models.vector_transformer import VectorConfig, VectorTransformer
from difflm_core.processes import GaussianProcess, Rescaled, Schedule, Sqrt, schedules
from difflm_core.processes.floored import Floored
from difflm_core.processes.gaussian import Kind, check_kind, spread


class DiffusionLM(nn.Module):
    """Embeddings (V, D), a network from vectors to vectors, and the tied rounding. `net.config` says D and length.

    `kind` is what the network predicts. Texts have exactly `length` words: END and PAD, where a tokenizer has them, are
    words like any other.
    """

    def __init__(
        self, V: int, net: nn.Module, kind: Kind = "x", schedule: Schedule | None = None, sigma_0: float = 0.1
    ):
        super().__init__()
        check_kind(kind)
        if V < 2 or not sigma_0 > 0:
            raise ValueError(f"Diffusion-LM needs V >= 2 words and sigma_0 > 0, got V = {V} and sigma_0 = {sigma_0}.")
        self.V, self.D, self.length = V, net.config.D, net.config.length
        self.kind, self.sigma_0 = kind, sigma_0
        self.schedule = schedule or Sqrt()
        self.process = GaussianProcess(Floored(Rescaled(self.schedule)))
        self.net = net
        self.embedding = nn.Parameter(torch.randn(V, self.D))
        self.bias = nn.Parameter(torch.zeros(V))

    def description(self) -> dict:
        """What `from_description` needs to build this model again, as JSON can hold it."""
        made_of = {"net": self.net.config, "schedule": self.schedule}
        parts = {name: {"class": type(part).__name__} | asdict(part) for name, part in made_of.items()}
        return {"V": self.V, "kind": self.kind, "sigma_0": self.sigma_0} | parts

    @classmethod
    def from_description(cls, description: dict) -> "DiffusionLM":
        """The same model, untrained. Raises KeyError, TypeError or AttributeError for anything else."""
        net, schedule = (dict(description[name]) for name in ("net", "schedule"))
        build = {"VectorConfig": (VectorTransformer, VectorConfig), "UNet1dConfig": (UNet1d, UNet1dConfig)}
        network, config = build[net.pop("class")]
        return cls(
            description["V"],
            network(config(**net)),
            description["kind"],
            getattr(schedules, schedule.pop("class"))(**schedule),
            description["sigma_0"],
        )

    @property
    def self_conditioning(self) -> bool:
        return self.net.config.self_conditioning

    def embed(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """Emb(w). Raises ValueError for words without an embedding and texts longer than the canvas."""
        self.check_ids(ids)
        return self.embedding[ids]

    def start(self, ids: Int[Tensor, "B L"], generator: torch.Generator | None = None) -> Float[Tensor, "B L D"]:
        """Draw x_0 ~ N(Emb(w), sigma_0^2), with a gradient to the embeddings."""
        mean = self.embed(ids)
        return mean + self.sigma_0 * torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)

    def x_hat(self, z_t, t, previous=None) -> Float[Tensor, "B L D"]:
        """The network's estimate of the clean vectors, whatever it predicts."""
        return self.process.to_x(z_t, self.net(z_t, t, previous), t, self.kind)

    def rounded_x_hat(self, z_t, t, previous=None, until: float = 0.2) -> Float[Tensor, "B L D"]:
        """The same estimate, but exact about words at t <= until: the nearest embedding, and then what z_t says of x_0
        if that is the word. A network's x_hat is always a little beside the embeddings, which hardly harms a sample,
        but the bound weighs errors by the signal-to-noise ratio, which has no limit towards t = 0.
        """
        x_hat = self.x_hat(z_t, t, previous)
        words, alpha = self.nearest(x_hat), self.process.alpha(t)
        gain = alpha.sqrt() * self.sigma_0**2 / (1 - alpha + alpha * self.sigma_0**2)
        exact = words + spread(gain, z_t) * (z_t - spread(alpha.sqrt(), z_t) * words)
        return torch.where(spread(t, z_t) <= until, exact, x_hat)

    def logits(self, vectors: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """Rounding: p(w | x_0) = softmax of these."""
        return vectors @ self.embedding.T + self.bias

    def round(self, vectors: Float[Tensor, "*N D"]) -> Int[Tensor, "*N"]:
        """The likeliest words."""
        return self.logits(vectors).argmax(-1)

    def nearest(self, vectors: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """The embedding next to each vector (Euclidean): the clamping trick of section 4.2."""
        distance = self.embedding.square().sum(-1) - 2 * vectors @ self.embedding.T  # less |vector|^2, the same for all
        return self.embedding[distance.argmin(-1)]

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def check_ids(self, ids: Int[Tensor, "B L"]) -> None:
        if ids.ndim != 2 or ids.shape[1] > self.length:
            raise ValueError(
                f"This model's canvas has {self.length} positions, got texts of shape {tuple(ids.shape)}: cut longer "
                "texts, or train a model with a longer canvas."
            )
        if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.V:
            raise ValueError(
                f"Words must lie in 0..{self.V - 1}, got {int(ids.min())}..{int(ids.max())}: a word that was not in "
                "the training vocabulary has no embedding. Encode the text with the model's own tokenizer."
            )
