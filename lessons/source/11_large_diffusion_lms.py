# %% [markdown]
# # 11 · Large diffusion language models: what was added to a page of code?
#
# **Minutes** 60 to read, about 3 of computing on 2 CPU cores · **Prerequisites** lesson 08 (masked diffusion); lessons 09 and 10 help with sections 7 and 10
#
# LLaDA has 8 billion parameters and answers questions; Seed Diffusion and Mercury write code at a thousand tokens a second and more, say their makers; DiffusionGemma revises a canvas of 256 random words. Their loss is that of lesson 08, which fits on a page. So what is *new*?
# A handful of additions: a loss that knows questions from answers, rules that say which words to write in one call, blocks with a cache, a start from an autoregressive model, training on errors. Each is small enough to be built here, in a language where the truth is known.
#
# **The question of this lesson.** Which of these additions does what its inventors say, at what price, and which claims can nobody check yet?
#
# After this lesson you can
# - write LLaDA's sampler and its instruction tuning, and say why it answers in blocks,
# - say what is lost when several words are drawn in one call, and choose a rule that spends this loss well,
# - build block diffusion, and show why its cache is exact where that of other diffusion models is not,
# - turn an autoregressive network into a diffusion model,
# - read a claim like "2,146 tokens per second" and list what it leaves out.
#
# Nothing is downloaded: the toy language, its two course checkpoints (0.24 M parameters each) and what we train on the way.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from difflm_core.classroom.lesson import load_results, samples_table, setup, show
from difflm_core.classroom.pictures import lesson_11 as pictures
from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import graded, sentence, trajectory
from difflm_core.data.toy_language import toy_language
from difflm_core.processes import masked
from difflm_core.training.course import course_checkpoint

lesson = setup(seed=11)
language = toy_language()
V, L, MASK = language.V, language.length, language.mask_id  # 114 words; sentences of 12; the mask has id V
word = language.words.__getitem__
process = masked(V)
model, twin = (course_checkpoint(name)[0].eval() for name in ("mdlm-tiny", "ar-tiny"))
for name, net in (("mdlm-tiny", model), ("ar-tiny", twin)):
    print(f"{name}: {sum(p.numel() for p in net.parameters()):,} parameters")

# %% [markdown]
# ## 1 · An answer on a canvas
#
# LLaDA (Nie et al. 2025) was pre-trained exactly as in lesson 08: $1/t$ times the cross-entropy of the masked words, and a network that is not told $t$ (the page says how much is masked). One hundredth of the texts was cut to a random length. Sampling begins with a question:
#
# 1. behind the question stands a canvas of masks, as long as the answer may become;
# 2. in each of $T$ calls the network predicts *every* mask;
# 3. a planned number of predictions is kept, all others are masked again. LLaDA keeps the surest ones and calls this *low-confidence remasking*; *random remasking* keeps any.
#
# The numbers of step 3 are *transfer counts*: equal shares, the remainder to the first calls. Optionally the canvas is cut into blocks, which are filled from left to right, each with its share of the calls (*semi-autoregressive*).
#
# **Predict:** in step 3, does LLaDA ever take back a word that it has kept?


# %%
from difflm_core.samplers import sample_llada, transfer_counts


@torch.no_grad()
def llada(network, question, new, T, block):
    """LLaDA's sampler at temperature 0: (B, P) clean words -> (B, P + new) in T calls."""
    B, P = question.shape
    z = F.pad(question, (0, new), value=network.V)
    place = torch.arange(P + new)
    for start in range(P, P + new, block):
        here = (place >= start) & (place < start + block)
        for count in transfer_counts(torch.full((B,), block), T * block // new).T:  # (B,), words to keep in this call
            is_mask = z == network.V
            p, guess = network(z, None).softmax(-1).max(-1)  # (B, P + new) each
            draft = torch.where(is_mask, guess, z)  # every mask predicted
            sure = p.masked_fill(~(is_mask & here), -1.0)
            rank = sure.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            low = is_mask & (rank >= count[:, None])
            z = draft.masked_fill(low, network.V)  # and masked again, but for the surest
    return z


questions = language.sample(lesson.pick(200, 50), generator=lesson.generator(1))[:, :4]  # four words of true sentences
settings = [(8, 8), (4, 8), (4, 4), (2, 8)]  # calls, block
ours = {pair: llada(model, questions, 8, *pair) for pair in settings}
core = {pair: sample_llada(model, questions, 8, *pair) for pair in settings}
film = sample_llada(model, questions[:1], 8, 4, record=True)
pages = trajectory([frame.tokens[0] for frame in film.trajectory], word, MASK)
show(
    token_grid(pages, ["question", *(f"call {k}" for k in range(1, 5))], "Low-confidence remasking, 4 calls"),
    f"Grid of 5 rows and {L} columns. The four words of the question stand from the start: {language.decode(questions[0])}. Each call adds two words, at the end it reads: {language.decode(film.tokens[0])}.",
    "Outlined: kept in this call. Every other prediction of the call was thrown away.",
)

# %%
# NBVAL_CHECK_OUTPUT
same = [(ours[pair] == core[pair].tokens).all(1).double().mean().item() for pair in settings]
print("the notebook's LLaDA writes what the package's writes:", min(same) > 0.97)
print("no word of the question changed:", all(torch.equal(ours[p][:, :4], questions) for p in settings))

# %% [markdown]
# Never: only *masked* places can be masked again (`is_mask &` in the line before last). "Remasking" is a word for *unmasking on a plan*, and everything that lesson 10 says about mistakes that stay holds here. (ReMDM, Star and G-Star could be used on LLaDA's weights, since they need no other training.)
#
# ## 2 · Learning to answer, and when to stop
#
# Pre-training masks anything. *Instruction tuning* (SFT) shows the question as it is and masks the answer only (LLaDA Eq. 5). With $x$ the pair of both,
#
# $$\mathcal L(x) = \mathbb E_t\,\frac1t \sum_{i\,\text{in the answer},\; z_t^i = m} -\log x_\theta^i(z_t)[x^i],$$
#
# a bound on $-\log p_\theta(\text{answer} \mid \text{question})$. The canvas has one length and answers have many, so a short answer is filled up with the end token. These end tokens are part of the answer: masked, predicted, paid for. They are how the model learns to stop.
#
# We do it on sentences of 3 to 13 words, END behind them up to 16 places. The question is the first two words. As network we take a fresh one and tune it from the start; at this size nothing is lost by that.

# %%
from difflm_core.data.variable_length import END, PAD, variable_length_language
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import answer_nelbo, stratified_times
from difflm_core.samplers import confidence, in_random_order
from difflm_core.samplers.llada import ends_early
from difflm_core.training.descend import descend

various = variable_length_language()
W, CANVAS, QUESTION = various.V, 16, 2
end, pad = (int(various.encode(token)) for token in (END, PAD))


def texts(n, generator):
    """(n, 16): a sentence, and END from its end to the end of the canvas."""
    x = various.sample(n, generator=generator)
    return F.pad(x.masked_fill(x == pad, end), (0, CANVAS - x.shape[1]), value=end)


def endless(generator):
    while True:
        yield texts(64, generator)


def words_in(x):
    """Mean number of words before the first END."""
    return ((x == end).cumsum(1) == 0).sum(1).double().mean().item()


torch.manual_seed(0)
tuned, noise = Transformer(TransformerConfig(W, CANVAS, width=96, layers=2, heads=4)), lesson.generator(2)
is_answer = (torch.arange(CANVAS) >= QUESTION).expand(64, -1)
descend(
    tuned,
    lambda x: answer_nelbo(masked(W), tuned, x, is_answer, stratified_times(len(x), noise), noise).mean(),
    endless(lesson.generator(3)),
    steps=lesson.pick(400, 20),
    learning_rate=3e-3,
    name="instruction tuning",
    ema=0.99,
)
print("a text of the training:", " ".join(various.words[i] for i in texts(1, lesson.generator(4))[0]))

# %% [markdown]
# **Predict:** at the first call nothing but two words is known. About which of the 14 masks is the network surest? What will low-confidence remasking keep first, and what does that do to the length of an answer?

# %%
asked = texts(lesson.pick(500, 40), lesson.generator(5))
with torch.no_grad():
    p_end = tuned(F.pad(asked[:1, :QUESTION], (0, CANVAS - QUESTION), value=W), None).softmax(-1)[0, :, end]
print("p(END) at each place, two words known:", " ".join(f"{v:.2f}" for v in p_end[QUESTION:]), "\n")
ways = {
    "low-confidence, one block": (confidence, 14),
    "low-confidence, blocks of 7": (confidence, 7),
    "low-confidence, blocks of 2": (confidence, 2),
    "random, one block": (in_random_order, 14),
}
answers = {"true sentences": asked}
for name, (rule, block) in ways.items():
    out = sample_llada(
        tuned, asked[:, :QUESTION], 14, 14, block, rule, temperature=1.0, generator=lesson.generator(6)
    )
    answers[name] = out.tokens
print(f"{'14 calls for 14 masks, temperature 1':40s}{'words in a text':>16s}{'share of the answer that is END':>34s}")
for name, x in answers.items():
    print(f"{name:40s}{words_in(x):16.2f}{ends_early(x, end, QUESTION).mean():34.2f}")

# %%
# NBVAL_CHECK_OUTPUT
print("every answer keeps its question:", all(torch.equal(x[:, :QUESTION], asked[:, :QUESTION]) for x in answers.values()))
print("every mask was filled:", all(bool((x < W).all()) for x in answers.values()))

# %% [markdown]
# The far end of the canvas is END in nearly every text, and the network knows it. So END is what it is surest of, END is what is kept first, and once several places hold END the text before them *has* to be short: what follows the question comes out at about half its true length. This is the flood of end tokens that users of LLaDA and Dream report, and the reason why LLaDA samples long answers in
# blocks: inside a small block at the left there is no easy END to be sure of. (The block must be small: two words restore the length, seven hardly help.) Random remasking has no such problem, and the number of calls has nothing to do with it: each of these texts was written one word per call. Nobody sampled from a wrong *network* here. The order of writing is part of the model that one samples from.
#
# (These sentences are poor ones: 400 steps teach a network how long texts are before they teach it agreement.)
#
# ## 3 · How likely is an answer?
#
# Benchmarks with multiple choice compare $-\log p(\text{answer} \mid \text{question})$. The bound needs draws, and the one-draw estimate with weight $1/t$ is wild (lesson 08). LLaDA evaluates with Eq. 6: draw the *number* $l$ of masks uniformly from $1, \dots, L$, mask exactly $l$ places, weigh by $L/l$:
#
# $$\mathcal L(x) = \mathbb E_{l}\,\frac Ll \sum_{i\,:\,z^i = m} -\log x_\theta^i(z)[x^i].$$
#
# The released script takes 128 draws for an answer, and one for an answer of a single token. **Predict:** why is one enough there?

# %%
from difflm_core.objectives import answer_nelbo_by_count, masked_nelbo, masked_nelbo_by_count

DRAWS = 128
few = language.sample(lesson.pick(24, 6), generator=lesson.generator(7))
many = few.repeat_interleave(DRAWS, 0)
t = 1 - torch.rand(len(many), generator=lesson.generator(8))  # (0, 1]
print(f"exact -log p of these sentences: {-language.log_prob(few).mean():.2f} nats each")
single = {}
with torch.no_grad():
    for name, estimator in (("1/t, each word by a coin", masked_nelbo), ("L/l, exactly l masks", masked_nelbo_by_count)):
        draws = estimator(process, model, many, t, lesson.generator(9)).sum(1).view(-1, DRAWS)  # (sentences, draws)
        single[name] = draws.std(1).mean().item()
        after = single[name] / DRAWS**0.5
        print(f"{name:28s} mean {draws.mean():6.2f}, one draw ± {single[name]:5.2f}, {DRAWS} draws ± {after:.2f} nats")
    last = (torch.arange(L) == L - 1).expand(len(many), -1)  # an answer of one word: the last
    one_word = answer_nelbo_by_count(process, model, many, last, t, lesson.generator(10)).sum(1).view(-1, DRAWS)

# %%
# NBVAL_CHECK_OUTPUT
print("counting is the quieter estimator:", single["L/l, exactly l masks"] < single["1/t, each word by a coin"])
print("all draws of a one-word answer agree:", bool((one_word.std(1) < 1e-5).all()))

# %% [markdown]
# With one word there is one mask, always, and weight 1: nothing is random, and the "bound" is the network's answer itself. For longer answers even 128 draws leave tenths of a nat. Two choices that differ by less cannot be told apart, and a benchmark score inherits this noise.
#
# ## 4 · Guidance without a label
#
# Classifier-free guidance (lesson 03) needs a network with and without its condition. A masked network has both: the question is the condition, and masking it takes it away. LLaDA offers, from logits $a$ with the question and $b$ without it,
#
# $$ b + (w + 1)\,(a - b), $$
#
# two calls for each one. **Predict:** the answer should fit the question better for larger $w$. What else will change?

# %%
n = lesson.pick(400, 40)
true = language.sample(n, generator=lesson.generator(11))
print(f"four words given, eight written in random order, two a call\n{'w':>5s}{'calls':>8s}{'grammatical':>14s}{'likelier than true ones by':>30s}{'distinct':>11s}")
guided = {}
for w in (0.0, 0.5, 1.0, 2.0, 4.0):
    out = sample_llada(model, true[:, :4], 8, 4, None, in_random_order, w, 1.0, lesson.generator(12))
    good = language.grammatical(out.tokens)
    gap = (language.log_prob(out.tokens[good]).mean() - language.log_prob(true).mean()).item()
    guided[w] = good.double().mean().item()
    calls, distinct = out.network_calls.double().mean(), len(out.tokens.unique(dim=0)) / n
    print(f"{w:5.1f}{calls:8.0f}{guided[w]:14.1%}{f'{gap:+.2f} nats':>30s}{distinct:11.0%}")

# %% [markdown]
# Up to $w = 2$ nothing that 400 sentences could show: the differences are within their error of about 2 points, at twice the calls. At 4 it does harm. The network knows the question as well as it can be known, so there is no neglected condition to push towards; what is pushed are the differences between two answers, the network's errors among them. LLaDA's main results do not use guidance either. Where it helps (lesson 03, images), the condition is weak and the network
# tends to ignore it.
#
# ## 5 · Both directions
#
# What can a masked model do that its autoregressive twin cannot? It can be asked in any direction. Lesson 00 measured *infilling*: nine words are to be written before a given end (first line of the next cell). Here is the *reversal task*. Made-up facts of the form "great brown fox **follows** lazy grey pig" are read many times. Half of them are also told in reverse, "lazy grey pig **leads** great brown fox", so that both networks know what the reverse form means.
# LLaDA reports 45.6 % against 34.3 % for GPT-4o when a line of a poem is asked for its predecessor.
#
# **Predict** for facts that were told forward only: who can say whom B leads? And who can fill in "? ? ? follows B"?

# %%
infilled = [run for run in load_results("looking_ahead")["runs"] if "fits_the_end" in run]
for name in ("mdlm-tiny", "ar-tiny"):
    fits = [run["fits_the_end"] for run in infilled if run["model"] == name]
    print(f"{name:10s} nine words that fit a given end: {sum(fits) / len(fits):.0%} of 1,000 sentences, {len(fits)} seeds")
print()
turned = load_results("reversal")
print(pictures.reversal(turned))

# %% [markdown]
# Read the columns one by one.
#
# - *A follows ?* is what both have read. The twin knows it all, the masked network 86 %: at equal steps it learns more slowly, as in lesson 08.
# - *B leads ?, not told*: nobody. **The masked network does not escape the reversal curse here**: that "A follows B" implies "B leads A" is an inference, and neither draws it from 100 facts, although both know the reverse form (they answer the told ones).
# - *? follows B* is the same sentence, asked from its other end. Here the two differ: three answers of four against none. This is the kind of question in LLaDA's poem test.
# - *The same, by search*: let the twin compare all 100 names A by $p(\text{A follows B})$, and it is always right. The knowledge is there. Writing from left to right is what cannot get at it, and the search costs 100 calls for a question.
#
# So "diffusion breaks the reversal curse" is too strong a sentence. It breaks the curse of the *order of writing*. (What could be different at scale: LLaDA's network has seen each author's poem in many contexts, and much text that states such inferences. We did not test that.)
#
# ## 6 · Which words together?
#
# Words written in one call do not see each other. By how much is that wrong? Let $S$ be the places that are written in a call, $H_i$ the entropy of place $i$ given the page, and $H(S)$ that of all of them together. What we draw from is the product of the single laws, and its divergence from the true joint law is
#
# $$\mathrm{KL} = \sum_{i \in S} H_i - H(S) \;\le\; \sum_{i \in S} H_i - \max_{i \in S} H_i ,$$
#
# because $H(S)$ is at least each single $H_i$. The right side needs nothing but the network's own answers. The rule *entropy bound* (arXiv 2505.24857; it is DiffusionGemma's sampler) writes the words of lowest entropy, as many as keep the right side within a number of nats. *Threshold* (Fast-dLLM) writes each word whose probability is above a limit, and looks at every word alone.
#
# With the exact denoiser we can see the left side, too. For two places it is their mutual information: how many nats one word tells about the other. Here for all pairs of a blank page.
#
# **Predict:** where are the dark squares?

# %%
perfect = language.denoiser(process)


@torch.no_grad()
def pairs(page):
    """(L,) entropies, and (L, L) what drawing two masked words at once costs, exactly: their mutual information."""
    ask = lambda z: perfect(z, torch.full((len(z),), 0.5)).softmax(-1).double()  # noqa: E731
    p, cost = ask(page[None])[0], torch.zeros(L, L, dtype=torch.float64)
    for i in (page == MASK).nonzero()[:, 0]:
        likely = (p[i] > 1e-9).nonzero()[:, 0]
        pages = page.repeat(len(likely), 1)
        pages[:, i] = likely  # one page for each word that may stand at i
        q = ask(pages)  # (words, L, V): what the others are then
        each = torch.special.xlogy(q, q).sum(-1) - torch.special.xlogy(q, p.clamp_min(1e-300)).sum(-1)  # (words, L)
        cost[i] = p[i, likely] @ each
    return torch.special.entr(p).sum(-1), cost.fill_diagonal_(0)


blank = torch.full((L,), MASK)
H, cost = pairs(blank)
at_most = torch.minimum(H[:, None], H[None])  # H_i + H_j - max(H_i, H_j)
fig, axes = plt.subplots(1, 2, figsize=(9.2, 4.1), sharey=True)
at_most.fill_diagonal_(0)
for ax, (title, square) in zip(axes, {"What it costs": cost, "What the bound fears": at_most}.items()):
    drawn = ax.imshow(square, cmap="Blues", vmin=0, vmax=3.5)
    ax.set(title=title, xlabel="place", xticks=range(0, L, 2))
    ax.grid(False)
axes[0].set_ylabel("place")
fig.colorbar(drawn, ax=axes, label="nats", shrink=0.85)
free = int(((cost < 0.01) & (at_most > 0)).sum()) // 2
show(
    fig,
    f"Two squares of {L} by {L} pairs of places on a blank page. Left, the true cost of drawing both at once, from 0 to {cost.max():.2f} nats; {free} of {L * (L - 1) // 2} pairs cost nothing. Right, the bound for the same pairs, from {at_most[at_most > 0].min():.2f} to {at_most.max():.2f} nats.",
    "Places count from 0. Both squares have the same scale.",
)

# %%
# NBVAL_CHECK_OUTPUT
print("no pair costs more than the bound says:", bool((cost <= at_most + 1e-5).all()))
print("the matrix is symmetric, as mutual information is:", torch.allclose(cost, cost.T, atol=1e-5))
print("pairs of 66 that cost less than 0.01 nats:", free)

# %% [markdown]
# The bound is true and far too careful. It does not know *which* words depend on each other, only how uncertain each one is; two adjectives, free of each other and each uncertain, look as dangerous to it as a noun and its verb. Every rule of this section shares that blindness. (Exercise 8.5 worked the pairs out by hand and needed three calls.)
#
# Now the rules themselves, on the course checkpoint.
#
# **Predict** for about five calls: which rule writes most grammatical sentences, and which keeps them as varied as true ones?

# %%
rules = load_results("decoding_rules")
show(*pictures.decoding_rules(rules))

# %% [markdown]
# On the left LLaDA's rule (solid orange) is the best up to four calls; beyond five it is level with the entropy bound, and both are well above a random order. On the right is what it pays. Its sentences are up to six nats likelier than true ones ($e^6 \approx 400$ times): the network is surest of the usual, the usual is written first, and everything else must fit to it. Twelve calls write one word each and
# could be *exact* (the grey line is: 0 nats); with low confidence they are the worst of all. Blocks (dashed) hold the flattery down, and at six calls cost nothing in grammar. A benchmark that asks for one right answer rewards such a bias; whoever wants texts as varied as the training data should not.
#
# The entropy bound looks at a place *before* a word is drawn there, so no word is preferred for being likely, and its gap stays near 0. With fewer than five calls it writes three grammatical sentences of four, where a random order with six writes three of five. But the edge is sharp: from 4 to 6 nats, at one call fewer, quality falls from 75 % to 19 %, and nothing in the network's answers says where this edge lies.
# The threshold is the weakest here, below a random order. At 0.9, the usual setting, it never takes a second word: in a language of 1.75 nats a word, hardly two words at a time are that sure. In a large model's answer to a question many are, which is where its speed comes from (section 12).
#
# ### The noise that is renewed: masks or random words
#
# In DiffusionGemma's sampler no mask exists. What is not accepted is replaced by fresh *random* words (uniform diffusion, lessons 07 and 09), nothing marks what was accepted, and in the next call every place is judged anew: an accepted word can be taken back. With masks an accepted word is final. Which one is better per call? To compare the noises and nothing else, both get the *exact* denoiser of their process and the same limit on calls.
#
# **Predict:** which one is ahead at 4 calls, which at 12? And what happens to a careful bound when calls are short?

# %%
show(*pictures.renoising(rules))
columns = {
    "grammatical": ("grammatical", ".2f"),
    "log_prob_gap": ("nats above true ones", ".1f"),
    "network_calls": ("calls", ".1f"),
}
label = lambda run: f"{run['noise']}, {run['setting']:g} nats"  # noqa: E731
for limit in (2, 4, 8):
    print(f"at most {limit} calls\n" + pictures.table(rules, label, columns, rule="renoising", steps=limit))

# %% [markdown]
# With random words further calls help to the end, since there is always something left to mend; with masks a sampler is done as soon as the last word is accepted, and stays where it is (4 nats: 4.7 calls, 80 %, for ever). At a bound of 4 nats random words are ahead at every limit on calls. With eight they write 99 % and more at a gap of 0, for which the masks need about eleven.
# But at 0.5 nats random words never arrive, 24 calls or not: each call accepts too few, and the rest is random again. And mind the gap: with two calls nearly everything is the sampler's last act, which puts the likeliest word wherever nothing was accepted, and the sentences are 5 to 8 nats too likely. With four, random words at 4 nats have bought their lead in grammar over masks with 2 nats of it.
# So: *renewing random words uses a long budget better and needs a generous bound; masks stop by themselves.* (With trained networks one thing more would count: learning to judge a page of random words is harder than learning to fill blanks, lesson 09.)
#
# On the right of the figure, the *adaptive stop* of DiffusionGemma: a text is finished when its favourite has not changed in a call and the mean entropy is below a limit. For random words, which have no other end, a limit of 0.05 nats saves more than half of 48 calls and changes nothing else; at 2 nats it stops on unfinished texts. Masks stop anyway. (DiffusionGemma's library stops at 0.005 nats, with a bound of 0.1 and at most 48 calls for 256 words: more than five words a call, in text that is far more predictable than ours.)
#
# ## 7 · The cockpit
#
# All of it in one place: a table of recordings, each row unfolds, no kernel needed. With a live kernel the controls below record any other setting. The remasking rules are those of lesson 10.
#
# **Predict:** start with "most confident first" at 4 steps. Which setting would you change to save the sentence: steps, blocks, temperature, or the rule?

# %% tags=["widget"]
from difflm_core.classroom.cockpit import Setting, by_plan, usual_ways
from difflm_core.classroom.widgets_cockpit import sampler_cockpit

samplers = {"random remasking": by_plan(lambda setting: in_random_order(setting.steps), "steps")} | usual_ways()
by_steps = ("random remasking", "most confident first", "ReMDM cap 0.2", "Star+ 0.6")
kept = [Setting(name, steps) for name in by_steps for steps in (4, 12)]
kept += [Setting("threshold", threshold=p) for p in (0.3, 0.5)]
kept += [
    Setting("most confident first", 6, block=4),
    Setting("most confident first", 12, temperature=0.5),
    Setting("random remasking", 4, temperature=0.5),
]


def verdict(film):
    ids = torch.tensor([[language.words.index(site.token) for site in film.steps[-1].sites]])
    if not bool(language.grammatical(ids)):
        return "broken"
    return f"grammatical, {language.log_prob(ids).item() + language.entropy():+.1f} nats against a true sentence"


sampler_cockpit(model, word, L, samplers, kept, verdict, seed=4)

# %% [markdown]
# One sentence each is an anecdote; the study above has 1,500 for each point. What the table is good for is the *history*: unfold a row and find the call in which two words were written that do not know each other.
#
# ## 8 · Blocks, and a cache that is exact
#
# An autoregressive model keeps keys and values of what it has read, so that a new word costs one position. In a bidirectional network every position looks at every other, a new word changes all of them, and nothing can be kept. *Block diffusion* (BD3-LM, Arriola et al. 2025) takes from each what it needs: the chain rule over blocks, masked diffusion inside a block,
#
# $$-\log p_\theta(x) = \sum_b -\log p_\theta(x^b \mid x^{<b}) \;\le\; \sum_b \mathcal L(x^b \mid x^{<b}),$$
#
# where $x^b$ are the words of block $b$ and $x^{<b}$ those of the blocks before. A finished block never looks at what comes later. So its keys and values can never change.
#
# Training must show each block noisy, with the blocks before it clean. One pass does it for all: the network reads *both* copies, $[z_t, x]$, and a mask of three parts says who sees whom. **Predict** each quarter of the left square (noisy copy first), then compare. Exercise 11.2 asks you to write it.

# %%
from difflm_core.models.block_attention import block_causal_mask, training_mask

show(
    *pictures.who_sees_whom(
        {
            "Training, 6 words in blocks of 2": training_mask(6, 2),
            "Sampling, blocks of 2": block_causal_mask(6, 2),
            "Blocks of 1: autoregressive": block_causal_mask(6, 1),
        },
        ticks=6,
    )
)

# %% [markdown]
# Left (white lines separate the two copies): a noisy word sees the noise of its own block and the *clean* earlier blocks; a clean word sees clean words, up to its own block, and no noise. Blocks of one word leave the triangle of an autoregressive model, one block for all gives masked diffusion. We train blocks of four on the sentences of section 2, and write the sampler.

# %%
from difflm_core.models import KeyValueCache
from difflm_core.samplers import block_by_block, draw, entropy_bound, sample_blocks, sample_in_order, surest
from difflm_core.training import Block, Size

task = Block(4)
torch.manual_seed(0)
blocky, noise = task.network(W, CANVAS, Size(width=96, layers=2, heads=4)), lesson.generator(13)
descend(
    blocky,
    lambda x: task.loss(blocky, x, noise).mean(),
    endless(lesson.generator(14)),
    steps=lesson.pick(300, 20),
    learning_rate=3e-3,
    name="blocks of four",
    ema=0.99,
)


@torch.no_grad()
def by_blocks(network, n, length, generator):
    """Blocks from left to right; in each the surest place first. A finished block is read into the cache, once."""
    z, cache, size, rows = torch.full((n, length), network.V), KeyValueCache(), network.block_size, torch.arange(n)
    for start in range(0, length, size):
        here = slice(start, start + size)
        if start:
            network.read(z[:, start - size : start], cache)
        while bool((open := z[:, here] == network.V).any()):
            log_p = network.logits(network.hidden(z[:, here], None, cache)).log_softmax(-1)  # (n, size, V)
            place = log_p.amax(-1).masked_fill(~open, -torch.inf).argmax(1)  # (n,)
            z[rows, start + place] = draw(log_p[rows, place], generator)
    return z


n = lesson.pick(200, 20)
ours = by_blocks(blocky, n, CANVAS, lesson.generator(15))
core = sample_blocks(blocky, surest(), (n, CANVAS), generator=lesson.generator(15))
uncached = sample_in_order(blocky, block_by_block(4, surest()), (n, CANVAS), generator=lesson.generator(15))

# %% [markdown]
# Is the cache exact? Three tests. *Equal*: the logits of the third block behind a cache of two, and without any cache. *Leak*: change a word of the last block, and see whether an earlier block's answer moves. And the contrast: the same test on `mdlm-tiny`, which is bidirectional. Methods that cache there (Fast-dLLM) approximate, and refresh the cache once for every block.

# %%
with torch.no_grad():
    page = texts(8, lesson.generator(16))
    page[:, 8:12] = W  # the third block is open
    cache = KeyValueCache()
    blocky.read(page[:, :8], cache)
    behind_cache = blocky.logits(blocky.hidden(page[:, 8:12], None, cache))
    equal = (behind_cache - blocky(page)[:, 8:12]).abs().max().item()
    changed = page.clone()
    changed[:, 14] = (changed[:, 14] + 1) % W  # a word of the fourth block
    leak = (blocky(page)[:, :12] - blocky(changed)[:, :12]).abs().max().item()
    one, other = language.sample(2, generator=lesson.generator(17))[:1].repeat(2, 1)
    other[10] = (other[10] + 1) % V
    bidirectional = (model(one[None], None) - model(other[None], None))[:, :8].abs().max().item()
print("largest difference of logits")
print(f"cached and not: {equal:.1e}; a later word changed: {leak:.1e}; the same on mdlm-tiny: {bidirectional:.1f}")

# %%
# NBVAL_CHECK_OUTPUT
print("cached equals uncached:", equal < 1e-3)
print("nothing leaks back:", leak < 1e-5, "| in a bidirectional network it does:", bidirectional > 0.1)
for name, other in (("the notebook's sampler", ours), ("a sampler without a cache", uncached.tokens)):
    print(f"{name} writes what the package's writes:", bool((other == core.tokens).all(1).double().mean() > 0.95))

# %% [markdown]
# ### Both ends of the scale, any question, any length
#
# Blocks of one word are the chain rule: with everything masked the bound *is* $-\log p_\theta(x)$, and two draws of it agree to the last digit. One block for all is masked diffusion: same times and same noise give the same loss. What lies between is a family. And two things that a canvas cannot do come for free: a question of any length (it may end in the middle of a block), and an end: a text stops at the block in which END appears, later blocks are never computed.

# %%
from difflm_core.objectives import block_nelbo, block_nelbo_by_count

small = texts(16, lesson.generator(18))
with torch.no_grad():
    ones = Block(1).network(W, CANVAS, Size(32, 1, 2)).eval()
    first, second = (
        block_nelbo_by_count(masked(W), ones, small, torch.rand(16, CANVAS, generator=g), g)
        for g in (lesson.generator(19), lesson.generator(20))
    )
    whole, t = Block(CANVAS).network(W, CANVAS, Size(32, 1, 2)).eval(), torch.rand(16, generator=lesson.generator(21))
    as_blocks = block_nelbo(masked(W), whole, small, t[:, None], lesson.generator(22))
    as_masks = masked_nelbo(masked(W), whole, small, t, lesson.generator(22))

question = small[:1, :3].expand(n, -1)  # three words: the first block is three quarters full
whole_canvas, stopped = (
    sample_blocks(blocky, entropy_bound(1.0), (n, CANVAS), question, end=stop, generator=lesson.generator(23))
    for stop in (None, end)
)
calls = [out.network_calls.double().mean().item() for out in (whole_canvas, stopped)]
print(f"calls for a text: {calls[0]:.1f} for the whole canvas, {calls[1]:.1f} with a stop at END")
token = various.words.__getitem__
samples_table(
    [(f"answer {k + 1}", sentence(row, token, W)) for k, row in enumerate(stopped.tokens[:3])],
    title="Asked: " + " ".join(token(i) for i in question[0]),
)

# %%
# NBVAL_CHECK_OUTPUT
print("blocks of one word: two draws agree:", torch.allclose(first, second, atol=1e-5))
print("one block is masked diffusion:", torch.allclose(as_blocks, as_masks, atol=1e-5))
print("questions kept, whatever their length:", torch.equal(stopped.tokens[:, :3], question))

# %% [markdown]
# ### What does a larger block cost, what does it save?
#
# BD3-LM's authors find a perplexity that grows with the block: on LM1B 28.23 for blocks of 4, between 22.83 (autoregressive) and 31.78 (masked), as two summaries of the paper agree (we could not read its tables). **Predict** the order for our sentences of 12 words. Then: blocks of one word are autoregressive, so should their bound not be that of an autoregressive model, however the times are drawn in training?

# %%
sizes = load_results("block_sizes")
show(*pictures.block_sizes(sizes))
columns = {
    "above_entropy": ("nats above entropy", ".3f"),
    "loss_variance": ("variance of the loss", ".2f"),
    "grammatical": ("grammatical", ".2f"),
    "network_calls": ("calls", ".1f"),
}
print(pictures.table(sizes, lambda run: f"blocks of {run['block']}, {run['times']}", columns, table="bound"))

# %% [markdown]
# The order is the paper's: in the mean over seeds the bound grows with the size of a block, from 0.04 to 0.23 nats a word. (The ranges of 3, 4 and 6 overlap. And at 300 steps none of these networks is finished; with time, all of them end at the entropy, since on this language masked diffusion loses nothing: lesson 08. What is measured here is how *fast* each one learns.)
#
# The white diamond is the surprise, and it is the paper's as well. Blocks of one word trained on drawn times are more than twice as far from the entropy as the *same network with the same loss in expectation*, trained all masked. In expectation they are equal; in a batch a word's loss is $-\log p / t$ with probability $t$ and else nothing. The variance says it: about 1.5 against 0.04. So part of what one takes for the price of diffusion is the price of *noise in the gradient*. BD3-LM therefore trains on *clipped* times, and
# searches the interval for each size of block. The loss is then no bound; every report takes all of $[0, 1]$. On our network of blocks of four:

# %%
from difflm_core.objectives import loss_variance

sample_of_texts = texts(lesson.pick(256, 64), lesson.generator(24))
for low, high in ((0.0, 1.0), (0.3, 0.8), (0.45, 0.95), (1.0, 1.0)):
    spread = loss_variance(masked(W), blocky, sample_of_texts, low, high, 8, lesson.generator(25))
    print(f"times in [{low:.2f}, {high:.2f}]: variance of a text's loss {spread:.2f}")

# %% [markdown]
# All masked is the quietest, but a network that has seen nothing else cannot use a half-written block. The course's recipe `bd3lm-owt-4` takes [0.45, 0.95].
#
# On the right of the figure: what a word costs, in a text of 256. With the cache a call costs as much as its block is long, plus the look back; without it every call pays for the whole text. So the cache saves a factor of four to five at blocks of up to 16, less at 64, and nothing when the block is the text. And it is never *free parallelism*: the solid lines write one word a call, the dashed ones four, and what that does to quality is the business of section 6.
# Very small blocks lose a little again, for each block is read once more into the cache when it is finished.
#
# ## 9 · From an autoregressive model
#
# LLaDA 8B read 2.3 trillion tokens, for 0.13 million H800 hours. Trained autoregressive models are everywhere. DiffuGPT, Dream, LLaDA 2 and DiffusionGemma therefore *start* from one. What has to change (Gong et al. 2024)?
#
# - **The attention mask** opens: a pair that looks ahead is allowed with a probability that grows from 0 to 1 over the first part of training (*annealing*).
# - **The mask token** is one new row of the input embedding.
# - **The shift stays**: an autoregressive network answers for word $i + 1$ at place $i$. Keep that, and the answer for a word is read one place before it.
# - The loss is the weighted cross-entropy of lesson 08, nothing else.

# %%
from difflm_core.models.adapted import annealed_mask
from difflm_core.models.adapted_twin import AdaptedTwin
from difflm_core.objectives import autoregressive_nll

opening = {f"opened {share:.0%}": annealed_mask(L + 1, share, lesson.generator(26)) for share in (0.0, 0.3, 1.0)}
show(*pictures.who_sees_whom(opening))
adapted = AdaptedTwin(twin, opened=0.0).eval()
with torch.no_grad():
    own = -adapted(true, None).log_softmax(-1).gather(-1, true[..., None])[..., 0]
    as_twin = autoregressive_nll(twin, true)

# %%
# NBVAL_CHECK_OUTPUT
print("before the first step it is the twin, word for word:", torch.allclose(own, as_twin, atol=1e-4))

# %% [markdown]
# **Predict:** the twin knows the language almost perfectly. How far above the entropy is its *masked* bound before any further step: near 0, or as bad as a network without training? And after a hundred steps?
#
# One run of each live, then the study.

# %%
from difflm_core.studies import adaptation
from difflm_core.training.adapt import adapt

steps = lesson.pick(100, 8)
trained = {way: adaptation.network(way, 0) for way in ("adapted", "from scratch")}
adapt(trained["adapted"], adaptation.batches(0), steps, 2e-3)
scratch, noise = trained["from scratch"], lesson.generator(27)
descend(
    scratch,
    lambda x: masked_nelbo(process, scratch, x, stratified_times(len(x), noise), noise).mean(),
    adaptation.batches(0),
    steps,
    learning_rate=2e-3,
    name="from scratch",
)
for way, network in trained.items():
    print(f"{way:14s} {steps} steps: {adaptation.above_entropy(network.eval()):.3f} nats a word above the entropy")

# %%
moved = load_results("adaptation")
show(*pictures.adaptation(moved))

# %% [markdown]
# The past is worth a lot: after 25 steps the adapted network is where training from scratch is after more than 100, and at every number of steps it stays ahead. The lead shrinks (from a factor of four to one of 1.6 after 400 steps), as it must on a language that can be learned completely. Note the start: *without any further training* the twin's masked bound is 1.8 nats above the entropy, 1.2 nats better than a network that knows nothing. It has never seen a mask.
#
# The two details of the recipe come out otherwise than advertised. **Opening the mask at once** is a little better than annealing in every seed up to 100 steps, and level with it after that. (Annealing spends three tenths of the steps on attention masks that are not the final one; a two-layer network on twelve words has little to lose from a shock. The claim is about models of 127 million parameters and more.) **Keeping the shift** helps early, and clearly: without it the start is worse than from scratch (4.4 against 3.0 nats), and the loss is made up only between 100 and 200 steps.
# But after 400 steps the network *without* the shift is ahead in every seed. A possible reason is that a shifted answer is read at a neighbour's place, which must hold two words apart for ever; with a real language model nobody trains long enough, relative to what was known before, to see this. Test it on yours before you believe either.
#
#
# The same with a real one, SmolLM2 with 135 million parameters, on Wikipedia summaries; a download, so not in this notebook:
#
# ```
# python -m difflm_core.training.adapt --steps 20 --batch-size 4 --length 64 --held-out 16      # minutes on a CPU, to look at
# python -m difflm_core.training.adapt                                                          # the real run, for a GPU
# python -m difflm_core.training.adapt --from-scratch                                           # the control: the same network without its past
# ```
#
# ## 10 · Learning to doubt what is written
#
# A network trained on masks takes every visible word for true. Seed Diffusion (2025) trains 80 % of its steps on masks and the last 20 % on *edits*: words replaced, put in, left out, as many as a budget that grows with the time allows, and the network must name the clean text at every place. LLaDA 2.1 adds edits as well. It is the third answer of this course to "can a word be corrected?": by the noise (GIDD), by the sampler (Star), by training on errors.

# %%
from difflm_core.processes.edits import edit_budget, edited, substituted

x_one = various.sample(1, generator=lesson.generator(28))
budget = edit_budget(torch.tensor([0.8]), various.length)
stages = {
    "clean": x_one,
    "mask stage, t = 0.5": masked(W).corrupt(x_one, torch.tensor([0.5]), lesson.generator(29)),
    f"{int(budget)} substitutions": substituted(x_one, budget, W, lesson.generator(30)),
    f"{int(budget)} edits": edited(x_one, budget, W, pad, lesson.generator(31)),
}
samples_table(
    [
        (name, graded(z[0], x_one[0], token, (z != x_one)[0]) if name.endswith("s") else sentence(z[0], token, W))
        for name, z in stages.items()
    ],
    title="What the two stages show the network",
)

# %% [markdown]
# Look at the last row: one word put in, and *every* word behind it stands at a wrong place. A canvas answers for places, and an insertion is a hard lesson for it.
#
# The study trains on masks, then goes on for a quarter as long in four ways (masks again; substitutions; all edits; uniform noise of every strength), and lets each network revise three kinds of text: its own drafts, true sentences with two words replaced, true sentences with a word too many or too few.
#
# **Predict:** which second stage mends substitutions best? Does any mend insertions? What does the mask bound pay for it? And what will the control do, the network that was trained on masks only?

# %%
edits = load_results("edit_stage")
print(pictures.edit_stage(edits))

# %% [markdown]
# Begin with the control, because it is the trap. The network that was never asked about a visible word takes its drafts from 16 % grammatical to 70 %. Has it learned to edit without being taught? It makes 9 to 12 changes in a text of 14 places, and of 500 revised texts only about two in five are different: it writes a few common sentences over whatever stood there. *A share of grammatical texts says nothing about an editor without the other columns.*
#
# Read so, the rows say:
#
# - **Substitutions teach doubt.** Four changes a text, nearly all texts still distinct, and 92 % right after two words were replaced.
# - **All edits do not teach insertions.** On texts with a word too many or too few this stage reaches 75 %, substitutions alone 72 %, within the spread; and it rewrites twice as much. The canvas is to blame, as the table of stages above shows, and perhaps our short training.
# - **Uniform noise corrects best** (92 % of drafts, nearly all substitutions), and pays in variety: half of its texts or fewer are distinct. It is lesson 09 once more, at a higher price in diversity than the substitutions ask.
# - **Nobody restores.** At most 7 % of the true sentences come back in any seed. Which word stood there cannot be known; but four changes where two would do is not editing as a writer means it.
# - **The bound pays**: 0.7 nats a text above the entropy with masks alone, 0.9 to 1.1 after the second stages. Part of the training went elsewhere.
#
# Seed's authors give fewer repetitions and better calibration as the reasons for their edit stage; neither is measured here. What is: against the two simple controls, substitutions and uniform noise, edits of all kinds earn nothing at this size. Code, long texts, and a network that can afford to count words may be different.
#
# ## 11 · "Diffusion models do great in coding"
#
# So says the last slide of the talk that this course grew from, and Mercury, Seed and Gemini Diffusion were all shown writing code. Why should it be so? A function is written with its end in view, holes are filled with both sides given, and much of code is predictable, so that many tokens can be written in one call. Three separate claims: *quality*, *infilling* and *speed*. LLaDA 8B, compared with LLaMA3 8B in its own paper: HumanEval 35.4 against 34.8. No lead.
#
# Our study asks the first two at a very small size: functions of Python's standard library, whole modules held out; a masked network and its twin, equal steps. Task one: a body from its head. Task two: one missing line, and the twin sees the left side only.

# %%
from difflm_core.data.code_corpus import holes
from difflm_core.evaluation.code import PROBLEMS

body = "    best = numbers[0]\n    for number in numbers:\n        if number > best:\n            best = number\n    return best\n"
before, line, after = holes(body, lesson.generator(32))
print("a head, to be completed:\n" + PROBLEMS[1][0])
print("a body with a hole:\n" + before + "    ? ? ?\n" + after)
print(pictures.code_infilling(load_results("code_infilling")))

# %% [markdown]
# The first task goes to the *twin*: a third of its bodies parse, of the masked network's a sixth, in every seed fewer. No one solves a problem, and no missing line comes back as it stood. Of its tokens 0.6 % are right (masked) and 1.4 % (twin), which is next to nothing for either. So on infilling this study is **mute**: both networks have learned too little to know a line. (Do not read the share of lines that parse: a text counts up to its first END, and an END in the hole
# leaves a beginning that often parses. The pieces around a hole are also encoded apart, which no network met in training.)
#
# What can be said: at this size, equal steps, nothing speaks for diffusion in code, and in writing bodies it is behind, as in lesson 08 on Shakespeare and for the same reason, it learns more slowly. The claim is made of models ten thousand times as large. A longer run is one command, `python -m difflm_core.training code-tiny --steps 20000`, its twin `replace(RECIPES["code-tiny"][1], task=Autoregressive(), steps=20000)`; whether that is enough to decide it, we do not know.
#
# ## 12 · Today's large models
#
# Speeds are *claims of those who sell or publish the model*, in tokens per second. We measured none of them, and reached some only through abstracts and press reports, as the last column says. The fourth column is what makes a figure comparable, and mostly it is empty.
#
# | model | noise, order | start | claimed speed, and what is said about it | source |
# |---|---|---|---|---|
# | LLaDA 8B (Feb 2025) | masks; low confidence, blocks | from scratch, 2.3 T tokens | none. The released sampler has no cache; Fast-dLLM's authors give 6.7 tokens/s for it, and 54.4 with their approximate cache and a threshold of 0.9 (GSM8K, 5 examples in the prompt, 256 tokens, accuracy 79.3 and 78.5; the GPU is not in what we read) | arXiv 2502.09992; 2505.22618 and its README |
# | Dream 7B (2025) | masks, noise level chosen for each token | Qwen2.5 7B | none | 2508.15487 |
# | Mercury Coder Mini, Small (Jun 2025) | not published | not published | 1,109 and 737 on an H100, code, vendor's report; batch and length are not in what we read | 2506.17298 |
# | Gemini Diffusion (May 2025) | not published | not published | 1,479 "without overhead", and an overhead of 0.84 s for each request; hardware unknown, mixed tasks. One user saw 857 | the maker's page, by press reports |
# | Seed Diffusion Preview (Aug 2025) | masks, then edits; blocks | not published | 2,146 on H20 GPUs (how many, and at what batch, is not in what we read), over eight code benchmarks. The authors themselves write that their figure, Mercury's and Gemini's were taken on different hardware and tasks, and that system prompts which fix the format raise such numbers | 2508.02193 |
# | LLaDA 2.1 mini 16B, flash 100B (Feb 2026) | masks and token edits; blocks | an autoregressive mixture of experts | 892 on HumanEval+, 801 on BigCodeBench, 663 on LiveCodeBench for the 100B model in its speed mode; hardware and batch are not in the abstract | 2602.08676 |
# | DiffusionGemma 26B, 3.8B active (Jun 2026) | random words; entropy bound, canvases of 256 behind a causal cache | Gemma 4 26B | over 1,000 on one H100 in FP8, 4 to 5 times a comparable autoregressive model; vLLM's own measurement: 1,008 at *batch size 1*. The maker says that its quality is below Gemma 4's. Its network is also shown its own last answer (self-conditioning, lesson 05) | the maker's page; press reports of vLLM's |
#
# Read the last row twice. At batch size 1 an autoregressive model leaves a GPU idle: it loads all weights to write one token. A diffusion model uses the idle arithmetic. With many users at once the arithmetic is not idle, and then $T$ calls over a whole canvas are simply $T$ times the work. **No figure in this table says anything about a busy server.**
#
# ### Open them by name
#
# The package opens released weights without running their code: `load_released(name)` says what is needed before it fetches anything, and refuses what does not fit. The result is a `Denoiser`, which every sampler and loss of this course takes.

# %%
from difflm_core.models.released import RELEASED

print(f"{'name':36s}{'parameters':>14s}{'memory of the weights':>24s}  what")
for name, entry in RELEASED.items():
    gigabytes = entry.parameters * entry.dtype.itemsize / 1e9
    print(f"{name:36s}{entry.parameters / 1e9:12.2f} B{gigabytes:21.1f} GB  {entry.what}")

# %% [markdown]
# ```python
# from difflm_core.models.released import load_released
# mdlm = load_released("kuleshov-group/mdlm-owt")                        # 0.7 GB
# sample_in_order(mdlm, entropy_bound(0.1), (1, 128))                    # ids of GPT-2's tokenizer
# ```
#
# ## 13 · What is not known
#
# - **Bounds against likelihoods.** Every perplexity of a diffusion model is an upper bound, an autoregressive one is exact. How much of the gap is the bound and how much the model? For ours we know: the order of writing costs 0.002 to 0.004 nats a word (lesson 08). For an 8B model we found no such figure. An early scaling study put masked diffusion at about 16 times the compute of an autoregressive model for an equal loss (2410.18514); later ones dispute the factor, and one finds a uniform model that beats an autoregressive one on school mathematics at a worse bound (Sahoo et al. 2026, 2602.15014). Bounds of *different families* (masks, uniform) are not comparable at all.
# - **Data-constrained training.** Several groups found that when data is repeated many times diffusion keeps improving while an autoregressive model overfits (2511.03276, 2507.15857). A counter-experiment finds that random masking of the *input* does most of it, and that dropout and weight decay give an autoregressive model similar gains (2510.04071). So the comparison needs the *regularised* autoregressive control; a crossover against an unregularised one shows that noise regularises, not that diffusion models data better. At which size, and how many repetitions, the two differ after that control is open.
# - **Speed.** Section 12. Missing throughout: the same hardware, the same batch, the same quality, and cost with many users.
# - **Parallel writing.** All rules of section 6 look at single words. Which words are independent, a network does not say, and few-call quality rests on it.
# - **Selection.** Benchmarks with one right answer reward a sampler that is sure of itself (section 6, right). Whether the diversity lost there matters depends on the use, and is seldom reported.
# - **Coding.** Quality at equal training has, as far as we can find, not been shown by anyone with a public recipe; speed at batch size 1 has.
#
# The experiment of the second point is cheap enough to do yourself, on a small corpus of your own: `python -m difflm_core.training mdlm-text --data.path my_texts`, and beside it, in Python, `replace(RECIPES["mdlm-text"][1], task=Autoregressive(), ...)` with several values of `size.dropout` and `weight_decay`. Plot both on held-out text over the epochs.
#
# ## 14 · Exercises
#
# They climb from one line to an open question. A check prints what it found and names the usual mistakes; `ex11_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_11
from difflm_core.classroom.exercises.lesson_11 import ex11_1, ex11_2, ex11_3, ex11_4

# %% [markdown]
# ### Exercise 11.1 · 3 min · difficulty 1/5 · Transfer counts
# *Importance 3/5: the remainder is where samplers of one's own first go wrong.*
#
# `n` masks are to be filled in `T` calls. Return a list of `T` whole numbers that sum to `n` and differ by at most 1; the first calls take the remainder.


# %%
def transfer(n, T):
    """Exercise 11.1: how many of n masks each of T calls fills, a list of T numbers."""
    ### BEGIN SOLUTION
    return [n // T + (k < n % T) for k in range(T)]
    ### END SOLUTION


# %%
ex11_1.run(transfer)
transfer = ex11_1.answer_or_reference(transfer)
print("13 masks in 5 calls:", [int(count) for count in transfer(13, 5)])

# %% [markdown] tags=["solution"]
# **Why.** `n // T` for everyone leaves `n % T` masks, fewer than `T`: one more each for so many calls. Putting the whole remainder into one call would draw up to $T - 1$ words more at once, and section 6 says what that costs. That the *first* calls take it is LLaDA's habit, not wisdom: the first calls see least.

# %% [markdown]
# ### Exercise 11.2 · 8 min · difficulty 3/5 · Who sees whom
# *Importance 5/5: one wrong quarter, and the answer leaks into the question. The loss then looks like a record.*
#
# Write block diffusion's training mask for the text $[z_t, x]$: booleans $(2L, 2L)$, rows ask, columns are seen, noisy copy first. `L` words in blocks of `size`.


# %%
def who_may_look(L, size):
    """Exercise 11.2: the three-part mask, (2L, 2L) booleans; rows ask, columns are seen, the noisy copy first."""
    ### BEGIN SOLUTION
    block = torch.arange(L) // size
    same, earlier = block[:, None] == block, block[:, None] > block
    noisy = torch.cat([same, earlier], 1)
    clean = torch.cat([torch.zeros_like(same), same | earlier], 1)
    return torch.cat([noisy, clean])
    ### END SOLUTION


# %%
ex11_2.run(who_may_look)
who_may_look = ex11_2.answer_or_reference(who_may_look)
for size in (1, 2, 4, 12):
    print(f"12 words in blocks of {size}: {int(who_may_look(12, size).sum())} allowed pairs")

# %% [markdown] tags=["solution"]
# **Why.** A noisy word sees its own block in the noise and earlier blocks clean, as in sampling. A clean word must see exactly what it will see when it is *cached*: clean words up to the end of its own block, and no noise, for there will be none. If noisy words saw the clean copy of their own block (`>=` in place of `>`), the network would copy its answer.

# %% [markdown]
# ### Exercise 11.3 · 8 min · difficulty 3/5 · Accept within a bound
# *Importance 5/5: this is DiffusionGemma's rule, and the only one here that is derived.*
#
# `entropy` and `masked` are $(B, L)$; return True where a word is accepted: of the masked places the ones of lowest entropy, as many as keep the sum of their entropies *without the largest* within `bound`.


# %%
def accept(entropy, masked, bound):
    """Exercise 11.3: the accepted places, (B, L) booleans, at least one in each row that has a mask."""
    ### BEGIN SOLUTION
    ordered, order = entropy.masked_fill(~masked, torch.inf).sort(1)
    before = torch.cat([torch.zeros_like(ordered[:, :1]), ordered[:, :-1].cumsum(1)], 1)  # sums of those before it
    return masked & torch.zeros_like(masked).scatter(1, order, before <= bound)
    ### END SOLUTION


# %%
ex11_3.run(accept)
accept = ex11_3.answer_or_reference(accept)
with torch.no_grad():
    page = language.sample(1, generator=lesson.generator(33)).masked_fill(torch.arange(L) % 3 > 0, MASK)
    doubt = torch.special.entr(model(page, None).softmax(-1)).sum(-1)
for nats in (0.0, 1.0, 3.0, 6.0):
    print(f"bound {nats:.0f} nats: {int(accept(doubt, page == MASK, nats).sum())} of {int((page == MASK).sum())} masks")

# %% [markdown] tags=["solution"]
# **Why.** In ascending order the largest accepted entropy is the last, so "the sum without the largest" is the sum of those *before* it. The first masked place has nothing before it and is always accepted: sampling cannot get stuck. Certain words have entropy 0 and ride along for nothing.

# %% [markdown]
# ### Exercise 11.4 · 8 min · difficulty 3/5 · The loss of instruction tuning
# *Importance 5/5: it is what makes an answering machine of a blank-filler.*
#
# `x` is $(B, L)$, question, answer and end tokens; `answer` is True on the answer, end tokens included; `t` is $(B,)$. Return nats for every token, $(B, L)$, zero where nothing is paid.


# %%
def answer_loss(model, x, answer, t, mask_id, generator=None):
    """Exercise 11.4: one-draw estimate of the bound on -log p(answer | question), (B, L)."""
    ### BEGIN SOLUTION
    is_masked = (torch.rand(x.shape, generator=generator) < t[:, None]) & answer
    log_p = model(x.masked_fill(is_masked, mask_id), t).log_softmax(-1)
    return -log_p.gather(-1, x[..., None])[..., 0] * is_masked / t[:, None]
    ### END SOLUTION


# %%
ex11_4.run(answer_loss)
answer_loss = ex11_4.answer_or_reference(answer_loss)
with torch.no_grad():
    spread_t = stratified_times(len(asked), lesson.generator(34)).clamp_min(1e-3)
    is_answer = (torch.arange(CANVAS) >= QUESTION).expand(len(asked), -1)
    paid = answer_loss(tuned, asked, is_answer, spread_t, W, lesson.generator(35))
print(f"the network of section 2: {paid.sum(1).mean():.1f} nats for an answer and its end tokens")

# %% [markdown] tags=["solution"]
# **Why.** The loss of lesson 08 with one condition more. Masking the question too would be pre-training again, and masking no end tokens would leave the network without any idea of where to stop. Dividing by the number of masks instead of by $t$ is the old mistake: it would not be a bound.

# %% [markdown]
# ### Exercise 11.5 · 25 min · difficulty 5/5 · Six calls (open)
# *Importance 5/5: which words may be written together is the open question of fast diffusion models.*
#
# Write a rule: `masked` is $(B, L)$, `log_p` $(B, L, V)$ the network's log-probabilities ($-\infty$ where nothing is masked). Return True where a word is to be written *now*. With at most **6 calls** a sentence on average, break at most **half** as many sentences as a random order in six calls. The check guards diversity: right sentences at most **1 nat** likelier than true ones, and 95 % of the
# entropy at each place. It shuffles the places, so no order found by hand helps.
#
# `entropy_bound(nats)` is a start. **Predict:** is it better to write first what is *surest*, or what is *least* sure?


# %%
def my_rule(masked, log_p):
    """Exercise 11.5: which masked places to write in this call, (B, L) booleans, at least one a row."""
    ### BEGIN SOLUTION
    entropy = torch.special.entr(log_p.exp()).sum(-1)
    uncertain = masked & (entropy > 0.3)
    rank = (-entropy).masked_fill(~uncertain, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
    count = torch.where(masked.sum(1, keepdim=True) > 9, 1, 3)  # one a call at first, three later
    return masked & (~uncertain | (rank < count))
    ### END SOLUTION


# %%
ex11_5 = lesson_11.ex11_5(model, language, sentences=lesson.pick(1000, 500))
ex11_5.run(my_rule)

# %% [markdown] tags=["solution"]
# **Why.** A nearly certain word breaks nothing, whenever it is written: take all of them in every call. What breaks sentences is two *uncertain* words that depend on each other; and once an uncertain word is known, most of what depends on it becomes certain, and is then free. So begin with the least sure, one at a time, while much is open (here: while more than nine masks are left), then three a call.
# That is the opposite of LLaDA's rule, and costs no diversity, because no word is preferred for being likely. The rule of confidence asks "what do I know?"; this one asks "what would tell me most?".

# %%
summary()

# %% [markdown]
# ## 15 · Scale it up
#
# Four commands, in the order of what they cost. Each prints what it will take with `--plan`, and fetches nothing before:
#
# ```
# python -m difflm_core.training llada-tiny                              # LLaDA's task on the toy language, minutes
# python -m difflm_core.training.adapt                                   # SmolLM2-135M to masked diffusion, one GPU
# python -m difflm_core.training mdlm-owt --steps 850000                 # then blocks of four, from its weights:
# python -m difflm_core.training bd3lm-owt-4 --start runs/mdlm-owt
# accelerate launch --multi_gpu --num_processes 8 -m difflm_core.training llada-1b
# ```

# %%
from difflm_core.training import RECIPES
from difflm_core.training.plan import needs

for name in ("bd3lm-owt-4", "llada-1b"):
    recipe = RECIPES[name][1]
    need = needs(recipe)
    days = need.flops / (0.35 * 989e12) / 86400  # at an assumed 35 % of an H100's 989 TFLOP/s
    print(
        f"{name:12s} {need.parameters / 1e6:5.0f} M parameters, {need.tokens / 1e9:3.0f} billion tokens, "
        f"{need.flops:.1e} FLOPs, {days:.1f} days of one H100 at 35 % of its peak (an assumption)"
    )

# %% [markdown]
# Numbers to expect: BD3-LM's perplexity on OpenWebText should lie between 17.54 (autoregressive) and 23.21 (masked diffusion, both Sahoo et al. 2024), the lower the smaller the block; `--plan` prints no figure for it, because the paper's own tables could not be read where this was written. For `llada-1b` there is none: it is LLaDA's way of training at a size and on a text that the paper does not report.
#
# ## 16 · What to remember
#
# 1. LLaDA is lesson 08 at scale: the same loss, with only the answer masked for tuning. Its low-confidence remasking takes nothing back, prefers the usual, and floods a canvas with end tokens; blocks hold that in check.
# 2. Words written in one call cost their mutual information. An entropy bound limits it without seeing it; noise that can be renewed uses extra calls, masks do not.
# 3. Blocks that never look ahead make a cache exact; an autoregressive start saves training; and a speed without hardware, batch and quality is not a result.
#
# **Five quick questions**
#
# <details><summary>1. What does low-confidence remasking have to do with remasking as in lesson 10?</summary>
# Nothing. It decides which masks are opened, and a word once kept is final.
# </details>
#
# <details><summary>2. Why is the cache of block diffusion exact, and Fast-dLLM's on LLaDA not?</summary>
# A finished block never looks at later words, so its keys and values cannot change. In a bidirectional network each new word changes the states of all others.
# </details>
#
# <details><summary>3. Blocks of one word, trained on drawn times, end with a worse bound than the same network trained all masked. Is the objective wrong?</summary>
# No, the expectations are equal. The gradient is noisier: −log p / t with probability t.
# </details>
#
# <details><summary>4. Four masks have entropies 0, 0.1, 0.5 and 2 nats. Which are written at a bound of 0.6?</summary>
# All four: 0 + 0.1 + 0.5 = 0.6 without the largest.
# </details>
#
# <details><summary>5. A diffusion model overtakes an autoregressive one after 100 epochs on the same text. What do you ask?</summary>
# Whether the autoregressive one had dropout and weight decay, tuned with the same care; and whether the figure is a bound, a likelihood or a task score.
# </details>
#
# **Sources.** Nie et al. 2025, *Large language diffusion models* (arXiv 2502.09992): Eq. 3, 5, 6, sections 2.2 to 2.4, benchmark tables; and the released code for transfer counts and guidance. Arriola et al. 2025, *Block diffusion* (2503.09573), and its code for the mask and the clipped times. Gong et al. 2024 (2410.17891), adaptation. Song et al. 2025, *Seed Diffusion* (2508.02193). Wu et al. 2025, *Fast-dLLM* (2505.22618).
# Ben-Hamu et al. 2025 (2505.24857), the entropy bound; the library `transformers` for DiffusionGemma's settings. LLaDA 2.1 (2602.08676). Nie et al. 2024 (2410.18514), scaling. Ni et al. 2025 (2511.03276), Prabhudesai et al. 2025 (2507.15857), Gao et al. 2025 (2510.04071), data-constrained training. Speeds: section 12. The pair costs of section 6 and all studies are made here. Next in the course: lesson 12, every method at equal compute.
