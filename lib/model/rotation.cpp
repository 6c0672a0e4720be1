#include "lib/model/rotation.h"

#include <bit>

#include "lib/core/error.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"

namespace octet {
namespace {

void check_block(const char* key, int64_t size, const std::string& where) {
  require(std::has_single_bit(static_cast<uint64_t>(size)), ErrorCode::InvalidFile, where,
          ": rotation of ", key, " in blocks of ", size, ", a power of two expected");
}

void check_size(const char* key, int64_t size, int64_t divides, const std::string& where) {
  require(size >= 1 && divides % size == 0, ErrorCode::InvalidFile, where, ": rotation of ", key,
          " in blocks of ", size, ", which do not divide its size of ", divides);
}

}  // namespace

std::string rotation_to_json(const RotationSizes& sizes) {
  nlohmann::json json = {{"hidden", sizes.hidden}, {"head", sizes.head}, {"down", sizes.down}};
  if (sizes.norm > 1) json["norm"] = sizes.norm;
  return json.dump();
}

RotationSizes rotation_from_json(std::string_view text, const ModelConfig& config,
                                 const std::string& where) {
  const nlohmann::json json = parse_json(text, where);
  const JsonObject object(json, where);
  const RotationSizes sizes{object.required_integer("hidden"), object.required_integer("head"),
                            object.required_integer("down"), object.integer("norm").value_or(1)};
  check_size("hidden", sizes.hidden, config.hidden_size, where);
  check_size("head", sizes.head, config.head_dim, where);
  check_size("down", sizes.down, config.intermediate_size, where);
  check_size("norm", sizes.norm, config.hidden_size, where);
  check_block("down", sizes.down, where);
  check_block("norm", sizes.norm, where);
  return sizes;
}

}  // namespace octet
