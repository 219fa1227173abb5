"""The exercises of lesson 05: right answers pass however they are written, and each usual mistake is named."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from judging import is_told, passes

from difflm_core.classroom.exercises.lesson_05 import encodings, even_schedule, ex5_1, ex5_2, ex5_3, ex5_4, ex5_5
from difflm_core.classroom.pictures import lesson_05 as pictures
from difflm_core.objectives import stratified_times, word_nll
from difflm_core.processes import GaussianProcess, ShiftedCosine, time_of
from difflm_core.studies import tencdm as study

# 5.1 half_time(d)


def by_bisection(d):
    return time_of(ShiftedCosine(d), torch.tensor([0.5], dtype=torch.float64))


@pytest.mark.parametrize("right", [by_bisection, lambda d: math.atan2(1, d) / (math.pi / 2)])
def test_right_half_times(right):
    passes(ex5_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda d: math.atan(1 / d), "multiply by 2 / pi"),
        (lambda d: 2 / math.pi * math.atan(d), "are swapped"),
        (lambda d: 2 / math.pi * math.atan(d**-2), "once too often"),
        (lambda d: math.degrees(math.atan(1 / d)), "in radians"),
        (lambda d: 0.5, "alpha is"),
        (lambda d: 1 / d, "between 0 and 1"),
    ],
)
def test_wrong_half_times(wrong, message):
    is_told(ex5_1, wrong, message)


# 5.2 d_for_width(d, D, new_D)


def test_right_widths():
    passes(ex5_2, ex5_2.reference)
    passes(ex5_2, lambda d, D, new_D: math.exp(math.log(d) + 0.5 * (math.log(new_D) - math.log(D))))
    # the signal that counts, D SNR, is then the same at every t
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    signals = [
        D * GaussianProcess(ShiftedCosine(d)).log_snr(t).exp()
        for d, D in ((9.0, 768), (ex5_2.reference(9, 768, 96), 96))
    ]
    torch.testing.assert_close(*signals)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda d, D, new: d * new / D, "root of the width"),
        (lambda d, D, new: d * math.sqrt(D / new), "Upside down: wider"),
        (lambda d, D, new: d * D / new, "the root is missing"),
        (lambda d, D, new: d, "Does the width not matter"),
        (lambda d, D, new: 2.0, "your d = 2"),
    ],
)
def test_wrong_widths(wrong, message):
    is_told(ex5_2, wrong, message)


# 5.3 encode(h, mask, ids, mean, deviation, special)


def by_index(h, mask, ids, mean, deviation, special):
    z = torch.zeros_like(h)
    z[mask] = ((h - mean) / deviation)[mask]
    for i, vector in special.items():
        z[mask & (ids == i)] = F.rms_norm(vector, vector.shape)
    return z


def wrongly(words=None, specials=None, padding_last=True, fill=0.0):
    """An answer with one thing changed."""

    def encode(h, mask, ids, mean, deviation, special):
        z = (h - mean) / deviation if words is None else words(h, mean, deviation)
        blank = torch.as_tensor(fill).expand(h.shape)
        z = z if padding_last else torch.where(mask[..., None], z, blank)
        for i, vector in special.items():
            scaled = F.rms_norm(vector, vector.shape) if specials is None else specials(vector, mean, deviation)
            z = z if scaled is None else torch.where((ids == i)[..., None], scaled, z)
        return torch.where(mask[..., None], z, blank) if padding_last else z

    return encode


def by_the_batch(h, mask, ids, mean, deviation, special):
    return wrongly()(h, mask, ids, h[mask].mean(0), h[mask].std(0), special)


def mask_upside_down(h, mask, ids, mean, deviation, special):
    return wrongly()(h, torch.ones_like(mask), ids, mean, deviation, special).masked_fill(mask[..., None], 0.0)


def scales_in_place(h, mask, ids, mean, deviation, special):
    for vector in special.values():
        vector /= vector.square().mean().sqrt()
    return wrongly(specials=lambda e, m, s: e)(h, mask, ids, mean, deviation, special)


def test_an_answer_that_spoils_its_inputs_does_not_spoil_the_check():
    is_told(ex5_3, scales_in_place, "must stay")
    is_told(ex5_3, wrongly(specials=lambda e, m, s: e / e.norm()), "Length 1")
    passes(ex5_3, wrongly())


def test_right_encodings():
    passes(ex5_3, by_index)
    passes(ex5_3, wrongly())


@pytest.mark.parametrize(
    "wrong, message",
    [
        (wrongly(words=lambda h, m, s: h), "still on the encoder's scale"),
        (wrongly(words=lambda h, m, s: h - m), "still differ in size"),
        (wrongly(words=lambda h, m, s: h / s), "The mean is still in"),
        (wrongly(words=lambda h, m, s: h / s - m), "First subtract"),
        (wrongly(words=lambda h, m, s: (h - m) / s**2), "not by the variance"),
        (wrongly(specials=lambda e, m, s: None), "still have their states"),
        (wrongly(specials=lambda e, m, s: e), "stands there as it is"),
        (wrongly(specials=lambda e, m, s: e / e.norm()), "Length 1"),
        (wrongly(specials=lambda e, m, s: (e - m) / s), "Scale it by itself"),
        (wrongly(specials=lambda e, m, s: e / e.square().mean()), "the mean square itself"),
        (wrongly(specials=lambda e, m, s: e / e.std()), "no mean is taken away"),
        (wrongly(specials=lambda e, m, s: (e - e.mean()) / e.std(correction=0)), "no mean is taken away"),
        (by_the_batch, "this batch's own"),
        (mask_upside_down, "Padding is ~mask"),
        (scales_in_place, "The embeddings in `special` must stay"),
        (wrongly(padding_last=False), "Padding has an id too"),
        (lambda h, mask, ids, m, s, special: wrongly()(h, mask | True, ids.where(mask, 5), m, s, special), "must be 0"),
        (lambda h, mask, ids, m, s, special: (h - m) / s, "still have their states"),
        (lambda h, *rest: by_index(h, *rest)[..., :2], "Return latents shaped"),
    ],
)
def test_wrong_encodings(wrong, message):
    is_told(ex5_3, wrong, message)


def test_the_padding_of_one_text_shares_a_special_id():
    padding = ~encodings.MASK
    assert bool(padding.any()) and bool((encodings.IDS[padding] == 0).all()) and 0 in encodings.SPECIAL


# 5.4 decoder_loss(decoder, z_0, ids, alpha_of, t_max, generator)


def decoder_loss(times=None, signal=None, noise=None, back=None):
    """An answer, right unless a part is changed."""

    def answer(decoder, z_0, ids, alpha_of, t_max, generator=None):
        t = t_max * torch.rand(len(z_0), generator=generator) if times is None else times(len(z_0), t_max, generator)
        alpha = alpha_of(t)[:, None, None]
        level = alpha.sqrt() if signal is None else signal(alpha)
        loudness = (1 - alpha).sqrt() if noise is None else noise(alpha)
        z_t = level * z_0 + loudness * torch.randn(z_0.shape, generator=generator)
        nll = F.cross_entropy(decoder(z_t).transpose(1, 2), ids, reduction="none")
        return nll if back is None else back(nll)

    return answer


def by_the_course(decoder, z_0, ids, alpha_of, t_max, generator=None):
    t = t_max * stratified_times(len(z_0), generator)
    signal, noise = (level[:, None, None] for level in (alpha_of(t).sqrt(), (1 - alpha_of(t)).sqrt()))
    z_t = signal * z_0 + noise * torch.randn(z_0.shape, generator=generator)
    return word_nll(decoder(z_t), ids, torch.ones_like(ids, dtype=torch.bool))


@pytest.mark.parametrize("right", [decoder_loss(), by_the_course])
def test_right_decoder_losses(right):
    passes(ex5_4, right)


def clean(decoder, z_0, ids, *rest):
    return F.cross_entropy(decoder(z_0).transpose(1, 2), ids, reduction="none")


def a_time_for_every_word(decoder, z_0, ids, alpha_of, t_max, generator=None):
    alpha = alpha_of(t_max * torch.rand(ids.shape, generator=generator))[..., None]
    z_t = alpha.sqrt() * z_0 + (1 - alpha).sqrt() * torch.randn(z_0.shape, generator=generator)
    return F.cross_entropy(decoder(z_t).transpose(1, 2), ids, reduction="none")


@pytest.mark.parametrize(
    "wrong, message",
    [
        (clean, "without corruption"),
        (decoder_loss(noise=lambda a: 0 * a), "no noise is added"),
        (decoder_loss(times=lambda B, t_max, g: torch.full((B,), t_max)), "one t per text"),
        (decoder_loss(times=lambda B, t_max, g: torch.rand(1, generator=g).expand(B) * t_max), "one t per text"),
        (decoder_loss(times=lambda B, t_max, g: torch.rand(B, generator=g)), "Times run up to 1"),
        (decoder_loss(signal=lambda a: a, noise=lambda a: 1 - a), "Roots are missing"),
        (decoder_loss(noise=lambda a: 1 - a), "multiply by its root"),
        (decoder_loss(signal=lambda a: 1 + 0 * a), "The signal must shrink"),
        (decoder_loss(signal=lambda a: a**0.25, noise=lambda a: (1 - a.sqrt()).sqrt()), "the diffusion's own"),
        (decoder_loss(back=lambda nll: -nll), "The sign"),
        (decoder_loss(back=lambda nll: (-nll).exp()), "the probability of the word"),
        (decoder_loss(back=lambda nll: nll.mean()), "one number per word"),
        (decoder_loss(back=lambda nll: nll.sum(1)), "one number per word"),
        (decoder_loss(back=lambda nll: nll.flatten()), "the shape of the texts again"),
        (decoder_loss(signal=lambda a: (1 - a).sqrt(), noise=lambda a: a.sqrt()), "Signal and noise are swapped"),
        (a_time_for_every_word, "Every word has a time of its own"),
        (lambda *inputs: decoder_loss()(*inputs[:5]), "Two runs with the same generator"),
        (lambda *rest: torch.zeros(60, 6), "never asked"),
    ],
)
def test_wrong_decoder_losses(wrong, message):
    is_told(ex5_4, wrong, message)


# 5.5 even_schedule(log_snr, share, t)


def by_numpy(log_snr, share, t):
    wanted = share[-1] + (share[0] - share[-1]) * t
    return torch.from_numpy(np.interp(wanted.numpy(), share.numpy(), log_snr.numpy()))


def by_search(log_snr, share, t):
    fine = torch.linspace(float(log_snr[0]), float(log_snr[-1]), 20001, dtype=torch.float64)
    curve = even_schedule.interpolate(log_snr, share, fine)
    wanted = share[-1] + (share[0] - share[-1]) * t
    return fine[(curve[None] - wanted[:, None]).abs().argmin(1)]


def at_the_nearest_point(log_snr, share, t):
    wanted = share[-1] + (share[0] - share[-1]) * t
    return log_snr[(share - wanted[:, None]).abs().argmin(1)]


@pytest.mark.parametrize("right", [by_numpy, by_search])
def test_right_schedules(right):
    passes(ex5_5, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (even_schedule.straight, "falls in a straight line"),
        (lambda x, y, t: by_numpy(x, y, 1 - t), "the wrong way"),
        (even_schedule.from_one_to_zero, "share[0]"),
        (lambda x, y, t: torch.sigmoid(by_numpy(x, y, t)), "Return the log-SNR itself"),
        (lambda x, y, t: even_schedule.interpolate(x, y, even_schedule.straight(x, y, t)), "You return shares"),
        (lambda x, y, t: GaussianProcess(ShiftedCosine(3.0)).log_snr(t.clamp(0.01, 0.99)), "one of twenty steps"),
        (lambda x, y, t: t[:3], "one log-SNR per time"),
        (lambda x, y, t: by_numpy(x, y, t).tolist(), "Return a tensor"),
        (lambda x, y, t: torch.from_numpy(np.interp(y[-1] * (1 - t), y, x)), "Your line falls to 0"),
        (lambda x, y, t: torch.from_numpy(np.interp(y[-1] + (y[0] - y[-1]) * t, x, y)), "axes are exchanged"),
        (at_the_nearest_point, "the nearest point of the curve"),
    ],
)
def test_wrong_schedules(wrong, message):
    is_told(ex5_5, wrong, message)


# The pictures of the stored study


def made_up() -> dict:
    """A study of the right shape, its numbers drawn."""
    draws = torch.Generator().manual_seed(0)
    settings = json.loads(json.dumps(study.SETTINGS))

    def share() -> float:
        return torch.rand((), generator=draws).item()

    def judged() -> dict:
        return {"grammatical": share(), "distinct_2": share(), "log_prob_gap": share()}

    runs = []
    for seed in study.SEEDS:
        for cell in study.cells():
            curve = [share() for _ in settings["read_at"]]
            row = {"seed": seed, "self_conditioning": 0.5} | cell
            row["decoders"] = {name: judged() for name in cell["decoders"]}
            row["reading"] = {name: {"clean": share(), "texts": share(), "noisy": curve} for name in cell["decoders"]}
            row["denoising"] = {"words": curve, "error": curve, "size": curve}
            row["walked"] = {name: judged() for name in settings["schedules"]}
            row["by_steps"] = [{"steps": T, "magnitudes": [share()] * T} | judged() for T in settings["step_counts"]]
            runs.append(row)
    return {"settings": settings, "runs": runs, "command": "again"}


def test_pictures_and_tables_of_the_study():
    stored = made_up()
    for table in (pictures.canvases, pictures.walked, pictures.decoders, pictures.steps_table, pictures.calibration):
        text = table(stored)
        assert "nan" not in text and "again" in text and max(map(len, text.splitlines())) < 120, text
    for picture in (pictures.schedules, pictures.steps):
        figure, alt, caption = picture(stored)
        assert "nan" not in alt and "again" in caption
        pictures.plt.close(figure)
    good = pictures.drawn(stored, "grammatical", schedule="tan-9")
    assert good == [r["decoders"][pictures.BEST]["grammatical"] for r in stored["runs"] if r["schedule"] == "tan-9"]
    assert pictures.best_steps(stored, 0.0) in stored["settings"]["step_counts"]
    for row in stored["runs"]:  # a cell in which no sentence is right
        row["decoders"][pictures.BEST]["log_prob_gap"] = None
    assert "too few" in pictures.canvases(stored)


def test_a_verdict_counts_seeds():
    told = pictures.verdict("A", "B", [0.5, 0.3, 0.4], [0.4, 0.35, 0.1])
    assert told.startswith("A against B: more grammatical in 2 of 3 seeds, by +12 points") and "(-5 to +30)" in told


def test_live_pictures():
    for figure, alt, _ in (
        pictures.readers([0.0, 0.1, 0.2], {"MLP": [1.0, 0.9, 0.5], "MLP + Cor": [1.0, 0.9, 0.8]}, "two"),
        pictures.sizes({5: ([1.0, 0.5], [0.2, 0.9]), 20: ([1.0, 0.1], [0.2, 1.1])}),
    ):
        assert "50%" in alt or "1.10" in alt
        pictures.plt.close(figure)
