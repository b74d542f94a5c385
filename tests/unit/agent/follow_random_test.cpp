// Random edits of random tenants: what is followed ends as if everything had been compiled from nothing.
#include <algorithm>

#include "agent/filters.hpp"
#include "tests/unit/agent/follow_fixture.hpp"
#include "tests/unit/tc/pipeline/world.hpp"

namespace sepal::agent {
namespace {

// Some of a world: which of its tenants, ports, routes and translations are there. Less of a valid configuration is
// valid, once nothing names what is not there.
class Excerpt {
 public:
  explicit Excerpt(uint64_t seed) : dice_(seed), whole_(tc::model::random_world(seed, {6}).config) {
    for (const config::Tenant& tenant : whole_.tenants)
      there_.push_back(std::vector<bool>(1 + tenant.ports.size() + tenant.routes.size() + tenant.nat.size(), true));
  }

  [[nodiscard]] const config::Config& whole() const { return whole_; }

  void edit() {
    for (uint32_t flips = dice_.between(1, 3); flips > 0; --flips) {
      auto& bits = there_[dice_.below(static_cast<uint32_t>(there_.size()))];
      // The tenant itself comes and goes as often as its smallest part.
      bits[dice_.below(static_cast<uint32_t>(bits.size()))].flip();
    }
  }

  [[nodiscard]] config::Config config() const {
    config::Config made;
    made.host = whole_.host;
    for (size_t t = 0; t < whole_.tenants.size(); ++t) {
      if (!there_[t][0]) continue;
      config::Tenant tenant = whole_.tenants[t];
      size_t bit = 1;
      auto drop = [&](auto& list) { std::erase_if(list, [&](const auto&) { return !there_[t][bit++]; }); };
      drop(tenant.ports);
      drop(tenant.routes);
      drop(tenant.nat);
      made.tenants.push_back(std::move(tenant));
    }
    for (config::Tenant& tenant : made.tenants) prune(tenant, made);
    return made;
  }

  tc::model::Dice& dice() { return dice_; }

 private:
  static const config::Tenant* find(const config::Config& config, Vni vni) {
    for (const config::Tenant& tenant : config.tenants)
      if (tenant.vni == vni) return &tenant;
    return nullptr;
  }

  static void prune(config::Tenant& tenant, const config::Config& config) {
    std::erase_if(tenant.peers, [&](const std::string& peer) {
      return std::none_of(config.tenants.begin(), config.tenants.end(), [&](const auto& t) { return t.name == peer; });
    });
    std::erase_if(tenant.routes, [&](const config::Route& route) {
      const config::Tenant* target = route.vni ? find(config, *route.vni) : &tenant;
      if (target == nullptr) return true;
      if (const auto* via = std::get_if<config::ViaPort>(&route.via))
        return std::none_of(target->ports.begin(), target->ports.end(),
                            [&](const auto& p) { return p.name == via->port; });
      if (std::holds_alternative<config::ViaPublic>(route.via))
        return std::none_of(tenant.nat.begin(), tenant.nat.end(),
                            [&](const auto& nat) { return nat.from.family() == route.to.family(); });
      return false;
    });
    // A prefix of a port that left may have been what a translation was for.
    std::erase_if(tenant.nat, [&](const config::Nat& nat) {
      return std::none_of(tenant.subnets.begin(), tenant.subnets.end(),
                          [&](const auto& subnet) { return subnet.prefix.contains(nat.from); });
    });
  }

  tc::model::Dice dice_;
  config::Config whole_;
  std::vector<std::vector<bool>> there_;  // per tenant: itself, its ports, routes, nat
};

class RandomEdits : public FollowTest {
 protected:
  RandomEdits() { kernel_.links.erase(device_index("blue-web")); }

  // What stands where: a cookie's hash covers all that a rule says, but not the numbers of the objects it shares.
  static std::map<tc::RuleId, std::optional<tc::Cookie>> places_in(test::FakeKernel& kernel) {
    std::map<tc::RuleId, std::optional<tc::Cookie>> places;
    for (const IfIndex device : kernel.clsact) {
      auto read = dump_places(
          kernel, device, Detail::terse, [] {}, [&](const tc::TerseFilter& f) { places.emplace(f.id, f.cookie); });
      EXPECT_TRUE(read) << device.value();
    }
    return places;
  }

  // The same kernel, empty of rules, filled by a new process that knows the zones and nothing else.
  void expect_as_from_nothing(const config::Config& config) {
    const Paths paths = *Paths::make("default", directory_ + "/nothing");
    std::filesystem::remove_all(paths.directory);
    std::filesystem::create_directory(paths.directory);
    std::filesystem::copy_file(paths_.state, paths.state);
    test::FakeKernel nothing;
    nothing.links = kernel_.links;
    nothing.neighbours = kernel_.neighbours;
    FakeSlowPath slow_path;
    Reconciler from_nothing({nothing, conntrack_, slow_path}, paths);
    auto report = from_nothing.apply(config, {});
    ASSERT_TRUE(report) << report.error().message();
    ASSERT_EQ(report->outcome.added, report->rules);
    const auto here = places_in(kernel_);
    const auto there = places_in(nothing);
    ASSERT_EQ(here.size(), there.size());
    EXPECT_EQ(here, there);
    EXPECT_EQ(kernel_.clsact, nothing.clsact);
    EXPECT_EQ(slow_path_.neighbours, slow_path.neighbours);
    EXPECT_EQ(slow_path_.slices, slow_path.slices);
  }
};

TEST_F(RandomEdits, end_as_if_everything_had_been_compiled_from_nothing) {
  constexpr uint64_t kSeeds = 16;
  constexpr int kEdits = 10;
  int without_a_dump = 0;
  for (uint64_t seed = 1; seed <= kSeeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Kernel kernel = this->kernel();
    ASSERT_TRUE(remove_everything(kernel, paths_, {}));
    Excerpt excerpt(seed);
    std::vector<std::string> names;
    for (const config::Tenant& tenant : excerpt.whole().tenants)
      for (const config::Port& port : tenant.ports) names.push_back(port.device);
    for (const std::string& name : names)
      if (excerpt.dice().chance(80)) add_device(name);
    Reconciler reconciler = listening();
    ASSERT_TRUE(reconciler.apply(excerpt.config(), {}));
    for (int edit = 0; edit < kEdits && !HasFailure(); ++edit) {
      SCOPED_TRACE("edit " + std::to_string(edit));
      excerpt.edit();
      const config::Config config = excerpt.config();
      ASSERT_TRUE(config::validate(config).empty()) << config::validate(config).front().to_string();
      if (!names.empty() && excerpt.dice().chance(40)) {
        const std::string& name = excerpt.dice().of(names);
        const IfIndex device = device_index(name);
        if (device == IfIndex())
          add_device(name);
        else if (excerpt.dice().chance(30))
          remove_device(device);
      }
      const uint64_t dumps = kernel_.dumps;
      const PassReport report = followed(reconciler, config);
      if (kernel_.dumps == dumps && report.outcome.writes() > 0) ++without_a_dump;
      EXPECT_TRUE(report.problems.empty()) << report.problems.front();
      expect_as_from_nothing(config);
    }
    for (const std::string& name : names)
      if (const IfIndex device = device_index(name); device != IfIndex()) remove_device(device);
  }
  EXPECT_TRUE(HasFailure() || without_a_dump > static_cast<int>(kSeeds) * kEdits / 4)
      << without_a_dump << ": most must not have looked";
}

}  // namespace
}  // namespace sepal::agent
