// Filters that make text.
#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_json.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_print.h"
#include "lib/text/jinja_text.h"

namespace octet::jinja {
namespace {

/// Text filters take any value and begin with its text.
template <std::string (*change)(std::string_view)>
Value text_change(Runtime& rt, const Value& self, Arguments&) {
  return rt.text(change(to_text(rt, self)));
}

Value to_string(Runtime& rt, const Value& self, Arguments&) {
  return self.text() ? self : rt.text(to_text(rt, self));
}

Value trim(Runtime& rt, const Value& self, Arguments& args) {
  const std::string text = to_text(rt, self);
  const Value* chars = args.next("chars");
  std::optional<std::string_view> set;
  if (chars && !chars->is_none()) {
    if (!chars->text()) rt.fail("trim takes a string, not ", type_name(*chars));
    rt.read(chars->text()->size());
    set = *chars->text();
  }
  return rt.text(std::string(strip(text, set, Side::both)));
}

Value replace_text(Runtime& rt, const Value& self, Arguments& args) {
  const std::string text = to_text(rt, self);
  const std::string from = to_text(rt, args.required(rt, "old"));
  const std::string to = to_text(rt, args.required(rt, "new"));
  const Value* count = args.next("count");
  int64_t limit = -1;
  if (count && !count->is_none() && !to_integer(*count, limit)) rt.fail("a count is an integer");
  return rt.text(replace(text, from, to, limit, max_text));
}

/// `width` is a number of spaces or the text to put before each line.
std::string indentation(Runtime& rt, const Value* width) {
  if (!width) return "    ";
  if (width->text()) return *width->text();
  int64_t spaces = 0;
  if (!to_integer(*width, spaces)) rt.fail("an indentation of type ", type_name(*width));
  rt.check_text(spaces < 0 ? 0 : static_cast<size_t>(spaces));
  return std::string(spaces < 0 ? 0 : static_cast<size_t>(spaces), ' ');
}

Value indent(Runtime& rt, const Value& self, Arguments& args) {
  if (!self.text()) rt.fail("indent takes a string, not ", type_name(self));
  rt.read(self.text()->size());
  const std::string space = indentation(rt, args.next("width"));
  const bool first = args.flag("first", false), blank = args.flag("blank", false);
  const std::string text = *self.text() + "\n";
  std::string out = first ? space : "";
  bool begun = false;
  for (std::string_view line : split_lines(text, false)) {
    if (begun) out += '\n';
    if (begun && (blank || !line.empty())) out += space;
    out += line;
    rt.check_text(out.size());
    begun = true;
  }
  return rt.text(std::move(out));
}

Value join(Runtime& rt, const Value& self, Arguments& args) {
  const auto list = iterate(rt, self);
  const Value* given = args.next("d");
  const std::string separator = given ? to_text(rt, *given) : "";
  const Value* attribute_name = args.next("attribute");
  std::string out;
  for (size_t i = 0; i < list->items.size(); ++i) {
    if (i > 0) out += separator;
    rt.read(separator.size());
    print(rt, attribute_name ? subscript(rt, list->items[i], *attribute_name) : list->items[i],
          out);
  }
  return rt.text(std::move(out));
}

Value to_json_filter(Runtime& rt, const Value& self, Arguments& args) {
  JsonStyle style;
  style.ascii = args.flag("ensure_ascii", false);
  const Value* indent_given = args.next("indent");
  if (indent_given && !indent_given->is_none()) {
    style.indent = indentation(rt, indent_given);
    style.item_separator = ",";
  }
  const Value* separators = args.next("separators");
  if (separators && !separators->is_none()) {
    const List* pair = separators->list();
    if (!pair || pair->items.size() != 2 || !pair->items[0].text() || !pair->items[1].text()) {
      rt.fail("separators are two strings");
    }
    style.item_separator = *pair->items[0].text();
    style.key_separator = *pair->items[1].text();
  }
  style.sort_keys = args.flag("sort_keys", false);
  return rt.text(to_json(rt, self, style));
}

constexpr Builtin table[] = {
    {"upper", text_change<upper>},
    {"lower", text_change<lower>},
    {"title", text_change<title_words>},
    {"capitalize", text_change<capitalize>},
    {"string", to_string},
    {"safe", to_string},
    {"trim", trim},
    {"replace", replace_text},
    {"indent", indent},
    {"join", join},
    {"tojson", to_json_filter},
};

}  // namespace

std::span<const Builtin> text_filters() {
  return table;
}

}  // namespace octet::jinja
