#include "lib/text/jinja_parser.h"

#include <algorithm>
#include <initializer_list>

#include "lib/text/jinja_expression_parser.h"

namespace octet::jinja {
namespace {

using Kind = Token::Kind;

class Parser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block run() { return block({}); }

 private:
  using Ends = std::initializer_list<std::string_view>;

  /// Statements up to a tag named in `ends`, of which {% and the name are read; to the end of the
  /// template if there are none.
  Block block(Ends ends) {
    const Nesting nesting(*this);
    Block body;
    while (true) {
      const int line = token().line;
      if (accept(Kind::end)) {
        if (ends.size() == 0) return body;
        fail("the template ends before {% ", *(ends.end() - 1), " %}");
      } else if (token().kind == Kind::text) {
        body.push_back({line, Text{take().text}});
      } else if (accept(Kind::variable_begin)) {
        ExprPtr value = tuple();
        expect(Kind::variable_end);
        body.push_back({line, Output{std::move(value)}});
      } else {
        expect(Kind::block_begin);
        end_ = name("the name of a tag");
        if (std::find(ends.begin(), ends.end(), end_) != ends.end()) return body;
        body.push_back({line, statement(end_)});
      }
    }
  }

  Statement::What statement(const std::string& tag) {
    if (tag == "if") return if_statement();
    if (tag == "for") return for_statement();
    if (tag == "set") return set_statement();
    if (tag == "macro") return macro();
    if (tag == "call") return call_block();
    if (tag == "filter") return filter_block();
    if (tag == "with") return with();
    if (tag == "generation") return generation();
    if (tag == "break" || tag == "continue") return leave(tag == "break");
    if (tag.starts_with("end") || tag.starts_with("el")) fail("unexpected {% ", tag, " %}");
    unsupported("the tag '", tag, "'");
  }

  Block body_until(std::string_view end) {
    expect(Kind::block_end);
    Block body = block({end});
    expect(Kind::block_end);
    return body;
  }

  Statement::What if_statement() {
    If result;
    do {
      ExprPtr condition = tuple({}, false);
      expect(Kind::block_end);
      Block body = block({"elif", "else", "endif"});
      result.branches.emplace_back(std::move(condition), std::move(body));
    } while (end_ == "elif");
    if (end_ == "else")
      result.otherwise = body_until("endif");
    else
      expect(Kind::block_end);
    return result;
  }

  Statement::What for_statement() {
    For result;
    result.target = target(false);
    expect_name("in");
    result.items = tuple({"recursive"}, false);
    if (accept_name("if")) result.condition = expression();
    if (is_name("recursive")) unsupported("recursive loops");
    expect(Kind::block_end);
    ++loops_;
    result.body = block({"else", "endfor"});
    --loops_;
    if (end_ == "else")
      result.otherwise = body_until("endfor");
    else
      expect(Kind::block_end);
    return result;
  }

  Statement::What leave(bool is_break) {
    if (loops_ == 0) fail("{% break %} or {% continue %} outside of a loop");
    expect(Kind::block_end);
    if (is_break) return Break{};
    return Continue{};
  }

  Statement::What set_statement() {
    Target to = target(true);
    if (accept("=")) {
      ExprPtr value = tuple();
      expect(Kind::block_end);
      return Set{std::move(to), std::move(value)};
    }
    ExprPtr filters = filter_chain(nullptr);
    return SetBlock{std::move(to), std::move(filters), body_until("endset")};
  }

  Statement::What filter_block() {
    ExprPtr filters = filter_chain(filter(nullptr));
    return FilterBlock{std::move(filters), body_until("endfilter")};
  }

  Statement::What macro() {
    MacroDefinition result;
    result.name = name("the name of a macro");
    expect("(");
    result.parameters = parameters();
    result.body = function_body("endmacro");
    return result;
  }

  Statement::What call_block() {
    CallBlock result;
    if (accept("(")) result.caller.parameters = parameters();
    result.call = expression();
    if (!std::holds_alternative<Call>(result.call->what)) fail("{% call %} takes a call");
    result.caller.name = "caller";
    result.caller.body = function_body("endcall");
    return result;
  }

  /// Loops around a macro are not its own.
  Block function_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    ++functions_;
    Block body = body_until(end);
    --functions_;
    loops_ = loops;
    return body;
  }

  std::vector<std::pair<std::string, ExprPtr>> parameters() {
    std::vector<std::pair<std::string, ExprPtr>> result;
    while (!accept(")")) {
      if (!result.empty()) expect(",");
      std::string parameter = assignable_name();
      ExprPtr otherwise = accept("=") ? expression() : nullptr;
      if (!otherwise && !result.empty() && result.back().second) {
        fail("the parameter '", parameter, "' needs a default value like the one before it");
      }
      result.emplace_back(std::move(parameter), std::move(otherwise));
    }
    return result;
  }

  Statement::What with() {
    With result;
    while (token().kind != Kind::block_end) {
      if (!result.variables.empty()) expect(",");
      Target to = target(false);
      expect("=");
      result.variables.emplace_back(std::move(to), expression());
    }
    result.body = body_until("endwith");
    return result;
  }

  /// transformers marks with it what the model generates; it changes nothing in the text.
  Statement::What generation() { return With{{}, body_until("endgeneration")}; }

  std::string assignable_name() {
    std::string result = name("a name");
    static constexpr std::string_view reserved[] = {"true", "false", "none",
                                                    "True", "False", "None"};
    if (std::find(std::begin(reserved), std::end(reserved), result) != std::end(reserved)) {
      fail("cannot assign to '", result, "'");
    }
    return result;
  }

  Target single_target(bool attributes) {
    if (accept("(")) {
      Target inner = target(attributes);
      expect(")");
      return inner;
    }
    Target result{assignable_name(), {}, {}};
    if (attributes && accept(".")) result.attribute = name("the name of an attribute");
    return result;
  }

  Target target(bool attributes) {
    const Nesting nesting(*this);
    Target first = single_target(attributes);
    if (!is(",")) return first;
    Target all;
    all.parts.push_back(std::move(first));
    while (accept(",")) {
      if (is_name("in") || is("=") || is(")")) break;
      all.parts.push_back(single_target(attributes));
    }
    return all;
  }

  std::string end_;  // the tag that ended the last block
  int loops_ = 0;
};

}  // namespace

Block parse(std::string_view source) {
  if (source.size() > max_source) {
    octet::fail(ErrorCode::InvalidFile, "chat template: ", source.size(), " bytes, more than ",
                max_source);
  }
  return Parser(tokenize(source)).run();
}

}  // namespace octet::jinja
