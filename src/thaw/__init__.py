"""thaw: config-driven transfer learning for image classification.

    from thaw import features, load, plan_freeze, train

is the Python interface, beside `thaw.UserError`, which it raises for what a user can mend. The classes it returns
(`TrainedModel`, `Predictions`, `FreezePlan`, `RunResult`) can be imported for annotations. Everything else in this
package is private, whatever its name, and changes without notice.

Importing thaw imports neither TensorFlow nor MLflow: they come with the first call.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thaw.api import Predictions, TrainedModel, features, load, plan_freeze, train
    from thaw.common.errors import UserError
    from thaw.models.freeze import FreezePlan
    from thaw.results.result import RunResult

__version__ = "0.1.0"
__all__ = [
    "FreezePlan", "Predictions", "RunResult", "TrainedModel", "UserError", "features", "load", "plan_freeze", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from thaw import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
