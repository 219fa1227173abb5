"""The study of D3PM on characters: its pieces on small data, and the pictures and the widget of lesson 07."""

import math

import pytest
import torch

from difflm_core.classroom import lesson as lesson_module
from difflm_core.classroom.pictures import lesson_07 as pictures
from difflm_core.models import LeaveOneOut, Transformer, TransformerConfig, leave_one_out, with_own_evidence
from difflm_core.objectives import d3pm_hybrid_loss
from difflm_core.processes import matrices
from difflm_core.studies import d3pm_characters as study

V, L, T = 6, 8, 10
ROWS = torch.tensor(
    [[0, 3, 1, 4, 0, 3, 2, 5], [1, 4, 0, 5, 2, 3, 1, 5], [2, 4, 0, 3, 1, 5, 2, 4]]
)  # 0-2 and 3-5 alternate


@pytest.fixture
def tiny(monkeypatch):
    """The study's functions on six characters and ten steps."""

    class Source:
        V = 6

    monkeypatch.setitem(study.SETTINGS, "T", T)
    monkeypatch.setattr(study, "source", Source)
    cached = study.process_of
    cached.cache_clear()
    yield
    cached.cache_clear()


def network(time: bool = True) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(V, L, 16, 1, 2, time_conditioning=time)).double()


def test_bigrams_are_counted():
    counts = study.bigram_counts(ROWS, V)
    assert counts.sum() == 3 * 7
    assert counts[0, 3] == sum((row[i], row[i + 1]) == (0, 3) for row in ROWS.tolist() for i in range(7)) == 3
    assert counts[:3, :3].sum() == 0


def test_characters_that_keep_the_same_company_are_near():
    vectors = study.character_vectors(study.bigram_counts(ROWS.repeat(20, 1), V), 2)
    assert vectors.shape == (V, 2) and torch.allclose(vectors.norm(dim=1), torch.ones(V).double())
    near = torch.cdist(vectors, vectors)
    within = torch.cat([near[:3, :3].flatten(), near[3:, 3:].flatten()]).max()
    assert within < 0.5 * near[:3, 3:].min()


def test_neighbour_noise_loses_information_evenly():
    process = study.neighbour_process(ROWS, V, T, k=4, D=3)
    unigram = (torch.bincount(ROWS.flatten(), minlength=V).double() + 1) / (ROWS.numel() + V)
    left = matrices.mutual_information(unigram, process.Qbar[1:]) / torch.special.entr(unigram).sum()
    assert torch.allclose(left, 1 - torch.arange(1, T + 1).double() / T, atol=1e-6)


def test_own_evidence_is_the_way_back_from_leave_one_out():
    process = matrices.uniform_process(V, matrices.cosine_betas(T))
    z, t = torch.randint(V, (5, L), generator=torch.Generator().manual_seed(1)), torch.arange(1, 6).double() / T
    logits = torch.randn(5, L, V, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    there = with_own_evidence(logits, process, z, t)
    assert torch.allclose(leave_one_out(there.clone(), process, z, t), logits)
    evidence = matrices.MatrixProcess(matrices.uniform(V, matrices.cosine_betas(T)), V).evidence(z, t)
    assert torch.allclose(
        there.softmax(-1), (logits.softmax(-1) * evidence / (logits.softmax(-1) * evidence).sum(-1, True))
    )


@pytest.mark.parametrize("variant", study.VARIANTS, ids=lambda v: f"{v.noise} {v.hybrid} {v.own_evidence}")
def test_every_loss_is_finite_and_has_a_gradient(variant, tiny, monkeypatch):
    if variant.noise == "nearest neighbour":
        process = study.neighbour_process(ROWS, V, T, 4, 3)
        monkeypatch.setattr(study, "process_of", lambda noise: process)
    model, t = network(), torch.tensor([0.05, 0.5, 1.0], dtype=torch.float64)
    value = study.loss(variant, model, ROWS, t, torch.Generator().manual_seed(3))
    assert value.shape == ROWS.shape and bool(value.isfinite().all())
    value.mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    assert variant.lam == (1.0 if variant.hybrid else 0.0)  # 10 / T


def test_asked_rightly_only_the_cross_entropy_differs(tiny):
    """Its bound is that of the plain loss, and its cross-entropy that of the network with its own token put in."""
    model, t = network(), torch.tensor([0.15, 0.55, 0.95], dtype=torch.float64)
    with torch.no_grad():
        ours, plain = (
            study.loss(study.Variant("uniform", hybrid, hybrid), model, ROWS, t, torch.Generator().manual_seed(4))
            for hybrid in (True, False)
        )
        process = study.process_of("uniform")
        step = (t * T).ceil() / T
        z = process.corrupt(ROWS, step, torch.Generator().manual_seed(4))
        p = with_own_evidence(model(z, step), process, z, step).softmax(-1)
    cross = -p.gather(-1, ROWS[..., None])[..., 0].log()
    assert torch.allclose(ours, plain + T * 1.0 * cross, atol=1e-9)
    other = d3pm_hybrid_loss(process, model, ROWS, t, 1.0, generator=torch.Generator().manual_seed(4))
    assert not torch.allclose(ours, other, atol=1e-2)


def test_asked_rightly_both_terms_are_smallest_at_the_same_network(tiny):
    """Gradients by the network's answers at what the others say: 0 for the loss asked rightly, not for the paper's."""
    from test_d3pm import LANGUAGE, BayesDenoiser, index_of, reverse_kl

    process = matrices.uniform_process(3, matrices.cosine_betas(6))
    z_all = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    x, z = LANGUAGE.texts.repeat_interleave(9, 0), z_all.repeat(9, 1)
    s, t = (torch.full((81,), i / 6, dtype=torch.float64) for i in (1, 2))
    seen = process.marginal(x, t).gather(-1, z[..., None])[..., 0].prod(-1)
    weight = LANGUAGE.p.repeat_interleave(9) * seen
    table = BayesDenoiser(LANGUAGE, process, blind=True).hidden(z_all, t[:9]).requires_grad_()
    h = table[index_of(z, 3)]
    denoiser = LeaveOneOut(BayesDenoiser(LANGUAGE, process), process)  # only its logits(h) = h is used
    bound = (weight * reverse_kl(process, denoiser, h, x, z, s, t).sum(-1)).sum()
    slopes = []
    for logits in (with_own_evidence(h, process, z, t), h):
        cross = (weight[:, None] * -logits.log_softmax(-1).gather(-1, x[..., None])[..., 0]).sum()
        slopes.append(torch.autograd.grad(bound + 10 * cross, table, retain_graph=True)[0].abs().max().item())
    assert slopes[0] < 1e-10 < 1e-3 < slopes[1]


def test_variants_are_distinct_and_the_papers_lambda():
    assert len(set(study.VARIANTS)) == 8
    assert study.SETTINGS["lambda_times_T"] == pytest.approx(0.01 * 1000)


# --- the pictures -----------------------------------------------------------------------------------------------


def made_up() -> dict:
    """A study of the stored shape, with figures that can be told apart."""
    runs = []
    for n, variant in enumerate(study.VARIANTS):
        for seed in (0, 1):
            bits = 3 + n / 10 + seed / 100
            by_steps = {str(k): bits + k / 1000 for k in (100, 20)}
            runs.append({"noise": variant.noise, "lam": variant.lam, "own_evidence": variant.own_evidence, "seed": seed,
                         "bits": bits, "standard_error": 0.01, "bits_by_steps": by_steps})  # fmt: skip
    return {"runs": runs, "settings": {"T": 100, "fewer_steps": [20], "lambda_times_T": 10.0}, "command": "make it"}


def test_the_picture_and_the_table_say_every_figure():
    stored = made_up()
    figure, alt, caption = pictures.characters(stored)
    table = pictures.character_table(stored)
    assert "absorbing: 3.00, 3.01" in alt and "nearest neighbour, λ: 3.30, 3.31" in alt and "make it" in caption
    assert len(table.splitlines()) == 1 + len(pictures.VARIANTS)
    assert "+0.10  +0.10" in next(line for line in table.splitlines() if line.startswith("uniform, λ  "))
    assert {v for v, _ in pictures.VARIANTS} == {(v.noise, v.hybrid, v.own_evidence) for v in study.VARIANTS}
    pictures.plt.close(figure)


def test_the_bars_add_up():
    figure, alt, _ = pictures.parts_of_the_bound({"a": (0.5, torch.tensor([1.0, 0.25]))}, 1.6)
    assert "together 1.750" in alt and "L_T 0.500" in alt
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([1.0, 0.25, 0.5]) and math.isclose(sum(widths), 1.75)
    pictures.plt.close(figure)


def test_the_heat_maps_show_products():
    Q = matrices.uniform(3, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))
    figure, _, _ = pictures.heat_maps({"uniform": Q}, (1, 3), ["a", "b", "c"])
    shown = [torch.tensor(ax.images[0].get_array().data) ** 2 for ax in figure.axes[:2]]
    assert torch.allclose(shown[0], Q[0]) and torch.allclose(shown[1], matrices.cumulative(Q)[2])
    pictures.plt.close(figure)


def test_the_heat_maps_name_the_rows_of_the_first_panel_and_of_one_with_a_mask():
    beta = torch.tensor([0.2], dtype=torch.float64)
    four = {"uniform": matrices.uniform(3, beta), "absorbing": matrices.absorbing(4, beta)}
    four["again"] = four["uniform"]
    figure, _, _ = pictures.heat_maps(four, (1,), ["a", "b", "c"])
    rows = [[label.get_text() for label in ax.get_yticklabels()] for ax in figure.axes[:3]]
    assert rows == [["a", "b", "c"], ["a", "b", "c", "▢"], ["", "", ""]]
    pictures.plt.close(figure)


# --- the widget -------------------------------------------------------------------------------------------------

WORDS = ["the", "fox", "hops"]


def encode(text: str) -> torch.Tensor:
    if unknown := [word for word in text.split() if word not in WORDS]:
        raise ValueError(f"Unknown word <{unknown[0]}>.")
    return torch.tensor([WORDS.index(word) for word in text.split()], dtype=torch.long)


def shift(x, generator):
    """A path on which every step moves each word on by one."""
    return torch.stack([(x + step) % 3 for step in range(4)])


def to_masks(x, generator):
    return torch.stack([x, x, torch.full_like(x, 3), torch.full_like(x, 3)])


WALKS = {"shift": shift, "masks": to_masks}


def test_the_widget_follows_its_controls():
    box = pictures.chain_controls(WALKS, encode, WORDS.__getitem__, 3, "the fox hops")
    line, menu, (slider, button), picture = box.children[0], box.children[1], box.children[2].children, box.children[3]
    slider.value = 0
    assert "3 of 3 kept" in picture.value
    slider.value = 1
    assert "3 replaced" in picture.value and "[hops]" in picture.value
    menu.value = "masks"
    assert "3 of 3 kept" in picture.value
    slider.value = 2
    assert "3 masked" in picture.value
    line.value = "the fox"
    assert "2 masked" in picture.value
    line.value = "the cat"
    assert 'role="alert"' in picture.value and "&lt;cat&gt;" in picture.value
    line.value = ""
    assert "Type at least one word" in picture.value
    line.value = "the"
    button.click()
    assert "1 masked" in picture.value


def test_the_static_twin(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(lesson_module, "display", lambda data, raw=False, metadata=None: shown.append(data))
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    pictures.chain_explorer(WALKS, encode, WORDS.__getitem__, 3, "the fox", (0, 2))
    text = shown[0]["text/plain"]
    assert "shift, step 2" in text and "[hops] [the]" in text and "▢ ▢" in text and "2 masked" in text
    assert "JupyterLab" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Unknown word"):
        pictures.chain_explorer(WALKS, encode, WORDS.__getitem__, 3, "the cat", (0,))
