"""Exercise 4.3: texts with random words in them, judged by what thousands of words become."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

V, B, L, SHARE = 20, 3000, 6, 0.3
IDS = torch.randint(V, (B, L), generator=seeded(1))


def reference(ids, share, V, generator=None):
    swapped = torch.rand(ids.shape, generator=generator) < share
    return torch.where(swapped, torch.randint(V, ids.shape, generator=generator), ids)


def ask(attempt, share=SHARE, seed=2):
    return torch.as_tensor(attempt(IDS.clone(), share, V, seeded(seed)))


def changed(attempt, share=SHARE):
    return (ask(attempt, share) != IDS).double()


def writes(attempt) -> bool:
    given = IDS.clone()
    attempt(given, SHARE, V, seeded(2))
    return not torch.equal(given, IDS)


def rows_at_once(attempt) -> bool:
    """Whether whole texts are replaced and others left alone."""
    return bool(changed(attempt).mean(1).var() > 0.1)


def columns_at_once(attempt) -> bool:
    return any(bool(changed(attempt, share).mean(0).var() > 0.05) for share in (0.3, 0.5, 0.8))


def shares_of_words(attempt):
    """Among changed places, how often each word was put there (V,)."""
    out = ask(attempt)
    return torch.bincount(out[out != IDS].clamp(0, V), minlength=V + 1).double() / max(1, int((out != IDS).sum()))


def test(attempt):
    out = ask(attempt)
    assert out.shape == IDS.shape, f"Return ids shaped {tuple(IDS.shape)}, not {tuple(out.shape)}."
    assert bool((out >= 0).all() and (out < V).all()), f"A word has an id in 0..{V - 1}; yours reach {int(out.max())}."
    assert not rows_at_once(attempt) and not columns_at_once(attempt), "Every place needs a coin of its own."
    for share in (0.3, 0.8):
        found = changed(attempt, share).mean().item()
        least, most = share * (1 - 1 / V), share  # a random word may be the old one
        assert least - 0.015 < found < most + 0.015, (
            f"At a share of {share} about {least:.3f} of the words are others afterwards; with yours {found:.3f}."
        )
    put = shares_of_words(attempt)[:V]
    assert bool((put - 1 / V).abs().max() < 0.015), (
        "The new words are not drawn evenly from all words: the commonest of them takes "
        f"{put.max():.2f} of the places, where {1 / V:.2f} is right."
    )
    assert torch.equal(ask(attempt, 0.0), IDS), "A share of 0 changes nothing."
    assert torch.equal(ask(attempt), ask(attempt)), "Same generator, same words."
    assert not writes(attempt), "ids must stay as they were."


MISTAKES = [
    (
        rows_at_once,
        "Whole texts are replaced, others left alone. Toss a coin for each place: torch.rand(ids.shape, ...).",
    ),
    (columns_at_once, "The same places are replaced in all texts. Toss a coin for each place of each text."),
    (
        lambda f: bool((ask(f) == V).any()) and 0.2 < (ask(f) == V).double().mean() < 0.4,
        f"You put the id {V} there: a mask. PLANNER puts random *words*; the encoder is not told which are wrong.",
    ),
    (
        lambda f: abs(changed(f).mean().item() - 0.7 * (1 - 1 / V)) < 0.015,
        "You keep the share that should be replaced: 70 % of the words are new at a share of 0.3.",
    ),
    (
        lambda f: bool(shares_of_words(f).max() > 0.5),
        "All replaced places get one and the same word. Draw a word for each: torch.randint(V, ids.shape, ...).",
    ),
    (
        lambda f: torch.equal(ask(f).sort(1).values, IDS.sort(1).values) and not torch.equal(ask(f), IDS),
        "Words change places, but each text keeps its words. Draw new ones from the whole vocabulary.",
    ),
    (lambda f: torch.equal(ask(f), IDS), "Nothing is changed."),
    (writes, "Your function writes into ids. The clean text is still needed, it is the target! Use torch.where."),
    (
        lambda f: not torch.equal(ask(f), ask(f)),
        "Two runs with the same generator differ. Pass the generator to torch.rand and to torch.randint.",
    ),
]

ex4_3 = Check(
    "4.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "A coin for each place: torch.rand(ids.shape, generator=generator) < share.",
        "A random word for each place, torch.randint(V, ids.shape, generator=generator); torch.where chooses.",
    ],
    reference=reference,
    praise="The encoder reads this, the decoder is asked for the clean text: a denoising VAE.",
)
