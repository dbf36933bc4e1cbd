"""Features in two dimensions, the same on every machine whatever its number of cores."""

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

# t-SNE's perplexity: about how many neighbours an image has. 30 is scikit-learn's and van der Maaten's usual value.
PERPLEXITY = 30.0
# What t-SNE sees: further components of features are noise to it, and distances in 50 dimensions are quicker.
COMPONENTS = 50
MIN_IMAGES = 5

Floats = npt.NDArray[np.floating]


def pca_2d(features: Floats) -> npt.NDArray[np.float64]:
    """Return the first two principal components, float64 (N, 2), of finite `features` (N, D).

    An axis points to where the feature that weighs most in it grows. An axis without any variance is 0.
    """
    from sklearn.decomposition import PCA  # takes seconds to import

    data = np.asarray(features, np.float64)
    known = min(2, *data.shape)
    if len(data) < 2 or not np.ptp(data, axis=0).any():
        return np.zeros((len(data), 2))
    # ARPACK finds a few components of thousands quickly; it cannot find all there are.
    solver = "arpack" if known < min(data.shape) else "full"
    with threadpool_limits(1):  # the number of threads changes the order of sums
        components = PCA(known, svd_solver=solver, random_state=0).fit_transform(data)
    return np.pad(components, ((0, 0), (0, 2 - known)))


def tsne_2d(features: Floats, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return t-SNE's map, float64 (N, 2), of finite `features` (N, D); it takes about 3 ms an image.

    It starts from the first two principal components, and so is turned as they are; distances between groups mean
    little (van der Maaten and Hinton, JMLR 2008; Kobak and Berens, Nature Communications 2019). The seed hardly changes
    it. Fewer than 5 images, and images that are all the same, stay at their principal components.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE  # takes seconds to import

    start = pca_2d(features)
    deviation = start[:, 0].std() if len(start) else 0.0
    if len(start) < MIN_IMAGES or deviation < 1e-12:
        return start
    data = np.asarray(features, np.float64)
    with threadpool_limits(1):
        components = PCA(min(COMPONENTS, *data.shape), svd_solver="randomized", random_state=seed).fit_transform(data)
        embedding = TSNE(
            2,
            perplexity=min(PERPLEXITY, (len(data) - 1) / 3),
            init=(start / deviation * 1e-4).astype(np.float32),
            random_state=seed,
            max_iter=500,
            n_jobs=1,
        ).fit_transform(components)
    return embedding.astype(np.float64)
