// Carries steps out. A layer is all writes of one depth: none of them jumps to another, so one batch may hold them and
// all its answers are known before the next layer jumps to what it built.
#include "agent/execution.hpp"

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "agent/filters.hpp"

namespace sepal::agent {
namespace {

using tc::CompiledRule;
using tc::Step;

// Between two calls of progress: short enough for a watchdog on a slow machine, long enough to keep batches full.
constexpr size_t kStepsPerPiece = 1024;

using ChainPlace = std::pair<IfIndex, uint32_t>;

std::vector<uint32_t> goto_targets(const tc::RuleSpec& spec) {
  std::vector<uint32_t> targets;
  auto add = [&targets](const tc::Verdict& verdict) {
    if (verdict.control == tc::Control::goto_chain) targets.push_back(verdict.chain);
  };
  for (const tc::Action& action : spec.actions) {
    if (const auto* gact = std::get_if<tc::Gact>(&action.kind)) add(gact->verdict);
    if (const auto* ct = std::get_if<tc::Ct>(&action.kind)) add(ct->verdict);
    if (const auto* bpf = std::get_if<tc::Bpf>(&action.kind)) add(bpf->verdict);
    if (const auto* police = std::get_if<tc::Police>(&action.kind)) {
      add(police->exceed);
      add(police->conform);
    }
  }
  return targets;
}

class Execution {
 public:
  Execution(Kernel& kernel, const ExecutionInput& input) : kernel_(kernel), in_(input) {
    there_.assign(in_.wanted.size(), true);
    for (const Step& step : in_.steps)
      if (step.kind == Step::Kind::add) there_[step.rule] = false;
    for (uint32_t i = 0; i < in_.wanted.size(); ++i) last_[chain_of(in_.wanted[i].rule.id)] = i;
  }

  Result<Outcome> run() {
    size_t at = 0;
    while (at < in_.steps.size() && in_.steps[at].kind != Step::Kind::remove) {
      const size_t begin = at;
      const uint8_t depth = in_.wanted[in_.steps[begin].rule].depth;
      while (at < in_.steps.size() && at - begin < kStepsPerPiece && in_.steps[at].kind != Step::Kind::remove &&
             in_.wanted[in_.steps[at].rule].depth == depth)
        ++at;
      if (auto written = write_piece(begin, at); !written) return Unexpected(written.error());
      if (!proceed()) return std::move(outcome_);
    }
    if (auto removed = remove_all(at); !removed) return Unexpected(removed.error());
    std::sort(outcome_.refusals.begin(), outcome_.refusals.end(),
              [](const Refusal& a, const Refusal& b) { return a.id < b.id; });
    return std::move(outcome_);
  }

 private:
  static ChainPlace chain_of(const tc::RuleId& id) { return {id.device, id.chain}; }

  bool proceed() {
    if (in_.progress && !in_.progress()) outcome_.stopped = true;
    return !outcome_.stopped;
  }

  Refusal& refuse(const Step& step, Error error) {
    const CompiledRule& rule = in_.wanted[step.rule];
    if (step.kind == Step::Kind::replace) unsettled_.insert(rule.rule.id.device);
    return outcome_.refusals.emplace_back(
        Refusal{rule.rule.id, rule.cookie.content, rule.origin, false, true, std::move(error)});
  }

  // A chain is closed when its last rule, the final drop, stands: then a jump to it cannot fall off its end up the
  // host's stack, whatever else of it is missing.
  [[nodiscard]] std::optional<uint32_t> open_target(const CompiledRule& rule) const {
    for (uint32_t chain : goto_targets(rule.rule.spec)) {
      const auto last = last_.find({rule.rule.id.device, chain});
      if (last == last_.end() || !there_[last->second]) return chain;
    }
    return std::nullopt;
  }

  [[nodiscard]] const ForeignFilter* foreign_in_place(const tc::RuleId& id) const {
    const auto& foreign = in_.world.foreign;
    auto place = [](const tc::RuleId& i) { return std::tie(i.device, i.chain, i.prio); };
    auto at = std::lower_bound(foreign.begin(), foreign.end(), id,
                               [&](const ForeignFilter& f, const tc::RuleId& i) { return place(f.id) < place(i); });
    for (; at != foreign.end() && place(at->id) == place(id); ++at) {
      const ForeignFilter& other = *at;
      if (other.kind != "flower" || other.id.protocol != id.protocol || other.id.handle == id.handle) return &other;
    }
    return nullptr;
  }

  [[nodiscard]] std::string place_text(const tc::RuleId& id, std::string_view kind) const {
    return describe_place(in_.world.device_name(id.device), id, kind);
  }

  Error conflict(const tc::RuleId& id, std::string_view kind) const {
    return Error{Errc::conflict, 0, "its place is taken by a filter of others: " + place_text(id, kind), {}};
  }

  // Whether a step may be sent; otherwise its refusal is recorded.
  bool admit(const Step& step) {
    const CompiledRule& rule = in_.wanted[step.rule];
    if (const auto unusable = in_.unusable.find(rule.rule.id.device); unusable != in_.unusable.end()) {
      refuse(step, unusable->second);
      return false;
    }
    if (const auto open = open_target(rule)) {
      const std::string chain = tc::to_string(tc::parse_chain(*open));
      Refusal& refusal =
          refuse(step, {Errc::transient, 0, "held back: the last rule of its target " + chain + " was refused", {}});
      refusal.held = true;
      refusal.tried = false;
      return false;
    }
    if (const Refusal* earlier = in_.remembered ? in_.remembered(rule) : nullptr) {
      refuse(step, earlier->error).tried = false;
      return false;
    }
    const ForeignFilter* other = step.kind == Step::Kind::add ? foreign_in_place(rule.rule.id) : nullptr;
    if (other != nullptr) refuse(step, conflict(other->id, other->kind));
    return other == nullptr;
  }

  Result<void> write_piece(size_t begin, size_t end) {
    requests_.clear();
    std::vector<Step> sent;
    for (size_t i = begin; i < end; ++i) {
      const Step& step = in_.steps[i];
      if (!admit(step)) continue;
      const Write write = step.kind == Step::Kind::add ? Write::add : Write::replace;
      const CompiledRule& rule = in_.wanted[step.rule];
      if (auto put = append_write(requests_, write, rule.rule, rule.cookie, kernel_.slow_path); !put)
        refuse(step, put.error());
      else
        sent.push_back(step);
    }
    if (sent.empty()) return {};
    std::vector<Step> taken;
    auto transacted = kernel_.route.transact(requests_, [&](size_t i, const netlink::Answer& answer) {
      if (answer)
        written(sent[i]);
      else if (sent[i].kind == Step::Kind::add && answer.error().sys_errno == EEXIST)
        taken.push_back(sent[i]);
      else
        refused(sent[i], answer.error());
    });
    if (!transacted) return Unexpected(while_doing(transacted.error(), "write filters"));
    for (const Step& step : taken)
      if (auto settled = settle_taken(step); !settled) return settled;
    return {};
  }

  void written(const Step& step) {
    ++(step.kind == Step::Kind::add ? outcome_.added : outcome_.replaced);
    there_[step.rule] = true;
  }

  void refused(const Step& step, const Error& error) {
    if (error.sys_errno == ENODEV) outcome_.devices_left = true;
    refuse(step, error);
  }

  // The dump did not show a filter where the kernel says there is one: dumps and writes of others overlapped. One get
  // tells whose it is.
  Result<void> settle_taken(const Step& step) {
    const CompiledRule& rule = in_.wanted[step.rule];
    auto found = get_filter(kernel_.route, rule.rule.id);
    if (!found) return Unexpected(found.error());
    if (in_.from_memory) {
      outcome_.surprised = true;
      there_[step.rule] = *found && (*found)->state.cookie == rule.cookie;
      return {};
    }
    if (!*found) {
      refuse(step, {Errc::conflict, EEXIST, "a filter with the same match stands here under another handle", {}});
      return {};
    }
    const auto& cookie = (*found)->state.cookie;
    if (!cookie || cookie->instance != rule.cookie.instance) {
      refuse(step, conflict(rule.rule.id, (*found)->kind));
      return {};
    }
    there_[step.rule] = true;
    if (*cookie == rule.cookie) return {};
    const Step replace{Step::Kind::replace, step.rule};
    requests_.clear();
    if (auto put = append_write(requests_, Write::replace, rule.rule, rule.cookie, kernel_.slow_path); !put) {
      refuse(replace, put.error());
      return {};
    }
    return kernel_.route.transact(requests_, [&](size_t /*i*/, const netlink::Answer& answer) {
      if (answer)
        written(replace);
      else
        refused(replace, answer.error());
    });
  }

  // Two rounds: first everything but the last rule of each chain, then those. On a device where a jump could not be
  // changed or taken out, the last rules stay, so that what still jumps there is dropped and not handed to the host.
  Result<void> remove_all(size_t first) {
    std::vector<uint32_t> early;
    std::vector<uint32_t> late;
    const auto& observed = in_.world.observed;
    for (size_t i = first; i < in_.steps.size(); ++i) {
      const uint32_t index = in_.steps[i].rule;
      const tc::RuleId& id = observed[index].id;
      const bool is_last = (index + 1 == observed.size() || chain_of(observed[index + 1].id) != chain_of(id)) &&
                           !(in_.goes_on && in_.goes_on(id));
      (is_last ? late : early).push_back(index);
    }
    if (auto removed = remove_some(early); !removed) return removed;
    outcome_.kept = std::erase_if(late, [&](uint32_t index) { return unsettled_.contains(observed[index].id.device); });
    return remove_some(late);
  }

  Result<void> remove_some(const std::vector<uint32_t>& indexes) {
    const auto& observed = in_.world.observed;
    for (size_t begin = 0; begin < indexes.size() && !outcome_.stopped; begin += kStepsPerPiece) {
      const size_t end = std::min(indexes.size(), begin + kStepsPerPiece);
      requests_.clear();
      for (size_t i = begin; i < end; ++i)
        if (auto put = append_removal(requests_, observed[indexes[i]].id); !put) return put;
      auto transacted = kernel_.route.transact(requests_, [&](size_t i, const netlink::Answer& answer) {
        const tc::RuleId& id = observed[indexes[begin + i]].id;
        if (answer) {
          ++outcome_.removed;
        } else if (answer.error().code != Errc::not_found) {
          outcome_.not_removed.emplace_back(id, answer.error());
          unsettled_.insert(id.device);
        } else {
          outcome_.surprised = outcome_.surprised || in_.from_memory;
        }
      });
      if (!transacted) return Unexpected(while_doing(transacted.error(), "remove filters"));
      proceed();
    }
    return {};
  }

  Kernel& kernel_;
  const ExecutionInput& in_;
  Outcome outcome_;
  std::vector<bool> there_;              // per wanted rule: something stands in its place
  std::map<ChainPlace, uint32_t> last_;  // the wanted rule of worst priority of each chain
  std::set<IfIndex> unsettled_;          // devices where an old jump may still stand
  netlink::Bytes requests_;
};

}  // namespace

Result<Outcome> execute(Kernel& kernel, const ExecutionInput& input) { return Execution(kernel, input).run(); }

}  // namespace sepal::agent
