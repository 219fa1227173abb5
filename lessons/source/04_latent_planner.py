# %% [markdown]
# # 04 · PLANNER: what does a variational autoencoder buy?
#
# **Minutes** 50 to read, about 2 of computing on 2 CPU cores · **Prerequisites** lessons 01 (Gaussian diffusion) and 02 (Diffusion-LM); lesson 03, its sister, is not assumed
#
# Diffusion wants vectors, a text is symbols. PLANNER (Zhang et al. 2023) first packs a whole paragraph into a few vectors, its *codes*, and then diffuses the codes: a plan of the text. A decoder writes the text from the plan, word by word. The packing is done by a **variational**
# autoencoder: its codes are random, and pressed towards $\mathcal N(0, I)$.
#
# **The question of this lesson.** Why should codes be random? What does the pressure (KL, with a weight $\beta$, no $\beta_i$ of a noise schedule) buy, what does it cost, and what is left for diffusion to do?
#
# After this lesson you can
# - derive the bound of a VAE of texts and compute both its parts in nats,
# - say why a number $\beta$ means nothing until one says what is summed and what is averaged,
# - recognise codes that carry nothing, and a decoder that needs none,
# - measure how smooth a space of codes is, and what diffusion adds to the two cheapest ways of drawing codes,
# - watch a plan settle, step by step, and say what is decided first.
#
# Nothing is downloaded: the toy language, of which every probability is known, and the word embeddings of the course checkpoint `mdlm-tiny`.

# %%
import math
from itertools import islice

import torch
import torch.nn.functional as F

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.pictures import lesson_04 as pictures
from difflm_core.classroom.pictures import lesson_04_findings as findings
from difflm_core.classroom.sentences import graded
from difflm_core.data import language_batches
from difflm_core.data.toy_language import COLOURS, GRAMMAR, toy_language
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=4)
language = toy_language()
V, L = language.V, language.length
word = language.words.__getitem__
checkpoint, _ = course_checkpoint("mdlm-tiny")
checkpoint = checkpoint.eval().requires_grad_(False)
print(f"{V} words, sentences of {L}; entropy {language.entropy():.2f} nats per sentence")

# %% [markdown]
# ## 1 · Eight texts on a line
#
# Before any network: a language of **eight texts**, the eight colours with their probabilities $p(w) \propto 1/\mathrm{rank}$, and codes of **one number**. The encoder is a table: to each text a normal law $q(z \mid w) = \mathcal N(\mu_w, \sigma_w^2)$ with $|\mu_w| < 1$. The decoder is perfect, it
# is Bayes' rule: $p(w \mid z) \propto p(w)\,q(z \mid w)$. We choose the table that makes
#
# $$ \mathbb E_{w}\Big[\; \underbrace{\mathbb E_{z \sim q(z|w)}\big[-\log p(w \mid z)\big]}_{\text{reconstruction}} \;+\; \beta\, \underbrace{\mathrm{KL}\big(q(z \mid w) \,\|\, \mathcal N(0, 1)\big)}_{\text{what the code costs}} \;\Big] $$
#
# small, by gradient descent, with integrals on a grid. Later, someone draws $z$ from the prior $p(z) = \mathcal N(0, 1)$ and asks the decoder for a text. A *hole* is where all codes together have less than a twentieth of the prior's density.
#
# **Predict:** draw the eight laws for $\beta = 0$, and for $\beta = 1$. How many of the prior's draws will fall into holes?

# %%
p = 1 / torch.arange(1, len(COLOURS) + 1, dtype=torch.float64)
p = p / p.sum()
z = torch.linspace(-5, 5, 801, dtype=torch.float64)
prior = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
dz = z[1] - z[0]


def fit_table(beta, steps):
    """q (8, Z) as densities on the grid, reconstruction and KL in nats, after gradient descent."""
    raw = 0.3 * torch.randn(len(p), generator=lesson.generator(1), dtype=torch.float64)
    raw, log_var = (
        raw.requires_grad_(),
        torch.full((len(p),), -4.0, dtype=torch.float64, requires_grad=True),
    )
    optimizer = torch.optim.Adam([raw, log_var], 0.05)
    for _ in range(steps):
        mean = raw.tanh()
        log_q = -0.5 * (
            (z - mean[:, None]).square() / log_var.exp()[:, None]
            + log_var[:, None]
            + math.log(2 * math.pi)
        )
        log_p = (p.log()[:, None] + log_q).log_softmax(0)  # Bayes: over the eight texts
        reconstruction = -(p[:, None] * log_q.exp() * log_p).sum() * dz
        kl = (p * 0.5 * (mean.square() + log_var.exp() - 1 - log_var)).sum()
        optimizer.zero_grad()
        (reconstruction + beta * kl).backward()
        optimizer.step()
    return log_q.detach().exp(), reconstruction.item(), kl.item()


entropy_p = -(p * p.log()).sum().item()
fits, parts = {}, {}
for beta in (0.0, 0.1, 0.5, 1.0):
    q, reconstruction, kl = fit_table(beta, lesson.pick(400, 200))
    mixture = (p[:, None] * q).sum(0)  # where codes of all texts together lie
    misfit = (torch.special.xlogy(mixture, mixture / prior) * dz).sum().item()  # KL(mixture || prior)
    empty = (prior * dz)[mixture < 0.05 * prior].sum().item()  # the prior draws here, no text lives here
    parts[beta] = reconstruction, kl, misfit, empty
    fits[beta] = (
        q,
        f"reconstruction {reconstruction:.2f} + KL {kl:.2f} nats; {empty:.0%} of the prior's draws fall into holes",
    )
show(*pictures.on_a_line(fits, z, p, COLOURS))
print(f"entropy of the eight texts: {entropy_p:.3f} nats\n")
print(
    f"{'beta':>5s}{'reconstruction + KL':>21s}{'entropy + misfit':>18s}{'told by the code':>18s}{'in holes':>10s}"
)
for beta, (reconstruction, kl, misfit, empty) in parts.items():
    told = entropy_p - reconstruction
    print(f"{beta:5.1f}{reconstruction + kl:21.3f}{entropy_p + misfit:18.3f}{told:18.3f}{empty:10.0%}")

# %%
# NBVAL_CHECK_OUTPUT
print(
    "reconstruction + KL = entropy + misfit:",
    all(abs(r + k - entropy_p - m) < 5e-3 for r, k, m, _ in parts.values()),
)
print(
    "at beta = 1 it is the entropy, though texts do not come back:",
    parts[1.0][2] < 0.02 and parts[1.0][0] > 0.5,
)
print(
    "without KL texts come back, and the prior falls into holes:",
    parts[0.0][0] < 0.01 and parts[0.0][3] > 0.3,
)

# %% [markdown]
# The whole lesson is in this picture. **Without KL** the eight laws shrink to spikes: every text comes back, and between the spikes, and outside of $(-1, 1)$, there is nothing; half of the draws of $\mathcal N(0,1)$ land where no text ever was. **KL widens the laws** until they touch: that is smoothness. And **at
# $\beta = 1$** the loss is a bound on $-\log p(w)$, its least value is the entropy, and it is reached although the code tells only 0.37 of 1.82 nats, and most texts do *not* come back.
#
# Why? With a perfect decoder the reconstruction is what the code leaves open of the entropy, $H(w) - I$, where $I$ is what the code tells of the text (the mutual information). And $\mathrm{KL}(q(z|w) \| p) = \mathbb E_q \log \frac{q(z|w)}{q(z)} + \mathbb E_q \log \frac{q(z)}{p(z)}$ is, averaged over texts, $I + \mathrm{KL}(q(z) \| p)$, where
# $q(z) = \sum_w p(w)\, q(z|w)$ is where all codes together lie. Hence
#
# $$ \text{reconstruction} + \beta\, \mathrm{KL} \;=\; H(w) \;-\; (1 - \beta)\, I \;+\; \beta\, \mathrm{KL}\big(q(z) \,\|\, p(z)\big). $$
#
# Read it slowly. At $\beta = 1$ the information $I$ has **no weight**: whatever a code says is paid for, nat by nat, and a decoder that has to *learn* to listen to noisy codes will rather not. For $\beta < 1$ information is rewarded; but the *misfit* between codes and prior is punished by $\beta$ only. So small $\beta$: codes that say much, and do not lie where the prior draws.
# Something must learn where they really lie. That is the job of diffusion.
#
# ## 2 · The bound, and its two parts
#
# For any $q(z \mid w)$, by Jensen's inequality,
#
# $$ -\log p(w) = -\log \mathbb E_{z \sim q}\Big[\frac{p(z)\, p(w \mid z)}{q(z \mid w)}\Big] \;\le\; \mathbb E_{z \sim q}\big[-\log p(w \mid z)\big] + \mathrm{KL}\big(q(z \mid w) \,\|\, p(z)\big). $$
#
# The gap is $\mathrm{KL}(q(z \mid w) \,\|\, p(z \mid w))$. Note what is *not* assumed: that the encoder saw $w$. If it was shown a corrupted $w'$, then $q(z \mid w')$ is but another law, and the bound holds. In PLANNER
#
# | | |
# |---|---|
# | encoder | reads $w'$, the text with a share of its words replaced by random ones; its outputs $H$ (a matrix here, no entropy) at the **first $N$ positions** become the $N$ codes of $D_{ae}$ numbers. Nothing is pooled |
# | mean | $\mu = \tanh(W_\mu H_{1:N})$, so $|\mu| < 1$, shaped $(N, D_{ae})$ |
# | variance | $\log \sigma^2 = W_\sigma H_{1:N}$, free |
# | a draw | $z = \mu + \sigma \epsilon$, so that gradients reach $\mu$ and $\sigma$ |
# | decoder | autoregressive; it reads the $N$ codes first, as if they were words, and nothing else of the text |
# | target | the *clean* $w$: a denoising VAE |
# | trained | encoder and decoder together (BERT-large and GPT-2-medium in the released code, here one and two small layers), then frozen |
#
# KL is a closed form. For one number, with $\mathbb E_q z^2 = \mu^2 + \sigma^2$ and $\mathbb E_q (z - \mu)^2 = \sigma^2$,
#
# $$ \mathrm{KL} = \mathbb E_q\Big[-\tfrac12 \log \sigma^2 - \tfrac{(z-\mu)^2}{2\sigma^2} + \tfrac{z^2}{2}\Big] = \tfrac12\big(\mu^2 + \sigma^2 - 1 - \log \sigma^2\big), $$
#
# and the numbers are independent, so KLs add.
#
# ### The four latent lessons
#
# Lessons 03 to 06 share the Gaussian process on latents, the denoiser between vectors and its sampler ([lesson 03](03_latent_ld4lg.ipynb) derives them). They differ in the autoencoder alone:
#
# | lesson | latent of a text (paper's size) | frozen | trained before the diffusion | its loss | decoder | numbers per text |
# |---|---|---|---|---|---|---|
# | [03 LD4LG](03_latent_ld4lg.ipynb) | 32 latents of 64 | encoder and decoder | a bottleneck between them | cross-entropy | autoregressive | 2,048 |
# | **04 PLANNER** | **16 codes of 1,024** | **nothing** | **encoder and decoder, a VAE** | **cross-entropy + $\beta$ KL, from damaged texts** | **autoregressive** | **16,384** (here $4 \times 16$ = 64) |
# | [05 TEncDM](05_latent_tencdm.ipynb) | one state of 768 per word (64 words) | encoder | decoder | cross-entropy of noisy states | all words at once | 49,152 |
# | [06 COSMOS](06_latent_cosmos.ipynb) | 16 to 128 latents of 768 | encoder | compressor and decompressor | cross-entropy + MSE, on damaged states | all words at once | from 12,288 |
#
# PLANNER's is the only latent that is *random*, and the only one whose encoder is trained as a whole.
#
# ## 3 · The loss in thirty lines, and the sentence that belongs to β
#
# The encoder starts from the word embeddings of `mdlm-tiny`. (The states of its last layer know the context, but hide *visible* words: a masked model is never asked for a word that it sees.)

# %%
from difflm_core.models import DecoderConfig, Planner, PlannerConfig, PrefixDecoder
from difflm_core.objectives.autoregressive import shift_right

N, D_AE, WIDTH = 4, 16, 64  # four codes of 16 numbers for twelve words
table = F.rms_norm(
    checkpoint.embedding.weight.detach(), (checkpoint.config.width,)
)  # (V + 1, 96), frozen


def new_planner(seed):
    torch.manual_seed(seed)
    decoder = PrefixDecoder(DecoderConfig(V, L, D_AE, N, WIDTH, layers=2))
    return Planner(PlannerConfig(table.shape[1], L, N, D_AE, WIDTH, layers=1), decoder)


def swap_words(ids, share, generator):
    """Each word replaced by a random one with probability `share` (exercise 4.3 asks for it)."""
    random_words = torch.randint(V, ids.shape, generator=generator)
    return torch.where(torch.rand(ids.shape, generator=generator) < share, random_words, ids)


def vae_parts(model, shown, ids, generator):
    """Reconstruction and KL, each (B,), nats per text; the encoder is shown `shown`, the target is `ids`."""
    mean, log_variance = model.posterior(table[shown])  # (B, N, D_AE) each
    z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
    logits = model.decoder.logits(
        model.decoder.hidden(shift_right(ids, V), z)
    )  # (B, L, V); codes, start, words
    reconstruction = -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0].sum(1)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2))
    return reconstruction, kl


def three_reductions(reconstruction, kl, beta):
    """The "same" loss, three times."""
    B = len(kl)
    return {
        "the bound: nats per text, both": (reconstruction + beta * kl).mean(),
        "ours: per token + beta KL per text": (reconstruction / L + beta * kl).mean(),
        "released: mean token + beta KL of the batch": reconstruction.sum() / (B * L) + beta * kl.sum(),
    }


# %% [markdown]
# Three ways to write it down; all of them appear in code that people share, and all are called "cross-entropy plus beta KL". **Predict:** with $\beta = 10^{-3}$ in each of them and 64 sentences in a batch, in which is KL strongest? How much stronger than in the weakest?

# %%
model = new_planner(0)
batch = language.sample(64, generator=lesson.generator(2))
shown = swap_words(batch, 0.3, lesson.generator(3))
print(f"{'weight of KL, if reconstruction in nats per text weighs 1':62s}{'B = 16':>10s}{'B = 64':>10s}")
weights = {}
for size in (16, 64):
    parts_now = vae_parts(model, shown[:size], batch[:size], lesson.generator(4))
    parts_now = [part.detach().requires_grad_() for part in parts_now]
    for name, value in three_reductions(*parts_now, 1e-3).items():
        of_reconstruction, of_kl = torch.autograd.grad(value, parts_now)
        weights.setdefault(name, []).append((of_kl.sum() / of_reconstruction.sum()).item())
for name, pair in weights.items():
    print(f"{name:62s}" + "".join(f"{value:10.4f}" for value in pair))

# %%
from difflm_core.objectives import planner_loss

reconstruction, kl = vae_parts(model, shown, batch, lesson.generator(5))
core = planner_loss(model, table[shown], batch, generator=lesson.generator(5))
ours = three_reductions(reconstruction, kl, 1e-3)["ours: per token + beta KL per text"]

# %%
# NBVAL_CHECK_OUTPUT
torch.testing.assert_close(reconstruction, core.reconstruction)
torch.testing.assert_close(kl, core.kl.sum(1))
torch.testing.assert_close(ours, core.beta_loss(1e-3))
torch.testing.assert_close(core.beta_loss(1 / L), core.nelbo.mean() / L)
print("the notebook's loss is the package's; at beta = 1/12 it is the bound, per word")

# %% [markdown]
# The same $\beta$, weights that differ by a factor of 768 at $B = 64$, and in the third one the weight grows with the batch: whoever doubles the batch doubles the regularisation. (PLANNER's released code has this form; the $10^{-5}$ of its demo means something only together with its batch size and the length of its texts. Exercise 4.1.)
# So a sentence belongs to every $\beta$. Ours is: **reconstruction is the mean over the tokens of a text, KL is summed over codes and numbers, and both are averaged over texts.** Then $\beta = 1/12$ is the bound.
#
# ## 4 · Training one, live
#
# $\beta = 10^{-4}$, 10 % of the encoder's words swapped (the release's default is 30 %; its paragraphs have twenty times as many words to mend from).

# %%
from difflm_core.training import States, train_planner


def training_batches(share, seed):
    for ids in language_batches(language, 64, lesson.generator(seed)):
        h = table[swap_words(ids, share, coins)]
        yield States(h, torch.ones_like(ids, dtype=torch.bool), ids)


coins = lesson.generator(6)
steps = lesson.pick(600, 60)
model = new_planner(1)
losses = train_planner(
    model,
    training_batches(0.1, 7),
    beta=1e-4,
    steps=steps,
    learning_rate=4e-3,
    generator=lesson.generator(8),
)
print(
    f"{sum(p.numel() for p in model.parameters()):,} parameters; loss {losses[0]:.2f} -> {sum(losses[-20:]) / 20:.3f}"
)

# %% [markdown]
# An autoregressive decoder is a language model by itself. So a fluent text proves nothing about the codes. The test is: write each text from **its own** codes, and from **another text's**. (*BLEU*: n-grams in common with the text, 1 at best; *exact*: texts that come back whole.) **Predict:** will the sentences from another's codes be grammatical?

# %%
from difflm_core.evaluation import distinct_n
from difflm_core.evaluation.latents import shuffled, use_of_codes, use_of_latents
from difflm_core.samplers import write_texts

held_out = language.sample(lesson.pick(500, 100), generator=lesson.generator(9))
h = table[held_out]
with torch.no_grad():
    codes = model.encode(h)
everyone = torch.ones(L, dtype=torch.bool)
written = write_texts(model, codes).tokens
others = write_texts(model, shuffled(codes, lesson.generator(10))).tokens
rows = []
for i in range(3):
    rows.append(("the text", language.decode(held_out[i]), ""))
    rows.append(
        (
            "  own codes",
            graded(written[i], held_out[i], word, everyone),
            f"{int((written[i] == held_out[i]).sum())} of {L} right",
        )
    )
    rows.append(
        (
            "  another's",
            language.decode(others[i]),
            "grammatical" if language.grammatical(others[i][None])[0] else "broken",
        )
    )
samples_table(rows, head=("written from", "sentence", ""))
use = use_of_codes(model, h)
print(f"{'':14s}{'nats per token':>16s}{'BLEU':>8s}{'exact':>9s}{'grammatical':>13s}{'distinct-2':>12s}")
for name, given, tokens in (
    ("own codes", codes, written),
    ("another's", shuffled(codes, lesson.generator(10)), others),
):
    found = use_of_latents(model, given, held_out)
    print(
        f"{name:14s}{found.nll:16.3f}{found.bleu:8.3f}{found.exact:9.1%}{language.grammatical(tokens).double().mean():13.1%}{distinct_n(tokens, 2):12.3f}"
    )
print(use)

# %% [markdown]
# Both rows are equally fluent; the first column tells them apart. (For comparison: the language has 1.75 nats per word, which is what a decoder *without* any codes can reach at best.) Three figures to print for every text VAE: what comes back from own and from shuffled codes, KL per code, and the share of numbers whose mean varies
# between texts. KL near 0 and no active numbers is **posterior collapse**: a code that is the prior for all texts.
#
# This network has seen 600 batches. The stored study takes 1,500, three times for each setting. **Predict:** at $\beta = 1/12$, the bound, what will be left of the codes?

# %%
study = load_results("planner")
show(*pictures.price_of_kl(study))
print(pictures.told_of_codes(study))
print(findings.of_price(study))

# %% [markdown]
# How to read it. The printed lines compare neighbouring values of $\beta$, seed by seed: a direction counts only if all seeds agree. **Left:** KL falls as its price rises; the bound (reconstruction + KL) lies above the entropy, by what section 1 called the misfit and by what the networks have not learned. **Middle:** the distance between
# the two lines is what the codes are good for; where they meet there is no code, only a language model.
#
# **Right:** smoothness, as the share of BLEU that noise leaves (AuBLEU of section 7 over clean BLEU), and as the words of two texts that their midpoint keeps. More KL should make the space smoother; but look where the middle panel ends: an empty space is perfectly smooth by the first measure, and keeps nothing by the second. So a smoothness figure without the reconstruction beside it says nothing.
#
# The answer to the prediction: **nothing is left**. At $\beta = 1/12$ KL is 0.00 nats, own codes tell no more than another's, and the bound, 21.15 nats, is the best of all, a tenth of a nat above the entropy: by the measure that a VAE is trained for, the perfect model is the one without a code. Between $10^{-4}$ and $10^{-2}$ the codes fade: 35 % of the texts come back, then 4 %, then none. (Without any price, at $\beta = 0$, 23 % come back; in BLEU the seeds disagree on which of the two is better.)
#
# ## 5 · Diffusion on the codes
#
# Now encoder and decoder are frozen, and diffusion (lesson 01) learns where the *means* $\mu$ lie: from here on $x$ is such a mean, standardised, and $z_t$ is $x$ with noise. Two details.
#
# **The scale.** A noise schedule is written for data of mean 0 and variance 1. $\tanh$ bounds the means but promises nothing about their variance. So: look, then standardise, with statistics of training texts.
#
# **The loss.** The network predicts the clean codes $\hat x$. PLANNER's code takes the error of the *noise*, weighted by $1 / (1 + \mathrm{SNR})$ ("P2"). With $\hat\epsilon = (z_t - \sqrt{\alpha_t}\, \hat x)/\sqrt{1 - \alpha_t}$ and $\mathrm{SNR} = \alpha_t/(1-\alpha_t)$,
#
# $$ \frac{\lVert \epsilon - \hat\epsilon \rVert^2}{1 + \mathrm{SNR}} = \frac{\mathrm{SNR}}{1 + \mathrm{SNR}}\, \lVert x - \hat x \rVert^2 = \alpha_t\, \lVert x - \hat x \rVert^2 . $$
#
# The formidable expression is a squared error that trusts clean inputs more. (Self-conditioning, which lessons 03, 05 and 06 use, is not used by PLANNER.) One network serves with a class and without: the subject's colour is shown to it in nine of ten cases, and "no class" in the others, for guidance.

# %%
from difflm_core.models import LatentConfig, LatentDenoiser, Standardise
from difflm_core.objectives import planner_diffusion_loss
from difflm_core.oracle.grammar_labels import feature_value
from difflm_core.processes import GaussianProcess, ShiftedCosine
from difflm_core.training import train_planner_denoiser

process = GaussianProcess(ShiftedCosine(1.0))  # alpha_t = cos^2(pi t / 2)


@torch.no_grad()
def code_batches(seed):
    """Endless pairs (means of codes, colour of the subject) of new texts."""
    for ids in language_batches(language, 64, lesson.generator(seed)):
        yield model.encode(table[ids]), feature_value(GRAMMAR, "colour", ids)


measured = torch.cat([x for x, _ in islice(code_batches(11), lesson.pick(32, 8))])
scaled = Standardise((N, D_AE), "planner").measure([measured])
variance = measured.var(0)
print(f"variance of the means: {variance.min():.3f} to {variance.max():.3f}, over {N * D_AE} numbers")

net = LatentDenoiser(LatentConfig(D_AE, N, WIDTH, 2, self_conditioning=False, labels=len(COLOURS)))
x = scaled(measured[:64])
t = torch.linspace(0.02, 0.98, 64)
loss = planner_diffusion_loss(process, net, x, t, lesson.generator(12))
z_t = process.corrupt(x, t, lesson.generator(12))
alpha = process.alpha(t).float()[:, None, None]
noise, noise_hat = (process.from_x(z_t, clean, t, "eps") for clean in (x, net(z_t, t)))
p2 = (noise - noise_hat).square() / (1 + alpha / (1 - alpha))

# %%
# NBVAL_CHECK_OUTPUT
torch.testing.assert_close(loss, p2, rtol=1e-3, atol=1e-4)
print("the weighted error of the noise is alpha_t times the error of x:", True)

# %%
batches = ((scaled(x), label) for x, label in code_batches(13))
losses = train_planner_denoiser(
    net, process, batches, steps=lesson.pick(700, 60), generator=lesson.generator(14)
)
print(f"{net.parameters_count():,} parameters; loss {losses[0]:.3f} -> {sum(losses[-20:]) / 20:.3f}")

# %% [markdown]
# (The variances printed above run from 0.001 to 0.844: without standardising, noise that hardly touches one number drowns another.)
#
# ### What does it add?
#
# A control that is easily forgotten: draw codes *without* diffusion. From $\mathcal N(0, I)$, where a VAE is supposed to be sampled; and from **one Gaussian** with the mean and the whole covariance of the codes (exercise 4.4), which costs nothing. The decoder writes greedily: all variety must come from the codes.
#
# **Predict:** which of the three writes the most grammatical sentences? Which the most various?

# %%
from difflm_core.samplers import ddim_step, sample_latents, write_trajectory
from difflm_core.studies.planner import judged, one_gaussian

n = lesson.pick(500, 64)


def draw_codes(steps=20, **asked):
    return sample_latents(
        process,
        net,
        (n, N, D_AE),
        steps,
        lesson.generator(15),
        step=ddim_step,
        self_condition=False,
        **asked,
    )


def line(name, tokens):
    q = judged(tokens)
    gap = "–" if q["log_prob_gap"] is None else f"{q['log_prob_gap']:+.2f}"
    return f"{name:24s}{q['grammatical']:12.1%}{q['distinct_2']:12.3f}{q['spread']:14.2f}{gap:>12s}"


origins = {
    "N(0, I)": torch.randn(n, N, D_AE, generator=lesson.generator(16)),
    "one Gaussian": one_gaussian(measured, n, lesson.generator(17)),
    "diffusion, 20 steps": scaled.inverse(draw_codes().x),
}
print(
    f"{'codes from':24s}{'grammatical':>12s}{'distinct-2':>12s}{'spread, nats':>14s}{'gap, nats':>12s}"
)
for name, drawn in origins.items():
    print(line(name, write_texts(model, drawn).tokens))
print(line("(true sentences)", language.sample(n, generator=lesson.generator(18))))

# %% [markdown]
# (*distinct-2*: the share of different pairs of neighbouring words among all pairs. *Spread*: the entropy of the words used at a place, over sentences. A sampler that writes one perfect sentence again and again has 100 % grammar and a spread of 0. *Gap*: by how many nats its right sentences are likelier than true ones; 0 is right, above it the text is too usual, below it too rare.)
#
# After this short training $\mathcal N(0, I)$ writes the least various sentences, and the other two are level. The study, with longer training:

# %%
truth = judged(language.sample(study["settings"]["samples"], generator=lesson.generator(19)))
show(*pictures.what_diffusion_adds(study, truth))
print(pictures.three_sources(study, truth))
print(findings.of_sources(study))

# %% [markdown]
# Three things to see. **Grammar** is cheap: the decoder knows it and writes 95 to 100 % correct sentences from anything, from nothing at all too ($\beta = 1/12$), so this column ranks nobody. **Variety** is what a plan is for, and it must be the right variety, a gap of 0. Here $\mathcal N(0, I)$ fails where codes say much: at $\beta = 10^{-4}$ distinct-2 is 0.12 and the gap 4.6 nats, with diffusion 0.18 and 1.9, in every seed. That is section 1 at work: the codes do not lie where the prior draws.
#
# And the **one Gaussian**, which costs nothing, does the same: 0.18 and 1.6. In no row is diffusion better than it in all seeds, in some it is a little worse. So what diffusion brought beyond $\mathcal N(0, I)$ was the mean and the covariance of the codes; $\tanh$ and KL leave the codes of a small VAE not far from a Gaussian, and then a denoiser has nothing more to learn. Twelve words are a small world; on paragraphs we would expect the set of codes to be less simple, but that is an expectation, not a measurement. Whoever reports a latent diffusion without this row has not shown that it was needed.
#
# ## 6 · From coarse to fine
#
# Every step of the sampler has an opinion $\hat x$ of the finished plan, and the decoder can write it out. **Predict:** what is decided first, the subject's number, its colour, or the exact words?

# %%
from difflm_core.classroom.widgets_planner import trajectory_explorer

sample = draw_codes(record=True)
words = write_trajectory(model, sample, scaled.inverse)[:, : lesson.pick(12, 4)]  # (21, texts, L)
show(*pictures.coarse_to_fine(study))


def facts(ids):
    """What a sentence is about, as far as its words agree."""
    found = []
    for feature, values in GRAMMAR.features.items():
        value = int(feature_value(GRAMMAR, feature, ids[None])[0])
        found.append(f"{feature} {list(values)[value] if value >= 0 else 'unclear'}")
    return ", ".join(found)


# %% tags=["widget"]
trajectory_explorer(words, [frame.time for frame in sample.trajectory], word, facts)

# %% [markdown]
# The curves count above chance: 0 means "no more than two different texts have in common". The numbers of subject and object are four fifths settled from $t = 0.65$ on, the words from 0.45, and the colour **last**, from 0.25: not simply from coarse to fine. What has two values is settled first, so *coarse first* is partly a statement about counting.
#
# The table shows one text that settles into what it will say. It is fluent from the first step on, but not always correct: it ends with "this brown foxes", one of the 11 % that the live network gets wrong.
#
# Look at the left end with suspicion. At $t = 1$ nothing of a text is visible, and the best $\hat x$ would be the mean of all codes. But the loss has the weight $\alpha_t$, which is 0 there: nothing ever told the network so. Its first answer is an extrapolation, and since DDIM adds no fresh noise the final text hangs on the same $z_1$; so a curve may well start high, and dip. One more caution: where on the axis things happen depends on the schedule.
#
# ## 7 · How much noise can a plan bear?
#
# Why swap words in the encoder's input? The authors want codes from which the text can still be read when they are a little wrong, as the codes of a sampler always are. Test: noise on the codes, decode, compare with the true text (BLEU). As noise grows the curve falls; the area under it, over the noise level $1 - \alpha_t$,
# is our **AuBLEU**. (The paper has a number of this name for its denoised codes; over which variable it integrates we could not check, so ours is not comparable with it.) Noise is measured on *standardised* codes: otherwise an encoder wins by making its codes large.

# %%
show(*pictures.under_noise(study))
print(findings.of_noise(study))

# %% [markdown]
# The paper's direction would be: swapping costs clean reconstruction, and buys robustness under noise. Here: 10 % swapped leave AuBLEU as it is, 30 % lower it (0.39, 0.39, 0.28). *As a share of the clean BLEU* robustness does rise, in every seed: 0.43, 0.44, 0.51; but a worse autoencoder has less to lose. With three in ten of twelve words random the network also learns more slowly, since it must find out which words are wrong.
# Part of every difference between the shares is therefore training time, and the study cannot separate the two. Last line: one step of the denoiser before decoding, which is what the authors' curve shows. It moves noisy codes to where codes lie, and gains 0.01.
#
# What swapping does buy here is not in the picture but in the lines under it (*half-way*): texts from the *midpoint* of two texts' codes are grammatical in 43 to 62 % of the cases without swapping, in 96 to 100 % with 10 % swapped.
#
# ## 8 · Steps, and asking for a class
#
# The sampler is DDIM (lesson 01) with few steps, and the class is asked for by guidance: $\hat x = (1 - w)\, \hat x_{\text{none}} + w\, \hat x_{\text{class}}$ (here $w$ is a weight, not a text). $w = 1$ is the conditional model; PLANNER's demo uses 20 steps and $w = 5$. **Predict:** what does $w = 5$ gain, what does it cost?

# %%
label = torch.arange(n) % len(COLOURS)
tokens = write_texts(model, scaled.inverse(draw_codes(label=label, weight=2.0).x)).tokens
rows = []
for colour in range(4):
    i = int((label == colour).nonzero()[0])
    hit = int(feature_value(GRAMMAR, "colour", tokens[i][None])[0]) == colour
    rows.append((COLOURS[colour], language.decode(tokens[i]), "as asked" if hit else "not as asked"))
samples_table(rows, title="Live network, w = 2", head=("asked for", "sentence", ""))
print(pictures.steps_and_weights(study))
print(findings.of_guidance(study))

# %% [markdown]
# Here diffusion does what one Gaussian cannot: it can be *asked*. With guidance 1, 2, 5 the colour is as asked in 80, 97, 99.6 % of the sentences; grammar stays, and variety pays: distinct-2 0.184, 0.180, 0.148, and a gap of 1.5, 1.5, 2.4 nats. (With $w > 1$ the codes are pushed beyond what the class has, to where there are fewer different texts. And to be fair: one Gaussian *per colour* would be the cheap rival again; exercise 4.4's function can do it.)
# The steps are the same finding once more: where a Gaussian is nearly right, a denoiser is nearly linear, and few steps are enough. Two do as well as fifty.
#
# ### And the theoretical point
#
# PLANNER's plan is global, all codes at once; but the words are again written from left to right, with an autoregressive decoder that could do without the plan. That weakens the reason for diffusing at all, and it is why every quality figure here stands beside a control. Lessons 05 and 06 replace this decoder by one that writes all words at once, and must then earn their fluency.
#
# What we did *not* test: the authors' claims about repetition and long texts (their paragraphs have up to 256 tokens; an autoregressive model of twelve words has no room to repeat itself).
#
# ## 9 · Exercises

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises.lesson_04 import ex4_1, ex4_2, ex4_3, ex4_4

# %% [markdown]
# ### Exercise 4.1 · 5 min · difficulty 1/5 · Somebody else's beta
# *Importance 5/5: no published β can be used without it.*
#
# A released code averages cross-entropy over all tokens of a batch of `B` texts of `tokens` tokens, and adds `beta` times KL **summed over the batch**. How much does KL weigh in it, if reconstruction in nats *per text* weighs 1? (1.0 would be the bound.)


# %%
def weight_of_kl(beta, B, tokens):
    """Exercise 4.1: a number."""
    ### BEGIN SOLUTION
    return beta * B * tokens
    ### END SOLUTION


# %%
ex4_1.run(weight_of_kl)
weight_of_kl = ex4_1.answer_or_reference(weight_of_kl)
print(
    f"beta = 1e-5, texts of 256 tokens: {weight_of_kl(1e-5, 8, 256):.3f} with 8 in a batch, {weight_of_kl(1e-5, 64, 256):.3f} with 64"
)

# %% [markdown] tags=["solution"]
# **Why.** Multiply the loss by $B \cdot \text{tokens}$, which moves no minimum: reconstruction is then summed over the batch with weight 1, and KL, summed over the batch, has $\beta B \cdot \text{tokens}$. (Batch sizes above are examples, not the authors'.)

# %% [markdown]
# ### Exercise 4.2 · 7 min · difficulty 2/5 · KL, code by code
# *Importance 4/5: how collapse is seen.*
#
# From `mean` and `log_variance`, both $(B, N, D)$: the KL of each code from $\mathcal N(0, I)$, $(B, N)$, in nats.


# %%
def kl_per_code(mean, log_variance):
    """Exercise 4.2: (B, N)."""
    ### BEGIN SOLUTION
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
    ### END SOLUTION


# %%
ex4_2.run(kl_per_code)
kl_per_code = ex4_2.answer_or_reference(kl_per_code)
with torch.no_grad():
    print(
        "nats per code of the live network:",
        [round(nats, 1) for nats in kl_per_code(*model.posterior(h)).mean(0).tolist()],
    )

# %% [markdown] tags=["solution"]
# **Why.** Independent numbers: KLs add. Their sum over codes is an upper bound on what the codes tell about the text (the mutual information), and an average text needs only its entropy, 21 nats: what goes beyond is paid for nothing.

# %% [markdown]
# ### Exercise 4.3 · 7 min · difficulty 3/5 · Random words
# *Importance 4/5: the "denoising" in this VAE.*
#
# Replace each word of `ids` $(B, L)$, with probability `share`, by a word drawn evenly from all `V` (which may be the old one), and return the new ids. Leave `ids` as it is: it is the decoder's target. Every random number comes from `generator`.


# %%
def swapped(ids, share, V, generator=None):
    """Exercise 4.3: (B, L) ids."""
    ### BEGIN SOLUTION
    where = torch.rand(ids.shape, generator=generator) < share
    return torch.where(where, torch.randint(V, ids.shape, generator=generator), ids)
    ### END SOLUTION


# %%
ex4_3.run(swapped)

# %% [markdown] tags=["solution"]
# **Why.** One coin and one word for each place. Unlike a mask, a random word does not say that it is wrong; the encoder must find that out from the others. This is the uniform noise of lesson 07, `uniform(V).corrupt(ids, t)` with $t$ = share, used as a regulariser.

# %% [markdown]
# ### Exercise 4.4 · 12 min · difficulty 3/5 · The simplest rival
# *Importance 5/5: whatever a generator is worth is measured against a cheap one.*
#
# Draw `n` new codes from the Gaussian that has the mean and the whole covariance of `codes` $(M, N, D)$: codes of one text agree with each other, so all $N \cdot D$ numbers belong into one covariance. The noise comes from `generator` (`torch.randn` takes one, `torch.distributions` does not).


# %%
def gaussian_codes(codes, n, generator=None):
    """Exercise 4.4: (n, N, D)."""
    ### BEGIN SOLUTION
    flat = codes.flatten(1)
    factor = torch.linalg.cholesky(flat.T.cov() + 1e-6 * torch.eye(flat.shape[1], dtype=flat.dtype))
    eps = torch.randn(n, flat.shape[1], generator=generator, dtype=flat.dtype)
    return (flat.mean(0) + eps @ factor.T).view(n, *codes.shape[1:])
    ### END SOLUTION


# %%
ex4_4.run(gaussian_codes)
gaussian_codes = ex4_4.answer_or_reference(gaussian_codes)
drawn = gaussian_codes(measured.double(), n, lesson.generator(20)).float()
print(
    f"{'codes from':24s}{'grammatical':>12s}{'distinct-2':>12s}{'spread, nats':>14s}{'gap, nats':>12s}"
)
print(line("your Gaussian", write_texts(model, drawn).tokens))
print(line("diffusion, 20 steps", write_texts(model, origins["diffusion, 20 steps"]).tokens))

# %% [markdown] tags=["solution"]
# **Why.** If $C = F F^\top$ then $F\epsilon$ has covariance $C$. (The $10^{-6}$ keeps the factor real where numbers hardly vary.) A Gaussian gets means and correlations right; it cannot know that codes lie on a curved, perhaps torn set. Diffusion can; by how much depends on how curved the encoder left it, which is what $\beta$ decides.

# %%
summary()

# %% [markdown]
# ## 10 · On real text
#
# The same classes read the states of a pretrained encoder, with padding. On Wikipedia sentences and MiniLM, whose archive is fetched once (8 codes of 32 numbers):
#
# ```
# python -m difflm_core.training planner-wikipedia
# ```
#
# (It comes with the course, trained: `course_latents("planner-wikipedia")` of `difflm_core.training.latent_checkpoints`. Lesson 06, section 11, shows what became of its codes.)
#
# The encoder of the VAE stands there on *frozen* states, where the paper fine-tunes BERT. Real text has no exact language to judge samples by: perplexity of a judge then stands beside diversity, and human text on the same scale.
#
# ## 11 · Scale it up
#
# The released configuration of PLANNER: BERT-large encoder (24 layers), GPT-2-medium decoder, 16 codes of 1,024 numbers, paragraphs of up to 256 tokens, $\beta = 10^{-5}$ in the demo with the released reduction (KL summed over the batch), inputs with 30 % random words among its options. The denoiser is a DiT of depth 28, 16 heads, width 1,024 over the 16 positions, learning rate $10^{-4}$, EMA 0.9999; the demo samples with DDIM,
# 20 steps and guidance 5. Diffusing 16 vectors in place of 256 is where its efficiency comes from. We quote no result tables: we could not read them in the paper itself. A recipe of these sizes, on stories, for a GPU and a connection to the internet; the first line says what it will take and starts nothing:
#
# ```
# python -m difflm_core.training planner-rocstories --plan
# python -m difflm_core.training planner-rocstories
# ```

# %%
blocks = (
    28 * (12 + 6) * 1024**2
)  # attention and MLP (12), modulation by time and class (6), per layer and width^2
forward = 2 * 28 * 12 * 1024**2  # FLOPs per position of the matrix products
print(f"denoiser: about {blocks / 1e6:.0f} M parameters (counted from depth and width)")
print(
    f"20 steps with guidance on 16 codes: {2 * 20 * 16 * forward / 1e12:.2f} TFLOP per paragraph; on 256 positions {2 * 20 * 256 * forward / 1e12:.2f}"
)

# %% [markdown]
# ## 12 · What to remember
#
# 1. A VAE's bound does not reward codes: at $\beta$ of the bound a strong decoder needs none, so text VAEs train below it, and then the prior is not where the codes are.
# 2. β means nothing without its reduction; smooth is not the same as informative; and a fluent autoregressive decoder hides both, so show shuffled codes, KL per code, and variety beside grammar.
# 3. Diffusion learns where the codes really lie; it must be compared with the cheapest law that could do the same, and here one Gaussian was as good.
#
# **Five quick questions**
#
# <details><summary>1. Loss goes down, samples are 100 % grammatical, KL is 0.02 nats. What has been trained?</summary>
# An autoregressive language model. The codes carry nothing: posterior collapse. Texts from another's codes would cost the same nats.
# </details>
#
# <details><summary>2. Why may the encoder see a corrupted text without harm to the bound?</summary>
# The bound holds for every law q(z), wherever it comes from. Seeing less only makes it looser.
# </details>
#
# <details><summary>3. A colleague doubles the batch size of the released code and finds smoother codes. Why?</summary>
# KL is summed over the batch while cross-entropy is averaged: the weight of KL has doubled.
# </details>
#
# <details><summary>4. tanh bounds the means. Why standardise before diffusion?</summary>
# Bounded is not variance 1. If the codes have variance 0.1, their signal-to-noise ratio at every t is a tenth of what the schedule was designed for.
# </details>
#
# <details><summary>5. What is the P2-weighted error of the noise, in terms of x?</summary>
# α_t times the squared error of x: almost the full error near the data, nothing at pure noise.
# </details>
#
# **Sources.** Zhang, Gu, Wu, Zhai, Susskind, Jaitly 2023, *PLANNER: generating diversified paragraph via latent language diffusion model* (arXiv 2306.02531): abstract, README and released code (`VAE.forward`, the noisers, the schedule and loss of the diffusion, the demo's settings). Kingma & Welling 2014 (arXiv 1312.6114), the VAE; Burda et al. 2016 (1509.00519), active units. Choi et al. 2022 (2204.00227), P2 weighting. Ho & Salimans 2022 (2207.12598), guidance.
# The bound, its reductions and the P2 identity are tested in `tests/test_planner.py`. Next: lesson 05, a decoder that writes all words at once, from states that nobody compressed.
