"""The gate: an exported folder is loaded anew and must answer as the trained model did."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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

LOGIT_TOLERANCE = 1e-5  # the largest difference of a logit

# Nothing that can run code when it is read, and nothing that was not meant to be there.
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
    "*.model",
    "README.md",
    "model*.onnx",
)

# What task texts need not hold: case, accents, joiners, other scripts, digits, pictures, spaces.
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
    """What a folder must give back: see `reloading.reload`.

    `answers` are the trained model's as it was measured, everything else is of the model and the
    tokenizer in memory that were saved to the folder.
    """

    sample: VerificationSample
    answers: SampleLogits
    labels: tuple[str, ...]
    ids: list[list[int]]
    weights: dict[str, str]
    tokenizer: dict[str, Any]


def expected_export(
    sample: VerificationSample,
    answers: SampleLogits,
    labels: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    numbers: Mapping[int, int] | None = None,
) -> ExpectedExport:
    """Return what is expected of a folder that `model` and `tokenizer` are saved to.

    The rows' tokens are those the trained model read; `numbers` has for a token of the base model
    its number in a trimmed vocabulary (None: as it was).
    """
    encoded = sample.encoded
    ids = encoded.ids if encoded.kept is None else encoded.kept[encoded.ids]
    flat = [int(token) if numbers is None else numbers[int(token)] for token in ids]
    rows = [
        flat[start : start + length]
        for start, length in zip(encoded.starts, encoded.lengths, strict=True)
    ]
    return ExpectedExport(
        sample=sample,
        answers=answers,
        labels=tuple(labels),
        ids=rows + reload.token_ids(tokenizer, PROBE_TEXTS, None),
        weights=reload.weight_digests(model),
        tokenizer=reload.tokenizer_traits(tokenizer),
    )


def reload_in_new_process(
    folder: str, texts: Sequence[str], pairs: Sequence[str] | None, probes: Sequence[str]
) -> dict[str, Any]:
    """Return what `reloading.reload` answers in a process that has never seen the model.

    It has no network, no accelerator and nothing of autoprune. Raises `ModelError`.
    """
    question = {"folder": folder, "texts": texts, "pairs": pairs, "probes": probes}
    done = subprocess.run(
        # -P: the script's folder is not searched for modules.
        [sys.executable, "-P", reload.__file__],
        input=json.dumps(question),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(
            f"the exported model could not be loaded in a process of its own, which ended with "
            f"code {done.returncode}: {last[:200]}"
        ) from error
    return answer


def verify_export(
    folder: Path, expected: ExpectedExport, reload: Reload = reload_in_new_process
) -> float:
    """Return the largest difference of a logit after `folder` was loaded anew.

    Raises `ModelError` that names the first thing in which it is not as `expected`.
    """
    _check_files(folder)
    rows = expected.sample.rows
    try:
        answer = reload(str(folder), rows.texts, rows.pairs, PROBE_TEXTS)
    except Exception as error:
        if isinstance(error, ModelError):
            raise
        answer = {"error": f"{type(error).__name__}: {error}"}
    if "error" in answer:
        raise _refused(f"it does not load: {first_line(ValueError(answer['error']))}")
    for what, names in answer["trouble"].items():
        shown = ", ".join(names[:3])
        raise _refused(f"{what.replace('_', ' ')}: {shown}{' and more' * (len(names) > 3)}")
    _check_labels(expected.labels, answer)
    _check_ids(expected.ids, answer["ids"])
    _check_traits(expected.tokenizer, answer["tokenizer"])
    gap = _gap(expected.answers.together, np.array(answer["logits"], dtype=np.float32))
    _check_said(expected, answer["said"])
    _check_weights(expected.weights, answer["weights"])
    return gap


def _refused(why: str) -> ModelError:
    return ModelError(f"the exported model is not the trained one, so it is not kept: {why}")


def _check_files(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or not any(fnmatch(path.name, pattern) for pattern in ALLOWED_FILES):
            raise _refused(f"{path.name} does not belong into a model's folder")


def _check_labels(labels: Iterable[str], answer: Mapping[str, Any]) -> None:
    wanted = list(labels)
    if answer["labels"] != wanted:
        raise _refused(f"its labels are {answer['labels']}, not {wanted}")
    numbers = {name: place for place, name in enumerate(wanted)}
    if answer["numbers"] != numbers:
        raise _refused(f"its labels have the numbers {answer['numbers']}, not {numbers}")


def _check_ids(wanted: list[list[int]], got: list[list[int]]) -> None:
    for row, (mine, theirs) in enumerate(zip(wanted, got, strict=True), start=1):
        if mine != theirs:
            raise _refused(
                f"its tokenizer makes {theirs[:6]}... of text {row} of {len(wanted)}, "
                f"{len(theirs)} tokens, not {mine[:6]}..., {len(mine)} tokens"
            )


def _check_traits(wanted: Mapping[str, Any], got: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if got[name] != value:
            raise _refused(f"its tokenizer has {name}: {got[name]!a}, not {value!a}")


def _check_weights(wanted: Mapping[str, str], got: Mapping[str, str]) -> None:
    """Check every weight bit by bit: the rows look few tokens up, and round a little."""
    for name in sorted({*wanted, *got}):
        if wanted.get(name) != got.get(name):
            raise _refused(f"its weights {name} are others than those in memory")


def _gap(wanted: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    if wanted.shape != got.shape:
        raise _refused(f"its logits have the shape {got.shape}, not {wanted.shape}")
    differences = np.abs(wanted.astype(np.float64) - got)  # (rows, classes)
    row = int(np.nan_to_num(differences, nan=np.inf).max(-1).argmax())
    gap = float(differences[row].max())
    if not gap <= LOGIT_TOLERANCE:  # neither is a gap that is not a number
        raise _refused(
            f"a logit of row {row + 1} of {len(wanted)} differs by {gap:.2g}, at most {LOGIT_TOLERANCE:.0e} "
            "may be"
        )
    return gap


def _check_said(expected: ExpectedExport, said: Sequence[tuple[str, float]]) -> None:
    """Check the labels and probabilities that the pipeline gives for single rows."""
    for row, (label, share) in enumerate(said):
        logits = expected.answers.alone[row].astype(np.float64)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        wanted = dict(zip(expected.labels, shares, strict=True))
        if (
            label not in wanted
            or abs(wanted[label] - share) > LOGIT_TOLERANCE
            or max(shares) - share > LOGIT_TOLERANCE
        ):
            raise _refused(
                f"its pipeline says {label!a} with {share:.6f} of row {row + 1}, not "
                f"{max(wanted, key=lambda name: wanted[name])!a} with {max(shares):.6f}"
            )
