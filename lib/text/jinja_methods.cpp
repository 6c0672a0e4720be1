// Methods of strings, lists, dictionaries and loops.
#include <algorithm>

#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_text.h"

namespace octet::jinja {
namespace {

/// A method's own string, and the work of reading it counted.
const std::string& own_text(Runtime& rt, const Value& self) {
  rt.read(self.text()->size());
  return *self.text();
}

Value make_list(Runtime& rt, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  for (std::string_view part : parts) items.push_back(rt.text(std::string(part)));
  return rt.list(std::move(items));
}

/// An argument that may be left out or none.
std::optional<std::string> optional_text(Runtime& rt, Arguments& args, std::string_view name) {
  const Value* value = args.next(name);
  if (!value || value->is_none()) return std::nullopt;
  if (!value->text()) rt.fail("the argument '", name, "' is of type ", type_name(*value));
  rt.read(value->text()->size());
  return *value->text();
}

// --- strings ----------------------------------------------------------------------------------

template <Side side>
Value text_strip(Runtime& rt, const Value& self, Arguments& args) {
  const std::optional<std::string> chars = optional_text(rt, args, "chars");
  return rt.text(std::string(strip(own_text(rt, self), chars, side)));
}

template <std::string (*change)(std::string_view)>
Value text_change(Runtime& rt, const Value& self, Arguments&) {
  return rt.text(change(own_text(rt, self)));
}

template <CharacterClass kind>
Value text_is(Runtime& rt, const Value& self, Arguments&) {
  return Value::boolean(is_all(own_text(rt, self), kind));
}

using Split = std::vector<std::string_view>(std::string_view, std::optional<std::string_view>,
                                            int64_t);
template <Split* cut>
Value text_split(Runtime& rt, const Value& self, Arguments& args) {
  const std::optional<std::string> separator = optional_text(rt, args, "sep");
  if (separator && separator->empty()) rt.fail("an empty separator");
  const int64_t limit = args.integer(rt, "maxsplit", -1);
  const std::string& text = own_text(rt, self);
  rt.work(separator ? 0 : text.size() / 8);
  return make_list(rt, cut(text, separator, limit));
}

Value text_splitlines(Runtime& rt, const Value& self, Arguments& args) {
  return make_list(rt, split_lines(own_text(rt, self), args.flag("keepends", false)));
}

bool matches(std::string_view text, std::string_view part, bool at_end) {
  return at_end ? text.ends_with(part) : text.starts_with(part);
}

template <bool at_end>
Value text_matches(Runtime& rt, const Value& self, Arguments& args) {
  const Value part = args.required(rt, at_end ? "suffix" : "prefix");
  const std::string& text = *self.text();
  if (part.text()) {
    rt.read(part.text()->size());
    return Value::boolean(matches(text, *part.text(), at_end));
  }
  if (!part.list() || !part.list()->tuple) rt.fail("a ", type_name(part), " is no start or end");
  for (const Value& item : part.list()->items) {
    if (!item.text()) rt.fail("a ", type_name(item), " is no start or end");
    rt.read(item.text()->size());
    if (matches(text, *item.text(), at_end)) return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <bool at_end>
Value text_remove(Runtime& rt, const Value& self, Arguments& args) {
  const std::string part = args.required_text(rt, at_end ? "suffix" : "prefix");
  std::string_view text = own_text(rt, self);
  if (matches(text, part, at_end)) {
    if (at_end)
      text.remove_suffix(part.size());
    else
      text.remove_prefix(part.size());
  }
  return rt.text(std::string(text));
}

Value text_replace(Runtime& rt, const Value& self, Arguments& args) {
  const std::string from = args.required_text(rt, "old"), to = args.required_text(rt, "new");
  const int64_t limit = args.integer(rt, "count", -1);
  return rt.text(replace(own_text(rt, self), from, to, limit, max_text));
}

/// The characters before a place in bytes; -1 for none.
Value character_index(std::string_view text, size_t place) {
  if (place == text.npos) return Value::integer(-1);
  return Value::integer(static_cast<int64_t>(count_characters(text.substr(0, place))));
}

Value text_find(Runtime& rt, const Value& self, Arguments& args) {
  const std::string what = args.required_text(rt, "sub");
  const std::string& text = own_text(rt, self);
  return character_index(text, find_text(text, what));
}

Value text_rfind(Runtime& rt, const Value& self, Arguments& args) {
  const std::string what = args.required_text(rt, "sub");
  const std::string& text = own_text(rt, self);
  return character_index(text, rfind_text(text, what));
}

Value text_index(Runtime& rt, const Value& self, Arguments& args) {
  const Value place = text_find(rt, self, args);
  if (*place.get<int64_t>() < 0) rt.fail("the string to be found is not there");
  return place;
}

Value text_count(Runtime& rt, const Value& self, Arguments& args) {
  const std::string what = args.required_text(rt, "sub");
  const std::string& text = own_text(rt, self);
  if (what.empty()) return Value::integer(static_cast<int64_t>(count_characters(text)) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = find_text(text, what, at)) != text.npos; at += what.size()) ++count;
  return Value::integer(count);
}

Value text_join(Runtime& rt, const Value& self, Arguments& args) {
  const auto list = iterate(rt, args.required(rt, "iterable"));
  std::string out;
  for (size_t i = 0; i < list->items.size(); ++i) {
    const std::string* item = list->items[i].text();
    if (!item) rt.fail("join takes strings, not ", type_name(list->items[i]));
    rt.read(item->size() + self.text()->size());
    if (i > 0) out += *self.text();
    out += *item;
    rt.check_text(out.size());
  }
  return rt.text(std::move(out));
}

template <bool from_end>
Value text_partition(Runtime& rt, const Value& self, Arguments& args) {
  const std::string separator = args.required_text(rt, "sep");
  const std::string_view text = own_text(rt, self);
  if (separator.empty()) rt.fail("an empty separator");
  const size_t at = from_end ? rfind_text(text, separator) : find_text(text, separator);
  const bool found = at != text.npos;
  const std::string_view rest = found ? text.substr(at + separator.size()) : "";
  std::vector<Value> parts(3, rt.text(""));
  parts[1] = rt.text(found ? separator : "");
  if (found || !from_end) parts[0] = rt.text(std::string(text.substr(0, found ? at : text.size())));
  parts[2] = rt.text(std::string(found || !from_end ? rest : text));
  return rt.list(std::move(parts), true);
}

// --- lists ------------------------------------------------------------------------------------

Value list_count(Runtime& rt, const Value& self, Arguments& args) {
  const Value item = args.required(rt, "value");
  const auto& items = self.list()->items;
  return Value::integer(std::count_if(items.begin(), items.end(),
                                      [&](const Value& value) { return equal(rt, value, item); }));
}

Value list_index(Runtime& rt, const Value& self, Arguments& args) {
  const Value item = args.required(rt, "value");
  const auto& items = self.list()->items;
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const Value& value) { return equal(rt, value, item); });
  if (found == items.end()) rt.fail("the value to be found is not in the list");
  return Value::integer(found - items.begin());
}

// --- dictionaries -----------------------------------------------------------------------------

Value dict_get(Runtime& rt, const Value& self, Arguments& args) {
  const Value key = args.required(rt, "key");
  const Value* otherwise = args.next("default");
  for (const auto& [name, value] : self.dict()->items) {
    if (equal(rt, name, key)) return value;
  }
  return otherwise ? *otherwise : Value::none();
}

Value dict_keys(Runtime& rt, const Value& self, Arguments&) {
  std::vector<Value> keys;
  for (const auto& [key, value] : self.dict()->items) keys.push_back(key);
  return rt.list(std::move(keys));
}

Value dict_values(Runtime& rt, const Value& self, Arguments&) {
  std::vector<Value> values;
  for (const auto& [key, value] : self.dict()->items) values.push_back(value);
  return rt.list(std::move(values));
}

Value dict_items(Runtime& rt, const Value& self, Arguments&) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict()->items) items.push_back(rt.list({key, value}, true));
  return rt.list(std::move(items));
}

Value itself(Runtime&, const Value& self, Arguments&) {
  return self;
}

// --- loops ------------------------------------------------------------------------------------

Value loop_cycle(Runtime& rt, const Value& self, Arguments& args) {
  const std::vector<Value> values = args.rest().positional;
  if (values.empty()) rt.fail("cycle takes at least 1 argument");
  return values[self.loop()->index % values.size()];
}

constexpr Builtin text_table[] = {
    {"strip", text_strip<Side::both>},
    {"lstrip", text_strip<Side::left>},
    {"rstrip", text_strip<Side::right>},
    {"upper", text_change<upper>},
    {"lower", text_change<lower>},
    {"title", text_change<title>},
    {"capitalize", text_change<capitalize>},
    {"split", text_split<split>},
    {"rsplit", text_split<split_right>},
    {"splitlines", text_splitlines},
    {"startswith", text_matches<false>},
    {"endswith", text_matches<true>},
    {"removeprefix", text_remove<false>},
    {"removesuffix", text_remove<true>},
    {"replace", text_replace},
    {"find", text_find},
    {"rfind", text_rfind},
    {"index", text_index},
    {"count", text_count},
    {"join", text_join},
    {"partition", text_partition<false>},
    {"rpartition", text_partition<true>},
    {"isalpha", text_is<CharacterClass::alpha>},
    {"isdigit", text_is<CharacterClass::digit>},
    {"isalnum", text_is<CharacterClass::alphanumeric>},
    {"isspace", text_is<CharacterClass::space>},
    {"isupper", text_is<CharacterClass::upper>},
    {"islower", text_is<CharacterClass::lower>},
};
constexpr Builtin list_table[] = {{"count", list_count}, {"index", list_index}, {"copy", itself}};
constexpr Builtin dict_table[] = {{"get", dict_get},
                                  {"keys", dict_keys},
                                  {"values", dict_values},
                                  {"items", dict_items},
                                  {"copy", itself}};
constexpr Builtin loop_table[] = {{"cycle", loop_cycle}};

}  // namespace

std::span<const Builtin> text_methods() {
  return text_table;
}
std::span<const Builtin> list_methods() {
  return list_table;
}
std::span<const Builtin> dict_methods() {
  return dict_table;
}
std::span<const Builtin> loop_methods() {
  return loop_table;
}

}  // namespace octet::jinja
