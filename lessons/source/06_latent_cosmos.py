# %% [markdown]
# # 06 · COSMOS: what makes a latent space *diffusable*?
#
# **Minutes** 50 to read, about 4 of computing on 2 CPU cores · **Prerequisites** lessons 01 and 02 (Gaussian diffusion, x-prediction, noise schedules for text)
#
# Put an autoencoder in front of diffusion: a text becomes a few vectors, diffusion learns to draw such vectors, a decoder turns them back into words. The obvious demand on the autoencoder is that it gives every text back. Suppose it does, for every single text, without one
# wrong word. Diffusion on its latents may still write nonsense.
#
# **The question of this lesson.** Which property of a latent space decides whether diffusion can use it, if not reconstruction? How is it measured, and how does one train for it?
#
# After this lesson you can
# - build two latent spaces with exactly the same reconstruction of which only one can be used, and say what differs,
# - write COSMOS's loss from scratch: words, states, two perturbations of the input, one of the latent,
# - say what noise and missing numbers do to a decoder, as a formula that is exact for a linear one,
# - measure smoothness in seconds, before a denoiser is trained, and report generation so that a collapse cannot hide.
#
# Nothing is downloaded: the toy language of lesson 00, and the course's small masked model as frozen encoder.

# %%
import math

import torch

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.pictures import lesson_06 as pictures
from difflm_core.classroom.sentences import sentence
from difflm_core.data import toy_language

lesson = setup(seed=6)
language = toy_language()
V, L = language.V, language.length  # 114 words; sentences of 12
word = language.words.__getitem__

# %% [markdown]
# ## 1 · Two spaces that remember alike
#
# Eight words, each with its region of the plane: the latent of a word is a point in its sector, and the decoder names the sector of whatever point it is given. That is our first latent space. The second one is the same space, *stirred*: a point $(a, b)$ is moved by
#
# $$b' = b + \sin(3a), \qquad a' = a + \sin(3b').$$
#
# Ugly as it looks, this can be undone exactly: from $(a', b')$ the second line gives back $a = a' - \sin(3b')$, and then the first one $b = b' - \sin(3a)$. So let the second decoder undo it first and then name the sector. **Predict:** how many words does the second decoder read
# wrong? And what do its regions look like?


# %%
def stir_plane(z):
    a, b = z.unbind(-1)
    b = b + (3 * a).sin()
    a = a + (3 * b).sin()
    return torch.stack([a, b], dim=-1)


def settle_plane(z):
    a, b = z.unbind(-1)
    a = a - (3 * b).sin()
    b = b - (3 * a).sin()
    return torch.stack([a, b], dim=-1)


def sector(z):
    """(...,) which of eight words is read at a point of the plane."""
    return ((torch.atan2(z[..., 1], z[..., 0]) + math.pi) / (2 * math.pi) * 8).long().clamp_max(7)


draws = lesson.generator(1)
words = torch.randint(8, (800,), generator=draws)
angle = (
    (words + 0.5) * (2 * math.pi / 8)
    - math.pi
    + 0.1 * torch.randn(800, generator=draws, dtype=torch.float64)
)
radius = 1.5 + 0.25 * torch.randn(800, generator=draws, dtype=torch.float64)
smooth_z = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)  # (800, 2)
stirred_z = stir_plane(smooth_z)
plane = {
    "smooth": (smooth_z, sector),
    "the same, stirred": (stirred_z, lambda z: sector(settle_plane(z))),
}
show(*pictures.planes(plane, 0.3))
for name, (z, decode) in plane.items():
    print(f"{name:20s} {(decode(z) == words).double().mean():.1%} of the words read right")

# %% [markdown]
# Both read every latent alike: not one word is lost by stirring. The second decoder's regions are winding bands, in places thinner than the circle. No figure of reconstruction can tell these spaces apart, and none will.
#
# Now somebody *draws* latents. A perfect sampler would not care: diffusion with the exact denoiser draws from the true distribution of latents in either space (lesson 01). A trained network makes errors. Let it miss by a Gaussian error of deviation $\sigma$ per number.
# **Predict:** at $\sigma = 0.2$, how many words survive on the left, and how many on the right?

# %%
sizes = (0.0, 0.05, 0.1, 0.2, 0.4)
survive = {
    name: [
        (decode(z + size * torch.randn(z.shape, generator=lesson.generator(2), dtype=z.dtype)) == words)
        .double().mean().item()
        for size in sizes
    ]
    for name, (z, decode) in plane.items()
}  # fmt: skip
print(f"{'error of the sampler':22s}" + "".join(f"{size:>8.2f}" for size in sizes))
for name, shares in survive.items():
    print(f"{name:22s}" + "".join(f"{share:>8.0%}" for share in shares))

# %%
# NBVAL_CHECK_OUTPUT
print("without an error the spaces are equal:", survive["smooth"][0] == survive["the same, stirred"][0])
print("with one they are not:", survive["smooth"][3] > survive["the same, stirred"][3] + 0.2)

# %% [markdown]
# At $\sigma = 0.2$ 98 % of the words survive on the left, 73 % on the right: the same error, behind a map that makes it larger.
#
# A second thing is worse on the right, and no decoder can mend it: the *distribution* of latents. Eight clumps are easy to learn. The right-hand dots lie on threads, and to draw from threads a network must know where every thread runs.
#
# A latent space is **diffusable** if a denoiser of moderate size can learn its distribution *and* the decoder forgives the errors that remain. The rest of this lesson trains for the second half, and measures both.
#
# ## 2 · Four systems, one difference
#
# Lessons 03 to 06 share the process on latents, the denoiser, and the sampler: Gaussian noise on standardised latents, a small transformer that predicts the clean ones and is shown its last estimate (self-conditioning; lesson 03 builds them). They differ in the autoencoder only:
#
# | lesson | latent of a text (paper's size) | frozen | trained before the diffusion | its loss | decoder | numbers per text |
# |---|---|---|---|---|---|---|
# | [03 LD4LG](03_latent_ld4lg.ipynb) | 32 latents of 64 | encoder and decoder | a bottleneck between them | cross-entropy | autoregressive | 2,048 |
# | [04 PLANNER](04_latent_planner.ipynb) | 16 codes of 1,024 | nothing | encoder and decoder, a VAE | cross-entropy + $\beta$ KL | autoregressive | 16,384 |
# | [05 TEncDM](05_latent_tencdm.ipynb) | one state of 768 per token (64 tokens) | encoder | decoder | cross-entropy of noisy states | all words at once | 49,152 |
# | **06 COSMOS** | **16 to 128 latents of 768 (128 tokens)** | **encoder** | **compressor and decompressor** | **cross-entropy + squared error of states, on damaged states and latents** | **all words at once** | **from 12,288** (here $4 \times 96$ = 384) |
#
# COSMOS (Meshchaninov et al. 2025) starts where TEncDM ends. TEncDM's canvas grows with the text: 128 tokens are 128 vectors. COSMOS puts 16 in their place, eight times fewer. Here a sentence has 12 words and gets $N = 4$ vectors, three times fewer.
#
# ```
#   words ─► frozen encoder ─► h (L, D), standardised ─► compressor ─► z (N, D) ─► [diffusion] ─► decompressor ─► ĥ (L, D) ─► words
#            knows language      12 × 96                 N queries      4 × 96                    L queries      linear map
# ```
#
# The **compressor** is a Perceiver resampler: $N$ learned queries look at the encoder's states, and at each other (lesson 03 builds a layer of it). The **decompressor** is its mirror image: one query per position looks at the latents, and all words are read at once. No autoregressive decoder stands here, which could write fluently
# whatever the latent says: every mistake of the latent is seen.
#
# The frozen encoder is the course's masked model. One repair first: a masked *diffusion* model is only ever asked for hidden words, and its last states forget the visible ones. BERT, which COSMOS freezes, is asked for visible words too (one in five of those that its loss counts), and its states keep them.
# So we tune ours for a moment on all words, and then freeze it for good (lesson 05 does the same).

# %%
from difflm_core.data import language_batches
from difflm_core.models import MaskedEncoder
from difflm_core.processes import masked
from difflm_core.training import States, corrupted, tune_encoder
from difflm_core.training.course import course_checkpoint

network, _ = course_checkpoint("mdlm-tiny")
tune_encoder(
    network,
    language_batches(language, 64, lesson.generator(3)),
    corrupted(masked(V), 0.3, lesson.generator(4)),
    steps=lesson.pick(250, 30),
)
encoder = MaskedEncoder("mdlm-tiny, tuned", network)


@torch.no_grad()
def encoded(count, seed):
    """`count` true sentences: States (h (B, L, D), mask (B, L), ids (B, L)). Toy sentences have no padding."""
    ids = language.sample(count, generator=lesson.generator(seed))
    h = torch.cat([encoder.states(part) for part in ids.split(256)])
    return States(h, torch.ones_like(ids, dtype=torch.bool), ids)


texts, held_out = encoded(lesson.pick(8192, 512), 5), encoded(lesson.pick(512, 128), 6)
D = encoder.dim
named = (network(held_out.ids).argmax(-1) == held_out.ids).double().mean().item()
print(
    f"states {tuple(texts.h.shape)}; the encoder's own head names {named:.1%} of the visible words from them"
)

# %% [markdown]
# ## 3 · The loss, term by term
#
# Write $h$ for the standardised states of a text, $C$ for the compressor and $D$ for the decompressor, $z = C(h)$, $\hat h = D(z)$. (Two letters with two meanings. $z$ is a *clean* latent here; for the diffusion it is what lesson 01 calls $x$. $D$ without brackets is the count of numbers in a state, here 96.) The released code numbers its versions. Four of them are the steps of this lesson:
#
# 1. **CE.** Only the words count: $\mathcal L = -\log p(w \mid \hat h)$. As long as every text is read right, the loss is content, wherever the latents lie.
# 2. **+ MSE.** $\mathcal L = -\log p(w \mid \hat h) + \lVert \hat h - h \rVert^2$, averaged over the $D$ numbers. The decompressor must also return the encoder's states. Similar texts have similar states. The latent must hold what makes them similar, not only what tells them apart.
# 3. **+ perturbed states.** The compressor does not get $h$. In half of the batch each token is hidden from it with some probability; in the other half it reads $\delta h + \sqrt{1 - \delta^2}\,\epsilon$. *The target stays the clean $h$.*
# 4. **+ masked latents.** Each number of $z$ is set to 0 with some probability, and the others are not scaled up.
#
# Why should 3 and 4 make a space smooth? Take the decoder's error under a small noise on its input, $z + \sigma\epsilon$, and expand $D(z + \sigma\epsilon) \approx D(z) + \sigma J\epsilon$ with the Jacobian $J = \partial D/\partial z$. Since $\mathbb E\,\epsilon = 0$ and $\mathbb E\,\epsilon\epsilon^\top = I$,
#
# $$\mathbb E\,\lVert D(z + \sigma\epsilon) - h\rVert^2 \;\approx\; \lVert D(z) - h\rVert^2 + 2\sigma\,(D(z) - h)^\top J\,\underbrace{\mathbb E\,\epsilon}_{0} + \sigma^2\,\mathbb E\,\lVert J\epsilon\rVert^2 \;=\; \lVert D(z) - h\rVert^2 + \sigma^2 \lVert J\rVert_F^2 .$$
#
# (The curvature of $D$ adds a term of the same order $\sigma^2$, but multiplied by $D(z) - h$: it vanishes where the states come back. Bishop 1995.) **Noise is a price on slopes**: the decoder is pushed to be flat around every latent that occurs, in all directions. COSMOS puts the noise before the compressor, so the price is on the slope of both together; the compressor may also average it out. Hidden tokens act at the same place: what only one token says is lost with it.
#
# For a **linear** decoder $D(z) = Wz$ the effect of masked latents can be written down exactly. Let $m_j$ be 1 (kept) with probability $p$ and else 0, all independent, and $W_j$ the column $j$ of $W$. Then $W(m \odot z) = \sum_j m_j z_j W_j$ has the mean $pWz$, and variances of independent terms add:
#
# $$\mathbb E\,\lVert W(m \odot z) - h\rVert^2 = \lVert pWz - h\rVert^2 + p(1-p)\sum_j z_j^2\,\lVert W_j\rVert^2 .$$
#
# A number that carries much on its own ($z_j^2\lVert W_j\rVert^2$ large) is expensive; the same sum spread over many numbers is cheap. **Missing numbers are a price on what nothing can replace.** Nobody should believe such formulas unchecked:

# %%
draws, p = lesson.generator(7), 0.6
W = torch.randn(5, 8, generator=draws, dtype=torch.float64)
z_one, target = (torch.randn(size, generator=draws, dtype=torch.float64) for size in (8, 5))
coins = (torch.rand(200_000, 8, generator=draws) < p).double()
by_draws = ((coins * z_one) @ W.T - target).square().sum(1).mean().item()
by_formula = (
    (p * W @ z_one - target).square().sum() + p * (1 - p) * (z_one**2 * (W**2).sum(0)).sum()
).item()
print(f"missing numbers: {by_draws:.3f} by 200,000 draws, {by_formula:.3f} by the formula")

sigma = 0.3
moved = z_one + sigma * torch.randn(200_000, 8, generator=draws, dtype=torch.float64)
noisy_draws = (moved @ W.T - target).square().sum(1).mean().item()
noisy_formula = ((W @ z_one - target).square().sum() + sigma**2 * (W**2).sum()).item()
print(f"noise:           {noisy_draws:.3f} by 200,000 draws, {noisy_formula:.3f} by the formula (J = W)")

# %%
# NBVAL_CHECK_OUTPUT
print(
    "both prices are as derived:",
    abs(by_draws / by_formula - 1) < 0.02,
    abs(noisy_draws / noisy_formula - 1) < 0.02,
)

# %% [markdown]
# ### The whole loss in thirty lines


# %%
import torch.nn.functional as F

from difflm_core.models import Cosmos, CosmosConfig
from difflm_core.objectives import Smoothing


def perturb(h, mask, hide, keep, generator):
    """What the compressor reads (B, L, D), and which tokens it sees (B, L): half hidden, half noisy."""
    first = (torch.arange(len(h)) < len(h) // 2)[:, None]
    visible = mask & ~(first & (torch.rand(mask.shape, generator=generator) < hide))
    visible = torch.where(visible.any(1, keepdim=True), visible, mask)  # a text that lost all its tokens
    noisy = keep * h + (1 - keep**2) ** 0.5 * torch.randn(h.shape, generator=generator)
    return torch.where(first[..., None], h, noisy), visible


def drop_some(z, drop, generator):
    """Masked latents: no rescaling."""
    return torch.where(torch.rand(z.shape, generator=generator) < drop, 0.0, z)


def autoencoder_loss(model, states, smoothing, generator):
    """Nats per token plus the weighted squared error per number."""
    h = model.read(
        states.h, states.mask
    )  # standardised, 0 at padding: noise is to mean the same for all numbers
    seen, visible = perturb(h, states.mask, smoothing.hide, smoothing.keep, generator)
    z = drop_some(model.compress(seen, visible), smoothing.drop, generator)
    logits, h_hat = model.decompress(z)  # (B, L, V), (B, L, D)
    ce = F.cross_entropy(logits[states.mask], states.ids[states.mask])
    mse = F.mse_loss(h_hat[states.mask], h[states.mask])  # the target is clean
    return ce + smoothing.mse * mse


def new_model(N=4, seed=0):
    torch.manual_seed(seed)
    model = Cosmos(CosmosConfig(D, L, V, N, D, layers=1), encoder.name)
    return model.measure_features([texts])


# %% [markdown]
# The package's `cosmos_loss` computes the same. With the same random numbers the two must agree for each of the four versions:

# %%
from difflm_core.objectives import STAGES, cosmos_loss

model, few = new_model(), States(*(part[:64] for part in texts))
same = {}
for name, smoothing in STAGES.items():
    ours = autoencoder_loss(model, few, smoothing, lesson.generator(8))
    theirs = cosmos_loss(model, *few, smoothing, lesson.generator(8)).total.sum() / few.mask.sum()
    same[name] = torch.allclose(ours, theirs, rtol=1e-5)
print(f"{model.parameters_count():,} parameters;", same)

# %%
# NBVAL_CHECK_OUTPUT
print("the same loss as the package's, in all four versions:", all(same.values()))

# %% [markdown]
# ## 4 · Two autoencoders, live
#
# The first is trained for its words alone (CE), the second with all four terms. Same sizes, same first weights, same texts, same number of steps.
#
# How strong? The released configuration hides 30 % of the tokens, keeps $\delta = 0.7$ (`keep` in the code), and drops 40 % of the numbers. That is for English and 12 + 12 layers. In our small language little stands twice: the colour does, but who hides *lazy* or *hops* loses it for good, and no context brings it back. A small network under
# such pressure learns to write *some* sentence in place of the right one. So we take half of each: hide 15 %, $\delta = 0.85$, drop 20 %. Section 8 has both.
#
# **Predict:** which of the two reads more texts back without an error after the same number of steps?

# %%
from difflm_core.training import train_cosmos

HALF = Smoothing(mse=1.0, hide=0.15, keep=0.85, drop=0.2)
steps = lesson.pick(700, 25)


def batches(parts, seed):
    """Endless batches of 64 random rows."""
    generator = lesson.generator(seed)
    while True:
        rows = torch.randint(len(parts[0]), (64,), generator=generator)
        yield tuple(part[rows] for part in parts)


models, losses = {}, {}
for name, smoothing in {"CE": STAGES["CE"], "all four": HALF}.items():
    models[name] = new_model()
    source = (States(*batch) for batch in batches(texts, 9))
    losses[name] = train_cosmos(models[name], source, steps, 2e-3, smoothing, 32, lesson.generator(10))
    models[name].requires_grad_(False)

# %% [markdown]
# (`train_cosmos` measures the mean and deviation of the states, trains, and then measures those of the latents: one pair for each of the $N \times D$ numbers, since diffusion wants latents of mean 0 and deviation 1. We print no losses: the second has more terms and a damaged input, and cannot be compared with the first.)

# %%
from difflm_core.samplers.gaussian import at


@torch.no_grad()
def reading(model):
    """Without any perturbation: the share of words and of whole texts that come back right."""
    right = model.decode(model.encode(held_out.h, held_out.mask)).argmax(-1) == held_out.ids
    return right.double().mean().item(), right.all(1).double().mean().item()


read = {name: reading(model) for name, model in models.items()}
print(f"{'held-out texts':16s}{'words read':>12s}{'texts read':>12s}")
for name, (by_word, by_text) in read.items():
    print(f"{name:16s}{by_word:12.1%}{by_text:12.1%}")

# %% [markdown]
# Words alone are learned quickly, and completely. With four terms most words come back, and many texts have one that does not: the task is harder, and these are a few hundred steps (the study of section 8 trains longer). Judged by this table one would take the first autoencoder and go on to diffusion. Now the
# questions that the table does not ask.
#
# ## 5 · Smoothness, measured in seconds
#
# Three probes, each with the decoder alone. *Between two texts:* decode $(1-\lambda)\,z_1 + \lambda\,z_2$; how many words are those of one text or the other at this position? *With noise:* decode $\sqrt\alpha\,z + \sqrt{1 - \alpha}\,\epsilon$; how many words are still right? *With numbers missing:* set a share of the numbers to their mean; how many are still right?
#
# And the control from section 1: the second autoencoder **stirred**, with the same two lines in 384 dimensions (the sines of random mixtures of one half of the numbers are added to the other half). `Stirred` of the package encodes, stirs, and standardises anew; its decoder undoes both.
#
# **Predict** the order of the three spaces in each probe.

# %%
from difflm_core.evaluation import interpolate
from difflm_core.models import Stirred
from difflm_core.objectives.cosmos import drop_numbers
from difflm_core.processes import GaussianProcess, ShiftedCosine, time_of


@torch.no_grad()
def latents_of(space):
    """Standardised latents of all training texts, (T, N, D)."""
    return torch.cat([space.encode(h, m) for h, m in zip(texts.h.split(256), texts.mask.split(256))])


stirred = Stirred(models["all four"]).measure(latents_of(models["all four"]))
spaces = {"CE": models["CE"], "all four": models["all four"], "stirred": stirred}
weights, alphas, missing = (
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
    [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2],
    [0.0, 0.2, 0.4, 0.6],
)
cosine = GaussianProcess(ShiftedCosine(1.0))  # only to have noise of a given alpha
times = time_of(cosine.schedule, torch.tensor(alphas, dtype=torch.float64)).tolist()


@torch.no_grad()
def probe(space):
    z, ids, mask = space.encode(held_out.h, held_out.mask), held_out.ids, held_out.mask
    right = lambda latents: (space.decode(latents).argmax(-1) == ids).double().mean().item()  # noqa: E731
    first, second = ids.chunk(2)
    walk = interpolate(space.decode, *(torch.stack(part.chunk(2)) for part in (z, ids, mask)), weights)
    return {
        "either": ((walk.words == first) | (walk.words == second)).double().mean((1, 2)).tolist(),
        "noisy": [right(cosine.corrupt(z, at(t, z), lesson.generator(11))) for t in times],
        "missing": [right(drop_numbers(z, share, lesson.generator(12))) for share in missing],
    }


probes = {name: probe(space) for name, space in spaces.items()}
shown = dict(
    zip(("CE", "+ masked latents", "stirred"), probes.values())
)  # names of the same colours in section 8
figure, alt, _ = pictures.reading_curves(shown, weights, alphas, missing)
show(
    figure,
    alt,
    "Grey: CE. Vermillion: all four terms. Purple: the latter, stirred. At the left edge of each panel nothing is disturbed.",
)
print(
    f"{'words right':14s}{'undisturbed':>13s}{'half noise':>12s}{'60 % missing':>14s}{'half-way: of either text':>26s}"
)
for name, found in probes.items():
    print(
        f"{name:14s}{found['noisy'][0]:13.0%}{found['noisy'][alphas.index(0.5)]:12.0%}{found['missing'][-1]:14.0%}{found['either'][-1]:26.0%}"
    )

# %%
# NBVAL_CHECK_OUTPUT
print(
    "stirring changes no reconstruction:",
    abs(probes["stirred"]["noisy"][0] - probes["all four"]["noisy"][0]) < 0.01,
)

# %% [markdown]
# Three things are to be seen (in full mode). The stirred space starts at the same height as its unstirred twin, to the word, and falls first: its decoder is the *same network* behind a map that makes errors larger. The autoencoder trained for words alone starts highest and falls faster than the one with four terms,
# which hardly notices noise of half the variance. And under strong disturbance the order of these two is reversed in every panel: the one that read better reads worse. Half-way between two texts it is even level with the stirred space.
#
# ## 6 · Walk between two texts
#
# The same walk with words. Unmarked words belong to the first text, bracketed ones to the second, those with a cross to neither.

# %% tags=["widget"]
from difflm_core.classroom.widgets_cosmos import interpolation_explorer

with torch.no_grad():
    pairs = held_out.ids[:12].view(6, 2, L)
    sides = {
        name: (space.decode, space.encode(held_out.h[:12], held_out.mask[:12]).view(6, 2, 4, D))
        for name, space in spaces.items()
    }
interpolation_explorer(sides, pairs, language)

# %% [markdown]
# A word that belongs to neither text, half-way between them, is a hole: the decoder was never asked about this place, and says something. A denoiser's guess is a mean over all texts that are still possible (lesson 01). A sample that has not decided between two of them ends in such a place.
#
# In the pair of the table (full mode) everything happens in the middle, and there CE has 2 words of neither text, the four terms 4, the stirred space 6. (At weight 0 the latter two read "cub" for "den": that is their reconstruction.) In the mean of section 5 the first two stand the other way round: one pair proves nothing.
#
# (Smooth is not the same as grammatical: half-way between "the fox hops" and "these dogs run" a mixture such as "the dogs hops" has only words of the two, and is broken. The right-hand column judges that.)
#
# ## 7 · What diffusion draws
#
# Now a denoiser for each of two spaces: same size, same steps, $x$-prediction, self-conditioning, the schedule tan-5 of the released configuration (the cosine with its SNR divided by 25, lesson 05). **Predict:** from which of the two are more grammatical sentences drawn? Two rules for the table.
#
# **No grammatical share without a figure of variety.** A decoder that ignores its latent and always writes the same right sentence gets 100 %. In section 8 one autoencoder of two latents gives "90 % grammatical", a fine number, until one looks at *distinct-2*, the share of different pairs of neighbours among all of them:
# 0.10, less than half of what as many true sentences have. It uses few words again and again, and reads 3 % of the texts back.
#
# **No figure of generation without the reconstruction beside it.** A perfect sampler of latents writes what the autoencoder makes of true texts, and nothing better.

# %%
from difflm_core.evaluation import distinct_n
from difflm_core.models import LatentConfig, LatentDenoiser
from difflm_core.samplers import sample_latents
from difflm_core.studies.toy_quality import quality
from difflm_core.training import train_latent_denoiser

tan5 = GaussianProcess(ShiftedCosine(5.0))
count = lesson.pick(300, 64)
drawn, errors = {}, {}
for name in ("CE", "all four"):
    z = latents_of(models[name])
    torch.manual_seed(0)
    net = LatentDenoiser(LatentConfig(D, 4, 96, 3))
    source = ((rows, None) for (rows,) in batches((z,), 13))
    fit = train_latent_denoiser(net, tan5, source, lesson.pick(700, 25), generator=lesson.generator(14))
    errors[name] = sum(fit[-50:]) / len(fit[-50:])
    latents = sample_latents(tan5, net, (count, 4, D), lesson.pick(50, 10), lesson.generator(15)).x
    drawn[name] = models[name].decode(latents).argmax(-1)
drawn["true sentences"] = language.sample(count, generator=lesson.generator(16))

print(
    f"{'':16s}{'texts read':>12s}{'grammatical':>13s}{'distinct-2':>12s}{'spread, nats':>14s}{'error of the denoiser':>24s}"
)
for name, tokens in drawn.items():
    found = quality(tokens)
    own = f"{read[name][1]:12.1%}" if name in read else f"{'':12s}"
    error = f"{errors[name]:24.3f}" if name in errors else ""
    print(
        f"{name:16s}{own}{found['grammatical']:13.1%}{distinct_n(tokens, 2):12.3f}{found['spread']:14.2f}{error}"
    )

samples_table(
    [
        (name, sentence(row, word, language.mask_id), "grammatical" if good else "broken")
        for name, tokens in drawn.items()
        for row, good in zip(tokens[:4], language.grammatical(tokens[:4]))
    ],
    title="The first four of each",
)

# %% [markdown]
# (*Spread*: entropy of the words used at a position, over the samples. *Error of the denoiser*: mean squared error per standardised number, over its noise levels. A network that finds no structure and only shrinks $z_t$ leaves $1 - \alpha_t$, whatever the space: for tan-5 that is $5/6$ in the mean over $t$. What is below it has been learned.)
#
# In full mode the first autoencoder reads all texts back and the second little more than a third of them. Yet what diffusion draws from the two is grammatical about equally often, a good half, the second with somewhat less variety. (With 300 samples each, the standard deviation of a difference is four points.) So reconstruction does not tell what
# can be drawn. But the smoother space does *not* win here either, where the denoisers have had half a minute of training and the second autoencoder is far from finished.
#
# One seed, a few minutes: that is a demonstration. The stored study asks the same with three seeds, longer training, and all versions in between.

# %% [markdown]
# ## 8 · Six spaces, three seeds
#
# The study `cosmos`: the four versions with the strengths of section 4, the last one stirred, and the last one at the released strengths. Every space gets a denoiser of the same size, trained alike. **Predict**, before the picture: which version reads the most texts back? Which draws best? And where does the stirred space stand
# in each panel?

# %%
study = load_results("cosmos")
show(*pictures.stages(study))

# %% [markdown]
# First the two orders: by what the autoencoder reads back, and by what diffusion draws.

# %%
print("texts read back, %:       ", pictures.ranked(study, "autoencoder", "texts_read"))
print("drawn and grammatical, %: ", pictures.ranked(study, "generation", "grammatical"))

# %% [markdown]
# If reconstruction decided, the two lines would have the same order. Look for the stirred space in both: it reads exactly as its unstirred twin does, so the first line cannot tell them apart, and it is last in the second.
#
# Which steps from one version to the next are more than chance? Each seed is compared with itself; we claim a difference only if all seeds agree. (That is a weak test: by chance alone three seeds agree one time in four. So look at the sizes as well.)

# %%
order = list(pictures.SPACE)
chain = [*zip(order[1:4], order[:3]), ("stirred", pictures.FULL), (pictures.RELEASED, pictures.FULL)]
for title, kind, key in (
    ("texts read back, %", "autoencoder", "texts_read"),
    ("drawn and grammatical, %", "generation", "grammatical"),
):
    print(title)
    for space, other in chain:
        pair = f"{pictures.SPACE[space][0]} after {pictures.SPACE[other][0]}"
        print(
            f"   {pair:44s}",
            pictures.compared(*(pictures.select(study, kind, s) for s in (space, other)), key),
        )


# %%
# NBVAL_CHECK_OUTPUT
def of(space, kind, key):
    return pictures.values(pictures.select(study, kind, space), key)


read_alike = (
    of("stirred", "autoencoder", "texts_read") - of(pictures.FULL, "autoencoder", "texts_read")
).abs()
print("stirred or not, the same texts are read:", read_alike.max().item() < 0.01)
lost = of("stirred", "generation", "grammatical") < of(pictures.FULL, "generation", "grammatical")
print("and diffusion draws worse texts from the stirred space, in every seed:", bool(lost.all()))

# %% [markdown]
# That is the lesson's one certain answer. Two spaces, one decoder network, the same texts read back: whatever separates their samples (78 % and 51 % grammatical) was separated by the *space*.
#
# The steps between the four versions are the paper's question. **Two of three go the paper's way, in every seed.** The first three autoencoders read all texts back (99 % at least): reconstruction cannot tell them apart. What diffusion draws from them rises from 60 % grammatical (words alone) over 82 % (+ states) to 88 % (+ perturbed states). Between spaces of equal reconstruction lie 28 points.
#
# It is paid for with some variety. The grammatical ones among the samples are likelier than true sentences: by 1.7 nats a sentence with words alone, by 2.0 with the states (more in every seed), by 2.0 with perturbed states (`log_prob_gap` in the stored rows). Distinct-2 falls as well, from 0.20 to 0.17, but it is a poor witness: a broken pair of words is a new pair, so errors raise it.
#
# **The third step does not.** Masked latents cost ten points of what is drawn in the mean, at least six in every seed. In two of three seeds a third of the texts is no longer read. At the released strengths the texts read run from 9 to 93 %, depending on the seed. A guess at the reason: our texts have 12 words, of which little can be guessed from the rest, and autoencoders of a quarter of a million weights pay a high price for missing numbers. The authors' texts have 80 to 512 tokens, their autoencoder 12 + 12 layers.
#
# The probes of section 5 for the same spaces (bands: seeds), and all figures in a table:

# %%
settings = study["settings"]
show(
    *pictures.reading_curves(
        pictures.probes_of(study), settings["weights"], settings["alphas"], settings["missing"]
    )
)
print(pictures.table(study))

# %% [markdown]
# **Which probe could have told in advance?** Not the noise: with words alone or with the states as well, the same share of words survives it (0.92 to 0.94 in all seeds, at half noise), and what is drawn differs by 22 points. Nor the missing numbers, at which the last version is best. The *walk between two texts* sees the first step: half-way 69 to 77 % of the words belong to either text in the first space, 82 to 88 % in the second. But none of the three puts all six spaces in the right order. Smoothness has several sides, and no single probe sees them all.
#
# Read every row from left to right, and never one column alone. *Texts read* says how faithful even a perfect sampler's texts would be. *Distinct-2* and *spread* guard the grammatical share: where it is high and they are far below those of true sentences, the samples have become narrow. Where it is low they guard nothing: the stirred space has the distinct-2 of true sentences, although half of its samples are broken.
#
# *Error* is the other half of "diffusable", the distribution itself: 0.74 in the stirred space, at most 0.62 in its twin, and 0.83 would be nothing learned (section 7). Here it names the worst space, and does not order the others.
#
# ### How many latents?
#
# With more latents a text has more room, and the denoiser has more to do. The paper's abstract says that quality rises with $N$; cost rises too. **Predict** texts read and grammatical share for $N = 2, 4, 8$ at 12 words.

# %%
show(*pictures.sizes(study))
for more, fewer in ((4, 2), (8, 4)):
    for title, kind, key in (
        ("texts read, %", "autoencoder", "texts_read"),
        ("grammatical, %", "generation", "grammatical"),
    ):
        rows = (pictures.select(study, kind, pictures.FULL, N) for N in (more, fewer))
        print(f"N = {more} after N = {fewer}: {title:16s}", pictures.compared(*rows, key))

# %% [markdown]
# More latents read more texts. What is drawn is grammatical *less* often, 85 % over 78 to 69 %: from 2 to 4 in every seed, from 4 to 8 in two of three. The denoiser has a fixed size and four times as much to draw. The paper's rise with $N$ is not seen here.
#
# But the 85 % are no gain either. With two latents an autoencoder that cannot hold a text still writes *grammatical* ones, simply not the right ones: 15 % of the texts are read, and distinct-2 is the lowest of the table. A grammatical share that rises while texts read and distinct-2 fall says that the space has become poor.
#
# ## 9 · What the paper says, and how sure one can be
#
# - *Claims* (abstract): eight times fewer vectors at a quality comparable to diffusion on tokens, with more latents better than token diffusion and autoregressive baselines, and more than twice as fast; shown for stories, question generation, summarisation and detoxification.
# - *Directions* that the four versions are meant to show: each addition costs a little reconstruction and improves generation. (The paper's tables could not be read for this course, so their numbers are not here.)
# - *Settings of the released code*: BERT-base-cased frozen; 12 + 12 layers of width 768; hide 0.3, $\delta = 0.7$, drop 0.4; the autoencoder trained for 100,000 steps of 512 on *Wikipedia*, the diffusion for 200,000 on ROCStories; tan-5 for $N = 16$ and 32, tan-7 for $N = 64$; 200 Euler steps from 1 to 0.05.
# - *Read with care.* The autoencoder sees Wikipedia, so a part of what it gains over systems trained on stories alone may be more text. README, default configuration and script disagree about the three strengths. In the code that perturbs, hidden states are also meant to be set to 0, but the next line overwrites that. Hiding acts through the attention mask alone, and so it does here.
#   Statistics of latents are taken on the validation set there; take the training set. And an issue in the authors' repository, open when this was written, reports an autoencoder trained anew by the README's recipe that serves diffusion clearly worse than the released one. Perplexities are a mean without the 5 % at either end: they do not compare with LD4LG's.
#
# What is *not* claimed, here or there: a likelihood. A frozen encoder's latents give no bound on $-\log p(\text{text})$ without further work, so this lesson reports samples only.
#
# ## 10 · Exercises
#
# Do them in order: one line, one function, another one, an inverse, and an open question. A check prints what it found and names the usual mistakes; `ex6_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises.lesson_06 import ex6_1, ex6_2, ex6_3, ex6_4, ex6_5

# %% [markdown]
# ### Exercise 6.1 · 5 min · difficulty 1/5 · Words and states
# *Importance 5/5: the target decides what the autoencoder is rewarded for.*
#
# The loss of the second version, one number: cross-entropy of the words plus squared error of the states (averaged over their $D$ numbers), both averaged over the real tokens. `logits` is $(B, L, V)$; `h_hat`, `features` (the clean standardised states) and `seen` (what the compressor read) are $(B, L, D)$; `mask` is True at real tokens.
# One argument is not needed: **predict** which.


# %%
def autoencoder_loss_of(logits, h_hat, ids, features, seen, mask):
    """Exercise 6.1: nats per token plus squared error per number, averaged over real tokens."""
    ### BEGIN SOLUTION
    ce = F.cross_entropy(logits[mask], ids[mask])
    return ce + (h_hat - features)[mask].square().mean()
    ### END SOLUTION


# %%
ex6_1.run(autoencoder_loss_of)

# %% [markdown] tags=["solution"]
# **Why.** With `seen` as target the decompressor would have to reproduce the noise, and the compressor to carry it. The clean target turns the autoencoder into a denoiser: the latent holds what can be known of the text in spite of the damage.

# %% [markdown]
# ### Exercise 6.2 · 5 min · difficulty 2/5 · Missing numbers
# *Importance 4/5: the one term that acts on the latent itself.*
#
# Set each number of `z` $(B, N, D)$ to 0 with probability `drop`, independently. **Predict:** what would `torch.nn.functional.dropout` do differently?


# %%
def masked_latents(z, drop, generator=None):
    """Exercise 6.2: z (B, N, D) with each number set to 0 with probability drop, the others unchanged."""
    ### BEGIN SOLUTION
    return torch.where(torch.rand(z.shape, generator=generator) < drop, 0.0, z)
    ### END SOLUTION


# %%
ex6_2.run(masked_latents)
masked_latents = ex6_2.answer_or_reference(masked_latents)
z_few = models["all four"].encode(held_out.h[:200], held_out.mask[:200])
for drop in (0.0, 0.2, 0.5):
    words_right = (
        (
            models["all four"].decode(masked_latents(z_few, drop, lesson.generator(17))).argmax(-1)
            == held_out.ids[:200]
        )
        .double()
        .mean()
    )
    print(f"{drop:.0%} of the numbers missing: {words_right:.0%} of the words right")

# %% [markdown] tags=["solution"]
# **Why.** Dropout divides what is left by 1 − `drop`, so that the mean of the input stays. Here the mean shrinks to (1 − `drop`) $z$ in training and is whole in use: the decompressor then reads latents that are somewhat louder than those it was trained on. An RMSNorm stands before its attention and takes most of that out. The output agrees: whole latents are read as well as those with a fifth missing, which is what this decompressor was trained on.

# %% [markdown]
# ### Exercise 6.3 · 10 min · difficulty 3/5 · What the compressor reads
# *Importance 5/5: small code with many ways to be wrong.*
#
# In the first half of the batch hide each token with probability `hide`: take it out of `visible`, and leave its state as it is. A text that would lose all its tokens keeps them all. In the second half give $\delta h + \sqrt{1-\delta^2}\,\epsilon$ with $\delta =$ `keep`; every token is visible there. `mask` is True at real tokens, and padding never becomes visible. Return `(seen, visible)`. Do not look at section 3.


# %%
def what_is_read(features, mask, hide, keep, generator=None):
    """Exercise 6.3: (what the compressor reads (B, L, D), which tokens it sees (B, L), boolean)."""
    ### BEGIN SOLUTION
    first = (torch.arange(len(features)) < len(features) // 2)[:, None]
    visible = mask & ~(first & (torch.rand(mask.shape, generator=generator) < hide))
    visible = torch.where(visible.any(1, keepdim=True), visible, mask)
    noise = torch.randn(features.shape, generator=generator)
    return torch.where(
        first[..., None], features, keep * features + (1 - keep**2) ** 0.5 * noise
    ), visible
    ### END SOLUTION


# %%
ex6_3.run(what_is_read)

# %% [markdown] tags=["solution"]
# **Why.** Standardised states have variance 1, and $\delta^2 + (1 - \delta^2) = 1$ keeps it: with $\delta = 0.7$ the noise is the diffusion's own at $\alpha = 0.49$. Without standardisation the same noise would drown small features and spare large ones; added behind a trained layer it could be made harmless by that layer, which would
# simply make its output large.

# %% [markdown]
# ### Exercise 6.4 · 8 min · difficulty 3/5 · Undo it
# *Importance 3/5: why reconstruction is blind, in four lines.*
#
# Section 1's stirring in $2n$ dimensions: `z` is $(B, 2n)$, $a$ its first half and $b$ its second, $A$ and $B$ are $n \times n$:
#
# $$b' = b + \sin(f\,aA), \qquad a' = a + \sin(f\,b'B).$$
#
# Write the inverse, from $(a', b')$ to $(a, b)$. It must be exact.


# %%
def settle(z, A, B, frequency):
    """Exercise 6.4: (B, 2n) stirred latents back to what they were."""
    ### BEGIN SOLUTION
    a, b = z.chunk(2, dim=1)
    a = a - (frequency * b @ B).sin()
    b = b - (frequency * a @ A).sin()
    return torch.cat([a, b], dim=1)
    ### END SOLUTION


# %%
ex6_4.run(settle)

# %% [markdown] tags=["solution"]
# **Why.** Each line adds to one half something that depends on the *other* half only, and the other half is still there: it can be computed again and subtracted. Neither the sine nor $A$ is inverted. Coupling layers of normalising flows are built so, and any reconstruction loss is blind to them: encoder and decoder may hide one between them.

# %% [markdown]
# ### Exercise 6.5 · 20 min · difficulty 4/5 · How rough is it? (open)
# *Importance 5/5: choosing an autoencoder before paying for a denoiser.*
#
# Write `roughness(decode, z, generator)`: one number, larger for rougher spaces. `decode` turns latents $(B, N, D)$ into logits $(B, L, V)$, `z` are standardised latents of texts. The check has four spaces that give back the same words, stirred more and more: your number must rise, for three seeds. It must not be fooled by a decoder whose
# logits are four times larger, which reads the same words everywhere.
#
# **Predict** which of section 5's probes does best.


# %%
def roughness(decode, z, generator=None):
    """Exercise 6.5: one number, larger for a rougher space."""
    ### BEGIN SOLUTION
    words = decode(z).argmax(-1)
    near = [decode(z + 0.2 * torch.randn(z.shape, generator=generator)).argmax(-1) for _ in range(4)]
    return torch.stack([(words != now).double().mean() for now in near]).mean()
    ### END SOLUTION


# %%
ex6_5.run(roughness)
roughness = ex6_5.answer_or_reference(roughness)
with torch.no_grad():
    for name, space in spaces.items():
        z_few = space.encode(held_out.h, held_out.mask)
        print(f"{name:12s} roughness {float(roughness(space.decode, z_few, lesson.generator(18))):.4f}")

# %% [markdown]
# A surprise, if you probe with small errors: the autoencoder trained for words alone comes out *smoother* than the one with four terms. Its words seem to stand with wide margins, so that a small error reaches no border. At large errors the order turns: in section 5 the two noise curves cross. Roughness depends on the size of
# the error; the size that matters is that of the denoiser's errors, which you only know once you have one.

# %% [markdown] tags=["solution"]
# **Why.** Words that change under a small error are what a denoiser's mistakes will cost. A difference of logits must be divided by the difference between texts, or a louder decoder looks rough. All three probes of section 5 pass this check, the noise only up to about the size of the numbers themselves: beyond that all four spaces look alike. The walk between two texts mixes two questions: whether the space is smooth, and whether the two texts are alike.

# %%
summary()

# %% [markdown]
# ## 11 · The four lessons on real text
#
# All of this was measured on an invented language, where the truth is known. Here are the four systems of lessons 03 to 06, by the same code, on real text: sentences of Wikipedia with 8 to 24 words, from articles of 12 topics. MiniLM is the frozen encoder of all four (22.7 M parameters, distilled from a model of BERT's kind, tuned for whole sentences and not for us); texts are cut into its 4,096 most frequent word pieces. What is trained has 2.5 to 3.8 M parameters (MDLM, below, 1.8 M) and
# saw its texts for eight to fourteen minutes of one core (MDLM seven). The papers spend thousands of times as much. So the texts will be poor, and the question is what is poor about them in each.
#
# Each system writes two sentences about biology and health, its frozen encoder not needed for that. **Predict** from lessons 03 to 06: whose sentences will be fluent? Whose will hold together words that belong to the topic, without a sentence around them?

# %%
from difflm_core.training.latent_checkpoints import course_latents

systems = ("ld4lg-wikipedia", "planner-wikipedia", "tencdm-wikipedia", "cosmos-wikipedia")
rows = []
for name in systems:
    system = course_latents(name)
    topic = system.labels.index("Biology and health sciences")
    drawn = system.sample(2, lesson.generator(19), lesson.pick(None, 4), topic)  # None: the recipe's steps
    rows += [(pictures.SYSTEM[name], text, f"{int(drawn.network_calls[0])} calls") for text in system.texts(drawn)]
samples_table(rows, title="Two sentences each, not chosen", head=("system", "text", "cost"))

# %% [markdown]
# LD4LG and PLANNER have an autoregressive decoder, a small language model by itself. PLANNER's sentences have a grammar, LD4LG's have pieces of one, whatever the latents say. TEncDM and COSMOS read all word pieces off at once: some do not even join to words ("sensementsage", "inttrami"), and nobody makes a sentence of them. The topic is seen in single words at best, such as TEncDM's "species" and "tissues".
#
# Two sentences prove nothing. The stored table has 300 of each, beside masked diffusion (lesson 08) on the same sentences and pieces, human texts of other articles, and these with their words shuffled. The columns:
#
# - *BLEU back*: how well a text survives its own autoencoder, 1 is word for word.
# - *Judge ppl*: the perplexity that SmolLM2 (135 M parameters) gives the texts.
# - *Entropy*: of the words inside a text, in nats. *Distinct-2*: as in section 7.
# - *MAUVE*: how alike two distributions of texts are, 1 is alike.
# - *Memorised*: the share of the 4-grams that stand in the training set.

# %%
print(pictures.on_real_text(load_results("latents_table")))

# %% [markdown]
# Four things to read out of it.
#
# - **PLANNER looks best and is the emptiest.** Its judge perplexity is that of human texts (61 and 63), its MAUVE the highest of the five. But its diversity (distinct-2, -3 and -4 multiplied, in the study's rows) is 0.05; that of human texts is 0.77. A third of its 4-grams stand in the training set (human: an eighth). And its codes bring back a BLEU of 0.04: they say almost nothing. "The city was the capital of the city of the city", says a sample on its card. An autoregressive decoder with nothing to say writes what is usual, and a judge likes that. This is lesson 03's warning on real text: *never a perplexity without variety beside it*.
# - **Reconstruction does not order the samples.** TEncDM gives back 92 % of all pieces, COSMOS 54 %, and COSMOS's texts are the likelier ones (2,526 against 3,394). That agrees with section 8 and proves little: one run each, networks of different size.
# - **All of them are far from text.** Shuffled human words have perplexity 1,409 and MAUVE 0.011. TEncDM, COSMOS and MDLM are worse than that in both columns, LD4LG a little better. Ten minutes of one core are not a training. The autoencoders alone would need more: COSMOS's loss was still falling when its time was over.
# - **Masked diffusion is last at this budget**, with the fewest parameters, no pretrained encoder under it, and no decoder that knows how to write. Its texts are the most diverse, for the same reason.
#
# Nothing here says which method is better when trained. It says which figures lie.
#
# ## 12 · Scale it up
#
# The whole system on the toy language, one command (about five minutes, with its frozen encoder, a checkpoint and samples), on Wikipedia sentences, and the released sizes on ROCStories with BERT-base, which needs a GPU and a network; `--plan` says what a run would take and starts nothing:
#
# ```
# python -m difflm_core.training cosmos-tiny
# python -m difflm_core.training cosmos-wikipedia
# python -m difflm_core.training cosmos-rocstories --plan
# ```
#
# What would the released configuration cost? 6 floating-point operations for each parameter of the trunk, each position and each step, nothing else counted:

# %%
width, layers, N, T = 768, 12, 16, 128  # the released configuration, texts of 128 tokens
block = 12 * width**2  # attention and MLP of one layer
H100 = 0.4 * 989e12  # operations per second at 40 % of the peak in bf16, an assumption
for name, steps, positions in (
    ("autoencoder, Wikipedia", 100_000, N + T),  # N queries in the compressor, T in the decompressor
    (f"diffusion, {N} latents", 200_000, N),
    ("diffusion on 128 states", 200_000, T),
):
    flops = 6 * layers * block * positions * 512 * steps
    print(
        f"{name:26s}{steps:>9,} steps of 512: {flops:.1e} FLOPs, {flops / H100 / 3600:6.1f} H100-hours"
    )
memory = 16 * layers * block / 1e9
print(
    f"weights, gradients and two moments of one such network in float32: {memory:.1f} GB (activations come on top)"
)

# %% [markdown]
# The frozen encoder and self-conditioning (a second forward pass in half of the steps) come on top. The point of the two lines of diffusion is their ratio: eight times fewer vectors are eight times fewer operations in every step of training *and* of sampling.
#
# What to expect: the authors' abstract says quality comparable to token-level diffusion at eight times fewer vectors. No number is quoted here as a target (section 9).
#
# ## 13 · What to remember
#
# 1. Reconstruction is blind to the space between latents: a map that can be undone leaves it untouched and can ruin everything else. Good reconstruction is necessary and not sufficient.
# 2. A decoder that must answer for the clean text in spite of noise, hidden tokens and missing numbers pays for steep slopes and for numbers that nothing can replace. That makes a space that forgives a denoiser's errors, and costs reconstruction; too much of it, and the texts are gone.
# 3. Probe the space before you pay for diffusion, and never report a share of good samples without their variety and the autoencoder's own reconstruction.
#
# **Five quick questions**
#
# <details><summary>1. An autoencoder reads 99.9 % of all texts back. A colleague concludes that diffusion on its latents will work. What do you answer?</summary>
# That this says nothing about points between latents, nor about how hard their distribution is to learn. Stir the latents by a map that can be undone: 99.9 % as before, and useless.
# </details>
#
# <details><summary>2. Would a perfect denoiser draw good texts from the stirred space?</summary>
# Yes. With the exact posterior mean and enough steps, diffusion draws from the true distribution of latents whatever it looks like, and each of those is read right. Roughness is a price on errors; who makes none pays nothing.
# </details>
#
# <details><summary>3. Why is the noise added to standardised states, before any trained layer?</summary>
# Noise has a strength only relative to the numbers it falls on. Raw features differ in size by orders of magnitude, and a trained layer in front could enlarge its output until the noise no longer matters.
# </details>
#
# <details><summary>4. Samples are 95 % grammatical, distinct-2 is a tenth of true sentences'. What happened?</summary>
# A collapse: few sentences, written again and again. Look at the autoencoder first: how many texts does it read back, and what does it write for random latents?
# </details>
#
# <details><summary>5. Why is the norm at the end of the compressor (RMSNorm) not enough in place of standardising the latents?</summary>
# It fixes the length of each vector of a text, not the mean and deviation of each number over texts. A number that hardly varies would drown in the noise at once, one with a large mean would survive it for ever; the schedule means the same for all only after (z − mean) / deviation.
# </details>
#
# **Sources.** Meshchaninov, Chimbulatov, Shabalin, Abramov, Vetrov 2025, *Compressed and smooth latent space for text diffusion modeling* (COSMOS, arXiv 2506.21170): abstract, and the released code for the loss, its strengths and all settings. Shabalin et al. 2024 (2402.19097), TEncDM: standardised encodings, tan-d. Jaegle et al. 2021, Alayrac et al. 2022: the Perceiver resampler. Bishop 1995,
# *Training with noise is equivalent to Tikhonov regularization*. Dinh et al. 2015 (1410.8516), coupling layers. The stirred control and its measurements are this course's (`tests/test_cosmos_study.py`), as is the adapted strength. Next in the course: lesson 07, diffusion on symbols.
