#pragma once
// The part of the parser that reads expressions.
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/jinja_ast.h"
#include "lib/text/jinja_lexer.h"

namespace octet::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  /// Counts a level of nesting as long as it lives.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(ErrorCode::InvalidFile, token().line, parts...);
  }
  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... parts) const {
    fail_at(ErrorCode::Unsupported, token().line, "octet does not know ", parts...);
  }
  [[noreturn]] void unexpected(std::string_view wanted) const;

  const Token& token() const { return tokens_[at_]; }
  Token take() { return std::move(tokens_[at_++]); }
  bool is(std::string_view op) const;
  bool is_name(std::string_view name) const;
  bool accept(Token::Kind kind);
  bool accept(std::string_view op);
  bool accept_name(std::string_view name);
  void expect(Token::Kind kind);
  void expect(std::string_view op);
  void expect_name(std::string_view name);
  std::string name(const char* what);

  /// An expression; with_if: it may be `a if b else c`.
  ExprPtr expression(bool with_if = true);
  /// One expression, or several with commas between them: a tuple. It ends before one of the
  /// names.
  ExprPtr tuple(std::initializer_list<std::string_view> ends = {}, bool with_if = true);
  /// |a|b(c)... applied to `operand`.
  ExprPtr filter_chain(ExprPtr operand);
  /// The filter whose name comes next.
  ExprPtr filter(ExprPtr operand);

  int functions_ = 0;  // macros around this place

 private:
  ExprPtr conditional();
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  bool comparison_operator(Comparison& op);
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filter);
  ExprPtr primary();
  ExprPtr name_or_constant();
  ExprPtr string();
  ExprPtr number();
  ExprPtr parenthesized();
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr operand);
  ExprPtr dot(ExprPtr object);
  ExprPtr brackets(ExprPtr object);
  ExprPtr call(ExprPtr callee);
  ExprPtr test(ExprPtr operand);
  CallArguments arguments();
  ExprPtr make(int line, int height_below, Expr::What what);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace octet::jinja
