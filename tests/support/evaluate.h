#pragma once
#include <octet/session.h>

#include <span>
#include <vector>

namespace octet::testing {

/// Logits of every position, one after another, evaluated in chunks (0: all at once).
inline std::vector<float> all_logits(Session& session, std::span<const int32_t> ids,
                                     size_t chunk = 0) {
  std::vector<float> all;
  if (chunk == 0) chunk = ids.size();
  for (size_t begin = 0; begin < ids.size(); begin += chunk)
    session.evaluate(ids.subspan(begin, std::min(chunk, ids.size() - begin)), Session::Rows::all,
                     [&](int64_t, std::span<const float> logits) {
                       all.insert(all.end(), logits.begin(), logits.end());
                     });
  return all;
}

}  // namespace octet::testing
