#pragma once
#include <string>

#include "tools/serve/exchange.h"

namespace octet::serve {

enum class LogFormat { text, json };

/// A line for a request, without the line break. Of its content only what the record holds.
std::string log_line(const ExchangeRecord& record, LogFormat format);

/// The line above, to stderr, as one piece.
void write_log(const ExchangeRecord& record, LogFormat format);

}  // namespace octet::serve
