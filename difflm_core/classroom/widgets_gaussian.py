"""A slider for Gaussian noise in the plane: `noise_explorer`. The static twin, a filmstrip, comes first."""

import io

import ipywidgets as controls
import torch
from IPython.display import display
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from difflm_core.classroom.lesson import is_static, show
from difflm_core.classroom.plots import BLUE, VERMILLION

FILM = (0.0, 0.25, 0.5, 0.75, 1.0)
WIDE = 3.2  # half the side of the picture
POINTS, ARROWS = 400, 14


def noisy_points(x: Float[Tensor, "N 2"], t: float, process, seed: int) -> Float[Tensor, "N 2"]:
    """z_t with noise that is the same at every t, so that each point walks on a smooth path as t moves."""
    return process.corrupt(x, torch.full((len(x),), t), torch.Generator().manual_seed(seed))


def cloud(ax: Axes, data, x: Float[Tensor, "N 2"], t: float, process, seed: int = 0) -> float:
    """Density, points and, for some of them, an arrow to the best guess of x; returns the mean length of all arrows."""
    side = torch.linspace(-WIDE, WIDE, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    q = data.noisy_log_prob(grid, torch.full((len(grid),), t), process).exp().view(81, 81)
    ax.contourf(side, side, (q / q.max()).sqrt().T, levels=[0.05, 0.2, 0.4, 0.6, 0.8, 1.0], cmap="Greys", alpha=0.6)
    z = noisy_points(x, t, process, seed)
    x_hat = data.posterior(z, torch.full((len(z),), t), process)[0]
    ax.plot(*z.T, ".", ms=2, color=BLUE, alpha=0.6)
    move = (x_hat - z)[:ARROWS]
    ax.quiver(*z[:ARROWS].T, *move.T, color=VERMILLION, angles="xy", scale_units="xy", scale=1, width=0.008)
    ax.set(xlim=(-WIDE, WIDE), ylim=(-WIDE, WIDE), aspect="equal", xticks=[], yticks=[])
    ax.set_title(f"t = {t:.2f}", fontsize=10)
    ax.grid(False)
    return (x_hat - z).norm(dim=1).mean().item()


def noise_filmstrip(data, process, seed: int = 0) -> tuple[Figure, str]:
    """The static twin, and its alternative text."""
    x = data.sample(POINTS, torch.Generator().manual_seed(seed))
    fig, axes = plt.subplots(1, len(FILM), figsize=(10, 2.3))
    lengths = [cloud(ax, data, x, t, process, seed) for ax, t in zip(axes, FILM)]
    far = ", ".join(f"{length:.2f} at t = {t:.2f}" for length, t in zip(lengths, FILM))
    alt = "A cloud of points in the plane at five noise levels, from separate islands to one round cloud. "
    return fig, alt + f"Mean distance of a point from the best guess of where it came from: {far}."


def frame(data, x: Float[Tensor, "N 2"], t: float, process, seed: int = 0) -> bytes:
    """One slider position as a PNG."""
    fig, ax = plt.subplots(figsize=(4.2, 4.2))
    cloud(ax, data, x, t, process, seed)
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=80, metadata={"Software": None})
    plt.close(fig)
    return raw.getvalue()


def noise_controls(data, process, seed: int = 0) -> controls.VBox:
    """The live widget alone: slider t, a button for other points, and the picture."""
    slider = controls.FloatSlider(
        value=0.3, min=0.0, max=1.0, step=0.02, description="noise t", readout_format=".2f",
        tooltip="noise level t: 0 is the data, 1 pure noise", layout=controls.Layout(width="420px"),
    )  # fmt: skip
    redraw = controls.Button(description="other points", tooltip="draw points and noise anew")
    picture = controls.Image(format="png", layout=controls.Layout(width="420px"))
    drawn = {"seed": seed}

    def draw(_=None) -> None:
        x = data.sample(POINTS, torch.Generator().manual_seed(drawn["seed"]))
        picture.value = frame(data, x, slider.value, process, drawn["seed"])

    def other_points(_) -> None:
        drawn["seed"] += 1
        draw()

    slider.observe(draw, "value")
    redraw.on_click(other_points)
    draw()
    return controls.VBox([controls.HBox([slider, redraw]), picture])


def noise_explorer(data, process, seed: int = 0) -> None:
    """How a cloud of points becomes noise, and where the best denoiser points: a filmstrip, then a slider for t.

    `data` is an oracle.GaussianMixture in the plane, `process` a GaussianProcess. DIFFLM_STATIC=1 or CI leaves only the
    filmstrip. Raises ValueError for data that is not in the plane.
    """
    if data.means.shape[1] != 2:
        raise ValueError(f"noise_explorer draws points of the plane, but these have {data.means.shape[1]} coordinates.")
    figure, alt = noise_filmstrip(data, process, seed)
    caption = "Grey: density; blue: points; arrows: from a point to the best guess of where it came from. "
    if is_static():
        show(figure, alt, caption + "Run this cell in JupyterLab to drag t yourself.")
    else:
        show(figure, alt, caption + "Below: drag t, or focus the slider and use the arrow keys.")
        display(noise_controls(data, process, seed))
