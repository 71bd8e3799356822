"""Folders: the files of each split, by the names and layouts that people use."""

import shutil

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from autoprune.errors import DataError
from autoprune.tasks.folders import find_files
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["good", "bad"])})


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder):
    return {
        split: [file.relative_to(folder).as_posix() for file in files]
        for split, files in find_files(folder).items()
    }


def rows(split, number):
    return Dataset.from_dict(
        {
            "text": [f"{split} {i}" for i in range(number)],
            "label": [i % 2 for i in range(number)],
        },
        features=FEATURES,
    )


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["train_final.csv"], {"train": ["train_final.csv"]}),
        (["training.csv", "eval.csv"], {"train": ["training.csv"], "validation": ["eval.csv"]}),
        (
            ["my-train-v2.tsv", "dev_2.tsv"],
            {"train": ["my-train-v2.tsv"], "validation": ["dev_2.tsv"]},
        ),
        (["Train.csv", "TESTING.csv"], {"train": ["Train.csv"], "test": ["TESTING.csv"]}),
        (["train.csv", "train_old.csv"], {"train": ["train.csv"]}),
        (["train.csv", "constrain.csv", "latest.csv", "devices.csv"], {"train": ["train.csv"]}),
        (["train.csv", "train_test_dev.pdf", "notes_train_test_2.csv"], {"train": ["train.csv"]}),
        (
            ["news_train_test.csv", "train.csv"],
            {"train": ["train.csv"], "test": ["news_train_test.csv"]},
        ),
        (
            ["train/b.csv", "train/a.csv", "train/readme.txt", "test/x.jsonl", "Valid/y.csv"],
            {
                "train": ["train/a.csv", "train/b.csv"],
                "validation": ["Valid/y.csv"],
                "test": ["test/x.jsonl"],
            },
        ),
        (["train.csv", "train/train.csv", "test/"], {"train": ["train.csv"]}),
        (
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "README.md"],
            {"train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]},
        ),
        (
            ["train-00000-of-00002-0a1b.parquet", "train-00001-of-00002-ffff.parquet"],
            {"train": ["train-00000-of-00002-0a1b.parquet", "train-00001-of-00002-ffff.parquet"]},
        ),
        (
            ["mr/train-00000-of-00001.parquet", "figures/a.png"],
            {"train": ["mr/train-00000-of-00001.parquet"]},
        ),
    ],
)
def test_files_of_each_split_are_found(tmp_path, names, files):
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else touch(tmp_path, name)
    assert found(tmp_path) == files


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train1.csv", "train2.csv"],
            "one file for train, got 'train1.csv', 'train2.csv': rename",
        ),
        (["train.csv", "Train.tsv"], "must have one file for train"),
        (["train.csv", "dev.csv", "eval.csv"], "must have one file for validation, got 'dev.csv'"),
        (
            ["train-00000-of-00003.csv", "train-00002-of-00003.csv"],
            "is one of 3 files, .* 2 are there",
        ),
        (["train/a-00001-of-00002.csv"], "is one of 2 files, .* 1 are there"),
        (["train-00000-of-00002.csv", "train-00001-of-00002.tsv"], "must have one file for train"),
        (["train/a.csv", "train/b.parquet"], "files of one format, got '.csv', '.parquet'"),
        (
            ["mr/train.csv", "hi/train.csv", "x/y.csv"],
            "several data sets, in the folders 'hi', 'mr'",
        ),
        (["a/b/train.csv"], "must have a train file .*, it has 'a'"),
        (["train_test_1.csv"], "must have a train file .*, it has 'train_test_1.csv'"),
    ],
)
def test_unclear_folder_is_refused(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=message) as refused:
        find_files(tmp_path)
    assert "\n" not in str(refused.value)


def test_shards_are_read_as_one_split_with_their_class_names(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(2):
        part = rows("train", 20).shard(2, number, contiguous=True)
        part.to_parquet(tmp_path / f"data/train-{number:05d}-of-00002.parquet")
    rows("test", 4).to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    task = find_task(str(tmp_path))
    splits, test = read_splits(task), read_test(task)
    assert splits.names == ("good", "bad")
    assert (len(splits.train) + len(splits.validation), splits.held_out) == (20, ("validation",))
    assert test.rows.texts == ("test 0", "test 1", "test 2", "test 3")
    assert "test: rows from data/test-00000-of-00001.parquet" in splits.notes


def test_files_of_one_split_with_other_columns_are_refused(write, tmp_path):
    write("own/train/a.csv", [("a", "x"), ("b", "y")])
    write("own/train/b.csv", [("c", "x")], ("text", "category"))
    with pytest.raises(DataError, match=r"same columns, own/train/b.csv has 'text', 'category'"):
        read_splits(find_task("./own"))


def test_saved_data_sets_are_read(tmp_path):
    splits = {"train": rows("train", 20), "validation": rows("v", 2), "test": rows("test", 4)}
    DatasetDict(splits).save_to_disk(tmp_path / "all", num_shards=dict.fromkeys(splits, 2))
    touch(tmp_path, "all/train/cache-0123.arrow")  # as `map` leaves one
    task = find_task(str(tmp_path / "all"))
    read = read_splits(task)
    assert (read.names, len(read.train), read.held_out) == (("good", "bad"), 20, ())
    assert read.validation.labels == (0, 1)
    assert read_test(task).rows.texts == ("test 0", "test 1", "test 2", "test 3")
    rows("train", 20).select([*range(19, -1, -1)]).save_to_disk(tmp_path / "one")
    one = read_splits(find_task(str(tmp_path / "one")))
    assert (one.names, one.held_out) == (("good", "bad"), ("test", "validation"))
    assert one.train.texts[0] == "train 19"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", "state.json is broken"),
        ("[" * 100_000, "state.json is broken"),
        ("{}", "state.json is broken"),
        ('{"_data_files": []}', "has none"),
        (
            '{"_data_files": [{"filename": "../secret.arrow"}]}',
            r"beside it, got '\.\./secret.arrow'",
        ),
        ('{"_data_files": [{"filename": 3}]}', "beside it, got '3'"),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', "beside it, got 'gone.arrow'"),
        ('{"_data_files": [{"filename": "bad.arrow"}]}', "bad.arrow must be an Arrow file"),
    ],
)
def test_damaged_saved_data_set_is_refused(tmp_path, state, message):
    folder = tmp_path / "saved"
    rows("train", 20).save_to_disk(folder)
    shutil.copy(folder / "data-00000-of-00001.arrow", tmp_path / "secret.arrow")
    (folder / "bad.arrow").write_bytes(b"no arrow at all")
    (folder / "state.json").write_text(state)
    with pytest.raises(DataError, match=message) as refused:
        read_splits(find_task(str(folder)))
    assert "\n" not in str(refused.value)


def test_cut_off_arrow_file_is_refused(tmp_path):
    rows("train", 2000).save_to_disk(tmp_path)
    [file] = tmp_path.glob("*.arrow")
    content = file.read_bytes()
    for size in (0, 5, 100, len(content) // 2):
        file.write_bytes(content[:size])
        with pytest.raises(DataError, match="must be an Arrow file"):
            read_splits(find_task(str(tmp_path)))
