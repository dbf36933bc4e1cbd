"""Writes a network's random weights to a file, so that several programs can start from the same ones."""

import argparse


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--file", required=True, help="to write; its name ends in .weights.h5")
    parser.add_argument("--json", help="file for what was measured: nothing")
    args = parser.parse_args(given)
    import keras

    from thaw_lab.benchmark.keras_scripts import keras_networks

    keras.utils.set_random_seed(0)
    keras_networks.build(args.network, args.size)[0].save_weights(args.file)
    if args.json:
        with open(args.json, "w") as file:  # noqa: PTH123
            file.write("{}")


if __name__ == "__main__":
    main()
