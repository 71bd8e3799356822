"""Tiny encoders of every family on disk, with jittered weights: a lost bias or norm shows."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedTokenizerFast

DEPTH = 5
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NUMBERS = ["एक", "दोन", "तीन", "चार", "पाच", "सहा", "सात", "आठ", "नऊ", "दहा"]
WORDS = [*SPECIAL, *NUMBERS]

_SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_RELATIVE = {
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "max_relative_positions": 8,
}

# What each family needs beyond the common sizes. Traps on purpose: DeBERTa-v2's convolution after
# layer 0, MobileBERT's inner list as long as the outer one, ModernBERT's two kinds of layers.
FAMILIES = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "electra": {"embedding_size": 12},
    "distilbert": {
        "dim": 16,
        "n_heads": 2,
        "hidden_dim": 24,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "deberta": _RELATIVE,
    "deberta-v2": {**_RELATIVE, "conv_kernel_size": 3, "conv_act": "gelu", "position_buckets": 4},
    "mpnet": {},
    "rembert": {"input_embedding_size": 12, "output_embedding_size": 12},
    "ernie": {"use_task_id": True},
    "megatron-bert": {},
    "convbert": {"embedding_size": 12, "head_ratio": 2, "conv_kernel_size": 3},
    "mobilebert": {
        "embedding_size": 12,
        "intra_bottleneck_size": 16,
        "true_hidden_size": 16,
        "num_feedforward_networks": DEPTH + 1,
    },
    "roformer": {"embedding_size": 12},
    "nomic_bert": {"rotary_emb_fraction": 1.0},
    "modernbert": {
        "global_attn_every_n_layers": 2,
        "local_attention": 4,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
    },
}

# Further families whose text models count positions from the padding on, or in windows.
MORE_FAMILIES = {
    "roberta-prelayernorm": {},
    "data2vec-text": {},
    "xmod": {"languages": ["mr_IN"], "default_language": "mr_IN"},
    "xlm-roberta-xl": {},
    "longformer": {"attention_window": [4] * DEPTH},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "esm": {"mask_token_id": 4, "position_embedding_type": "absolute"},
    "big_bird": {"attention_type": "original_full"},
    "fnet": {},
    "nystromformer": {},
    "layoutlm": {},
    "eurobert": {"bos_token_id": 2, "eos_token_id": 3, "mask_token_id": 4},
}


def jitter_(model, scale=0.1):
    """Add noise to every parameter of `model` in place."""
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=noise))


def tiny_tokenizer():
    """Return a word-level tokenizer that knows ten Marathi words."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def save_model(family, folder, **sizes):
    """Save a tiny pre-trained model of a family, its tokenizer beside it; return `folder`."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, **{**_SIZES, **{**FAMILIES, **MORE_FAMILIES}.get(family, {}), **sizes}
    )
    model = AutoModelForMaskedLM.from_config(config)
    jitter_(model)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
