# %% [markdown]
# # 00 · Scratch example
# **Minutes** 2 · **Prerequisites** none

# %%
import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.checks import Check, behaves_like, summary
from difflm_core.classroom.lesson import progress, samples_table, setup, show
from difflm_core.classroom.plots import label_lines, style_of, token_grid
from difflm_core.classroom.sentences import compared, graded, marked, sentence, trajectory
from difflm_core.classroom.widgets import masking_explorer
from difflm_core.data.toy_language import toy_language
from difflm_core.processes import masked

lesson = setup(seed=1)

# %%
language = toy_language()
process = masked(language.V)
denoiser = language.denoiser(process)
word = language.words.__getitem__
x = language.sample(3, generator=lesson.generator())
z = process.corrupt(x, torch.full((3,), 0.6), lesson.generator(1))
samples_table(
    [
        ("clean", sentence(x[0], word, process.mask_id)),
        ("t = 0.6", sentence(z[0], word, process.mask_id), "noisy"),
        ("graded", graded(x[1], x[0], word, z[0] == process.mask_id), "✗"),
        ("changed", compared(x[1], x[0], word, process.mask_id)),
        ("broken", marked(sentence(x[0], word, process.mask_id), [1, 3]), "✗ broken"),
    ],
    title="One sentence",
    head=("row", "sentence", "grammar"),
)

# %%
total = 0.0
for i in progress(range(lesson.pick(full=200, fast=20)), "counting"):
    total += float(torch.rand(100, 100).sum())
bar = progress(range(5), "second")
for i in bar:
    bar.set_postfix_str(f"bound {i:.2f}")

# %%
fig, ax = plt.subplots()
steps = torch.arange(0, 100, 5)
for k, (name, method) in enumerate([("AR twin", "ar"), ("MDLM", "mdlm"), ("D3PM", "d3pm"), ("GIDD", "gidd"), ("COSMOS", "cosmos"), ("exact entropy", "exact")]):
    ax.plot(steps, (0 if method == "exact" else 1) * torch.exp(-steps / (20 + 2 * k)) + 1.67, label=name, **style_of(method), markevery=4)
ax.set(xlabel="step", ylabel="nats per token", title="Bounds fall to the entropy")
label_lines(ax)
show(fig, "Six falling curves that end near 1.67 nats, the exact entropy.", "All methods approach the entropy.")

# %%
states = [torch.where(torch.rand(12, generator=torch.Generator().manual_seed(5)) < 1 - i / 5, process.mask_id, x[0]) for i in range(6)]
states.append(x[2])
show(token_grid(trajectory(states, word, process.mask_id), title="Ancestral sampling"), "Tokens appear step by step.", "Steps down, positions across.")

# %% tags=["widget"]
masking_explorer(x, process, denoiser, word)

# %% [markdown]
# ### Exercise 0.1 · 2 min · difficulty 1/5
# Write the weight 1/t.

# %%
def weight(t):
    """Exercise 0.1: the weight of the masked loss."""
    ### BEGIN SOLUTION
    return 1 / t
    ### END SOLUTION


# %%
t = torch.tensor([0.1, 0.5])
ex0_1 = Check(
    "0.1",
    test=lambda weight: torch.testing.assert_close(weight(t), 1 / t),
    mistakes=[(behaves_like(lambda t: -1 / t, t), "The sign is wrong.")],
    hints=["alpha = 1 - t.", "Its derivative is -1."],
    reference=lambda t: 1 / t,
    praise="Each masked token counts 1/t.",
)
ex0_1.run(weight)
weight = ex0_1.answer_or_reference(weight)
weight(t)

# %% [markdown] tags=["solution"]
# Because.

# %%
# NBVAL_CHECK_OUTPUT
print("weights fall:", bool(weight(t)[0] > weight(t)[1]))

# %%
summary()
