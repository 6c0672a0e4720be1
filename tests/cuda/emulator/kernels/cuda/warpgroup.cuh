#pragma once
// kernels/cuda/warpgroup.cuh in plain C++. Products are done at once.
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

inline constexpr int warpgroup_threads = 128;
inline constexpr int warpgroup_rows = 64;

/// Columns or rows of SwizzledRows.
struct PartOfRows {
  char* data;  // the first
  int apart;

  template <class T>
  T at(int row, int column) const {
    constexpr int columns = 128 / sizeof(T);
    const auto address = reinterpret_cast<uintptr_t>(data + column / columns * apart + row * 128 +
                                                     column % columns * int{sizeof(T)});
    return *reinterpret_cast<const T*>(address ^ (address / 128 % 8 * 16));
  }
  float half(int row, int column) const { return ref::float_of_half(at<uint16_t>(row, column)); }
};

class SwizzledRows {
 public:
  SwizzledRows(void* shared, int apart) : rows_{static_cast<char*>(shared), apart} {}

  uint4* piece(int row, int p) const {
    return reinterpret_cast<uint4*>(rows_.data + p / 8 * rows_.apart) + row * 8 + (p % 8 ^ row % 8);
  }
  PartOfRows columns(int k) const {
    return {rows_.data + k / 4 * rows_.apart + k % 4 * 32, rows_.apart};
  }
  PartOfRows rows(int k) const { return {rows_.data + k * 16 * 128, rows_.apart}; }

 private:
  PartOfRows rows_;
};

inline constexpr int swizzled_alignment = 1024;
inline char* swizzled_shared() {
  const auto memory = reinterpret_cast<uintptr_t>(dynamic_shared<char>());
  return reinterpret_cast<char*>((memory + swizzled_alignment - 1) / swizzled_alignment *
                                 swizzled_alignment);
}

inline void show_to_products() {}
inline void begin_products() {}
inline void commit_products() {}

/// a(row of 64, k)
template <int tiles, class Left>
void add_columns(float (&sums)[tiles][4], Left a, const PartOfRows& b) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int n = 0; n < tiles; ++n)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = n * 8 + lane % 4 * 2 + i % 2;
      for (int k = 0; k < 16; ++k) sums[n][i] += a(row, k) * b.half(k, column);
    }
}

inline void product(float (&sums)[8][4], const PartOfRows& a, const PartOfRows& b, bool add) {
  const int first_row = static_cast<int>(threadIdx.x) % warpgroup_threads / 32 * 16;
  if (!add) std::memset(sums, 0, sizeof sums);
  add_columns(
      sums, [&](int row, int k) { return a.half(first_row + row, k); }, b);
}
template <int tiles>
void add_product(float (&sums)[tiles][4], const uint4& a, const PartOfRows& b) {
  const uint32_t mine[4] = {a.x, a.y, a.z, a.w};
  const uint32_t* all = emulator::gather(mine, 4);
  add_columns(
      sums,
      [&](int row, int k) {
        return half_of(all[(row % 8 * 4 + k % 8 / 2) * 4 + row / 8 + k / 8 * 2], k % 2);
      },
      b);
}
/// Of int8; b's columns are rows of 32 bytes.
template <int tiles>
void product(int (&sums)[tiles][4], const uint4& a, const PartOfRows& b, bool add) {
  if (!add) std::memset(sums, 0, sizeof sums);
  const uint32_t mine[4] = {a.x, a.y, a.z, a.w};
  const uint32_t* all = emulator::gather(mine, 4);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int n = 0; n < tiles; ++n)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = n * 8 + lane % 4 * 2 + i % 2;
      for (int k = 0; k < 32; ++k) {
        const uint32_t word = all[(row % 8 * 4 + k % 16 / 4) * 4 + row / 8 + k / 16 * 2];
        sums[n][i] += byte_of(word, k % 4) * b.at<int8_t>(column, k);
      }
    }
}
template <class Sum, int tiles>
void wait_products(Sum (&)[tiles][4]) {}

}  // namespace octet::kernels::cuda
