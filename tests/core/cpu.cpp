#include "lib/core/cpu.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lib/core/error.h"
#include "support/temporary_folder.h"

using namespace octet;
using namespace octet::kernels;

namespace {

/// The instruction sets after ref, whichever machine this is compiled for.
constexpr Isa slow{1}, fast{2};
static_assert(num_isas > 2);

}  // namespace

TEST_CASE("OCTET_MAX_ISA lowers the instruction set") {
  const IsaMask cpu = up_to(fast);
  CHECK(select_kernels(cpu, nullptr).isa == fast);
  CHECK(select_kernels(cpu, "").isa == fast);
  CHECK(select_kernels(cpu, name(slow)).isa == slow);
  CHECK(select_kernels(cpu, "ref").isa == Isa::ref);
}

TEST_CASE("an instruction set that the CPU lacks, or that does not exist, is an error") {
  const std::string a = name(slow), b = name(fast);
  std::string all = "ref";
  for (int i = 1; i < num_isas; ++i) all += ", " + std::string(name(static_cast<Isa>(i)));
  CHECK_THROWS_WITH_AS(select_kernels(up_to(slow), b.c_str()),
                       ("OCTET_MAX_ISA=" + b + ": this CPU has ref, " + a).c_str(), Error);
  CHECK_THROWS_WITH_AS(select_kernels(up_to(slow), "sse9"),
                       ("OCTET_MAX_ISA=sse9: no such instruction set; known: " + all).c_str(),
                       Error);
}

namespace {

/// A folder with files as /proc and /sys have them.
class Root {
 public:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.file(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  int cpus() const { return control_group_cpus(folder_.path()); }
  int cores(const std::vector<int>& cpus) const { return cores_of(cpus, folder_.path()); }

 private:
  octet::test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("control groups of version 2 limit the threads, also from above") {
  Root root;
  CHECK(root.cpus() == 0);
  root.write("proc/self/cgroup", "0::/jobs/one\n");
  CHECK(root.cpus() == 0);
  root.write("sys/fs/cgroup/jobs/one/cpu.max", "max 100000\n");
  CHECK(root.cpus() == 0);
  root.write("sys/fs/cgroup/jobs/one/cpu.max", "400000 100000\n");
  CHECK(root.cpus() == 4);
  root.write("sys/fs/cgroup/jobs/cpu.max", "150000 100000\n");
  CHECK(root.cpus() == 2);
}

TEST_CASE("in a container the limit stands at the mount, whatever the path says") {
  Root root;
  root.write("proc/self/cgroup", "0::/../../docker/0123\n");
  root.write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  CHECK(root.cpus() == 1);
}

TEST_CASE("control groups of version 1 limit the threads") {
  Root root;
  root.write("proc/self/cgroup", "9:name=systemd:/\n3:cpuset:/a\n2:cpu,cpuacct:/a:b\n0::/\n");
  root.write("sys/fs/cgroup/cpu/a:b/cpu.cfs_quota_us", "-1\n");
  root.write("sys/fs/cgroup/cpu/a:b/cpu.cfs_period_us", "100000\n");
  CHECK(root.cpus() == 0);
  root.write("sys/fs/cgroup/cpu/a:b/cpu.cfs_quota_us", "300000\n");
  CHECK(root.cpus() == 3);
}

TEST_CASE("the CPUs of a core count once") {
  Root root;
  CHECK(root.cores({0, 1, 5}) == 3);  // nothing is known of them
  const auto siblings = [&](int cpu, const std::string& list) {
    root.write(
        "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
        list + "\n");
  };
  // Two cores of two threads, numbered as Intel's and as AMD's are, and two of one.
  siblings(0, "0,6");
  siblings(6, "0,6");
  siblings(1, "1-2");
  siblings(2, "1-2");
  siblings(3, "3");
  siblings(4, "4");
  CHECK(root.cores({0, 1, 2, 3, 4, 6}) == 4);
  CHECK(root.cores({2, 6}) == 2);
  CHECK(root.cores({0, 6}) == 1);
  CHECK(root.cores({}) == 0);
}

TEST_CASE("damaged control group files mean no limit") {
  Root root;
  root.write("proc/self/cgroup", "0::/a\nnonsense\n");
  for (const char* text : {"", "x y", "100000", "100000 0", "-5 100000", "1e300 1"}) {
    root.write("sys/fs/cgroup/a/cpu.max", text);
    CHECK_MESSAGE(root.cpus() == 0, text);
  }
}
