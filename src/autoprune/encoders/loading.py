"""From a checkpoint to a classifier in memory: to be trained, or as it was trained."""

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autoprune.encoders.files import CONFIG, UNREADABLE, first_line, no_warnings, read_config
from autoprune.encoders.pruning import encoder_layers, head_parameters, prune_config
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import LayoutError, ModelError


def load_classifier(checkpoint: EncoderFiles, names: Sequence[str], seed: int) -> PreTrainedModel:
    """Load the encoder with a new classification head, in float32 on the CPU, to be trained.

    `names` are the labels in index order. The head, and a pooler that the checkpoint lacks, are
    drawn from `seed` and nothing else: a head that was trained, for the same labels or others as
    many, would be one and the same on all seeds. The caller's random state stays as it is. Raises
    `ModelError` where weights of the encoder are missing, left over, or of another shape.
    """
    with _drawing(checkpoint, seed):
        model, report = _load(checkpoint, names)
        lacking = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
        if _outside_encoder(model) - lacking:
            torch.default_generator.manual_seed(seed)
            _draw_head(model)
    _check_report(checkpoint, model, report)
    return model


def load_trained(checkpoint: EncoderFiles) -> PreTrainedModel:
    """Load a classifier as it was trained, with the labels that its config names, all of it there.

    In float32 on the CPU, in evaluation mode. Raises `ModelError` where any weight is missing or
    of another shape.
    """
    labels = read_config(checkpoint.folder, checkpoint.trust_remote_code).id2label
    with _drawing(checkpoint, 0):
        model, report = _load(checkpoint, [str(labels[place]) for place in sorted(labels)])
    lacking = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if lacking:
        raise ModelError(
            f"{checkpoint.encoder} is no whole classifier, {len(lacking)} of its weights are "
            f"missing or of another shape (the first: {min(lacking)}): export it again"
        )
    _check_report(checkpoint, model, report)
    return model


def random_classifier(
    checkpoint: EncoderFiles, names: Sequence[str], depth: int, seed: int
) -> PreTrainedModel:
    """Build the checkpoint's architecture with its first `depth` layers and random weights.

    In float32 on the CPU, in evaluation mode; all weights are drawn from `seed`. Raises
    `LayoutError` unless `depth` is 1 to the checkpoint's, `ModelError` as `encoder_layers` does.
    """
    if not 1 <= depth <= checkpoint.depth:
        raise LayoutError(
            f"a model built like {checkpoint.encoder.name} has 1 to {checkpoint.depth} layers, "
            f"got {depth}"
        )
    config = _config(checkpoint, names)
    prune_config(config, range(depth))
    with _drawing(checkpoint, seed):
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=checkpoint.trust_remote_code
        )
    assert isinstance(model, PreTrainedModel)
    encoder_layers(model)
    model.name_or_path = checkpoint.encoder.name
    return model.eval()


def load_tokenizer(checkpoint: EncoderFiles) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer, the fast one where there is one; raises `ModelError`."""
    try:
        with no_warnings():
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                trust_remote_code=checkpoint.trust_remote_code,
            )
            tokenizer("a")
            min(1, tokenizer.model_max_length)  # a number, whatever the file says
    except Exception as error:  # the tokenizers library raises no other kind
        raise ModelError(
            f"cannot load the tokenizer of {checkpoint.encoder}: {first_line(error)}; fetch "
            "tokenizer.json and tokenizer_config.json again, or save them anew"
        ) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def check_forward(checkpoint: EncoderFiles, model: PreTrainedModel) -> None:
    """Refuse a model that loads and cannot work; raises `ModelError`.

    All its weights are numbers, and it takes an input of two tokens.
    """
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight.detach().sum()):
            raise ModelError(
                f"the weights of {checkpoint.encoder} must be numbers, {name} holds others (NaN or "
                "infinity): fetch them again"
            )
    pad = model.config.pad_token_id or 0
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([[pad, pad]]), attention_mask=torch.ones(1, 2))
    except UNREADABLE as error:
        raise ModelError(
            f"{checkpoint.encoder} cannot run: {first_line(error)}; mend {CONFIG}, or save the "
            "model again"
        ) from error


def _config(checkpoint: EncoderFiles, names: Sequence[str]) -> PreTrainedConfig:
    config = read_config(checkpoint.folder, checkpoint.trust_remote_code)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = "single_label_classification"
    return config


def _load(
    checkpoint: EncoderFiles, names: Sequence[str]
) -> tuple[PreTrainedModel, dict[str, Collection[Any]]]:
    """Return the model, in evaluation mode, and what transformers replaced or dropped."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        checkpoint.folder,
        config=_config(checkpoint, names),
        dtype=torch.float32,
        use_safetensors=True,
        # A head for another number of labels is drawn anew; the callers refuse any other misfit.
        ignore_mismatched_sizes=True,
        local_files_only=True,
        trust_remote_code=checkpoint.trust_remote_code,
        output_loading_info=True,
    )
    assert isinstance(model, PreTrainedModel)
    model.name_or_path = checkpoint.encoder.name
    return model, report


def _outside_encoder(model: PreTrainedModel) -> set[str]:
    """Return the names of the head's parameters, the pooler's not among them."""
    encoder = {id(weight) for weight in model.base_model.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) not in encoder}


def _draw_head(model: PreTrainedModel) -> None:
    """Draw all weights outside the encoder anew, as the family draws them."""
    encoder = set(model.base_model.modules())
    for name in _outside_encoder(model):
        vars(model.get_parameter(name))["_is_hf_initialized"] = False
    for module in model.modules():
        if module not in encoder:
            model._init_weights(module)


@contextlib.contextmanager
def _drawing(checkpoint: EncoderFiles, seed: int) -> Iterator[None]:
    """Draw new weights from `seed`, leave the global random state alone, one line per error."""
    try:
        # Weights are drawn on the CPU; torch.manual_seed would also reseed the caller's GPU.
        with no_warnings(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    except UNREADABLE as error:
        raise ModelError(
            f"cannot load {checkpoint.encoder}: {first_line(error)}; mend {CONFIG}, or save the "
            "model again"
        ) from error


def _check_report(
    checkpoint: EncoderFiles, model: PreTrainedModel, report: dict[str, Collection[Any]]
) -> None:
    """Refuse a checkpoint of which transformers silently replaced or dropped a part."""
    fresh = head_parameters(model)
    drawn = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])} - fresh
    if drawn:
        raise ModelError(
            f"the weights of {checkpoint.encoder} do not fit its config, {len(drawn)} are missing "
            f"or of another shape (the first: {min(drawn)}): mend config.json or the weights"
        )
    in_layers = _inside_layers(model)
    dropped = [key for key in report["unexpected_keys"] if in_layers(key)]
    if dropped:
        raise ModelError(
            f"the weights of {checkpoint.encoder} do not fit its config, which has no place for "
            f"{len(dropped)} of them (the first: {min(dropped)}): mend config.json"
        )


def _inside_layers(model: PreTrainedModel) -> Callable[[str], bool]:
    """Return a test whether a weight's name lies in the encoder's layers, of whatever number.

    Buffers that older libraries saved along (`inv_freq`, say) are no weights.
    """
    layers = encoder_layers(model)
    path = next(name for name, part in model.base_model.named_modules() if part is layers)
    pattern = re.compile(rf"(?:^|\.){re.escape(path)}\.\d+\..*(?:weight|bias)$")
    return lambda key: pattern.search(key) is not None


# They number positions from the padding's number + 1 on (fairseq), so that many are lost.
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")


def hidden_size(checkpoint: EncoderFiles) -> int:
    """Return the hidden size."""
    return int(read_config(checkpoint.folder, checkpoint.trust_remote_code).hidden_size)


def check_vocabulary(checkpoint: EncoderFiles, highest: int) -> None:
    """Refuse a tokenizer that gives token `highest` to a model without it; raises `ModelError`."""
    known = read_config(checkpoint.folder, checkpoint.trust_remote_code).vocab_size
    if highest >= known:
        raise ModelError(
            f"the tokenizer of {checkpoint.encoder} must be the model's own: it has a token number "
            f"{highest}, the model knows {known} tokens: fetch the tokenizer's files again"
        )


def max_input_length(checkpoint: EncoderFiles, tokens: int) -> int:
    """Return `tokens`, or fewer where the encoder has fewer positions."""
    config = read_config(checkpoint.folder, checkpoint.trust_remote_code)
    positions = getattr(config, "max_position_embeddings", None) or tokens
    if config.model_type in _SHIFTED:
        positions -= (config.pad_token_id or 0) + 1
    return min(tokens, int(positions))
