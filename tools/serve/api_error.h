#pragma once
#include <octet/error.h>

#include <exception>
#include <string>

#include "tools/serve/message.h"

namespace octet::serve {

/// A failure in the form of OpenAI's API.
struct ApiError : std::exception {
  ApiError(int status_, std::string message_, std::string parameter_ = {}, std::string code_ = {})
      : status(status_),
        message(std::move(message_)),
        parameter(std::move(parameter_)),
        code(std::move(code_)) {}

  int status;
  std::string message;
  std::string parameter;  ///< the field of the request that is wrong; may be empty
  std::string code;       ///< may be empty

  const char* what() const noexcept override { return message.c_str(); }
};

/// What the library's error is to a client.
ApiError to_api_error(const Error& error);

/// {"error": {"message", "type", "param", "code"}}
std::string error_body(const ApiError& error);
HttpResponse error_response(const ApiError& error);

}  // namespace octet::serve
