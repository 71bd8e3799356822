"""Inputs: the rows of a study as a model's tokens, whether it can read them, and the teacher."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import (
    check_tokens,
    hidden_size,
    load_tokenizer,
    max_input_length,
    trained_labels,
    trained_problem_type,
    vocabulary_size,
)
from autoprune.encoders.pruning import used_token_ids
from autoprune.encoders.registry import EncoderFiles, find_encoder
from autoprune.errors import ModelError, OptionError, format_count, join_names
from autoprune.experiment.config import FULL_TEACHER, StudyConfig
from autoprune.tasks.task import LabelledRows, Splits, TestSplit
from autoprune.tasks.text_lines import UnlabelledTexts, read_unlabelled
from autoprune.tasks.tokenization import (
    EncodedSplit,
    Readability,
    encode,
    join_splits,
    measure_readability,
    refusal,
    remap_tokens,
)
from autoprune.training.budget import DRAWN_HEAD, Budget, Distillation

_MOST_TOKENS = 10**6  # more than a model takes


@dataclass(frozen=True, slots=True)
class EncodedSplits:
    """The three splits as one model's tokens, renumbered alike, and how it reads the texts.

    `unlabelled` are texts without labels to learn from a teacher, if there are any.
    """

    train: EncodedSplit
    validation: EncodedSplit
    test: EncodedSplit
    readability: Readability
    unlabelled: EncodedSplit | None = None

    @property
    def with_unlabelled(self) -> EncodedSplit:
        """The train rows, then the texts without labels."""
        return self.train if self.unlabelled is None else join_splits(self.train, self.unlabelled)

    def steps_of_run(self, budget: Budget, tested: bool) -> float:
        """Return about how many training steps a run takes as long as.

        A prediction, to fit the head, at a check or (`tested`) in the end, is a third of a step.
        """
        rows = len(self.train) * (budget.head != DRAWN_HEAD) + len(self.test) * tested
        rows += len(self.validation) * math.ceil(budget.checks * budget.ends / budget.steps)
        return budget.ends + rows / budget.batch / 3


def encode_splits(
    checkpoint: EncoderFiles,
    splits: Splits,
    test: TestSplit,
    tokens: int,
    unlabelled: Sequence[str] = (),
) -> EncodedSplits:
    """Tokenize the three splits for one model, each text cut to `tokens` or what it can take."""
    tokenizer, longest = load_tokenizer(checkpoint), max_input_length(checkpoint, tokens)
    rows = [splits.train, splits.validation, test.rows]
    if unlabelled:
        rows.append(unlabelled_rows(unlabelled, splits.train))
    encoded = [encode(each, tokenizer, longest) for each in rows]
    kept = used_token_ids(encoded[0].pad_id, *(rows.ids for rows in encoded))
    check_tokens(checkpoint.encoder, vocabulary_size(checkpoint), int(kept[-1]))
    train, validation, test_rows, *others = (remap_tokens(rows, kept) for rows in encoded)
    readability = measure_readability(
        checkpoint.encoder.name,
        [(splits.train, train), (splits.validation, validation)],
        limit=min(longest, tokenizer.model_max_length),
        longest=min(max_input_length(checkpoint, _MOST_TOKENS), tokenizer.model_max_length),
    )
    return EncodedSplits(train, validation, test_rows, readability, *others)


def unlabelled_rows(texts: Sequence[str], train: LabelledRows) -> LabelledRows:
    """Return texts without labels as rows like those of train; what they have as labels is unread.

    Where words have labels, they are what is between spaces.
    """
    if train.by_word:
        labels = tuple((0,) * len(text.split()) for text in texts)
        return LabelledRows(tuple(texts), labels, by_word=True)
    label = train.labels[0]
    unread = (0,) * len(label) if isinstance(label, tuple) else type(label)(0)
    return LabelledRows(tuple(texts), (unread,) * len(texts))


def check_readable(inputs: EncodedSplits) -> None:
    """Raise `ModelError` where the model does not know most tokens.

    This is for what trains: a finished study may still be exported.
    """
    if (reason := refusal(inputs.readability)) is not None:
        raise ModelError(reason)


@dataclass(frozen=True, slots=True)
class TeacherInputs:
    """What candidates learn from a teacher: `settings`, with the first temperature and weight.

    None without a teacher. `classifier` is one of the user, None where the full model teaches;
    `unlabelled` are texts without labels of which it teaches as well; `notes` say so, a sentence
    each.
    """

    settings: Distillation | None = None
    classifier: EncoderFiles | None = None
    unlabelled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


NO_TEACHER = TeacherInputs()


def read_teacher_inputs(
    study: StudyConfig,
    checkpoint: EncoderFiles,
    splits: Splits,
    test: TestSplit,
    trust_remote_code: bool,
) -> TeacherInputs:
    """Read what a study of the model `checkpoint` distills.

    Raises `AutopruneError` for a classifier of other labels, or of another shape where its states
    are to be learned, and for texts that cannot be used.
    """
    config, seeds = study.distillation, study.teacher_seeds
    if config.distill == "none":
        return NO_TEACHER
    # What tells one teacher from another: runs of equal keys are taken over by other studies.
    rates = " ".join(f"{rate:g}" for rate in study.budget.learning_rates)
    teacher = f"{FULL_TEACHER} {checkpoint.versioned}, seeds {' '.join(map(str, seeds))}"
    classifier, teacher = None, f"{teacher}, rates {rates}" if rates else teacher
    if config.teacher != FULL_TEACHER:
        classifier = _find_classifier(config.teacher, splits, trust_remote_code)
        if config.distill == "hidden":
            _check_shape(classifier, checkpoint)
        teacher = classifier.versioned
    texts = UnlabelledTexts()
    if config.unlabelled is not None:
        texts = read_unlabelled(config.unlabelled.expanduser(), splits, test)
    what = {"logits": "the logits", "hidden": "the logits and the states of kept layers"}
    name = (
        classifier.encoder.name
        if classifier
        else f"the full model (mean of {format_count(len(seeds), 'seed')})"
    )
    note = (
        "beside the labels, trials and all entrants but the full model learn "
        f"{what[config.distill]} of {name}"
    )
    settings = Distillation(
        kind=config.distill,
        teacher=teacher,
        temperature=config.temperatures[0],
        weight=config.distill_weights[0],
        unlabelled=texts.fingerprint,
    )
    notes = tuple(filter(None, (texts.note, note)))
    return TeacherInputs(settings, classifier, texts.texts, notes)


def _find_classifier(name: str, splits: Splits, trust_remote_code: bool) -> EncoderFiles:
    labels, problem_type = splits.names, splits.problem_type
    checkpoint = fetch(find_encoder(name), trust_remote_code)
    known = trained_labels(checkpoint)
    if trained_problem_type(checkpoint) != problem_type:
        raise OptionError(
            f"--teacher must be a model for {problem_type}, {checkpoint.encoder} is one for "
            f"{trained_problem_type(checkpoint)}"
        )
    is_number = problem_type == PROBLEM_TYPE_NAMES[2]  # whose only output has any name
    if len(known) != 1 if is_number else sorted(known) != sorted(labels):
        lacking, others = sorted({*labels} - {*known}), sorted({*known} - {*labels})
        raise OptionError(
            f"--teacher must have the {len(labels)} labels of the task, {checkpoint.encoder} lacks "
            f"{join_names(lacking, 4)} and has {join_names(others, 4)} besides"
        )
    return checkpoint


def _check_shape(teacher: EncoderFiles, checkpoint: EncoderFiles) -> None:
    shape, own = ((files.depth, hidden_size(files)) for files in (teacher, checkpoint))
    if shape != own:
        raise OptionError(
            f"--distill hidden takes a teacher of {own[0]} layers and {own[1]} hidden units, "
            f"{teacher.encoder} has {shape[0]} and {shape[1]}: give --distill logits"
        )
