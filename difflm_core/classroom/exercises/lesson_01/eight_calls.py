"""Exercise 1.5, open: eight times and an eta for sampling islands with the best denoiser."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.samplers import sample_gaussian, subset
from difflm_core.studies.gaussian_ddpm import at_sea, sliced_distance

CALLS, CHAIN = 8, 1000
SHARE = 1 / 3  # of the points at sea that eight even steps leave
ROOM = 1.15  # in distance, for chance


def ex1_5(process, data, samples: int = 4000) -> Check:
    """The check for `my_plan() -> (times, eta)`, with data in the plane whose best denoiser is known."""
    denoise, found = data.denoiser(process), {}

    def measure(times, eta: float) -> tuple[float, float]:
        """(share at sea, sliced distance to true samples), both with the same draws."""
        generator, shape = torch.Generator().manual_seed(0), (samples, 2)
        x = sample_gaussian(process, denoise, CHAIN, shape, generator, eta, times, dtype=torch.float64).x
        return at_sea(x), sliced_distance(x, data.sample(samples, torch.Generator().manual_seed(1)))

    def even() -> tuple[float, float]:
        return found.setdefault("even", measure(subset(CHAIN, CALLS), 0.0))

    def test(my_plan):
        times, eta = plan(my_plan)
        check_plan(times, eta)
        (sea, far), (sea_even, far_even) = measure(times, eta), even()
        said = f"{sea:.1%} of your points are at sea, {sea_even:.1%} with eight even steps"
        assert sea < sea_even, f"{said}: no better yet. At which noise level do islands melt together?"
        assert sea <= SHARE * sea_even, f"{said}. Better, but ask for at most a third."
        assert far <= ROOM * far_even, (
            f"{said}, but they are further from the data: distance {far:.3f} against {far_even:.3f}. Too few steps are"
            " left for the large scale, or for the width of the islands."
        )
        check.praise = f"{said}; distance to the data {far:.3f}, with even steps {far_even:.3f}."

    check = Check("1.5", test=test, mistakes=MISTAKES, hints=HINTS, reference=reference)
    return check


def plan(my_plan) -> tuple[torch.Tensor, float]:
    answer = my_plan()
    assert isinstance(answer, tuple) and len(answer) == 2, "Return a pair: (times, eta)."
    return torch.as_tensor(answer[0], dtype=torch.float64), float(answer[1])


def check_plan(times: torch.Tensor, eta: float) -> None:
    assert times.shape == (CALLS,), f"Give exactly {CALLS} times, one for each network call; you gave {times.numel()}."
    assert bool((times.diff() < 0).all()) and times[0] == 1 and times[-1] > 0, (
        "The times must fall, from 1 to something above 0; the last step to 0 is added."
    )
    assert 0 <= eta <= 1, "eta lies between 0 (DDIM) and 1 (ancestral)."


MISTAKES = [
    (
        lambda my_plan: plan(my_plan)[0].shape == (CALLS + 1,) and plan(my_plan)[0][-1] == 0,
        "You gave nine times, with 0 at the end. The step to 0 is added by itself: eight times, the last above 0.",
    ),
    (
        lambda my_plan: plan(my_plan)[0].shape == (CALLS,) and bool((plan(my_plan)[0].diff() > 0).all()),
        "Your times rise. Sampling begins at the noise, t = 1, and falls.",
    ),
]
HINTS = [
    "cosine.log_snr(t) at your times: where are the gaps wide? Islands of width 0.1 stand about 1 apart.",
    "Shorter steps towards the data: times u**p with u even and p between 1 and 2.",
    "eta = 1 adds fresh noise that hides the mistakes of earlier steps; compare it with 0.",
]


def reference():
    return torch.linspace(1, 0, CALLS + 1, dtype=torch.float64)[:-1] ** 1.6, 1.0
