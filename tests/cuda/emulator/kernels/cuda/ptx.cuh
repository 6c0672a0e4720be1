#pragma once
// kernels/cuda/ptx.cuh in plain C++, from the fragment layouts of the PTX ISA.
#include <cuda_runtime.h>

#include "kernels/cuda/plan.h"
#include "kernels/ref/half.h"

namespace octet::kernels::cuda {

inline constexpr int code_architecture = 90;
inline constexpr bool has_warpgroups = true;

inline int8_t byte_of(uint32_t word, int i) {
  return static_cast<int8_t>(word >> (8 * i) & 0xff);
}
inline float half_of(uint32_t word, int i) {
  return ref::float_of_half(static_cast<uint16_t>(word >> (16 * i) & 0xffff));
}

/// first: of a byte of a.
template <class First>
void mma_bytes(int (&d)[4], const uint4& a, uint32_t b0, uint32_t b1, First first) {
  const uint32_t mine[6] = {a.x, a.y, a.z, a.w, b0, b1};
  const uint32_t* all = emulator::gather(mine, 6);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 32; ++k) {
      const int q = k % 16 / 4, upper = k / 16;
      const uint32_t a_word = all[(row % 8 * 4 + q) * 6 + row / 8 + 2 * upper];
      const uint32_t b_word = all[(column * 4 + q) * 6 + 4 + upper];
      d[i] += first(byte_of(a_word, k % 4)) * byte_of(b_word, k % 4);
    }
  }
}
inline void mma_s8(int (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  mma_bytes(d, a, b0, b1, [](int8_t byte) { return int{byte}; });
}
inline void mma_u8s8(int (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  mma_bytes(d, a, b0, b1, [](int8_t byte) { return int{static_cast<uint8_t>(byte)}; });
}

inline void prefetch(const void*) {}
inline int dot_s8(uint32_t a, uint32_t b, int c) {
  for (int i = 0; i < 4; ++i) c += byte_of(a, i) * byte_of(b, i);
  return c;
}
inline int dot_u8s8(uint32_t a, uint32_t b, int c) {
  for (int i = 0; i < 4; ++i) c += static_cast<uint8_t>(byte_of(a, i)) * byte_of(b, i);
  return c;
}

inline float power_of_two(float x) {
  return std::exp2(x);
}

inline uint32_t largest_of_warp(uint32_t value) {
  for (int offset = 16; offset > 0; offset /= 2)
    value = std::max(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

inline void mma_f16(float (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  const uint32_t mine[6] = {a.x, a.y, a.z, a.w, b0, b1};
  const uint32_t* all = emulator::gather(mine, 6);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int q = k % 8 / 2, upper = k / 8;
      const uint32_t a_word = all[(row % 8 * 4 + q) * 6 + row / 8 + 2 * upper];
      const uint32_t b_word = all[(column * 4 + q) * 6 + 4 + upper];
      d[i] += half_of(a_word, k % 2) * half_of(b_word, k % 2);
    }
  }
}

inline void load_matrices_transposed(uint32_t (&r)[4], const void* shared_row) {
  const auto address = reinterpret_cast<uint64_t>(shared_row);
  const uint32_t mine[2] = {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)};
  const uint32_t* all = emulator::gather(mine, 2);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto element = [&](int matrix, int row, int column) {
    const uint32_t* from = all + (matrix * 8 + row) * 2;
    const uint64_t at = from[0] | static_cast<uint64_t>(from[1]) << 32;
    return uint32_t{reinterpret_cast<const uint16_t*>(at)[column]};
  };
  for (int matrix = 0; matrix < 4; ++matrix)
    r[matrix] =
        element(matrix, lane % 4 * 2, lane / 4) | element(matrix, lane % 4 * 2 + 1, lane / 4) << 16;
}

inline uint4 load_once(const uint4* global) {
  return *global;
}
inline uint4 load_streaming(const uint4* global) {
  return *global;
}

inline void load_streaming_if(bool there, const uint4* global, uint4& v) {
  if (there) v = *global;
}

/// Copies arrive at once.
template <int count, class Piece = uint4, bool once = false>
struct Copies {
  void start(int, void* shared, const void* global) { std::memcpy(shared, global, sizeof(Piece)); }
  void store() {}
};
inline void commit_copies() {}
template <int pending>
void wait_copies() {}

template <int threads = block_threads>
void sync_workers() {
  emulator::sync_first(threads);
}
inline void sync_team(int team) {
  emulator::sync_named(team, team_threads);
}
inline void sync_teams() {
  emulator::sync_named(row_teams, row_teams * team_threads);
}
inline void sync_pair() {
  emulator::sync_pair();
}
inline void sync_neighbours() {
  emulator::sync_pair();
}
inline void sync_split_group() {
  emulator::sync_four_warps();
}

inline void sync_helped() {
  __syncthreads();
}

class CopyBarrier {
 public:
  void init(int arrivals) {
    arrivals_ = pending_ = static_cast<int8_t>(arrivals);
    bytes_ = 0;
    parity_ = 0;
  }
  static void made() {}
  void arrive() {
    --pending_;
    end_phase();
  }
  void expect(int bytes) {
    bytes_ += bytes;
    arrive();
  }
  void wait(int parity) const {
    while (*const_cast<const volatile int16_t*>(&parity_) == parity) emulator::give_way();
  }
  // There are no clusters here: plans do without.
  void wait_for_cluster() const {}
  void send(void*, uint32_t, int) {}
  void send(void*, const int4&, int) {}
  void copy_kept(void* shared, const void* global, int bytes) { copy(shared, global, bytes); }
  void copy(void* shared, const void* global, int bytes) {
    std::memcpy(shared, global, static_cast<size_t>(bytes));
    bytes_ -= bytes;
    end_phase();
  }

 private:
  void end_phase() {
    if (pending_ > 0 || bytes_ > 0) return;
    pending_ = arrivals_;
    parity_ ^= 1;
    emulator::note_progress();
  }
  int8_t arrivals_, pending_;
  int16_t parity_;
  int32_t bytes_;
};

inline void sync_cluster() {}
inline void store_relaxed(uint32_t* shared, uint32_t value) {
  *const_cast<volatile uint32_t*>(shared) = value;
}
inline uint32_t load_relaxed(const uint32_t* shared) {
  return *const_cast<const volatile uint32_t*>(shared);
}
// Blocks run one after another.
inline void store_shared_by_all(uint4* global, const uint4& value) {
  *global = value;
}
inline uint4 load_shared_by_all(const uint4* global) {
  return *global;
}
inline void store_shared_by_all(uint32_t* global, uint32_t value) {
  *global = value;
}
inline void store_shared_by_all(float* global, float value) {
  *global = value;
}
inline void store_shared_by_all(float2* global, const float2& value) {
  *global = value;
}
inline float2 load_shared_by_all(const float2* global) {
  return *global;
}
inline int worked_out_here(int value) {
  return value;
}
inline void allow_next_kernel() {}
inline void wait_previous_kernels() {}

inline uint32_t pack_halves(float low, float high) {
  return ref::half_of_float(low) | static_cast<uint32_t>(ref::half_of_float(high)) << 16;
}
inline float2 unpack_halves(uint32_t halves) {
  return make_float2(half_of(halves, 0), half_of(halves, 1));
}
inline uint16_t half_bits(float value) {
  return ref::half_of_float(value);
}

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulator::shared_memory);
}

}  // namespace octet::kernels::cuda
