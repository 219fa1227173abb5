"""Exercise 8.3, its usual mistakes: each recognised by what it does to the tokens of a trial."""

import torch

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


def share_revealed(reverse_step, s: float = S, t: float = T) -> float:
    return float((step(reverse_step, ALL_MASKED, s, t) != MASK).double().mean())


def reveals(share: float):
    """A probe: this share of the masked tokens is revealed in the step from T to S."""
    return lambda reverse_step: abs(share_revealed(reverse_step) - share) < 0.015


def one_coin(reverse_step) -> bool:
    """One coin decides for a row, for a column, or (seen over many seeds) for everything."""
    if shares_coins(step(reverse_step, ALL_MASKED) != MASK):
        return True
    steps = [step(reverse_step, ALL_MASKED[:20], 0.2, 0.4, seed) for seed in range(20)]
    return {float((z_s != MASK).double().mean()) for z_s in steps} == {0.0, 1.0}


def overwrites_visible(reverse_step) -> bool:
    visible = SOME_VISIBLE != MASK
    return not torch.equal(step(reverse_step, SOME_VISIBLE)[visible], SOME_VISIBLE[visible])


def takes_largest(reverse_step) -> bool:
    z_s = step(reverse_step, ALL_MASKED)
    revealed = z_s != MASK
    return bool(revealed.any()) and torch.equal(z_s[revealed], LOGITS.argmax(-1)[revealed])


def draws_flatter(reverse_step) -> bool:
    """From softmax(softmax(logits))."""
    return misfit(step(reverse_step, ALL_MASKED), LOGITS.softmax(-1).softmax(-1)) < 0.06


def draws_uniformly(reverse_step) -> bool:
    return misfit(step(reverse_step, ALL_MASKED), torch.full_like(LOGITS, 1 / V)) < 0.1


MISTAKES = [
    (
        lambda f: step(f, ALL_MASKED).shape != (B, L),
        "The result has another shape than z. Return the whole canvas: revealed tokens, visible tokens,"
        " remaining masks.",
    ),
    (
        writes_into_z,
        "Your function writes into z, the caller's canvas, so a recorded trajectory would change afterwards. Make a new"
        " tensor: z.clone() first, or torch.where.",
    ),
    (
        lambda f: step(f, ALL_MASKED).is_floating_point(),
        "Return token ids (integers), not probabilities.",
    ),
    (
        one_coin,
        "One coin decides for a whole row or batch, so that its tokens appear together. Every token needs its own:"
        " torch.rand(z.shape).",
    ),
    (
        overwrites_visible,
        "Visible tokens are overwritten. What has been revealed stays (carry-over): change z only where it is mask_id.",
    ),
    (
        reveals(T - S),
        "You reveal with probability t - s. That is the chance of any token to be revealed in this step; for a token"
        " that is still masked at t (probability t) it is (t - s)/t.",
    ),
    (
        reveals(S / T),
        "Keeping and revealing are swapped: s/t is the probability to stay masked. Reveal with probability (t - s)/t.",
    ),
    (
        reveals(1 - S),
        "You reveal with probability 1 - s, as if all tokens had been masked at t = 1 and nothing had been revealed"
        " since. Given that a token is masked at t, it is (t - s)/t.",
    ),
    (
        reveals((T - S) / (1 - S)),
        "You divide by 1 - s. What is known is that the token is masked at t, which has probability t: (t - s)/t.",
    ),
    (
        reveals(T),
        "You reveal with probability t, the share that is masked. Of these the share (t - s)/t is revealed by s.",
    ),
    (
        reveals(1.0),
        "Every mask is revealed at once: that is a single step to t = 0. A masked token stays masked with"
        " probability s/t.",
    ),
    (
        reveals(0.0),
        "No mask is revealed at all. A masked token is revealed with probability (t - s)/t.",
    ),
    (
        takes_largest,
        "You take the likeliest token (argmax) instead of drawing from softmax(logits): all texts would become alike.",
    ),
    (
        draws_uniformly,
        "The revealed tokens are uniformly random: draw them from softmax(logits), for example with draw(logits,"
        " generator).",
    ),
    (
        draws_flatter,
        "The draw was given probabilities in the place of logits, so softmax is taken twice and the tokens are too"
        " random. draw(logits, generator) takes the logits.",
    ),
    (
        lambda f: bool((step(f, ALL_MASKED, 0.0, 0.5) == MASK).any()),
        "After a step to s = 0 masks are left. There (t - s)/t is 1: either you reveal with another probability, or the"
        " mask itself can be drawn as a token. Draw from the V tokens that the network knows.",
    ),
    (
        lambda f: not torch.equal(step(f, ALL_MASKED), step(f, ALL_MASKED)),
        "Two runs with the same generator differ. Pass the generator to every draw.",
    ),
]
