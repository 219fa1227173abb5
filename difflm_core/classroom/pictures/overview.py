"""The course's key pictures: three corruptions, useless steps, three ways to revise. All from code and checkpoints.

Each function returns (figure, alternative text).
"""

import torch
from jaxtyping import Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from difflm_core.classroom.lesson import load_results
from difflm_core.classroom.pictures.lesson_02 import useless_shares
from difflm_core.classroom.plots import BLUE, GREY, ORANGE, PURPLE, VERMILLION, token_grid
from difflm_core.classroom.recordings import from_states
from difflm_core.classroom.remasking import exact_errors, guided
from difflm_core.classroom.schedule_curves import TIMES, curves, vector_noise
from difflm_core.classroom.sentences import CHANGED, MASKED, compared, sentence
from difflm_core.classroom.trajectories import CHANGED as CHANGED_SITE
from difflm_core.classroom.trajectories import REMASKED, WRITTEN, Trajectory
from difflm_core.classroom.widgets_reader import FOX, usual_noises
from difflm_core.data.toy_language import broken_rules, toy_language
from difflm_core.processes import LinearBeta, ShiftedCosine, Sqrt
from difflm_core.samplers import Sample, remdm, sample_remasking, star
from difflm_core.training.course import course_checkpoint

Drawn = tuple[Figure, str]


def three_corruptions(times: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0), seed: int = 18) -> Drawn:
    """The fox sentence under masks, random words and Gaussian noise (nearest word), at growing noise levels. The
    seed is one that hides as many words as are expected.
    """
    language, rows, labels, said = toy_language(), [], [], []
    x, word = language.encode(FOX), language.words.__getitem__
    noises = usual_noises(language)
    for name in ("mask", "random words", "Gaussian"):
        rows.append(sentence(x, word, language.mask_id))
        labels.append(f"{name}, t = 0")
        for t in times:
            time = torch.tensor([t], dtype=torch.float64)
            z_t = noises[name].corrupt(x[None], time, torch.Generator().manual_seed(seed))
            rows.append(compared(noises[name].nearest(z_t, time)[0], x, word, language.mask_id))
            labels.append(f"t = {t:.2f}")
        gone = [sum(w.mark in (MASKED, CHANGED) for w in row) for row in rows[-len(times) :]]
        said.append(f"{name}: {', '.join(f'{n} of {len(x)} words gone at t = {t:.2f}' for n, t in zip(gone, times))}")
    alt = f"The sentence “{FOX}” destroyed in three ways, a row for each noise level. " + "; ".join(said) + "."
    return token_grid(rows, labels, "Three ways to destroy a sentence"), alt


def useless_steps() -> Drawn:
    """What an ideal reader can recover from noisy word vectors, over t, for four schedules and two widths."""
    study = load_results("recoverable_tokens")
    schedules = {
        "linear beta": (LinearBeta(), GREY),
        "cosine": (ShiftedCosine(1.0), ORANGE),
        "sqrt": (Sqrt(), BLUE),
        "shifted cosine 9": (ShiftedCosine(9.0), PURPLE),
    }
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True)
    said = []
    for ax, D in zip(axes, (16, 128)):
        noise = vector_noise(study, D)
        for name, (schedule, colour) in schedules.items():
            found = curves(schedule, noise)
            easy, noisy = useless_shares(study, name, D)
            ax.plot(TIMES, 100 * found.readable, color=colour, label=f"{name}: {easy + noisy:.0%} useless")
            said.append(f"{name}, D = {D}: {easy:.0%} of the times too easy, {noisy:.0%} too noisy")
        ax.axhspan(98, 113, color="#e4e4e4", lw=0)
        ax.axhspan(0, 100 * noise.blind + 2, color="#e4e4e4", lw=0)
        ax.text(0.02, 105.5, "everything can be read: nothing to learn", fontsize=9, va="center", color="#444444")
        ax.text(0.02, 100 * noise.blind - 3, "nothing can be read", fontsize=9, va="center", color="#444444")
        ax.set(xlabel="t (0: data, 1: noise)", ylim=(0, 113), xlim=(0, 1), title=f"Word vectors of {D} numbers")
        ax.legend(loc="lower left", ncols=2, fontsize=8.5, handlelength=2)
    axes[0].set_ylabel("words an ideal reader\ncan recover, %")
    alt = "Share of words that can be recovered, falling with t, in two panels. Grey: everything, or nothing, can "
    return fig, alt + "be read, so that a step there teaches nothing. " + "; ".join(said) + "."


FACE = {WRITTEN: ("#cfe3f2", ""), CHANGED_SITE: ("#fbe3c8", ""), REMASKED: ("#d0d0d0", "✗")}


def three_grids(T: int = 8) -> Drawn:
    """MDLM, Star and G-Star writing one sentence each: what is masked, written, taken back, and what does not fit."""
    language, (model, _) = toy_language(), course_checkpoint("mdlm-tiny")
    wrong = exact_errors(language)
    shown = {
        "MDLM: what is written stays": (remdm(0.0), 1, False),
        "Star: coins take back": (star(), 19, True),
        "G-Star: errors are taken back": (guided(wrong), 20, True),
    }
    fig, axes = plt.subplots(1, 3, figsize=(11, 4.1))
    said = []
    for ax, (title, (rule, seed, good)) in zip(axes, shown.items()):
        generator = torch.Generator().manual_seed(seed)
        out = sample_remasking(model, rule, T, (100, language.length), generator=generator, record=True)
        row = int((language.grammatical(out.tokens) == good).nonzero()[0, 0])  # the first that ends so
        film = from_states(
            step_ends(out, row), language.words.__getitem__, language.V, [1 - k / T for k in range(T + 1)]
        )
        grid(ax, film, title, wrong)
        broken = [rule for rule, hit in broken_rules(language, out.tokens[row][None]).items() if hit[0]]
        verdict = "✗ breaks: " + ", ".join(broken) if broken else "✓ grammatical"
        words = language.decode(out.tokens[row]).split()
        ax.set_xlabel(f"{' '.join(words[:6])}\n{' '.join(words[6:])}\n{verdict}", fontsize=8.5)
        back = sum(site.change == REMASKED for step in film.steps for site in step.sites)
        said.append(f"{title}: {back} words taken back, ends with “{' '.join(words)}”, {verdict[2:]}")
    axes[0].set_yticks([k + 0.5 for k in range(T + 1)], [f"t = {1 - k / T:.2f}" for k in range(T + 1)], fontsize=8)
    fig.supxlabel("grey: masked · blue: just written · ✗: taken back in this step · ring: does not fit", fontsize=9)
    alt = f"Three grids, {T + 1} rows in time and {language.length} places. Grey: masked; blue: just written; ✗: taken "
    return fig, alt + "back; ring: does not fit (exact error probability above one half). The " + (
        "sentences are the first of 100 that broke (MDLM) or held (the others). " + "; ".join(said) + "."
    )


def step_ends(out: Sample, row: int) -> Int[Tensor, "T L"]:
    """The states at the end of each step: of a guided step's two frames, the second."""
    film = out.trajectory
    last = [k for k in range(1, len(film)) if k + 1 == len(film) or film[k + 1].time[row] < film[k].time[row]]
    return torch.stack([film[k].tokens[row] for k in [0, *last]])


def grid(ax: Axes, film: Trajectory, title: str, wrong) -> None:
    for r, step in enumerate(film.steps):
        ids = torch.tensor([[site.id for site in step.sites]])
        fits = wrong(ids)[0] if r else torch.zeros(film.length)
        for c, site in enumerate(step.sites):
            masked = site.id == film.mask_id
            face, sign = FACE.get(site.change, ("#d0d0d0" if masked else "white", ""))
            ax.add_patch(plt.Rectangle((c + 0.06, r + 0.06), 0.88, 0.88, facecolor=face, edgecolor="#bbbbbb", lw=0.8))
            if sign:
                ax.text(c + 0.5, r + 0.5, sign, ha="center", va="center", fontsize=9, color=VERMILLION)
            elif not masked and fits[c] > 0.5:
                ax.plot(c + 0.5, r + 0.5, "o", ms=8, mfc="none", mec=VERMILLION, mew=2)
            elif not masked:
                ax.plot(c + 0.5, r + 0.5, ".", ms=4, color="#777777")
    ax.set(xlim=(0, film.length), ylim=(len(film.steps), 0), xticks=[], yticks=[])
    ax.set_title(title, fontsize=10.5)
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
