"""Are the texts learned by heart? Their 4-grams, and they themselves, looked up in the training texts.

New human text shares many 4-grams with any corpus: the figure means something only beside that of held-out human text.
Lower is not better; above the human row is suspicious.
"""

import math
from collections.abc import Iterable, Sequence

from tqdm.auto import tqdm

from difflm_core.evaluation.words import ngrams, words


class TrainingTexts:
    """What can be looked up: the n-grams of the training texts, and the texts. About 60 bytes per word of training."""

    def __init__(self, texts: Iterable[str], n: int = 4, progress: bool = False):
        self.n = n
        self.grams: set[int] = set()  # 64-bit hashes: two of a billion n-grams meet with probability 1e-10
        self.whole: set[int] = set()
        for text in tqdm(texts, desc=f"indexing {n}-grams", unit="text", disable=not progress):
            cut = words(text)
            self.grams.update(map(hash, ngrams(cut, n)))
            self.whole.add(hash(tuple(cut)))
        if not self.whole:
            raise ValueError("There are no training texts to look anything up in: give the texts the model saw.")

    def memorised(self, texts: Sequence[str]) -> float:
        """Share of all n-grams of `texts`, repeats counted, that occur in training ("Mem" of LD4LG and TEncDM for
        n = 4). NaN where no text has n words.
        """
        grams = [hash(gram) for text in texts for gram in ngrams(words(text), self.n)]
        return sum(gram in self.grams for gram in grams) / len(grams) if grams else math.nan

    def copied(self, texts: Sequence[str]) -> float:
        """Share of `texts` that are a training text, word for word."""
        if not len(texts):
            raise ValueError("There are no texts to look up.")
        return sum(hash(tuple(words(text))) in self.whole for text in texts) / len(texts)
