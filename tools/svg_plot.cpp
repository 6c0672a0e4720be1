#include "svg_plot.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace octet::tools {
namespace {

constexpr double bar_width = 22, plot_height = 320, left = 80, top = 60, below = 40, legend = 130;
/// Told apart by colour-blind readers as well (Okabe and Ito 2008).
constexpr const char* colours[] = {"#0072B2", "#56B4E9", "#D55E00", "#E69F00",
                                   "#009E73", "#F0E442", "#CC79A7", "#000000"};

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text)
    result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return result;
}

/// One picture, drawn from the back to the front.
class Picture {
 public:
  explicit Picture(const StackedBars& bars)
      : bars_(bars), width_(bar_width * static_cast<double>(bars.values.size())) {
    for (const std::vector<double>& bar : bars.values) {
      double sum = 0;
      for (double value : bar) sum += value;
      most_ = std::max(most_, sum);
    }
    if (!(most_ > 0)) most_ = 1;
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
    for (size_t bar = 0; bar < bars_.values.size(); ++bar) stack(bar);
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

  /// Lines at quarters of the height.
  void grid() {
    for (int i = 0; i <= 4; ++i) {
      const double y = top + plot_height * (1 - i / 4.0);
      svg_ << "<line x1=\"" << left << "\" y1=\"" << y << "\" x2=\"" << left + width_ << "\" y2=\""
           << y << "\" stroke=\"#cccccc\"/>\n";
      std::ostringstream value;
      value << std::setprecision(3) << most_ * i / 4;
      text(left - 6, y + 4, "end", value.str());
    }
  }

  void stack(size_t bar) {
    const double x = left + bar_width * static_cast<double>(bar);
    double y = top + plot_height;
    for (size_t part = 0; part < bars_.values[bar].size(); ++part) {
      const double height = plot_height * bars_.values[bar][part] / most_;
      y -= height;
      rectangle(x + 2, y, bar_width - 4, height, colours[part % std::size(colours)]);
    }
    text(x + bar_width / 2, top + plot_height + 16, "middle", bars_.labels[bar]);
  }

  void names() {
    for (size_t part = 0; part < bars_.parts.size(); ++part) {
      const double x = left + width_ + 16, y = top + 20 * static_cast<double>(part);
      rectangle(x, y, 12, 12, colours[part % std::size(colours)]);
      text(x + 18, y + 10, "start", bars_.parts[part]);
    }
  }

  const StackedBars& bars_;
  double width_, most_ = 0;
  std::ostringstream svg_;
};

}  // namespace

std::string to_svg(const StackedBars& bars) {
  return Picture(bars).draw();
}

}  // namespace octet::tools
