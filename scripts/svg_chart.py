"""A chart as an SVG picture: what plot_performance.py and plot_accuracy.py share. Standard library only."""
import math

COLORS = ("#1b6ca8", "#c8553d", "#4f772d", "#7b4b94")
LEFT, BOTTOM, TOP, RIGHT = 70, 46, 50, 20


class Axis:
    """low and high: values at the two ends."""

    def __init__(self, low, high, logarithmic=False):
        self.low, self.high, self.logarithmic = low, high, logarithmic and high > low

    def share(self, value):
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low or 1)


class Chart:
    def __init__(self, size, title, x_title, y_title, x_axis, y_axis):
        self.width, self.height = size
        self.x_axis, self.y_axis = x_axis, y_axis
        self.out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                    'font-family="sans-serif" font-size="12">',
                    f'<rect width="{self.width}" height="{self.height}" fill="#fff"/>',
                    f'<text x="{LEFT}" y="18" font-size="13">{title}</text>']
        self.text((LEFT + self.width) / 2, self.height - 8, x_title, anchor="middle")
        self.out.append(f'<text transform="translate(14 {self.height / 2}) rotate(-90)" '
                        f'text-anchor="middle">{y_title}</text>')

    def x(self, value):
        return LEFT + self.x_axis.share(value) * (self.width - LEFT - RIGHT)

    def y(self, value):
        return self.height - BOTTOM - self.y_axis.share(value) * (self.height - BOTTOM - TOP)

    def ticks(self, xs, ys):
        """The numbers below, and beside a line each."""
        for value in ys:
            self.out.append(f'<path d="M{LEFT} {self.y(value):.1f}H{self.width - RIGHT}" stroke="#ddd"/>')
            self.text(LEFT - 6, self.y(value) + 4, value, anchor="end")
        for value in xs:
            self.text(self.x(value), self.height - BOTTOM + 16, value, anchor="middle")

    def text(self, x, y, content, anchor="start", color="#000"):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{content}</text>')

    def point(self, x, y, color, radius=4):
        self.out.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}" fill="{color}"/>')

    def range(self, x, low, high, color):
        self.out.append(f'<path d="M{self.x(x):.1f} {self.y(low):.1f}V{self.y(high):.1f}" stroke="{color}"/>')

    def line(self, points, color):
        way = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.out.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="2"/>')

    def save(self, path):
        path.write_text("\n".join(self.out) + "\n</svg>\n", encoding="utf-8")
        print(path)
