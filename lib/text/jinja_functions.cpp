// The functions that a template finds, jinja2's and those that transformers adds.
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_print.h"

namespace octet::jinja {
namespace {

Value raise_exception(Runtime& rt, const Value&, Arguments& args) {
  octet::fail(ErrorCode::InvalidArgument,
              "chat template: ", to_text(rt, args.required(rt, "message")));
}

int64_t range_size(int64_t start, int64_t stop, int64_t step) {
  const bool empty = step > 0 ? start >= stop : start <= stop;
  if (empty) return 0;
  // As unsigned numbers, the distance and the stride always fit.
  const uint64_t span = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                 : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : -static_cast<uint64_t>(step);
  return static_cast<int64_t>(std::min<uint64_t>((span - 1) / stride + 1, INT64_MAX));
}

Value range(Runtime& rt, const Value&, Arguments& args) {
  int64_t start = args.integer(rt, "start", 0), stop = 0;
  if (args.positional.empty()) rt.fail("range takes at least 1 argument");
  if (args.positional.size() == 1) {
    std::swap(start, stop);
  } else {
    stop = args.integer(rt, "stop", 0);
  }
  const int64_t step = args.integer(rt, "step", 1);
  if (step == 0) rt.fail("a range's step is 0");
  const int64_t size = range_size(start, stop, step);
  if (size > max_range) rt.fail("a range of ", size, " numbers, more than ", max_range);
  std::vector<Value> items;
  for (int64_t i = 0; i < size; ++i) items.push_back(Value::integer(start + i * step));
  return rt.list(std::move(items));
}

/// The members that dict() and namespace() are given.
std::vector<std::pair<Value, Value>> members(Runtime& rt, Arguments& args) {
  std::vector<std::pair<Value, Value>> items;
  if (const Value* given = args.next("")) {
    if (!given->dict()) rt.fail("a dictionary from a value of type ", type_name(*given));
    rt.work(given->dict()->items.size());
    items = given->dict()->items;
  }
  for (auto& [name, value] : args.rest().named) {
    set_key(rt, items, rt.text(std::string(name)), value);
  }
  return items;
}

Value dict(Runtime& rt, const Value&, Arguments& args) {
  return rt.dict(members(rt, args));
}

Value name_space(Runtime& rt, const Value&, Arguments& args) {
  std::vector<std::pair<std::string, Value>> items;
  for (auto& [name, value] : members(rt, args)) items.emplace_back(to_text(rt, name), value);
  return rt.name_space(std::move(items));
}

/// What C's strftime does otherwise: microseconds, and a time zone that Python's now() lacks.
std::string prepare_format(const std::string& format, int64_t microseconds) {
  std::string result;
  for (size_t i = 0; i < format.size(); ++i) {
    const char next = format[i] == '%' && i + 1 < format.size() ? format[i + 1] : '\0';
    if (next == 'f') {
      std::array<char, 8> digits;
      std::snprintf(digits.data(), digits.size(), "%06d", static_cast<int>(microseconds));
      result += digits.data();
    } else if (next != 'z' && next != 'Z') {
      result += format[i];
      if (next != '\0') result += next;
    }
    i += next != '\0';
  }
  return result;
}

Value strftime_now(Runtime& rt, const Value&, Arguments& args) {
  constexpr size_t max_format = 1000;
  const std::string format = args.required_text(rt, "format");
  if (format.size() > max_format) rt.fail("a format of ", format.size(), " bytes");
  using namespace std::chrono;
  const auto now = system_clock::now().time_since_epoch();
  const std::time_t seconds = duration_cast<std::chrono::seconds>(now).count();
  const int64_t microseconds = duration_cast<std::chrono::microseconds>(now).count() % 1'000'000;
  std::tm local = {};
  localtime_r(&seconds, &local);
  // The space makes an empty result differ from one that does not fit.
  const std::string padded = prepare_format(format, microseconds) + " ";
  std::string text(16 * max_format, '\0');
  const size_t size = std::strftime(text.data(), text.size(), padded.c_str(), &local);
  if (size == 0) rt.fail("the format of a date gives more than ", text.size(), " bytes");
  text.resize(size - 1);
  return rt.text(std::move(text));
}

constexpr Builtin table[] = {
    {"raise_exception", raise_exception},
    {"range", range},
    {"dict", dict},
    {"namespace", name_space},
    {"strftime_now", strftime_now},
};

}  // namespace

std::span<const Builtin> functions() {
  return table;
}

}  // namespace octet::jinja
