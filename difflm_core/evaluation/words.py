"""Words of a text for counting: cut at blanks and around each punctuation mark, case kept."""

from collections.abc import Sequence

from tokenizers.pre_tokenizers import BertPreTokenizer

_CUT = BertPreTokenizer()


def words(text: str) -> list[str]:
    """ "It's late." gives It ' s late and a full stop."""
    return [word for word, _ in _CUT.pre_tokenize_str(text)]


def ngrams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n words, in order; none where the text is shorter."""
    if n < 1:
        raise ValueError(f"n = {n}: an n-gram has one word or more.")
    return list(zip(*(text[i:] for i in range(n))))
