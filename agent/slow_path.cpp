// The seam's real side: bpf/loader, loaded when first asked for.
#include "agent/slow_path.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "bpf/loader.hpp"
#include "bpf/policies.hpp"
#include "bpf/questions.hpp"
#include "bpf/rooms.hpp"

namespace sepal::agent {
namespace {

std::vector<bpf::Neighbour> to_entries(const std::vector<tc::NeighbourEntry>& wanted) {
  using Answer = tc::NeighbourEntry::Answer;
  std::vector<bpf::Neighbour> entries;
  entries.reserve(wanted.size());
  for (const tc::NeighbourEntry& entry : wanted) {
    const sepal_answer answer = entry.answer == Answer::silent      ? SEPAL_ANSWER_SILENT
                                : entry.answer == Answer::neighbour ? SEPAL_ANSWER_NEIGHBOUR
                                : entry.answer == Answer::gateway   ? SEPAL_ANSWER_GATEWAY
                                                                    : SEPAL_ANSWER_GUARD;
    entries.push_back({bpf::make_neighbour_key(entry.device, entry.vlan, entry.target),
                       bpf::make_neighbour_value(answer, entry.mac, entry.own)});
  }
  return entries;
}

std::vector<bpf::Slice> to_entries(const std::vector<tc::SliceEntry>& wanted) {
  std::vector<bpf::Slice> entries;
  entries.reserve(wanted.size());
  for (const tc::SliceEntry& entry : wanted)
    entries.push_back(
        {bpf::make_slice_key(entry.address, entry.port, entry.port_bits), bpf::make_slice_value(entry.slice)});
  return entries;
}

class Ring : public Questions {
 public:
  explicit Ring(bpf::Ring ring) : ring_(std::move(ring)) {}
  [[nodiscard]] int descriptor() const override { return ring_.descriptor(); }
  Result<size_t> read(const Sink& sink, size_t most) override {
    return ring_.read(
        [&sink](std::span<const std::byte> record) {
          sepal_question question{};
          if (record.size() < sizeof question) return;
          std::memcpy(&question, record.data(), sizeof question);
          sink(IfIndex(question.device), {question.frame, std::min<size_t>(question.length, sizeof question.frame)});
        },
        most);
  }

 private:
  bpf::Ring ring_;
};

class LoadedSlowPath : public SlowPath {
 public:
  explicit LoadedSlowPath(std::string instance) : place_{std::move(instance)} {}

  Result<tc::BpfPrograms> programs() override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    return tc::BpfPrograms{
        {loaded_->neighbour().name, loaded_->neighbour().tag},   {loaded_->slice().name, loaded_->slice().tag},
        {policies_->program().name, policies_->program().tag},   {loaded_->icmp().name, loaded_->icmp().tag},
        {questions_->program().name, questions_->program().tag}, {rooms_->program().name, rooms_->program().tag}};
  }

  Result<void> pin() override {
    if (auto loaded = load(); !loaded) return loaded;
    if (auto pinned = policies_->pin(); !pinned) return pinned;
    if (auto pinned = questions_->pin(); !pinned) return pinned;
    if (auto pinned = rooms_->pin(); !pinned) return pinned;
    std::vector<std::string> others = policies_->names();
    for (std::string& name : questions_->names()) others.push_back(std::move(name));
    for (std::string& name : rooms_->names()) others.push_back(std::move(name));
    return loaded_->pin(others);
  }

  Result<int> program_fd(const tc::Bpf& action) override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    for (const bpf::Program* program : {&loaded_->neighbour(), &loaded_->slice(), &loaded_->icmp(),
                                        &policies_->program(), &questions_->program(), &rooms_->program()})
      if (program->name == action.name && program->tag == action.tag) return program->fd.get();
    return fail(Errc::internal, "no eBPF program " + action.name + " of this tag is loaded");
  }

  Result<void> put_entries(const std::vector<tc::NeighbourEntry>& neighbours,
                           const std::vector<tc::SliceEntry>& slices) override {
    if (auto loaded = load(); !loaded) return loaded;
    if (auto put = loaded_->put(to_entries(neighbours)); !put) return Unexpected(put.error());
    if (auto put = loaded_->put(to_entries(slices)); !put) return Unexpected(put.error());
    return {};
  }

  Result<void> drop_stale(const std::vector<tc::NeighbourEntry>& neighbours,
                          const std::vector<tc::SliceEntry>& slices) override {
    if (auto loaded = load(); !loaded) return loaded;
    if (auto dropped = loaded_->drop_stale(to_entries(neighbours)); !dropped) return Unexpected(dropped.error());
    if (auto dropped = loaded_->drop_stale(to_entries(slices)); !dropped) return Unexpected(dropped.error());
    return {};
  }

  Result<void> put_some(const std::vector<tc::NeighbourEntry>& neighbours,
                        const std::vector<tc::SliceEntry>& slices) override {
    if (auto loaded = load(); !loaded) return loaded;
    if (auto put = loaded_->put_some(to_entries(neighbours)); !put) return put;
    return loaded_->put_some(to_entries(slices));
  }

  Result<void> drop_some(const std::vector<tc::NeighbourEntry>& neighbours,
                         const std::vector<tc::SliceEntry>& slices) override {
    if (auto loaded = load(); !loaded) return loaded;
    if (auto dropped = loaded_->drop_some(to_entries(neighbours)); !dropped) return dropped;
    return loaded_->drop_some(to_entries(slices));
  }

  Enforced enforce(const std::vector<policy::TenantPolicy>& policies, const Progress& progress,
                   std::vector<std::string>& problems) override {
    Enforced done;
    if (policies.empty()) return done;
    if (auto loaded = load(); !loaded) {
      problems.push_back(loaded.error().message());
      return done;
    }
    auto in_force = policies_->active();
    if (!in_force) {
      problems.push_back(in_force.error().message());
      return done;
    }
    bool changed = false;
    for (const policy::TenantPolicy& policy : policies) {
      if (progress && !progress()) {
        done.stopped = true;
        break;
      }
      const auto now = in_force->find(policy.vni);
      if (now == in_force->end() || now->second != policy.tables.space) {
        if (auto put = put_in_force(policy); !put) {
          problems.push_back(while_doing(put.error(), "security groups of tenant " + policy.tenant).message());
          continue;
        }
        changed = true;
      }
      done.judged.insert(policy.vni);
    }
    if (changed) {
      bpf::Policies::wait_for_packets();
      // What was in force until now is nobody's. Where it cannot be dropped it takes memory until the next change.
      (void)policies_->drop_unused();
    }
    return done;
  }

  Result<void> drop_policies(const std::set<Vni>& judged) override {
    if (auto loaded = load(); !loaded) return loaded;
    auto in_force = policies_->active();
    if (!in_force) return Unexpected(in_force.error());
    for (const auto& [vni, space] : *in_force) {
      if (judged.contains(vni)) continue;
      if (auto gone = policies_->deactivate(vni); !gone) return gone;
    }
    auto dropped = policies_->drop_unused();
    if (!dropped) return Unexpected(dropped.error());
    return {};
  }

  Result<std::vector<policy::RuleCount>> policy_counts() override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    return policies_->counts();
  }

  Result<std::unique_ptr<Questions>> questions() override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    auto ring = questions_->open_ring();
    if (!ring) return Unexpected(ring.error());
    return std::make_unique<Ring>(std::move(*ring));
  }

  Result<uint64_t> questions_lost() override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    return questions_->heard().map([](const sepal_heard& heard) { return heard.lost; });
  }

  Result<int> events() override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    return policies_->events();
  }

  Result<uint64_t> events_lost() override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    return policies_->events_lost();
  }

  Result<void> forget_untracked(const Untracked& gone) override {
    // Without eBPF nothing is let go; what is noted of before ends by itself.
    if (!load()) return {};
    return policies_->forget_untracked([&gone](Vni vni, const IpAddr& one, const IpAddr& other) {
      const auto network = gone.find(vni);
      if (network == gone.end()) return false;
      const std::vector<IpPrefix>& prefixes = network->second;
      return prefixes.empty() || std::any_of(prefixes.begin(), prefixes.end(), [&](const IpPrefix& prefix) {
               return prefix.contains(one) || prefix.contains(other);
             });
    });
  }

  Result<std::map<Vni, uint64_t>> begun(const std::set<Vni>& bounded) override {
    if (auto loaded = load(); !loaded) return Unexpected(loaded.error());
    if (auto kept = rooms_->keep_only(bounded); !kept) return Unexpected(kept.error());
    std::map<Vni, uint64_t> counts;
    for (const Vni vni : bounded) {
      auto begun = rooms_->begun(vni);
      if (!begun) return Unexpected(begun.error());
      counts.emplace(vni, *begun);
    }
    return counts;
  }

  Result<void> bound(Vni vni, uint64_t begun_max, std::chrono::steady_clock::time_point until) override {
    if (auto loaded = load(); !loaded) return loaded;
    // The kernel's clock of the same name.
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(until.time_since_epoch());
    return rooms_->give(vni, {begun_max, static_cast<uint64_t>(ns.count())});
  }

  Result<bool> unpin() override {
    rooms_.reset();
    questions_.reset();
    loaded_.reset();
    policies_.reset();
    return bpf::remove(place_);
  }

 private:
  Result<void> put_in_force(const policy::TenantPolicy& policy) {
    auto put = policies_->put(policy.tables.space, policy.tables.prefixes, policy.tables.choices);
    if (!put) return Unexpected(put.error());
    return policies_->activate(policy.vni, policy.tables.space);
  }

  Result<void> load() {
    if (loaded_) return {};
    auto loaded = bpf::SlowPath::load(place_);
    if (!loaded) return Unexpected(while_doing(loaded.error(), "eBPF programs of the slow path"));
    auto policies = bpf::Policies::load(place_);
    if (!policies) return Unexpected(while_doing(policies.error(), "eBPF program of security groups"));
    auto questions = bpf::Questions::load(place_);
    if (!questions) return Unexpected(while_doing(questions.error(), "eBPF program of guests' questions"));
    auto rooms = bpf::Rooms::load(place_);
    if (!rooms) return Unexpected(while_doing(rooms.error(), "eBPF program that bounds connections"));
    rooms_.emplace(std::move(*rooms));
    questions_.emplace(std::move(*questions));
    loaded_.emplace(std::move(*loaded));
    policies_.emplace(std::move(*policies));
    return {};
  }

  bpf::Place place_;
  std::optional<bpf::SlowPath> loaded_;
  std::optional<bpf::Policies> policies_;    // there when loaded_ is
  std::optional<bpf::Questions> questions_;  // the same
  std::optional<bpf::Rooms> rooms_;          // the same
};

}  // namespace

std::unique_ptr<SlowPath> open_slow_path(const std::string& instance) {
  return std::make_unique<LoadedSlowPath>(instance);
}

}  // namespace sepal::agent
