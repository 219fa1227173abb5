"""A trained latent system as one thing: what it is made of, how it samples, and what was measured on it."""

from dataclasses import dataclass, field
from functools import cache, cached_property

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from difflm_core.data.toy_language import toy_language
from difflm_core.evaluation import bleu, distinct_in_texts, distinct_n, repeated
from difflm_core.evaluation.bleu import until
from difflm_core.evaluation.latents import shuffled
from difflm_core.evaluation.words import words
from difflm_core.models import LatentDenoiser
from difflm_core.models.masked_encoder import FrozenEncoder, MaskedEncoder
from difflm_core.processes import GaussianProcess
from difflm_core.processes.gaussian import Kind
from difflm_core.samplers import Sample, sample_latents
from difflm_core.studies.toy_quality import quality
from difflm_core.training.latent_recipes import LatentRecipe
from difflm_core.training.latent_sources import ToyStates
from difflm_core.training.latent_tasks import Canvas, Parts
from difflm_core.training.states import States


@dataclass(frozen=True)
class LatentReport:
    """What a card says. `losses` of every stage, each number the mean of a twentieth of it; `seconds` of every stage;
    `figures` by name; `texts`, the first samples, not chosen.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class LatentSystem:
    """`name` is the recipe's; `fingerprint` is the hash of the encoder that it was trained for."""

    name: str
    recipe: LatentRecipe
    canvas: Canvas
    tokenizer: Tokenizer
    parts: Parts
    fingerprint: str
    report: LatentReport

    @property
    def autoencoder(self) -> nn.Module:
        return self.parts.autoencoder

    @property
    def denoiser(self) -> LatentDenoiser:
        return self.parts.denoiser

    @property
    def process(self) -> GaussianProcess:
        return self.recipe.process

    @property
    def kind(self) -> Kind:
        return self.recipe.task.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.canvas.labels

    @cached_property
    def encoder(self) -> FrozenEncoder:
        """The frozen encoder: the tuned one of the system, else the source's, loaded when asked for. Raises ValueError
        where that is not the one that the system was trained for, ArchiveError where it cannot be had.
        """
        if self.parts.encoder is not None:
            return MaskedEncoder(f"{self.canvas.encoder.name}, tuned", self.parts.encoder)
        source = self.recipe.data
        if source.fingerprint != self.fingerprint:
            raise ValueError(
                f"{self.name} was trained on states of another {self.canvas.encoder.name} ({self.fingerprint[:10]}) "
                f"than the one here ({source.fingerprint[:10]}): take that encoder, or train the system anew."
            )
        return source.encoder()

    @torch.no_grad()
    def encode(self, batch: States) -> Float[Tensor, "B N D"]:
        """Latents on the scale of diffusion, from a source's batch. Raises ValueError for another vocabulary."""
        if len(batch.ids) and int(batch.ids.max()) >= self.canvas.V:
            raise ValueError(
                f"{self.name} knows {self.canvas.V} tokens, these texts have the id {int(batch.ids.max())}: use the "
                "tokenizer that is stored with it."
            )
        return self.recipe.task.encode(self.parts, self.parts.seen(batch))

    @torch.no_grad()
    def write(self, latents: Float[Tensor, "B N D"]) -> Sample:
        """Tokens (B, L) from latents on the scale of diffusion, and the decoder's calls."""
        return self.recipe.task.write(self.parts, latents)

    def draw(
        self, count: int, generator: torch.Generator | None = None, steps: int | None = None, label=None,
        weight: float = 1.0, record: bool = False,
    ):  # fmt: skip
        """Latents alone, as a `GaussianSample`; see `sample`."""
        task = self.recipe.task
        shape, device = (count, *task.shape(self.canvas)), self.parts.device
        if isinstance(label, int):
            label = torch.full((count,), label, device=device)
        return sample_latents(
            self.process, self.denoiser, shape, steps or self.recipe.sample_steps, generator, self.kind, task.step,
            self_condition=task.self_conditioning > 0, label=label, weight=weight, record=record, device=device,
        )  # fmt: skip

    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        label: Int[Tensor, "B"] | int | None = None,
        weight: float = 1.0,
    ) -> Sample:
        """`count` texts from noise; network calls are those of the denoiser and of the decoder. `label` is one class
        for all, or one a text. Errors as `sample_latents`; the generator lives on the device of the system.
        """
        drawn = self.draw(count, generator, steps, label, weight)
        written = self.write(drawn.x)
        return Sample(written.tokens, drawn.network_calls + written.network_calls)

    def classes(self, count: int, generator: torch.Generator | None = None) -> Int[Tensor, "B"] | None:
        """Classes as frequent as in the held-out texts, None where there are none. With them `sample` draws from all
        that was learned; without one it draws from what the few batches taught in which the class was hidden.
        """
        _, known = self.recipe.data.evaluation()
        if known is None:
            return None
        chosen = torch.randint(len(known), (count,), generator=generator, device=self.parts.device)
        return known.to(self.parts.device)[chosen]

    def decode(self, ids: Int[Tensor, "L"]) -> str:
        """The text of one row, up to its end."""
        if self.canvas.end is None:
            return self.tokenizer.decode(ids.tolist())
        return self.tokenizer.decode(until(ids[None], self.canvas.end)[0], skip_special_tokens=True)

    def texts(self, sample: Sample) -> list[str]:
        return [self.decode(row) for row in sample.tokens.cpu()]


def reconstruction(system: LatentSystem, batch: States) -> dict[str, float]:
    """How texts come back from their latents: share of tokens right at their place, without signs of begin and end;
    share of whole texts; BLEU of words; and BLEU if every text gets another's latents, which must be low.
    """
    latents, end = torch.cat([system.encode(States(*part)) for part in portions(batch)]), system.canvas.end
    others = shuffled(latents, torch.Generator().manual_seed(1))
    own, other = (
        torch.cat([system.write(part).tokens for part in some.split(256)]).cpu() for some in (latents, others)
    )
    real = batch.mask.clone()
    if end is not None:  # then a text begins with a sign too
        real &= batch.ids != end
        real[:, 0] = False
    true, ours, theirs = ([words(system.decode(row)) for row in rows] for rows in (batch.ids, own, other))
    return {
        "tokens_read": (own == batch.ids)[real].double().mean().item(),
        "texts_read": sum(map(list.__eq__, ours, true)) / len(true),
        "bleu": bleu(ours, true),
        "bleu_of_anothers": bleu(theirs, true),
    }


def generation(system: LatentSystem, count: int) -> tuple[dict[str, float], list[str]]:
    """Figures of `count` samples, and the first four: on the toy language those of the exact grammar."""
    generator = torch.Generator(system.parts.device).manual_seed(0)
    sample = system.sample(count, generator, label=system.classes(count, generator))
    calls, tokens = sample.network_calls.double().mean().item(), sample.tokens.cpu()
    texts = system.texts(sample)
    if isinstance(system.recipe.data, ToyStates):
        figures = quality(tokens) | {"distinct_2": distinct_n(tokens, 2)}
        no_class = system.sample(count, generator).tokens.cpu()
        figures |= {"grammatical_without_a_class": quality(no_class)["grammatical"]}
        figures = {name: value for name, value in figures.items() if value is not None}
    else:
        figures = {f"distinct_{n}": distinct_in_texts(texts, n, count) for n in (1, 2)}
        figures |= {"repeated": repeated(texts, count), "empty": sum(not text for text in texts) / count}
    return figures | {"samples": count, "network_calls": calls}, texts[:4]


def measured(system: LatentSystem, samples: int = 500) -> tuple[dict[str, float], list[str]]:
    """All figures of a card, and the first texts."""
    batch, _ = system.recipe.data.evaluation()
    figures, texts = generation(system, samples)
    return reconstruction(system, batch) | figures, texts


def portions(batch: States, rows: int = 256):
    return zip(*(part.split(rows) for part in batch))


@cache
def toy_reference() -> dict[str, float]:
    """The same figures of true sentences, for comparison."""
    tokens = toy_language().sample(500, generator=torch.Generator().manual_seed(5))
    return quality(tokens) | {"distinct_2": distinct_n(tokens, 2)}
