#pragma once
#include <sys/mman.h>

#include <cstddef>

namespace octet {

/// Asks for pages of 2 MB under a mapping, so that a core reads through it without a page walk each
/// 4 KB. A wish: systems without them keep small ones.
inline void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

/// Whether most of what is in memory of the mapping that `address` lies in is in pages of 2 MB; not
/// where the system does not say. Reads the process's page tables: 28 ms where it has 1.5 GB
/// of small pages, 0.1 ms of large ones (Zen 4).
bool in_huge_pages(const void* address);

}  // namespace octet
