"""The tables and the picture of full runs in lesson 12, on paper: what `--plan` and `--plan --gpus` say, together."""

from matplotlib import pyplot as plt

from difflm_core.classroom.pictures.lesson_08 import Picture
from difflm_core.classroom.plots import BLUE, GREY, ORANGE
from difflm_core.training.latent_plan import latent_needs
from difflm_core.training.latent_recipes import LATENT_RECIPES
from difflm_core.training.plan import GPUS, UTILISATION, amount, duration, expected, needs, size_of
from difflm_core.training.recipes import RECIPES
from difflm_core.training.scaling import lay_out


def rungs(names: list[str]) -> str:
    """What each recipe takes, by its plan: one line a rung, and below the figure that is expected of it."""
    heads = (("parameters", 12), ("V", 9), ("length", 8), ("tokens", 14), ("FLOPs", 10), ("weights +", 11),
             ("a batch", 10), ("one H100", 16))  # fmt: skip
    lines, expectations = [f"{'':24s}" + "".join(f"{head:>{width}s}" for head, width in heads)], []
    for name in names:
        run, recipe = needs(RECIPES[name][1]), RECIPES[name][1]
        cells = (size(run.parameters), f"{run.V:,}", f"{recipe.data.length:,}", amount(run.tokens), f"{run.flops:.1e}",
                 size_of(run.state), size_of(run.activations), on_one(run.flops))  # fmt: skip
        lines.append(f"{name:24s}" + "".join(f"{cell:>{width}s}" for cell, (_, width) in zip(cells, heads)))
        expectations.append(f"{name}: {expected(name, recipe)}")
    return "\n".join([*lines, "", *expectations])


def latent_rungs(names: list[str]) -> str:
    """The same for latent systems: parameters of both parts, numbers of a text, FLOPs (at most) of all stages."""
    heads = (("autoencoder", 14), ("denoiser", 12), ("a text", 12), ("FLOPs", 10), ("weights +", 11), ("one H100", 16))
    lines = [f"{'':24s}" + "".join(f"{head:>{width}s}" for head, width in heads)]
    for name in names:
        run = latent_needs(LATENT_RECIPES[name][1])
        total = sum(run.flops.values())
        cells = (size(run.parameters["autoencoder"]), size(run.parameters["denoiser"]),
                 f"{run.latents[0]} x {run.latents[1]}", f"{total:.1e}", size_of(run.state), on_one(total))  # fmt: skip
        lines.append(f"{name:24s}" + "".join(f"{cell:>{width}s}" for cell, (_, width) in zip(cells, heads)))
    return "\n".join(lines)


def size(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters < 1e7 else f"{parameters / 1e6:,.0f} M"


def on_one(flops: float) -> str:
    """Time on one H100 at the assumed share of its peak; a tiny run would not reach it."""
    h100 = next(machine for machine in GPUS if machine.name == "one H100")
    seconds = flops / (UTILISATION * h100.peak)
    return "under 1 minute" if seconds < 60 else duration(seconds)


def on_gpus(names: list[str], counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)) -> Picture:
    """Days of whole runs against GPUs, with all sending hidden that can be and with none; and where a step goes."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    said = []
    for name, colour in zip(names, (BLUE, ORANGE)):
        recipe = RECIPES[name][1]
        parts = [lay_out(recipe, n) for n in counts]
        worst, best = ([part.seconds(hidden) * recipe.steps / 86_400 for part in parts] for hidden in (False, True))
        left.plot(counts, worst, "o-", color=colour, label=name)
        left.fill_between(counts, best, worst, color=colour, alpha=0.3, lw=0)
        left.plot(counts, [best[0] / n for n in counts], color=GREY, ls=":", lw=1)
        shares = [100 * part.sending / part.seconds(False) for part in parts]
        right.plot(counts, shares, "o-", color=colour, label=name)
        ends = f"{worst[0]:.1f} days on {counts[0]}, {worst[-1]:.2f} on {counts[-1]}"
        said.append(f"{name}: {ends}, of which {shares[-1]:.0f} % is sending")
    left.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="days", title="The whole run (dotted: 1 / n)")
    right.set(xscale="log", xlabel="GPUs", ylabel="%", title="Share of a step that is sending, nothing hidden")
    for ax in (left, right):
        ax.set_xticks(counts, [str(n) for n in counts])
        ax.minorticks_off()
        ax.legend()
    left.yaxis.set_major_formatter("{x:g}")
    alt = f"On paper. {'; '.join(said)}."
    return fig, alt, "Arithmetic on data sheets (training/scaling.py), nothing measured. Band: sending hidden or not."
