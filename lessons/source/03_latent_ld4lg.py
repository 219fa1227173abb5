# %% [markdown]
# # 03 · LD4LG: can a frozen language model's states be the canvas?
#
# **Minutes** 55 to read, about 4 of computing on 2 CPU cores · **Prerequisites** lesson 01 (Gaussian diffusion: posterior, x-, eps- and v-prediction) and lesson 02 (Diffusion-LM: words as vectors, self-conditioning)
#
# Diffusion-LM gave each word a vector and diffused all of them: as many vectors as words, and each knows nothing of its neighbours. Images had taught another way, diffusion in the *latent space* of an autoencoder. LD4LG (Lovelace et al. 2023; the deck of this course
# calls it LD4TG) does the same for text: a pretrained language model reads the text, a small network **compresses** its states into a few vectors, diffusion learns to fill *these*, and the same language model **writes** what they say, word by word.
#
# **The question of this lesson.** Can the states of a frozen language model be the canvas of diffusion? How few numbers will do, and who then writes the text: diffusion, or the language model?
#
# After this lesson you can
# - build a bottleneck between a frozen encoder and a frozen decoder, and say why its latents have one fixed length,
# - train and sample diffusion on latents: the part that this lesson and the next three share, with $v$-prediction, self-conditioning and classes,
# - tell how much of a text's quality comes from the latents and how much from the decoder,
# - say what a good reconstruction promises for generation, and what it does not.
#
# Nothing is downloaded: the toy language of lesson 02 (114 words, every probability known), and the course checkpoint `mdlm-tiny`.

# %%
import time

import torch

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.pictures import lesson_03 as pictures
from difflm_core.classroom.sentences import compared, sentence
from difflm_core.data.toy_language import COLOURS, GRAMMAR, toy_language
from difflm_core.oracle.grammar_labels import feature_value
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=3)
language = toy_language()
V, L = language.V, language.length  # 114 words; sentences of 12
word = language.words.__getitem__
encoder, _ = course_checkpoint("mdlm-tiny")  # a masked language model: it was trained to fill blanks
encoder.eval()
D = encoder.config.width
print(
    f"encoder: {sum(p.numel() for p in encoder.parameters()):,} parameters; {L} states of {D} numbers per text"
)

# %% [markdown]
# ## 1 · What does a state know?
#
# The first word of a sentence is often "the", and "the" does not say whether one fox follows or many. We take 400 sentences that begin with it, and look at two vectors of this very word: its embedding (a row of a table, as in lesson 02) and its *state*, what the language model's last layer has at this place.
#
# **Predict:** in the embedding "the" is one point. What will its 400 states look like?

# %%
texts = language.sample(3000, generator=lesson.generator(1))
texts = texts[texts[:, 0] == language.words.index("the")][:400]
with torch.no_grad():
    states_of_the = encoder.hidden(texts)[:, 0]  # (400, D)
show(*pictures.the_word(states_of_the, feature_value(GRAMMAR, "subject number", texts)))

# %% [markdown]
# One word, and its states fall into two clouds, sorted by something that stands elsewhere in the sentence. (Half of the 400 placed the line; the other half are drawn.) To fill blanks a model must carry what its neighbours say, and what it carries lies open in its states. That is the idea of this lesson and the three after it: **let a pretrained model do the
# understanding, and let diffusion work on vectors in which it has already been done.**
#
# ## 2 · The plan, and its three relatives
#
# ```
#            frozen            trained                        trained              frozen
#   text ──► encoder ──► h ──► resampler ──► x  ┊  x ──► reconstruction ──► decoder ──► text
#            (B, L)    (B, L, D)         (B, N, D_ae)         (B, N, D)     word by word
#                                               ┊
#                              diffusion learns to draw x from noise
# ```
#
# $N$ latents of $D_{ae}$ numbers each, whatever the length of the text. The paper has $N = 32$, $D_{ae} = 64$ for texts of up to 64 tokens, 2,048 numbers in place of up to $64 \cdot 768 = 49{,}152$: a compression of 24.
#
# Lessons 03 to 06 are four such systems. They share the noise process, the denoising network, the sampler and the way of judging; **they differ only in the autoencoder**:
#
# | lesson | latents (in the paper) | frozen | trained | loss of the autoencoder | decoder writes | numbers per text |
# |---|---|---|---|---|---|---|
# | **03 LD4LG** ◄ | $N \times D_{ae}$ = 32 × 64 | encoder *and* decoder of one model | a bottleneck between them | cross-entropy | word by word | 2,048 |
# | 04 PLANNER | $k \times h$ = 16 × 1024 | nothing | encoder and decoder (a VAE) | cross-entropy + β KL | word by word | 16,384 |
# | 05 TEncDM | $L \times D$ = 64 × 768 | encoder | decoder | cross-entropy, on noisy states | all words at once | 49,152 |
# | 06 COSMOS | $N \times D$ = 16 × 768 | encoder | compressor, decompressor | cross-entropy + MSE, perturbed | all words at once | 12,288 |
#
# ## 3 · A language model that can write what it has read
#
# The frozen model must have two halves: an encoder that reads a text, and a decoder that writes one while it looks at the encoder's states. BART, which the paper uses, was pretrained as a **denoising autoencoder**: it reads a text of which parts are hidden, and writes the whole text. We do the same on a small scale. The encoder starts as
# `mdlm-tiny`, the decoder is new; 30 % of the words are hidden.
#
# Why not leave `mdlm-tiny` as it is? Its loss looks only at *hidden* words, so its last states need not say which visible word stands where. BART's loss asks for every word. We measure it with a linear map from states to words, before and after.
#
# **Predict:** how many of the words that stand in plain sight can a linear map read from the states before? And can BART's loss go to 0?

# %%
from difflm_core.data import language_batches
from difflm_core.models import DecoderConfig, LatentDecoder
from difflm_core.processes import masked
from difflm_core.training import corrupted, pretrain_seq2seq

torch.manual_seed(3)
decoder = LatentDecoder(DecoderConfig(V, L, D, width=64, layers=2))
hide = corrupted(masked(V), 0.3, lesson.generator(2))
readable_before = pictures.words_read(encoder, language.sample(1500, generator=lesson.generator(20)))
lm_losses = pretrain_seq2seq(
    encoder, decoder, language_batches(language, 64, lesson.generator(3)), hide, lesson.pick(400, 15)
)
readable_after = pictures.words_read(encoder, language.sample(1500, generator=lesson.generator(20)))
floor = pictures.hidden_floor(language, hide, lesson.pick(400, 16), lesson.generator(4))
print(
    f"words that a linear map reads from the states: {readable_before:.0%} before, {readable_after:.0%} after"
)
tail = lm_losses[-20:]
print(
    f"at the end {sum(tail) / len(tail):.3f} nats per word; the best that is possible is about {floor:.3f}"
)

# %% [markdown]
# It cannot: hidden words can only be guessed, and what is left to guess has an exact price here, the last number. (The linear map before: a masked language model carries what it needs at the *blanks*, and a good part of the words in plain sight is no longer to be read off.) From now on **both halves are frozen**. All that is trained later stands between them.
#
# ## 4 · The bottleneck
#
# How do you turn $L$ states into $N$ latents, for any $L$? With **learned queries**. Start from $N$ vectors $Z$ that are parameters, and let them look at the text, a few layers deep (the Perceiver resampler):
#
# $$ Z \leftarrow Z + \mathrm{attention}\big(\text{queries } Z,\; \text{keys and values } [Z; h]\big), \qquad Z \leftarrow Z + \mathrm{MLP}(Z) .$$
#
# Keys and values are the *concatenation* $[Z; h]$: in one softmax the latents share out their attention between the text and each other, so that two of them need not say the same thing. At the end a linear map leaves $D_{ae}$ numbers of each, and the **norm constraint** sets their size,
#
# $$ \lVert x_i \rVert^2 = D_{ae} . $$
#
# **Predict:** why this number? (What is the mean of $\lVert \epsilon \rVert^2$ for $\epsilon \sim \mathcal N(0, I)$ in $D_{ae}$ dimensions?)
#
# Here it is from scratch; `block` and `net` hold the weights.


# %%
def perceiver_layer(block, z, h):
    """One layer: latents z (B, N, W) look at themselves and at the text h (B, L, W)."""
    B, N, W = z.shape
    heads = block.attention.heads

    def split(x):
        return x.view(B, -1, heads, W // heads).transpose(1, 2)  # (B, heads, ., W / heads)

    own = block.norm(z)
    memory = torch.cat([own, block.norm_memory(h)], dim=1)  # (B, N + L, W)
    keys, values = block.attention.kv(memory).chunk(2, dim=-1)
    q = block.attention.norm_q(split(block.attention.q(own)))
    k = block.attention.norm_k(split(keys))
    weights = (q @ k.transpose(-1, -2) / (W // heads) ** 0.5).softmax(-1)  # (B, heads, N, N + L)
    seen = (weights @ split(values)).transpose(1, 2).reshape(B, N, W)
    z = z + block.attention.out(seen)
    return z + block.mlp(block.norm_mlp(z))


def resample(net, h):
    """States h (B, L, D) of any length -> latents (B, N, D_ae) on a sphere."""
    states = net.input(h) + net.position.weight[: h.shape[1]]  # which word stands where
    z = net.queries.weight.expand(len(h), -1, -1)  # the same N queries for every text
    for block in net.blocks:
        z = perceiver_layer(block, z, states)
    x = net.output(net.norm(z))
    return x * x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True)  # |x_i|^2 = D_ae


# %%
from difflm_core.models import LD4LG, PerceiverConfig

N, D_ae = 8, 16
ld4lg = LD4LG(PerceiverConfig(D, L, N, D_ae, width=64, layers=2), decoder)
held_out = language.sample(lesson.pick(512, 64), generator=lesson.generator(5))
with torch.no_grad():
    h = encoder.hidden(held_out)  # (B, L, D)
    ours, core = resample(ld4lg.resampler, h), ld4lg.encode(h)
    shorter = resample(ld4lg.resampler, h[:, :5])
noise = torch.randn(10_000, D_ae, generator=lesson.generator(6)).square().sum(-1)
print(
    f"{L} states of {D} ({L * D:,} numbers) become {tuple(core.shape[1:])} = {N * D_ae}: {L * D / (N * D_ae):.0f} times fewer"
)
print(f"|eps|^2 in {D_ae} dimensions: {noise.mean():.2f} on average, deviation {noise.std():.2f}")

# %%
# NBVAL_CHECK_OUTPUT
print("our resampler equals the package's:", torch.allclose(ours, core, atol=1e-4))
print(
    "every latent has the size of the noise:",
    torch.allclose(core.square().sum(-1), torch.tensor(float(D_ae)), atol=1e-3),
)
print("a text of five words has as many latents:", shorter.shape == core.shape)

# %% [markdown]
# Signal and noise meet at one size: at $\alpha_t = \frac12$ half of the variance of $z_t$ is signal, for every latent of every text, and no statistics of a training set were needed. (The paper uses the constraint with BART; with FLAN-T5 it hurt, and they left it away. TEncDM and COSMOS standardise instead.)
#
# The way back is plain: a linear map makes latents wide, positions are added, a small transformer looks at all of them, and the decoder attends to the result as if it came from the encoder. Resampler and reconstruction are trained together, through the frozen decoder, on
#
# $$ \mathcal L_{ae} = -\log p_{\mathrm{decoder}}\big(w \mid g(f(h(w)))\big) , $$
#
# cross-entropy and nothing else: no KL term, so nothing but the sphere says where latents lie. Now the training.

# %%
from difflm_core.training import state_batches, train_ld4lg

batches = state_batches(encoder, language_batches(language, 64, lesson.generator(7)))
ae_losses = train_ld4lg(ld4lg, batches, lesson.pick(450, 15))


def count(part):
    return sum(p.numel() for p in part.parameters())


print(
    f"trained: {count(ld4lg.resampler) + count(ld4lg.reconstruction):,} parameters; frozen: {count(encoder) + count(decoder):,}"
)
show(*pictures.losses(lm_losses, ae_losses, floor, language.entropy() / L))

# %% [markdown]
# **Does the text come back?** And a control that is easily forgotten: an autoregressive decoder is a language model, and could write fluently without listening. So each text is also written from the latents of *another* text.

# %%
from difflm_core.evaluation.latents import shuffled, use_of_latents
from difflm_core.samplers import write_texts

with torch.no_grad():
    latents = ld4lg.encode(h)
others = shuffled(latents, lesson.generator(8))
for name, given in {"its own latents": latents, "another text's": others}.items():
    print(f"written from {name:16s}", use_of_latents(ld4lg, given, held_out))
own_texts, other_texts = write_texts(ld4lg, latents).tokens, write_texts(ld4lg, others).tokens
rows = [("text", sentence(held_out[0], word, V))]
rows += [("its own latents", compared(own_texts[0], held_out[0], word, V))]
rows += [("another's latents", compared(other_texts[0], held_out[0], word, V))]
samples_table(rows, title="Written by the frozen decoder", head=("from", "text", ""))

# %% [markdown]
# The decoder listens: with another's latents it writes another's text. (*exact*: whole texts that come back word for word.) How small may the bottleneck be? The stored study trains four sizes, longer and with three seeds, and a row without any bottleneck, where the decoder reads all states.

# %%
study = load_results("ld4lg")
print(pictures.reconstruction_table(study))

# %% [markdown]
# One latent of 16 numbers brings a fifth of the text (by BLEU), eight bring nearly all of it, in a ninth of the numbers; and at no size does another's text slip through. The paper sees the same rise and then a plateau: BLEU 92.4 at 32 × 32, 97.6 at 32 × 64, 97.7 at 64 × 64.
#
# ## 5 · Diffusion on latents: the part that four lessons share
#
# From here on texts are out of sight. There are latents $x$ (B, N, D_ae), and everything is lesson 01:
#
# $$ z_t = \sqrt{\alpha_t}\, x + \sqrt{1 - \alpha_t}\, \epsilon , \qquad \alpha_t = \cos^2(\pi t / 2) . $$
#
# Four choices remain.
#
# **What does the network predict?** LD4LG predicts $v = \sqrt{\alpha_t}\,\epsilon - \sqrt{1-\alpha_t}\,x$. Together with $z_t$ it is a rotation of $(x, \epsilon)$, so the way back is one too, and nothing is divided:
#
# $$ \begin{pmatrix} z_t \\ v \end{pmatrix} = \begin{pmatrix} \sqrt{\alpha_t} & \sqrt{1-\alpha_t} \\ -\sqrt{1-\alpha_t} & \sqrt{\alpha_t} \end{pmatrix} \begin{pmatrix} x \\ \epsilon \end{pmatrix}
# \quad\Longrightarrow\quad \hat x = \sqrt{\alpha_t}\, z_t - \sqrt{1-\alpha_t}\, \hat v . $$
#
# Subtract the same for the true $v$: $\hat x - x = -\sqrt{1-\alpha_t}\,(\hat v - v)$, so $\lVert \hat v - v\rVert^2 = \frac{1}{1-\alpha_t} \lVert \hat x - x \rVert^2 = (1 + \mathrm{SNR})\,\lVert \hat x - x\rVert^2$: the $v$-loss is the $x$-loss with a weight that is 1 in pure noise and large near the data. TEncDM and COSMOS, with many more numbers per text, predict $x$ itself.
#
# **Self-conditioning.** Lesson 02 showed the trick: hand the network its last estimate as a further input. One thing is new. What is handed on is an estimate of $x$, so a $v$-network's answer must be turned round first.
#
# **What is the network told of the noise?** LD4LG tells it $\alpha_t$, not $t$: then it does not matter which schedule led to this level. The package's `by_level(net, process)` does it; below we try what it is good for.
#
# **How large is the fresh noise in a step?** Given $\hat x$ the posterior of lesson 01 has variance $\frac{1-\alpha_s}{1-\alpha_t}(1 - \alpha_{t|s})$; LD4LG takes the larger $1 - \alpha_{t|s}$ (DDPM's other choice).
#
# The loss from scratch, with both passes of self-conditioning:


# %%
def v_loss(process, net, x, t, generator):
    """(B, N, D_ae) squared errors; net(z_t, t, previous) answers v, previous is an estimate of x or None."""
    alpha = process.alpha(t).float()[:, None, None]
    signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
    eps = torch.randn(x.shape, generator=generator)
    z_t = signal * x + noise * eps
    previous = None
    if torch.rand(1, generator=generator) < 0.5:  # every other batch: ask twice at the same z_t and t
        with torch.no_grad():  # the first answer is a constant
            previous = signal * z_t - noise * net(z_t, t, None)  # v -> x
    return (net(z_t, t, previous) - (signal * eps - noise * x)) ** 2


# %%
from difflm_core.models import LatentConfig, LatentDenoiser
from difflm_core.objectives import latent_loss
from difflm_core.processes import GaussianProcess, ShiftedCosine

process = GaussianProcess(ShiftedCosine(1.0))  # alpha = cos^2(pi t / 2)
torch.manual_seed(3)
net = LatentDenoiser(LatentConfig(D_ae, N, width=96, layers=3, labels=len(COLOURS)))
for linear in net.previous:  # zeros in a fresh network: for the comparison it shall look at its estimate
    torch.nn.init.normal_(linear.weight, std=0.1)
t = torch.linspace(0.01, 1, len(latents))
agree, told = [], 0
with torch.no_grad():
    for seed in range(4):
        mine = v_loss(process, net, latents, t, lesson.generator(seed))
        core = latent_loss(process, net, latents, t, "v", lesson.generator(seed))
        blind = latent_loss(process, net, latents, t, "v", lesson.generator(seed), self_conditioning=0.0)
        agree.append(torch.allclose(mine, core, atol=1e-3))
        told += not torch.allclose(core, blind, atol=1e-3)

# %%
# NBVAL_CHECK_OUTPUT
print("the loss equals the package's in four batches:", all(agree))
print("some of them saw an estimate, some did not:", 0 < told < 4)

# %% [markdown]
# The network is the transformer of lesson 02 on vectors; the estimate enters before each block through a linear map (LD4LG joins it to the input once, TEncDM and COSMOS do it as here). It also knows a class, the colour of the subject, with one more row for *no class*: section 8 needs it. In training the class is hidden one time in ten.
#
# **Predict:** half of $z_t$'s variance is noise on average. Where will the loss go, and can it reach 0?

# %%
from difflm_core.training import train_latent_denoiser


def labelled_latents(seed, size=64):
    """Endless (latents, colour of the subject)."""
    for batch in state_batches(encoder, language_batches(language, size, lesson.generator(seed))):
        with torch.no_grad():
            x = ld4lg.encode(batch.h)
        yield x, feature_value(GRAMMAR, "colour", batch.ids)


torch.manual_seed(3)
net = LatentDenoiser(LatentConfig(D_ae, N, width=96, layers=3, labels=len(COLOURS)))
losses = train_latent_denoiser(
    net, process, labelled_latents(9), lesson.pick(800, 20), kind="v", generator=lesson.generator(10)
)
tail = losses[-len(losses) // 5 :]
print(
    f"{count(net):,} parameters; squared error of v per number: {losses[0]:.3f} at first, {sum(tail) / len(tail):.3f} at the end"
)

# %% [markdown]
# (It cannot reach 0: from a noisy latent the text is only partly known.) Now we sample: noise, 50 steps of the network, and the frozen decoder writes what the last $\hat x$ says. Beside it: random points of the sphere, written by the same decoder. That is what the decoder makes of latents that mean nothing.
#
# **Predict:** the decoder has learned to write correct sentences only. Will it write them from random points too?

# %%
from difflm_core.evaluation import distinct_n, position_entropy
from difflm_core.models import on_sphere
from difflm_core.samplers import large_step, sample_latents

count_of = lesson.pick(300, 24)
shape = (count_of, N, D_ae)
drawn = sample_latents(process, net, shape, lesson.pick(50, 5), lesson.generator(11), "v", large_step)
random = on_sphere(torch.randn(shape, generator=lesson.generator(12)))
written = {
    "true texts": language.sample(count_of, generator=lesson.generator(13)),
    "diffusion": write_texts(ld4lg, drawn.x).tokens,
    "random latents": write_texts(ld4lg, random).tokens,
}


def judge(tokens):
    """Grammar never without variety: a sampler may only have become narrower."""
    right = language.grammatical(tokens).double().mean().item()
    return f"grammatical {right:6.1%}   distinct-2 {distinct_n(tokens, 2):.3f}   spread {position_entropy(tokens, V):.2f} nats"


for name, tokens in written.items():
    print(f"{name:16s}{judge(tokens)}")
samples_table(
    [
        (
            name,
            sentence(tokens[i], word, V),
            "✓" if bool(language.grammatical(tokens[i : i + 1])) else "✗",
        )
        for name, tokens in written.items()
        for i in range(3)
    ],
    title="Three of each",
    head=("", "text", "grammar"),
)
print(
    f"calls per text: {int(drawn.network_calls[0])} of the denoiser on {N} latents, {L} of the decoder on one word each"
)

# %% [markdown]
# It does not. The decoder has never written a broken sentence in training, and yet random points make it write them: it was taught to trust its states, and these contradict each other. So the correct sentences, 72 in a hundred (that the three shown are all broken is bad luck), came *through the latents*: diffusion has found points of the sphere where texts are. And it did not find a few of them again and again: distinct-2 and
# spread are a little below those of true texts, not more. In our run about seven texts in ten are correct, as in the stored study (section 7).
#
# **What telling the level is good for.** The network was trained on the cosine schedule. Now noise comes from another one, a cosine shifted by 3 (lesson 02), on which $t = 0.5$ means far more noise. Asked by $t$ the network believes the wrong amount of noise; asked by level it does not notice the change.

# %%
from difflm_core.models import by_level

other = GaussianProcess(ShiftedCosine(3.0))
t = torch.full((len(latents),), 0.3)
error = {}
with torch.no_grad():
    for name, asked in {"by time": net, "by level": by_level(net, other)}.items():
        error[name] = latent_loss(other, asked, latents, t, "v", lesson.generator(14), 0.0).mean().item()
    same_level = other.schedule.alpha(t.double()).sqrt().arccos().mul(2 / torch.pi).float()
    error["own schedule, same level"] = (
        latent_loss(process, net, latents, same_level, "v", lesson.generator(14), 0.0).mean().item()
    )
for name, value in error.items():
    print(f"{name:26s} squared error of v {value:.3f}")

# %%
# NBVAL_CHECK_OUTPUT
print(
    "asked by level, another schedule is no other:",
    abs(error["by level"] - error["own schedule, same level"]) < 1e-3,
)

# %% [markdown]
# Asked by time the error is 0.82, asked by level 0.47, exactly as at this level of its own schedule.
#
# ## 6 · Who writes: the latents or the decoder?
#
# LD4LG's fluency has two sources, and a table with fluency alone cannot tell them apart. (In the paper the decoder also searches with a beam of 4, a penalty for repeating, and no repeated trigram. Here it takes the likeliest word.) The way to find out is to spoil the latents step by step and watch two things: words that are still *those of the text*, and texts that are still
# *correct*.
#
# **Predict:** as noise is added, which falls first? Is there a region where the decoder writes fluently about something else?

# %%
show(*pictures.who_writes(study))

# %% [markdown]
# Two things are to be seen. **At the left end the decoder helps**: these 4 × 16 latents lose about one word in seven, and still more than nine texts in ten are correct. Where the latents leave a word open, the decoder takes one that fits. That is its share, and grammar alone would have credited it to the latents. **To the right both fall together**, and beyond
# $t = 0.3$ the grammar falls faster than the words. There is no region where it writes fluently about something else: noisy latents do not leave it free, they mislead it. A decoder with a strong will of its own, as one pretrained on a large corpus, may behave otherwise; the test is the same.
#
# Try it on the network that you have trained: buttons choose the text, the slider moves the noise. *The denoiser's x̂* is one call of the network on the same $z_t$.

# %% tags=["widget"]
from difflm_core.classroom.widgets_ld4lg import latent_explorer

denoise = process.denoiser(net, "v")
latent_explorer(ld4lg, process, latents[:3], held_out[:3], word, language.grammatical, denoise)

# %% [markdown]
# Up to about $t = 0.2$ hardly a word changes: as in lesson 02, small noise has nothing to teach. The paper keeps the plain cosine for generation, and shifts it for translation (its scale $s = 0.1$ is our `ShiftedCosine(10)`). Lesson 05 makes a method of this.
#
# ## 7 · The paper's ablations, here
#
# Three claims of the paper (1,000 samples of ROCStories): self-conditioning is decisive (MAUVE 0.716 with it, 0.480 without); more steps trade variety for fluency (50 steps: perplexity 52.6, diversity 0.407; 1,000 steps: 25.9 and 0.295); and compression helps (MAUVE 0.716, against 0.605 in the uncompressed states, which are 3.86 times slower to reach their best).
#
# **Self-conditioning, $v$ or $x$, and steps.** **Predict** the order of the three curves, and their slope.

# %%
show(*pictures.by_steps(study))
print(pictures.variance_table(study))

# %% [markdown]
# **Neither of the paper's two directions appears here.** With and without self-conditioning the curves lie within each other's spread; $x$ stays a few points below $v$; and after ten steps hardly anything is gained, so nothing is traded either. One effect is there: at ten steps the *smaller* variance gives more correct texts, at the price of variety; with
# many steps the two agree. A likely reason for the rest: self-conditioning helps a network to keep to what it decided in earlier steps, and four latents of a twelve-word sentence seem to be settled in five or ten. What is wrong then is not repaired by looking again. (Tried: one size of latents, networks of 0.5 M parameters, 1,000 training steps. The paper's effect is from 64 tokens, 2,048 numbers and
# a network of 188 M. Lesson 05, with one latent per word, looks again.)
#
# **Compression.** Every bottleneck got a denoiser of its own, with the same network, steps and batches; and so did the uncompressed states, standardised. **Predict:** the larger the bottleneck the better the reconstruction. And the samples?

# %%
show(*pictures.sizes(study))
print(pictures.uncompressed_table(study))

# %% [markdown]
# Reconstruction goes from nothing to nearly everything, and the share of correct samples *hardly moves*. What moves is the variety. From a single latent the decoder writes mostly correct sentences that resemble each other: a distinct-2 of less than half that of true texts. It hears little, and fills the rest with the usual. From eight latents the texts are nearly as varied as true ones, and as often correct as from one.
# So a small bottleneck does not make bad texts, it leaves the decoder to write them by itself; **a good reconstruction buys content, not correctness**. The paper has the other half of this warning: two nearly perfect autoencoders (BART and FLAN-T5), and samples with a MAUVE of 0.716 and 0.481.
#
# The uncompressed rows: with $v$-prediction clearly worse, with $x$ as good as the bottlenecks. That is the paper's finding for the uncompressed space ($v$ worse, $\epsilon$ unstable, so it takes $x$ there): 1,152 numbers that all speak of the same twelve words are easier to name than to un-noise, as lesson 02 saw for wide embeddings. That compression makes *better* samples we do not see.
#
# What does a call cost?

# %%
wide = LatentDenoiser(LatentConfig(D, L, width=96, layers=3))
with torch.no_grad():
    for name, network, width in (("compressed", net, (N, D_ae)), ("uncompressed", wide, (L, D))):
        z, t = torch.randn(256, *width), torch.full((256,), 0.5)
        network(z, t)
        began = time.perf_counter()
        for _ in range(lesson.pick(8, 2)):
            network(z, t)
        print(
            f"{name:14s}{width[0]:3d} x {width[1]:2d}: {(time.perf_counter() - began) / lesson.pick(8, 2) * 1e3:6.1f} ms per call for 256 texts"
        )

# %% [markdown]
# Eight latents in place of twelve states: a little faster. (The paper has 32 in place of up to 64.)
#
# ## 8 · Asking for a class
#
# Lesson 02 steered a finished model with the gradient of a classifier. Here the network itself was told classes in training, and was told *none* one time in ten. So it knows two answers to the same $z_t$, and **classifier-free guidance** (Ho & Salimans 2022) mixes them:
#
# $$ \tilde x = w\, \hat x(z_t, t, c) + (1 - w)\, \hat x(z_t, t) . $$
#
# $w = 1$ is the conditional model, $w = 0$ ignores the class, and $w > 1$ goes *beyond*: away from what any text has, towards what sets class $c$ apart. It costs two calls per step. The paper takes $w = 2$ for tasks from text to text. Both answers must read the same previous estimate, the mixed one.
#
# **Predict:** what will $w = 4$ do to the share of texts with the wanted colour? To the grammar? To the variety?

# %%
wanted = torch.arange(lesson.pick(160, 16)) % len(COLOURS)  # every colour as often
for w in lesson.pick((1.0, 2.0, 4.0), (2.0,)):
    x = sample_latents(
        process, net, (len(wanted), N, D_ae), lesson.pick(25, 5), lesson.generator(15), "v", large_step,
        label=wanted, weight=w,
    ).x  # fmt: skip
    tokens = write_texts(ld4lg, x).tokens
    hit = (feature_value(GRAMMAR, "colour", tokens) == wanted).double().mean().item()
    print(f"w = {w:g}: wanted colour {hit:6.1%}   {judge(tokens)}")
print("\nthe stored study:")
print(pictures.guidance_table(study))

# %% [markdown]
# Already at $w = 1$ nine texts in ten or more have the colour that was asked for (asked for equally often, the rare ones too), at $w = 2$ nearly all. Beyond that there is little to win and something to lose: variety falls with every $w$, and at $w = 4$ fewer texts are correct than at $w = 1$, in every seed. The paper's $w = 2$ is where it pays here too. Note what was *not* needed: a classifier, its gradients, its noisy training (lesson 02). Note also the price, two calls
# per step, and that the classes must be known before training.
#
# ## 9 · Exercises
#
# From one line to an open question. A check prints what it found and names the usual mistakes; `ex3_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_03
from difflm_core.classroom.exercises.lesson_03 import ex3_1, ex3_2, ex3_3, ex3_4

# %% [markdown]
# ### Exercise 3.1 · 5 min · difficulty 1/5 · From v to x
# *Importance 4/5: every sampler of a v-network does it in each step.*
#
# `z_t` and `v` are $(B, N, D_{ae})$, `alpha` is $(B,)$, the squared signal level. Return the clean latents that this $v$ stands for. (It must work at $\alpha = 0$ too.)


# %%
def v_to_x(z_t, v, alpha):
    """Exercise 3.1: x_hat, (B, N, D_ae)."""
    ### BEGIN SOLUTION
    alpha = alpha[:, None, None]
    return alpha.sqrt() * z_t - (1 - alpha).sqrt() * v
    ### END SOLUTION


# %%
ex3_1.run(v_to_x)

# %% [markdown] tags=["solution"]
# **Why.** $(x, \epsilon) \mapsto (z_t, v)$ is a rotation, so its inverse is the transposed matrix. At $\alpha = 0$ it says $\hat x = -v$: in pure noise the network predicts the latents themselves, with a minus. An $\epsilon$-network has nothing to say about $x$ there.

# %% [markdown]
# ### Exercise 3.2 · 10 min · difficulty 3/5 · A text with padding
# *Importance 4/5: real texts have many lengths, and a batch has one.*
#
# One head, no projections: `z` $(B, N, W)$ are latents, `h` $(B, L, W)$ states, `mask` $(B, L)$ is True at real tokens. Return $\mathrm{softmax}(z\,[z; h]^\top / \sqrt W)\,[z; h]$, with padding unseen and the latents always seen. (No residual, no MLP.)


# %%
def look(z, h, mask):
    """Exercise 3.2: what the latents take from themselves and from the real tokens, (B, N, W)."""
    ### BEGIN SOLUTION
    memory = torch.cat([z, h], dim=1)  # (B, N + L, W)
    seen = torch.cat([mask.new_ones(z.shape[:2]), mask], dim=1)  # (B, N + L)
    scores = z @ memory.transpose(1, 2) / z.shape[-1] ** 0.5
    return scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1) @ memory
    ### END SOLUTION


# %%
ex3_2.run(look)

# %% [markdown] tags=["solution"]
# **Why.** After this step nothing is padded any more: each text is $N$ latents, and diffusion needs no mask. (TEncDM, lesson 05, has one latent per token and must generate padding as well.) Since a latent always sees the latents, no row of scores is empty, not even for a text without a single token.

# %% [markdown]
# ### Exercise 3.3 · 12 min · difficulty 3/5 · The estimate is carried along
# *Importance 5/5: self-conditioning is free in sampling, if it is done right.*
#
# Write the sampler of this lesson. `net(z, t, previous)` predicts $v$; `times` is a list of numbers that falls from 1; `z` is the noise at the first time; `step(process, z, x_hat, s, t, generator)` goes from $t$ to $s$, all times as $(B,)$ tensors. Ask the network once per time, hand it the estimate of the time before (`None` at the first), return the last $\hat x$.


# %%
def carry(process, net, step, times, z, generator=None):
    """Exercise 3.3: the sample, shaped like z."""
    ### BEGIN SOLUTION
    x_hat = None
    for now, following in zip(times, [*times[1:], None]):
        t = torch.full((len(z),), now)
        x_hat = process.to_x(z, net(z, t, x_hat), t, "v")
        if following is not None:
            z = step(process, z, x_hat, torch.full((len(z),), following), t, generator)
    return x_hat
    ### END SOLUTION


# %%
ex3_3.run(carry)
carry = ex3_3.answer_or_reference(carry)
steps = lesson.pick(20, 4)
times = [1 - i / steps for i in range(steps)]
noise = process.prior((24, N, D_ae), lesson.generator(16))
again = carry(process, net, large_step, times, noise, lesson.generator(17)).detach()
print(f"24 texts from your sampler, {steps} steps: {judge(write_texts(ld4lg, again).tokens)}")

# %% [markdown] tags=["solution"]
# **Why.** In training the estimate comes from the same $t$; in sampling it comes from the step before, a little noisier. The paper lives with this difference, and so does everyone since. Handing on $v$ would be far worse: at small $t$ it is nearly the noise.

# %% [markdown]
# ### Exercise 3.4 · 8 min · difficulty 3/5 · Guidance
# *Importance 4/5.*
#
# Return the guided estimate $w\,\hat x(c) + (1 - w)\,\hat x(\text{none})$. `net(z_t, t, previous, label)` predicts $v$; `label` is $(B,)$, a class for each row, and `net.null_label` the number of *no class*; `previous` is the last (guided) estimate; `weight` is the number $w$. `process.to_x(z_t, v, t, "v")` turns $v$ into $\hat x$.


# %%
def guided(process, net, z_t, t, previous, label, weight):
    """Exercise 3.4: x_hat, shaped like z_t, with two calls of the network."""

    ### BEGIN SOLUTION
    def x_hat(label):
        return process.to_x(z_t, net(z_t, t, previous, label), t, "v")

    none = x_hat(torch.full_like(label, net.null_label))
    return weight * x_hat(label) + (1 - weight) * none
    ### END SOLUTION


# %%
ex3_4.run(guided)

# %% [markdown] tags=["solution"]
# **Why.** $\hat x$ is affine in $v$, so one may mix the $v$'s and turn round once: the same number. What must not differ is `previous`. A branch that reads another estimate answers another question, and $w > 1$ would enlarge that difference too.

# %% [markdown]
# ### Exercise 3.5 · 20 min · difficulty 4/5 · A score that fluency cannot fool (open)
# *Importance 5/5: half of what is claimed for latent diffusion rests on an autoregressive decoder.*
#
# Find one number that says how much of a text the *latents* brought. You get what was written from each text's own latents, what was written from another text's latents, and the true texts, all $(B, L)$ ids. The check plays the decoder: one that repeats the text must score 1 (at least 0.96); three that never listen but write perfect sentences must score 0, within 0.04; and the
# more words are lost, the lower the score (with three in ten replaced it is between 0.35 and 0.9).
#
# **Predict:** what does the share of words kept say about a decoder that writes one and the same sentence for ever?


# %%
def content(own, other, truth):
    """Exercise 3.5: a number, 1 if all of the text came through the latents, 0 if none did."""
    ### BEGIN SOLUTION
    kept, chance = (own == truth).double().mean(), (other == truth).double().mean()
    return float((kept - chance) / (1 - chance))
    ### END SOLUTION


# %%
ex3_5 = lesson_03.ex3_5(language)
ex3_5.run(content)
content = ex3_5.answer_or_reference(content)
print(f"the frozen decoder of section 4: content {content(own_texts, other_texts, held_out):.3f}")

# %% [markdown] tags=["solution"]
# **Why.** Sentences of one language agree by chance: "the" stands in the same place, "in" in another. Texts written from another's latents have this chance agreement *for this decoder*, whatever it likes to write. Subtract it, and divide by what was left to gain. (Cohen's kappa has the same form.) BLEU with own and with shuffled latents, as in section 4, is the same idea for texts of different lengths.

# %%
summary()

# %% [markdown]
# ## 10 · On real text
#
# The autoencoder takes the states of any frozen encoder, with a padding mask. On real text the encoder is MiniLM (6 layers, 384 numbers a token, read from a pinned package archive on first use). MiniLM is no BART: it has no decoder, and it was not trained to hand texts on. So a small decoder is pretrained on its states, with some of them hidden, and frozen before the bottleneck is trained.
#
# The whole system in one command, on Wikipedia sentences (resumable between its stages), and a plan of the paper's run (parameters, memory, hours) without running it:
#
# ```
# python -m difflm_core.training ld4lg-wikipedia
# python -m difflm_core.training ld4lg-rocstories --plan
# ```
#
# The first comes with the course as it was trained: `course_latents("ld4lg-wikipedia")` of `difflm_core.training.latent_checkpoints`. Lesson 06, section 11, sets it beside the systems of the next three lessons.
#
# ## 11 · Scale it up
#
# ```
# python -m difflm_core.training ld4lg-rocstories
# ```
#
# (It needs a GPU, and a connection for BART and the stories. The sizes are the paper's; the decoder is pretrained here on BART's states, and is not BART's own.) The paper's configuration: BART-base or FLAN-T5-base, frozen; $N = 32$, $D_{ae} = 64$, 3 + 3 layers of width 768; AdamW at $10^{-4}$, batch 256, 50,000 steps (12.6 hours on one A6000). Denoiser: 12 layers of width 768 with dense
# connections, 188 M parameters, AdamW at $2 \cdot 10^{-4}$ with cosine decay, batch 128, 250,000 steps, EMA 0.9999 (about 35 hours on one A6000). The same shapes with the classes of this lesson, counted without building them:

# %%
with torch.device("meta"):
    big_decoder = LatentDecoder(DecoderConfig(50_265, 64, 768, width=768, layers=6, heads=12))
    big = LD4LG(PerceiverConfig(768, 64, N=32, D_ae=64, width=768, layers=3, heads=12), big_decoder)
    big_net = LatentDenoiser(LatentConfig(64, 32, width=768, layers=12, heads=12, long_skips=True))
print(
    f"bottleneck {(count(big.resampler) + count(big.reconstruction)) / 1e6:.0f} M parameters; the paper says 26 M: its layers are not quite ours"
)
print(
    f"denoiser   {count(big_net) / 1e6:.0f} M parameters; the paper's 188 M has gated MLPs and dense skip connections beside"
)
positions = 250_000 * 128 * 32
flops = 6 * 12 * 12 * 768**2 * positions
print(
    f"denoiser's training: {positions / 1e9:.1f} billion latents, about {flops:.1e} FLOPs in the matrix products"
)

# %% [markdown]
# What it should approach (1,000 samples against 1,000 test texts of ROCStories, 250 steps, MAUVE / perplexity under GPT-2-large / diversity / memorisation):
#
# | | MAUVE | perplexity | diversity | memorised |
# |---|---|---|---|---|
# | human text | .951 | 21.1 | .414 | .362 |
# | Diffusion-LM, 2,000 steps | .043 | 47.3 | .128 | .434 |
# | LD4LG, BART | .716 | 30.6 | .331 | .441 |
# | LD4LG, FLAN-T5 | .481 | 37.5 | .389 | .387 |
# | GPT-2-medium, fine-tuned | .788 | 20.0 | .372 | .688 |
#
# Note the two LD4LG rows: both autoencoders are nearly perfect (BLEU 97.6 and 95.8), and one generates far better than the other. What a latent space needs beyond reconstruction is the question of lesson 06. With classes the paper's samples match texts of their own class with a MAUVE of .75 to .85, and those of others with at most .08.
#
# ## 12 · What to remember
#
# 1. Freeze a language model that can read and write; $N$ learned queries carry its states through a bottleneck of one fixed size; diffusion has only this to fill, with lesson 01's process, $v$- or $x$-prediction, self-conditioning and guidance as for any vectors.
# 2. Fluency is not content. Behind an autoregressive decoder, judge latents by their own text against another's, by what the decoder makes of random ones, and by variety: a tiny bottleneck gives correct and monotonous texts.
# 3. Reconstruction says what latents can carry, not whether diffusion finds them: from a fifth of a text to all of it, the share of correct samples hardly moved here.
#
# **Five quick questions**
#
# <details><summary>1. Why does diffusion cost the same for a text of 5 words and one of 60?</summary>
# The resampler has N learned queries. Each text becomes N latents, whatever its length; padding is left out when the states are read, and is no part of what is generated.
# </details>
#
# <details><summary>2. The latents are constrained to ‖x_i‖² = D_ae. What would happen with ‖x_i‖² = 1?</summary>
# The noise has ‖ε‖² ≈ D_ae. On the same schedule the SNR would be D_ae times smaller at every t: as if the cosine were shifted by √D_ae. Most steps would see pure noise.
# </details>
#
# <details><summary>3. A v-network is self-conditioned on its own raw answer. What is wrong?</summary>
# In training it was shown estimates of x. Its answer is v, at small t nearly the noise. It must be turned into x̂ first.
# </details>
#
# <details><summary>4. A paper reports a low perplexity for latent diffusion with an autoregressive decoder. What else do you want to see?</summary>
# What the decoder writes from random and from shuffled latents; a measure of variety beside the perplexity; and how the decoder searches (beam, penalties), since that alone changes perplexity.
# </details>
#
# <details><summary>5. Why is there no likelihood of texts in this lesson, when Diffusion-LM had a bound?</summary>
# The encoder is deterministic and compresses: a text is one point x, and p(text | x) with a density of points gives no bound on p(text) without extra work. (Diffusion-LM drew x_0 with noise around the words, and that made its bound.)
# </details>
#
# **Sources.** Lovelace et al. 2023, *Latent diffusion for language generation* (arXiv 2212.09462 v2): section 3, Appendices A, E, Tables 1, 2, 3, 4, 5, 10, 11, 13, 14; its released code (where self-conditioning's coin falls once per batch). Chen, Zhang, Hinton 2022 (2208.04202), self-conditioning. Salimans & Ho 2022 (2202.00512), $v$-prediction. Ho & Salimans 2022 (2207.12598), classifier-free guidance.
# Lewis et al. 2020, BART. The exact floor of section 3 and the score of exercise 3.5 are worked out here. Next in the course: lesson 04, the same plan with a variational autoencoder.
