#include "lib/io/atomic_directory.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <span>
#include <system_error>

#include "lib/core/error.h"
#include "lib/io/file_kind.h"

namespace octet {

namespace fs = std::filesystem;

AtomicDirectory::AtomicDirectory(const std::string& path) : path_(path) {
  while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
  std::error_code error;
  const bool there = fs::exists(fs::symlink_status(path_, error));
  require(!there || (fs::is_directory(path_, error) && fs::is_empty(path_, error)), ErrorCode::Io,
          path_, ": exists and is not an empty directory");
  static std::atomic<unsigned> counter{0};
  temporary_ = str(folder_of(path_), "/.octet-", getpid(), "-", counter++, ".dir.tmp");
  fs::remove_all(temporary_, error);  // left over from a process of the same number
  const bool created = fs::create_directory(temporary_, error);
  require(created, ErrorCode::Io, path_, ": cannot create: ", error.message());
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::write(const std::string& name, const std::string& content) const {
  AtomicFile out(file(name), content.size());
  out.write(0, std::as_bytes(std::span(content)));
  out.commit();
}

void AtomicDirectory::commit() {
  std::error_code error;
  fs::rename(temporary_, path_, error);
  require(!error, ErrorCode::Io, path_, ": cannot rename to this name: ", error.message());
  temporary_.clear();
}

}  // namespace octet
