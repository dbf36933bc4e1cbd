"""scripts/layers.py as a user runs it."""


def test_layers_lists_blocks_and_totals(commands) -> None:
    ran = commands.run("scripts/layers.py", "backbone=inceptionv3")
    assert ran.code == 0, ran.err
    assert "with its ImageNet top: 23,851,784 parameters" in ran.out
    (line,) = [line for line in ran.out.splitlines() if " conv2d_51 " in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "171", "conv2d_51", "Conv2D", "17x17x160", "122,880", "mixed6", "3",
    ]  # fmt: skip
