# %% [markdown]
# # 12 · Scoreboard and scaling: which one, when, at what cost?
#
# **Minutes** 50 to read, about 2 of computing on 2 CPU cores · **Prerequisites** lessons 00 and 08; of the others what their tables name, section by section
#
# Twelve lessons, more than a dozen ways to write a sentence. Each was shown beside its nearest rival, with the figures that suited its question. Here all of them stand side by side: as many parameters, as much training, the same sentences, the same figures for all. Then the same programs, on paper, at the size of the papers.
#
# **The question of this lesson.** Which method would you take, for what, and what would you pay?
#
# After this lesson you can
# - say what was made equal in a comparison and what was not, and count the cost of training yourself,
# - read a table of samples without being fooled by a temperature,
# - draw the frontier of quality and cost, and name what is on it,
# - plan a run of 10¹² or of 10²⁰ FLOPs with the same two functions, on one machine or on eight.
#
# Nothing is downloaded. Two studies, `scoreboard` and `text_scoreboard`, are read from `lessons/results`; `make scoreboard` makes them again.

# %%
import math
from dataclasses import replace

import torch

from difflm_core.classroom.lesson import load_results, progress, setup, show
from difflm_core.classroom.pictures import lesson_12 as pictures
from difflm_core.data.toy_language import toy_language
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=12)
language = toy_language()
V, L, MASK = language.V, language.length, language.mask_id  # 114 words; sentences of 12; the mask has id V
entropy = language.entropy() / L
model, _ = course_checkpoint("mdlm-tiny")  # the masked model of lesson 08, fully trained
model.eval()
print(f"exact entropy of the toy language: {entropy:.4f} nats per word")

# %% [markdown]
# ## 1 · How to win a table
#
# Here is a masked model, trained once. We sample from it one word per call, and do nothing but divide its logits by a *temperature* $\tau$ before each draw. (A second way, *most confident first*, is lesson 08's.) For each we print what a table of samples usually has, and three figures that it usually has not:
#
# - *too likely by*: nats per sentence by which the right sentences are likelier than true ones; 0 is right. (The probabilities are exact, only the number of sentences is finite.)
# - *coverage*: of the different word pairs in 500 true sentences (fewer in fast mode), the share that occurs in as many samples. True sentences do not reach 100 % either, because two samples of a language are not the same.
# - *true sentences cost*: the nats per word that *this writer* pays for sentences of the language, above what they cost the language itself. If it writes in one fixed order, a masked model's $-\log p_\theta(x)$ is exact (lesson 08, section 11), also at another temperature.
#
# **Predict:** which temperature wins by the share of right sentences? And by the last column?

# %%
from difflm_core.evaluation import order_nll
from difflm_core.samplers import confidence, first_hitting, fixed_order, sample_masked
from difflm_core.studies.scoreboard import coverage
from difflm_core.studies.toy_quality import quality


class Tempered:
    """The same network with its logits divided by tau: a denoiser like any other."""

    def __init__(self, denoiser, tau):
        self.denoiser, self.tau, self.V = denoiser, tau, denoiser.V

    def hidden(self, z, t=None):
        return self.denoiser.hidden(z, t)

    def logits(self, h):
        return self.denoiser.logits(h) / self.tau


n = lesson.pick(500, 100)
true = language.sample(n, generator=lesson.generator(1))
cost_of_true = -language.log_prob(true).double()
order = fixed_order(torch.randperm(L, generator=lesson.generator(2)))
one_by_one = first_hitting()


def described(tokens):
    return quality(tokens) | {"coverage": coverage(tokens)}


writers = {f"temperature {tau:g}": (one_by_one, tau) for tau in (1.0, 0.8, 0.6, 0.4)}
writers["most confident first"] = (confidence(L), 1.0)
found = {"true sentences": described(language.sample(n, generator=lesson.generator(3)))}
for name, (plan, tau) in progress(writers.items(), "sampling", total=len(writers)):
    drawn = sample_masked(model, plan, (n, L), generator=lesson.generator(4), temperature=tau)
    found[name] = described(drawn.tokens)
    if plan is one_by_one:
        excess = order_nll(Tempered(model, tau), true, order).sum(1).double() - cost_of_true
        found[name]["excess"] = (excess / L).mean().item()
print(f"{'':22s}{'grammatical %':>14s}{'too likely by':>15s}{'distinct %':>12s}{'coverage %':>12s}{'true sentences cost':>21s}")
for name, row in found.items():
    gap = "none" if row["log_prob_gap"] is None else f"{row['log_prob_gap']:+.2f} nats"
    print(
        f"{name:22s}{100 * row['grammatical']:14.1f}{gap:>15s}{100 * row['distinct']:12.0f}{100 * row['coverage']:12.0f}"
        + (f"{row['excess']:+16.3f} nats" if "excess" in row else f"{'':>21s}")
    )

# %%
by_tau = {tau: found[name] for name, (plan, tau) in writers.items() if plan is one_by_one}
show(*pictures.temperatures(by_tau, found["true sentences"]))

# %%
# NBVAL_CHECK_OUTPUT
cold, plain = found["temperature 0.4"], found["temperature 1"]
print("colder: more right sentences:", cold["grammatical"] >= plain["grammatical"])
print("and fewer of the language's word pairs:", cold["coverage"] < plain["coverage"] - 0.2)
print("and true sentences become dearer:", cold["excess"] > plain["excess"] + 0.1)
print("all distinct, nearly, and yet too usual:", cold["distinct"] > 0.6 and cold["log_prob_gap"] > 3)

# %% [markdown]
# By right sentences every temperature below 1 wins; by the last column temperature 1 does, and each step down costs more than the one before. At 0.6 hardly a sentence is broken. But the sentences are between three and four nats too likely, and a quarter of the word pairs that should be there are missing. A true sentence costs 0.11 nats per word too much, at temperature 1 it is 0.004. The picture shows the same: left what a table of samples praises and what it leaves out, right the price.
#
# Most confident first does the same thing without a temperature in its name. And *distinct* does not see it: at 0.6 nearly all sentences are different ones.
#
# There is a formula behind it. How far is a sampler's law $p_\theta$ from the language $p$, asked in the direction in which samples are judged?
#
# $$ \mathrm{KL}(p_\theta \,\Vert\, p) = \underbrace{-\,\mathbb E_{x \sim p_\theta} \log p(x)}_{\text{what a judge says of the samples}} \; - \underbrace{H(p_\theta)}_{\text{their variety}} $$
#
# Generative perplexity is $e$ to the first term, per token, with a language model in the place of $p$. A lower temperature lowers both terms; who reports the first alone can always win. And since a divergence is never negative, samples that are likelier than true text *must* be less varied.
#
# The other direction, $\mathrm{KL}(p \,\Vert\, p_\theta)$, is the last column (times 12, for a sentence). It asks whether *true* sentences are possible, and a bound on $-\log p_\theta$ bounds it. About rubbish it says less. Every probability that goes to broken sentences is taken from the right ones, so that
#
# $$ \mathrm{KL}(p \,\Vert\, p_\theta) = -\log P(\text{a sample is right}) + \text{distance of the right ones from the language} . $$
#
# Neither part is negative: at least $e^{-\mathrm{KL}}$ of the samples are right, and it may be far more. So this lesson prints both kinds, and where only one can be had it says so.
#
# ## 2 · What is made equal?
#
# The stored study `scoreboard` trains each method with three seeds, and makes equal for all:
#
# | equal | how | what it leaves out |
# |---|---|---|
# | parameters | 245,000 within a tenth: autoencoder, denoiser and error predictor together | which of them work at every call, and the frozen encoder of four systems |
# | training | $1.8 \cdot 10^{12}$ FLOPs, counted, never more; all stages of a method together | seconds: a small product and a large one cost the same per FLOP on paper only |
# | sentences | 32,768, the same for all, again and again | how often they are seen: a step of one method costs more than that of another |
# | samples | 500 a seed and setting; held-out sentences and word pairs the same for all | |
# | care | one setting per method, that of its lesson; nothing was searched for this table | what the lessons had tried before: the noise of TEncDM, the strengths of COSMOS, $t_{\mathrm{on}}$ of Star |
#
# FLOPs are the currency, so let us count them ourselves. A product of an `a` × `b` with a `b` × `c` matrix is `a b c` multiplications and as many additions: `2 a b c`. In training each product of the forward pass brings two more of the same size, for the gradient of the input and that of the weights. Attention has two products forward (compare, mix) and five backward, because PyTorch's fused attention does not keep the comparisons and makes them again.
#
# **Predict:** per sentence, which of the two is dearer to train, the autoregressive network or the masked one with the same weights? (Where is the head needed?)

# %%
from difflm_core.models.attention import Attention


def count_by_hand(net, step):
    """FLOPs of the matrix products of one training step, from the shapes that pass through the network's layers."""
    forward = {"matrices": 0, "attention": 0}

    def through_a_matrix(layer, inputs, output):  # (..., in) -> (..., out): 2 x in x out for each vector
        forward["matrices"] += 2 * layer.in_features * output.numel()

    def through_attention(layer, inputs, output):  # every position compares with L and mixes L: 2 x 2 x width x L
        B, length, width = output.shape
        forward["attention"] += 4 * B * length * length * width

    hooks = []
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            hooks.append(layer.register_forward_hook(through_a_matrix))
        elif isinstance(layer, Attention):
            hooks.append(layer.register_forward_hook(through_attention))
    step()
    for hook in hooks:
        hook.remove()
    return 3 * forward["matrices"] + 7 / 2 * forward["attention"], forward


# %% [markdown]
# The package counts in another way: it looks over PyTorch's shoulder and adds up every product that is really computed, whatever made it (`studies.flops`, 40 lines). Same batch, same noise:

# %%
from difflm_core.studies.flops import flops_of, steps_within
from difflm_core.studies.scoreboard_methods import ABSORBING, AR, BLOCK, DIFFUSION_LM, GIDD, MDLM, UNIFORM, step_flops
from difflm_core.training.state import build

batch, agree = language.sample(64, generator=lesson.generator(5)), {}
print(f"{'':8s}{'by hand':>14s}{'counted':>14s}{'a sentence':>14s}   of the forward pass: matrices, attention")
for name, recipe in (("AR", AR), ("MDLM", MDLM)):
    net = build(recipe)

    def step(net=net, recipe=recipe):
        recipe.task.loss(net, batch, lesson.generator(6)).mean().backward()

    by_hand, forward = count_by_hand(net, step)
    counted = flops_of(step)
    agree[name] = by_hand == counted
    print(f"{name:8s}{by_hand:14,.0f}{counted:14,}{counted / len(batch):14,.0f}   {forward['matrices']:,}, {forward['attention']:,}")

# %%
# NBVAL_CHECK_OUTPUT
print("by hand and counted are the same number:", agree)

# %% [markdown]
# The masked network is a little cheaper: its head is asked at masks only, half of the places on average, and at a vocabulary of 114 words that is little. At 50,000 words it is a seventh of the whole (section 8: $3.9 \cdot 10^{20}$ against $4.5 \cdot 10^{20}$ FLOPs).
#
# Now the same budget in steps, for every method that has a recipe. **Predict:** block diffusion reads a noisy and a clean copy of every sentence. How many steps does it get for MDLM's 421?

# %%
budget = 1.8e12
print(f"{'':16s}{'parameters':>11s}{'FLOPs a step':>14s}{'steps':>7s}{'rows':>6s}{'sentences read':>16s}")
for name, recipe in {
    "AR": AR, "MDLM": MDLM, "GIDD": GIDD, "D3PM absorbing": ABSORBING, "D3PM uniform": UNIFORM, "blocks of 4": BLOCK,
    "Diffusion-LM": DIFFUSION_LM,
}.items():  # fmt: skip
    each, parameters = step_flops(recipe), sum(p.numel() for p in build(recipe).parameters())
    steps = steps_within(budget, each)
    print(f"{name:16s}{parameters:11,}{each:14.3g}{steps:7d}{recipe.batch_size:6d}{steps * recipe.batch_size:16,}")

# %% [markdown]
# Equal FLOPs are not equal steps. Block diffusion gets 208, half as many as MDLM. Networks with a time input get more: the matrices that read the time cost parameters and hardly any work, so these networks had to be made narrower. That *is* the comparison: what a method does with a step is its own affair. But mind the last column. Whoever reads 150,000 sentences has seen each of the 32,768 four to five times, whoever reads 53,000 less than twice.
#
# ## 3 · Two methods, live
#
# A third of the study's budget for each, trained here. The curves are drawn against FLOPs, not against steps. **Predict:** who is ahead at the end, and by how much? (Lesson 00 asked at equal steps.)

# %%
from difflm_core.training import train

share = lesson.pick(6e11, 3e10)
histories, each = {}, {}
for name, recipe in (("ar", AR), ("mdlm", MDLM)):
    each[name] = step_flops(recipe)
    steps = steps_within(share, each[name])
    recipe = replace(recipe, steps=steps, warmup=min(recipe.warmup, steps // 5), evaluate_every=max(1, steps // 5), ema=0.95)
    recipe = replace(recipe, data=replace(recipe.data, held_out=lesson.pick(512, 128)))
    print(f"{name}: {steps} steps of {recipe.batch_size}, {steps * each[name]:.3g} FLOPs")
    histories[name] = train(recipe).history

# %%
show(*pictures.learning(histories, each, entropy))
for name, history in histories.items():
    print(f"{name:6s}{history[-1]['bound']:.4f} nats per word after {history[-1]['step']} steps, {history[-1]['seconds']:.0f} s")

# %%
# NBVAL_CHECK_OUTPUT
ends = {name: history[-1]["bound"] for name, history in histories.items()}
print("both have learned something:", max(ends.values()) < math.log(V) - 0.1)
print("neither passes the entropy:", min(ends.values()) > entropy - 0.05)
print("for equal FLOPs AR is ahead:", ends["ar"] < ends["mdlm"])

# %% [markdown]
# AR is ahead by 0.18 nats per word, and nearly finished. It learns faster per FLOP, as it did per step: one question per place, asked at every place in every step. (And its number is exact, the masked model's a bound.)
#
# ## 4 · The scoreboard
#
# Everything, three seeds. Each way of writing is shown at the number of calls at which it writes most right sentences (of those at which it does not repeat itself; section 5 says why). **Predict**, before you look, an order of five by *grammatical*: AR, MDLM one word a call, D3PM uniform, Diffusion-LM, TEncDM. Then say for each of the five whether there is a bound.

# %%
study = load_results("scoreboard")
print(pictures.table(study))

# %% [markdown]
# *Bound*: nats per word on held-out sentences, mean and standard deviation of the seeds (for AR the exact cost; for D3PM that of its whole chain of 384 steps); *log p gap*: nats per sentence by which right sentences are likelier than true ones; *copied*: sentences that stand in the training set; *calls*: of all networks, on average.
#
# The five fall into three groups: AR (95 %), then TEncDM and D3PM uniform (89 and 87), then MDLM and Diffusion-LM (76 and 74). Within a group the seeds overlap. All but TEncDM have a bound.
#
# **Who writes like the language?** AR, first of all: 95.5 % of its sentences are right, none of its other figures can be told from those of true sentences, and its cost is 0.005 nats above the exact one. Among the others look at *two* columns.
#
# - *Symbols*: a gap near 0 and nearly the coverage of true sentences for D3PM, MDLM and GIDD, with ReMDM and Star+ too. What they write is various enough; what differs is how much of it is rubbish.
# - *Vectors*: more right sentences than MDLM in four of five cases, and in all five too usual ones. PLANNER breaks hardly a sentence (99.3 % right at 4 steps) and covers 56 % of the word pairs where true sentences cover 77 %; its sentences are 2.15 nats too likely. Diffusion-LM, TEncDM, COSMOS and LD4LG lie between (0.9, 1.2, 1.3 and 1.4 nats). G-Star, the one guided sampler on symbols, pays a little too (0.7 nats).
#
# **The surprise is D3PM.** With absorbing noise it is MDLM in discrete time, and its bound cannot be told from MDLM's (1.785 and 1.781, standard errors 0.006 and 0.005); yet at 128 calls 91 % of its sentences are right, of MDLM's 76 % with one word a call. With uniform noise the bound is higher (1.805) and 87 % are right. Why? It is hardly the steps: both have a time input, are narrower for it, and get 572 and 586 steps for MDLM's 421; but GIDD has the same network and 586 steps, and writes 75 %.
# Absorbing D3PM has a plain cross-entropy beside the bound, without MDLM's weight 1/t, so that nearly empty pages, on which a sentence is decided, count for more (lesson 07, section 7). Uniform noise may mend every word in every call. These are explanations that fit, and were not tested one by one.
#
# **One is not ready**: blocks of 4 got half of MDLM's steps, and it shows (23 %, bound 1.893). At equal *steps* they are ahead of one block of twelve, which is MDLM: 24 against 8 % right in lesson 11's study, after 300 steps of 64. Here a step counts what it costs, and theirs costs twice as much.
#
# **Copies**: none to speak of. At these budgets nobody learns 32,768 sentences by heart.
#
# What each row was trained with:

# %%
print(pictures.costs(study))

# %% [markdown]
# Read the right-hand side before you compare. The four latent systems stand on an encoder that had $6.4 \cdot 10^{12}$ FLOPs of training of its own, three and a half times the budget of this table, on fresh sentences of its own. (PLANNER takes its word embeddings only.) They may keep what it knows, and pay only for reading with it. That is how the papers do it (BERT, BART), and it is not equal. On the other hand a good part of their budget goes into an autoencoder before the first step of diffusion: 15 % (TEncDM) to half (PLANNER, and LD4LG with its language model).
#
# ## 5 · Frontiers
#
# One point per method says little: every one but AR can be run with fewer calls. **Predict** the left picture for MDLM (you know it from lesson 08), then say where MDLM + Star+ and GIDD lie against it at four calls and at 128.

# %%
show(*pictures.frontiers(study))

# %% [markdown]
# Left: at one call hardly a sentence on symbols is right, twelve words drawn without seeing each other. At four calls uniform noise is far ahead (62 %; GIDD 43 %, D3PM absorbing 29 %, Star+ 27 %, MDLM 21 %): there every call may mend every word. Where calls are plenty, MDLM's network gains next to nothing by revising without a guide. Star+ writes 74 % with 69 calls, ReMDM 76 % with 35, plain MDLM one by one 76 % with 12; GIDD's 75 % take 128. With a guide there is a gain: G-Star has 90 % with 27 calls, from a narrower denoiser that had a fifth less of the FLOPs. And nobody on symbols reaches the grey diamond, AR's 12 calls.
#
# Do not read the light blue line of D3PM absorbing as revision: it writes each of its twelve words once, as MDLM does. But it is told the time and asked in all 128 steps, while MDLM is asked only where something has changed, 11.5 times in 128 steps. Most of those calls could be saved (lesson 08, section 11). At equal *steps* it is ahead of MDLM everywhere, from 29 against 21 % at 4 to 91 against 75 % at 128.
#
# Right: calls of all networks together, those of LD4LG's and PLANNER's autoregressive decoders (12) too. All but PLANNER gain from 4 to 32 steps, and hardly from 32 to 128 (TEncDM 53, 89, 87 %; COSMOS 81, 93, 93 %).
#
# And look at the left end of LD4LG and PLANNER: 96 and 99 % right with a *single* call of the denoiser. That is section 1 again. Asked once, about pure noise, a denoiser can only answer with a mean of latents, and a decoder that knows its grammar makes good sentences of it, the same few for ever: a coverage of 3 and 19 %. (The table of section 4 takes the best number of calls *of those at which at least half of what true sentences cover is covered*. Without this clause LD4LG would stand there with its monologue.)
#
# Calls are not seconds. An AR call reads one new word and keeps the rest in a cache; a diffusion call reads the whole canvas; a latent call a few vectors (four, TEncDM's twelve). The same points against time, all measured in turns on one machine, in batches of 84 sentences:

# %%
show(*pictures.frontiers(study, "seconds"))
print("cheapest for what they write, by seconds, all ways together:\n")
print(pictures.choices(study, "seconds"))

# %% [markdown]
# AR's calls are cheap, and 84 sentences share each of them. It writes 1,000 words in 0.024 s, MDLM with as many calls in 0.137 s, D3PM uniform with its four in 0.046 s. (One sentence at a time it is calls that count, and the order changes: lesson 00, section 6.) Only small canvases compete. COSMOS asks its denoiser about four latents and is ready with four steps in 0.019 s, 81 % right; PLANNER needs 0.035 s.
#
# Now look who is *missing* from the list: AR. It is beaten by LD4LG's monologue, which is as often right, and a thousandth of a second faster (repeated timings differ by more). So much for frontiers with one axis of quality.
#
# And section 1's warning: grammar against coverage. A path that goes up and to the left buys grammar with variety. **Predict** which paths do.

# %%
show(*pictures.coverage_beside_grammar(study))
true_coverage = sum(row["coverage"] for row in pictures.rows_of(study, "true")) / len(pictures.rows_of(study, "true"))
print(f"the frontier by seconds again, of those only that cover nine tenths of what true sentences cover ({90 * true_coverage:.0f} %):\n")
print(pictures.choices(study, "seconds", 0.9 * true_coverage))

# %% [markdown]
# Left: with more calls nearly all paths go up *and to the right*, towards the dotted line. (They begin at 63 %, without one right sentence: a broken sentence has true pairs too.) On symbols grammar is not bought with variety; only G-Star turns clearly to the left. Right, on another scale: paths that start at the far left, where few sentences are repeated, and end short of the line. COSMOS ends at 65 %, TEncDM at 64, LD4LG at 65, PLANNER at 56, and Diffusion-LM, the only one without a pretrained encoder, at 71. The list shows who is left when variety is asked for: AR, and blocks of 4, which are two thousandths of a second faster and wrong 94 times in 100. Diffusion-LM has the variety, and AR beats it in time and grammar, like everything else.
#
# ## 6 · Do bounds and samples agree?
#
# A bound says what true sentences cost; samples say what the model writes. One would like them to rank methods alike. **Predict:** of all pairs of methods that have a bound, in how many does the one with the smaller bound also write more right sentences, at its most calls?

# %%
show(*pictures.bounds_and_texts(study))
print(pictures.agreement(study))

# %% [markdown]
# In 17 of 21. Where bounds differ much, they mostly agree with the samples: AR is first in both, blocks of 4 last of the symbols in both. Where they differ little, they do not. D3PM absorbing, MDLM, GIDD and D3PM uniform lie within 0.025 nats of each other; by samples the two D3PM are ahead, with 91 and 87 % against 76 (MDLM) and 75 (GIDD), though uniform noise has the *highest* bound of the four. And Diffusion-LM is 0.8 nats above the language, more than five times as far as blocks of 4, and writes about as many right sentences as MDLM. (Its bound is also hard to measure: the standard error of one estimate is 0.24 nats, and below 0.02 for all others.)
#
# Three reasons why they may differ, all met in this course. A bound may be loose: Diffusion-LM's has two terms for its embeddings (lesson 02), a chain of few steps pays for drawing words together (lesson 08). A sampler is not the law that was bounded: Star's own bound grows with every step (lesson 10), and TEncDM has none at all (lesson 05). And the two KL of section 1 punish different things: one nat more for a rare true sentence, or one word in a hundred that is rubbish.
#
# Section 1 also says how far they *must* agree. MDLM is 0.029 nats per word above the language, 0.34 per sentence: at least $e^{-0.34}$, 71 % of its sentences have to be right. 76 % are, and $-\log 0.76 = 0.28$: most of what it pays is for rubbish. D3PM absorbing pays 0.40 per sentence, must write 67 %, and writes 91 %: hardly a quarter is for rubbish, and whether the rest is a loose bound or a law that is a little off these two figures cannot say. Diffusion-LM's 9.5 nats promise nothing.
#
# ## 7 · Real text
#
# The same question on sentences from Wikipedia, in 4,096 word pieces, one sentence on a canvas of 36 places. There are two groups.
#
# - *Equal budgets.* Seven networks with 1.84 million parameters within a hundredth, and $2.1 \cdot 10^{13}$ FLOPs of training each, as their plans count them: seven to twelve minutes of one core, beside other work. They are the recipes `ar-sentences`, `mdlm-sentences`, `block-sentences` and so on, with two seeds each.
# - *The course checkpoints of lessons 03 to 06.* They are larger, stand on MiniLM's states, and were trained once, for eight to fourteen minutes of one core (their cards say so); their seeds only draw other texts. They are here to be seen, not to be ranked.
#
# No exact $p$ any more. A *judge* reads the samples, a language model of 135 million parameters that takes no part in the writing, and it reads human sentences too. The columns:
#
# - *bound*: nats per word piece of the held-out sentences, with half the range of the two seeds or the standard error of one estimate, whichever is larger. What a method pays for the padding behind the end is included.
# - *entropy*: of the words within a text; *diversity*: different n-grams of all texts divided by all n-grams; *memorised*: share of the 4-grams that stand in the training texts.
# - *MAUVE*: how alike samples and human texts are, from 0 to 1. It falls when texts are implausible and when variety is missing.
#
# **Predict:** how far is AR ahead by its bound, closer to 0.02 nats as in section 4, or to 1? Who will have the lowest judge's perplexity, and how far below the human sentences' MAUVE will the best writer be?

# %%
from difflm_core.classroom.pictures import lesson_12_text as text

written = load_results("text_scoreboard")
print(text.real_text(written))

# %% [markdown]
# **By bound** AR is 0.9 nats ahead of all others: 4.5 nats per piece, a perplexity of 90. On the toy language it was 0.02. These are networks after ten minutes; in MDLM's paper, at the sizes of section 8's last rung, perplexities of 17.5 and at most 23.2 are 0.28 nats apart. A masked model learns to answer with any part of the sentence hidden, which is more to learn, and every step teaches it at half of the places.
#
# Behind AR stand, in this order with both seeds, D3PM absorbing (5.4), GIDD (5.5), MDLM (5.7), D3PM uniform (5.7) and blocks (6.0). The first two are trained with tamer weights than the bound's own ($\lambda$ times a cross-entropy in lesson 07, dynamic weights in lesson 09), the next two with the bound itself. That would fit; but nothing here separates it from the other differences, the time input and the number of steps. Blocks of 4 pay for reading each sentence twice, with half as many steps. And Diffusion-LM's bound cannot be measured with the study's four draws a sentence: its standard error is 5 nats.
#
# **By the judge** PLANNER writes like humans (63 both), at a diversity of 0.05 where theirs is 0.77, and with a third of its 4-grams out of the training set. That is section 1's trick, without anybody having turned a temperature: a decoder that knows its grammar and little else says what is usual. LD4LG, with a decoder of the same kind and codes that carry more, is at 960. All others are above *shuffled* human sentences (1,470): they write words of a topic side by side. Of the equal ones AR is the best here too (3,270); the masked ones, D3PM, GIDD and Diffusion-LM lie between 6,500 and 7,300 and cannot be told apart, because one seed differs from the other by as much (± 550 for MDLM). MAUVE is 0.13 at most, human sentences have 0.96, and again it is PLANNER who has the most. Every column crowns a writer, and none of them can write.
#
# More calls are worth a look. **Predict:** how much does MDLM gain from 4 calls to 36? And who becomes *worse* by the judge with more calls?

# %%
show(*text.text_frontiers(written))

# %% [markdown]
# Left: on symbols the paths are nearly flat. MDLM goes from 7,300 to 6,800, less than the two seeds differ, and no sampler for its network gets below 6,200. On the toy language, with networks that were nearly done, calls and samplers decided nearly everything; here the network is the limit. Only Diffusion-LM clearly needs its calls: 12,600 with 4, 7,000 with 200. TEncDM gets *worse* with more of them: 2,900 with 4 steps of its denoiser, 3,400 with 50.
#
# The right picture says what these steps buy. Few of them give means of latents, and texts that resemble each other: TEncDM's diversity rises from 0.67 to 0.80. And nobody is near the star. From the left one comes down to its height by being usual; to its place only by learning more.
#
# ## 8 · Rung by rung
#
# All of this was small. How does it grow? Every method that is trained has recipes of three sizes or more, the last one the paper's (LLaDA has two; its own 8B is out of reach), and `--plan` says before a run starts what it will take. The same functions, called here:

# %%
from difflm_core.classroom.pictures import lesson_12_plans as plans

print(plans.rungs(["mdlm-tiny", "mdlm-sentences", "mdlm-shakespeare", "mdlm-lm1b", "mdlm-owt"]))

# %% [markdown]
# *Weights +*: 20 bytes per parameter and process, for weights, gradients, average and AdamW. *A batch*: what autograd keeps of the whole batch in 16 bits, to be divided by processes and micro-batches. *One H100*: at 35 % of its peak, an assumption; a tiny network would not reach it. From the first to the last rung parameters grow by a factor of 670, tokens by 114,000, FLOPs by 60 million, and not a line of the method changes.
#
# The others, with the figure that the papers give. **Predict:** which of these runs could you afford?

# %%
for family in (
    ["ar-tiny", "ar-sentences", "ar-shakespeare", "ar-lm1b", "ar-owt"],
    ["d3pm-tiny", "d3pm-sentences", "d3pm-shakespeare", "d3pm-text8"],
    ["gidd-tiny", "gidd-sentences", "gidd-shakespeare", "gidd-owt-small-p0.2", "gidd-owt-base-p0.2"],
    ["block-tiny", "block-sentences", "block-shakespeare", "bd3lm-owt-4"],
    ["diffusion-lm-tiny", "diffusion-lm-sentences", "diffusion-lm-e2e", "diffusion-lm-rocstories"],
    ["llada-tiny", "llada-1b"],
):
    print(plans.rungs(family), "\n")
latents = ("ld4lg", "planner", "tencdm", "cosmos")
print(plans.latent_rungs([f"{name}-{size}" for name in latents for size in ("wikipedia", "rocstories")]))

# %% [markdown]
# On one H100, on paper: Diffusion-LM's runs take 20 and 84 minutes, the four latent systems two to eight hours, LM1B 31 to 35 hours, and what reads OpenWebText, text8 or C4 two to fifteen days. So half of this course's papers are a matter of one card and some nights. The plan is hopeful, though: for `diffusion-lm-e2e` the authors report 5 hours on an A100, which is 8 % of that card's peak and not 35.
#
# The whole page for one of them, as `python -m difflm_core.training mdlm-owt --plan` prints it. Note the line *this CPU*, measured while you wait: that is why there are rungs.

# %%
from difflm_core.training.plan import plan
from difflm_core.training.recipes import RECIPES

print(plan("mdlm-owt", RECIPES["mdlm-owt"][1]))

# %% [markdown]
# ### One, eight, sixty-four GPUs
#
# The batch is dealt: each of $n$ GPUs takes its rows, and then all of them average their gradients (*DDP*, distributed data parallel). What does not fit into memory is read in *micro-batches*, one after the other. Computing falls like $1/n$; what must be sent does not. A part of it can be *hidden*, sent while the backward pass goes on. **Predict:** at 64 GPUs, how large a part of a step is sending?

# %%
from IPython.display import Markdown, display

from difflm_core.training.scaling import plan_scaling

display(Markdown(plan_scaling("mdlm-owt", RECIPES["mdlm-owt"][1], (1, 8, 64))))
show(*plans.on_gpus(["mdlm-owt", "llada-1b"]))

# %%
# NBVAL_CHECK_OUTPUT
from difflm_core.training.plan import needs
from difflm_core.training.scaling import lay_out

owt = RECIPES["mdlm-owt"][1]
alone, many = lay_out(owt, 1), lay_out(owt, 64)
print("computing is dealt in equal parts:", math.isclose(alone.compute, 64 * many.compute))
print("64 GPUs, nothing hidden, are so many times as fast:", round(alone.seconds(False) / many.seconds(False)))
print("parameters of mdlm-owt:", f"{needs(owt).parameters:,}")

# %% [markdown]
# At 64 GPUs 3.2 of 20.7 ms are sending, 16 % of a step, if nothing is hidden: 64 are worth 54. The larger model sends more and computes far more, so that its share is 5 % (right).
#
# Nothing of this was measured on GPUs; it is arithmetic on data sheets with its assumptions above the table, and `docs/full_runs.md` says what was tried with real processes (two, on a CPU). What one would measure first is the share of the peak that a step really reaches, the *model FLOPs utilisation*:
#
# $$ \mathrm{MFU} = \frac{\text{FLOPs of a step, by the plan}}{\text{seconds of a step} \times \text{processes} \times \text{peak}} $$
#
# The plan assumes 0.35. At 0.2 all computing above takes 1.75 times as long, and nothing else changes. The commands, from small to large:
#
# ```
# python -m difflm_core.training mdlm-tiny                                             # minutes, this machine
# python -m difflm_core.training mdlm-sentences                                        # some minutes more, real text
# python -m difflm_core.training mdlm-lm1b --data.name NAME-OF-YOUR-COPY               # one GPU, 31 hours on paper
# python -m difflm_core.data.prepare owt-gpt2                                          # 18 GB of token files, once
# torchrun --standalone --nproc-per-node 8 -m difflm_core.training mdlm-owt            # one machine
# ```
#
# `docs/full_runs.md` has several machines, SLURM, and what happens when a run is cut off.
#
# ### What does a larger rung promise?
#
# Not more than its paper reports. The thing to watch is what helps in one setting and not in another, and this course has met it several times: self-conditioning did nothing for four latents of a twelve-word sentence (lesson 03) and was the largest effect with one latent per word (lesson 05); masked latents helped the authors of COSMOS and cost us ten points (lesson 06); a head on a frozen trunk is enough for G-Star's authors and was not for us (lesson 10). A small study shows *how* something works. Whether it pays at 10²⁰ FLOPs is a question for the rungs in between.
#
# ## 9 · The deck, read again
#
# This course grew from a talk. Its summary slides make claims; here is each with what the course has measured, and where. *Here* always means: our languages, our sizes.
#
# | the slides say | measured | verdict |
# |---|---|---|
# | AR cannot correct previous mistakes | 00, section 8: after "a brown foxes" 0 % of its sentences come right. Plain masked diffusion: 0 % too. With second thoughts and 24 steps: 77 to 79 % | true, and not of AR alone |
# | AR does not think ahead | 00, section 7: a hidden word costs 1.75 nats given its left side, 1.42 given both. The whole sentence costs both models nearly the same | true where something further on is given; no handicap when writing freely |
# | AR's generation is linear in length | 00, section 6: 256 words, one text: 0.43 s with a cache against 0.15 s for 16 masked calls; sixteen texts: 1.1 s against 2.2 s | true in calls, not in work |
# | Diffusion-LM converges slowly, needs many steps, collapses | 02, section 10: bound near 2.0 after 200 steps for masks, 2.1 after 1,600 for vectors; 63 % right in five steps and 80 % in 200, a perfect network 98 % in five; with clamping 3.7 nats too likely | all three seen; the steps are the network's need, not the sampler's |
# | object-prediction beats noise-prediction | 02, section 9: twice as many readable words lost with noise at 64 numbers a word, hardly more at 4; 03, section 7: on uncompressed states $x$ is good and $v$ clearly worse, in a bottleneck $v$ is a little better | seen where vectors are wide |
# | transformers outperform the U-Net | 02, section 10: after 400 steps the U-Net has 16 to 26 % right, the transformer 2 or 3 % | not seen here |
# | self-conditioning increases confidence, improving performance | 05, section 8: 17 points at five steps, 36 at 50; surer on the way, not at the end; distinct-2 0.28 against 0.32. 03, section 7: nothing | seen in one of two systems |
# | COSMOS: regularise, perturb, mask | 06, section 8: 60, 82, 88 % as two additions come in; masked latents cost ten points | two of three |
# | continuous: corrects its mistakes | 02, section 10: every further step is another chance; section 5: from 4 to 32 steps TEncDM goes from 53 to 89 % right, LD4LG 68 to 85, COSMOS 81 to 93, Diffusion-LM 57 to 74; PLANNER does not need it | seen up to about 32 steps |
# | continuous: pretty fast | 03: ten steps are enough; 04: two do as well as fifty; section 5: COSMOS has 81 % right with 5 calls of all networks, MDLM 21 % with 4; in time 0.019 s for 1,000 words against 0.040 (AR, 12 calls: 0.024) | true where the latent is small, at the price of variety |
# | continuous: methods of computer vision apply | guidance by a classifier (02, section 11), classifier-free (03, section 8: the asked colour in nearly all texts at weight 2), DDIM (04), self-conditioning (05) | true; guidance and caches work on symbols as well (11) |
# | continuous: relies on pretrained models | section 4: three and a half budgets before the first step, for four of five; Diffusion-LM does without, and has 74 % right to their 87 to 99. Of the encoder its word embeddings alone beat its states by 4 points (05, section 7) | true of the systems, not of the principle |
# | continuous: autoencoder trained separately | 15 to 50 % of the budget here; what it decides is large (06: 60 to 88 % at equal reconstruction) | true |
# | continuous: causal generation is not straightforward | not tested on vectors; on symbols blocks do it (11) | open |
# | discrete: MDLM's bound is tighter, mostly by architecture | 08, section 9: its ingredients are worth 0.003 to 0.004 nats together, in the paper's order; section 4: at equal FLOPs D3PM absorbing has MDLM's bound (1.785 and 1.781) with a network of the same kind | the second half: yes |
# | GIDD solves the inability to remask | 09, sections 8 to 10: at four calls a third of the broken sentences of a perfect masked network are left with a perfect one; trained networks win at two to eight calls and pay in the bound; here, section 5: 43 % right at 4 calls, MDLM 21; one by one and at most calls they are level (76 and 75 %) | seen; self-correction as published narrows the text |
# | Star and G-Star solve it without training anew | 10, section 11: with at most 8 calls G-Star leads MDLM by 20 points, 9 of which one has by taking back random words; a plain sampler with planned counts is better than both; here, section 5: Star+ no better than one word a call, G-Star 90 % at 27 calls against 76 % at 12 | seen, with a cheaper rival |
# | most large models are masked | lesson 11's table; DiffusionGemma, the first large open one with uniform noise, is the exception | true, not for ever |
# | easy to implement | thirty lines each: 07, 08, 09, 10 | true |
# | they scale well | not measured here. LLaDA-8B is level with LLaMA3-8B on MMLU (65.9 against 65.4) and behind on BBH (49.7 against 62.1), in its own report. At our equal FLOPs AR is ahead: 1.757 against at most 1.781 nats on the toy language, 4.5 against 5.4 and more on real sentences (sections 4, 7) | open |
# | diffusion models do great in coding | 11, section 11: on functions of Python's library, 1,000 steps, three seeds: nobody writes one that does its job; of the masked model's bodies 6 to 28 % parse, of its AR twin's 32 to 38 % | not seen; nothing at this size can code |
# | masked diffusion dominates | sections 4 and 5: AR is ahead of all, D3PM with either noise writes more right sentences than MDLM, and at 4 calls uniform noise has 62 % right, masks 21 to 29 % | among published large models; not here |
# | continuous diffusion will be scaled, soon | cannot be measured. ELF (2605.10938) and LangFlow (2604.11748) appeared while this course was written | open |
#
# ## 10 · What is not known
#
# - **Whether the order of the table survives.** Ours are one language with sentences of 12 words and one of short sentences from Wikipedia, networks of 0.25 to 4 million parameters, minutes of training. No method was tuned for it, and the effort that its lesson had spent on it differs.
# - **What a bound of a diffusion model is worth against an exact $-\log p$.** A gap between perplexities of "at most 23.2" and "17.5" (`mdlm-owt`, `ar-owt` in section 8) is partly the bound and partly the model; for the order of one's choice the exact number can be had (lesson 08, section 11), and is seldom reported.
# - **Which latents.** For frozen encoders there is no bound on the probability of a text, so systems of lessons 03 to 06 are compared through judges and features, whose taste enters.
# - **Calls at scale.** Nearly all published speed compares different models on different machines in different batches (lesson 11 lists the conditions).
# - **Data instead of compute.** When text runs out rather than FLOPs, models that hide words see more variants of each sentence. Whether that, or plain regularisation, explains reported gains is disputed (lesson 11, section 13); our budgets never came there.
# - **Whether revising pays** once words are written in a good order (lesson 10's missing control), for long texts.
#
# ## 11 · Exercises
#
# Two formulas, a frontier, a table to be read, and an open question. A check prints what it found and names the usual mistakes; `ex12_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises.lesson_12 import claims, ex12_1, ex12_2, ex12_3, ex12_4, ex12_5
from difflm_core.classroom.exercises.lesson_12.budget import BUDGET, Plan

# %% [markdown]
# ### Exercise 12.1 · 8 min · difficulty 2/5 · What will it cost?
# *Importance 5/5: the first question that one asks of a run.*
#
# FLOPs of a whole training run of a transformer. In every layer: matrices with 12 `width`² weights (attention 4, MLP 8), and attention that compares each position with `L` others and mixes them. A head of `V` × `width` at a `share` of the positions. Count as `--plan` does: the backward pass is twice the forward pass, attention's too (no 3.5 as in section 2); look-ups, norms and the optimiser are free.


# %%
def training_flops(steps, rows, L, V, width, layers, share):
    """Exercise 12.1: FLOPs of `steps` steps on `rows` texts of L tokens each."""
    ### BEGIN SOLUTION
    matrices = 12 * layers * width**2
    per_token = 6 * matrices + 12 * layers * width * L + 6 * share * V * width
    return steps * rows * L * per_token
    ### END SOLUTION


# %%
ex12_1.run(training_flops)
training_flops = ex12_1.answer_or_reference(training_flops)
for name, share in (("mdlm-tiny", 0.5), ("mdlm-owt", 0.5), ("ar-owt", 1.0)):
    r = RECIPES[name][1]
    flops = training_flops(r.steps, r.batch_size, r.data.length, needs(r).V, r.size.width, r.size.layers, share)
    print(f"{name:10s} {flops:.3g} FLOPs; the plan says {needs(r).flops:.3g}")

# %% [markdown] tags=["solution"]
# **Why.** 2 FLOPs for each weight and token forward, 4 backward: 6. Attention: compare and mix, 2 × 2 `width` `L` per layer and token, times 3. (The counter of section 2 finds 3.5 instead of 3 for attention, because fused attention computes its comparisons again; the difference is the work that one chose to do twice, and MFU leaves such work out.) With short texts attention is next to nothing: at `L` = 12 and width 96 it adds 2 % to the trunk. It draws level with the trunk's matrices when `L` = 6 `width`.

# %% [markdown]
# ### Exercise 12.2 · 10 min · difficulty 3/5 · As many steps as it may cost
# *Importance 5/5: most unfair tables are unfair here.*
#
# G-Star asks two networks. Step $k = T, \dots, 1$ begins at time $k/T$. Every step is one call of the denoiser. If $k/T \le t_{\mathrm{on}}$ the step is guided and costs a call of the predictor as well, except for the last one ($k = 1$): nothing is taken back there. A call costs `denoiser` or `predictor` (in FLOPs, seconds, whatever); return the largest $T$ whose whole cost is at most `budget`.


# %%
def steps_for(budget, denoiser, predictor, t_on):
    """Exercise 12.2: the largest number of steps that the budget allows."""

    ### BEGIN SOLUTION
    def cost(T):
        guided = sum(k / T <= t_on + 1e-9 for k in range(2, T + 1))
        return T * denoiser + guided * predictor

    return max(T for T in range(1, int(budget / denoiser) + 1) if cost(T) <= budget + 1e-9)
    ### END SOLUTION


# %%
ex12_2.run(steps_for)
steps_for = ex12_2.answer_or_reference(steps_for)
for predictor in (0.0, 0.5, 1.0):
    print(f"32 calls' worth, t_on = 0.6, a predictor that costs {predictor:g} of a denoiser: {steps_for(32, 1.0, predictor, 0.6)} steps")

# %% [markdown] tags=["solution"]
# **Why.** The cost grows in jumps, so no division gives the answer: count, and take the largest that fits. (The `1e-9` are a precaution: sums and products of numbers like 0.6 are seldom exact in a computer.) With a predictor as dear as the denoiser 32 calls are 21 steps: a table at equal *steps* would give G-Star half as much work again.

# %% [markdown]
# ### Exercise 12.3 · 8 min · difficulty 3/5 · The frontier
# *Importance 4/5: what is not on it need not be discussed.*
#
# `cost` and `quality` are $(N,)$ tensors, one entry per way to write. A point *beats* another if it costs no more, is no worse, and is strictly better in one of the two. Return a boolean tensor: True for each point that no other beats.


# %%
def on_frontier(cost, quality):
    """Exercise 12.3: which points nothing beats, (N,) booleans."""
    ### BEGIN SOLUTION
    no_worse = (cost[:, None] <= cost) & (quality[:, None] >= quality)  # row against column
    better = (cost[:, None] < cost) | (quality[:, None] > quality)
    return ~(no_worse & better).any(0)
    ### END SOLUTION


# %%
ex12_3.run(on_frontier)
on_frontier = ex12_3.answer_or_reference(on_frontier)
points = pictures.all_points(study)
cost, grammar = (torch.tensor([p[key] for p in points]) for key in ("network_calls", "grammatical"))
for i in on_frontier(cost, grammar).nonzero()[:, 0][cost[on_frontier(cost, grammar)].argsort()].tolist():
    print(f"{points[i]['name']:17s} {cost[i]:6.1f} calls  {100 * grammar[i]:5.1f} % grammatical, coverage {100 * points[i]['coverage']:.0f} %")

# %% [markdown] tags=["solution"]
# **Why.** Two conditions: nowhere worse, somewhere better. Without the second every point would beat itself; with "better in both" points of equal cost would never beat each other. A frontier has no winner: it says which choices are left when nobody has said yet what a percent is worth in calls. And it knows two figures only. Put coverage in as a third and points come back that grammar alone had thrown out.

# %% [markdown]
# ### Exercise 12.4 · 8 min · difficulty 3/5 · What does a table show?
# *Importance 5/5: you will read many more tables than you make.*
#
# Six claims about a part of a published table (ReMDM, Wang et al. 2025: OpenWebText, 1,024 tokens, top-p 0.9, 5,000 samples). For each: is it *supported* by the table, *contradicted* by it, or can the table not tell?

# %%
print(claims.shown())


# %%
def my_verdicts():
    """Exercise 12.4: {"A": "supported" or "contradicted" or "cannot tell", ...} for the claims A to F."""
    ### BEGIN SOLUTION
    return {
        "A": "supported",
        "B": "contradicted",
        "C": "contradicted",
        "D": "cannot tell",
        "E": "contradicted",
        "F": "cannot tell",
    }
    ### END SOLUTION


# %%
ex12_4.run(my_verdicts)

# %% [markdown] tags=["solution"]
# **Why.** A: higher in all four columns. B: lower perplexity with lower entropy is section 1's temperature in other clothes; MAUVE, which sees both, says the opposite. C: 0.042, then 0.035. D: steps are not seconds. E: perplexity 12.1 against the data's 14.8 comes with entropy 5.22 against 5.44, and with a MAUVE of 0.760: likelier than true text is not truer. F: the table has no bounds (ReMDM's own is the looser one, lesson 10, section 5). And did you see ReMDM's perplexity *rise* from 512 to 1,024 steps? From there on its authors use another schedule: a row of a table need not be one method.

# %% [markdown]
# ### Exercise 12.5 · 25 min · difficulty 5/5 · A twelfth of the budget (open)
# *Importance 4/5: at every scale the first question is how to split the FLOPs.*
#
# You have $1.5 \cdot 10^{11}$ FLOPs, a twelfth of the scoreboard's, for a masked model on the same sentences. The course's recipe (width 96, two layers, batches of 256, learning rate 0.003) makes 35 steps of it. Choose a `Plan(width, layers, heads, batch_size, learning_rate)`: the check counts what a step costs, trains as many as fit, and asks for a bound at least **0.5 nats per word** lower. (Each try takes some seconds.)
#
# **Predict:** what is wrong with 35 steps of 256, and what will be wrong with 4,000 steps of 2?


# %%
def my_plan():
    """Exercise 12.5: a Plan whose bound, after BUDGET FLOPs, is at least 0.5 nats below the course recipe's."""
    ### BEGIN SOLUTION
    return Plan(batch_size=32)
    ### END SOLUTION


# %%
ex12_5.run(my_plan)
print(f"the budget: {BUDGET:.2g} FLOPs")

# %% [markdown] tags=["solution"]
# **Why.** Early in training the direction is clear from few sentences, and steps are what is missing. Batches of 32 instead of 256 give 280 steps and 1.98 nats in place of 2.61; batches of 16 give 561 steps and 1.97: now the noise of small batches costs what the steps gain, and at 2 sentences a step it would cost more. Then the size: a network of half the width does a step for a quarter of the price, and at this budget 1,073 smaller steps of 32 are better (1.80). Where the best size lies grows with the budget: that is what scaling laws describe. Two methods compared at one size and one budget are compared at *one point* of two such curves, and the scoreboard of section 4 is no better than that.

# %%
summary()

# %% [markdown]
# ## 12 · What to remember, of the whole course
#
# 1. Diffusion on text is a choice of what to destroy (words, vectors, latents), a network that guesses what was there, and a sampler. The first settles which bound there is, the third what is written, and the network between them can often be kept when either changes.
# 2. Words drawn in one call do not see each other. Calls, orders, revisions and blocks are all ways to pay for that; count every network that is asked, in calls and in seconds.
# 3. Quality without variety is a temperature. Print the two together, with true text on the same scale, and say what has no bound.
# 4. A comparison is as good as its poorer side: equal parameters, equal FLOPs, equal care, seeds, and a control that does the cheap half of the clever thing.
# 5. A bound that is below the entropy by more than its error is a mistake; a result that turns round with the size is not a contradiction but a question for the next rung.
#
# **Five quick questions**
#
# <details><summary>1. A paper reports a generative perplexity of 11 for its samples, human text has 15. What do you ask for?</summary>
# The entropy of the samples, and a figure that compares with human text in both directions (MAUVE, or coverage). Likelier than human text means less varied.
# </details>
#
# <details><summary>2. Two methods have equal parameters and equal steps. Name three things that may still be unequal.</summary>
# FLOPs of a step (two copies of the text, a head at all positions or at half of them), pretrained parts, rows of a batch; and the care that was spent on each one's settings.
# </details>
#
# <details><summary>3. Method A has the lower bound, B writes more right sentences. Is one of the figures wrong?</summary>
# Not necessarily. The bound charges the model for true sentences that it finds improbable, the samples show what it writes too often. And a bound may be loose, or belong to another sampler.
# </details>
#
# <details><summary>4. mdlm-owt needs 13 days on one H100 by the plan. What is it on 64, and what could make it longer?</summary>
# 13/64 days are a little less than five hours, and with nothing hidden it is nearly six: computing is dealt, sending comes on top. A slower network between machines (one card instead of eight), less than 35 % of the peak with 8 rows each, reading, evaluation.
# </details>
#
# <details><summary>5. Why is there no bound for TEncDM?</summary>
# The diffusion bounds the density of latents of a frozen encoder. Which texts a latent stands for, and with what probability, nothing in the system says.
# </details>
#
# **Sources.** Every method's paper is named in its lesson. For this one: Wang et al. 2025, *Remasking discrete diffusion models with inference-time scaling* (arXiv 2503.00307), the table of exercise 12.4. Pillutla et al. 2021 (2102.01454), MAUVE. DUEL (2603.01367), exact likelihoods of fixed orders. Sahoo et al. 2024 (2406.07524) and Austin et al. 2021 (2107.03006), the figures that the plans expect. Nie et al. 2025 (2502.09992), LLaDA, the two benchmark figures
# of section 9. The two studies, the counters and the plans are this course's (`studies/scoreboard.py`, `studies/text_scoreboard.py`, `studies/flops.py`, `training/plan.py`, `training/scaling.py`, and their tests). This is the last lesson. The map is in lesson 00, the words in `lessons/notation.md`, and the next rung is a command away.
