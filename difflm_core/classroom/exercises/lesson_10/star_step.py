"""Exercise 10.2: one star step, judged by what happens to thousands of tokens whose distribution is known.

The trials are those of exercise 8.3; a star step differs from the step there in that it takes visible tokens back.
"""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_08.step_trials import (
    ALL_MASKED,
    LOGITS,
    MASK,
    SOME_VISIBLE,
    B,
    L,
    S,
    T,
    V,
    misfit,
    shares_coins,
    step,
    writes_into_z,
)

VISIBLE = SOME_VISIBLE != MASK


def shares(star_step, s: float = S, t: float = T) -> tuple[float, float]:
    """Of the visible tokens the share that stays, of the masked ones the share that is revealed."""
    shown = step(star_step, SOME_VISIBLE, s, t) != MASK
    return float(shown[VISIBLE].double().mean()), float(shown[~VISIBLE].double().mean())


def changes_visible(star_step) -> bool:
    z_s = step(star_step, SOME_VISIBLE)
    return bool((VISIBLE & (z_s != MASK) & (z_s != SOME_VISIBLE)).any())


def test(star_step):
    for s, t in ((S, T), (0.6, 0.7), (0.0, 0.2), (0.75, 1.0)):
        z_s = step(star_step, SOME_VISIBLE, s, t)
        assert z_s.shape == (B, L) and not z_s.is_floating_point(), "Return the whole canvas as ids, shaped like z."
        assert bool(((z_s >= 0) & (z_s <= MASK)).all()), f"Ids must lie in 0..{MASK}, the last being the mask."
        for share, which in zip(shares(star_step, s, t), ("visible tokens that stay", "masks that are revealed")):
            assert abs(share - (1 - s)) < 0.03, f"At s = {s} the share of {which} is {1 - s:.2f}; yours: {share:.2f}."
    assert not changes_visible(star_step), "A visible token stays as it is or is masked: its word does not change."
    assert not one_coin(star_step), "Every token needs a coin of its own."
    assert not writes_into_z(star_step), "z must stay as it was."
    assert misfit(step(star_step, ALL_MASKED), LOGITS.softmax(-1)) < 0.1, (
        "Revealed tokens must be drawn from softmax(logits)."
    )
    assert torch.equal(step(star_step, SOME_VISIBLE), step(star_step, SOME_VISIBLE)), "Same generator, same draws."


def gives(stay: float, reveal: float):
    """A probe: these are the shares of visible tokens that stay and of masks that are revealed."""
    return lambda star_step: all(abs(a - b) < 0.02 for a, b in zip(shares(star_step), (stay, reveal)))


def one_coin(star_step) -> bool:
    """Seen where half of the tokens is taken back: whole rows or columns at once."""
    return shares_coins(step(star_step, ALL_MASKED, 0.5, 0.6) != MASK)


def takes_largest(star_step) -> bool:
    z_s = step(star_step, ALL_MASKED)
    revealed = z_s != MASK
    return bool(revealed.any()) and torch.equal(z_s[revealed], LOGITS.argmax(-1)[revealed])


MISTAKES = [
    (lambda f: step(f, SOME_VISIBLE).shape != (B, L), "The result has another shape than z: return the whole canvas."),
    (writes_into_z, "Your function writes into z, the caller's canvas. Make a new tensor, with torch.where."),
    (one_coin, "One coin decides for a whole row or batch. Every token needs its own: torch.rand(z.shape)."),
    (
        changes_visible,
        "The draft rewrites visible words. Carry-over holds for the draft too: what is visible is in it as it stands,"
        " and only masks are filled.",
    ),
    (
        gives(1.0, (T - S) / T),
        "That is MDLM's step: nothing visible is ever taken back. A star step masks the *complete draft* afresh,"
        " written words included.",
    ),
    (
        gives(1.0, 1 - S),
        "Only the new words of the draft are masked again. The noise falls on the whole draft: words that were visible"
        " at t lose their place with the same probability s.",
    ),
    (
        gives(1 - S, 1.0),
        "Only the old words are masked; the words of the draft all stay, and the text is fuller than s allows. Noise"
        " the whole draft.",
    ),
    (
        gives(1 - S, (T - S) / T),
        "What you take back is not made up for: the text is emptier than it should be at s. A mask is revealed with"
        " probability 1 - s, more often than in MDLM.",
    ),
    (
        gives(1 - S / T, 1 - S / T),
        "You mask with probability s/t, MDLM's chance to stay masked in a step from t. The draft has no masks left: it"
        " is noised from 0, with probability s.",
    ),
    (
        gives(1 - T, 1 - T),
        "You noise the draft to t, where you come from. Noise it to s, or no step ever gets further.",
    ),
    (gives(S, S), "Kept and masked are swapped: at s a token is masked with probability s, and stays with 1 - s."),
    (
        gives(1 - T + S, 1 - T + S),
        "You mask with probability t - s. The draft is complete, so it is noised from 0 to s.",
    ),
    (gives(1.0, 1.0), "Nothing is masked again: you return the draft. It must be noised to level s."),
    (
        takes_largest,
        "You take the likeliest token (argmax) instead of drawing from softmax(logits): all texts would become alike.",
    ),
    (
        lambda f: misfit(step(f, ALL_MASKED), LOGITS.softmax(-1).softmax(-1)) < 0.06,
        "The draw was given probabilities in the place of logits, so softmax is taken twice and the tokens are too"
        " random. draw(logits, generator) takes the logits.",
    ),
    (
        lambda f: misfit(step(f, ALL_MASKED), torch.full_like(LOGITS, 1 / V)) < 0.1,
        "The draft is uniformly random: draw it from softmax(logits), for example with draw(logits, generator).",
    ),
    (
        lambda f: not torch.equal(step(f, SOME_VISIBLE), step(f, SOME_VISIBLE)),
        "Two runs with the same generator differ. Pass the generator to every draw.",
    ),
]


def reference(z, logits, s, t, mask_id, generator=None):
    guess = torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, generator=generator).view(z.shape)
    draft = torch.where(z == mask_id, guess, z)
    return torch.where(torch.rand(z.shape, generator=generator) < s, mask_id, draft)


ex10_2 = Check(
    "10.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Two stages. First a complete draft: draw a word for every mask, keep what is visible.",
        "Then forget how you got it, and do to the draft what the forward process does to a clean text up to time s.",
        "torch.where(torch.rand(z.shape, generator=generator) < s, mask_id, draft). t is not needed.",
    ],
    reference=reference,
    praise="Draft everything, noise it afresh. t appears nowhere: that is what makes the process star-shaped.",
)
