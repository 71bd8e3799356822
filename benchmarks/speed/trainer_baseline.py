"""Baseline: what a user would write today, `Trainer` and Optuna's TPE over a flag for each layer.

As in the guides of transformers: a list of flags, the layers selected in `bert.encoder.layer`, fp32
unless `bfloat16`, all of torch's threads in one process. `padding` is `dynamic`
(`DataCollatorWithPadding`, as in the course and the task guide), or `example` (every row padded to
128 tokens, what transformers' example `run_classification.py` does by default). Nothing is
saved, and nothing is evaluated before the end, which costs less than most scripts. Does not import
autoprune.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXAMPLE_TOKENS = 128  # run_classification.py: --max_seq_length, with --pad_to_max_length


@dataclass(frozen=True, slots=True)
class BaselineTraining:
    """How every candidate is trained; `epochs` passes over the train rows."""

    folder: str
    keep: int
    epochs: int
    batch: int
    tokens: int
    learning_rate: float
    padding: str
    bfloat16: bool = False


def search(
    training: BaselineTraining, rows: Mapping[str, tuple[Sequence[str], Sequence[int]]], trials: int
) -> list[float]:
    """Return the seconds of each trial of a study; `rows` are texts and labels of two splits."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tokenizer, splits = _tokenize(training, rows)
    labels = max(rows["train"][1]) + 1
    seconds: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        started = time.perf_counter()
        quality = _train(training, _suggest_layers(trial, training), labels, tokenizer, splits)
        seconds.append(time.perf_counter() - started)
        return quality

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=trials)
    return seconds


def repair_flags(flags: Sequence[bool], keep: int) -> list[int]:
    """Return `keep` layers: those flagged, less the last or with the first of the others.

    >>> repair_flags([True, False, True, True], 2), repair_flags([False, False, True], 2)
    ([0, 2], [0, 2])
    """
    on = [layer for layer, flag in enumerate(flags) if flag]
    off = [layer for layer, flag in enumerate(flags) if not flag]
    return sorted((on + off)[:keep])


def prune(folder: str, kept: Sequence[int], labels: int) -> Any:
    """Return the classifier with only the layers `kept`."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=labels,
        dtype=torch.float32,  # a folder in 16 bits would be trained in them
    )
    layers = model.bert.encoder.layer
    model.bert.encoder.layer = torch.nn.ModuleList(layers[layer] for layer in kept)
    model.config.num_hidden_layers = len(kept)
    return model


def training_arguments(out: str, **more: Any) -> Any:
    """Return the arguments of a Trainer that prints and saves nothing."""
    from transformers import TrainingArguments

    return TrainingArguments(
        out,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        weight_decay=0.01,
        warmup_steps=0.1,
        **more,
    )


def _suggest_layers(trial: Any, training: BaselineTraining) -> list[int]:
    from transformers import AutoConfig

    depth = AutoConfig.from_pretrained(training.folder).num_hidden_layers
    flags = [trial.suggest_categorical(f"layer_{i:02}", [False, True]) for i in range(depth)]
    return repair_flags(flags, training.keep)


def _tokenize(training: BaselineTraining, rows: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    from datasets import Dataset  # type: ignore[import-untyped]
    from datasets.utils.logging import disable_progress_bar  # type: ignore[import-untyped]
    from transformers import AutoTokenizer
    from transformers.utils import logging

    disable_progress_bar()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(training.folder)
    options: dict[str, Any] = {"truncation": True, "max_length": training.tokens}
    if training.padding == "example":
        options |= {"max_length": EXAMPLE_TOKENS, "padding": "max_length"}
    return tokenizer, {
        name: Dataset.from_dict({"text": list(texts), "label": list(labels)}).map(
            lambda batch: tokenizer(batch["text"], **options), batched=True, remove_columns="text"
        )
        for name, (texts, labels) in rows.items()
    }


def _train(
    training: BaselineTraining,
    kept: Sequence[int],
    labels: int,
    tokenizer: Any,
    splits: dict[str, Any],
) -> float:
    import torch
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer

    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(
            model=prune(training.folder, kept, labels),
            args=training_arguments(
                out,
                num_train_epochs=training.epochs,
                per_device_train_batch_size=training.batch,
                per_device_eval_batch_size=training.batch,
                learning_rate=training.learning_rate,
                bf16=training.bfloat16,
                use_cpu=not torch.cuda.is_available(),  # else it refuses bf16 on a processor
            ),
            train_dataset=splits["train"],
            eval_dataset=splits["validation"],
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=_accuracy,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return float(trainer.evaluate()["eval_accuracy"])


def _accuracy(found: Any) -> dict[str, float]:
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}
