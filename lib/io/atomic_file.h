#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace octet {

/// A file to be written, and what errors call it: for a file of a directory that has a temporary
/// name, the one that it will have.
struct OutputPath {
  OutputPath(const std::string& name) : OutputPath(name, name) {}
  OutputPath(std::string where, std::string name)
      : path(std::move(where)), shown(std::move(name)) {}

  std::string path, shown;
};

/// A new file of known size that appears under its name only when it is complete: written under a
/// temporary name in the same folder, flushed, renamed. Without commit() it is removed.
class AtomicFile {
 public:
  /// Takes the space at once where the file system can. Errors: Io.
  AtomicFile(const OutputPath& path, uint64_t size);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Thread-safe. The range has to lie inside the file. Errors: Io.
  void write(uint64_t offset, std::span<const std::byte> bytes);

  /// Flushes to disk and renames. Nothing can be written afterwards. Errors: Io.
  void commit();

 private:
  void reserve(uint64_t size);
  void close_and_remove() noexcept;

  OutputPath path_;
  std::string folder_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace octet
