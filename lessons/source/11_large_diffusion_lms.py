# %% [markdown]
# # 11 · Large diffusion language models: what was added to a page of code?
#
# **Minutes** 60 to read, about 3 of computing on 2 CPU cores · **Prerequisites** lesson 08 (masked diffusion); lessons 09 and 10 help with sections 6, 7 and 10
#
# LLaDA has 8 billion parameters and answers questions. Mercury and Seed Diffusion write code, say their makers at 737 to 2,146 tokens a second. DiffusionGemma revises a canvas of 256 random tokens. LLaDA's loss is that of lesson 08, which fits on a page. So what is *new*?
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
# Nothing is downloaded. We use the toy language, two course checkpoints of 0.24 M parameters (`mdlm-tiny`, and its autoregressive *twin* `ar-tiny`), and what we train on the way.

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
# LLaDA (Nie et al. 2025) was pre-trained exactly as in lesson 08: $1/t$ times the cross-entropy of the masked words, and a network that is not told $t$ (the page says how much is masked). Sampling begins with a question:
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
# Never: only *masked* places can be masked again (`is_mask &` in the line of `low`). "Remasking" is here a word for *unmasking on a plan*, and all that lesson 10 says about mistakes that stay holds. (ReMDM and Star could run on LLaDA's weights as they are; G-Star needs a predictor beside them.)
#
# ## 2 · Learning to answer, and when to stop
#
# Pre-training masks anything. *Instruction tuning* (SFT) shows the question as it is and masks the answer only (LLaDA Eq. 5). With $x$ question and answer together,
#
# $$\mathcal L(x) = \mathbb E_t\,\frac1t \sum_{i\,\text{in the answer},\; z_t^i = m} -\log x_\theta^i(z_t)[x^i],$$
#
# a bound on $-\log p_\theta(\text{answer} \mid \text{question})$. A short answer is filled up with the end token. These end tokens are part of the answer: masked, predicted, paid for. From them the model learns to stop.
#
# We do it on sentences of 3 to 13 words, with END (printed as ".") behind them up to 16 places. The question is the first two words. We skip pre-training: a fresh network learns from such pairs alone.

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
# The far end of the canvas is END in nearly every text, and the network knows it. So END is what it is surest of, and what is kept first. Once some places hold END, the text before them *has* to be short: what follows the question comes out at about half its true length. This is the flood of end tokens that users of LLaDA and Dream report, and the reason why LLaDA samples long answers in
# blocks: inside a small block at the left there is no easy END to be sure of. (The block must be small: two words nearly restore the length, seven hardly help.)
#
# Random remasking has no such problem. One network wrote all these texts, one word per call: the order of writing is part of the model that one samples from.
#
# ## 3 · How likely is an answer?
#
# Benchmarks with multiple choice compare $-\log p(\text{answer} \mid \text{question})$. The bound needs draws, and the one-draw estimate with weight $1/t$ varies wildly (lesson 08). LLaDA evaluates with Eq. 6. For an answer of $L$ words draw the *number* $l$ of masks uniformly from $1, \dots, L$, mask exactly $l$ places, weigh by $L/l$:
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
# With one word there is one mask, always, and weight 1: nothing is random, and the "bound" is the network's own $-\log p$. For a sentence, counting the masks halves the spread, and 128 draws still leave 0.7 nats. (So it is no wonder that both means lie below the exact value.) Two choices that differ by less cannot be told apart, and a benchmark score inherits this noise.
#
# ## 4 · Guidance without a label
#
# Classifier-free guidance (lesson 03) needs a network with and without its condition. A masked network is both: the question is the condition, and masking it takes it away. LLaDA offers, from logits $a$ with the question and $b$ without it,
#
# $$ b + (w + 1)\,(a - b), $$
#
# two calls for each one. ($w = 0$ is no guidance here: lesson 03's weight less one.) **Predict:** does a larger $w$ make the answer fit its question better? What else will change?

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
# Up to $w = 2$ nothing changes that 400 sentences could show: the differences are within their error of about 2 points, at twice the calls. At 4 a quarter of the right sentences is lost, while likelihood and variety hardly move. A possible reason: the network uses the question fully already, so there is no neglected condition to push towards. What is enlarged is then the difference of two answers, with the errors of both. LLaDA's main results do not use guidance either.
#
# ## 5 · Both directions
#
# A masked model can be asked in any direction. Lesson 00 measured *infilling*: nine words are to be written before a given end (first lines of the next cell).
#
# A second task is about the *reversal curse*: a language model that has read "A is B" often cannot say what B is. Two fresh networks, masked and autoregressive, read made-up facts many times: "great brown fox **follows** lazy grey pig". Half of them are also told in reverse, "lazy grey pig **leads** great brown fox", so that both know what the reverse form means. (LLaDA, asked for the line of a poem before a given one, reports 45.6 % against 34.3 % for GPT-4o.)
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
# - *? follows B* is the sentence that was read, asked from its other end; the twin must write A before it has seen B. Here the two differ: three answers of four against none.
# - *The same, by search*: let the twin compare all 100 names A by $p(\text{A follows B})$, and it is always right. The knowledge is there, writing from left to right cannot get at it, and the search costs 100 calls for a question.
#
# So "diffusion breaks the reversal curse" is too strong a sentence. It breaks the curse of the *order of writing*. LLaDA's poem test is not even of that kind: its released script asks in words for the line before, and the answer stands *behind* the question, as in "B leads ?". What helps there must be something that our facts lack, perhaps many contexts for each poem. We did not test that.
#
# ## 6 · Which words together?
#
# Words written in one call do not see each other. By how much is that wrong? Let $S$ be the places that are written in a call, $H_i$ the entropy of place $i$ given the page, and $H(S)$ that of all of them together. What we draw from is the product of the single laws, and its divergence from the true joint law is
#
# $$\mathrm{KL} = \sum_{i \in S} H_i - H(S) \;\le\; \sum_{i \in S} H_i - \max_{i \in S} H_i ,$$
#
# because $H(S)$ is at least each single $H_i$. The right side needs only the network's own answers. The rule *entropy bound* (arXiv 2505.24857; it is DiffusionGemma's sampler) writes the words of lowest entropy, as many as keep the right side within a number of nats. *Threshold* (Fast-dLLM) looks at every word alone, and writes those whose probability is above a limit.
#
# With the exact denoiser we can see the left side, too. For two places it is their mutual information: how many nats one word tells about the other. Here for all pairs of a blank page, the diagonal left out. **Predict:** where are the dark squares?

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
# On the left the darkest pairs, 1.1 nats each, are places 2 and 10, where in most sentences one colour stands twice, and 3 and 4, mostly a noun and its verb. The bound is true and far too careful: 1.1 nats is the *least* that it says of any pair. It knows how uncertain each word is, not *which* depend on each other: places 3 and 10 have nothing to do with each other, and look to it as dangerous as 2 and 10. Every rule of this section shares that blindness. (With independent words found by hand, three calls can be exact: exercise 8.5.)
#
# Now the rules themselves, on the course checkpoint.
#
# **Predict** for about five calls: which rule writes most grammatical sentences, and which keeps them as varied as true ones?

# %%
rules = load_results("decoding_rules")
show(*pictures.decoding_rules(rules))

# %% [markdown]
# Left: LLaDA's rule (solid orange) is the best up to four calls. From five to eight it is level with the entropy bound, and both are well above a random order. With twelve calls, one word each, all rules are nearly right.
#
# Right: the price. LLaDA's sentences are up to six nats likelier than true ones ($e^6 \approx 400$ times): the network is surest of the usual, the usual is written first, and everything else must fit to it. Twelve calls could be *exact* (grey: 0 nats); with low confidence they are the worst of all. Blocks (dashed) hold the flattery down, at no cost in grammar with six calls, at a high one with three. A benchmark with one right answer rewards such a bias.
#
# The entropy bound looks at a place *before* a word is drawn there, so no word is preferred for being likely, and its gap stays near 0. With fewer than five calls it writes three right sentences of four, where a random order with six writes three of five. But the edge is sharp: from a bound of 4 nats to one of 6, with one call fewer, quality falls from 75 % to 19 %, and nothing in the network's answers says where this edge lies.
#
# The threshold is the weakest here, below a random order. At 0.9, the usual setting, it never takes a second word: in a language of 1.75 nats a word, two words at a time are hardly ever that sure. In a large model's answer to a question many are, which is where its speed comes from (section 12).
#
# ### The noise that is renewed: masks or random words
#
# In DiffusionGemma's sampler no mask exists. What is not accepted is replaced by fresh *random* words (uniform diffusion, lessons 07 and 09). Nothing marks what was accepted, and in the next call every place is judged anew: an accepted word can be taken back. With masks an accepted word is final. When the calls are used up, the likeliest word is put wherever nothing was accepted; we call this the *last act*.
#
# Which noise is better per call? To compare the noises and nothing else, both get the *exact* denoiser of their process and the same limit on calls. **Predict:** which one is ahead at 4 calls, which at 12? And what happens to a careful, small bound when calls are short?

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
# *A generous bound* (4 nats): random words are ahead at every limit on calls, 91 against 79 % at four, 100 against 81 % at twelve. Further calls help them until all is right, since there is always something left to mend. With masks a sampler is done when the last word is accepted, and stays where it is (4.7 calls, about 80 %, for ever). At eight calls random words reach 99 % and more at a gap of 0; masks need a smaller bound and about eleven calls for that.
#
# *A careful bound* (0.5 nats): random words never arrive, 24 calls or not. Each call accepts too few, and the rest is random again. Masks fail when calls are short, and more calls even harm at first (30, 22, 11 % at 2, 4, 6 calls). After two calls nearly everything is the last act: a dozen sentences, written again and again. After six, drawn words stand on the page, and the places filled at the end do not know each other.
#
# Mind the gap, too: with two calls all sentences are 5 to 8 nats too likely, and the lead of random words at four calls is bought with 2 nats.
#
# So: *renewing random words uses a long budget better and needs a generous bound; masks stop by themselves.* (Here both networks are perfect. Judging random words is harder to *learn* than filling blanks: lesson 09.)
#
# On the right of the figure, the *adaptive stop* of DiffusionGemma, at a bound of 1 nat and at most 48 calls. A text is finished when its likeliest words are those of the call before and the mean entropy is below a limit (the numbers at the points). For random words, which have no other end, a limit of 0.05 nats saves more than half of the calls and loses nothing; at 2 nats it stops on unfinished texts. Masks stop anyway. (DiffusionGemma's library: limit 0.005 nats, bound 0.1, at most 48 calls for 256 tokens. Large models' text is far more predictable than ours.)
#
# ## 7 · The cockpit
#
# A table of recordings: each row unfolds, no kernel needed. With a live kernel the controls below record any other setting. The remasking rules are those of lesson 10.
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
# In that row "many" and "duck" were written in one call and did not know each other. Twelve calls save the sentence, with blocks or without, and another rule (Star+) does with four. But one sentence each is an anecdote; the study above has 1,500 for each point. The table is good for the *history*: unfold a broken row and find the call where it went wrong.
#
# ## 8 · Blocks, and a cache that is exact
#
# An autoregressive model keeps keys and values of what it has read, so that a new word costs one position. In a bidirectional network a new word changes the states of all positions, and nothing can be kept. *Block diffusion* (BD3-LM, Arriola et al. 2025) takes from each what it needs: the chain rule over blocks, masked diffusion inside a block,
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
# Left (white lines separate the two copies): a noisy word sees the noise of its own block and the *clean* earlier blocks; a clean word sees clean words, up to the end of its own block, and no noise. Middle: in sampling there is one copy, clean up to the block that is being written. Right: blocks of one word leave the triangle of an autoregressive model; one block for all would be a full square, masked diffusion.
#
# We train blocks of four on the sentences of section 2, and write the sampler.

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
# Is the cache exact? *Equal*: the logits of the third block behind a cache of two, and without any cache. *Leak*: change a word of the last block, and see whether an earlier block's answer moves. For contrast the same on `mdlm-tiny`, which is bidirectional. Methods that cache there (Fast-dLLM) approximate, and refresh the cache once for every block.

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
# Rounding, and zero. In the bidirectional network one later word moves an earlier logit by 9.8: what was kept would be wrong.
#
# ### Both ends of the scale, any question, any length
#
# Blocks of one word are the chain rule: with everything masked the bound *is* $-\log p_\theta(x)$, and two draws of it agree to the last digit. One block for all is masked diffusion: same times and same noise give the same loss. What lies between is a family.
#
# A question may have any length, also one that ends in the middle of a block. And unlike a canvas, blocks have an end: a text stops at the block in which END appears, and later blocks are never computed.

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
# The stop saves about two calls of eleven. (The sentences are poor: this network has had 300 steps.)
#
# ### What does a larger block cost, what does it save?
#
# BD3-LM's authors find a perplexity that grows with the block: on LM1B 28.23 for blocks of 4, between 22.83 (autoregressive) and 31.78 (masked), as two summaries of the paper agree (we could not read its tables). **Predict** the order for our sentences of 12 words. Then: blocks of one word are autoregressive. Is their bound that of an autoregressive model, however the times are drawn in training?

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
# The order is the paper's: in the mean over seeds the bound grows with the size of a block, from 0.04 to 0.23 nats a word. (The ranges of 3, 4 and 6 overlap. A perfect network would be at 0 for every size, lesson 08; what is measured is how *fast* each one learns, in 300 steps.) The share of right sentences falls too, but larger blocks also write more words in a call. (Reading a block into the cache is a call: 12 and 11 for blocks of one.)
#
# The white diamond is the surprise, and summaries of the paper report it as well. Blocks of one word trained on drawn times stay more than twice as far from the entropy as the *same network* trained all masked. In expectation the two losses are equal. But in a batch, drawn times give a word the loss $-\log p / t$ with probability $t$, and else nothing: the variance is about 1.5 against 0.04. So a part of diffusion's price is *noise in the gradient*.
#
# BD3-LM therefore trains on *clipped* times, from an interval that is searched for each size of block. The loss is then no bound; every report takes all of $[0, 1]$. On our network of blocks of four (its texts are half END, so do not compare with the table):

# %%
from difflm_core.objectives import loss_variance

sample_of_texts = texts(lesson.pick(256, 64), lesson.generator(24))
for low, high in ((0.0, 1.0), (0.3, 0.8), (0.45, 0.95), (1.0, 1.0)):
    spread = loss_variance(masked(W), blocky, sample_of_texts, low, high, 8, lesson.generator(25))
    print(f"times in [{low:.2f}, {high:.2f}]: variance of a text's loss {spread:.2f}")

# %% [markdown]
# All masked is the quietest, but a network that has seen nothing else cannot use a half-written block. The recipe `bd3lm-owt-4` takes [0.45, 0.95].
#
# On the right of the figure: what a word costs, in a text of 256. With the cache a call costs as much as its block is long, plus the look back; without it every call pays for the whole text. With one word a call (solid) the cache saves a factor of four to five at blocks of up to 16, less at 64, and nothing when the block is the text. Blocks of one lose a little again, for each is read once more into the cache when it is finished. The dashed lines write four words a call; what that does to quality is the business of section 6.
#
# ## 9 · From an autoregressive model
#
# LLaDA 8B read 2.3 trillion tokens, in 0.13 million hours of an H800 GPU. Trained autoregressive models are everywhere. DiffuGPT, Dream, LLaDA 2 and DiffusionGemma therefore *start* from one. What has to change (Gong et al. 2024)?
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
# The squares are the mask at three moments of the opening; at the first the network still answers as the twin does.
#
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
# The past is worth a lot: after 25 steps the adapted network (blue) is where training from scratch (grey) is after more than 100, and it stays ahead. The lead shrinks, from a factor of four after 25 steps to one of 1.6 after 400. Note the start: *without any further training* the twin's masked bound is 1.8 nats above the entropy, 1.2 nats better than a fresh network's, and it has never seen a mask.
#
# Two details of the recipe come out otherwise than advertised.
#
# - **Opening the mask at once** starts worse, is a little better than annealing in every seed from 25 to 100 steps, and level with it after that. (Annealing spends three tenths of the steps on masks that are not the final one. The paper's models have 127 million parameters and more.)
# - **Keeping the shift** helps early, and clearly: without it the start is worse than from scratch (4.4 against 3.0 nats), and the network catches up only between 100 and 200 steps. But after 400 steps the network *without* the shift is ahead in every seed. A possible reason: a shifted answer is read at a neighbour's place, which then has to serve two words. We do not know whether a real language model would show this.
#
# Section 15 does the same with a real one, SmolLM2 with 135 million parameters.
#
# ## 10 · Learning to doubt what is written
#
# A network trained on masks takes every visible word for true. Seed Diffusion (2025) trains 80 % of its steps on masks and the last 20 % on *edits*: words are replaced, put in, left out, in a number that grows with $t$, and the network must name the clean text at every place. LLaDA 2.1 adds edits as well. It is the third answer of this course to "can a word be corrected?": by the noise (GIDD), by the sampler (Star), by training on errors.

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
# Look at the last row ("." is END, "_" fills the canvas): one word put in, and *every* word behind it stands at a wrong place. A canvas answers for places, so an insertion is hard for it.
#
# The study trains on masks, then goes on for a quarter as long in four ways: masks again (the control), substitutions, all edits, uniform noise of every strength. Each network then revises three kinds of text, as in lesson 09: its own drafts, true sentences with two words replaced, true sentences with a word too many or too few.
#
# **Predict:** which second stage mends substitutions best? Does any mend insertions? What does the mask bound pay for it? And what will the control do?

# %%
edits = load_results("edit_stage")
print(pictures.edit_stage(edits))

# %% [markdown]
# Begin with the control, because it is the trap. The network that was never asked about a visible word takes its drafts from 16 % grammatical to 70 %. It makes 9 to 12 changes in a text of 14 places, and of 500 revised texts only a third to two fifths are distinct: it writes a few common sentences over whatever stood there. *A share of grammatical texts says nothing about an editor without the other columns.*
#
# Read so, the rows say:
#
# - **Substitutions teach doubt.** Four changes a text, nearly all texts still distinct, and 92 % right after two words were replaced.
# - **All edits do not teach insertions.** On texts with a word too many or too few this stage reaches 75 %, substitutions alone 72 %, within the spread; and it rewrites twice as much. To blame may be the canvas, or our short training.
# - **Uniform noise corrects best**: 92 % of drafts, nearly all substitutions, 87 % of insertions and gaps. It pays in variety: half of its texts or fewer are distinct.
# - **Nobody restores.** At most 7 % of the true sentences come back in any seed. Which word stood there cannot be known, but four changes where two would do is not a writer's editing.
# - **The bound pays**: 0.7 nats a text above the entropy with masks alone, 0.9 to 1.1 after the second stages. Part of the training went elsewhere.
#
# Against the two simple controls, substitutions and uniform noise, edits of all kinds earn nothing at this size. (Seed's authors name other reasons, fewer repetitions and better calibration; neither is measured here.) Code, long texts and larger networks may be different.
#
# ## 11 · "Diffusion models do great in coding"
#
# So says the last slide of the talk that this course grew from. Why should it be so? A function is written with its end in view, holes are filled with both sides given, and much of code is predictable, so that many tokens can be written in one call. These are three claims: *quality*, *infilling* and *speed*. LLaDA 8B against LLaMA3 8B, in its own paper: HumanEval (small functions, checked by tests) 35.4 against 34.8. No lead.
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
# The first task goes to the *twin*: a third of its bodies parse, of the masked network's a sixth, in every seed fewer. Neither solves a problem, and no missing line comes back as it stood. On infilling this study is **mute**: about one token in a hundred of a missing line is right, so both networks have learned too little to know a line. (Do not read the share of lines that parse: a text counts up to its first END, and an END in the hole leaves a beginning that often parses.)
#
# What can be said: at this size and equal steps nothing speaks for diffusion in code. In writing bodies it is behind, as in lesson 08 on Shakespeare, and probably for the same reason: it learns more slowly. The claim is made of models more than ten thousand times as large. A longer run is `python -m difflm_core.training code-tiny --steps 20000`, its twin `replace(RECIPES["code-tiny"][1], task=Autoregressive(), steps=20000)`; whether that decides it, we do not know.
#
# ## 12 · Today's large models
#
# Speeds are *claims of those who sell or publish the model*, in tokens per second. We measured none of them, and reached some only through abstracts and press reports (last column). What makes a figure comparable (hardware, batch, length, quality) stands beside it where it is known. Mostly it is not.
#
# | model | noise, order | start | claimed speed, and what is said about it | source |
# |---|---|---|---|---|
# | LLaDA 8B (Feb 2025) | masks; low confidence, blocks | from scratch, 2.3 T tokens | none. The released sampler has no cache; Fast-dLLM's authors give 6.7 tokens/s for it, and 54.4 with their approximate cache and a threshold of 0.9 (school mathematics, GSM8K, 5 examples in the prompt, 256 tokens, accuracy 79.3 and 78.5; the GPU is not in what we read) | arXiv 2502.09992; 2505.22618 and its README |
# | Dream 7B (2025) | masks, noise level chosen for each token | Qwen2.5 7B | none | 2508.15487 |
# | Mercury Coder Mini, Small (Jun 2025) | not published | not published | 1,109 and 737 on an H100, code, vendor's report; batch and length are not in what we read | 2506.17298 |
# | Gemini Diffusion (May 2025) | not published | not published | 1,479 "without overhead", and an overhead of 0.84 s for each request; hardware unknown, mixed tasks. One user saw 857 | the maker's page, by press reports |
# | Seed Diffusion Preview (Aug 2025) | masks, then edits; blocks | not published | 2,146 on H20 GPUs (how many, and at what batch, is not in what we read), over eight code benchmarks. The authors themselves write that their figure, Mercury's and Gemini's were taken on different hardware and tasks, and that system prompts which fix the format raise such numbers | 2508.02193 |
# | LLaDA 2.1 mini 16B, flash 100B (Feb 2026) | masks and token edits; blocks | an autoregressive mixture of experts (only a part of it works on each token) | 892 on HumanEval+, 801 on BigCodeBench, 663 on LiveCodeBench for the 100B model in its speed mode; hardware and batch are not in the abstract | 2602.08676 |
# | DiffusionGemma 26B, 3.8B active (Jun 2026) | random words; entropy bound, canvases of 256 behind a causal cache | Gemma 4 26B | over 1,000 on one H100 in FP8 (numbers of 8 bits), about 4 times a comparable autoregressive model; the server vLLM measured 1,008 itself, at *batch size 1*. The maker says that its quality is below Gemma 4's. Its network is also shown its own last answer (self-conditioning, lesson 05) | the maker's page; press reports of vLLM's |
#
# Read the last row twice. At batch size 1 an autoregressive model leaves a GPU idle: it loads all weights to write one token. A diffusion model uses the idle arithmetic. With many users at once none is idle, and then $T$ calls over a whole canvas are simply $T$ times the work. **No figure in this table says anything about a busy server.**
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
# The gigabytes are those of the weights alone. In code:
#
# ```python
# from difflm_core.models.released import load_released
# mdlm = load_released("kuleshov-group/mdlm-owt")                        # 0.7 GB
# sample_in_order(mdlm, entropy_bound(0.1), (1, 128))                    # ids of GPT-2's tokenizer
# ```
#
# ## 13 · What is not known
#
# - **Bounds against likelihoods.** Every perplexity of a diffusion model is an upper bound, an autoregressive one is exact. How much of the gap is the bound and how much the model? For ours it is known: the bound lies 0.004 nats a word above the truth, the exact likelihood of single orders 0.002 to 0.004 (lesson 08). For an 8B model we found no such figure. An early scaling study put masked diffusion at about 16 times the compute of an autoregressive model for an equal loss (2410.18514); later ones dispute the factor.
#   Bounds of *different families* (masks, uniform) may be loose by different amounts: one study finds a uniform model that beats an autoregressive one on school mathematics at a worse bound (Sahoo et al. 2026, 2602.15014).
# - **Data-constrained training.** Several groups found that when data is repeated many times diffusion keeps improving while an autoregressive model overfits (2511.03276, 2507.15857). A counter-experiment finds that random masking of the *input* does most of it, and that dropout and weight decay give an autoregressive model similar gains (2510.04071). So the comparison needs a *regularised* autoregressive control; whether the two differ after it is open.
# - **Speed** at the same hardware, batch and quality, and the cost with many users (section 12).
# - **Parallel writing.** Which words are independent, a network does not say, and quality at few calls rests on it (section 6).
# - **Selection.** Benchmarks with one right answer reward a sampler that is sure of itself (section 6). The diversity that is lost is seldom reported.
# - **Coding.** As far as we can find, nobody with a public recipe has shown quality at equal training.
#
# The second point you can test on a small corpus of your own: `python -m difflm_core.training mdlm-text --data.path my_texts`, and beside it, in Python, `replace(RECIPES["mdlm-text"][1], task=Autoregressive(), ...)` with several values of `size.dropout` and `weight_decay`. Plot both on held-out text over the epochs.
#
# ## 14 · Exercises
#
# A check prints what it found and names the usual mistakes; `ex11_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook: cells that need an answer then use the course's own.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_11
from difflm_core.classroom.exercises.lesson_11 import ex11_1, ex11_2, ex11_3, ex11_4

# %% [markdown]
# ### Exercise 11.1 · 3 min · difficulty 1/5 · Transfer counts
# *Importance 3/5: one's own samplers first go wrong at the remainder.*
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
# **Why.** `n // T` for everyone leaves `n % T` masks, fewer than `T`: one more each for so many calls. Putting the whole remainder into one call would draw up to $T - 1$ words more at once (section 6). That the *first* calls take it is LLaDA's habit, not wisdom: they see least.

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
# *Importance 5/5: this is DiffusionGemma's rule, and it keeps an error within a bound.*
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
# `x` is $(B, L)$, question, answer and end tokens; `answer` is True on the answer, end tokens included; `t` is $(B,)$. `model(z, t)` gives logits $(B, L, V)$. Return nats for every token, $(B, L)$, zero where nothing is paid.


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
# **Why.** The loss of lesson 08 with one condition more. Masking the question too would be pre-training again, and without masked end tokens the network would not learn where to stop. Dividing by the number of masks instead of by $t$ would not be a bound.

# %% [markdown]
# ### Exercise 11.5 · 25 min · difficulty 5/5 · Six calls (open)
# *Importance 5/5: which words may be written together is the open question of fast diffusion models.*
#
# Write a rule: `masked` is $(B, L)$, `log_p` $(B, L, V)$ the network's log-probabilities ($-\infty$ where nothing is masked). Return True where a word is to be written *now*. With at most **6 calls** a sentence on average, break at most **half** as many sentences as a random order in six calls. The check guards diversity: right sentences at most **1 nat** likelier than true ones, and 95 % of the
# entropy at each place. It shuffles the places, so no order found by hand helps. (It writes 1,000 sentences: give it a minute.)
#
# `entropy_bound(nats)` of section 8 is such a rule, and a start. **Predict:** is it better to write first what is *surest*, or what is *least* sure?


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

# %%
ex11_5.run(my_rule)

# %% [markdown] tags=["solution"]
# **Why.** A nearly certain word breaks nothing, whenever it is written: take all of them in every call. What breaks sentences is two *uncertain* words that depend on each other. Once an uncertain word is known, most of what depends on it becomes certain, and is then free. So begin with the least sure, one at a time, while much is open (more than nine masks), then three a call.
# That is the opposite of LLaDA's rule, and costs no diversity, because no word is preferred for being likely. Confidence asks "what do I know?"; this rule asks "what would tell me most?".

# %%
summary()

# %% [markdown]
# ## 15 · Scale it up
#
# With `--plan` the recipes only print what they would take. Adaptation fetches SmolLM2 and summaries of Wikipedia articles; `--from-scratch` is its control, the same network without its past.
#
# ```
# python -m difflm_core.training llada-tiny                              # LLaDA's task on the toy language, minutes
# python -m difflm_core.training.adapt --steps 20 --batch-size 4 --length 64 --held-out 16    # to look at, on a CPU
# python -m difflm_core.training.adapt                                   # SmolLM2 to masked diffusion, one GPU
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
# Numbers to expect: BD3-LM's perplexity on OpenWebText should lie between 17.54 (autoregressive) and 23.21 (masked diffusion, both Sahoo et al. 2024), the lower the smaller the block; we print none for it, since we could not read the paper's own tables. For `llada-1b` there is none: the paper does not report this size and this text.
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
