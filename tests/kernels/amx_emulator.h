#pragma once
// The tile instructions of AMX that kernels/amx/ has, as plain loops: with OCTET_EMULATE_ISAS that
// folder is compiled with this header before each file, and so tested without AMX. All tiles are
// whole, as kernels/amx/tiles.h configures them (Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2, TILELOADD to TDPBUUD).
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace octet::amx_emulator {
namespace {

/// A tile of sums, or of 64 bytes a row.
struct Tile {
  int32_t row[16][16];
};
thread_local Tile tiles[8];

inline void load(int tile, const void* from, int64_t stride) {
  for (int r = 0; r < 16; ++r)
    std::memcpy(tiles[tile].row[r], static_cast<const char*>(from) + r * stride, 64);
}
inline void store(int tile, void* to, int64_t stride) {
  for (int r = 0; r < 16; ++r)
    std::memcpy(static_cast<char*>(to) + r * stride, tiles[tile].row[r], 64);
}

/// sum[m][n] += a[m][4 k + i] b[k][4 n + i], of bytes of types A and B, modulo 2^32.
template <class A, class B>
void multiply(int sum, int a, int b) {
  A rows[16][64];
  B columns[16][64];
  std::memcpy(rows, tiles[a].row, sizeof rows);
  std::memcpy(columns, tiles[b].row, sizeof columns);
  for (int m = 0; m < 16; ++m)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 16; ++n) {
        int32_t four = 0;
        for (int i = 0; i < 4; ++i) four += rows[m][4 * k + i] * columns[k][4 * n + i];
        int32_t& to = tiles[sum].row[m][n];
        to = static_cast<int32_t>(static_cast<uint32_t>(to) + static_cast<uint32_t>(four));
      }
}

}  // namespace
}  // namespace octet::amx_emulator

#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbusd
#undef _tile_dpbsud
#define _tile_loadconfig(config) static_cast<void>(config)
#define _tile_release() static_cast<void>(0)
#define _tile_loadd(tile, from, stride) octet::amx_emulator::load(tile, from, stride)
#define _tile_stream_loadd(tile, from, stride) octet::amx_emulator::load(tile, from, stride)
#define _tile_stored(tile, to, stride) octet::amx_emulator::store(tile, to, stride)
#define _tile_zero(tile) octet::amx_emulator::tiles[tile] = {}
#define _tile_dpbusd(sum, a, b) octet::amx_emulator::multiply<uint8_t, int8_t>(sum, a, b)
#define _tile_dpbsud(sum, a, b) octet::amx_emulator::multiply<int8_t, uint8_t>(sum, a, b)
