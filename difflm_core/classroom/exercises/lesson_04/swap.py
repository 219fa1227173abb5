"""Exercise 4.3: texts with random words in them, judged by what thousands of words become."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

V, B, L, SHARE = 20, 3000, 6, 0.3
IDS = torch.randint(V // 2, (B, L), generator=seeded(1))  # no even text: new words must not be taken from it


def reference(ids, share, V, generator=None):
    swapped = torch.rand(ids.shape, generator=generator) < share
    return torch.where(swapped, torch.randint(V, ids.shape, generator=generator), ids)


def ask(attempt, share=SHARE, seed=2):
    return torch.as_tensor(attempt(IDS.clone(), share, V, seeded(seed)))


def changed(out):
    return (out != IDS).double()


def writes(attempt) -> bool:
    given = IDS.clone()
    attempt(given, SHARE, V, seeded(2))
    return not torch.equal(given, IDS)


def rows_at_once(out) -> bool:
    """Whether whole texts are replaced and others left alone."""
    return bool(changed(out).mean(1).var() > 0.1)


def columns_at_once(*outs) -> bool:
    return any(bool(changed(out).mean(0).var() > 0.05) for out in outs)


def shares_of_words(out):
    """Where all is replaced, how often each word was put there (V,)."""
    return torch.bincount(out.flatten().clamp(0, V), minlength=V + 1)[:V].double() / out.numel()


def one_word(out) -> bool:
    """Where all is replaced: the same word stands in a whole text, at a place of all texts, or everywhere."""
    return any(float((out == first).double().mean()) > 0.9 for first in (out[:, :1], out[:1]))


def uneven(out) -> bool:
    return bool((shares_of_words(out) - 1 / V).abs().max() > 0.015)


def test(attempt):
    outs = {share: ask(attempt, share) for share in (0.3, 0.5, 0.8, 1.0)}
    for out in outs.values():
        assert out.shape == IDS.shape, f"Return ids shaped {tuple(IDS.shape)}, not {tuple(out.shape)}."
        assert not out.is_floating_point(), f"Return ids, which are whole numbers; yours are {out.dtype}."
        assert bool((out >= 0).all() and (out < V).all()), (
            f"A word has an id in 0..{V - 1}; yours reach {int(out.max())}."
        )
    assert not rows_at_once(outs[0.3]) and not columns_at_once(*(outs[share] for share in (0.3, 0.5, 0.8))), (
        "Every place needs a coin of its own."
    )
    for share, out in outs.items():
        found, right = changed(out).mean().item(), share * (1 - 1 / V)  # a random word may be the old one
        assert abs(found - right) < 0.015, (
            f"At a share of {share} about {right:.3f} of the words are others afterwards; with yours {found:.3f}."
        )
    put = shares_of_words(outs[1.0])
    assert not one_word(outs[1.0]) and not uneven(outs[1.0]), (
        "The new words are not drawn evenly from all words, one draw for each place: the commonest of them takes "
        f"{put.max():.2f} of the places, where {1 / V:.2f} is right."
    )
    assert torch.equal(ask(attempt, 0.0), IDS), "A share of 0 changes nothing."
    assert torch.equal(ask(attempt), outs[0.3]), "Same generator, same words."
    assert not writes(attempt), "ids must stay as they were."


MISTAKES = [
    (
        lambda f: rows_at_once(ask(f)),
        "Whole texts are replaced, others left alone. Toss a coin for each place: torch.rand(ids.shape, ...).",
    ),
    (
        lambda f: columns_at_once(*(ask(f, share) for share in (0.3, 0.5, 0.8))),
        "The same places are replaced in all texts. Toss a coin for each place of each text.",
    ),
    (
        lambda f: bool((ask(f) == V).any()) and 0.2 < (ask(f) == V).double().mean() < 0.4,
        f"You put the id {V} there: a mask. PLANNER puts random *words*; the encoder is not told which are wrong.",
    ),
    (
        lambda f: abs(changed(ask(f)).mean().item() - 0.7 * (1 - 1 / V)) < 0.015,
        "You keep the share that should be replaced: 70 % of the words are new at a share of 0.3.",
    ),
    (
        lambda f: one_word(ask(f, 1.0)),
        "Replaced places get one and the same word, in a text or in all texts. Draw a word for each:"
        " torch.randint(V, ids.shape, ...).",
    ),
    (
        lambda f: torch.equal(ask(f).sort(1).values, IDS.sort(1).values) and not torch.equal(ask(f), IDS),
        "Words change places, but each text keeps its words. Draw new ones from the whole vocabulary.",
    ),
    (lambda f: torch.equal(ask(f), IDS), "Nothing is changed."),
    (
        lambda f: float(changed(ask(f, 1.0)).mean()) == 1,
        "A replaced word never stays what it was. Draw evenly from *all* V words: by luck it may be the old one.",
    ),
    (
        lambda f: shares_of_words(ask(f, 1.0))[-1] == 0 and shares_of_words(ask(f, 1.0))[:-1].min() > 0,
        "Word V - 1 is never drawn. torch.randint leaves its upper end out: torch.randint(V, ...) gives 0 to V - 1.",
    ),
    (
        lambda f: shares_of_words(ask(f, 1.0))[0] == 0 and shares_of_words(ask(f, 1.0))[1:].min() > 0,
        "Word 0 is never drawn: words are 0 to V - 1, as torch.randint(V, ...) gives them.",
    ),
    (
        lambda f: float(changed(ask(f, 1.0)).mean()) > 0.85 and uneven(ask(f, 1.0)),
        "The new words are not drawn evenly from the whole vocabulary: torch.randint(V, ids.shape, ...).",
    ),
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
