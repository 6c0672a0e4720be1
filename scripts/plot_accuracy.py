#!/usr/bin/env python3
"""Draws accuracy against speed: one point a JSON line {"name", "maker", "kl", "prefill"}.

usage: plot_accuracy.py POINTS.jsonl PICTURE.svg
       kl: mean KL divergence in nats; prefill: tokens/s; maker: points of one get one colour; kl between 0.001 and
       0.05

Standard library only.
"""
import json
import math
import pathlib
import sys

COLORS = ("#1b6ca8", "#c8553d", "#4f772d", "#7b4b94")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 70, 46, 50, 20
X_STEP, Y_LINES = 50, (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        points = [json.loads(line) for line in file]
    x_end = (int(max(p["prefill"] for p in points) / X_STEP) + 1) * X_STEP

    def place_x(x):
        return LEFT + x / x_end * (WIDTH - LEFT - RIGHT)

    def place_y(y):
        share = math.log(y / Y_LINES[0]) / math.log(Y_LINES[-1] / Y_LINES[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="18" font-size="13">Accuracy against speed: lower right is '
           'better</text>',
           f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">prefill of 512 '
           'tokens, tokens/s (1.5B shape, 2 threads)</text>',
           f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
           'mean KL, nats (SmolLM2-135M)</text>']
    for line in Y_LINES:
        y = place_y(line)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{line}</text>')
    for x in range(0, x_end + 1, X_STEP):
        out.append(f'<text x="{place_x(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
                   f'{x}</text>')
    makers = sorted({p["maker"] for p in points})
    for p in points:
        color, x, y = COLORS[makers.index(p["maker"])], place_x(p["prefill"]), place_y(p["kl"])
        anchor, side = ("end", -8) if x > WIDTH * 0.6 else ("start", 8)
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'
                   f'<text x="{x + side:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}" '
                   f'fill="{color}">{p["name"]}</text>')
    path = pathlib.Path(sys.argv[2])
    path.write_text("\n".join(out) + "\n</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
