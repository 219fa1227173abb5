"""The toy language: twelve-word sentences of which every probability is known.

    the great brown fox hops over the lazy dog in brown boots
    every brown fox hops over the lazy dog with its brown cub
    the great brown foxes hop over a dog near their brown den

Three rules hold over a distance: determiner, noun, verb and its/their agree with the subject's number; the object's
determiner and noun agree in their own number; the colour near the end repeats the subject's colour. A model that draws
words without looking at each other breaks them, and `broken_rules` counts which.

To add a word, write it into a list below. Earlier words are more frequent (1 / rank). Words that may follow "a"
(adjectives, colours, singular nouns) begin with a consonant.
"""

from functools import cache

from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.oracle import grammar_rules
from difflm_core.oracle.hmm import HiddenMarkovLanguage
from difflm_core.oracle.slot_grammar import Grammar, Slot, build_language, zipf


def one_many(pairs: str) -> dict[str, list[str]]:
    """ "fox/foxes dog/dogs" -> {"one": ["fox", "dog"], "many": ["foxes", "dogs"]}"""
    one, many = zip(*(pair.split("/") for pair in pairs.split()))
    return {"one": list(one), "many": list(many)}


DETERMINERS = {"one": ["the", "a", "this", "every", "that"], "many": ["the", "some", "these", "many", "those"]}
ADJECTIVES = "great lazy quick small happy hungry clever brave sleepy young gentle proud shy wild".split()
COLOURS = "brown black white grey red golden blue green".split()
NOUNS = one_many(
    "fox/foxes dog/dogs cat/cats bear/bears wolf/wolves horse/horses rabbit/rabbits mouse/mice "
    "duck/ducks goat/goats lion/lions crow/crows tiger/tigers badger/badgers hen/hens pig/pigs"
)
VERBS = one_many(
    "hops/hop jumps/jump runs/run leaps/leap walks/walk trots/trot "
    "sneaks/sneak dances/dance races/race wanders/wander tumbles/tumble skips/skip"
)
PREPOSITIONS = "over under past around behind towards beside".split()
LINKS = "with near without".split()
POSSESSIVES = one_many("its/their")
COMPANIONS = "cub friend den brother twin mother shadow sister".split()
CLOTHES = "boots socks gloves shoes mittens trousers".split()

FEATURES = {
    "subject number": {"one": 0.6, "many": 0.4},
    "object number": {"one": 0.6, "many": 0.4},
    "colour": zipf(COLOURS),
}

DET, NOUN, VERB, POSS = (Slot(words, "subject number") for words in (DETERMINERS, NOUNS, VERBS, POSSESSIVES))
ODET, ONOUN = (Slot(words, "object number") for words in (DETERMINERS, NOUNS))
COLOUR = Slot({colour: [colour] for colour in COLOURS}, "colour")
ADJ, PREP, LINK, COMPANION, CLOTHING, IN = (
    Slot({"": words}) for words in (ADJECTIVES, PREPOSITIONS, LINKS, COMPANIONS, CLOTHES, ["in"])
)

SHAPES = [
    (0.4, [DET, COLOUR, NOUN, VERB, PREP, ODET, ADJ, ONOUN, LINK, POSS, COLOUR, COMPANION]),
    (0.3, [DET, ADJ, COLOUR, NOUN, VERB, PREP, ODET, ONOUN, LINK, POSS, COLOUR, COMPANION]),
    (0.3, [DET, ADJ, COLOUR, NOUN, VERB, PREP, ODET, ADJ, ONOUN, IN, COLOUR, CLOTHING]),
]

GRAMMAR = Grammar(SHAPES, FEATURES)


@cache
def toy_language() -> HiddenMarkovLanguage:
    """The toy language as an exact hidden Markov language: length 12, built once and shared."""
    return build_language(GRAMMAR)


def broken_rules(language: HiddenMarkovLanguage, x: Int[Tensor, "B 12"]) -> dict[str, Bool[Tensor, "B"]]:
    """For each sentence, whether it breaks the word order, the subject's number, the object's number, the colour.

    A sentence is grammatical exactly if it breaks none. Raises ValueError for another language or another length.
    """
    if language.words != GRAMMAR.words:
        raise ValueError("These are the rules of toy_language(); for others use oracle.broken_rules(grammar, x).")
    return grammar_rules.broken_rules(GRAMMAR, x)
