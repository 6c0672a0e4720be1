#include "lib/text/jinja_expression_parser.h"

#include <algorithm>
#include <charconv>

#include "lib/text/jinja_parser.h"

namespace octet::jinja {
namespace {

using Kind = Token::Kind;

int height(const ExprPtr& expr) {
  return expr ? expr->height : 0;
}
int height(const std::vector<ExprPtr>& exprs) {
  int result = 0;
  for (const ExprPtr& expr : exprs) result = std::max(result, height(expr));
  return result;
}
int height(const CallArguments& args) {
  int result = height(args.positional);
  for (const auto& [name, value] : args.named) result = std::max(result, height(value));
  return result;
}

const char* describe(Kind kind) {
  switch (kind) {
    case Kind::text:
    case Kind::end:
      return "the end of the tag";
    case Kind::block_begin:
      return "{%";
    case Kind::block_end:
      return "%}";
    case Kind::variable_begin:
      return "{{";
    case Kind::variable_end:
      return "}}";
    default:
      return "";
  }
}

}  // namespace

// --- tokens -----------------------------------------------------------------------------------

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (parser.nesting_ == max_nesting) parser.fail("nested more than ", max_nesting, " deep");
  ++parser.nesting_;
}

void ExpressionParser::unexpected(std::string_view wanted) const {
  const bool own_text = !token().text.empty() && token().kind != Kind::text;
  fail("unexpected '", own_text ? token().text.substr(0, 60) : describe(token().kind),
       "', expected ", wanted);
}

bool ExpressionParser::is(std::string_view op) const {
  return token().kind == Kind::op && token().text == op;
}

bool ExpressionParser::is_name(std::string_view name) const {
  return token().kind == Kind::name && token().text == name;
}

bool ExpressionParser::accept(Kind kind) {
  if (token().kind != kind) return false;
  if (kind != Kind::end) ++at_;
  return true;
}

bool ExpressionParser::accept(std::string_view op) {
  return is(op) && accept(Kind::op);
}

bool ExpressionParser::accept_name(std::string_view name) {
  return is_name(name) && accept(Kind::name);
}

void ExpressionParser::expect(Kind kind) {
  if (!accept(kind)) unexpected(str("'", describe(kind), "'"));
}

void ExpressionParser::expect(std::string_view op) {
  if (!accept(op)) unexpected(str("'", op, "'"));
}

void ExpressionParser::expect_name(std::string_view name) {
  if (!accept_name(name)) unexpected(str("'", name, "'"));
}

std::string ExpressionParser::name(const char* what) {
  if (token().kind != Kind::name) unexpected(what);
  return take().text;
}

ExprPtr ExpressionParser::make(int line, int height_below, Expr::What what) {
  if (height_below >= max_height) fail("more than ", max_height, " operators inside of each other");
  return std::make_unique<Expr>(Expr{line, height_below + 1, std::move(what)});
}

// --- operators, from the loosest to the tightest ----------------------------------------------

ExprPtr ExpressionParser::expression(bool with_if) {
  const Nesting nesting(*this);
  return with_if ? conditional() : disjunction();
}

ExprPtr ExpressionParser::tuple(std::initializer_list<std::string_view> ends, bool with_if) {
  const int line = token().line;
  ExprPtr first = expression(with_if);
  if (!is(",")) return first;
  std::vector<ExprPtr> items;
  items.push_back(std::move(first));
  while (accept(",")) {
    const Kind kind = token().kind;
    const bool end =
        kind == Kind::block_end || kind == Kind::variable_end || is(")") ||
        std::any_of(ends.begin(), ends.end(), [&](auto name) { return is_name(name); });
    if (end) break;
    items.push_back(expression(with_if));
  }
  const int below = height(items);
  return make(line, below, ListDisplay{std::move(items), true});
}

ExprPtr ExpressionParser::conditional() {
  ExprPtr result = disjunction();
  while (is_name("if")) {
    const int line = take().line;
    ExprPtr condition = disjunction();
    ExprPtr otherwise = accept_name("else") ? expression() : nullptr;
    const int below = std::max({height(condition), height(result), height(otherwise)});
    result = make(line, below,
                  Conditional{std::move(condition), std::move(result), std::move(otherwise)});
  }
  return result;
}

ExprPtr ExpressionParser::disjunction() {
  ExprPtr left = conjunction();
  while (is_name("or")) {
    const int line = take().line;
    ExprPtr right = conjunction();
    const int below = std::max(height(left), height(right));
    left = make(line, below, Logic{false, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::conjunction() {
  ExprPtr left = negation();
  while (is_name("and")) {
    const int line = take().line;
    ExprPtr right = negation();
    const int below = std::max(height(left), height(right));
    left = make(line, below, Logic{true, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::negation() {
  if (!is_name("not")) return comparison();
  const Nesting nesting(*this);
  const int line = take().line;
  ExprPtr operand = negation();
  const int below = height(operand);
  return make(line, below, Not{std::move(operand)});
}

bool ExpressionParser::comparison_operator(Comparison& op) {
  static constexpr std::pair<std::string_view, Comparison> operators[] = {
      {"==", Comparison::eq}, {"!=", Comparison::ne}, {"<", Comparison::lt},
      {"<=", Comparison::le}, {">", Comparison::gt},  {">=", Comparison::ge}};
  for (const auto& [symbol, meaning] : operators) {
    op = meaning;
    if (accept(symbol)) return true;
  }
  op = Comparison::in;
  if (accept_name("in")) return true;
  op = Comparison::not_in;
  const Token& next = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
  if (!is_name("not") || next.kind != Kind::name || next.text != "in") return false;
  at_ += 2;
  return true;
}

ExprPtr ExpressionParser::comparison() {
  const int line = token().line;
  ExprPtr first = sum();
  std::vector<std::pair<Comparison, ExprPtr>> rest;
  int below = height(first);
  for (Comparison op; comparison_operator(op);) {
    rest.emplace_back(op, sum());
    below = std::max(below, height(rest.back().second));
  }
  if (rest.empty()) return first;
  return make(line, below, Compare{std::move(first), std::move(rest)});
}

ExprPtr ExpressionParser::sum() {
  ExprPtr left = concatenation();
  while (is("+") || is("-")) {
    const Token op = take();
    ExprPtr right = concatenation();
    const int below = std::max(height(left), height(right));
    const Arithmetic kind = op.text == "+" ? Arithmetic::add : Arithmetic::subtract;
    left = make(op.line, below, Binary{kind, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  const int line = token().line;
  std::vector<ExprPtr> parts;
  parts.push_back(product());
  while (accept("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts[0]);
  const int below = height(parts);
  return make(line, below, Concat{std::move(parts)});
}

ExprPtr ExpressionParser::product() {
  ExprPtr left = power();
  while (is("*") || is("/") || is("//") || is("%")) {
    const Token op = take();
    ExprPtr right = power();
    const int below = std::max(height(left), height(right));
    const Arithmetic kind = op.text == "*"   ? Arithmetic::multiply
                            : op.text == "/" ? Arithmetic::divide
                            : op.text == "%" ? Arithmetic::modulo
                                             : Arithmetic::floor_divide;
    left = make(op.line, below, Binary{kind, std::move(left), std::move(right)});
  }
  return left;
}

/// From left to right, unlike Python, and below a sign: jinja2 has it so.
ExprPtr ExpressionParser::power() {
  ExprPtr left = unary(true);
  while (is("**")) {
    const int line = take().line;
    ExprPtr right = unary(true);
    const int below = std::max(height(left), height(right));
    left = make(line, below, Binary{Arithmetic::power, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filter) {
  const Nesting nesting(*this);
  const int line = token().line;
  ExprPtr result;
  if (is("-") || is("+")) {
    const bool minus = take().text == "-";
    ExprPtr operand = unary(false);
    const int below = height(operand);
    result = make(line, below, Sign{std::move(operand), minus});
  } else {
    result = primary();
  }
  result = postfix(std::move(result));
  if (!with_filter) return result;
  while (true) {
    if (is("|")) {
      result = filter_chain(std::move(result));
    } else if (accept_name("is")) {
      result = test(std::move(result));
    } else if (accept("(")) {
      result = call(std::move(result));
    } else {
      return result;
    }
  }
}

// --- what operators work on -------------------------------------------------------------------

ExprPtr ExpressionParser::primary() {
  switch (token().kind) {
    case Kind::name:
      return name_or_constant();
    case Kind::string:
      return string();
    case Kind::integer:
    case Kind::real:
      return number();
    default:
      if (is("(")) return parenthesized();
      if (is("[")) return list();
      if (is("{")) return dict();
      unexpected("an expression");
  }
}

ExprPtr ExpressionParser::name_or_constant() {
  const int line = token().line;
  if (functions_ > 0 && (is_name("varargs") || is_name("kwargs"))) {
    unsupported("'", token().text, "' in a macro");
  }
  std::string name = take().text;
  if (name == "true" || name == "True") return make(line, 0, Constant{Value::boolean(true)});
  if (name == "false" || name == "False") return make(line, 0, Constant{Value::boolean(false)});
  if (name == "none" || name == "None") return make(line, 0, Constant{Value::none()});
  return make(line, 0, Name{std::move(name)});
}

/// Strings next to each other are one.
ExprPtr ExpressionParser::string() {
  const int line = token().line;
  std::string text;
  while (token().kind == Kind::string) text += take().text;
  return make(line, 0,
              Constant{Value(Value::Kind(std::make_shared<const std::string>(std::move(text))))});
}

ExprPtr ExpressionParser::number() {
  const bool is_integer = token().kind == Kind::integer;
  const std::string& text = token().text;
  int64_t integer = 0;
  double real = 0;
  const auto result = is_integer ? std::from_chars(text.data(), text.data() + text.size(), integer)
                                 : std::from_chars(text.data(), text.data() + text.size(), real);
  if (result.ec != std::errc()) fail("the number ", text.substr(0, 60), " is out of range");
  const int line = take().line;
  return make(line, 0, Constant{is_integer ? Value::integer(integer) : Value::real(real)});
}

ExprPtr ExpressionParser::parenthesized() {
  const int line = take().line;
  if (accept(")")) return make(line, 0, ListDisplay{{}, true});
  ExprPtr inner = tuple();
  expect(")");
  return inner;
}

ExprPtr ExpressionParser::list() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  while (!accept("]")) {
    if (!items.empty()) expect(",");
    if (accept("]")) break;
    items.push_back(expression());
  }
  const int below = height(items);
  return make(line, below, ListDisplay{std::move(items), false});
}

ExprPtr ExpressionParser::dict() {
  const int line = take().line;
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
  int below = 0;
  while (!accept("}")) {
    if (!items.empty()) expect(",");
    if (accept("}")) break;
    ExprPtr key = expression();
    expect(":");
    items.emplace_back(std::move(key), expression());
    below = std::max({below, height(items.back().first), height(items.back().second)});
  }
  return make(line, below, DictDisplay{std::move(items)});
}

// --- what comes after them --------------------------------------------------------------------

ExprPtr ExpressionParser::postfix(ExprPtr operand) {
  while (true) {
    if (accept(".")) {
      operand = dot(std::move(operand));
    } else if (accept("[")) {
      operand = brackets(std::move(operand));
    } else if (accept("(")) {
      operand = call(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExprPtr ExpressionParser::dot(ExprPtr object) {
  const int line = token().line, below = height(object);
  if (token().kind == Kind::integer) {
    return make(line, below, Subscript{std::move(object), number()});
  }
  std::string attribute = name("the name of an attribute");
  return make(line, below, Attribute{std::move(object), std::move(attribute)});
}

ExprPtr ExpressionParser::brackets(ExprPtr object) {
  const int line = token().line;
  ExprPtr bounds[3];
  int colons = 0;
  while (!is("]")) {
    if (is(",")) unsupported("more than one index in brackets");
    if (accept(":")) {
      if (++colons > 2) unexpected("']'");
    } else if (bounds[colons]) {
      unexpected("']'");
    } else {
      bounds[colons] = expression();
    }
  }
  expect("]");
  if (colons == 0 && !bounds[0]) unexpected("an index");
  const int below =
      std::max({height(object), height(bounds[0]), height(bounds[1]), height(bounds[2])});
  if (colons == 0) return make(line, below, Subscript{std::move(object), std::move(bounds[0])});
  return make(
      line, below,
      Slice{std::move(object), std::move(bounds[0]), std::move(bounds[1]), std::move(bounds[2])});
}

CallArguments ExpressionParser::arguments() {
  CallArguments args;
  bool first = true;
  while (!accept(")")) {
    if (!first) expect(",");
    if (!std::exchange(first, false) && accept(")")) break;
    if (is("*") || is("**")) unsupported("'*' before an argument");
    const Token& next = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
    const bool named = token().kind == Kind::name && next.kind == Kind::op && next.text == "=";
    if (named) {
      std::string parameter = take().text;
      expect("=");
      args.named.emplace_back(std::move(parameter), expression());
    } else if (!args.named.empty()) {
      fail("an argument without a name comes after one with a name");
    } else {
      args.positional.push_back(expression());
    }
  }
  return args;
}

ExprPtr ExpressionParser::call(ExprPtr callee) {
  const int line = token().line;
  CallArguments args = arguments();
  const int below = std::max(height(callee), height(args));
  return make(line, below, Call{std::move(callee), std::move(args)});
}

ExprPtr ExpressionParser::filter(ExprPtr operand) {
  const int line = token().line;
  if (token().kind == Kind::name && !find_filter(token().text)) {
    unsupported("the filter '", token().text, "'");
  }
  const Builtin* builtin = find_filter(name("the name of a filter"));
  CallArguments args;
  if (accept("(")) args = arguments();
  const int below = std::max(height(operand), height(args));
  return make(line, below, Filter{std::move(operand), builtin, std::move(args)});
}

ExprPtr ExpressionParser::filter_chain(ExprPtr operand) {
  while (accept("|")) operand = filter(std::move(operand));
  return operand;
}

ExprPtr ExpressionParser::test(ExprPtr operand) {
  const int line = token().line;
  const bool negated = accept_name("not");
  if (token().kind == Kind::name && !find_test(token().text)) {
    unsupported("the test '", token().text, "'");
  }
  const Builtin* builtin = find_test(name("the name of a test"));
  CallArguments args;
  const Kind kind = token().kind;
  if (accept("(")) {
    args = arguments();
  } else if (kind == Kind::string || kind == Kind::integer || kind == Kind::real || is("[") ||
             is("{") ||
             (kind == Kind::name && !is_name("else") && !is_name("or") && !is_name("and") &&
              !is_name("if") && !is_name("is"))) {
    args.positional.push_back(postfix(primary()));
  }
  const int below = std::max(height(operand), height(args));
  return make(line, below, Test{std::move(operand), builtin, std::move(args), negated});
}

}  // namespace octet::jinja
