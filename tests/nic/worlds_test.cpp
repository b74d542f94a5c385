// Random tenants on the simulated NIC, which refuses at random: the invariants hold in the NIC's own tables, and it is
// whole again when it can be. Each set of tenants takes the place of the one before. Run by
// tests/vm/test_nic_worlds.py, which brings the NIC up and says by environment what there is:
//   SEPAL_NIC_DEBUGFS        the NIC's folder
//   SEPAL_NIC_REPRESENTORS   devices, by VF number, a space between
//   SEPAL_UNDERLAY           address of the underlay
//   SEPAL_UNDERLAY_VLAN      its VLAN, or nothing
// Worlds of another underlay are left to another run.
#include "tests/unit/tc/pipeline/worlds.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "agent/filters.hpp"
#include "agent/open_kernel.hpp"
#include "agent/reconciler.hpp"
#include "agent/removal.hpp"
#include "tests/nic/simulated_nic.hpp"
#include "tests/unit/agent/invariants.hpp"
#include "tests/unit/tc/pipeline/world.hpp"

namespace sepal::agent {
namespace {

using tc::model::Dice;
using test::HeldRule;

constexpr uint64_t kSets = 500;  // over all runs

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Something the NIC refuses from now on, or the next few times.
void turn_a_knob(test::SimulatedNic& nic, Dice& dice) {
  static const std::vector<std::string> kNames = {"mac",        "ipv4",         "ipv6",     "ports",      "tcp_flags",
                                                  "tos_ttl",    "icmp",         "ct_state", "enc_key_id", "ip_flags",
                                                  "drop",       "goto",         "redirect", "vlan_push",  "vlan_pop",
                                                  "tunnel_set", "tunnel_unset", "pedit",    "ct",         "police"};
  static const std::vector<std::string> kCaps = {"ignore_flow_level",
                                                 "reg_c1_loopback",
                                                 "fdb_modify_header_fwd_to_table",
                                                 "multi_fdb_encap",
                                                 "reformat_and_fwd_to_table",
                                                 "termination_table",
                                                 "flow_meter",
                                                 "flex_parser_icmp",
                                                 "ttl_match",
                                                 "vlan_actions",
                                                 "encap",
                                                 "vni_match",
                                                 "ct"};
  static const std::vector<std::string> kErrors = {"95", "28", "16", "22",
                                                   "12"};  // EOPNOTSUPP ENOSPC EBUSY EINVAL ENOMEM
  auto number = [](uint32_t n) { return std::to_string(n); };
  switch (dice.below(5)) {
    case 0: nic.turn("refuse", dice.chance(50) ? dice.of(kNames) : dice.of(kNames) + "," + dice.of(kNames)); break;
    case 1: nic.turn("cap_rules", number(dice.between(0, 400))); break;
    case 2: nic.turn("caps/" + dice.of(kCaps), "0"); break;
    case 3: nic.turn(dice.chance(50) ? "cap_encaps" : "cap_tunnels", number(dice.between(0, 3))); break;
    default:
      nic.turn("fail/replace",
               number(dice.between(1, 40)) + " " + dice.of(kErrors) + " " + number(dice.between(0, 200)));
  }
}

class NicWorlds : public testing::Test {
 protected:
  NicWorlds() : nic_(from_environment("SEPAL_NIC_DEBUGFS")), open_("worlds") {
    std::istringstream names(from_environment("SEPAL_NIC_REPRESENTORS"));
    for (std::string name; names >> name;) representors_.push_back(name);
    std::string pattern = (std::filesystem::temp_directory_path() / "sepal-nic-worlds-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    paths_ = *Paths::make("worlds", directory_);
  }
  ~NicWorlds() override { std::filesystem::remove_all(directory_); }

  static bool is_of_this_run(const config::Config& config) {
    const config::Underlay& underlay = config.host.underlay;
    const std::string vlan = underlay.vlan ? std::to_string(underlay.vlan->value()) : "";
    return underlay.address.to_string() == from_environment("SEPAL_UNDERLAY") &&
           vlan == from_environment("SEPAL_UNDERLAY_VLAN");
  }

  // The world's ports on this NIC's representors; those that are not here in the world have no device.
  config::Config placed(const tc::model::World& world) {
    config::Config config = world.config;
    size_t next = 0;
    for (config::Tenant& tenant : config.tenants) {
      for (config::Port& port : tenant.ports) {
        const bool here = world.facts.ports.contains({tenant.name, port.name});
        EXPECT_TRUE(!here || next < representors_.size()) << "more ports than VFs";
        if (here && next < representors_.size()) port.device = representors_[next++];
      }
    }
    return config;
  }

  // Place in the NIC's table of a rule that the kernel was given.
  [[nodiscard]] std::optional<HeldRule> place(const tc::RuleId& id, const tc::Cookie& cookie,
                                              const World& world) const {
    HeldRule held{id.device == world.facts.vxlan, 0, id.chain, id.prio, test::to_hex(cookie)};
    if (held.tunnel || id.device == world.facts.uplink) return held;
    const auto at = std::find(representors_.begin(), representors_.end(), world.device_name(id.device));
    if (at == representors_.end()) return std::nullopt;
    held.port = static_cast<uint32_t>(at - representors_.begin()) + 1;
    return held;
  }

  void check(const config::Config& config, uint64_t seed) {
    const std::set<HeldRule> held = nic_.rules();
    size_t known = 0;
    expect_invariants(
        kernel_, config, paths_, seed,
        [&](const tc::CompiledRule& rule, const World& world) {
          const auto at = place(rule.rule.id, rule.cookie, world);
          return at && held.contains(*at);
        },
        ends_);
    if (HasFailure()) return;
    // What the kernel says is in hardware is what the NIC has, and nothing else is there.
    auto difference = find_difference(kernel_, config, paths_);
    ASSERT_TRUE(difference);
    in_software_ = 0;
    std::set<IfIndex> devices = devices_of(difference->wanted);
    for (const IfIndex device : devices) {
      auto filters = dump_filters(kernel_.route, device);
      ASSERT_TRUE(filters) << filters.error().message();
      for (const Filter& filter : *filters) {
        if (!filter.state.cookie) continue;
        const auto at = place(filter.rule.id, *filter.state.cookie, difference->world);
        const bool in_nic = at && held.contains(*at);
        EXPECT_EQ(filter.state.in_hw, in_nic)
            << describe_place(difference->world.device_name(device), filter.rule.id, "");
        known += in_nic ? 1 : 0;
        in_software_ += !in_nic && !filter.state.skip_hw ? 1 : 0;
      }
    }
    EXPECT_EQ(known, held.size()) << "the NIC holds rules that nobody wants";
  }

  test::SimulatedNic nic_;
  OpenKernel open_;
  Kernel kernel_ = open_.borrow();
  std::vector<std::string> representors_;
  std::string directory_;
  Paths paths_;
  Ends ends_;
  size_t in_software_ = 0;  // rules meant for hardware that the last check found outside
};

TEST_F(NicWorlds, whatever_the_nic_refuses_the_invariants_hold_in_its_tables_and_it_is_whole_again_when_it_can_be) {
  ASSERT_FALSE(representors_.empty()) << "run by tests/vm/test_nic_worlds.py";
  const tc::model::Seeds seeds = tc::model::seeds_to_try(kSets);
  size_t sets = 0;
  size_t demoted = 0;
  for (uint64_t seed = seeds.first; seed <= seeds.last && !HasFailure(); ++seed) {
    const tc::model::World world = tc::model::random_world(seed, {2, false});
    if (!is_of_this_run(world.config)) continue;
    SCOPED_TRACE("SEPAL_SEED=" + std::to_string(seed));
    Dice dice(seed * 91);
    const config::Config config = placed(world);
    auto now = Clock::now();
    Reconciler reconciler(kernel_, paths_);
    reconciler.set_clock([&now] { return now; });
    turn_a_knob(nic_, dice);
    auto report = reconciler.apply(config, {});
    ASSERT_TRUE(report) << report.error().message();
    for (const std::string& problem : report->problems) ADD_FAILURE() << problem;
    for (const auto& [key, trouble] : reconciler.troubles())
      ADD_FAILURE() << trouble.text << ": " << trouble.refusal.error.message();
    EXPECT_FALSE(report->unsettled) << "a pass ends when nothing moves";
    check(config, seed);
    ++sets;
    demoted += reconciler.hardware().units.empty() ? 0 : 1;

    nic_.make_whole();
    reconciler.forget_back_off();
    for (int look = 0; look < 4; ++look) {
      now += std::chrono::hours(1);
      ASSERT_TRUE(reconciler.look_again(config, {}));
    }
    EXPECT_TRUE(reconciler.hardware().units.empty());
    check(config, seed);
    EXPECT_EQ(in_software_, 0U) << "all is in hardware again";
  }
  std::printf("%zu sets, in %zu the NIC refused something that left hardware; %zu rules in its tables\n", sets, demoted,
              ends_.in_hardware);
  EXPECT_TRUE(remove_everything(kernel_, paths_, {}));
  EXPECT_EQ(nic_.rules().size(), 0U);
  if (seeds.first == seeds.last || HasFailure()) return;
  EXPECT_GT(sets, 10U);
  EXPECT_GT(demoted, sets / 10);
}

}  // namespace
}  // namespace sepal::agent
