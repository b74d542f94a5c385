// Carries steps out. A layer is all writes of one depth: none of them jumps to another, so they may go to the kernel in
// any order, a few pieces at once, and all answers are known before the next layer jumps to what it built.
#include "agent/execution.hpp"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <tuple>

#include "agent/filters.hpp"
#include "base/limits.hpp"

namespace sepal::agent {
namespace {

using tc::CompiledRule;
using tc::Step;

// Between two calls of progress: short enough for a watchdog on a slow machine, long enough to keep batches full.
constexpr size_t kStepsPerPiece = 4UL * limits::kMessagesPerSend;
// Pieces that may be under way while another is encoded: each socket has one in hand and one to go on with.
constexpr size_t kPiecesAhead = 2UL * limits::kWriters;

// Room for most rules' messages, so that a piece is not moved while it is encoded.
constexpr size_t kBytesPerWrite = 512;

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
    for (uint32_t i = 0; i < in_.wanted.size(); ++i) {
      const ChainPlace chain = chain_of(in_.wanted[i].rule.id);
      if (i + 1 == in_.wanted.size() || chain_of(in_.wanted[i + 1].rule.id) != chain)
        last_.emplace_hint(last_.end(), chain, i);
    }
  }

  Result<Outcome> run() {
    if (auto made = ready_shared_actions(); !made) return Unexpected(made.error());
    size_t at = 0;
    for (size_t end = 0; at < in_.steps.size() && in_.steps[at].kind != Step::Kind::remove; at = end) {
      end = end_of_layer(at);
      if (auto written = write_layer(at, end); !written) return Unexpected(written.error());
      if (outcome_.stopped) break;
    }
    if (outcome_.stopped) return std::move(outcome_);
    if (auto removed = remove_all(at); !removed) return Unexpected(removed.error());
    std::sort(outcome_.refusals.begin(), outcome_.refusals.end(),
              [](const Refusal& a, const Refusal& b) { return a.id < b.id; });
    return std::move(outcome_);
  }

 private:
  // What rules are going to refer to stands before they do. Rules that are not to be tried need nothing.
  Result<void> ready_shared_actions() {
    for (const Step& step : in_.steps) {
      if (step.kind == Step::Kind::remove) continue;
      const CompiledRule& rule = in_.wanted[step.rule];
      if (in_.unusable.contains(rule.rule.id.device)) continue;
      // Once for the whole pass: what becomes due while it runs is the next one's.
      if (const Refusal* earlier = in_.remembered ? in_.remembered(rule) : nullptr)
        waiting_.emplace(step.rule, earlier);
      else
        in_.shared.want(rule.rule.spec);
    }
    if (!in_.shared.intact())
      for (const CompiledRule& rule : in_.wanted) in_.shared.want_intact(rule.rule.spec);
    auto repaired = in_.shared.ready(kernel_.route);
    if (!repaired) return Unexpected(repaired.error());
    outcome_.repaired = std::move(*repaired);
    return {};
  }

  static ChainPlace chain_of(const tc::RuleId& id) { return {id.device, id.chain}; }

  // Behind the last write of the depth that begins with the step at `begin`.
  [[nodiscard]] size_t end_of_layer(size_t begin) const {
    const uint8_t depth = in_.wanted[in_.steps[begin].rule].depth;
    const auto first = in_.steps.begin() + static_cast<ptrdiff_t>(begin);
    const auto end = std::find_if(first, in_.steps.end(), [&](const Step& step) {
      return step.kind == Step::Kind::remove || in_.wanted[step.rule].depth != depth;
    });
    return static_cast<size_t>(end - in_.steps.begin());
  }

  // All answers are known at the end. Pieces become smaller towards it, so that the sockets end at about the same time.
  Result<void> write_layer(size_t at, size_t end) {
    while (at < end) {
      if (auto finished = finish_down_to(kPiecesAhead); !finished) return finished;
      if (outcome_.stopped) break;
      const size_t share = (end - at) / (2UL * limits::kWriters);
      const size_t next = std::min(end, at + std::clamp<size_t>(share, limits::kMessagesPerSend, kStepsPerPiece));
      start_piece(at, next);
      at = next;
    }
    return finish_down_to(0);
  }

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
    if (rule.depth == 0) return std::nullopt;  // jumps nowhere
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
    if (const auto waiting = waiting_.find(step.rule); waiting != waiting_.end()) {
      refuse(step, waiting->second->error).tried = false;
      return false;
    }
    if (const Error* missing = in_.shared.refusal(rule.rule.spec)) {
      refuse(step, *missing);
      return false;
    }
    const ForeignFilter* other = step.kind == Step::Kind::add ? foreign_in_place(rule.rule.id) : nullptr;
    if (other != nullptr) refuse(step, conflict(other->id, other->kind));
    return other == nullptr;
  }

  // A piece of writes on its way to the kernel.
  struct Piece {
    std::vector<Step> steps;
    std::unique_ptr<netlink::Flight> flight;
  };

  // Encodes a piece and lets it go; the next ones are encoded while the kernel works on it.
  void start_piece(size_t begin, size_t end) {
    requests_.clear();
    requests_.reserve((end - begin) * kBytesPerWrite);
    Piece piece;
    for (size_t i = begin; i < end; ++i) {
      const Step& step = in_.steps[i];
      if (!admit(step)) continue;
      const Write write = step.kind == Step::Kind::add ? Write::add : Write::replace;
      const CompiledRule& rule = in_.wanted[step.rule];
      if (auto put = append_write(requests_, write, rule.rule, rule.cookie, kernel_.slow_path, &in_.shared); !put)
        refuse(step, put.error());
      else
        piece.steps.push_back(step);
    }
    if (piece.steps.empty()) return;
    piece.flight = kernel_.route.start(std::move(requests_));
    pieces_.push_back(std::move(piece));
  }

  Result<void> finish_piece() {
    const Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    std::vector<Step> taken;
    auto finished = piece.flight->finish([&](size_t i, const netlink::Answer& answer) {
      const Step& step = piece.steps[i];
      if (answer)
        written(step);
      else if (step.kind == Step::Kind::add && answer.error().sys_errno == EEXIST)
        taken.push_back(step);
      else
        refused(step, answer.error());
    });
    if (!finished) return Unexpected(while_doing(finished.error(), "write filters"));
    for (const Step& step : taken)
      if (auto settled = settle_taken(step); !settled) return settled;
    proceed();
    return {};
  }

  Result<void> finish_down_to(size_t pieces) {
    while (pieces_.size() > pieces)
      if (auto finished = finish_piece(); !finished) return finished;
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
    if (auto put = append_write(requests_, Write::replace, rule.rule, rule.cookie, kernel_.slow_path, &in_.shared);
        !put) {
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
  std::vector<bool> there_;                     // per wanted rule: something stands in its place
  std::map<ChainPlace, uint32_t> last_;         // the wanted rule of worst priority of each chain
  std::map<uint32_t, const Refusal*> waiting_;  // wanted rules that are not to be tried now
  std::set<IfIndex> unsettled_;                 // devices where an old jump may still stand
  netlink::Bytes requests_;
  std::deque<Piece> pieces_;  // under way, oldest first; all of one depth
};

}  // namespace

Result<Outcome> execute(Kernel& kernel, const ExecutionInput& input) { return Execution(kernel, input).run(); }

}  // namespace sepal::agent
