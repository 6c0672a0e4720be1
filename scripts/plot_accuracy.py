#!/usr/bin/env python3
"""Draws accuracy against speed: one point a JSON line {"name", "maker", "kl", "prefill"}.

usage: plot_accuracy.py POINTS.jsonl PICTURE.svg
       kl: mean KL divergence in nats; prefill: tokens/s; maker: points of one get one colour; kl between 0.001 and
       0.05

Standard library only.
"""
import json
import pathlib
import sys

from svg_chart import COLORS, Axis, Chart

SIZE = 840, 560
X_STEP, Y_LINES = 50, (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        points = [json.loads(line) for line in file]
    x_end = (int(max(p["prefill"] for p in points) * 1.5 / X_STEP) + 1) * X_STEP  # room for the names
    chart = Chart(SIZE, "Accuracy against speed: lower right is better",
                  "prefill of 512 tokens, tokens/s (1.5B shape, 2 threads)",
                  "mean KL, nats (SmolLM2-135M)", Axis(0, x_end), Axis(Y_LINES[0], Y_LINES[-1], True))
    chart.ticks(range(0, x_end + 1, X_STEP), Y_LINES)
    makers = sorted({p["maker"] for p in points})
    for p in points:
        color = COLORS[makers.index(p["maker"])]
        chart.point(p["prefill"], p["kl"], color)
        chart.text(chart.x(p["prefill"]) + 8, chart.y(p["kl"]) + 4, p["name"], color=color)
    chart.save(pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
