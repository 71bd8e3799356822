"""Model card: the card of a pre-trained encoder, in its folder with weights and tokenizer."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from autoprune.errors import format_count
from autoprune.export.card_metadata import CARD_FILE, OWN_METADATA, BaseModel
from autoprune.export.export import save_model
from autoprune.export.public_names import (
    PLACEHOLDERS_EXPLANATION,
    has_placeholders,
    public_command,
    public_model,
)
from autoprune.pretraining.config import GivenEncoder, PretrainingConfig
from autoprune.pretraining.data import MASKED_SHARE
from autoprune.pretraining.training import STACKED_AT
from autoprune.reporting.markdown import code_block, escape_markdown, markdown_table, single_line


@dataclass(frozen=True, slots=True)
class PretrainingResult:
    """What a pre-training made, and of what.

    The corpus has `texts` texts, of which `corpus_tokens` tokens are for training. `vocabulary` is
    the size of the tokenizer, `parameters` that of the model. `perplexity` is of `held_out_tokens`
    masked tokens in held-out texts. A model that was trained further has a `base` and its
    `perplexity_before`; `new_head` tells whether its masked-language-modelling head was made here.
    """

    config: PretrainingConfig
    texts: int
    corpus_tokens: int
    vocabulary: int
    layers: int
    parameters: int
    steps: int
    seconds: float
    device: str
    perplexity: float | None
    held_out_tokens: int
    perplexity_before: float | None = None
    base: BaseModel | None = None
    new_head: bool = False

    @property
    def tokens_seen(self) -> int:
        """The number of tokens in all steps; a token counts each time it is seen."""
        return self.steps * self.config.schedule.batch * self.config.encoder.tokens


def write_pretrained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    result: PretrainingResult,
    folder: Path,
) -> None:
    """Write model, tokenizer and card to `folder`; plain transformers loads them.

    The card is Markdown below its YAML front matter. Text from outside is escaped, and no file or
    folder of the user's machine is named.
    """
    save_model(model, tokenizer, folder)
    name, base, config = _name(result), result.base, model.config
    command = public_command(result.config.command)
    size = {
        "layers": str(config.num_hidden_layers),
        "hidden": str(config.hidden_size),
        "heads": str(config.num_attention_heads),
        "inner": str(getattr(config, "intermediate_size", "–")),
        "vocabulary": f"{config.vocab_size:,}",
        "parameters": f"{model.num_parameters():,}",
    }
    made = (
        f"A BERT encoder of {format_count(config.num_hidden_layers, 'layer')}, trained from scratch"
        if base is None
        else f"The encoder {_version(base)}, {_kept(result)}, trained further"
    )
    parts = [
        f"---\n{_front_matter(result)}\n---",
        f"# {escape_markdown(name)}",
        escape_markdown(
            f"{made} by masked-language modelling with autoprune. It knows no task: fine-tune it."
        ),
        markdown_table(list(size), [list(size.values())]),
        "## Use",
        code_block(f"autoprune search --model {name} --task TASK --keep K"),
        escape_markdown(
            "Or with --rival in place of --model. transformers loads it as AutoModel, "
            "AutoModelForMaskedLM (the masked-language-modelling head is saved along) and "
            "AutoModelForSequenceClassification."
        ),
        "## Training",
        escape_markdown(_training_text(result)),
        "## Quality",
        escape_markdown(_quality_text(result)),
        "## To repeat it",
        code_block(command),
        *([PLACEHOLDERS_EXPLANATION] if has_placeholders([command]) else []),
        "## Limits",
        escape_markdown(_limits_text(result, config)),
        "## License",
        escape_markdown(_license_text(base)),
    ]
    (folder / CARD_FILE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _name(result: PretrainingResult) -> str:
    return single_line(result.config.out.resolve().name)


def _version(base: BaseModel) -> str:
    return single_line(f"{base.name}@{base.commit}")


def _kept(result: PretrainingResult) -> str:
    given = result.config.encoder
    layout = given.layout if isinstance(given, GivenEncoder) else None
    return "all its layers" if layout is None else f"its layers {layout}"


def _quality_text(result: PretrainingResult) -> str:
    if result.perplexity is None:
        return "Not measured: the corpus is too small to hold text out for it."
    text = (
        f"Perplexity {result.perplexity:.1f} of {result.held_out_tokens:,} masked tokens in "
        "held-out lines of the corpus: neither they nor lines equal to them were used to train "
        "the model or the tokenizer. Compare it only with that of models that have the same "
        "tokenizer and corpus."
    )
    if result.perplexity_before is not None:
        text += f" Before this training it was {result.perplexity_before:,.1f}"
        text += ", with a head of random weights." if result.new_head else "."
    return text


def _limits_text(result: PretrainingResult, config: PreTrainedConfig) -> str:
    positions, tokens = (
        getattr(config, "max_position_embeddings", None),
        result.config.encoder.tokens,
    )
    text = f"It was trained on {tokens} tokens at a time. "
    if result.base is None:
        text = (
            f"Inputs may have {positions} tokens, but it was trained on {tokens} at a time: the "
            "positions after these hold random numbers until it is fine-tuned on longer texts. "
        )
    return f"{text}It repeats what its texts say, with their errors and prejudices."


def _license_text(base: BaseModel | None) -> str:
    texts = (
        "The terms of the texts it was trained on may apply to it. The program that wrote this "
        "card does not know them: state them here before you pass the model on."
    )
    if base is None:
        return texts
    link = f" ({base.license_link})" if base.license_link else ""
    known = f"{base.license}{link}" if base.license else "not known here, find out"
    return f"It contains the weights of {base.name}, whose license is: {known}. {texts}"


def _start_text(result: PretrainingResult) -> str:
    config = result.config
    if isinstance(config.encoder, GivenEncoder):
        head = "a head made here, tied to the embeddings" if result.new_head else "its own head"
        return (
            f"Its weights began from those of the base model, with {head}. Tokens that the corpus "
            "does not have keep the embeddings that they had."
        )
    start = "All its weights began from random numbers."
    if config.warm_embeddings:
        start = (
            "Its embeddings began from counts of which tokens stand near each other, all other "
            "weights from random numbers."
        )
    if config.stack and config.encoder.layers > 1:
        start += (
            f" The first {STACKED_AT:.0%} of the training was done with half the layers, which "
            "were then stacked on themselves."
        )
    return start


def _training_text(result: PretrainingResult) -> str:
    config, schedule = result.config, result.config.schedule
    passes = result.tokens_seen / max(1, result.corpus_tokens)
    files = f"{len(config.corpus)} text file{'s' * (len(config.corpus) > 1)}"
    tokenizer = f"WordPiece, {result.vocabulary:,} tokens, trained here"
    if config.tokenizer is not None:
        tokenizer = f"that of {public_model(config.tokenizer) or 'a model in a folder'}"
    if result.base is not None:
        tokenizer = "that of the base model"
    return (
        f"Corpus: {files}, {result.texts:,} texts, of which {result.corpus_tokens:,} tokens were "
        f"for training. Tokenizer: {single_line(tokenizer)}. "
        f"{result.tokens_seen:,} tokens seen ({passes:.2f} passes) in {result.steps:,} steps of "
        f"{schedule.batch} blocks of {config.encoder.tokens} tokens, without padding; a block may "
        "hold parts of several texts, which attend to each other. "
        f"{MASKED_SHARE:.0%} of the words masked, each as a whole. AdamW, peak learning rate "
        f"{schedule.learning_rate:g}, linear warm-up over a tenth, linear decay to 0; no dropout. "
        f"Seed {schedule.seed}. {_start_text(result)} {result.seconds:.0f} s of training on "
        f"{result.device}."
    )


def _front_matter(result: PretrainingResult) -> str:
    results = (
        []
        if result.perplexity is None
        else [
            EvalResult(
                task_type="fill-mask",
                task_name="Masked-language modelling",
                dataset_type="corpus",
                dataset_name="Held-out lines of the corpus",
                metric_type="perplexity",
                metric_name="Perplexity of masked tokens",
                metric_value=round(result.perplexity, 2),
            )
        ]
    )
    base = result.base
    kind = "pre-trained-from-scratch" if base is None else "continued-pre-training"
    data = ModelCardData(
        license=single_line(base.license) or None if base else None,
        language=list(map(single_line, base.languages)) or None if base else None,
        base_model=base.hub or None if base else None,
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=[OWN_METADATA, kind],
        model_name=_name(result),
        eval_results=results or None,
    )
    return data.to_yaml().strip()
