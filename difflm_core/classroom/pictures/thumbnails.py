"""One small picture a lesson, for the table in README: what the lesson is about, seen at a glance and without text.

All are drawn from code, course checkpoints and stored studies. Each function returns (figure, alternative text); the
figures are 320 x 180 pixels as files and are shown at half of that, so a line of 1 point is just over a pixel wide.
"""

import math

import torch
from jaxtyping import Float, Int
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor

from difflm_core.classroom.lesson import lessons_folder, load_results
from difflm_core.classroom.pictures.lesson_02 import KINDS
from difflm_core.classroom.pictures.lesson_04 import HUES as LAW_HUES
from difflm_core.classroom.pictures.lesson_05 import SCHEDULE_LOOK
from difflm_core.classroom.pictures.lesson_06 import HUES as SECTOR_HUES
from difflm_core.classroom.pictures.lesson_12 import WRITERS, frontier
from difflm_core.classroom.pictures.overview import Drawn, step_ends
from difflm_core.classroom.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    METHOD_COLOUR,
    ON_VECTORS,
    ORANGE,
    VERMILLION,
)
from difflm_core.classroom.remasking import exact_errors, guided
from difflm_core.classroom.widgets_reader import FOX, usual_noises
from difflm_core.data.toy_language import toy_language
from difflm_core.models.block_attention import block_causal_mask
from difflm_core.oracle import GaussianMixture
from difflm_core.processes import Cosine, GaussianProcess, ShiftedCosine, hybrid, matrices
from difflm_core.samplers import ancestral, sample_masked, sample_remasking
from difflm_core.training.course import course_checkpoint

MASK, PALE, FAINT = "#c8c8c8", "#b5d3ea", "#e4e4e4"
EDGE = 0.03  # share of the picture that stays white at each side


def panels(count: int = 1, gap: float = 0.04, square: bool = False, lines: bool = False) -> tuple[Figure, list[Axes]]:
    """A small figure with `count` axes beside each other, of full height or square, bare or with two axis lines."""
    fig = plt.figure(figsize=(2.0, 1.125), layout="none", facecolor="white")
    width, axes = (1 - 2 * EDGE - (count - 1) * gap) / count, []
    for place in range(count):
        ax = fig.add_axes((EDGE + place * (width + gap), EDGE, width, 1 - 2 * EDGE))
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        if lines:
            ax.spines[["left", "bottom"]].set(visible=True, color=GREY, linewidth=1.0)
        if square:
            ax.set_aspect("equal")
        axes.append(ax)
    return fig, axes


def cells(ax: Axes, faces: list[list[str]], gap: float = 0.12) -> None:
    """A cell for each colour, the first row on top."""
    for r, row in enumerate(faces):
        for c, face in enumerate(row):
            size = (1 - gap, 1 - gap)
            ax.add_patch(Rectangle((c + gap / 2, r + gap / 2), *size, facecolor=face, lw=0))
    ax.set(xlim=(0, len(faces[0])), ylim=(len(faces), 0))


def three_damages(times: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), seed: int = 18) -> Drawn:
    """Lesson 00: the fox sentence under three kinds of noise, a row a time, the colour of a word its part of speech."""
    language = toy_language()
    hues = [GREY] * language.V + [MASK]
    for members, colour in KINDS.values():
        for word in members:
            hues[language.words.index(word)] = colour
    x, noises = language.encode(FOX), usual_noises(language)
    fig, axes = panels(3)
    for ax, name in zip(axes, ("mask", "random words", "Gaussian")):
        rows = []
        for t in times:
            time = torch.tensor([t], dtype=torch.float64)
            z_t = noises[name].corrupt(x[None], time, torch.Generator().manual_seed(seed))
            rows.append([hues[i] for i in noises[name].nearest(z_t, time)[0].tolist()])
        cells(ax, rows, gap=0.16)
    return (
        fig,
        "A sentence of twelve coloured words, destroyed downwards by masks, by random words and by Gaussian noise",
    )


def cloud(points: int = 450) -> Drawn:
    """Lesson 01: three heaps of points in the plane, at three times of the cosine schedule."""
    angles = torch.tensor([90.0, 210.0, 330.0], dtype=torch.float64).deg2rad()
    centres = 1.4 * torch.stack([angles.cos(), angles.sin()], 1)
    heaps = GaussianMixture(torch.ones(3), centres, 0.08 * torch.eye(2, dtype=torch.float64).expand(3, 2, 2))
    generator, process = torch.Generator().manual_seed(1), GaussianProcess(Cosine())
    x = heaps.sample(points, generator)
    hues = [(BLUE, ORANGE, GREEN)[k] for k in torch.cdist(x, centres).argmin(1).tolist()]
    eps = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    fig, axes = panels(3, gap=0.02)
    for ax, t in zip(axes, (0.0, 0.35, 1.0)):
        alpha = process.alpha(torch.tensor([t], dtype=torch.float64))
        ax.scatter(*(alpha.sqrt() * x + (1 - alpha).sqrt() * eps).T, s=2.5, c=hues, lw=0, clip_on=False)
        ax.set(xlim=(-2.5, 2.5), ylim=(-4.2, 4.2))
    return fig, "Three heaps of coloured points that dissolve into one cloud of noise, in three pictures"


def word_vectors() -> Drawn:
    """Lesson 02: the word vectors of the course checkpoint on two principal axes, coloured by part of speech."""
    language, (model, _) = toy_language(), course_checkpoint("diffusion-lm-tiny")
    vectors = model.embedding.detach().double()
    vectors = vectors - vectors.mean(0)
    place = vectors @ torch.linalg.svd(vectors, full_matrices=False)[2][:2].T
    fig, (ax,) = panels()
    for members, colour in KINDS.values():
        rows = [language.words.index(word) for word in dict.fromkeys(members)]
        ax.scatter(*place[rows].T, s=16, color=colour, alpha=0.85, lw=0)
    ax.margins(0.06)
    return fig, "Word vectors in the plane: dots, coloured by part of speech, lie in groups"


def bottleneck() -> Drawn:
    """Lesson 03: the states of the fox sentence, and beside them, to the same scale, the usual latents of the study."""
    N, D = load_results("ld4lg")["settings"]["usual"]
    language, (model, _) = toy_language(), course_checkpoint("mdlm-tiny")
    with torch.no_grad():
        states = model.hidden(language.encode(FOX)[None], torch.zeros(1))[0]
    L, width = states.shape
    gap, middle = 0.5 * width, L / 2
    fig, (ax,) = panels()
    ax.imshow(states, cmap="Greys", extent=(0, width, 0, L), aspect="auto", interpolation="nearest")
    low, high, right = middle - N / 2, middle + N / 2, width + gap
    ax.add_patch(Polygon([(width, 0), (width, L), (right, high), (right, low)], facecolor=FAINT, lw=0))
    for k in range(N):
        ax.add_patch(Rectangle((right, low + k + 0.06), D, 0.88, facecolor=METHOD_COLOUR["ld4lg"], lw=0))
    ax.set(xlim=(0, right + D), ylim=(-0.5, L + 0.5))
    return fig, "A wide grey block of a network's states, funnelled into a few small blue rows of latents"


def equal_parts(parts: int) -> tuple[Float[Tensor, "parts"], Float[Tensor, "parts"]]:
    """Means and variances of N(0, 1) between neighbouring cuts that divide it into equally likely parts."""
    law = torch.distributions.Normal(*torch.tensor([0.0, 1.0], dtype=torch.float64))
    cuts = law.icdf(torch.arange(1, parts, dtype=torch.float64) / parts)
    height, slope = law.log_prob(cuts).exp(), cuts * law.log_prob(cuts).exp()
    zero = cuts.new_zeros(1)  # of both at the two infinite ends
    mean = -parts * torch.cat([height, zero]).diff(prepend=zero)
    return mean, 1 - parts * torch.cat([slope, zero]).diff(prepend=zero) - mean.square()


def eight_laws() -> Drawn:
    """Lesson 04: N(0, 1) cut into eight equal parts, and for each the normal law of its mean and variance."""
    z = torch.linspace(-3, 3, 301, dtype=torch.float64)
    mean, variance = equal_parts(8)
    laws = torch.distributions.Normal(mean[:, None], variance.sqrt()[:, None]).log_prob(z).exp() / 8
    fig, (ax,) = panels()
    for law, hue in zip(laws, LAW_HUES):
        ax.fill_between(z, law, color=hue, alpha=0.7, lw=0)
    ax.plot(z, torch.distributions.Normal(0.0, 1.0).log_prob(z).exp(), color=BLACK, ls=":", lw=1.5)
    ax.set(xlim=(-3, 3), ylim=(0, None))
    return fig, "Eight coloured humps beside each other on a line, and over them the dotted bell of the prior"


def shifted_schedules() -> Drawn:
    """Lesson 05: how much signal is left over t for tan-d, a curve for each d of the stored study."""
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    fig, (ax,) = panels(lines=True)
    for name in load_results("tencdm")["settings"]["schedules"]:
        if name.startswith("tan-"):
            alpha = ShiftedCosine(float(name.removeprefix("tan-"))).alpha(t)
            ax.plot(t, alpha, color=SCHEDULE_LOOK[name][0], lw=2.5)
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    return fig, "Falling curves of one family of noise schedules: the more it is shifted, the sooner the signal is lost"


def settled(z: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N 2"]:
    """Where the points of lesson 06's stirred plane were: b' = b + sin(3a), then a' = a + sin(3b'), undone."""
    a, b = z.unbind(-1)
    a = a - (3 * b).sin()
    return torch.stack([a, b - (3 * a).sin()], -1)


def stirred(side: float = 3.2, points: int = 221) -> Drawn:
    """Lesson 06: eight sectors of the plane, and the same after a step that can be undone exactly."""
    line = torch.linspace(-side, side, points, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)
    fig, axes = panels(2, square=True)
    for ax, z in zip(axes, (plane, settled(plane))):
        sector = ((torch.atan2(z[:, 1], z[:, 0]) + math.pi) / (2 * math.pi) * 8).long().clamp_max(7)
        shown = sector.view(points, points).T
        ax.imshow(shown, origin="lower", cmap=colors.ListedColormap(SECTOR_HUES), vmin=-0.5, vmax=7.5, alpha=0.8)
    return fig, "Eight sectors like slices of a cake, and the same plane stirred into winding bands"


def transition_matrices(K: int = 12, beta: float = 0.25, steps: int = 3) -> Drawn:
    """Lesson 07: who becomes whom in a few steps of uniform, absorbing and Gaussian noise."""
    flat = torch.full((steps,), beta, dtype=torch.float64)
    families = (matrices.uniform(K, flat), matrices.absorbing(K, flat), matrices.gaussian(K, flat / K))
    fig, axes = panels(3, square=True)
    for ax, single in zip(axes, families):
        product = torch.linalg.multi_dot(list(single))
        ax.imshow(product.sqrt(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        ax.spines[:].set(visible=True, color="#aaaaaa", linewidth=0.8)
    return fig, "Three squares of transition probabilities: an even blue with a diagonal, a mask column, a band"


def masked_writing(T: int = 7, seed: int = 4) -> Drawn:
    """Lesson 08: the course checkpoint writes a sentence, a row a step."""
    language, (model, _) = toy_language(), course_checkpoint("mdlm-tiny")
    generator = torch.Generator().manual_seed(seed)
    out = sample_masked(model, ancestral(T), (1, language.length), generator=generator, record=True)
    fig, (ax,) = panels()
    cells(ax, faces(torch.cat([frame.tokens for frame in out.trajectory]), language.V))
    return fig, "A grid of grey masks that fills with blue words, a row a step"


def faces(states: Int[Tensor, "T L"], mask_id: int) -> list[list[str]]:
    """Colours of texts over time (T, L): grey masks, words dark when they are written, pale afterwards."""
    before = torch.cat([states[:1], states[:-1]])
    return [
        [MASK if new == mask_id else PALE if new == old else BLUE for new, old in zip(*pair)]
        for pair in zip(states.tolist(), before.tolist())
    ]


def mixture(p_uniform: float = 0.5) -> Drawn:
    """Lesson 09: over t, the chances that a word is itself, random, or masked."""
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    kept, hidden, random = hybrid(toy_language().V, p_uniform).masses(t)
    fig, (ax,) = panels()
    ax.stackplot(t, kept, random, hidden, colors=[PALE, ORANGE, MASK], edgecolor="white", lw=1.5)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return fig, "From left to right words (blue) give way to masks (grey), with random words (orange) between them"


def taking_back(T: int = 8, seed: int = 20) -> Drawn:
    """Lesson 10: G-Star writes a sentence and masks what does not fit, a row a step."""
    language, (model, _) = toy_language(), course_checkpoint("mdlm-tiny")
    rule, generator = guided(exact_errors(language)), torch.Generator().manual_seed(seed)
    out = sample_remasking(model, rule, T, (100, language.length), generator=generator, record=True)
    row = int(language.grammatical(out.tokens).nonzero()[0, 0])  # the first that ends well
    states = step_ends(out, row)
    fig, (ax,) = panels()
    cells(ax, faces(states, language.V))
    back = (states[1:] == language.V) & (states[:-1] != language.V)
    places = back.nonzero().double() + 0.5
    ax.plot(places[:, 1], places[:, 0] + 1, "x", color=VERMILLION, ms=5, mew=2)
    return fig, "A grid of masks that fills with words; crosses mark words that are taken back and written again"


def who_sees_whom(L: int = 12, sizes: tuple[int, ...] = (1, 4, 12)) -> Drawn:
    """Lesson 11: who may look at whom, for one word a block, for four, and for all in one block."""
    fig, axes = panels(len(sizes), square=True)
    for ax, size in zip(axes, sizes):
        where = block_causal_mask(L, size)
        cells(ax, [[BLUE if seen else FAINT for seen in row] for row in where.tolist()])
    return fig, "Three squares of who sees whom: a triangle word by word, stairs of blocks, and full in one block"


def which_one() -> Drawn:
    """Lesson 12: quality against cost. From the study `scoreboard` where it is stored; else a sketch, no result."""
    fig, (ax,) = panels(lines=True)
    if (lessons_folder() / "results" / "scoreboard.json").is_file():
        study = load_results("scoreboard")
        for writer, (_, method, *_) in WRITERS.items():
            points = frontier(study, *writer)
            calls, shares = ([point[key] for point in points] for key in ("network_calls", "grammatical"))
            mark = "o" if len(points) == 1 else ""
            dashes = "--" if method in ON_VECTORS else "-"
            ax.plot(calls, shares, color=METHOD_COLOUR[method], lw=1.5, ls=dashes, marker=mark, ms=4)
        ax.set(xscale="log", ylim=(0, 1.05))
        ax.tick_params(which="both", length=0, labelbottom=False)
    else:
        cost = torch.linspace(0, 1, 101)
        for colour, speed in zip((GREY, BLUE, VERMILLION, ORANGE), (1, 2, 4, 8)):
            ax.plot(cost, 1 - (-speed * cost).exp(), color=colour, lw=2.5)
        ax.set(xlim=(0, 1), ylim=(0, 1.05))
    return fig, "Curves of quality against cost, a colour for each method"


# one for each lesson, 00 to 12
THUMBNAILS = (
    three_damages, cloud, word_vectors, bottleneck, eight_laws, shifted_schedules, stirred, transition_matrices,
    masked_writing, mixture, taking_back, who_sees_whom, which_one,
)  # fmt: skip
