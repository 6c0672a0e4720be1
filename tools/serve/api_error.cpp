#include "tools/serve/api_error.h"

#include "tools/serve/json.h"

namespace octet::serve {
namespace {

const char* type_of(int status) {
  if (status == 401) return "authentication_error";
  if (status == 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace

ApiError to_api_error(const Error& error) {
  switch (error.code()) {
    case ErrorCode::InvalidArgument:
    case ErrorCode::Unsupported:
      return {400, error.what()};
    case ErrorCode::OutOfMemory:
      return {400, error.what(), {}, "context_length_exceeded"};
    case ErrorCode::Busy:
      return {429, error.what(), {}, "queue_full"};
    case ErrorCode::Cancelled:
      return {503, "the server is shutting down"};
    default:
      return {500, std::string(to_string(error.code())) + ": " + error.what()};
  }
}

std::string error_body(const ApiError& error) {
  return dump({{"error",
                {{"message", error.message},
                 {"type", type_of(error.status)},
                 {"param", text_or_null(error.parameter)},
                 {"code", text_or_null(error.code)}}}});
}

HttpResponse error_response(const ApiError& error) {
  HttpResponse response{error.status, "application/json", error_body(error), {}};
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace octet::serve
