"""From a checkpoint to a classifier in memory, with a head that depends on the seed alone."""

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

from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.folder import CONFIG, UNREADABLE, first_line, quiet, read_config
from autoprune.encoders.surgery import head_parameters, keep_in_config, layers_of
from autoprune.errors import LayoutError, ModelError


def load_classifier(checkpoint: Checkpoint, names: Sequence[str], seed: int) -> PreTrainedModel:
    """Load the encoder with a classification head, in float32 on the CPU, in evaluation mode.

    `names` are the labels in index order. What the checkpoint lacks of head and pooler is drawn
    from `seed` and nothing else; the caller's random state stays as it is. Raises `ModelError`
    where weights of the encoder are missing, left over, or of another shape.
    """
    with _drawing(checkpoint, seed):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.folder,
            config=_config(checkpoint, names),
            dtype=torch.float32,
            use_safetensors=True,
            # A head trained for other labels is drawn anew; _check_report refuses any other misfit.
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=checkpoint.trust_remote_code,
            output_loading_info=True,
        )
    assert isinstance(model, PreTrainedModel)
    _check_report(checkpoint, model, report)
    model.name_or_path = checkpoint.encoder.name
    return model


def random_classifier(
    checkpoint: Checkpoint, names: Sequence[str], depth: int, seed: int
) -> PreTrainedModel:
    """Build the checkpoint's architecture with its first `depth` layers and random weights.

    In float32 on the CPU, in evaluation mode; all weights are drawn from `seed`. Raises
    `LayoutError` unless `depth` is 1 to the checkpoint's, `ModelError` as `layers_of` does.
    """
    if not 1 <= depth <= checkpoint.depth:
        raise LayoutError(
            f"a model built like {checkpoint.encoder.name} has 1 to {checkpoint.depth} layers, "
            f"got {depth}"
        )
    config = _config(checkpoint, names)
    keep_in_config(config, range(depth))
    with _drawing(checkpoint, seed):
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=checkpoint.trust_remote_code
        )
    assert isinstance(model, PreTrainedModel)
    layers_of(model)
    model.name_or_path = checkpoint.encoder.name
    return model.eval()


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer, the fast one where there is one; raises `ModelError`."""
    try:
        with quiet():
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


def check_runs(checkpoint: Checkpoint, model: PreTrainedModel) -> None:
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


def _config(checkpoint: Checkpoint, names: Sequence[str]) -> PreTrainedConfig:
    config = read_config(checkpoint.folder, checkpoint.trust_remote_code)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = "single_label_classification"
    return config


@contextlib.contextmanager
def _drawing(checkpoint: Checkpoint, seed: int) -> Iterator[None]:
    """Draw new weights from `seed`, leave the global random state alone, one line per error."""
    try:
        # Weights are drawn on the CPU; torch.manual_seed would also reseed the caller's GPU.
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    except UNREADABLE as error:
        raise ModelError(
            f"cannot load {checkpoint.encoder}: {first_line(error)}; mend {CONFIG}, or save the "
            "model again"
        ) from error


def _check_report(
    checkpoint: Checkpoint, model: PreTrainedModel, report: dict[str, Collection[Any]]
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
    layers = layers_of(model)
    path = next(name for name, part in model.base_model.named_modules() if part is layers)
    pattern = re.compile(rf"(?:^|\.){re.escape(path)}\.\d+\..*(?:weight|bias)$")
    return lambda key: pattern.search(key) is not None
