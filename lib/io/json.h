#pragma once
// JSON text from a file that nobody vouches for: config.json, index, tokenizer.json.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

/// More values than this are not parsed (a tokenizer.json of 256,000 tokens has 2,000,000), so that
/// a small file cannot ask for gigabytes.
inline constexpr size_t max_json_values = 4'000'000;
inline constexpr size_t max_json_depth = 64;

/// Parses one JSON text. `where` names the file in errors.
/// Errors: InvalidFile for a syntax error, invalid UTF-8, an object with one key twice, more than
/// max_json_depth levels, more than max_json_values values.
nlohmann::json parse_json(std::string_view text, const std::string& where);

/// The same for a file of at most max_bytes. Errors: also Io.
nlohmann::json read_json(const std::string& path, size_t max_bytes);

/// What a JSON parser reports, as one line for an error message: cut to a readable length, without
/// the bytes that a terminal would act on.
std::string json_problem(const std::exception& problem);

/// Base of SAX readers: the callbacks that a text of JSON (as opposed to BSON and the like) never
/// reaches, and syntax errors as InvalidFile.
class JsonReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonReader(const std::string& where) : where_(where) {}
  bool binary(binary_t&) override { return false; }
  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::json::exception& problem) override;
  /// Reads a whole text. Errors: InvalidFile.
  void read(std::string_view text);

 protected:
  std::string where_;
};

}  // namespace octet
