"""Model card of a pre-trained encoder, and its folder with weights, tokenizer and card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.export.base_model import CARD_FILE, OWN_METADATA
from autoprune.export.export import save_model
from autoprune.reporting.markdown import (
    code_block,
    escape_markdown,
    markdown_table,
    single_line,
)


@dataclass(frozen=True, slots=True)
class PretrainingDetails:
    """How a pre-trained encoder was made.

    `files` are the corpus, `texts` its size, of which `corpus_tokens` tokens are for training.
    `tokens_seen` counts a token each time it was seen, in blocks of `tokens`. `perplexity` is of
    `held_out_tokens` masked tokens in held-out texts. `warm_embeddings` is true if the embeddings
    began from counts; `stacked_at` is the share of the training after which the layers were
    stacked, None if they were not.
    """

    name: str
    files: Sequence[str]
    texts: int
    corpus_tokens: int
    tokens_seen: int
    tokens: int
    steps: int
    batch: int
    learning_rate: float
    masked: float
    seed: int
    warm_embeddings: bool
    stacked_at: float | None
    tokenizer: str
    seconds: float
    device: str
    perplexity: float
    held_out_tokens: int
    command: str


def write_pretrained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    details: PretrainingDetails,
    folder: Path,
) -> None:
    """Write model, tokenizer and card to `folder`; plain transformers loads them."""
    save_model(model, tokenizer, folder)
    (folder / CARD_FILE).write_text(pretrained_card(model, details), encoding="utf-8")


def pretrained_card(model: PreTrainedModel, details: PretrainingDetails) -> str:
    """Return the card, Markdown below its YAML front matter. Text from outside is escaped."""
    name = single_line(details.name)
    parts = [
        f"---\n{_front_matter(details)}\n---",
        f"# {escape_markdown(name)}",
        escape_markdown(
            f"A BERT encoder of {model.config.num_hidden_layers} layers, trained from scratch by "
            "masked-language modelling with autoprune. It knows no task: fine-tune it."
        ),
        _size_table(model),
        "## Use",
        code_block(f"autoprune search --model {name} --task TASK --keep K"),
        escape_markdown(
            "Or with --rival in place of --model. transformers loads it as AutoModel, "
            "AutoModelForMaskedLM and AutoModelForSequenceClassification."
        ),
        "## Training",
        escape_markdown(_training_text(details)),
        "## Quality",
        escape_markdown(
            f"Perplexity {details.perplexity:.1f} of {details.held_out_tokens:,} masked tokens in "
            "held-out lines of the corpus: neither they nor lines equal to them were used to train "
            "the model or the tokenizer. Compare it only with that of models that have the same "
            "tokenizer and corpus."
        ),
        "## To repeat it",
        code_block(details.command),
        "## Limits",
        escape_markdown(
            f"Inputs may have {model.config.max_position_embeddings} tokens, but it was trained "
            f"on {details.tokens} at a time: the positions after these hold random numbers until "
            "it is fine-tuned on longer texts. It repeats what its texts say, with their errors "
            "and prejudices."
        ),
        "## License",
        escape_markdown(
            "The terms of the texts it was trained on may apply to it. The program that wrote this "
            "card does not know them: state them here before you pass the model on."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _size_table(model: PreTrainedModel) -> str:
    config = model.config
    header = ["layers", "hidden", "heads", "inner", "vocabulary", "parameters"]
    row = [
        str(config.num_hidden_layers),
        str(config.hidden_size),
        str(config.num_attention_heads),
        str(config.intermediate_size),
        f"{config.vocab_size:,}",
        f"{model.num_parameters():,}",
    ]
    return markdown_table(header, [row])


def _training_text(details: PretrainingDetails) -> str:
    passes = details.tokens_seen / max(1, details.corpus_tokens)
    start = (
        "Its embeddings began from counts of which tokens stand near each other, all other weights "
        "from random numbers."
        if details.warm_embeddings
        else "All its weights began from random numbers."
    )
    stacking = (
        f" The first {details.stacked_at:.0%} of the training was done with half the layers, which "
        "were then stacked on themselves."
        if details.stacked_at is not None
        else ""
    )
    files = ", ".join(map(single_line, details.files))
    return (
        f"Corpus: {files}, {details.texts:,} texts, of which {details.corpus_tokens:,} tokens were "
        f"for training. Tokenizer: {single_line(details.tokenizer)}. "
        f"{details.tokens_seen:,} tokens seen ({passes:.2f} passes) in {details.steps:,} steps of "
        f"{details.batch} blocks of {details.tokens} tokens, without padding; a block may hold "
        "parts of several texts, which attend to each other. "
        f"{details.masked:.0%} of the words masked, each as a whole. AdamW, peak learning rate "
        f"{details.learning_rate:g}, linear warm-up over a tenth, linear decay to 0; no dropout. "
        f"Seed {details.seed}. {start}{stacking} {details.seconds:.0f} s of training on "
        f"{details.device}."
    )


def _front_matter(details: PretrainingDetails) -> str:
    result = EvalResult(
        task_type="fill-mask",
        task_name="Masked-language modelling",
        dataset_type="corpus",
        dataset_name="Held-out lines of the corpus",
        metric_type="perplexity",
        metric_name="Perplexity of masked tokens",
        metric_value=round(details.perplexity, 2),
    )
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=[OWN_METADATA, "pre-trained-from-scratch"],
        model_name=single_line(details.name),
        eval_results=[result],
    )
    return data.to_yaml().strip()
