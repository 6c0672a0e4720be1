#include "lib/text/jinja_lexer.h"

#include <algorithm>

#include "lib/text/jinja_runtime.h"
#include "lib/text/jinja_text.h"
#include "lib/text/unicode.h"

namespace octet::jinja {
namespace {

using Kind = Token::Kind;

/// \r\n and \r become \n; one newline at the end goes, as jinja2 does without
/// keep_trailing_newline.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t at = 0; at < source.size(); ++at) {
    const bool carriage_return = source[at] == '\r';
    out += carriage_return ? '\n' : source[at];
    if (carriage_return && source.substr(at + 1, 1) == "\n") ++at;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}
bool is_name(char c) {
  return is_name_start(c) || is_digit(c);
}

int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 16;
}

/// The inside of a string literal, read as Python reads it.
class Unescaper {
 public:
  Unescaper(std::string_view body, int line) : body_(body), line_(line) {}

  std::string run() {
    while (at_ < body_.size()) {
      if (body_[at_] != '\\') {
        out_ += body_[at_++];
      } else {
        ++at_;
        escape(body_[at_++]);  // the lexer let no backslash stand at the end
      }
    }
    return std::move(out_);
  }

 private:
  void escape(char c) {
    static constexpr std::string_view letters = "abfnrtv\\'\"", meanings = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t index = letters.find(c); index != letters.npos) {
      out_ += meanings[index];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      code_point(16, c == 'x' ? 2 : c == 'u' ? 4 : 8, true);
    } else if (c >= '0' && c <= '7') {
      --at_;
      code_point(8, 3, false);
    } else if (c == 'N') {
      fail_at(ErrorCode::Unsupported, line_, "octet does not know the escape \\N");
    } else if (c != '\n') {  // Python keeps the backslash of an escape that it does not know
      out_ += '\\';
      out_ += c;
    }
  }

  void code_point(int base, int digits, bool all) {
    char32_t value = 0;
    int count = 0;
    for (; count < digits && at_ < body_.size() && digit_value(body_[at_]) < base; ++count) {
      value = value * base + static_cast<char32_t>(digit_value(body_[at_++]));
    }
    const bool valid = value <= 0x10FFFF && !(value >= 0xD800 && value <= 0xDFFF);
    if ((all && count < digits) || !valid) {
      fail_at(ErrorCode::InvalidFile, line_, "a string holds an escape that names no character");
    }
    append_utf8(value, out_);
  }

  std::string_view body_;
  int line_;
  size_t at_ = 0;
  std::string out_;
};

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    add(Kind::end, "");
    return std::move(tokens_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(ErrorCode::InvalidFile, line_, parts...);
  }

  void add(Kind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text)});
  }

  bool starts_with(std::string_view what) const { return source_.substr(at_).starts_with(what); }

  /// Goes to `end`, counting lines.
  void go_to(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    at_ = end;
  }
  void skip_space() { go_to(source_.size() - strip(source_.substr(at_), {}, Side::left).size()); }

  size_t find_tag(size_t from) const {
    for (; (from = source_.find('{', from)) != source_.npos; ++from) {
      const std::string_view next = source_.substr(from + 1, 1);
      if (next == "{" || next == "%" || next == "#") return from;
    }
    return source_.size();
  }

  /// The text before a tag, with the white space gone that the tag's sign or lstrip_blocks takes.
  void text_before(size_t tag, bool variable) {
    std::string_view text = source_.substr(at_, tag - at_);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (tag < source_.size() && sign == '-') {
      text = strip(text, {}, Side::right);
    } else if (tag < source_.size() && sign != '+' && !variable) {
      const size_t line_start = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool at_line_start = line_start > 0 || at_line_start_;
      if (at_line_start && strip(text.substr(line_start), {}, Side::left).empty()) {
        text = text.substr(0, line_start);
      }
    }
    if (!text.empty()) add(Kind::text, text);
    go_to(tag);
  }

  /// Past {{, {% or {# and its sign.
  void tag_begin() {
    at_ += 2;
    if (starts_with("-") || starts_with("+")) ++at_;
  }

  /// Past a tag's end and the white space that it takes: all after -%}, a newline after %} (but
  /// not after }}). False if the tag does not end here.
  bool tag_end(std::string_view end, bool trim_newline) {
    const size_t start = at_;
    const bool minus = starts_with("-"), plus = starts_with("+") && trim_newline;
    if (minus || plus) ++at_;
    if (!starts_with(end)) {
      at_ = start;
      return false;
    }
    at_ += end.size();
    const size_t after = at_;
    if (minus) {
      skip_space();
    } else if (trim_newline && !plus && starts_with("\n")) {
      go_to(at_ + 1);
    }
    at_line_start_ = at_ > after && source_[at_ - 1] == '\n';
    return true;
  }

  void text_and_tag() {
    const size_t tag = find_tag(at_);
    const bool variable = source_.substr(tag, 2) == "{{";
    text_before(tag, variable);
    if (at_ == source_.size()) return;
    const char kind = source_[at_ + 1];
    if (kind == '#') return comment();
    if (kind == '%' && raw()) return;
    add(variable ? Kind::variable_begin : Kind::block_begin, source_.substr(at_, 2));
    tag_begin();
    inside(variable);
  }

  void comment() {
    tag_begin();
    const size_t end = source_.find("#}", at_);
    if (end == source_.npos) fail("a comment does not end");
    const bool sign = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    go_to(end - sign);
    tag_end("#}", true);
  }

  /// {% NAME %} at this place: true if so, and goes past it.
  bool bare_tag(std::string_view name, bool trim_newline) {
    const size_t start = at_;
    const int line = line_;
    tag_begin();
    skip_space();
    if (starts_with(name)) {
      at_ += name.size();
      skip_space();
      // jinja2 has no newline taken after {% raw %}, nor a + there.
      if (trim_newline ? tag_end("%}", true) : tag_end("%}", false)) return true;
    }
    at_ = start;
    line_ = line;
    return false;
  }

  bool raw() {
    if (!bare_tag("raw", false)) return false;
    const size_t start = at_;
    const int line = line_;
    const bool line_start = at_line_start_;
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != source_.npos; ++tag) {
      at_ = tag;
      if (!bare_tag("endraw", true)) continue;
      at_ = start;
      line_ = line;
      at_line_start_ = line_start;
      text_before(tag, false);
      return bare_tag("endraw", true);
    }
    fail("{% raw %} without {% endraw %}");
  }

  void inside(bool variable) {
    std::string open;  // brackets: inside of them no tag ends
    while (true) {
      skip_space();
      if (at_ == source_.size()) fail("a tag does not end");
      if (open.empty() && tag_end_token(variable)) return;
      const char c = source_[at_];
      if (is_digit(c)) {
        number();
      } else if (is_name_start(c)) {
        const size_t start = at_;
        while (at_ < source_.size() && is_name(source_[at_])) ++at_;
        add(Kind::name, source_.substr(start, at_ - start));
      } else if (c == '\'' || c == '"') {
        string();
      } else {
        op(open);
      }
    }
  }

  bool tag_end_token(bool variable) {
    const int line = line_;
    if (!tag_end(variable ? "}}" : "%}", !variable)) return false;
    tokens_.push_back({variable ? Kind::variable_end : Kind::block_end, line, ""});
    return true;
  }

  void string() {
    const char quote = source_[at_];
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string does not end");
    add(Kind::string, Unescaper(source_.substr(at_ + 1, end - at_ - 1), line_).run());
    go_to(end + 1);
  }

  /// Digits, where a single _ may stand between two of them.
  void digits(std::string& out, int base) {
    while (at_ < source_.size()) {
      const bool gap = source_[at_] == '_' && at_ + 1 < source_.size();
      if (digit_value(source_[at_ + gap]) >= base) return;
      out += source_[at_ + gap];
      at_ += 1 + gap;
    }
  }

  void number() {
    const size_t start = at_;
    const std::string_view prefix = source_.substr(start, 2);
    std::string text;
    if (prefix == "0x" || prefix == "0X") return based_integer(16);
    if (prefix == "0o" || prefix == "0O") return based_integer(8);
    if (prefix == "0b" || prefix == "0B") return based_integer(2);
    digits(text, 10);
    const bool fraction =
        starts_with(".") && at_ + 1 < source_.size() && is_digit(source_[at_ + 1]);
    if (fraction) {
      text += source_[at_++];
      digits(text, 10);
    }
    size_t exponent = at_ + 1;
    if (source_.substr(exponent, 1) == "+" || source_.substr(exponent, 1) == "-") ++exponent;
    const bool scaled = (starts_with("e") || starts_with("E")) && exponent < source_.size() &&
                        is_digit(source_[exponent]);
    if (scaled) {
      text += source_.substr(at_, exponent - at_);
      at_ = exponent;
      digits(text, 10);
    }
    add(fraction || scaled ? Kind::real : Kind::integer, text);
  }

  void based_integer(int base) {
    at_ += 2;
    std::string text;
    digits(text, base);
    uint64_t value = 0;
    for (char c : text) {
      if (value >> 59 != 0) fail("an integer does not fit 64 bits");
      value = value * base + static_cast<uint64_t>(digit_value(c));
    }
    if (text.empty()) fail("a number without digits");
    add(Kind::integer, std::to_string(value));
  }

  void op(std::string& open) {
    static constexpr std::string_view operators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto* found = std::find_if(std::begin(operators), std::end(operators),
                                     [&](std::string_view op) { return starts_with(op); });
    if (found == std::end(operators)) fail("unexpected character '", source_[at_], "'");
    static constexpr std::string_view opening = "([{", closing = ")]}";
    const char c = (*found)[0];
    if (opening.find(c) != opening.npos) open += c;
    if (const size_t kind = closing.find(c); kind != closing.npos) {
      if (open.empty() || open.back() != opening[kind]) fail("unexpected '", c, "'");
      open.pop_back();
    }
    add(Kind::op, *found);
    at_ += found->size();
  }

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // nothing, or only white space, before at_ on its line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  const std::string normalized = normalize_newlines(source);
  return Lexer(normalized).run();
}

}  // namespace octet::jinja
