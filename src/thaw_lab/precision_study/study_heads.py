"""Heads on features: logistic regression, and the head of recipe=bottleneck."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw.config.schema import OptimizerConfig
from thaw.training.optimizers import build_optimizer

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Predictor = Callable[[Floats], npt.NDArray[Any]]  # features (N, D) -> probabilities (N, C)
REGULARIZATION = (1e-3, 1e-2, 1e-1)  # values of C, of which validation chooses


@dataclass(frozen=True)
class Head:
    """A head and how it is trained; hidden=None is scikit-learn's logistic regression on standardised features.

    regularization: values of its C, of which the accuracy on validation images chooses one.
    """

    hidden: int | None = 1024  # 0: no hidden layer
    dropout: float = 0.0
    learning_rate: float = 1e-3
    epochs: int = 10  # half of the recipe's: the loss on validation rises after the sixth
    regularization: tuple[float, ...] = REGULARIZATION

    @property
    def label(self) -> str:
        """The name in tables and files."""
        if self.hidden is None:
            return "logistic" + "".join(
                f"-c{c:g}" for c in self.regularization if self.regularization != REGULARIZATION
            )
        return f"dense{self.hidden}-dropout{self.dropout:g}-lr{self.learning_rate:g}-epochs{self.epochs}"

    def fit(self, train: tuple[Floats, Ints], validation: tuple[Floats, Ints], classes: int, seed: int) -> Predictor:
        """Return the trained head as a function."""
        if self.hidden is None:
            return _fit_logistic(self.regularization, train, validation)
        return _fit_dense(self, train, classes, seed)


def _fit_logistic(
    regularization: tuple[float, ...], train: tuple[Floats, Ints], validation: tuple[Floats, Ints]
) -> Predictor:
    def fitted(c: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(*train)

    best = max(map(fitted, regularization), key=lambda probe: probe.score(*validation))
    return lambda features: np.asarray(best.predict_proba(features))


def _fit_dense(head: Head, train: tuple[Floats, Ints], classes: int, seed: int) -> Predictor:
    """Train with Keras as recipe=bottleneck does: RMSprop, batches of 32; the last epoch's weights are kept."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    layers: list[Any] = [keras.Input(train[0].shape[1:])]
    if head.hidden:
        layers.append(keras.layers.Dense(head.hidden, activation="relu"))
    if head.dropout:
        layers.append(keras.layers.Dropout(head.dropout))
    model = keras.Sequential([*layers, keras.layers.Dense(classes, activation="softmax")])
    optimizer = build_optimizer(OptimizerConfig(name="rmsprop", learning_rate=head.learning_rate, momentum=None))
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False, steps_per_execution=32)
    model.fit(*train, batch_size=32, epochs=head.epochs, verbose=0)
    return lambda features: np.asarray(model(features, training=False))
