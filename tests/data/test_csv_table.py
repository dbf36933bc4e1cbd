import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import dataset_table
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, VAL

PICTURES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "sub/e.jpg")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in PICTURES:
        (tmp_path / "data" / name).write_bytes(name.encode())
    return tmp_path / "data"


def read(folder, text, encoding="utf-8"):
    (folder / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return dataset_table.load_named_catalog(DatasetConfig(name="csv", path=str(folder / "labels.csv")))


def refused(folder, text, **options):
    with pytest.raises(UserError) as raised:
        read(folder, text, **options)
    return str(raised.value)


def test_a_table_gives_paths_labels_splits_and_groups(folder):
    catalog = read(
        folder,
        "path,label,split,group\nd.jpg,dog,test,p1\nsub/e.jpg,cat,,\na.jpg,cat,train,p2\nb.jpg,dog,Val,\n",
    )
    assert catalog.names == ("a.jpg", "b.jpg", "d.jpg", "sub/e.jpg")
    assert catalog.paths == tuple(str(folder / name) for name in catalog.names)
    assert catalog.class_names == ("cat", "dog")
    assert catalog.labels.tolist() == [0, 1, 1, 0]
    assert catalog.assigned_splits.tolist() == [TRAIN, VAL, TEST, UNASSIGNED]
    assert catalog.groups == ("p2", "", "p1", "")


def test_the_order_of_rows_and_columns_does_not_matter(folder):
    one = read(folder, "path,label\na.jpg,x\nb.jpg,y\nc.jpg,x\n")
    two = read(folder, "label,notes,path\nx,?,c.jpg\nx,,a.jpg\ny,,b.jpg\n")
    assert (one.names, one.paths, one.groups) == (two.names, two.paths, None)
    assert np.array_equal(one.labels, two.labels)


def test_what_spreadsheets_make_of_a_table_is_read(folder):
    """A byte order mark, Windows's line ends, quotes, capitals, spaces after commas, empty lines at the end."""
    (folder / 'a "b", c.jpg').write_bytes(b"")
    text = '\ufeffPath, Label\r\n"a ""b"", c.jpg", cat \r\n"b.jpg","dog"\r\n\r\n,\r\n'
    catalog = read(folder, text)
    assert catalog.names == ('a "b", c.jpg', "b.jpg")
    assert catalog.class_names == ("cat", "dog")


def test_absolute_paths_name_pictures_from_the_tables_folder_where_they_lie_in_it(folder):
    catalog = read(folder, f"path,label\n{folder}/a.jpg,x\n./sub/../sub/e.jpg,y\n")
    assert catalog.names == ("a.jpg", "sub/e.jpg")


def test_names_of_pictures_elsewhere_hold_no_machines_folders(folder, tmp_path):
    (tmp_path / "tables").mkdir()
    catalog = read(tmp_path / "tables", f"path,label\n../data/a.jpg,x\n{folder}/sub/e.jpg,y\n")
    assert catalog.names == ("a.jpg", "sub/e.jpg")
    assert catalog.paths == (str(folder / "a.jpg"), str(folder / "sub/e.jpg"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "has no column path. Its first line must name the columns"),
        ("path\na.jpg\n", "has no column label"),
        ("path,lable\na.jpg,x\n", "has no column label. Is it called 'lable'?"),
        ("path;label\na.jpg;x\n", "Columns are separated by commas"),
        ("path,label,Label\na.jpg,x,y\n", "has the column label twice"),
        ("path,label\n", "holds 0 pictures of 0 classes"),
        ("path,label\na.jpg,x\nb.jpg,x\n", "holds 2 pictures of 1 classes; at least two classes are needed"),
        ("path,label\na.jpg,x\nb.jpg,\nc.jpg, \n", "2 lines have no label:\n  line 3\n  line 4"),
        ("path,label\n,x\nb.jpg,y\n", "1 lines have no path:\n  line 2"),
        ('path,label\na.jpg,"x\ny"\nb.jpg,y\n', r"1 lines have a label that is no text:" "\n  line 3: x\\ny"),
        ("path,label\na.jpg,x,y\n", "line 2, has 3 fields, and the first line names 2 columns"),
        ('path,label\na.jpg,"x\nb.jpg,y\n', "cannot be read: unexpected end of data"),
        ("path,label\na.jpg,x\nno.jpg,y\nsub,y\n", "2 lines name a picture that does not exist:\n  line 3: /"),
        ("path,label\na.jpg,x\nb.jpg,y\n./a.jpg,y\n", "1 pictures are listed more than once:\n  line 2: /"),
        ("path,label,split\na.jpg,x,tset\nb.jpg,y,test\n", "line 2: tset Did you mean 'test'?"),
    ],
)
def test_a_mistake_is_named_with_its_line(folder, text, error):
    assert error in refused(folder, text)


def test_the_same_picture_twice_names_both_lines(folder):
    error = refused(folder, f"path,label\na.jpg,x\nb.jpg,y\n{folder}/a.jpg,x\n")
    assert f"line 2: {folder}/a.jpg, also line 4" in error


def test_a_group_that_the_table_cuts_is_named(folder):
    text = "path,label,split,group\na.jpg,x,train,anna\nb.jpg,y,test,bob\nc.jpg,x,test,anna\nd.jpg,y,,bob\n"
    error = refused(folder, text)
    assert "1 groups are in more than one split:\n  group anna is in train (line 2) and test (line 4)" in error
    assert "bob" not in error


def test_a_long_list_of_mistakes_is_cut(folder):
    error = refused(folder, "path,label\n" + "".join(f"no{i}.jpg,x\n" for i in range(50)))
    assert error.count("\n  line") == 20
    assert error.endswith("and 30 more")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("path,label\na.jpg,Bär\n".encode("latin-1"), "line 2, is not UTF-8"),
        ("path,label\nb.jpg,x\nBär.jpg,y\n".encode("latin-1"), "line 3, is not UTF-8"),
        ("path,label\n".encode("utf-16"), "line 1, is not UTF-8"),
    ],
)
def test_another_encoding_is_named(folder, content, error):
    assert error in refused(folder, content)


def test_a_table_that_is_not_there_or_a_folder_is_named(folder):
    for path, error in (
        (folder / "no.csv", "does not exist"),
        (folder, "use dataset=image_folder"),
        (None, "dataset=csv needs dataset.path=FILE"),
    ):
        with pytest.raises(UserError, match=error):
            dataset_table.load_named_catalog(DatasetConfig(name="csv", path=None if path is None else str(path)))


def test_names_need_not_be_ascii(folder):
    (folder / "ä é.jpg").write_bytes(b"")
    assert read(folder, "path,label\nä é.jpg,Bär\nb.jpg,dog\n").class_names == ("Bär", "dog")


def test_a_name_that_is_no_utf8_on_the_disk_either_is_read(folder):
    (folder / "caf\udce9.jpg").write_bytes(b"")
    assert read(folder, b"path,label\na.jpg,x\ncaf\xe9.jpg,y\n").names == ("a.jpg", "caf\udce9.jpg")


def test_words_for_a_split_mean_the_same_in_a_table_as_in_folders(folder):
    catalog = read(folder, "path,label,split\na.jpg,x,Training\nb.jpg,y,train_set\nc.jpg,x,PublicTest\nd.jpg,y,dev\n")
    assert catalog.assigned_splits.tolist() == [TRAIN, TRAIN, TEST, VAL]


@pytest.mark.parametrize("other", ["cat", "CAT", "Cat"])
def test_labels_that_differ_only_in_spelling_are_one_error(folder, other):
    text = f"path,label,split\na.jpg,Ca\u0301t,train\nb.jpg,dog,train\nc.jpg,{other.replace('a', 'á')},test\n"
    if other == "CAT":
        text = "path,label\na.jpg,Cat\nb.jpg,dog\nc.jpg,CAT \n"
    error = refused(folder, text)
    assert "names of classes that differ only in case, outer spaces or Unicode form" in error
    assert "(line 2)" in error
    assert "(line 4)" in error
    assert "Write the labels of a class alike" in error
