# %% [markdown]
# # 01 · DDPM: how does one learn to undo Gaussian noise?
#
# **Minutes** 60 to read, about 1 of computing on 2 CPU cores · **Prerequisites** PyTorch, the normal law and its density; no other lesson of this course
#
# Take a point of the data and add a little Gaussian noise. Do it a thousand times and nothing of the point is left. Each single step is small. If we could undo *one small step*, we could start from pure noise, undo all of them, and arrive at new data. That is DDPM (Ho et al. 2020), and every
# continuous text model of this course (lessons 02 to 06) is this procedure on other vectors.
#
# **The question of this lesson.** Noise cannot be undone: many clean points lead to the same noisy one. What exactly does a network learn then, why is a plain squared error the right loss for it, and what does that loss have to do with $-\log p(x)$?
#
# After this lesson you can
# - write down forward process, posterior, reverse process and the bound $L_T + \sum_t L_t + L_0$, and check each against exact numbers,
# - say what an eps-, x- or v-prediction changes (a weight, and where the network's errors are blown up),
# - sample with DDPM's and DDIM's steps and choose schedule, variance and number of steps on evidence,
# - name four mistakes that look like success.
#
# Logarithms are natural, so information is counted in *nats* (1 nat = 1.44 bits). *Entropy* is the mean of $-\log$ of the true density: the best that any model can do.
#
# Nothing is downloaded. The data are points on a line and in the plane, whose distribution we know, so that the best possible network is known as well.

# %%
import math
from dataclasses import dataclass

import torch

from difflm_core.classroom.lesson import load_results, progress, setup, show
from difflm_core.classroom.pictures import lesson_01 as pictures
from difflm_core.oracle import GaussianMixture

lesson = setup(seed=1)
hills = GaussianMixture(
    weights=torch.tensor([0.40, 0.35, 0.25]),
    means=torch.tensor([[-1.2], [0.4], [1.5]]),
    covariances=torch.tensor([0.2, 0.1, 0.3])[:, None, None] ** 2,
)
x = hills.sample(100_000, lesson.generator(1))  # (100000, 1): points on a line
entropy = -hills.log_prob(x).mean().item()
print(
    f"three hills: mean {x.mean():.2f}, variance {x.var():.2f}, entropy {entropy:.3f} nats: on average no model has a smaller -log p(x)"
)

# %% [markdown]
# ## 1 · Forward: a little noise, many times
#
# One step of the forward process shrinks the point a little and adds noise of variance $\beta_i$ (DDPM Eq. 2; $\mathcal N$(mean, variance) is the normal law):
#
# $$q(z_i \mid z_{i-1}) = \mathcal N\big(\sqrt{1-\beta_i}\;z_{i-1},\ \beta_i\big), \qquad z_0 = x.$$
#
# Why shrink? If $z_{i-1}$ has variance 1, then $z_i$ has variance $(1-\beta_i)\cdot 1 + \beta_i = 1$. The cloud keeps its size; the process is called *variance preserving*.
#
# Many steps in one: a normal law put through a normal step is normal again. Let $\alpha$ be the product of all factors $1-\beta$ so far. If $z_{i-1} = \sqrt{\alpha_{i-1}}\,x + \sqrt{1-\alpha_{i-1}}\,\epsilon$, then $z_i$ has the mean $\sqrt{(1-\beta_i)\,\alpha_{i-1}}\;x$ and the variance
# $(1-\beta_i)(1-\alpha_{i-1}) + \beta_i = 1 - (1-\beta_i)\,\alpha_{i-1}$. So with $\alpha_i = (1-\beta_i)\,\alpha_{i-1}$ it has the same form again, and
#
# $$\boxed{\;z_t = \sqrt{\alpha_t}\;x + \sqrt{1-\alpha_t}\;\epsilon, \qquad \epsilon \sim \mathcal N(0, 1)\;}$$
#
# | here | in words | in DDPM |
# |---|---|---|
# | $t \in [0, 1]$ | 0 = data, 1 = noise; step $i$ of $T$ is $t = i/T$ | $t = 1 \ldots T$ |
# | $x$, $z_t$ | clean, noisy | $x_0$, $x_t$ |
# | $\alpha_t$ | squared signal level, from 1 down to 0: the *schedule* | $\bar\alpha_t$ |
# | $\alpha_{t\mid s} = \alpha_t/\alpha_s$ | the same for the jump from $s$ to $t > s$ | $\alpha_t = 1-\beta_t$ for neighbours |
# | $\mathrm{SNR}(t) = \frac{\alpha_t}{1-\alpha_t}$ | signal-to-noise ratio; its logarithm is the *log-SNR* | |
#
# Two schedules go with us. *Linear* is DDPM's: $\beta$ rises linearly from $10^{-4}$ to $0.02$ over $T = 1000$ steps. *Cosine* is improved DDPM's (Nichol & Dhariwal 2021): roughly $\alpha_t = \cos^2(\pi t/2)$. In this course the curve $\alpha_t$ is fixed, and $T$ only says
# how finely it is walked.
#
# **Predict:** on the cosine schedule, at which $t$ can three hills no longer be told from one?

# %%
from difflm_core.processes import CosineBeta, GaussianProcess, LinearBeta

cosine, linear = GaussianProcess(CosineBeta()), GaussianProcess(LinearBeta())
generator, path = lesson.generator(2), [hills.sample(6, lesson.generator(3))]
for i in range(1, 101):  # the chain, step by step, for six points
    beta = 1 - cosine.alpha(torch.tensor([i / 100])) / cosine.alpha(torch.tensor([(i - 1) / 100]))
    path.append(
        (1 - beta).sqrt() * path[-1]
        + beta.sqrt() * torch.randn(6, 1, generator=generator, dtype=torch.float64)
    )
show(*pictures.marginals(hills, cosine, torch.cat(path, dim=1).T))

# %% [markdown]
# Sooner than most people guess: three hills at the start, two humps at $t = 0.25$, one broad hill at $t = 0.5$. Details go first, large structure last. Does the closed form agree with the chain? Fifty steps against one jump:

# %%
walked, generator = x[:, 0].clone(), lesson.generator(4)
for i in range(1, 51):
    beta = 1 - cosine.alpha(torch.tensor([i / 100])) / cosine.alpha(torch.tensor([(i - 1) / 100]))
    walked = (1 - beta).sqrt() * walked + beta.sqrt() * torch.randn(
        len(walked), generator=generator, dtype=torch.float64
    )
jumped = cosine.corrupt(x, torch.full((len(x),), 0.5), lesson.generator(5))[:, 0]
for name, z in (("50 steps", walked), ("one jump", jumped)):
    print(
        f"{name}: mean {z.mean():+.3f}, variance {z.var():.3f}, share above 1: {(z > 1).double().mean():.3f}"
    )

# %% [markdown]
# Only the jump is needed in training: any $t$, in one line. Now in the plane, with a slider. The data are eight islands on a circle. The arrows belong to section 3; ignore them for a moment.

# %% tags=["widget"]
from difflm_core.classroom.widgets_gaussian import noise_explorer
from difflm_core.studies.gaussian_ddpm import islands

noise_explorer(islands(), cosine)

# %% [markdown]
# ## 2 · One step back, if we knew x
#
# Where did $z_t$ come from, a moment $s < t$ earlier? Bayes' rule, given $x$:
#
# $$q(z_s \mid z_t, x) \;\propto\; \underbrace{q(z_t \mid z_s)}_{\mathcal N(z_t;\ \sqrt{\alpha_{t|s}}\,z_s,\ 1-\alpha_{t|s})}\ \underbrace{q(z_s \mid x)}_{\mathcal N(z_s;\ \sqrt{\alpha_s}\,x,\ 1-\alpha_s)}.$$
#
# As a function of $z_s$ both factors are exponentials of a parabola, so their product is one too: a normal law. Add the precisions (one over variance), then the precision-weighted means:
#
# $$\frac{1}{\tilde\sigma^2} = \frac{\alpha_{t|s}}{1-\alpha_{t|s}} + \frac{1}{1-\alpha_s} = \frac{1-\alpha_t}{(1-\alpha_{t|s})(1-\alpha_s)}, \qquad
# \tilde\mu = \tilde\sigma^2\Big(\frac{\sqrt{\alpha_{t|s}}\;z_t}{1-\alpha_{t|s}} + \frac{\sqrt{\alpha_s}\;x}{1-\alpha_s}\Big).$$
#
# (The numerator of the sum: $\alpha_{t|s}(1-\alpha_s) + 1 - \alpha_{t|s} = 1 - \alpha_t$.) Multiplied out this is DDPM's Eq. 7:
#
# $$\tilde\mu = \underbrace{\frac{\sqrt{\alpha_s}\,(1-\alpha_{t|s})}{1-\alpha_t}}_{a}\,x + \underbrace{\frac{\sqrt{\alpha_{t|s}}\,(1-\alpha_s)}{1-\alpha_t}}_{b}\,z_t, \qquad \tilde\sigma^2 = \frac{(1-\alpha_s)(1-\alpha_{t|s})}{1-\alpha_t}.$$
#
# A compromise between where we are and where we came from. Do not believe it: multiply the two densities on a grid and compare.

# %%
t, s = torch.tensor([0.6], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
z_t, x_known = 1.3, -0.5
grid = torch.linspace(-4, 4, 2001, dtype=torch.float64)


def normal(value, mean, variance):
    return (-((value - mean) ** 2) / (2 * variance)).exp() / (2 * math.pi * variance).sqrt()


alpha_s, alpha_t = cosine.alpha(s), cosine.alpha(t)
brute = normal(
    torch.tensor(z_t).double(), (alpha_t / alpha_s).sqrt() * grid, 1 - alpha_t / alpha_s
) * normal(grid, alpha_s.sqrt() * x_known, 1 - alpha_s)
brute = brute / (brute.sum() * (grid[1] - grid[0]))
mean, variance = cosine.posterior(
    torch.tensor([[z_t]]).double(), torch.tensor([[x_known]]).double(), s, t
)
closed = normal(grid, mean[0, 0], variance[0, 0])
show(*pictures.posterior_by_bayes(grid, brute, closed, z_t, x_known))

# %%
# NBVAL_CHECK_OUTPUT
print("Bayes on a grid and the formula agree:", (brute - closed).abs().max().item() < 1e-9)

# %% [markdown]
# ## 3 · What a network should learn
#
# We do not know $x$. The reverse process asks a network for a guess $\hat x = x_\theta(z_t, t)$ and puts it where $x$ stood:
#
# $$p_\theta(z_s \mid z_t) = \mathcal N\big(a\,\hat x + b\,z_t,\ \sigma^2\big).$$
#
# Trained with a squared error, what will the guess be? For one fixed $z_t$ the error $\mathbb E\big[(x - \hat x)^2 \mid z_t\big]$ is smallest at the mean, $\hat x = \mathbb E[x \mid z_t]$ (set the derivative by $\hat x$ to 0). For the three hills this mean is known: each hill $k$ has a probability given $z_t$ and a mean of its own. The class
# `GaussianMixture` computes both. (`tests/test_gaussian_oracle.py` compares with integrals.)
#
# **Predict:** draw the best guess against $z_t$, for little noise ($t = 0.1$) and for much ($t = 0.8$).

# %%
best = hills.denoiser(cosine)  # best(z_t (B, 1), t (B,)) -> E[x | z_t]
line = torch.linspace(-3, 3, 241, dtype=torch.float64)[:, None]
show(
    *pictures.guesses(
        line[:, 0],
        {t: {"best": best(line, torch.full((241,), t))[:, 0]} for t in (0.1, 0.3, 0.5, 0.8)},
        hills.means[:, 0],
    )
)

# %% [markdown]
# With little noise it is a staircase: "you must have come from that hill". With much noise it is a gentle slope, at $t = 1$ it would be flat: "I cannot know; the mean of everything". In between it points *between* hills, where no data is. That is not a fault. It is a mean, and the sampler does not jump there: it moves a small part of the way, looks again, and the doubt resolves. (These are the arrows in the
# widget: long and all towards the middle at $t$ near 1, short and to the nearest island at small $t$.)
#
# ## 4 · The whole method in thirty lines


# %%
def corrupt(x, t, alpha, generator):
    """z_t and the noise in it; x (B, D), t (B,)."""
    a = alpha(t)[:, None]
    eps = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return a.sqrt() * x + (1 - a).sqrt() * eps, eps


def simple_loss(net, x, t, alpha, generator):
    """The plain squared error, for a network that answers v = sqrt(alpha) eps - sqrt(1 - alpha) x; (B, D)."""
    z_t, eps = corrupt(x, t, alpha, generator)
    a = alpha(t)[:, None]
    return (net(z_t, t) - (a.sqrt() * eps - (1 - a).sqrt() * x)) ** 2


def clean_guess(net, z_t, t, alpha):
    a = alpha(t)[:, None]
    return a.sqrt() * z_t - (1 - a).sqrt() * net(z_t, t)


@torch.no_grad()
def sample(denoise, alpha, T, n, D, generator):
    """Ancestral sampling: T steps of the posterior with x_hat in the place of x; the last one returns x_hat."""
    z = torch.randn(n, D, generator=generator, dtype=torch.float64)
    for i in range(T, 0, -1):
        t, s = (torch.full((n,), k / T, dtype=torch.float64) for k in (i, i - 1))
        x_hat = denoise(z, t)
        if i == 1:
            return x_hat
        a_t, a_s = alpha(t)[:, None], alpha(s)[:, None]
        ratio = a_t / a_s
        mean = (a_s.sqrt() * (1 - ratio) * x_hat + ratio.sqrt() * (1 - a_s) * z) / (1 - a_t)
        z = mean + ((1 - a_s) * (1 - ratio) / (1 - a_t)).sqrt() * torch.randn(
            n, D, generator=generator, dtype=torch.float64
        )


# %% [markdown]
# Why does this network answer $v$? Section 7. Its body is a small MLP, `PointNet`, with one trick: it sees $z_t$ also as sines and cosines. (Without them it learns the flat parts of section 3's curves in seconds and the stairs hardly ever: "what goes wrong" number zero.)
#
# The package's `GaussianProcess`, `gaussian_mse` and `sample_gaussian` should do the same with the same random numbers:

# %%
from difflm_core.objectives import gaussian_mse
from difflm_core.samplers import sample_gaussian
from difflm_core.studies.gaussian_ddpm import PointNet

torch.manual_seed(0)
net = PointNet(D=1, width=64)  # three hidden layers of 64; z_t and t are fed in as sines and cosines too
points, times = x[:256].float(), torch.rand(256, generator=lesson.generator(6))
ours = simple_loss(net, points, times, lambda t: cosine.alpha(t).float(), lesson.generator(7))
core = gaussian_mse(cosine, net, points, times, "v", lesson.generator(7))
ours_x = sample(best, cosine.alpha, 20, 500, 1, lesson.generator(8))
core_x = sample_gaussian(cosine, best, 20, (500, 1), lesson.generator(8), dtype=torch.float64).x
print(
    f"largest difference: loss {(ours - core).abs().max():.1e}, samples {(ours_x - core_x).abs().max():.1e}"
)

# %%
# NBVAL_CHECK_OUTPUT
print("the notebook's loss is the package's:", torch.allclose(ours, core, atol=1e-4))
print("the notebook's sampler is the package's:", torch.allclose(ours_x, core_x, atol=1e-6))

# %% [markdown]
# Train it. **Predict:** the loss is a squared error. Will it go to zero?

# %%
steps, generator = lesson.pick(2000, 500), lesson.generator(9)
optimizer = torch.optim.Adam(net.parameters(), 5e-3)
fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
losses = []
bar = progress(range(steps), "training")
for step in bar:
    batch = hills.sample(256, generator).float()
    loss = gaussian_mse(cosine, net, batch, torch.rand(256, generator=generator), "v", generator).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    fall.step()
    losses.append(loss.item())
    if step % 100 == 99:
        bar.set_postfix_str(f"loss {sum(losses[-100:]) / 100:.3f}")
learned = cosine.denoiser(net.eval(), "v")  # learned(z_t, t) -> x_hat

# %%
many = hills.sample(20_000, lesson.generator(10))
uniform = torch.rand(20_000, generator=lesson.generator(11)).double()


def loss_of(denoise):
    def answer(z, t):
        return cosine.from_x(z, denoise(z, t), t, "v")

    with torch.no_grad():
        return gaussian_mse(cosine, answer, many, uniform, "v", lesson.generator(12)).mean().item()


def as_float(denoise):
    return lambda z, t: denoise(z.float(), t.float()).double()


reached, floor = loss_of(as_float(learned)), loss_of(best)
print(f"loss of the network {reached:.4f}, of the best denoiser {floor:.4f}")
with torch.no_grad():
    curves = {
        t: {
            "best": best(line, torch.full((241,), t))[:, 0],
            "network": learned(line.float(), torch.full((241,), t))[:, 0],
        }
        for t in (0.1, 0.3, 0.5, 0.8)
    }
show(*pictures.guesses(line[:, 0], curves, hills.means[:, 0]))

# %%
# NBVAL_CHECK_OUTPUT
print("the loss cannot fall below that of the best denoiser:", reached > floor - 1e-3)
print("it comes close:", reached < floor + 0.05)

# %% [markdown]
# Not to zero: to the *doubt* that remains, $\mathrm{Var}[x \mid z_t]$ in the units of $v$. That doubt is nearly all of the loss. Close to 1 can be nearly perfect, and a network that always answered $v = 0$ would stand at only about 1.1 (the mean of $\alpha + (1-\alpha)\,\mathbb E x^2$ over $t$): the loss curve says little. Where the network is off, there is hardly any data to train on (the outer edges at small $t$).
#
# ## 5 · The bound: $L_T + \sum_t L_t + L_0$
#
# Why a *squared error*? Because a likelihood says so. The model writes down a chain from noise to data, $p_\theta(x, z_{1/T}, \ldots, z_1) = p(z_1)\,\prod p_\theta(z_s \mid z_t)\;p_\theta(x \mid z_{1/T})$. Its $-\log p_\theta(x)$ is an integral over all paths. Take instead the paths that noise took ($z$ is a whole path, $q(z \mid x)$ its law), and Jensen's inequality ($-\log$ is convex):
#
# $$-\log p_\theta(x) = -\log \mathbb E_q\,\frac{p_\theta(x, z)}{q(z \mid x)} \;\le\; \mathbb E_q\Big[-\log\frac{p_\theta(x, z)}{q(z\mid x)}\Big].$$
#
# Write the forward chain backwards, $q(z \mid x) = q(z_1 \mid x)\prod q(z_s \mid z_t, x)$: Bayes' rule of section 2 for each factor. Then factors pair up, and each pair is a KL divergence, $\mathrm{KL}(q\,\|\,p) = \mathbb E_q \log\frac qp$, which is never negative and 0 only for $q = p$ (DDPM Eq. 5). The sum is the *variational bound* (or negative ELBO, in
# DDPM's followers $L_{\text{vlb}}$):
#
# $$\underbrace{\mathrm{KL}\big(q(z_1 | x)\,\|\,\mathcal N(0, 1)\big)}_{L_T:\ \text{is the end pure noise?}} + \sum_{t > 1/T}\ \underbrace{\mathbb E\ \mathrm{KL}\big(q(z_s | z_t, x)\,\|\,p_\theta(z_s | z_t)\big)}_{L_t:\ \text{one step}} + \underbrace{\mathbb E\big[-\log p_\theta(x | z_{1/T})\big]}_{L_0:\ \text{the last step}} .$$
#
# *One step.* Both laws are normal, with means that differ by $a(x - \hat x)$. If the variances are equal, the KL is the squared distance over twice the variance:
#
# $$L_t = \frac{a^2}{2\tilde\sigma^2}\,(x - \hat x)^2 = \tfrac12\big(\mathrm{SNR}(s) - \mathrm{SNR}(t)\big)\,(x - \hat x)^2,$$
#
# because $\frac{a^2}{\tilde\sigma^2} = \frac{\alpha_s(1-\alpha_{t|s})}{(1-\alpha_t)(1-\alpha_s)} = \frac{\alpha_s - \alpha_t}{(1-\alpha_t)(1-\alpha_s)} = \frac{\alpha_s}{1-\alpha_s} - \frac{\alpha_t}{1-\alpha_t}$. There it is: a squared error with a weight. (DDPM numbers a step by where it arrives, $L_{t-1}$. And it drops the weight: the plain squared error of the predicted *noise* is its $L_{\text{simple}}$. Sections 7 and 8 ask what that changes.)
#
# *The end.* $L_T = \tfrac12\big(\alpha_1(x^2 - 1) - \log(1-\alpha_1)\big)$: nothing to learn, and zero if $\alpha_1 = 0$.
#
# For points on a line and the best denoiser all of it can be computed without a single random number: $\mathbb E(x - \hat x)^2 = \int q(z)\,\mathrm{Var}[x | z]\,dz$ on a grid. (In the very last step $\tilde\sigma^2$ is 0, which no density can have. There we put half of $\beta$; section 6 says what that costs.)
#
# **Predict:** of 100 steps, where does the bound sit? Which schedule has steps that do nothing?

# %%
z_grid = torch.linspace(-4.5, 4.5, 1501, dtype=torch.float64)[:, None]


def doubt(process, t):
    """q(z_t) dz and Var[x | z_t] on the grid, at one time."""
    t = torch.full((len(z_grid),), float(t), dtype=torch.float64)
    mass = hills.noisy_log_prob(z_grid, t, process).exp() * (z_grid[1, 0] - z_grid[0, 0])
    return mass, hills.posterior(z_grid, t, process)[1][:, 0]


def exact_bound(process, T, variance):
    """The parts of the best denoiser's bound in nats. variance(small, large, extra): section 6."""
    alpha = process.alpha(torch.arange(T + 1, dtype=torch.float64) / T)
    prior = 0.5 * (alpha[T] * (hills_square - 1) - torch.log1p(-alpha[T]))
    steps = []
    for i in range(1, T + 1):
        mass, var = doubt(process, i / T)
        rest, jump = 1 - alpha[i], 1 - alpha[i] / alpha[i - 1]
        small, a = (1 - alpha[i - 1]) * jump / rest, alpha[i - 1].sqrt() * jump / rest  # section 2
        sigma2 = variance(small, jump, a**2 * var)
        if i == 1:  # the last step: a density, not a KL (there small = 0 and a = 1)
            start = (mass * 0.5 * ((2 * math.pi * sigma2).log() + var / sigma2)).sum()
        else:
            steps.append(
                (mass * 0.5 * ((sigma2 / small).log() + (small + a**2 * var) / sigma2 - 1)).sum()
            )
    return {
        "prior": prior,
        "steps": torch.stack(steps),
        "start": start,
        "total": prior + sum(steps) + start,
    }


hills_square = (hills.weights * (hills.means[:, 0] ** 2 + hills.covariances[:, 0, 0])).sum()  # E x^2


def posterior_variance(small, large, extra):
    """The posterior's own, beta-tilde; where that is 0, in the last step, half of beta."""
    return torch.where(small > 0, small, large / 2) + 0 * extra


found = {
    name: exact_bound(process, 100, posterior_variance)
    for name, process in (("linear", linear), ("cosine", cosine))
}
for name, parts in found.items():
    print(
        f"{name:8s} L_T {parts['prior']:.1e}   sum of L_t {parts['steps'].sum():.3f}   L_0 {parts['start']:+.3f}   together {parts['total']:.3f} nats (entropy {entropy:.3f})"
    )
show(*pictures.per_step(found, 100))

# %%
# NBVAL_CHECK_OUTPUT
idle = {name: int((parts["steps"] < 1e-3).sum()) for name, parts in found.items()}
print(
    "most of the sum lies below t = 0.3, for both:",
    all(parts["steps"][:29].sum() > 0.5 * parts["steps"].sum() for parts in found.values()),
)
print("the linear schedule has more idle steps:", idle["linear"] > 2 * idle["cosine"])
print(
    "a bound is not below the entropy:", all(parts["total"] > entropy - 0.01 for parts in found.values())
)

# %% [markdown]
# - **The bound sits at small $t$**, where the hills have long been apart: it counts the last decimals of $x$. $L_0$ is *negative*, because a density can exceed 1; for data on a line only the sum has a meaning. (To store $x$ to a precision of 0.01 add $\log 100 = 4.6$ nats: then everything is positive.)
# - **Linear wastes its noisiest steps.** From about $t = 0.66$ on hardly anything is left to undo (less than a thousandth of a nat a step), and each of these steps still costs a network call. That was the reason for the cosine schedule.
#
# Is our integral right? The package draws $z_t$ instead (`gaussian_parts`), and must agree up to its sampling error:

# %%
from difflm_core.objectives import fixed_small, gaussian_parts

held_out = hills.sample(lesson.pick(4000, 1000), lesson.generator(13))
drawn = gaussian_parts(cosine, best, held_out, 100, lesson.generator(14), fixed_small)
excess = drawn.nelbo + hills.log_prob(held_out)  # above -log p of these very points: less scatter
error = (excess.std() / len(excess) ** 0.5).item()
print(
    f"bound above -log p: drawn {excess.mean():.3f} ± {error:.3f}, integrated {found['cosine']['total'] - entropy:.3f} nats"
)

# %%
# NBVAL_CHECK_OUTPUT
print(
    "they agree:",
    abs(excess.mean().item() - (found["cosine"]["total"].item() - entropy)) < 4 * error + 0.02,
)

# %% [markdown]
# ## 6 · The gap above the entropy
#
# The best denoiser, and still the bound lies clearly above the entropy. **Predict:** with $T = 1000$, or 10,000, will it come down to it?
#
# We take the simplest data, a single Gaussian of variance $\tau^2 = 0.25$, where $\mathrm{Var}[x|z_t] = \frac{\tau^2(1-\alpha_t)}{\alpha_t \tau^2 + 1 - \alpha_t}$ and no grid is needed, and three variances for the reverse step:
# - $\tilde\sigma^2$ (*small*, $\tilde\beta$ in DDPM): right if $x$ were known,
# - $1 - \alpha_{t|s}$ (*large*, $\beta$): right if $x \sim \mathcal N(0, 1)$,
# - the *best* one. Given $z_t$ and $x$, $z_s$ scatters around $a x + b z_t$ with $\tilde\sigma^2$; and given $z_t$ alone, $x$ scatters too: $\sigma^2 = \tilde\sigma^2 + a^2\,\mathrm{Var}[x \mid z_t]$.

# %%
tau2, exact = 0.25, 0.5 * math.log(2 * math.pi * math.e * 0.25)


def gaussian_bound(process, T, variance):
    """Exact bound of the best denoiser for data N(0, 0.25), in nats."""
    alpha = process.alpha(torch.arange(T + 1, dtype=torch.float64) / T)
    now, before = alpha[1:], alpha[:-1]
    rest, jump = 1 - now, (before - now) / before
    var = tau2 * (1 - now) / (now * tau2 + 1 - now)
    small, a = (1 - before) * jump / rest, before.sqrt() * jump / rest
    sigma2 = variance(small, jump, a**2 * var)
    steps = 0.5 * ((sigma2 / small).log() + (small + a**2 * var) / sigma2 - 1)[1:]
    start = 0.5 * ((2 * math.pi * sigma2[0]).log() + var[0] / sigma2[0])
    return (0.5 * (now[-1] * (tau2 - 1) - torch.log1p(-now[-1])) + steps.sum() + start).item()


choices = {
    "small": posterior_variance,
    "large": lambda small, large, extra: large,
    "best": lambda small, large, extra: small + extra,
}
gaps = {}
print(
    f"bound minus exact entropy ({exact:.4f} nats)\n{'T':>8s}"
    + "".join(f"{f'{name}, {word}':>18s}" for name in ("linear", "cosine") for word in choices)
)
for T in (5, 10, 100, 1000, 10_000, 100_000):
    row = [
        gaussian_bound(process, T, variance) - exact
        for process in (linear, cosine)
        for variance in choices.values()
    ]
    gaps[T] = row
    print(f"{T:8d}" + "".join(f"{gap:18.5f}" for gap in row))

# %%
# NBVAL_CHECK_OUTPUT
half_euler = 0.5 * 0.5772156649
print(
    "best variance: exact at every T:",
    max(abs(gap) for row in gaps.values() for gap in (row[2], row[5])) < 1e-6,
)
print(
    "large variance: the gap falls like 1 / T, below 1e-3 at T = 10,000:",
    max(gaps[10_000][1], gaps[10_000][4]) < 1e-3 and 8 < gaps[1000][1] / gaps[10_000][1] < 12,
)
print(
    "small variance: it ends at Euler's constant / 2 + (1 - log 2) / 2:",
    all(abs(gaps[100_000][i] - half_euler - 0.5 * (1 - math.log(2))) < 0.01 for i in (0, 3)),
)

# %% [markdown]
# With the small variance *no* number of steps closes the gap, and more steps can even widen it. Near the data $1-\alpha_t$ starts at 0 and grows in proportion to $t$ (for the cosine schedule that is the work of a small offset, which the formula of section 1 leaves out). So however fine the grid, the step from $2/T$ to $1/T$ halves the noise level, the one from $3/T$ to $2/T$ takes a third of it, and so on. From $(k+1)/T$ to $k/T$ the SNR grows by the factor $\frac{k+1}{k}$; then the best variance is $\frac{k+1}{k}\,\tilde\sigma^2$ (section 5: $a^2/\tilde\sigma^2$ is the difference of the SNRs; and $\mathrm{Var}[x \mid z_t]$ is $1/\mathrm{SNR}$ there), and the wrong one costs
# $\frac12\big(\frac1k - \log\frac{k+1}{k}\big)$ nats. The sum over all $k$ is half of Euler's constant, $0.2886$; the last step, with half of the variance that it should have, adds $\frac12(1 - \log 2) = 0.1534$.
#
# The large variance is right just there, for any smooth density, and wrong elsewhere, which costs the more the fewer the steps. (The best variance is exact for every $T$ here, since one Gaussian stays Gaussian. The hills' reverse
# step is a mixture, and no single normal law is exact for a large step.)
#
# This is why improved DDPM *learns* the variance, as an interpolation $\sigma^2 = \exp\big(u \log\beta + (1-u)\log\tilde\beta\big)$ with $u$ from the network. $L_{\text{simple}}$ says nothing about $u$, so its loss is the hybrid $L_{\text{hybrid}} = L_{\text{simple}} + 0.001\,L_{\text{vlb}}$, with the mean held fixed inside $L_{\text{vlb}}$.
# Here is the stored study on the eight islands, $T = 200$, three seeds. **Predict:** how much of the gap between the two fixed variances and the best one does a learned variance close?

# %%
study = load_results("gaussian_ddpm")
print(pictures.variances(study))

# %% [markdown]
# The posterior's variance costs half a nat per coordinate, whoever denoises: that is the constant of above, plus a little. The large variance is much better, but not free. The learned one wins back about half of what the large one loses to the best; what remains is mostly the network's mean, which is not perfect either. The price was one more
# output per coordinate and a thousandth of the bound in the loss.
#
# ## 7 · eps, x or v: a weight, and a danger
#
# A network may answer $\hat x$, the noise $\hat\epsilon = (z_t - \sqrt{\alpha_t}\,\hat x)/\sqrt{1-\alpha_t}$, or $\hat v = \sqrt{\alpha_t}\,\hat\epsilon - \sqrt{1-\alpha_t}\,\hat x$ (Salimans & Ho 2022). Given $z_t$ each determines the others, so it is the same model. But "mean squared error of what I answer" is then a *different loss*:
#
# $$\epsilon - \hat\epsilon = -\sqrt{\tfrac{\alpha_t}{1-\alpha_t}}\,(x - \hat x) \quad\Rightarrow\quad |\epsilon - \hat\epsilon|^2 = \mathrm{SNR}\;|x-\hat x|^2, \qquad |v - \hat v|^2 = (1 + \mathrm{SNR})\,|x - \hat x|^2 .$$
#
# (For $v$: $v - \hat v = -\big(\frac{\alpha}{\sqrt{1-\alpha}} + \sqrt{1-\alpha}\big)(x-\hat x) = -\frac{1}{\sqrt{1-\alpha}}(x - \hat x)$, and $\frac{1}{1-\alpha} = 1 + \mathrm{SNR}$.)

# %%
t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
truth = hills.sample(99, lesson.generator(15))
z = cosine.corrupt(truth, t, lesson.generator(16))
guess = truth + torch.randn(
    99, 1, generator=lesson.generator(17), dtype=torch.float64
)  # any wrong guess
snr = cosine.log_snr(t).exp()[:, None]
square = {
    kind: (cosine.from_x(z, truth, t, kind) - cosine.from_x(z, guess, t, kind)) ** 2
    for kind in ("x", "eps", "v")
}
off = {
    "eps error = SNR times x error": square["eps"] / (snr * square["x"]) - 1,
    "v error = (1 + SNR) times x error": square["v"] / ((1 + snr) * square["x"]) - 1,
    "eps error / (1 + SNR) = alpha times x error": square["eps"]
    / (1 + snr)
    / (cosine.alpha(t)[:, None] * square["x"])
    - 1,
    "back from v": cosine.to_x(z, cosine.from_x(z, guess, t, "v"), t, "v") - guess,
    "back from eps": (cosine.to_x(z, cosine.from_x(z, guess, t, "eps"), t, "eps") - guess)[:90],
}
for name, difference in off.items():
    print(f"{name:46s} off by {difference.abs().max():.1e}")
log_slope = -(cosine.schedule.dalpha(t) / (cosine.alpha(t) * (1 - cosine.alpha(t))))  # -d log SNR / dt
curves = {
    "x": 1 + 0 * t,
    "eps (DDPM's L_simple)": snr[:, 0],
    "v": 1 + snr[:, 0],
    "the bound": 0.5 * log_slope * snr[:, 0],
}
root, one = snr[:, 0].sqrt(), torch.ones_like(t)
blow = {
    "x": (one, root),
    "eps": (1 / root, one),
    "v": ((1 - cosine.alpha(t)).sqrt(), cosine.alpha(t).sqrt()),
}
show(*pictures.weights(t, curves, blow))

# %%
# NBVAL_CHECK_OUTPUT
print(
    "the identities hold to 1e-12:",
    all(float(difference.abs().max()) < 1e-12 for difference in list(off.values())[:3]),
)

# %% [markdown]
# Left: DDPM's $L_{\text{simple}}$ (eps) is the bound with *less* weight at small $t$: compare the slopes there. Middle and right, the danger. An eps network with an error of 0.01 near $t = 1$ has an error of $0.01/\sqrt{\mathrm{SNR}}$ in $\hat x$: there is no signal left to read $x$ from, and dividing by $\sqrt{\alpha_t}$ blows the error up. An x network near $t = 0$ has the
# opposite trouble: it must repeat its input to many digits, and the noise it implies is off by $0.01\sqrt{\mathrm{SNR}}$. For $v$ both factors are at most 1.
#
# The stored study trained each on the islands. (*At sea* are samples further than four standard deviations from every island.) **Predict** three curves: the error of $\hat x$, above that of the best denoiser, over $t$.

# %%
show(*pictures.outputs(study))
print(pictures.output_table(study))

# %% [markdown]
# Both dangers are real. The **x** network is off by about the same amount at all small $t$, where an error of a few hundredths is huge beside the noise: in the bound it is a catastrophe, more than sixty times as far above the best as $v$, and yet at most about twice as many of its samples are at sea (and at 200 calls no more), because the last step hands out $\hat x$ itself. The **eps** network on the cosine schedule is fine at small $t$ and useless at $t = 1$, where
# $\alpha$ is 2e-7 (the study holds it there, else it would be 0) and an error is multiplied by two thousand: with few calls, i.e. with a large first step, nearly every sample is lost. DDIM (section 9), which adds no fresh noise, needs hundreds of small steps to recover: it loses 82 % at 50 calls and 12 % at 200. On the linear schedule, which ends at $\alpha_1 = 4 \cdot 10^{-5}$, eps does well, and that is how DDPM used it. **v** needs no such care.
#
# In high dimension one answer stands out: text embeddings and encoder states lie on a small part of a large space, and there predicting $x$ has worked best (lesson 02: Diffusion-LM's authors report that eps fails as the dimension grows).
#
# ## 8 · $L_{\text{simple}}$ or the bound?
#
# The bound is what a statistician would minimise. DDPM's authors drop its weights and report better pictures. Here the same network (it answers $v$) is trained once with eps error weights and once with the bound's, three seeds each. (*Distance*: project two clouds on a line, sort, take the mean gap between points of equal rank; the mean over 64 directions.) **Predict:** which has the smaller bound? Which has fewer points at sea?

# %%
print(pictures.objectives(study))

# %% [markdown]
# On samples the simple loss is ahead at 200 calls, with both schedules, as DDPM's authors found (at 20 calls of the cosine schedule the two are level). On nats the *bound* should win: it is what is measured, and improved DDPM's best likelihoods come from training on it. At this size it does not; the simple loss is slightly ahead there too, with both schedules. The likely reason is in the weights of section 7: on the error of $v$, which is of the same size everywhere, the bound's weight grows like $1/t$,
# from below 1 to about 200, so that a batch's gradient is decided by a few points at small $t$, and 1,500 steps are few to average that out. (Improved DDPM therefore draws $t$ where the loss is large, with weights that keep the mean: `objectives.LossAwareTimes`. Trying it here would be a good project.)
#
# Note how small the differences in nats are beside those in samples. Most of the nats sit at small $t$, in decimals that no eye sees, while whether a point lies on an island is decided around log-SNR 0 to 4.
#
# ## 9 · Sampling: DDPM, DDIM, and how many steps?
#
# The loss uses only the marginals $q(z_t \mid x)$. So every reverse step that keeps these marginals fits the same network. Keep part of the *old* noise, and add less fresh noise (DDIM, Song et al. 2021, Eq. 12):
#
# $$z_s = \sqrt{\alpha_s}\,\hat x + \sqrt{1-\alpha_s-\sigma^2}\;\hat\epsilon + \sigma\,\xi, \qquad \sigma = \eta\,\tilde\sigma .$$
#
# Whatever $\sigma$ is, signal and noise have the right sizes: $1 - \alpha_s - \sigma^2 + \sigma^2 = 1 - \alpha_s$. $\eta = 1$ is the posterior of section 2, $\eta = 0$ adds nothing: the noise at $t = 1$ decides everything. And since $s$ may be *any* earlier time, the same network can be sampled in 5 steps or 500.
#
# **Predict:** which of the two pictures below has paths that never cross?

# %%
T, films, at = 60, {}, {}
start = torch.linspace(-1.8, 1.8, 11, dtype=torch.float64)[:, None]
for name, eta in (("ancestral, eta = 1", 1.0), ("DDIM, eta = 0", 0.0)):
    z, generator, film = start, lesson.generator(18), [start]
    for i in range(T, 0, -1):
        t, s = (torch.full((11,), k / T, dtype=torch.float64) for k in (i, i - 1))
        z = cosine.step(z, best(z, t), s, t, generator, eta)
        film.append(z)
    films[name], at[name] = torch.cat(film, dim=1).T, torch.arange(T, -1, -1) / T
show(*pictures.walks(hills, cosine, films, at))

# %%
# NBVAL_CHECK_OUTPUT
order = (films["DDIM, eta = 0"].diff(dim=1) > 0).all().item()
print("DDIM keeps the order of its points at all times:", order)
same = cosine.step(
    start,
    best(start, 0 * start[:, 0] + 0.5),
    0 * start[:, 0] + 0.4,
    0 * start[:, 0] + 0.5,
    lesson.generator(19),
    1.0,
)
mean, variance = cosine.posterior(
    start, best(start, 0 * start[:, 0] + 0.5), 0 * start[:, 0] + 0.4, 0 * start[:, 0] + 0.5
)
draw = torch.randn(11, 1, generator=lesson.generator(19), dtype=torch.float64)
print("eta = 1 is the posterior's step:", torch.allclose(same, mean + variance.sqrt() * draw))

# %% [markdown]
# DDIM is a deterministic map from noise to data: on a line it must keep the order, so the left 40 % of the noise end on the left hill. The ancestral sampler lets points change their mind on the way.
#
# How many steps? In the plane, with the best denoiser, 5 and 20 of them:

# %%
from difflm_core.samplers import subset

sea_best, drawn = islands().denoiser(cosine), {}
for name, eta in (("ancestral", 1.0), ("DDIM", 0.0)):
    for calls in (5, 20):
        drawn[f"{name}, {calls} calls"] = sample_gaussian(
            cosine, sea_best, 200, (600, 2), lesson.generator(20), eta, subset(200, calls)
        ).x
show(*pictures.clouds(islands(), drawn))

# %%
show(*pictures.steps(study))
print(pictures.step_table(study))

# %% [markdown]
# (The table under the picture, of distances, says the same with less contrast.) With the **best** denoiser (left) the *schedule* decides: at five calls cosine leaves about a seventh of the points at sea, linear half of them, because two of linear's five steps are spent where hardly anything is left to undo (section 5), and the last one has to start from twice as much noise. Between DDIM and ancestral there is little difference.
#
# With a **trained** network (right) the two samplers part. At five calls DDIM is ahead, on the cosine schedule even of the best denoiser, which is the best in squared error and not in this. With many calls ancestral sampling is ahead, and DDIM hardly improves any more. The likely reason: whatever mistake the network makes early, a deterministic path carries to the end, while fresh noise hides old mistakes and lets the network look again. DDIM's
# authors find, on pictures, that $\eta = 0$ is best where steps are few; here its lead ends at about twenty.
#
# ## 10 · Infinitely many steps: the schedule drops out
#
# Let $T \to \infty$. The sum becomes an integral (VDM, Kingma et al. 2021), and the variable can be changed from $t$ to the SNR, which falls with $t$:
#
# $$\sum_t \tfrac12\big(\mathrm{SNR}(s) - \mathrm{SNR}(t)\big)\,\mathbb E|x-\hat x|^2 \;\longrightarrow\; -\tfrac12\int_0^1 \mathrm{SNR}'(t)\;\mathbb E|x - \hat x|^2\,dt \;=\; \tfrac12\int_{\mathrm{SNR}(1)}^{\mathrm{SNR}(0)} \mathbb E|x - \hat x_{\mathrm{SNR}}|^2\;d\,\mathrm{SNR}.$$
#
# The right-hand side does not contain the schedule, only its two ends. (They must be finite: the chain starts at a $z_0$ with a little noise, and $L_0 = \frac12\log\frac{2\pi e}{\mathrm{SNR}(0)}$.) All schedules walk the same curve, at different speeds. **Predict:** what does the speed change, if not the bound?

# %%
from difflm_core.objectives import gaussian_nelbo_continuous
from difflm_core.processes import LinearLogSnr


@dataclass(frozen=True)
class Wavy:
    """Log-SNR from 10 to -10 as LinearLogSnr, but at a changing speed."""

    def alpha(self, t):
        return torch.sigmoid(10 - 20 * (t + 0.9 * torch.sin(2 * math.pi * t) / (2 * math.pi)))

    def dalpha(self, t):
        return -20 * (1 + 0.9 * torch.cos(2 * math.pi * t)) * self.alpha(t) * (1 - self.alpha(t))


routes = {"straight": GaussianProcess(LinearLogSnr(10.0, -10.0)), "wavy": GaussianProcess(Wavy())}
t_fine = torch.linspace(0, 1, lesson.pick(401, 201), dtype=torch.float64)
over_t, totals = {}, {}
for name, process in routes.items():
    mse = torch.stack([(mass * var).sum() for mass, var in (doubt(process, t) for t in t_fine)])
    alpha = process.alpha(t_fine)
    height = 0.5 * -process.schedule.dalpha(t_fine) / (1 - alpha) ** 2 * mse
    over_t[name] = (t_fine, height)
    prior = 0.5 * (alpha[-1] * (hills_square - 1) - torch.log1p(-alpha[-1]))
    totals[name] = (
        prior
        + torch.trapezoid(height, t_fine)
        + 0.5 * (math.log(2 * math.pi * math.e) - process.log_snr(t_fine[:1]))
    ).item()
log_snr = routes["straight"].log_snr(t_fine)
show(*pictures.rate(log_snr, over_t["straight"][1] / 20, over_t))

batch = hills.sample(lesson.pick(20_000, 5000), lesson.generator(21))
for name, process in routes.items():
    one_draw = gaussian_nelbo_continuous(
        process,
        hills.denoiser(process),
        batch,
        torch.rand(len(batch), generator=lesson.generator(22)).double(),
        lesson.generator(23),
        first=0.0,
    )
    print(
        f"{name:10s} integral {totals[name]:.4f}   one draw of t each {one_draw.mean():.3f} ± {one_draw.std() / len(batch) ** 0.5:.3f}, spread of one draw {one_draw.std():.2f} nats   (entropy {entropy:.4f})"
    )

# %%
# NBVAL_CHECK_OUTPUT
print("two schedules, one bound:", abs(totals["straight"] - totals["wavy"]) < 2e-3)
print("and it is the entropy, nearly:", abs(totals["straight"] - entropy) < 0.02)

# %% [markdown]
# Both give the same bound, and it is the entropy to within 0.01. The gap of section 6 is gone: it came from the first steps out of the data, where the noise grows by large factors however fine the grid. This chain begins at a finite SNR, so that with enough steps every factor is close to 1 and all variances agree. What the speed changes is the *scatter* of a one-draw estimate, so VDM learns the schedule to make it small. (For a *finite* number of steps the schedule matters after all: section 5.)
#
# The left picture is worth a second look. It is a property of the data: how many nats each level of noise is responsible for. Text in embedding space has its own curve, and where it is high a schedule should spend its time. Steps spent where it is low are useless: lesson 02.
#
# ## 11 · What goes wrong
#
# Three mistakes, each with the best denoiser; each sampler runs without a complaint.
#
# 1. **A schedule that does not reach noise.** $\alpha_1 = 0.8$, say: the network was trained down to a $z_1$ with most of the signal left, and the sampler starts from none.
# 2. **The forgotten square root.** $z_t = \alpha x + (1-\alpha)\epsilon$ looks harmless. The network is trained on clouds that are too small, $\alpha^2 + (1-\alpha)^2 < 1$, and the sampler shows it others.
# 3. **Clipping.** For pixels in $[-1, 1]$, cutting $\hat x$ to that range is right and helps. Our outer hills are beyond it, as word embeddings would be.
#
# **Predict** the three histograms.

# %%
import warnings

n, short = lesson.pick(8000, 3000), GaussianProcess(LinearBeta(0.1, 0.35))  # alpha(1) = 0.8


@dataclass(frozen=True)
class Unrooted:
    """The level at which z = alpha x + (1 - alpha) eps stands, once scaled to variance-preserving form."""

    def alpha(self, t):
        a = CosineBeta().alpha(t)
        return a**2 / (a**2 + (1 - a) ** 2)

    def dalpha(self, t):
        raise NotImplementedError


def unrooted(z, t):
    """The best network for the wrong noise: it takes z for alpha x + (1 - alpha) eps."""
    a = cosine.alpha(t)[:, None]
    return hills.denoiser(GaussianProcess(Unrooted()))(z / (a**2 + (1 - a) ** 2).sqrt(), t)


def draws(process, denoise, clamp=None):
    return sample_gaussian(
        process, denoise, 50, (n, 1), lesson.generator(24), clamp=clamp, dtype=torch.float64
    ).x


cases = {
    "as it should be": draws(cosine, best),
    "1. not down to noise": draws(short, hills.denoiser(short)),
    "2. forgotten root": draws(cosine, unrooted),
    "3. clipped to [-1, 1]": draws(cosine, best, lambda x_hat, t: x_hat.clamp(-1, 1)),
}
show(*pictures.histograms(hills, cases))
quantiles = hills.sample(n, lesson.generator(25)).sort(0).values
distance = {
    name: (drawn_x.sort(0).values - quantiles).abs().mean().item() for name, drawn_x in cases.items()
}
for name, far in distance.items():
    print(f"{name:24s} distance to true samples {far:.3f}")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    parts = gaussian_parts(short, hills.denoiser(short), held_out[:200], 10, lesson.generator(26))
print("\nthe package warns of the first:", str(said[0].message))

# %%
# NBVAL_CHECK_OUTPUT
print(
    "each mistake is further off than the right way, by more than chance:",
    all(far > 1.5 * distance["as it should be"] + 0.01 for far in list(distance.values())[1:]),
)

# %% [markdown]
# Seen: the first makes the middle hill too high and the right one too low, the second blurs everything, the third piles up at the walls of its box. How you would notice: the first by $L_T$ (the bound knows!), the second by the variance of $z_t$ during training, which should be near 1, the third by samples that never leave a box. **And a fourth**, of evaluation: a chain of 50 steps taken out of 1000 is *another model* with its own, looser bound. Do not quote one as the other.
#
# ## 12 · Exercises
#
# Every check tells you what it found; `ex1_1.hint()` gives the next hint. Unsolved exercises do not stop the notebook.

# %%
from difflm_core.classroom.checks import summary
from difflm_core.classroom.exercises import lesson_01
from difflm_core.classroom.exercises.lesson_01 import ex1_1, ex1_2, ex1_3, ex1_4

# %% [markdown]
# ### Exercise 1.1 · 6 min · difficulty 2/5 · The posterior's mean
#
# Return the mean of $q(z_s \mid z_t, x)$, shaped like $z_t$. All arguments are tensors that broadcast; `alpha_s` and `alpha_t` are $\alpha_s > \alpha_t$.


# %%
def posterior_mean(z_t, x, alpha_s, alpha_t):
    """Exercise 1.1: the mean of z_s, given z_t and x."""
    ### BEGIN SOLUTION
    ratio = alpha_t / alpha_s
    return (alpha_s.sqrt() * (1 - ratio) * x + ratio.sqrt() * (1 - alpha_s) * z_t) / (1 - alpha_t)
    ### END SOLUTION


ex1_1.run(posterior_mean)
posterior_mean = ex1_1.answer_or_reference(posterior_mean)

# %% [markdown] tags=["solution"]
# Two precisions, two means, section 2. A test of any such formula: with $z_t = \sqrt{\alpha_t}\,x$ (no noise at all) the answer must be $\sqrt{\alpha_s}\,x$.

# %% [markdown]
# ### Exercise 1.2 · 10 min · difficulty 3/5 · A DDIM step
#
# One deterministic step ($\eta = 0$) from a network that answers *noise*. Return $z_s$, shaped like $z_t$. Again all arguments are tensors that broadcast.


# %%
def ddim_step(z_t, eps_hat, alpha_s, alpha_t):
    """Exercise 1.2: z_s from z_t and the predicted noise."""
    ### BEGIN SOLUTION
    x_hat = (z_t - (1 - alpha_t).sqrt() * eps_hat) / alpha_t.sqrt()
    return alpha_s.sqrt() * x_hat + (1 - alpha_s).sqrt() * eps_hat
    ### END SOLUTION


ex1_2.run(ddim_step)
ddim_step = ex1_2.answer_or_reference(ddim_step)

# %% [markdown] tags=["solution"]
# Guess the point, then go back to it with the *same* noise at the lower level. The posterior's mean is not the answer: it throws away noise that ancestral sampling puts back as fresh noise, so that without it the cloud shrinks.

# %% [markdown]
# ### Exercise 1.3 · 8 min · difficulty 3/5 · What an eps error costs
#
# Return the factor $w$ with $L_t = w\,|\epsilon - \hat\epsilon|^2$ in nats (reverse variance $\tilde\sigma^2$). Both arguments are tensors of one shape; return one weight for each pair.


# %%
def eps_weight(alpha_s, alpha_t):
    """Exercise 1.3: the weight of the squared eps error in the step from t to s."""
    ### BEGIN SOLUTION
    snr_s, snr_t = alpha_s / (1 - alpha_s), alpha_t / (1 - alpha_t)
    return 0.5 * (snr_s - snr_t) / snr_t
    ### END SOLUTION


ex1_3.run(eps_weight)
eps_weight = ex1_3.answer_or_reference(eps_weight)
alphas = cosine.alpha(torch.arange(0, 101, dtype=torch.float64) / 100)
print(
    "L_simple sets all of these to 1:",
    ", ".join(
        f"t = {i / 100:.2f}: {eps_weight(alphas[i - 1], alphas[i]):.3f}" for i in (2, 5, 10, 20, 50, 90)
    ),
)

# %% [markdown] tags=["solution"]
# $\frac12(\mathrm{SNR}(s) - \mathrm{SNR}(t))$ is the price of an x error, and an eps error is SNR$(t)$ x errors. On an even grid the weight falls from about 1 at the data to a few hundredths, and rises again at the noise end.

# %% [markdown]
# ### Exercise 1.4 · 15 min · difficulty 4/5 · Choose a schedule
#
# Given the left curve of section 10 (`log_snr` rising, `rate` in nats per unit), find $T + 1$ log-SNRs from the largest to the smallest such that all $T$ steps between them cost *the same number of nats*. Interpolate linearly where needed.


# %%
def equal_cost(log_snr, rate, T):
    """Exercise 1.4: log_snr (N,) increasing, rate (N,) -> (T + 1,) log-SNRs, decreasing, with equal area between neighbours."""
    ### BEGIN SOLUTION
    area = torch.cat(
        [torch.zeros(1, dtype=rate.dtype), torch.cumulative_trapezoid(rate, log_snr)]
    )  # nats below each log-SNR
    wanted = torch.linspace(1, 0, T + 1, dtype=rate.dtype) * area[-1]
    right = torch.searchsorted(area, wanted).clamp(1, len(area) - 1)
    share = (wanted - area[right - 1]) / (area[right] - area[right - 1])
    return log_snr[right - 1] + share.clamp(0, 1) * (log_snr[right] - log_snr[right - 1])
    ### END SOLUTION


ex1_4.run(equal_cost)
equal_cost = ex1_4.answer_or_reference(equal_cost)
print(
    "ten equal steps on the hills, in log-SNR:",
    " ".join(
        f"{value:.1f}" for value in equal_cost(log_snr.flip(0), (over_t["straight"][1] / 20).flip(0), 10)
    ),
)

# %% [markdown] tags=["solution"]
# Where the rate is high the steps are short. Nine of the ten lie above log-SNR 0; the whole noisy half, down to −10, costs no more than one of them. Some text models learn a schedule that is even in information.

# %% [markdown]
# ### Exercise 1.5 · 25 min · difficulty 5/5 · open · Eight calls
#
# Return a pair: eight times (falling, the first is 1, all above 0; the last step, to 0, is added) and an $\eta$ from 0 to 1, for the islands and the best denoiser, so that at most **a third** as many points are at sea as with eight even steps and DDIM, and the samples are no further from the data (the distance of section 8, with room for chance). `cosine.log_snr(t)` may help you to think.

# %%
ex1_5 = lesson_01.ex1_5(cosine, islands(), samples=lesson.pick(4000, 2000))


# %%
def my_plan():
    """Exercise 1.5: (eight times, eta)."""
    ### BEGIN SOLUTION
    u = torch.linspace(1, 0, 9, dtype=torch.float64)[:-1]
    return u**1.6, 1.0  # shorter steps towards the data, fresh noise
    ### END SOLUTION


ex1_5.run(my_plan)

# %% [markdown] tags=["solution"]
# Even steps in $t$ end with one from $t = 1/8$, where the noise is still twice as wide as an island: the last guess is a mean between neighbours, or short of the island's true width. $t = u^{1.6}$ spends more steps there. At $t$ near 1 little is lost: all guesses are the mean of everything.

# %%
summary()

# %% [markdown]
# ## 13 · Scale it up
#
# Nothing in this lesson depends on two dimensions: `GaussianProcess`, the losses and `sample_gaussian` take vectors of any shape behind the batch. What changes for pictures is the network (a U-Net) and $L_0$ (pixels are integers, so the last step is a probability of a bin). This course goes to *text* instead; lesson 02 puts these same functions
# under a transformer whose vectors are words, and has the launch command. The study of this lesson is made again by
#
# ```
# python -m difflm_core.studies.gaussian_ddpm
# ```
#
# a few minutes on one core, a few hundred megabytes of memory. What the papers used and found:
#
# | | configuration | reported |
# |---|---|---|
# | DDPM, CIFAR-10 | $T = 1000$, linear, eps, fixed variance, U-Net | its Table 1: better pictures with $L_{\text{simple}}$, a slightly lower bound with the bound |
# | improved DDPM | $T = 4000$, cosine, learned variance, $L_{\text{hybrid}}$ or $L_{\text{vlb}}$ | its abstract: competitive likelihoods, and an order of magnitude fewer calls at little loss |
# | VDM, CIFAR-10 | continuous time, learned schedule | 2.637 bits per dimension by the official code's page, without augmentation |
#
# ## 14 · What to remember
#
# 1. A network cannot undo noise; it learns the *mean* of what may have been there, $\mathbb E[x \mid z_t]$, and many small steps turn means into samples.
# 2. The bound is a squared error weighted by the fall of the SNR. x-, eps- and v-prediction are the same model with other weights, and differ in where they blow up small errors.
# 3. Only marginals are trained: the sampler (DDPM, DDIM, any subset of steps) is free. Schedules, variances and steps matter because steps are finite.
#
# **Five quick questions**
#
# <details><summary>1. The loss of your v network stands at 0.99 and does not fall. Is it broken?</summary>
# Perhaps it is perfect: what remains is Var[x | z_t], the doubt that the data itself leaves. Compare with a known best denoiser where you can, else with other networks.
# </details>
#
# <details><summary>2. Why does L_simple (eps) carry less weight at small t than the bound?</summary>
# It is the bound with the weights ½(SNR(s)/SNR(t) − 1) all set to 1. These are largest where the SNR falls fastest in proportion: next to the data (and, on the cosine schedule, in the last few steps before pure noise).
# </details>
#
# <details><summary>3. A negative NLL of −1.2 nats per dimension: a bug?</summary>
# Not for densities: they can exceed 1. Rescale the data and the number shifts by the logarithm of the factor. Only differences on the same data mean something.
# </details>
#
# <details><summary>4. Two runs of DDIM (η = 0) give different samples. Where does the chance come from?</summary>
# Only from the noise at t = 1. With the same start the sample is the same.
# </details>
#
# <details><summary>5. Two schedules with equal ends have the same continuous-time bound. Why choose between them?</summary>
# Finite steps, the scatter of the training signal, and the weights of L_simple: all three depend on how much time is spent at which SNR.
# </details>
#
# **Sources.** Ho et al. 2020, *Denoising diffusion probabilistic models* (arXiv 2006.11239): Eq. 2–8, 12, 14. Nichol & Dhariwal 2021 (2102.09672): cosine schedule, learned variance, hybrid loss. Song et al. 2021 (2010.02502), DDIM: Eq. 12, 16. Salimans & Ho 2022 (2202.00512), v-prediction. Kingma et al. 2021 (2107.00630), VDM: continuous time.
# The constant gap of section 6, with Euler's constant, is derived here. Next in the course: lesson 02, where the vectors are words.
