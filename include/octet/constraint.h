#pragma once
#include <octet/error.h>
#include <octet/export.h>
#include <octet/handle.h>

#include <string>
#include <string_view>

namespace OCTET_EXPORT octet {

struct ConstraintImpl;
void retain(ConstraintImpl*) noexcept;
void release(ConstraintImpl*) noexcept;

/// What an answer must look like: a set of byte strings, as an automaton. While a constrained
/// answer is made, only tokens are drawn from which a whole string of the set can still be reached
/// within the limit of tokens, so that an answer which ends by itself or at a limit always is one
/// of the set. Copies are cheap; every function may be called from any thread.
class Constraint {
 public:
  /// None: every text.
  Constraint() = default;

  /// JSON texts that fulfil a schema. Known keywords:
  ///   any type    type (one, or a list of them), enum, const, anyOf, $ref to "#/$defs/NAME" or
  ///               "#/definitions/NAME" that does not lead back to itself
  ///   object      properties, required, additionalProperties (false, or a schema if there are no
  ///               properties). Properties come in the schema's order, and no others do.
  ///   array       items, minItems, maxItems
  ///   string      minLength, maxLength, pattern (anchored at neither end, as the standard has it;
  ///               what regex() knows), format: date, time, date-time, uuid, ipv4
  ///   integer, number   minimum, maximum (integers only)
  ///   annotations, of no effect: title, description, default, examples, $schema, $id, $comment
  /// A schema without a type ({} or true) stands for any JSON value with up to 4 levels of arrays
  /// and objects. Between the parts of a value there may be nothing, a space, or a line break with
  /// up to 32 spaces.
  /// Errors: InvalidArgument if the schema is no JSON, breaks the standard, or has no value that
  /// fulfils it; Unsupported naming a keyword that is not in this list, and where it stands.
  static Constraint json_schema(std::string_view schema);

  /// Any JSON object, as json_schema() of {"type": "object"}.
  static Constraint json_object();

  /// Texts that the whole of a regular expression matches. Known: literals, ., [a-z], [^a-z], \d
  /// \w \s \D \W \S, escapes \n \r \t \\ \xHH \uHHHH and of punctuation, groups ( ) and (?: ),
  /// alternatives |, and the repetitions * + ? {n} {n,} {n,m} (at most 1000, never lazy). It works
  /// on code points; . stands for all but a line break. ^ at the beginning and $ at the end have no
  /// effect. Errors: InvalidArgument naming the place; Unsupported for what is not in this list.
  static Constraint regex(std::string_view pattern);

  explicit operator bool() const noexcept { return static_cast<bool>(impl_); }
  const Handle<ConstraintImpl>& impl() const { return impl_; }

 private:
  explicit Constraint(Handle<ConstraintImpl> impl) : impl_(std::move(impl)) {}
  Handle<ConstraintImpl> impl_;
};

}  // namespace octet
