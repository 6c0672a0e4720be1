#include "lib/core/huge_pages.h"

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace octet {

// /proc/PID/smaps (proc_pid_smaps(5)): for each mapping a line "from-to ...", then "Name: N kB".
bool in_huge_pages(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  int64_t resident = 0, huge = 0;
  for (std::string line; std::getline(smaps, line);) {
    uintptr_t from = 0, to = 0;
    int64_t kilobytes = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
      if (inside) break;
      inside = from <= wanted && wanted < to;
    } else if (inside) {
      if (std::sscanf(line.c_str(), "Rss: %" SCNd64, &kilobytes) == 1) resident += kilobytes;
      for (const char* name :
           {"AnonHugePages: %" SCNd64, "FilePmdMapped: %" SCNd64, "ShmemPmdMapped: %" SCNd64})
        if (std::sscanf(line.c_str(), name, &kilobytes) == 1) huge += kilobytes;
    }
  }
  return huge > resident / 2;
}

}  // namespace octet
