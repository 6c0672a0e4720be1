#pragma once
#include <string>
#include <vector>

namespace octet::tools {

/// Bars of stacked parts.
struct StackedBars {
  struct Bar {
    std::string label;
    std::vector<double> values;  ///< of the first parts, at least 0, from the bottom up
  };
  std::string title, unit, below;  ///< what the values are, what the labels are
  std::vector<std::string> parts;  ///< names of the parts of a bar, for the legend
  std::vector<Bar> bars;           ///< one without label and values leaves a gap
};

/// As an SVG picture.
std::string to_svg(const StackedBars& bars);

}  // namespace octet::tools
