"""Verification: an exported folder is loaded again and must answer as the trained model did."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.errors import ModelError, first_line
from autoprune.export import reload
from autoprune.export.final_training import SampleLogits, VerificationSample
from autoprune.training.problem_types import SINGLE_LABEL, ProblemType

LOGIT_TOLERANCE = 1e-5  # the largest difference of a logit

# Nothing that can run code when it is loaded, and nothing that does not belong to a model.
ALLOWED_FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "bpe.codes",
    "*.model",
    "README.md",
    "model*.onnx",  # of earlier versions
    "onnx/model*.onnx",
    "openvino/openvino_model*.xml",
    "openvino/openvino_model*.bin",
)

# What texts of a task may lack: case, accents, joiners, other scripts, digits, emoji, spaces.
PROBE_TEXTS = (
    "The Quick BROWN Fox's naïve café, 3.14 % of 1,234-5678 e-mail@example.org",
    "ÀÉÎÕÜ ß Ł İı ﬁ ½ x² e\u0301 e",
    "क्षेत्र र्‍य क्‍ष १२३ ।",
    "日本語 한국어 العربية עברית ภาษา 😀👩‍👩‍👧",
    "  two  spaces\tand\ta tab ",
    "",
)

Reload = Callable[[str, Sequence[str], Sequence[str] | None, Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedExport:
    """What a reloaded folder must give: see `reload.reload_logits`.

    `logits` are those of the trained model when it was measured. All else is of the model and the
    tokenizer in memory that were saved to the folder.
    """

    sample: VerificationSample
    logits: SampleLogits
    labels: tuple[str, ...]
    ids: list[list[int]]
    weights: dict[str, str]
    tokenizer: dict[str, Any]
    problem_type: ProblemType = SINGLE_LABEL


def expect_export(
    sample: VerificationSample,
    logits: SampleLogits,
    labels: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    numbers: Mapping[int, int] | None = None,
) -> ExpectedExport:
    """Return what is expected of a folder that `model` and `tokenizer` are saved to.

    The tokens of the rows are those that the trained model read. `numbers` has the number of each
    token of the base model in a trimmed vocabulary; None means that no number has changed.
    """
    encoded = sample.encoded
    ids = encoded.ids if encoded.kept is None else encoded.kept[encoded.ids]
    flat = [int(token) if numbers is None else numbers[int(token)] for token in ids]
    spans = zip(encoded.starts, encoded.lengths, strict=True)
    rows = [flat[start : start + length] for start, length in spans]
    return ExpectedExport(
        sample=sample,
        logits=logits,
        labels=tuple(labels),
        ids=rows + reload.token_ids(tokenizer, PROBE_TEXTS, None),
        weights=reload.weight_digests(model),
        tokenizer=reload.tokenizer_traits(tokenizer),
    )


def reload_in_new_process(
    folder: str, texts: Sequence[str], pairs: Sequence[str] | None, probes: Sequence[str]
) -> dict[str, Any]:
    """Return the result of `reload.reload_logits` from a process that has never seen the model."""
    return run_in_new_process({"folder": folder, "texts": texts, "pairs": pairs, "probes": probes})


def run_in_new_process(arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return the result of the function of `reload` that takes these `arguments` by name.

    The process has no network, no accelerator and does not import autoprune. Raises `ModelError`.
    """
    process = subprocess.run(
        # -P: the script's folder is not searched for modules.
        [sys.executable, "-P", reload.__file__],
        input=json.dumps(arguments),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        result: dict[str, Any] = json.loads(process.stdout)
    except ValueError as error:
        last = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise ModelError(
            f"the exported model could not be loaded in a new process, which ended with code "
            f"{process.returncode}: {last[:200]}"
        ) from error
    return result


def verify_export(
    folder: Path, expected: ExpectedExport, reload: Reload = reload_in_new_process
) -> float:
    """Reload `folder` and return the largest difference of a logit.

    Raises `ModelError` that names the first thing that is not as `expected`.
    """
    if name := unexpected_file(folder):
        raise _refusal(f"{name} does not belong in the folder of a model")
    rows = expected.sample.rows
    try:
        result = reload(str(folder), rows.texts, rows.pairs, PROBE_TEXTS)
    except ModelError:
        raise
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    if "error" in result:
        raise _refusal(f"it does not load: {first_line(ValueError(result['error']))}")
    for fault, names in result["report"].items():
        shown = ", ".join(names[:3])
        raise _refusal(f"{fault.replace('_', ' ')}: {shown}{' and more' * (len(names) > 3)}")
    _check_labels(expected.labels, result)
    _check_ids(expected.ids, result["ids"])
    for name, value in expected.tokenizer.items():
        actual = result["tokenizer"][name]
        if actual != value:
            raise _refusal(f"its tokenizer has {name}: {actual!a}, not {value!a}")
    gap = _check_logits(expected.logits.together, np.array(result["logits"], dtype=np.float32))
    _check_pipeline(expected, result["pipeline"])
    # The rows look up few tokens, and logits are rounded: so every bit of each weight is checked.
    for name in sorted({*expected.weights, *result["weights"]}):
        if expected.weights.get(name) != result["weights"].get(name):
            raise _refusal(f"its weights {name} differ from those in memory")
    return gap


def _refusal(reason: str) -> ModelError:
    return ModelError(f"the exported model is not the trained one, so it is not kept: {reason}")


def unexpected_file(folder: Path) -> str | None:
    """Return the name of a file that does not belong in the folder of a model, None without one."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and name in ("onnx", "openvino"):
            continue
        if not path.is_file() or not any(fnmatch(name, pattern) for pattern in ALLOWED_FILES):
            return name
    return None


def _check_labels(labels: Sequence[str], result: Mapping[str, Any]) -> None:
    if result["labels"] != list(labels):
        raise _refusal(f"its labels are {result['labels']}, not {list(labels)}")
    numbers = {name: number for number, name in enumerate(labels)}
    if result["numbers"] != numbers:
        raise _refusal(f"its labels have the numbers {result['numbers']}, not {numbers}")


def _check_ids(expected: list[list[int]], actual: list[list[int]]) -> None:
    for row, (old, new) in enumerate(zip(expected, actual, strict=True), start=1):
        if old != new:
            raise _refusal(
                f"its tokenizer makes {new[:6]}... of text {row} of {len(expected)}, "
                f"{len(new)} tokens, not {old[:6]}..., {len(old)} tokens"
            )


def _check_logits(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    if expected.shape != actual.shape:
        raise _refusal(f"its logits have the shape {actual.shape}, not {expected.shape}")
    differences = np.abs(expected.astype(np.float64) - actual)  # (rows, classes)
    row = int(np.nan_to_num(differences, nan=np.inf).max(-1).argmax())
    gap = float(differences[row].max())
    if not gap <= LOGIT_TOLERANCE:  # also true for NaN
        raise _refusal(
            f"a logit of row {row + 1} of {len(expected)} differs by {gap:.2g}, the limit is "
            f"{LOGIT_TOLERANCE:.0e}"
        )
    return gap


def _check_pipeline(
    expected: ExpectedExport, answers: Sequence[Sequence[tuple[int, str, float]]]
) -> None:
    """Check the labels and probabilities that the pipeline gives for single rows."""
    kind, first = expected.problem_type, 0
    for row, answer in enumerate(answers):
        outputs = int(expected.sample.encoded.lengths[row]) if kind.by_word else 1
        probabilities = kind.probabilities(expected.logits.alone[first : first + outputs])
        first += outputs
        for token, label, probability in answer:
            by_label = dict(zip(expected.labels, probabilities[token], strict=True))
            if label not in by_label or not abs(by_label[label] - probability) <= LOGIT_TOLERANCE:
                raise _refusal(
                    f"its pipeline gives {label!a} with {probability:.6f} for row {row + 1}, not "
                    + ", ".join(f"{name!a} with {p:.6f}" for name, p in by_label.items())
                )
        if not kind.by_word and len(answer) != len(expected.labels):
            raise _refusal(f"its pipeline gives {len(answer)} labels for row {row + 1}")
