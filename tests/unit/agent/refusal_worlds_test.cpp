// Random tenants on a NIC that refuses at random: whatever it refuses, and whatever it gives as its reason, what it
// holds never overtakes software, packets end as the configuration says, and it is whole again when it can be.
#include <linux/pkt_cls.h>

#include <algorithm>
#include <cerrno>

#include "agent/reconciler.hpp"
#include "tests/unit/agent/invariants.hpp"
#include "tests/unit/agent/world_fixture.hpp"
#include "tests/unit/tc/pipeline/world.hpp"
#include "tests/unit/tc/pipeline/worlds.hpp"

namespace sepal::agent {
namespace {

using tc::model::Dice;

constexpr uint64_t kSets = 500;
constexpr uint64_t kParts = SEPAL_PARTS;  // each runs as a test of its own, beside the others: see meson.build

uint64_t mix(uint64_t value) {
  value ^= value >> 31U;
  value *= 0x9e3779b97f4a7c15ULL;
  return value ^ value >> 29U;
}

// A hypervisor for one world: its devices under the numbers the world gives them, all on one eSwitch.
class Host {
 public:
  explicit Host(const tc::model::World& world) : config(world.config) {
    std::string pattern = (std::filesystem::temp_directory_path() / "sepal-worlds-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    paths = *Paths::make("default", directory_);
    add(tc::model::kUplink, config.host.underlay.device);
    for (const config::Tenant& tenant : config.tenants) {
      for (const config::Port& port : tenant.ports) {
        const auto device = world.facts.ports.find({tenant.name, port.name});
        if (device != world.facts.ports.end()) add(device->second, port.device);
      }
    }
    netlink::Link tunnel;
    tunnel.index = tc::model::kVxlan;
    tunnel.name = config.host.vxlan.device;
    tunnel.kind = "vxlan";
    tunnel.alias = "sepal:default";
    tunnel.up = tunnel.running = true;
    tunnel.vxlan = netlink::VxlanAttrs{config.host.vxlan.port, true, false, true, true};
    tunnel.mtu = vxlan_wanted(config.host, "default").mtu;
    kernel.links[tunnel.index] = tunnel;
  }
  ~Host() { std::filesystem::remove_all(directory_); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  Kernel open() { return {kernel, conntrack, slow_path}; }

  [[nodiscard]] std::set<std::tuple<IfIndex, uint32_t, uint16_t, uint32_t>> held() const {
    std::set<std::tuple<IfIndex, uint32_t, uint16_t, uint32_t>> places;
    for (const auto& [place, filter] : kernel.filters)
      if (filter.hardware == TCA_CLS_FLAGS_IN_HW) places.emplace(place.device, place.chain, place.prio, place.handle);
    return places;
  }
  // Asking for a gateway's MAC is a write, too, and none of ours here.
  [[nodiscard]] size_t filter_writes() const {
    return static_cast<size_t>(
        std::count_if(kernel.written.begin(), kernel.written.end(), [](const netlink::Bytes& message) {
          nlmsghdr header{};
          std::memcpy(&header, message.data(), sizeof header);
          return header.nlmsg_type == RTM_NEWTFILTER || header.nlmsg_type == RTM_DELTFILTER;
        }));
  }
  [[nodiscard]] size_t count(uint32_t flag) const {
    size_t found = 0;
    for (const auto& [place, filter] : kernel.filters) found += filter.hardware == flag ? 1 : 0;
    return found;
  }

  config::Config config;
  Paths paths;
  test::FakeKernel kernel;
  test::FakeConntrack conntrack;
  FakeSlowPath slow_path;

 private:
  void add(IfIndex index, const std::string& name) {
    netlink::Link link;
    link.index = index;
    link.name = name;
    link.mac = MacAddr{{0x02, 0, 0, 0, 0x10, static_cast<uint8_t>(index.value())}};
    link.mtu = 9000;
    link.up = link.running = true;
    link.phys_switch_id = {0x5e, 0x01};
    kernel.links[index] = link;
  }
  std::string directory_;
};

// One kind of trouble: some rules by what they match, where they stand, their number, or by chance.
std::function<std::optional<test::FakeKernel::Refusal>(netlink::BytesView)> trouble(Host& host, Dice& dice) {
  const uint64_t salt = dice.next();
  const uint32_t kind = dice.below(6);
  const uint32_t share = dice.between(1, 30);
  const size_t room = dice.between(0, 400);
  const uint32_t group = dice.below(5);
  const auto key = static_cast<tc::Key>(dice.below(static_cast<uint32_t>(tc::kKeyCount)));
  const int error = dice.of<int>({EOPNOTSUPP, ENOSPC, EBUSY, EINVAL, ENOMEM});
  const std::string words = dice.chance(50) ? "mlx5_core: no" : "";
  auto budget = std::make_shared<uint32_t>(dice.chance(30) ? dice.between(1, 40) : UINT32_MAX);  // then it recovers
  return [=, &host](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    const auto filter = tc::decode_filter(message);
    if (!filter || *budget == 0) return std::nullopt;
    const tc::Rule& rule = filter->rule;
    bool no = false;
    switch (kind) {
      case 0: no = mix(salt ^ tc::match_handle(rule.spec.match)) % 100 < share; break;
      case 1: no = host.count(TCA_CLS_FLAGS_IN_HW) >= room; break;
      case 2: no = static_cast<uint32_t>(tc::parse_chain(rule.id.chain).group) == group; break;
      case 3: no = rule.spec.match.find(key) != nullptr; break;
      case 4: no = mix(salt ^ rule.id.device.value()) % 100 < share * 2; break;
      default: no = mix(salt ^ host.kernel.writes()) % 100 < share; break;  // another answer at every try
    }
    if (!no) return std::nullopt;
    --*budget;
    return test::FakeKernel::Refusal{kind == 1 ? ENOSPC : error, words};
  };
}

struct Tally {
  size_t sets = 0, refused = 0, demoted = 0;
};

// The parameter: which part of the sets.
class RefusalWorlds : public testing::TestWithParam<uint64_t> {
 protected:
  void check(Host& host, uint64_t seed) {
    const auto held = host.held();
    expect_invariants(
        host.open(), host.config, host.paths, seed,
        [&](const tc::CompiledRule& rule, const World&) {
          const tc::RuleId& id = rule.rule.id;
          return held.contains({id.device, id.chain, id.prio, id.handle});
        },
        ends_);
  }

  Tally tally_;
  Ends ends_;
};

TEST_P(RefusalWorlds, whatever_the_nic_refuses_the_invariants_hold_and_it_is_whole_again_when_it_can_be) {
  const tc::model::Seeds seeds = tc::model::seeds_to_try(kSets);
  for (uint64_t seed = seeds.first; seed <= seeds.last && !HasFailure(); ++seed) {
    if (seed % kParts != GetParam()) continue;
    SCOPED_TRACE("SEPAL_SEED=" + std::to_string(seed));
    Dice dice(seed * 77);
    Host host(tc::model::random_world(seed, {2, false}));
    auto now = Clock::now();
    Reconciler reconciler(host.open(), host.paths);
    reconciler.set_clock([&now] { return now; });
    size_t refused = 0;
    host.kernel.refuse_in_hardware = [&refused, no = trouble(host, dice)](netlink::BytesView message) {
      auto refusal = no(message);
      refused += refusal ? 1 : 0;
      return refusal;
    };
    auto report = reconciler.apply(host.config, {});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(reconciler.troubles().empty());
    EXPECT_FALSE(report->unsettled) << "a pass ends when nothing moves";
    check(host, seed);
    const size_t writes = host.filter_writes();
    report = reconciler.look_again(host.config, {});
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->quiet);
    EXPECT_EQ(host.filter_writes(), writes) << "5: a second look writes nothing";
    ++tally_.sets;
    tally_.refused += refused > 0 ? 1 : 0;
    tally_.demoted += reconciler.hardware().units.empty() ? 0 : 1;

    // What the time heals, and what a reload does.
    host.kernel.refuse_in_hardware = nullptr;
    reconciler.forget_back_off();
    for (int look = 0; look < 4; ++look) {
      now += std::chrono::hours(1);
      ASSERT_TRUE(reconciler.look_again(host.config, {}));
    }
    EXPECT_TRUE(reconciler.hardware().units.empty());
    EXPECT_EQ(host.count(TCA_CLS_FLAGS_NOT_IN_HW), 0U);
    check(host, seed);
  }
  if (seeds.first == seeds.last || HasFailure()) return;
  EXPECT_GE(tally_.sets, kSets / kParts);
  EXPECT_GT(tally_.refused, tally_.sets / 2);
  EXPECT_GT(tally_.demoted, tally_.sets / 3);
  EXPECT_GT(ends_.ended_in_hardware, 1000U / kParts);
  std::printf("%zu sets, in %zu the NIC refused, in %zu something left; %zu rules in hardware\n", tally_.sets,
              tally_.refused, tally_.demoted, ends_.in_hardware);
}

INSTANTIATE_TEST_SUITE_P(Part, RefusalWorlds, testing::Range(uint64_t{0}, kParts));

}  // namespace
}  // namespace sepal::agent
