import numpy as np

from thaw.serve.answer import top_answers


def test_the_most_probable_classes_come_first_and_equals_in_the_networks_order():
    answers = top_answers(np.array([0.25, 0.5, 0.25, 0.0], np.float32), ["a", "b", "c", "d"], 3)
    assert answers == [
        {"class": "b", "probability": 0.5},
        {"class": "a", "probability": 0.25},
        {"class": "c", "probability": 0.25},
    ]


def test_more_than_there_are_is_all():
    assert len(top_answers(np.array([0.5, 0.5], np.float32), ["a", "b"], 9)) == 2
