# %% [markdown]
# # 05 · TEncDM: diffusion straight in encoder states
#
# **Minutes** 55 to read, about 2 of computing on 2 CPU cores · **Prerequisites** lesson 01 (Gaussian diffusion), lesson 02 (words as vectors, useless steps)
#
# Diffusion-LM (lesson 02) learned a vector for each word. But language models have vectors already, and better informed ones: the *state* that an encoder has at a word knows the words around it. LD4LG (lesson 03) and PLANNER (lesson 04) squeeze such states into a few latents, and an autoregressive decoder writes
# the text from them, one word after the other. TEncDM (Shabalin et al. 2024) squeezes nothing: one state per word is the canvas, and a decoder that reads all words at once.
#
# **The question of this lesson.** Can one diffuse the states of a frozen encoder as they are, and read the words off what comes out?
#
# After this lesson you can
# - say which states are fit to be a canvas, and find out with a linear probe,
# - move any noise schedule to where the words are in doubt, by one number $d$,
# - train a decoder that forgives what a sampler leaves behind, and show what that is worth,
# - measure how sure a denoiser is, by a law that holds exactly, and say where self-conditioning makes it surer.
#
# Nothing is downloaded: the toy language of 114 words, and a trained masked model (a course checkpoint) as the encoder.

# %%
import itertools
import math

import torch
import torch.nn.functional as F

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.pictures import lesson_05 as pictures
from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import compared, sentence
from difflm_core.data import language_batches
from difflm_core.data.toy_language import toy_language
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=5)
language = toy_language()
V, L = language.V, language.length  # 114 words; sentences of 12
word = language.words.__getitem__
masked_model, _ = course_checkpoint("mdlm-tiny")
masked_model = masked_model.float().eval()
D = masked_model.config.width  # numbers per state
print(f"encoder: {masked_model.parameters_count():,} parameters, {D} numbers per word")

# %% [markdown]
# ## 1 · Noise that does no harm
#
# Take the word embeddings of the encoder, $D = 96$ numbers each, scaled to mean 0 and deviation 1. Add noise by the cosine schedule, $z_t = \sqrt{\alpha_t}\,x + \sqrt{1 - \alpha_t}\,\epsilon$ with $\alpha_t = \cos^2(\pi t/2)$, and write for each noisy vector the word whose vector is nearest. (In lesson 02 the vectors had 16 numbers.)
#
# **Predict:** with 96 numbers per word, at which $t$ is the first word lost?

# %%
embeddings = masked_model.embedding.weight[:V].detach()
scaled = (embeddings - embeddings.mean(0)) / embeddings.std(0)
fox = language.encode("the great brown fox hops over the lazy dog in brown boots")
eps = torch.randn(L, D, generator=lesson.generator(1))
times = [0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95]


def nearest(z_t, alpha):
    """The word whose vector, shrunk as the signal is, lies next to each noisy vector."""
    return torch.cdist(z_t, alpha**0.5 * scaled).argmin(-1)


rows = []
for t in times:
    alpha = math.cos(math.pi * t / 2) ** 2
    rows.append(nearest(alpha**0.5 * scaled[fox] + (1 - alpha) ** 0.5 * eps, alpha))
wrong = [int((row != fox).sum()) for row in rows]
show(
    token_grid(
        [compared(row, fox, word, V) for row in rows],
        [f"t = {t:g}" for t in times],
        "96 numbers per word, cosine schedule",
    ),
    "Grid of eight rows from the clean sentence to t = 0.95. Wrong words: "
    + ", ".join(f"{n} at t = {t:g}" for t, n in zip(times, wrong))
    + ".",
    "Dashed: another word is nearer. For most of the way, noise is added and nothing happens.",
)

# %% [markdown]
# The first word is lost between $t = 0.6$ and $0.7$: for more than half of the way every word can be read. A denoiser that is trained on these $t$ learns to wipe off noise, and nothing about language; and all decisions fall in the last few steps near $t = 1$, many words at once. So the two halves of this lesson: **which vectors** (sections 2 and 3) and **which noise** (section 4). The rest, the decoder and the denoiser, follows from them.
#
# ### Four lessons, one method
#
# Lessons 03 to 06 share the Gaussian process, the denoiser between vectors and its sampler. They differ in the autoencoder alone:
#
# | lesson | latent of a text (paper's size) | frozen | trained before the diffusion | its loss | decoder | numbers per text |
# |---|---|---|---|---|---|---|
# | [03 LD4LG](03_latent_ld4lg.ipynb) | 32 latents of 64 | encoder and decoder | a bottleneck between them | cross-entropy | autoregressive | 2,048 |
# | [04 PLANNER](04_latent_planner.ipynb) | 16 codes of 1,024 | nothing | encoder and decoder, a VAE | cross-entropy + $\beta$ KL | autoregressive | 16,384 |
# | **05 TEncDM** | **one state of 768 per word** (64 words) | **encoder** | **decoder** | **cross-entropy of noisy states** | **all words at once** | **49,152** (here $12 \times 96$ = 1,152) |
# | [06 COSMOS](06_latent_cosmos.ipynb) | 16 to 128 latents of 768 | encoder | compressor and decompressor | cross-entropy + MSE, on damaged states | all words at once | from 12,288 |
#
# TEncDM's latent is the largest, and grows with the text: the price of squeezing nothing.
#
# ## 2 · Which vectors? States that show their word
#
# An **encoding** is the state of the encoder's last layer at a word: $h$ of shape $(B, L, D)$. Two things are asked of it. The word must be *in* it, or no decoder can read it. And the context should be in it too, otherwise we might as well take the embeddings.
#
# A probe answers both: a linear map, fitted by least squares, from the state to what one wants to know. It finds what is there to be read without effort. We ask for the word itself; and, at the *last* word of the sentence, for the number of the subject (its embedding cannot know it: *boots* are worn by foxes and by a fox).
#
# **Predict:** the encoder is a masked diffusion model (lesson 08). Its last layer was trained to name *hidden* words. Do the states of *visible* words show which word stands there?

# %%
from difflm_core.data.toy_language import GRAMMAR
from difflm_core.oracle.grammar_labels import feature_value

n_probe = lesson.pick(1500, 600)
probed = [
    language.sample(n, generator=lesson.generator(2 + n)) for n in (n_probe, 500)
]  # to fit, to test


def probe(h, labels, h_new, labels_new):
    """Share of new labels that a linear map from h (n, D) gets right."""
    mean, deviation = h.mean(0), h.std(0).clamp_min(1e-6)
    one = [torch.cat([(part - mean) / deviation, torch.ones(len(part), 1)], 1) for part in (h, h_new)]
    gram = one[0].T @ one[0] + 1e-3 * len(h) * torch.eye(
        h.shape[1] + 1
    )  # a little ridge: few words stand at a place
    weights = torch.linalg.solve(gram, one[0].T @ F.one_hot(labels).float())
    return ((one[1] @ weights).argmax(1) == labels_new).double().mean().item()


@torch.no_grad()
def what_shows(states_of):
    """(word at every place, subject's number at the last place), by probes of states_of(ids) (B, L, D)."""
    h = [states_of(ids) for ids in probed]
    number = [feature_value(GRAMMAR, "subject number", ids) for ids in probed]
    words = probe(h[0].flatten(0, 1), probed[0].flatten(), h[1].flatten(0, 1), probed[1].flatten())
    return words, probe(h[0][:, -1], number[0], h[1][:, -1], number[1])


shown = {
    "embeddings": what_shows(lambda ids: embeddings[ids]),
    "last states of mdlm-tiny": what_shows(lambda ids: masked_model.hidden(ids)),
}
print(f"{'vectors':28s}{'the word':>10s}{'subject, seen from the last word':>36s}")
for name, (words, number) in shown.items():
    print(f"{name:28s}{words:10.1%}{number:36.1%}")

# %% [markdown]
# Embeddings show every word, and of the subject only what guessing gives (six sentences of ten have *one*). The states of the masked model know the subject from the far end of the sentence; but four words of ten they do not show. Nobody ever asked them to: the loss of a masked diffusion model looks at holes only, and the last layer spends its room on what *could* stand there.
#
# BERT is different in a detail. Of the words that its loss asks for, one in five is not a mask: it is left as it is, or replaced by a random word (Devlin et al. 2019). The state of a visible word must therefore say which word it is. To get a frozen encoder of BERT's kind we give ours a short further training: hide 30 % of the words, and ask for **all** of them, the visible ones too. Then it is frozen for good.

# %%
from difflm_core.processes import masked
from difflm_core.training import corrupted, tune_encoder

hide = corrupted(masked(V), 0.3, lesson.generator(5))
tuning = tune_encoder(
    masked_model, language_batches(language, 64, lesson.generator(6)), hide, steps=lesson.pick(400, 60)
)
shown["the same, tuned"] = what_shows(lambda ids: masked_model.hidden(ids))
for name, (words, number) in shown.items():
    print(f"{name:28s}{words:10.1%}{number:36.1%}")

# %% [markdown]
# Now the word is there (for a linear probe 97 times of 100, for the decoders of section 5 every time) *and* the context. That is what is hoped for from encodings: every vector carries a piece of what the others need, so that the denoiser need not bring it together from afar. (The study in section 7 asks whether it pays, on three canvases: embeddings, states as they were, states after the tuning.)
#
# A caution for your own work: probe before you build. "Hidden states of a pretrained model" is not one thing, and what the last layer shows depends on the loss that trained it.
#
# ## 3 · One scale for all coordinates
#
# Noise of variance $1 - \alpha_t$ is the same for every coordinate, so coordinates must not differ in size: diffusion runs on $(h - \text{mean})/\text{deviation}$, one mean and one deviation per coordinate, from the *training* texts. Two kinds of places are treated apart:
#
# - **special tokens** (begin, end): their states are summaries of the text that happen to stand there, with a scale of their own. They get their embeddings instead, scaled to mean square 1; and they are left out of the statistics.
# - **padding** gets zeros. There is no attention mask in the denoiser: padding is part of what is generated.
#
# From scratch, with a made-up encoder of four numbers. The text is *begin, word, word, end, padding*; padding has the id of *begin*, as happens.


# %%
def statistics(h, mask, ids, special):
    """Mean and deviation (D,) of words only."""
    is_word = mask & ~torch.isin(ids, torch.tensor(list(special)))
    return h[is_word].mean(0), h[is_word].std(0, correction=0)


def encode(h, mask, ids, mean, deviation, special):
    """States (B, L, D) to latents; `special` maps an id to its embedding (D,)."""
    z = (h - mean) / deviation
    for i, vector in special.items():
        z = torch.where((ids == i)[..., None], vector / vector.square().mean().sqrt(), z)
    return torch.where(mask[..., None], z, 0.0)  # last: padding has an id as well


class Handmade:
    """What TEncDM asks of an encoder: a name, a width, embeddings, the ids of special tokens."""

    name, dim, special_ids = "handmade", 4, torch.tensor([0, 1])
    embeddings = 3 * torch.randn(9, 4, generator=lesson.generator(7))


ids = torch.tensor([[0, 5, 7, 1, 0], [0, 3, 8, 2, 1]])
mask = torch.tensor([[True] * 4 + [False], [True] * 5])
h = 2 + torch.tensor([5.0, 0.1, 1.0, 1.0]) * torch.randn(2, 5, 4, generator=lesson.generator(8))
special = {int(i): Handmade.embeddings[i] for i in Handmade.special_ids}
by_hand = encode(h, mask, ids, *statistics(h, mask, ids, special), special)
print("states of the first text, then its latents:")
print(h[0].numpy().round(2))
print(by_hand[0].numpy().round(2))

# %%
# NBVAL_CHECK_OUTPUT
from difflm_core.models import MLPDecoder, TEncDM, TokenDecoderConfig

core = TEncDM(Handmade(), MLPDecoder(TokenDecoderConfig(4, 5, 9))).measure([(h, mask, ids)])
print(
    "the package makes the same latents:", torch.allclose(core.encode(h, mask, ids), by_hand, atol=1e-5)
)

# %% [markdown]
# Rows 1 and 4 of the latents are the scaled embeddings of *begin* and *end*; the last row is padding and 0, although its id is that of *begin*. The toy language has neither special tokens nor padding; on real text forgetting them shifts the scale of everything.
#
# One number to keep in mind. Standardising makes coordinates equal in size, but not independent. The *effective dimension* $(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2$, with $\lambda_i$ the eigenvalues of the covariance, is $D$ if all directions are equally used. **Predict:** is it larger for embeddings or for encodings?

# %%
from difflm_core.models import MaskedEncoder

encoder = MaskedEncoder("mdlm-tiny, tuned", masked_model)  # frozen from here on


def effective_dimension(h):
    z = (h - h.mean(0)) / h.std(0)
    eigenvalues = torch.linalg.eigvalsh(z.T @ z / len(z))
    return (eigenvalues.sum() ** 2 / eigenvalues.square().sum()).item()


ids = probed[1]
for name, states in (("embeddings", embeddings[ids]), ("encodings", encoder.states(ids))):
    print(f"effective dimension of {name:11s} {effective_dimension(states.flatten(0, 1)):5.1f} of {D}")

# %% [markdown]
# Far fewer directions than numbers in both, and a few fewer in encodings. Hold on to this for the choice of $d$: what resists noise is the number of directions that say the same word, not $D$ itself.
#
# ## 4 · tan-d: moving the noise to where the words are
#
# The cosine schedule has $\alpha = \cos^2(\pi t/2)$, hence the signal-to-noise ratio $\mathrm{SNR} = \alpha/(1-\alpha) = 1/\tan^2(\pi t/2)$. Now divide it by $d^2$:
#
# $$ \mathrm{SNR}_d(t) = \frac{1}{d^2 \tan^2(\pi t/2)}
# \qquad\Longrightarrow\qquad \alpha = \frac{\mathrm{SNR}}{1 + \mathrm{SNR}} = \frac{1}{1 + d^2\tan^2(\pi t/2)} . $$
#
# In logarithms: $\log \mathrm{SNR}_d = \log \mathrm{SNR}_{\cos} - 2 \log d$. The whole curve moves down, and its shape stays. $d = 1$ is the cosine; TEncDM uses $d = 9$ for 768 numbers. (LD4LG's *scale* is $1/d$, PLANNER's *noise shift* is $d$: the same family.)
#
# How much noise do 96 numbers need? If the coordinates of a word are independent, $D$ numbers at a given SNR say as much as one number at $D \cdot \mathrm{SNR}$. The same words are in doubt at the same $t$ if $D/d^2$ is the same: $9$ at 768 numbers corresponds to $9\sqrt{96/768} = 3.2$ at 96. An estimate to start a sweep from, not a law (section 3 has just shown that coordinates are not independent).


# %%
def alpha_tan(t, d):
    """tan-d, from its definition."""
    return 1 / (1 + d**2 * torch.tan(math.pi * t / 2) ** 2)


# %%
# NBVAL_CHECK_OUTPUT
from difflm_core.processes import GaussianProcess, ShiftedCosine

t = torch.linspace(0, 0.99, 34, dtype=torch.float64)
for d in (1, 3, 9):
    core = ShiftedCosine(float(d))
    lowered = GaussianProcess(ShiftedCosine(1.0)).log_snr(t[1:]) - GaussianProcess(core).log_snr(t[1:])
    print(
        f"tan-{d} is the package's:", torch.allclose(alpha_tan(t, d), core.alpha(t)),
        "· log-SNR lowered by 2 log d at every t:", torch.allclose(lowered, torch.full_like(lowered, 2 * math.log(d))),
    )  # fmt: skip

# %% [markdown]
# What $d$ does, for vectors of independent numbers, read by the exact posterior of the toy language (the stored study of lesson 02). Drag $d$. **Predict** first: which $d$ leaves the fewest useless steps at $D = 64$? At 16, at 128?

# %% tags=["widget"]
from difflm_core.classroom.schedule_curves import vector_noise
from difflm_core.classroom.widgets_tencdm import shift_explorer

recoverable_study = load_results("recoverable_tokens")
shift_explorer({f"D = {width}": vector_noise(recoverable_study, width) for width in (64, 16, 128)})

# %% [markdown]
# At $D = 64$ the cosine spends 72 % of its time where every word can be read, tan-3 39 %, tan-9 15 % (and 22 % where nothing can). Both kinds together are fewest near $d = 3$ at $D = 16$, between 5 and 9 at 64, at 9 or above at 128: wider vectors want a larger $d$. The authors' rule of thumb: each $t$ should hide about equally much of the text. (Exercise 5.5 makes it exact.)
#
# And for our encodings? They have 96 numbers, but an effective dimension below 20, so they should behave like independent vectors of $D = 16$ or a little more, and not like 96. That says $d \approx 3$, and so does the paper's 9 scaled from 768 to 96. We take $d = 3$ from here on; section 7 has the sweep.
#
# ## 5 · A decoder that forgives
#
# A sampler's last answer is never quite an encoding. A decoder that has only seen clean encodings may read the difference as another word. So it is trained on encodings with a little of the diffusion's own noise, the paper's $\mathrm{Cor}$:
#
# $$ \min_\theta \; -\mathbb E \log p_\theta(w \mid \mathrm{Cor}(x)), \qquad \mathrm{Cor}(x) = z_t, \quad t \sim U[0, 0.15] . $$
#
# "Diffusion's own" matters: at $t = 0.15$ tan-9 has $\alpha = 0.18$, the cosine 0.95. The decoder is trained by itself, before or after the diffusion. Two kinds: an **MLP** reads each vector alone; a **transformer** lets the vectors of a text look at each other first. From scratch:


# %%
from difflm_core.objectives import stratified_times


def decoder_loss(decode, x, ids, d, up_to, generator):
    """-log p(word | Cor(x)) in nats, (B, L), for clean latents x (B, L, D)."""
    t = up_to * stratified_times(len(x), generator)  # one t per text, evenly spread over the batch
    alpha = alpha_tan(t.double(), d)[:, None, None].float()
    z_t = alpha.sqrt() * x + (1 - alpha).sqrt() * torch.randn(x.shape, generator=generator)
    return F.cross_entropy(decode(z_t).transpose(1, 2), ids, reduction="none")


# %% [markdown]
# and the check against the package, on our encoder:

# %%
from difflm_core.models import TransformerDecoder
from difflm_core.objectives import tencdm_decoder_loss
from difflm_core.training import States

d = 3.0
process = GaussianProcess(ShiftedCosine(d))
everything = torch.ones(64, L, dtype=torch.bool)
bank = [  # the states of a frozen encoder never change: computed once
    States(encoder.states(ids), everything, ids)
    for ids in itertools.islice(language_batches(language, 64, lesson.generator(9)), lesson.pick(64, 16))
]
held_out = language.sample(256, generator=lesson.generator(10))
held_out = States(encoder.states(held_out), torch.ones_like(held_out, dtype=torch.bool), held_out)
sizes = TokenDecoderConfig(D, L, V, width=96, layers=2)


def autoencoder(build):
    """TEncDM with an untrained decoder, and statistics of the bank."""
    torch.manual_seed(lesson.seed)
    return TEncDM(encoder, build(sizes)).measure(bank)


fresh = autoencoder(TransformerDecoder)
ours = decoder_loss(fresh.decode, fresh.encode(*bank[0]), bank[0].ids, d, 0.15, lesson.generator(11))
core_loss = tencdm_decoder_loss(fresh, process, *bank[0], lesson.generator(11))

# %%
# NBVAL_CHECK_OUTPUT
print("the decoder's loss is the package's:", torch.allclose(ours, core_loss, atol=1e-4))

# %% [markdown]
# Now all four: MLP or transformer, with noise or without. **Predict:** which curve falls first when they read noisy encodings? Can the MLP gain anything from noise, where it cannot look at the neighbours?

# %%
from difflm_core.training import train_tencdm_decoder

KINDS = {
    "MLP": (MLPDecoder, 0.0),
    "MLP + Cor": (MLPDecoder, 0.15),
    "transformer": (TransformerDecoder, 0.0),
    "transformer + Cor": (TransformerDecoder, 0.15),
}
readers = {}
for name, (build, up_to) in KINDS.items():
    readers[name] = autoencoder(build)
    train_tencdm_decoder(
        readers[name],
        process,
        itertools.cycle(bank),
        lesson.pick(150, 20),
        3e-3,
        up_to,
        lesson.generator(12),
    )


@torch.no_grad()
def share_read(model, t):
    """Share of words of the held-out texts that are read right from z_t."""
    x = model.encode(*held_out)
    z_t = process.corrupt(x, torch.full((len(x),), t), lesson.generator(13)) if t else x
    return (model.decode(z_t).argmax(-1) == held_out.ids).double().mean().item()


noise_at = [0.0, 0.1, 0.2, 0.3, 0.4, 0.6]
curves = {name: [share_read(model, t) for t in noise_at] for name, model in readers.items()}
show(*pictures.readers(noise_at, curves, "Four decoders read noisy encodings (tan-3)"))

# %% [markdown]
# At $t = 0$ all four read every word: by that measure they are equal. At $t = 0.4$ (far beyond the 0.15 of the training) the plain MLP is down to about four words of ten, the plain transformer to six, the MLP with noise stands near two thirds and the transformer with noise above eight of ten. So noise in training is worth a little more than the transformer, and the two add up: the transformer restores from its neighbours a word that its own vector no longer shows; the MLP, which sees no neighbours, learns which directions of the space to trust.
#
# Note what the decoder's loss does *not* contain: a denoiser. $\mathrm{Cor}$ is a model of the sampler's errors, and a crude one. They are no Gaussian noise: an uncertain $\hat x$ is a *mean* over what is possible, shorter than any encoding (section 8).
#
# ## 6 · The denoiser, live
#
# Everything here is common to lessons 03 to 06 ([lesson 03](03_latent_ld4lg.ipynb) derives it): the network predicts the clean latents, $\mathcal L = \mathbb E\,\|x - \hat x(z_t, t, \tilde x)\|^2$ without weights (TEncDM Eq. 1), and reads its own previous estimate $\tilde x$ in half of the batches (self-conditioning). Sampling walks from $t = 1$ down with the posterior of lesson 01; the last $\hat x$, without noise, goes to the decoder.
#
# A small run. **Predict:** the study of section 7 trains more than twice as long, and never sees a sentence twice. After this short run, will the words stand in the right places? Will they agree?

# %%
from difflm_core.models import LatentConfig, LatentDenoiser
from difflm_core.training import train_latent_denoiser

best = readers["transformer + Cor"]
latents = itertools.cycle([(best.encode(*batch), None) for batch in bank])
torch.manual_seed(lesson.seed)
net = LatentDenoiser(LatentConfig(D, L, width=96, layers=2))
losses = train_latent_denoiser(
    net,
    process,
    latents,
    lesson.pick(500, 30),
    3e-3,
    ema=lesson.pick(0.99, 0.8),
    generator=lesson.generator(14),
)
print(
    f"{net.parameters_count():,} parameters; squared error per number {losses[0]:.2f} at first, {sum(losses[-20:]) / 20:.2f} at the end"
)

# %% [markdown]
# The four decoders now read **the same drawn latents**, so that only the decoder differs.

# %%
from difflm_core.evaluation import distinct_n
from difflm_core.samplers import sample_latents

n = lesson.pick(128, 16)
sample = sample_latents(process, net, (n, L, D), lesson.pick(50, 10), lesson.generator(15), record=True)
with torch.no_grad():
    texts = {name: model.decode(sample.x).argmax(-1) for name, model in readers.items()}
samples_table(
    [
        (
            name if row == 0 else "",
            sentence(tokens[row], word, V),
            "✓" if bool(language.grammatical(tokens[row][None])) else "✗",
        )
        for name, tokens in texts.items()
        for row in range(2)
    ],
    title="The same two latents, read by four decoders; not chosen",
    head=("decoder", "sentence", "grammar"),
)
for name, tokens in texts.items():
    good = language.grammatical(tokens).double().mean().item()
    print(f"{name:20s}{good:6.1%} of {n} grammatical, distinct-2 {distinct_n(tokens, 2):.3f}")
true_texts = language.sample(n, generator=lesson.generator(16))
print(f"{'true sentences':20s}100.0% of {n} grammatical, distinct-2 {distinct_n(true_texts, 2):.3f}")

# %% [markdown]
# About three sentences of ten are right after this short training, and it hardly matters who reads them: the four decoders differ in a word here and there. On noisy encodings (section 5) they were far apart. So what is wrong with these drawn latents is not noise that a decoder could look through; it is words that do not fit together ("dogs jumps", "red the"), clearly written. Whether that holds after a longer training is a question for the study. (Never read the share of grammatical sentences without distinct-2: a sampler that writes one good sentence for ever has full marks.)
#
# ## 7 · The stored study
#
# **Embeddings or encodings?** In the paper encodings win clearly (ROCStories, MAUVE 0.76 against 0.60, perplexity 29 against 49). **Predict** for our language, where states had to be tuned before they showed their words: what will each of the three canvases give?

# %%
study = load_results("tencdm")
print(pictures.canvases(study))

# %% [markdown]
# *Texts read back* are whole sentences that the decoder recovers from clean latents: what no denoiser can repair. *Likelier by*: nats by which the grammatical sentences are likelier than true ones; 0 is right. The line below the table says how the paper's comparison comes out here.
#
# **Not as in the paper:** embeddings are ahead, by 4 points and in every seed, and their sentences are nearer to the language (too likely by 0.47 nats, those of the encodings by 1.11). All canvases ran on tan-3, which was chosen for the encodings, so the noise does not explain it. What is different from the paper is the language: twelve words of a grammar, whose agreements the two layers of the denoiser put together by themselves. Context that a vector brings along saves work only where there is much of it. This is an explanation, not a measurement; a language with longer dependencies would decide it.
#
# The middle row is section 2's warning come true: 98 % grammatical, the best of the table, and worthless. Its decoder cannot read back one whole text, and the samples are a handful of phrases (distinct-2 0.045, true sentences 0.322): a canvas that does not show its words makes it easy to be correct.
#
# **The schedule.** In the paper: cosine fails (perplexity 393), sqrt is poor (127), tan-7, tan-9 and tan-11 are close (27 to 33). (In the released code "cosine" is the linear-$\beta$ schedule, which is noisier than the cosine and fails all the same.) **Predict:** the order of five schedules here; remember that sqrt was made for 16 numbers, and tan-9 for 768.

# %%
show(*pictures.schedules(study))

# %% [markdown]
# On the right is the rule of thumb: a good schedule's curve uses the whole range of $t$; one that stays at the top for long teaches nothing there, and must decide everything in a few steps. The estimate of section 4 holds: tan-3 is best on average (88 %), tan-5 next (85 %, seeds overlap), the cosine loses 21 points, tan-9 has too much noise for these vectors (77 %), and sqrt lies between tan-9 and the cosine (74 %).
#
# But *why* does a schedule fail: because the network was trained on the wrong noise levels, or because the sampler walks through the wrong ones? The two can be taken apart. A network only needs to know the noise level, so one that was trained on one schedule can walk on the levels of another. **Predict:** which matters more?

# %%
print(pictures.walked(study))

# %% [markdown]
# Read along a row: one network, five walks. Read down a column: one walk, three networks. The training matters more: the network of tan-3 writes 82 to 88 % on every walk, that of the cosine 77 % at best. But a part can be had after the training, for nothing: the cosine's network gains ten points by walking on tan-9's levels instead of its own. All three networks do as well or better on walks with more noise than tan-3 has (the decisions are spread over more steps), and worst on sqrt's.
#
# **The decoder.** In the paper (perplexity / MAUVE): MLP 39.7 / .716, MLP + Cor 31.2 / .739, transformer 34.2 / .714, transformer + Cor 29.1 / .762; MAUVE's spread is .03 to .07, so only perplexity separates the rows. **Predict:** is noise worth more than the transformer, here too?

# %%
print(pictures.decoders(study))

# %% [markdown]
# All four read the same latents. The last two columns are section 5's measurement (words read from $z_t$, no denoiser), after the study's longer training.
#
# Here neither is worth anything: 88 % whoever reads, with differences below a point and of both signs; while on noisy encodings at $t = 0.3$ the same four decoders read between 64 and 98 % of the words. So the drawn latents are no noisy encodings. The last $\hat x$ of a trained denoiser lies near enough to *some* encoding that any decoder reads it. A forgiving decoder pays where the denoiser leaves something to forgive: on real text, with tens of thousands of words close together, the paper's figures say that it does.
#
# ## 8 · Self-conditioning and confidence
#
# The deck of this course says: *self-conditioning increases confidence, improving performance*. What is confidence? For the best possible estimate, $\hat x = \mathbb E[x \mid z_t]$, the law of total variance says
#
# $$ \underbrace{\mathbb E\,\|x\|^2}_{\text{1 per number, standardised}} = \underbrace{\mathbb E\,\|\hat x\|^2}_{\text{size of the answer}} + \underbrace{\mathbb E\,\|x - \hat x\|^2}_{\text{squared error}} . $$
#
# *Proof.* $x = \hat x + (x - \hat x)$; the cross term is $\mathbb E\big[\hat x \cdot \mathbb E[x - \hat x \mid z_t]\big] = 0$. So **size is confidence**: a mean over many possible texts is short, a certain answer has size 1. No classifier is needed to see how sure a denoiser is. For trained networks, on held-out texts (study, means of three):

# %%
print(pictures.calibration(study))

# %% [markdown]
# The sum should be 1 wherever the network is as good as its answer is long; a sum above 1 is overconfidence. Ours stays within 0.01 of it: the networks are as sure as they have a right to be. Along a *walk* no truth is at hand, but the size can be watched. The network is asked at each step with its last estimate, which came from a noisier time. **Predict:** with more steps, will the size at the end grow or fall?

# %%
from difflm_core.samplers import magnitudes

walks = {}
for steps in lesson.pick((5, 20, 100), (3, 6)):
    walk = sample_latents(
        process, net, (lesson.pick(64, 8), L, D), steps, lesson.generator(17), record=True
    )
    walks[steps] = ([frame.time for frame in walk.trajectory[:-1]], magnitudes(walk).tolist())
show(*pictures.sizes(walks))

# %% [markdown]
# In our run 5 steps end at 0.87, 20 and 100 steps near 0.94. A part of that is trivial: the last call of a walk in $T$ steps is made at $t = 1/T$, where 100 steps leave less noise than 5. So compare at equal $t$: there the curve of 5 steps is lower as well (probably because each call builds on the last answer, and there are fewer calls); from 20 to 100 hardly anything is added, and no curve passes 1. In the paper (Fig. 2 and 3) quality with self-conditioning peaks near 50 steps and then falls, while without it quality rises with the number of steps and peaks lower; and the size grows with the number of steps, past that of the training data. Our study, with two networks per seed:

# %%
show(*pictures.steps(study))
print(pictures.steps_table(study))

# %% [markdown]
# Self-conditioning is worth 17 points at 5 steps and 36 at 50, by far the largest effect of this lesson. Steps beyond 50 bring nothing, and take nothing away (the paper's fall is not seen up to 200). Without self-conditioning the share stops near one half.
#
# And is it *confidence*, as the deck says? On the way, yes, and rightly so (the sums above are 1): at $t = 0.8$ the size is 0.39 with and 0.35 without, at $t = 0.6$ 0.70 and 0.64. At the end, no: there both stand at 0.96 to 0.97, the network without a shade above. What helps, it seems, is certainty that comes *early*: words that are settled at $t = 0.6$ can be agreed with by all others.
#
# Then look at distinct-2: 0.28 with, 0.32 without, and 0.32 in true sentences. (The 0.32 without is no merit: half of those sentences are broken, and bring pairs of their own.) A part of the certainty is paid with variety; the sentences are 1.1 nats likelier than true ones. A sampler that is surer than the language is not a better model of it.
#
# ## 9 · On real text
#
# The same code reads BERT-like encoders. Without a hub there is MiniLM (6 layers of 384 numbers); its archive is fetched once:
#
# ```python
# from difflm_core.models import load_encoder
# encoder = load_encoder()                        # or load_encoder("bert-base-cased") with the hub
# ```
#
# ```
# python -m difflm_core.training tencdm-wikipedia
# ```
#
# trains decoder and denoiser on Wikipedia sentences ($d = 9$, a decoder and a denoiser of width 128); the result comes with the course, `course_latents("tencdm-wikipedia")` of `difflm_core.training.latent_checkpoints`. MiniLM's states show their words without any tuning: the decoder reads 92 % of the word pieces of new sentences (lesson 06, section 11, and the card). For frozen-encoder latents there is no bound on the likelihood of words, so real text is judged by samples: perplexity of a judge *with* diversity, MAUVE, and human text on the same scale.
#
# ## 10 · Exercises
#
# From one line to an open question. A check prints what it found and names the usual mistakes; `ex5_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises.lesson_05 import ex5_1, ex5_2, ex5_3, ex5_4, ex5_5

# %% [markdown]
# ### Exercise 5.1 · 4 min · difficulty 1/5 · Half of the signal
# *Importance 3/5: the one number by which schedules of this family are told apart.*
#
# At which $t$ does tan-d have $\alpha = \tfrac12$? (`math.atan`)


# %%
def half_time(d):
    """Exercise 5.1: the time at which alpha of tan-d is one half."""
    ### BEGIN SOLUTION
    return 2 / math.pi * math.atan(1 / d)
    ### END SOLUTION


# %%
ex5_1.run(half_time)
half_time = ex5_1.answer_or_reference(half_time)
print(
    "half of the signal is left at t =", ", ".join(f"{half_time(d):.3f} (d = {d})" for d in (1, 3, 5, 9))
)

# %% [markdown] tags=["solution"]
# **Why.** $\alpha = \tfrac12$ where $d^2 \tan^2(\pi t/2) = 1$. With $d = 9$ only 7 % of $[0, 1]$ has more signal than noise. That sounds extreme and is not: in 768 numbers a word can be read long after the noise has the upper hand.

# %% [markdown]
# ### Exercise 5.2 · 5 min · difficulty 2/5 · Another width
# *Importance 4/5: how to begin the sweep when the encoder changes.*
#
# A schedule with $d$ suits vectors of $D$ numbers. Which $d$ hides as many words at every $t$ if the vectors have `new_D` numbers (all independent)?


# %%
def d_for_width(d, D, new_D):
    """Exercise 5.2: the d for vectors of new_D numbers."""
    ### BEGIN SOLUTION
    return d * math.sqrt(new_D / D)
    ### END SOLUTION


# %%
ex5_2.run(d_for_width)
d_for_width = ex5_2.answer_or_reference(d_for_width)
print(
    "tan-9 at 768 numbers is",
    ", ".join(f"tan-{d_for_width(9, 768, width):.1f} at {width}" for width in (96, 384, 1024)),
)

# %% [markdown] tags=["solution"]
# **Why.** $D$ independent looks at a word with one SNR are worth one look with $D \cdot \mathrm{SNR}$; on tan-d that is $D/d^2$ times a function of $t$. Encodings are not independent numbers, so the effective dimension of section 3 belongs in the place of $D$; and the number of words matters as well. Sweep $d$; this is where to start.

# %% [markdown]
# ### Exercise 5.3 · 8 min · difficulty 2/5 · Encodings
# *Importance 4/5: two of the three cases are forgotten in nearly every first attempt.*
#
# States `h` $(B, L, D)$, `mask` $(B, L)$ (True at tokens), `ids` $(B, L)$ to latents, without looking at section 3: words standardised with `mean` and `deviation` $(D,)$; each id of `special` (a dict id → embedding) by its embedding, scaled to mean square 1; padding 0. Padding may carry any id.


# %%
def to_latents(h, mask, ids, mean, deviation, special):
    """Exercise 5.3: latents (B, L, D)."""
    ### BEGIN SOLUTION
    z = torch.zeros_like(h)
    z[mask] = ((h - mean) / deviation)[mask]
    for i, vector in special.items():
        z[mask & (ids == i)] = vector / vector.square().mean().sqrt()
    return z
    ### END SOLUTION


# %%
ex5_3.run(to_latents)

# %% [markdown] tags=["solution"]
# **Why.** The state of a special token differs from text to text and tells the denoiser nothing that it must generate at that place; one fixed vector is an easy word among others. Mean square 1 is the size of everything else. Padding comes last, because it has an id, often that of a special token.

# %% [markdown]
# ### Exercise 5.4 · 10 min · difficulty 3/5 · The decoder's loss
# *Importance 5/5: two lines that in the paper are worth more than a transformer in place of the MLP.*
#
# `decoder(z)` gives logits $(B, L, V)$, `x` are clean latents $(B, L, D)$, `alpha_of(t)` is the diffusion's schedule for times $(B,)$. Draw one $t \sim U[0, t_{\max}]$ per text, corrupt, return $-\log p(w)$ for each word, $(B, L)$. Use `generator` for all draws.


# %%
def noisy_decoder_loss(decoder, x, ids, alpha_of, t_max, generator=None):
    """Exercise 5.4: nats per word, (B, L)."""
    ### BEGIN SOLUTION
    t = t_max * torch.rand(len(x), generator=generator)
    alpha = alpha_of(t)[:, None, None]
    z_t = alpha.sqrt() * x + (1 - alpha).sqrt() * torch.randn(x.shape, generator=generator)
    return F.cross_entropy(decoder(z_t).transpose(1, 2), ids, reduction="none")
    ### END SOLUTION


# %%
ex5_4.run(noisy_decoder_loss)

# %% [markdown] tags=["solution"]
# **Why.** Noise and signal by the diffusion's own schedule, so that "$t = 0.15$" means to the decoder what it means to the sampler. One $t$ per text, not per batch: each batch then covers the range. With $t_{\max} = 1$ the decoder would spend itself on texts that are gone, and become a second denoiser.

# %% [markdown]
# ### Exercise 5.5 · 20 min · difficulty 4/5 · A schedule from the language
# *Importance 4/5: the rule of thumb behind every schedule of these lessons, made exact.*
#
# "Each $t$ should hide about equally much." Given is a curve: `share` $(N,)$ of words that can be read at `log_snr` $(N,)$, both rising. Return the log-SNR at the times `t` $(T,)$ so that the readable share falls **in a straight line** from its largest value at $t = 0$ to its smallest at $t = 1$. No $d$, no formula. (`numpy.interp(at, x, y)` for rising `x`.)
#
# Then, open: build a schedule from section 5's curve of *transformer + Cor* and train with it. Does it beat tan-3? What would have to be in the curve that is not?


# %%
import numpy as np


def even_schedule(log_snr, share, t):
    """Exercise 5.5: log-SNR (T,) at times t (T,), for a curve of readable shares."""
    ### BEGIN SOLUTION
    wanted = share[-1] + (share[0] - share[-1]) * t
    return torch.from_numpy(np.interp(wanted.numpy(), share.numpy(), log_snr.numpy()))
    ### END SOLUTION


# %%
ex5_5.run(even_schedule)
even_schedule = ex5_5.answer_or_reference(even_schedule)
grid = torch.linspace(-9, 6, 61, dtype=torch.float64)
noise = vector_noise(recoverable_study, 64)
share = noise.readable(torch.sigmoid(grid)) + 1e-6 * torch.arange(61)  # rising, also where it is flat
even = even_schedule(grid, share, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
tan = [
    GaussianProcess(ShiftedCosine(d)).log_snr(torch.tensor([0.25, 0.5, 0.75])) for d in (1.0, 3.0, 9.0)
]
for name, values in (("even, D = 64", even), ("tan-1", tan[0]), ("tan-3", tan[1]), ("tan-9", tan[2])):
    print(
        f"{name:14s}log-SNR at t = 0.25, 0.5, 0.75: "
        + "  ".join(f"{value:6.2f}" for value in values.tolist())
    )

# %% [markdown] tags=["solution"]
# **Why.** Ask for the share first, then look up where the curve has it: the inverse function, with the roles of x and y exchanged. Two things are not in the curve: how hard it is to *learn* what can be known in principle, and that a sampler's errors at high noise are carried on while those at low noise are not. Later systems measure the network's own loss instead, and adapt while they train.

# %%
summary()

# %% [markdown]
# ## 11 · Scale it up
#
# The paper's run: BERT-base-cased states (768 numbers), a denoiser of 12 layers of 768 with long skips between its halves, a decoder of 3 layers, $d = 9$, AdamW, learning rate 2e-4, batch 512, 200,000 steps, EMA 0.9999, texts of 64 tokens (ROCStories) or 128 (Wikipedia), 50 sampling steps. It needs a GPU, the hub, and a copy of the data:
#
# ```
# python -m difflm_core.training tencdm-rocstories
# ```

# %%
trunk = 12 * 12 * 768**2
positions = 200_000 * 512 * 64
denoiser_flops = 6 * trunk * positions * 7 / 6  # half of the batches make a first pass without gradient
encoder_flops = 2 * trunk * positions  # nothing, where states are stored
for name, flops in (("denoiser", denoiser_flops), ("encoder, if states are not stored", encoder_flops)):
    print(
        f"{name:36s}{flops:.1e} FLOPs, {flops / (0.4 * 989e12) / 3600:4.1f} H100-hours at 40 % of 989 TFLOP/s (an assumption)"
    )
print(
    f"parameters of the denoiser's trunk: {trunk / 1e6:.0f} M, {16 * trunk / 1e9:.1f} GB with gradients and optimiser in float32"
)
print(f"states of one million texts of 64 tokens in half precision: {1e6 * 64 * 768 * 2 / 1e9:.0f} GB")

# %% [markdown]
# What to expect on ROCStories (1,000 texts, five repeats; perplexity by GPT-2 Large / MAUVE / diversity): TEncDM 29.1 / .762 / .295, on BERT *embeddings* 48.9 / .600 / .324, source texts 21.7 / .876 / .403. The released code scores with another judge and trims the extremes, so its numbers are not the paper's.
#
# Two differences from the released code. Its sampler is Euler on the reverse SDE, with the rate read at $t \le 0.95$; ours draws from the posterior (`euler_step()` is there to compare). And its decoder reads encodings on the encoder's own scale; ours reads them standardised, which its first linear map can undo.
#
# ## 12 · What to remember
#
# 1. A canvas must show its words: probe the states before you build on them; what the last layer shows depends on the loss that trained it.
# 2. One number $d$ lowers the log-SNR by $2 \log d$ at every $t$; the right one grows with the root of the (effective) width, so sweep it and watch which share of words can be read at each $t$.
# 3. A decoder learns to forgive by training on the diffusion's own noise; measure on drawn latents what that is worth (in the paper much, here nothing). And the size of $\hat x$ is its confidence.
#
# **Five quick questions**
#
# <details><summary>1. Why does the denoiser have no attention mask?</summary>
# Because the length is not known before the text is there. Padding (zeros) is generated like everything else, and the loss covers all positions.
# </details>
#
# <details><summary>2. You replace BERT-base (768) by a model of 3,072 numbers per token. Where do you start with d?</summary>
# At twice the value: D/d² stays the same. Then sweep.
# </details>
#
# <details><summary>3. An estimate has mean square 0.4 at t = 0.5, and the data has 1. What is its squared error, if it is the posterior mean?</summary>
# 0.6 per number, exactly: the two add up to 1.
# </details>
#
# <details><summary>4. Your decoder reads 100 % of the words back from clean encodings. Is the autoencoder good?</summary>
# For copying. Whether what a sampler draws can be read is another question; ask it with noisy encodings, or with drawn ones.
# </details>
#
# <details><summary>5. A colleague compares two decoders by sampling twice, once with each. What do you say?</summary>
# Let both read the same drawn latents: then the difference is the decoder's, and not that of two draws.
# </details>
#
# **Sources.** Shabalin, Meshchaninov et al. 2024, *TEncDM: understanding the properties of the diffusion model in the space of language model encodings* (arXiv 2402.19097, AAAI 2025): sections 5.1 to 5.3, Eq. 1, Tables 1 to 3, Fig. 2 to 4; its released code (special tokens, long skips, sampler, the "cosine"). Chen, Zhang, Hinton 2022 (2208.04202), self-conditioning.
# Devlin et al. 2019 (1810.04805), BERT's masking. The probes, the effective dimension, the exchange of schedules and the tuning of the encoder are worked out here. Next in the course: lesson 06, COSMOS, which asks what makes a latent space easy to diffuse, and makes it small again.
