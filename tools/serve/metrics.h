#pragma once
#include <octet/engine.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "tools/serve/connection_table.h"
#include "tools/serve/exchange.h"

namespace octet::serve {

/// Counts of finished requests, by route and status. From any thread.
class RequestCounts {
 public:
  void add(const ExchangeRecord& record);
  std::map<std::pair<std::string, int>, uint64_t> get() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> counts_;
};

/// All metrics in Prometheus' text format, version 0.0.4.
std::string metrics_text(const EngineStats& engine, const ConnectionTable::Counts& connections,
                         const RequestCounts& requests);

}  // namespace octet::serve
