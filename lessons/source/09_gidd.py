# %% [markdown]
# # 09 · GIDD: can a token be corrected?
#
# **Minutes** 50 to read, about 4 of computing on 2 CPU cores · **Prerequisites** lesson 08 (masked diffusion: its posterior, its bound, sampling)
#
# In masked diffusion a word is hidden or it is final. Two words revealed in the same step may contradict each other; from then on the network *sees* the contradiction, in every call, and is
# not allowed to touch it. GIDD (von Rütte et al. 2025, *generalized interpolating discrete diffusion*) changes the noise instead of the sampler: during training some visible words are
# *wrong*, so the network learns to doubt what it reads.
#
# **The question of this lesson.** What must change in the noise, in the loss and in the sampler so that a written word can be taken back, and what does it cost?
#
# After this lesson you can
# - write down noise that mixes masks with random words, and its exact bound for *any* such mixture, in one formula,
# - say which denoiser makes that bound tight (it is not the one you expect),
# - train such a model and report it honestly,
# - correct finished texts, and tell a correction from a collapse.
#
# Nothing is downloaded: the toy language of lesson 08 again, with every probability known.

# %%
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import torch

from difflm_core.classroom.lesson import load_results, progress, samples_table, setup, show
from difflm_core.classroom.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    style_of,
    token_grid,
)
from difflm_core.classroom.sentences import compared, marked, sentence, trajectory
from difflm_core.data.toy_language import toy_language
from difflm_core.processes import hybrid, masked, uniform
from difflm_core.samplers import ancestral, sample_masked

lesson = setup(seed=9)
language = toy_language()
V, L, MASK = language.V, language.length, language.mask_id  # 114 words; sentences of 12; the mask has id V
word = language.words.__getitem__
entropy = language.entropy() / L
print(f"V = {V} words, exact entropy {entropy:.4f} nats per word: no bound can be lower")

# %% [markdown]
# ## 1 · A word that cannot be taken back
#
# Let a *perfect* network, the language's own exact posterior, write sentences in four calls with masked diffusion. **Predict:** which share of the sentences will break the grammar? And how many of the broken ones
# could be saved by changing *one* word?

# %%
def repairs(x):
    """The positions (of one sentence) at which another word would make it grammatical."""
    tries = x.repeat(L, V, 1)  # (position, word, L)
    for i in range(L):
        tries[i, :, i] = torch.arange(V)
    return language.grammatical(tries.view(-1, L)).view(L, V).any(1)


n = lesson.pick(300, 48)
out = sample_masked(language.denoiser(masked(V)), ancestral(4), (n, L), generator=lesson.generator(1), record=True)
broken = (~language.grammatical(out.tokens)).nonzero()[:, 0]
fixable = [int(row) for row in broken if repairs(out.tokens[row]).any()]
print(f"{100 * len(broken) / n:.0f} % of {n} sentences are broken; one other word would repair {100 * len(fixable) / len(broken):.0f} % of those")

row = fixable[0]
places = repairs(out.tokens[row]).nonzero()[:, 0].tolist()
grid = trajectory([frame.tokens[row] for frame in out.trajectory], word, MASK)
grid.append(marked(sentence(out.tokens[row], word, MASK), places))
show(
    token_grid(grid, [*(f"{k} call{'s' * (k != 1)}" for k in range(5)), "one change"], "Masked diffusion, four calls of a perfect network"),
    f"Grid of six rows: all masks, four steps of revealing, and the final sentence again: {language.decode(out.tokens[row])}. Marked in the last row: {', '.join(word(int(out.tokens[row, i])) for i in places)}.",
    "Outlined: just revealed. Last row, dotted: words of which any one could be changed to repair the sentence. The sampler may change none.",
)

# %% [markdown]
# (Where a draft contradicts itself the exact posterior is undefined: no sentence of the language looks like that. It is then read as if a visible word were wrong once in a thousand times.)
#
# Seven sentences in ten break, and one other word would save three in five of those. The network did nothing wrong. Words revealed together do not see each other, that is the price of few calls (lesson 08, section 7); *carry-over* makes the mistake permanent.
#
# Could the sampler simply overwrite words? In training every visible word was right, always, and the loss never asked the network about one. What it answers there is an accident of its weights. So we must ask.
#
# ## 2 · Noise that lies
#
# Lesson 08's noise hides. The new noise also *lies*: at time $t$ a word is itself, or masked, or replaced by a random word:
#
# $$q_t(z \mid x) = \alpha_t\,x + \underbrace{\tfrac{t}{C_t}}_{\text{mask mass}} m + \underbrace{\tfrac{c_t}{C_t}}_{\text{uniform mass}} u, \qquad \alpha_t = \frac{1-t}{C_t}, \quad c_t = B\,\sqrt{t(1-t)}, \quad C_t = 1 + c_t, \quad B = \frac{2\,p_u}{1-p_u}.$$
#
# Here $x$, $m$ and $u$ are distributions: all on the clean word, all on the mask, and uniform over the $V$ words. Read it as lesson 08's noise, $(1-t)\,x + t\,m$, with a share of random words mixed in and everything divided by $C_t$ so that it sums to 1.
# Why these letters? $c_t$ vanishes at both ends, so a text still starts clean and ends all masked, and at $t = 1/2$, where $\sqrt{t(1-t)} = 1/2$, we get $c = p_u/(1-p_u)$, $C = 1/(1-p_u)$, and the uniform mass is
# exactly $p_u$. One dial: **$p_u$ is the largest share of words that are random**.

# %%
t = torch.linspace(0, 1, 201)
fig, axes = plt.subplots(1, 4, figsize=(10, 2.7), sharey=True)
for ax, p_u in zip(axes, (0.0, 0.1, 0.2, 0.5)):
    alpha, mask_mass, uniform_mass = hybrid(V, p_u).masses(t)
    ax.stackplot(t, alpha, uniform_mass, mask_mass, colors=["#ffffff", ORANGE, "#d0d0d0"], edgecolor="#444444", lw=0.6)
    ax.set(title=f"$p_u$ = {p_u:g}", xlabel="t", xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1])
    ax.grid(False)
    ax.text(0.03, 0.12, "itself", fontsize=10)
    ax.text(0.97, 0.88, "masked", fontsize=10, ha="right")
    if p_u:
        ax.text(0.5, (alpha + uniform_mass / 2)[100], "random", fontsize=10, ha="center", va="center")
axes[0].set_ylabel("share of the words")
show(fig, "Four panels for p_u = 0, 0.1, 0.2 and 0.5. Each splits the words at time t into itself (all at t = 0), random, and masked (all at t = 1). The random part is a lens that is widest at t = 1/2, where it has height p_u; at p_u = 0 it is missing.", "White: itself; orange: a random word; grey: masked. The lens is p_u high in the middle and vanishes at both ends.")

# %% [markdown]
# It takes three lines to corrupt, whatever $V$ is: two thresholds for one uniform number. Below, the fox of lesson 08 walks through this noise.
#
# **Predict:** at which of these rows does it become hard to tell *which* words are wrong?

# %%
def corrupt(x, t, p_u, generator):
    """z_t ~ q(z_t | x) for hybrid noise. x (B, L), t (B,)."""
    alpha, mask_mass, _ = (mass[:, None] for mass in hybrid(V, p_u).masses(t))
    coin, lie = torch.rand(x.shape, generator=generator), torch.randint(V, x.shape, generator=generator)
    return torch.where(coin < alpha, x, torch.where(coin < alpha + mask_mass, MASK, lie))


fox = language.encode("the great brown fox hops over the lazy dog in brown boots")
times = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
generator, path = lesson.generator(5), [fox]
for s, t in zip(times, times[1:]):  # from row to row: stay, or jump (the masses between two times, section 3)
    stay, to_mask, _ = hybrid(V, 0.3).between(s[None], t[None])
    coin, lie = torch.rand(L, generator=generator), torch.randint(V, (L,), generator=generator)
    path.append(torch.where(coin < stay, path[-1], torch.where(coin < stay + to_mask, MASK, lie)))
z = torch.stack(path)
rows = [compared(line, fox, word, MASK) for line in z]
show(token_grid(rows, [f"t = {time:.1f}" for time in times], "$p_u$ = 0.3"), "Seven rows from the clean sentence at t = 0 to all masks at t = 1. Random words, marked as changed, appear in the rows between. In words: " + "; ".join(f"t = {time:.1f}: {language.decode(line)}" for time, line in zip(times, z)) + ".", "One path of the noise, each row drawn from the one above. Dashed: a random word stands there. Even a mask may turn into a word again. The network sees the words, but not the marks.")

# %% [markdown]
# At $t = 0.1$ "trot" gives itself away and "golden" contradicts "brown", but "races" fits as well as "hops" did. From $t = 0.5$ on not one visible word is right, and little is left to judge by.
#
# The network must find out what is wrong by itself, from what fits together. That is the whole trick: a network which can tell has learned to correct.
#
# <details><summary>The other normalisation, if you read the first version of the paper</summary>
#
# There the uniform part is written $c_t \mathbf 1$ over all $N = V + 1$ symbols, the mask among them, with $C_t = 1 + N c_t$ and $B = 2^\gamma p_u / (N (1 - p_u))$. It is the same family with another split: one $N$-th of the "random" share lands on the mask.
# The authors' code (version 1.1.0), and this course, let $u$ cover the $V$ words only and use $C_t = 1 + c_t$; then $p_u$ is what it says. In general $c_t = B\,(t(1-t))^{\gamma/2}$ and $B = 2^\gamma p_u/(1-p_u)$; $\gamma = 1$ here and in the paper. The test
# `tests/test_hybrid.py` compares the two. Forget $C_t$ altogether and the "probabilities" sum to more than 1.
# </details>
#
# ## 3 · Undoing one step when words may be wrong
#
# Take $s < t$. Between the two a token stays with probability $\alpha_{t|s} = \alpha_t/\alpha_s$, or *jumps*; a token that jumps forgets where it was and lands on the mask or on a random word with the masses
# that are missing, $\text{mass}_{t|s} = \text{mass}_t - \alpha_{t|s}\,\text{mass}_s$. Bayes' rule does the rest:
#
# $$q(z_s \mid z_t, x) \;\propto\; q(z_t \mid z_s)\; q_s(z_s \mid x).$$
#
# In lesson 08 a visible word had one possible past: itself. **Predict:** with $p_u = 0.2$, at $t = 0.5$, a *wrong* word is visible. One small step earlier, at $s = 0.45$: was it more likely the same wrong word, the right word, or a mask?

# %%
lying = hybrid(V, 0.2)
s_half, t_half = torch.tensor([0.45], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
truth, lie = int(fox[3]), int(language.encode("green")[0])
past = lying.posterior(torch.tensor([[MASK, lie, truth]]), torch.full((1, 3), truth), s_half, t_half)[0]  # (3 tokens, V + 1 symbols)
print(f"the clean word is '{word(truth)}'; q(z_s | z_t, x) from t = 0.5 to s = 0.45\n")
print(f"{'seen at t':14s}{'right at s':>12s}{'the same lie':>14s}{'masked':>10s}{'some other lie':>16s}")
for seen, p in zip(("masked", "'green'", f"'{word(truth)}'"), past):
    others = 1 - p[truth] - p[lie] - p[MASK]
    print(f"{seen:14s}{p[truth]:12.4f}{p[lie]:14.4f}{p[MASK]:10.4f}{others:16.4f}")

# %% [markdown]
# Three observations. A mask may now hide what was a lie before. A wrong word was most likely already there (a lie stays visible until it is masked), but four times in a hundred it was the *right* word a moment ago: in this case the reverse step takes the
# lie back. And even a right word may be an accident. **No symbol is final any more**, and this is what the sampler will use: it takes the network's guess $x_\theta$ for $x$ (the *plug-in* posterior, as in lesson 08) and draws $z_s$, at every position, in every step.
#
# ## 4 · The bound: two divergences and one weight
#
# Lesson 08's KL collapsed into a cross-entropy because only masks could change. Now everything can, but the general answer is hardly longer. Take a step from $t$ to $s = t - dt$ and one position; write $z$ for the symbol at $t$.
#
# *How the true reverse process jumps.* Forward, noise jumps onto symbol $z$ at some rate $r_z$ (per unit of time), wherever the token was before; that is all we need to know about the noise. By Bayes' rule, going back the token leaves $z$ for $z'$ at the rate
#
# $$R(z') = \frac{r_z}{q_t(z \mid x)}\; q_t(z' \mid x) .$$
#
# *How the model jumps.* The same with $x_\theta$ in the place of $x$: $R_\theta(z') = \frac{r_z}{q_t(z \mid x_\theta)}\, q_t(z' \mid x_\theta)$.
#
# *What the difference costs.* For jump rates the KL per unit of time is $\sum_{z' \ne z} \big( R \log \frac{R}{R_\theta} - R + R_\theta \big)$ (a Poisson process's KL, for each target $z'$). Let $w = r_z / q_t(z \mid x)$ and $\rho = q_t(z \mid x)/q_t(z \mid x_\theta)$,
# so that $R = w\,q_t(z'|x)$ and $R_\theta = w\,\rho\,q_t(z'|x_\theta)$. Put in, and sum over all $z' \neq z$:
#
# $$\sum_{z' \ne z} q_t(z'|x) \log\frac{q_t(z'|x)}{q_t(z'|x_\theta)} = \mathrm{KL} - q_t(z|x)\log\rho, \qquad
# -\log\rho \sum_{z'\ne z} q_t(z'|x) = -(1 - q_t(z|x))\log\rho, \qquad
# \sum_{z'\ne z}\big(\rho\, q_t(z'|x_\theta) - q_t(z'|x)\big) = \rho - 1 .$$
#
# The terms with $q_t(z|x)\log\rho$ cancel, and what is left is GIDD's theorem 3.7:
#
# $$\boxed{\; -\log p_\theta(x) \le \mathbb E_{t \sim U(0,1)}\, \mathbb E_{z_t} \sum_i w_t(z^i, x^i)\,\Big[\underbrace{\mathrm{KL}\big(q_t(\cdot|x^i)\,\big\|\,q_t(\cdot|x_\theta^i)\big)}_{\text{where to?}} + \underbrace{\rho - \log\rho - 1}_{\text{how fast away from here?}}\Big] \;}$$
#
# The second part is the *Itakura–Saito divergence*: zero if the network gives the visible symbol the chance it deserves, and large if it believes a wrong word too much or too little. At a mask $\rho = 1$ and it vanishes. As in lesson 08 no further terms remain, since $\alpha$ runs from 1 to 0.
#
# *The weight* is rate over chance, $w = r_z/q_t(z|x)$. From the masses (rates are $\text{mass}' - \frac{\alpha'}{\alpha}\text{mass}$, the limit of section 3's jump):
#
# | seen | rate $\times\, C_t$ | chance $\times\, C_t$ | weight $w_t$ |
# |---|---|---|---|
# | mask | $\frac{1}{1-t}$ | $t$ | $\frac{1}{t(1-t)}$ |
# | a wrong word | $\big(\frac{c}{1-t} + c'\big)/V$ | $c/V$ | $\frac{1}{2\,t(1-t)}$ |
# | the right word | $\big(\frac{c}{1-t} + c'\big)/V$ | $1 - t + c/V$ | $\frac{1}{2\,t(1-t)}\cdot\frac{b}{\alpha + b}$ |
#
# with $c'/c = \frac{1-2t}{2t(1-t)}$, so that $\frac{1}{1-t} + \frac{c'}{c} = \frac{1}{2t(1-t)}$; and $b = c_t/(V C_t)$, the chance of one particular random word. The last factor, $\frac{b}{\alpha+b}$, is the chance that a right word is right *by luck*.
#
# Nobody should believe such a derivation. The next cell takes $V = 4$, a random prediction, and a step of $10^{-5}$, and compares with the KL of the two exact posteriors, computed by brute force.

# %%
small = hybrid(4, 0.2)
x_theta = torch.randn(1, 3, 4, generator=lesson.generator(2), dtype=torch.float64).softmax(-1)
x_small, z_small = torch.tensor([[2, 2, 2]]), torch.tensor([[4, 0, 2]])  # the truth is word 2; seen: mask, a lie, the truth
t_at, dt = torch.tensor([0.3], dtype=torch.float64), 1e-5
q, p = small.marginal(x_small, t_at), small.marginal(x_theta, t_at)  # q_t(. | x) and q_t(. | x_theta), (1, 3, 5)
rho = (q / p).gather(-1, z_small[..., None])[..., 0]
b_small = small.masses(t_at)[2] / 4
w = torch.stack([1 / (t_at * (1 - t_at)), 0.5 / (t_at * (1 - t_at)), 0.5 / (t_at * (1 - t_at)) * b_small / (small.masses(t_at)[0] + b_small)], dim=1)
by_formula = w * ((q * (q / p).log()).sum(-1) + rho - rho.log() - 1)

true_step, model_step = small.posterior(z_small, x_small, t_at - dt, t_at), small.posterior(z_small, x_theta, t_at - dt, t_at)
by_force = (true_step * (true_step / model_step).log()).sum(-1) / dt
for name, a, b in zip(("mask", "a wrong word", "the right word"), by_force[0], by_formula[0]):
    print(f"{name:16s} KL of one step / dt, by force {a:.5f}    by the formula {b:.5f}")

# %%
# NBVAL_CHECK_OUTPUT
print("the derivation holds:", torch.allclose(by_force, by_formula, rtol=1e-3))

# %% [markdown]
# How much does each kind of token count? **Predict** the shape of the curves near $t = 0$ and near $t = 1$.

# %%
t = torch.linspace(0.002, 0.998, 499, dtype=torch.float64)
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(10, 3.5))
alpha, _, uniform_mass = lying.masses(t)
luck = (uniform_mass / V) / (alpha + uniform_mass / V)
wrong_weight = 0.5 / (t * (1 - t))
for name, weight, colour, dashes in (("mask", 2 * wrong_weight, GREY, "-"), ("wrong word", wrong_weight, ORANGE, "--"), ("right word", wrong_weight * luck, BLUE, "-.")):
    left.semilogy(t, weight, color=colour, ls=dashes, label=name)
left.axhline(1, color="#444444", lw=1, ls=":")
left.text(0.5, 0.8, "clamped at 1", ha="center", va="top", fontsize=10)
left.set(xlabel="t", ylabel="weight $w_t$ in the bound", title="Both ends explode")
left.legend(loc="upper center")
by_dynamic = (0.5 / V * ((1 - alpha) / alpha).sqrt()).clamp_max(1)
clamp = torch.minimum(wrong_weight * luck, torch.ones_like(t)) / torch.minimum(wrong_weight, torch.ones_like(t))
for name, ratio, colour, dashes in (("bound (and relative)", luck, BLUE, "-"), ("dynamic", by_dynamic, GREEN, "--"), ("clamped", clamp, VERMILLION, ":")):
    right_ax.semilogy(t, ratio, color=colour, ls=dashes, label=name)
right_ax.set(xlabel="t", ylabel="weight of right / of wrong", title="What training weights keep, and what not")
right_ax.legend()
show(fig, "Left: the bound's weights over t on a log scale. Mask and wrong word have U-shapes that go to infinity at both ends and differ by a factor 2; the right word's lies far below but also rises at both ends. All of mask and wrong are above 1, where the clamp sits. Right: weight of a right word relative to a wrong one. The dynamic weights lie a little above the bound's, up to three times near t = 0; the clamped ones lie far above at nearly all times.", "p_u = 0.2. Left: log scale; the dotted line is the clamp. Right: the ratio that decides what the network learns (section 7).")

# %% [markdown]
# Both ends explode. At $t = 1$ that does no harm, because what is weighed vanishes there; near $t = 0$ a few rare tokens count hundreds of times. As a bound that is right; as a training signal it is noise. We shall come back to it twice: for reporting (section 6) and for training (section 7).
#
# ### The whole method in thirty lines

# %%
def weights(x, z, t, p_u):
    """w_t(z, x), (B, L), for gamma = 1 and p_u > 0. float64: near the ends they are large and what they multiply is small."""
    t = t.double().clamp(2**-24, 1 - 2**-24)
    alpha, _, uniform_mass = (mass[:, None] for mass in hybrid(V, p_u).masses(t))
    b, wrong = uniform_mass / V, (0.5 / (t * (1 - t)))[:, None].expand(x.shape)
    return torch.where(z == MASK, 2 * wrong, torch.where(z == x, wrong * b / (alpha + b), wrong))


def divergence(logits, x, z, t, p_u):
    """KL + Itakura-Saito of q_t(. | x) and q_t(. | x_theta), (B, L)."""
    alpha, mask_mass, uniform_mass = (mass[:, None, None] for mass in hybrid(V, p_u).masses(t.double().clamp(2**-24, 1 - 2**-24)))

    def noised(p):  # (B, L, V) probabilities of words -> (B, L, V + 1) of symbols
        return torch.cat([alpha * p + uniform_mass / V, mask_mass.expand(*p.shape[:2], 1)], dim=-1)

    q, q_theta = noised(torch.nn.functional.one_hot(x, V).double()), noised(logits.double().softmax(-1))
    rho = (q / q_theta).gather(-1, z[..., None])[..., 0]
    return (q * (q / q_theta).log()).sum(-1) + rho - rho.log() - 1


def nelbo(model, x, t, p_u, generator):
    """One-draw estimate of the bound in nats per token, (B, L)."""
    z = corrupt(x, t, p_u, generator)
    return weights(x, z, t, p_u) * divergence(model(z, t), x, z, t, p_u)


def training_loss(model, x, t, p_u, generator):
    """The same divergences with tame weights: a mask counts 2, a wrong word 1, a right word its share of luck."""
    z = corrupt(x, t, p_u, generator)
    w = weights(x, z, t, p_u)
    return w / (0.5 / (t * (1 - t)))[:, None] * divergence(model(z, t), x, z, t, p_u)


@torch.no_grad()
def sample(model, n, T, p_u, generator):
    """T steps from all masks; in each, every token is drawn anew from the plug-in posterior (section 3)."""
    process, z = hybrid(V, p_u), torch.full((n, L), MASK)
    for i in range(T, 0, -1):
        s, t = torch.full((n,), (i - 1) / T), torch.full((n,), i / T)
        z = process.step(z, model(z, t).softmax(-1), s, t, generator)
    return z

# %% [markdown]
# (Only the posterior is left to the package; you write it in exercise 9.3.) The package's `gidd_nelbo` computes the same without one-hot vectors and without a single $(B, L, V)$ logarithm of $q$: of the $V$ probabilities at a position the loss needs only
# $\sum_v \log(1 + \frac{\alpha}{b} p_v)$ and $p$ at two words, the true one and the visible one. And it contains its neighbours as special cases, *pointwise*, not only on average: masks alone (lesson 08) and random words alone (UDLM, Schiff et al. 2024):

# %%
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import gidd_at, gidd_nelbo, gidd_nelbo_warped, masked_nelbo, relative, stratified_times

torch.manual_seed(0)
network = Transformer(TransformerConfig(V, L, width=96, layers=2, heads=4, time_conditioning=True))
batch = language.sample(64, generator=lesson.generator(3))
t = stratified_times(64, lesson.generator(4))
ours = nelbo(network, batch, t, 0.2, lesson.generator(6))
z = corrupt(batch, t, 0.2, lesson.generator(6))
core = gidd_at(lying, network, batch, z, t)
ours_loss = training_loss(network, batch, t, 0.2, lesson.generator(6))
core_loss = gidd_at(lying, network, batch, z, t, relative())
print(f"bound          the notebook's {ours.mean().item():.5f}   the package's {core.mean().item():.5f} nats per word (untrained)")
print(f"training loss  the notebook's {ours_loss.mean().item():.5f}   the package's {core_loss.mean().item():.5f}")

mdlm = masked_nelbo(masked(V), network, batch, t, lesson.generator(6))  # p_u = 0 is lesson 08
as_mdlm = gidd_nelbo(hybrid(V, 0.0), network, batch, t, lesson.generator(6))

noise = uniform(V)  # all lies and no mask: UDLM
z = noise.corrupt(batch, t, lesson.generator(6))
logits = network(z, t).double()
alpha = (1 - t.double())[:, None, None]
bar, bar_theta = (V * alpha * p + 1 - alpha for p in (torch.nn.functional.one_hot(batch, V), logits.softmax(-1)))  # K q and K q_theta
at, at_theta = (b.gather(-1, z[..., None]) for b in (bar, bar_theta))
inner = (bar / at * (at_theta * bar / (bar_theta * at)).log()).sum(-1)
udlm = -1 / (V * alpha[..., 0]) * (V / at[..., 0] - V / at_theta[..., 0] - inner)  # UDLM's integrand, as the Duo code has it
as_udlm = gidd_at(noise, network, batch, z, t)
print(f"largest difference from lesson 08's loss at p_u = 0: {(mdlm - as_mdlm).abs().max():.1e}; from UDLM's at pure uniform noise: {((udlm - as_udlm).abs() / udlm.abs().clamp_min(1)).max():.1e}")

# %%
# NBVAL_CHECK_OUTPUT
print("the notebook's thirty lines and the package agree:", torch.allclose(ours, core.double(), rtol=1e-2, atol=1e-2) and torch.allclose(ours_loss, core_loss.double(), rtol=1e-2, atol=1e-3))
print("p_u = 0 is masked diffusion, token by token:", torch.allclose(mdlm, as_mdlm, rtol=1e-4, atol=1e-5))
print("uniform noise is UDLM, token by token:", torch.allclose(udlm, as_udlm.double(), rtol=1e-2, atol=1e-2))

# %% [markdown]
# ## 5 · What would a perfect model get? The trap
#
# In lesson 08 the perfect denoiser was the posterior $p(x^i \mid z_t)$, and its bound was exactly the entropy. The language can compute this posterior for the new noise as well. **Predict:** what is its bound now?
#
# Beside it stands another candidate: $p(x^i \mid z_t \text{ without } z_t^i)$, what the *other* positions say, as if position $i$ were not visible. And, as a check of the formula, a prediction that ignores $z_t$
# altogether (the words' frequencies at each position): a model of independent words. Its $-\log p(x)$ is known, so its bound must be just that, whatever the noise.

# %%
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import LeaveOneOut

texts = list(language.sample(lesson.pick(2048, 256), generator=lesson.generator(7)).split(256))
words_seen = sum(x.numel() for x in texts)
exact = -sum(language.log_prob(x).sum().item() for x in texts) / words_seen
frequencies = language.positional_marginals()  # (L, V)
alone = -sum(frequencies[torch.arange(L), x].log().sum().item() for x in texts) / words_seen


class Frequencies:
    """A 'denoiser' that says the same whatever it reads."""

    V = V

    def hidden(self, z, t):
        return frequencies.clamp_min(1e-30).log().expand(len(z), L, V)

    def logits(self, h):
        return h


def bound(process, denoiser, draws=4, nelbo=gidd_nelbo_warped):
    return estimate_nelbo(lambda x, t, g: nelbo(process, denoiser, x, t, g), texts, draws, lesson.generator(8))


posterior = language.denoiser(lying)
others = LeaveOneOut(posterior, lying)
found = {}
jobs = {
    "the posterior p(x_i | z)": (lying, posterior),
    "what the others say, p(x_i | z without z_i)": (lying, others),
    "frequencies, p_u = 0.2": (lying, Frequencies()),
    "frequencies, all uniform": (noise, Frequencies()),
}
for name, (process, denoiser) in progress(jobs.items(), "bounds", total=len(jobs)):
    found[name] = bound(process, denoiser)
for name, estimate in found.items():
    print(f"{name:46s}{estimate.mean:.4f} ± {estimate.standard_error:.4f} nats per word")
print(f"\n{'exact -log p of these sentences':46s}{exact:.4f}\n{'exact -log p as independent words':46s}{alone:.4f}")

# %%
# NBVAL_CHECK_OUTPUT
tight, loose = found["what the others say, p(x_i | z without z_i)"], found["the posterior p(x_i | z)"]
print("what the others say: tight", abs(tight.mean - exact) < 4 * tight.standard_error + 0.02)
print("the posterior: not tight", loose.mean > exact + 0.1)
print("ignoring z: exact for any noise", all(abs(found[k].mean - alone) < 4 * found[k].standard_error + 0.05 for k in found if "freq" in k))

# %% [markdown]
# The posterior is *not* the perfect denoiser. The reason is in the plug-in: the model's step uses $q_t(z' \mid x_\theta) = \alpha_t\,x_\theta(z') + b$ and divides by the same at the visible $z$: Bayes' rule, which brings
# the evidence of $z^i$ in. If $x_\theta$ has used that evidence already, it is counted twice. The other way round: the bound compares ratios, $q_t(z'|x)/q_t(z|x)$, with the network's; the best average of such a ratio over all $x$ that may lie under $z$ is
# $\sum_x p(x|z)\frac{q_t(z'|x)}{q_t(z|x)} = \frac{\sum_x p(x|\text{others})\,q_t(z'|x)}{\sum_x p(x|\text{others})\,q_t(z|x)}$ (write $p(x|z) \propto p(x|\text{others})\,q_t(z|x)$ and cancel): exactly the plug-in of what the others say.
#
# For a *mask* the two are the same: a mask fits every word equally and is no evidence at all. That is why lesson 08 could not notice. It will matter when we correct texts (section 9): a network trained with GIDD's loss answers the question
# "what would stand here, judging from the rest?", and never "is this word right?".
#
# ## 6 · Reporting: an average that lies
#
# The estimates above were not drawn with $t \sim U(0,1)$. A wrong word at small $t$ is rare (chance of order $\sqrt t$) but counts $\frac{1}{2t}$. Mean: $\int \sqrt t\,\frac1t\,dt$, finite. Mean *square*: $\int \sqrt t\,\frac1{t^2}\,dt = \infty$. An average with infinite variance
# looks calm for thousands of draws, mostly *below* its mean, until one draw arrives that outweighs them all. The cure is to look more often where it is dangerous: take the cube of a number from $U(0,1)$ as $t$, and divide by the density that $t$ then has, $1/(3\,t^{2/3})$. Same mean; now the square is finite.

# %%
def spread_of(estimator):
    """Means of small batches, and the largest single token, for a network that knows word frequencies only (cheap, and exact: `alone`)."""
    generator = lesson.generator(9)
    means, largest = [], 0.0
    for _ in progress(range(lesson.pick(400, 40)), "draws"):
        x = language.sample(64, generator=generator)
        loss = estimator(lying, Frequencies(), x, torch.rand(64, generator=generator), generator)
        excess = loss.sum(1) + frequencies[torch.arange(L), x].log().sum(1)  # against this very text's -log p: only the noise is left
        means.append(excess.mean().item() / L)
        largest = max(largest, loss.max().item())
    return torch.tensor(means), largest


plain, plain_largest = spread_of(gidd_nelbo)
warped, warped_largest = spread_of(gidd_nelbo_warped)
for name, means, largest in (("t uniform", plain, plain_largest), ("t as a cube", warped, warped_largest)):
    print(f"{name:12s} batch means: median {means.median():+.3f}, sd {means.std():.3f}, largest {means.max():+.2f};  share below the truth {100 * (means < 0).double().mean():.0f} %;  largest single token {largest:.0f} nats")

# %%
# NBVAL_CHECK_OUTPUT
print("the largest single token is far larger with uniform t:", plain_largest > 2 * warped_largest)

# %% [markdown]
# With uniform $t$ two batches in three lie below the truth, and one lies 13 nats above it.
#
# From here on every bound is drawn with a cube as $t$ (`gidd_nelbo_warped`), always with the bound's own weights.
#
# ## 7 · Training: which weights may one change?
#
# With the bound's weights, gradients inherit that noise. GIDD trains with others, and the question is what else they change. The loss at one $z_t$ is an average over all $x$ that may lie under it. The network's best answer
# depends on how *these* are weighed against each other (is the visible word right or wrong?), but not on how different $t$ are weighed: each $(z_t, t)$ has its own answer.
#
# - **clamped**, $\min(w, 1)$: cuts masks and wrong words to 1 and leaves right words alone. Their ratio is lost (the figure of section 4, right). The optimum moves.
# - **relative**: $w$ divided by the wrong word's weight at the same $t$, so 2 on a mask, 1 on a wrong word and $\frac{b}{\alpha+b} \approx \frac{B}{V}\sqrt{\frac{t}{1-t}}$ on a right one. Only times are re-weighed.
# - **dynamic**, the paper's choice (Eq. 9): 2, 1 and $\frac{B}{V}e^{-\lambda_t/2}$ with $\lambda_t = \log\frac{\alpha_t}{1-\alpha_t}$. Since $\frac{1-\alpha_t}{\alpha_t} = \frac{t + c_t}{1-t}$, right words weigh $\sqrt{1 + c_t/t}$ times too much: little for small $p_u$, more for large $p_u$ and small $t$.
#
# See it on the smallest case there is: one position, three words with frequencies 0.6, 0.3, 0.1; we see word 0 at $t = 0.1$. "What the others say" is nothing, so the answer should be the frequencies. Which prediction minimises each loss?

# %%
from difflm_core.objectives import clamped, dynamic

three, prior = hybrid(3, 0.2), torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
seen, t_small = torch.zeros(3, 1, dtype=torch.long), torch.full((3,), 0.1, dtype=torch.float64)
under = torch.arange(3)[:, None]  # the words that may lie under it
chance = prior * three.marginal(under, t_small)[:, 0, 0]
chance = chance / chance.sum()  # p(x | z = word 0)


class Fixed:
    """Three logits, whatever is read."""

    V = 3

    def __init__(self):
        self.table = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def hidden(self, z, t):
        return self.table.expand(*z.shape, 3)

    def logits(self, h):
        return h


best = {}
for name, weighting in (("bound", None), ("relative", relative()), ("dynamic", dynamic()), ("clamped", clamped())):
    answer = Fixed()
    optimizer = torch.optim.LBFGS([answer.table], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure(answer=answer, weighting=weighting):
        answer.table.grad = None
        loss = (chance * gidd_at(three, answer, under, seen, t_small, weighting)[:, 0]).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    best[name] = answer.table.detach().softmax(0)
    print(f"{name:10s} best prediction {', '.join(f'{p:.3f}' for p in best[name])}")
print(f"\n{'should be':10s}                 {', '.join(f'{p:.3f}' for p in prior)}   (and p(x | z) is {', '.join(f'{p:.3f}' for p in chance)})")

# %%
# NBVAL_CHECK_OUTPUT
print("relative weights keep the optimum:", torch.allclose(best["relative"], prior, atol=1e-3) and torch.allclose(best["bound"], prior, atol=1e-3))
print("dynamic weights move it less than clamped ones:", (best["dynamic"] - prior).abs().max().item() < (best["clamped"] - prior).abs().max().item())
print("clamped weights move it:", (best["clamped"] - prior).abs().max().item() > 0.02)

# %% [markdown]
# Dynamic weights lean towards the word that is seen, 0.715 in place of 0.6; clamped weights go most of the way to the posterior, 0.966.
#
# Now train. The recipe `gidd-tiny` is a network with a time input, $p_u = 0.2$, dynamic weights; the bar shows the training loss, which is **not** a bound, and the printed bound is the unweighted one. **Predict:** will the training loss end above or below the entropy of 1.754?

# %%
from difflm_core.training import RECIPES, Hybrid, train

recipe = RECIPES["gidd-tiny"][1]
recipe = replace(recipe, steps=lesson.pick(1000, 24), evaluate_every=lesson.pick(200, 12), data=replace(recipe.data, held_out=lesson.pick(2048, 256)))
run = train(recipe)
model = run.model

# %%
fig, ax = plt.subplots()
seen_steps = [line["step"] for line in run.history]
ax.errorbar(seen_steps, [line["bound"] for line in run.history], [2 * line["standard_error"] for line in run.history], label="the bound, unweighted (±2 s.e.)", **style_of("gidd"))
ax.plot(seen_steps, [line["loss"] for line in run.history], color=GREY, ls="--", marker="s", label="training loss (dynamic weights)")
ax.plot([0, seen_steps[-1]], [entropy, entropy], label="exact entropy", **style_of("exact"))
ax.set(xlabel="training step", ylabel="nats per word", ylim=(0, None), title="Two numbers fall; one of them means something")
ax.legend()
show(fig, f"The bound falls from {run.history[0]['bound']:.2f} to {run.history[-1]['bound']:.2f} nats per word and stays above the exact entropy of {entropy:.3f}; the training loss falls from {run.history[0]['loss']:.2f} to {run.history[-1]['loss']:.2f}, far below the entropy.", "Green: held-out bound with its own weights. Grey: the loss that was minimised.")

# %%
# NBVAL_CHECK_OUTPUT
print("the bound fell:", run.history[-1]["bound"] < math.log(V))
print("the bound is not below the truth:", run.history[-1]["bound"] > entropy - 3 * run.history[-1]["standard_error"] - 0.02)
print("the weighted loss is below any possible bound:", run.history[-1]["loss"] < entropy)

# %% [markdown]
# **What goes wrong: reporting the loss.** The weighted loss sits far below the entropy, where no model can be. Nothing is wrong with the training; it is just no bound, and its scale depends on the weighting. Compare models by the unweighted bound only.
#
# ## 8 · Sampling: fewer calls
#
# The plug-in posterior may change any word in any step. **Predict:** with 4 calls, will fewer or more sentences be broken than under masks? (Perfect network under masks: the first number of this lesson.)

# %%
from difflm_core.samplers import sample_discrete

n = lesson.pick(400, 40)
rows, by_steps = [], {}
for T in progress((2, 4, 8, 16, 64), "sampling"):
    drawn = sample_discrete(lying, model, T, (n, L), generator=lesson.generator(10), record=True)
    good = language.grammatical(drawn.tokens)
    states = torch.stack([frame.tokens for frame in drawn.trajectory])  # (T + 1, n, L)
    taken_back = ((states[1:] != states[:-1]) & (states[:-1] != MASK)).sum((0, 2)).double().mean().item()
    by_steps[T] = (100 * (1 - good.double().mean().item()), taken_back)
    rows += [(f"{T} steps", sentence(tokens, word, MASK), "✓" if ok else "✗ broken") for tokens, ok in list(zip(drawn.tokens, good))[:2]]
samples_table(rows, title="Two samples each, not chosen", head=("", "sentence", "grammar"))
for T, (share, taken_back) in by_steps.items():
    print(f"{T:3d} calls: {share:5.1f} % broken; a written word was changed or masked again {taken_back:.2f} times a sentence")

mine = sample(model, n, 16, 0.2, lesson.generator(10))
print(f"\nsection 4's sampler, 16 calls: {100 * (1 - language.grammatical(mine).double().mean().item()):.1f} % broken")

# %% [markdown]
# With few calls fewer sentences break than under masks: at four calls this imperfect network already does better than the *perfect* masked one did in section 1. The second column says why: again and again a written word is taken back. It is no miracle: with two calls there is little to look back at, and with many calls
# the mistakes that remain are the network's own.
#
# One sentence on its way, of those that ended well the one with most words taken back:

# %%
drawn = sample_discrete(lying, model, 8, (n, L), generator=lesson.generator(11), record=True)
states = torch.stack([frame.tokens for frame in drawn.trajectory])
revised = ((states[1:] != states[:-1]) & (states[:-1] != MASK)).sum((0, 2))
row = int((revised + 100 * language.grammatical(drawn.tokens)).argmax())
film = trajectory(states[:, row], word, MASK)
show(
    token_grid(film, [f"{k} call{'s' * (k != 1)}" for k in range(len(film))], "Hybrid noise, eight calls"),
    f"Grid of {len(film)} rows. Starts all masked, ends with: {language.decode(drawn.tokens[row])}. {int(revised[row])} times a written word is changed or masked again on the way.",
    "Outlined: revealed. Dashed on orange: a visible word was replaced by another; grey again: it was hidden again.",
)

# %% [markdown]
# Five words change in the very last call, and only then does the sentence hold.
#
# ## 9 · Self-correction
#
# A network that learned to doubt visible words can also revise a *finished* text, by whoever wrote it. GIDD's recipe: tell the network that the text has a little noise ($t_0 = 0.01$); let it propose a word at every position, at low temperature; of the proposals that *differ* from the text write
# the most probable one; repeat. The paper watches *self-accuracy*, the share of words that are the network's own favourite.
#
# We correct four-step drafts, and compare editors:
# 1. the trained hybrid network, as the paper does it;
# 2. a network trained with masks alone ($p_u = 0$), otherwise the same;
# 3. the hybrid network *with the word's own evidence*: by section 5 it says what the others say; multiply by $q_{t_0}(z^i \mid x^i)$ and normalise, and we have $p(x^i \mid z)$, an editor that also believes what stands there (six lines);
# 4. the same with the network of masks alone (the evidence is borrowed from the hybrid noise);
# 5. and 6. the perfect versions of 1 and 3.
#
# Editors 3, 4 and 6 trust the text, and $t_0$ says how far: at 0.01 they expect about 5 % of the visible words to be wrong, at 0.1 about 14 % (exercise 9.1). We take 0.1 for them; try 0.01, the cautious end of the dial.
#
# **Predict** for each: will it repair sentences? Which will change most words? What could go wrong with an editor that never looks at the word it replaces?

# %%
class WithOwnWord:
    """p(x_i | z) from a network that says what the other positions say: the visible word gains log q(z | z) - log q(z | v)."""

    def __init__(self, denoiser, process):
        self.denoiser, self.process, self.V = denoiser, process, denoiser.V

    def hidden(self, z, t):
        alpha, _, uniform_mass = self.process.masses(t)
        logits = self.denoiser.logits(self.denoiser.hidden(z, t))
        gain = torch.log1p(alpha * self.V / uniform_mass).to(logits.dtype)
        return logits.scatter_add(-1, z[..., None], gain[:, None, None].expand(*z.shape, 1))

    def logits(self, h):
        return h


only_masks = train(replace(recipe, task=Hybrid(0.0), evaluate_every=recipe.steps)).model

# %%
from difflm_core.samplers import self_correct
from difflm_core.studies.gidd_sweep import quality

n = lesson.pick(400, 40)
author = lesson.pick(model, others)  # in fast mode the network has learned too little to write drafts
drafts = sample_discrete(lying, author, 4, (n, L), generator=lesson.generator(12)).tokens
editors = {
    "1 hybrid network": model,
    "2 network of masks alone": only_masks,
    "3 hybrid, with the word": WithOwnWord(model, lying),
    "4 masks, with the word": WithOwnWord(only_masks, lying),
    "5 perfect: the others": others,
    "6 perfect: with the word": posterior,
}
true_sentences = language.sample(n, generator=lesson.generator(14))
calls = lesson.pick(12, 3)
corrected, harmed = {}, {}
for name, editor in progress(editors.items(), "correcting", total=len(editors)):
    t0 = 0.1 if "with the word" in name else 0.01
    corrected[name] = self_correct(editor, drafts, iterations=calls, t0=t0, generator=lesson.generator(13))
    harmed[name] = self_correct(editor, true_sentences, iterations=calls, t0=t0, generator=lesson.generator(13))

of_true = 100 * self_correct(others, true_sentences, iterations=0).self_accuracy[0].mean()  # 0 iterations: only look
before = quality(drafts)
head = f"{'':26s}{'broken %':>9s}{'self-accuracy':>16s}{'changes':>9s}{'calls':>7s}{'entropy within':>16s}{'spread':>8s}{'distinct %':>11s}{'too likely by':>15s}"
print(head)


def figures(name, q, accuracy="", changes=0.0, network_calls=0.0):
    gap = f"{q['log_prob_gap']:+.2f} nats" if q["log_prob_gap"] is not None else "-"
    print(f"{name:26s}{100 * q['broken']:9.1f}{accuracy:>16s}{changes:9.2f}{network_calls:7.1f}{q['entropy']:16.3f}{q['spread']:8.3f}{100 * q['distinct']:11.0f}{gap:>15s}")


figures("true sentences", quality(true_sentences), f"(5 says) {of_true:.0f} %")
figures("four-step drafts", before)
for name, out in corrected.items():
    accuracy = f"{100 * out.self_accuracy[0].mean():.0f} -> {100 * out.self_accuracy[-1].mean():.0f} %"
    figures(name, quality(out.tokens), accuracy, out.changes.double().mean().item(), out.network_calls.double().mean().item())

print("\nFirst do no harm: the same editors given true sentences")
for name, out in harmed.items():
    q = quality(out.tokens)
    print(f"{name:26s}{100 * q['broken']:9.1f} % broken{out.changes.double().mean().item():9.2f} words changed   spread {q['spread']:.3f}")

# %% [markdown]
# (*entropy within*: of the words inside a sentence, the figure that the paper reports; *spread*: entropy of the words used at a position, over all sentences; *too likely by*: how much likelier the grammatical ones are, in nats per sentence, than true sentences.)
#
# Read the two perfect rows first; they are about the method, not about training. The perfect editor that asks only the others repairs everything, and destroys the sample on the way: it replaces any unusual word by the usual one, right or wrong,
# until many sentences are the same. Its self-accuracy rises to the end, and so self-accuracy is no measure of quality: for *true* sentences it is far from 100 %. The editor that also believes the word changes few words, and the right ones; it needs one or two calls; the spread falls by a tenth of a nat, and the sentences become half a nat likelier, against eight.
#
# The trained rows say the same. Row 1, the paper's recipe, leaves hardly a broken sentence, and hardly a sentence that differs from the others. Row 3 mends most of what is broken at the cost of half a word and one or two calls a sentence, and leaves true sentences as they are. The collapse
# shows in *entropy within* too (2.35 to 2.16), which can be measured on a single long text: report it beside every correction.
#
# **And masks alone?** GIDD's authors report that a network trained without random words makes texts *worse* when it corrects them. At visible words its loss never asked it anything, so what it answers there is left to chance. Compare rows 1 and 2: it changes more words
# than any other editor, throws away half of the variety, and the sentences are about as broken as before. And look at the harm: of *true* sentences it breaks a good part, which the hybrid network leaves grammatical. (After the shorter training of section 10 the same kind of network repaired more. That
# is what "left to chance" means.) What random words in training buy is that the question is part of the loss. (There is no perfect row for masks alone: under such noise a broken text is impossible. And the bound printed for this network, 1.743, is below the entropy by less than its ±: an estimate may be, the bound itself may not.)

# %%
# NBVAL_CHECK_OUTPUT
careful, greedy = (corrected[k] for k in ("6 perfect: with the word", "5 perfect: the others"))
print("the careful perfect editor repairs:", quality(careful.tokens)["broken"] < 0.75 * before["broken"])
print("  with fewer changes than the greedy one:", careful.changes.double().mean().item() < 0.75 * greedy.changes.double().mean().item())
print("  and keeps the spread that the greedy one loses:", quality(careful.tokens)["spread"] > quality(greedy.tokens)["spread"])

# %%
show_row = next((i for i in range(n) if not language.grammatical(drafts[i : i + 1]) and language.grammatical(corrected["3 hybrid, with the word"].tokens[i : i + 1])), 0)
table = [("draft", marked(sentence(drafts[show_row], word, MASK), repairs(drafts[show_row]).nonzero()[:, 0].tolist()))]
for name, out in corrected.items():
    good = bool(language.grammatical(out.tokens[show_row : show_row + 1]))
    table.append((name, compared(out.tokens[show_row], drafts[show_row], word, MASK), "✓" if good else "✗ broken"))
samples_table(table, title="One broken draft and six editors", head=("", "sentence", "grammar"))

# %% [markdown]
# ## 10 · How many lies? The sweep
#
# Three seeds for each $p_u$, the same network and training each time, and beside the trained networks the perfect denoisers. **Predict** three curves: the bound against $p_u$; broken sentences at few calls against $p_u$; what correction adds.

# %%
from difflm_core.classroom.pictures import lesson_09 as pictures

study = load_results("gidd_sweep")
show(*pictures.sweep(study))

# %% [markdown]
# The bound grows with $p_u$ in every seed, as its authors report. The perfect denoisers pay nothing for random words (section 5), so what grows is the *network's* cost: it has more to learn, and these networks had 400 steps.
# Quality at few calls is another matter. With the perfect denoiser a small share of random words is far better than none: at $p_u = 0.1$ and four calls a third of the broken sentences are left, because a wrong word can be taken back. With trained networks the same share
# still wins at two to eight calls, and at sixteen it only draws level: there the network's own errors rule. At $p_u = 0.5$ the gain is gone: at $t = 1/2$ half of the page are lies.

# %%
print("four-step drafts before and after correction, twelve iterations at most, means over the seeds\n")
print(pictures.corrections(study))

# %% [markdown]
# The editor that asks only the *others*, the paper's, leaves hardly a broken sentence wherever it was trained with random words, and hardly two different ones: look at *distinct* and *spread*. The perfect network does the same, so this is the method, not the training.
# The editor that multiplies the word's own evidence back in changes about one word a sentence or less, keeps the spread, and with a perfect denoiser repairs most drafts; after 400 steps of training it repairs only some. *Masks alone*: asking the others repairs more than half, and breaks about a fifth
# of sentences that were right. First, do no harm.
#
# And the weights of section 7, at $p_u = 0.2$. The paper's order, best bound first: dynamic, clamped, none (the bound's own weights, "bound" in the table). **Predict** which order a small network shows.

# %%
print(pictures.weightings(study))

# %% [markdown]
# Dynamic and relative weights lead in every seed, by far more than the error of one estimate: that part of the paper's order shows even here. Clamped against none is not settled by three seeds: the bound's own weights are a noisy teacher, and how much that costs changes from seed to seed.
#
# ## 11 · Exercises
#
# Every check tells you what it found; `ex9_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook.

# %%
from difflm_core.classroom.exercises import lesson_09
from difflm_core.classroom.exercises.lesson_09 import ex9_1, ex9_2, ex9_3, ex9_4

# %% [markdown]
# ### Exercise 9.1 · 8 min · difficulty 2/5 · How much is wrong?
# *Importance 3/5: how many words a network expects to be wrong, before it has read one.*
#
# Of the words that are *visible* at time $t$, which share is wrong? Return it for tensors `t`. (With $\gamma = 1$. A random word may be the right one by luck.)

# %%
def wrong_share(t, p_u, V):
    """Exercise 9.1: shaped like t."""
    ### BEGIN SOLUTION
    c = 2 * p_u / (1 - p_u) * (t * (1 - t)).sqrt()
    return c * (1 - 1 / V) / (1 - t + c)
    ### END SOLUTION


ex9_1.run(wrong_share)
wrong_share = ex9_1.answer_or_reference(wrong_share)
for t0 in (0.001, 0.01, 0.1, 0.5):
    print(f"t = {t0:5.3f}: {100 * float(wrong_share(torch.tensor([t0]), 0.2, V)):5.2f} % of the visible words are wrong (p_u = 0.2)")

# %% [markdown] tags=["solution"]
# Visible are the masses $\alpha_t = (1-t)/C_t$ and $c_t/C_t$; of the latter $1 - 1/V$ is wrong. $C_t$ cancels. This is what $t_0$ means in self-correction: it tells the network how many wrong words to expect.

# %% [markdown]
# ### Exercise 9.2 · 12 min · difficulty 3/5 · The weights
# *Importance 4/5: with a wrong weight a network still trains, and its bound is none.*
#
# Return the weights $w_t$ on a mask, on a wrong word and on a right word for *any* $\gamma$, with $c_t = B\,(t(1-t))^{\gamma/2}$, $B = 2^\gamma \frac{p_u}{1-p_u}$. Use section 4's table before $\gamma = 1$ was put in.

# %%
def weights_for(t, p_u, gamma, V):
    """Exercise 9.2: (on a mask, on a wrong word, on a right word), each shaped like t."""
    ### BEGIN SOLUTION
    c = 2**gamma * p_u / (1 - p_u) * (t * (1 - t)) ** (gamma / 2)
    slope = gamma / 2 * (1 - 2 * t) / (t * (1 - t)) * c  # c'
    onto_words = c / (1 - t) + slope  # rate times C_t
    return 1 / (t * (1 - t)), onto_words / c, onto_words / V / (1 - t + c / V)
    ### END SOLUTION


ex9_2.run(weights_for)

# %% [markdown] tags=["solution"]
# Rate over chance, row by row of the table. With $\gamma = 2$ the wrong word's weight becomes $1/t$: random words then arrive at a rate that stays finite, as masks do. The factor $1/V$ in the last numerator is the one that the authors' code lacked until June 2025.

# %% [markdown]
# ### Exercise 9.3 · 20 min · difficulty 4/5 · The plug-in posterior
# *Importance 5/5: repeat it and you have the sampler.*
#
# The heart of the sampler: return the plug-in posterior $p_\theta(z_s \mid z_t) \propto q(z_t \mid z_s)\,q_s(z_s \mid x_\theta)$ as probabilities over $V + 1$ symbols, the mask last. `at_s` and `at_t` hold the three masses (numbers) at the two times.

# %%
def plug_in(z, p, at_s, at_t):
    """Exercise 9.3: z (B, L) ids, p (B, L, V) the prediction, at_s and at_t (alpha, mask mass, uniform mass) -> (B, L, V + 1)."""
    ### BEGIN SOLUTION
    V = p.shape[-1]
    stays = at_t[0] / at_s[0]
    to_mask, to_word = at_t[1] - stays * at_s[1], (at_t[2] - stays * at_s[2]) / V
    q_s = torch.cat([at_s[0] * p + at_s[2] / V, torch.full_like(p[..., :1], at_s[1])], dim=-1)
    arrives = stays * torch.nn.functional.one_hot(z, V + 1) + torch.where(z == V, to_mask, to_word)[..., None]  # q(z_t | z_s), over z_s
    joint = arrives * q_s
    return joint / joint.sum(-1, keepdim=True)
    ### END SOLUTION


ex9_3.run(plug_in)

# %% [markdown] tags=["solution"]
# Two factors and a normalisation. `arrives` is a function of $z_s$ for the given $z_t$: a token that stayed must have been $z_t$; one that jumped could have been anything.

# %% [markdown]
# ### Exercise 9.4 · 15 min · difficulty 3/5 · One correction
# *Importance 4/5: all of section 9 is this step, repeated.*
#
# One step of self-correction: draw a proposal everywhere at `temperature`; among the proposals that differ from `z`, at `free` positions, write the most probable one in each text. Texts with nothing to change stay. Return the new texts.

# %%
from difflm_core.samplers import draw


def correct_once(logits, z, free, temperature, generator):
    """Exercise 9.4: logits (N, L, V), z and free (N, L) -> the corrected texts (N, L). draw(logits (M, V), generator, temperature) -> (M,) may help."""
    ### BEGIN SOLUTION
    proposal = draw(logits.flatten(0, 1), generator, temperature).view(z.shape)
    score = logits.softmax(-1).gather(-1, proposal[..., None])[..., 0] * ((proposal != z) & free)
    surest = torch.nn.functional.one_hot(score.argmax(1), z.shape[1]).bool() & (score > 0)
    return torch.where(surest, proposal, z)
    ### END SOLUTION


ex9_4.run(correct_once)

# %% [markdown] tags=["solution"]
# The score is zero where nothing may or need be written, so that the best place is never one of these; `score > 0` keeps a text in which nothing differs. Choosing the place where the network *doubts* the word most would change words for which it knows nothing better.

# %% [markdown]
# ### Exercise 9.5 · 25 min · difficulty 5/5 · Eight calls (open)
# *Importance 5/5: to repair without collapse is the question of this lesson.*
#
# Eight network calls for drafting *and* correcting. Break at most half as many sentences as `sample_discrete(T=8)`, without losing variety: at least 90 % of the sentences distinct, and at least 93 % of the *spread* of true ones (section 9). The network is the perfect one that says what the others say.
#
# Section 9 has the parts: `sample_discrete(process, denoiser, T, shape, generator=generator)` for a draft, `self_correct(editor, tokens, iterations, tokens_per_step=1, temperature=0.1, generator=generator)` to revise it, with the denoiser or `WithOwnWord(denoiser, process)` as editor. Both results have `tokens` and `network_calls`. (`iterations` of $n$ make up to $n + 1$ calls.)

# %%
from difflm_core.samplers import Sample

ex9_5 = lesson_09.ex9_5(lying, others, language, sentences=150)

# %%
def my_sampler(process, denoiser, shape, generator):
    """Exercise 9.5: a Sample(tokens, network_calls) with at most 8 calls for each row."""
    ### BEGIN SOLUTION
    draft = sample_discrete(process, denoiser, 5, shape, generator=generator)
    fixed = self_correct(WithOwnWord(denoiser, process), draft.tokens, iterations=2, tokens_per_step=2, temperature=1.0, generator=generator)
    return Sample(fixed.tokens, draft.network_calls + fixed.network_calls)
    ### END SOLUTION


ex9_5.run(my_sampler)

# %% [markdown] tags=["solution"]
# Five calls for a draft, at most three for an editor that also believes the words. The greedy editor of the paper breaks even less and fails the check: its sentences are all alike.

# %% [markdown]
# ## 12 · Scale it up
#
# `gidd-lm1b` is lesson 08's LM1B run with hybrid noise, a time input and GIDD's weight decay of 0.02: the same data, network, batches and steps as `mdlm-lm1b`, so that the two bounds can be compared. It needs a GPU, the internet, and a copy of LM1B that `datasets` can read.
#
# ```
# python -m difflm_core.training gidd-lm1b --data.name NAME-OF-YOUR-COPY --task.p-uniform 0.1
# ```

# %%
big = RECIPES["gidd-lm1b"][1]
vocabulary = 30522
trunk = 12 * big.size.layers * big.size.width**2  # weights of attention (4 D^2) and MLP (8 D^2) in each layer
tokens = big.steps * big.batch_size * big.data.length
head = {"masks alone": 0.5, "hybrid": 1.0}  # the share of positions on which the loss needs the output layer
for name, share in head.items():
    flops = tokens * (6 * trunk + 6 * share * big.size.width * vocabulary + 12 * big.size.layers * big.size.width * big.data.length)
    print(f"{name:12s} {tokens / 1e9:.1f} billion positions, {flops:.2e} FLOPs, {flops / (0.4 * 989e12) / 3600:.0f} GPU-hours at 40 % of an H100's 989 TFLOP/s (an assumption)")

# %% [markdown]
# The price of hybrid noise: every position has a loss, so that the output layer runs everywhere, not on the masked half only. The paper's own runs are on OpenWebText (12 layers, width 768, sequences of 512 tokens, 500,000 steps, learning rate 5e-4); its authors report that the bound grows with $p_u$ while samples in few steps
# become better, and that correction helps only for $p_u > 0$. Compare your bound with that of `mdlm-lm1b`.
#
# ## 13 · What to remember
#
# 1. To take a word back a network must have seen wrong words: GIDD mixes random words into the masks, and one formula (KL + Itakura–Saito, weight = rate over chance) gives the bound for any mixture; masks alone are MDLM, uniform noise alone is UDLM.
# 2. Its perfect denoiser is what the *other* positions say. The posterior counts the visible word twice.
# 3. Report the unweighted bound, with times that tame its variance; and never believe a correction that is reported without its loss of entropy.
#
# **Five quick questions**
#
# <details><summary>1. At t = 1/2 and p_u = 0.2, which share of the words is masked?</summary>
# (1 − p_u)/2 = 0.4; as many are still themselves, and 0.2 are random.
# </details>
#
# <details><summary>2. Why is there no Itakura–Saito term in lesson 08?</summary>
# At a mask ρ = 1: both sides give the mask the same chance. Visible words, where it could be different, have weight zero there, because noise never jumps onto a word.
# </details>
#
# <details><summary>3. A colleague trains with dynamic weights and reports 0.5 nats per token. Is that a good model?</summary>
# It says nothing: the weighted loss is no bound. Ask for the unweighted one, and how t was drawn.
# </details>
#
# <details><summary>4. Why not let a network that was trained on masks alone correct texts?</summary>
# Its outputs at visible positions were never trained: the loss of lesson 08 is zero there. It may answer sensibly, but nothing ensures it: ours broke more than a third of the true sentences that it was given.
# </details>
#
# <details><summary>5. Self-accuracy rose from 50 % to 100 %. Is the text better?</summary>
# Not necessarily. True sentences have about the self-accuracy of the drafts (the perfect network, judging from the others alone, cannot guess every word). At 100 % every word is the favourite of the others: the text has been pulled to the commonest one.
# </details>
#
# **Sources.** von Rütte et al. 2025, *Generalized interpolating discrete diffusion* (arXiv 2503.04482): Prop. 3.3, Thm. 3.7, Eq. 9; code `dvruette/gidd`, version 1.1.0 (schedule, weights, self-correction). von Rütte et al. 2025 (2512.10858), scaling. Schiff et al. 2024 (2412.10193), UDLM, and Sahoo et al. 2025 (2506.10892), Duo:
# uniform noise. That the bound is tight for "what the others say", and the variance of section 6, are derived here and checked in `tests/test_gidd.py`. Next in the course: lesson 10, where not the noise but the *sampler* revises.
