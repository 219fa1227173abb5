# %% [markdown]
# # 08 · Masked diffusion: why is masking + cross-entropy enough?
#
# **Minutes** 45 to read, about 4 of computing on 2 CPU cores · **Prerequisites** PyTorch, cross-entropy; no other lesson of this course
#
# An autoregressive language model writes one word after the other and never looks back. A *diffusion* language model starts from noise and
# improves a whole text at once. The simplest noise for text is a blank: cover words with `[MASK]`, learn to guess them, and generate by uncovering a
# fully masked page step by step. BERT learned to fill blanks in 2018 and was no text generator. What was missing?
#
# **The question of this lesson.** Filling blanks is plain classification. Why should a weighted sum of such cross-entropies be a *likelihood*, a bound on
# $-\log p(x)$ of the whole text, and how do we sample from it?
#
# After this lesson you can
# - derive the loss of MDLM (Sahoo et al. 2024) and say what each factor is for,
# - train a masked diffusion model and tell from one number whether it is as good as it can be,
# - sample with many network calls or few, and say what is lost,
# - name three mistakes that look like success.
#
# Nothing is downloaded: the language of this lesson is generated, and its probabilities are known *exactly*. (Two cells near the end use real text,
# with trained models that come with the course.)

# %%
import math
import time
from dataclasses import replace

import torch

from difflm_core.classroom.lesson import load_results, progress, samples_table, setup, show
from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import sentence, trajectory
from difflm_core.data.toy_language import toy_language

lesson = setup(seed=8)

# %% [markdown]
# ## 1 · A language that we know completely
#
# The *toy language* has 114 words and sentences of 12 words. Three rules reach across a sentence: determiner, noun, verb and its/their agree in number
# ("th**ese** black fox**es** **run** … **their**"), the object's determiner and noun agree, and the colour near the end repeats the subject's colour. And the words come in one of three
# orders, the *shapes* of a sentence; in the shape of sentence 2, for one, the end is "in red shoes".

# %%
language = toy_language()
V, L, MASK = language.V, language.length, language.mask_id  # 114 words; 12 positions; the mask has id V
word = language.words.__getitem__

x = language.sample(4, generator=lesson.generator(1))  # (4, 12) token ids
samples_table(
    [(f"sentence {i + 1}", sentence(row, word, MASK)) for i, row in enumerate(x)],
    title="Four sentences of the toy language",
)
print(f"V = {V} words, log V = {math.log(V):.3f} nats for a word chosen blindly")
print(
    f"exact entropy: {language.entropy() / L:.4f} nats per word: no model on earth can have a smaller average loss"
)

# %% [markdown]
# That last number is why we use an invented language. (Its unit, the *nat*, is that of $-\log p$ with the natural logarithm, as PyTorch's cross-entropy computes it.) On real text nobody knows how good a model *could* be; here every claim of this lesson can be checked
# against the truth.
#
# ## 2 · Destroying a sentence
#
# Time runs from $t = 0$ (clean) to $t = 1$ (nothing left). At time $t$ every token is still itself with probability $\alpha_t$ and is `[MASK]`
# otherwise, each on its own. We use $\alpha_t = 1 - t$, so that $t$ is simply the expected share of masked words. With $x$ the clean text and $z_t$ the noisy one:
#
# $$q(z_t \mid x) = \alpha_t\, x + (1 - \alpha_t)\, m .$$
#
# (Read $x$ and $m$ as distributions with all their mass on the clean token and on the mask.) In code it is two lines.


# %%
def corrupt(x, t, generator):
    """z_t ~ q(z_t | x): keep each token with probability alpha_t = 1 - t, mask it otherwise. x (B, L), t (B,)."""
    keep = torch.rand(x.shape, generator=generator) < (1 - t)[:, None]
    return torch.where(keep, x, MASK)


times = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
z = corrupt(x[:1].expand(5, L), times, lesson.generator(2))
samples_table(
    [(f"t = {t:.2f}", sentence(row, word, MASK)) for t, row in zip(times, z)],
    title="One sentence at five noise levels",
)

# %% [markdown]
# Each row is a fresh draw from $q(z_t \mid x)$, not one sentence decaying: "fox" is masked at $t = 0.25$ and visible at $0.5$. And every word tosses its own coin, so that the share varies:
# at $t = 0.75$ all twelve happen to be masked (one draw in thirty, $0.75^{12}$).
#
# ## 3 · Undoing one step: Bayes' rule with two cases
#
# One rule is still missing: how the noisy texts of one sentence belong together. Noise only ever masks; a token once masked never comes back.
#
# Take an earlier time $s < t$. Knowing the clean text, what was $z_s$, given $z_t$? For each token there are only two cases.
#
# - $z_t$ is visible. Then it was visible at $s$ too: $z_s = z_t = x$.
# - $z_t$ is masked. At $s$ it was either masked already, or still visible. By Bayes' rule the odds are the two prior probabilities,
#   $1 - \alpha_s$ (masked by $s$) against $\alpha_s - \alpha_t$ (masked between $s$ and $t$), which add up to $1 - \alpha_t$:
#
# $$q(z_s \mid z_t = m, x) = \frac{1-\alpha_s}{1-\alpha_t}\, m + \frac{\alpha_s - \alpha_t}{1-\alpha_t}\, x .$$
#
# **Predict:** at $t = 0.5$ with $s = 0.4$, with which probability is a masked word revealed? Write it down before you run the cell.

# %%
from difflm_core.processes import masked

process = masked(
    V
)  # the course's own object for this noise; `posterior` applies Bayes' rule to any noise
t, s = torch.tensor([0.5]), torch.tensor([0.4])
x_one = x[:1, :2]
z_one = torch.tensor([[MASK, int(x[0, 1])]])  # first word masked, second visible
posterior = process.posterior(z_one, x_one, s, t)[0]  # (2 positions, V + 1 symbols)
for position, name in enumerate(["masked at t ", "visible at t"]):
    p_word, p_mask = posterior[position, x_one[0, position]].item(), posterior[position, MASK].item()
    print(f"{name}: revealed by s with probability {p_word:.2f}, masked with {p_mask:.2f}")

# %% [markdown]
# $(t - s)/t = 0.1/0.5 = 0.2$. The tempting answer, $t - s = 0.1$, forgets that we already know the token to be masked.
#
# ## 4 · The model, and why its loss is a cross-entropy
#
# A generator does not know $x$. The model looks at $z_t$ and puts its guess $x_\theta(z_t)$, a distribution over the $V$ words at every position, in the place of $x$:
#
# $$p_\theta(z_s \mid z_t) = q(z_s \mid z_t, x = x_\theta(z_t)).$$
#
# Two facts hold for the true $x$, and so we build them into the model instead of hoping that it learns them. MDLM calls this *SUBS*:
#
# 1. **Zero masking probability.** The clean text contains no mask, so $x_\theta$ gives the mask probability 0. In our network the mask is a row of the
#    input embedding only; the output layer has $V$ rows and could not predict it.
# 2. **Carry-over.** A visible token is known: there $x_\theta = z_t$. Our loss and samplers never ask the network about visible positions.
#
# The negative ELBO of any diffusion model, its bound on $-\log p_\theta(x)$, is a sum of KL divergences, one per step: how far is the model's step from the true one?
#
# <details><summary>Why a sum of KLs bounds −log p (a few lines; lesson 01 goes slower)</summary>
#
# The sampler walks a whole path $z$ of noisy texts, from all masks to $x$, and $p_\theta(x)$ is a sum over all paths. Weigh them by the paths that noise takes, $q(z \mid x)$, and use Jensen's inequality ($-\log$ of a
# mean is at most the mean of $-\log$):
#
# $$-\log p_\theta(x) = -\log \mathbb E_{q(z \mid x)} \frac{p_\theta(z, x)}{q(z \mid x)} \;\le\; \mathbb E_{q(z \mid x)} \log\frac{q(z \mid x)}{p_\theta(z, x)} .$$
#
# Told backwards, from $t = 1$, both are products of steps, $q(z_s \mid z_t, x)$ and $p_\theta(z_s \mid z_t)$. The logarithm makes a sum of them, and the mean of $\log\frac{q}{p}$ of one step is a KL divergence. The right-hand side
# with its sign turned is the *evidence lower bound*, ELBO.
# </details>
#
# With SUBS each of these KLs collapses.
#
# - At a visible token both steps say "stay": KL = 0.
# - At a masked token both steps say "stay masked" with the *same* probability $\frac{1-\alpha_s}{1-\alpha_t}$, and differ in what is revealed: all of
#   $\frac{\alpha_s-\alpha_t}{1-\alpha_t}$ on $x$ for the truth, that much times $x_\theta$ for the model. So
#
# $$\mathrm{KL} = \frac{\alpha_s-\alpha_t}{1-\alpha_t}\,\log\frac{1}{x_\theta(x)} = \frac{\alpha_s-\alpha_t}{1-\alpha_t}\cdot\big[-\log x_\theta(x)\big].$$
#
# A cross-entropy, times the probability that the token is revealed in this step. Nothing was approximated. The next cell takes a small vocabulary
# ($V = 4$) and compares this line with the KL computed by brute force.

# %%
small = masked(4)
logits = torch.randn(1, 1, 4, generator=lesson.generator(3), dtype=torch.float64)
x_theta, truth, hidden = (
    logits.softmax(-1),
    torch.tensor([[2]]),
    torch.tensor([[4]]),
)  # the true token is 2; the visible symbol is the mask, 4
s, t = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
q_step, p_step = (
    small.posterior(hidden, truth, s, t),
    small.posterior(hidden, x_theta, s, t),
)  # (1, 1, 5) each
by_force = (torch.special.entr(q_step).neg() - torch.xlogy(q_step, p_step)).sum().item()
by_formula = ((t - s) / t * -x_theta[0, 0, 2].log()).item()
print(f"KL by brute force {by_force:.12f}")
print(f"KL by the formula {by_formula:.12f}")

# %% [markdown]
# Now let the steps become infinitely many. With steps of length $dt$, $\alpha_s - \alpha_t \to -\alpha'_t\,dt$ ($\alpha'_t$ is the derivative), the sum over steps becomes an integral, and
# the integral an average over $t \sim U(0, 1)$:
#
# $$\boxed{\;-\log p_\theta(x) \;\le\; \mathcal L(x) = \mathbb E_{t}\,\mathbb E_{z_t}\; w(t) \sum_{i\,:\,z_t^i = m} -\log x_\theta^i(z_t)[x^i], \qquad w(t) = \frac{-\alpha'_t}{1-\alpha_t}\;}$$
#
# and for $\alpha_t = 1 - t$ simply $w(t) = 1/t$. (The two other terms of an ELBO vanish: at $t = 1$ everything is masked whatever the text was, so there is no prior
# cost; at $t = 0$ everything is visible, so there is no reconstruction cost.)
#
# <details><summary>Why 1/t, in words? (worth opening)</summary>
#
# At noise level $t$ about $tL$ words are masked, so the bare sum of cross-entropies has about $tL$ terms. Dividing by $t$ makes it an estimate of
# $L$ terms, one per word, whatever $t$ is: each word is charged *once*. There is an even more concrete reading. Reveal the words in a random order. When $n$ are still
# hidden, any of them may come next, with probability $1/n$ each; charging the average of their cross-entropies is charging the next word of a random order.
# Adding up $n = L, \dots, 1$ gives $\sum_n \frac1n \sum_{\text{hidden}} -\log x_\theta$, the chain rule averaged over all orders. That sum equals $\mathcal L$ exactly (Zheng et al. 2024,
# Prop. 3.1). So masked diffusion *is* an autoregressive model without a fixed order. The test `tests/test_masked_objectives.py` checks the equality by enumeration.
# </details>
#
# ### The whole method in thirty lines


# %%
def nelbo(model, x, t, generator):
    """One-draw estimate of the bound in nats per token, (B, L): cross-entropy on masked tokens, weighted by 1/t."""
    z = corrupt(x, t, generator)
    log_p = model(z, t).log_softmax(-1)  # (B, L, V)
    nll = -log_p.gather(-1, x[..., None])[..., 0]  # (B, L)
    return (z == MASK) * nll / t[:, None]


def train_step(model, optimizer, x, generator):
    """One step of training: a time for each sentence, spread evenly over [0, 1]."""
    B = len(x)
    t = (torch.randperm(B, generator=generator) + torch.rand(B, generator=generator)) / B
    loss = nelbo(model, x, t.clamp_min(1e-6), generator).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def sample(model, n, T, generator):
    """Ancestral sampling: T steps from all masks; in each, every mask is revealed with probability (t - s) / t."""
    z = torch.full((n, L), MASK)
    for i in range(T, 0, -1):
        t, s = i / T, (i - 1) / T
        p = model(z, torch.full((n,), t)).softmax(-1)  # (n, L, V)
        guess = torch.multinomial(p.view(-1, V), 1, generator=generator).view(n, L)
        reveal = torch.rand(n, L, generator=generator) < (t - s) / t
        z = torch.where((z == MASK) & reveal, guess, z)  # visible tokens stay: carry-over
    return z


# %% [markdown]
# The course's package has the same loss as `objectives.masked_nelbo`, written so that the output layer runs on masked rows only (with a vocabulary of
# 50,000 words that is most of the work). Same numbers? Same network, same times, same noise:

# %%
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import masked_nelbo, stratified_times

torch.manual_seed(0)
network = Transformer(
    TransformerConfig(V, L, width=96, layers=2, heads=4)
)  # bidirectional: every position sees every other
batch = language.sample(64, generator=lesson.generator(4))
t = stratified_times(64, lesson.generator(5))
ours = nelbo(network, batch, t, lesson.generator(6))
core = masked_nelbo(process, network, batch, t, lesson.generator(6))
print(
    f"the notebook's loss {ours.mean().item():.5f}, the package's {core.mean().item():.5f} nats per word"
)

# %%
# NBVAL_CHECK_OUTPUT
print(
    "the notebook's thirty lines and the package agree:",
    torch.allclose(ours, core, rtol=1e-4, atol=1e-4),
)

# %% [markdown]
# ## 5 · What would a perfect model get?
#
# For this language the perfect guess, $p(x^i \mid z_t)$, can be *computed* (the package's `oracle` sums over everything that may hide behind the masks). Before
# any training, put it into the loss.
#
# **Predict:** a bound is normally larger than the thing that it bounds. The entropy is 1.7542 nats per word. By how much will the bound of the perfect
# denoiser miss it: nothing, a few per cent, or a lot?

# %%
from difflm_core.evaluation import estimate_nelbo
from difflm_core.objectives import masked_nelbo_by_count

perfect = language.denoiser(process)
texts = list(language.sample(lesson.pick(4096, 1024), generator=lesson.generator(7)).split(256))
exact = -sum(language.log_prob(b).sum().item() for b in texts) / sum(b.numel() for b in texts)


def show_bound(name, loss, draws=8):
    estimate = estimate_nelbo(loss, texts, draws, lesson.generator(8))
    print(f"{name:44s} {estimate.mean:.4f} ± {estimate.standard_error:.4f} nats per word")
    return estimate


print(f"{'exact -log p of these sentences':44s} {exact:.4f}")
right = show_bound(
    "perfect denoiser, weight 1/t", lambda x, t, g: masked_nelbo(process, perfect, x, t, g)
)
counted = show_bound(
    "  ... with n masks exactly, weight L/n",
    lambda x, t, g: masked_nelbo_by_count(process, perfect, x, t, g),
)

# %% [markdown]
# Nothing: with the perfect guess the bound *is* the exact value, up to the ± of the draws. (A ± from eight draws is itself rough: the second line lies almost three of them low. Other seeds put it on both sides; try more draws.) That makes the entropy a finishing line: training below will run towards 1.7542.
#
# Why is the first ± so much larger? Near $t = 0$ a single masked word counts $1/t$. That happens with probability proportional to $t$, so its share of the
# mean is fine, but its share of the variance, $\int t \cdot (1/t)^2\,dt$, is infinite. The second line draws the *number* $n$ of masks instead (uniformly from $1, \dots, L$) and weighs by $L/n$: the
# same mean (see the fold above), tame variance. From here on we report that one.
#
# A finishing line also makes mistakes visible. Two classics:

# %%
unweighted = show_bound(
    "without 1/t", lambda x, t, g: masked_nelbo(process, perfect, x, t, g) * t[:, None]
)


def leaky(x, t, g):
    """The network is shown the clean x instead of the noisy z: one wrong letter in the code."""
    log_p = perfect(x, t).log_softmax(-1)
    nll = -log_p.gather(-1, x[..., None])[..., 0]
    return (corrupt(x, t, g) == MASK) * nll / t.clamp_min(1e-6)[:, None]


leaked = show_bound("the network sees the answer", leaky)

# %% [markdown]
# Both are far *below* the entropy. No model can be better than the language itself, so a number below the line is never good news: it is a wrong weight, or the
# answer leaking into the input. On real text, where nobody knows the line, the same mistakes look like a record.

# %%
# NBVAL_CHECK_OUTPUT
print(
    "perfect denoiser within 4 standard errors of the exact value:",
    abs(counted.mean - exact) < 4 * counted.standard_error,
)
print("the two estimators agree:", abs(counted.mean - right.mean) < 0.08)
print("without the weight, below the entropy:", unweighted.mean < exact - 0.3)
print("with a leak, (almost) nothing:", leaked.mean < 0.01)

# %% [markdown]
# ## 6 · Training
#
# The recipe `mdlm-tiny` is the thirty lines above with a learning-rate schedule and averaged weights: 0.24 M parameters, 1,500 steps of 256 sentences. The dotted line will be the
# exact entropy. Untrained, the network of section 4 stood at 5.2, a little worse than a blind guess, $\log V = 4.74$. **Predict:** how far above the dotted line will it end, ten per cent, one, or a tenth of one?

# %%
from difflm_core.training import RECIPES, train

recipe = replace(
    RECIPES["mdlm-tiny"][1], steps=lesson.pick(1500, 120), evaluate_every=lesson.pick(150, 60)
)
run = train(recipe)
model = run.model

# %%
from difflm_core.classroom.pictures import lesson_08 as pictures

entropy = language.entropy() / L
show(*pictures.training_curve(run.history, entropy))
final = show_bound(
    "trained model, on fresh sentences", lambda x, t, g: masked_nelbo_by_count(process, model, x, t, g)
)
print(f"{'exact -log p of the same sentences':44s} {exact:.4f}")
print(
    f"{'the model pays for what it has not learned':44s} {final.mean - exact:+.4f} ± {final.standard_error:.4f}"
)

# %%
# NBVAL_CHECK_OUTPUT
print("the bound fell:", final.mean < math.log(V) - 0.5)
print("the bound is not below the truth:", final.mean > exact - 3 * final.standard_error - 0.01)

# %% [markdown]
# A tenth of one per cent; after 450 steps it was one. The last line is no gain over the truth: its ± is as large as what is left to learn. Fairer is the perfect denoiser on the same sentences with the same masks (section 5, second line): the trained model lies about 0.004 above it.
#
# ## 7 · Sampling: one step, or many?
#
# The trained model guesses every hidden word at once. So why not reveal all twelve in *one* step?
#
# **Predict** what goes wrong with one step, and what share of sentences will be grammatical with 1, 4 and 12 network calls.

# %%
from difflm_core.samplers import ancestral, confidence, first_hitting, sample_masked

n = lesson.pick(500, 100)
rows, shares = [], {}
for name, plan in {
    "1 step": ancestral(1),
    "4 steps": ancestral(4),
    "first-hitting": first_hitting(),
}.items():
    out = sample_masked(model, plan, (n, L), generator=lesson.generator(9))
    good = language.grammatical(out.tokens)
    shares[name] = 1 - good.double().mean().item()
    for tokens, ok in list(zip(out.tokens, good))[:3]:
        rows.append((name, sentence(tokens, word, MASK), "✓" if ok else "✗ broken"))
samples_table(rows, title="Three samples each, not chosen", head=("sampler", "sentence", "grammar"))
for name, share in shares.items():
    print(f"{name:14s} broken: {100 * share:5.1f} % of {n}")

# %% [markdown]
# One step draws every word from its own distribution without looking at the others: each word is plausible in its place, and together they break the rules. The
# network is not to blame; even the perfect denoiser does this, because *independent draws* cannot agree. With one word per call nothing is drawn together,
# and the sentences hold. What broke, exactly? The grammar can tell.

# %%
study = load_results("tiny_seeds")
show(*pictures.quality_against_calls(study))
print(pictures.variety(study))

# %% [markdown]
# Two things to see. The curve needs about as many calls as there are words before it flattens: this is the price of drawing several words together in a random order, and *no* training removes it: the perfect denoiser pays it too. (A well *chosen* order is another matter: exercise 8.5.)
# And an old heuristic, *reveal what you are surest of first*, buys a lot at equal cost, because words that are certain are not spoiled by being drawn together.
# It is a heuristic, though: it no longer samples from the model's distribution. The table shows what it pays with: with twelve calls it breaks almost nothing, and repeats itself.
#
# Here is one sentence being written, position by position:

# %%
out = sample_masked(model, first_hitting(), (1, L), generator=lesson.generator(10), record=True)
grid = trajectory([frame.tokens[0] for frame in out.trajectory], word, MASK)
show(
    token_grid(
        grid,
        [f"{k} call{'s' * (k != 1)}" for k in range(len(grid))],
        "First-hitting sampling: one word per call, in a random order",
    ),
    f"Grid of {len(grid)} rows and {L} columns. It starts with all masks and ends with: {language.decode(out.tokens[0])}.",
    "Outlined: just revealed. Later words must agree with the ones already on the page.",
)

# %% [markdown]
# And one that goes wrong: three words a call on average, four calls, and of fifty sentences the first that breaks a rule. Every word that appears comes with the probability that the network gave it and with the entropy of the distribution it was drawn from.
#
# **Predict** before you press play: in which step will the sentence be lost? And will the network have known?

# %% tags=["widget"]
from difflm_core.classroom.recordings import from_sample
from difflm_core.classroom.widgets_player import denoising_player
from difflm_core.data.toy_language import broken_rules

four = sample_masked(model, ancestral(4), (50, L), generator=lesson.generator(17), record=True)
row = int(language.grammatical(four.tokens).int().argmin())  # the first that is broken
broken = [rule for rule, hit in broken_rules(language, four.tokens[row][None]).items() if hit[0]]
denoising_player(from_sample(four, row, word, V, "Four calls, one sentence"))
print(f"this sentence breaks: {', '.join(broken) or 'nothing'}")

# %% [markdown]
# Find the two words that contradict each other, and the step in which the second of them was written. If both were written in the same step, each was drawn from its own distribution, and each may have been likely: nothing that the network says about *one* word can tell that the *pair* is impossible. From the next step on it sees both, and may not change either.
#
# ## 8 · Try it: drag the noise
#
# Drag $t$ (or use the arrow keys). Which words can the model restore when half of the sentence is gone, and which can nobody know?

# %% tags=["widget"]
from difflm_core.classroom.widgets import masking_explorer

fox = language.encode("the great brown fox hops over the lazy dog in brown boots")
masking_explorer(torch.stack([fox, *x[:3]]), process, model, word)

# %% [markdown]
# What hangs on a visible word comes back: at $t = 0.25$ the first "brown" is certain, because the colour stands once more near the end; at $t = 0.75$ "in" is certain, because "lazy" in the eighth place fits one shape only. What hangs on
# nothing cannot be known: the best guess gets less than one half, and is right so often only because this sentence is made of the commonest words.
#
# ## 9 · Which ingredient matters? The ablation ladder
#
# MDLM's Table 8 removes its ingredients one by one. On LM1B (single sentences of news) the perplexities ($e$ to the nats per token) were 27.04 (MDLM), 27.19 (T = 1000 discrete steps instead of continuous time), 28.56 (and no carry-over),
# 28.51 (and no zero masking, which is D3PM with a modern network). What do the last two mean as losses?
#
# - *Without carry-over* the network itself must copy the visible words. The masked positions cost the same; but the last term of the ELBO, $-\log p_\theta(x \mid z_0)$,
#   which carry-over makes zero, becomes a real cost: a cross-entropy over *all* positions of a clean input.
# - *Without zero masking* the network may also predict `[MASK]`. That probability enters both outcomes of the model's step (staying masked, being revealed), and the KL no longer collapses
#   (MDLM Eq. 9; in `studies/ladder_losses.py`).
#
# **Predict** the order on our toy language, where 0.24 M parameters are enough to come close to the entropy. Which of the three removals can cost (almost) nothing here?

# %%
study = load_results("mdlm_ladder")
show(*pictures.ladder(study))
print(pictures.ladder_table(study))

# %% [markdown]
# The order is the paper's, in every seed, and so is its surprise: the last rung is no worse than the one before. Look at the sizes, though. Continuous time is worth next to nothing against 1,000
# steps. Dropping carry-over costs almost exactly what *copying* costs, and nothing else: the masked positions do not care. Forbidding the mask as an answer changes nothing that one could measure; a
# trained network hardly ever gives it any probability. In perplexity all of this is a third of a per cent here and five per cent in the paper, where there are 30,522 tokens to copy and not 114.
# (The four rungs are scored on the same sentences with the same masks, so differences are far more precise than the values.)
#
# One variant live: the network of section 6 was never asked about visible words, so it does not know that it should copy them. What would the
# reconstruction term cost *it*, and how fast does a network learn to copy when it must?

# %%
from difflm_core.studies.mdlm_ladder import train_rung

copier = train_rung(
    "no_carry_over",
    seed=0,
    steps=lesson.pick(250, 30),
    progress=lambda k: progress(range(k), "training without carry-over"),
)
check = language.sample(512, generator=lesson.generator(11))
with torch.no_grad():
    costs = {
        name: torch.nn.functional.cross_entropy(net(check).transpose(1, 2), check).item()
        for name, net in (("never asked", model), ("trained to copy", copier))
    }
for name, cost in costs.items():
    print(f"copying a clean sentence, network {name:16s}: {cost:8.4f} nats per word")

# %%
# NBVAL_CHECK_OUTPUT
print(
    "carry-over saves a network from learning to copy:",
    costs["never asked"] > 10 * costs["trained to copy"] or costs["never asked"] > 1,
)

# %% [markdown]
# Never asked, the network pays about 1.5 nats for a word that stands before its eyes; 250 steps without carry-over bring that to 0.05.
#
# ## 10 · Which $t$? Spread them
#
# One $t$ per sentence is a small sample of an integral: with $t$ near 1 everything must be guessed, near 0 almost nothing, but what is asked counts $1/t$.
# With independent times a batch sometimes has many large ones and sometimes few. *Stratified* times put one into each of $B$ equal slices of $[0, 1]$:
# the average stays unbiased, and it costs nothing. Going further, one may fix the *number* of masks (section 5). **Predict:** by how much does each reduce the variance of the gradient?

# %%
from difflm_core.objectives import independent_times

ways = {"independent": independent_times, "stratified": stratified_times}
show(*pictures.times({name: times(24, lesson.generator(12)) for name, times in ways.items()}))
print(pictures.time_noise(load_results("time_sampling")))

# %% [markdown]
# A sober result. Stratified times help in every seed, but by far less than the picture promises. What they remove is the variance *between* times, of $\mathbb E[\text{loss} \mid t]$; and the weight $1/t$ has already made
# that expectation nearly the same for all $t$. What remains is the spread *within* a time: at small $t$ it is chance whether a sentence has one masked word, which then counts $1/t$, or none. Fixing the number of masks
# removes exactly this, and about halves the variance of the gradient. (MDLM and most others train with stratified times, which is simple; LLaDA counts masks when it evaluates.)
#
# ## 11 · Samplers: the same distribution for fewer calls
#
# Our `sample` from section 4 calls the network in every one of its $T$ steps. But at $T = 1000$ and $L = 12$ almost all steps reveal nothing, and a network without a time input would give the same answer again.
# MDLM's *cache* skips the call when nothing changed. There is a better way to say this. When a position is revealed does not depend on what the text says: it is its own uniform
# random moment. So draw all moments *first*; call the network only in steps in which some word is revealed. Same distribution, never more than $L$ calls:
#
# $$\text{expected calls} = T\,\big(1 - (1 - 1/T)^L\big) \;\to\; L .$$
#
# The limit $T \to \infty$ is the *first-hitting sampler* (Zheng et al. 2024): with $n$ masks left at time $t$ the next moment is $t\,u^{1/n}$ with $u$ uniform. All of them are one
# function in the package, `sample_masked`, with different *plans*.

# %%
from difflm_core.samplers import blocks, left_to_right, sample_ar, sample_discrete
from difflm_core.training.course import course_checkpoint

twin, _ = course_checkpoint(
    "ar-tiny"
)  # the autoregressive twin: same network, causal attention, same training
T, n = lesson.pick(1000, 50), lesson.pick(200, 20)
ways = {
    f"step by step, T = {T}": lambda g: sample_discrete(process, model, T, (n, L), generator=g),
    "  ... with MDLM's cache": lambda g: sample_discrete(
        process, model, T, (n, L), generator=g, reuse=True
    ),
    f"  ... planned, T = {T}": lambda g: sample_masked(model, ancestral(T), (n, L), generator=g),
    "first-hitting": lambda g: sample_masked(model, first_hitting(), (n, L), generator=g),
    "most confident first, 4": lambda g: sample_masked(model, confidence(4), (n, L), generator=g),
    "blocks of 4, 2 calls each": lambda g: sample_masked(
        model, blocks(4, confidence(2)), (n, L), generator=g
    ),
    "left to right": lambda g: sample_masked(model, left_to_right(), (n, L), generator=g),
    "autoregressive twin": lambda g: sample_ar(twin, (n, L), generator=g),
}
print(f"{'sampler':28s}{'calls/sentence':>15s}{'seconds':>10s}{'broken %':>10s}{'distinct %':>12s}")
measured = {}
for name, way in progress(ways.items(), "samplers", total=len(ways)):
    began = time.perf_counter()
    out = way(lesson.generator(13))
    seconds = time.perf_counter() - began
    broken = 100 * (1 - language.grammatical(out.tokens).double().mean().item())
    distinct = 100 * len(out.tokens.unique(dim=0)) / n
    measured[name] = out.network_calls.double().mean().item()
    print(f"{name:28s}{measured[name]:15.1f}{seconds:10.2f}{broken:10.1f}{distinct:12.1f}")

# %%
# NBVAL_CHECK_OUTPUT
planned = measured[f"  ... planned, T = {T}"]
print("planned calls as the formula says:", abs(planned - T * (1 - (1 - 1 / T) ** L)) < 0.6)
print("first-hitting makes L calls:", measured["first-hitting"] == L)

# %% [markdown]
# The first four rows sample (nearly) the same distribution; only the cost differs. (With 200 sentences a broken share has a standard error of 1.3 points, so differences of a few points are the luck of the draw; section 7 has 3.4 %.) The cache saves the calls (ours looks at each row by itself; MDLM's own skips a call only if *no* row of the
# batch has changed, which with many rows is rare), but each of the 1,000 steps still draws for all positions. Planning removes that too. The last row shows what the others are up against: the twin also needs one call per word, but each call is cheaper, because keys and values of past words
# are kept, which a bidirectional network cannot do.
#
# **Longer than the canvas.** A masked model can also work semi-autoregressively: block by block from left to right (the row "blocks of 4"), or beyond its canvas: fill one, keep its end as the beginning of the next, go on (`samplers.sample_sliding`).
#
# ### What few steps cost, in nats
#
# A chain of $T$ steps has a bound of its own (`masked_nelbo_discrete`): the sum of section 4 before $T \to \infty$. It says in nats what section 7 said in broken sentences. Nothing is trained anew, one checkpoint is scored for
# every $T$. Beside it stands the exact denoiser, which has nothing left to learn: whatever it pays above the entropy is the price of drawing several words in one step. The second table answers another question. The
# derivation shows the network $t$; ours ignores it, as the authors' released code does by default. Would $t$ help, when the number of masks on the page nearly tells it?
#
# **Predict:** with $T = 10$ steps for twelve words, who pays more for the steps, the trained network or the exact denoiser? By how much does the price fall when $T$ doubles?

# %%
study = load_results("mdlm_time")
show(*pictures.price_of_steps(study))
print(pictures.price_table(study), "\n")
print(pictures.time_input(study))

# %% [markdown]
# Both pay the same, 0.058 nats per word at $T = 10$ and 0.0005 at $T = 1000$, and each doubling of $T$ halves it: the curves are parallel, 0.004 apart, which is what the checkpoint has not learned. No training removes the price of few steps, and a bound
# quoted for $T = \infty$ flatters a sampler with ten steps. In the paper's Table 11 (perplexities 42.18 at $T = 10$, 23.15 at 1,000, 23.05 at $\infty$) the price also falls like $1/T$; it is ten times ours.
#
# Seeing $t$ changes nothing that three seeds could show, in spite of half as many parameters again; the paper's Table 12 has 23.21 with and 23.05 without. The best guess for a masked word does not depend on $t$ at all: given
# the visible words, *when* they were revealed is no further evidence (Zheng et al. 2024, Prop. 3.2).
#
# ### One order, and the bound becomes exact
#
# The bound averages over random orders. Let the order follow from the page alone, say "the position where the likeliest word is most probable" (looked at *before* a word is drawn), and only one path leads from the blank page to a text.
# Then the chain rule along it *is* $\log p$ of this sampler, no bound and no draws (DUEL, arXiv 2603.01367). `confidence` from section 7 does not qualify: it looks at the word it has just drawn, and many paths lead to one text.
#
# **Predict:** which of these orders suits the network best? And what does the perfect denoiser say to each?

# %%
from difflm_core.evaluation import order_nll
from difflm_core.samplers import fixed_order, lowest_entropy, surest, widest_margin

orders = {
    "left to right": fixed_order(torch.arange(L)),
    "one random order": fixed_order(torch.randperm(L, generator=lesson.generator(17))),
    "surest first": surest(),
    "widest margin first": widest_margin(),
    "lowest entropy first": lowest_entropy(),
    "surest first, 2 per call": surest(2),
}
tiny, _ = course_checkpoint("mdlm-tiny")
fresh = language.sample(lesson.pick(256, 64), generator=lesson.generator(18))
true_nats, above = -language.log_prob(fresh).to(torch.float64), {}
print(f"exact -log p of these sentences: {true_nats.mean() / L:.4f} nats per word; each order above it:")
print(f"{'order':26s}{'checkpoint mdlm-tiny':>24s}{'perfect denoiser':>22s}")
for name, rule in progress(orders.items(), "orders", total=len(orders)):
    line = f"{name:26s}"
    for who, net, n in (("tiny", tiny, len(fresh)), ("perfect", perfect, len(fresh) // 4)):
        gap = (order_nll(net, fresh[:n], rule).sum(1) - true_nats[:n]) / L  # (n,), sentence by sentence
        above[name, who] = gap.mean().item()
        line += f"{round(above[name, who], 4) + 0.0:+14.4f} ± {gap.std() / n**0.5:.4f}"
    print(line)

# %%
# NBVAL_CHECK_OUTPUT
one_by_one = [name for name in orders if "per call" not in name]
print(
    "perfect denoiser, one word per call: every order is exact:",
    max(abs(above[k, "perfect"]) for k in one_by_one) < 1e-6,
)
print(
    "two words per call cost even the perfect denoiser:",
    above["surest first, 2 per call", "perfect"] > 0.005,
)

# %% [markdown]
# A different order is a different model: the network need not agree with itself. Here it nearly does: one word per call costs 0.002 to 0.004 nats above the truth in every order, and the orders differ by little more than the ±, because there is little left to learn. "Surest first", so
# helpful when several words are drawn per call, buys nothing when each is drawn alone. (The average over *all* orders is exactly the bound of section 4: `tests/test_orders.py` enumerates them.) Two words per call cost 0.03 nats, and the perfect denoiser pays them just the same.
#
# ## 12 · A bug that nobody saw: Gumbel noise in float32
#
# A popular way to draw from logits is $\arg\max(\log p + \text{Gumbel noise})$. In float32 the noise can never exceed 16.6, because the largest uniform number below 1 is $1 - 2^{-24}$. For one word at a time
# nobody notices. But MDLM's sampler races every *word* against the outcome *stay masked*, whose probability is almost 1 when $T$ is large. Then a word needs luck to win, and the luck is capped: rare words never
# win. The effect is that of a lower temperature: "better" generative perplexity, less diversity. It was in published results until Zheng et al. (2024) found it. No model is needed to see it: the capped race has a closed form.

# %%
from difflm_core.samplers.gumbel import LARGEST_GUMBEL, truncated_gumbel_probabilities

words = lesson.pick(50257, 5000)
p = (3 * torch.randn(words, generator=lesson.generator(14), dtype=torch.float64)).softmax(-1)
print(
    f"largest float32 Gumbel noise: {LARGEST_GUMBEL[torch.float32]:.2f};  float64: {LARGEST_GUMBEL[torch.float64]:.2f}"
)
print(f"true entropy of the revealed word: {torch.special.entr(p).sum().item():.3f} nats\n")
print(
    f"{'steps T':>8s}{'entropy in float32':>22s}{'words revealed, of what should be':>38s}{'entropy in float64':>22s}"
)
gumbel_entropy = []
for steps_T in (64, 1000, 5000, 50000):
    race = torch.cat(
        [p / steps_T, torch.tensor([1 - 1 / steps_T], dtype=torch.float64)]
    )  # first step: reveal with 1/T
    line = []
    for dtype in (torch.float32, torch.float64):
        q = truncated_gumbel_probabilities(race, LARGEST_GUMBEL[dtype])[:-1]
        line.append((torch.special.entr(q / q.sum()).sum().item(), q.sum().item() * steps_T))
    gumbel_entropy.append(line[0][0])
    print(f"{steps_T:8d}{line[0][0]:22.3f}{line[0][1]:38.3f}{line[1][0]:22.3f}")

# %%
# NBVAL_CHECK_OUTPUT
print(
    "float32 loses entropy as steps grow:",
    all(a > b for a, b in zip(gumbel_entropy, gumbel_entropy[1:])),
)

# %% [markdown]
# At 1,000 steps float32 has lost almost one nat of 6.87, and reveals a fifth too few words; at 50,000 it has lost three nats. float64 loses nothing that one can see.
#
# This package draws by inverting the cumulative distribution with one float64 uniform number per word, and decides *whether* to reveal before it decides *what*: both halves of the bug are gone.
#
# ## 13 · Real text
#
# The same code on Shakespeare's plays (1,024 BPE tokens, canvases of 64 tokens): two checkpoints that come with the course, masked and autoregressive, trained with the same budget. With `TRAIN_IT = True` the cell trains the masked one
# from scratch instead (about ten minutes; give it more steps, say `replace(RECIPES["mdlm-shakespeare"][1], steps=6000)`, and an hour, for better text).

# %%
from difflm_core.data import decode
from difflm_core.evaluation import judge_samples
from difflm_core.objectives import autoregressive_nll
from difflm_core.training.checkpoints import read_about
from difflm_core.training.course import CHECKPOINTS

TRAIN_IT = False

bard, tokenizer = course_checkpoint("mdlm-shakespeare")
bard_ar, _ = course_checkpoint("ar-shakespeare")
for name in ("mdlm-shakespeare", "ar-shakespeare"):
    print(
        f"{name:18s} {read_about(CHECKPOINTS / name)['bound']:.2f} nats per token on plays that it has not read"
    )
if TRAIN_IT:
    bard = train(RECIPES["mdlm-shakespeare"][1]).model
print()

length = bard.length
n = lesson.pick(16, 4)
canvas_ways = {
    "4 calls": lambda g: sample_masked(bard, ancestral(4), (n, length), generator=g),
    "16 calls": lambda g: sample_masked(bard, ancestral(16), (n, length), generator=g),
    "first-hitting": lambda g: sample_masked(bard, first_hitting(), (n, length), generator=g),
    "confident, 16 calls": lambda g: sample_masked(bard, confidence(16), (n, length), generator=g),
    "autoregressive twin": lambda g: sample_ar(bard_ar, (n, length), generator=g),
}
texts_out = {}
print(
    f"{'sampler':20s}{'calls':>7s}{'seconds':>9s}{'perplexity (twin)':>20s}{'entropy':>10s}{'distinct-2':>12s}"
)
for name, way in progress(canvas_ways.items(), "sampling", total=len(canvas_ways)):
    began = time.perf_counter()
    out = way(lesson.generator(15))
    texts_out[name] = decode(tokenizer, out.tokens[0])
    report = judge_samples(out.tokens, lambda z: -autoregressive_nll(bard_ar, z).sum(1))
    seconds = time.perf_counter() - began
    calls = out.network_calls.double().mean().item()
    print(
        f"{name:20s}{calls:7.1f}{seconds:9.2f}{report.perplexity:20.1f}{report.entropy:10.3f}{report.distinct_2:12.3f}"
    )
for name in ("4 calls", "first-hitting", "autoregressive twin"):
    print(f"\n--- {name}\n{texts_out[name]}")

# %% [markdown]
# The twin is far ahead, after reading the same four million tokens. On the toy language, where training data never ends, the two checkpoints are level (1.758 and 1.754 nats). A masked model learns more slowly: it must
# predict from *every* set of neighbours instead of one, and in each step it is told about the masked half of the words only. With far more training the gap narrows but stays: on OpenWebText
# Sahoo et al. report perplexities of 23.21 and 17.54, that is 3.14 and 2.86 nats.
#
# Read the table as all such tables should be read. (*entropy*: of the tokens inside a text; *distinct-2*: different pairs of neighbours among all pairs. Perplexity is by the twin's judgement.) *Most confident first* has by far the lowest perplexity of the masked model's samples, and its text is the *poorest*, as entropy and distinct-2 beside it tell: it repeats
# likely tokens. A perplexity alone would have called it the winner. And the twin does best by its own judgement, which is not surprising; a judge should be somebody else.
#
# What only the masked model can do: fill a hole with both sides given. The twin sees no right side.

# %%
from difflm_core.data import encode

line = "To be, or not to be: that is the "
after = ":\nWhether 'tis nobler in the mind to suffer\nThe slings and arrows of outrageous fortune"
left_ids, right_ids = encode(tokenizer, line), encode(tokenizer, after)
hole = torch.full((6,), bard.V)
middle = torch.cat([left_ids, hole, right_ids])[:length][None]
prompt = torch.cat([middle, torch.full((1, length - middle.shape[1]), bard.V)], dim=1)
filled = sample_masked(
    bard, first_hitting(), (1, length), prompt=prompt, generator=lesson.generator(16), temperature=0.7
)
print(decode(tokenizer, prompt[0]), "\n\n->\n")
print(decode(tokenizer, filled.tokens[0]))

# %%
# NBVAL_CHECK_OUTPUT
print(
    "every given token was kept:",
    bool((filled.tokens[prompt != bard.V] == prompt[prompt != bard.V]).all()),
)

# %% [markdown]
# Everything that was given stands; what fills the hole is as good as so small a model can make it.
#
# ## 14 · Exercises
#
# They climb from one line to an open question. A check prints what it found and names the usual mistakes; `ex8_1.hint()` gives the next hint. Right
# answers pass however they are written. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_08
from difflm_core.classroom.exercises.lesson_08 import ex8_1, ex8_2, ex8_3, ex8_4
from difflm_core.processes import Cosine, Linear
from difflm_core.samplers import Sample, draw

# %% [markdown]
# ### Exercise 8.1 · 3 min · difficulty 1/5 · The weight of any schedule
# *Importance 3/5: one line, and it shows where 1/t comes from.*
#
# In $\mathcal L$ the weight is $w(t) = -\alpha'_t / (1 - \alpha_t)$. A schedule object knows `schedule.alpha(t)` and `schedule.dalpha(t)` (the derivative
# $\alpha'_t$), both for tensors $t$. Write the weight for *any* schedule.


# %%
def weight(schedule, t):
    """Exercise 8.1: the weight of the bound at times t (B,), for any schedule: (B,)."""
    ### BEGIN SOLUTION
    return -schedule.dalpha(t) / (1 - schedule.alpha(t))
    ### END SOLUTION


# %%
ex8_1.run(weight)
weight = ex8_1.answer_or_reference(weight)
for schedule in (Linear(), Cosine()):
    values = ", ".join(f"{w:.2f}" for w in weight(schedule, torch.tensor([0.1, 0.5, 0.9])))
    print(f"{type(schedule).__name__:8s} weight at t = 0.1, 0.5, 0.9: {values}")

# %% [markdown] tags=["solution"]
# **Why.** In a short step $dt$ a share $-\alpha'_t\,dt$ of all tokens is masked, and a token that is masked at $t$ got there in just this step with
# probability $-\alpha'_t\,dt / (1 - \alpha_t)$. That is the chance that this step has to reveal it, and so what its cross-entropy counts. On the linear
# schedule $-\alpha' = 1$ and $1 - \alpha = t$, which is why three wrong answers ($1/t$ always, no derivative, and the right one) agree there: a check on
# one schedule only would have passed them all.

# %% [markdown]
# ### Exercise 8.2 · 10 min · difficulty 3/5 · The training loss
# *Importance 5/5: this is the method. Every mistake that the check knows has been made in earnest, and some of them look like a record.*
#
# Write the loss of masked diffusion on the linear schedule, without looking at section 4: draw one time per sentence, mask, ask `model(z, t)` for logits
# `(B, L, V)`, and return **one number**: the weighted cross-entropy in nats per token. All draws use `generator`.
#
# **Predict** before you write: by what do you divide at the end, the number of masked tokens or of all tokens?


# %%
def training_loss(model, x, mask_id, generator=None):
    """Exercise 8.2: the masked-diffusion loss of a batch x (B, L), one number in nats per token, to be differentiated."""
    ### BEGIN SOLUTION
    t = 1 - torch.rand(len(x), generator=generator)  # (B,), in (0, 1]: 1/t stays finite
    is_masked = torch.rand(x.shape, generator=generator) < t[:, None]  # (B, L)
    z = torch.where(is_masked, mask_id, x)
    logits = model(z, t)  # (B, L, V)
    nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), x, reduction="none")  # (B, L)
    return (is_masked * nats / t[:, None]).mean()
    ### END SOLUTION


# %%
ex8_2.run(training_loss)
training_loss = ex8_2.answer_or_reference(training_loss)
with torch.no_grad():
    found = torch.stack(
        [training_loss(perfect, b, MASK, lesson.generator(20 + i)) for i, b in enumerate(texts[:4])]
    ).mean()
print(
    f"this loss of the perfect denoiser: {found:.3f} nats per token (one draw of t each); exact entropy {entropy:.3f}"
)

# %% [markdown] tags=["solution"]
# **Why.** All tokens, $B \cdot L$. About $tL$ tokens of a sentence are masked, and dividing their sum by $t$ already makes up for the others: the result
# estimates a sum over $L$ tokens. Dividing by the number of masked tokens *as well* corrects twice; dividing by it *instead* of by $t$, over the whole
# batch, is BERT's loss, in which sentences with many masks, where little can be known, outweigh the rest. One $t$ for the whole batch would be unbiased
# too, but each gradient would see one noise level only. And if $x$ instead of $z$ goes into the network, the loss falls to 0 within minutes, and the
# model has learned to copy.

# %% [markdown]
# ### Exercise 8.3 · 8 min · difficulty 3/5 · One step back
# *Importance 4/5: repeat it and you have a sampler.*
#
# One ancestral step from time $t$ to $s < t$ on the linear schedule. `s` and `t` are numbers, `z` is $(B, L)$ with masks, `logits` $(B, L, V)$ the network's
# answer to it. What is visible stays; each mask is revealed with the probability that you computed in section 3, and a revealed token is drawn from
# `softmax(logits)`. Return a new tensor. (`draw(logits, generator)` draws one token per row of an $(N, V)$ tensor. The coins use `generator` as well.)


# %%
def reverse_step(z, logits, s, t, mask_id, generator=None):
    """Exercise 8.3: draw z_s given z_t = z (B, L) and the network's logits (B, L, V), on the linear schedule: (B, L)."""
    ### BEGIN SOLUTION
    token = draw(logits.flatten(0, 1), generator).view(z.shape)  # a guess for every position
    is_revealed = (z == mask_id) & (torch.rand(z.shape, generator=generator) < (t - s) / t)
    return torch.where(is_revealed, token, z)
    ### END SOLUTION


# %%
ex8_3.run(reverse_step)
reverse_step = ex8_3.answer_or_reference(reverse_step)
generator, T, n = lesson.generator(30), 24, lesson.pick(200, 50)
z = torch.full((n, L), MASK)
with torch.no_grad():
    for i in range(T, 0, -1):
        z = reverse_step(z, model(z, torch.full((n,), i / T)), (i - 1) / T, i / T, MASK, generator)
print(
    f"{T} of these steps with the trained model: {1 - language.grammatical(z).double().mean().item():.1%} of {n} sentences broken"
)

# %% [markdown] tags=["solution"]
# **Why.** A token is masked at $s$ with probability $s$, at $t$ with probability $t$, and once masked it stays masked. So of the tokens masked at $t$ a share $s/t$ is
# masked at $s$ as well, and $(t - s)/t$ is revealed. The last step has $s = 0$ and reveals everything that is left. *Whether* and *what* are two separate
# draws: that is the sampler without the bug of section 12. Every token needs a coin of its own; one coin for a row would write its words together, and words
# drawn together cannot agree.

# %% [markdown]
# ### Exercise 8.4 · 8 min · difficulty 4/5 · When does the next word come?
# *Importance 4/5: it turns 1,000 steps into at most $L$ network calls, exactly.*
#
# With very short steps most of them reveal nothing. Skip them: on the linear schedule each of the $n$ tokens that are masked at time $t$ is revealed at its own
# moment, uniform on $(0, t)$. Going down from $t$, the *first* of these moments is where the network is needed next. Make this time out of one uniform number
# $u$. (Hint for the maths: when is it below $v$?)


# %%
def next_time(t, n, u):
    """Exercise 8.4: the next time at which one of n masked tokens is revealed; t, n and u (uniform in (0, 1)) are (B,)."""
    ### BEGIN SOLUTION
    return t * u ** (1 / n)
    ### END SOLUTION


# %%
ex8_4.run(next_time)
next_time = ex8_4.answer_or_reference(next_time)
t, moments = torch.ones(2000), []
for n in range(L, 0, -1):
    t = next_time(t, torch.full_like(t, n), torch.rand(2000, generator=lesson.generator(40 + n)))
    moments.append(t.mean().item())
print("average moments of the twelve words:", " ".join(f"{moment:.2f}" for moment in moments))

# %% [markdown] tags=["solution"]
# **Why.** The first moment below $t$ is the *largest* of the $n$. It is below $v$ exactly if all $n$ of them are: $P(\tau < v) = (v/t)^n$. Setting this equal to $u$ and
# solving gives $v = t\,u^{1/n}$. With $1 - u$ in place of $u$ it is the same distribution and just as right. The average is $t\,n/(n+1)$, so the moments of twelve
# words are $12/13, 11/13, \dots$: with many masks the next word comes soon. The smallest of the $n$ moments, $t\,(1 - u^{1/n})$, belongs to the word that comes *last*.

# %% [markdown]
# ### Exercise 8.5 · 20 min · difficulty 5/5 · Four network calls (open)
# *Importance 5/5: few calls at no loss is what research on these models is after.*
#
# `ancestral(4)` breaks about seven sentences in ten. Write a sampler that makes **at most 4 network calls** per sentence and breaks **at most half** as many. The check counts
# calls itself, finds broken sentences with the exact grammar, and looks at variety: at least 60 % of the sentences distinct, and at each position at least 85 % of the
# language's own entropy (`language.positional_entropy() / L`). Without the last two there is a cheap trick: `confidence(4)` at `temperature=0` never breaks a
# rule, because it writes one sentence, again and again.
#
# Use `sample_masked` with a plan, or your own loop: `denoiser(z, t)` gives logits, `denoiser.V` is the mask, `Sample(tokens, network_calls)` the result. You may use what
# you know about the language (print `language.sample(10)`), but every word must be drawn from the denoiser's answer.
#
# **Predict:** what is the least share of broken sentences that four calls can reach with a *perfect* network: 50 %, 10 %, 0 %?


# %%
def my_sampler(denoiser, shape, generator=None):
    """Exercise 8.5: a Sample of (B, L) = shape tokens with at most 4 network calls for every row."""
    ### BEGIN SOLUTION
    z = torch.full(shape, denoiser.V)
    groups = [
        [8, 10],
        [3, 7],
        [0, 1, 4, 5, 9],
        [2, 6, 11],
    ]  # the words of a group decide nothing about each other
    for group in groups:
        t = (z == denoiser.V).float().mean(1)  # (B,), the share still masked
        logits = denoiser(z, t)[:, group]  # (B, group, V)
        z[:, group] = draw(logits.flatten(0, 1), generator).view(len(z), -1)
    return Sample(z, torch.full((len(z),), len(groups)))
    ### END SOLUTION


# %%
# In fast mode the model of section 6 has hardly been trained; the course's own stands in for it.
judge = lesson.pick(model, course_checkpoint("mdlm-tiny")[0])
ex8_5 = lesson_08.ex8_5(judge, language, sentences=lesson.pick(400, 150))

# %%
ex8_5.run(my_sampler)

# %% [markdown] tags=["solution"]
# **Why.** Words that are drawn in one call cannot see each other. That is harmless exactly where they have nothing to say to each other, *given what is already written*. A random
# order (ancestral) puts words that must agree into the same call. A chosen order need not:
#
# 1. **8 and 10.** Position 10 is a colour in every sentence, and says nothing about the shape. Position 8 ("near" or "dog") tells whether the third shape, "... dog in brown boots", is meant.
# 2. **3 and 7.** Position 3 (verb or noun) settles the rest of the shape and the subject's number; position 7 is the object's noun, or just an adjective.
# 3. **0, 1, 4, 5, 9** and 4. **2, 6, 11** follow from these: shape, both numbers and the colour are known, and nothing else connects the words.
#
# With the exact denoiser this breaks **0 %**: four calls, and the samples follow the language's distribution *exactly*. (Three suffice: `[8, 10], [3, 7, 11]`, the rest. Two do not:
# no single position tells all three shapes apart.) With the trained network 3 to 4 % are broken, as many as with twelve calls, against some 70 % for `ancestral(4)`. So the price of
# parallel words that section 7 measured is not a law: it is the price of not knowing which words are independent. `confidence` guesses that from the network's own certainty, which
# is why it helps; but it prefers words that are *likely*, so the texts become narrow. A temperature below 1 does the same.

# %%
summary()

# %% [markdown]
# ## 15 · Scale it up
#
# The recipe below is the paper's LM1B run with the same loop, loss and samplers. It needs a GPU, the internet, and a copy of LM1B in a format that
# `datasets` can read without a script (give its name with `--data.name`).
#
# ```
# python -m difflm_core.training mdlm-lm1b --data.name NAME-OF-YOUR-COPY
# ```

# %%
big = RECIPES["mdlm-lm1b"][1]
trunk = (
    12 * big.size.layers * big.size.width**2
)  # weights of attention (4 D^2) and MLP (8 D^2) in each layer
vocabulary = 30522
head_flops = (
    6 * 0.5 * big.size.width * vocabulary
)  # the output layer runs on masked positions only: half of them on average
attention = 12 * big.size.layers * big.size.width * big.data.length
tokens = big.steps * big.batch_size * big.data.length
flops = tokens * (6 * trunk + head_flops + attention)
print(
    f"{trunk / 1e6:.0f} M weights in the trunk, {2 * vocabulary * big.size.width / 1e6:.0f} M in embedding and head"
)
print(
    f"{big.steps:,} steps x {big.batch_size} x {big.data.length} = {tokens / 1e9:.1f} billion positions, {flops:.2e} FLOPs"
)
print(
    f"at 40 % of the 989 TFLOP/s (bfloat16) that an H100's data sheet gives: {flops / (0.4 * 989e12) / 3600:.0f} GPU-hours"
)

# %% [markdown]
# The number to expect: perplexity at most 27.04 on LM1B with padded sentences, 31.8 with packed ones as here (Sahoo et al. 2024; Sahoo et al. 2025), at about half of these positions by the paper's own count;
# the autoregressive models of the same size have 22.3 and 22.8. The 40 % is an assumption, not a measurement of this code.
#
# ## 16 · What to remember
#
# 1. Masked diffusion charges every word once, in a random order: $1/t$ times the cross-entropy of the masked words is a bound on $-\log p(x)$, and with a perfect denoiser it is exact.
# 2. SUBS (never predict a mask, never touch a visible word) is what turns the ELBO's KLs into cross-entropies.
# 3. Words revealed together are drawn independently: few network calls break what must agree, however good the network.
#
# **Five quick questions**
#
# <details><summary>1. A colleague reports 0.9 nats per token where the entropy is 1.75. What do you look for first?</summary>
# A missing 1/t (section 5: 0.95), or the clean text leaking into the input. No model is better than the entropy.
# </details>
#
# <details><summary>2. Why is there no reconstruction term in MDLM's loss?</summary>
# At t = 0 nothing is masked, and carry-over copies visible tokens with certainty: −log 1 = 0.
# </details>
#
# <details><summary>3. With L = 1024 and T = 1000 steps, how many network calls does the planned ancestral sampler make on average?</summary>
# 1000 · (1 − (1 − 1/1000)^1024) ≈ 641; first-hitting makes exactly 1024.
# </details>
#
# <details><summary>4. Does a different schedule α change the bound?</summary>
# Not for a network without time input: only the order of revelation matters, and substituting 1 − α for t turns one integral into the other. The *variance* of the one-draw estimate changes.
# </details>
#
# <details><summary>5. Why did float32 Gumbel noise make generative perplexity better?</summary>
# It cut off rare words, as a lower temperature does: likelier text, less entropy. Always report both.
# </details>
#
# **Sources.** Sahoo et al. 2024, *Simple and effective masked diffusion language models* (arXiv 2406.07524): equations 6–11, Tables 8, 11 and 12, appendix D. Shi et al. 2024 (2406.04329), the twin derivation. Zheng et al. 2024,
# *Masked diffusion models are secretly time-agnostic masked models and exploit inaccurate categorical sampling* (2409.02908): Prop. 3.1, 4.1, 5.2. Austin et al. 2021 (2107.03006), D3PM. Sahoo et al. 2025 (2506.10892), Duo, for LM1B with packed sentences. Chang et al. 2022 (2202.04200), MaskGIT, for
# confidence decoding. Lou et al. 2024 (2310.16834), SEDD, whose score entropy is the same loss once more (`objectives/score_entropy.py`). DUEL (2603.01367), for exact likelihoods of fixed orders. Next in the course: lesson 09 (GIDD), where a written word can still be corrected.
