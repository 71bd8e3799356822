"""Loading: from an encoder's files to a classifier in memory, to be trained or as trained."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from sentencepiece import SentencePieceProcessor
from torch import nn
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.encoders.config import (
    CONFIG,
    UNREADABLE,
    model_without_weights,
    read_config,
    silence_libraries,
)
from autoprune.encoders.files import VOCABULARY_FILES, check_tokenizer_files
from autoprune.encoders.pruning import encoder_layers, head_parameters, prune_config
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import LayoutError, ModelError, first_line

_POSITION_TABLES = ("position_embeddings", "embed_positions")

_SINGLE_LABEL = PROBLEM_TYPE_NAMES[0]

_BY_WORD = PROBLEM_TYPE_NAMES[-1]

_TOKEN_FAMILIES = {*MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING}

_REPAIR_CONFIG = f"correct {CONFIG}, or save the model again"


def load_classifier(
    checkpoint: EncoderFiles,
    names: Sequence[str],
    seed: int,
    problem_type: str = _SINGLE_LABEL,
) -> PreTrainedModel:
    """Load the encoder with a new classification head, in float32 on the CPU, to be trained.

    `names` are the labels in index order, `problem_type` is transformers'. The head, and a pooler
    that the checkpoint lacks, depend on `seed` alone: a head that is already trained is drawn
    again, else it would be the same for all seeds. The caller's random state is unchanged. Raises
    `ModelError` where weights of the encoder are missing, left over, or of another shape.
    """
    config, kind = _classifier_config(checkpoint, names, problem_type), head_class(problem_type)
    if problem_type == _BY_WORD and type(config) not in _TOKEN_FAMILIES:
        raise ModelError(
            f"transformers has no token-classification head for {config.model_type}, so "
            f"{checkpoint.encoder} cannot tag words: choose another model"
        )
    with _seeded_loading(checkpoint, seed):
        model, missing, unexpected = _load(checkpoint, config, kind)
        _check_family(model)
        if _outside_encoder(model) - missing:
            torch.default_generator.manual_seed(seed)
            _initialize_head(model)
    _check_weights(checkpoint, model, missing, unexpected)
    return model


def load_trained(checkpoint: EncoderFiles) -> PreTrainedModel:
    """Load a complete classifier as it was trained, with the labels that its config names.

    In float32 on the CPU, in evaluation mode. Raises `ModelError` where any weight is missing or
    of another shape.
    """
    problem_type = trained_problem_type(checkpoint)
    with _seeded_loading(checkpoint, 0):
        config = _classifier_config(checkpoint, trained_labels(checkpoint), problem_type)
        model, missing, unexpected = _load(checkpoint, config, head_class(problem_type))
    if missing:
        raise ModelError(
            f"{checkpoint.encoder} is not a complete classifier, {len(missing)} of its weights are "
            f"missing or of another shape (the first: {min(missing)}): export it again"
        )
    _check_weights(checkpoint, model, missing, unexpected)
    return model


def load_masked_model(checkpoint: EncoderFiles, seed: int) -> tuple[PreTrainedModel, bool]:
    """Load the encoder with a head for masked-language modelling, and whether that head is new.

    In float32 on the CPU, in evaluation mode. What the checkpoint lacks of its head is drawn from
    `seed`, and the output layer is tied to the embeddings where that fits. Raises `ModelError` as
    `load_classifier`, and for a family without such a head.
    """
    config = _config(checkpoint)
    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise ModelError(
            f"transformers has no masked-language-modelling head for {config.model_type}, so "
            f"{checkpoint.encoder} cannot be pre-trained further: choose another model"
        )
    with _seeded_loading(checkpoint, seed):
        model, missing, unexpected = _load(checkpoint, config, AutoModelForMaskedLM)
        _check_family(model)
        is_new = bool(_outside_encoder(model) & missing)
        output, table = model.get_output_embeddings(), model.get_input_embeddings()
        fits = output is not None and output.weight.shape == table.weight.shape
        if is_new and fits and output.weight is not table.weight:
            config.tie_word_embeddings = True
            model, missing, unexpected = _load(checkpoint, config, AutoModelForMaskedLM)
    missing &= {name for name, _ in model.named_parameters()}  # without tied weights' other names
    _check_weights(checkpoint, model, missing, unexpected)
    check_forward(checkpoint, model)
    return model, is_new


def random_classifier(
    checkpoint: EncoderFiles,
    names: Sequence[str],
    depth: int,
    seed: int,
    problem_type: str = _SINGLE_LABEL,
) -> PreTrainedModel:
    """Build the checkpoint's architecture with its first `depth` layers and random weights.

    In float32 on the CPU, in evaluation mode; all weights are drawn from `seed`. Raises
    `LayoutError` unless `depth` is from 1 to the checkpoint's, `ModelError` as `encoder_layers`.
    """
    if not 1 <= depth <= checkpoint.depth:
        raise LayoutError(
            f"a model built like {checkpoint.encoder.name} has 1 to {checkpoint.depth} layers, "
            f"got {depth}"
        )
    config = _classifier_config(checkpoint, names, problem_type)
    prune_config(config, range(depth))
    with _seeded_loading(checkpoint, seed):
        model = head_class(problem_type).from_config(
            config, dtype=torch.float32, trust_remote_code=checkpoint.trust_remote_code
        )
    assert isinstance(model, PreTrainedModel)
    encoder_layers(model)
    model.name_or_path = checkpoint.encoder.name
    return model.eval()


def trained_labels(checkpoint: EncoderFiles) -> list[str]:
    """Return the labels that the checkpoint's config names, in index order."""
    labels = _config(checkpoint).id2label
    return [str(labels[index]) for index in sorted(labels)]


def trained_problem_type(checkpoint: EncoderFiles) -> str:
    """Return the problem type of a trained classifier, as its config tells it."""
    return problem_type_of(_config(checkpoint))


def problem_type_of(config: PreTrainedConfig) -> str:
    """Return the problem type that the config of a trained classifier tells."""
    if any(name.endswith("ForTokenClassification") for name in config.architectures or ()):
        return _BY_WORD
    return str(config.problem_type or _SINGLE_LABEL)


def hidden_size(checkpoint: EncoderFiles) -> int:
    """Return the width of a hidden state."""
    return int(_config(checkpoint).hidden_size)


def max_input_length(checkpoint: EncoderFiles, tokens: int) -> int:
    """Return `tokens`, or fewer where the encoder has fewer positions."""
    longest = _max_positions(checkpoint)
    return tokens if longest is None else min(tokens, longest)


def _max_positions(checkpoint: EncoderFiles) -> int | None:
    """Return how many positions a text may have, None where they are relative, without a limit.

    Without a table of positions (rotary ones, say) it is the number that the encoder was made for.
    """
    config = _config(checkpoint)
    model = model_without_weights(config, checkpoint.trust_remote_code)
    for name, part in model.base_model.named_modules() if model else ():
        if isinstance(part, nn.Embedding) and name.rpartition(".")[2] in _POSITION_TABLES:
            # A table with a row for padding counts from the row after it on (fairseq).
            first = 0 if part.padding_idx is None else int(part.padding_idx) + 1
            rows = int(part.num_embeddings) - first
            return min(rows, int(config.max_position_embeddings))
    if getattr(config, "relative_attention", False):
        return None
    return getattr(config, "max_position_embeddings", None)


def vocabulary_size(checkpoint: EncoderFiles) -> int:
    """Return how many tokens the model has an embedding for; its tokenizer may have more."""
    return int(_config(checkpoint).vocab_size)


def check_tokens(model: object, known: int, highest: int) -> None:
    """Check that `model`, with `known` tokens, can read texts up to token `highest`.

    A token beyond them does no harm until a text has it. Raises `ModelError`.
    """
    if highest >= known:
        raise ModelError(
            f"the tokenizer of {model} must be the model's own: it has a token number {highest}, "
            f"the model knows {known} tokens: fetch the tokenizer's files again"
        )


def check_forward(checkpoint: EncoderFiles, model: PreTrainedModel) -> None:
    """Check that all weights are finite and that the model runs on two tokens.

    Raises `ModelError`.
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
            f"{checkpoint.encoder} cannot run: {first_line(error)}; {_REPAIR_CONFIG}"
        ) from error


def _config(checkpoint: EncoderFiles) -> PreTrainedConfig:
    return read_config(checkpoint.folder, checkpoint.trust_remote_code)


def _classifier_config(
    checkpoint: EncoderFiles, names: Sequence[str], problem_type: str
) -> PreTrainedConfig:
    config = _config(checkpoint)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    # transformers has no such name for tags: the class of the model tells.
    config.problem_type = None if problem_type == _BY_WORD else problem_type
    return config


def head_class(problem_type: str) -> Any:
    """Return the class of transformers that loads a model with this kind of head."""
    is_token = problem_type == _BY_WORD
    return AutoModelForTokenClassification if is_token else AutoModelForSequenceClassification


def _load(
    checkpoint: EncoderFiles,
    config: PreTrainedConfig,
    kind: Any = AutoModelForSequenceClassification,
) -> tuple[PreTrainedModel, set[str], set[str]]:
    """Return the model in evaluation mode, and which weights transformers replaced and dropped."""
    model, report = kind.from_pretrained(
        checkpoint.folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        # A head for another number of labels is drawn again; callers refuse any other mismatch.
        ignore_mismatched_sizes=True,
        local_files_only=True,
        trust_remote_code=checkpoint.trust_remote_code,
        output_loading_info=True,
    )
    assert isinstance(model, PreTrainedModel)
    model.name_or_path = checkpoint.encoder.name
    missing = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    return model, missing, set(report["unexpected_keys"])


def _outside_encoder(model: PreTrainedModel) -> set[str]:
    """Return the names of the head's parameters, without those of the pooler."""
    encoder = {id(weight) for weight in model.base_model.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) not in encoder}


def _initialize_head(model: PreTrainedModel) -> None:
    """Draw all weights outside the encoder again, with the family's own initialization."""
    encoder = set(model.base_model.modules())
    for name in _outside_encoder(model):
        vars(model.get_parameter(name))["_is_hf_initialized"] = False
    for module in model.modules():
        if module not in encoder:
            model._init_weights(module)


@contextlib.contextmanager
def _seeded_loading(checkpoint: EncoderFiles, seed: int) -> Iterator[None]:
    """Draw new weights from `seed`, without changing the global random state.

    Errors of transformers become a `ModelError`.
    """
    try:
        # Weights are drawn on the CPU; torch.manual_seed would also seed the caller's GPU again.
        with silence_libraries(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    except UNREADABLE as error:
        raise ModelError(
            f"cannot load {checkpoint.encoder}: {first_line(error)}; {_REPAIR_CONFIG}"
        ) from error


def _check_family(model: PreTrainedModel) -> None:
    """Refuse a family whose token embeddings are no plain table: I-BERT, CANINE."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        table = None
    if not isinstance(table, nn.Embedding):
        raise ModelError(
            f"{model.config.model_type} has no plain table of token embeddings, so it cannot be "
            "trained here: choose another model"
        )


def _check_weights(
    checkpoint: EncoderFiles, model: PreTrainedModel, missing: set[str], unexpected: set[str]
) -> None:
    """Refuse a checkpoint of which transformers replaced or dropped weights without an error."""
    replaced = missing - head_parameters(model)
    if replaced:
        raise ModelError(
            f"the weights of {checkpoint.encoder} do not fit its config, {len(replaced)} are "
            f"missing or of another shape (the first: {min(replaced)}): correct {CONFIG} or the "
            "weights"
        )
    layers = encoder_layers(model)
    path = next(name for name, part in model.base_model.named_modules() if part is layers)
    # Weights of the encoder's layers, of whatever number, without the buffers that older libraries
    # saved along (`inv_freq`, for example).
    in_layers = re.compile(rf"(?:^|\.){re.escape(path)}\.\d+\..*(?:weight|bias)$")
    dropped = [name for name in unexpected if in_layers.search(name)]
    if dropped:
        raise ModelError(
            f"the weights of {checkpoint.encoder} do not fit its config, which has no place for "
            f"{len(dropped)} of them (the first: {min(dropped)}): correct {CONFIG}"
        )


def load_tokenizer(checkpoint: EncoderFiles) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer, the fast one where there is one; raises `ModelError`."""
    check_tokenizer_files(checkpoint.folder)
    model = _only_sentencepiece(checkpoint)
    try:
        with silence_libraries():
            if model is not None:  # transformers would take what it cannot read for another format
                SentencePieceProcessor(model_file=str(model))
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                trust_remote_code=checkpoint.trust_remote_code,
            )
            tokenizer("a")
            least = 1 + tokenizer.num_special_tokens_to_add()
    except Exception as error:  # the tokenizers library raises no other class
        files = model.name if model else "tokenizer.json and tokenizer_config.json"
        raise ModelError(
            f"cannot load the tokenizer of {checkpoint.encoder}: {first_line(error)}; fetch "
            f"{files} again, or save them again"
        ) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    limit: Any = tokenizer.model_max_length
    is_whole = type(limit) is int or (isinstance(limit, float) and limit.is_integer())
    if not is_whole or limit < least:
        raise ModelError(
            f"the tokenizer of {checkpoint.encoder} must have a whole number from {least} as "
            f"model_max_length, it has {limit!r:.40}: correct tokenizer_config.json"
        )
    tokenizer.model_max_length = int(limit)
    tokenizer.chat_template = None  # a classifier has no use for it
    if model is not None:
        _check_pieces(model, tokenizer)
    return tokenizer


def _only_sentencepiece(checkpoint: EncoderFiles) -> Path | None:
    """Return the SentencePiece model of a folder without any other vocabulary."""
    if any((checkpoint.folder / name).is_file() for name in VOCABULARY_FILES):
        return None
    return min(checkpoint.folder.glob("*.model"), default=None)


def _check_pieces(model: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that transformers made of a SentencePiece model without its pieces.

    It does so where the family's tokenizer is of another kind, and loses special tokens of some.
    """
    pieces = SentencePieceProcessor(model_file=str(model))
    known, size = tokenizer.get_vocab(), pieces.get_piece_size()
    normal = [n for n in range(size) if not (pieces.is_control(n) or pieces.is_unknown(n))]
    lost = [piece for piece in map(pieces.id_to_piece, normal) if piece not in known]
    unknown = tokenizer("\U0010fffd", add_special_tokens=False)["input_ids"]
    has_unknown = tokenizer.unk_token_id in unknown or any(map(pieces.is_byte, range(size)))
    if lost or not has_unknown or not tokenizer.num_special_tokens_to_add():
        raise ModelError(
            f"transformers cannot read {model} as a tokenizer of this kind of model "
            f"({type(tokenizer).__name__}): save the tokenizer as tokenizer.json there, from where "
            "it works"
        )
