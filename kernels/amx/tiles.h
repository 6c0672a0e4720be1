#pragma once
// The tile registers of AMX. All of it has internal linkage.
#include "kernels/avx512vnni/intrinsics.h"

namespace octet::kernels {
namespace {

inline constexpr int side = 16;        // rows of a tile, columns of int32 in it
inline constexpr int64_t step_k = 64;  // bytes of K in a tile

/// Says to the compiler that memory is read after this: GCC 12's tile intrinsics do not name what
/// they read, so that it could leave out the writes of what only they use.
inline void written() {
  asm volatile("" : : : "memory");
}

/// What ldtilecfg reads: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1,
/// 18.2. All eight tiles are whole.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Holds the tiles while it lives.
struct Tiles {
  Tiles() {
    const TileConfig config;
    written();
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace octet::kernels
