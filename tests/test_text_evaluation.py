"""Judging, counting and looking up texts, by hand; and the table that always has its two known rows."""

import math

import pytest
import torch
from tiny_pretrained import WORDS, tiny_encoder, tiny_judge

from difflm_core.evaluation import distinct_n
from difflm_core.evaluation.diversity import (
    distinct_in_texts,
    diversity,
    length_histogram,
    repeated,
    word_counts,
)
from difflm_core.evaluation.judge import encoder_features, judge_features, judge_texts
from difflm_core.evaluation.memorisation import TrainingTexts
from difflm_core.evaluation.text_report import shuffle_words, text_report
from difflm_core.evaluation.words import ngrams, words


def some_texts(count, seed=0, shortest=3):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, 12, (count,), generator=generator).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(len(WORDS), (n,), generator=generator)) for n in lengths]


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_and_runs_of_them():
    assert words("It's late,\n  Ana.") == ["It", "'", "s", "late", ",", "Ana", "."] and words(" ") == []
    assert ngrams("a b c".split(), 2) == [("a", "b"), ("b", "c")] and ngrams(["a"], 2) == []
    with pytest.raises(ValueError, match="n = 0"):
        ngrams(["a"], 0)


def test_distinct_and_diversity_by_hand():
    texts = ["a b a b a", "a b c", "never looked at"]
    assert distinct_in_texts(texts, 1, 2) == 3 / 8
    assert distinct_in_texts(texts, 2, 2) == 3 / 6  # ab ba ab ba | ab bc
    assert distinct_in_texts(texts, 3, 2) == 3 / 4  # aba bab aba | abc
    assert distinct_in_texts(texts, 4, 2) == 2 / 2
    assert diversity(texts, 2) == pytest.approx(3 / 6 * 3 / 4)
    assert math.isnan(distinct_in_texts(texts, 6, 2)) and math.isnan(diversity(["a b c"], 1))


def test_distinct_agrees_with_that_of_ids():
    ids = torch.randint(9, (30, 7), generator=torch.Generator().manual_seed(0))
    texts = [" ".join(map(str, row)) for row in ids.tolist()]
    for n in (1, 2, 3, 4):
        assert distinct_in_texts(texts, n, 30) == distinct_n(ids, n)


def test_figures_of_unequal_counts_cannot_be_had_by_accident():
    texts = some_texts(20)
    assert diversity(texts, 10) > diversity(texts, 20)  # the same source: only the count differs
    for figure in (diversity, repeated, lambda t, samples: distinct_in_texts(t, 1, samples)):
        with pytest.raises(ValueError, match="20 texts, 21 asked for"):
            figure(texts, 21)
        with pytest.raises(ValueError, match="20 texts, 0 asked for"):
            figure(texts, 0)


def test_repeats_and_lengths():
    texts = ["the fox.", "the  fox .", "a fox.", "", "the fox."]
    assert repeated(texts, 5) == pytest.approx(2 / 5) and repeated(texts, 1) == 0
    assert word_counts(texts).tolist() == [3, 3, 3, 0, 3] and word_counts([]).tolist() == []
    assert length_histogram([*texts, "a b c d e f"], 4).tolist() == [1, 0, 0, 4, 1]
    with pytest.raises(ValueError, match="longest = 0"):
        length_histogram(texts, 0)


# --- memorisation -----------------------------------------------------------------------------------------------------


def test_memorised_by_hand():
    training = TrainingTexts(["a b c d e", "f g"])
    assert training.memorised(["a b c d x", "a b c d e"]) == pytest.approx(3 / 4)  # abcd bcdx | abcd bcde
    assert training.memorised(["a b c d a b c d"]) == pytest.approx(2 / 5)  # repeats count
    assert training.memorised(["e f g x"]) == 0  # runs do not cross from one training text to the next
    assert math.isnan(training.memorised(["a b c"]))
    assert training.copied(["f g", "f  g", "a b c d", "g f"]) == 2 / 4
    assert TrainingTexts(["a b c"], n=2).memorised(["a b x"]) == 1 / 2


def test_training_texts_remember_themselves_and_need_some():
    texts = some_texts(50, shortest=4)
    training = TrainingTexts(iter(texts))
    assert training.memorised(texts) == training.copied(texts) == 1
    with pytest.raises(ValueError, match="no training texts"):
        TrainingTexts([])
    with pytest.raises(ValueError, match="no texts to look up"):
        training.copied([])


# --- the judge --------------------------------------------------------------------------------------------------------


def test_perplexity_and_entropy_by_hand():
    judge = tiny_judge()
    texts = ["the fox hops .", "", "the the the the", "a dog"]
    judged = judge_texts(judge, texts, batch_size=2)
    single = [judge.nll(*judge.tokenise([text])).sum().item() for text in texts]
    assert judged.nll.tolist() == pytest.approx(single, abs=1e-4) and judged.tokens.tolist() == [4, 0, 4, 2]
    assert judged.perplexity == pytest.approx(math.exp(sum(single) / 10), rel=1e-5)
    expected = [math.exp(single[i] / n) for i, n in ((0, 4), (2, 4), (3, 2))]
    assert judged.perplexities.tolist() == pytest.approx(expected, rel=1e-5)
    assert judged.entropies.tolist() == pytest.approx([math.log(4), 0, 0, math.log(2)])
    assert judged.entropy == pytest.approx((math.log(4) + math.log(2)) / 3) and judged.empty == 0.25


def test_batches_do_not_change_the_answers(capsys):
    judge, encoder, texts = tiny_judge(), tiny_encoder(), some_texts(20)
    for ask in (
        lambda size: judge_texts(judge, texts, batch_size=size).nll,
        lambda size: judge_features(judge, texts, batch_size=size),
        lambda size: encoder_features(encoder, texts, 16, batch_size=size),
    ):
        torch.testing.assert_close(ask(1), ask(7), atol=1e-4, rtol=0)
    judge_texts(judge, texts, progress=True)
    assert "reading with tiny-llama-0" in capsys.readouterr().err


def test_only_the_first_tokens_count():
    judge = tiny_judge()
    cut, short = judge_texts(judge, ["the fox hops over"], length=2), judge_texts(judge, ["the fox"])
    assert cut.nll.item() == pytest.approx(short.nll.item()) and cut.tokens.item() == 2


def test_features_are_last_states_and_means():
    judge, encoder, texts = tiny_judge(), tiny_encoder(), some_texts(5)
    features = judge_features(judge, texts)
    for i, text in enumerate(texts):
        torch.testing.assert_close(features[i], judge.last_state(*judge.tokenise([text]))[0], atol=1e-5, rtol=0)
        row = encoder.tokenizer(text, return_tensors="pt")["input_ids"]
        mean = encoder.model(row).last_hidden_state[0].mean(0)
        torch.testing.assert_close(encoder_features(encoder, texts, 16)[i], mean, atol=1e-5, rtol=0)


def test_nothing_to_judge_is_said():
    for texts in ([], ["", " "]):
        with pytest.raises(ValueError, match=f"nothing to judge: {len(texts)} texts"):
            judge_texts(tiny_judge(), texts)


# --- the table --------------------------------------------------------------------------------------------------------


def make_report(systems, human=None, samples=30, seed=0):
    judge = tiny_judge()
    human = some_texts(80, 1) if human is None else human
    training = TrainingTexts(some_texts(200, 2))
    generator = torch.Generator().manual_seed(seed)
    return text_report(systems, human, training, judge, lambda t: judge_features(judge, t), samples, generator)


def test_the_two_known_rows_are_always_there():
    report = make_report({})
    human, shuffled = report.rows
    assert (human.name, shuffled.name, report.samples, report.judge) == ("human", "shuffled words", 30, "tiny-llama-0")
    # what shuffling cannot change, and what it does
    assert shuffled.distinct_1 == human.distinct_1 and sorted(shuffled.words) == sorted(human.words)
    assert shuffled.entropy == pytest.approx(human.entropy) and len(human.words) == 30
    assert shuffled.perplexity != human.perplexity and human.repeated == human.copied == human.empty == 0


def test_every_row_by_the_functions_it_is_made_of():
    mine = ["the fox sees the dog .", *some_texts(29, 3)]
    report = make_report({"mine": mine, "the the": ["the the the the the ."] * 40})
    row, dull = report.rows[2:]
    judged = judge_texts(tiny_judge(), mine)
    assert row.perplexity == pytest.approx(judged.perplexity, rel=1e-5)
    assert row.entropy == pytest.approx(judged.entropy) and row.diversity == diversity(mine, 30)
    assert row.memorised == TrainingTexts(some_texts(200, 2)).memorised(mine) and row.distinct_1 < 0.2
    assert row.length == pytest.approx(word_counts(mine).double().mean().item())
    assert dull.repeated == 29 / 30 and dull.entropy < row.entropy and dull.mauve < report.rows[0].mauve
    assert dull.diversity < 0.01 < row.diversity


def test_rows_do_not_depend_on_each_other_and_the_seed_decides():
    mine, other = some_texts(50, 3), some_texts(50, 4)
    alone, together, again = make_report({"mine": mine}), make_report({"other": other, "mine": mine}), None
    again = make_report({"mine": mine}, seed=1)
    assert alone.rows[:2] == together.rows[:2] and alone.rows[2] == together.rows[3] != again.rows[2]


def test_the_human_row_is_not_its_own_reference():
    asked, human = [], some_texts(80, 1)

    def features(texts):
        asked.append(texts)
        return judge_features(tiny_judge(), texts)

    text_report({}, human, TrainingTexts(["a"]), tiny_judge(), features, 30, torch.Generator().manual_seed(0))
    reference, row, shuffled = asked
    assert len(set(reference)) == len(set(row)) == 30 and not set(reference) & set(row)
    assert set(reference) | set(row) <= set(human) and reference != human[:30]
    assert [sorted(text.split()) for text in shuffled] == [sorted(text.split()) for text in row]


def test_the_table_can_be_read():
    report = make_report({"mine": [*some_texts(29, 3), ""]})
    lines = str(report).splitlines()
    assert lines[0].split() == "judge ppl entropy distinct-1 diversity repeated memorised copied MAUVE words".split()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["human", "shuffled words", "mine"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4:] == ["30 texts a row; judge: tiny-llama-0", "mine: 3.3% of its texts are empty"]


def test_unfit_systems_are_named():
    with pytest.raises(ValueError, match="59 human texts: rows of 30 need 60"):
        make_report({}, human=some_texts(59))
    with pytest.raises(ValueError, match="mine: 29 texts, 30 asked for"):
        make_report({"mine": some_texts(29)})
    with pytest.raises(ValueError, match="mute: There is nothing to judge"):
        make_report({"mute": [""] * 30})
    with pytest.raises(ValueError, match="'human' is that of a row which is always there"):
        make_report({"human": some_texts(30)})


def test_shuffling_keeps_the_words():
    texts = some_texts(10)
    shuffled = shuffle_words(texts, torch.Generator().manual_seed(0))
    assert shuffled != texts and [sorted(t.split()) for t in shuffled] == [sorted(t.split()) for t in texts]
    assert shuffle_words(["", "one"]) == ["", "one"]
