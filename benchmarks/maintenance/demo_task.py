"""Check the bundled "demo" task and print how far a bag-of-words baseline gets on it.

Run ``python benchmarks/maintenance/demo_task.py`` from the repository root. The script exits with
status 1 if the three CSV files break an invariant that the task's README states.
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import Pipeline

TASK_DIR = (
    Path(__file__).resolve().parents[2] / "demo" / "src" / "autoprune_demo" / "tasks" / "demo"
)
PER_LABEL = {"train": 15, "validation": 10, "test": 20}
LABELS = (
    "Auto",
    "Bhakti",
    "Crime",
    "Education",
    "Fashion",
    "Health",
    "International",
    "Manoranjan",
    "Politics",
    "Sports",
    "Tech",
    "Travel",
)
C_GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def load_splits(task_dir: Path = TASK_DIR) -> dict[str, pd.DataFrame]:
    """Read the three CSV files as text, keyed by split name."""
    return {
        split: pd.read_csv(task_dir / f"{split}.csv", dtype=str, keep_default_na=False)
        for split in PER_LABEL
    }


def strip_punctuation(text: str) -> str:
    """Lower-case ``text`` and turn every punctuation mark or symbol into a space."""
    return "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in text.lower())


def find_problems(splits: dict[str, pd.DataFrame]) -> list[str]:
    """Return one sentence for each broken invariant; an empty list means all hold."""
    problems: list[str] = []
    for split, frame in splits.items():
        if list(frame.columns) != ["text", "label"]:
            return [f"{split}: the header is {list(frame.columns)}, not text,label"]
        counts = {str(label): int(n) for label, n in frame["label"].value_counts().items()}
        if counts != dict.fromkeys(LABELS, PER_LABEL[split]):
            problems.append(f"{split}: not {PER_LABEL[split]} rows for each label: {counts}")
    rows = pd.concat(list(splits.values()), ignore_index=True)
    expected = sum(PER_LABEL.values())
    if len(rows) != expected * len(LABELS):
        problems.append(f"{len(rows)} rows in all, not {expected * len(LABELS)}")
    problems += [
        f"empty, badly spaced or not NFC: {text!r}"
        for text in rows["text"]
        if not text or text != unicodedata.normalize("NFC", " ".join(text.split()))
    ]
    # Compared without punctuation and case: a text twice in one split is a duplicate, a text
    # in two splits is leakage; both show up here because the splits are checked together.
    keys = rows["text"].map(lambda text: " ".join(strip_punctuation(text).split()))
    problems += [f"appears more than once: {text}" for text in rows["text"][keys.duplicated()]]
    return problems


def baseline_accuracy(splits: dict[str, pd.DataFrame], analyzer: str) -> tuple[float, float]:
    """Fit TF-IDF and logistic regression on train, choosing C on validation.

    ``analyzer`` is ``"word"`` (1-2-grams of whitespace-separated words; scikit-learn's default
    token pattern would cut Devanagari words at their vowel signs) or ``"char_wb"`` (2-4-grams).
    Returns the chosen C and the test accuracy.
    """
    train, validation, test = (splits[name] for name in PER_LABEL)
    best: tuple[float, float, Pipeline] | None = None
    for c in C_GRID:
        vectorizer = TfidfVectorizer(
            analyzer=analyzer,
            preprocessor=strip_punctuation,
            token_pattern=r"[^\s]+" if analyzer == "word" else None,
            ngram_range=(1, 2) if analyzer == "word" else (2, 4),
            sublinear_tf=True,
        )
        model = Pipeline(
            [("tfidf", vectorizer), ("classifier", LogisticRegression(C=c, max_iter=2000))]
        )
        model.fit(train["text"], train["label"])
        score = float(accuracy_score(validation["label"], model.predict(validation["text"])))
        if best is None or score > best[0]:
            best = (score, c, model)
    if best is None:
        message = "C_GRID is empty"
        raise ValueError(message)
    _, chosen_c, model = best
    return chosen_c, float(accuracy_score(test["label"], model.predict(test["text"])))


def main() -> int:
    """Check the invariants, print the baselines, and return the exit status."""
    splits = load_splits()
    problems = find_problems(splits)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    for analyzer, ngrams in (("word", "1-2"), ("char_wb", "2-4")):
        c, accuracy = baseline_accuracy(splits, analyzer)
        print(
            f"TF-IDF ({analyzer} {ngrams}-grams) + logistic regression, C={c:g}: "
            f"test accuracy {accuracy:.1%}"
        )
    majority = splits["train"]["label"].mode()[0]
    print(f"majority baseline: test accuracy {(splits['test']['label'] == majority).mean():.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
