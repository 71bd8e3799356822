"""A pre-trained encoder as a folder: weights, tokenizer, and a card that tells how it was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.files import disable_progress_bars
from autoprune.export.base_model import CARD_FILE, OWN_METADATA
from autoprune.reporting.tables import code_block, escape_markdown, markdown_table, table_line


@dataclass(frozen=True, slots=True)
class PretrainingDetails:
    """How a pre-trained encoder was made.

    `files` are the corpus; `texts` and `corpus_tokens` what of it was learned from, `apart` the
    hidden tokens of left-out lines by which `perplexity` was reckoned; `tokens_seen` counts a token
    as often as it was seen, in blocks of `tokens`; `warm` tells whether its embeddings began from
    counts, `stacked_at` behind which share of the training its layers were doubled, if they were.
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
    warm: bool
    stacked_at: float | None
    tokenizer: str
    seconds: float
    device: str
    perplexity: float
    apart: int
    command: str


def write_pretrained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    origin: PretrainingDetails,
    folder: Path,
) -> None:
    """Write the model into the folder `folder`, such that plain transformers loads it."""
    with disable_progress_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / CARD_FILE).write_text(pretrained_card(model, origin), encoding="utf-8")


def pretrained_card(model: PreTrainedModel, origin: PretrainingDetails) -> str:
    """Return the card, Markdown below its YAML front matter; text from outside is escaped."""
    name = table_line(origin.name)
    parts = [
        f"---\n{_front_matter(origin)}\n---",
        f"# {escape_markdown(name)}",
        escape_markdown(
            f"A BERT encoder of {model.config.num_hidden_layers} layers, trained from scratch by "
            "masked-language modelling with autoprune. It knows no task: fine-tune it."
        ),
        _size(model),
        "## Use",
        code_block(f"autoprune search --model {name} --task TASK --keep K"),
        escape_markdown(
            "Or with --rival in place of --model; transformers loads it as AutoModel, "
            "AutoModelForMaskedLM and AutoModelForSequenceClassification."
        ),
        "## Training",
        _training(origin),
        "## Quality",
        escape_markdown(
            f"Perplexity {origin.perplexity:.1f} of {origin.apart:,} hidden tokens in lines of the "
            "corpus that were left out of training and of the tokenizer, equal lines with them. "
            "It can be held against that of models with the same tokenizer and corpus only."
        ),
        "## To repeat it",
        code_block(origin.command),
        "## Limits",
        escape_markdown(
            f"Inputs may have {model.config.max_position_embeddings} tokens, of which it was "
            f"trained on {origin.tokens} at a time: positions behind these hold random numbers "
            "until it is fine-tuned on longer texts. It says what its texts say, errors and "
            "prejudice included."
        ),
        "## License",
        escape_markdown(
            "The terms of the texts it was trained on may bind it: they are not known to the "
            "program that wrote this card. State them here before you pass the model on."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _size(model: PreTrainedModel) -> str:
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


def _training(origin: PretrainingDetails) -> str:
    passes = origin.tokens_seen / max(1, origin.corpus_tokens)
    began = (
        "Its embeddings began from counts of which tokens stand near each other, all other weights "
        "from random numbers."
        if origin.warm
        else "All its weights began from random numbers."
    )
    grew = (
        f" The first {origin.stacked_at:.0%} of the training was run with half the layers, which "
        "were then stacked on themselves."
        if origin.stacked_at is not None
        else ""
    )
    said = (
        f"Corpus: {', '.join(map(table_line, origin.files))}, {origin.texts:,} texts, of which "
        f"{origin.corpus_tokens:,} tokens were learned from. Tokenizer: {table_line(origin.tokenizer)}. "
        f"{origin.tokens_seen:,} tokens seen ({passes:.2f} passes) in {origin.steps:,} steps of "
        f"{origin.batch} blocks of {origin.tokens} tokens, without padding; a block may hold parts "
        "of several texts, which attend to each other. "
        f"{origin.masked:.0%} of the words hidden, all pieces of a word together. AdamW, peak "
        f"learning rate {origin.learning_rate:g}, one cycle: linear rise over a tenth, linear fall "
        f"to 0; no dropout. Seed {origin.seed}. {began}{grew} {origin.seconds:.0f} s of training "
        f"on {origin.device}."
    )
    return escape_markdown(said)


def _front_matter(origin: PretrainingDetails) -> str:
    result = EvalResult(
        task_type="fill-mask",
        task_name="Masked-language modelling",
        dataset_type="corpus",
        dataset_name="Lines of the corpus left out of training",
        metric_type="perplexity",
        metric_name="Perplexity of hidden tokens",
        metric_value=round(origin.perplexity, 2),
    )
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=[OWN_METADATA, "pre-trained-from-scratch"],
        model_name=table_line(origin.name),
        eval_results=[result],
    )
    return data.to_yaml().strip()
