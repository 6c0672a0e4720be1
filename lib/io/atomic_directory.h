#pragma once
#include <string>

#include "lib/io/atomic_file.h"

namespace octet {

/// A new directory that appears under its name only when it is complete: made under a temporary
/// name beside it, and renamed. Without commit() it is removed with what is in it.
class AtomicDirectory {
 public:
  /// path: must not exist, or be an empty directory. Errors: Io.
  explicit AtomicDirectory(const std::string& path);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  /// Where to write the file of this name.
  OutputPath file(const std::string& name) const {
    return {temporary_ + "/" + name, path_ + "/" + name};
  }
  /// Writes a small file. Errors: Io.
  void write(const std::string& name, const std::string& content) const;

  /// Renames. Errors: Io.
  void commit();

 private:
  std::string path_, temporary_;
};

}  // namespace octet
