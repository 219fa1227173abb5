"""Recorded trajectories: all samplers that record, the JSON format, what it refuses, and the four ways to show one."""

import io
import json

import pytest
import torch
from PIL import Image

from difflm_core.classroom.films import (
    FILM_ROWS,
    animated,
    chosen_steps,
    filmstrip,
    html_table,
    step_html,
    text_table,
    words_of,
)
from difflm_core.classroom.recordings import from_sample, from_states
from difflm_core.classroom.sentences import CHANGED, MASKED, NEW, TAKEN
from difflm_core.classroom.trajectories import CHANGED as CHANGED_SITE
from difflm_core.classroom.trajectories import KEPT, REMASKED, WRITTEN, from_json, load, save, to_json
from difflm_core.models import BlockConfig, BlockTransformer, Transformer, TransformerConfig
from difflm_core.processes import hybrid, uniform
from difflm_core.samplers import (
    ancestral,
    confidence,
    first_hitting,
    random_remask,
    sample_ar,
    sample_blocks,
    sample_discrete,
    sample_entropy_bound,
    sample_in_order,
    sample_masked,
    sample_remasking,
    self_correct,
    star,
    surest,
)

V, L, B = 6, 8, 3
WORDS = ["the", "<fox>", "jumps", "over", "a", "dog"]
word = WORDS.__getitem__


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(causal=False):
    torch.manual_seed(1)
    model = Transformer(TransformerConfig(V=V, length=L, layers=1, width=16, heads=2, causal=causal)).eval()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model


def block_network():
    torch.manual_seed(1)
    return BlockTransformer(BlockConfig(V, L, 16, 1, 2, block_size=4)).eval()


NET, SHAPE = network(), (B, L)
SAMPLERS = {
    "masked": lambda g: sample_masked(NET, ancestral(4), SHAPE, generator=g, record=True),
    "first hitting": lambda g: sample_masked(NET, first_hitting(), SHAPE, generator=g, record=True),
    "confidence": lambda g: sample_masked(NET, confidence(3), SHAPE, generator=g, record=True),
    "star": lambda g: sample_remasking(NET, star(), 5, SHAPE, generator=g, record=True),
    "guided": lambda g: sample_remasking(NET, random_remask(1.0), 4, SHAPE, generator=g, record=True),
    "uniform": lambda g: sample_discrete(uniform(V), NET, 5, SHAPE, generator=g, record=True),
    "hybrid": lambda g: sample_discrete(hybrid(V, 0.3), NET, 5, SHAPE, generator=g, record=True),
    "in order": lambda g: sample_in_order(NET, surest(2), SHAPE, generator=g, record=True),
    "entropy bound": lambda g: sample_entropy_bound(uniform(V), NET, SHAPE, 1.0, 6, generator=g, record=True),
    "ar": lambda g: sample_ar(network(causal=True), SHAPE, generator=g, record=True),
    "blocks": lambda g: sample_blocks(block_network(), surest(1), SHAPE, generator=g, record=True),
    "self-correction": lambda g: self_correct(
        NET, torch.randint(V, SHAPE, generator=seeded(2)), 6, temperature=1.0, generator=g, record=True
    ),
}


def film_of(name="star", row=0):
    return from_sample(SAMPLERS[name](seeded()), row, word, V, name)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_that_records_gives_all_fields_and_its_own_result(name):
    sample = SAMPLERS[name](seeded())
    for row in range(B):
        film = from_sample(sample, row, word, V, name)
        assert [site.id for site in film.steps[-1].sites] == sample.tokens[row].tolist()
        assert film.records() == {"probability": True, "entropy": True, "calls": True}
        assert [step.number for step in film.steps] == list(range(len(film.steps)))
        calls = [step.calls for step in film.steps]
        assert calls[0] == 0 and calls == sorted(calls) and calls[-1] <= int(sample.network_calls[row])
        if name != "self-correction":  # whose last call only looks
            assert calls[-1] == int(sample.network_calls[row])


@pytest.mark.parametrize("name", SAMPLERS)
def test_changes_are_what_the_tokens_say_and_written_tokens_have_a_probability(name):
    film = film_of(name)
    for before, now in zip(film.steps, film.steps[1:]):
        for old, new in zip(before.sites, now.sites):
            expected = {(True, True): KEPT, (False, False): KEPT if old.id == new.id else CHANGED_SITE,
                        (True, False): WRITTEN, (False, True): REMASKED}[old.id == V, new.id == V]  # fmt: skip
            assert new.change == expected and new.token == ("▢" if new.id == V else WORDS[new.id])
            if new.change == WRITTEN and now.t > 0:
                assert 0 < new.probability <= 1 and 0 <= new.entropy <= torch.tensor(V).log() + 1e-5
            if new.change == REMASKED:
                assert new.probability is None and new.entropy is None


def test_recording_changes_nothing_in_what_in_order_draws():
    plain = sample_in_order(NET, surest(2), SHAPE, generator=seeded())
    assert plain.trajectory is None and torch.equal(plain.tokens, SAMPLERS["in order"](seeded()).tokens)


def test_a_saved_trajectory_comes_back_equal(tmp_path):
    film = film_of()
    path = save(film, tmp_path / "deep" / "film.json")
    assert load(path, WORDS) == film and not list(path.parent.glob("*.part"))
    assert json.loads(path.read_text())["records"] == {"probability": True, "entropy": True, "calls": True}


def test_states_of_vectors_have_no_probabilities_and_say_so():
    states = torch.tensor([[0, 1, 2], [0, 3, 2], [4, 3, 2]])
    film = from_states(states, word, V, (1.0, 0.5, 0.0), title="latents")
    assert film.records() == {"probability": False, "entropy": False, "calls": False}
    assert [s.change for s in film.steps[1].sites] == [KEPT, CHANGED_SITE, KEPT]
    data = to_json(film)
    assert "calls" not in data["steps"][0] and "probability" not in data["steps"][1]["sites"][1]
    assert from_json(data, WORDS) == film
    with pytest.raises(ValueError, match="a time"):
        from_states(states, word, V, (1.0, 0.5))
    with pytest.raises(ValueError, match="the states of one text"):
        from_states(states[None], word, V, (1.0,))


def broken(change):
    data = to_json(film_of())
    change(data)
    return data


def drop_position(data):
    del data["steps"][1]["sites"][2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=2), "version 2 and this code reads version 1"),
        (lambda d: d.update(format="something"), "no recorded trajectory"),
        (lambda d: d.pop("steps"), "damaged"),
        (lambda d: d.update(steps=[]), "empty"),
        (lambda d: d["steps"][1]["sites"][0].pop("id"), "damaged"),
        (drop_position, "positions of step 1"),
        (lambda d: d["steps"][1]["sites"].pop(), "Step 1 has 7 positions but step 0 has 8"),
        (lambda d: d["steps"][1]["sites"][0].update(id=V + 1), "must lie in 0..6"),
        (lambda d: d["steps"][1]["sites"][0].update(change="moved"), "one of kept, written, changed, remasked"),
        (lambda d: d["vocabulary"].update(fingerprint="0" * 16), "another vocabulary"),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        from_json(broken(change), WORDS)


def test_other_vocabularies_files_that_are_none_and_rows_that_are_not_there(tmp_path):
    path = save(film_of(), tmp_path / "film.json")
    with pytest.raises(ValueError, match="another vocabulary"):
        load(path, [*WORDS[:-1], "cat"])
    path.write_text(path.read_text()[:200])
    with pytest.raises(ValueError, match="only a part"):
        load(path)
    with pytest.raises(FileNotFoundError, match="record one"):
        load(tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="no row 3"):
        from_sample(SAMPLERS["masked"](seeded()), 3, word, V)
    with pytest.raises(ValueError, match="record=True"):
        from_sample(sample_masked(NET, ancestral(2), SHAPE, generator=seeded()), 0, word, V)


def test_marks_show_what_was_written_changed_and_taken_back():
    states = torch.tensor([[V, V, 2], [0, 1, 2], [V, 4, 2]])
    film = from_states(states, word, V, (1, 0.5, 0))
    assert [w.mark for w in words_of(film, 0)][:2] == [MASKED, MASKED]
    assert [w.mark for w in words_of(film, 1)][:2] == [NEW, NEW]
    assert [w.mark for w in words_of(film, 2)][:2] == [TAKEN, CHANGED] and words_of(film, 2)[0].text == "the"


def test_text_and_html_say_the_same_and_escape():
    film = film_of("star")
    text, html = text_table(film), html_table(film)
    for step in film.steps:
        assert f"step {step.number}, t = {step.t:.2f}, {step.calls} call" in text
    assert html.count('<th scope="row"') == len(film.steps) and "<fox>" not in html and "&lt;fox&gt;" in html
    assert "taken back: " in text and "p = " in text and " nats" in text and "taken back" in html
    page = step_html(film, len(film.steps) - 1)
    assert 'role="status"' in page and "probability" in page and "<fox>" not in page


def test_the_filmstrip_has_a_row_for_each_step_and_says_what_is_left_out():
    film = film_of()
    figure, alt, words = filmstrip(film)
    assert len(figure.axes[0].get_yticklabels()) == len(film.steps)
    assert "8 of 8 masked" in alt and WORDS[film.steps[-1].sites[0].id] in alt and words == text_table(film)
    long = from_states(torch.zeros(40, 20, dtype=torch.long), word, V, [1 - k / 40 for k in range(40)], title="long")
    figure, alt, _ = filmstrip(long)
    assert "first 16 of 20 positions" in "".join(figure.axes[0].get_title(loc=loc) for loc in ("left", "center"))
    assert chosen_steps(long)[0] == 0 and chosen_steps(long)[-1] == 39 and len(chosen_steps(long)) == FILM_ROWS


def test_the_animation_is_the_same_every_time_and_waits_for_the_longest():
    states = torch.tensor([[V, V, 2], [0, V, 2], [0, 1, 2]])
    films = [from_states(states[:2], word, V, (1, 0)), from_states(states, word, V, (1, 0.5, 0), calls=(0, 1, 2))]
    data = animated(films)
    assert data == animated(films) and Image.open(io.BytesIO(data)).n_frames == 3
    with pytest.raises(ValueError, match="at least one"):
        animated([])
