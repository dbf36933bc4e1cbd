"""Predicts the classes of images, with a published ImageNet network or one that thaw trained."""

import sys
from pathlib import Path

from thaw.common.console import print_table, progress, say
from thaw.common.hardware import detect_processor
from thaw.config.tool_schemas import PredictConfig
from thaw.frozen import engine
from thaw.results.predicted_files import ImageReader, find_images, predicted_images
from thaw.results.trained_classifier import Classifier, load_classifier, probability_function
from thaw.serve.answer import top_answers
from thaw.tools.chart_files import ChartFiles
from thaw.tools.explained_images import ExplainedImages
from thaw.tools.feature_files import write_features
from thaw.tools.picture_names import check_no_image_is_replaced
from thaw.tools.predict_options import check_options
from thaw.tools.prediction_listing import Predictions, encode_listing, listing_table, listing_text


def predict(config: PredictConfig) -> None:
    """Print the most probable classes of every image; with `features=` write a layer's output instead.

    Raises:
        UserError: keys contradict each other; at the end, when some files could not be read.
    """
    check_options(config)
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    if config.features is not None:
        write_features(config)
        return
    files = find_images(config.images)
    if config.output:
        check_no_image_is_replaced(f"output={config.output}", [Path(config.output).expanduser()], files)
    classifier = load_classifier(config.model, config.backbone, Path(config.outputs), config.tracking_uri)
    reader = ImageReader(files, classifier.image_size, config.bits or classifier.bits)
    predictions = _predict_files(classifier, reader, config)
    if warning := reader.few_bits_warning():
        print(warning, file=sys.stderr)
    _write_listing(predictions, config)
    reader.check_all_read()


def _predict_files(classifier: Classifier, reader: ImageReader, config: PredictConfig) -> Predictions:
    """Return the most probable classes by file; draw the charts and explanations that are asked for."""
    names, predictions = classifier.class_names, {}
    probabilities = probability_function(classifier, config.engine, config.precision, calibrated=config.calibrated)
    files, bits = reader.files, reader.bits
    charts = ChartFiles(config.chart, files, names, config.top, bits) if config.chart else None
    explained = ExplainedImages(config.explain_output, files, classifier, bits) if config.explain else None
    with progress("predicting", len(files)) as bar:
        for batch in predicted_images(reader, probabilities, config.batch_size, bar.advance):
            for image in batch:
                predictions[image.file] = top_answers(image.probabilities, names, config.top)
                if charts:
                    charts.add(image)
            if explained:
                explained.add(batch)
    if charts:
        charts.report()
    if explained:
        explained.finish()
    return predictions


def _write_listing(predictions: Predictions, config: PredictConfig) -> None:
    if config.format == "table" and not config.output:
        print_table(listing_table(predictions))
        return
    listing = encode_listing(listing_text(predictions, config.format), config.format)
    if config.output:
        Path(config.output).expanduser().write_bytes(listing)
        say(f"wrote {config.output}")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(listing)
