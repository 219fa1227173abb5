# %% [markdown]
# # 07 · D3PM: diffusion on symbols
#
# **Minutes** 60 to read, about 2 of computing on 2 CPU cores · **Prerequisites** none for the idea; lesson 01 (a chain of noise, its bound) makes section 5 a repetition
#
# So far noise meant adding a small random number. A word has no neighbours to which one could move it by 0.01: it is this word or another one. D3PM (Austin et al. 2021, *structured denoising diffusion models in discrete state-spaces*) asks
# what is left of diffusion if noise may only *replace* symbols, and answers: everything. One matrix per step takes the place of the Gaussian.
#
# **The question of this lesson.** Which rule for replacing symbols makes a good diffusion model, and what exactly must the network learn to undo it?
#
# After this lesson you can
# - write any noise on symbols as a transition matrix, and its many-step version and its exact reverse in one line each,
# - take the bound $L_{vb} = L_T + \sum_t L_t + L_0$ apart and compute every part exactly on a small language,
# - say what the paper's reverse step (its Eq. 4) really asks of the network, and why an extra cross-entropy helps with masks and harms with random words,
# - do the same without a single matrix, for vocabularies of any size.
#
# Nothing is downloaded: the course's toy language, and a two-word language that can be summed over by hand. Results on real characters come from a stored study.

# %%
import itertools
import math
import time
from functools import partial

import torch
import torch.nn.functional as F
from torch.nn.functional import one_hot

from difflm_core.classroom.lesson import load_results, progress, setup, show
from difflm_core.classroom.pictures import lesson_07 as pictures
from difflm_core.classroom.plots import token_grid
from difflm_core.classroom.sentences import compared
from difflm_core.data.toy_language import toy_language
from difflm_core.processes import matrices

lesson = setup(seed=7)
language = toy_language()
V, L, MASK = (
    language.V,
    language.length,
    language.mask_id,
)  # 114 words; sentences of 12; the mask has id V
word = language.words.__getitem__
fox = language.encode("the great brown fox hops over the lazy dog in brown boots")

# %% [markdown]
# ## 1 · Two ways to lose a fox
#
# Twenty-five steps of noise, looked at after 0, 10, 20 and 25 of them. *Uniform*: in every step each word has a chance, small at first, to be replaced by any of the 114 words. *Absorbing*: it has a chance to be replaced by a blank, $\square$, for good.
#
# **Predict:** cover the picture's first row of each kind. At step 10, which of the two would be easier to repair? How many words are missing or wrong in each?


# %%
def walk(Q, x, generator):
    """A path of the noise: x (L,) -> (T + 1, L). Row v of Q[i] says where symbol v goes in step i + 1."""
    path = [x]
    for Q_step in Q:
        path.append(torch.multinomial(Q_step[path[-1]], 1, generator=generator)[:, 0])
    return torch.stack(path)


chains = {
    "uniform": matrices.uniform(V, matrices.cosine_betas(25)),  # (25, 114, 114)
    "absorbing": matrices.absorbing(
        V + 1, matrices.reciprocal_betas(25)
    ),  # (25, 115, 115): the mask is one more state
}
rows, labels, said = [], [], []
for name, Q in chains.items():
    path = walk(Q, fox, lesson.generator(1))
    for step in (0, 10, 20, 25):
        rows.append(compared(path[step], fox, word, MASK))
        labels.append(f"{name} {step}")
        said.append(f"{name}, step {step}: {language.decode(path[step])}")
show(
    token_grid(rows, labels, "The same sentence, 25 steps of two kinds of noise"),
    "Eight rows. " + "; ".join(said) + ".",
    "Dashed: another word stands there. Grey: masked. The network sees the words, but not the marks.",
)

# %% [markdown]
# The masked text says what it does not know. The other one lies, and nobody says where: the reader must find the wrong words *and* the right ones. (At step 10 four words are missing in the masked text, five are wrong in the other.) That difference will decide nearly everything below.
#
# (The lecture's slide for uniform noise has "The *vast black* fox *hopping* over the lazy *cat*" at $T = 10$. With a whole vocabulary to choose from uniform noise would hardly replace a word by its relative. The noise that does is the last one of the next section.)
#
# ## 2 · One step is a matrix
#
# Number the symbols $0 \dots K-1$ and write a symbol as a one-hot **row** vector $x$. One step of noise is a table of chances
#
# $$[Q_i]_{ab} = q(z_i = b \mid z_{i-1} = a), \qquad q(z_i \mid z_{i-1}) = \mathrm{Cat}(z_{i-1} Q_i).$$
#
# $\mathrm{Cat}(p)$ (*categorical*) is the law that draws symbol $b$ with probability $p_b$. Row $a$ says where symbol $a$ goes, so each row sums to 1 (*row-stochastic*), and a one-hot row times $Q$ picks out that row. We count steps $i = 1 \dots T$; as everywhere in the course $t = i/T$ is the time and $s = (i-1)/T$ the time one step earlier; $z_i$ and $z_t$ are the same noisy text, named by its step or by its time. Below are four rules, one function each: uniform, absorbing, Gaussian (for symbols on a line) and nearest neighbours (along the edges of a graph). With four symbols and $\beta = 0.2$, the chance to be hit in this step, the first two are:


# %%
def uniform(K, beta):
    """With chance beta draw a new symbol, any of the K (also the old one)."""
    return (1 - beta) * torch.eye(K, dtype=torch.float64) + beta / K


def absorbing(K, beta):
    """With chance beta become the last symbol, the mask. The mask stays."""
    Q = (1 - beta) * torch.eye(K, dtype=torch.float64)
    Q[:, -1] += beta
    return Q


def gaussian(K, beta):
    """Symbols on a line: the further, the less likely (Eq. 8). The diagonal gets what is missing to 1."""
    line = torch.arange(K, dtype=torch.float64)
    weight = torch.exp(-4 * (line[:, None] - line) ** 2 / ((K - 1) ** 2 * beta))
    n = torch.arange(-(K - 1), K, dtype=torch.float64)
    Q = weight / torch.exp(-4 * n**2 / ((K - 1) ** 2 * beta)).sum()
    return Q.fill_diagonal_(0) + torch.diag(1 - Q.fill_diagonal_(0).sum(1))


def neighbours(vectors, k, alpha):
    """Walk along the edges of the k-nearest-neighbour graph, alpha moves or so (Eq. 9)."""
    distance = torch.cdist(vectors, vectors).fill_diagonal_(math.inf)
    G = torch.zeros_like(distance).scatter_(1, distance.argsort(1)[:, :k], 1.0)
    A = (G + G.T) / (2 * k)
    return torch.matrix_exp(
        alpha * (A - torch.diag(A.sum(1)))
    )  # rates off the diagonal, minus their sum on it


print(
    "uniform\n",
    uniform(4, 0.2).numpy(),
    "\nabsorbing, three words and the mask\n",
    absorbing(4, 0.2).numpy(),
)

# %% [markdown]
# The fourth needs to know which words are alike. In the paper that comes from pretrained embeddings; here from counts: words that keep the same company are alike. We count which word follows which in 20,000 sentences, take the positive pointwise mutual information (for each pair the logarithm of how much more often the two meet than by chance, and 0 where they meet less often), and keep the eight
# leading directions of its singular value decomposition (the study of section 9 does the same for characters).

# %%
from difflm_core.studies.d3pm_characters import bigram_counts, character_vectors

counts = bigram_counts(language.sample(20_000, generator=lesson.generator(2)), V)
vectors = character_vectors(counts, 8)  # (114, 8), rows of length 1
nearest = torch.cdist(vectors, vectors).argsort(1)
for w in ("brown", "fox", "hops", "over"):
    print(f"{w:7s} is near  {', '.join(word(int(i)) for i in nearest[language.words.index(w), 1:6])}")

# %% [markdown]
# **Predict** what the four matrices look like for twelve words (four animals, four colours, four verbs) after one step and after six.

# %%
twelve = "fox dog cat bear brown black white grey hops jumps runs leaps".split()
some = vectors[torch.tensor([language.words.index(w) for w in twelve])]
flat = torch.full((6,), 0.25, dtype=torch.float64)
four = {
    "uniform": matrices.uniform(12, flat),
    "absorbing": matrices.absorbing(13, flat),
    "Gaussian": matrices.gaussian(12, flat / 12),
    "nearest neighbour": matrices.nearest_neighbour(some, flat, 4),
}
show(*pictures.heat_maps(four, (1, 6), twelve))

# %%
# NBVAL_CHECK_OUTPUT
ours = {
    "uniform": uniform(12, 0.25),
    "absorbing": absorbing(13, 0.25),
    "Gaussian": gaussian(12, 0.25 / 12),
    "nearest neighbour": neighbours(some, 4, 0.25),
}
for name, Q in ours.items():
    print(
        f"{name}: the package has the same matrix, rows sum to 1:",
        torch.allclose(Q, four[name][0]),
        torch.allclose(Q.sum(1), torch.ones(len(Q)).double()),
    )

# %% [markdown]
# The nearest-neighbour noise first confuses words of one kind (three blocks) and only later kinds with each other: the noise itself knows some grammar. (With only three others of its kind on the list, the fourth neighbour of a word is of another kind: always "black" or "fox". They are the bridges.) The Gaussian matrix is right for brightness, loudness, anything that can be put on a line. On words the line is the order in the dictionary,
# and "fox" is near "dog" because we listed them so.
#
# **A number to check before use.** The paper's Gaussian chain runs $\beta$ from $10^{-4}$ to $0.02$, on 256 grey levels. In Eq. 8 the neighbour at distance 1 has the weight $\exp(-4/((K-1)^2\beta))$: the width is in units of the *whole range*. **Predict** what $\beta = 10^{-4}$ does with 27 letters.


# %%
def chance_to_move(K, beta):
    """From the middle symbol. Off-diagonal entries are summed: 1 minus the diagonal would round to 0."""
    row = gaussian(K, beta)[K // 2]
    return row[torch.arange(K) != K // 2].sum().item()


print(
    f"{'chance to move in one step':28s}" + "".join(f"beta = {beta:<10g}" for beta in (1e-4, 1e-3, 0.02))
)
for K in (256, 114, 27):
    moved = [chance_to_move(K, beta) for beta in (1e-4, 1e-3, 0.02)]
    print(f"{f'K = {K}':28s}" + "".join(f"{m:<17.1e}" for m in moved))

# %% [markdown]
# Nothing at all: with 27 symbols the first step of that schedule would be the identity to 25 digits, and the next few hardly less. $\beta$ has to be scaled with $1/(K-1)^2$ if the same *number of symbols* is to be crossed.
#
# ## 3 · Many steps are a matrix too
#
# Two steps: sum over where the symbol was in between, $\sum_b [Q_1]_{ab}[Q_2]_{bc} = [Q_1 Q_2]_{ac}$. So for any number of steps
#
# $$\overline Q_i = Q_1 Q_2 \cdots Q_i, \qquad q(z_t \mid x) = \mathrm{Cat}(x\,\overline Q_i):$$
#
# training can jump to any step at once, as in lesson 01. Two of the four need no product. A word that was hit by uniform noise once is uniform, whatever comes after, and $1 - \beta$ is the chance to be missed; so
#
# $$\overline Q_i = \alpha_i I + (1 - \alpha_i)\,\tfrac1K \mathbf 1\mathbf 1^\top, \qquad \overline Q_i = \alpha_i I + (1-\alpha_i)\,\mathbf 1 e_m^\top, \qquad \alpha_i = (1-\beta_1)\cdots(1-\beta_i)$$
#
# for uniform and absorbing noise ($e_m$: the mask's one-hot). One number, $\alpha$, instead of $K^2$. (Nearest neighbours: every step is $e$ to a multiple of the same matrix of rates $R$, so the multiples add up. Gaussian: really multiply.)

# %%
# NBVAL_CHECK_OUTPUT
betas = matrices.cosine_betas(25)
alpha = (1 - betas).cumprod(0)
product = torch.eye(V, dtype=torch.float64)
for Q_step in chains["uniform"]:
    product = product @ Q_step
print("25 multiplications = the closed form:", torch.allclose(product, uniform(V, 1 - alpha[-1])))
product = torch.eye(V, dtype=torch.float64)
for Q_step in chains["uniform"][:10]:
    product = product @ Q_step
print(
    "the same half way, and in the package:",
    torch.allclose(product, uniform(V, 1 - alpha[9])),
    torch.allclose(product, matrices.cumulative(chains["uniform"])[9]),
)

# %% [markdown]
# ### How fast? One schedule does not fit all
#
# How much of the word is left in $z_t$ can be measured without any network: the mutual information $I(z_t; x)$ (by how many nats the noisy word lowers the uncertainty about the clean one, on average), as a share of the entropy $H(x)$ of the words' frequencies. For masks a word is either there or not, so the share is $\alpha_t$, and $\beta_i = \frac{1}{T-i+1}$ gives $\alpha_t = 1 - t$: a straight line, equal loss in each step. (The paper writes $\frac{1}{T-t+1}$, with $t$ for the step, and so do the labels of the pictures.)
#
# **Predict:** use the same $\beta_i = \frac{1}{T-i+1}$ with uniform noise. Half of the words have been hit at $t = 1/2$. Is half of the information left, more, or less?

# %%
frequencies = language.positional_marginals().mean(0)  # (114,) how often each word occurs
T = 25
moves = matrices.information_alphas(frequencies, vectors, 15, T)  # solved for a straight line
chains["nearest neighbour"] = matrices.nearest_neighbour(vectors, moves, 15)
chains["Gaussian"] = matrices.gaussian(V, matrices.linear_betas(T))
Qbars = {
    "absorbing, 1/(T−t+1)": matrices.cumulative(chains["absorbing"]),
    "nearest neighbour, by information": matrices.cumulative(chains["nearest neighbour"]),
    "uniform, cosine": matrices.cumulative(chains["uniform"]),
    "uniform, 1/(T−t+1)": matrices.cumulative(matrices.uniform(V, matrices.reciprocal_betas(T))),
    "Gaussian, 1e-4 to 0.02": matrices.cumulative(chains["Gaussian"]),
}
left = {}
for name, Qbar in Qbars.items():
    law = F.pad(frequencies, (0, Qbar.shape[-1] - V))  # the mask never occurs in clean text
    left[name] = matrices.mutual_information(law, Qbar) / torch.special.entr(frequencies).sum()
show(*pictures.information_left(left))

# %% [markdown]
# Less: at $t = 0.48$ it is 0.39, with masks 0.52. Under masks a visible word is certain; under uniform noise every visible word is under suspicion, and that costs information also at the words that are *right*. The same $\frac{1}{T-i+1}$ that is a straight line for masks loses most of its information early. The cosine starts gently instead. (The Gaussian chain was
# tuned for a thousand steps of 256 levels: here it falls steeply at once, and after 25 steps one sixth of the information is still there. What is left over appears as $L_T$ in the bound.) The nearest-neighbour schedule was solved for the straight line: the paper's choice, its Eq. 17.
#
# The explorer below walks your own sentence through all four chains. Which noise leaves the most *readable* sentence half way?

# %% tags=["widget"]
walks = {name: partial(walk, Q) for name, Q in chains.items()}
pictures.chain_explorer(
    walks,
    language.encode,
    word,
    MASK,
    "the great brown fox hops over the lazy dog in brown boots",
    (5, 10, 20),
    seed=3,
)

# %% [markdown]
# At step 10 the uniform chain, which starts gently, has replaced two words, and both break the sentence. The nearest-neighbour chain has replaced four, each by one of its kind: "the shy green fox hops over the lazy horse in brown gloves" can still be read. The Gaussian chain has left one word.
#
# ## 4 · One step back: Bayes
#
# Suppose we knew the clean word $x$ and saw $z_t$. What was it one step earlier? Bayes' rule, with the Markov property $q(z_t \mid z_s, x) = q(z_t \mid z_s)$:
#
# $$q(z_s \mid z_t, x) = \frac{q(z_t \mid z_s)\; q(z_s \mid x)}{q(z_t \mid x)} = \mathrm{Cat}\!\left(\frac{z_t Q_i^\top \odot x\,\overline Q_{i-1}}{x\,\overline Q_i\, z_t^\top}\right).$$
#
# Read the numerator as a function of $z_s$. $z_t Q_i^\top$ is *column* $z_t$ of $Q_i$: from where can $z_t$ have come? $x\overline Q_{i-1}$ is row $x$: where had $x$ got to? Multiply entry by entry ($\odot$), divide by the sum. It is the paper's Eq. 3.
#
# We do not believe it yet. With $K = 4$ and three steps there are only $4^3$ paths from each $x$; we add up the probabilities of all of them.


# %%
def bayes(Q_i, Qbar_s, z, x):
    """q(z_s | z_t, x) for symbols z and x: (K,)."""
    joint = Q_i[:, z] * Qbar_s[x]
    return joint / joint.sum()


lopsided = torch.softmax(
    torch.randn(3, 4, 4, generator=lesson.generator(3), dtype=torch.float64), -1
)  # any matrices do
Qbar = torch.cat([torch.eye(4).double()[None], matrices.cumulative(lopsided)])  # Qbar[i]: after i steps
largest = 0.0
for x in range(4):
    paths = {}  # (z_1, z_2, z_3) -> its probability
    for path in itertools.product(range(4), repeat=3):
        states = (x, *path)
        paths[path] = math.prod(lopsided[i, states[i], states[i + 1]].item() for i in range(3))
    for i in (1, 2):  # from step i + 1 back to step i
        for z in range(4):
            by_force = torch.tensor(
                [
                    sum(p for path, p in paths.items() if path[i - 1] == b and path[i] == z)
                    for b in range(4)
                ],
                dtype=torch.float64,
            )
            by_force = by_force / by_force.sum()
            largest = max(largest, (by_force - bayes(lopsided[i], Qbar[i], z, x)).abs().max().item())
print(f"{4 * 4**3} paths; largest difference between counting them and the formula: {largest:.1e}")

# %%
# NBVAL_CHECK_OUTPUT
print("the formula counts the paths:", largest < 1e-12)
z_all, x_all = torch.arange(4).repeat(4, 1), torch.arange(4)[:, None].expand(4, 4)
core = matrices.posterior(lopsided[2], Qbar[2], z_all, x_all)  # (4, 4, 4): x, z, z_s
print(
    "the package has the same:",
    all(
        torch.allclose(core[x, z], bayes(lopsided[2], Qbar[2], z, x)) for x in range(4) for z in range(4)
    ),
)

# %% [markdown]
# Now with the fox. In truth the word is "fox". At step 10 we see (a) a mask, (b) "dog", (c) "fox". **Predict** for each noise: one step earlier, was it the right word, what we see now, or something else?

# %%
truth, lie = language.words.index("fox"), language.words.index("dog")
print(
    f"{'noise':20s}{'seen at step 10':18s}{'fox at step 9':>15s}{'the same as now':>17s}{'anything else':>15s}"
)
for name, seen in (
    ("absorbing", MASK),
    ("uniform", lie),
    ("uniform", truth),
    ("nearest neighbour", lie),
    ("nearest neighbour", truth),
):
    Q, Qbar_ = chains[name], matrices.cumulative(chains[name])
    law = bayes(Q[9], Qbar_[8], seen, truth)
    same = law[seen].item() if seen != truth else 0.0
    print(
        f"{name:20s}{'▢' if seen == MASK else word(seen):18s}{law[truth]:15.3f}{same:17.3f}{1 - law[truth] - same:15.3f}"
    )

# %% [markdown]
# A mask was a mask already, or, with chance $1/10$, the right word; nothing else is possible. A wrong word was most likely already wrong, and with a smaller chance right. Nothing is certain any more when words can lie, not even a right word (it may be right by luck: the 1.000 of uniform noise is 0.9999), and with nearest neighbours the past may have been another relative (0.073 for the "dog").
#
# ## 5 · The bound, taken apart
#
# The model goes backwards: draw $z_T$ (the index counts steps here) from a law $p(z_T)$ that needs no text (all masks, or uniform), then $z_{i-1}$ from $p_\theta(z_{i-1} \mid z_i)$, step by step down to $z_0 = x$. What does it pay, in nats, for a text $x$? Write $z_{1:T}$ for the whole path. Jensen's inequality (the logarithm of a mean is at least the mean of the logarithms):
#
# $$-\log p_\theta(x) = -\log \mathbb E_{q}\frac{p_\theta(x, z_{1:T})}{q(z_{1:T} \mid x)} \;\le\; \mathbb E_q \log\frac{q(z_{1:T}\mid x)}{p_\theta(x, z_{1:T})}.$$
#
# Write both as products *backwards*: $p_\theta(x, z_{1:T}) = p(z_T)\,p_\theta(x\mid z_1)\prod_{i=2}^T p_\theta(z_{i-1}\mid z_i)$, and, since the chain is Markov, $q(z_{1:T}\mid x) = q(z_T\mid x)\prod_{i=2}^T q(z_{i-1}\mid z_i, x)$. The logarithm of the quotient is a sum, and each piece is a KL divergence, $\mathrm{KL}(q\,\|\,p) = \sum_z q(z) \log\frac{q(z)}{p(z)}$: the nats that it costs on average to believe $p$ where $q$ is true, 0 only if they are equal. (The last piece is a plain log.)
#
# $$\boxed{\;L_{vb} = \underbrace{\mathrm{KL}\big(q(z_T\mid x)\,\|\,p(z_T)\big)}_{L_T} + \sum_{i=2}^{T} \mathbb E_q \underbrace{\mathrm{KL}\big(q(z_{i-1}\mid z_i, x)\,\|\,p_\theta(z_{i-1}\mid z_i)\big)}_{L_{i-1}} + \underbrace{\mathbb E_q[-\log p_\theta(x\mid z_1)]}_{L_0}\;}$$
#
# $L_T$ has nothing to learn: it is what the chain failed to destroy. $L_0$ is the last step: from nearly clean to clean. (At $i = 1$ the true law $q(z_0 \mid z_1, x)$ is certain of $x$, so $L_0$ is the same KL, and needs no code of its own. Forgetting it makes a model look better than it is.)
#
# **Exactly.** Take a language of two words and three places, in which the words like to agree. Eight texts, and at most $27$ noisy ones: every expectation is a finite sum. As the network we take a perfect one (which one? section 6; for now, $p_\theta$ is exact at every single place).

# %%
from difflm_core.classroom.exercises.lesson_07.four_steps import mini_language

mini = mini_language()
texts = torch.tensor(list(itertools.product(range(2), repeat=3)))  # (8, 3)
p_text = mini.log_prob(texts).exp()
entropy = mini.entropy()
for text, p in zip(texts, p_text):
    print(mini.decode(text), f" {p:.3f}", end="    ")
print(f"\nentropy {entropy:.3f} nats per text")


def everything(process, i):
    """All pairs (x, z_t) at step i of the chain: z (N, 3) and q(z_i | x_i), (8, N, 3)."""
    z = torch.tensor(list(itertools.product(range(process.K), repeat=3)))
    t = torch.full((len(z),), i / process.T, dtype=torch.float64)
    evidence = process.evidence(z, t)  # (N, 3, 2): q(z_i | x_i = v) for both words
    return z, torch.stack([evidence[:, place][:, texts[:, place]].T for place in range(3)], -1)


def perfect(process, i, g):
    """p(x_i = v | the other places of z), times the g-th power of the place's own evidence: (N, 3, 2)."""
    z, seen = everything(process, i)
    p = torch.zeros(len(z), 3, 2, dtype=torch.float64)
    for place in range(3):
        rest = seen[..., [other for other in range(3) if other != place]].prod(-1)  # (8, N)
        own = torch.where(
            seen[..., place] > 0, seen[..., place] ** g, 0.0
        )  # a word that z excludes stays excluded
        for v in range(2):
            p[:, place, v] = (p_text[:, None] * rest * own)[texts[:, place] == v].sum(0)
    return p / p.sum(-1, keepdim=True).clamp_min(1e-300)


def kl(q, p):
    return (torch.special.xlogy(q, q) - torch.special.xlogy(q, p.clamp_min(1e-300))).sum(-1)


def exact_terms(process, g=0.0, reverse="posterior"):
    """(L_0 ... L_{T-1} in nats per text, cross-entropies -log p(x | z_t) likewise), each (T,)."""
    bound, cross = [], []
    for i in range(1, process.T + 1):
        z, seen = everything(process, i)
        N, p = len(z), perfect(process, i, g)
        x, z, p = texts.repeat_interleave(N, 0), z.repeat(8, 1), p.repeat(8, 1, 1)  # every pair (x, z)
        weight = (p_text[:, None] * seen.prod(-1)).flatten()
        x, z, p, weight = (a[weight > 0] for a in (x, z, p, weight))
        s, t = (torch.full((len(x),), k / process.T, dtype=torch.float64) for k in (i - 1, i))
        true, model = process.posterior(z, x, s, t), getattr(process, reverse)(z, p, s, t)
        bound.append((weight * kl(true, model).sum(-1)).sum())
        cross.append((weight * -p.gather(-1, x[..., None])[..., 0].log().sum(-1)).sum())
    return torch.stack(bound), torch.stack(cross)


def prior(process):
    """L_T in nats per text."""
    x = texts.flatten()
    return (p_text.repeat_interleave(3) * kl(process.Qbar[-1][x], process.law)).sum().clamp_min(0).item()


def mini_chain(kind, betas):
    make = {"uniform": matrices.uniform, "absorbing": matrices.absorbing}[kind]
    return matrices.MatrixProcess(make(2 + (kind == "absorbing"), betas), V=2)


# %% [markdown]
# **Predict:** eight steps. For masks, which of $L_0 \dots L_7$ is the largest? And the third row: uniform noise with $\beta = 0.15$ in every step, which leaves $0.85^8 = 27\,\%$ of the words untouched. Where does that show?

# %%
shown = {
    "absorbing, 1/(T−t+1)": mini_chain("absorbing", matrices.reciprocal_betas(8)),
    "uniform, cosine": mini_chain("uniform", matrices.cosine_betas(8)),
    "uniform, β = 0.15 always": mini_chain("uniform", torch.full((8,), 0.15, dtype=torch.float64)),
}
parts = {name: (prior(process), exact_terms(process)[0]) for name, process in shown.items()}
show(*pictures.parts_of_the_bound(parts, entropy))

# %%
# NBVAL_CHECK_OUTPUT
from difflm_core.models import LeaveOneOut
from difflm_core.objectives import d3pm_parts

process = shown["uniform, β = 0.15 always"]
many = mini.sample(20_000, generator=lesson.generator(4))
estimate = d3pm_parts(
    process, LeaveOneOut(mini.denoiser(process), process), many, generator=lesson.generator(5)
)
by_sampling, exact = estimate.steps.sum(-1).mean(1), parts["uniform, β = 0.15 always"][1]
error = estimate.steps.sum(-1).std(1) / len(many) ** 0.5
print(
    "the package's d3pm_parts, by sampling, agrees with the sums:",
    bool(((by_sampling - exact).abs() < 5 * error + 1e-3).all()),
)
print(
    "L_T too:", abs(estimate.prior.sum(-1).mean().item() - parts["uniform, β = 0.15 always"][0]) < 1e-2
)

# %% [markdown]
# With masks no step stands out: the schedule gives each the same share of the words to reveal, and those near $t = 1$ (little context) pay a little more for theirs. Uniform noise with the cosine pays most in the middle. The last chain hits hardest at once, so that its $L_0$ is more than a third of everything; and since it stopped early it pays $L_T$: sampling starts from pure noise, but real $z_T$ still say something, and the bound charges for it.
#
# All three lie above the entropy, although the network is perfect. The surplus is the price of eight steps: in each, the three places are drawn without seeing each other. (In the third row 0.011 of it has another reason: $z_T$ does not quite follow the uniform law from which the sampler starts.)
#
# ## 6 · What the network says, and what is done with it
#
# A network that outputs $p_\theta(z_s \mid z_t)$ directly would have to learn the noise as well. So it predicts the *clean* word instead, $\tilde p_\theta(x \mid z_t)$ ("$x_0$-parametrisation"), and the known noise does the rest. The paper's Eq. 4:
#
# $$p_\theta(z_s \mid z_t) \;\propto\; \sum_{x} q(z_s, z_t \mid x)\;\tilde p_\theta(x \mid z_t) \;=\; q(z_t \mid z_s)\,\sum_x q(z_s \mid x)\,\tilde p_\theta(x\mid z_t) .$$
#
# That is section 4's formula with probabilities *plugged in* for the one-hot $x$. But there is a second way that looks as natural: draw $x$ from the prediction, then $z_s$ from its posterior; that is, *mix the posteriors*,
#
# $$\sum_x \tilde p_\theta(x \mid z_t)\; q(z_s \mid z_t, x) = \sum_x \tilde p_\theta(x\mid z_t)\,\frac{q(z_s, z_t \mid x)}{q(z_t \mid x)} .$$
#
# The difference is one division by $q(z_t \mid x)$, inside the sum. Suppose now that the network is perfect and says $p(x_i \mid z_t)$, $i$ the place. (From here on an index $i$ at a word is its place; steps are named by their times $s$ and $t$.) Then the mixture *is* the true reverse step: it is the law of total probability. So the plug-in must be something else.
#
# **Predict:** the noisy text is "b a a", at step 4 of 8 of uniform noise. The two others say that the first place was an "a" once. Which of the two reverse steps will believe more in the "b" it sees?

# %%
process = shown["uniform, cosine"]
i, (z, seen) = 4, everything(shown["uniform, cosine"], 4)
row = int((z == torch.tensor([1, 0, 0])).all(1).nonzero())
s, t = (torch.full((len(z),), k / 8, dtype=torch.float64) for k in (i - 1, i))
says = {"p(x | z)": perfect(process, i, 1.0), "p(x | z without z_i)": perfect(process, i, 0.0)}
weight = p_text * seen[:, row].prod(-1)  # brute force: all eight texts, each with its posterior
posteriors = torch.stack([process.posterior(z[row][None], x[None], s[:1], t[:1])[0, 0] for x in texts])
by_force = (weight[:, None] * posteriors).sum(0) / weight.sum()
laws = {
    "true reverse step, summed over the texts": by_force,
    "p(x | z) plugged in (Eq. 4)": process.posterior(z, says["p(x | z)"], s, t)[row, 0],
    "p(x | z), posteriors mixed": process.posterior_mixture(z, says["p(x | z)"], s, t)[row, 0],
    "p(x | z without z_i) plugged in (Eq. 4)": process.posterior(z, says["p(x | z without z_i)"], s, t)[
        row, 0
    ],
}
print(
    f"first place of 'b a a': p(x = b | z) = {says['p(x | z)'][row, 0, 1]:.3f}, from the others alone {says['p(x | z without z_i)'][row, 0, 1]:.3f}\n"
)
for name, law in laws.items():
    print(f"{name:42s} 'b' one step earlier: {law[1]:.4f}")

# %%
# NBVAL_CHECK_OUTPUT
true = laws["true reverse step, summed over the texts"]
print("mixing is the true step:", torch.allclose(laws["p(x | z), posteriors mixed"], true))
print(
    "so is plugging in what the others say:",
    torch.allclose(laws["p(x | z without z_i) plugged in (Eq. 4)"], true),
)
print(
    "plugging in p(x | z) is not:",
    not torch.allclose(laws["p(x | z) plugged in (Eq. 4)"], true, atol=0.01),
)

# %% [markdown]
# The plug-in believes the "b" more, 0.93, and too much: the truth is 0.77. Why is the last line right? By Bayes' rule (noise hits each place by itself) $p(x_i \mid z_t) \propto p(x_i \mid z_t \text{ without } z_t^i)\; q(z_t^i \mid x_i)$. Divide the first by the evidence $q(z^i_t\mid x_i)$, plug it in, and
#
# $$\sum_x \frac{p(x\mid z_t)}{q(z_t\mid x)}\,q(z_s, z_t\mid x) = \sum_x p(x \mid z_t)\; q(z_s \mid z_t, x) :$$
#
# the mixture. So **Eq. 4 brings the evidence of the visible word in by itself. If the prediction has used it too, it is counted twice.** The network for which the paper's reverse step is exact is not $p(x_i\mid z_t)$ but $p(x_i \mid z_t \text{ without } z_t^i)$: what the *other* places say. This is what a network trained with $L_{vb}$ learns, whatever its output is called.
#
# For masks nothing of this can be seen: $q(\square \mid x)$ is the same for every $x$, a mask is no evidence, and at masked places the two laws are the same.
#
# How much does it matter? **Predict** the four curves: a perfect network's bound minus the entropy, against the number of steps.

# %%
steps = [1, 2, 4, 8, 16, 32]
curves = {
    name: []
    for name in (
        "absorbing",
        "uniform, the others plugged in",
        "uniform, 1/(T−t+1), the others",
        "uniform, p(x | z) plugged in",
    )
}
mixed = []
for T in steps:
    masks, cosine = (
        mini_chain("absorbing", matrices.reciprocal_betas(T)),
        mini_chain("uniform", matrices.cosine_betas(T)),
    )
    for name, process, g in zip(
        curves,
        (masks, cosine, mini_chain("uniform", matrices.reciprocal_betas(T)), cosine),
        (0.0, 0.0, 0.0, 1.0),
    ):
        curves[name].append(exact_terms(process, g)[0].sum().item() - entropy)
    mixed.append(exact_terms(cosine, 1.0, "posterior_mixture")[0].sum().item() - entropy)
show(*pictures.gaps(steps, curves))

# %%
# NBVAL_CHECK_OUTPUT
print(
    "what the others say is tight, as 1/T:",
    1.9
    < curves["uniform, the others plugged in"][-2] / curves["uniform, the others plugged in"][-1]
    < 2.1,
)
print("p(x | z) plugged in never becomes tight:", curves["uniform, p(x | z) plugged in"][-1] > 0.7)
print(
    "p(x | z) with mixed posteriors is as good as the others plugged in:",
    max(abs(a - b) for a, b in zip(mixed, curves["uniform, the others plugged in"])) < 1e-9,
)
z_all = torch.tensor(list(itertools.product(range(3), repeat=3)))
masks, half = shown["absorbing, 1/(T−t+1)"], torch.full((27,), 0.5, dtype=torch.float64)
hidden = (z_all == 2)[..., None]
alike = [perfect(masks, 4, g).masked_fill(~hidden, 0.0) for g in (0.0, 1.0)]
print("for masks the two are one:", torch.allclose(*alike))

# %% [markdown]
# Counting twice gets *worse* with more steps (every step counts again); what the others say falls to the entropy like $1/T$. Note also the wrong schedule, the masks': for a perfect network its surplus is larger by a quarter at 2 steps and by 7 % at 32, no disaster. As $T$ grows the perfect bound does not depend on the schedule at all. That the paper found it disastrous (section 9) says something about *learning*.
#
# ## 7 · λ: a cross-entropy that helps, or harms
#
# The paper adds to every step a plain cross-entropy (its Eq. 5),
#
# $$L_\lambda = L_{vb} + \lambda \sum_{t}\, \mathbb E\,[-\log \tilde p_\theta(x \mid z_t)],$$
#
# with $\lambda = 0.01$ per step (so the released code: one random step, its KL plus $\lambda$ times the cross-entropy). Over $T = 1000$ steps that adds up: against the whole bound the cross-entropy weighs $\lambda T = 10$. Its experiments on text (text8, bits per character): with masks $\lambda$ helps, 1.47 to 1.44; with uniform noise it harms, 1.61 to 1.91. Why the opposite?
#
# You have all that is needed. The cross-entropy is smallest at $p(x_i \mid z_t)$, as for any classifier. The bound is smallest at $p(x_i \mid z_t \text{ without } z_t^i)$. Let us walk from one to the other: predictions $\propto p(x_i\mid\text{others})\cdot q(z_t^i\mid x_i)^g$, $g = 0$ the others, $g = 1$ the posterior. **Predict** both curves for both kinds of noise.

# %%
shares = torch.arange(-2, 15, dtype=torch.float64) / 10
found = {}
for name, key in (("absorbing", "absorbing, 1/(T−t+1)"), ("uniform", "uniform, cosine")):
    both = [exact_terms(shown[key], float(g)) for g in shares]
    found[name] = ([b.sum().item() for b, _ in both], [c.mean().item() for _, c in both])
show(*pictures.tug_of_war(shares, found, entropy))
bound, cross = (torch.tensor(values) for values in found["uniform"])
for weight in (0.0, 1.0, 10.0):
    best = int((bound + weight * cross).argmin())
    print(
        f"lambda T = {weight:4.1f}: the best g is {shares[best]:.1f}, and the bound there {bound[best]:.3f} (entropy {entropy:.3f})"
    )

# %% [markdown]
# For masks both curves are flat: on this line there is nothing to disagree about (at a mask both ask the same question, and a visible word is certain). There $\lambda$ changes only how the *times* are weighed, and $L_{vb}$'s own weights are uneven, $1/t$: the cross-entropy is a calmer teacher of the same thing. For uniform noise they pull in different directions, and with
# $\lambda T = 10$ the cross-entropy wins. The network gives a better answer to the wrong question.
#
# The cure follows from the diagnosis, and is not in the paper: take the cross-entropy of the prediction *after* the own evidence has been multiplied in, $\tilde p_\theta(x)\,q(z_t^i\mid x)$. Then both are smallest at the same network. Section 9 tries it.
#
# ## 8 · The whole method in thirty lines
#
# Any matrices, any vocabulary, real networks. `Q` is $(T, K, K)$; `Qbar` has one more entry, the identity in front.


# %%
def draw(p, generator):
    """One symbol from each law p (..., K)."""
    u = torch.rand(p.shape[:-1], generator=generator, dtype=torch.float64)[..., None]
    cdf = p.cumsum(-1)
    return (cdf <= u * cdf[..., -1:]).sum(-1).clamp_max(p.shape[-1] - 1)


def one_step_back(Q_i, Qbar_s, z, x):
    """Section 4's formula for a batch: z (B, L); x (B, L, K) one-hot, or a prediction plugged in (Eq. 4)."""
    came_from = Q_i.mT[torch.arange(len(z))[:, None], z]  # (B, L, K): column z of each row's matrix
    joint = came_from * (x @ Qbar_s)
    return joint / joint.sum(-1, keepdim=True)


def d3pm_loss(model, Q, Qbar, law, x, t, lam, generator):
    """One draw of L_lambda, nats per word (B, L): for each text of the batch one step, counted T times."""
    T, K = Q.shape[:2]
    i = (t.double() * T).ceil().long().clamp(1, T)  # (B,) which step
    clean = one_hot(x, K).double()
    z = draw(clean @ Qbar[i], generator)
    logits = model(z, (i / T).to(t.dtype))
    p = F.pad(logits.double().softmax(-1), (0, K - logits.shape[-1]))  # a clean word is never the mask
    true, guess = (one_step_back(Q[i - 1], Qbar[i - 1], z, who) for who in (clean, p))
    term = (torch.special.xlogy(true, true) - torch.special.xlogy(true, guess)).sum(
        -1
    )  # at i = 1 this is L_0
    ce = F.cross_entropy(logits.mT, x, reduction="none")
    end = Qbar[-1][x]
    L_T = (torch.special.xlogy(end, end) - torch.special.xlogy(end, law)).sum(-1)
    return L_T + T * (term + lam * ce)


@torch.no_grad()
def sample(model, Q, Qbar, law, n, k, generator):
    """T / k steps of k at a time: z_t -> z_{t - k/T}. The matrix of a jump is the product of its steps."""
    T = len(Q)
    z = draw(law.expand(n, L, -1), generator)
    for i in range(T, 0, -k):
        jump = torch.linalg.multi_dot([*Q[i - k : i]]) if k > 1 else Q[i - 1]
        p = model(z, torch.full((n,), i / T)).double().softmax(-1)
        p = F.pad(p, (0, Q.shape[-1] - p.shape[-1]))
        z = draw(one_step_back(jump.expand(n, -1, -1), Qbar[i - k].expand(n, -1, -1), z, p), generator)
    return z


# %% [markdown]
# The jump of $k$ steps costs one network call, not $k$: Eq. 4 only asks for $q(z_s, z_t \mid x)$, and any pair of times has that.

# %%
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import d3pm_hybrid_loss, d3pm_nelbo, stratified_times
from difflm_core.samplers import sample_discrete

T = 20
torch.manual_seed(0)
network = Transformer(TransformerConfig(V, L, width=96, layers=2, heads=4, time_conditioning=True))
batch, t = language.sample(32, generator=lesson.generator(6)), stratified_times(32, lesson.generator(7))
differences, same_samples = {}, {}
for name, Q in {
    "uniform": matrices.uniform(V, matrices.cosine_betas(T)),
    "absorbing": matrices.absorbing(V + 1, matrices.reciprocal_betas(T)),
    "nearest neighbour": matrices.nearest_neighbour(
        vectors, matrices.information_alphas(frequencies, vectors, 15, T), 15
    ),
}.items():
    core = matrices.MatrixProcess(Q, V)
    with torch.no_grad():
        ours = d3pm_loss(network, core.Q, core.Qbar, core.law, batch, t, 0.01, lesson.generator(8))
        theirs = d3pm_hybrid_loss(core, network, batch, t, 0.01, generator=lesson.generator(8))
    differences[name] = (ours - theirs).abs().max().item()
    ours = sample(network, core.Q, core.Qbar, core.law, 16, 5, lesson.generator(9))
    same_samples[name] = (
        (ours == sample_discrete(core, network, T // 5, (16, L), generator=lesson.generator(9)).tokens)
        .double()
        .mean()
        .item()
    )
    print(
        f"{name:20s} loss {theirs.mean():.4f} nats per word (untrained); largest difference {differences[name]:.1e}; samples agree {same_samples[name]:.1%}"
    )

# %%
# NBVAL_CHECK_OUTPUT
print("thirty lines = the package's loss:", max(differences.values()) < 1e-3)
print("and its samples:", min(same_samples.values()) > 0.99)

# %% [markdown]
# ### Without matrices
#
# For uniform and absorbing noise one number $\alpha$ says all (section 3), and the posterior needs no product either: $p\,\overline Q = \alpha\,p + (1-\alpha)\cdot$ a constant. The package's `uniform_process` and `absorbing_process` are the same chains written so. **Predict** the factor at 114 and at 1,024 words.


# %%
def milliseconds(f, repeats=5):
    f()
    began = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - began) / repeats * 1e3


equal = []
print(
    f"{'K':>8s}{'one posterior, K x K':>24s}{'closed form':>14s}{'factor':>9s}{'memory of Q and Q-bar, T = 1000':>34s}"
)
for K in (27, 114, 512, 1024):
    betas = matrices.cosine_betas(4)
    slow, quick = (
        matrices.MatrixProcess(matrices.uniform(K, betas), K),
        matrices.uniform_process(K, betas),
    )
    z = torch.randint(K, (8, 64), generator=lesson.generator(10))
    p = torch.randn(8, 64, K, generator=lesson.generator(11), dtype=torch.float64).softmax(-1)
    s, t = torch.full((8,), 0.5, dtype=torch.float64), torch.full((8,), 0.75, dtype=torch.float64)
    equal.append(
        torch.allclose(slow.posterior(z, p, s, t), quick.posterior(z, p, s, t)[..., :K], atol=1e-9)
    )
    a, b = (milliseconds(partial(process.posterior, z, p, s, t)) for process in (slow, quick))
    print(f"{K:8d}{a:21.2f} ms{b:11.2f} ms{a / b:9.1f}{2 * 1000 * K * K * 8 / 1e9:31.1f} GB")
print(f"   50257{'':58s}{2 * 1000 * 50257**2 * 8 / 1e9:24,.0f} GB")

# %%
# NBVAL_CHECK_OUTPUT
print("the closed form is the same posterior:", all(equal))

# %% [markdown]
# At a hundred symbols the matrices cost next to nothing; at a thousand they take ten times as long or more, and at the vocabulary of a real tokenizer they fit into no memory.
#
# ### A real training run
#
# Uniform noise on the toy language, $T = 100$ steps, the plain bound, one to two minutes. For masks we need no training: D3PM's absorbing chain with $\frac{1}{T-i+1}$ *is* masked diffusion in discrete time (lesson 08), so the course's `mdlm-tiny` can be scored and sampled as it is.

# %%
from difflm_core.evaluation import estimate_nelbo
from difflm_core.training.course import course_checkpoint

T = 100
noise = {
    "uniform": matrices.uniform_process(V, matrices.cosine_betas(T)),
    "absorbing": matrices.absorbing_process(V, matrices.reciprocal_betas(T)),
}
network.train()
optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.0, betas=(0.9, 0.99))
total = lesson.pick(800, 12)
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, 3e-3, total, pct_start=0.1, cycle_momentum=False
)
generator, history = lesson.generator(12), []
for step in (bar := progress(range(total), "uniform D3PM")):
    x = language.sample(128, generator=generator)
    loss = d3pm_nelbo(
        noise["uniform"], network, x, stratified_times(128, generator), generator=generator
    ).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    history.append(loss.item())
    if step % 20 == 0:
        bar.set_postfix_str(f"bound {sum(history[-20:]) / len(history[-20:]):.3f} nats per word")
networks = {"uniform": network.eval(), "absorbing": course_checkpoint("mdlm-tiny")[0].eval()}

# %% [markdown]
# **Predict:** both networks in 1, 5, 20 and 100 calls (jumps of 100, 20, 5 and 1 steps). Which curve is lower at five calls? At a hundred?

# %%
calls, n = [1, 5, 20, 100], lesson.pick(300, 24)
fresh = language.sample(lesson.pick(512, 64), generator=lesson.generator(13))
exact = -language.log_prob(fresh).mean().item() / L
broken, bounds = {}, {}
for name, model in networks.items():
    broken[name], bounds[name] = [], []
    for steps_ in progress(calls, name):
        out = sample_discrete(noise[name], model, steps_, (n, L), generator=lesson.generator(14))
        broken[name].append(1 - language.grammatical(out.tokens).double().mean().item())
        nelbo = partial(d3pm_nelbo, noise[name], model)
        bound = estimate_nelbo(
            lambda x, t, g, T=steps_, f=nelbo: f(x, t, T, g), fresh.split(128), 8, lesson.generator(15)
        )
        bounds[name].append(bound)
show(*pictures.calls_and_mistakes(calls, broken))
print(
    f"bound, nats per word (exact -log p of these sentences {exact:.3f})\n{'steps':12s}"
    + "".join(f"{c:>18d}" for c in calls)
)
for name in networks:
    print(
        f"{name:12s}" + "".join(f"{f'{b.mean:.3f} ± {b.standard_error:.3f}':>18s}" for b in bounds[name])
    )

# %%
perfect_study = load_results("exact_samplers")  # the same question for perfect networks, from lesson 10
for name, sampler in (("uniform", "D3PM uniform"), ("absorbing", "ancestral")):
    for steps_ in (4, 8, 16):
        runs = [r for r in perfect_study["runs"] if r["sampler"] == sampler and r["steps"] == steps_]
        print(
            f"perfect network, {name:9s} {steps_:2d} steps: {sum(r['broken'] for r in runs) / len(runs):4.0%} broken"
        )

# %% [markdown]
# At one call both draw every word alone, and nothing fits. At five calls uniform noise breaks about half as many sentences as masks do, although its bound is worse: a word that does not fit may be changed in a later call, while a mask once filled is final. At a hundred calls masks win, in the order of the bounds. (Not quite fair: `mdlm-tiny` was trained for longer.) The lines below the table show what is possible: with
# *perfect* networks uniform noise is far ahead at every one of these numbers of calls. It is the harder task for the network, not the worse sampler. The bounds fall with the number of steps, and most of that by the twentieth. (They are estimates: where one lies below the exact $-\log p$ that is chance, and $\pm$ from eight draws is itself uncertain.)

# %%
trace = sample_discrete(
    noise["uniform"], networks["uniform"], 10, (1, L), generator=lesson.generator(16), record=True
)
states = [frame.tokens[0] for frame in trace.trajectory]
grid = [compared(now, before, word, MASK) for before, now in zip([states[0], *states], states)]
show(
    token_grid(
        grid,
        [f"t = {1 - k / 10:.1f}" for k in range(11)],
        "Uniform noise, ten calls: every word may change, at any time",
    ),
    f"Eleven rows from random words to: {language.decode(states[-1])}. Words change in most of the rows, some several times.",
    "Dashed: changed in this step. Nothing is ever final before the last row.",
)
changes = sum((a != b).sum().item() for a, b in zip(states, states[1:]))
print(f"{changes} changes of {L} words; with masks every word is written exactly once")

# %% [markdown]
# ## 9 · Real characters: which noise, and when λ?
#
# The stored study: Shakespeare's plays, 74 characters, rows of 64, a network of 0.4 M parameters and 500 steps of 32 rows, the same batches for all. Eight variants, three seeds, each scored by its own 100-step bound (estimated, twelve draws a row) on rows of the plays that it was not trained on, in bits per character: a bit is $\log 2 = 0.69$ nats. $\lambda T = 10$ as in the paper. *Asked rightly* is the cure of section 7.
#
# The paper, on text8 with a large network and 1,000 steps (bits per character): absorbing 1.45, nearest neighbour 1.59, uniform 1.61; the wrong schedule for uniform 2.37 against the cosine's 1.73 (a smaller network). **Predict** the order here, with about a hundred-thousandth of the training.

# %%
study = load_results("d3pm_characters")
show(*pictures.characters(study))
print(pictures.character_table(study))


# %%
# NBVAL_CHECK_OUTPUT
def bits(noise, lam, own=False):
    return [r["bits"] for r in pictures.runs_of(study, (noise, lam, own))]


def better(a, b):
    """In how many seeds a is lower than b."""
    return sum(x < y for x, y in zip(a, b))


print("lambda helps masks, seeds:", better(bits("absorbing", True), bits("absorbing", False)), "of 3")
print(
    "lambda harms uniform noise, seeds:", better(bits("uniform", False), bits("uniform", True)), "of 3"
)
print(
    "lambda harms nearest neighbours, seeds:",
    better(bits("nearest neighbour", False), bits("nearest neighbour", True)),
    "of 3",
)
print(
    "asked rightly it is better than asked wrongly, seeds:",
    better(bits("uniform", True, True), bits("uniform", True)),
    "of 3",
)
print(
    "asked rightly it is better than none, seeds:",
    better(bits("uniform", True, True), bits("uniform", False)),
    "of 3",
)
print(
    "masks with lambda are the best of all, seeds:",
    better(bits("absorbing", True), bits("uniform", True, True)),
    "of 3",
)
print(
    "the wrong schedule is worse, seeds:",
    better(bits("uniform", False), bits("uniform, 1/(T-t+1)", False)),
    "of 3",
)

# %% [markdown]
# **What holds.** $\lambda$ helps masks in every seed, by 0.2 to 0.6 bits, and takes the spread between seeds away: the calmer teacher of section 7. It harms uniform noise in every seed, by more than a bit (the paper: 0.3), and nearest neighbours by 0.3 to 0.5. *Asked rightly*, the same cross-entropy with the same weight
# costs uniform noise nothing: 3.83 against 3.94 without it, better in two seeds of three. So it was not the cross-entropy that did the harm, but the question. Masks with $\lambda$ are the best of all, as in the paper.
#
# **What does not, or not clearly.** Without $\lambda$ masks and uniform noise are level here; the spread over seeds is larger than their difference. The wrong schedule is worse in two seeds, by 0.2, and a little better in the third: three seeds do not settle it (the paper's gap is 0.6, and section 6 says that it must come from learning, not from the bound itself). And nearest neighbours are clearly *worse* than uniform noise,
# while the paper has them level. Our neighbours come from bigrams alone and our training is about a hundred-thousandth of the paper's; we do not know which of the two it is.
#
# On the right the same networks are scored with fewer, longer steps (two draws a row, so that 0.05 up or down is noise). From 100 to 20 steps masks lose 0.1 bit and uniform noise about 0.05, from 20 to 5 another 0.15 and 0.1; the paper's masks go 1.45, 1.47, 1.56 at 1,000, 256 and 20 steps. Most of the steps are dispensable; the last dozen is not.
# One variant, not drawn, goes the other way: uniform noise with $\lambda$ has 5.20 bits in 100 steps and 4.91 in 5. It counts the evidence twice, and in section 6 that was the worse the more steps there were.

# %%
for variant, name in (pictures.VARIANTS[1], pictures.VARIANTS[4], pictures.VARIANTS[6]):
    run = next(r for r in pictures.runs_of(study, variant) if "samples" in r)
    print(
        f"{name}, {run['bits']:.2f} bits per character:\n   {run['samples'][0]!r}\n   {run['samples'][1]!r}"
    )

# %% [markdown]
# That is what 3.5 to 4.4 bits look like: letters in the right proportions, a few short words. Five hundred steps of training are a sketch.
#
# ## 10 · Exercises
#
# From one line to an open question. A check prints what it found and names the usual mistakes; `ex7_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises.lesson_07 import ex7_1, ex7_2, ex7_3, ex7_4

# %% [markdown]
# ### Exercise 7.1 · 3 min · difficulty 1/5 · Many steps at once
# *Importance 4/5: this line replaces $T$ matrix products.*
#
# For uniform or absorbing noise: the total noise (the chance to have been hit at least once) of the first $1, 2, \dots, T$ steps. `betas` is $(T,)$; return $(T,)$.


# %%
def total_noise(betas):
    """Exercise 7.1: the beta of all the first t steps together, for every t."""
    ### BEGIN SOLUTION
    return 1 - (1 - betas).cumprod(0)
    ### END SOLUTION


# %%
ex7_1.run(total_noise)
total_noise = ex7_1.answer_or_reference(total_noise)
totals = total_noise(matrices.reciprocal_betas(8))
print("1/(T-t+1) with T = 8:", " ".join(f"{v:.3f}" for v in totals))

# %% [markdown] tags=["solution"]
# **Why.** A word is untouched after $i$ steps if every one of them missed it, and the steps are independent: the chances $1 - \beta$ multiply. With $\beta_i = \frac{1}{T-i+1}$ the product telescopes, $\frac{T-1}{T}\cdot\frac{T-2}{T-1}\cdots\frac{T-i}{T-i+1} = \frac{T-i}{T}$: a straight line.

# %% [markdown]
# ### Exercise 7.2 · 10 min · difficulty 2/5 · One step back
# *Importance 5/5: the same line is in the loss (twice) and in the sampler.*
#
# $q(z_s \mid z_t, x)$ for whole texts, without looking at section 4. `Q_t` and `Qbar_s` are $(K, K)$ in float64, `z` and `x` are ids $(B, L)$; return the law over $z_s$, $(B, L, K)$.


# %%
def reverse_law(Q_t, Qbar_s, z, x):
    """Exercise 7.2: q(z_s | z_t = z, x), (B, L, K)."""
    ### BEGIN SOLUTION
    joint = Q_t.T[z] * Qbar_s[x]
    return joint / joint.sum(-1, keepdim=True)
    ### END SOLUTION


# %%
ex7_2.run(reverse_law)
reverse_law = ex7_2.answer_or_reference(reverse_law)
Q, Qbar_ = chains["nearest neighbour"], matrices.cumulative(chains["nearest neighbour"])
for step in (2, 10, 18):
    law = reverse_law(Q[step - 1], Qbar_[step - 2], torch.tensor([[lie]]), torch.tensor([[truth]]))[0, 0]
    top = law.topk(3)
    print(
        f"clean 'fox', 'dog' at step {step:2d}: one step earlier "
        + ", ".join(f"{word(int(i))} {p:.2f}" for p, i in zip(top.values, top.indices))
    )

# %% [markdown] tags=["solution"]
# **Why.** Both factors are functions of $z_s$. `Q_t.T[z]` collects *columns* of $Q_t$; with a symmetric matrix (uniform, Gaussian, nearest neighbours) a row would do as well, and the slip is found only when masks come. That is why the check uses a lopsided matrix.

# %% [markdown]
# ### Exercise 7.3 · 15 min · difficulty 4/5 · Mix, do not plug in
# *Importance 5/5: with this step a network that knows $p(x \mid z_t)$ samples correctly.*
#
# Now `p` is $(B, L, K)$, a prediction $p(x \mid z_t)$ that has seen $z_t$. Return the mixture $\sum_x p(x)\,q(z_s\mid z_t, x)$, $(B, L, K)$, best without a loop over $x$. All entries of the matrices are positive here.


# %%
def mixture(Q_t, Qbar_s, z, p):
    """Exercise 7.3: sum over x of p(x) q(z_s | z_t = z, x), (B, L, K)."""
    ### BEGIN SOLUTION
    evidence = (Qbar_s @ Q_t).T[z]  # q(z_t | x) for every x
    return Q_t.T[z] * ((p / evidence) @ Qbar_s)
    ### END SOLUTION


# %%
ex7_3.run(mixture)
mixture = ex7_3.answer_or_reference(mixture)
process, half = shown["uniform, cosine"], 4
z, says = everything(process, half)[0], perfect(process, half, 1.0)
law = mixture(process.Q[half - 1], process.Qbar[half - 1], z, says)
print(
    f"'b a a', first place: 'b' one step earlier {law[row, 0, 1]:.4f}; the truth (section 6) {true[1]:.4f}"
)

# %% [markdown] tags=["solution"]
# **Why.** In $q(z_s\mid z_t,x) = q(z_t\mid z_s)\,q(z_s\mid x)/q(z_t\mid x)$ the first factor does not depend on $x$; the other two do, so $p(x)$ goes together with $1/q(z_t\mid x)$. No normalisation is left to do: each posterior sums to 1, and so does $p$. Where an entry is 0 (absorbing noise) the words $x$ that $z_t$ excludes must be dropped from $p$ first; the package's `posterior_mixture` does that.

# %% [markdown]
# ### Exercise 7.4 · 20 min · difficulty 4/5 · Four good steps (open)
# *Importance 3/5: schedules are where the first hours of a new project go.*
#
# Uniform noise on the two-word language in **four** steps. `gap(betas)` gives the exact surplus of the perfect network's bound over the entropy, in nats per text: 0.0945 for the cosine. Return four betas with **at most 0.083**. You may call `gap` as often as you like (about 10 ms each); `matrices.step_noise(total)` turns total noises into betas, `matrices.total_noise(betas)` the other way.
#
# **Predict:** should the first steps be smaller than the cosine's, or larger?


# %%
def my_betas(gap):
    """Exercise 7.4: four betas (4,) for uniform noise, each in (0, 1]."""
    ### BEGIN SOLUTION
    generator, best, width = (
        torch.Generator().manual_seed(0),
        matrices.total_noise(matrices.cosine_betas(4)),
        0.1,
    )
    lowest = gap(matrices.step_noise(best))
    for _ in range(120):
        shift = width * torch.randn(3, generator=generator, dtype=torch.float64)
        total = torch.cat([(best[:3] + shift).clamp(0.001, 0.999).sort()[0], torch.ones(1)])
        if (value := gap(matrices.step_noise(total))) < lowest:
            lowest, best = value, total
        else:
            width *= 0.97
    return matrices.step_noise(best)
    ### END SOLUTION


# %%
ex7_4.run(my_betas)

# %% [markdown] tags=["solution"]
# **Why.** With a perfect network the surplus of a step is what the places of $z_s$ still say about *each other* once $z_t$ is known (their total correlation), because they are drawn without seeing each other. A good schedule shares that out evenly over the steps. It vanishes quickly once most words are random: two places tell of each other only if *both* are still themselves, a chance of $\alpha^2$. So the second half of the
# noise can go in one step (best total noises about 0.14, 0.30, 0.51, 1), and the first steps may be larger than the cosine's. For a *trained* network learning decides as well, and another schedule may win.

# %%
summary()

# %% [markdown]
# ## 11 · Scale it up
#
# The paper's text8 model: 27 characters, rows of 256, 12 layers of width 768, a million steps of 512 rows, $T = 1000$. With masks and the straight schedule the bound at $T = 1000$ is lesson 08's to a few thousandths (they differ by order $1/T$), so the course's masked recipe on your copy of text8 is that run in continuous time. The file is one long line; cut it into paragraphs first, so that some can be held out.
#
# ```
# fold -w 10000 text8 | sed G > text8.txt
# python -m difflm_core.training mdlm-text --data.path text8.txt --data.length 256 --size.width 768 --size.layers 12 --size.heads 12 --size.dropout 0.0 \
#     --batch-size 512 --steps 1000000 --learning-rate 5e-4 --warmup 10000 --device cuda
# ```
#
# (The paper's learning rate and warm-up; its decay is an inverse square root, the recipe's a cosine.)

# %%
layers, width, positions = 12, 768, 1_000_000 * 512 * 256
trunk = 12 * layers * width**2
flops = positions * (6 * trunk + 12 * layers * width * 256)
print(
    f"{positions / 1e9:.0f} billion characters, {flops:.1e} FLOPs, {flops / (0.4 * 989e12) / 3600:.0f} H100-hours at 40 % of 989 TFLOP/s (an assumption)"
)
print(
    f"weights, gradients and Adam's two averages in float32: {16 * trunk / 1e9:.1f} GB; activations come on top"
)
print(
    f"with {T} steps the study's chains cost {2 * T * 74**2 * 8 / 1e6:.0f} MB of matrices; at 50,257 tokens one single float32 matrix takes {50257**2 * 4 / 1e9:.0f} GB"
)

# %% [markdown]
# Numbers to expect on the whole text8 test set, bits per character at 1,000 / 256 / 20 steps (the paper's Table, two seeds, $\pm$ 0.01 to 0.04): absorbing with $\lambda = 0.01$ 1.45 / 1.47 / 1.56, nearest neighbour 1.59 / 1.64 / 1.75, uniform 1.61 / 1.68 / 1.79; an autoregressive network of the same size 1.23. On LM1B (8,192 word pieces, perplexity per English *word*, 1,000 steps): absorbing 76.9, uniform 137.9, nearest neighbour 149.5, autoregressive 43.6.
#
# **If you compare with the released code:** its matrices are partly in column convention, its steps run from 0 to $T-1$, and the cosine of the printed Eq. 18 adds $\pi/2$ where it should multiply (every $\beta$ would be negative; `cosine_betas` multiplies).
#
# ## 12 · What to remember
#
# 1. Any noise on symbols is a row-stochastic matrix per step; $\overline Q$, the posterior by Bayes and the bound $L_T + \sum L_t + L_0$ follow in one line each, and for uniform and absorbing noise one number replaces the matrix.
# 2. The paper's plug-in step brings in the evidence of the visible word by itself: it wants what the *other* places say, $p(x_i\mid z_t \text{ without } z_t^i)$, while a cross-entropy wants $p(x_i\mid z_t)$. For masks these are one, hence $\lambda$ helps there and harms elsewhere, unless it is asked rightly.
# 3. A schedule belongs to its noise: $\frac{1}{T-i+1}$ loses information evenly for masks, and too early for uniform noise.
#
# **Five quick questions**
#
# <details><summary>1. Why must the rows of Q sum to 1, and not the columns?</summary>
# Row a is the law of where symbol a goes. (If the columns sum to 1 as well, the uniform law is stationary: uniform, Gaussian and nearest-neighbour matrices are like that, absorbing ones are not.)
# </details>
#
# <details><summary>2. A colleague's uniform chain has cosine betas cut at 0.999, and she leaves L_T out. By how much does she cheat?</summary>
# By KL(q(z_T | x) || uniform), per word, and here it is nearly nothing: the last step alone leaves one word in a thousand. With betas that stop early it is a real part of the bound (section 5, third bar).
# </details>
#
# <details><summary>3. Your network is trained with plain cross-entropy on uniform noise, and its bound with Eq. 4 is far too high. What do you change first?</summary>
# Not the network: the step. It has learned p(x | z_t), so divide its prediction by q(z_t | x) before plugging it in, or mix the posteriors, which is the same.
# </details>
#
# <details><summary>4. How many network calls does a sample take with T = 1000 and jumps of k = 50 steps?</summary>
# 20. The jump uses the product of 50 matrices (or two alphas), and one prediction.
# </details>
#
# <details><summary>5. Why does the bound of a perfect network not depend on the schedule as T grows?</summary>
# The surplus over the entropy is what is lost by drawing places together within a step, and with many steps hardly two places change in the same one. What remains is the entropy, whatever the schedule.
# </details>
#
# **Sources.** Austin et al. 2021, *Structured denoising diffusion models in discrete state-spaces* (arXiv 2107.03006): Eqs. 1 to 5, 8, 9, 12, 16 to 18, App. A, tables of text8 and LM1B. Levy and Goldberg 2014, *Neural word embedding as implicit matrix factorization* (word vectors from counts). Sahoo et al. 2024 (2406.07524), MDLM, the continuous-time limit for masks. That the plug-in counts a word's
# own evidence twice, that the mixture is the plug-in of what the others say, and the cure for $\lambda$ are worked out here and tested (`tests/test_d3pm.py`, `tests/test_d3pm_study.py`). Next in the course: lesson 08, where masks alone are taken to continuous time.
