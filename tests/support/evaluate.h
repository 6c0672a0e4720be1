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

/// Ids of the vocabulary that depend on `seed` alone.
inline std::vector<int32_t> some_ids(const Model& model, int64_t count, int64_t seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(
        static_cast<int32_t>((i * i * 31 + i * 7 + seed * 101) % model.config().vocab_size));
  return ids;
}

/// all_logits() of up to 256 ids in a session of their own.
inline std::vector<float> alone(const Model& model, const std::vector<int32_t>& ids,
                                size_t chunk = 0) {
  Session session(model, {.context = 256});
  return all_logits(session, ids, chunk);
}

}  // namespace octet::testing
