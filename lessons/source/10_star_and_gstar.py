# %% [markdown]
# # 10 · Star and G-Star: can the *sampler* revise?
#
# **Minutes** 50 to read, about 2 of computing on 2 CPU cores · **Prerequisites** lesson 08 (masked diffusion: its posterior, its loss, sampling)
#
# A masked diffusion model fills blanks and never changes what it has written. A word that was a mistake stays, and every later word must live with it. GIDD (lesson 09) changes the *training* so that words can be
# corrected. Here we leave the trained network as it is, and change only how we sample from it.
#
# **The question of this lesson.** May a sampler take back words that it has written, without training the denoiser again? How many, when, and *which*?
#
# After this lesson you can
# - derive a family of samplers, with one free number per step, that all fit the same trained network, and say where MDLM, ReMDM and Star lie in it,
# - show by exact numbers what such a sampler keeps and what it does not,
# - train a small network that finds mistakes, and say why a cheaper detector beats it on its own test and loses where it matters,
# - compare samplers fairly: at equal network *calls*, with diversity beside quality.
#
# Nothing is downloaded: the toy language of lesson 08, and its trained model (0.24 M parameters, a course checkpoint).

# %%
import itertools
import math
from math import comb

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import one_hot

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.plots import GREY, METHOD_COLOUR, ORANGE, label_lines, style_of, token_grid
from difflm_core.classroom.sentences import CHANGED, MASKED, NEW, WRONG, Word, sentence
from difflm_core.data.toy_language import broken_rules, toy_language
from difflm_core.processes import masked
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=10)
language = toy_language()
V, L, MASK = language.V, language.length, language.mask_id  # 114 words; sentences of 12; the mask has id V
word = language.words.__getitem__
process = masked(V)
model, _ = course_checkpoint("mdlm-tiny")
model.eval()
print(
    f"{sum(p.numel() for p in model.parameters()):,} parameters, exact entropy {language.entropy() / L:.4f} nats per word"
)

# %% [markdown]
# ## 1 · A mistake that stays
#
# We let the model write 200 sentences in $T = 8$ ancestral steps (lesson 08) and look at the first one that breaks a rule. The grid shows it over time, first row on top. Rules of the language: subject, verb and its/their agree in
# number, the object with its determiner, the colour comes twice, and the words come in one of three orders ("... with its brown cub" is one, "... dog in brown boots" another).
#
# **Predict:** at which row was the sentence lost, and which words would you take back?

# %%
from difflm_core.samplers import remdm, sample_remasking


def revisions(frames, row):
    """One sentence over time: new words, rewritten words, and words that were taken back in this very step."""
    grid, before, last = [], [MASK] * L, [None] * L  # `last`: the word that stood here most recently
    for frame in frames:
        now = frame.tokens[row].tolist()
        cells = []
        for i, token in enumerate(now):
            if token == MASK:
                cells.append(Word("▢", MASKED) if before[i] == MASK else Word("✗" + word(before[i]), WRONG))
            elif before[i] == MASK:
                cells.append(Word(word(token), CHANGED if last[i] not in (None, token) else NEW))
                last[i] = token
            else:
                cells.append(Word(word(token)))
        grid.append(cells)
        before = now
    return grid


def level(step, T):
    return f"t = {step / T:.2f}"


T = 8
mdlm_out = sample_remasking(model, remdm(0.0), T, (200, L), generator=lesson.generator(1), record=True)
good = language.grammatical(mdlm_out.tokens)
mdlm_row = int((~good).nonzero()[0, 0])
broken = [rule for rule, hit in broken_rules(language, mdlm_out.tokens[mdlm_row][None]).items() if hit[0]]
show(
    token_grid(
        revisions(mdlm_out.trajectory, mdlm_row), [level(k, T) for k in range(T, -1, -1)], "MDLM: what is written stays"
    ),
    f"Grid of {T + 1} rows and {L} columns, from all masks to: {language.decode(mdlm_out.tokens[mdlm_row])}. No word ever changes. Broken: {', '.join(broken)}.",
    f"Outlined: just written. The finished sentence breaks: {', '.join(broken)}.",
)
print(f"broken: {1 - good.double().mean().item():.0%} of 200 sentences")

# %% [markdown]
# It was lost at $t = 0.50$: "fox" and "den", written in the same step, belong to two different word orders. Words written in the same step are drawn without seeing each other; once two of them disagree all later rows inherit the conflict. So it goes
# with half of the sentences.
#
# ## 2 · What did training fix?
#
# The network's loss (lesson 08) shows it one noisy text $z_t$ at a time. It uses the *marginal*
#
# $$q(z_t \mid x) = \alpha_t\,x + (1 - \alpha_t)\,m, \qquad \alpha_t = 1 - t,$$
#
# and nothing else: how $z_t$ and an earlier $z_s$ belong together never enters what the network is asked. Two processes with the same marginals fit the same network:
#
# ```
#   MDLM:  x ──► z_0.25 ──► z_0.5 ──► z_1          Star:   z_0.25 ◄──┐   ┌──► z_0.5
#          once masked, masked for ever                              x
#                                                          z_0.75 ◄──┘   └──► z_1
# ```
#
# In the **star** process (Meshchaninov, Shibaev et al. 2025) every $z_t$ is made from $x$ directly. Given $x$, the different $z_t$ are independent; without $x$ they are not, and they form no Markov chain. A word can be masked at $t = 0.3$, visible at
# $0.6$, and masked again at $0.8$. Read backwards, that is the permission to take a word back.
#
# ### One free number per step
#
# Let us write down *every* step from $t$ to $s < t$ that treats positions alike. Knowing $x$, a **visible** token is masked again with some probability $\sigma$ (and stays with $1 - \sigma$), a **masked** one is revealed with some
# probability $\rho$. The marginal at $s$ must come out right, and it is the only condition. A token is visible at $t$ with probability $\alpha_t$, so
#
# $$\underbrace{\alpha_t (1 - \sigma)}_{\text{stays}} + \underbrace{(1 - \alpha_t)\,\rho}_{\text{is revealed}} = \alpha_s
# \qquad\Longrightarrow\qquad \rho = \frac{\alpha_s - (1 - \sigma)\,\alpha_t}{1 - \alpha_t}. $$
#
# One equation, two unknowns: $\sigma$ is free. This is ReMDM (Wang et al. 2025, Eq. 6 and Theorem 3.1). What is taken back is made up for by revealing more. Two choices:
#
# - $\sigma = 0$: $\rho = \frac{\alpha_s - \alpha_t}{1 - \alpha_t}$, **MDLM**'s ancestral step.
# - $\sigma = 1 - \alpha_s$: $\rho = \frac{\alpha_s - \alpha_s \alpha_t}{1 - \alpha_t} = \alpha_s$. Whether it was visible or not, a token is shown afterwards with probability $\alpha_s$. That is **Star**: write a complete draft $\hat x$ (visible words
#   stay, masks are filled), then make $z_s \sim q(z_s \mid \hat x)$ from it, as if it were the clean text. $z_t$ matters only through the draft.
#
# And the limit: $\rho \le 1$ asks for $\sigma \le \frac{1 - \alpha_s}{\alpha_t}$, and $\sigma$ is a probability itself. So $\sigma_{\max} = \min\{1, \frac{1-\alpha_s}{\alpha_t}\}$ (Eq. 7). Star's $1 - \alpha_s$ is always allowed, because $\alpha_t \le 1$.
#
# **Predict:** on $T = 16$ steps, draw in your mind Star's $\sigma$ and the bound $\sigma_{\max}$ against $t$. Where do they meet? (The orange line, ReMDM's *forward-backward* choice, comes in section 7.)

# %%
from difflm_core.samplers import sigma_max

T = 16
t_grid = torch.arange(T, 0, -1, dtype=torch.float64) / T
alpha_t, alpha_s = 1 - t_grid, 1 - t_grid + 1 / T
bound = sigma_max(alpha_t, alpha_s)
choices = {
    "bound": (bound, GREY, "--"),
    "Star": (1 - alpha_s, METHOD_COLOUR["star"], "-"),
    "forward-backward": (torch.minimum((alpha_s - alpha_t) / alpha_t.clamp_min(1e-9), bound), ORANGE, "-"),
    "MDLM": (0 * alpha_t, METHOD_COLOUR["mdlm"], "-"),
}
fig, ax = plt.subplots(figsize=(7.2, 3.2))
for name, (sigma, colour, dashes) in choices.items():
    ax.plot(t_grid, sigma, dashes, color=colour, label=name, drawstyle="steps-mid")
ax.fill_between(t_grid, bound, 1.02, color="#eeeeee", lw=0, step="mid")
ax.set(
    xlim=(1.02, 0), ylim=(-0.02, 1.02), xlabel="t (sampling goes to the right)", ylabel="probability to be taken back"
)
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
show(
    fig,
    f"Sigma against t on {T} steps: MDLM is 0 throughout; Star falls in a straight line from {1 - alpha_s[0].item():.2f} to 0; the bound is 1 until t = 0.5 and then falls to 0; the forward-backward corrector starts at the bound, falls quickly and stays low. Above the bound is grey: not allowed.",
    "Every curve under the dashed one is a sampler for the same network.",
)
written = {
    name: ((1 - alpha_t) * (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)).sum().item()
    for name, (sigma, _, _) in choices.items()
}
print(
    "how often a position is written, on average:", ", ".join(f"{name} {times:.2f}" for name, times in written.items())
)

# %% [markdown]
# Star meets the bound in the last step only, where both are 0: nothing may be taken back at the end. (At $t = 1$ nothing is visible, and $\sigma$ does not matter.) The printed line is $\sum_t (1 - \alpha_t)\,\rho_t$, the expected number of times that a position is written:
# once for MDLM, for Star about $T/6$ times when $T$ is large ($T \int t(1-t)\,dt$; half a time more on a grid as coarse as this). More steps mean more second thoughts.
#
# ## 3 · The whole family in thirty lines
#
# Note what does *not* appear in this code: training.

# %%
from difflm_core.samplers import draw_from


@torch.no_grad()
def reverse_step(z, alpha_t, alpha_s, sigma, generator):
    """One step of any sampler of the family: z_t (B, L) -> z_s (B, L)."""
    reveal = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)
    u = torch.rand(z.shape, generator=generator, dtype=torch.float64)  # one coin per position
    p = model(z, None).softmax(-1)  # (B, L, V)
    is_revealed = (z == MASK) & (u < reveal)
    is_taken_back = (z != MASK) & (u >= 1 - sigma)
    z = z.masked_fill(is_taken_back, MASK)
    z[is_revealed] = draw_from(p[is_revealed], generator)
    return z


def sample(sigma_of, T, n, generator):
    """n sentences in T steps; sigma_of(t, s) says how much is taken back."""
    z = torch.full((n, L), MASK)
    for k in range(T, 0, -1):
        t, s = k / T, (k - 1) / T
        z = reverse_step(z, 1 - t, 1 - s, sigma_of(t, s), generator)
    return z


def two_stages(T, n, generator):
    """Star as the paper tells it: draft the whole text, then noise the draft to level s."""
    z = torch.full((n, L), MASK)
    for k in range(T, 0, -1):
        s = (k - 1) / T
        survives = torch.rand(n, L, generator=generator, dtype=torch.float64) < 1 - s
        p = model(z, None).softmax(-1).detach()
        draft = z.clone()
        wanted = (z == MASK) & survives  # words that stage two hides need not be drawn
        draft[wanted] = draw_from(p[wanted], generator)
        z = torch.where(survives, draft, MASK)
    return z


# %% [markdown]
# The claim of section 2 is an identity: Star *is* ReMDM with $\sigma = 1 - \alpha_s$. With the same random numbers the two programs above should therefore write the same sentences, and the package's `sample_remasking` with
# its rule `star()` as well.

# %%
from difflm_core.samplers import star

n = lesson.pick(200, 60)
by_sigma = sample(lambda t, s: s, 8, n, lesson.generator(2))  # 1 - alpha_s = s on the linear schedule
by_draft = two_stages(8, n, lesson.generator(2))
by_core = sample_remasking(model, star(), 8, (n, L), generator=lesson.generator(2)).tokens
ours_mdlm = sample(lambda t, s: 0.0, 8, n, lesson.generator(3))
core_mdlm = sample_remasking(model, remdm(0.0), 8, (n, L), generator=lesson.generator(3)).tokens


def agree(a, b):
    return (a == b).all(1).double().mean().item()


# %%
# NBVAL_CHECK_OUTPUT
print("Star in two stages writes what ReMDM with sigma = 1 - alpha_s writes:", agree(by_sigma, by_draft) > 0.97)
print("so does the package's star():", agree(by_sigma, by_core) > 0.97)
print("with sigma = 0, the package's MDLM:", agree(ours_mdlm, core_mdlm) > 0.97)
try:
    sample_remasking(model, remdm(0.3), 8, (2, L), generator=lesson.generator(4))
except ValueError as error:
    print("a fixed sigma of 0.3 is refused where it passes the bound:", "cut it at sigma_max" in str(error))

# %% [markdown]
# ## 4 · What is kept, and what is not: exact numbers
#
# The marginals are preserved, says the theorem. Are the samples then as good as before? We check on a language small enough to write everything down: two words, three places, $3^3 = 27$ canvases, a hidden state that
# rarely changes (so the words like to agree), and its *exact* denoiser. A step is then a $27 \times 27$ matrix, and a sampler a product of such matrices. No sampling, no training, no error bars.

# %%
from difflm_core.oracle import HiddenMarkovLanguage

mini = HiddenMarkovLanguage(
    torch.tensor([0.7, 0.3]),  # initial state
    torch.tensor([[0.95, 0.05], [0.1, 0.9]]),  # transitions
    torch.tensor([[0.9, 0.1], [0.05, 0.95]]),  # emissions
    ["a", "b"],
    3,
)
canvases = torch.tensor(list(itertools.product(range(3), repeat=3)))  # (27, 3); 2 is the mask
guess = mini.denoiser(masked(2))(canvases, torch.full((27,), 0.5)).softmax(-1).double()  # (27, 3, 2) exact p(x_i | z)
texts = canvases[(canvases < 2).all(1)]  # (8, 3)


def noised(alpha):
    """(27,) the exact q(z_t): a text of the language, each place kept with probability alpha, else masked."""
    site = alpha * one_hot(texts, 3).double() + (1 - alpha) * torch.tensor([0.0, 0.0, 1.0])  # (8, place, symbol)
    each = site[:, 0, canvases[:, 0]] * site[:, 1, canvases[:, 1]] * site[:, 2, canvases[:, 2]]  # (8, 27)
    return mini.log_prob(texts).exp() @ each


truth = noised(1.0)


def transition(alpha_t, alpha_s, sigma):
    """(27, 27): from each canvas to each, positions moving independently."""
    reveal = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)
    filled = torch.cat([reveal * guess, torch.full((27, 3, 1), 1 - reveal)], -1)
    kept = (1 - sigma) * one_hot(canvases, 3).double()
    kept[..., 2] += sigma
    site = torch.where((canvases == 2)[..., None], filled, kept)  # (27, place, symbol)
    return site[:, 0, canvases[:, 0]] * site[:, 1, canvases[:, 1]] * site[:, 2, canvases[:, 2]]


def one_place(p):
    """(3, 3) the distribution of each place on its own."""
    return torch.stack([torch.stack([p[canvases[:, i] == v].sum() for v in range(3)]) for i in range(3)])


def distance(p, q):
    """Total variation."""
    return 0.5 * (p - q).abs().sum().item()


off_place, off_text = {}, {}
print(f"{'one step, t = 0.6 to s = 0.4':30s}{'a single place is off by':>26s}{'the whole text by':>20s}")
for name, sigma in {
    "MDLM, sigma = 0": 0.0,
    "sigma = 0.2": 0.2,
    "Star, sigma = 0.4": 0.4,
    "the bound, sigma = 1": 1.0,
}.items():
    after = noised(0.4) @ transition(0.4, 0.6, sigma)
    off_place[name] = (one_place(after) - one_place(noised(0.6))).abs().max().item()
    off_text[name] = distance(after, noised(0.6))
    print(f"{name:30s}{off_place[name]:26.1e}{off_text[name]:20.4f}")

# %%
# NBVAL_CHECK_OUTPUT
print("every place on its own is exactly right after the step:", max(off_place.values()) < 1e-6)
print("the text as a whole is not, whatever sigma:", min(off_text.values()) > 1e-3)

# %% [markdown]
# The theorem is about each place, and there it holds to the last digit of float32. About the *text* it says nothing: words drawn in one call are independent of each other, whatever $\sigma$ is. That is MDLM's old error, and a larger $\sigma$ draws more words at once.
#
# But then Star comes back and redraws. Does it make up for it? **Predict:** with a perfect denoiser and many steps, which is nearer to the truth, MDLM or Star?


# %%
def take_back_exactly(count):
    """(27, 27): `count` of the three places are masked, all choices equally likely."""
    K = torch.zeros(27, 27, dtype=torch.float64)
    for places in itertools.combinations(range(3), count):
        after = canvases.clone()
        after[:, list(places)] = 2
        K[torch.arange(27), after @ torch.tensor([9, 3, 1])] += 1 / comb(3, count)
    return K


def law(T, how):
    """(27,) the exact distribution of what a sampler writes in T steps."""
    p = noised(0.0)  # all masks
    for k in range(T, 0, -1):
        t, s = k / T, (k - 1) / T
        if how == "exact count":  # complete draft, then exactly ceil(3 s) places
            p = p @ transition(0.0, 1.0, 0.0) @ take_back_exactly(math.ceil(3 * s - 1e-9))
        else:
            sigma = s if how == "Star" or (how == "Star+ 0.3" and t <= 0.3) else 0.0
            p = p @ transition(1 - t, 1 - s, sigma)
    return p


hows = ("MDLM", "Star", "Star+ 0.3", "exact count")
steps = [1, 2, 4, 8, 16, 32, 64, 128, 256]
off = {how: [distance(law(T, how), truth) for T in steps] for how in hows}
fig, ax = plt.subplots(figsize=(7.2, 3.8))
looks = dict(
    zip(
        hows,
        [style_of("mdlm"), style_of("star"), style_of("star") | {"linestyle": "--"}, {"color": GREY, "marker": "s"}],
    )
)
for how in hows:
    ax.plot(steps, off[how], label=how, **looks[how])
ax.set(
    xscale="log",
    yscale="log",
    xlabel="steps T",
    ylabel="total variation from the truth",
    title="A perfect denoiser, three places: exact errors",
)
ax.set_xticks(steps, steps, minor=False)
ax.set_xticks([], minor=True)
label_lines(ax)
show(
    fig,
    f"Total variation against steps on logarithmic axes. At 1 step all are {off['MDLM'][0]:.2f}. At 256 steps: MDLM {off['MDLM'][-1]:.4f}, Star {off['Star'][-1]:.4f}, Star+ {off['Star+ 0.3'][-1]:.4f}, exact count {off['exact count'][-1]:.1e}.",
    "Straight lines are powers of T. An exact count falls faster than any.",
)
print(
    f"error from T = 64 to 256: MDLM divided by {off['MDLM'][-3] / off['MDLM'][-1]:.2f}, Star by {off['Star'][-3] / off['Star'][-1]:.2f}"
)

# %%
# NBVAL_CHECK_OUTPUT
print("MDLM's error falls like 1/T:", abs(off["MDLM"][-3] / off["MDLM"][-1] - 4) < 0.2)
print("Star's error falls like 1/sqrt(T):", abs(off["Star"][-3] / off["Star"][-1] - 2) < 0.2)
print("an exact count is nearest to the truth:", off["exact count"][-1] < off["MDLM"][-1] / 100)

# %% [markdown]
# A surprise for whoever thought that revising must help: with many steps **Star is worse than MDLM**. Its error falls only like $T^{-1/2}$.
#
# <details><summary>Why 1/√T? (ten lines, worth opening)</summary>
#
# Take two places that ought to agree. They are wrong if their words were drawn in the same call and neither has been redrawn since. MDLM reveals two given places in the same step with probability $T \cdot (1/T)^2 = 1/T$. In Star, at a
# step around $t$, both are masked with probability $t^2$ and both shown with $(1-s)^2$. The pair survives all later steps with probability $\prod_j (1 - s_j)^2 \approx e^{-T t^2}$, because each word is taken back with probability
# $s_j$ in the step that ends at $s_j$. So only $t \lesssim 1/\sqrt T$ counts, where $1 - s \approx 1$, and
#
# $$\sum_{k} t_k^2\, e^{-T t_k^2} \;\approx\; T \int_0^\infty t^2 e^{-T t^2}\,dt = \frac{\sqrt\pi}{4}\,\frac{1}{\sqrt T}.$$
#
# The whole first part of the walk is forgotten; the mistakes that remain were made in the last $\sqrt T$ steps or so, in which Star now and then still redraws both at once. The test
# `test_errors_of_parallel_drawing_fall_as_one_over_T_but_as_its_root_for_star` in `tests/test_remasking.py` holds this rate.
# </details>
#
# The grey curve takes back *exactly* $N_s = \lceil (1 - \alpha_s) L \rceil$ places, chosen at random, in place of tossing a coin for each. When $T$ is much larger than $L$, its last $T/L$ steps take back one place each: nothing is drawn together any more. Each of these steps redraws one word given all others (Gibbs sampling), and with a perfect denoiser that never leads away from the truth.
# Keep this curve in mind: G-Star, below, uses exact counts too, and part of what it gains has nothing to do with a clever choice.
#
# ## 5 · A bound that gets worse
#
# Does the family come with a likelihood? For Star the KL of one step is again a cross-entropy. Both $q(z_s \mid x)$ and the model's step put $1 - \alpha_s$ on the mask; they differ in what is shown, $\alpha_s$ on $x$ for the truth and
# $\alpha_s\,x_\theta$ for the model. Hence, at a masked position,
#
# $$\mathrm{KL} = \alpha_s \cdot \big[-\log x_\theta(x)\big] \qquad\text{instead of MDLM's}\qquad \frac{\alpha_s - \alpha_t}{1 - \alpha_t}\cdot\big[-\log x_\theta(x)\big],$$
#
# in general $\rho \cdot [-\log x_\theta(x)]$, and 0 where the word is visible. Positive weights on the same cross-entropies: the *minimiser* is the same, which is why MDLM's network may be used. But add the steps up. MDLM's weights are of order $1/T$, Star's of order 1.
#
# **Predict:** what will the bound be at $T = 64$, if the entropy is 1.754 nats per word?

# %%
batch = language.sample(lesson.pick(2048, 256), generator=lesson.generator(5))


@torch.no_grad()
def cross_entropy_with(n):
    """Mean cross-entropy (nats) of a masked word when n of the L words are masked."""
    hidden = torch.rand(batch.shape, generator=lesson.generator(6)).argsort(1).argsort(1) < n
    log_p = model(batch.masked_fill(hidden, MASK), None).log_softmax(-1)
    return -log_p.gather(-1, batch[..., None])[..., 0][hidden].mean().item()


C = [0.0] + [cross_entropy_with(n) for n in range(1, L + 1)]


def bound_of(T, sigma_of):
    """Sum over the steps of rho times the expected cross-entropy of the masked words, in nats per word."""
    total = 0.0
    for k in range(T, 0, -1):
        t, s = k / T, (k - 1) / T
        reveal = ((1 - s) - (1 - sigma_of(t, s)) * (1 - t)) / t
        total += reveal * sum(comb(L, n) * t**n * (1 - t) ** (L - n) * n * C[n] for n in range(L + 1))
    return total / L


grid = [1, 4, 16, 64, 256]
table = {
    "MDLM": [bound_of(T, lambda t, s: 0.0) for T in grid],
    "Star+ 0.3": [bound_of(T, lambda t, s: s if t <= 0.3 else 0.0) for T in grid],
    "Star": [bound_of(T, lambda t, s: s) for T in grid],
}
print(f"{'bound, nats per word':22s}" + "".join(f"{f'T = {T}':>10s}" for T in grid))
for name, values in table.items():
    print(f"{name:22s}" + "".join(f"{value:10.3f}" for value in values))

# %%
# NBVAL_CHECK_OUTPUT
print("one step is one step:", abs(table["Star"][0] - table["MDLM"][0]) < 1e-9)
print(
    "MDLM's bound tightens with T, and ends near the entropy:",
    table["MDLM"][-1] < table["MDLM"][1] and abs(table["MDLM"][-1] - language.entropy() / L) < 0.1,
)
print("Star's bound grows about fourfold from T = 64 to 256:", 3.5 < table["Star"][-1] / table["Star"][-2] < 4.2)

# %% [markdown]
# Star's bound is a bound, and useless: it charges every word each time it is written, about $T/6$ times. So Star has no likelihood worth reporting. Train and *evaluate* with $\sigma = 0$; use $\sigma > 0$ to sample. (ReMDM's authors do
# the same: their bound is looser for every $\sigma > 0$.)
#
# ## 6 · How many, and when: Star, Star+ and a perfect denoiser
#
# Early in the walk Star wastes its drafts: at $t = 0.9$ a word that has just been written is taken back in the next step with probability $s$, at ten steps or more at least 0.8. **Star+** therefore walks like MDLM until a switch time $t_{\mathrm{on}}$, and takes star steps
# after it. The authors use $t_{\mathrm{on}} = 0.3$, and report that pure Star (from $t = 1$) fails, because remasking early destroys the draft.
#
# The stored study lets every sampler write sentences of the toy language with the *exact* denoiser as its network, so that whatever is wrong is the sampler's doing.
# **Predict** for the left picture: where does pure Star lie, compared with MDLM, at 4 steps and at 32?

# %%
study = load_results("star_samplers")


def exact_band(sampler, key="grammatical"):
    """(steps, mean, lowest, highest) over the stored seeds."""
    rows = [r for r in study["runs"] if r["sampler"] == sampler]
    at = sorted({r["steps"] for r in rows})
    table = torch.tensor([[r[key] for r in rows if r["steps"] == T] for T in at])  # (steps, seeds)
    return at, table.mean(1), table.min(1).values, table.max(1).values


def plot_band(ax, band, scale=100, **look):
    at, mean, low, high = band
    ax.plot(at, scale * mean, **look)
    ax.fill_between(at, scale * low, scale * high, color=look["color"], alpha=0.15, lw=0)


fig, (left, right_ax) = plt.subplots(1, 2, figsize=(10.5, 3.9))
curves = {
    "ancestral": ("MDLM", style_of("mdlm")),
    "star": ("Star", style_of("star")),
    "star+ 0.3": ("Star+ 0.3", style_of("star") | {"linestyle": "--"}),
    "exact count 1.0": ("exact count", {"color": GREY, "marker": "s"}),
}
for sampler, (label, look) in curves.items():
    plot_band(left, exact_band(sampler), label=label, **look)
left.set(xscale="log", xlabel="steps T", ylabel="grammatical sentences, %", title="A perfect denoiser")
left.set_xticks(study["settings"]["steps"], study["settings"]["steps"])
left.set_xticks([], minor=True)
left.legend()
switches = [(0.0, "ancestral"), *((t, f"star+ {t}") for t in study["settings"]["t_on"]), (1.0, "star")]
for T, dashes in ((4, ":"), (8, "--"), (32, "-")):
    bands = [exact_band(sampler) for _, sampler in switches]
    place = bands[0][0].index(T)
    mean, low, high = (100 * torch.stack([band[i][place] for band in bands]) for i in (1, 2, 3))
    right_ax.plot([t for t, _ in switches], mean, ls=dashes, marker="o", color=METHOD_COLOUR["star"], label=f"T = {T}")
    right_ax.fill_between([t for t, _ in switches], low, high, color=METHOD_COLOUR["star"], alpha=0.15, lw=0)
right_ax.set(
    xlabel="switch time t_on (0: MDLM, 1: pure Star)", ylabel="grammatical sentences, %", title="When to begin"
)
right_ax.legend(ncols=3, loc="upper right", bbox_to_anchor=(1.0, 0.87))
shares = {label: ", ".join(f"{100 * m:.0f}" for m in exact_band(sampler)[1]) for sampler, (label, _) in curves.items()}
show(
    fig,
    f"Grammatical sentences in per cent. Left, at T = {', '.join(map(str, study['settings']['steps']))}: "
    + "; ".join(f"{k} {v}" for k, v in shares.items())
    + ". Right: the same against the switch time of Star+, for T = 4, 8 and 32.",
    f"{study['settings']['samples']} sentences for each of {len({r['seed'] for r in study['runs']})} seeds, mean and range. Remake with `{study['command']}`.",
)

# %% [markdown]
# With few steps pure Star is clearly *better* than MDLM, at 8 steps by eight or nine points; at 32 steps the two are level, and MDLM's curve is the steeper one: section 4 says who wins in the end. (Equal steps are not equal calls: at 8 steps Star asks the network 7.5 times, MDLM 6.4 times. Section 7 has the picture against calls.) On the right: with few steps the earlier one begins to revise the better, with many it does not matter.
# There is no peak in the middle and no collapse at $t_{\mathrm{on}} = 1$. The authors' finding that pure Star fails is *not* reproduced here. Why not? A denoiser that is (nearly) perfect makes a usable draft from anything, and twelve words are few: at $T = 32$ Star rewrites about two words per step.
# On a text of 512 words with $T = 128$ the same $\sigma$ redraws some 80 words at a time around $t = 0.8$, and an imperfect network must work from contexts that its own bad drafts left behind. So we would expect the cost of early
# remasking to grow with length and with the network's faults; our language has little of either. (That is an argument, not a measurement.)
#
# The **exact count** (from $t = 1$, places at random) is ahead of all of them from four steps on, at no cost in variety: its right sentences are as likely as true ones (the gap is in the stored study). It is not quite free: it uses every one of its $T$ calls, where MDLM, having nothing to write in some steps, needs fewer.
#
# ## 7 · ReMDM, the relative
#
# ReMDM is the same family with gentler choices of $\sigma$. The package has them as *rules* of one sampler, `sample_remasking(model, rule, T, shape)`:
#
# | rule | $\sigma$ | when |
# |---|---|---|
# | `remdm(0.0)` (MDLM) | 0 | |
# | `remdm_cap(eta)` | $\min\{\eta, \sigma_{\max}\}$ | the paper: $\eta = 0.04$ for $T < L$ |
# | `remdm_rescale(eta)` | $\eta\,\sigma_{\max}$ | |
# | `forward_backward()` | $(\alpha_s - \alpha_t)/\alpha_t$, cut at the bound | one step forward in noise, two back |
# | `star()`, `star_plus(t_on)` | $1 - \alpha_s$ | from $t = 1$, or from $t_{\mathrm{on}}$ |
# | `remdm_loop(t_on, t_off, alpha_on)` | any | holds the level at $\alpha_{\mathrm{on}}$ while words are exchanged |
# | `remdm_conf()` | $\sigma_{\max}$ shared out by softmax(−probability when written) | |
#
# Two of them hide something. Star's own *loop* variant, `star_loop()`, seems to have a clock of its own (a rule's clock says which share is masked after each step); and `remdm_conf` chooses by confidence. **Predict:** is what `remdm_conf` takes back made up for?

# %%
from difflm_core.processes import Linear
from difflm_core.samplers import remdm_cap, remdm_conf, remdm_loop, star_loop

clocks = [rule.clock(Linear()) for rule in (star_loop(), remdm_loop(0.55, 0.05, alpha_on=0.9))]
clock_gap = max(abs(clocks[0](t) - clocks[1](t)) for t in torch.linspace(0, 1, 101).tolist())

T, n = 16, lesson.pick(800, 400)
masks = {}
for name, rule in {"MDLM": remdm(0.0), "cap 0.04": remdm_cap(0.04), "Star": star(), "conf": remdm_conf()}.items():
    out = sample_remasking(model, rule, T, (n, L), generator=lesson.generator(7), record=True)
    masks[name] = [(frame.tokens == MASK).double().mean().item() for frame in out.trajectory]
print(f"share of masks at t = {', '.join(f'{k / T:.2f}' for k in (12, 8, 4, 2))}")
for name, share in masks.items():
    print(f"{name:10s}" + "".join(f"{share[T - k]:8.3f}" for k in (12, 8, 4, 2)))

# %%
# NBVAL_CHECK_OUTPUT
print("Star's loop is ReMDM's loop with alpha_on = 0.9:", clock_gap < 1e-9)
print(
    "MDLM, cap and Star keep the marginal:",
    all(abs(masks[name][T - 8] - 0.5) < 0.03 for name in ("MDLM", "cap 0.04", "Star")),
)
print("conf does not, its texts are emptier than planned:", masks["conf"][T - 4] > 0.25 + 0.02)

# %% [markdown]
# Star's loop is ReMDM's loop with $\alpha_{\mathrm{on}} = 0.9$. `remdm_conf` gives each visible token its own share of $\sigma$ and none to a masked one, so a mask is revealed at MDLM's rate: the equation of section 2 holds no longer, and the text is emptier than $\alpha_s$ says until the last step fills it. A *choice* of what to take back is
# no longer independent of what stands there, and no theorem covers it. This will be true of G-Star as well; only its *number* of masks is right, because it is fixed by hand.
#
# ### Every sampler of the course, one picture
#
# A perfect network separates what a sampler loses from what a network has not learned. So here is every sampler of lessons 02 to 10 with a perfect network, each with the one that its noise asks for (lesson 09, section 5), against the calls that it really makes. A broken sentence has
# probability 0 in the language, so the share of broken ones is also a lower bound on the total variation between what the sampler writes and the language.
#
# **Predict** for the right picture: which noise needs the fewest calls, masks, random words (lesson 07) or Gaussian noise on vectors (lesson 02)?

# %%
from difflm_core.classroom.pictures.lesson_10 import every_sampler, price_in_variety

every = load_results("exact_samplers")
show(*every_sampler(every))
print("At T = 8 steps:\n" + price_in_variety(every))

# %% [markdown]
# Left: with two calls nearly every sentence is broken on every road, since the first call sees nothing and words drawn together cannot agree. Revising helps at few calls (exact count, Star), and costs at many, where a finished sentence is taken apart again. Choosing the most confident words
# breaks least, and pays with variety: its sentences are about 6 nats likelier than true ones, and the entropy falls.
#
# Right: **masks are the worst noise for few calls**, and the other kinds lose next to nothing in variety at 8 steps. With masks 45 % of the sentences are broken at 6.4 calls (8 steps) and 22 % at 8.6; of those from random words on the cosine schedule or from Gaussian noise it is one or two in a hundred at 8 calls. The reason is the one of this lesson:
# with masks a word is decided once, in one step, blind to those decided with it. A random word or a vector is decided little by little; every step sees a hint of every word, and can still change it.
#
# So why did masks win? Because this network is perfect, and a trained one is not. Lessons 02 and 09 train networks on vectors and on random words at equal cost, and the masked network learns fastest (in lesson 07 only with the added cross-entropy, which in the paper's form harms the other noises): it need not find out first which words are noise. What an ideal sampler could do with fewer calls is the reason
# why such noise keeps coming back.
#
# ## 8 · Which words? An error predictor
#
# So far coins decide. But some words of a draft are mistakes and others are not. **G-Star** trains a second network $g_\phi$ to tell them apart. Its training data cost nothing:
#
# 1. take a clean text $x$, a random $t$, and mask it: $z_t$;
# 2. let the *frozen* denoiser fill all masks in one step: a draft $\hat x$, with the mistakes of parallel drawing in it;
# 3. label each position $y_i = 1$ if $\hat x_i \ne x_i$, else 0. Kept words are always 0;
# 4. minimise the binary cross-entropy of $g_\phi(\hat x)$, one logit per position, over *all* positions. $g_\phi$ sees the finished draft only: no masks, no $t$, no $z_t$.
#
# $g_\phi$ starts as a copy of the denoiser, with its output layer replaced by a single number per position. In thirty lines or fewer:

# %%
from difflm_core.data import language_batches
from difflm_core.models import ErrorPredictor
from difflm_core.samplers import draw


@torch.no_grad()
def one_step_draft(x, generator):
    """Steps 1 to 3: (draft, wrong), both (B, L)."""
    t = torch.rand(len(x), 1, generator=generator)
    hidden = torch.rand(x.shape, generator=generator) < t
    logits = model(x.masked_fill(hidden, MASK), None)  # (B, L, V)
    draft = x.clone()
    draft[hidden] = draw(logits[hidden], generator)
    return draft, draft != x


def error_loss(predictor, draft, wrong):
    """Step 4, in nats per position."""
    return torch.nn.functional.binary_cross_entropy_with_logits(predictor.error_logits(draft), wrong.float())


draft, wrong = one_step_draft(language.sample(2000, generator=lesson.generator(8)), lesson.generator(9))
base = wrong.double().mean()
untrained = error_loss(ErrorPredictor.whole(model), draft, wrong).item()
print(
    f"{base:.1%} of the words are wrong; loss of a constant answer {torch.special.entr(torch.stack([base, 1 - base])).sum():.3f} nats, untrained {untrained:.3f} (log 2 = {math.log(2):.3f})"
)

# %% [markdown]
# Training it takes less than a minute: the package's `train_error_predictor` is these lines with stratified times, AdamW and a bar.

# %%
from difflm_core.training import evaluate_error_predictor, train_error_predictor

predictor = ErrorPredictor.whole(model)
losses = train_error_predictor(
    predictor,
    model,
    language_batches(language, 128, lesson.generator(10)),
    steps=lesson.pick(300, 100),
    generator=lesson.generator(11),
)
held_out = language.sample(lesson.pick(2048, 512), generator=lesson.generator(12)).split(512)
report = evaluate_error_predictor(predictor, model, held_out, lesson.generator(13))
print(f"loss {losses[0]:.3f} -> {sum(losses[-20:]) / 20:.3f} nats per position\n")
print(f"on the positions that the denoiser wrote, {report.predictor.share_wrong:.0%} of them wrong")
print(f"{'detector':30s}{'AUROC':>8s}{'precision':>11s}{'recall':>8s}")
for name, found in {"error predictor": report.predictor, "doubt when written, 1 - p": report.confidence}.items():
    print(f"{name:30s}{found.auroc:8.3f}{found.precision:11.3f}{found.recall:8.3f}")
print(
    f"{'error predictor, all positions':30s}{report.predictor_everywhere.auroc:8.3f}{report.predictor_everywhere.precision:11.3f}{report.predictor_everywhere.recall:8.3f}"
)

# %%
# NBVAL_CHECK_OUTPUT
print("the predictor learns something:", report.predictor.auroc > 0.6 and sum(losses[-20:]) / 20 < 0.62)
print(
    "the denoiser's own doubt is the better detector of these labels:",
    report.confidence.auroc > report.predictor.auroc + 0.02,
)

# %% [markdown]
# (AUROC: the probability that a wrong word gets a larger score than a right one. With a word flagged where its score says "more likely wrong than right": *precision* is the share of flagged words that are wrong, *recall* the share of wrong words that are flagged.) The second row costs nothing: the probability with which the denoiser wrote the word. And it *wins*. Is the error predictor useless?
#
# **It cannot win this contest, and that is a theorem.** Given $z_t$, the draft is drawn without a look at $x$: the word at a place and the true word there are two independent draws from (nearly) the same distribution. So
#
# $$P(\text{wrong} \mid z_t, \hat x) = 1 - x_\theta(z_t)[\hat x_i],$$
#
# whatever the rest of the draft says. With an exact denoiser the doubt at writing time is the Bayes-optimal detector of these labels, and whoever sees only the draft knows less. Look at what such a label calls a mistake: *another* word than the
# original, however fitting. "lazy" for "great" is wrong; it is also a perfectly good sentence.
#
# A sampler asks another question: which words must go so that the text becomes *consistent*? Its draft was written over several steps, and a word's probability when written knows nothing of what came after. Test that directly. We take drafts of
# six ancestral steps, more than half of them broken, take back the **four** words with the largest score, and let the denoiser write these again, one by one.
#
# **Predict:** which score repairs most: random, the doubt when written (AUROC winner), or the predictor?

# %%
from difflm_core.samplers import ancestral, first_hitting, gumbel_top_k, sample_masked

n = lesson.pick(1000, 300)
rough = sample_masked(model, ancestral(6), (n, L), generator=lesson.generator(14), record=True)
p_written = torch.zeros(n, L)
for frame in rough.trajectory:
    p_written = torch.where(frame.written, frame.probability, p_written)
with torch.no_grad():
    scores = {
        "random": torch.zeros(n, L),
        "doubt when written": 1 - p_written,
        "error predictor": predictor.error_logits(rough.tokens),
    }


def judged(tokens):
    """Share of grammatical sentences; nats by which these are likelier than true sentences (0 is right)."""
    good = language.grammatical(tokens)
    return good.double().mean().item(), language.log_prob(tokens[good]).mean().item() + language.entropy()


count, anywhere = torch.full((n,), 4), torch.ones(n, L, dtype=torch.bool)
repaired = {"the draft itself": judged(rough.tokens)}
for name, score in scores.items():
    where = gumbel_top_k(score, count, 0.0, anywhere, lesson.generator(15))  # temperature 0: the four largest
    again = sample_masked(model, first_hitting(), (n, L), rough.tokens.masked_fill(where, MASK), lesson.generator(16))
    repaired[name] = judged(again.tokens)
print(f"{'four words chosen by':24s}{'grammatical':>12s}{'likelier than true sentences by':>34s}")
for name, (share, gap) in repaired.items():
    print(f"{name:24s}{share:12.1%}{f'{gap:+.2f} nats':>34s}")

# %%
# NBVAL_CHECK_OUTPUT
print(
    "the predictor repairs more than the better detector:",
    repaired["error predictor"][0] > repaired["doubt when written"][0],
)
print("and prefers the usual less:", repaired["error predictor"][1] < repaired["doubt when written"][1])

# %% [markdown]
# The loser of the test is the better proof-reader, by far. Doubt at writing time points at *rare* words, and a rare word is no mistake. Taking rare words back and drawing again makes the text usual: that is the second column, the price in diversity. (0 would be right: the sentences
# are as likely as true ones. +2 nats: typically $e^2 \approx 7$ times likelier.) The predictor reads the finished draft and sees which words do not *fit together*.
#
# A moral for your own work: a detector's AUROC on one's own labels is not the figure of merit. Measure the repair.
#
# ### Inspect one draft

# %%
hits = broken_rules(language, rough.tokens)
one_rule = torch.stack(list(hits.values())).sum(0) == 1
pick = int((one_rule & ~hits["word order"]).nonzero()[0, 0])  # the first that breaks one agreement and nothing else
x_bad = rough.tokens[pick]
doubts = 1 - p_written[pick]
beliefs = scores["error predictor"][pick].sigmoid()
trials = 2000
taken = (
    gumbel_top_k(
        scores["error predictor"][pick].expand(trials, L),
        torch.full((trials,), 4),
        1.0,
        anywhere[:1].expand(trials, L),
        lesson.generator(17),
    )
    .double()
    .mean(0)
)
fig, ax = plt.subplots(figsize=(9.5, 3.4))
places = torch.arange(L)
ax.bar(places - 0.27, doubts, 0.26, color=ORANGE, label="doubt when written")
ax.bar(places, beliefs, 0.26, color=METHOD_COLOUR["gstar"], label="error predictor")
ax.bar(
    places + 0.27,
    taken,
    0.26,
    color="white",
    edgecolor=METHOD_COLOUR["gstar"],
    hatch="///",
    label="taken back (4 of 12, τ = 1)",
)
ax.set_xticks(places, [word(int(i)) for i in x_bad], rotation=30, ha="right")
ax.set(
    ylabel="probability",
    ylim=(0, 1.05),
    title="Breaks: " + ", ".join(rule for rule, hit in broken_rules(language, x_bad[None]).items() if hit[0]),
)
ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.35))
top = {
    name: ", ".join(word(int(x_bad[i])) for i in value.argsort(descending=True)[:4])
    for name, value in (("doubt", doubts), ("predictor", beliefs))
}
show(
    fig,
    f"Three bars for each of the twelve words of: {language.decode(x_bad)}. Largest doubts when written: {top['doubt']}. Largest error probabilities: {top['predictor']}.",
    "Hatched: how often a place would be taken back by the guided step of the next section.",
)

# %% [markdown]
# As a rule, doubt is high on words that were drawn from many possibilities (adjectives, nouns, whatever came first), and the predictor's bars are high on *both* sides of a contradiction, since nothing says which of the two words is the culprit. One draft is an anecdote; the table above is the evidence. Change `pick` and look at others.
#
# ## 9 · The guided step
#
# G-Star's step from $t$ to $s$, after $t_{\mathrm{on}}$:
#
# 1. fill all masks: a draft $\hat x$ (one call of the denoiser; visible words stay);
# 2. score it: $e = g_\phi(\hat x)$ (one call of the predictor);
# 3. take back exactly $N_s = \lceil (1 - \alpha_s) L \rceil$ positions: those with the largest $e_i / \tau + G_i$, with $G_i$ independent Gumbel noise.
#
# Step 3 is *Gumbel top-k*: the top $N_s$ of noisy scores are a draw without replacement in proportion to $\exp(e_i / \tau)$. At $\tau \to 0$ the surest errors go, at $\tau \to \infty$ any: then it is the random exact count of section 4. A prompt takes no part, and $L$ counts free
# positions only.


# %%
@torch.no_grad()
def g_star(T, t_on, tau, n, generator):
    """n sentences and what each cost: MDLM until t_on, then draft, score, take back."""
    z, calls = torch.full((n, L), MASK), torch.zeros(n, dtype=torch.long)
    for k in range(T, 0, -1):
        t, s = k / T, (k - 1) / T
        if t > t_on:
            u = torch.rand(z.shape, generator=generator, dtype=torch.float64)
            wanted = (z == MASK) & (u < (t - s) / t)
        else:
            wanted = z == MASK
        calls += wanted.any(1)  # a row with nothing to write asks nothing
        p = model(z, None).softmax(-1)
        z[wanted] = draw_from(p[wanted], generator)
        if t <= t_on and k > 1:
            e = predictor.error_logits(z)
            calls += 1  # the predictor is a network, too
            gumbel = -torch.empty(n, L, dtype=torch.float64).exponential_(generator=generator).log()
            N = math.ceil(s * L - 1e-9)
            z = z.scatter(1, (e / tau + gumbel).topk(N).indices, MASK)
    return z, calls


from difflm_core.samplers import gstar

n = lesson.pick(200, 60)
ours, our_calls = g_star(8, 0.6, 1.0, n, lesson.generator(18))
core = sample_remasking(model, gstar(predictor, t_on=0.6, temperature=1.0), 8, (n, L), generator=lesson.generator(18))

# %%
# NBVAL_CHECK_OUTPUT
print("the notebook's G-Star and the package's write the same sentences:", agree(ours, core.tokens) > 0.9)
print("and count the same calls:", bool((our_calls == core.network_calls).double().mean() > 0.9))

# %% [markdown]
# ## 10 · The picture
#
# MDLM's grid stood in section 1. Here are Star and G-Star on the same 8 steps. To have something to see, we show the first sentence (of 200) that ended grammatical and in which a word was taken back and came back as another.


# %%
def revised_and_right(out):
    """The first sentence with a rewritten word that ended well; the first of all if there is none."""
    good = language.grammatical(out.tokens)
    for row in good.nonzero()[:, 0].tolist():
        if any(cell.mark == CHANGED for cells in revisions(out.trajectory, row) for cell in cells):
            return row
    return 0


T = 8
star_out = sample_remasking(model, star(), T, (200, L), generator=lesson.generator(19), record=True)
star_row = revised_and_right(star_out)
star_grid = revisions(star_out.trajectory, star_row)
show(
    token_grid(star_grid, [level(k, T) for k in range(T, -1, -1)], "Star: coins decide what goes"),
    f"Grid of {T + 1} rows and {L} columns. Words are taken back in almost every step, most of all in the first ones, whether they fit or not. It ends with: {language.decode(star_out.tokens[star_row])}.",
    "Grey with ✗: taken back in this step. Orange: written again, as another word. Outlined: new (or the same word again).",
)
gstar_out = sample_remasking(model, gstar(predictor, 0.6), T, (200, L), generator=lesson.generator(20), record=True)
gstar_row = revised_and_right(gstar_out)
gstar_grid = revisions(gstar_out.trajectory, gstar_row)
first_guided = int(0.6 * T)  # MDLM's steps end at the levels above this one
labels = [level(k, T) for k in range(T, first_guided - 1, -1)]
for k in range(first_guided - 1, 0, -1):
    labels += ["draft", level(k, T)]
labels += ["t = 0.00"]
show(
    token_grid(gstar_grid, labels, "G-Star: the error predictor decides"),
    f"Grid of {len(gstar_grid)} rows and {L} columns. After four steps like MDLM's, each step is a complete draft and what is left of it after exactly {', '.join(str(math.ceil(L * k / T)) for k in range(first_guided - 1, 0, -1))} words have been taken back. It ends with: {language.decode(gstar_out.tokens[gstar_row])}.",
    "Rows named draft are complete texts. What is taken back is no longer a matter of coins.",
)

# %% [markdown]
# Star's coins take back "horses" and "hop", which fitted, as readily as "goat", which did not. And G-Star's count is as blind as the coins: its first draft, "that great brown dog hops around this rabbit with its brown cub", breaks no rule, and five words must go all the same.
#
# ### What each rule would take back
#
# One draft, four rules. A rule's number is the probability that a word is hidden after the step: for a word that was visible it is $\sigma$, for one just drafted $1 - \rho$; for G-Star it is how often the word is among the $N_s$ chosen. Above them stands how likely each word is wrong, and here not in the predictor's opinion but exactly: by Bayes' rule,
# if one word in ten had been replaced by a random one. (Put `predicted_errors(predictor)` in its place to see what the network thinks; both are in `classroom.remasking`.)
#
# **Predict** for a draft at $t = 0.5$ in which two words contradict each other: which of the four rules *can* take them back, and which *will*?

# %% tags=["widget"]
from difflm_core.classroom.remasking import exact_errors
from difflm_core.classroom.widgets_remasking import draft_inspector, remasking_inspector

wrong_by_bayes = exact_errors(language)
remasking_inspector(model, wrong_by_bayes, word, T=8, L=L, seed=0)

# %% [markdown]
# All four hide about the same *number* of words, 4.5 on average from $t = 0.5$ (G-Star rounds up to five). They differ in *which*. In the middle draft "some gentle fox" disagrees in number. MDLM hides "some" with 75 %, and only because it happens to be new; ReMDM with 55 %; Star with 38 %, like every other word; G-Star practically always. But look at G-Star's other choices as well: its count says five, and only
# two words are suspect, so three good ones must go with them. In the draft at the top, from $t = 1$, the rules hardly differ: nearly everything goes anyway.
#
# Now a finished draft of your own, of which every word was visible: **predict** what MDLM does about "foxes hops".

# %% tags=["widget"]
draft_inspector(wrong_by_bayes, language, "the great brown foxes hops over the lazy dog in brown boots")

# %% [markdown]
# Nothing: with $\sigma = 0$ a finished text is finished. Bayes' rule suspects both sides of the contradiction, "foxes" with 62 % and "hops" with 38 %, and cannot do better, for nothing says which of the two is the culprit. G-Star takes back both.
#
# ## 11 · Quality against what it costs
#
# A guided step is *two* network calls. At equal numbers of steps G-Star looks better than it is; the fair axis is calls, the predictor's included. `calls_needed(rule, T)` and `steps_for_calls(rule, budget)` do the arithmetic. And quality alone is never the whole story (lesson 08):
# beside the share of grammatical sentences stands how much likelier they are than true ones.
#
# The controls matter as much as the method. All of these take back the same exact count from the same $t_{\mathrm{on}}$: **random** places, the places of lowest **confidence** when written, and the predictor's choice. What G-Star has over *random* is the
# predictor's merit; what random has over Star+ is the exact count's.
#
# **Predict** the order at 8 calls: MDLM, Star+, random, confidence, G-Star. And who will have kept its diversity?

# %%
guided = load_results("gstar")
sampler_rows = [r for r in guided["runs"] if r["what"] == "sampler"]
budgets = guided["settings"]["budgets"]


def by_budget(sampler, key):
    """(budgets, seeds)"""
    return torch.tensor(
        [[r[key] for r in sampler_rows if r["sampler"] == sampler and r.get("budget") == b] for b in budgets]
    )


lines = {
    "mdlm": ("MDLM", style_of("mdlm")),
    "star+ 0.6": ("Star+", style_of("star")),
    "random 0.6": ("random", {"color": GREY, "marker": "s"}),
    "confidence 0.6 tau 0": ("confidence", {"color": ORANGE, "marker": "o"}),
    "gstar whole 0.6 tau 1": ("G-Star", style_of("gstar")),
}
one_by_one = [r for r in sampler_rows if r["sampler"] == "first-hitting"]
ceiling = [
    sum(r[key] for r in one_by_one) / len(one_by_one) for key in ("network_calls", "grammatical", "log_prob_gap")
]
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(10.5, 4.0))
for sampler, (label, look) in lines.items():
    calls = by_budget(sampler, "network_calls").mean(1)
    for ax, key, scale in ((left, "grammatical", 100), (right_ax, "log_prob_gap", 1)):
        values = by_budget(sampler, key)
        plot_band(ax, (calls, values.mean(1), values.min(1).values, values.max(1).values), scale, label=label, **look)
left.plot(ceiling[0], 100 * ceiling[1], "D", color="black", label="one word per call")
right_ax.plot(ceiling[0], ceiling[2], "D", color="black")
right_ax.axhline(0, **{k: v for k, v in style_of("exact").items() if k != "marker"})
left.set(xlabel="network calls per sentence", ylabel="grammatical sentences, %", title="Quality (t_on = 0.6)")
right_ax.set(xlabel="network calls per sentence", ylabel="nats likelier than true ones", title="Diversity: 0 is right")
left.legend()
told = "; ".join(
    f"{label} {100 * by_budget(s, 'grammatical').mean(1)[0]:.0f} % with a gap of {by_budget(s, 'log_prob_gap').mean(1)[0]:+.1f}"
    for s, (label, _) in lines.items()
)
show(
    fig,
    f"Against actual network calls, at a budget of {budgets[0]}: {told}. One word per call: {100 * ceiling[1]:.0f} % with {ceiling[0]:.0f} calls and a gap of {ceiling[2]:+.1f}.",
    f"Budgets of {', '.join(map(str, budgets))} calls, the predictor's included; {guided['settings']['samples']} sentences for each of {len({r['seed'] for r in guided['runs']})} trainings of the predictor; mean and range. Remake with `{guided['command']}`.",
)
print(f"{'at most 8 calls':30s}{'steps':>6s}{'calls':>7s}{'grammatical %':>15s}{'sd':>6s}{'gap':>8s}{'spread':>8s}")
for sampler in (
    "mdlm",
    "star+ 0.6",
    "random 0.6",
    "confidence 0.6 tau 0",
    "most confident first",
    "gstar whole 0.3 tau 1",
    "gstar whole 0.6 tau 1",
    "gstar whole 0.9 tau 1",
):
    rows = [r for r in sampler_rows if r["sampler"] == sampler and r["budget"] == 8]
    mean = {
        key: sum(r[key] for r in rows) / len(rows) for key in ("network_calls", "grammatical", "log_prob_gap", "spread")
    }
    sd = 100 * torch.tensor([r["grammatical"] for r in rows]).std()
    print(
        f"{sampler:30s}{rows[0].get('steps', 8):6d}{mean['network_calls']:7.1f}{100 * mean['grammatical']:15.1f}{sd:6.1f}{mean['log_prob_gap']:+8.2f}{mean['spread']:8.2f}"
    )

# %% [markdown]
# With the same budget G-Star writes more grammatical sentences than MDLM, Star+ and the random control, although it has fewer steps than they have. Not quite half of its lead over MDLM, 9 points of 20, the random control has too: 6 by revising at all (Star+), 3 or 4 by the exact count. The rest is the predictor's.
# Its price in diversity is there but small. *Confidence* reaches as many grammatical sentences, and pays with several nats: it does not correct mistakes, it replaces rare words by usual ones. On the left alone it would be as good as any.
#
# Now read the horizontal axis. A budget is the worst case; what is plotted is what the sentences *really* cost, and MDLM skips the calls in which it has nothing to write. At seven or eight actual calls G-Star is ahead of MDLM by about ten points, and the random control hardly at all; at ten calls the lines of MDLM and G-Star have met; and the black diamond, one word per call, stands above
# both with twelve calls and no second network. Far to the right G-Star passes even the diamond by a little: there it repairs mistakes of the *network*, which no order of writing avoids.
#
# ### The control that is missing
#
# MDLM's ancestral sampler tosses coins: in some steps it writes four words, in others none. We gave the exact count to the revising samplers. Give it to the plain one: fix *how many* words each call writes, in a random order, revise nothing. And since the first words decide most, let them come one at a time.
# **Predict:** 8 calls that write 1, 1, 1, 1, 2, 2, 2, 2 words. Better or worse than G-Star's 8 calls?


# %%
@torch.no_grad()
def planned(sizes, z, where, generator):
    """Write the places `where` (B, L) in a random order, sizes[k] of them in call k."""
    order = torch.rand(z.shape, generator=generator).masked_fill(~where, 2.0).argsort(1).argsort(1)
    for first, size in zip(itertools.accumulate((0, *sizes)), sizes):
        here = where & (order >= first) & (order < first + size)
        p = model(z, None).softmax(-1)
        z = z.masked_scatter(here, draw_from(p[here], generator))
    return z


def proof_read(z, count, sizes, generator, tau=0.5):
    """One look of the predictor at a finished text; `count` words are taken back and written again."""
    with torch.no_grad():
        e = predictor.error_logits(z)
    where = gumbel_top_k(e, torch.full((len(z),), count), tau, torch.ones_like(z, dtype=torch.bool), generator)
    return planned(sizes, z.masked_fill(where, MASK), where, generator)


n = lesson.pick(1000, 300)
blank, whole = torch.full((n, L), MASK), torch.ones(n, L, dtype=torch.bool)
ways = {
    "MDLM, T = 8": lambda g: sample_masked(model, ancestral(8), (n, L), generator=g).tokens,
    "G-Star, 8 calls (t_on = 0.6)": lambda g: (
        sample_remasking(model, gstar(predictor, 0.6), 6, (n, L), generator=g).tokens
    ),
    "planned 2 2 2 2 1 1 1 1": lambda g: planned((2, 2, 2, 2, 1, 1, 1, 1), blank, whole, g),
    "planned 1 1 1 1 2 2 2 2": lambda g: planned((1, 1, 1, 1, 2, 2, 2, 2), blank, whole, g),
    "planned 1 1 2 3 5, 4 read again": lambda g: proof_read(planned((1, 1, 2, 3, 5), blank, whole, g), 4, (2, 2), g),
    "one word per call": lambda g: planned((1,) * L, blank, whole, g),
    "  ... and 3 read again": lambda g: proof_read(planned((1,) * L, blank, whole, g), 3, (1, 1, 1), g),
}
cost = dict(zip(ways, (8, 8, 8, 8, 8, 12, 16)))
control = {}
print(f"{'':34s}{'at most':>8s}{'grammatical, three runs':>28s}{'mean':>9s}{'gap':>8s}")
for name, way in ways.items():
    found = [judged(way(lesson.generator(40 + run))) for run in range(3)]
    control[name] = sum(share for share, _ in found) / 3
    print(
        f"{name:34s}{cost[name]:8d}{'  '.join(f'{share:.1%}' for share, _ in found):>28s}{control[name]:9.1%}{sum(gap for _, gap in found) / 3:+8.2f}"
    )

# %%
# NBVAL_CHECK_OUTPUT
print(
    "planned counts, single words first, beat G-Star at eight calls:",
    control["planned 1 1 1 1 2 2 2 2"] > control["G-Star, 8 calls (t_on = 0.6)"],
)
print("in the other order they do not:", control["planned 2 2 2 2 1 1 1 1"] < control["planned 1 1 1 1 2 2 2 2"] - 0.1)
print(
    "so does a shorter plan with one proof-reading:",
    control["planned 1 1 2 3 5, 4 read again"] > control["G-Star, 8 calls (t_on = 0.6)"],
)

# %% [markdown]
# A sampler that never revises anything, with no second network, no loss of diversity and the same eight calls, is *better* than everything that the picture above shows at that cost. What looked like the value of revising was to a good part the weakness of the baseline: coins that write several words at once when nothing is known yet.
# (Which order of counts is right is no detail: turned round, the plan falls behind G-Star.)
#
# What, then, is revising good for? Three honest answers from the tables of this lesson:
#
# - when a draft **exists already** and is bad: section 8's four words repaired most of the broken ones;
# - as **one proof-reading at the end** of a well-planned draft (fifth row): with a shorter plan it does about as well as planning alone, or a little better, at a small price in diversity;
# - when the **network** itself makes mistakes (last rows): one word per call is the best that writing can do; reading again goes a little further.
#
# Whether this carries over to long texts and large networks, our twelve words cannot say. But ask of every table of a new sampler what its baseline was allowed to do. (ReMDM's table, for one, compares with MDLM's coins and with two correctors.)
#
# ### How large must the predictor be?
#
# The paper's headline setting is a new head on a frozen trunk. **Predict:** will `width + width + 1` = 193 trained numbers do, here?

# %%
predictor_rows = [r for r in guided["runs"] if r["what"] == "predictor"]
repair_rows = [r for r in guided["runs"] if r["what"] == "repair"]


def mean_sd(values):
    values = torch.tensor(values)
    return f"{values.mean():.3f} ± {values.std():.3f}"


print(
    f"{'trained':12s}{'weights':>9s}{'AUROC':>16s}{'precision':>16s}{'recall':>16s}{'repaired to':>16s}{'8 calls':>16s}{'16 calls':>16s}"
)
for way in ("head only", "last block", "whole"):
    rows = [r for r in predictor_rows if r["way"] == way]
    found = [mean_sd([r["detection"]["predictor"][key] for r in rows]) for key in ("auroc", "precision", "recall")]
    fixed = mean_sd([r["grammatical"] for r in repair_rows if r["score"] == way])
    quality = [mean_sd(by_budget(f"gstar {way} 0.6 tau 1", "grammatical")[budgets.index(b)].tolist()) for b in (8, 16)]
    print(f"{way:12s}{rows[0]['weights']:9,d}" + "".join(f"{cell:>16s}" for cell in (*found, fixed, *quality)))
for name in ("confidence", "random", "asked again"):
    doubt = (
        mean_sd([r["detection"]["confidence" if name == "confidence" else "rescored"]["auroc"] for r in predictor_rows])
        if name != "random"
        else "0.500"
    )
    fixed = mean_sd([r["grammatical"] for r in repair_rows if r["score"] == name])
    print(f"{name:12s}{'':9s}{doubt:>16s}{'':32s}{fixed:>16s}")
print(
    "(repaired to: grammatical share after four words of six-step drafts were taken back; asked again: the denoiser's p(word | all others), 12 calls)"
)

# %% [markdown]
# On our two-layer trunk a head alone does not help: it flags next to nothing (recall), and repairs no more than chance, although its AUROC looks respectable. Training the last block does most of the job, training everything a little more. The paper's headline setting is a head on the frozen trunk of a much larger network:
# there the last layers may hold what a head needs. So take this for a limit of our size, not for a refutation. The last line of the table is the detector that a sampler would like to have: ask the denoiser again about every word, given all others. It repairs best,
# costs 12 calls each time, and is biased towards the usual as confidence is (its sentences are 2 nats likelier than true ones, as confidence's are: a rare word is doubtful, whoever asks); the predictor is a cheap imitation of it.
#
# ## 12 · What goes wrong
#
# **Comparing at equal steps.** The same two samplers, once with equal $T$, once with equal calls:

# %%
from difflm_core.samplers import calls_needed, confidence_remask, steps_for_calls

n = lesson.pick(1000, 300)
cases = {
    "MDLM, T = 8": (remdm(0.0), 8),
    "G-Star, T = 8": (gstar(predictor, 0.6), 8),
    f"G-Star, at most 8 calls (T = {steps_for_calls(gstar(predictor, 0.6), 8)})": (
        gstar(predictor, 0.6),
        steps_for_calls(gstar(predictor, 0.6), 8),
    ),
    f"G-Star from t = 1, 8 calls (T = {steps_for_calls(gstar(predictor, 1.0), 8)})": (
        gstar(predictor, 1.0),
        steps_for_calls(gstar(predictor, 1.0), 8),
    ),
    "confidence from t = 1, greedy, T = 8": (confidence_remask(1.0, temperature=0.0), 8),
}


def spread(tokens):
    """Nats of the words used at a position, mean over positions."""
    return torch.special.entr(one_hot(tokens, V).double().mean(0)).sum(-1).mean().item()


drawn = {
    name: sample_remasking(model, rule, T, (n, L), generator=lesson.generator(21)) for name, (rule, T) in cases.items()
}
true_spread = spread(language.sample(n, generator=lesson.generator(22)))
print(
    f"{'':42s}{'may cost':>9s}{'calls':>7s}{'grammatical':>13s}{'gap':>8s}{'spread':>8s}   (true sentences: 0 and {true_spread:.2f})"
)
for name, out in drawn.items():
    share, gap = judged(out.tokens)
    print(
        f"{name:42s}{calls_needed(*cases[name]):9d}{out.network_calls.double().mean():7.1f}{share:13.1%}{gap:+8.2f}{spread(out.tokens):8.2f}"
    )
greedy = drawn["confidence from t = 1, greedy, T = 8"]
samples_table(
    [(f"sentence {i + 1}", sentence(row, word, MASK)) for i, row in enumerate(greedy.tokens[:5])],
    title="Greedy confidence from t = 1: five sentences, not chosen",
)

# %%
# NBVAL_CHECK_OUTPUT
print("G-Star at T = 8 may cost more than 8 calls:", calls_needed(gstar(predictor, 0.6), 8) > 8)
print(
    "greedy confidence has collapsed towards the usual:",
    judged(greedy.tokens)[1] > 2 and spread(greedy.tokens) < 0.85 * true_spread,
)
print("G-Star at 8 calls has not:", spread(drawn[list(cases)[2]].tokens) > 0.9 * true_spread)

# %% [markdown]
# - **Equal steps are not equal cost.** The second row may use more calls than the first (first column). Compare the first with the third.
# - **Revising too early.** From $t = 1$ on every step costs two calls, so the same budget is only four steps; the first of them score drafts that are nearly all taken back anyway.
# - **Greedy confidence collapses.** Its sentences look flawless. Read five of them: the same words again and again. A judge who looks at grammar (or at generative perplexity) alone calls it the best sampler of this lesson. It is the trap of lesson 08's `confidence` once more.
# - **Drifting.** With more steps a guided sampler goes on exchanging words for what its guide likes: in the right picture of section 11 the gap grows with the budget, from 0.5 to 0.8 nats for G-Star and from 4.3 to 6.4 for confidence. More calls are not simply better.
#
# ## 13 · Exercises
#
# They climb from one line to an open question. A check prints what it found and names the usual mistakes; `ex10_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_10
from difflm_core.classroom.exercises.lesson_10 import ex10_1, ex10_2, ex10_3, ex10_4
from difflm_core.samplers import Sample

# %% [markdown]
# ### Exercise 10.1 · 4 min · difficulty 1/5 · How much may be taken back?
# *Importance 3/5: a sigma above its bound is the first thing that goes wrong in a sampler of one's own.*
#
# From $\rho = \frac{\alpha_s - (1 - \sigma)\alpha_t}{1 - \alpha_t}$ and $\rho \le 1$, find the largest $\sigma$ of a step. `alpha_t` and `alpha_s` are tensors of the same shape; `alpha_t` may be 0 (nothing is visible yet).


# %%
def largest_sigma(alpha_t, alpha_s):
    """Exercise 10.1: the largest allowed sigma of steps from alpha_t to alpha_s, elementwise."""
    ### BEGIN SOLUTION
    return ((1 - alpha_s) / alpha_t).clamp_max(1)  # x / 0 = inf, cut at 1
    ### END SOLUTION


# %%
ex10_1.run(largest_sigma)
largest_sigma = ex10_1.answer_or_reference(largest_sigma)
print(
    "largest sigma on eight steps:",
    " ".join(f"{v:.2f}" for v in largest_sigma(torch.arange(8) / 8, torch.arange(1, 9) / 8)),
)

# %% [markdown] tags=["solution"]
# **Why.** $\rho$ grows with $\sigma$: more taken back, more to reveal. $\rho = 1$ at $\sigma\,\alpha_t = 1 - \alpha_s$: even if *every* mask is revealed, at least a share $1 - \alpha_s$ must be masked at $s$, and all of it must come from the visible $\alpha_t$. The condition $\rho \ge 0$
# never binds, since $\alpha_s \ge \alpha_t$.

# %% [markdown]
# ### Exercise 10.2 · 8 min · difficulty 3/5 · A star step
# *Importance 5/5: this is the sampler.*
#
# One star step on the linear schedule ($\alpha_s = 1 - s$), without looking at section 3. `z` is $(B, L)$ with masks, `logits` $(B, L, V)$ the network's answer to it. Return a new tensor. One of the arguments is not needed: **predict** which.
# (`draw(logits, generator)` draws one token per row of an $(N, V)$ tensor. The coins use `generator` as well.)


# %%
def star_step(z, logits, s, t, mask_id, generator=None):
    """Exercise 10.2: draw z_s from z_t = z (B, L) and the network's logits (B, L, V): (B, L)."""
    ### BEGIN SOLUTION
    guess = draw(logits.flatten(0, 1), generator).view(z.shape)
    draft = torch.where(z == mask_id, guess, z)
    return torch.where(torch.rand(z.shape, generator=generator) < s, mask_id, draft)
    ### END SOLUTION


# %%
ex10_2.run(star_step)
star_step = ex10_2.answer_or_reference(star_step)
generator, T, n = lesson.generator(30), 12, lesson.pick(200, 50)
z = torch.full((n, L), MASK)
with torch.no_grad():
    for k in range(T, 0, -1):
        z = star_step(z, model(z, None), (k - 1) / T, k / T, MASK, generator)
print(f"{T} star steps: {language.grammatical(z).double().mean().item():.0%} of {n} sentences are grammatical")

# %% [markdown] tags=["solution"]
# **Why.** $t$ is not needed. The draft is treated as the clean text, and $q(z_s \mid \hat x)$ knows $s$ alone. The usual slip is to noise only the new words, or only the old ones: either breaks the marginal, the one thing that the family of section 2 keeps.

# %% [markdown]
# ### Exercise 10.3 · 12 min · difficulty 3/5 · Which ones go
# *Importance 5/5: exact counts and a fair draw. The count alone is part of G-Star's gain.*
#
# `score` is $(B, L)$, larger for likelier mistakes; `free` is True where a word may be changed (no prompt). Return a boolean $(B, L)$ that is True at exactly $\lceil s \cdot \text{(free places of the row)} \rceil$ free places per row, drawn without replacement in proportion to
# $\exp(\text{score}/\text{temperature})$. (Gumbel noise: $-\log(-\log u)$ with $u$ uniform. Draw $u$ with `generator`. Do not use the package's `gumbel_top_k`.)


# %%
def choose(score, s, temperature, free, generator=None):
    """Exercise 10.3: where to take words back, (B, L) boolean, exactly ceil(s * free places) in each row."""
    ### BEGIN SOLUTION
    u = torch.rand(score.shape, generator=generator, dtype=torch.float64)
    key = score / temperature - (-u.log()).log()
    rank = key.masked_fill(~free, -torch.inf).argsort(dim=1, descending=True).argsort(dim=1)
    return rank < (s * free.sum(1, keepdim=True)).ceil()
    ### END SOLUTION


# %%
ex10_3.run(choose)
choose = ex10_3.answer_or_reference(choose)
few = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).double().expand(4000, 4)
for temperature in (0.3, 1.0, 10.0):
    often = choose(few, 0.5, temperature, torch.ones(4000, 4, dtype=torch.bool), lesson.generator(31)).double().mean(0)
    print(
        f"temperature {temperature:4.1f}: scores 0, 1, 2, 3 are taken back with frequency {', '.join(f'{v:.2f}' for v in often)}"
    )

# %% [markdown] tags=["solution"]
# **Why.** The largest of $e_i + G_i$ is $i$ with probability $\propto e^{e_i}$; given that, the second largest is $j$ with probability $\propto e^{e_j}$ among the rest, and so on: the order of the noisy scores *is* a draw without replacement. The noise must not be divided by $\tau$, and only Gumbel noise has
# this property. Rounding up leaves at least one word to take back until the last step.

# %% [markdown]
# ### Exercise 10.4 · 8 min · difficulty 2/5 · What the predictor learns from
# *Importance 4/5: a wrong label trains a confident fool.*
#
# Make one batch of training data. `x` is $(B, L)$ clean, `t` is $(B,)$: mask each word with probability $t$ of its row, ask `model(z, t)` **once**, fill the masks by drawing. Return the draft $(B, L)$ and the labels $(B, L)$: 1 (or True) where the draft's word is wrong. All draws use `generator`, and `x` stays as it is.


# %%
def draft_and_labels(model, x, t, mask_id, generator=None):
    """Exercise 10.4: (draft, wrong), both (B, L), from clean texts x (B, L) masked at times t (B,)."""
    ### BEGIN SOLUTION
    is_masked = torch.rand(x.shape, generator=generator) < t[:, None]
    logits = model(torch.where(is_masked, mask_id, x), t)
    guess = draw(logits.flatten(0, 1), generator).view(x.shape)
    draft = torch.where(is_masked, guess, x)
    return draft, draft != x
    ### END SOLUTION


# %%
ex10_4.run(draft_and_labels)
draft_and_labels = ex10_4.answer_or_reference(draft_and_labels)
with torch.no_grad():
    d, w = draft_and_labels(
        model,
        language.sample(3, generator=lesson.generator(32)),
        torch.tensor([0.2, 0.5, 0.9]),
        MASK,
        lesson.generator(33),
    )
samples_table(
    [
        (f"t = {t}", [Word(word(int(i)), WRONG if bad else "kept") for i, bad in zip(row, bads)])
        for t, row, bads in zip((0.2, 0.5, 0.9), d, w)
    ],
    title="Three drafts; labelled wrong where they differ from the original",
)

# %% [markdown] tags=["solution"]
# **Why.** The predictor reads complete drafts, so it needs a label everywhere: it cannot know which words were masked. A drafted word may be right, by skill or by luck; a kept word always is. With "masked" for "wrong" the labels would only say what was hidden, and about a quarter of the ones among them would be false.

# %% [markdown]
# ### Exercise 10.5 · 25 min · difficulty 5/5 · Eight calls (open)
# *Importance 5/5: quality per call, honestly measured, is what this line of research is about.*
#
# Write a sampler that makes **at most 8 network calls** per sentence, the error predictor's included, and breaks **at most 40 %** as many sentences as `ancestral(8)`. The check counts the calls of both networks itself and guards diversity: the grammatical sentences may be at most **1 nat** likelier than true ones, and at
# each position at least 95 % of the entropy of true sentences must remain. It also shuffles the positions, so that an order worked out by hand (exercise 8.5) does not help.
#
# `gstar(error_predictor, t_on, temperature)` with `steps_for_calls(rule, 8)` is a start (how far does it get?). Section 11 shows what else eight calls can do. In a loop of your own: `denoiser(z, t)` gives logits, `error_predictor.error_logits(draft)` scores of a complete draft, `gumbel_top_k(score, count, temperature, allowed, generator)` a choice,
# `Sample(tokens, network_calls)` the result.
#
# **Predict:** when is a call of the predictor worth more than a call of the denoiser?


# %%
def my_sampler(denoiser, error_predictor, shape, generator=None):
    """Exercise 10.5: a Sample of (B, L) = shape tokens with at most 8 calls of both networks together for every row."""

    ### BEGIN SOLUTION
    def write(z, where, sizes):
        order = torch.rand(shape, generator=generator).masked_fill(~where, 2.0).argsort(1).argsort(1)
        first = 0
        for size in sizes:
            here = where & (order >= first) & (order < first + size)
            t = (z == denoiser.V).float().mean(1)  # (B,)
            z = z.masked_scatter(here, draw(denoiser(z, t)[here], generator))
            first += size
        return z

    everywhere = torch.ones(shape, dtype=torch.bool)
    z = write(torch.full(shape, denoiser.V), everywhere, (1, 1, 2, 3, 5))  # five calls
    e = error_predictor.error_logits(z)  # the sixth
    doubtful = gumbel_top_k(e, torch.full(shape[:1], 4), 0.5, everywhere, generator)
    z = write(z.masked_fill(doubtful, denoiser.V), doubtful, (2, 2))  # the last two
    return Sample(z, torch.full(shape[:1], 8))
    ### END SOLUTION


# %%
ex10_5 = lesson_10.ex10_5(model, predictor, language, sentences=1000)

# %%
ex10_5.run(my_sampler)

# %% [markdown] tags=["solution"]
# **Why.** Two ideas. *Plan the counts*: the order stays random, but the first words, which decide about many others, come one at a time, and the rush comes when the rest is nearly settled. *Look once, late*: a complete draft shows its contradictions, and what is repaired then is not thrown away again.
# A low temperature in place of 0.5 drives the sentences towards what the predictor likes; `gstar` from $t_{\mathrm{on}} = 0.6$ stays above 40 %, and confidence fails on diversity. The plan 1, 1, 1, 1, 2, 2, 2, 2 without any predictor is nearly as good: if you found that, you found the more important half.

# %%
summary()

# %% [markdown]
# ## 14 · Scale it up
#
# Any masked diffusion model of this course can be given a predictor. For a run of the recipe `mdlm-lm1b` (lesson 08; a GPU, and a copy of LM1B):
#
# ```python
# model = load_model("runs/lm1b")                                  # the trained denoiser
# predictor = ErrorPredictor.last_block(model).to("cuda")          # head_only, last_block, whole
# train_error_predictor(predictor, model.to("cuda"), batches, steps=20_000, learning_rate=1e-4)
# sample_remasking(model, gstar(predictor, t_on=0.3), steps_for_calls(gstar(predictor), 128), (64, 128), top_p=0.9, device="cuda")
# ```
#
# The authors' scripts train $g_\phi$ on OpenWebText at 512 tokens with AdamW, learning rate 1e-4, batch 512, at most 10 epochs, and sample with 128 steps, $t_{\mathrm{on}} = 0.3$, top-p 0.9. What would it cost beside the denoiser?

# %%
from difflm_core.training import RECIPES

big = RECIPES["mdlm-lm1b"][1]
trunk = 12 * big.size.layers * big.size.width**2  # weights of attention and MLP
positions = 20_000 * 512 * big.data.length
draft_flops, whole_flops = 2 * trunk * positions, 6 * trunk * positions
block_flops = (2 + 4 / big.size.layers) * trunk * positions  # forward through all, backward through one block
for name, flops in (("head only", 2 * trunk * positions), ("last block", block_flops), ("whole", whole_flops)):
    print(
        f"{name:12s} 20,000 steps of 512: {draft_flops + flops:.1e} FLOPs, {(draft_flops + flops) / (0.4 * 989e12) / 3600:5.1f} H100-hours at 40 % of 989 TFLOP/s (an assumption)"
    )
rule = gstar(predictor, 0.3)
print("calls of G-Star at t_on = 0.3:", ", ".join(f"T = {T}: {calls_needed(rule, T)}" for T in (16, 64, 128, 512)))

# %% [markdown]
# One or two per cent of the 27 hours that the denoiser itself costs (lesson 08, section 15).
#
# Numbers to expect from ReMDM, whose paper is explicit about its setting (OpenWebText, 1,024 tokens, top-p 0.9, 5,000 samples; MAUVE, which is 1 where samples cannot be told from real text / generative perplexity / entropy): at 1,024 steps MDLM 0.042 / 51.3 / 5.46, forward-backward 0.133 / 33.8 / 5.35, ReMDM 0.403 / 28.6 / 5.38, data 1.00 / 14.8 / 5.44. At 128 steps ReMDM
# stands at 0.057, hardly above MDLM's 0.015: unguided remasking needs many steps. Note the entropy beside each figure.
#
# ## 15 · What to remember
#
# 1. A trained masked model fixes the marginals, not the process: one number $\sigma$ per step is free, MDLM is $\sigma = 0$ and Star is $\sigma = 1 - \alpha_s$. Marginals stay exact; the joint does not.
# 2. Taking back an exact number helps by itself. *Which* words go is a second question, and the best detector of differences from the original is not the best finder of contradictions.
# 3. Compare samplers at equal network calls, with diversity beside quality, and with a baseline that was given the same care: confidence buys grammar with diversity, and a plain sampler with planned counts beats a clever one that tosses coins.
#
# **Five quick questions**
#
# <details><summary>1. Why may MDLM's network be used for Star without training?</summary>
# Its loss depends on the marginals q(z_t | x) only, and Star has the same ones; Star's own bound is the same cross-entropies with other positive weights.
# </details>
#
# <details><summary>2. A colleague reports Star's bound at T = 256 as a perplexity. What do you say?</summary>
# It grows with T: each word is charged every time it is rewritten. It is a bound, but no estimate of the likelihood. Report the bound with σ = 0.
# </details>
#
# <details><summary>3. With a perfect denoiser and very many steps, which is nearer to the truth, MDLM or Star?</summary>
# MDLM: 1/T against 1/√T. An exact count is nearer than both.
# </details>
#
# <details><summary>4. Why can the error predictor not beat the denoiser's own confidence in AUROC, and why train it?</summary>
# Given z_t the draft is independent of x, so 1 − p(token) is the Bayes answer to these labels. But it marks rare words; the predictor reads the whole draft and finds words that do not fit together, which is what a repair needs.
# </details>
#
# <details><summary>5. T = 100 steps, t_on = 0.3: how many calls does G-Star make at most?</summary>
# 100 of the denoiser, and one of the predictor for each guided step but the last: 30 − 1 = 29. Together 129.
# </details>
#
# **Sources.** Meshchaninov, Shibaev et al. 2025, *Guided star-shaped masked diffusion* (arXiv 2510.08369), and its authors' code and scripts (for the guided step, the predictor's training, and settings). Wang et al. 2025, *Remasking discrete diffusion models with inference-time scaling* (2503.00307): Eq. 6, 7, 9, Theorem 3.1, schedules,
# table of OpenWebText results. Sahoo et al. 2024 (2406.07524), MDLM. Song et al. 2021 (2010.02502), DDIM, the same idea for Gaussian noise. The rate $T^{-1/2}$, the identity of the two loops and the independence argument of section 8 are worked out here, and tested. Next in the course: lesson 11, large diffusion language models.
