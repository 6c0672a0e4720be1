#include "svg_plot.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>

namespace octet::tools {
namespace {

constexpr double bar_width = 22, plot_height = 320, left = 80, top = 60, below = 56, legend = 150;
/// Told apart by colour-blind readers as well (Okabe and Ito 2008).
constexpr const char* colours[] = {"#0072B2", "#56B4E9", "#D55E00", "#E69F00",
                                   "#009E73", "#F0E442", "#CC79A7", "#000000"};

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text)
    result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return result;
}

/// 1, 2 or 5 times a power of ten, at least x.
double round_step(double x) {
  const double power = std::pow(10, std::floor(std::log10(x)));
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= x) return factor * power;
  return 10 * power;
}

/// One picture, drawn from the back to the front.
class Picture {
 public:
  explicit Picture(const StackedBars& bars)
      : bars_(bars), width_(bar_width * static_cast<double>(bars.bars.size())) {
    double most = 0;
    for (const StackedBars::Bar& bar : bars.bars)
      most = std::max(most, std::accumulate(bar.values.begin(), bar.values.end(), 0.0));
    if (!(most > 0)) most = 1;
    step_ = round_step(most / 4);
    lines_ = static_cast<int>(std::ceil(most / step_ - 1e-9));
    svg_ << std::fixed << std::setprecision(2);
  }

  std::string draw() {
    const double width = left + width_ + legend, height = top + plot_height + below;
    svg_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\""
         << height << "\" font-family=\"sans-serif\" font-size=\"12\">\n";
    rectangle(0, 0, width, height, "#ffffff");
    text(left, 24, "start", bars_.title);
    text(left, top - 12, "start", bars_.unit);
    grid();
    for (size_t bar = 0; bar < bars_.bars.size(); ++bar) stack(bar);
    text(left + width_ / 2, top + plot_height + 38, "middle", bars_.below);
    names();
    svg_ << "</svg>\n";
    return svg_.str();
  }

 private:
  void rectangle(double x, double y, double width, double height, const char* fill) {
    svg_ << "<rect x=\"" << x << "\" y=\"" << y << "\" width=\"" << width << "\" height=\""
         << height << "\" fill=\"" << fill << "\"/>\n";
  }

  void text(double x, double y, const char* anchor, const std::string& content) {
    svg_ << "<text x=\"" << x << "\" y=\"" << y << "\" text-anchor=\"" << anchor << "\">"
         << escaped(content) << "</text>\n";
  }

  double height_of(double value) const { return plot_height * value / (step_ * lines_); }

  /// A line a step.
  void grid() {
    const int digits = std::max(0, -static_cast<int>(std::floor(std::log10(step_) + 1e-9)));
    for (int i = 0; i <= lines_; ++i) {
      const double y = top + plot_height - height_of(step_ * i);
      svg_ << "<line x1=\"" << left << "\" y1=\"" << y << "\" x2=\"" << left + width_ << "\" y2=\""
           << y << "\" stroke=\"#cccccc\"/>\n";
      std::ostringstream value;
      value << std::fixed << std::setprecision(digits) << step_ * i;
      text(left - 6, y + 4, "end", value.str());
    }
  }

  void stack(size_t index) {
    const StackedBars::Bar& bar = bars_.bars[index];
    const double x = left + bar_width * static_cast<double>(index);
    double y = top + plot_height;
    for (size_t part = 0; part < bar.values.size(); ++part) {
      const double height = height_of(bar.values[part]);
      y -= height;
      if (height > 0)
        rectangle(x + 2, y, bar_width - 4, height, colours[part % std::size(colours)]);
    }
    text(x + bar_width / 2, top + plot_height + 16, "middle", bar.label);
  }

  /// In the order of a bar, the uppermost first.
  void names() {
    for (size_t i = 0; i < bars_.parts.size(); ++i) {
      const size_t part = bars_.parts.size() - 1 - i;
      const double x = left + width_ + 16, y = top + 20 * static_cast<double>(i);
      rectangle(x, y, 12, 12, colours[part % std::size(colours)]);
      text(x + 18, y + 10, "start", bars_.parts[part]);
    }
  }

  const StackedBars& bars_;
  double width_, step_ = 0;  // step_: between two lines of the grid
  int lines_ = 0;
  std::ostringstream svg_;
};

}  // namespace

std::string to_svg(const StackedBars& bars) {
  return Picture(bars).draw();
}

}  // namespace octet::tools
