// A hypervisor in memory for the agent's tests: fake rtnetlink, fake conntrack, fake eBPF, a run directory of its own,
// and configurations written as YAML.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "agent/filters.hpp"
#include "agent/kernel.hpp"
#include "agent/paths.hpp"
#include "agent/reconciler.hpp"
#include "config/read.hpp"
#include "tc/codec/flower.hpp"
#include "tests/support/fake_conntrack.hpp"
#include "tests/support/fake_kernel.hpp"

namespace sepal::agent {

// Questions as a test asks them.
class FakeQuestions : public Questions {
 public:
  struct Asked {
    IfIndex device;
    std::vector<uint8_t> frame;
  };
  using Queue = std::deque<Asked>;
  // While `broken` is true nothing can be read.
  FakeQuestions(Queue& queue, int descriptor, const std::atomic<bool>* broken = nullptr)
      : queue_(queue), descriptor_(descriptor), broken_(broken) {}
  [[nodiscard]] int descriptor() const override { return descriptor_; }
  Result<size_t> read(const Sink& sink, size_t most) override {
    if (broken_ != nullptr && *broken_) return fail(Errc::internal, "read the ring of a test");
    size_t read = 0;
    for (; read < most && !queue_.empty(); ++read) {
      const Asked asked = std::move(queue_.front());
      queue_.pop_front();
      sink(asked.device, asked.frame);
    }
    return read;
  }

 private:
  Queue& queue_;
  int descriptor_;
  const std::atomic<bool>* broken_;
};

// eBPF that only remembers.
class FakeSlowPath : public SlowPath {
 public:
  bool pinned = false;
  tc::BpfPrograms loaded{{"sepal_neigh", {1}}, {"sepal_slice", {2}},    {"sepal_policy", {3}},
                         {"sepal_icmp", {4}},  {"sepal_question", {5}}, {"sepal_room", {6}}};
  std::vector<tc::NeighbourEntry> neighbours;  // sorted
  std::vector<tc::SliceEntry> slices;          // sorted
  std::map<Vni, uint64_t> in_force;
  std::vector<policy::RuleCount> counts;
  std::set<Vni> refused_policies;  // of these tenants
  std::vector<std::string> calls;  // "put", "drop", "put some", "drop some"

  Result<tc::BpfPrograms> programs() override { return loaded; }
  Result<void> pin() override {
    pinned = true;
    return {};
  }
  Result<int> program_fd(const tc::Bpf& action) override {
    return action.name == "sepal_neigh"    ? 100
           : action.name == "sepal_slice"  ? 101
           : action.name == "sepal_policy" ? 102
           : action.name == "sepal_icmp"   ? 103
           : action.name == "sepal_room"   ? 105
                                           : 104;
  }
  Result<void> put_entries(const std::vector<tc::NeighbourEntry>& n, const std::vector<tc::SliceEntry>& s) override {
    calls.emplace_back("put");
    put(n, s);
    return {};
  }
  Result<void> drop_stale(const std::vector<tc::NeighbourEntry>& n, const std::vector<tc::SliceEntry>& s) override {
    calls.emplace_back("drop");
    neighbours = n;
    slices = s;
    return {};
  }
  Result<void> put_some(const std::vector<tc::NeighbourEntry>& n, const std::vector<tc::SliceEntry>& s) override {
    calls.emplace_back("put some");
    put(n, s);
    return {};
  }
  Result<void> drop_some(const std::vector<tc::NeighbourEntry>& n, const std::vector<tc::SliceEntry>& s) override {
    calls.emplace_back("drop some");
    for (const auto& entry : n) std::erase_if(neighbours, [&](const auto& e) { return same_key(e, entry); });
    for (const auto& entry : s) std::erase_if(slices, [&](const auto& e) { return same_key(e, entry); });
    return {};
  }
  Enforced enforce(const std::vector<policy::TenantPolicy>& policies, const Progress& progress,
                   std::vector<std::string>& problems) override {
    Enforced done;
    for (const policy::TenantPolicy& policy : policies) {
      if (progress && !progress()) {
        done.stopped = true;
        break;
      }
      if (refused_policies.contains(policy.vni)) {
        problems.push_back("security groups of tenant " + policy.tenant + ": no memory");
        continue;
      }
      if (std::exchange(in_force[policy.vni], policy.tables.space) != policy.tables.space)
        calls.push_back("enforce " + std::to_string(policy.vni.value()));
      done.judged.insert(policy.vni);
    }
    return done;
  }
  Result<void> drop_policies(const std::set<Vni>& judged) override {
    std::erase_if(in_force, [&](const auto& entry) { return !judged.contains(entry.first); });
    return {};
  }
  Result<std::vector<policy::RuleCount>> policy_counts() override { return counts; }
  std::function<Result<std::unique_ptr<Questions>>()> open_questions;  // empty: there is no ring
  Result<std::unique_ptr<Questions>> questions() override {
    if (open_questions) return open_questions();
    return fail(Errc::unsupported, "no ring here");
  }
  Result<uint64_t> questions_lost() override { return uint64_t{0}; }
  unsigned events_asked = 0;  // how often the flow log asked for its ring
  Result<int> events() override {
    ++events_asked;
    return fail(Errc::unsupported, "no ring here");
  }
  struct Bound {
    uint64_t begun_max = 0;
    std::chrono::steady_clock::time_point until;
  };
  std::map<Vni, uint64_t> begun_by;  // how many connections tenants have begun, ever
  std::map<Vni, Bound> bounds;
  Result<std::map<Vni, uint64_t>> begun(const std::set<Vni>& bounded) override {
    std::erase_if(bounds, [&](const auto& entry) { return !bounded.contains(entry.first); });
    std::map<Vni, uint64_t> by_vni;
    for (const Vni vni : bounded) by_vni[vni] = begun_by[vni];
    return by_vni;
  }
  Result<void> bound(Vni vni, uint64_t begun_max, std::chrono::steady_clock::time_point until) override {
    bounds[vni] = {begun_max, until};
    return {};
  }
  std::vector<Untracked> forgotten;  // call by call
  bool forgets = true;               // false: its map cannot be read
  Result<void> forget_untracked(const Untracked& gone) override {
    if (!forgets) return fail(Errc::internal, "read the map of a test");
    forgotten.push_back(gone);
    return {};
  }
  Result<bool> unpin() override { return std::exchange(pinned, false); }

 private:
  static bool same_key(const tc::NeighbourEntry& a, const tc::NeighbourEntry& b) {
    return std::tie(a.device, a.vlan, a.target) == std::tie(b.device, b.vlan, b.target);
  }
  static bool same_key(const tc::SliceEntry& a, const tc::SliceEntry& b) {
    return std::tie(a.address, a.port, a.port_bits) == std::tie(b.address, b.port, b.port_bits);
  }
  template <typename Entry>
  static void put_all(std::vector<Entry>& into, const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      std::erase_if(into, [&](const Entry& e) { return same_key(e, entry); });
      into.insert(std::lower_bound(into.begin(), into.end(), entry), entry);
    }
  }
  void put(const std::vector<tc::NeighbourEntry>& n, const std::vector<tc::SliceEntry>& s) {
    put_all(neighbours, n);
    put_all(slices, s);
  }
};

// A process killed after a number of writes: from then on nothing it says arrives, and nothing answers.
class DyingTransport : public netlink::Transport {
 public:
  DyingTransport(test::FakeKernel& kernel, uint64_t writes) : kernel_(kernel) {
    kernel_.break_at_write = kernel_.writes() + writes;
  }
  Result<void> transact(netlink::Bytes& requests,
                        const std::function<void(size_t, const netlink::Answer&)>& answered) override {
    if (dead_) return gone();
    auto done = kernel_.transact(requests, answered);
    dead_ = !done;
    return done;
  }
  Result<void> dump(netlink::Bytes request, const netlink::MessageSink& sink) override {
    return dead_ ? gone() : kernel_.dump(std::move(request), sink);
  }
  Result<void> get(netlink::Bytes request, const netlink::MessageSink& sink) override {
    return dead_ ? gone() : kernel_.get(std::move(request), sink);
  }
  [[nodiscard]] uint64_t writes() const override { return kernel_.writes(); }

 private:
  static Result<void> gone() { return fail(Errc::resync, "killed"); }
  test::FakeKernel& kernel_;
  bool dead_ = false;
};

inline config::Config read_config(const std::string& yaml) {
  auto read = config::read_texts({{"sepal.yaml", yaml}});
  if (read) return std::move(*read);
  for (const auto& fault : read.error()) ADD_FAILURE() << fault.to_string();
  return {};
}

inline const std::string kHostYaml =
    "apiVersion: sepal/v1\nkind: Host\nunderlay: {device: uplink, address: 192.0.2.1}\n";
inline const std::string kBlueHead =
    "---\napiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 100\nsubnets: [10.0.0.0/24]\nports:\n";
inline const std::string kWebPort =
    "  - {name: web, device: blue-web, mac: \"02:00:00:00:01:01\", addresses: [10.0.0.1]}\n";
inline const std::string kAppPort =
    "  - {name: app, device: blue-app, mac: \"02:00:00:00:01:03\", addresses: [10.0.0.3]}\n";
inline const std::string kRemoteRoute = "routes:\n  - {to: 10.0.0.2/32, via: 192.0.2.2}\n";
inline const std::string kGreen =
    "---\napiVersion: sepal/v1\nkind: Tenant\nname: green\nvni: 200\nsubnets: [10.0.0.0/24]\nports:\n"
    "  - {name: web, device: green-web, mac: \"02:00:00:00:02:01\", addresses: [10.0.0.1]}\n";

// blue with two ports and a route, green with one port: the usual world.
inline config::Config usual_config() {
  return read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute + kGreen);
}

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sepal-agent-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    paths_ = *Paths::make("default", directory_);
    for (const char* name : {"uplink", "blue-web", "blue-app", "green-web"}) devices_[name] = kernel_.add_link(name);
  }
  ~AgentTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] Kernel kernel() { return {kernel_, conntrack_, slow_path_}; }
  [[nodiscard]] Reconciler reconciler() { return {kernel(), paths_}; }

  // One pass of a new process.
  PassReport apply(const config::Config& config) {
    Reconciler fresh = reconciler();
    auto report = fresh.apply(config, {});
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message());
    return report ? *report : PassReport{};
  }

  // The ingress filters a device has, whoever made them.
  [[nodiscard]] std::vector<Filter> filters_on(const std::string& device) {
    auto filters = dump_filters(kernel_, device_index(device));
    EXPECT_TRUE(filters.has_value()) << filters.error().message();
    return filters ? *filters : std::vector<Filter>();
  }
  [[nodiscard]] IfIndex device_index(const std::string& name) const {
    for (const auto& [index, link] : kernel_.links)
      if (link.name == name) return index;
    return {};
  }

  // A filter of somebody else's, in the fake kernel's own terms.
  test::FilterPlace add_foreign(const std::string& device, uint32_t chain, uint16_t prio, const std::string& kind) {
    kernel_.clsact.insert(device_index(device));
    const test::FilterPlace place{device_index(device), 0xfffffff2U, chain, prio, 1};
    kernel_.filters[place] = {0x0003, kind, {}};
    return place;
  }

  std::string directory_;
  Paths paths_;
  test::FakeKernel kernel_;
  test::FakeConntrack conntrack_;
  FakeSlowPath slow_path_;
  std::map<std::string, IfIndex> devices_;
};

}  // namespace sepal::agent
