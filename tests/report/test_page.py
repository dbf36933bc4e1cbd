"""The page as text: what is in it, what is not, and how large it gets."""

import base64
import dataclasses
import hashlib
import re

import numpy as np
import pytest

from thaw.report.page import MAX_PAGE_BYTES, report_page
from thaw.report.picture_budget import fitting
from thaw.report.report_drawings import report_drawings, with_fewer_points
from thaw.report.report_files import write_report

from .made_content import (
    CLASSES,
    make_confusion,
    make_content,
    make_feature_map,
    make_gallery,
    make_split,
)

NOTHING = {
    "history": (), "best_epochs": (), "val_loss_meaning": "", "plans": (), "seconds": {}, "cache": {}, "galleries": (),
    "explanations": (), "feature_maps": (), "inputs": (), "model_summary": "", "remarks": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return rendered(make_content())


def rendered(content) -> str:
    content = with_fewer_points(content)
    return report_page(content, report_drawings(content))


def body(page: str) -> str:
    """The page without its scripts."""
    return re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


def test_sections_have_their_order_and_absent_ones_no_place():
    whole = rendered(make_content(("cat", "dog")))
    assert sections(whole) == [
        "verdict", "learning", "plan", "cost", "confusions", "classes", "ranking", "thresholds", "calibration",
        "galleries", "explanations", "features", "inputs", "model", "remarks",
    ]  # fmt: skip
    bare = rendered(make_content(**NOTHING))
    assert sections(bare) == ["verdict", "confusions", "classes", "ranking", "calibration"]
    for page in (whole, bare):
        assert re.findall(r'<li><a href="#(\w+)">', page) == sections(page)


def test_the_page_states_the_verdict_and_the_figures(page):
    test, val = make_content(**NOTHING).splits
    page = body(page)
    assert "The three worst confusions: cat for dog (14)" in page
    for split in (test, val):
        assert f"{100 * split.accuracy.value:.1f}\u00a0%" in page
    deer = test.classes[4]
    row = re.search(r"<bdi>deer</bdi></th>.*?</tr>", page, re.DOTALL)[0]
    assert f"{100 * deer.recall.value:.0f}\u00a0%" in row
    assert "The temperature 1.37, fitted on validation images, makes probabilities less extreme" in page
    assert "expected calibration error 0.015 instead of 0.090" in page


def test_a_split_without_a_temperature_has_one_column_of_calibration():
    page = body(
        rendered(make_content(**NOTHING, splits=[make_split(make_confusion(3, 9), ("a", "b", "c"), temperature=None)]))
    )
    assert "No temperature was fitted" in page
    assert "with temperature" not in page


def test_only_the_two_scripts_of_the_page_may_run(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy
    allowed = re.search(r"script-src (.*)", policy)[1]
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    ]
    assert allowed == " ".join(f"'sha256-{value}'" for value in hashes)
    assert len(hashes) == 2
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,|#|[\w-]+\.(csv|json)")', body(page))


def test_every_chart_has_words_and_a_file_of_its_numbers(page):
    labels = re.findall(r'<div class="chart" role="img" aria-label="([^"]*)"', page)
    assert len(labels) == 13
    assert all(len(label) > 40 for label in labels)
    files = {"figures.json", "classes.csv", "confusions.csv", "calibration.csv"}
    assert set(re.findall(r'href="([\w-]+\.\w+)"', body(page))) == files


def test_ten_thousand_images_of_a_thousand_classes_stay_under_five_megabytes(tmp_path):
    names = [f"species number {i:04} of a genus" for i in range(1000)]
    matrix = make_confusion(1000, 10)
    matrix[7] = 0
    write_report(
        make_content(
            names,
            splits=[make_split(matrix, names)],
            feature_maps=[make_feature_map(key, names, 10_000, 1) for key in ("pca-before", "pca-after")],
            galleries=[make_gallery("typical", "Typical", names, 1000, side=192)],
        ),
        tmp_path, "short",
    )  # fmt: skip
    size = (tmp_path / "report.html").stat().st_size
    assert MAX_PAGE_BYTES * 0.9 < size < MAX_PAGE_BYTES, "pictures fill the room that is left"
    assert (tmp_path / "figures.json").stat().st_size < 5_000_000
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Shown are 2,000 of 10,000 images, evenly." in page
    assert re.search(r"Shown: \d+ of 3,000", page)
    assert page.count('<th scope="row" class="name">') == 1000


def test_each_gallery_gets_a_picture_before_one_gets_its_second():
    galleries = [make_gallery("a", "A", CLASSES, 30), make_gallery("b", "B", CLASSES, 2)]
    one = len(galleries[0].images[0].jpeg) * 4 / 3 + 700
    assert [len(g.images) for g in fitting(galleries, int(5.5 * one))] == [3, 2]
    assert [len(g.images) for g in fitting(galleries, 10**9)] == [30, 2]
    assert [len(g.images) for g in fitting(galleries, 0)] == [0, 0]


def test_perfect_and_single_class_predictions_can_be_shown():
    perfect = make_split(np.diag([5, 5, 5]), ("a", "b", "c"))
    page = body(rendered(make_content(**NOTHING, splits=[perfect])))
    assert page.count("No image is in a wrong class.") >= 1
    single = make_split(np.array([[5]]), ("only",))
    single = dataclasses.replace(single, roc=(), precision_recall=(), macro_roc_auc=None, macro_average_precision=None)
    assert "ranking" not in sections(rendered(make_content(("only",), **NOTHING, splits=[single])))
