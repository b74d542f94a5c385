// The actions that many rules share, as objects in the kernel: made before the first rule that refers to them, known by
// our cookie, looked at in full like everything that decides about packets, and taken out when no rule refers to them
// any more. A rule says only that an action is shared (tc/pipeline/sharing.hpp); which number its object has is known
// here alone and may differ after every restart.
//
// An object's cookie says what it should be, so a look needs no configuration: one whose content is not what its cookie
// says was changed by somebody else. Objects without our cookie are others' and never touched.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "netlink/transport.hpp"
#include "tc/codec/action_object.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::agent {

class SharedActions {
 public:
  explicit SharedActions(uint16_t instance) : instance_(instance) {}

  // Reads what stands.
  Result<void> look(netlink::Transport& route);
  // As the last look told: every object is what its cookie says.
  [[nodiscard]] bool intact() const { return changed_.empty(); }
  // Those that are not, a line each.
  [[nodiscard]] std::vector<std::string> changed() const;
  // As the last look told: there is one that no rule refers to.
  [[nodiscard]] bool any_unused() const { return unused_; }
  // How many objects are ours.
  [[nodiscard]] size_t count() const { return count_; }

  // A rule is going to be written: what it shares and is missing will be made by ready().
  void want(const tc::RuleSpec& rule);
  // A rule stands or is going to: what it shares and others changed will be put right by ready().
  void want_intact(const tc::RuleSpec& rule);
  // Makes and repairs. What the kernel refuses is no Error: references to it are empty then, and refusal() tells why.
  // Returns a line for each object that others had changed.
  Result<std::vector<std::string>> ready(netlink::Transport& route);

  // What stands for a shared action in a filter's message; empty: its object is not there.
  [[nodiscard]] std::span<const uint8_t> reference(const tc::Action& action, bool skip_hw) const;
  // Why something that this rule shares is not there; null: everything is.
  [[nodiscard]] const Error* refusal(const tc::RuleSpec& rule) const;

  // Looks, and deletes our objects that no rule refers to, as the kernel itself counts (it goes on counting a rule for
  // some milliseconds after its delete). Returns how many went.
  Result<size_t> drop_unused(netlink::Transport& route);

 private:
  using Content = uint64_t;  // tc::content_hash of a SharedAction
  struct Object {
    std::string_view kind;  // one of tc::kSharedKinds
    uint32_t index = 0;     // 0: not there
    uint32_t bound = 0;
    Content content = 0;
    std::vector<uint8_t> reference = {};  // once a rule wants it and it is there
    std::optional<Error> refused = {};    // why it is not there
  };
  // Asked for every shared action of every rule that is written, so by value and without making one.
  struct View {
    const tc::ActionKind& kind;
    bool skip_hw;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const View& view) const;
    size_t operator()(const tc::SharedAction& action) const { return (*this)(View{action.kind, action.skip_hw}); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const View& a, const tc::SharedAction& b) const {
      return a.skip_hw == b.skip_hw && a.kind == b.kind;
    }
    bool operator()(const tc::SharedAction& a, const View& b) const { return (*this)(b, a); }
    bool operator()(const tc::SharedAction& a, const tc::SharedAction& b) const { return a == b; }
  };
  using Objects = std::unordered_map<tc::SharedAction, Object, Hash, Equal>;
  using Entry = Objects::value_type;

  void take(std::string_view kind, const tc::ActionObject& seen);
  [[nodiscard]] const Object* find(const tc::Action& action, bool skip_hw) const;
  Entry& note(const tc::Action& action, bool skip_hw);
  Result<std::vector<std::string>> repair(netlink::Transport& route);
  Result<std::vector<Entry*>> make(netlink::Transport& route, const std::vector<Entry*>& missing);
  static Result<void> refer(Entry& entry);
  uint32_t free_number(std::string_view kind);
  [[nodiscard]] tc::Cookie cookie_of(Content content) const;

  uint16_t instance_;
  Objects objects_;                    // ours, as they should be, and those that are wanted and not there
  std::map<Content, Object> changed_;  // ours, but not what their cookie says
  std::vector<Object> stale_;          // ours, of another layout or the same as another object
  size_t count_ = 0;
  bool unused_ = false;
  std::map<std::string_view, std::set<uint32_t>> taken_;  // numbers of our range, whosever
  std::map<std::string_view, uint32_t> next_;             // below these every number of our range is taken
  std::vector<Entry*> wanted_;                            // to be made or repaired by ready()
};

}  // namespace sepal::agent
