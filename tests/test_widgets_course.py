"""The player, the reader, the schedule explorer and the cockpit: their twins, their moves, and what they refuse."""

import re
import time

import pytest
import torch

from difflm_core.classroom import lesson as lesson_module
from difflm_core.classroom import widgets_cockpit, widgets_player, widgets_reader, widgets_schedule
from difflm_core.classroom.cockpit import (
    Setting,
    heard,
    record_all,
    recordings_html,
    spelled,
    usual_settings,
    usual_ways,
)
from difflm_core.classroom.lesson import load_results
from difflm_core.classroom.pictures import lesson_02
from difflm_core.classroom.recordings import from_states
from difflm_core.classroom.schedule_curves import TIMES, curves, mask_noise, useless, usual_schedules, vector_noise
from difflm_core.classroom.typed import LONGEST, answered, read_sentence
from difflm_core.classroom.widgets_player import page_turner, player_controls
from difflm_core.data.toy_language import toy_language
from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.processes import Linear, ShiftedCosine, masked

LANGUAGE = toy_language()
FOX = "the great brown fox hops over the lazy dog in brown boots"
MINI = HiddenMarkovLanguage(
    torch.tensor([0.7, 0.3]),
    torch.tensor([[0.95, 0.05], [0.1, 0.9]]),
    torch.tensor([[0.9, 0.1], [0.05, 0.95]]),
    ["a", "b"],
    4,
)
V = 3
word = ["x", "<y>", "z"].__getitem__
STATES = torch.tensor([[V, V], [0, V], [0, 1], [2, 1]])
FILM = from_states(STATES, word, V, (1.0, 0.7, 0.3, 0.0), (0, 1, 2, 3), "film")


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(lesson_module, "display", lambda data, raw=False, metadata=None: calls.append(data))
    for module in (widgets_player, widgets_reader, widgets_schedule, widgets_cockpit):
        monkeypatch.setattr(module, "display", lambda data, raw=False: calls.append(data))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("DIFFLM_STATIC", raising=False)
    return calls


# ---------------------------------------------------------------- player


def parts_of(player):
    (play, slider), (back, on, speed), page = (
        player.children[0].children,
        player.children[1].children,
        player.children[2],
    )
    return play, slider, back, on, speed, page


def test_every_way_to_move_the_player_moves_the_page():
    play, slider, back, on, speed, page = parts_of(page_turner(["zero", "one", "two"]))
    assert page.value == "zero"
    on.click()
    assert (page.value, slider.value, play.value) == ("one", 1, 1)
    play.value = 2  # what the browser does while it plays
    assert (page.value, slider.value) == ("two", 2)
    on.click()
    assert slider.value == 2
    slider.value = 1
    back.click()
    back.click()
    assert (page.value, play.value) == ("zero", 0)
    speed.value = "fast"
    assert play.interval < 500 and all(control.description for control in (slider, back, on, speed))


def test_pages_of_the_player_are_the_steps():
    page = parts_of(player_controls(FILM))
    page[1].value = 3
    assert "step 3 of 3, t = 0.00, 3 calls: changed: z (position 1)" in page[5].value and "&lt;y&gt;" in page[5].value


def test_the_player_shows_its_filmstrip_first_and_alone_when_static(shown, monkeypatch):
    widgets_player.denoising_player(FILM)
    assert "image/png" in shown[0] and "step 3" in shown[1]["text/html"] and type(shown[2]).__name__ == "VBox"
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widgets_player.denoising_player(FILM)
    assert len(shown) == 5


# ---------------------------------------------------------------- typed sentences


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no word yet"),
        ("   \n ", "no word yet"),
        ("...", "no word yet"),
        ("the 🦊 hops", "'🦊' is not a word of this language"),
        ("the foxx hops", "the nearest are fox, foxes"),
        ("the " * 13, "has 13 words, and at most 12"),
        ("the " * 2500, "10,000 characters"),
        ("the ▢ fox", "holds a mask"),
    ],
)
def test_bad_sentences_are_refused_in_one_sentence(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_sentence(text, LANGUAGE)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_capitals_and_a_full_stop_are_forgiven():
    assert LANGUAGE.decode(read_sentence(f" {FOX.capitalize()}. ", LANGUAGE)) == FOX


def test_a_widget_shows_the_message_in_place_of_the_picture_and_recovers():
    box = widgets_reader.reader_controls(LANGUAGE, widgets_reader.usual_noises(LANGUAGE))
    text, picture = box.children[0], box.children[-1]
    good = picture.value
    for bad in ("", "🦊", "the " * 2500, "<script>"):
        text.value = bad
        assert 'role="alert"' in picture.value and "<script>" not in picture.value and len(picture.value) < 400
    text.value = FOX
    assert picture.value == good


def test_only_a_value_error_is_a_message():
    def fails():
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        answered([], fails)
    assert LONGEST >= 12 * max(map(len, LANGUAGE.words))


# ---------------------------------------------------------------- ideal reader


@pytest.mark.parametrize("name", widgets_reader.usual_noises(LANGUAGE))
def test_the_ideal_reader_reads_all_without_noise_and_only_the_usual_with_nothing_else(name):
    noise, x = widgets_reader.usual_noises(LANGUAGE)[name], LANGUAGE.encode(FOX)
    clean = widgets_reader.read(LANGUAGE, noise, x, 0.0)
    assert [w.text for w in clean.guesses] == FOX.split() and clean.probability.min() > 0.97
    gone = widgets_reader.read(LANGUAGE, noise, x, 1.0)
    usual = LANGUAGE.positional_marginals().amax(-1)
    assert torch.allclose(gone.probability, usual, atol=1e-6)


def test_the_reader_says_what_the_noise_does_to_a_word():
    half, noises = torch.tensor([0.5], dtype=torch.float64), widgets_reader.usual_noises(LANGUAGE)
    said = {name: noise.marginal(half) for name, noise in noises.items()}
    assert said["mask"] == "a word is kept with 50%, is hidden with 50%"
    assert said["random words"] == "a word is kept with 50%, becomes a random one with 50%"
    assert said["both"].endswith("becomes a random one with 30%")  # p_u, at t = 1/2
    assert "0.71 of itself" in said["Gaussian"]


def test_every_move_of_the_reader_redraws():
    box = widgets_reader.reader_controls(LANGUAGE, widgets_reader.usual_noises(LANGUAGE))
    text, menu, slider, draw, picture = box.children
    seen = {picture.value}
    for control, value in ((slider, 0.7), (menu, "Gaussian"), (draw, 3), (text, "the fox hops")):
        control.value = value
        seen.add(picture.value)
    assert len(seen) == 5 and "Gaussian, t = 0.70" in picture.value and "ideal reader" in picture.value


def test_the_reader_shows_a_table_first(shown, capsys, monkeypatch):
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    noises = {"mask": widgets_reader.symbols(masked(LANGUAGE.V))}
    widgets_reader.reader_explorer(LANGUAGE, "the fox hops", noises, (0.5,))
    assert "mask, t = 0.50" in shown[0]["text/plain"] and "an ideal reader restores" in shown[0]["text/plain"]
    assert len(shown) == 1 and "JupyterLab" in capsys.readouterr().out


# ---------------------------------------------------------------- schedules


def test_with_masks_the_linear_schedule_weighs_one_over_t_and_reads_what_a_reader_of_words_would():
    noise = mask_noise(MINI, texts=200, levels=5)
    found = curves(Linear(), noise)
    inside = TIMES[10:90]
    assert torch.allclose(10 ** found.log_weight[10:90], 1 / inside, rtol=1e-6)
    assert torch.allclose(10 ** found.log_snr[10:90], (1 - inside) / inside, rtol=1e-6)
    assert found.readable[0] > 0.999 and abs(found.readable[-1] - noise.blind) < 0.01
    assert bool((found.readable.diff() <= 1e-9).all())


def test_the_weight_for_vectors_is_the_slope_of_the_snr():
    noise = vector_noise(load_results("recoverable_tokens"), 16)
    schedule = ShiftedCosine(3.0)
    t = TIMES[20:80].clone().requires_grad_()
    (alpha := schedule.alpha(t)).sum()
    slope = torch.autograd.grad((alpha / (1 - alpha)).sum(), t)[0]
    assert torch.allclose(10 ** curves(schedule, noise).log_weight[20:80], -slope / 2, rtol=1e-6)


def test_curves_of_the_stored_study_are_read_back():
    study = load_results("recoverable_tokens")
    for D in (16, 128):
        noise = vector_noise(study, D)
        for name, schedule in {"sqrt": "sqrt", "linear beta": "linear beta"}.items():
            rows = [r for r in study["runs"] if (r["D"], r["scale"], r["schedule"]) == (D, "unit variance", name)]
            easy, noisy = useless(curves(usual_schedules()[schedule], noise), noise)
            for key, here in (("too_easy", easy), ("too_noisy", noisy)):
                assert abs(here - sum(r["useless"][key] for r in rows) / len(rows)) < 0.03
    with pytest.raises(ValueError, match="choose one of 16, 64, 128"):
        vector_noise(study, 7)


def test_every_move_of_the_schedule_explorer_redraws_at_once():
    noises = {"masks": mask_noise(MINI, 20, 5), "more": vector_noise(load_results("recoverable_tokens"), 16)}
    menu, radio, slider, picture = widgets_schedule.schedule_controls(usual_schedules(), noises).children
    seen, start = {picture.value}, time.process_time()
    for control, value in ((slider, 0.0), (slider, 1.0), (menu, "tan-9"), (radio, "more"), (slider, 0.25)):
        control.value = value
        seen.add(picture.value)
    assert len(seen) == 6 and (time.process_time() - start) / 5 < 0.1
    assert "tan-9, t = 0.25" in picture.value and 'role="img"' in picture.value and "nan" not in picture.value


def test_a_schedule_looks_alike_in_lesson_02_in_the_figure_and_in_the_live_picture():
    noise, names = mask_noise(MINI, 20, 5), [*lesson_02.SCHEDULES, "linear in alpha"]
    schedules = dict.fromkeys(names, Linear())
    there, _, _ = lesson_02.recoverable(load_results("recoverable_tokens"))
    here, _, _ = widgets_schedule.schedule_figure(schedules, noise, "masks")
    menu, _, _, picture = widgets_schedule.schedule_controls(schedules, {"masks": noise}).children
    looks, live = [], {}
    for figure in (there, here):
        lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
        looks.append({name: (lines[name].get_color(), lines[name].get_linestyle()) for name in lesson_02.SCHEDULES})
        lesson_02.plt.close(figure)
    for menu.value in names:
        look = re.search(r'stroke="(#\w+)" stroke-width="2.5" stroke-dasharray="([\w .]+)"', picture.value)
        live[menu.value] = look.groups()
    assert looks[0] == looks[1] and len(set(live.values())) == len(names)
    assert all(live[name][0] == colour for name, (colour, _) in looks[0].items())
    assert all((live[name][1] == "none") == (dashes == "-") for name, (_, dashes) in looks[0].items())


def test_the_schedule_explorer_shows_its_figure_first(shown):
    widgets_schedule.schedule_explorer({"masks": mask_noise(MINI, 20, 5)}, {"linear": Linear()})
    assert "image/png" in shown[0] and "linear, t = 0.50" in shown[1]["text/html"]
    assert type(shown[2]).__name__ == "VBox"
    with pytest.raises(ValueError, match="at least one kind"):
        widgets_schedule.schedule_explorer({})


# ---------------------------------------------------------------- cockpit

WAYS = usual_ways()
MODEL = MINI.denoiser(masked(2))


def films_of(*settings):
    return record_all(MODEL, settings or usual_settings(WAYS), WAYS, MINI.words.__getitem__, 4)


def test_a_sampler_hears_only_its_own_settings():
    assert heard(Setting("Star", 4, block=2, threshold=0.1), WAYS) == Setting("Star", 4)
    assert heard(Setting("threshold", 4, threshold=0.1), WAYS) == Setting("threshold", threshold=0.1)
    assert spelled(Setting("MDLM", 4, block=2), WAYS) == "MDLM, 4 steps, blocks of 2, temperature 1"
    with pytest.raises(ValueError, match="choose one of MDLM"):
        heard(Setting("magic"), WAYS)


def test_recordings_are_finished_texts_of_the_setting_and_unfold_without_a_kernel():
    films = films_of()
    assert len(films) == len(usual_settings(WAYS))
    assert all(site.id < 2 for film in films.values() for site in film.steps[-1].sites)
    assert films == films_of()
    html = recordings_html(films.values(), lambda film: "<fine>")
    assert html.count("<details>") == len(films) and "&lt;fine&gt;" in html and "<script" not in html


def test_the_cockpit_plays_recordings_records_others_and_says_when_it_cannot():
    films = films_of(Setting("MDLM", 4), Setting("Star", 8))
    judged = lambda film: "good"  # noqa: E731
    live = widgets_cockpit.cockpit_controls(films, WAYS, MINI.words.__getitem__, 4, None, judged)
    sampler, steps, block, temperature, threshold, picture = live.children
    assert 'role="alert"' in picture.value and "no model" in picture.value  # 8 steps of MDLM were not recorded
    steps.value = 4
    assert "MDLM, 4 steps, temperature 1" in picture.value and "good" in picture.value
    assert [part.disabled for part in (steps, block, temperature, threshold)] == [False, False, False, True]
    steps.value, sampler.value = 8, "Star"
    assert "Star, 8 steps" in picture.value and block.disabled
    asked = widgets_cockpit.cockpit_controls(films, WAYS, MINI.words.__getitem__, 4, MODEL)
    asked.children[0].value = "threshold"
    asked.children[4].value = 0.5
    assert "threshold 0.5" in asked.children[-1].value and 'role="alert"' not in asked.children[-1].value


def test_the_cockpit_shows_its_table_first(shown, monkeypatch):
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    with pytest.raises(ValueError, match="no model yet"):
        widgets_cockpit.sampler_cockpit(None, MINI.words.__getitem__, 4, WAYS)
    widgets_cockpit.sampler_cockpit(MODEL, MINI.words.__getitem__, 4, WAYS, [Setting("MDLM", 2)])
    assert len(shown) == 1 and "MDLM, 2 steps" in shown[0]["text/plain"] and "<details>" in shown[0]["text/html"]
