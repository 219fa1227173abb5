"""Exercise 10.4: what the error predictor is trained on, judged by what the network was asked and what became of it."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_10.labels_trials import (
    LOGITS,
    MASK,
    B,
    L,
    V,
    X,
    off,
    one_coin,
    overmasked,
    watch,
)


def test(make):
    seen = watch(make)
    assert not seen.spoiled, "x must stay as it was."
    assert seen.draft.shape == seen.labels.shape == (B, L), f"Draft and labels are both shaped {(B, L)}."
    assert seen.calls == 1, f"One step: the network is asked once, not {seen.calls} times."
    assert bool((seen.masked | (seen.z == X)).all()), "The network must be given x with some words masked."
    assert abs(overmasked(seen, 0, 0.5)) < 0.04 and abs(overmasked(seen, 0.5, 1)) < 0.04, (
        "A word of a text with time t must be masked with probability t."
    )
    assert not one_coin(seen), "Every word needs a coin of its own."
    assert bool(((seen.draft >= 0) & (seen.draft < V)).all()), "A draft is complete: no masks, ids below V."
    assert torch.equal(seen.draft[~seen.masked], X[~seen.masked]), "Visible words are in the draft as they stand."
    assert off(seen, LOGITS.softmax(-1)) < 0.06, "The words of the draft must be drawn from softmax(logits)."
    assert torch.equal(seen.labels.double(), seen.wrong.double()), (
        "A label is 1 where the draft differs from x, else 0."
    )
    assert torch.equal(seen.draft, watch(make).draft), "Same generator, same draft."


def sees(fact):
    return lambda make: bool(fact(watch(make)))


def labels_are(wrong):
    return sees(lambda seen: seen.labels.shape == (B, L) and torch.equal(seen.labels.double(), wrong(seen).double()))


MISTAKES = [
    (
        sees(lambda seen: seen.spoiled),
        "Your function writes into x, with which the draft is to be compared. Make z and the draft new tensors, for"
        " example with torch.where.",
    ),
    (
        sees(lambda seen: bool((seen.draft <= 1).all()) and bool((seen.labels > 1).any())),
        "Draft and labels are exchanged: return the draft first.",
    ),
    (sees(lambda seen: torch.equal(seen.z, X)), "The network is given x itself and can copy it. Give it z."),
    (sees(lambda seen: bool((seen.draft == MASK).any())), "There are masks in the draft: fill all of them at once."),
    (
        sees(lambda seen: seen.labels.shape != (B, L)),
        "Labels are missing: the predictor judges every position, kept words too (they are right, label 0). It cannot"
        " see which words were masked.",
    ),
    (
        sees(lambda seen: not bool(((seen.labels == 0) | (seen.labels == 1)).all())),
        "A label is 0 or 1 at every position, also where the word was visible: there it is 0.",
    ),
    (
        labels_are(lambda seen: seen.masked),
        "You call every drafted word wrong. Some are right by luck or by skill: compare the draft with x, not with z.",
    ),
    (labels_are(lambda seen: ~seen.wrong), "The labels are upside down: 1 means wrong. Kept words are right, label 0."),
    (labels_are(lambda seen: ~seen.masked), "You mark the kept words. 1 means wrong, and a kept word is right: 0."),
    (
        labels_are(lambda seen: ~seen.masked | seen.wrong),
        "Kept words are labelled 1. They are the words of x, hence right: label 0.",
    ),
    (
        sees(lambda seen: bool((seen.draft != X)[~seen.masked].any())),
        "Visible words are rewritten in the draft. Keep them: draw only where z is the mask.",
    ),
    (
        sees(lambda seen: seen.calls > 1),
        "Several network calls. The draft is made in one: its mistakes are those of drawing words together.",
    ),
    (
        sees(lambda seen: 0.15 < overmasked(seen, 0, 0.5) < 0.35 and overmasked(seen, 0.5, 1) < -0.15),
        "The masks do not follow the t that is given. Draw no times of your own: compare torch.rand(x.shape) with"
        " t[:, None].",
    ),
    (
        sees(lambda seen: overmasked(seen, 0, 0.5) > 0.35 and overmasked(seen, 0.5, 1) < -0.35),
        "You mask with probability 1 - t. At t = 1 everything is masked: mask where torch.rand(x.shape) < t.",
    ),
    (sees(one_coin), "One coin decides for many words. Every word needs its own: torch.rand(x.shape) < t[:, None]."),
    (
        sees(lambda seen: torch.equal(seen.draft[seen.masked], LOGITS.argmax(-1).expand(B, L)[seen.masked])),
        "The draft takes the likeliest words (argmax). The sampler draws, and its mistakes are to be learned.",
    ),
    (
        sees(lambda seen: off(seen, LOGITS.softmax(-1).softmax(-1)) < 0.04),
        "The draw was given probabilities in the place of logits, so softmax is taken twice. draw(logits, generator)"
        " takes the logits.",
    ),
    (
        sees(lambda seen: off(seen, torch.full((L, V), 1 / V)) < 0.04),
        "The words of the draft are random. Draw them from the network's answer: its own mistakes are to be learned.",
    ),
    (
        lambda make: not torch.equal(watch(make).draft, watch(make).draft),
        "Two runs with the same generator differ. Pass the generator to every draw.",
    ),
]


def reference(model, x, t, mask_id, generator=None):
    masked = torch.rand(x.shape, generator=generator) < t[:, None]
    logits = model(torch.where(masked, mask_id, x), t)
    guess = torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, generator=generator).view(x.shape)
    draft = torch.where(masked, guess, x)
    return draft, draft != x


ex10_4 = Check(
    "10.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Mask x at t, ask model(z, t) once, draw a word for every mask; visible words stay.",
        "The label says whether the draft's word is not the word of x. At visible places that is never so.",
        "draft = torch.where(z == mask_id, guess, x); return draft, draft != x.",
    ],
    reference=reference,
    praise="Mistakes of the frozen denoiser's own making, with labels that cost nothing: no human, no second model.",
)
