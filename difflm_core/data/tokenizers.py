"""Text to token ids and back: characters, words, or byte-level BPE, all as Hugging Face `tokenizers.Tokenizer` objects.

A tokenizer has V tokens, 0 to V - 1. The id V is the mask of this course: no token, it stands for "not known", and is
shown as one sign in text. Save and load with the library's own `tokenizer.save(path)` and `Tokenizer.from_file(path)`.
Our tokenizers know no "unknown" token: text they cannot express is an error, never silently another text.
"""

import difflib
import itertools
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

END_OF_TEXT = "<|endoftext|>"
MASK = "▢"


def character_tokenizer(texts: str | Iterable[str]) -> Tokenizer:
    """One token per distinct character of `texts`, in code-point order; case and line breaks are kept."""
    characters = sorted(set().union(*([texts] if isinstance(texts, str) else texts)))
    if len(characters) < 2:
        raise ValueError(f"The texts hold {len(characters)} distinct characters {characters}: give text to learn from.")
    tokenizer = Tokenizer(models.WordLevel({character: i for i, character in enumerate(characters)}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Token i is `words[i]`, case kept; text is cut at white space and decoded with single blanks between words."""
    vocabulary = {word: i for i, word in enumerate(words)}
    if len(vocabulary) < 2 or len(vocabulary) < len(words):
        raise ValueError(f"{len(words)} words, {len(vocabulary)} of them distinct: give two or more words, each once.")
    if odd := [word for word in vocabulary if word.split() != [word]]:
        raise ValueError(f"{odd[0]!r} is not one word: words must be non-empty and free of white space.")
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def bpe_tokenizer(texts: str | Iterable[str], V: int) -> Tokenizer:
    """Byte-level byte-pair encoding with exactly V tokens, trained on `texts` (the same texts give the same tokenizer).

    Token 0 is END_OF_TEXT and 256 more are the single bytes, so any text can be encoded and V must be 257 or more.
    Source: Sennrich et al., "Neural machine translation of rare words with subword units"; byte alphabet as in GPT-2.
    """
    if V < 257:
        raise ValueError(f"V = {V}: byte-level BPE needs 257 tokens or more (256 bytes and {END_OF_TEXT}).")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=V, special_tokens=[END_OF_TEXT], initial_alphabet=bytes_, show_progress=False
    )
    tokenizer.train_from_iterator([texts] if isinstance(texts, str) else texts, trainer)
    if (found := tokenizer.get_vocab_size()) < V:
        raise ValueError(f"The texts allow only {found} tokens, not {V}: give more text or a smaller V.")
    return tokenizer


def encode(tokenizer: Tokenizer, text: str, mask: str | None = MASK) -> Int[Tensor, "L"]:
    """Token ids of `text`; each `mask` sign in it becomes the mask id V (None: the sign is text like any other).

    Raises ValueError for text outside the vocabulary: it names the first such character or word and where it stands.
    """
    if mask is None or mask not in text or tokenizer.token_to_id(mask) is not None:
        return torch.tensor(_ids(tokenizer, text), dtype=torch.long)
    ids: list[int] = []
    start = 0
    for part in text.split(mask):
        if start:
            ids.append(tokenizer.get_vocab_size())
        ids += _ids(tokenizer, part, start)
        start += len(part) + len(mask)
    return torch.tensor(ids, dtype=torch.long)


def decode(tokenizer: Tokenizer, ids: Int[Tensor, "L"] | Sequence[int], mask: str = MASK) -> str:
    """The text of one sequence of ids; the mask id V is shown as `mask`. Raises ValueError for an id outside 0 to V."""
    V = tokenizer.get_vocab_size()
    ids = torch.as_tensor(ids, dtype=torch.long)
    if ids.ndim != 1:
        raise ValueError(f"decode takes one sequence of shape (L,), got {tuple(ids.shape)}: decode row by row.")
    for position, token in enumerate(ids.tolist()):
        if not 0 <= token <= V:
            raise ValueError(f"Token id {token} at position {position} is outside 0 to {V} (V = {V}, mask = {V}).")
    pieces: list[str] = []
    for masked, group in itertools.groupby(ids.tolist(), key=lambda token: token == V):
        run = list(group)
        pieces += [mask] * len(run) if masked else [tokenizer.decode(run, skip_special_tokens=False)]
    return ("" if tokenizer.decoder is not None else " ").join(pieces)  # word tokenizers have no decoder


def separator_id(tokenizer: Tokenizer) -> int | None:
    """The token that ends a document: END_OF_TEXT if the tokenizer has it, else a line break, else None."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    return tokenizer.token_to_id("\n") if end is None else end


def explain_unknown(tokenizer: Tokenizer, text: str, start: int = 0) -> str | None:
    """A sentence on the first character or word of `text` outside the vocabulary, None if there is none."""
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str(text) if tokenizer.pre_tokenizer else []
    for i, (piece, (at, _)) in enumerate(pieces):
        if tokenizer.token_to_id(piece) is not None:
            continue
        V = tokenizer.get_vocab_size()
        if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.Split):
            return f"Character {piece!r} at position {start + at} is not among the {V} characters of this tokenizer."
        near = ", ".join(map(repr, difflib.get_close_matches(piece, tokenizer.get_vocab())))
        hint = f"nearest known words: {near}." if near else "no known word is near it."
        where = f"(word {i + 1}, position {start + at})"
        return f"Word {piece!r} {where} is not among the {V} words of this tokenizer; {hint}"
    return None


def _ids(tokenizer: Tokenizer, text: str, start: int = 0) -> list[int]:
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    except Exception as error:  # the library raises a bare Exception here
        raise ValueError(explain_unknown(tokenizer, text, start) or f"Text cannot be encoded: {error}") from error
