#pragma once
#include <string>
#include <vector>

namespace octet::tools {

/// Bars of stacked parts, one for each layer.
struct StackedBars {
  std::string title, unit;
  std::vector<std::string> parts;           ///< names of the parts of a bar, for the legend
  std::vector<std::string> labels;          ///< of the bars
  std::vector<std::vector<double>> values;  ///< [bar][part], at least 0; a bar may have fewer parts
};

/// As an SVG picture.
std::string to_svg(const StackedBars& bars);

}  // namespace octet::tools
