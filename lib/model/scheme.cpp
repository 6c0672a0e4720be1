#include <octet/model.h>

#include <array>
#include <utility>

#include "lib/core/error.h"

namespace octet {
namespace {

struct SchemeName {
  Scheme scheme;
  const char* text;
};
constexpr std::array<SchemeName, 4> scheme_names = {{{Scheme::f32, "f32"},
                                                     {Scheme::f16, "f16"},
                                                     {Scheme::w8a8, "w8a8"},
                                                     {Scheme::w8a8_g128, "w8a8-g128"}}};

constexpr std::array<std::pair<Rotation, const char*>, 4> rotation_names = {
    {{Rotation::automatic, "auto"},
     {Rotation::off, "off"},
     {Rotation::on, "on"},
     {Rotation::folded, "folded"}}};

}  // namespace

const char* to_string(Scheme scheme) noexcept {
  for (const SchemeName& known : scheme_names)
    if (known.scheme == scheme) return known.text;
  return "unknown";
}

Scheme parse_scheme(std::string_view name) {
  for (const SchemeName& known : scheme_names)
    if (name == known.text) return known.scheme;
  fail(ErrorCode::InvalidArgument, "scheme '", name, "': known are f32, f16, w8a8, w8a8-g128");
}

const char* to_string(Rotation rotation) noexcept {
  for (const auto& [known, text] : rotation_names)
    if (known == rotation) return text;
  return "unknown";
}

Rotation parse_rotation(std::string_view name) {
  for (const auto& [known, text] : rotation_names)
    if (name == text) return known;
  fail(ErrorCode::InvalidArgument, "rotation '", name, "': known are auto, off, on, folded");
}

bool is_int8(Scheme scheme) noexcept {
  return scheme == Scheme::w8a8 || scheme == Scheme::w8a8_g128;
}

}  // namespace octet
