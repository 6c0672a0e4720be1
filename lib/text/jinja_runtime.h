#pragma once
// What a running template may use up, and the errors that name its line. A template comes out of
// a file that nobody vouches for, so every piece of work and of memory is counted.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/core/error.h"
#include "lib/text/jinja_value.h"

namespace octet::jinja {

inline constexpr size_t max_text = size_t{16} << 20;       // bytes of one string, of the output
inline constexpr size_t max_all_text = size_t{256} << 20;  // bytes of all strings ever made
inline constexpr uint64_t max_work = 10'000'000;           // nodes, elements, 64-byte pieces
inline constexpr int64_t max_range = 100'000;              // as jinja2's sandbox has it
inline constexpr int max_value_depth = 100;                // lists in lists in ...

template <class... Parts>
[[noreturn]] void fail_at(ErrorCode code, int line, const Parts&... parts) {
  octet::fail(code, "chat template, line ", line, ": ", parts...);
}

class Runtime {
 public:
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  int line = 1;  ///< of what is being evaluated

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(ErrorCode::InvalidFile, line, parts...);
  }
  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... parts) const {
    fail_at(ErrorCode::Unsupported, line, "octet does not know ", parts...);
  }

  void work(uint64_t units = 1) {
    work_ += units;
    if (work_ > max_work) [[unlikely]]
      fail("the template takes more than ", max_work, " steps");
  }
  /// Work that reads `bytes` of text.
  void read(size_t bytes) { work(bytes / 64 + 1); }
  /// Before a string of this size is made.
  void reserve_text(size_t bytes);
  /// A string of this size that is being made must not become longer.
  void check_text(size_t bytes) const {
    if (bytes > max_text) [[unlikely]]
      fail("more than ", max_text, " bytes of text");
  }

  Value text(std::string text);
  Value list(std::vector<Value> items, bool tuple = false);
  Value dict(std::vector<std::pair<Value, Value>> items);
  Value name_space(std::vector<std::pair<std::string, Value>> items);

 private:
  int checked_depth(int depth) const;
  uint64_t work_ = 0;
  size_t all_text_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

/// The arguments of a call, taken one parameter after another.
class Arguments {
 public:
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  /// The next parameter, whether it came by position or by name; null if it did not.
  const Value* next(std::string_view name);
  /// A parameter that comes by name only; null if it did not.
  const Value* next_named(std::string_view name);
  bool flag(std::string_view name, bool otherwise);
  int64_t integer(Runtime& rt, std::string_view name, int64_t otherwise);
  /// Errors: if the argument is missing.
  Value required(Runtime& rt, std::string_view name);
  /// Errors: if the argument is missing or no string.
  std::string required_text(Runtime& rt, std::string_view name);
  /// What no parameter took.
  Arguments rest();
  /// Errors: if arguments are left that no parameter took.
  void finish(Runtime& rt, std::string_view callee) const;

 private:
  size_t taken_ = 0;
};

}  // namespace octet::jinja
