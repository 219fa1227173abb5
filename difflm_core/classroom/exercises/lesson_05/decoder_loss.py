"""Exercise 5.4: the decoder's loss with Cor(x), judged by what the decoder was given and by what came back."""

import torch
import torch.nn.functional as F

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, L, D, V, T_MAX = 60, 6, 400, 7, 0.3
IDS = torch.randint(V, (B, L), generator=seeded(1))
SIGNS = torch.sign(torch.randn(L, D, generator=seeded(2)))
Z_0 = 3.0 * SIGNS.expand(B, L, D)  # mean square 9, so that signal and noise are told apart
TO_LOGITS = 0.1 * torch.randn(D, V, generator=seeded(3))


def alpha_of(t):
    return (1 - t) ** 2


def reference(decoder, x, ids, alpha_of, t_max, generator=None):
    t = t_max * torch.rand(len(x), generator=generator)
    alpha = alpha_of(t)[:, None, None]
    z_t = alpha.sqrt() * x + (1 - alpha).sqrt() * torch.randn(x.shape, generator=generator)
    return F.cross_entropy(decoder(z_t).transpose(1, 2), ids, reduction="none")


class Reader:
    """A decoder that keeps what it reads."""

    def __call__(self, z):
        self.read = z.detach().clone()
        return z.float() @ TO_LOGITS


def ask(attempt):
    """(what the decoder read, what came back)."""
    reader = Reader()
    value = torch.as_tensor(attempt(reader, Z_0.clone(), IDS.clone(), alpha_of, T_MAX, seeded(0)))
    assert hasattr(reader, "read"), "The decoder was never asked."
    return reader.read, value


def levels(attempt):
    """Of every text: signal and noise deviation of what was read."""
    return levels_of(ask(attempt)[0])


def levels_of(read):
    signal = (read * SIGNS).mean((1, 2)) / 3
    return signal, (read - 3 * signal[:, None, None] * SIGNS).std((1, 2))


def test(attempt):
    read, value = ask(attempt)
    assert read.shape == Z_0.shape, f"The decoder reads latents shaped {tuple(Z_0.shape)}, not {tuple(read.shape)}."
    signal, noise = levels(attempt)
    assert bool((signal**2 + noise**2 - 1).abs().max() < 0.25) and bool((signal > 0.5).all()), (
        "What the decoder reads is not sqrt(alpha) x + sqrt(1 - alpha) noise for an alpha between alpha(t_max) and 1."
    )
    t = 1 - signal
    assert t.max() < T_MAX + 0.05 and t.max() > 0.7 * T_MAX and t.min() < 0.3 * T_MAX, (
        f"Times must be spread over 0 to t_max = {T_MAX}; yours seem to run from {t.min():.2f} to {t.max():.2f}."
    )
    assert within_a_text(attempt) < 0.04, "One time per text: all its words have the same noise level."
    assert value.shape == (B, L), f"Return one number per word, {(B, L)}, not {tuple(value.shape)}."
    truth = F.cross_entropy((read.float() @ TO_LOGITS).transpose(1, 2), IDS, reduction="none")
    assert torch.allclose(value.float(), truth, atol=1e-3), "The loss is not -log p(word) of what the decoder answered."
    assert not draws_of_its_own(attempt), "Same generator, same draws."


def within_a_text(attempt) -> float:
    """How much the signal differs from word to word of the same text: 0.02 by chance."""
    return ((ask(attempt)[0] * SIGNS).mean(2) / 3).std(1).mean().item()


def draws_of_its_own(attempt) -> bool:
    first = ask(attempt)[0]
    torch.randn(1)  # other draws may have come in between
    return not torch.equal(first, ask(attempt)[0])


def spread_of_times(attempt) -> float:
    return levels(attempt)[0].std().item()


def reads(signal_of, noise_of):
    """A probe: signal and noise as functions of a time that varies from text to text, at t_max large."""

    def probe(attempt):
        signal, noise = levels(attempt)
        t = torch.linspace(0, T_MAX, 301)
        near = (signal_of(t)[None] - signal[:, None]).abs().argmin(1)
        return (
            bool(((signal_of(t)[near] - signal).abs() < 0.02).all())
            and bool(((noise_of(t)[near] - noise).abs() < 0.06).all())
            and bool(noise.std() > 0.02)
        )

    return probe


def of_answer(attempt):
    read, value = ask(attempt)
    return (read.float() @ TO_LOGITS).log_softmax(-1).gather(-1, IDS[..., None])[..., 0], value


MISTAKES = [
    (lambda f: torch.equal(ask(f)[0], Z_0), "The decoder reads the clean x: that is the decoder without corruption."),
    (
        lambda f: levels(f)[1].max() < 0.02,
        "The signal shrinks, but no noise is added: z_t = sqrt(alpha) x + sqrt(1 - alpha) noise.",
    ),
    (
        lambda f: spread_of_times(f) < 0.015 and levels(f)[1].std() < 0.015 < levels(f)[1].max(),
        "All texts have the same time. Draw one t per text: the decoder must bear every noise up to t_max.",
    ),
    (
        lambda f: within_a_text(f) > 0.04,
        "Every word has a time of its own. Draw one per text, torch.rand(len(x)): a sampler leaves the whole text at"
        " one level.",
    ),
    (
        reads(lambda t: (1 - alpha_of(t)).sqrt(), lambda t: alpha_of(t).sqrt()),
        "Signal and noise are swapped: z_t = sqrt(alpha) x + sqrt(1 - alpha) noise.",
    ),
    (
        lambda f: bool((1 - levels(f)[0]).max() > 0.6),
        "Times run up to 1. Take t up to t_max: beyond, the decoder learns to guess, which is the denoiser's work.",
    ),
    (
        reads(lambda t: alpha_of(t), lambda t: 1 - alpha_of(t)),
        "Roots are missing: alpha is the squared signal level.",
    ),
    (
        reads(lambda t: alpha_of(t).sqrt(), lambda t: 1 - alpha_of(t)),
        "1 - alpha is the variance of the noise; multiply by its root.",
    ),
    (
        lambda f: bool((levels(f)[0] - 1).abs().max() < 0.05) and bool(levels(f)[1].std() > 0.02),
        "The signal must shrink as the noise grows: sqrt(alpha) x.",
    ),
    (
        reads(lambda t: (1 - t).sqrt(), lambda t: t.sqrt()),
        "You took 1 - t for alpha. The schedule is alpha_of(t), the diffusion's own.",
    ),
    (lambda f: torch.allclose(*of_answer(f), atol=1e-3), "The sign: minus the logarithm."),
    (
        lambda f: torch.allclose(of_answer(f)[0].exp(), of_answer(f)[1].float(), atol=1e-3),
        "That is the probability of the word. The loss is minus its logarithm.",
    ),
    (
        lambda f: ask(f)[1].shape == (B * L,),
        "One row of all words comes back. Give it the shape of the texts again: .view(ids.shape).",
    ),
    (
        lambda f: ask(f)[1].ndim < 2 and levels(f)[1].max() > 0.02,
        "Averages come later: return one number per word, (B, L). (F.cross_entropy with reduction='none'.)",
    ),
    (
        draws_of_its_own,
        "Two runs with the same generator differ. Pass generator=generator to both draws: the time and the noise.",
    ),
]  # fmt: skip

ex5_4 = Check(
    "5.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "One time per text: t = t_max * torch.rand(len(x), generator=generator). Then z_t, then cross-entropy of"
        " decoder(z_t) against ids.",
        "alpha = alpha_of(t)[:, None, None], so that it multiplies (B, L, D).",
        "F.cross_entropy wants the classes in the second place: logits.transpose(1, 2), and reduction='none'.",
    ],
    reference=reference,
    praise="Two lines of noise, and the decoder forgives what the sampler leaves behind.",
)
