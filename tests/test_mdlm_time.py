"""The pieces of the study mdlm_time: the bound of T steps from costs by count, and its tables."""

import math

import pytest
import torch
from enumerable import FixedNoise, TinyLanguage, all_masks, random_denoiser

from difflm_core.classroom.pictures import lesson_08 as pictures
from difflm_core.objectives import masked_nelbo_discrete
from difflm_core.processes import masked
from difflm_core.studies.mdlm_time import SETTINGS, bound_of_steps, cost_by_count

V, L = 3, 4
LANGUAGE = TinyLanguage(V, L)
DENOISERS = {"exact": LANGUAGE.denoiser(), "arbitrary": random_denoiser(V, L)}


def costs_of(denoiser) -> torch.Tensor:
    """c(n) by summing over all texts and all masks."""
    nats, kinds = torch.zeros(L, dtype=torch.float64), torch.zeros(L)
    for mask in all_masks(L)[1:]:
        z, n = torch.where(mask, V, LANGUAGE.texts), int(mask.sum())
        nll = -denoiser.logits(denoiser.hidden(z)).log_softmax(-1).gather(-1, LANGUAGE.texts[..., None])[..., 0]
        nats[n - 1] += (LANGUAGE.p * nll[:, mask].mean(1)).sum()
        kinds[n - 1] += 1
    return nats / kinds


@pytest.mark.parametrize("T", [1, 2, 3, 10])
@pytest.mark.parametrize("denoiser", DENOISERS.values(), ids=DENOISERS.keys())
def test_the_bound_of_steps_is_that_of_the_discrete_loss(denoiser, T):
    process, texts, expected = masked(V), LANGUAGE.texts, 0.0
    for step in range(1, T + 1):
        t = torch.full((len(texts),), (step - 0.5) / T, dtype=torch.float64)
        for mask in all_masks(L):
            n, share = int(mask.sum()), step / T
            z = torch.where(mask, V, texts)
            loss = masked_nelbo_discrete(FixedNoise(process, z), denoiser, texts, t, T).sum(1)
            expected += share**n * (1 - share) ** (L - n) * (LANGUAGE.p * loss).sum().item() / T / L
    assert bound_of_steps(costs_of(denoiser), T) == pytest.approx(expected, abs=1e-12)


def test_with_the_exact_denoiser_it_falls_to_the_entropy():
    bounds = [bound_of_steps(costs_of(DENOISERS["exact"]), T) for T in (1, 2, 4, 8, 1000, math.inf)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(LANGUAGE.entropy() / L, abs=1e-12)
    assert 0 < bounds[-2] - bounds[-1] < 1e-3


def test_costs_are_drawn_at_the_right_counts():
    from difflm_core.data import toy_language

    language = toy_language()

    class Counts:
        """Every masked word costs as many nats as there are masks, up to a constant."""

        V = language.V

        def hidden(self, z_t, t):
            return (z_t == self.V).sum(1)[:, None, None].expand(*z_t.shape, 1).double()

        def logits(self, h):  # -log p of token 0 falls short of n by log(1 + (V - 1) e^-n)
            return torch.cat([-h, torch.zeros(len(h), self.V - 1, dtype=h.dtype)], dim=-1)

    texts = [torch.zeros(8, language.length, dtype=torch.long)]
    n = torch.arange(1.0, language.length + 1, dtype=torch.float64)
    expected = n + torch.log((language.V - 1) + (-n).exp())
    torch.testing.assert_close(cost_by_count(Counts(), texts, torch.Generator().manual_seed(0)), expected)


def study() -> dict:
    """A stored study with invented numbers."""
    steps = {str(T): 1.75 + (0 if T == math.inf else 0.5 / T) for T in SETTINGS["T"]}

    def run(name, above):
        return {
            "denoiser": name, "exact": 1.75, "cost_by_count": [1.0],
            "steps": {T: {"bound": b + above, "standard_error": 0.001, "price": b - 1.75, "price_standard_error": 0.001,
                          "drawn": b, "drawn_standard_error": 0.02} for T, b in steps.items()},
        }  # fmt: skip

    rows = [
        {"time_conditioning": with_t, "seed": seed, "bound": 1.78 + 0.001 * seed + 0.002 * with_t, "exact": 1.75,
         "standard_error": 0.001, "parameters": 238_000 + 140_000 * with_t, "train_seconds": 60}
        for seed in (0, 1, 2) for with_t in (False, True)
    ]  # fmt: skip
    settings = SETTINGS | {"T": list(steps)}
    made = {"made_on": {"code": "abc", "torch": "2", "threads": 1, "date": "d"}, "seconds": 1, "command": "python -m x"}
    runs = [run("exact", 0), run("mdlm-tiny", 0.005), *rows]
    return {"study": "mdlm_time", "settings": settings, "runs": runs, **made}


def test_the_picture_and_the_table_say_what_the_study_holds():
    figure, alt, caption = pictures.price_of_steps(study())
    assert "1.800" in alt and "1.805" in alt and figure.axes and caption
    assert "+0.0500 ± 0.0010" in pictures.price_table(study()) and "+0.604" in pictures.price_table(study())
    table = pictures.time_input(study())
    assert "238,000" in table and table.count("+0.0020") == 3
