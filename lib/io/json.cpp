#include "lib/io/json.h"

#include "lib/core/error.h"
#include "lib/core/mapped_file.h"

namespace octet {
namespace {

using nlohmann::json;

/// Builds the document, counting what it costs. nlohmann's own parser keeps the last of two equal
/// keys and knows no limits.
class DocumentReader : public JsonReader {
 public:
  using JsonReader::JsonReader;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool start_object(size_t) override { return open(json::object()); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [place, added] = open_.back()->get_ref<json::object_t&>().try_emplace(name);
    require(added, ErrorCode::InvalidFile, where_, ": the key \"", name, "\" occurs twice");
    member_ = &place->second;
    return true;
  }

  json take() { return std::move(root_); }

 private:
  /// Where the next value goes: the document itself, the member whose key came last, or the end
  /// of an array.
  json* place(json&& value) {
    require(++values_ <= max_json_values, ErrorCode::InvalidFile, where_, ": more than ",
            max_json_values, " JSON values");
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    auto& array = open_.back()->get_ref<json::array_t&>();
    return &array.emplace_back(std::move(value));
  }

  template <class Value>
  bool add(Value&& value) {
    place(json(std::forward<Value>(value)));
    return true;
  }

  bool open(json&& value) {
    require(open_.size() < max_json_depth, ErrorCode::InvalidFile, where_,
            ": JSON nested more than ", max_json_depth, " levels deep");
    open_.push_back(place(std::move(value)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  json root_;
  std::vector<json*> open_;  // the objects and arrays that the reader is inside of
  json* member_ = nullptr;
  size_t values_ = 0;
};

}  // namespace

std::string json_problem(const std::exception& problem) {
  std::string text = problem.what();
  if (const size_t id = text.find("] "); id != std::string::npos) text.erase(0, id + 2);
  if (text.size() > 200) text = text.substr(0, 100) + " ... " + text.substr(text.size() - 95);
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

bool JsonReader::parse_error(size_t, const std::string&, const json::exception& problem) {
  fail(ErrorCode::InvalidFile, where_, ": not valid JSON: ", json_problem(problem));
}

void JsonReader::read(std::string_view text) {
  // nlohmann's lexer takes a NUL for the end and would pass over what follows.
  require(text.find('\0') == std::string_view::npos, ErrorCode::InvalidFile, where_,
          ": not valid JSON: it holds a NUL byte");
  const bool done = json::sax_parse(text, this);
  require(done, ErrorCode::InvalidFile, where_, ": not valid JSON");
}

json parse_json(std::string_view text, const std::string& where) {
  DocumentReader reader(where);
  reader.read(text);
  return reader.take();
}

json read_json(const std::string& path, size_t max_bytes) {
  return parse_json(read_file(path, max_bytes), path);
}

}  // namespace octet
