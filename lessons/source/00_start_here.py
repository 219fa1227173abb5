# %% [markdown]
# # 00 · Start here: why generate text by diffusion at all?
#
# **Minutes** 40 to read, about 3 of computing on 2 CPU cores · **Prerequisites** PyTorch: tensors, a training loop, cross-entropy. No other lesson
#
# Nearly every language model of today writes one word after the other, from left to right: it is *autoregressive* (AR). It works very well. Three things are said against it:
#
# 1. it cannot go back to a mistake,
# 2. it does not know what is to come,
# 3. a text of $L$ words takes $L$ calls of the network, one after the other.
#
# A *diffusion* language model works differently. It learns to repair damaged text, and writes by starting from a page of nothing but damage and repairing it in a few rounds.
#
# **The question of this lesson.** Which of the three complaints are true, which of them does diffusion really mend, and what does it pay?
#
# After this lesson you can
# - destroy a sentence in three ways, and say which lesson of the course undoes which,
# - write the training loss and the sampler of an AR model and of a masked diffusion model, about fifteen lines each, and train both,
# - count network calls, and say when fewer calls save time and when not,
# - measure what "cannot think ahead" costs, in nats.
#
# Nothing is downloaded. How to use a lesson: run the cells from top to bottom (Shift+Enter). Where it says **predict**, write down a guess first: a wrong guess that you remember is worth more than a right one that you read.

# %%
import math
from dataclasses import replace

import torch

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import compared, marked, sentence, trajectory
from difflm_core.data.toy_language import toy_language
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=0)

# %% [markdown]
# ## 1 · One language, two ways to write it
#
# The course has a small language of its own, with 114 words and sentences of 12. Two models have learned it: an AR model, and its twin, a masked diffusion model. The two networks have the same size and were trained for the same number of steps.
# Both write one sentence now. The pictures read from top to bottom: a row is the page after so many *network calls* (one run of the network on the page as it is).

# %%
from difflm_core.samplers import ancestral, first_hitting, sample_ar, sample_masked

language = toy_language()
V, L, MASK = language.V, language.length, language.mask_id  # 114 words, numbered 0..113; 12 places; 114 is the mask
word = language.words.__getitem__
ar, _ = course_checkpoint("ar-tiny")  # trained for the course, two minutes each: `ar-tiny` and `mdlm-tiny`
diffusion, _ = course_checkpoint("mdlm-tiny")
ar.eval(), diffusion.eval()


def show_writing(out, calls, title):
    frames = [out.trajectory[k].tokens[0] for k in calls]
    grid = trajectory(frames, word, MASK)
    alt = f"Rows after {', '.join(map(str, calls))} calls; the last one reads: {language.decode(frames[-1])}."
    show(token_grid(grid, [f"{k} call{'s' * (k != 1)}" for k in calls], title), alt)


every_third = (0, 3, 6, 9, 12)
out = sample_ar(ar, (1, L), generator=lesson.generator(1), record=True)
show_writing(out, every_third, "Autoregressive: from left to right, one word per call")
out = sample_masked(diffusion, first_hitting(), (1, L), generator=lesson.generator(2), record=True)
show_writing(out, every_third, "Masked diffusion: anywhere, here one word per call")
out = sample_masked(diffusion, ancestral(4), (1, L), generator=lesson.generator(3), record=True)
show_writing(out, range(len(out.trajectory)), "Masked diffusion in four steps: several words per call")

# %% [markdown]
# Grey: not written yet. Outlined: new in this row. The second and third picture are the same network. It may be asked for one word or for many at a time, and the words come in any order. Look at the third sentence: is it right? (Three rules: the subject, its article and verb and "its/their" agree in number; so do the object and its article; the colour near the end repeats the subject's.)
#
# <details><summary>Answer</summary>
# No, in the picture stored here: white foxes, but a brown den. Both colours were written in the third call, and words of one call do not see each other (section 5).
# </details>
#
# ## 2 · Eight words of vocabulary
#
# **Token.** The piece of text that a model reads and writes. In this lesson a token is a word; large models use pieces of words. **Vocabulary.** The list of all tokens. The network sees their numbers only. One more number, 114, stands for "hidden": the *mask*, written ▢.

# %%
text = "the great brown fox hops over the lazy dog in brown boots"
x = language.encode(text)  # (12,) whole numbers
print(x.tolist())
x_hidden = x.clone()
x_hidden[3] = MASK
print(language.decode(x_hidden))

# %% [markdown]
# **Logits.** What the network answers: one number for every word of the vocabulary, at every place. **Softmax** turns the numbers of one place into probabilities: $p_v = e^{\text{logit}_v} / \sum_u e^{\text{logit}_u}$. A **network call** is one such question and answer, for all places at once.

# %%
with torch.no_grad():
    logits = diffusion(x_hidden[None])  # (1, 12, 114): one sentence, 12 places, a number for each word
p = logits.softmax(-1)[0, 3]  # (114,) the hidden place
for i in p.topk(6).indices.tolist():
    print(f"{word(i):8s} logit {logits[0, 3, i]:6.2f}   probability {p[i]:.3f}")
print(f"'fox' has probability {p[x[3]]:.3f}, so it costs -log p = {-p[x[3]].log():.2f} nats")

# %% [markdown]
# **Nats.** The cost of a word to a model is its surprise, $-\log p(\text{word})$ with the natural logarithm; the unit is the nat. A sure thing costs 0, one of two equal options $\log 2 = 0.69$, one of 114 costs $\log 114 = 4.74$. The mean over many words is the model's *cross-entropy*, the usual training loss.
#
# **Entropy.** The smallest possible mean: what somebody pays who knows all the true probabilities, $H = \sum_v p_v\,(-\log p_v)$. **Perplexity** is $e^{\text{nats per word}}$: "as unsure as between so many equal options". Four options with probabilities $\frac12, \frac14, \frac18, \frac18$, by hand:
#
# $$H = \tfrac12 \log 2 + \tfrac14 \log 4 + 2 \cdot \tfrac18 \log 8 = \tfrac74 \log 2 = 1.213 \text{ nats}, \qquad e^{H} = 3.36 .$$
#
# For real text nobody knows the entropy. For our language it can be computed, and this is why the course uses it: **every claim can be held against the truth.**

# %%
four = torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8])
H = -(four * four.log()).sum()
exact = language.entropy() / L
print(f"four options: entropy {H:.3f} nats, perplexity {H.exp():.2f}")
print(f"one of 114 words, blindly: {math.log(V):.3f} nats, perplexity {V}")
print(f"our language: {exact:.4f} nats per word, perplexity {math.exp(exact):.2f}. On average no model can be better")

# %% [markdown]
# ## 3 · Three ways to destroy a sentence
#
# Diffusion needs damage before it can learn repair. Call the amount of damage $t$: nothing is damaged at $t = 0$, everything at $t = 1$. Here are three kinds:
#
# - **Mask.** Each word is hidden with probability $t$. You can *see* what is missing (lesson 08).
# - **Random words.** Each word is replaced with probability $t$ by some word of the vocabulary. You cannot see which ones are wrong (lessons 07 and 09).
# - **Gaussian noise.** Each word becomes a point in space, its *embedding*, here a random one in 16 dimensions. The point shrinks towards the origin and random numbers are added to it, larger ones as $t$ grows; what comes out is read back as the nearest word (lessons 01 and 02).

# %%
from difflm_core.processes import GaussianProcess, ShiftedCosine

my_sentence = "the great brown fox hops over the lazy dog in brown boots"  # type your own, in any words

words = list(dict.fromkeys([*my_sentence.split(), *language.words]))  # a vocabulary that knows your words too
my_ids = torch.tensor([[words.index(w) for w in my_sentence.split()]])  # (1, your length)
N, my_mask = len(words), len(words)


def mask_words(ids, t, generator):
    hide = torch.rand(ids.shape, generator=generator) < t
    return torch.where(hide, my_mask, ids)


def random_words(ids, t, generator):
    replaced = torch.rand(ids.shape, generator=generator) < t
    return torch.where(replaced, torch.randint(N, ids.shape, generator=generator), ids)


noise = GaussianProcess(ShiftedCosine(1.0))  # signal cos(pi t / 2) times the point, plus noise sin(pi t / 2)
points = 4 * torch.nn.functional.normalize(torch.randn(N, 16, generator=lesson.generator(4)), dim=1)  # (N, 16)


def gaussian(ids, t, generator):
    z = noise.corrupt(points[ids], torch.tensor([t]), generator)  # (1, length, 16)
    return (z @ points.T).argmax(-1)  # all points are equally long: the nearest has the largest product


# %% [markdown]
# **Predict** before you look: at $t = 0.5$, which of the three leaves most of the sentence? And which would *you* find easiest to repair?

# %% tags=["widget"]
from difflm_core.classroom.widgets import corruption_explorer

kinds = {"mask": mask_words, "random words": random_words, "Gaussian": gaussian}
corruption_explorer(kinds, my_ids, words.__getitem__, my_mask, seed=7, static_times=(0.0, 0.25, 0.5, 0.75))

# %% [markdown]
# Drag $t$, change the kind of noise, and type another sentence above. (Red broken chains beside a widget mean that the kernel was restarted: run the cells above it and its own again.) Masks and random words take a share $t$ of the words (on average; of twelve words sometimes more, sometimes fewer). Gaussian noise does nothing at all for a while: a point that is shifted a little is still nearest to its own word. Then, within a short stretch of $t$, most words fall.
# Where this stretch lies depends on the embeddings and on how fast the noise grows with $t$ (the *schedule*); much of lesson 02 is about it.
#
# What is *left* is one thing, what can still be *known* another. The language has a grammar, and whoever knows all its probabilities can compute for each place how likely each word is, given everything that is left of the sentence. Call this an *ideal reader*: nobody can read better. The table shows the sentence as the noise left it, and below it the reader's best guesses, how many of them are right, and how many it *expects* to be right
# (*both* hides some words and replaces others, as in lesson 09).
#
# **Predict:** a mask says where a word is missing, a random word does not. At $t = 0.5$, how many of twelve words more does the ideal reader get from masks?

# %% tags=["widget"]
from difflm_core.classroom.widgets_reader import reader_explorer, usual_noises

reader_explorer(language, text, times=(0.5, 0.75))

# %% [markdown]
# One sentence and one draw of the noise are an anecdote. The mean over many sentences, of the number of words that the reader expects to restore:

# %%
many = language.sample(lesson.pick(200, 50), generator=lesson.generator(21))
half = torch.full((len(many),), 0.5, dtype=torch.float64)
restored = {}
for name, kind in usual_noises(language).items():
    damaged = kind.corrupt(many, half, lesson.generator(22))
    restored[name] = L * language.posterior(damaged, half, kind.evidence).amax(-1).mean().item()
    print(f"{name:13s} {restored[name]:5.1f} of {L} words at t = 0.5 ({kind.marginal(half[:1])})")

# %%
# NBVAL_CHECK_OUTPUT
print("random words cost the ideal reader less than one word in twelve:", restored["mask"] - restored["random words"] < 1)
print("vectors tell it most:", max(restored, key=restored.get) == "Gaussian")

# %% [markdown]
# Not being told which words are wrong costs the ideal reader very little: a word that does not fit betrays itself. (*both* is harder at the same $t$ because fewer words survive.) A noisy vector still gives a hint of its word when the nearest word is already another one, and twelve hints and a grammar are nearly enough. But this is what *can* be read, by somebody who knows the language already. A network has to learn it first.
#
# To learn from, masks are the simplest kind: a mask is honest about itself, and the network need not find out which words are noise (lesson 09 compares). The rest of this lesson uses masks.
#
# ## 4 · Two models in fifteen lines each
#
# **Autoregressive.** Any text's probability is a product: first word, then the second given the first, and so on,
#
# $$-\log p(x) = \sum_{i=1}^{L} -\log p(x_i \mid x_1, \dots, x_{i-1}).$$
#
# The network reads the text shifted by one place (a start symbol first; we let the mask's number serve as one), and *causal* attention hides from every place all that comes later. So one call prices all $L$ words at once. Writing, however, needs a call for each word: the next question contains the last answer.

# %%
from difflm_core.samplers import draw_from  # draws one word per row of probabilities


def ar_loss(model, x):
    """-log p(x_i | words before), (B, L) nats. x (B, L)."""
    start = torch.full_like(x[:, :1], MASK)
    read = torch.cat([start, x[:, :-1]], dim=1)  # at place i it has read the words before i
    log_p = model(read).log_softmax(-1)  # (B, L, V)
    return -log_p.gather(-1, x[..., None])[..., 0]


@torch.no_grad()
def ar_sample(model, n, generator):
    """n sentences, L calls."""
    read = torch.full((n, 1), MASK)
    for _ in range(L):
        p = model(read)[:, -1].softmax(-1)  # (n, V): the next word
        read = torch.cat([read, draw_from(p, generator)[:, None]], dim=1)
    return read[:, 1:]


# %% [markdown]
# **Masked diffusion.** Hide each word with probability $t$, and ask for the hidden words; all visible ones may be used, to the left and to the right. The loss is their cross-entropy, divided by $t$:
#
# $$\mathcal L(x) = \mathbb E_{t \sim U(0,1)} \; \mathbb E_{z_t} \; \frac1t \sum_{i \,:\, z_t^i = ▢} -\log p_\theta(x_i \mid z_t) \;\;\ge\; -\log p_\theta(x).$$
#
# Why divide by $t$? About $tL$ words are hidden; dividing makes every draw stand for all $L$. That this number is an *upper bound* on the true cost $-\log p_\theta(x)$ is not obvious. Lesson 08 derives it; here, take it as a promise. The AR loss is the exact cost, and this is a bound: keep that in mind when the two are compared.
#
# Writing goes backwards: from $t = 1$ (all hidden) to $t = 0$ in $T$ steps. Between $t$ and $s = t - 1/T$ a share $(t-s)/t$ of what is still hidden is revealed. All words of one step are drawn in the same call.

# %%
def masked_loss(model, x, t, generator):
    """One draw of the bound, (B, L) nats. x (B, L), t (B,)."""
    visible = torch.rand(x.shape, generator=generator) < (1 - t)[:, None]
    z = torch.where(visible, x, MASK)
    log_p = model(z).log_softmax(-1)  # (B, L, V)
    nats = -log_p.gather(-1, x[..., None])[..., 0]
    return (z == MASK) * nats / t[:, None]


@torch.no_grad()
def masked_sample(model, z, T, generator):
    """Fill the masks of z (B, L) in T steps, T calls. What is visible stays."""
    for k in range(T, 0, -1):
        t, s = k / T, (k - 1) / T
        p = model(z).softmax(-1)  # (B, L, V)
        coin = torch.rand(z.shape, generator=generator, dtype=torch.float64)
        reveal = (z == MASK) & (coin < (t - s) / t)
        z = z.masked_scatter(reveal, draw_from(p[reveal], generator))
    return z


# %% [markdown]
# The course's package, `difflm_core`, has the same four functions, written for speed. On the same random numbers they must give the same results. This cell is checked whenever the course is tested.

# %%
from difflm_core.objectives import autoregressive_nll, masked_nelbo
from difflm_core.processes import masked
from difflm_core.samplers import remdm, sample_remasking

batch = language.sample(200, generator=lesson.generator(5))
t = torch.rand(200, generator=lesson.generator(6)).clamp_min(0.01)
blank = torch.full((200, L), MASK)
with torch.no_grad():
    ar_gap = (ar_loss(ar, batch) - autoregressive_nll(ar, batch)).abs().max()
    ours = masked_loss(diffusion, batch, t, lesson.generator(7))
    core = masked_nelbo(masked(V), diffusion, batch, t, lesson.generator(7))
ar_same = (ar_sample(ar, 200, lesson.generator(8)) == sample_ar(ar, (200, L), generator=lesson.generator(8)).tokens).all(1)
core_text = sample_remasking(diffusion, remdm(0.0), 8, (200, L), generator=lesson.generator(9)).tokens
masked_same = (masked_sample(diffusion, blank, 8, lesson.generator(9)) == core_text).all(1)

# %%
# NBVAL_CHECK_OUTPUT
print("the AR loss is the package's:", bool(ar_gap < 1e-4))
print("the masked loss is the package's:", torch.allclose(ours, core, rtol=1e-4, atol=1e-4))
print("the AR sampler writes what the package writes:", ar_same.double().mean().item() > 0.97)
print("the masked sampler writes what the package writes:", masked_same.double().mean().item() > 0.97)

# %% [markdown]
# ## 5 · Train both
#
# The same network twice, with 0.24 million parameters: causal attention for AR, attention in both directions for the masked model. The same sentences, the same number of steps. (We train for 300 steps here, to see it happen. Later sections use the course's models again, which had 1,500.)
#
# **Predict:** the AR model learns $x_i$ from the left side only, the masked model any word from any part of the others. Who will be nearer to the entropy after 300 steps?

# %%
from difflm_core.training import RECIPES, train

steps = lesson.pick(300, 60)
runs = {}
for name in ("ar-tiny", "mdlm-tiny"):
    recipe = RECIPES[name][1]
    recipe = replace(recipe, steps=steps, warmup=30, ema=0.95)  # a shorter run needs a shorter memory
    recipe = replace(recipe, evaluate_every=steps // 6, data=replace(recipe.data, held_out=512))
    print(f"{name}: {RECIPES[name][0]}")
    runs[name] = train(recipe)

# %%
from difflm_core.classroom.pictures import lesson_00 as pictures

show(*pictures.two_curves({name: run.history for name, run in runs.items()}, exact))
for name, run in runs.items():
    nats = run.history[-1]["bound"]
    print(f"{name:10s} {nats:.4f} nats per word, perplexity {math.exp(nats):.2f}, {nats - exact:+.4f} above the entropy")

# %%
# NBVAL_CHECK_OUTPUT
last = {name: run.history[-1]["bound"] for name, run in runs.items()}
print("both have learned something:", max(last.values()) < math.log(V) - 0.1)
print("neither passes the entropy:", min(last.values()) > exact - 0.05)
print("the AR model learns faster:", last["ar-tiny"] < last["mdlm-tiny"])

# %% [markdown]
# The AR model wins, clearly at first and by less and less. That is no accident of this run. It has one question to learn per place; the masked model has one for every subset of the other words, and answers them with the same number of weights.
#
# With full training, three seeds each, and the sentences that they then write:

# %%
study = load_results("tiny_seeds")
show(*pictures.bounds_and_quality(study))
print(pictures.twelve_calls(study))

# %% [markdown]
# So, plainly: **on this language the AR model has the better bound and breaks fewer sentences.** Both are close to perfect at one word per call. The curve is what few calls cost: words drawn in the same call do not see each other, and disagree. Nobody should choose diffusion to model short sentences from left to right. (The dotted line on the left is the exact cost of these very sentences: a sample, a little cheaper than the entropy of 1.754.)
# In the MDLM paper (LM1B, about 33 billion tokens) it is the same picture on real text: perplexity 22.32 for AR, at most 27.04 for masked diffusion of the same size.
#
# So what is it for? Back to the three complaints, the last one first.
#
# ## 6 · Calls, and seconds
#
# AR needs $L$ calls, each after the other. An AR model has a trick, the *key-value cache*: because attention looks back only, what was computed for earlier words never changes and can be kept. A call then processes *one* new place. A masked model looks at the whole page in each call, and the page has changed: no such cache.
# But it may make as few calls as we like.
#
# **Predict** for a text of 256 words, written alone: AR without cache, AR with cache, masked with 16 steps. Order them by seconds. And if 16 texts are written at the same time?

# %%
from difflm_core.studies.calls_and_seconds import WAYS, measure, networks

print(f"on this machine, one text, untrained networks\n\n{'':28s}{'words':>6s}{'calls':>8s}{'places':>9s}{'seconds':>10s}")
for length in lesson.pick((32, 128, 256), (32, 64)):
    nets = networks(length, seed=0)
    for way in WAYS:
        found = measure(way, nets, (1, length), seed=0, repeats=0)
        print(f"{way:28s}{length:6d}{found['network_calls']:8.0f}{found['positions']:9.0f}{found['seconds']:10.3f}")

# %% [markdown]
# (*places*: how many places of text went through the network altogether, that is, the arithmetic done. Sixteen steps can take fewer than 16 calls on a short text: a step that fills no mask asks nothing.) And measured with care, three networks and three repeats each, for one text and for sixteen at once:

# %%
calls_study = load_results("calls_and_seconds")
show(*pictures.calls_and_seconds(calls_study))
print(pictures.longest(calls_study))

# %% [markdown]
# One text of 256 words: the masked model with 16 steps is about three times as fast as AR with its cache (0.15 s against 0.43 s here), and seven times as fast as AR without. Sixteen texts at once: the order of the first two turns round (2.2 s against 1.1 s). Why?
# Divide by the calls. A cached AR call with one new place takes 1.7 ms, and with sixteen (one for each text) only 4.5 ms: a small call is nearly all overhead, and what counts is the *number* of calls. A masked call with 256 places takes 9 ms, and with sixteen times as many 136 ms: a large call is all arithmetic. So 16 calls of 9 ms beat 256 calls of 1.7 ms.
# But the AR model does sixteen texts for less than three times the time of one, and the masked model pays in full: AR with a cache sends every place through the network once, the masked model 16 times. A masked model that writes one word per call has the worst of both.
#
# So the third complaint is true, and the cure has a price. **Diffusion saves calls, not work.** It saves time where calls are what one waits for: one user, one answer, a processor that small calls leave idle. (Lesson 11 shows masked models that do have a cache, block by block.)
# And the calls were saved on untrained networks: section 5 showed what few calls do to the sentences.
#
# ## 7 · Thinking ahead
#
# Here is a sentence with one hole. You know the missing word at once. **Predict** what each model puts there.

# %%
hole = language.encode("the ▢ fox hops over the lazy dog with its golden cub")
with torch.no_grad():
    start = torch.full((1, 1), MASK)
    answers = {
        "exact": language.posterior(hole[None], None, masked(V))[0, 1].float(),
        "masked diffusion": diffusion(hole[None])[0, 1].softmax(-1),
        "autoregressive": ar(torch.cat([start, hole[None, :1]], dim=1))[0, -1].softmax(-1),
    }
for name, p in answers.items():
    best = ", ".join(f"{word(i)} {p[i]:.3f}" for i in p.topk(4).indices.tolist())
    print(f"{name:18s} p(golden) = {p[language.words.index('golden')]:.3f}   best: {best}")

# %% [markdown]
# The AR model is not stupid: it gives the right distribution *for what it has read*, which is "the". The colour at the end could tell it, but a causal network never sees the end. "Exact" is the toy language's own answer; the masked model has learned it.
#
# Now for every place, and in nats. Hide one word of a true sentence. What does it cost if one may read its left side only, and if one may read both? The first is the AR loss, place by place. **Predict** at which places the words to the right help most, and where not at all.

# %%
@torch.no_grad()
def both_sides(model, x):
    """Mean -log p(x_i | all other words) in nats for each place i: (L,). One call per place."""
    nats = torch.empty(L)
    for i in range(L):
        z = x.clone()
        z[:, i] = MASK
        log_p = model(z)[:, i].log_softmax(-1)  # (B, V)
        nats[i] = -log_p.gather(1, x[:, i : i + 1]).mean()
    return nats


sentences = language.sample(lesson.pick(4000, 400), generator=lesson.generator(10))
with torch.no_grad():
    left = ar_loss(ar, sentences).mean(0)  # (L,)
both = both_sides(diffusion, sentences)
truth = language.entropy_by_position()  # (L,) exact entropy of each word given its left side
ahead = load_results("looking_ahead")
show(*pictures.left_and_both(left, both, ahead))
print(f"a hidden word, mean over the places: left side only {left.mean():.3f} nats, both sides {both.mean():.3f}")

# %%
# NBVAL_CHECK_OUTPUT
print("left side only, the AR model is as good as possible:", bool((left - truth).abs().max() < 0.4))
print("reading both sides is cheaper on average:", bool(both.mean() < left.mean() - 0.2))
print("the last word has nothing to its right:", bool((both[-1] - left[-1]).abs() < 0.2))

# %% [markdown]
# Both networks lie on their exact curves: each is nearly as good as anybody can be *who reads what it reads*. The shaded gap is not a lack of training, it is what the words to the right are worth. It is largest at places 2 and 3 (adjective, colour, noun: the colour at the end and "its/their" give much of them away), and zero
# where the left side says everything (the second colour, and the word before it) or where nothing to the right is left (the last word). Averaged over the places it is a third of a nat per hidden word.
#
# And yet both models price the whole sentence at (nearly) the same 21 nats. No contradiction: an AR model needs no look ahead to *price* or to *write* a text from the left, because every word is paid for once, given what came before. It lacks it when something further on is already fixed.
#
# ### A given end
#
# Now something one really wants: *the end is given, write the beginning* (or: the code before and after the cursor is given, write the middle). We ask for nine words that lead to "their golden cub". The masked model gets a page with the end on it and masks before it; our `masked_sample` needs no change. The AR model can only write as always, and hope.

# %%
end = language.encode("their golden cub")
n = lesson.pick(500, 100)
page = torch.full((n, L), MASK)
page[:, -3:] = end
filled = sample_masked(diffusion, first_hitting(), (n, L), prompt=page, generator=lesson.generator(11)).tokens
hoped = sample_ar(ar, (n, L), generator=lesson.generator(12)).tokens
hoped[:, -3:] = end  # the AR model's beginning, with the end that was asked for
table = [("masked", sentence(row, word, MASK), "✓" if language.grammatical(row[None]) else "✗") for row in filled[:3]]
table += [("AR", sentence(row, word, MASK), "✓" if language.grammatical(row[None]) else "✗") for row in hoped[:3]]
samples_table(table, title="Nine words before 'their golden cub'", head=("", "sentence", "fits"))
fits = {name: language.grammatical(text).double().mean().item() for name, text in (("masked", filled), ("AR", hoped))}
print(f"the whole sentence is right: masked {fits['masked']:.1%}, AR {fits['AR']:.1%} of {n}")

# %% [markdown]
# Be fair to the AR model. It *contains* the answer: by Bayes' rule $p(\text{beginning} \mid \text{end}) \propto p(\text{beginning})\,p(\text{end} \mid \text{beginning})$, and it knows both factors. One can let it write beginnings until one happens to continue with the right end. How many tries is that? On average $1/p(\text{end})$. The language has few ends, so we can list all:

# %%
chance = {}  # p(end) of every possible end of three words, by the chain rule on the exact posterior
asked = torch.full((1, L), MASK)
p9 = language.posterior(asked, None, masked(V))[0, 9]
for i in p9.nonzero()[:, 0].tolist():
    asked[0, 9:] = torch.tensor([i, MASK, MASK])
    p10 = language.posterior(asked, None, masked(V))[0, 10]
    for j in p10.nonzero()[:, 0].tolist():
        asked[0, 10:] = torch.tensor([j, MASK])
        p11 = language.posterior(asked, None, masked(V))[0, 11]
        chance |= {(i, j, k): (p9[i] * p10[j] * p11[k]).item() for k in p11.nonzero()[:, 0].tolist()}
ends = torch.tensor(list(chance.values()))
H_end, H_end_given = torch.special.entr(ends).sum().item(), truth[-3:].sum().item()
print(f"{len(ends)} possible ends, together {ends.sum():.6f}; entropy of the end {H_end:.3f} nats, {H_end_given:.3f} if the beginning is known")
print(f"'their golden cub' has p = {chance[tuple(end.tolist())]:.4f}: {1 / chance[tuple(end.tolist())]:.0f} tries on average")
print(f"what a beginning written in ignorance of its end gives away: {H_end - H_end_given:.3f} nats, exactly")

# %%
# NBVAL_CHECK_OUTPUT
print("the chances of all ends add up to one:", abs(ends.sum().item() - 1) < 1e-6)
print("the masked model's beginnings fit:", fits["masked"] > 0.8)
print("the AR model's fit by luck:", fits["AR"] < 0.15)

# %% [markdown]
# (The AR model's share above is larger than that: a beginning *fits* as soon as it allows this end, also if the model itself went on to another.)
#
# On average over the ends that true sentences have, the number of tries is $\sum p \cdot \frac1p$, the number of possible ends. It multiplies with every word that is fixed: a game for three words, hopeless for a paragraph. The masked model needs no tries. (Its few misfits are its own mistakes: the exact denoiser, one word per call, would have none.)
#
# The second complaint, then, in precise words: an AR model does know what is *likely* to come, as well as can be. It cannot *use* what is given further on, and in this language that is worth the number of nats printed above.
# One can also train AR models for it, by cutting texts into parts and moving the end to the front; but only for the kinds of holes that were practised.
#
# ## 8 · An early mistake
#
# The first complaint. We put a mistake on the page: "a brown foxes ...", a singular article before a plural. **Predict** for each of three writers what happens to the nine words after it, and to the three before:
#
# - the AR model goes on from there;
# - the masked model fills the masks (what is visible stays);
# - the masked model *with second thoughts*: nothing on the page is safe. In each step it writes a complete draft, then hides every word, old or new, with probability $s$, the noise level that the step should end with. That is one changed line in `masked_sample` and a new one; lesson 10 is about them.

# %%
@torch.no_grad()
def second_thoughts(model, z, T, generator):
    """As masked_sample, but every word may be taken back, also those that were on the page z at the beginning."""
    for k in range(T, 0, -1):
        s = (k - 1) / T
        p = model(z).softmax(-1)
        coin = torch.rand(z.shape, generator=generator, dtype=torch.float64)
        reveal = (z == MASK) & (coin < 1 - s)  # a mask is filled and stays filled
        z = torch.where(coin < 1 - s, z, MASK)  # and every other word must survive the same coin
        z = z.masked_scatter(reveal, draw_from(p[reveal], generator))
    return z


T, n = 24, lesson.pick(400, 100)
mistake = language.encode("a brown foxes")
page = torch.full((n, L), MASK)
page[:, :3] = mistake
written = {
    "autoregressive": sample_ar(ar, (n, L), prompt=page[:, :3], generator=lesson.generator(13)).tokens,
    "masked": masked_sample(diffusion, page, T, lesson.generator(14)),
    "second thoughts": second_thoughts(diffusion, page, T, lesson.generator(15)),
}
table = []
for name, tokens in written.items():
    for row in tokens[:3]:
        good = bool(language.grammatical(row[None]))
        new = [i for i in range(3) if row[i] != mistake[i]]
        table.append((name, marked(sentence(row, word, MASK), new, "changed"), "✓" if good else "✗ broken"))
samples_table(table, title="Three sentences each that began with 'a brown foxes'", head=("", "sentence", "grammar"))
right = {name: language.grammatical(tokens).double().mean().item() for name, tokens in written.items()}
kept = {name: (tokens[:, :3] == mistake).double().mean().item() for name, tokens in written.items()}
print(f"right in the end: {', '.join(f'{name} {share:.0%}' for name, share in right.items())}")
print(f"of the three given words kept: {', '.join(f'{name} {share:.0%}' for name, share in kept.items())}")

# %%
# NBVAL_CHECK_OUTPUT
from difflm_core.samplers import star

ours = second_thoughts(diffusion, blank, 8, lesson.generator(16))
core = sample_remasking(diffusion, star(), 8, (200, L), generator=lesson.generator(16)).tokens
print("from an empty page it is the package's star sampler:", (ours == core).all(1).double().mean().item() > 0.97)
print("a mistake that cannot be taken back stays:", right["autoregressive"] == right["masked"] == 0)
print("one that can is mended in most sentences:", right["second thoughts"] > 0.6)

# %% [markdown]
# The first complaint holds, and note for whom: **plain masked diffusion cannot revise either.** It fills masks and never touches a word. What mends the mistake is not "diffusion" but a sampler (or a kind of noise) that may take words back: GIDD (lesson 09) trains for it, Star and ReMDM (lesson 10) only sample differently.
#
# Two cautions. Second thoughts are blind here: coins decide what is taken back, so good words go as well; few of the three given words are left. And a model that hardly makes mistakes of its own does not need them: the AR model breaks about one sentence in a hundred when nobody trips it. The stored study, with models trained for 600 steps, three seeds each:

# %%
print(pictures.mistakes(ahead))

# %% [markdown]
# With the mistake on the page, second thoughts come out right as often as without it (the differences are at most 4 points, in both directions): it does no harm any more. More steps help both alike. The sentences that are still broken are the sampler's own doing, since several words are drawn in the same call and good ones are taken back with the bad.
# And it did not *correct* "a brown foxes" so much as replace it. After 24 steps "a", "brown" and "foxes" stand at their places in about 13, 15 and 5 % of the sentences, by the stored study, and so they do in sentences of the language that never met them (13, 15 and 5 %): nothing is left of what was written. (In 8 steps 28 % keep the "brown".) Taking back the wrong word and no other needs a judge of words: lesson 10, and lesson 11 at the size of today's models.
#
# ## 9 · The balance
#
# | | autoregressive | masked diffusion |
# |---|---|---|
# | cost of a text | exact, and lower here | an upper bound |
# | samples at one word per call | better here | a little worse |
# | fewer calls than words | no | yes, and each halving of the calls breaks more sentences |
# | arithmetic per text | least, with a cache | calls × length |
# | words may be given | at the beginning | anywhere |
# | may revise | no | not by itself; yes with lessons 09 and 10 |
#
# What speaks for diffusion is what an AR model *cannot* do by construction: use what stands further on, write in any order, write many words per call, go back. Whether the few calls can be had without the broken sentences is the question behind most of this course.
#
# ## 10 · The map, and is this machine ready?
#
# Thirteen lessons. The vectors (01 to 06) and the symbols (07 to 10) can be read independently of each other. `doctor` looks at this machine: versions, memory, disk, the few files that later lessons fetch, and it trains for some seconds to predict how long each lesson will compute here. Its report can be pasted into a question to your teacher;
# in a terminal it is `python -m difflm_core.classroom.doctor`.

# %%
from difflm_core.classroom.doctor import doctor

report = doctor(seconds=lesson.pick(15, 2))

# %% [markdown]
# ## 11 · Exercises
#
# Four, climbing. Replace the line `raise NotImplementedError`; the check says what is right and names the usual mistakes. `ex0_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_00
from difflm_core.classroom.exercises.lesson_00 import ex0_1, ex0_2, ex0_3

# %% [markdown]
# ### Exercise 0.1 · 4 min · difficulty 1/5 · Perplexity
#
# `p` is $(N,)$: the probabilities that a model gave to the $N$ words of a text, one after the other. Return the perplexity of the text, a number.


# %%
def perplexity(p):
    """Exercise 0.1: p (N,) probabilities of the words that came -> perplexity."""
    ### BEGIN SOLUTION
    return (-p.log()).mean().exp()
    ### END SOLUTION


# %%
ex0_1.run(perplexity)
perplexity = ex0_1.answer_or_reference(perplexity)
with torch.no_grad():
    given = (-ar_loss(ar, x[None])[0]).exp()  # (12,) the AR model's probabilities for the fox
print(f"the AR model's perplexity of '{text}': {float(perplexity(given)):.2f}")

# %% [markdown] tags=["solution"]
# **Why.** Nats are averaged, not probabilities: the probability of a text is a *product*, and logarithms turn it into a sum. $e^{\text{mean nats}}$ is one over the geometric mean of the probabilities.

# %% [markdown]
# ### Exercise 0.2 · 8 min · difficulty 2/5 · Random words
#
# The second kind of noise, for a batch in which every sentence has its own $t$. `x` is $(B, L)$, `t` is $(B,)$. With probability $t$ of its row, each word is replaced by one drawn evenly from the vocabulary $0 \dots V-1$ (which may be the same word again). Return a new tensor of ids, $(B, L)$. Every random number comes from `generator`.


# %%
def random_noise(x, t, V, generator=None):
    """Exercise 0.2: z (B, L) from x (B, L) and t (B,)."""
    ### BEGIN SOLUTION
    replaced = torch.rand(x.shape, generator=generator) < t[:, None]
    return torch.where(replaced, torch.randint(V, x.shape, generator=generator), x)
    ### END SOLUTION


# %%
ex0_2.run(random_noise)
random_noise = ex0_2.answer_or_reference(random_noise)
levels = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
noisy = random_noise(x.expand(5, L), levels, V, lesson.generator(20))
samples_table([(f"t = {t:.2f}", compared(row, x, word, MASK)) for t, row in zip(levels, noisy)], title="Your noise")

# %% [markdown] tags=["solution"]
# **Why.** One coin per word (`x.shape`), held against the $t$ of its row (`t[:, None]` makes a column that is stretched over the places). One draw per word as well: with a single random word the whole text would say the same thing everywhere.

# %% [markdown]
# ### Exercise 0.3 · 12 min · difficulty 4/5 · An AR model fills a hole
#
# Section 7 said that an AR model *contains* the answer. Get it out, exactly, for one hole. `log_prob` takes sentences $(B, L)$ and returns their log-probabilities $(B,)$ (for an AR model: minus the sum of its losses). `x` is one sentence $(L,)$, `i` the hole (whatever stands there must not matter). Return $p(x_i = v \mid \text{all other words})$ for every $v$, shaped $(V,)$.


# %%
def fill_hole(log_prob, x, i, V):
    """Exercise 0.3: the distribution (V,) of the word at place i, given all others, from a model of whole sentences."""
    ### BEGIN SOLUTION
    tries = x.repeat(V, 1)  # (V, L)
    tries[:, i] = torch.arange(V)
    return log_prob(tries).softmax(0)
    ### END SOLUTION


# %%
ex0_3.run(fill_hole)
fill_hole = ex0_3.answer_or_reference(fill_hole)


@torch.no_grad()
def ar_log_prob(x):
    return -ar_loss(ar, x).sum(1)


p = fill_hole(ar_log_prob, torch.where(hole == MASK, 0, hole), 1, V)
print(f"the AR model, made to look ahead: p(golden) = {p[language.words.index('golden')]:.3f}, for {V} sentences read")

# %% [markdown] tags=["solution"]
# **Why.** By Bayes' rule $p(x_i = v \mid \text{rest}) \propto p(\text{the whole sentence with } v)$, and the softmax of the log-probabilities normalises. So the AR model can look ahead, at the price of $V$ sentences for one hole, and $V^k$ for $k$ holes. That is what the masked model gives in one call, for any number of holes.

# %% [markdown]
# ### Exercise 0.4 · 20 min · difficulty 5/5 · Mend the drafts (open)
#
# Four-step drafts are broken more often than not. Mend them: `drafts` is $(B, L)$, complete sentences of the masked model in four steps. You may ask the network **8 times** (`model(z)` gives logits, $(B, L, V)$; put `mask_id` where you want words). Return the mended sentences, $(B, L)$, in a new tensor. On average at least half of a draft's words must stay, and the sentences must stay varied: at least 95 % of them distinct, the right ones at most 2.5 nats likelier than true sentences.
# The check runs your function on fresh drafts and asks that at most **half** as many sentences are broken afterwards. Less is better: it prints how far you got.
#
# **Predict:** is it better to take back many words at once, or a few at a time? Which ones?


# %%
def mend(model, drafts, mask_id, generator=None):
    """Exercise 0.4: better sentences (B, L) from drafts (B, L), with at most 8 calls of the network."""
    ### BEGIN SOLUTION
    half = torch.rand(drafts.shape, generator=generator).argsort(1).argsort(1) % 2 == 0  # half of each draft
    nats = torch.empty(drafts.shape)
    for hidden in (half, ~half):  # two calls: how surprising is each word to the other half?
        log_p = model(drafts.masked_fill(hidden, mask_id)).log_softmax(-1)
        nats[hidden] = -log_p.gather(-1, drafts[..., None])[..., 0][hidden]
    rank = nats.argsort(1, descending=True).argsort(1)
    z = drafts.masked_fill(rank < 4, mask_id)
    for place in (3, 2, 1, 0):  # four calls: write the four most surprising ones again, one at a time
        here = rank == place
        z = z.masked_scatter(here, draw_from(model(z)[here].softmax(-1), generator))
    return z
    ### END SOLUTION


# %%
ex0_4 = lesson_00.ex0_4(diffusion, language, sentences=lesson.pick(500, 200))

# %%
ex0_4.run(mend)

# %% [markdown] tags=["solution"]
# **Why.** A word that does not fit surprises the rest. Asking about a word that the network can see would be no use: its loss never asked it there (lesson 09). So half is hidden, and judged by the other half. Taking words back at random also helps, but needs many more of them, since a conflict is only mended if one of its words happens to be chosen.
# The price: rare words surprise too, and are replaced by usual ones, so the mended sentences are likelier than true ones. Lessons 09 and 10 are about doing this without that price.

# %%
summary()

# %% [markdown]
# ## 12 · Scale it up
#
# The same two tasks on real text, Shakespeare's plays in pieces of words (2 MB are fetched once). The commands, and a third at the size of the MDLM paper, which needs a GPU and a copy of LM1B that `datasets` can read:
#
# ```
# python -m difflm_core.training ar-shakespeare
# python -m difflm_core.training mdlm-shakespeare
# python -m difflm_core.training mdlm-lm1b --data.name NAME-OF-YOUR-COPY
# ```

# %%
vocabulary = 30522  # of the LM1B recipe's tokenizer
for name in ("ar-shakespeare", "mdlm-shakespeare", "mdlm-lm1b"):
    recipe = RECIPES[name][1]
    length = recipe.data.length
    weights = 12 * recipe.size.layers * recipe.size.width**2  # of attention and MLP in all layers
    places = recipe.steps * recipe.batch_size * length
    print(f"{name:18s} {weights / 1e6:6.1f} M weights in the trunk, {places / 1e6:10,.0f} M places of text", end="")
    print(f", {6 * weights * places:.1e} FLOPs in the trunk")

big, H100 = RECIPES["mdlm-lm1b"][1], 989e12  # FLOP/s in bfloat16, by its data sheet
places = big.steps * big.batch_size * big.data.length
head = 6 * 0.5 * big.size.width * vocabulary  # the output layer runs on masked places only, half of them on average
flops = places * (6 * 12 * big.size.layers * big.size.width**2 + head)
print(f"mdlm-lm1b with its output layer: {flops / (0.4 * H100) / 3600:.0f} H100-hours at 40 % of {H100 / 1e12:.0f} TFLOP/s (an assumption)")
print(f"weights, gradients and Adam's two moments in float32: {16 * (12 * big.size.layers * big.size.width**2 + 2 * vocabulary * big.size.width) / 1e9:.1f} GB, without activations")

# %% [markdown]
# The number to approach is the paper's: at most 27.04 on LM1B for masked diffusion after about 33 billion tokens, 22.32 for AR; after 327 billion, at most 23.00 against 20.86 (Sahoo et al. 2024). The gap shrinks with training and does not close. (The tokens are counted as the paper counts them. A million steps of 512 rows of 128 places, padding included, are the 65.5 billion places printed above.)
#
# ## 13 · What to remember
#
# 1. An AR model prices a text exactly and writes it from left to right; a masked diffusion model gives a bound, and fills what is missing, anywhere, as many words per call as you dare.
# 2. "Cannot look ahead" is a number: the nats between the cost of a word given its left side and given both sides. An AR network is right about what it has read, and has not read the rest.
# 3. Fewer calls are not less work, and words of one call do not see each other; and plain masked diffusion revises no more than AR does. The rest of the course is about these prices.
#
# **Five quick questions**
#
# <details><summary>1. A model costs 2.0 nats per word. What is its perplexity, and what does the number mean?</summary>
# e² ≈ 7.4: on average it is as unsure about the next word as between 7.4 equally likely ones.
# </details>
#
# <details><summary>2. A colleague's AR model has perplexity 5.9, her masked model "at most 6.2". Which is better?</summary>
# One cannot tell. The second is an upper bound; the true value may lie below 5.9 or above it. ("At most 5.8" would settle it.)
# </details>
#
# <details><summary>3. 256 words, masked, 16 steps: how many calls? How many places go through the network, and how many with a cached AR model?</summary>
# 16 calls (fewer only if a step happens to reveal nothing), 16 · 256 = 4,096 places; AR 256 calls, 256 places.
# </details>
#
# <details><summary>4. Could an AR model be made to fill the middle of a text?</summary>
# Yes: by Bayes' rule with many tries (exercise 0.3, section 7), or by training it on texts whose parts were rearranged so that the end comes first. By itself, reading left to right, it cannot.
# </details>
#
# <details><summary>5. Which of the three kinds of damage can the network see?</summary>
# Masks. Random words look like words, and a point that was moved a little looks like a point: there the network must also find out what is damaged.
# </details>
#
# **Sources.** Sahoo et al. 2024 (arXiv 2406.07524), MDLM: the loss, and perplexities on LM1B. Austin et al. 2021 (2107.03006), D3PM: uniform and absorbing noise on symbols. Ho et al. 2020 (2006.11239), DDPM, and Li et al. 2022 (2205.14217), Diffusion-LM: Gaussian noise, and embeddings as its canvas. Meshchaninov, Shibaev et al. 2025 (2510.08369): the star sampler of section 8.
# The exact costs of section 7 are computed from the toy language. Next in the course: lesson 01, Gaussian noise, or lesson 08, masks, whichever you like.
