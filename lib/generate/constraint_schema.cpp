// JSON schemas as grammars of the JSON texts that fulfil them.
#include <algorithm>
#include <map>
#include <set>

#include "lib/core/error.h"
#include "lib/generate/constraint_grammar.h"
#include "lib/io/json.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;
using Ranges = std::vector<CodeRange>;

/// Levels of arrays and objects in a value that a schema says nothing about.
constexpr int free_depth = 4;
/// Digits of a number without limits: any more would be lost in a double.
constexpr int64_t max_digits = 18;
constexpr int64_t max_count = 1000;
constexpr size_t max_references = 64;  ///< in one another

const std::set<std::string_view> annotations = {"title",    "description", "default",
                                                "examples", "$schema",     "$id",
                                                "$comment", "$defs",       "definitions"};
const std::set<std::string_view> type_keywords = {"properties", "required",  "additionalProperties",
                                                  "items",      "minItems",  "maxItems",
                                                  "minLength",  "maxLength", "pattern",
                                                  "format",     "minimum",   "maximum"};

GrammarPtr text(std::string_view what) {
  return literal(what);
}
GrammarPtr one_of(Ranges ranges) {
  return set_of(std::move(ranges));
}
GrammarPtr regex(std::string_view pattern) {
  return regex_grammar(pattern, "octet");
}
GrammarPtr optional(GrammarPtr part) {
  return repeated(std::move(part), 0, 1);
}

/// Nothing, a space, or a line break and an indentation: unlimited white space is where models
/// like to stay.
GrammarPtr blank() {
  static const GrammarPtr grammar =
      optional(either_of({text(" "), sequence_of({text("\n"), repeated(text(" "), 0, 32)})}));
  return grammar;
}

/// A code point inside a JSON string, written in one way: as itself where that is allowed.
GrammarPtr string_character(const Ranges& wanted) {
  const Ranges escaped = {{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
  Ranges plain = complement(wanted);  // what is not wanted
  plain.insert(plain.end(), escaped.begin(), escaped.end());
  std::vector<GrammarPtr> ways = {one_of(complement(plain))};
  const auto holds = [&](uint32_t code) {
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const CodeRange& r) { return r.low <= code && code <= r.high; });
  };
  for (const auto& [code, escape] : {std::pair{'"', "\\\""},
                                     {'\\', "\\\\"},
                                     {'\b', "\\b"},
                                     {'\f', "\\f"},
                                     {'\n', "\\n"},
                                     {'\r', "\\r"},
                                     {'\t', "\\t"}})
    if (holds(static_cast<uint32_t>(code))) ways.push_back(text(escape));
  for (uint32_t code = 0; code < 0x20; ++code)
    if (holds(code) && code != '\b' && code != '\f' && code != '\n' && code != '\r' && code != '\t')
      ways.push_back(text(str("\\u00", code < 16 ? "0" : "1", "0123456789abcdef"[code % 16])));
  return either_of(std::move(ways));
}

GrammarPtr any_character() {
  static const GrammarPtr grammar = string_character({{0, last_code_point}});
  return grammar;
}

/// The same grammar with each code point as it stands in a JSON string.
GrammarPtr inside_string(const GrammarPtr& grammar) {
  if (grammar->kind == Grammar::Kind::set) return string_character(grammar->ranges);
  Grammar copy = *grammar;
  for (GrammarPtr& part : copy.parts) part = inside_string(part);
  return std::make_shared<const Grammar>(std::move(copy));
}

GrammarPtr quoted(GrammarPtr content) {
  return sequence_of({text("\""), std::move(content), text("\"")});
}

GrammarPtr any_string() {
  static const GrammarPtr grammar = quoted(repeated(any_character(), 0, -1));
  return grammar;
}

GrammarPtr number() {
  static const GrammarPtr grammar =
      regex("-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([eE][+\\-]?[0-9]{1,2})?");
  return grammar;
}

GrammarPtr comma() {
  static const GrammarPtr grammar = sequence_of({blank(), text(","), blank()});
  return grammar;
}
GrammarPtr member(GrammarPtr name, GrammarPtr value) {
  return sequence_of({std::move(name), blank(), text(":"), blank(), std::move(value)});
}
GrammarPtr enclosed(const char* open, GrammarPtr content, const char* close) {
  return sequence_of({text(open), blank(), std::move(content), blank(), text(close)});
}

GrammarPtr any_object(int depth);
GrammarPtr any_array(int depth);

/// Any value with up to `depth` levels.
GrammarPtr any_value(int depth) {
  std::vector<GrammarPtr> ways = {any_string(), number(), text("true"), text("false"),
                                  text("null")};
  if (depth > 0) {
    ways.push_back(any_object(depth));
    ways.push_back(any_array(depth));
  }
  return either_of(std::move(ways));
}
GrammarPtr any_object(int depth) {
  return enclosed("{", list_of(member(any_string(), any_value(depth - 1)), comma(), 0, -1), "}");
}
GrammarPtr any_array(int depth) {
  return enclosed("[", list_of(any_value(depth - 1), comma(), 0, -1), "]");
}

/// Numbers of as many digits as low and high have, from low to high, leading zeros included.
GrammarPtr digits_between(const std::string& low, const std::string& high) {
  if (low.empty()) return sequence_of({});
  const auto code = [](char c) { return static_cast<uint32_t>(c); };
  const auto all = [](const std::string& number, char digit) {
    return number.find_first_not_of(digit) == std::string::npos;
  };
  if (all(low, '0') && all(high, '9')) {
    const auto count = static_cast<int64_t>(low.size());
    return repeated(one_of({{'0', '9'}}), count, count);
  }
  const std::string low_rest = low.substr(1), high_rest = high.substr(1);
  if (low[0] == high[0])
    return sequence_of(
        {one_of({{code(low[0]), code(low[0])}}), digits_between(low_rest, high_rest)});
  // Every number of that length; without this line n digits would make 3^n parts.
  if (low.find_first_not_of('0') == low.npos && high.find_first_not_of('9') == high.npos)
    return sequence_of(std::vector<GrammarPtr>(low.size(), one_of({{code('0'), code('9')}})));
  const std::string nines(low_rest.size(), '9'), zeros(low_rest.size(), '0');
  std::vector<GrammarPtr> ways = {
      sequence_of({one_of({{code(low[0]), code(low[0])}}), digits_between(low_rest, nines)}),
      sequence_of({one_of({{code(high[0]), code(high[0])}}), digits_between(zeros, high_rest)})};
  if (low[0] + 1 < high[0])
    ways.push_back(sequence_of(
        {one_of({{code(low[0]) + 1, code(high[0]) - 1}}), digits_between(zeros, nines)}));
  return either_of(std::move(ways));
}

/// Whole numbers from low to high, 0 <= low <= high.
GrammarPtr natural_between(int64_t low, int64_t high) {
  const std::string first = std::to_string(low), last = std::to_string(high);
  std::vector<GrammarPtr> ways;
  for (size_t length = first.size(); length <= last.size(); ++length)
    ways.push_back(
        digits_between(length == first.size() ? first : "1" + std::string(length - 1, '0'),
                       length == last.size() ? last : std::string(length, '9')));
  return either_of(std::move(ways));
}

class SchemaReader {
 public:
  explicit SchemaReader(std::string_view schema) : root_(parse(schema)) {}

  GrammarPtr read() { return value(root_, "#"); }

 private:
  static Json parse(std::string_view schema) {
    try {
      parse_json(schema, "the schema");  // limits depth and size, refuses keys that occur twice
      return Json::parse(schema);
    } catch (const Error& error) {
      fail(ErrorCode::InvalidArgument, error.what());
    }
  }

  static void check(bool ok, const std::string& path, const std::string& problem) {
    require(ok, ErrorCode::InvalidArgument, "the schema, ", path, ": ", problem);
  }
  [[noreturn]] static void unsupported(const std::string& path, const std::string& what) {
    fail(ErrorCode::Unsupported, "the schema, ", path, ": ", what);
  }

  static int64_t count(const Json& schema, const char* key, const std::string& path,
                       int64_t otherwise) {
    const auto found = schema.find(key);
    if (found == schema.end()) return otherwise;
    check(found->is_number_integer() && *found >= 0, path, str(key, " is not a whole number"));
    if (*found > max_count) unsupported(path, str(key, " above ", max_count));
    return found->get<int64_t>();
  }

  void check_keywords(const Json& schema, const std::string& path) const {
    static const std::set<std::string_view> general = {"type", "enum", "const", "anyOf", "$ref"};
    for (const auto& [key, value] : schema.items())
      if (!annotations.contains(key) && !type_keywords.contains(key) && !general.contains(key))
        unsupported(path, str("the keyword '", key, "' is not known"));
  }

  GrammarPtr value(const Json& schema, const std::string& path) {
    if (schema.is_boolean()) {
      check(schema.get<bool>(), path, "no value fulfils 'false'");
      return any_value(free_depth);
    }
    check(schema.is_object(), path, "a schema is an object, true or false");
    check_keywords(schema, path);
    int alternatives = 0;
    for (const char* key : {"$ref", "enum", "const", "anyOf"}) alternatives += schema.contains(key);
    const bool has_type_keyword =
        std::any_of(schema.items().begin(), schema.items().end(),
                    [](const auto& item) { return type_keywords.contains(item.key()); });
    if (alternatives > 1 || (alternatives == 1 && has_type_keyword))
      unsupported(path,
                  "of $ref, enum, const and anyOf, one at a time is known, and no keyword of a "
                  "type beside it");
    if (schema.contains("$ref")) return reference(schema["$ref"], path);
    if (schema.contains("enum")) return enumeration(schema, path);
    if (schema.contains("const")) return text(schema["const"].dump());
    if (schema.contains("anyOf")) return any_of(schema["anyOf"], path + "/anyOf");
    if (!schema.contains("type")) {
      if (has_type_keyword) unsupported(path, "keywords of a type without 'type'");
      return any_value(free_depth);
    }
    return typed(schema, schema["type"], path);
  }

  GrammarPtr reference(const Json& target, const std::string& path) {
    check(target.is_string(), path, "$ref is not a text");
    const auto name = target.get<std::string>();
    for (const char* folder : {"$defs", "definitions"}) {
      const std::string prefix = str("#/", folder, "/");
      if (!name.starts_with(prefix)) continue;
      const std::string key = name.substr(prefix.size());
      check(root_.is_object() && root_.contains(folder) && root_[folder].is_object() &&
                root_[folder].contains(key),
            path, str("there is no ", name));
      if (std::find(open_.begin(), open_.end(), name) != open_.end())
        unsupported(path, str(name, " leads back to itself"));
      if (open_.size() == max_references)
        unsupported(path, str("$refs nested deeper than ", max_references));
      // Read once: definitions that each name the next one twice are as many as 2^n values.
      if (const auto read = references_.find(name); read != references_.end()) return read->second;
      open_.push_back(name);
      GrammarPtr grammar = value(root_[folder][key], name);
      open_.pop_back();
      references_.emplace(name, grammar);
      return grammar;
    }
    unsupported(path, str("$ref to '", name, "', known are #/$defs/NAME and #/definitions/NAME"));
  }

  GrammarPtr enumeration(const Json& schema, const std::string& path) {
    const Json& values = schema["enum"];
    check(values.is_array() && !values.empty(), path, "enum is not a list of values");
    std::vector<GrammarPtr> ways;
    for (const Json& one : values) ways.push_back(text(one.dump()));
    return either_of(std::move(ways));
  }

  GrammarPtr any_of(const Json& schemas, const std::string& path) {
    check(schemas.is_array() && !schemas.empty(), path, "not a list of schemas");
    std::vector<GrammarPtr> ways;
    for (size_t i = 0; i < schemas.size(); ++i)
      ways.push_back(value(schemas[i], str(path, "/", i)));
    return either_of(std::move(ways));
  }

  GrammarPtr typed(const Json& schema, const Json& type, const std::string& path) {
    if (type.is_array()) {
      check(!type.empty(), path, "type is an empty list");
      std::vector<GrammarPtr> ways;
      for (const Json& one : type) ways.push_back(typed(schema, one, path));
      return either_of(std::move(ways));
    }
    check(type.is_string(), path, "type is neither a text nor a list");
    const auto name = type.get<std::string>();
    if (name == "object") return object(schema, path);
    if (name == "array") return array(schema, path);
    if (name == "string") return string(schema, path);
    if (name == "integer") return integer(schema, path);
    if (name == "number") {
      if (schema.contains("minimum") || schema.contains("maximum"))
        unsupported(path, "minimum and maximum of a 'number' (they are known of an 'integer')");
      return number();
    }
    if (name == "boolean") return either_of({text("true"), text("false")});
    check(name == "null", path, str("there is no type '", name, "'"));
    return text("null");
  }

  GrammarPtr object(const Json& schema, const std::string& path) {
    const Json properties = schema.value("properties", Json::object());
    const Json required = schema.value("required", Json::array());
    check(properties.is_object(), path, "properties is not an object");
    check(required.is_array(), path, "required is not a list");
    const auto more = schema.find("additionalProperties");
    const bool closed = more != schema.end() && *more == false;
    if (properties.empty()) {
      check(required.empty(), path, "required names what is not among the properties");
      if (more == schema.end()) return any_object(free_depth);
      if (closed) return enclosed("{", sequence_of({}), "}");
      const GrammarPtr item = member(any_string(), value(*more, path + "/additionalProperties"));
      return enclosed("{", list_of(item, comma(), 0, -1), "}");
    }
    if (more != schema.end() && !closed)
      unsupported(path, "additionalProperties other than false beside properties");
    std::vector<GrammarPtr> members;
    std::vector<bool> needed;
    for (const auto& [name, property] : properties.items()) {
      members.push_back(
          member(text(Json(name).dump()), value(property, path + "/properties/" + name)));
      needed.push_back(std::find(required.begin(), required.end(), Json(name)) != required.end());
    }
    for (const Json& name : required)
      check(name.is_string() && properties.contains(name.get<std::string>()), path,
            str("required names ", name.dump(), ", which is not among the properties"));
    return enclosed("{", members_of(std::move(members), std::move(needed), comma()), "}");
  }

  GrammarPtr array(const Json& schema, const std::string& path) {
    const int64_t least = count(schema, "minItems", path, 0);
    const int64_t most = count(schema, "maxItems", path, -1);
    check(most < 0 || least <= most, path, "minItems is above maxItems");
    const auto items = schema.find("items");
    const GrammarPtr item =
        items == schema.end() ? any_value(free_depth - 1) : value(*items, path + "/items");
    return enclosed("[", list_of(item, comma(), least, most), "]");
  }

  GrammarPtr string(const Json& schema, const std::string& path) {
    const bool sized = schema.contains("minLength") || schema.contains("maxLength");
    if (sized + schema.contains("pattern") + schema.contains("format") > 1)
      unsupported(path, "more than one of pattern, format and a length");
    if (schema.contains("pattern")) return pattern(schema["pattern"], path);
    if (schema.contains("format")) return format(schema["format"], path);
    const int64_t least = count(schema, "minLength", path, 0);
    const int64_t most = count(schema, "maxLength", path, -1);
    check(most < 0 || least <= most, path, "minLength is above maxLength");
    return quoted(repeated(any_character(), least, most));
  }

  GrammarPtr pattern(const Json& source, const std::string& path) {
    check(source.is_string(), path, "pattern is not a text");
    const GrammarPtr anything = repeated(any_character(), 0, -1);
    std::vector<GrammarPtr> ways;
    for (const RegexAlternative& one :
         parse_regex(source.get<std::string>(), "the schema, " + path + ": pattern")) {
      std::vector<GrammarPtr> parts;
      if (!one.begins) parts.push_back(anything);
      parts.push_back(inside_string(one.grammar));
      if (!one.ends) parts.push_back(anything);
      ways.push_back(sequence_of(std::move(parts)));
    }
    return quoted(either_of(std::move(ways)));
  }

  GrammarPtr format(const Json& name, const std::string& path) {
    // Never the 29th of February: not every year has one.
    const std::string date =
        "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
        "02-(0[1-9]|1[0-9]|2[0-8]))";
    const std::string time =
        "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+\\-]([01][0-9]|2[0-3]):[0-5]["
        "0-9])";
    const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    if (name == "date") return quoted(regex(date));
    if (name == "time") return quoted(regex(time));
    if (name == "date-time") return quoted(regex(date + "T" + time));
    if (name == "uuid") return quoted(regex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"));
    if (name == "ipv4") return quoted(regex(byte + "(\\." + byte + "){3}"));
    unsupported(path, str("format ", name.dump(), ", known are date, time, date-time, uuid, ipv4"));
  }

  GrammarPtr integer(const Json& schema, const std::string& path) {
    int64_t most = 1;
    for (int64_t i = 0; i < max_digits; ++i) most *= 10;
    --most;
    const auto limit = [&](const char* key, int64_t otherwise) {
      const auto found = schema.find(key);
      if (found == schema.end()) return otherwise;
      check(found->is_number(), path, str(key, " is not a number"));
      if (!found->is_number_integer() || *found < -most || *found > most)
        unsupported(path,
                    str(key, " ", found->dump(), ", whole numbers of up to 18 digits are known"));
      return found->get<int64_t>();
    };
    const int64_t low = limit("minimum", -most), high = limit("maximum", most);
    check(low <= high, path, "minimum is above maximum");
    std::vector<GrammarPtr> ways;
    if (high >= 0) ways.push_back(natural_between(std::max<int64_t>(low, 0), high));
    if (low < 0)
      ways.push_back(sequence_of({text("-"), natural_between(std::max<int64_t>(-high, 1), -low)}));
    return either_of(std::move(ways));
  }

  const Json root_;
  std::vector<std::string> open_;  // $refs that are being read
  std::map<std::string, GrammarPtr> references_;
};

}  // namespace

GrammarPtr json_schema_grammar(std::string_view schema) {
  return SchemaReader(schema).read();
}

}  // namespace octet
