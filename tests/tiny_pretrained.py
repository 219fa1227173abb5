"""Stand-ins for pretrained networks: the same classes from tiny configurations, with random weights and a few words."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from difflm_core.models.frozen import Encoder, Judge

WORDS = "the a fox dog cat hops sleeps sees over under quick lazy brown and . ,".split()
SIZES = {"vocab_size": len(WORDS) + 5, "max_position_embeddings": 24}


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """[PAD] [CLS] [SEP] [UNK] [MASK], then the words; each text becomes [CLS] ... [SEP]."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), special))
    return PreTrainedTokenizerFast(tokenizer_object=words, **names)


def gpt_tokenizer(end: str = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """`end`, a chat turn's begin, and the words; no signs around a text."""
    vocabulary = {w: i for i, w in enumerate([end, "<|im_start|>", "[UNK]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<|im_start|>", unk_token="[UNK]")


def bert(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return _wake(BertModel(BertConfig(**SIZES, **sizes)))


def bart(seed: int = 0) -> BartModel:
    torch.manual_seed(seed)
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    return _wake(BartModel(BartConfig(**SIZES, d_model=16, encoder_layers=1, decoder_layers=1, **heads)))


def llama(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return _wake(LlamaForCausalLM(LlamaConfig(**SIZES, **sizes)))


def gpt2(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    return _wake(
        GPT2LMHeadModel(GPT2Config(vocab_size=SIZES["vocab_size"], n_positions=24, n_embd=16, n_layer=2, n_head=2))
    )


def tiny_encoder(seed: int = 0) -> Encoder:
    return Encoder(f"tiny-bert-{seed}", bert(seed), bert_tokenizer())


def tiny_judge(seed: int = 0) -> Judge:
    return Judge(f"tiny-llama-{seed}", llama(seed), gpt_tokenizer(), start=0)


def _wake(model):
    """Random weights of a size at which inputs matter; the default ones barely move the output."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    return model.requires_grad_(False).eval()
