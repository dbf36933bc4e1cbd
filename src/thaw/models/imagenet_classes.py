"""The thousand classes of ImageNet (ILSVRC-2012), the outputs of stock networks.

`imagenet_classes.txt` has one line per output of such a network, in index order: WordNet id, a space, and the first
lemma of that synset with underscores for spaces, the names that keras' `decode_predictions` gives. It was made from
`imagenet_synsets.txt` and `imagenet_synset_to_lemma.txt` in timm/data/_info of timm 1.0.31 (Apache-2.0).
"""

from importlib import resources


def imagenet_class_names() -> list[str]:
    """Return the 1000 names in index order, such as `Arabian_camel`; crane and maillot name two classes each."""
    text = resources.files("thaw.models").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return [line.split(" ", 1)[1] for line in text.splitlines()]
